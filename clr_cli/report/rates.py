"""Write the answer of a search for learning rates: result.json, the probes as CSV, figure, page."""

from __future__ import annotations

import csv
import io
from html import escape
from importlib.resources import files
from pathlib import Path

from matplotlib.figure import Figure

from clr_cli.analysis.scoring import describe
from clr_cli.files import write_atomic, write_json
from clr_cli.paths import PAGE, RESULT
from clr_cli.records import RateSearch
from clr_cli.report.figures.probes import probes
from clr_cli.report.figures.style import save_figure
from clr_cli.report.page import inline_svg, theme_css

PROBES = "probes.csv"


def write(folder: Path, answer: RateSearch) -> list[Path]:
    """Write all files of an answer, result.json last; return their paths."""
    drawn = probes(answer, ())
    write_atomic(folder / PROBES, _csv(answer))
    written = [folder / PROBES, *save_figure(drawn, folder / "rates")]
    write_atomic(folder / PAGE, page(answer, drawn))
    write_json(folder / RESULT, answer.plain())
    return [*written, folder / PAGE, folder / RESULT]


def page(answer: RateSearch, drawn: Figure) -> str:
    """Return a page without scripts and without anything to fetch."""
    title = f"{answer.experiment}: learning rates"
    css = theme_css() + files("clr_cli.report").joinpath("report.css").read_text("utf-8")
    command = f"<h2>To repeat</h2><pre>{escape(answer.command)}</pre>" if answer.command else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{css}</style></head><body><main>"
        '<header><p class="over">Learning rates</p>'
        f"<h1>{escape(answer.experiment)}</h1></header>"
        f"<h2>Good rates</h2>{fragment(answer, drawn)}{command}</main></body></html>\n"
    )


def fragment(answer: RateSearch, drawn: Figure) -> str:
    """Return answer and figure as HTML for a page or a notebook."""
    rows = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in describe(answer)
    )
    svg = inline_svg(drawn, "rates", "The metric against the learning rate")
    return f"<dl>{rows}</dl><figure>{svg}</figure>"


def _csv(answer: RateSearch) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["lr", "seed", answer.metric.name])
    for each in answer.tried:
        for seed, value in enumerate(each.scores):
            writer.writerow([each.rate, seed, "" if value is None else value])
    return buffer.getvalue()
