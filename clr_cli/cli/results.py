"""Results at the prompt: the short table of a comparison, the answer of a range test."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from clr_cli import schedules
from clr_cli.analysis.headline import headline
from clr_cli.analysis.lattice import DISTANCE
from clr_cli.cli import terminal
from clr_cli.format import NONE, Scale, decimals, duration, reached_at, rounded_lr
from clr_cli.format import p_value as p_cell
from clr_cli.records import Metric
from clr_cli.report.range_test import ESTIMATES
from clr_cli.report.tables import main_times, rows_are, trained

MOST_SENTENCES = 4  # at the prompt, below the headline


def print_summary(summary: Summary) -> None:
    """The comparison's short table on stdout, then the verdict."""
    comparisons = {c.arm: c for c in summary.comparisons}
    scale, metric = summary.scale, summary.metric
    beside = [
        name
        for name in ("test_loss", "train_loss")
        if name != metric.name and all(name in arm.metrics for arm in summary.arms)
    ]
    unit = f" {metric.unit}" if metric.unit else ""
    headers = [rows_are(summary).lower(), "seeds" if summary.design == "paired" else "runs"]
    headers += [metric.label + unit, *(name.replace("_", " ") for name in beside)]
    tested = any(each.p_holm is not None for each in summary.comparisons)  # not by looks
    headers += ["difference", *(.p * tested), *(["to target"] if summary.target else [])]
    rows = []
    for arm in summary.arms:
        against, measured = comparisons.get(arm.name), arm.metrics
        row = [arm.name, trained(arm), _or_diverged(measured[metric.name], scale)]
        row += [_or_diverged(measured[name], Scale("", 3)) for name in beside]
        row.append("baseline" if against is None else _difference(against.difference, scale))
        row += ["" if against is None else p_cell(against.p_holm)] * tested
        row += [reached_at(arm.times.median)] if summary.target else []
        rows.append(row)
    terminal.table(headers, rows)
    terminal.sentences([headline(summary)])
    print()
    sentences = [comparison.sentence for comparison in summary.comparisons]
    if len(sentences) > MOST_SENTENCES:  # the page has them all
        sentences = []
    terminal.sentences([*sentences, summary.scope])
    print()


def _or_diverged(measure: Mapping[str, Any], scale: Scale) -> str:
    text = scale.mean_sd(measure)
    return "diverged" if text == NONE else text


def _difference(measure: Mapping[str, Any], scale: Scale) -> str:
    """Mean difference and interval: "+3.81 (+3.50 to +4.12)"."""
    mean, low, high = (measure[key] for key in ("mean", "low", "high"))
    if mean is None:
        return "-"
    ends = [scale.bare(end, sign=True) for end in (low, high)]
    spread = "" if low is None or high is None else f" ({ends[0]} to {ends[1]})"
    return scale.bare(mean, sign=True) + spread


def print_range_test(result: RangeTestResult) -> None:
    """The answer, or why there is none, and the snippet to paste."""
    print()
    found = result.answer
    rows = _sweep_rows(result) if found is None else _probe_rows(found, result["seconds"])
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        terminal.hanging(f"{name:<{width}}  ", text)
    print()
    if result.inconclusive:
        print("inconclusive:", *result.inconclusive.splitlines(), sep="\n  ")
        print()
        return
    kind = "triangular" if found is None else found.kind
    if found is None:
        low, high = (rounded_lr(result["estimates"][k]["value"]) for k in ("base_lr", "max_lr"))
    else:
        low, high = found.base_lr, found.max_lr
    if kind is None:  # of a program of the user's
        return
    rates = f"base_lr: {low:g}, max_lr: {high:g}"
    if "base_lr" not in schedules.KINDS[kind].model_fields:
        key = "max_lr" if "max_lr" in schedules.KINDS[kind].model_fields else "lr"
        rates = f"{key}: {high:g}"
    name = "clr" if found is None else found.schedule
    print("To use it, put into the config (or give --bounds):")
    print(f"  schedules:\n    {name}: {{kind: {kind}, {rates}}}\n")


def _sweep_rows(result: RangeTestResult) -> list[tuple[str, str]]:
    """The sweeps' estimates with their reasons, and what such an answer is worth."""
    rows = []
    for name in ESTIMATES:
        found = result["estimates"][name]
        if found is not None:
            spread = f"{found.low:.3g} to {found.high:.3g} over the sweeps"
            rows.append((name, f"{found.value:.3g} ({spread}): {found['reason']}"))
    ramp = result["range"]
    range_ = f"{ramp.min_lr:g} to {ramp.max_lr:g}"
    return [
        *rows,
        ("note", f"this answer depends on the range ({range_}); --probes on has one that does not"),
    ]


def _probe_rows(found: Mapping[str, Any], seconds: float) -> list[tuple[str, str]]:
    """What the probes came to, a row for each part of the answer."""
    length = "one run"
    if found.iterations is not None:
        length = f"{found.iterations:,} iterations ({found.epochs:.3g} epochs)"
    scale = Scale(found.metric.unit, 2)
    if scale.unit != "%":
        scale = Scale(scale.unit, decimals([found.sd], [found.top or 0.0]))
    rates = [each.rate for each in found.tried]
    rows = []
    if found.low is not None:
        best = f"the best three rates' mean, {scale.brief(found.top)}"
        within = f"within {scale.bare(found.delta)}{scale.points} of {best}, after {length}"
        rows.append(("good rates", f"{found.low:.2g} to {found.high:.2g}: {within}"))
    if found.max_lr is not None:
        centre = math.isclose(found.max_lr, math.sqrt(found.low * found.high), rel_tol=0.1)
        why = (
            "their centre in log LR"
            if centre
            else f"a factor of {DISTANCE:g} below where runs fail"
        )
        rows.append(("max_lr", f"{found.max_lr:g}: {why}"))
        rows.append(("base_lr", f"{found.base_lr:g}"))
    if rates and found.max_lr is not None:
        top = f"no probe failed up to {max(rates):.2g}"
        cliff = f"from {found.cliff:.2g} on, runs fail" if found.cliff else top
        rows.append(("cliff", cliff))
    if found.bound is not None:
        most = f"{scale.bare(found.bound)}{scale.points}"
        said = f"no rate tried is better than max_lr by more than {most} (95 %, at this length)"
        rows.append(("bound", said))
    rows.append(("probes", f"{found.probes} of {length}, {duration(seconds)} in all"))
    rows += [("certified", each.sentence) for each in found.certified]
    return rows
