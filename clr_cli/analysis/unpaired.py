"""Two independent samples: what runs that share nothing can, and cannot, say of a difference.

The rule has the form of the paired one in `stats`: an interval that spans two methods, each of
which fails where the other holds, and a test that must agree with it. It was chosen by
tests/benchmarks/unpaired.py among Welch's t, the studentised bootstrap and the studentised
permutation test, alone and together. Everything is deterministic: resampling uses a fixed seed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats as distributions

from clr_cli.analysis import stats
from clr_cli.analysis.stats import ALPHA, CLAIM_LEVEL, POWER, RESAMPLES, Array, Claim

MIN_RUNS = 5  # of either arm: fewer have too few distinct resamples, and skew cannot be seen
FEW_RUNS = 6  # below, the claim's interval is wider: skewed arms would give 8 % false claims
FEW_LEVEL = 0.985
PERMUTATIONS = 2**14  # up to as many are enumerated, else as many are drawn
_LEAST = 1e-12  # of a squared error, relative: below, it is rounding and no spread


def mean_intervals(
    first: ArrayLike, second: ArrayLike, levels: Sequence[float], resamples: int = RESAMPLES
) -> tuple[Array, Array]:
    """Confidence intervals of mean(first) - mean(second) along the last axis, one per level.

    The interval spans Welch's t (Welch 1947, "The generalization of 'Student's' problem when
    several different population variances are involved") and the studentised bootstrap of two
    samples (Efron & Tibshirani 1993, section 12.5 with the two-sample error of 16.2). Welch's
    alone covers 88 to 92 % where one arm is skewed; the bootstrap alone fails where sizes differ.

    Args:
        first: shape (..., n); second: shape (..., m), with the same leading axes.
        levels: L levels, such as 0.95.
        resamples: bootstrap resamples. Below MIN_RUNS on a side it is Welch's t alone.

    Returns:
        low and high, shape (L, ...). Unbounded (-inf, inf) where a side has one value.

    >>> low, high = mean_intervals([3.2, 3.4, 3.1, 3.3, 3.2], [3.0, 2.9, 3.1, 3.0, 2.8], (0.95,))
    >>> round(float(low[0]), 2), round(float(high[0]), 2)
    (0.11, 0.48)
    """
    one, two = (np.asarray(values, dtype=np.float64) for values in (first, second))
    sizes = one.shape[-1], two.shape[-1]
    mean = one.mean(axis=-1) - two.mean(axis=-1)
    if min(sizes) < 2:
        unbounded = np.full((len(levels), *mean.shape), np.inf)
        return -unbounded, unbounded
    squares = [_square_error(values) for values in (one, two)]
    error = np.sqrt(squares[0] + squares[1])
    tails = (1 - np.asarray(levels, dtype=np.float64)) / 2
    t_low = distributions.t.ppf(tails.reshape(-1, *(1,) * mean.ndim), _freedom(squares, sizes))
    t_high = -t_low
    if min(sizes) >= MIN_RUNS:
        resampled = _bootstrap_t(one, two, resamples)
        t_low = np.minimum(t_low, np.quantile(resampled, tails, axis=-1))
        t_high = np.maximum(t_high, np.quantile(resampled, 1 - tails, axis=-1))
    return mean - t_high * error, mean - t_low * error


def _square_error(values: Array) -> Array:
    """Squared standard error of the mean along the last axis; exactly 0 for equal values."""
    found = values.var(axis=-1, ddof=1) / values.shape[-1]
    return np.where(np.ptp(values, axis=-1) == 0, 0.0, found)


def _freedom(squares: Sequence[Array], sizes: tuple[int, int]) -> Array:
    """Welch & Satterthwaite's degrees of freedom; those of the smaller side without a spread."""
    total = squares[0] + squares[1]
    parts = squares[0] ** 2 / (sizes[0] - 1) + squares[1] ** 2 / (sizes[1] - 1)
    least = np.full_like(total, min(sizes) - 1)
    return np.divide(total**2, parts, out=least, where=parts > 0)


