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

from scipy import stats as distributions

from clr_cli.analysis.lattice import (
    DISTANCE,
    HIGHEST,
    LEVEL,
    LOWEST,
    Probe,
    ProbeRequest,
    RatesFound,
    Scale,
    Scores,
    Tried,
    center,
    crossing,
    place,
    rate,
)

LEARNED = 0.1  # of the way from chance to 1: below it, nothing was learned
SIGN = 0.01  # the same: below it, there is no sign that longer probes would learn
REACH = 10  # places, three decades: without a sign of learning over so many, the search ends
FALL = 4 / 3  # deltas below the best at which the search stops walking on
LONGER = "longer probes may tell"
FLAT = "the rate does not matter here, or the score does not see it"
UNSTABLE = "training is not stable; batch norm, another initialization or a warm-up may help"
CLEAR = 6  # standard deviations of a probe by which the best must lie above chance
SEEDS = 3  # most probes of one rate
NARROW = 1.0  # octaves: an interval below a factor of 2 is finer than the lattice can tell


class _Missing(Exception):
    def __init__(self, probes: Iterable[Probe], stage: str) -> None:
        self.request = ProbeRequest(tuple(probes), stage)


class _Inconclusive(Exception):
    def __init__(self, reason: str, *, learned: bool = True, too_short: bool = False) -> None:
        self.reason, self.learned, self.too_short = reason, learned, too_short


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
    replay = _Replay(scores, scale, seeds)
    try:
        replay.bracket(start)
        return replay.read()
    except _Missing as missing:
        return missing.request
    except _Inconclusive as error:
        return RatesFound(
            replay.tried(),
            inconclusive=error.reason,
            learned=error.learned,
            too_short=error.too_short,
        )


