"""Runs that finished and learned nothing, or that lie far outside the others of their arm."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import special

from clr_cli.analysis.rule import ALPHA

LEAST_RUNS = 4  # of three, any one lies far from two that happen to be close
NEAR_CHANCE = 0.05  # of the way from chance to perfect


def least_gap(n: int) -> float:
    """Return from which gap on, in ranges of the other runs, runs of n lie far outside.

    Fitted to simulated arms: one in 100 of exponential ones and fewer normal and t (3 degrees of
    freedom) ones are named, for 4 to 30 runs. The principle is Dixon's (1950), "Analysis of extreme
    values", with a group of up to a third of the runs (of many runs: nearly half) instead of one.

    >>> round(least_gap(4), 1), round(least_gap(8), 1), round(least_gap(30), 1)
    (34.0, 6.7, 4.2)
    """
    return 4 + 30 / math.pow(n - 3, 1.5)


def stuck_runs(values: Sequence[float], *, chance: float | None = None) -> dict[int, float | None]:
    """Return the runs of one arm that ended at chance or far outside the others.

    By number among the values: the gap to the nearest other run, in ranges of the other runs; None
    for a run that ended at chance.

    Args:
        values: final values of the runs that finished.
        chance: what a classifier reaches that learned nothing, where 1 is perfect; None: no such
            value is known.

    >>> stuck_runs([0.91, 0.90, 0.11, 0.92, 0.905, 0.91], chance=0.1)
    {2: None}
    """
    near = None if chance is None else chance + (1 - chance) * NEAR_CHANCE
    at_chance = [near is not None and value <= near for value in values]
    found: dict[int, float | None] = {k: None for k, is_at in enumerate(at_chance) if is_at}
    order = [index for index in np.argsort(values, kind="stable").tolist() if index not in found]
    n = len(order)
    if n < LEAST_RUNS:
        return found
    for side in (order, order[::-1]):
        for count in range(max(n // 3, n // 2 - 2), 0, -1):
            rest = [values[index] for index in side[count:]]
            spread = max(rest) - min(rest)
            gap = abs(values[side[count]] - values[side[count - 1]])
            if spread > 0 and gap > least_gap(n) * spread:
                return dict(sorted((found | dict.fromkeys(side[:count], gap / spread)).items()))
    return found


def are_set_apart(stuck: int, runs: int) -> bool:
    """Return whether an arm is judged without its stuck runs: if they are fewer than half.

    An arm most of whose runs learn nothing is an arm that learns nothing.
    """
    return 0 < 2 * stuck < runs


def most_elsewhere(count: int, runs: int) -> float:
    """Return the share of runs that may end otherwise, where `count` of `runs` did.

    The exact one-sided upper end at 95 % (Clopper & Pearson 1934).

    >>> round(most_elsewhere(0, 8), 2)
    0.31
    """
    return 1.0 if count >= runs else float(special.betaincinv(count + 1, runs - count, 1 - ALPHA))
