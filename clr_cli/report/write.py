"""Write figures, tables and pages of finished results. Needs neither training nor torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from clr_cli.cli import terminal as console
from clr_cli.errors import InputError
from clr_cli.files import write_atomic, write_json
from clr_cli.records import RunRecord
from clr_cli.report import comparison as report
from clr_cli.report import range_test as range_report
from clr_cli.report.figures import comparison as plots
from clr_cli.report.figures.save import save_figure
from clr_cli.schedules import Schedule, make, resolved

if TYPE_CHECKING:
    from clr_cli.config.arms import ScheduleConfig

FORMATS = ("png", "svg")
KNOWN_FORMATS = ("png", "svg", "pdf")


def describe_schedule(kind: str, schedule: Schedule, per_epoch: int, epochs: int) -> str:
    """A schedule in a line: its numbers, and its cycles, with a warning if the last is cut off."""
    values = {k: v for k, v in resolved(kind, schedule).items() if k != "kind"}
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
    arms: Mapping[str, ScheduleConfig], epochs: int, per_epoch: int, output: Path
) -> None:
    """Draw the arms' rates to one file. Raises InputError for an unknown format."""
    suffix = output.suffix.removeprefix(".")
    if suffix not in KNOWN_FORMATS:
        raise InputError(f"--output {output}: give a name ending in .{', .'.join(KNOWN_FORMATS)}")
    rates, momenta = {}, {}
    for arm, given in arms.items():
        if given.needs_bounds:
            raise InputError(f"schedules.{arm}: auto has no numbers yet: run clr range-test first")
        total = per_epoch * epochs
        schedule = make(
            given.kind, given.params, iterations_per_epoch=per_epoch, total_iterations=total
        )
        rates[arm], momentum = report.sample(schedule, per_epoch, total)
        if momentum is not None:
            momenta[arm] = momentum
        console.note(f"{arm}  {describe_schedule(given.kind, schedule, per_epoch, epochs)}")
    figure = plots.lr_schedule(rates, momentum=momenta or None)
    console.paths(save_figure(figure, output.with_suffix(""), (suffix,)))


def write_run(directory: Path, record: RunRecord, schedule: Schedule) -> list[Path]:
    """One run's tidy CSV and figures: learning rate, losses, accuracy."""
    steps = record.result["iterations_per_epoch"]
    epochs = max(1, len(record.epochs))
    rates, momentum = report.sample(schedule, steps, steps * epochs)
    momenta = None if momentum is None else {record.arm: momentum}
    figures = {"lr_schedule": plots.lr_schedule({record.arm: rates}, momentum=momenta)}
    if record.epochs:
        for key in ("train_loss", "test_loss", "test_accuracy"):
            figures[key] = plots.epoch_curves([record], key)
    write_atomic(directory / "metrics.csv", report.write_runs_csv([record]))
    return [directory / "metrics.csv", *_save(figures, directory, FORMATS)]


def write_comparison(
    directory: Path, summary: dict[str, Any], records: Sequence[RunRecord]
) -> list[Path]:
    """runs.csv, summary.json, the page, its Markdown and the figures."""
    write_atomic(directory / "runs.csv", report.write_runs_csv(records))
    write_json(directory / "summary.json", summary)
    made = _write_pages(directory, summary, records, None)
    return [directory / "runs.csv", directory / "summary.json", *made]


def _write_pages(
    directory: Path,
    summary: Mapping[str, Any],
    records: Sequence[RunRecord],
    size: tuple[float, float] | None,
    formats: Sequence[str] = FORMATS,
) -> list[Path]:
    range_test = range_report.read_figure(directory.parent / "range-test")
    figures = report.figures(summary, records, range_test=range_test, size=size)
    reproduce = summary.get("reproduce", {})
    page = report.render(summary, records, figures, **reproduce)
    write_atomic(directory / "report.html", page)
    write_atomic(directory / "report.md", report.markdown(summary))
    saved = _save(figures, directory, formats)
    return [directory / "report.html", directory / "report.md", *saved]


