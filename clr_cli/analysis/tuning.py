"""Equal tuning: the search for every arm's rate is the same, on validation.

Without it "cyclic beats constant" may only mean that the constant rate was badly chosen
(Choi et al. 2019, "On Empirical Comparisons of Optimizers", argue the same for optimizers).
"""

from __future__ import annotations

from collections.abc import Mapping

from clr_cli.analysis.lattice import RatesFound
from clr_cli.format import rounded_lr
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
        ValueError: a search has no answer; the message says which and why.

    """
    arms = {}
    for arm, search in found.items():
        if search.max_lr is None:
            raise ValueError(f"{arm}: {search.inconclusive}")
        trials = [
            Trial(value=each.rate, scores=[*each.scores], val_accuracy=each.mean)
            for each in search.tried
        ]
        arms[arm] = TunedArm(
            key=keys[arm],
            value=rounded_lr(search.max_lr),
            low=search.low,
            high=search.high,
            inconclusive=search.inconclusive,
            trials=trials,
        )
    return Tuning(seeds=seeds, arms=arms, seconds=dict(seconds))
