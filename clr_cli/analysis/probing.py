"""Which learning rates are good: a search over short trainings that need not know the range.

A probe is a short training with the schedule's rate scaled to r, judged by its score at the end.
Rates lie on an absolute lattice, r = 0.1 * 2^k, so that searches from different starts ask for the
same probes and give the same answer. ``search`` is a replay: it is given the scores so far and
returns which probes are missing, or what they come to. It trains nothing and keeps no state, so a
search that is interrupted goes on, and another start costs only what is missing.

The answer of a sweep depends on the range it is asked for, because rate and time rise together
(tests/benchmarks/README.md). Probes are independent runs; a sweep only says where to start.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping

from scipy import special

from clr_cli.analysis.bracket import bracket
from clr_cli.analysis.lattice import (
    LEVEL,
    ProbeRequest,
    RatesFound,
    Scale,
    Scores,
    center,
    crossing,
    rate,
)
from clr_cli.analysis.replay import (
    CLEAR,
    LONGER,
    UNSTABLE,
    Inconclusive,
    Missing,
    Replay,
    segments,
)

STEEP = "delta is the cause (noise is small, no run failed nearby); a larger delta widens the range"
CALM = 3  # standard deviations of a probe below delta: what is bad then is so by its rate
SEEDS = 3  # most probes of one rate
NARROW = 1.0  # octaves: an interval below a factor of 2 is finer than the lattice can tell


def search(
    scores: Scores, start: float, scale: Scale, seeds: int = SEEDS
) -> ProbeRequest | RatesFound:
    """Return what is missing, or the answer.

    1. *Bracket*: one probe at every second place of the lattice, from the one nearest to ``start``
       outwards, until both sides lie ``FALL`` deltas below the best. A rate that learns, but lies
       so far below, gets a second seed first: one bad seed ends no search. The search ends where
       the probes over ``REACH`` places, six of them, show no sign of learning.
    2. *Refine*: what counts from here on, whatever the start was, is the connected run within
       ``FALL`` deltas of the best, its failing neighbors, and the places between where the run
       ends (all of them, if it is short).
    3. *Repeat*: a second seed within two deltas of the top; a third where two of them differ by
       more than two deltas, and where a rate between good ones seems bad.
    4. *Read*: the top is the mean of the best three rates; the interval ends where the mean score,
       going outwards from the best rate, crosses top - delta, interpolated in log LR; max_lr is
       the center of the good rates, each weighted by how good it is.
    5. *Verify*: the places beside max_lr get all their seeds, so that what is recommended has been
       tried as often as anything; then it is read again.

    Args:
        scores: (k, seed) -> score, higher is better; None where the probe failed. Seeds count
            from 0.
        start: a learning rate. Where a model learns nothing over three decades, another start can
            find rates that this one did not reach.
        scale: what the scores are.
        seeds: the most probes of one rate, at least 2.

    Returns:
        ProbeRequest: run these, add their scores, call again.
        RatesFound: the answer, or why there is none.

    >>> curve = lambda k: 0.9 - 0.01 * (k - 1) ** 2 if k < 5 else 0.1
    >>> scores, asked = {}, search({}, 0.05, Scale(0.03, chance=0.1))
    >>> while isinstance(asked, ProbeRequest):
    ...     scores |= {probe: curve(probe[0]) for probe in asked.probes}
    ...     asked = search(scores, 0.05, Scale(0.03, chance=0.1))
    >>> [round(lr, 2) for lr in (asked.low, asked.max_lr, asked.high)]
    [0.05, 0.2, 0.74]

    """
    replay = _Reading(scores, scale, seeds)
    try:
        bracket(replay, start)
        return replay.read()
    except Missing as missing:
        return missing.request
    except Inconclusive as error:
        return RatesFound(
            replay.tried(),
            inconclusive=error.reason,
            learned=error.learned,
            too_short=error.too_short,
        )


class _Reading(Replay):
    """The second part of a search: the answer, from the rates that the bracket has left."""

    def read(self) -> RatesFound:
        """Return the answer, once every rate that it depends on has been tried often enough."""
        top = max(map(self.first, self.places))
        close = 2 * self.scale.delta
        self.need({k: 2 for k in self.places if self.first(k) >= top - close}, "repeat")
        values = {k: self.values(k) for k in self.places}
        again = (k for k, v in values.items() if max(v) >= top - close and max(v) - min(v) > close)
        self.need({k: self.seeds for k in again if math.isfinite(self.mean(k))}, "repeat")
        while True:
            sd, freedom = self.noise()
            cliff = self.cliff()
            low, high, top = self.interval(cliff, sd)
            means = {k: self.mean(k) for k in self.places if cliff is None or k < cliff}
            at = center(means, self.scale.delta)  # at most the place below the cliff: DISTANCE
            beside = {math.floor(at + 1e-9), math.ceil(at - 1e-9)}
            if all(self.count.get(k) == self.seeds for k in beside):
                break
            self.need(dict.fromkeys(beside, self.seeds), "verify")
        return RatesFound(
            self.tried(),
            low=rate(low),
            high=rate(high),
            max_lr=rate(at),
            top=top,
            cliff=None if cliff is None else rate(cliff),
            sd=sd,
            bound=self.bound(beside, at, sd, freedom),
            inconclusive=_narrow(low, high, self.is_smooth(low, high, sd)),
        )

    def is_smooth(self, low: float, high: float, sd: float) -> bool:
        """Return whether neither failing probes nor noise can be what ends the interval."""
        near = (k for k in self.places if low - 1 <= k <= high + 1)
        return CALM * sd < self.scale.delta and all(math.isfinite(self.mean(k)) for k in near)

    def cliff(self) -> int | None:
        """Return the lowest place, above the lowest good one, with a probe that failed.

        A probe at chance counts as failed. What lies above is not good, however well other seeds
        did there.
        """
        places = self.places
        while True:
            best = self.best(places)
            good = [k for k in places if self.mean(k) >= best - self.fall]
            failed = [k for k in places if k > good[0] and not self.learned(min(self.values(k)))]
            below = [k for k in places if not failed or k <= failed[0]]
            if below == places:
                return failed[0] if failed else None
            places = below

    def best(self, places: Iterable[int]) -> float:
        best = max(map(self.mean, places))
        if not math.isfinite(best):
            raise Inconclusive(f"at every rate some probe failed: {UNSTABLE}")
        return best

    def interval(self, cliff: int | None, sd: float) -> tuple[float, float, float]:
        """Return where the interval ends (places), and the top.

        Dips between good rates get more seeds first. One that is no deeper than two standard
        errors of its mean, from sd or its own scores, does not end the interval.
        """
        while True:
            means = {k: self.mean(k) for k in self.places if cliff is None or k <= cliff}
            best = max(means, key=lambda k: means[k])
            good = sorted(mean for mean in means.values() if mean >= means[best] - self.fall)
            top = statistics.fmean(good[-3:])
            least = top - self.scale.delta
            _, _, apart = _extent(means, best, least)
            dips = [
                k
                for k in means
                if means[k] < least and any(min(best, at) < k < max(best, at) for at in apart)
            ]
            again = [k for k in dips if self.count[k] < self.seeds and math.isfinite(means[k])]
            if not again:
                break
            self.need(dict.fromkeys(again, self.seeds), "repeat")
        for k in (k for k in dips if math.isfinite(means[k])):
            noise = max(sd, statistics.stdev(self.values(k)))
            if least - means[k] <= 2 * noise / math.sqrt(self.count[k]):
                means[k] = least
        low, high, apart = _extent(means, best, least)
        if apart:
            raise Inconclusive(segments(best, apart))
        return low, high, top

    def noise(self) -> tuple[float, int]:
        """Return the standard deviation of a probe's score, pooled over rates, and its freedom.

        Raises Inconclusive where the best score does not stand out of the noise.
        """
        while True:
            best = self.best(self.places)
            close = [k for k in self.places if self.mean(k) >= best - 2 * self.fall]
            groups = [self.values(k) for k in close if self.count[k] > 1]
            if groups:
                break
            self.need(dict.fromkeys(close, 2), "repeat")  # the rates that had two have failed
        freedom = sum(len(scores) - 1 for scores in groups)
        squares = sum(statistics.variance(scores) * (len(scores) - 1) for scores in groups)
        sd = max(math.sqrt(squares / freedom), self.binomial(best))
        chance = self.scale.chance
        if chance is not None and best - chance < CLEAR * sd:
            said = f"the best score ({best:.3g}) is little beside the noise of a probe ({sd:.2g})"
            raise Inconclusive(f"{said}: {LONGER}", learned=False, too_short=True)
        return sd, freedom

    def bound(self, beside: Iterable[int], at: float, sd: float, freedom: int) -> float:
        """Return by how much a rate that was tried may beat max_lr.

        One-sided t intervals of differences, Bonferroni over the rates.
        """
        here = sorted(beside)
        score = self.mean(here[0])
        if len(here) > 1:
            score += (at - here[0]) * (self.mean(here[1]) - score)
        others = [k for k in self.places if k not in here] or here
        quantile = float(special.stdtrit(freedom, 1 - (1 - LEVEL) / len(others)))
        gains = (
            self.mean(k) - score + quantile * sd * math.sqrt(1 / self.count[k] + 1 / self.seeds)
            for k in others
        )
        return max(0.0, *gains)


def _extent(means: Mapping[int, float], best: int, least: float) -> tuple[float, float, list[int]]:
    """Return where the good rates around the best end, and the good rates beyond."""
    low, high = (crossing(means, best, least, step) for step in (-1, 1))
    return low, high, [k for k, mean in means.items() if mean >= least and not low <= k <= high]


def _narrow(low: float, high: float, smooth: bool) -> str | None:
    if high - low >= NARROW:
        return None
    good = f"the good rates, {rate(low):.2g} to {rate(high):.2g}, lie within a factor of 2"
    return f"{good}: {STEEP if smooth else UNSTABLE}"
