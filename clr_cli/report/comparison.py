"""Finished results -> one self-contained HTML page, or Markdown; from runs.csv and summary.json.

Nothing here trains or imports torch, so that a report can be made again wherever its files are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from matplotlib.figure import Figure

from clr_cli import schedules
from clr_cli.analysis.headline import headline
from clr_cli.errors import InputError
from clr_cli.paths import RUNS, SUMMARY
from clr_cli.records import Metric, RunRecord, Summary, read
from clr_cli.report import page
from clr_cli.report.captions import captions, drawn_metrics
from clr_cli.report.controlled import controlled_rows
from clr_cli.report.figures import comparison as plots
from clr_cli.report.figures.curves import axis_of
from clr_cli.report.figures.epochs import epoch_curves
from clr_cli.report.figures.seeds import seed_curves
from clr_cli.report.figures.style import Curve, Size
from clr_cli.report.figures.times import time_ratio, time_to_target
from clr_cli.report.figures.tuning import tuned_rates
from clr_cli.report.runs import DAMAGE, REMEDY, damaged, read_runs_csv
from clr_cli.report.tables import (
    CLOCKS,
    Table,
    certainty_table,
    costs_table,
    results_table,
    robustness_table,
    rows_are,
    seeds_table,
    tuning_table,
)

# --- files -----------------------------------------------------------------------------------


def load(folder: Path) -> tuple[Summary, list[RunRecord]]:
    """Read a compare folder. Raises InputError for missing or damaged files."""
    for name in (SUMMARY, RUNS):
        if not (folder / name).exists():
            raise InputError(f"{folder}: {name} not found; clr compare writes it")
    summary = read(Summary, folder / SUMMARY, remedy=REMEDY)
    try:
        records = read_runs_csv((folder / RUNS).read_text("utf-8"))
    except DAMAGE as error:
        raise damaged(folder / RUNS, error) from None
    arms = {arm.name for arm in summary.arms}
    if {record.arm for record in records} != arms:
        raise InputError(f"not the runs of {SUMMARY} ({', '.join(arms)})", source=folder / RUNS)
    name = summary.metric.name
    if any(r.status == "finished" and not any(name in row for row in r.epochs) for r in records):
        raise InputError(f"a finished run without {name}; {REMEDY}", source=folder / RUNS)
    try:
        schedule_curves(summary)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise InputError(
            f"the schedule of an arm cannot be read ({str(error)[:200]}); {REMEDY}",
            key="arms",
            source=folder / SUMMARY,
        ) from None
    return summary, records


# --- figures ---------------------------------------------------------------------------------


def schedule_curves(summary: Summary) -> tuple[dict[str, Curve], dict[str, Curve]]:
    """Return learning rates and momenta as arm -> (epochs, values), from the resolved schedules.

    Momenta are those of the arms that cycle them.
    """
    rates: dict[str, Curve] = {}
    momenta: dict[str, Curve] = {}
    for arm in summary.arms:
        epochs, per_epoch = summary.controlled.epochs, arm.iterations_per_epoch
        if not (epochs and per_epoch and arm.schedule):  # it has no schedule of ours, or no run
            continue
        schedule = schedules.make(
            arm.schedule["kind"],
            {key: value for key, value in arm.schedule.items() if key != "kind"},
            iterations_per_epoch=per_epoch,
            total_iterations=per_epoch * epochs,
        )
        rates[arm.name], momentum = sample(schedule, per_epoch, per_epoch * epochs)
        if momentum is not None:
            momenta[arm.name] = momentum
    return rates, momenta


def sample(schedule: schedules.Schedule, per_epoch: int, total: int) -> tuple[Curve, Curve | None]:
    """Return (epochs, rates) and (epochs, momenta; None if constant) at about 1,000 iterations."""
    steps = sorted({*range(0, total, max(1, total // 1000)), total - 1})
    epochs = [step / per_epoch for step in steps]
    momenta = [m for step in steps if (m := schedule.momentum(step)) is not None]
    rates = (epochs, [schedule.lr(step) for step in steps])
    return rates, (epochs, momenta) if momenta else None


def figures(
    summary: Summary,
    records: Sequence[RunRecord],
    *,
    range_test: Figure | None = None,
    size: Size | None = None,
) -> dict[str, Figure]:
    """Return the report's figures by name, in the page's order; each of this size, in inches."""
    baseline = summary.baseline
    paired = summary.design == "paired"
    one = "seed" if paired else "run"
    metric, scale = summary.metric, summary.scale
    made = {} if range_test is None else {"range_test": range_test}
    rates, momenta = schedule_curves(summary)
    if rates:
        made["lr_schedule"] = plots.lr_schedule(
            rates, momentum=momenta, baseline=baseline, size=size
        )
    for name, drawn in drawn_metrics(metric).items():
        axis = axis_of(records, drawn.name)
        if axis is not None:
            own = scale if drawn == metric else None
            made[name] = epoch_curves(
                records, drawn, axis=axis, scale=own, baseline=baseline, of=one, size=size
            )
    axis = axis_of(records, metric.name)
    if paired and axis is not None:
        panels = seed_curves(
            records, metric, axis=axis, scale=scale, baseline=summary.baseline, size=size
        )
        made |= {"every_seed": panels} if panels else {}
    made |= difference(summary, size=size)
    made |= _times(summary, size)
    searched = summary.tuning.arms if summary.tuning else {}
    searched = {arm: answer for arm, answer in searched.items() if answer.tried}
    if searched:
        made["tuning"] = tuned_rates(searched, baseline=baseline, size=size)
    return made


def _times(summary: Summary, size: Size | None) -> dict[str, Figure]:
    """Return the figures of times to the target, by name; none without a target."""
    target, made = summary.target, dict[str, Figure]()
    if target is None:
        return made
    baseline, scale, metric = summary.baseline, summary.scale, summary.metric
    unit, paired = CLOCKS[summary.clock], summary.design == "paired"
    target_metric = Metric(name=target.metric, mode=metric.mode, unit=metric.unit)
    made["time_to_target"] = time_to_target(
        {arm.name: arm.times.values for arm in summary.arms},
        goal=f"{target_metric.label} holds {scale.brief(target.value)}",
        baseline=baseline,
        limit=summary.controlled.iterations if summary.clock == "iterations" else None,
        unit=unit,
        rows_are=rows_are(summary),
        of="seed" if paired else "run",
        size=size,
    )
    curves = {
        c.arm: c.ratios
        for c in summary.comparisons
        if len(c.ratios) > 1 and any(point.ratio for point in c.ratios)
    }
    if curves:
        made["time_ratio"] = time_ratio(
            curves,
            target_metric,
            scale,
            target=target.value,
            unit=unit,
            baseline=baseline,
            paired=paired,
            size=size,
        )
    return made


def difference(summary: Summary, *, size: Size | None = None) -> dict[str, Figure]:
    """Return the figure of the differences from the baseline by its name; empty without any."""
    if not summary.comparisons:
        return {}
    name = "paired_difference" if summary.design == "paired" else "difference"
    figure = plots.difference(
        _difference_rows(summary),
        summary.metric,
        summary.scale,
        baseline=summary.baseline,
        margin=summary.margin,
        rows_are=rows_are(summary),
        design=summary.design,
        size=size,
    )
    return {name: figure}


def _difference_rows(summary: Summary) -> list[plots.DifferenceRow]:
    """Return every arm's row; unpaired runs as distances from the baseline's mean, its own too."""
    values = {c.arm: c.difference.values for c in summary.comparisons}
    rows = []
    if summary.design == "unpaired":
        spreads = {arm.name: arm.metrics[summary.metric.name] for arm in summary.arms}
        center = spreads[summary.baseline].mean
        if center is not None:
            values = {
                arm: {run: v - center for run, v in spread.values.items() if v is not None}
                for arm, spread in spreads.items()
            }
            rows = [plots.DifferenceRow(summary.baseline, values[summary.baseline])]
    against = {c.arm: c for c in summary.comparisons}
    for c in [against[arm.name] for arm in summary.best_first if arm.name in against]:
        d = c.difference
        interval = (d.mean, d.low, d.high)
        rows.append(plots.DifferenceRow(c.arm, values[c.arm], interval, c.unpaired_seeds))
    return rows


# --- pages -----------------------------------------------------------------------------------


def render(summary: Summary, records: Sequence[RunRecord], made: Mapping[str, Figure]) -> str:
    """Return the whole HTML page, self-contained, with the figures `made` (by `figures`)."""
    probed = "range_test" in made and len(made["range_test"].axes) == 1  # sweeps have two panels
    rates = schedule_curves(summary)[0]
    return page.html(summary, made, captions(summary, records, rates, probed=probed))


def markdown(summary: Summary) -> str:
    """Return the verdict, the tables and the controlled variables in GitHub's Markdown."""
    header, rows = seeds_table(summary)
    arms = len(summary.arms)
    value, unit = summary.metric.heading, CLOCKS[summary.clock].lower()
    if summary.metric.name == "test_accuracy":
        value = "accuracy"
    named = [header[0], *(f"{a}: {value}" for a in header[1 : arms + 1])]
    named += [f"{a}: {unit}" for a in header[arms + 1 :]]
    parts = [
        f"### {plain(summary.experiment)}",
        f"**{plain(headline(summary))}**",
        plain(summary.scope),
        markdown_table(results_table(summary)),
        "\n".join(f"- {plain(c.sentence)}" for c in summary.comparisons),
    ]
    if summary.comparisons:
        parts.append(markdown_table(certainty_table(summary)))
        parts.append(markdown_table(robustness_table(summary)))
    parts.append("\n".join(f"- {plain(k)}: {plain(v)}" for k, v in controlled_rows(summary)))
    if summary.tuning:
        parts.append(markdown_table(tuning_table(summary.tuning)))
    parts += [markdown_table((named, rows)), markdown_table(costs_table(summary))]
    return "\n\n".join(part for part in parts if part) + "\n"


def markdown_table(table: Table | None) -> str:
    """Return a table in GitHub's Markdown; an empty text for None."""
    if table is None:
        return ""
    header, rows = table
    cells = [
        [plain(cell) for cell in header],
        [":--", *["--:"] * (len(header) - 1)],
        *([plain(c) for c in row] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def plain(text: str) -> str:
    """Return text that Markdown takes as text: on one line, without markup of any kind."""
    line = escape(" ".join(text.split()), quote=False)
    return re.sub(r"([\\`*_|\[\]~])", r"\\\1", line)
