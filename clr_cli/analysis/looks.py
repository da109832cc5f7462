"""Looking at every seed, without more false claims, and sending runs where they tell most.

A comparison is looked at after 6 runs and after every further one. Each look is decided by the same
interval, at the level ALPHA times the weight of the look (repeated confidence intervals; Jennison &
Turnbull 1989, "Interim analyses: the repeated confidence interval approach"). An arm that is
decided or hopeless gets no more runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from clr_cli.analysis.rule import ALPHA, Array, Bools, Estimate, Moments
from clr_cli.analysis.verdicts import claims

FIRST_LOOK = 6
LAST = 30  # the last look where no cap is named
SHARE = 0.29  # of ALPHA at the looks where most is found, 8 to 12
# Hopeless: the last look finds a difference of this size in 99 % of cases, and the difference seen
# is ODDS times as likely under none.
SURELY = 2.326
ODDS = 20.0
OPEN, CLAIMED, EQUIVALENT, HOPELESS = 0, 1, 2, 3


def weight(n: int, last: int = LAST) -> float:
    """Return the part of ALPHA at which a look at n runs is tested; 0 before the first look.

    The last look gets more, because none follows: what keeps the sum over all looks at 4.2 %, for
    normal pairs and caps from 6 to 60. It is given once: at the first cap that is reached. Beyond
    it every look has its usual weight.

    >>> [round(weight(n), 2) for n in (5, 6, 12, 24, 30)]
    [0.0, 0.19, 0.29, 0.1, 0.3]
    """
    if n < FIRST_LOOK:
        return 0.0
    if n == last:
        return min(1.0, 9 / n)
    return SHARE * min((n - 2) / 6, 1.0, math.pow(12 / n, 1.5))


@dataclass(frozen=True)
class Progress:
    """What the looks so far came to; arrays (..., K).

    state: OPEN, CLAIMED, EQUIVALENT or HOPELESS. at: the look that decided it, 0 while open.
    low, high, level: the interval of that look, or of the latest one while open.
    """

    state: NDArray[np.int64]
    at: NDArray[np.int64]
    low: Array
    high: Array
    level: Array

    @staticmethod
    def begin(shape: tuple[int, ...]) -> Progress:
        """Return the progress before the first look at arms of this shape (..., K)."""
        unbounded = np.full(shape, np.inf)
        none = np.zeros(shape, dtype=np.int64)
        return Progress(none, none, -unbounded, unbounded, np.zeros(shape))

    @property
    def open(self) -> Bools:
        """The arms that are neither decided nor given up."""
        return np.asarray(self.state == OPEN)

    def look(
        self,
        estimate: Estimate,
        n: int,
        *,
        last: int = LAST,
        cap: int | None = None,
        margin: float | None = None,
        comparisons: int | None = None,
    ) -> Progress:
        """Return the progress after a look at n runs of each open arm.

        Args:
            estimate: of all arms, decided ones too.
            n: runs of an open arm; where the sizes are unequal, 5 + the number of the look.
            last: the look that gets the weight of the last one: the first cap that is reached.
            cap: the most runs; None never gives an arm up.
            margin: the difference that does not matter.
            comparisons: see `verdicts.claims`.
        """
        if weight(n, last) == 0:
            return self
        total = max(estimate.mean.shape[-1], comparisons or 0)
        before = (self.state == CLAIMED).sum(axis=-1, keepdims=True)
        said = claims(
            estimate,
            comparisons=comparisons,
            weight=weight(n, last),
            before=before,
            among=self.open,
        )
        now = np.where(self.open & said.claimed, CLAIMED, self.state)
        if margin is not None:
            within = (now == OPEN) & (said.low > -margin) & (said.high < margin)
            now = np.where(within, EQUIVALENT, now)
        if cap is not None and n < cap:
            left = np.maximum(total - (now == CLAIMED).sum(axis=-1, keepdims=True), 1)
            given_up = hopeless(estimate, n, cap, weight(cap, last) / left, margin)
            now = np.where((now == OPEN) & given_up, HOPELESS, now)
        decided = self.open & (now != OPEN)
        return Progress(
            now,
            np.where(decided, n, self.at),
            np.where(self.open, said.low, self.low),
            np.where(self.open, said.high, self.high),
            np.where(self.open, said.level, self.level),
        )


class Look(NamedTuple):
    """What there was at a look. n: its number (see `Progress.look`); runs of each side so far."""

    n: int
    arms: Sequence[int]
    baseline: int

    def of(self, arms: Array, baseline: Array) -> tuple[Array, Array]:
        """Return arms (K, n) and baseline (m,) as they were: NaN for the runs that came later."""
        there = np.arange(arms.shape[-1]) < np.asarray(self.arms)[:, None]
        base = np.arange(len(baseline)) < self.baseline
        return np.where(there, arms, np.nan), np.where(base, baseline, np.nan)


def replay(
    arms: ArrayLike,
    baseline: ArrayLike,
    looks: Sequence[Look],
    design: Callable[[Array, Array], Estimate],
    *,
    last: int = LAST,
    cap: int | None = None,
    margin: float | None = None,
    comparisons: int | None = None,
) -> list[Progress]:
    """Return what each look came to; the same runs and looks give the same answers.

    Args:
        arms: (K, n), in the order of the runs (of the seeds, where they are paired).
        baseline: (m,).
        looks: all looks so far, in their order.
        design: `designs.paired` or `designs.unpaired`.
        last, cap, margin, comparisons: see `Progress.look`.

    >>> from clr_cli.analysis.designs import paired
    >>> far = [[3.1, 3.3, 3.2, 3.4, 3.3, 3.1, 3.5]]
    >>> seen = replay(far, [1.0] * 7, [Look(6, [6], 6), Look(7, [7], 7)], paired)
    >>> [(int(each.state[0]) == CLAIMED, int(each.at[0])) for each in seen]
    [(True, 6), (True, 6)]
    """
    x, y = (np.asarray(values, dtype=np.float64) for values in (arms, baseline))
    progress, steps = Progress.begin(x.shape[:-1]), []
    for look in looks:
        progress = progress.look(
            design(*look.of(x, y)),
            look.n,
            last=last,
            cap=cap,
            margin=margin,
            comparisons=comparisons,
        )
        steps.append(progress)
    return steps


def hopeless(
    estimate: Estimate, n: int, cap: int, share: ArrayLike, margin: float | None = None
) -> Bools:
    """Tell where there is hardly a difference that runs up to the cap could show.

    A likelihood ratio of normal differences, as in Wald's (1945) sequential test: none against the
    size that the cap would surely find. Giving up costs no level, only power. Where the cap could
    show equivalence, nothing is given up.

    This ratio needs some noise. An arm has none if no run of it trained, if its values never
    change, or if they always equal the baseline's. It is given up once so many runs in a row would
    behave alike by chance, with even odds in each run, less often than the level at the cap.

    Args:
        share: of ALPHA at the cap, (..., 1) or a number.
    """
    freedom = estimate.freedom + cap - n
    c = -special.stdtrit(freedom, ALPHA * np.asarray(share) / 2)
    at_cap = estimate.error * math.sqrt(n / cap)
    size = at_cap * (c + SURELY * np.sqrt(1 + c**2 / (2 * freedom)))
    safe = np.where(estimate.error > 0, estimate.error, 1.0)
    odds = size * (size / 2 - np.abs(estimate.mean)) / safe**2
    found = (odds > math.log(ODDS)) & (estimate.error > 0)
    if margin is not None:
        found &= np.abs(estimate.mean) + c * at_cap >= margin
    lost = np.isnan(estimate.mean)
    alike = lost | estimate.blind
    if margin is None:  # else equivalent
        alike |= (estimate.error == 0) & (estimate.mean == 0)
    chance = np.where(lost, 2.0 ** (1 - n), estimate.chance)
    return np.asarray(found | (alike & (chance <= ALPHA * np.asarray(share))))


FIRST_RUNS, FIRST_BASELINE = 6, 8  # of an arm, and of a baseline that serves several: before looks


def next_runs(
    arms: Moments, baseline: Moments, open_arms: Bools, count: int, room: ArrayLike = math.inf
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return how many runs each arm and the baseline get next, of runs that share nothing.

    Each run goes where it lowers the summed squared errors of the open arms' differences most. A
    run of the baseline counts for every open arm; decided arms get none, nor does a side without
    room. A side whose spread is below the pooled one counts as pooled: skewed noise shows a small
    spread where its tail was missed, and such an arm would be left as it is, with a mean that is
    off.

    Args:
        arms: (..., K); baseline: (...).
        open_arms: (..., K).
        count: runs of this round; one more than there are open arms is a good size.
        room: the most runs that each side may get, the baseline last; (..., K + 1) or a number.

    Returns:
        (..., K) and (...).
    """
    n = np.concatenate([arms.n, baseline.n[..., None]], axis=-1)
    variance = np.concatenate([arms.variance, baseline.variance[..., None]], axis=-1)
    freedom = np.maximum(n - 1, 0)
    total = np.maximum(freedom.sum(axis=-1, keepdims=True), 1)
    variance = np.maximum(variance, (freedom * variance).sum(axis=-1, keepdims=True) / total)
    serves = np.concatenate([open_arms, open_arms.sum(axis=-1, keepdims=True)], axis=-1)
    added = np.zeros(n.shape, dtype=np.int64)
    for _ in range(count):
        k = n + added
        grows = (serves > 0) & (added < np.asarray(room))
        gain = np.where(grows, serves * variance / (k * (k + 1)), -1.0)
        best = gain == gain.max(axis=-1, keepdims=True)
        first = best & (np.cumsum(best, axis=-1) == 1)
        added += first & grows
    return added[..., :-1], added[..., -1]
