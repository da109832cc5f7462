"""The captions of the report's figures: what each shows, in words and numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clr_cli.format import loss, moment, number
from clr_cli.records import KNOWN, ArmSummary, Comparison, Metric, Summary, Target
from clr_cli.report.figures.curves import axis_of, curves, mean_interval
from clr_cli.report.figures.style import Curve
from clr_cli.report.figures.times import MOST_BANDS

if TYPE_CHECKING:
    from clr_cli.records import RunRecord


def captions(
    summary: Summary,
    records: Sequence[RunRecord],
    schedules: Mapping[str, Curve],
    *,
    probed: bool = False,
) -> dict[str, str]:
    """Return the caption of each figure, by the figure's name.

    probed: whether the range test's figure shows its probes; otherwise it shows the sweeps.
    """
    target, metrics = summary.target, drawn_metrics(summary.metric)
    texts = {
        "range_test": _range_test(summary.arms, probed),
        "lr_schedule": _join(_schedule(arm, *curve) for arm, curve in schedules.items()),
        **{name: _final(records, drawn, summary) for name, drawn in metrics.items()},
        "every_seed": _every_seed(summary),
        "tuning": "Mean score at each rate tried. A bar spans the good rates: within 3 points of"
        " the mean of the arm’s best three.",
        "paired_difference": _differences(_paired, summary),
        "difference": _differences(_unpaired, summary),
    }
    if target:
        one = "schedule" if schedules else "arm"
        texts["time_to_target"] = f"{_all_times(summary)} The target is {target.source}."
        texts["time_ratio"] = _time_ratio(summary, target, one)
    return texts


def _time_ratio(summary: Summary, target: Target, one: str) -> str:
    """Say what the figure shows, and of bands and of the dashed line only if they are drawn."""
    text = f"Below 1 the {one} is sooner than the baseline, above 1 later."
    curves = [c.ratios for c in summary.comparisons if len(c.ratios) > 1]
    if any(point.ratio is None for curve in curves for point in curve):
        text += " A gap in a line means that most runs of the arm miss the target."
    if len(curves) > MOST_BANDS:
        text += " The intervals at the target are in the table “How sure”."
    elif any(point.low is not None for curve in curves for point in curve):
        text += " Where the band contains 1, the comparison is undecided at that target."
    else:
        least = "6 seeds" if summary.design == "paired" else "5 runs"
        text += f" There is no band: it needs {least}."
    targets = [point.target for curve in curves for point in curve]
    if targets and min(targets) <= target.value <= max(targets):
        text += " The dashed line is the target of the verdict."
    return text


def drawn_metrics(metric: Metric) -> dict[str, Metric]:
    """Return the metrics that are drawn against progress where runs have them, by figure.

    A figure's name is a file's name, so that of an unknown metric is not in it.
    """
    drawn = {name: KNOWN[name] for name in ("train_loss", "test_loss")}
    return drawn | {metric.name if metric.name in KNOWN else "metric": metric}


def _join(sentences: Iterable[str]) -> str:
    return " ".join(sentence for sentence in sentences if sentence)


def _every_seed(summary: Summary) -> str:
    text = "Each panel shows the runs of one seed"
    if len(summary.comparisons) != 1:
        return f"{text}."
    (c,) = summary.comparisons
    return f"{text}; its title gives the difference at the end, {c.arm} minus {c.baseline}."


def _range_test(arms: Sequence[ArmSummary], probed: bool) -> str:
    text = "Each line is one sweep with its own seed; the ring is where accuracy is highest."
    if probed:
        text = "A dot is a probe, the line joins their means; the shaded rates are good, the ring"
        text += " is the one that was chosen."
    for arm in arms:
        low, high = (arm.schedule.get(key) for key in ("base_lr", "max_lr"))
        if low is not None and high is not None:
            text += f" {arm.name} was run from {number(low)} to {number(high)}."
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


def _final(records: Sequence[RunRecord], metric: Metric, summary: Summary) -> str:
    """Return final means, best first, and how far means move in the last quarter of training."""
    axis = axis_of(records, metric.name)
    if axis is None:
        return ""
    show = summary.scale.shown if metric.name == summary.metric.name else loss
    by_arm = curves(records, metric.name, axis)
    final = {arm: mean for arm, each in by_arm.items() if (mean := each.mean) is not None}
    if not final:
        return "No run reached the last epoch."
    order = sorted(final, key=lambda arm: -metric.sign * final[arm])
    end = "After the last epoch" if axis == "epoch" else "At the end"
    text = f"{end}: " + ", ".join(f"{arm} {show(final[arm])}" for arm in order) + "."
    if metric.unit == "%" and axis == "epoch":
        text += _swings({arm: mean_interval(by_arm[arm].values)[0] for arm in order})
    for arm in summary.arms:
        if arm.diverged:
            text += f" {arm.diverged} of {arm.n} runs of {arm.name} diverged;"
            text += " it is" if arm.diverged == 1 else " they are"
            text += " left out of this mean and listed in the tables."
    return text


def _swings(means: Mapping[str, NDArray[np.float64]]) -> str:
    """Return how far the mean curves of fractions move in the last quarter of training."""
    swings = {
        arm: float(np.nanmax(late) - np.nanmin(late))
        for arm, mean in means.items()
        if np.isfinite(late := mean[-(len(mean) // 4 or 1) :]).sum() > 2
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


def _differences(one: Callable[[Comparison, Summary], str], summary: Summary) -> str:
    """Return a sentence on every arm; for many, where the intervals lie."""
    comparisons = summary.comparisons
    if len(comparisons) <= MOST:
        return _join(one(c, summary) for c in comparisons)
    places: dict[str, list[str]] = {}
    for c in comparisons:
        place = _placed(c, summary) or "there are too few runs for an interval"
        places.setdefault(place, []).append(c.arm)
    return _join(
        f"{place[:1].upper()}{place[1:]}: {', '.join(arms)}." for place, arms in places.items()
    )


def _paired(comparison: Comparison, summary: Summary) -> str:
    arm, baseline, n = comparison.arm, comparison.baseline, comparison.n
    if not n:
        return f"{arm} has no seed that trained in both arms."
    text = f"{arm} is ahead of {baseline} with {comparison.wins} of {n} seeds"
    text += f", level with {comparison.ties}" if comparison.ties else ""
    place = _placed(comparison, summary)
    return f"{text}; {place or 'there are too few seeds for an interval'}."


def _unpaired(comparison: Comparison, summary: Summary) -> str:
    place = _placed(comparison, summary)
    return f"{comparison.arm}: {place or 'there are too few runs for an interval'}."


def _placed(comparison: Comparison, summary: Summary) -> str:
    """Return where the interval lies that decides; "" where there is none."""
    difference, margin = comparison.difference, summary.margin or 0.0
    low, high = difference.low, difference.high
    if low is None or high is None:
        return ""
    scale = summary.scale
    band = f"±{number(scale.factor * margin)}{scale.points}"
    if -margin < low and high < margin:
        place = f"lies wholly inside {band}"
    elif margin and (low > margin or high < -margin):
        place = f"lies wholly outside {band}"
    elif low > 0 or high < 0:
        place = f"leaves out zero but overlaps {band}" if margin else "leaves out zero"
    else:
        place = "contains zero"
    return f"the {100 * difference.level:.3g} % interval {place}"


def _all_times(summary: Summary) -> str:
    """Return a sentence on every arm; for many, the medians and the misses."""
    arms = summary.arms
    if len(arms) <= MOST + 1:
        return _join(_times(arm, summary) for arm in arms)
    never = [arm.name for arm in arms if arm.times.values and not _reached(arm)]
    some = [
        f"{len(values) - reached} of {len(values)} runs of {arm.name}"
        for arm in arms
        if (values := arm.times.values) and 0 < (reached := _reached(arm)) < len(values)
    ]
    medians = [(arm.name, arm.times.median) for arm in arms]
    known = [f"{name} {moment(median)}" for name, median in medians if median is not None]
    return _join(
        [
            f"Median {summary.clock}: {', '.join(known)}." if known else "",
            f"Missed by {', '.join(some)}." if some else "",
            f"Missed by every run of {', '.join(never)}." if never else "",
        ]
    )


def _reached(arm: ArmSummary) -> int:
    return sum(time is not None for time in arm.times.values.values())


def _times(arm: ArmSummary, summary: Summary) -> str:
    clock, reached, median = summary.clock, _reached(arm), arm.times.median
    n = len(arm.times.values)
    if not n:
        return f"No run of {arm.name} finished."
    if not reached:
        return f"{arm.name} never held it ({n} of {n} runs missed)."
    misses = "" if reached == n else f"; {n - reached} of {n} runs missed"
    if median is None:
        return f"{arm.name} held it in only {reached} of {n} runs."
    share, total = "", summary.controlled.iterations
    if total and clock == "iterations":
        share = f" ({100 * median / total:.0f} % of the run)"
    return f"{arm.name} held it after a median of {moment(median)} {clock}{share}{misses}."
