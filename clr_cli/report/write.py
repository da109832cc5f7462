"""Write figures, tables and pages of finished results, without training or torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clr_cli.errors import InputError
from clr_cli.files import write_atomic, write_json
from clr_cli.paths import MARKDOWN, PAGE, PROGRESS, RUNS, SUMMARY, range_test_of
from clr_cli.records import KNOWN, RunRecord, Summary
from clr_cli.report import comparison as report
from clr_cli.report import rates as rates_report
from clr_cli.report.figures.comparison import lr_schedule
from clr_cli.report.figures.epochs import epoch_curves
from clr_cli.report.figures.style import FORMATS, Size, save_figures
from clr_cli.report.runs import write_runs_csv
from clr_cli.schedules import Schedule, resolved

KNOWN_FORMATS = ("png", "svg", "pdf")


def describe_schedule(
    kind: str,
    schedule: Schedule,
    per_epoch: int,
    epochs: int,
    params: Mapping[str, Any] | None = None,
) -> str:
    """Describe a schedule: its numbers, and its cycles, with a warning if the last is cut off.

    The numbers are `params`; by default all of the schedule's, with durations in iterations.
    """
    values = params or {k: v for k, v in resolved(kind, schedule).items() if k != "kind"}
    shown = ", ".join(
        f"{k} {v:g}" if isinstance(v, float) else f"{k} {v}" for k, v in values.items()
    )
    cycles = schedule.cycles(per_epoch * epochs)
    text = f"{kind}: {shown}"
    if cycles is None:
        return text
    if math.isclose(cycles, round(cycles), abs_tol=1e-9):
        return f"{text}; {round(cycles)} cycles"
    last = schedule.lr(per_epoch * epochs - 1)
    return f"{text}; {cycles:.2f} cycles: the last is not completed, training ends at lr {last:.3g}"


def plot_schedules(
    arms: Mapping[str, Schedule], per_epoch: int, total: int, output: Path
) -> list[Path]:
    """Draw the arms' rates to one file. Raises InputError for an unknown format."""
    suffix = output.suffix.removeprefix(".")
    if suffix not in KNOWN_FORMATS:
        raise InputError(f"--output {output}: give a name ending in .{', .'.join(KNOWN_FORMATS)}")
    rates, momenta = {}, {}
    for arm, schedule in arms.items():
        rates[arm], momentum = report.sample(schedule, per_epoch, total)
        if momentum is not None:
            momenta[arm] = momentum
    figure = lr_schedule(rates, momentum=momenta or None)
    return save_figures({output.stem: figure}, output.parent, (suffix,))


def write_run(directory: Path, record: RunRecord, schedule: Schedule) -> list[Path]:
    """Write one run's tidy CSV and figures: learning rate, losses, accuracy."""
    steps = record.result["iterations_per_epoch"]
    epochs = max(1, len(record.epochs))
    rates, momentum = report.sample(schedule, steps, steps * epochs)
    momenta = None if momentum is None else {record.arm: momentum}
    figures = {"lr_schedule": lr_schedule({record.arm: rates}, momentum=momenta)}
    if record.epochs:
        for key in ("train_loss", "test_loss", "test_accuracy"):
            figures[key] = epoch_curves([record], KNOWN[key])
    write_atomic(directory / "metrics.csv", write_runs_csv([record]))
    return [directory / "metrics.csv", *save_figures(figures, directory)]


def write_comparison(directory: Path, summary: Summary, records: Sequence[RunRecord]) -> list[Path]:
    """Write runs.csv, summary.json, the page, its Markdown and the figures; return their paths."""
    write_atomic(directory / RUNS, write_runs_csv(records))
    write_json(directory / SUMMARY, summary.plain())
    made = _write_pages(directory, summary, records, None)
    return [directory / RUNS, directory / SUMMARY, *made]


def _write_pages(
    directory: Path,
    summary: Summary,
    records: Sequence[RunRecord],
    size: Size | None,
    formats: Sequence[str] = FORMATS,
) -> list[Path]:
    range_test = rates_report.read_figure(range_test_of(directory))
    figures = report.figures(summary, records, range_test=range_test, size=size)
    write_atomic(directory / PAGE, report.render(summary, records, figures))
    write_atomic(directory / MARKDOWN, report.markdown(summary))
    (directory / PROGRESS).unlink(missing_ok=True)  # of the page that this one replaces
    saved = save_figures(figures, directory, formats)  # after the page: drawing PNGs takes longer
    return [directory / PAGE, directory / MARKDOWN, *saved]


def remake(
    directory: Path, formats: Sequence[str], size: Size | None
) -> tuple[Summary, list[Path]]:
    """Make page and figures again from runs.csv and summary.json alone.

    Returns the summary and the files written. Raises InputError.
    """
    summary, records = report.load(directory)
    return summary, _write_pages(directory, summary, records, size, formats)


def parse_formats(text: str) -> list[str]:
    """Split ``png,svg`` into a list. Raises InputError for an unknown format."""
    wanted = [part.strip() for part in text.split(",") if part.strip()]
    for part in wanted:
        if part not in KNOWN_FORMATS:
            raise InputError(f"--formats {part!r}: expected {', '.join(KNOWN_FORMATS)}")
    return wanted


def parse_size(text: str | None) -> Size | None:
    """Return ``6x4`` as (width, height) in inches. Raises InputError."""
    if text is None:
        return None
    try:
        width, height = (float(part) for part in text.lower().split("x"))
    except ValueError:
        raise InputError(f"--size {text!r}: write it as WIDTHxHEIGHT in inches, 6x4") from None
    if not (1 <= width <= 40 and 1 <= height <= 40):
        raise InputError(f"--size {text!r}: width and height must be 1 to 40 inches")
    return width, height
