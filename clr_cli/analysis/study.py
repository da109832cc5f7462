"""A comparison as a value: what is asked, and the runs that answer it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from clr_cli.analysis import sequential, stats, unpaired
from clr_cli.errors import InputError
from clr_cli.records import (
    TEST_ACCURACY,
    ControlledVariables,
    Design,
    Metric,
    RunRecord,
    Summary,
    Tuning,
)

DESIGNS: dict[Design, str] = {
    "paired": "paired: runs of equal seeds share their randomness",
    "unpaired": "unpaired: runs share nothing",
    "number": "every arm against a number",
}
Key = tuple[str, int]  # arm and seed of a run


@dataclass(frozen=True, kw_only=True)
class Study:
    """What a comparison asks, whatever way its runs come about.

    Attributes:
        name: of the experiment.
        arms: the baseline first, if it is an arm.
        metric: what is compared: its value at the end of each run.
        baseline: an arm, or a number that the mean of every arm is compared with.
        seeds: of all runs; the most there can be if seeds are added.
        cap: the most seeds if seeds are added until every arm is decided; else None.
        paired: whether runs of equal seeds share their randomness.
        target: a value of ``target_metric``, or "auto": see `outcomes.choose_target`.
        target_metric: what time to target goes by; None: the metric itself.
        margin: the difference that does not matter; None: no arms are called equivalent.
        detect: the difference for which the number of seeds is stated; None: the margin.

    ``target``, ``margin`` and ``detect`` are in the metric's own numbers: .01 of an accuracy that
    is a fraction is one point.

    Raises:
        InputError: the arms, the baseline or a difference do not fit together.
    """

    name: str
    arms: tuple[str, ...]
    baseline: str | float
    seeds: tuple[int, ...]
    metric: Metric = TEST_ACCURACY
    cap: int | None = None
    paired: bool = True
    target: float | Literal["auto"] = "auto"
    target_metric: Metric | None = None
    margin: float | None = None
    detect: float | None = None

    def __post_init__(self) -> None:
        if self.reference is not None and self.cap is not None:
            raise InputError("seeds are added only where arms are compared with one another")
        for name in ("margin", "detect"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= 1e15:
                raise InputError(f"{value:g}: give a difference above 0", key=name)
            if value is not None and value >= 1 and self.metric.unit == "%":
                raise InputError(
                    f"{value:g}: {self.metric.label} is a fraction, so give a fraction: "
                    f"{value:g} points are {value / 100:g}",
                    key=name,
                )

    @property
    def reference(self) -> float | None:
        """The number that arms are compared with; None if they are compared with an arm."""
        return None if isinstance(self.baseline, str) else float(self.baseline)

    @property
    def design(self) -> Design:
        if self.reference is not None:
            return "number"
        return "paired" if self.paired else "unpaired"

    @property
    def comparisons(self) -> int:
        """How many arms are compared with the baseline."""
        return len(self.arms) - (self.reference is None)

    def runs(self, seeds: int | None = None) -> tuple[Key, ...]:
        """Arm and seed of the runs with the first seeds, seed by seed.

        A study that is stopped early so leaves complete pairs.
        """
        return tuple((arm, seed) for seed in self.seeds[:seeds] for arm in self.arms)

    @property
    def fewest(self) -> int:
        """The fewest seeds with which a difference can be claimed at all."""
        many = max(1, self.comparisons)
        if self.design == "unpaired":
            return next(n for n in range(2, 1000) if unpaired.can_claim(n, n, many))
        return stats.seeds_for_test(many)

    @property
    def _strictness(self) -> float:
        """How many arms are corrected for; looks cost as much as further arms would."""
        many = max(1, self.comparisons)
        return many * (1.0 if self.cap is None else sequential.STRICTER)

    def smallest_detectable(self, sd: float, n: int) -> float | None:
        """Return the true difference that n seeds find 4 times in 5; None if there is none.

        Args:
            sd: the standard deviation of paired differences, or of single runs if they are
                unpaired.
            n: seeds, or runs of every arm.
        """
        if self.design == "unpaired":
            return unpaired.smallest_detectable((sd, sd), (n, n), self._strictness)
        return stats.smallest_detectable(sd, n, self._strictness)

    def seeds_needed(self, difference: float, sd: float) -> int | None:
        """Return how many seeds find a true difference 4 times in 5; None if too many."""
        if self.design == "unpaired":
            return unpaired.runs_needed(difference, (sd, sd), self._strictness)
        return stats.seeds_needed(difference, sd, self._strictness)

    def looks(self, before: Summary | None) -> list[int]:
        """Return the numbers of seeds at which the study has been, and will be, looked at.

        An earlier result of the same arms counts: more seeds after it are seeds added after a look.
        """
        n = len(self.seeds)
        now = [n] if self.cap is None else sequential.looks(self.cap)
        if before is None or {arm.name for arm in before.arms} != set(self.arms):
            return now
        seen = before.looks or [before.num_seeds]
        return sorted({*now, *(k for k in seen if stats.MIN_SEEDS <= k < n)})


@dataclass(frozen=True)
class Facts:
    """What a source tells of its runs, beside the runs.

    Attributes:
        shared: what was equal in all arms, and what differs.
        num_classes: of a classifier; a run that diverged then counts as chance in the target.
        costs: seconds of each arm besides training, such as {"clr": {"range_test_seconds": 60.0}}.
        tuning: how the arms' learning rates were chosen.
        config: the experiment's config as YAML; empty if it has none.
    """

    shared: ControlledVariables
    num_classes: int | None = None
    costs: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    tuning: Tuning | None = None
    config: str = ""


@dataclass(frozen=True)
class Runs:
    """The runs of a study, the numbers of seeds at which it was looked at, and their facts."""

    records: Sequence[RunRecord]
    facts: Facts
    looks: Sequence[int] = ()
