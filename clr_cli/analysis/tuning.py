"""Equal tuning: every arm's rate is searched for in the same way, on validation.

Without it "cyclic beats constant" may only mean that the constant rate was badly chosen
(Choi et al. 2019, "On Empirical Comparisons of Optimizers", argue the same for optimizers).
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

import numpy as np

from clr_cli.analysis.lattice import DELTA, DISTANCE, RatesFound, place, rate

# Trials use seeds of their own, so that no winner is chosen on the seeds that compare the arms.
FIRST_SEED = 1_000_000
SEEDS = 3  # runs of a rate at most


def trial_name(arm: str, rate: float) -> str:
    """The name of a trial, and of its folder.

    >>> trial_name('clr', 0.14)
    'clr@0.14'
    """
    return f"{arm}@{rate:g}"


def chosen_rate(found: RatesFound, delta: float = DELTA) -> float | None:
    """The rate to use: the centre of the good rates in log LR, each weighted by how good it is.

    A rate weighs what its mean score lies above the top - delta (the top: the mean of the best
    three), times the octaves that it stands for. So every good run has a say, and noise moves the
    choice less than it moves the best rate or the ends of the interval: with it, two equal methods
    are called different half as often (tests/benchmarks/README.md). It keeps ``DISTANCE`` from the
    lowest rate above the best at which a run failed. Where it would fall between two stretches of
    good rates, it is the best rate tried.

    Args:
        found: what a search came to, with or without an interval.
        delta: in the unit of the scores.

    Returns:
        A learning rate of two significant digits; None where nothing was learned at any rate.

    >>> from clr_cli.analysis.lattice import Tried
    >>> tried = [Tried(0.1 * 2**k, (), s) for k, s in enumerate([0.8, 0.9, 0.9, 0.9, 0.8])]
    >>> chosen_rate(RatesFound(tuple(tried)))
    0.4
    """
    means = {place(each.rate): each.mean for each in found.tried if each.mean is not None}
    if not means or not found.learned:
        return None
    best = max(means, key=lambda k: means[k])
    at = _centre(means, statistics.fmean(sorted(means.values())[-3:]) - delta, best)
    failed = [k for each in found.tried if each.mean is None and (k := place(each.rate)) > best]
    failed += [] if found.cliff is None else [place(found.cliff)]
    chosen = min([rate(at), *(rate(k) / DISTANCE for k in failed)])
    return float(f"{chosen:.2g}")


def _centre(means: Mapping[float, float], least: float, best: float) -> float:
    """The centre of gravity of places on the lattice, by their mean score above ``least``."""
    if len(means) == 1:
        return best
    places = sorted(means)
    octaves = np.gradient(places)
    weights = [max(means[k] - least, 0.0) * width for k, width in zip(places, octaves, strict=True)]
    centre = float(np.average(places, weights=weights))
    beside = sorted(places, key=lambda k: abs(k - centre))[:2]
    return centre if statistics.fmean(means[k] for k in beside) > least else best


def record(
    found: Mapping[str, RatesFound],
    keys: Mapping[str, str],
    seconds: Mapping[str, float],
    seeds: int,
) -> dict[str, Any]:
    """How the rates of the tuned arms were chosen: the ``tuning`` of summary.json.

    Args:
        found: what the search of each arm came to.
        keys: the key of each arm's rate.
        seconds: what each arm's trials cost.
        seeds: runs of a rate at most.
    """
    arms = {}
    for arm, search in found.items():
        arms[arm] = {
            "key": keys[arm],
            "value": chosen_rate(search),
            "low": search.low,
            "high": search.high,
            "doubt": search.doubt,
            "trials": [
                {"value": each.rate, "scores": list(each.scores), "val_accuracy": each.mean}
                for each in search.tried
            ],
        }
    return {"seeds": seeds, "arms": arms, "seconds": dict(seconds)}
