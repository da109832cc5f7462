"""Which arms could be the best, how likely, and how much the winner's own mean flatters it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from clr_cli.analysis.rule import ALPHA, Array, Bools, Estimate, Moments

Design = Callable[[ArrayLike, ArrayLike], Estimate]  # designs.paired or designs.unpaired
_POINTS = 401  # of the integral over a mean
_SHARES = 2000  # places of equal probability of the same


def could_be_best(arms: ArrayLike, design: Design, *, weight: float = 1.0) -> Bools:
    """Return the arms that could have the largest true mean: the best is among them with 95 %.

    Multiple comparisons with the best (Hsu 1984, "Constrained simultaneous confidence intervals
    for multiple comparisons with the best"), each arm in turn as the baseline of all others: it is
    out where one of them is larger at the one-sided level ALPHA / (K - 1). No common variance is
    taken for granted, as Hsu's own form does.

    Args:
        arms: (..., K, n), the baseline among them.
        design: `designs.paired` or `designs.unpaired`.
        weight: of the look at which it ended, see `looks.weight`.

    Returns:
        (..., K).
    """
    values = np.asarray(arms, dtype=np.float64)
    count = values.shape[-2]
    keep = np.ones(values.shape[:-1], dtype=bool)
    for k in range(count if count > 1 else 0):
        others = np.delete(values, k, axis=-2)
        low, _ = design(others, values[..., k, :]).interval(
            min(2 * ALPHA * weight / (count - 1), 1.0)
        )
        keep[..., k] = ~(low > 0).any(axis=-1)
    return keep


def probabilities(arms: ArrayLike, *, paired: bool) -> Array:
    """Return how likely every arm has the largest true mean.

    The posterior probability under the reference prior of normal runs: a true mean is the observed
    one plus Student's t times its standard error (Box & Tiao 1973, "Bayesian Inference in
    Statistical Analysis", section 2.4), by quadrature over the arm's own mean. Nothing is drawn
    together, no looks are counted: a description beside the set of `could_be_best`, not a test.

    Args:
        arms: (K, n), NaN where a run is missing.
        paired: whether what the runs of one seed share is no noise between arms.

    Returns:
        (K,), of sum 1; NaN where an arm has fewer than 2 runs.
    """
    means, square, n = _errors(arms, paired=paired)
    if np.isnan(square).any():
        return np.full(len(means), np.nan)
    error = np.sqrt(np.maximum(square, 1e-300))
    shares = (np.arange(_SHARES) + 0.5) / _SHARES
    chances = np.empty(len(means))
    for k in range(len(means)):
        ends = means[k] + error[k] * special.stdtrit(n[k] - 1, shares)  # of equal probability
        others = (ends - np.delete(means, k)[:, None]) / np.delete(error, k)[:, None]
        degrees = np.delete(n, k)[:, None] - 1
        chances[k] = special.stdtr(degrees, others).prod(axis=0).mean()
    return np.asarray(chances / chances.sum())


def _errors(arms: ArrayLike, *, paired: bool) -> tuple[Array, Array, Array]:
    """Return the means of arms, their squared standard errors, and their numbers of runs.

    Of paired runs the errors are of what is left when a seed's mean over the arms is subtracted.
    They are NaN where an arm has fewer than 2 runs.
    """
    values = np.asarray(arms, dtype=np.float64)
    noise, count = Moments.of(values), len(values)
    variance = noise.variance
    if paired:
        complete = values[:, ~np.isnan(values).any(axis=0)]
        variance = np.full(count, np.nan)
        if complete.shape[-1] > 1:
            rest = Moments.of(complete - complete.mean(axis=0, keepdims=True))
            variance = rest.variance * count / max(count - 1, 1)
    variance = np.where(noise.n < 2, np.nan, variance)
    return noise.mean, variance / np.maximum(noise.n, 1), noise.n


def optimism(arms: ArrayLike, *, paired: bool) -> Array:
    """Return by how much the largest of the means is likely to exceed its arm's true mean.

    The expected excess of the winner over normal means (see Andrews, Kitagawa & McCloskey 2024,
    "Inference on winners"), by quadrature, at true means that are estimated: the observed ones,
    drawn to their common mean as far as noise spread them (Efron & Morris 1975, "Data analysis
    using Stein's estimator and its generalizations"). Where one arm is far ahead of many equal ones
    it says too much: by up to a quarter of a run's standard deviation.

    Args:
        arms: (K, n), NaN where a run is missing.
        paired: whether what the runs of one seed share is no noise between arms.

    Returns:
        An excess of 0 or more; NaN where an arm has fewer than 2 runs.
    """
    means, square, _ = _errors(arms, paired=paired)
    count = len(means)
    if count < 2 or np.isnan(square).any():
        return np.array(np.nan if np.isnan(square).any() else 0.0)
    error = np.sqrt(np.maximum(square, 1e-300))
    spread = ((means - means.mean()) ** 2).sum() / (count - 1)
    kept = max(0.0, 1 - square.mean() / spread) if spread > 0 else 0.0
    truth = means.mean() + kept * (means - means.mean())
    if not square.any():
        return np.array(0.0)
    z = np.linspace(-8.0, 8.0, _POINTS)
    won = np.array(0.0)
    for k in range(count):
        ends = truth[k] + error[k] * z  # where this arm's mean may lie
        others = (ends - np.delete(truth, k)[:, None]) / np.delete(error, k)[:, None]
        wins = special.ndtr(others).prod(axis=0)
        won += error[k] * (z * np.exp(-(z**2) / 2) * wins).sum() * (z[1] - z[0])
    return np.asarray(won / np.sqrt(2 * np.pi))
