"""The scores of a search so far: what a replay asks of them, and what ends it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping

from clr_cli.analysis.lattice import Probe, ProbeRequest, Scale, Scores, Tried, rate

LEARNED = 0.1  # of the way from chance to 1: below it, nothing was learned
SIGN = 0.01  # the same: below it, longer probes are not tried
CLEAR, CLEAR_SIGN = 6, 4  # standard deviations of a probe by which these must lie above chance
FALL = 4 / 3  # deltas below the best at which the search stops walking on
LONGER = "try longer probes"
UNSTABLE = "training is not stable; batch norm, another initialization or a warm-up may help"


class Missing(Exception):
    """The replay needs probes that have no scores yet."""

    def __init__(self, probes: Iterable[Probe], stage: str) -> None:
        self.request = ProbeRequest(tuple(probes), stage)


class Inconclusive(Exception):
    """The search ends without an answer; see `RatesFound` for the attributes."""

    def __init__(self, reason: str, *, learned: bool = True, too_short: bool = False) -> None:
        self.reason, self.learned, self.too_short = reason, learned, too_short


class Replay:
    """One run through the search, as far as the scores reach."""

    def __init__(self, scores: Scores, scale: Scale, seeds: int) -> None:
        self.scores, self.scale, self.seeds = scores, scale, seeds
        self.fall = FALL * scale.delta
        self.count: dict[int, int] = {}  # probes of each rate that count

    def need(self, wanted: Mapping[int, int], stage: str) -> None:
        """Go on only if these rates have so many probes."""
        missing = [
            (k, seed)
            for seed in range(self.seeds)
            for k, number in sorted(wanted.items())
            if seed < number and (k, seed) not in self.scores
        ]
        if missing:
            raise Missing(missing, stage)
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
        """Return whether a probe has learned enough to be judged; without chance: not failed."""
        if self.scale.chance is None:
            return math.isfinite(score)
        return self._above(self.scale.chance, score, LEARNED, CLEAR)

    def shows_sign(self, score: float) -> bool:
        """Return whether a probe has learned anything; False without a known chance."""
        chance = self.scale.chance
        return chance is not None and self._above(chance, score, SIGN, CLEAR_SIGN)

    def _above(self, chance: float, score: float, share: float, deviations: float) -> bool:
        return score - chance > max(share * (1 - chance), deviations * self.binomial(chance))

    def binomial(self, accuracy: float) -> float:
        images = self.scale.images
        return math.sqrt(max(accuracy * (1 - accuracy), 0) / images) if images else 0.0

    def tried(self) -> tuple[Tried, ...]:
        """Return the rates that count with their scores."""
        tried = []
        for k in self.places:
            scores = tuple(self.scores[k, seed] for seed in range(self.count[k]))
            mean = self.mean(k)
            tried.append(Tried(rate(k), scores, mean if math.isfinite(mean) else None))
        return tuple(tried)


def segments(best: int, apart: Iterable[int]) -> str:
    """Return why separate ranges of good rates give no answer."""
    others = ", ".join(f"{rate(k):.2g}" for k in sorted(apart))
    said = f"the good rates fall into separate ranges, around {rate(best):.2g} and at {others}"
    return f"{said}: {LONGER}"
