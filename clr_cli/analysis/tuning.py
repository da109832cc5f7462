"""Equal tuning: the search for every arm's rate is the same, on validation.

Without it "cyclic beats constant" may only mean that the constant rate was badly chosen
(Choi et al. 2019, "On Empirical Comparisons of Optimizers", argue the same for optimizers).
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping

import numpy as np

from clr_cli.analysis.lattice import DELTA, DISTANCE, RatesFound, place, rate
from clr_cli.records import Trial, TunedArm, Tuning

# Trials use seeds of their own, so that no winner is chosen on the seeds that compare the arms.
FIRST_SEED = 1_000_000
SEEDS = 3  # runs of a rate at most


def trial_name(arm: str, rate: float) -> str:
    """Return the name of a trial, and of its folder.

    >>> trial_name('clr', 0.14)
    'clr@0.14'
    """
    return f"{arm}@{rate:g}"


def chosen_rate(found: RatesFound, delta: float = DELTA) -> float | None:
    """Return the center of the good rates in log LR, each weighted by how good it is.

    The weight of a rate is its mean score above the top - delta (the top: the mean of the best
    three), times the octaves that it represents. Noise moves this choice less than it moves the
    best rate or the ends of the interval: two equal methods are called different half as often
    (tests/benchmarks/README.md). The choice keeps ``DISTANCE`` from the lowest rate above the best
    at which a run failed. Where it would fall between two separate ranges of good rates, it is the
    best rate tried.

    Args:
        found: the result of a search, with or without an interval.
        delta: in the unit of the scores.

    Returns:
        a learning rate of two significant digits; None where nothing was learned at any rate.

    >>> from clr_cli.analysis.lattice import Tried
    >>> tried = [Tried(0.1 * 2**k, (), s) for k, s in enumerate([0.8, 0.9, 0.9, 0.9, 0.8])]
    >>> chosen_rate(RatesFound(tuple(tried)))
    0.4

    """
    means = {place(each.rate): each.mean for each in found.tried if each.mean is not None}
    if not means or not found.learned:
        return None
    best = max(means, key=lambda k: means[k])
    at = _center(means, statistics.fmean(sorted(means.values())[-3:]) - delta, best)
    failed = [k for each in found.tried if each.mean is None and (k := place(each.rate)) > best]
    failed += [] if found.cliff is None else [place(found.cliff)]
    chosen = min([rate(at), *(rate(k) / DISTANCE for k in failed)])
    return float(f"{chosen:.2g}")


def _center(means: Mapping[float, float], least: float, best: float) -> float:
    """Return the center of gravity of places, by their mean score above ``least``."""
    if len(means) == 1:
        return best
    places = sorted(means)
    octaves = np.gradient(places)
    weights = [max(means[k] - least, 0.0) * width for k, width in zip(places, octaves, strict=True)]
    center = float(np.average(places, weights=weights))
    beside = sorted(places, key=lambda k: abs(k - center))[:2]
    return center if statistics.fmean(means[k] for k in beside) > least else best


def record(
    found: Mapping[str, RatesFound],
    keys: Mapping[str, str],
    seconds: Mapping[str, float],
    seeds: int,
) -> Tuning:
    """Return how the rates of the tuned arms were chosen.

    Args:
        found: the result of each arm's search.
        keys: the key of each arm's rate.
        seconds: the cost of each arm's trials.
        seeds: the most runs of a rate.

    Raises:
        ValueError: nothing was learned at any rate of an arm; the message tells which and why.

    """
    arms = {}
    for arm, search in found.items():
        chosen = chosen_rate(search)
        if chosen is None:
            raise ValueError(f"{arm}: {search.inconclusive}")
        trials = [
            Trial(value=each.rate, scores=[*each.scores], val_accuracy=each.mean)
            for each in search.tried
        ]
        arms[arm] = TunedArm(
            key=keys[arm],
            value=chosen,
            low=search.low,
            high=search.high,
            inconclusive=search.inconclusive,
            trials=trials,
        )
    return Tuning(seeds=seeds, arms=arms, seconds=dict(seconds))
