"""What each figure of the report shows, in words and numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clr_cli.format import Scale, loss, moment, number, value
from clr_cli.records import KNOWN, Metric
from clr_cli.report.figures.epochs import axis_of, curves, mean_interval
from clr_cli.report.figures.style import Curve
from clr_cli.report.tables import clock_of, main_times, median_time

if TYPE_CHECKING:
    from clr_cli.records import RunRecord


def captions(
    summary: Mapping[str, Any], records: Sequence[RunRecord], schedules: Mapping[str, Curve]
) -> dict[str, str]:
    """What to see in each figure, in words and numbers, by the figure's name."""
    target, metric = summary["target"], Metric(**summary["metric"])
    said = {
        "range_test": _range_test(summary["arms"]),
        "lr_schedule": _lines(_schedule(arm, *curve) for arm, curve in schedules.items()),
        **{name: _final(records, drawn, summary) for name, drawn in drawn_metrics(metric).items()},
        "paired_difference": _differences(_paired, summary),
        "difference": _differences(_unpaired, summary),
    }
    if target:
        one = "schedule" if schedules else "arm"
        said["time_to_target"] = _all_times(summary)
        said["time_to_target"] += f" The target is {target['source']}."
        said["time_ratio"] = (
            f"Below 1 the {one} is sooner than the baseline, above 1 later. A band that holds 1"
            " leaves it undecided at that target. The dashed line is the target of the verdict; a"
            f" band needs {'6 seeds' if summary['design'] == 'paired' else '5 runs'}."
        )
    return said


def drawn_metrics(metric: Metric) -> dict[str, Metric]:
    """The metrics that are drawn against progress where runs tell them, by their figure's name.

    A figure's name is a file's name, so a metric that is not among the known ones has none in it.
    """
    drawn = {name: KNOWN[name] for name in ("train_loss", "test_loss")}
    return drawn | {metric.name if metric.name in KNOWN else "metric": metric}


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


def _final(records: Sequence[RunRecord], metric: Metric, summary: Mapping[str, Any]) -> str:
    """Final means, best first; then which mean still swings in the last quarter of training."""
    axis = axis_of(records, metric.name)
    if axis is None:
        return ""
    headline = metric.name == summary["metric"]["name"]
    show = Scale.of(summary).shown if headline else loss
    found = curves(records, metric.name, axis)
    final = {
        arm: float(np.nanmean(each.final))
        for arm, each in found.items()
        if np.isfinite(each.final).any()
    }
    if not final:
        return "No run reached the last epoch."
    order = sorted(final, key=lambda arm: -metric.sign * final[arm])
    end = "After the last epoch" if axis == "epoch" else "At the end"
    text = f"{end}: " + ", ".join(f"{arm} {show(final[arm])}" for arm in order) + "."
    if metric.unit == "%" and axis == "epoch":
        text += _swings({arm: mean_interval(found[arm].values)[0] for arm in order})
    for arm in summary["arms"]:
        if arm["diverged"]:
            text += f" {arm['diverged']} of {arm['n']} runs of {arm['name']} diverged: not in this"
            text += " mean, and named in the tables."
    return text


def _swings(means: Mapping[str, NDArray[np.float64]]) -> str:
    """How far the mean curves of fractions still move in the last quarter of training."""
    swings = {
        arm: float(np.nanmax(late) - np.nanmin(late))
        for arm, mean in means.items()
        if len(late := mean[-(len(mean) // 4 or 1) :]) > 2
    }
    if not swings:
        return ""
    widest = max(swings, key=lambda arm: swings[arm])
    calmest = min(swings, key=lambda arm: swings[arm])
    text = f" Over the last quarter of training the curve of {widest} moves by"
    text += f" {100 * swings[widest]:.1f} points"
    other = f", that of {calmest} by {100 * swings[calmest]:.1f}"
    return text + (f"{other}." if widest != calmest else ".")


MOST = 4  # arms with a sentence each


def _differences(
    one: Callable[[Mapping[str, Any], Mapping[str, Any]], str], summary: Mapping[str, Any]
) -> str:
    """A sentence on every arm; of many, where the intervals lie."""
    comparisons = summary["comparisons"]
    if len(comparisons) <= MOST:
        return _lines(one(c, summary) for c in comparisons)
    places: dict[str, list[str]] = {}
    for c in comparisons:
        place = _placed(c, summary) or "there are too few runs for an interval"
        places.setdefault(place, []).append(c["arm"])
    return _lines(
        f"{place[:1].upper()}{place[1:]}: {', '.join(arms)}." for place, arms in places.items()
    )


def _paired(comparison: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
    arm, baseline, n = comparison["arm"], comparison["baseline"], comparison["n"]
    if not n:
        return f"{arm} has no seed that trained in both arms."
    text = f"{arm} is ahead of {baseline} with {comparison['wins']} of {n} seeds"
    text += f", level with {comparison['ties']}" if comparison["ties"] else ""
    place = _placed(comparison, summary)
    return f"{text}; {place or 'there are too few seeds for an interval'}."


def _unpaired(comparison: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
    place = _placed(comparison, summary)
    return f"{comparison['arm']}: {place or 'there are too few runs for an interval'}."


def _placed(comparison: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
    """Where the interval lies that is drawn; nothing where there is none.

    A claim must pass a wider interval. Where the two do not agree, that is said.
    """
    difference, margin = comparison["difference"], summary["margin"] or 0.0
    low, high = (value(difference.get(key)) for key in ("low", "high"))
    if low is None or high is None:
        return ""
    scale, verdict = Scale.of(summary), comparison["verdict"]
    band = f"±{number(scale.factor * margin)}{scale.points}"
    claimed = verdict in ("better", "worse", "equivalent", "identical")
    if -margin < low and high < margin:
        place, claimed = f"lies wholly inside {band}", verdict in ("equivalent", "identical")
    elif margin and (low > margin or high < -margin):
        place = f"lies wholly outside {band}"
    elif low > 0 or high < 0:
        place = f"leaves out zero but overlaps {band}" if margin else "leaves out zero"
    else:
        place, claimed = "contains zero", True
    wider = (difference.get("claim") or {}).get("level")
    if not claimed and wider is not None and verdict != "too_few_seeds":
        place += f", but a claim needs the wider {100 * wider:.3g} % interval"
        place += " and the test" if "inside" not in place else ""
    return f"the 95 % interval {place}"


def _all_times(summary: Mapping[str, Any]) -> str:
    """A sentence on every arm; of many, the medians and who missed."""
    arms = summary["arms"]
    if len(arms) <= MOST + 1:
        return _lines(_times(arm, summary) for arm in arms)
    missed = [
        f"{len(values) - arm['time_to_target']['reached']} of {len(values)} runs of {arm['name']}"
        for arm in arms
        if (values := main_times(arm)["values"]) and arm["time_to_target"]["reached"] < len(values)
    ]
    medians = ", ".join(f"{arm['name']} {median_time(arm).partition(' ')[0]}" for arm in arms)
    text = f"Median {clock_of(summary)}: {medians}."
    return f"{text} Missed by {', '.join(missed)}." if missed else text


def _times(arm: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
    times, clock = main_times(arm), clock_of(summary)
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
        if contract.get("iterations") and clock == "iterations"
        else ""
    )
    return f"{arm['name']} held it after a median of {moment(median)} {clock}{share}{misses}."
