"""A search for learning rates: its sweeps, its probes, and the result.json of its answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from clr_cli.records.base import Count, Number, Record, Seconds, Text
from clr_cli.records.metric import Metric

Rate = Annotated[float, Field(strict=True, gt=0, le=1e30)]


class Stopped(Record):
    """Why ("diverged" or "non-finite") and where a sweep ended early."""

    reason: Text
    iteration: Count
    lr: Number


@dataclass(frozen=True)
class Sweep:
    """What one sweep measured: the loss of every iteration, validation at a steady interval.

    Accuracies are fractions. stopped: None for a whole sweep.
    """

    seed: int
    lr: list[float]
    train_loss: list[float]
    val_lr: list[float]
    val_accuracy: list[float]
    val_loss: list[float]
    stopped: Stopped | None = None


class SweepEnd(Record):
    """How a sweep ended, by its seed."""

    seed: Count
    stopped: Stopped | None


class Ramp(Record):
    """The range of a sweep, and how the rate rises over it."""

    shape: Text
    min_lr: Rate
    max_lr: Rate


class Peak(Record):
    """The highest smoothed accuracy of the sweeps' mean, and the rate at which it lies."""

    lr: Rate
    accuracy: Number


class SweepSummary(Record):
    """The sweeps of a range test. peak: None if nothing was learned."""

    range: Ramp
    ends: list[SweepEnd]
    peak: Peak | None


class Probed(Record):
    """One rate: the metric's values of its probes (None: failed), and their mean."""

    rate: Rate
    scores: Annotated[list[Number | None], Field(max_length=1000)]
    mean: Number | None


class Certified(Record):
    """Another rate against max_lr in whole runs: the mean difference with its interval."""

    rate: Rate
    verdict: Text
    sentence: Text
    mean: Number | None
    low: Number | None
    high: Number | None


class RateAnswer(Record):
    """The answer of a search for learning rates, and its result.json.

    Attributes:
        experiment: its name.
        metric: of the probes' values.
        within: how far from the best is still good, in words.
        relative: whether delta and bound are shares of the value.
        start: where the search began.
        low, high: the interval of good rates; None without an answer, or without probes.
        key: the name of the rate in the schedule's config.
        max_lr: the rate to use; without probes the sweeps' peak.
        base_lr: the lower bound that belongs to it; None for a program or a function.
        top: the mean value of the best three rates.
        cliff: the lowest rate from which on probes failed.
        sd: of one probe's value at one rate.
        bound: no rate that was tried is better by more, the two beside max_lr aside (95 %).
        probes: how many counted.
        tried: the rates that count, rising.
        inconclusive: None, or why there is no answer.
        certified: max_lr against its half and double in whole runs.
        schedule, kind: the arm and the kind of its schedule; None for a program or a function.
        iterations, epochs: of one probe of our own training.
        chance: the accuracy of a model that has learned nothing.
        sweep: what the sweeps before the probes measured.
        seconds: of training, in all sweeps and probes.
        command: as it was typed.
    """

    schema_version: Literal[2] = Field(2, alias="schema")
    experiment: Text
    metric: Metric
    within: Text
    relative: bool
    delta: Number
    start: Rate
    key: Text = "lr"
    low: Rate | None = None
    high: Rate | None = None
    max_lr: Rate | None = None
    base_lr: Rate | None = None
    top: Number | None = None
    cliff: Rate | None = None
    sd: Number | None = None
    bound: Number | None = None
    probes: Count = 0
    tried: Annotated[list[Probed], Field(max_length=1000)] = Field(default_factory=list)
    inconclusive: Text | None = None
    certified: list[Certified] = Field(default_factory=list)
    schedule: Text | None = None
    kind: Text | None = None
    iterations: Count | None = None
    epochs: Number | None = None
    chance: Number | None = None
    sweep: SweepSummary | None = None
    seconds: Seconds = 0.0
    command: Text = ""
    device: Text = ""
    precision: Text = ""
    threads: Count | None = None
    versions: dict[str, Text] = Field(default_factory=dict)
