"""What an arm's runs are compared with, and the rule that speaks of the difference.

The rules themselves, and what they are calibrated on, stand in `stats` (one sample: paired runs,
or runs against a number) and in `unpaired` (two samples).
"""

from __future__ import annotations

import statistics
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clr_cli.analysis import stats, unpaired
from clr_cli.analysis.stats import CLAIM_LEVEL, Array, Claim

RESAMPLED, FEW = "the studentised bootstrap", " (too few runs to resample)"


class Contrast(ABC):
    """The difference between an arm's trained runs and what they are compared with."""

    n: int  # pairs, or runs of the arm
    n_baseline: int | None = None  # runs of the baseline, where they are counted apart

    @property
    @abstractmethod
    def mean(self) -> float:
        """The mean difference, arm minus baseline. Asked only where there are runs."""

    @property
    @abstractmethod
    def enough(self) -> bool:
        """Whether there is a difference at all."""

    @property
    @abstractmethod
    def method(self) -> str:
        """How the interval is made."""

    @property
    def values(self) -> Mapping[int, float]:
        """What the difference is the mean of, by seed; empty where it is no such mean."""
        return {}

    @abstractmethod
    def p(self) -> float:
        """Two-sided p of "no difference"; 1 where nothing can be tested."""

    @abstractmethod
    def intervals(self, levels: Sequence[float]) -> tuple[Array, Array]:
        """Low and high of the difference for each level; unbounded where there is no spread."""

    @property
    def claim_level(self) -> float:
        """The level of the interval that the claim on a single arm must pass."""
        return CLAIM_LEVEL

    @abstractmethod
    def claim(self, p: float, low: float, high: float, margin: float, comparisons: int) -> Claim:
        """What may be said: p is Holm-adjusted, low and high bound the claim's interval."""

    @abstractmethod
    def smallest_detectable(self, comparisons: float) -> float | None:
        """The true difference found with 80 % power; None without a spread, or out of reach."""

    @abstractmethod
    def seeds_needed(self, difference: float, comparisons: float) -> int | None:
        """Runs of an arm that would show this difference; None without a spread, or too many."""


@dataclass(frozen=True)
class OneSample(Contrast):
    """Differences by seed whose mean is asked for: paired runs, or runs against a number."""

    differences: Mapping[int, float]

    @property
    def n(self) -> int:  # type: ignore[override]
        return len(self.differences)

    @property
    def mean(self) -> float:
        return statistics.fmean(self.differences.values())

    @property
    def enough(self) -> bool:
        return self.n > 0

    @property
    def method(self) -> str:
        few = self.n < stats.MIN_SEEDS
        return f"Student's t{FEW}" if few else f"hull of Student's t and {RESAMPLED}"

    @property
    def values(self) -> Mapping[int, float]:
        return self.differences

    def p(self) -> float:
        return float(stats.sign_flip_p(list(self.differences.values()))) if self.n else 1.0

    def intervals(self, levels: Sequence[float]) -> tuple[Array, Array]:
        return stats.mean_intervals(list(self.differences.values()), levels)

    def claim(self, p: float, low: float, high: float, margin: float, comparisons: int) -> Claim:
        return stats.claim(self.n, p, low, high, margin, comparisons)

    @property
    def _sd(self) -> float | None:
        return statistics.stdev(self.differences.values()) if self.n > 1 else None

    def smallest_detectable(self, comparisons: float) -> float | None:
        if self._sd is None:
            return None
        return stats.smallest_detectable(self._sd, self.n, comparisons)

    def seeds_needed(self, difference: float, comparisons: float) -> int | None:
        return None if self._sd is None else stats.seeds_needed(difference, self._sd, comparisons)


@dataclass(frozen=True)
class TwoSample(Contrast):
    """Runs of two arms that share nothing: the difference of their means."""

    arm: Sequence[float]
    baseline: Sequence[float]

    @property
    def n(self) -> int:  # type: ignore[override]
        return len(self.arm)

    @property
    def n_baseline(self) -> int:  # type: ignore[override]
        return len(self.baseline)

    @property
    def _sizes(self) -> tuple[int, int]:
        return self.n, self.n_baseline

    @property
    def mean(self) -> float:
        return statistics.fmean(self.arm) - statistics.fmean(self.baseline)

    @property
    def enough(self) -> bool:
        return min(self._sizes) > 0

    @property
    def method(self) -> str:
        few = min(self._sizes) < unpaired.MIN_RUNS
        return f"Welch's t{FEW}" if few else f"hull of Welch's t and {RESAMPLED}"

    def p(self) -> float:
        return float(unpaired.permutation_p(self.arm, self.baseline)) if self.enough else 1.0

    def intervals(self, levels: Sequence[float]) -> tuple[Array, Array]:
        return unpaired.mean_intervals(self.arm, self.baseline, levels)

    @property
    def claim_level(self) -> float:
        return unpaired.claim_level(*self._sizes)

    def claim(self, p: float, low: float, high: float, margin: float, comparisons: int) -> Claim:
        return unpaired.claim(*self._sizes, p, low, high, margin, comparisons)

    @property
    def _spreads(self) -> tuple[float, float] | None:
        if min(self._sizes) < 2:
            return None
        return statistics.stdev(self.arm), statistics.stdev(self.baseline)

    def smallest_detectable(self, comparisons: float) -> float | None:
        if self._spreads is None:
            return None
        return unpaired.smallest_detectable(self._spreads, self._sizes, comparisons)

    def seeds_needed(self, difference: float, comparisons: float) -> int | None:
        if self._spreads is None:
            return None
        return unpaired.runs_needed(difference, self._spreads, comparisons)
