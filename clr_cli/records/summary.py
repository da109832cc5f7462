"""The summary.json of a comparison: every arm against the baseline."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from clr_cli.format import Scale
from clr_cli.records.base import Arm, Count, Fraction, Number, Record, Seconds, Text
from clr_cli.records.metric import Metric
from clr_cli.records.rates import RateAnswer

Verdict = Literal["better", "worse", "equivalent", "no_difference", "too_few_seeds", "identical"]
Clock = Literal["images", "iterations", "epochs", "seconds"]  # what a time to target is counted in
# Runs of one seed share their randomness; or runs share nothing; or arms meet a number.
Design = Literal["paired", "unpaired", "number"]


class Spread(Record):
    """A metric over an arm's seeds; mean and sd are None where a value is not finite."""

    mean: Number | None
    sd: Number | None
    values: dict[int, Number | None]


class Times(Record):
    """Time to target by seed; None is a miss."""

    values: dict[int, Number | None]
    median: Number | None


class ArmTimes(Record):
    """Time to target on every clock that the runs have; the first is the main one."""

    reached: Count
    clocks: dict[Clock, Times]


class Cost(Record):
    """The seconds that an arm took, and the number of its runs."""

    train_seconds: Seconds
    tuning_seconds: Seconds
    range_test_seconds: Seconds
    runs: Count


class Failing(Record):
    """How many runs failed to train, and the one-sided 95 % upper end of the true share."""

    count: Count
    runs: Count
    high: Fraction


class ArmSummary(Record):
    """One arm.

    n: the runs with a result, diverged ones included. failed: the runs without one. metrics: by
    name, the comparison's own metric and those shown beside it.
    """

    name: Arm
    schedule: dict[str, Any]
    iterations_per_epoch: Annotated[int, Field(strict=True, ge=1, le=10**9)] | None = None
    n: Count
    diverged: Count
    failed: Count
    diverged_seeds: list[int]
    failed_seeds: list[int]
    failing: Failing
    metrics: dict[str, Spread]
    time_to_target: ArmTimes | None
    cost: Cost | None

    @property
    def times(self) -> Times:
        """The times to target on the main clock; empty where there is no target."""
        clocks = {} if self.time_to_target is None else self.time_to_target.clocks
        return next(iter(clocks.values()), Times(values={}, median=None))


class Interval(Record):
    """The interval that a claim must pass."""

    level: Fraction
    low: Number | None
    high: Number | None


class Difference(Record):
    """The mean difference, arm minus baseline, its interval, and the interval of the claim.

    values: the differences by seed, of which this is the mean; empty for unpaired runs.
    """

    mean: Number | None
    low: Number | None
    high: Number | None
    level: Fraction
    method: Text
    values: dict[int, Number | None]
    claim: Interval | None = None


class Ratio(Record):
    """A ratio of times to target; None stands for infinite or undefined."""

    ratio: Number | None
    low: Number | None
    high: Number | None


class Reached(Record):
    """Numbers of runs of the arm and of the baseline."""

    arm: Count
    baseline: Count


class TimeRatio(Record):
    """The ratio of times to target on every clock, and of how many runs how many reached it."""

    reached: Reached
    runs: Reached
    clocks: dict[Clock, Ratio]


class BestEpoch(Record):
    """The mean difference at each run's best validation epoch, and its interval."""

    mean: Number
    low: Number | None
    high: Number | None


class OverImages(Record):
    """The interval of the difference over seeds and test images; standard errors by source."""

    low: Number
    high: Number
    seeds_error: Number
    images_error: Number


class RatioAt(Ratio):
    """The ratio of times at one target."""

    target: Number


class Superiority(Record):
    """The probability that a run of the arm is better, with its interval."""

    estimate: Fraction
    low: Fraction
    high: Fraction


class Comparison(Record):
    """One arm against the baseline.

    n: pairs of runs; where runs are not paired, runs of the arm, and n_baseline those of the
    baseline. decided_at: seeds at the look that decided. futile: ended early, because more seeds
    would hardly have shown a difference.
    """

    arm: Arm
    baseline: Arm
    n: Count
    n_baseline: Count | None = None
    p: Fraction | None
    p_holm: Fraction | None
    unpaired_seeds: list[int]
    difference: Difference
    time_to_target: TimeRatio | None
    superiority: Superiority | None
    wins: Count | None
    ties: Count | None
    losses: Count | None
    smallest_detectable: Number | None
    decided_at: Count | None = None
    futile: bool = False
    best_epoch: BestEpoch | None = None
    images: OverImages | None = None
    ratios: list[RatioAt] = Field(default_factory=list)
    seeds_needed: Count | None
    verdict: Verdict
    sentence: Text


