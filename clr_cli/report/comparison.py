"""Finished results -> one self-contained HTML page, or Markdown; from runs.csv and summary.json.

Nothing here trains or imports torch, so a report can be made again wherever its files lie.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from clr_cli import schedules
from clr_cli.analysis.headline import headline
from clr_cli.errors import InputError
from clr_cli.format import Scale
from clr_cli.paths import RUNS, SUMMARY
from clr_cli.records import Metric, RunRecord, Summary, read
from clr_cli.report import page
from clr_cli.report.captions import captions, drawn_metrics
from clr_cli.report.controlled import contract_rows
from clr_cli.report.figures import comparison as plots
from clr_cli.report.figures.epochs import axis_of
from clr_cli.report.figures.style import Curve, Size
from clr_cli.report.runs import read_runs_csv
from clr_cli.report.tables import (
    CLOCKS,
    Table,
    certainty_table,
    clock_of,
    costs_table,
    further_table,
    main_times,
    name_of,
    results_table,
    rows_are,
    seeds_table,
    tuning_table,
)

REMEDY = "run the same clr compare again to write it anew (finished runs are kept)"

# --- files -----------------------------------------------------------------------------------


def load(folder: Path) -> tuple[dict[str, Any], list[RunRecord]]:
    """(summary, records) of a compare folder. Raises InputError for missing or damaged files."""
    for name in (SUMMARY, RUNS):
        if not (folder / name).exists():
            raise InputError(f"{folder}: no {name} here; clr compare writes it")
    summary = read(Summary, folder / SUMMARY, remedy=REMEDY).plain()
    try:
        records = read_runs_csv((folder / RUNS).read_text("utf-8"))
    except (OSError, ValueError, KeyError, TypeError, OverflowError, csv.Error) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise InputError(f"damaged: {reason}; {REMEDY}", source=folder / RUNS) from None
    arms = {arm["name"] for arm in summary["arms"]}
    if {record.arm for record in records} != arms:
        raise InputError(f"not the runs of {SUMMARY} ({', '.join(arms)})", source=folder / RUNS)
    known = [*arms, summary["baseline"]]
    for comparison in summary["comparisons"]:
        if comparison["arm"] not in arms or comparison["baseline"] not in known:
            raise InputError("a comparison of an arm that is not there", source=folder / SUMMARY)
    name = summary["metric"]["name"]
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


def schedule_curves(summary: Mapping[str, Any]) -> tuple[dict[str, Curve], dict[str, Curve]]:
    """(learning rates, momenta) as arm -> (epochs, values), remade from the resolved schedules.

    Only arms that cycle the momentum are in the second.
    """
    contract = summary["contract"]
    rates: dict[str, Curve] = {}
    momenta: dict[str, Curve] = {}
    if contract.get("epochs") is None:
        return rates, momenta
    epochs = int(contract["epochs"])
    for arm in summary["arms"]:
        if not arm["schedule"]:  # no run of it has an answer
            continue
        # An earlier version told it of all arms together.
        per_epoch = arm.get("iterations_per_epoch") or max(
            1, round(int(contract["iterations"]) / epochs)
        )
        total = per_epoch * epochs
        params = {key: v for key, v in arm["schedule"].items() if key != "kind"}
        schedule = schedules.make(
            arm["schedule"]["kind"],
            params,
            iterations_per_epoch=per_epoch,
            total_iterations=total,
        )
        rates[arm["name"]], momentum = sample(schedule, per_epoch, total)
        if momentum is not None:
            momenta[arm["name"]] = momentum
    return rates, momenta


def sample(schedule: schedules.Schedule, per_epoch: int, total: int) -> tuple[Curve, Curve | None]:
    """(epochs, rates) and (epochs, momenta; None if untouched) at about 1,000 iterations."""
    steps = sorted({*range(0, total, max(1, total // 1000)), total - 1})
    epochs = [step / per_epoch for step in steps]
    momenta = [m for step in steps if (m := schedule.momentum(step)) is not None]
    rates = (epochs, [schedule.lr(step) for step in steps])
    return rates, (epochs, momenta) if momenta else None


def figures(
    summary: Mapping[str, Any],
    records: Sequence[RunRecord],
    *,
    range_test: Figure | None = None,
    size: Size | None = None,
) -> dict[str, Figure]:
    """The report's figures by name, in the page's order; `size` (inches) is that of each."""
    baseline, kind = summary["baseline"], rows_are(summary)
    one = "seed" if summary["design"] == "paired" else "run"
    metric, scale = Metric(**summary["metric"]), Scale.of(summary)
    wide = {} if size is None else {"size": size}
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
            made[name] = plots.epoch_curves(
                records, drawn, axis=axis, scale=own, baseline=baseline, of=one, **wide
            )
    if summary["comparisons"]:
        name = "paired_difference" if summary["design"] == "paired" else "difference"
        made[name] = plots.difference(
            _drawn_differences(summary),
            metric,
            scale,
            margin=summary["margin"],
            rows_are=kind,
            design=summary["design"],
            size=size,
        )
    target = summary["target"]
    if target is None:
        return made
    unit, watched = (
        CLOCKS[clock_of(summary)],
        Metric(**{**metric.plain(), "name": target["metric"]}),
    )
    made["time_to_target"] = plots.time_to_target(
        {arm["name"]: main_times(arm)["values"] for arm in summary["arms"]},
        goal=f"{watched.label} holds {_goal(target['value'], scale)}",
        baseline=baseline,
        limit=summary["contract"].get("iterations") if unit == "Iterations" else None,
        unit=unit,
        rows_are=kind,
        of=one,
        size=size,
    )
    curves = {c["arm"]: c["ratios"] for c in summary["comparisons"] if len(c["ratios"]) > 1}
    if curves:
        made["time_ratio"] = plots.time_ratio(
            curves,
            watched,
            scale,
            target=target["value"],
            unit=unit,
            baseline=baseline,
            paired=summary["design"] == "paired",
            size=size,
        )
    return made


def _goal(target: float, scale: Scale) -> str:
    return scale.shown(target) if scale.unit == "%" else scale.brief(target)


def _drawn_differences(summary: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The comparisons; unpaired runs as what they differ from the baseline's mean, its own too."""
    if summary["design"] != "unpaired":
        return list(summary["comparisons"])
    arms = {arm["name"]: arm["metrics"][summary["metric"]["name"]] for arm in summary["arms"]}
    baseline = summary["baseline"]
    centre = arms[baseline]["mean"] if baseline in arms else None

    def runs(arm: str) -> dict[str, float]:
        values = arms[arm]["values"] if centre is not None else {}
        return {run: value - centre for run, value in values.items() if value is not None}

    none = {"mean": None, "low": None, "high": None}
    own = [{"arm": baseline, "baseline": baseline, "difference": none}] if centre else []
    return [
        {**c, "difference": {**c["difference"], "values": runs(c["arm"])}}
        for c in [*own, *summary["comparisons"]]
    ]


