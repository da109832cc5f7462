"""Looking early at runs that share nothing: `sequential`, for two independent samples.

The same looks, the same spending of the level and the same guard. The test at each look is the
studentised permutation test of `unpaired`. Values change arms only within the batch of seeds with
which they came, so that a permutation is of the same form at every look, and the boundary of each
look is exact where the arms have the same distribution. tests/benchmarks/sequential_unpaired.py
measures the error rates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from clr_cli.analysis import sequential, stats, unpaired
from clr_cli.analysis.sequential import PATTERNS, Verdict

Array = NDArray[np.float64]
Samples = tuple[Sequence[float], Sequence[float]]  # of an arm and of the baseline
Counts = tuple[int, int]  # how many of each
_CLOSE = 1e-9  # relative: statistics that differ by less are ties


def rejected(samples: Samples, at: Sequence[Counts], alpha: float = stats.ALPHA) -> bool:
    """Whether the sequential permutation test rejects "no difference" at any of these looks.

    At each look the permutations with the largest |t| (Welch's) fall out, as many as alpha allows
    by then; ties fall out together or not at all. It rejects once the observed one has fallen out.

    Args:
        samples: values of an arm and of the baseline, each in the order of its seeds.
        at: how many of each there were at each look, rising; beyond the values they are left out.
        alpha: two-sided level over all looks.

    >>> far = [3.1, 3.3, 3.2, 3.4, 3.3, 3.1, 3.2, 3.3], [2.9, 3.0, 2.8, 2.9, 3.0, 2.8, 2.9, 3.0]
    >>> rejected(far, [(8, 8)]), rejected((far[0], far[0][::-1]), [(8, 8)])
    (True, False)
    """
    one, two = (np.asarray(values, dtype=np.float64) for values in samples)
    whole = np.concatenate([one, two])
    middle = whole.mean() if len(whole) else 0.0
    alive = np.ones(PATTERNS, dtype=bool)
    sums, squares = np.zeros(PATTERNS), np.zeros(PATTERNS)  # of what a permutation deals to the arm
    total, square = 0.0, 0.0
    seen = 0, 0
    for look, (n, m) in enumerate(at):
        allowed = math.floor(PATTERNS * sequential.spent(min(n, m), alpha)) - int((~alive).sum())
        if n > len(one) or m > len(two) or allowed < 0:
            continue
        batch = np.concatenate([one[seen[0] : n], two[seen[1] : m]]) - middle
        dealt = _dealt(look, n - seen[0], m - seen[1])
        sums, squares = sums + dealt @ batch, squares + dealt @ batch**2
        total, square, seen = total + batch.sum(), square + (batch**2).sum(), (n, m)
        if min(n, m) < 2:
            continue
        t = _welch(sums, squares, total, square, n, m)
        left = t[alive]
        boundary = len(left) - 1 - allowed
        alive &= ~(t > np.partition(left, boundary)[boundary] * (1 + _CLOSE))
        if not alive[0]:
            return True
    return False


def _welch(sums: Array, squares: Array, total: float, square: float, n: int, m: int) -> Array:
    """|t| of every permutation; infinite where there is a difference without a spread."""
    means = sums / n, (total - sums) / m
    spreads = (
        (squares - n * means[0] ** 2) / (n - 1),
        (square - squares - m * means[1] ** 2) / (m - 1),
    )
    least = 1e-12 * square / (n + m)  # below, it is rounding
    error = np.sqrt(np.maximum(spreads[0], 0) / n + np.maximum(spreads[1], 0) / m)
    difference = np.abs(means[0] - means[1])
    apart = np.where(difference > math.sqrt(least), np.inf, 0.0)
    return np.divide(difference, error, out=apart, where=error**2 > least)


@lru_cache(maxsize=256)
def _dealt(look: int, n: int, m: int) -> Array:
    """(PATTERNS, n + m): 1 for the values that the arm gets; the first pattern is the observed."""
    ranks = np.random.default_rng([look, n, m]).random((PATTERNS, n + m)).argsort(axis=1)
    dealt = (ranks < n).astype(np.float64)
    dealt[0] = [1] * n + [0] * m
    return dealt


class Unpaired:
    """The rule of `sequential.decide` for two independent samples.

    >>> far = [3.1, 3.3, 3.2, 3.4, 3.3, 3.1, 3.2, 3.3], [2.9, 3.0, 2.8, 2.9, 3.0, 2.8, 2.9, 3.0]
    >>> sequential.decide({"new": far}, {"new": [(8, 8)]}, margin=0.0, rule=Unpaired())["new"]
    Decision(verdict='better', seeds=8, futile=False)
    """

    def claim(self, sample: Samples, counts: Sequence[Counts], margin: float, arms: int) -> Verdict:
        n, m = counts[-1]
        if min(n, m) < unpaired.MIN_RUNS:
            return "no_difference"
        one, two = sample[0][:n], sample[1][:m]
        level = sequential.guard_level(arms)
        (low,), (high,) = unpaired.mean_intervals(one, two, (level,))
        if -margin < low and high < margin:
            return "equivalent"
        if low <= 0 <= high or not rejected((one, two), counts, stats.ALPHA / arms):
            return "no_difference"
        return "better" if low > 0 else "worse"

    def futile(self, sample: Samples, count: Counts, cap: int, margin: float, arms: int) -> bool:
        n = min(count)
        if 0 < n < sequential.FIRST or n >= cap:
            return False
        if n == 0:  # all runs of a side failed
            return True
        one, two = (np.asarray(values[:k]) for values, k in zip(sample, count, strict=True))
        sd = math.sqrt(float(one.var(ddof=1) + two.var(ddof=1)))  # of one run's difference
        mean = abs(float(one.mean() - two.mean()))
        return sequential.hopeless(mean, sd, n, cap, margin, arms)

    def seeds(self, count: Counts) -> int:
        return max(count)