class ControlledVariables(Record):
    """What is equal in all arms, what differs, and the runs' metadata."""

    source: Text | None = None
    notes: list[Text] = Field(default_factory=list)
    varied: Text = ""
    also_differs: list[Text] = Field(default_factory=list)
    dataset: Text | None = None
    train_size: Count | None = None
    val_size: Count | None = None
    test_size: Count | None = None
    num_classes: Count | None = None
    model: Text | None = None
    parameters: Count | None = None
    optimizer: Text | None = None
    momentum: Number | None = None
    weight_decay: Number | None = None
    epochs: Annotated[int, Field(strict=True, ge=1, le=10**9)] | None = None
    batch_size: Count | None = None
    iterations_per_epoch: Count | None = None
    iterations: Annotated[int, Field(strict=True, ge=1, le=10**12)] | None = None
    precision: Text | None = None
    device: Text | None = None
    threads: Count | None = None
    versions: dict[str, Text] = Field(default_factory=dict)
    determinism: Text | None = None
    vary: list[Text] = Field(default_factory=list)


class Target(Record):
    """The target of time to target, and how it was chosen."""

    metric: Text
    value: Number
    source: Text


class Tuning(Record):
    """How the rates of the tuned arms were chosen, on seeds that the comparison does not use.

    seeds: the most runs of a rate. arms: the answer of every arm's search.
    """

    seeds: Count = 1
    arms: dict[str, RateAnswer]

    @property
    def rates(self) -> dict[str, float]:
        """Return the rate that was chosen for every arm."""
        return {arm: each.max_lr for arm, each in self.arms.items() if each.max_lr is not None}


class Reproduce(Record):
    """How to repeat the comparison."""

    command: Text = ""
    config: Annotated[str, Field(strict=True, max_length=1_000_000)] = ""


class Summary(Record):
    """The comparison of every arm with the baseline.

    decimals: of the metric's values (in percent, where they are fractions). reference: the number
    that the arms are compared with, where it is not an arm; baseline is then its text.
    """

    schema_version: Literal[2] = Field(2, alias="schema")
    experiment: Text
    metric: Metric
    decimals: Annotated[int, Field(strict=True, ge=0, le=12)]
    design: Design
    baseline: Arm
    reference: Number | None = None
    level: Fraction
    claim_level: Fraction
    margin: Annotated[float, Field(strict=True, gt=0, le=1e30)] | None = None
    detect: Annotated[float, Field(strict=True, gt=0, le=1e30)] | None = None
    num_seeds: Count
    looks: list[Count] = Field(default_factory=list)
    rule: Literal["fixed", "sequential"] = "fixed"
    controlled: ControlledVariables = Field(alias="contract")
    target: Target | None
    arms: Annotated[list[ArmSummary], Field(min_length=1)]
    comparisons: list[Comparison]
    tuning: Tuning | None = None
    verdict: Text
    scope: Text
    reproduce: Reproduce = Reproduce()

    @property
    def scale(self) -> Scale:
        """How the metric's values are written."""
        return Scale(self.metric.unit, self.decimals)

    @property
    def clock(self) -> Clock:
        """The clock on which times to target are shown first."""
        told = (arm.time_to_target.clocks for arm in self.arms if arm.time_to_target)
        return next((clock for clocks in told for clock in clocks), "iterations")

    @model_validator(mode="after")
    def _check(self) -> Summary:
        """Check what tables and figures rely on."""
        names = [arm.name for arm in self.arms]
        if len(set(names)) < len(names):
            raise ValueError("an arm occurs twice")
        if self.reference is None and self.baseline not in names:
            raise ValueError(f"the baseline {self.baseline!r} is not an arm")
        for comparison in self.comparisons:
            if comparison.arm not in names or comparison.baseline != self.baseline:
                raise ValueError("a comparison of an arm that is missing")
        for arm in self.arms:
            if self.metric.name not in arm.metrics:
                raise ValueError(f"the arm {arm.name!r} has no {self.metric.name}")
            if self.target is not None and arm.time_to_target is None:
                raise ValueError(f"the arm {arm.name!r} has no time to the target")
        return self
