"""Equal tuning: every arm's rate is searched for in the same way, on validation.

Without it "cyclic beats constant" may only mean that the constant rate was badly chosen
(Choi et al. 2019, "On Empirical Comparisons of Optimizers", argue the same for optimizers).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clr_cli.analysis.lattice import Found

# Trials use seeds of their own, so that no winner is chosen on the seeds that compare the arms.
FIRST_SEED = 1_000_000
SEEDS = 3  # runs of a rate at most


def trial_name(arm: str, rate: float) -> str:
    """The name of a trial, and of its folder.

    >>> trial_name('clr', 0.14)
    'clr@0.14'
    """
    return f"{arm}@{rate:g}"


def chosen_rate(found: Found) -> float | None:
    """The rate to use: the centre of the interval, or the best tried where there is no interval.

    None where nothing was learned at any rate. Two significant digits.

    >>> chosen_rate(Found((), low=0.1, high=0.4, max_lr=0.2))
    0.2
    """
    rate = found.max_lr
    if rate is None:
        means = {each.rate: each.mean for each in found.tried if each.mean is not None}
        rate = max(means, key=lambda at: means[at]) if means and found.learned else None
    return None if rate is None else float(f"{rate:.2g}")


def record(
    found: Mapping[str, Found],
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
