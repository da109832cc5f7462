"""Write what a search for learning rates came to: result.json, the probes as CSV, figure, page."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from clr_cli.analysis.scoring import described
from clr_cli.files import write_atomic, write_json
from clr_cli.paths import PAGE, RESULT
from clr_cli.records import RateSearch
from clr_cli.report.figures.probes import probes
from clr_cli.report.figures.save import save_figure
from clr_cli.report.page import inline_svg, theme_css

PROBES = "probes.csv"


def write(folder: Path, answer: Answer) -> tuple[dict[str, Any], list[Path]]:
    """All files of an answer, result.json last; the answer as it stands there, and their paths."""
    result = RateSearch.model_validate({"schema": 1, **answer}).plain()
    drawn = figure(result)
    write_atomic(folder / PROBES, _csv(result))
    written = [folder / PROBES, *save_figure(drawn, folder / "rates")]
    write_atomic(folder / PAGE, page(result, drawn))
    write_json(folder / RESULT, result)
    return result, [*written, folder / PAGE, folder / RESULT]


def figure(answer: Answer) -> Figure:
    """The metric against the learning rate."""
    return probes(answer, ())


def page(answer: Answer, drawn: Figure) -> str:
    """A page without scripts and without anything to fetch."""
    title = f"{answer.experiment}: learning rates"
    css = theme_css() + files("clr_cli.report").joinpath("report.css").read_text("utf-8")
    command = answer.get("command")
    reproduce = f"<h2>To repeat</h2><pre>{escape(command)}</pre>" if command else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{css}</style></head><body><main>"
        '<header><p class="over">Learning rates</p>'
        f"<h1>{escape(answer.experiment)}</h1></header>"
        f"<h2>Good rates</h2>{fragment(answer, drawn)}{reproduce}</main></body></html>\n"
    )


def fragment(answer: Answer, drawn: Figure) -> str:
    """Answer and figure as HTML for a page or a notebook."""
    rows = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in described(answer)
    )
    svg = inline_svg(drawn, "rates", "The metric against the learning rate")
    return f"<dl>{rows}</dl><figure>{svg}</figure>"


def _csv(answer: Answer) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["lr", "seed", answer.metric.name])
    for each in answer.tried:
        for seed, value in enumerate(each.scores):
            writer.writerow([each.rate, seed, "" if value is None else value])
    return buffer.getvalue()
