"""Define the summary.json of a comparison: every arm against the baseline."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from clr_cli.format import Scale
from clr_cli.records.base import Arm, Count, Fraction, Number, Record, Seconds, Text
from clr_cli.records.metric import Metric
from clr_cli.records.rates import RateAnswer

Verdict = Literal[
    "better",
    "worse",
    "equivalent",
    "undecided",
    "too_few_runs",
    "seed_changes_nothing",
    "identical",
]
Clock = Literal["images", "iterations", "epochs", "seconds"]  # the unit of a time to target
# Clock -> its key in a row; the first clock that all runs have is the main one.
CLOCKS: dict[Clock, str] = {
    "images": "images",
    "iterations": "iteration",
    "epochs": "epoch",
    "seconds": "seconds",
}
# Runs of one seed share their randomness; runs share nothing; arms are compared with a number.
Design = Literal["paired", "unpaired", "number"]


class Spread(Record):
    """A metric over an arm's seeds.

    mean, sd: of the runs that are judged, without diverged and stuck ones; None if a value is not
    finite.
    """

    mean: Number | None
    sd: Number | None
    values: dict[int, Number | None]


class Times(Record):
    """The times to target by seed; None: missed."""

    values: dict[int, Number | None]
    median: Number | None


class ArmTimes(Record):
    """The times to target on every clock of the runs; the first clock is the main one."""

    reached: Count
    clocks: dict[Clock, Times]


class Cost(Record):
    """The seconds that an arm took, and the number of its runs."""

    train_seconds: Seconds
    tuning_seconds: Seconds
    range_test_seconds: Seconds
    runs: Count


class Failing(Record):
    """The number of failed runs, and the one-sided 95 % upper bound of the true share."""

    count: Count
    runs: Count
    high: Fraction


class Stuck(Record):
    """A run that finished and learned nothing, or that lies far outside the others of its arm.

    far: the gap to the nearest other run, in ranges of the others; None if it ended at chance.
    """

    seed: int
    far: Number | None


class ArmSummary(Record):
    """One arm.

    n: the number of runs with a result, including diverged ones. failed: the number of runs without
    one. stuck: runs that ended at chance or far outside the others. metrics: by name, the compared
    metric and others that are shown.
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
    stuck: list[Stuck] = Field(default_factory=list)
    metrics: dict[str, Spread]
    time_to_target: ArmTimes | None
    cost: Cost | None

    @property
    def times(self) -> Times:
        """The times to target on the main clock; empty without a target."""
        clocks = {} if self.time_to_target is None else self.time_to_target.clocks
        return next(iter(clocks.values()), Times(values={}, median=None))


class Interval(Record):
    """A confidence interval."""

    level: Fraction
    low: Number | None
    high: Number | None


class Difference(Record):
    """The mean difference, arm minus baseline, with the interval that decides.

    low, high: the interval at ``level``: it excludes zero if and only if the verdict is better or
    worse. own: the 95 % interval of this arm as if it were the only one, and looked at once.
    values: the differences by seed, of which this is the mean; empty for unpaired runs.
    """

    mean: Number | None
    low: Number | None
    high: Number | None
    level: Fraction
    own: Interval | None = None
    values: dict[int, Number | None]


class Ratio(Record):
    """A ratio of times to target; None: infinite or undefined."""

    ratio: Number | None
    low: Number | None
    high: Number | None


class Reached(Record):
    """Numbers of runs of the arm and of the baseline."""

    arm: Count
    baseline: Count


class TimeRatio(Record):
    """The ratio of times to target on every clock, and how many of the runs reached it."""

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

    n: the number of pairs; if runs are not paired, of the arm's runs, and n_baseline of the
    baseline's. decided_at: seeds at the deciding look. futile: stopped early, because more seeds
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


class Look(Record):
    """A look at a comparison that grows: its number, and how many runs of each arm there were."""

    n: Count
    runs: dict[str, Count]

    @property
    def most(self) -> int:
        """The runs of the arm that had the most."""
        return max(self.runs.values())


class Best(Record):
    """Which arms could be the best.

    arms: a set that contains the best arm with 95 % certainty. winner: the arm of the best mean;
    optimism: by how much that mean is likely to flatter it. probabilities: how likely every arm has
    the best true mean.
    """

    arms: list[Arm]
    winner: Arm
    optimism: Number | None
    probabilities: dict[Arm, Fraction] = Field(default_factory=dict)


class Pairing(Record):
    """What comparing runs of equal seeds gained, over all arms.

    pairs: of the arm with the most. sd: the standard deviation of the paired differences;
    sd_unpaired: what it would be of runs that share nothing. saved: the share of the runs that
    pairing saved, 1 - (sd / sd_unpaired)**2, with its 95 % interval; below 0 it cost some.
    """

    pairs: Count
    sd: Number
    sd_unpaired: Number
    saved: Number
    low: Number
    high: Number


class Reproduce(Record):
    """How to repeat the comparison."""

    command: Text = ""
    config: Text = ""


class Summary(Record):
    """The comparison of every arm with the baseline.

    decimals: decimals of the metric's values (in percent for fractions). reference: the number with
    which the arms are compared, or None if that is an arm; baseline is then its text. last: the
    look that gets the weight of the last one. looked_at: how many arms have been looked at under
    this name, so that a choice among them is corrected for all. redesigned: whether the same runs
    were judged both as pairs and not, which counts twice. corrected_for: how many comparisons
    the intervals are corrected for.
    """

    schema_version: Literal[3] = Field(3, alias="schema")
    experiment: Text
    metric: Metric
    decimals: Annotated[int, Field(strict=True, ge=0, le=12)]
    design: Design
    baseline: Arm
    reference: Number | None = None
    level: Fraction
    margin: Annotated[float, Field(strict=True, gt=0, le=1e30)] | None = None
    detect: Annotated[float, Field(strict=True, gt=0, le=1e30)] | None = None
    num_seeds: Count
    looks: list[Look] = Field(default_factory=list)
    rule: Literal["fixed", "sequential"] = "fixed"
    last: Count | None = None
    looked_at: Count = 0
    redesigned: bool = False
    corrected_for: Count = 1
    best: Best | None = None
    pairing: Pairing | None = None
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
        """The main clock of times to target."""
        told = (arm.time_to_target.clocks for arm in self.arms if arm.time_to_target)
        return next((clock for clocks in told for clock in clocks), "iterations")

    @property
    def best_first(self) -> list[ArmSummary]:
        """The arms by their means; those without one come last."""

        def place(arm: ArmSummary) -> float:
            mean = arm.metrics[self.metric.name].mean
            return math.inf if mean is None else -self.metric.sign * mean

        return sorted(self.arms, key=place)

    @model_validator(mode="after")
    def _check(self) -> Summary:
        """Check the assumptions of tables and figures."""
        names = [arm.name for arm in self.arms]
        if len(set(names)) < len(names):
            raise ValueError("an arm occurs twice")
        if self.reference is None and self.baseline not in names:
            raise ValueError(f"the baseline {self.baseline!r} is not an arm")
        for comparison in self.comparisons:
            if comparison.arm not in names or comparison.baseline != self.baseline:
                raise ValueError("a compared arm is missing")
        for arm in self.arms:
            if self.metric.name not in arm.metrics:
                raise ValueError(f"the arm {arm.name!r} has no {self.metric.name}")
            if self.target is not None and arm.time_to_target is None:
                raise ValueError(f"the arm {arm.name!r} has no time to the target")
        return self
