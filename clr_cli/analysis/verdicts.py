"""From estimates to claims: Holm's correction, the words, and what is asked of them.

The interval that is printed for an arm is the one that decided it: it excludes zero if and only if
the arm is called better or worse.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from clr_cli.analysis.designs import LEAST_PAIRS, LEAST_RUNS
from clr_cli.analysis.rule import ALPHA, LEAST_LEVEL, Array, Bools, Estimate
from clr_cli.records import Holds, Verdict

# Too few runs: where so many comparisons, each falling on one side by chance as coins do, would
# show it in more than one of eight cases. Noise of two humps that far apart is then called a
# difference in up to 12 %; twice as much would be 20 %.
MOST_CHANCE = 0.125


@dataclass(frozen=True)
class Claims:
    """What may be claimed of each arm; arrays (..., K).

    low, high: the interval that decides, infinite where nothing can be said. level: its level
    (1 - confidence). claimed: whether it excludes zero.
    """

    low: Array
    high: Array
    level: Array
    claimed: Bools


def is_testable(estimate: Estimate, comparisons: int | None = None) -> Bools:
    """Return which arms have a noise, and runs enough for so many comparisons."""
    total = max(estimate.mean.shape[-1], comparisons or 0)
    rare = estimate.chance * total <= MOST_CHANCE
    return np.asarray(estimate.enough & ~estimate.blind & rare)


def claims(
    estimate: Estimate,
    *,
    comparisons: int | None = None,
    weight: Array | float = 1.0,
    before: Array | int = 0,
    among: Bools | bool = True,
) -> Claims:
    """Decide every arm, stepping down as Holm (1979) does.

    With r of K comparisons claimed the others are tested at ALPHA * weight / (K - r); what is
    claimed keeps the level of its step.

    Args:
        comparisons: K, at least as many as there are arms; see `comparisons_after_looking`.
        weight: of this look, (..., 1) or a number; see `looks.weight`.
        before: arms claimed at earlier looks, (..., 1) or a number.
        among: the arms that are still open.
    """
    total = max(estimate.mean.shape[-1], comparisons or 0)
    known = is_testable(estimate, comparisons) & (np.asarray(weight) > 0)
    open_arms = known & among
    claimed = np.zeros(estimate.mean.shape, dtype=bool)
    level = np.zeros(estimate.mean.shape)
    low = high = level
    while True:
        left = total - before - claimed.sum(axis=-1, keepdims=True)
        level = np.where(claimed, level, ALPHA * weight / np.maximum(left, 1))
        ends = estimate.interval(np.maximum(level, LEAST_LEVEL))
        low = np.where(known, ends[0], -np.inf)
        high = np.where(known, ends[1], np.inf)
        found = open_arms & ((low > 0) | (high < 0))
        if (found == claimed).all():
            return Claims(low, high, level, claimed)
        claimed = found


def p_holm(estimate: Estimate, *, comparisons: int | None = None) -> tuple[Array, Array]:
    """Return p of every arm alone and adjusted as by Holm; at most ALPHA where it is claimed.

    NaN where the arm has too few runs or no noise.
    """
    total = max(estimate.mean.shape[-1], comparisons or 0)
    p = np.where(is_testable(estimate, comparisons), estimate.p(), np.nan)
    order = np.argsort(p, axis=-1, kind="stable")
    steps = total - np.arange(p.shape[-1])
    stepped = np.minimum(np.take_along_axis(p, order, axis=-1) * steps, 1.0)
    adjusted = np.empty_like(p)
    np.put_along_axis(adjusted, order, np.maximum.accumulate(stepped, axis=-1), axis=-1)
    return p, adjusted


def verdict(low: float, high: float, margin: float | None = None) -> Verdict:
    """Say in a word what an interval shows, larger being better.

    >>> verdict(0.01, 0.03), verdict(-0.01, 0.02), verdict(-0.01, 0.02, margin=0.05)
    ('better', 'undecided', 'equivalent')
    """
    if low > 0:
        return "better"
    if high < 0:
        return "worse"
    if margin is not None and -margin < low and high < margin:
        return "equivalent"
    return "undecided"


def word(
    estimate: Estimate,
    k: int,
    ends: tuple[float, float],
    level: float,
    *,
    margin: float | None,
    comparisons: int | None,
) -> Verdict:
    """Say in a word what is known of arm ``k``, whose interval at ``level`` has these ends.

    Level 0: there has been no look at which anything is tested.
    """
    if is_testable(estimate, comparisons)[k] and level > 0:
        return verdict(*ends, margin)
    return "seed_changes_nothing" if estimate.enough[k] and estimate.blind[k] else "too_few_runs"


def exceeds(low: float, high: float, least: float) -> bool | None:
    """Tell whether a difference is above `least`; None where the interval holds it.

    With 0 it asks for superiority, with -margin for non-inferiority.

    >>> exceeds(-0.01, 0.03, 0.0), exceeds(-0.01, 0.03, -0.02), exceeds(-0.05, -0.03, -0.02)
    (None, True, False)
    """
    return True if low > least else False if high < least else None


def fewest_pairs(comparisons: int = 1) -> int:
    """Return the fewest pairs (or runs against a number) that can give a claim.

    >>> fewest_pairs(), fewest_pairs(4), fewest_pairs(8)
    (4, 6, 7)
    """
    return _fewest(LEAST_PAIRS, lambda n: 2.0 ** (1 - n), comparisons)


def fewest_runs(comparisons: int = 1) -> int:
    """Return the fewest runs of either of two samples that can give a claim.

    >>> fewest_runs(), fewest_runs(40)
    (5, 6)
    """
    return _fewest(LEAST_RUNS, lambda n: 2 / math.comb(2 * n, n), comparisons)


def _fewest(least: int, chance: Callable[[int], float], comparisons: int) -> int:
    n = least
    while chance(n) * comparisons > MOST_CHANCE:
        n += 1
    return n


def comparisons_after_looking(arms: int, *, baseline_chosen: bool) -> int:
    """Return for how many comparisons a part of a table of `arms` arms must be corrected.

    Whoever saw all arms chose among all of them: each against the baseline, or every pair where
    the baseline was chosen too (Tukey's family).

    >>> comparisons_after_looking(6, baseline_chosen=True)
    15
    """
    return arms * (arms - 1) // 2 if baseline_chosen else arms - 1


def holds_on_all(verdicts: Sequence[Verdict]) -> Holds:
    """Say what holds on every one of several data sets, each tested at its own full level.

    An intersection-union test (Berger 1982, "Multiparameter hypothesis testing and acceptance
    sampling"): to hold everywhere it must be shown everywhere, so nothing is corrected. "mixed":
    better on one and worse on another.

    >>> holds_on_all(["better", "better"]), holds_on_all(["better", "undecided"])
    ('better', 'undecided')
    >>> holds_on_all(["better", "worse", "undecided"])
    'mixed'
    """
    if len(set(verdicts)) == 1:
        return verdicts[0]
    return "mixed" if {"better", "worse"} <= set(verdicts) else "undecided"