class _Replay:
    """One run through the search, as far as the scores reach."""

    def __init__(self, scores: Scores, scale: Scale, seeds: int) -> None:
        self.scores, self.scale, self.seeds = scores, scale, seeds
        self.fall = FALL * scale.delta
        self.count: dict[int, int] = {}  # probes of each rate that count

    # --- scores ------------------------------------------------------------------------------

    def need(self, wanted: Mapping[int, int], stage: str) -> None:
        """Go on only if these rates have so many probes."""
        missing = [
            (k, seed)
            for seed in range(self.seeds)
            for k, number in sorted(wanted.items())
            if seed < number and (k, seed) not in self.scores
        ]
        if missing:
            raise _Missing(missing, stage)
        for k, number in wanted.items():
            self.count[k] = max(self.count.get(k, 0), number)

    def values(self, k: int) -> list[float]:
        """Return the scores at a rate; a failed probe is infinitely bad."""
        scores = (self.scores[k, seed] for seed in range(self.count[k]))
        return [-math.inf if score is None else score for score in scores]

    def mean(self, k: int) -> float:
        return statistics.fmean(self.values(k))

    def first(self, k: int) -> float:
        return self.values(k)[0]

    @property
    def places(self) -> list[int]:
        return sorted(self.count)

    def learned(self, score: float) -> bool:
        return self.above_chance(score, LEARNED, CLEAR)

    def above_chance(self, score: float, share: float, deviations: float) -> bool:
        """Return whether a score is above chance by a share of the way to 1 and its noise."""
        chance = self.scale.chance
        if chance is None:
            return math.isfinite(score)
        return score - chance > max(share * (1 - chance), deviations * self.binomial(chance))

    def binomial(self, accuracy: float) -> float:
        images = self.scale.images
        return math.sqrt(max(accuracy * (1 - accuracy), 0) / images) if images else 0.0

    # --- which rates count ---------------------------------------------------------------------

    def bracket(self, start: float) -> None:
        """Find the run of rates that are about as good as the best, and refine its ends."""
        middle = min(max(2 * round(place(start) / 2), LOWEST + 2), HIGHEST - 2)
        wanted = dict.fromkeys((middle - 2, middle, middle + 2), 1)
        while wanted:
            self.need(wanted, "bracket")
            best = max(self.places, key=lambda k: (self.first(k), -k))
            if self.learned(self.first(best)):
                low, high = (self.end(best, step) for step in (-2, 2))
                wanted = {k: self.count.get(k, 0) + 1 for k in (low, high) if not self.fell(k)}
            else:
                wanted = self.elsewhere(best)
        least = self.first(best) - self.fall
        run = range(low, high + 1, 2)
        apart = [k for k in self.places if k not in run and self.first(k) >= least]
        if apart:
            raise _Inconclusive(_segments(best, apart))
        between = {k + 1 for k in run[:-1]} if len(run) <= 4 else {low + 1, high - 1}
        self.count = {k: self.count[k] for k in run}
        self.need(dict.fromkeys(between, 1), "refine")

    def end(self, best: int, step: int) -> int:
        """Return the first place, going outwards from the best, that is not known to be as good."""
        k, least = best, self.first(best) - self.fall
        while k in self.count and max(self.values(k)) >= least:
            k += step
        if not LOWEST <= k <= HIGHEST:
            raise _Inconclusive(
                f"the score is still good at {rate(k - step):.2g}, where the search ends: {FLAT}"
            )
        return k

    def fell(self, k: int) -> bool:
        """Return whether an end has been tried often enough to be one."""
        return k in self.count and (self.count[k] > 1 or not self.learned(self.first(k)))

    def elsewhere(self, best: int) -> dict[int, int]:
        """Return where to look next while nothing was learned: towards a sign, or on both sides."""
        low, high = self.places[0], self.places[-1]
        if self.scale.chance is not None and self.above_chance(self.first(best), SIGN, 4):
            toward = {low: low - 2, high: high + 2}.get(best)
            if toward is None or not LOWEST <= toward <= HIGHEST:
                raise _Inconclusive(
                    f"little was learned at any rate: {LONGER}", learned=False, too_short=True
                )
            return {toward: 1}
        failed = not math.isfinite(self.first(high))  # a higher rate would fail too
        if high - low >= REACH:
            where = f"from {rate(low):.2g} to {rate(high):.2g}"
            if all(not math.isfinite(self.first(k)) for k in self.places):
                raise _Inconclusive(f"every run {where} failed: {UNSTABLE}", learned=False)
            raise _Inconclusive(
                f"nothing was learned at any rate {where}: check the data and their labels, or "
                "train longer",
                learned=False,
            )
        lowest = min(max(low - (6 if failed else 4), LOWEST), HIGHEST - REACH)
        return dict.fromkeys(range(lowest, lowest + REACH + 1, 2), 1)

    # --- the answer ----------------------------------------------------------------------------

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
            at = center(means, top - self.scale.delta)
            if cliff is not None:
                at = min(at, place(rate(cliff) / DISTANCE))
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
            inconclusive=_narrow(low, high),
        )

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
            raise _Inconclusive(f"at every rate some probe failed: {UNSTABLE}")
        return best

    def interval(self, cliff: int | None, sd: float) -> tuple[float, float, float]:
        """Return where the interval ends (places), and the top.

        Dips between good rates get more seeds first. One that is no deeper than two standard
        errors of its mean (from sd, a probe's) does not end the interval.
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
        for k in dips:
            if least - means[k] <= 2 * sd / math.sqrt(self.count[k]):
                means[k] = least
        low, high, apart = _extent(means, best, least)
        if apart:
            raise _Inconclusive(_segments(best, apart))
        return low, high, top

    def noise(self) -> tuple[float, int]:
        """Return the standard deviation of a probe's score, pooled over rates, and its freedom.

        Raises _Inconclusive where the best score does not stand out of the noise.
        """
        best = self.best(self.places)
        values = {k: self.values(k) for k in self.places if self.mean(k) >= best - 2 * self.fall}
        groups = [scores for scores in values.values() if len(scores) > 1]
        freedom = sum(len(scores) - 1 for scores in groups)
        squares = sum(statistics.variance(scores) * (len(scores) - 1) for scores in groups)
        sd = max(math.sqrt(squares / freedom), self.binomial(best))
        chance = self.scale.chance
        if chance is not None and best - chance < CLEAR * sd:
            said = f"the best score ({best:.3g}) is little beside the noise of a probe ({sd:.2g})"
            raise _Inconclusive(f"{said}: {LONGER}", learned=False, too_short=True)
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
        quantile = float(distributions.t.ppf(1 - (1 - LEVEL) / len(others), freedom))
        gains = (
            self.mean(k) - score + quantile * sd * math.sqrt(1 / self.count[k] + 1 / self.seeds)
            for k in others
        )
        return max(0.0, *gains)

    def tried(self) -> tuple[Tried, ...]:
        tried = []
        for k in self.places:
            scores = tuple(self.scores[k, seed] for seed in range(self.count[k]))
            mean = self.mean(k)
            tried.append(Tried(rate(k), scores, mean if math.isfinite(mean) else None))
        return tuple(tried)


def _extent(means: Mapping[int, float], best: int, least: float) -> tuple[float, float, list[int]]:
    """Return where the good rates around the best end, and the good rates beyond."""
    low, high = (crossing(means, best, least, step) for step in (-1, 1))
    return low, high, [k for k, mean in means.items() if mean >= least and not low <= k <= high]


def _segments(best: int, apart: Iterable[int]) -> str:
    others = ", ".join(f"{rate(k):.2g}" for k in sorted(apart))
    segments = f"two separate segments of good rates, around {rate(best):.2g} and at {others}"
    return f"{segments}: {LONGER}"


def _narrow(low: float, high: float) -> str | None:
    if high - low >= NARROW:
        return None
    return (
        f"the good rates, {rate(low):.2g} to {rate(high):.2g}, lie within a factor of 2: {UNSTABLE}"
    )
