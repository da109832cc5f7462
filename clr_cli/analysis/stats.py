"""Paired statistics on plain numbers: what a handful of seeds can, and cannot, say.

tests/benchmarks/claims.py checks every rule here on simulated results with known truth.
Everything is deterministic: resampling uses a fixed seed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Array = NDArray[np.float64]
Claim = Literal["better", "worse", "equivalent", "no_difference", "too_few_seeds"]

LEVEL = 0.95  # of the interval that is shown
# The interval that a claim must pass: at 0.95, skewed differences give up to 6.5 % false claims.
CLAIM_LEVEL = 0.97
ALPHA = 0.05
POWER = 0.8
MIN_SEEDS = 6  # 2 / 2**5 > 0.05: below it the exact sign-flip test cannot succeed
MAX_SEEDS = 10_000
EXACT_SEEDS = 14  # up to here all 2**n sign patterns are enumerated
RESAMPLES = 9_999
_RNG_SEED = 0


def _generator() -> np.random.Generator:
    return np.random.default_rng(_RNG_SEED)


@lru_cache(maxsize=16)
def _times_drawn(n: int, resamples: int) -> Array:
    """(n, resamples): how often each of n values is in each bootstrap resample."""
    drawn = _generator().integers(0, n, (resamples, n)) + n * np.arange(resamples)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=n * resamples).reshape(resamples, n)
    return np.ascontiguousarray(counts.T, dtype=np.float64)


def _bootstrap_t(centred: Array, resamples: int) -> Array:
    """Student's t of every resample: (rows, n) of mean 0 -> (rows, resamples).

    Sums over resamples are products with the counts, the same ones for all rows.
    """
    n = centred.shape[-1]
    counts = _times_drawn(n, resamples)
    mean, squares = centred @ counts / n, centred**2 @ counts / n
    variance = squares - mean**2
    # A resample of one repeated value has no spread and so no t: it counts as the centre. (The
    # variance is not sure to be exactly zero there.)
    spread = variance > 1e-12 * (centred**2).mean(axis=-1, keepdims=True)
    error = np.sqrt(variance / (n - 1), where=spread, out=np.ones_like(mean))
    return np.asarray(np.divide(mean, error, where=spread, out=np.zeros_like(mean)))


def mean_intervals(
    differences: ArrayLike, levels: Sequence[float], resamples: int = RESAMPLES
) -> tuple[Array, Array]:
    """Confidence intervals of the mean along the last axis, one per level.

    The interval spans Student's t and the studentised bootstrap (bootstrap-t; Efron & Tibshirani
    1993, section 12.5). Neither holds its level alone at 6 to 20 seeds: t fails on skewed
    differences, bootstrap-t on heavy tails, and BCa on all of them (even normal ones: 86 % at
    n = 6). Below MIN_SEEDS there are too few distinct resamples, and it is Student's t alone.

    Args:
        differences: shape (..., n).
        levels: L levels, such as 0.95.
        resamples: bootstrap resamples.

    Returns:
        low and high, shape (L, ...). Unbounded (-inf, inf) for n = 1.

    >>> low, high = mean_intervals([1.0, 1.2, 0.9, 1.1, 1.0, 1.3], (0.95,))
    >>> round(float(low[0]), 2), round(float(high[0]), 2)
    (0.93, 1.29)
    """
    values = np.asarray(differences, dtype=np.float64)
    n = values.shape[-1]
    mean = values.mean(axis=-1)
    if n < 2:
        unbounded = np.full((len(levels), *mean.shape), np.inf)
        return -unbounded, unbounded
    error = np.where(np.ptp(values, axis=-1) == 0, 0.0, values.std(axis=-1, ddof=1) / math.sqrt(n))
    tails = (1 - np.asarray(levels, dtype=np.float64)) / 2
    column = tails.reshape(-1, *(1,) * mean.ndim)
    t_low = stats.t.ppf(column, n - 1) * np.ones_like(mean)
    t_high = -t_low
    if n >= MIN_SEEDS:
        rows = (values - mean[..., None]).reshape(-1, n)
        most = max(1, 4_000_000 // resamples)  # rows at a time
        ends = [
            np.quantile(_bootstrap_t(rows[k : k + most], resamples), [tails, 1 - tails], axis=-1)
            for k in range(0, len(rows), most)
        ]
        low, high = np.concatenate(ends, axis=-1).reshape(2, *t_low.shape)
        t_low, t_high = np.minimum(t_low, low), np.maximum(t_high, high)
    return mean - t_high * error, mean - t_low * error


@lru_cache(maxsize=8)
def _signs(n: int, resamples: int) -> Array:
    """(n, patterns) of +1 and -1: all 2**n, or so many at random beside the observed one."""
    if 2**n <= resamples:
        bits = np.arange(2**n)[None, :] >> np.arange(n)[:, None] & 1
    else:
        bits = _generator().integers(0, 2, (n, resamples))
        bits[:, 0] = 0
    signs: Array = np.where(bits, -1.0, 1.0)
    return signs


def sign_flip_p(differences: ArrayLike, resamples: int = 2**EXACT_SEEDS) -> Array:
    """Two-sided p of the paired sign-flip test along the last axis.

    Exact where 2**n <= resamples (all sign patterns), otherwise the Monte-Carlo version, which
    keeps its level too. It is exact when the differences are symmetric about 0 under the null.

    >>> float(sign_flip_p([1.0, 1.2, 0.9, 1.1, 1.0, 1.3]))  # 2 of 2**6 sign patterns
    0.03125
    """
    values = np.asarray(differences, dtype=np.float64)
    n = values.shape[-1]
    rows, signs = values.reshape(-1, n), _signs(n, resamples)
    # Sums that differ by rounding only are as extreme as one another.
    least = np.abs(rows.sum(axis=-1)) - 1e-12 * np.abs(rows).sum(axis=-1)
    most = max(1, 4_000_000 // signs.shape[-1])  # rows at a time
    p: Array = np.concatenate(
        [
            np.mean(np.abs(rows[k : k + most] @ signs) >= least[k : k + most, None], axis=-1)
            for k in range(0, len(rows), most)
        ]
    )
    return p.reshape(values.shape[:-1])


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) step-down adjusted p values, in the order given.

    >>> holm([0.01, 0.04])
    [0.02, 0.04]
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def seeds_for_test(comparisons: float = 1) -> int:
    """The fewest seeds with which a Holm-corrected sign-flip test can reach p <= 0.05.

    >>> seeds_for_test(), seeds_for_test(3)
    (6, 7)
    """
    return math.ceil(1 + math.log2(comparisons / ALPHA))


def claim(n: int, p: float, low: float, high: float, margin: float, comparisons: int = 1) -> Claim:
    """What may be said of a difference: the rule whose error rates the calibration measures.

    `p` is Holm-adjusted over `comparisons`; `low` and `high` bound the CLAIM_LEVEL interval.
    Equivalence comes first: a difference that is sure but lies within the margin does not matter.

    >>> claim(n=8, p=0.008, low=0.01, high=0.03, margin=0.001)
    'better'
    """
    if n < MIN_SEEDS:
        return "too_few_seeds"
    if -margin < low and high < margin:
        return "equivalent"
    if n < seeds_for_test(comparisons):
        return "too_few_seeds"
    if p <= ALPHA and low > 0:
        return "better"
    if p <= ALPHA and high < 0:
        return "worse"
    return "no_difference"


def superiority(wins: int, ties: int, losses: int) -> tuple[float, float, float]:
    """P(A > B) over seeds, and its Clopper-Pearson interval at LEVEL.

    The paired probability of Bouthillier et al. (2021), "Accounting for Variance in Machine
    Learning Benchmarks", a tie counting half. Their percentile bootstrap has width zero at n of n;
    the exact binomial interval does not. The low end takes ties as losses, the high end as wins.

    >>> [round(value, 3) for value in superiority(6, 0, 0)]
    [1.0, 0.541, 1.0]
    """
    n = wins + ties + losses
    low = stats.binomtest(wins, n).proportion_ci(LEVEL, method="exact").low
    high = stats.binomtest(wins + ties, n).proportion_ci(LEVEL, method="exact").high
    return (wins + ties / 2) / n, float(low), float(high)


def power(effect: float, n: int, comparisons: float = 1) -> float:
    """Power to find a standardised difference (mean / sd) in the right direction with n seeds.

    The noncentral t, at the level that the claim rule really tests: the smallest of CLAIM_LEVEL's
    and the largest that n sign flips can attain at 0.05 / comparisons. The rule's interval is wider
    than Student's t, which costs power in small samples: the effect is divided by 1 + 0.9 / (n -
    3.5), fitted to simulated normal differences (tests/analysis/test_stats.py checks it).

    >>> round(power(effect=2.0, n=8), 2)
    0.95
    """
    level = ALPHA / comparisons
    if n <= EXACT_SEEDS:
        level = math.floor(level * 2 ** (n - 1)) / 2 ** (n - 1)
    level = min(level, (1 - CLAIM_LEVEL) / comparisons)
    if n < MIN_SEEDS or level == 0:
        return 0.0
    critical = stats.t.isf(level / 2, n - 1)
    noncentrality = effect * math.sqrt(n) / (1 + 0.9 / (n - 3.5))
    return float(stats.nct.sf(critical, n - 1, noncentrality))


def smallest_detectable(
    sd: float, n: int, comparisons: float = 1, wanted: float = POWER
) -> float | None:
    """The true mean difference found with the wanted power by n pairs; None if none can be found.

    `sd` is that of the differences; the answer has its unit.

    >>> round(smallest_detectable(sd=0.005, n=8), 4)
    0.0077
    """
    if power(10.0, n, comparisons) < wanted:
        return None
    low, high = 0.0, 10.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if power(middle, n, comparisons) >= wanted else (middle, high)
    return sd * high


def seeds_needed(mean: float, sd: float, comparisons: float = 1) -> int | None:
    """Seeds that would show a true difference of `mean` with 80 % power; None above MAX_SEEDS.

    >>> seeds_needed(mean=0.005, sd=0.005)
    14
    """
    fewest = max(MIN_SEEDS, seeds_for_test(comparisons))
    if mean == 0:
        return None
    effect = min(abs(mean) / sd, 10.0) if sd > 0 else 10.0
    if power(effect, MAX_SEEDS, comparisons) < POWER:
        return None
    low, high = fewest - 1, MAX_SEEDS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(effect, middle, comparisons) >= POWER else (middle, high)
    return high