def _bootstrap_t(one: Array, two: Array, resamples: int) -> Array:
    """(..., resamples): the centred t of resampled arms; 0 where a resample has no spread."""
    means, squares = [], []
    for side, values in enumerate((one, two)):
        n = values.shape[-1]
        centred = values - values.mean(axis=-1, keepdims=True)
        counts = _counts(n, resamples, side)
        mean = centred @ counts / n
        means.append(mean)
        squares.append((centred**2 @ counts - n * mean**2) / (n - 1) / n)
    return _t(means[0] - means[1], squares[0] + squares[1], _largest(one, two))


def _largest(one: Array, two: Array) -> Array:
    """The largest squared deviation, (..., 1): what rounding errors are measured by."""
    deviations = (values - values.mean(axis=-1, keepdims=True) for values in (one, two))
    one_most, two_most = (np.square(d).max(axis=-1, keepdims=True) for d in deviations)
    return np.asarray(np.maximum(one_most, two_most))


def _t(difference: Array, square: Array, largest: Array) -> Array:
    spread = square > _LEAST * largest
    error = np.sqrt(np.where(spread, square, 1.0))
    return np.where(spread, difference / error, 0.0)


@lru_cache(maxsize=64)
def _counts(n: int, resamples: int, side: int) -> Array:
    """(n, resamples): how often each value is drawn; the two sides are drawn independently."""
    rng = np.random.default_rng([side, n])
    return rng.multinomial(n, [1 / n] * n, size=resamples).T.astype(np.float64)


def permutation_p(first: ArrayLike, second: ArrayLike, resamples: int = PERMUTATIONS) -> Array:
    """Two-sided p of the studentised permutation test along the last axis.

    Welch's t is computed for every way to deal the values out to the two arms. It is exact where
    the arms have the same distribution, and keeps its level asymptotically where only their means
    are equal (Janssen 1997, "Studentized permutation tests for non-i.i.d. hypotheses and the
    generalized Behrens-Fisher problem"). All ways are enumerated where there are at most
    `resamples`, else so many are drawn.

    Args:
        first: shape (..., n); second: shape (..., m), with the same leading axes.

    Returns:
        p, shape (...); 1 where a side has one value or there is no spread at all.

    >>> float(permutation_p([3.2, 3.4, 3.1, 3.3, 3.2], [3.0, 2.9, 3.1, 3.0, 2.8])) < 0.05
    True
    """
    one, two = (np.asarray(values, dtype=np.float64) for values in (first, second))
    n, m = one.shape[-1], two.shape[-1]
    if min(n, m) < 2:
        return np.ones(one.shape[:-1])
    values = np.concatenate([one, two], axis=-1)
    values = values - values.mean(axis=-1, keepdims=True)
    dealt = _dealt(n, m, resamples)
    sums, squares = values @ dealt, values**2 @ dealt
    means = [sums / n, (values.sum(axis=-1, keepdims=True) - sums) / m]
    parts = [squares, (values**2).sum(axis=-1, keepdims=True) - squares]
    error = sum(
        (part - k * mean**2) / (k - 1) / k
        for part, mean, k in zip(parts, means, (n, m), strict=True)
    )
    largest = np.square(values).max(axis=-1, keepdims=True)
    spread = np.asarray(error) > _LEAST * largest
    difference = np.abs(means[0] - means[1])
    # Without a spread within the arms, any difference between them is as extreme as can be.
    apart = np.where(difference > math.sqrt(_LEAST) * np.sqrt(largest), np.inf, 0.0)
    t = np.divide(difference, np.sqrt(np.abs(error)), out=apart, where=spread)
    return np.asarray((t >= t[..., :1] * (1 - 1e-9)).mean(axis=-1))


@lru_cache(maxsize=64)
def _dealt(n: int, m: int, resamples: int) -> Array:
    """(n + m, ways): 1 for the values that the first arm gets; the first way is the observed."""
    if math.comb(n + m, n) <= resamples:
        chosen = np.array(list(combinations(range(n + m), n)))
        first = np.zeros((len(chosen), n + m))
        first[np.arange(len(chosen))[:, None], chosen] = 1
    else:
        ranks = np.random.default_rng([n, m]).random((resamples, n + m)).argsort(axis=1)
        first = (ranks < n).astype(np.float64)
        first[0] = [1] * n + [0] * m
    return first.T


