"""Write and read the answer of a search for learning rates: result.json, CSV, figures, page."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from matplotlib.figure import Figure

from clr_cli.analysis.rates import config_lines, describe
from clr_cli.analysis.sweeps import smooth_accuracy, smooth_loss
from clr_cli.config.yaml_text import dump
from clr_cli.errors import InputError
from clr_cli.files import write_atomic, write_json
from clr_cli.format import NONE, Scale, decimals, number
from clr_cli.paths import BOUNDS, CURVES, PAGE, RESULT
from clr_cli.records import RateAnswer, Stopped, Sweep, read_if_any
from clr_cli.report.figures.probes import probes
from clr_cli.report.figures.range_test import range_test
from clr_cli.report.figures.style import Size, save_figures
from clr_cli.report.figures.svg import numbers
from clr_cli.report.page import draw, inline_svg, render
from clr_cli.report.runs import DAMAGE, damaged

PROBES = "probes.csv"
COLUMNS = ("sweep", "iteration", "lr", "train_loss", "train_loss_smooth")
VAL_COLUMNS = ("val_loss", "val_accuracy", "val_accuracy_smooth")
REMEDY = "run the same clr range-test again to write it anew (finished sweeps are kept)"


def write(folder: Path, answer: RateAnswer, sweeps: Sequence[Sweep] = ()) -> list[Path]:
    """Write all files of an answer, result.json last; return their paths.

    bounds.yaml is written only for a conclusive answer of our own training.
    """
    drawn = figures(answer, sweeps)
    written = save_figures(drawn, folder)
    texts = {PAGE: page(answer, drawn)}
    if sweeps:
        texts[CURVES] = to_csv(sweeps)
    if answer.tried:
        texts[PROBES] = _probes_csv(answer)
    bounds = _bounds(answer)
    if bounds is None:
        (folder / BOUNDS).unlink(missing_ok=True)  # an older answer must not pass for this one's
    else:
        texts[BOUNDS] = dump(bounds)
    for name, text in texts.items():
        write_atomic(folder / name, text)
    write_json(folder / RESULT, answer.plain())
    return [*written, *(folder / name for name in texts), folder / RESULT]


def _bounds(answer: RateAnswer) -> dict[str, float] | None:
    if answer.inconclusive or answer.base_lr is None or answer.max_lr is None:
        return None
    rates = {"base_lr": answer.base_lr, "max_lr": answer.max_lr}
    if answer.low is not None and answer.high is not None:
        rates |= {"low": answer.low, "high": answer.high}
    return rates


def figures(
    answer: RateAnswer, sweeps: Sequence[Sweep] = (), *, size: Size | None = None
) -> dict[str, Figure]:
    """Draw the metric against learning rate: of the probes first, and of the sweeps."""
    drawn = {"rates": probes(answer, sweeps, size=size)} if answer.tried else {}
    if sweeps:
        drawn["range_test"] = range_test(
            sweeps,
            smooth=[(s.val_lr, smooth_accuracy(s.val_accuracy)) for s in sweeps],
            smooth_loss=[(s.lr[: len(y)], y) for s in sweeps for y in [smooth_loss(s.train_loss)]],
            peak=None if answer.sweep is None else answer.sweep.peak,
            size=size,
        )
    return drawn


def load(folder: Path) -> tuple[RateAnswer, list[Sweep]] | None:
    """Read the answer in a folder, and its sweeps; None if there is none.

    Raises InputError for damaged files.
    """
    answer = read_if_any(RateAnswer, folder / RESULT, remedy=REMEDY)
    if answer is None:
        return None
    path = folder / CURVES
    if not path.exists() or answer.sweep is None:
        return answer, []
    stopped = {end.seed: end.stopped for end in answer.sweep.ends}
    try:
        return answer, from_csv(path.read_text(encoding="utf-8"), stopped)
    except DAMAGE as error:
        raise damaged(path, error, REMEDY) from None


def read_figure(folder: Path) -> Figure | None:
    """Draw the main figure again; None if there is nothing to draw. Raises as `load`."""
    loaded = load(folder)
    return None if loaded is None else next(iter(figures(*loaded).values()), None)


def remake(
    folder: Path, formats: Sequence[str], size: Size | None
) -> tuple[RateAnswer, list[Path]]:
    """Make page and figures again from the files of a search.

    Returns the answer and the files written. Raises InputError for missing or damaged files.
    """
    loaded = load(folder)
    if loaded is None:
        raise InputError(f"not found; {REMEDY}", source=folder / RESULT)
    answer, sweeps = loaded
    drawn = figures(answer, sweeps, size=size)
    write_atomic(folder / PAGE, page(answer, drawn))
    return answer, [folder / PAGE, *save_figures(drawn, folder, formats)]


def page(answer: RateAnswer, drawn: Mapping[str, Figure]) -> str:
    """Return the page of an answer: the interval, the probes, the sweep, the lines to copy."""
    metric = answer.metric
    known = [mean for each in answer.tried if (mean := each.mean) is not None]
    best = max(known, key=lambda mean: metric.sign * mean, default=0.0)
    scale = Scale(metric.unit, 2 if metric.unit == "%" else max(5, decimals([], [best])))
    most = max((len(each.scores) for each in answer.tried), default=0)
    header = ["Learning rate", "mean", *(f"seed {k}" for k in range(most))]
    rows = []
    for each in answer.tried:
        scores = ["failed" if score is None else scale.shown(score) for score in each.scores]
        scores += [NONE] * (most - len(scores))
        rows.append([number(each.rate), scale.shown(each.mean), *scores])
    said, reason = headline(answer)
    others = describe(answer)[0 if answer.inconclusive else 1 :]
    words = _words(answer)
    shown = [draw(f"f{k}", drawn[name], *words[name]) for k, name in enumerate(drawn, 1)]
    told = {
        each.id: {"axes": numbers(figure), "one": "seed"}
        for each, figure in zip(shown, drawn.values(), strict=True)
    }
    return render(
        "rates.html.j2",
        {"figures": told, "paired": True},
        answer=answer,
        headline=said,
        reason=reason,
        facts=[[fact for fact in others if fact[0] != "inconclusive"]],
        figures=shown,
        probes=(header, rows) if rows else None,
        lines=config_lines(answer),
    )


def headline(answer: RateAnswer) -> tuple[str, str]:
    """Return what an answer says first, and why."""
    if answer.inconclusive:
        return f"No answer: {answer.inconclusive}", ""
    name, text = describe(answer)[0]
    result, _, reason = text.partition(": ")
    name = name if name == answer.key else f"{name[:1].upper()}{name[1:]}"
    return f"{name}: {result}", reason and f"{reason[:1].upper()}{reason[1:]}."


def fragment(answer: RateAnswer, drawn: Mapping[str, Figure]) -> str:
    """Return answer and figures as HTML for a notebook."""
    rows = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in describe(answer)
    )
    words = _words(answer)
    svgs = (inline_svg(figure, ". ".join(words[name])) for name, figure in drawn.items())
    return f"<dl>{rows}</dl>" + "".join(f"<figure>{svg}</figure>" for svg in svgs)


def _words(answer: RateAnswer) -> dict[str, tuple[str, str]]:
    """Return title and caption of each figure, by the figure's name."""
    return {
        "rates": (
            f"{answer.metric.heading} against the learning rate",
            "A dot is a probe, the line joins the means"
            + ("." if answer.low is None else ", the shaded rates are good."),
        ),
        "range_test": (
            "Validation accuracy and training loss of the sweep",
            "The rate rises during each sweep, so one run covers the whole range"
            + (
                "; the sweep shows where to start, the probes which rates work."
                if answer.tried
                else "."
            ),
        ),
    }


