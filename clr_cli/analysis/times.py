"""Time to target: when a run reaches an accuracy and holds it, and ratios of such times."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scipy import stats

from clr_cli.analysis.stats import LEVEL

HOLD = 3  # epochs for which a target must be held


@dataclass(frozen=True)
class MedianRatio:
    """Median of paired ratios and the order-statistic interval; NaN where there is none."""

    median: float
    low: float
    high: float


def median_ratio(numerator: Sequence[float], denominator: Sequence[float]) -> MedianRatio:
    """The median over pairs of numerator / denominator, misses being infinite.

    A pair in which both missed is a tie (1). When that is more than half of the pairs there is no
    ratio. Of two middle ratios it is the mean; where one of those is 0 or infinite, the value
    between them that is nearest to 1, so that a miss never makes the claim larger. The interval is
    the distribution-free one of the median (scipy.stats.quantile_test): it needs 6 pairs, and an
    end may be 0 (only the numerator arrived) or infinite.

    >>> median_ratio([50, 60, 40], [100, 100, 100]).median
    0.5
    """
    pairs = list(zip(numerator, denominator, strict=True))
    both_missed = sum(math.isinf(a) and math.isinf(b) for a, b in pairs)
    if not pairs or 2 * both_missed > len(pairs):
        return MedianRatio(math.nan, math.nan, math.nan)
    ratios = sorted(1.0 if math.isinf(a) and math.isinf(b) else a / b for a, b in pairs)
    test = stats.quantile_test(ratios, q=1.0, p=0.5)
    interval = test.confidence_interval(LEVEL)
    low, high = ratios[(len(ratios) - 1) // 2], ratios[len(ratios) // 2]
    usual = low > 0 and math.isfinite(high)
    median = (low + high) / 2 if usual else min(max(1.0, low), high)
    return MedianRatio(median, float(interval.low), float(interval.high))


def time_to_target(rows: Sequence[dict[str, Any]], target: float) -> int | None:
    """The index of the epoch at which validation accuracy reaches the target and holds it.

    It is the first epoch e with val_accuracy >= target for which either
    - the next two epochs hold it as well, so that one lucky epoch does not count; or
    - e is a cycle's end and the next cycle's end holds it as well, so that the dip that a rising
      learning rate causes in mid-cycle does not count against a cyclic schedule.
    Epochs and cycles that the run no longer has are not asked for: the last epoch is the result
    declared in advance, so reaching the target there is reaching it. A cycle's end is an epoch at
    which the learning rate has fallen and after which it rises, or the last epoch of such a run.
    None when the target is never held.

    >>> rows = [{'val_accuracy': a, 'lr': 0.1} for a in (0.5, 0.9, 0.8, 0.9, 0.9, 0.9)]
    >>> time_to_target(rows, 0.9)
    3
    """
    reached = [row["val_accuracy"] >= target for row in rows]
    ends = cycle_ends([row["lr"] for row in rows])
    for e, here in enumerate(reached):
        if not here:
            continue
        if all(reached[e : e + HOLD]):
            return e
        if e in ends and all(reached[end] for end in ends[ends.index(e) :][:2]):
            return e
    return None


def cycle_ends(rates: Sequence[float]) -> list[int]:
    """The epochs at which cycles end, from the learning rate at each epoch's end.

    >>> cycle_ends([0.1, 0.2, 0.1, 0.2, 0.1])
    [2, 4]
    """
    ends = [
        e
        for e in range(1, len(rates) - 1)
        if rates[e - 1] * (1 + 1e-9) >= rates[e] and rates[e + 1] > rates[e] * (1 + 1e-9)
    ]
    return [*ends, len(rates) - 1] if ends else []
