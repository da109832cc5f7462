"""Which learning rates are good: a search over short trainings that need not know the range.

A probe is a short training with the schedule's rate scaled to r, judged by its score at the end.
Rates lie on an absolute lattice, r = 0.1 * 2^k, so that searches from different starts ask for the
same probes and give the same answer. ``search`` is a replay: it is given the scores so far and
says which probes are missing, or what they come to. It trains nothing and keeps no state, so a
search that is interrupted goes on, and another start costs only what is missing.

The answer of a sweep depends on the range it is asked for, because rate and time rise together
(tests/benchmarks/README.md). Probes are independent runs; a sweep only says where to start.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

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
    place,
    rate,
)

LEARNED = 0.1  # of the way from chance to 1: below it, nothing was learned
FALL = 4 / 3  # deltas below the best at which the search stops walking on
LONGER = "longer probes may tell"
FLAT = "the rate does not matter here, or the score does not see it"
UNSTABLE = "training is not stable; batch norm, another initialisation or a warm-up may help"
STEEP = "that is due to delta, for noise is small and no run failed nearby; a larger one widens it"
CLEAR = 6  # standard deviations of a probe by which the best must lie above chance
CALM = 3  # standard deviations of a probe below delta: what is bad then is so by its rate
SEEDS = 3  # most probes of one rate
NARROW = 1.0  # octaves: an interval below a factor of 2 is finer than the lattice can tell


class _Missing(Exception):
    def __init__(self, probes: Iterable[Probe], stage: str) -> None:
        self.request = ProbeRequest(tuple(probes), stage)


class _Inconclusive(Exception):
    def __init__(self, reason: str, *, learned: bool = True) -> None:
        self.reason, self.learned = reason, learned


def search(
    scores: Scores, start: float, scale: Scale, seeds: int = SEEDS
) -> ProbeRequest | RatesFound:
    """What is missing, or the answer.

    1. *Bracket*: one probe at every second place of the lattice, from the one nearest to ``start``
       outwards, until both sides lie ``FALL`` deltas below the best.
    2. *Refine*: what counts from here on, whatever the start was, is the connected run within
       ``FALL`` deltas of the best, its failing neighbours, and the places between where the run
       ends (all of them, if it is short).
    3. *Repeat*: a second seed within two deltas of the top; a third where two differ by more than
       two deltas, and where a rate between good ones seems bad.
    4. *Read*: the top is the mean of the best three rates; the interval ends where the mean score,
       going outwards from the best rate, crosses top - delta, interpolated in log LR.
    5. *Verify*: the places beside max_lr get all their seeds, so that what is recommended has been
       tried as often as anything; then it is read again.

    Args:
        scores: (k, seed) -> score, higher is better; None where the probe failed. Seeds count
            from 0.
        start: a learning rate.
        scale: what the scores are.
        seeds: most probes of one rate.

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
        return RatesFound(replay.tried(), inconclusive=error.reason, learned=error.learned)


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
        """The scores at a rate; a failed probe is infinitely bad."""
        found = (self.scores[k, seed] for seed in range(self.count[k]))
        return [-math.inf if score is None else score for score in found]

    def mean(self, k: int) -> float:
        return statistics.fmean(self.values(k))

    def first(self, k: int) -> float:
        return self.values(k)[0]

    @property
    def places(self) -> list[int]:
        return sorted(self.count)

    def learned(self, score: float) -> bool:
        chance = self.scale.chance
        if chance is None:
            return math.isfinite(score)
        return score - chance > max(LEARNED * (1 - chance), 6 * self.binomial(chance))

    def binomial(self, accuracy: float) -> float:
        images = self.scale.images
        return math.sqrt(max(accuracy * (1 - accuracy), 0) / images) if images else 0.0

    # --- which rates count ---------------------------------------------------------------------

    def bracket(self, start: float) -> None:
        middle = min(max(2 * round(place(start) / 2), LOWEST + 2), HIGHEST - 2)
        walked = [middle - 2, middle, middle + 2]
        while True:
            self.need(dict.fromkeys(walked, 1), "bracket")
            best = max(map(self.first, walked))
            learned = self.learned(best)
            down = not learned or self.first(walked[0]) >= best - self.fall
            up = not learned or self.first(walked[-1]) >= best - self.fall
            if not (down or up):
                break
            down_ended, up_ended = walked[0] <= LOWEST, walked[-1] >= HIGHEST
            if not learned and down_ended and up_ended:
                raise _Inconclusive(f"nothing was learned at any rate: {LONGER}", learned=False)
            if learned and ((down and down_ended) or (up and up_ended)):
                end = walked[0] if down and down_ended else walked[-1]
                raise _Inconclusive(
                    f"the score is still good at {rate(end):.2g}, where the search ends: {FLAT}"
                )
            walked = [*[walked[0] - 2] * (down and not down_ended), *walked]
            walked += [walked[-1] + 2] * (up and not up_ended)
        self._connected(walked, best - self.fall)

    def _connected(self, walked: Sequence[int], least: float) -> None:
        """Keep the run of rates around the best that are as good as ``least``, and refine it."""
        best = max(walked, key=lambda k: (self.first(k), -k))
        low = high = best
        while self.first(low) >= least:
            low -= 2
        while self.first(high) >= least:
            high += 2
        apart = [k for k in walked if self.first(k) >= least and not low < k < high]
        if apart:
            raise _Inconclusive(_stretches(best, apart))
        run = range(low, high + 1, 2)
        between = {k + 1 for k in run[:-1]} if len(run) <= 4 else {low + 1, high - 1}
        self.count = {k: self.count[k] for k in run}
        self.need(dict.fromkeys(between, 1), "refine")

    # --- the answer ----------------------------------------------------------------------------

    def read(self) -> RatesFound:
        top = max(map(self.first, self.places))
        close = 2 * self.scale.delta
        self.need({k: 2 for k in self.places if self.first(k) >= top - close}, "repeat")
        apart = [k for k in self.places if max(v := self.values(k)) - min(v) > close]
        again = (k for k in apart if math.isfinite(self.mean(k)))
        self.need(dict.fromkeys(again, self.seeds), "repeat")
        while True:
            sd, freedom = self.noise()
            cliff = self.cliff()
            low, high, top = self.interval(cliff)
            max_lr = math.sqrt(rate(low) * rate(high))
            if cliff is not None:
                max_lr = min(max_lr, rate(cliff) / DISTANCE)
            at = place(max_lr)
            beside = {math.floor(at + 1e-9), math.ceil(at - 1e-9)}
            if all(self.count.get(k) == self.seeds for k in beside):
                break
            self.need(dict.fromkeys(beside, self.seeds), "verify")
        return RatesFound(
            self.tried(),
            low=rate(low),
            high=rate(high),
            max_lr=max_lr,
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
        """The lowest place, above the lowest good one, at which a probe failed or was at chance.

        What lies above it is not good, however well other seeds did there.
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

    def interval(self, cliff: int | None) -> tuple[float, float, float]:
        """Where the interval ends (places), and the top; dips between good rates get more seeds."""
        while True:
            means = {k: self.mean(k) for k in self.places if cliff is None or k <= cliff}
            best = max(means, key=lambda k: means[k])
            good = sorted(mean for mean in means.values() if mean >= means[best] - self.fall)
            top = statistics.fmean(good[-3:])
            least = top - self.scale.delta
            low, high = (_crossing(means, best, least, step) for step in (-1, 1))
            apart = [k for k, mean in means.items() if mean >= least and not low <= k <= high]
            dips = [
                k
                for k in means
                if means[k] < least and any(min(best, at) < k < max(best, at) for at in apart)
            ]
            again = [k for k in dips if self.count[k] < self.seeds and math.isfinite(means[k])]
            if not again:
                break
            self.need(dict.fromkeys(again, self.seeds), "repeat")
        if apart:
            raise _Inconclusive(_stretches(best, apart))
        return low, high, top

    def noise(self) -> tuple[float, int]:
        """Standard deviation of a probe's score at one rate, pooled over rates; its freedom.

        Raises _Inconclusive where the score does not stand out of the noise.
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
            raise _Inconclusive(f"{said}: {LONGER}", learned=False)
        return sd, freedom

    def bound(self, beside: Iterable[int], at: float, sd: float, freedom: int) -> float:
        """By how much a rate that was tried may beat max_lr: t intervals, Bonferroni over rates."""
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
        found = []
        for k in self.places:
            scores = tuple(self.scores[k, seed] for seed in range(self.count[k]))
            mean = self.mean(k)
            found.append(Tried(rate(k), scores, mean if math.isfinite(mean) else None))
        return tuple(found)


def _stretches(best: int, apart: Sequence[int]) -> str:
    others = ", ".join(f"{rate(k):.2g}" for k in sorted(apart))
    stretches = f"two separate stretches of good rates, around {rate(best):.2g} and at {others}"
    return f"{stretches}: {LONGER}"


def _narrow(low: float, high: float, smooth: bool) -> str | None:
    if high - low >= NARROW:
        return None
    good = f"the good rates, {rate(low):.2g} to {rate(high):.2g}, lie within a factor of 2"
    return f"{good}: {STEEP if smooth else UNSTABLE}"


def _crossing(means: Mapping[int, float], best: int, least: float, step: int) -> float:
    """Where the mean score falls below ``least``, going from the best place outwards."""
    inside = best
    for k in sorted(means, key=lambda k: step * k):
        if step * k <= step * best:
            continue
        if means[k] < least:
            part = (means[inside] - least) / (means[inside] - means[k])
            return inside + part * (k - inside)
        inside = k
    return inside
