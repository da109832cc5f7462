"""A range test: its sweeps, its answer, and its result.json."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from clr_cli.records.base import Count, Number, Record, Seconds, Text
from clr_cli.records.metric import Metric

Rate = Annotated[float, Field(strict=True, gt=0, le=1e30)]


class Bound(Record):
    """A learning rate read off the sweeps, with its range over single sweeps and the reason."""

    value: Rate
    low: Rate
    high: Rate
    per_sweep: list[Number]
    reason: Text


class Bounds(Record):
    """The bounds that the sweeps suggest, and what other finders read off the same sweeps."""

    base_lr: Bound | None
    max_lr: Bound | None
    steepest: Bound | None
    valley: Bound | None
    minimum: Bound | None


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
    min_lr: Number
    max_lr: Number


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


class Answer(Record):
    """The answer of a search for learning rates, from probes; see ``analysis.lattice.Found``.

    metric: of the probes' values. schedule: the arm, of that kind, and iterations, epochs: of one
    probe; None for a program of the user's. delta: how far from the top a rate still counts as
    good; relative: whether delta and bound are shares of the value. probes: how many counted.
    inconclusive: None, or why there is no answer.
    """

    metric: Metric
    schedule: Text | None = None
    kind: Text | None = None
    iterations: Count | None = None
    epochs: Number | None = None
    delta: Number
    relative: bool = False
    chance: Number | None = None
    low: Rate | None
    high: Rate | None
    max_lr: Rate | None
    base_lr: Rate | None
    top: Number | None
    cliff: Rate | None
    sd: Number | None
    bound: Number | None
    probes: Count
    tried: Annotated[list[Probed], Field(max_length=1000)]
    inconclusive: Text | None
    certified: list[Certified] = Field(default_factory=list)


class RateSearch(Answer):
    """The result.json of a search for the rates of a program or a function.

    within: how far from the best is still good, in words. start: where the search began. command:
    what was run.
    """

    schema_version: Literal[1] = Field(1, alias="schema")
    experiment: Text
    within: Text
    start: Rate
    seconds: Seconds = 0.0
    command: Text = ""
    versions: dict[str, Text] = Field(default_factory=dict)


class RangeTestResult(Record):
    """The result.json of a range test.

    inconclusive: None, or why there is no answer. answer: of the probes; None without probes, where
    ``estimates`` are the answer.
    """

    schema_version: Literal[1] = Field(1, alias="schema")
    inconclusive: Text | None
    next_range: tuple[Number, Number] | None
    estimates: Bounds
    sweeps: list[SweepEnd]
    seconds: Seconds
    range: Ramp
    answer: Answer | None = None
    device: Text = ""
    precision: Text = ""
    threads: Count | None = None
    versions: dict[str, Text] = Field(default_factory=dict)
