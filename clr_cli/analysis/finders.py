"""What other finders read off a sweep's training loss: Lightning's and fastai's rules."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Estimate:
    """A learning rate, its range over single sweeps, those sweeps' values, and why.

    ``per_sweep`` is in the order of the seeds, without sweeps that have no value.
    """

    value: float
    low: float
    high: float
    per_sweep: tuple[float, ...]
    reason: str


def steepest(lr: Sequence[float], loss: Sequence[float]) -> float | None:
    """Lightning's default (`_LRFinder.suggestion`: 10 points skipped before, 1 behind), but with
    the gradient against log LR, as fastai's `steep` has it; against LR it favours the start.

    >>> import math
    >>> rates = [10 ** (-4 + k / 20) for k in range(81)]
    >>> loss = [2.3 - 2 / (1 + math.exp(40 - k)) for k in range(81)]  # falls around 1e-2
    >>> round(steepest(rates, loss), 4)
    0.01
    """
    x, y = np.log(lr[10:-1]), np.asarray(loss[10:-1])
    return float(lr[10 + int(np.gradient(y, x).argmin())]) if len(y) >= 2 else None


def trimmed(lr: Sequence[float], loss: Sequence[float]) -> tuple[Sequence[float], Sequence[float]]:
    """The part of the curve that fastai's `lr_find` reads: a tenth cut before, 5 points behind.

    >>> trimmed([*range(20)], [*range(20)])[0]
    [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]
    """
    skip = len(loss) // 10
    return lr[skip:-5], loss[skip:-5]


def valley(lr: Sequence[float], loss: Sequence[float]) -> float | None:
    """fastai's `valley`: the middle of the longest decreasing run of losses, which it finds as
    the longest decreasing subsequence and takes as contiguous. O(n log n) where fastai's is n².

    >>> rates = [10 ** (-4 + k / 20) for k in range(81)]
    >>> loss = [2.3] * 30 + [2.3 - 0.05 * k for k in range(30)] + [3.0] * 21
    >>> round(valley(rates, loss), 4)
    0.0158
    """
    lr, loss = trimmed(lr, loss)
    tails: list[float] = []
    longest = end = 0
    for i, value in enumerate(loss):
        at = bisect_left(tails, -value)
        tails[at : at + 1] = [-value]
        if at + 1 > longest:
            longest, end = at + 1, i
    third = longest / 3
    return float(lr[end - longest + int(third) + int(third / 2)]) if loss else None


def minimum(lr: Sequence[float], loss: Sequence[float]) -> float | None:
    """fastai's `minimum`: a tenth of the rate at the lowest loss.

    >>> rates = [10 ** (-4 + k / 20) for k in range(81)]
    >>> loss = [abs(k - 60) for k in range(81)]  # lowest at 0.1
    >>> round(minimum(rates, loss), 4)
    0.01
    """
    lr, loss = trimmed(lr, loss)
    return float(lr[int(np.argmin(loss))]) / 10 if loss else None


def estimate(value: float, per_sweep: tuple[float, ...], reason: str) -> Estimate:
    """The value with the range that it and the single sweeps' values span.

    >>> estimate(0.1, (0.08, 0.2), 'why').high
    0.2
    """
    low, high = min((value, *per_sweep)), max((value, *per_sweep))
    return Estimate(value, low, high, per_sweep, reason)


def median(
    rule: Callable[[Sequence[float], Sequence[float]], float | None],
    losses: Iterable[tuple[Sequence[float], Sequence[float]]],
    reason: str,
) -> Estimate | None:
    """A rule's median over sweeps; None where it reads no rate off any of them.

    Args:
        rule: reads a rate off (learning rates, losses) of one sweep, or None.
        losses: (learning rates, smoothed losses) of each sweep.
        reason: what the rule is, in words.

    >>> median(minimum, [([0.1] * 20, [1.0] * 20)], 'why').value
    0.01
    """
    values = tuple(v for v in (rule(lr[: len(loss)], loss) for lr, loss in losses) if v is not None)
    return estimate(float(np.median(values)), values, reason) if values else None
