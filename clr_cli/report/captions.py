"""What each figure of the report shows, in words and numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from clr_cli.format import accuracy, count, loss, number, value
from clr_cli.report.figures.epochs import matrices, mean_interval
from clr_cli.report.figures.style import Curve

if TYPE_CHECKING:
    from clr_cli.records import RunRecord


def captions(
    summary: Mapping[str, Any], records: Sequence[RunRecord], schedules: Mapping[str, Curve]
) -> dict[str, str]:
    """What to see in each figure, in words and numbers, by the figure's name."""
    target = summary["target"]
    return {
        "range_test": _range_test(summary["arms"]),
        "lr_schedule": _lines(_schedule(arm, *curve) for arm, curve in schedules.items()),
        "train_loss": _final(records, "train_loss", summary),
        "test_loss": _final(records, "test_loss", summary),
        "test_accuracy": _final(records, "test_accuracy", summary),
        "paired_difference": _lines(_paired(c, summary["margin"]) for c in summary["comparisons"]),
        "time_to_target": _lines(_times(arm, summary) for arm in summary["arms"])
        + f" The target is {target['source']}.",
        "time_ratio": "Below 1 the schedule is sooner than the baseline, above 1 later. A band"
        " that holds 1 leaves it undecided at that target. The dashed line is the target of the"
        " verdict; a band needs 6 seeds.",
    }


def _lines(sentences: Sequence[str] | Iterator[str]) -> str:
    return " ".join(sentence for sentence in sentences if sentence)


def _range_test(arms: Sequence[Mapping[str, Any]]) -> str:
    text = "Each line is one sweep with its own seed; the dashed lines are the bounds it suggests."
    for arm in arms:
        low, high = (arm["schedule"].get(key) for key in ("base_lr", "max_lr"))
        if low is not None and high is not None:
            text += f" {arm['name']} was run from {number(low)} to {number(high)}."
    return text


def _schedule(arm: str, epochs: Sequence[float], rates: Sequence[float]) -> str:
    if not len(rates):
        return ""
    low, high = min(rates), max(rates)
    if high - low < 1e-12:
        return f"{arm} stays at {number(high)}."
    top = [rate > low + 0.5 * (high - low) for rate in rates]
    rises = sum(now and not before for before, now in zip([False, *top], top, strict=False))
    peaks = f" in {rises} cycles" if rises > 1 else ""
    text = f"{arm} moves between {number(low)} and {number(high)}{peaks}"
    end = number(rates[-1]) if rates[-1] > 1e-4 * high else "about 0"
    return f"{text} and ends at {end}."


def _final(records: Sequence[RunRecord], key: str, summary: Mapping[str, Any]) -> str:
    """Final means, best first; then which mean still swings in the last quarter of training."""
    better = 1 if key.endswith("accuracy") else -1
    show = accuracy if better > 0 else loss
    means = {arm: mean_interval(values)[0] for arm, values in matrices(records, key).items()}
    final = {arm: mean[-1] for arm, mean in means.items() if math.isfinite(mean[-1])}
    if not final:
        return "No run reached the last epoch."
    order = sorted(final, key=lambda arm: -better * final[arm])
    text = "After the last epoch: " + ", ".join(f"{arm} {show(final[arm])}" for arm in order) + "."
    if better > 0:
        swings = {
            arm: float(np.nanmax(late) - np.nanmin(late))
            for arm in order
            if len(late := means[arm][-(len(means[arm]) // 4 or 1) :]) > 2
        }
        if swings:
            widest = max(swings, key=lambda arm: swings[arm])
            calmest = min(swings, key=lambda arm: swings[arm])
            text += f" Over the last quarter of training the curve of {widest} moves by"
            text += f" {100 * swings[widest]:.1f} points"
            other = f", that of {calmest} by {100 * swings[calmest]:.1f}"
            text += f"{other}." if widest != calmest else "."
    for arm in summary["arms"]:
        if arm["diverged"]:
            text += f" {arm['diverged']} of {arm['n']} runs of {arm['name']} diverged: not in this"
            text += " mean, and named in the tables."
    return text


def _paired(comparison: Mapping[str, Any], margin: float) -> str:
    arm, baseline, n = comparison["arm"], comparison["baseline"], comparison["n"]
    low, high = (value(comparison["difference"].get(key)) for key in ("low", "high"))
    text = f"{arm} is ahead of {baseline} with {comparison['wins']} of {n} seeds"
    text += f", level with {comparison['ties']}" if comparison["ties"] else ""
    if low is None or high is None:
        return f"{text}; there are too few seeds for an interval."
    band = f"±{number(100 * margin)} points"
    if low > margin or high < -margin:
        place = f"lies wholly outside {band}"
    elif -margin < low and high < margin:
        place = f"lies wholly inside {band}"
    elif low > 0 or high < 0:
        place = f"leaves out zero but overlaps {band}"
    else:
        place = "contains zero"
    return f"{text}; the 95 % interval {place}."


def _times(arm: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
    times = arm["time_to_target"]["iterations"]
    reached = sum(time is not None for time in times["values"].values())
    n, median = len(times["values"]), value(times["median"])
    if not reached:
        return f"{arm['name']} never held it ({n} of {n} runs missed)."
    misses = "" if reached == n else f"; {n - reached} of {n} runs missed"
    if median is None or math.isinf(median):
        return f"{arm['name']} held it in only {reached} of {n} runs."
    contract = summary["contract"]
    share = (
        f" ({100 * median / contract['iterations']:.0f} % of the run)"
        if contract.get("iterations")
        else ""
    )
    return f"{arm['name']} held it after a median of {count(median)} iterations{share}{misses}."