def to_csv(sweeps: Sequence[Sweep]) -> str:
    """Write raw and smoothed curves: a row for each sweep and iteration."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*COLUMNS, *VAL_COLUMNS])
    for sweep in sweeps:
        smoothed = smooth_loss(sweep.train_loss)
        points = zip(
            sweep.val_loss, sweep.val_accuracy, smooth_accuracy(sweep.val_accuracy), strict=True
        )
        measured = dict(zip(sweep.val_lr, points, strict=True))
        for i, (lr, loss) in enumerate(zip(sweep.lr, sweep.train_loss, strict=True)):
            smooth = smoothed[i] if i < len(smoothed) else ""
            row = [sweep.seed, i, lr, loss, smooth, *measured.get(lr, ("", "", ""))]
            writer.writerow(row)
    return buffer.getvalue()


def from_csv(text: str, stopped: Mapping[int, Stopped | None]) -> list[Sweep]:
    """Read the sweeps of ``to_csv``; ``stopped``: why each ended early, by its seed."""
    rows: dict[int, list[dict[str, str]]] = {}
    for row in csv.DictReader(io.StringIO(text)):
        rows.setdefault(int(row["sweep"]), []).append(row)

    def column(of: Sequence[Mapping[str, str]], name: str) -> list[float]:
        return [float(row[name]) for row in of]

    sweeps = []
    for seed, every in rows.items():
        points = [row for row in every if row["val_accuracy"]]
        sweeps.append(
            Sweep(
                seed=seed,
                lr=column(every, "lr"),
                train_loss=column(every, "train_loss"),
                val_lr=column(points, "lr"),
                val_accuracy=column(points, "val_accuracy"),
                val_loss=column(points, "val_loss"),
                stopped=stopped.get(seed),
            )
        )
    return sweeps


def _probes_csv(answer: RateAnswer) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["lr", "seed", answer.metric.name])
    for each in answer.tried:
        for seed, value in enumerate(each.scores):
            writer.writerow([each.rate, seed, "" if value is None else value])
    return buffer.getvalue()
