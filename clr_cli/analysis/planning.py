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
from clr_cli.analysis.rule import ALPHA, Array, Estimate, Moments
from clr_cli.analysis.verdicts import fewest_pairs, fewest_runs

POWER = 0.8
MAX_RUNS = 10_000
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
    estimate, weights = _nodes(spreads, sizes, comparisons)
    low, _ = estimate.interval(ALPHA * weight / comparisons)
    error = math.sqrt(sum(sd**2 / n for sd, n in zip(spreads, sizes, strict=True)))
    reach = -low / estimate.error
    shift = min(difference / error, 30.0)
    found = 1 - special.nctdtr(estimate.freedom, shift, reach)
    return float(np.clip((weights * found).sum(), 0.0, 1.0))


@lru_cache(maxsize=1024)
def _nodes(
    spreads: tuple[float, ...], sizes: tuple[int, ...], comparisons: int
) -> tuple[Estimate, Array]:
    """Return estimates of mean 0, one for each node of the quadrature, and their weights."""
    skews, logs = _NODES if len(sizes) == 1 else (7, 3)  # spreads matter by their ratio only
    axes = [np.polynomial.hermite_e.hermegauss(k) for k in [skews, logs] * len(sizes)]
    grid = [nodes.ravel() for nodes in np.meshgrid(*[x for x, _ in axes], indexing="ij")]
    product = np.prod(np.meshgrid(*[w / w.sum() for _, w in axes], indexing="ij"), axis=0)
    sides = [
        _side(spread, n, grid[2 * k], grid[2 * k + 1])
        for k, (spread, n) in enumerate(zip(spreads, sizes, strict=True))
    ]
    baseline = sides[1] if len(sides) > 1 else None
    return designs.typical(sides[0], baseline, comparisons), product.ravel()


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
    wanted: float = POWER,
) -> float | None:
    """Return the true difference found with the wanted power; None if no difference is.

    Args: see `power`. The answer has the unit of the spreads.

    >>> round(smallest_detectable((0.005,), (8,)), 4)
    0.0064
    """
    scale = math.sqrt(sum(s**2 / n for s, n in zip(spreads, sizes, strict=True)))
    low, high = 0.0, 30 * scale
    if power(high, spreads, sizes, comparisons=comparisons, weight=weight) < wanted:
        return None
    for _ in range(40):
        middle = (low + high) / 2
        enough = power(middle, spreads, sizes, comparisons=comparisons, weight=weight) >= wanted
        low, high = (low, middle) if enough else (middle, high)
    return high


def runs_needed(
    difference: float,
    spreads: tuple[float, ...],
    *,
    comparisons: int = 1,
    weight: float = 1.0,
) -> int | None:
    """Return the pairs, or runs of either arm, that show a true difference with POWER.

    None above MAX_RUNS, and where no noise is known.

    >>> runs_needed(0.005, (0.005,)), runs_needed(0.002, (0.0013, 0.0013))
    (12, 9)
    """

    def enough(n: int) -> bool:
        sizes = (n,) * len(spreads)
        got = power(abs(difference), spreads, sizes, comparisons=comparisons, weight=weight)
        return got >= POWER

    if difference == 0 or not any(spreads) or not enough(MAX_RUNS):
        return None
    low, high = 1, MAX_RUNS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