# --- pages -----------------------------------------------------------------------------------


def render(
    summary: Mapping[str, Any],
    records: Sequence[RunRecord],
    made: Mapping[str, Figure],
    *,
    config: str = "",
    command: str = "",
) -> str:
    """The whole HTML page, self-contained, with the figures `made` (by `figures`) in it.

    `config` is the resolved config's text and `command` what repeats the comparison.
    """
    texts = captions(summary, records, schedule_curves(summary)[0])
    return page.html(summary, made, texts, config=config, command=command)


def markdown(summary: Mapping[str, Any]) -> str:
    """The verdict, the tables and the contract, as GitHub reads them."""
    header, rows = seeds_table(summary)
    arms = len(summary["arms"])
    value, unit = name_of(summary), CLOCKS[clock_of(summary)].lower()
    if summary["metric"]["name"] == "test_accuracy":
        value = "accuracy"
    named = [header[0], *(f"{a}: {value}" for a in header[1 : arms + 1])]
    named += [f"{a}: {unit}" for a in header[arms + 1 :]]
    parts = [
        f"### {_plain(summary['experiment'])}",
        f"**{_plain(headline(summary))}**",
        _plain(summary["scope"]),
        _markdown_table(results_table(summary)),
        "\n".join(f"- {_plain(c['sentence'])}" for c in summary["comparisons"]),
    ]
    if summary["comparisons"]:
        parts.append(_markdown_table(certainty_table(summary)))
        parts.append(_markdown_table(further_table(summary)))
    parts.append("\n".join(f"- {_plain(k)}: {_plain(v)}" for k, v in contract_rows(summary)))
    if summary["tuning"]:
        parts.append(_markdown_table(tuning_table(summary)))
    parts += [_markdown_table((named, rows)), _markdown_table(costs_table(summary))]
    return "\n\n".join(part for part in parts if part) + "\n"


def _markdown_table(table: Table | None) -> str:
    if table is None:
        return ""
    header, rows = table
    cells = [
        [_plain(cell) for cell in header],
        [":--", *["--:"] * (len(header) - 1)],
        *([_plain(c) for c in row] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _plain(text: Any) -> str:
    """Text that Markdown takes as text: on one line, without markup of any kind."""
    line = escape(" ".join(str(text).split()), quote=False)
    return re.sub(r"([\\`*_|\[\]~])", r"\\\1", line)
