"""What an arm's runs are compared with, and the rule that speaks of the difference.

One class a design. The rules themselves, and what they are calibrated on, stand in `stats`.
"""

from __future__ import annotations

import statistics
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clr_cli.analysis import stats
from clr_cli.analysis.stats import Array

METHOD = "hull of Student's t and the studentised bootstrap"
METHOD_FEW = "Student's t (too few runs to resample)"


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

    @abstractmethod
    def smallest_detectable(self, comparisons: int) -> float | None:
        """The true difference found with 80 % power; None without a spread, or out of reach."""

    @abstractmethod
    def seeds_needed(self, difference: float, comparisons: int) -> int | None:
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
        return METHOD_FEW if self.n < stats.MIN_SEEDS else METHOD

    @property
    def values(self) -> Mapping[int, float]:
        return self.differences

    def p(self) -> float:
        return float(stats.sign_flip_p(list(self.differences.values()))) if self.n else 1.0

    def intervals(self, levels: Sequence[float]) -> tuple[Array, Array]:
        return stats.mean_intervals(list(self.differences.values()), levels)

    @property
    def _sd(self) -> float | None:
        return statistics.stdev(self.differences.values()) if self.n > 1 else None

    def smallest_detectable(self, comparisons: int) -> float | None:
        if self._sd is None:
            return None
        return stats.smallest_detectable(self._sd, self.n, comparisons)

    def seeds_needed(self, difference: float, comparisons: int) -> int | None:
        return None if self._sd is None else stats.seeds_needed(difference, self._sd, comparisons)