def claim_level(n: int, m: int) -> float:
    """The level of the interval that a claim must pass, with so many runs in the two arms.

    >>> claim_level(5, 30), claim_level(10, 10)
    (0.985, 0.97)
    """
    return FEW_LEVEL if min(n, m) < FEW_RUNS else CLAIM_LEVEL


def can_claim(n: int, m: int, comparisons: float = 1) -> bool:
    """Whether so many runs can give a claim: enough of them, and a p that can be small enough.

    >>> can_claim(4, 30), can_claim(5, 5), can_claim(5, 5, comparisons=8)
    (False, True, False)
    """
    return min(n, m) >= MIN_RUNS and 2 * comparisons / math.comb(n + m, n) <= ALPHA


def claim(
    n: int, m: int, p: float, low: float, high: float, margin: float, comparisons: int = 1
) -> Claim:
    """What may be said of a difference: the rule whose error rates the calibration measures.

    `p` is Holm-adjusted over `comparisons`; `low` and `high` bound the interval of `claim_level`.

    >>> claim(10, 12, p=0.008, low=0.01, high=0.03, margin=0.001)
    'better'
    """
    if min(n, m) < MIN_RUNS:
        return "too_few_seeds"
    if -margin < low and high < margin:
        return "equivalent"
    if not can_claim(n, m, comparisons):
        return "too_few_seeds"
    if p <= ALPHA and low > 0:
        return "better"
    if p <= ALPHA and high < 0:
        return "worse"
    return "no_difference"


def power(
    difference: float, spreads: tuple[float, float], sizes: tuple[int, int], comparisons: float = 1
) -> float:
    """Power to find a true difference of the means in the right direction.

    The noncentral t with Welch's degrees of freedom, at the level of the claim's interval. That
    interval is wider than Welch's t, which costs power: the effect is divided by 1 + 0.9 / (df -
    1.5), fitted to simulated normal arms (the benchmark's power column).

    Args:
        difference: of the means, 0 or more; spreads: the standard deviations of the two arms.
        sizes: their runs.

    >>> round(power(2.0, (1.0, 1.0), (8, 8)), 2)
    0.89
    """
    if not can_claim(*sizes, comparisons):
        return 0.0
    squares = [np.array(sd**2 / n) for sd, n in zip(spreads, sizes, strict=True)]
    error = math.sqrt(sum(map(float, squares)))
    if error == 0:
        return float(difference > 0)
    freedom = float(_freedom(squares, sizes))
    critical = distributions.t.isf((1 - claim_level(*sizes)) / comparisons / 2, freedom)
    noncentrality = min(difference / error / (1 + 0.9 / max(freedom - 1.5, 1.0)), 30.0)
    return float(distributions.nct.sf(critical, freedom, noncentrality))


def smallest_detectable(
    spreads: tuple[float, float], sizes: tuple[int, int], comparisons: float = 1
) -> float | None:
    """The true difference of means found with 80 % power; None when nothing can be found.

    >>> round(smallest_detectable((0.0013, 0.0013), (10, 10)), 4)
    0.002
    """
    unit = math.hypot(*spreads)
    if unit == 0 or power(20 * unit, spreads, sizes, comparisons) < POWER:
        return 0.0 if unit == 0 and can_claim(*sizes, comparisons) else None
    low, high = 0.0, 20 * unit
    for _ in range(50):
        middle = (low + high) / 2
        enough = power(middle, spreads, sizes, comparisons) >= POWER
        low, high = (low, middle) if enough else (middle, high)
    return high


def runs_needed(
    difference: float, spreads: tuple[float, float], comparisons: float = 1
) -> int | None:
    """Runs of either arm that would show this true difference with 80 % power.

    None above `stats.MAX_SEEDS`.

    >>> runs_needed(0.002, (0.0013, 0.0013))
    10
    """

    def enough(n: int) -> bool:
        return power(abs(difference), spreads, (n, n), comparisons) >= POWER

    if difference == 0 or not enough(stats.MAX_SEEDS):
        return None
    low, high = MIN_RUNS - 1, stats.MAX_SEEDS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