def _save(figures: Mapping[str, Figure], directory: Path, formats: Sequence[str]) -> list[Path]:
    saved = []
    for name, figure in figures.items():
        saved += save_figure(figure, directory / name, tuple(formats))
    return saved


def remake(directory: Path, formats: str, size: str | None) -> None:
    """``clr report``: page and figures again from runs.csv and summary.json alone."""
    if not (directory / "summary.json").exists() and (directory / "compare").is_dir():
        directory = directory / "compare"
    wanted = [part.strip() for part in formats.split(",") if part.strip()]
    unknown = [part for part in wanted if part not in KNOWN_FORMATS]
    if unknown:
        raise InputError(f"--formats {unknown[0]!r}: known: {', '.join(KNOWN_FORMATS)}")
    summary, records = report.load(directory)
    made = _write_pages(directory, summary, records, _parse_size(size), wanted)
    print_summary(summary)
    console.paths(made)


def _parse_size(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        width, height = (float(part) for part in text.lower().split("x"))
    except ValueError:
        raise InputError(f"--size {text!r}: write it as WIDTHxHEIGHT in inches, 6x4") from None
    if not (1 <= width <= 40 and 1 <= height <= 40):
        raise InputError(f"--size {text!r}: width and height must be 1 to 40 inches")
    return width, height


def print_summary(summary: Mapping[str, Any]) -> None:
    """The comparison's short table on stdout, then the verdict."""
    comparisons = {c["arm"]: c for c in summary["comparisons"]}
    rows = []
    for arm in summary["arms"]:
        against = comparisons.get(arm["name"])
        rows.append(
            [
                arm["name"],
                str(arm["n"]),
                _mean_sd(arm["test_accuracy"], percent=True),
                _mean_sd(arm["test_loss"], percent=False),
                _mean_sd(arm["train_loss"], percent=False),
                "baseline" if against is None else _difference(against["difference"]),
                "" if against is None else f"{against['p_holm']:.3f}",
                _time(arm["time_to_target"]["iterations"]["median"]),
            ]
        )
    headers = [
        "schedule",
        "seeds",
        "test accuracy %",
        "test loss",
        "train loss",
        "difference",
        "p",
        "to target",
    ]
    console.table(headers, rows)
    sentences = [comparison["sentence"] for comparison in summary["comparisons"]]
    print(*(sentences or [summary["verdict"]]), summary["scope"], sep="\n")
    print()


def _mean_sd(spread: Mapping[str, Any], *, percent: bool) -> str:
    mean, sd = spread["mean"], spread["sd"]
    if not isinstance(mean, int | float):
        return "diverged"
    scale, digits = (100, 2) if percent else (1, 3)
    tail = f" ± {scale * sd:.{digits}f}" if isinstance(sd, int | float) else ""
    return f"{scale * mean:.{digits}f}{tail}"


def _difference(difference: Mapping[str, Any]) -> str:
    mean, low, high = (difference[key] for key in ("mean", "low", "high"))
    if mean is None:
        return "-"
    spread = "" if low is None or high is None else f" ({100 * low:+.2f} to {100 * high:+.2f})"
    return f"{100 * mean:+.2f}{spread}"


def _time(value: Any) -> str:
    return f"{value:,.0f}" if isinstance(value, int | float) else "not reached"


def write_tensorboard(directory: Path, record: RunRecord) -> Path:
    """The metrics as TensorBoard event files. Raises InputError without the extra."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise InputError(
            "--tensorboard needs the extra: pip install 'clr-cli[tensorboard]'"
        ) from None
    folder = directory / "tensorboard"
    for old in folder.glob("events.*") if folder.exists() else ():
        old.unlink()
    with SummaryWriter(str(folder)) as writer:
        for row in record.epochs:
            for key, value in row.items():
                if key not in ("epoch", "iteration"):
                    writer.add_scalar(key, value, int(row["epoch"]))
    return folder
