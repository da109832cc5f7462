"""How many runs a difference takes under the rule of `rule`, and what so many runs can find.

Under normal noise the sample's skewness is independent of its mean and spread (Basu 1955), so that
the power is the noncentral t's, averaged over the skewness, and of two samples over the ratio of
their variances, which makes Welch's degrees of freedom. tests/benchmarks/claims.py checks it
against simulated comparisons.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from scipy import special

from clr_cli.analysis import designs
from clr_cli.analysis.rule import ALPHA, Array, Moments
from clr_cli.analysis.verdicts import fewest_pairs, fewest_runs

POWER = 0.8
MAX_RUNS = 10_000
FARTHEST = 30.0  # standard errors of a difference that anything finds
_NODES = (9, 1)  # of Gauss and Hermite's quadrature: over a skewness, over a log variance


def power(
    difference: float,
    spreads: tuple[float, ...],
    sizes: tuple[int, ...],
    *,
    comparisons: int = 1,
    weight: float = 1.0,
) -> float:
    """Return the power to claim a true difference of means in its own direction.

    Args:
        difference: 0 or more.
        spreads: the standard deviation of the paired differences (or of runs against a number);
            or those of the arm's and of the baseline's runs.
        sizes: the number of pairs; or of the two arms' runs.
        comparisons: arms that are compared; of three or more the noise is borrowed.
        weight: of the look, see `looks.weight`.

    >>> round(power(2.0, (1.0,), (8,)), 2), round(power(2.0, (1.0, 1.0), (8, 8)), 2)
    (0.98, 0.92)
    """
    least = fewest_pairs(comparisons) if len(sizes) == 1 else fewest_runs(comparisons)
    if min(sizes) < least:
        return 0.0
    if not any(spreads):
        return 0.0  # a noise that is not known
    freedom, reach, weights = _nodes(spreads, sizes, comparisons, ALPHA * weight / comparisons)
    shift = min(difference / _error(spreads, sizes), FARTHEST)
    found = 1 - special.nctdtr(freedom, shift, reach)
    return float(np.clip((weights * found).sum(), 0.0, 1.0))


def _error(spreads: tuple[float, ...], sizes: tuple[int, ...]) -> float:
    return math.sqrt(sum(sd**2 / n for sd, n in zip(spreads, sizes, strict=True)))


@lru_cache(maxsize=1024)
def _nodes(
    spreads: tuple[float, ...], sizes: tuple[int, ...], comparisons: int, level: float
) -> tuple[Array, Array, Array]:
    """Return the quadrature: degrees of freedom, distances to the low end in errors, weights."""
    skews, logs = _NODES if len(sizes) == 1 else (7, 3)  # spreads matter by their ratio only
    axes = [np.polynomial.hermite_e.hermegauss(k) for k in [skews, logs] * len(sizes)]
    grid = [nodes.ravel() for nodes in np.meshgrid(*[x for x, _ in axes], indexing="ij")]
    product = np.prod(np.meshgrid(*[w / w.sum() for _, w in axes], indexing="ij"), axis=0)
    sides = [
        _side(spread, n, grid[2 * k], grid[2 * k + 1])
        for k, (spread, n) in enumerate(zip(spreads, sizes, strict=True))
    ]
    baseline = sides[1] if len(sides) > 1 else None
    estimate = designs.typical(sides[0], baseline, comparisons)
    low, _ = estimate.interval(level)
    return estimate.freedom, -low / estimate.error, product.ravel()


def _side(spread: float, n: int, skews: Array, logs: Array) -> Moments:
    """Return normal samples whose skewness and log variance lie so many of their sds off."""
    g1 = math.sqrt(6 * n * (n - 1) / ((n - 2) * (n + 1) * (n + 3)))  # Fisher (1930)
    skew = np.clip(skews * g1, -math.sqrt(n), math.sqrt(n))
    log_sd = math.sqrt(2 / (n - 1))
    variance = spread**2 * np.exp(logs * log_sd - log_sd**2 / 2)
    ones = np.ones_like(skew)
    return Moments(n * ones, 0 * ones, variance, skew, -np.inf * ones, np.inf * ones)


def smallest_detectable(
    spreads: tuple[float, ...],
    sizes: tuple[int, ...],
    *,
    comparisons: int = 1,
    weight: float = 1.0,
) -> float | None:
    """Return the true difference found with POWER; None if no difference is.

    Args: see `power`. The answer has the unit of the spreads.

    >>> round(smallest_detectable((0.005,), (8,)), 4)
    0.0064
    """

    def excess(difference: float) -> float:  # nearly linear, so that a few secants find its zero
        got = power(difference, spreads, sizes, comparisons=comparisons, weight=weight)
        return float(special.ndtri(np.clip(got, 1e-9, 1 - 1e-9)) - special.ndtri(POWER))

    error = _error(spreads, sizes)
    low, high = 0.0, FARTHEST * error
    if excess(high) < 0:
        return None
    here, slope, before = 4 * error, 1 / error, (0.0, -math.inf)
    for _ in range(60):
        off = excess(here)
        low, high = (low, here) if off >= 0 else (here, high)
        if abs(off) < 1e-9 or high - low < 1e-12 * high:
            break
        secant = (off - before[1]) / (here - before[0])
        slope, before = secant if 0 < secant < math.inf else slope, (here, off)
        ahead = here - off / slope
        here = ahead if low < ahead < high else (low + high) / 2
    return here


def runs_needed(
    difference: float,
    spreads: tuple[float, ...],
    *,
    comparisons: int = 1,
) -> int | None:
    """Return the pairs, or runs of either arm, that show a true difference with POWER.

    None above MAX_RUNS, and where no noise is known.

    >>> runs_needed(0.005, (0.005,)), runs_needed(0.002, (0.0013, 0.0013))
    (12, 9)
    """

    def enough(n: int) -> bool:
        sizes = (n,) * len(spreads)
        return power(abs(difference), spreads, sizes, comparisons=comparisons) >= POWER

    if difference == 0 or not any(spreads) or not enough(MAX_RUNS):
        return None
    reach = special.ndtri(POWER) - special.ndtri(ALPHA / comparisons / 2)
    guess = sum(sd**2 for sd in spreads) * (reach / difference) ** 2  # known noise: a few too few
    low, high, middle = 1, MAX_RUNS, math.ceil(min(guess, MAX_RUNS - 1))
    while high - low > 1:
        low, high = (low, middle) if enough(middle) else (middle, high)
        further = min(low + low // 8 + 1, high - 1)
        middle = further if high == MAX_RUNS else (low + high) // 2
    return high
