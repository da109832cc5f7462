"""Compute times to target, when a run reaches a value and holds it, and their ratios."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
from scipy import special

from clr_cli.analysis.designs import unpaired
from clr_cli.analysis.rule import ALPHA
from clr_cli.records import CLOCKS, VAL_ACCURACY, Clock, Metric

HOLD = 3  # measurements (of our own training: epochs) for which a target must be held


@dataclass(frozen=True)
class Ratio:
    """A ratio of times and its 95 % interval; NaN if there is none."""

    value: float
    low: float
    high: float


NO_RATIO = Ratio(math.nan, math.nan, math.nan)
# Of each median in a ratio of two, so that the interval of the ratio covers 95 % (calibrated).
MEDIAN_LEVEL = 0.89


def median_ratio(numerator: Sequence[float], denominator: Sequence[float]) -> Ratio:
    """Return the median over pairs of numerator / denominator; misses are infinite.

    A pair in which both missed is a tie (1). When that is more than half of the pairs there is no
    ratio. Of two middle ratios it is the mean; where one of those is 0 or infinite, the value
    between them that is nearest to 1, so that a miss never makes the claim larger. The interval is
    the distribution-free one of the median (order statistics): it needs 6 pairs, and an end may be
    0 (only the numerator arrived) or infinite.

    >>> median_ratio([50, 60, 40], [100, 100, 100]).value
    0.5
    """
    pairs = list(zip(numerator, denominator, strict=True))
    both_missed = sum(math.isinf(a) and math.isinf(b) for a, b in pairs)
    if not pairs or 2 * both_missed > len(pairs):
        return NO_RATIO
    ratios = sorted(_quotient(a, b) for a, b in pairs)
    ends = _median_ends(ratios, 1 - ALPHA) or (math.nan, math.nan)
    low, high = ratios[(len(ratios) - 1) // 2], ratios[len(ratios) // 2]
    usual = low > 0 and math.isfinite(high)
    median = (low + high) / 2 if usual else min(max(1.0, low), high)
    return Ratio(median, *ends)


def _quotient(a: float, b: float) -> float:
    """Return a / b of two times: 1 for equal ones, also for two misses or two zeros."""
    return 1.0 if a == b else a / b if b else math.inf


def unpaired_ratio(numerator: Sequence[float], denominator: Sequence[float]) -> Ratio:
    """Return the ratio of two arms' times where their runs share nothing; misses are infinite.

    Where every run arrived it is the ratio of geometric means, with the interval of
    `designs.unpaired` on logarithms. Otherwise it is the ratio of medians, with the ratios
    of the ends of their distribution-free intervals at MEDIAN_LEVEL (order statistics; 5 runs of
    either arm are needed). There is none where half of the runs of both arms or more missed.

    >>> unpaired_ratio([50, 60, 40], [100, 100, 100, math.inf]).value
    0.5
    """
    sides = [sorted(numerator), sorted(denominator)]
    if not all(sides):
        return NO_RATIO
    if all(side[0] > 0 and math.isfinite(side[-1]) for side in sides):
        one, two = (np.log(side) for side in sides)
        low, high = (float(end[0]) for end in unpaired([one], two).interval())
        middle = math.exp(float(one.mean() - two.mean()))
        if not math.isfinite(low):
            return Ratio(middle, math.nan, math.nan)
        return Ratio(middle, math.exp(low), math.exp(min(high, 700.0)))  # beyond lies no float
    median, other = (statistics.median(side) for side in sides)
    if math.isinf(median) and math.isinf(other):
        return NO_RATIO
    ends, others = (_median_ends(side, MEDIAN_LEVEL) for side in sides)
    if ends is None or others is None:
        return Ratio(_quotient(median, other), math.nan, math.nan)
    # A miss over a miss may be anything.
    low = 0.0 if math.isinf(others[1]) else _quotient(ends[0], others[1])
    high = math.inf if math.isinf(ends[1]) else _quotient(ends[1], others[0])
    return Ratio(_quotient(median, other), low, high)


def _median_ends(ordered: Sequence[float], level: float) -> tuple[float, float] | None:
    """Return the narrowest order statistics that contain the median with this probability."""
    n = len(ordered)
    kept = [k for k in range(n // 2) if 2 * float(special.bdtr(k, n, 0.5)) <= 1 - level]
    return (ordered[kept[-1]], ordered[n - 1 - kept[-1]]) if kept else None


def moments(rows: Sequence[Mapping[str, Any]], clock: Clock) -> list[float] | None:
    """Return when each row was measured, since the start; None if a row lacks the clock.

    >>> moments([{"train_seconds": 2.0}, {"train_seconds": 1.5}], "seconds")
    [2.0, 3.5]
    """
    key = CLOCKS[clock]
    if rows and all(key in row for row in rows):
        return [row[key] for row in rows]
    if rows and clock == "seconds" and all("train_seconds" in row for row in rows):
        return list(accumulate(row["train_seconds"] for row in rows))
    return None


def time_to_target(
    rows: Sequence[Mapping[str, Any]], target: float, metric: Metric = VAL_ACCURACY
) -> int | None:
    """Return the index of the row (in our own training: the epoch) that reaches and holds a target.

    It is the first row e whose metric is at the target or better and for which either
    - the next two rows hold it as well, so that one lucky measurement does not count; or
    - e is a cycle's end and the next cycle's end holds it as well, so that the dip that a rising
      learning rate causes in mid-cycle does not count against a cyclic schedule.
    Only existing rows and cycles are required: the last row is the result declared in advance, so
    it may reach the target alone. A cycle ends at a row at which the learning rate has fallen and
    after which it rises, or at the last row of such a run; rows without ``lr`` have no cycles. None
    when the target is never held.

    >>> rows = [{'val_accuracy': a, 'lr': 0.1} for a in (0.5, 0.9, 0.8, 0.9, 0.9, 0.9)]
    >>> time_to_target(rows, 0.9)
    3
    """
    reached = [metric.holds(row[metric.name], target) for row in rows]
    rates = [row["lr"] for row in rows if "lr" in row]
    ends = cycle_ends(rates) if len(rates) == len(rows) else []
    for e, here in enumerate(reached):
        if not here:
            continue
        if all(reached[e : e + HOLD]):
            return e
        if e in ends and all(reached[end] for end in ends[ends.index(e) :][:2]):
            return e
    return None


def cycle_ends(rates: Sequence[float]) -> list[int]:
    """Return the epochs at which cycles end, from the learning rate at each epoch's end.

    >>> cycle_ends([0.1, 0.2, 0.1, 0.2, 0.1])
    [2, 4]
    """
    ends = [
        e
        for e in range(1, len(rates) - 1)
        if rates[e - 1] * (1 + 1e-9) >= rates[e] and rates[e + 1] > rates[e] * (1 + 1e-9)
    ]
    return [*ends, len(rates) - 1] if ends else []
