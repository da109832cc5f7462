"""Numbers as words: how the report writes a number, and what each figure of it shows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from clr_cli.report.figures.epochs import matrices, mean_interval
from clr_cli.report.figures.style import Curve, number, percent, points

if TYPE_CHECKING:
    from clr_cli.records import RunRecord

NONE = "–"


def value(raw: Any) -> float | None:
    """A number as summary.json holds it: null is None, "inf" is infinity."""
    number_or_none = None if raw is None else float(raw)
    return None if number_or_none is None or math.isnan(number_or_none) else number_or_none


def loss(raw: Any) -> str:
    number_ = value(raw)
    return NONE if number_ is None else "∞" if math.isinf(number_) else f"{number_:.3f}"


def accuracy(raw: Any) -> str:
    number_ = value(raw)
    return NONE if number_ is None else percent(number_)


def spread(measure: Mapping[str, Any]) -> str:
    """Mean and standard deviation of an accuracy over seeds: "95.08 ± 0.21 %"."""
    mean, sd = value(measure.get("mean")), value(measure.get("sd"))
    if mean is None or sd is None:
        return accuracy(mean)
    return f"{100 * mean:.2f} ± {100 * sd:.2f}\N{NO-BREAK SPACE}%"


def difference(measure: Mapping[str, Any]) -> str:
    """Mean difference and its interval in points: "+3.81 [+3.50, +4.12]"."""
    mean, low, high = (value(measure.get(key)) for key in ("mean", "low", "high"))
    if mean is None:
        return NONE
    if low is None or high is None:
        return points(mean)
    return f"{points(mean)} [{points(low)}, {points(high)}]"


def count(raw: Any) -> str:
    number_ = value(raw)
    return NONE if number_ is None else "∞" if math.isinf(number_) else f"{number_:,.0f}"


def p_value(raw: Any) -> str:
    p = value(raw)
    return NONE if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def ratio(measure: Mapping[str, Any] | None) -> str:
    """Median ratio of times and its interval: "0.42 [0.37, 0.55]".

    Beside a ratio, a null high end stands for infinity (misses of the arm); without a low end
    there were too few seeds for an interval.
    """
    middle, *ends = (value((measure or {}).get(key)) for key in ("ratio", "low", "high"))
    if middle is None or math.isinf(middle):
        return NONE
    if middle == 0:
        return "baseline missed"
    if ends[0] is None:
        return number(middle)
    high = "∞" if ends[1] is None or math.isinf(ends[1]) else number(ends[1])
    return f"{number(middle)} [{number(ends[0])}, {high}]"


def duration(raw: Any) -> str:
    """Seconds as people read them: 75 -> "1 min 15 s"."""
    seconds = value(raw)
    if seconds is None:
        return NONE
    if seconds < 59.95:
        return f"{seconds:.3g} s" if seconds else "0 s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


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
        + f" The target, {accuracy(target['value'])} on validation, was fixed beforehand.",
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
            text += " mean, but counted at chance in the tables."
    return text


def _paired(comparison: Mapping[str, Any], margin: float) -> str:
    arm, baseline, n = comparison["arm"], comparison["baseline"], comparison["n"]
    low, high = (value(comparison["difference"].get(key)) for key in ("low", "high"))
    text = f"{arm} is ahead of {baseline} with {comparison['wins']} of {n} seeds"
    text += f", level with {comparison['ties']}" if comparison["ties"] else ""
    if low is None or high is None:
        return f"{text}; there are too few seeds for an interval."
    if low > margin or high < -margin:
        place = "lies wholly outside the margin"
    elif -margin < low and high < margin:
        place = "lies wholly inside the margin"
    elif low > 0 or high < 0:
        place = "leaves out zero but not the margin"
    else:
        place = "holds zero"
    return f"{text}; the interval {place} of ±{number(100 * margin)} points."


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
