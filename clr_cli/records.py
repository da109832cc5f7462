"""What passes between rooms and what is on disk, typed.

The models are written to result.json and summary.json and read back through ``read``: a file that
is damaged, or was made by another version, becomes one line that names file, key and value.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clr_cli.errors import InputError
from clr_cli.files import read_json

# Numbers of a file must be numbers that arithmetic and figures can handle.
Number = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=-1e30, le=1e30)]
Seconds = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=0, le=1e12)]
Fraction = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=0, le=1)]
Count = Annotated[int, Field(strict=True, ge=0, le=10**12)]
Text = Annotated[str, Field(strict=True, max_length=10_000)]
Arm = Annotated[str, Field(strict=True, min_length=1, max_length=200)]
Verdict = Literal["better", "worse", "equivalent", "no_difference", "too_few_seeds", "identical"]


class Record(BaseModel):
    """A part of a file. Keys that a later version has added are left out."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    def plain(self) -> dict[str, Any]:
        """Plain JSON types, with the keys of the file."""
        return self.model_dump(mode="json", by_alias=True)


class Final(Record):
    """Losses and accuracies after the last epoch; an infinite loss is None."""

    train_loss: Number | None
    train_accuracy: Fraction
    val_loss: Number | None
    val_accuracy: Fraction
    test_loss: Number | None
    test_accuracy: Fraction


class Divergence(Record):
    """Where the loss stopped being finite."""

    epoch: Count
    iteration: Count
    lr: Number


class RunResult(Record):
    """result.json of a run."""

    schema_version: Literal[1] = Field(1, alias="schema")
    status: Literal["finished", "diverged"]
    epochs: Count = 0
    final: Final | None
    diverged: Divergence | None = None
    schedule: dict[str, Any] = Field(default_factory=dict)
    train_seconds: Seconds = 0.0
    images_per_second: Number | None = None
    iterations_per_epoch: Count = 1
    num_classes: Annotated[int, Field(strict=True, ge=2)]
    device: Text = ""
    precision: Text = ""
    threads: Count | None = None
    versions: dict[str, Text] = Field(default_factory=dict)


@dataclass(frozen=True)
class RunRecord:
    """What a comparison sees of one run: its metrics rows (one an epoch) and its result.json.

    ``result`` is empty for a run that failed, and where only runs.csv is at hand.
    """

    arm: str
    seed: int
    status: Literal["finished", "diverged", "failed"]
    epochs: list[dict[str, float]]
    result: dict[str, Any]


class Spread(Record):
    """A metric over an arm's seeds; mean and sd are None where a value is not finite."""

    mean: Number | None
    sd: Number | None
    values: dict[str, Number | None]


class Times(Record):
    """Time to target by seed; None is a miss."""

    values: dict[str, Number | None]
    median: Number | None


class ArmTimes(Record):
    iterations: Times
    seconds: Times
    reached: Count


class Cost(Record):
    train_seconds: Seconds
    tuning_seconds: Seconds
    range_test_seconds: Seconds
    runs: Count


class ArmSummary(Record):
    """One arm. n: runs with an answer; diverged and failed runs are counted and named."""

    name: Arm
    schedule: dict[str, Any]
    n: Count
    diverged: Count
    failed: Count
    diverged_seeds: list[int]
    failed_seeds: list[int]
    test_accuracy: Spread
    test_loss: Spread
    train_loss: Spread
    val_accuracy: Spread
    time_to_target: ArmTimes
    cost: Cost


class Interval(Record):
    level: Fraction
    low: Number | None
    high: Number | None


class Difference(Record):
    """Mean paired difference of test accuracy, its interval, and the interval of the claim."""

    mean: Number | None
    low: Number | None
    high: Number | None
    level: Fraction
    method: Text
    values: dict[str, Number | None]
    claim: Interval | None = None


class Ratio(Record):
    """Median ratio of times to target; None stands for infinite or undefined."""

    ratio: Number | None
    low: Number | None
    high: Number | None


class Reached(Record):
    arm: Count
    baseline: Count


class TimeRatio(Ratio):
    seconds: Ratio
    reached: Reached


class Superiority(Record):
    """P(arm beats baseline) over seeds."""

    estimate: Fraction
    low: Fraction
    high: Fraction


class Comparison(Record):
    """One arm against the baseline."""

    arm: Arm
    baseline: Arm
    n: Count
    p: Fraction | None
    p_holm: Fraction | None
    unpaired_seeds: list[int]
    difference: Difference
    time_to_target: TimeRatio
    superiority: Superiority | None
    wins: Count
    ties: Count
    losses: Count
    smallest_detectable: Number | None
    seeds_needed: Count | None
    verdict: Verdict
    sentence: Text


class ControlledVariables(Record):
    """What is equal in all arms, what differs, and run metadata."""

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


class Target(Record):
    """The target of time to target, and how it was chosen."""

    metric: Text
    value: Fraction
    source: Text


class Trial(Record):
    value: Number
    val_accuracy: Fraction


class TunedArm(Record):
    """The trials of one arm; edge: the best is the first or last rate that was tried."""

    key: Text
    value: Number
    val_accuracy: Fraction
    edge: bool
    trials: list[Trial]


class Tuning(Record):
    """How the rates of the tuned arms were chosen, on seeds that the comparison does not use."""

    grid: list[Number]
    arms: dict[str, TunedArm]
    seconds: dict[str, Seconds]


class Reproduce(Record):
    command: Text = ""
    config: Annotated[str, Field(strict=True, max_length=1_000_000)] = ""


class Summary(Record):
    """summary.json: the comparison of every arm with the baseline."""

    schema_version: Literal[1] = Field(1, alias="schema")
    experiment: Text
    baseline: Arm
    level: Fraction
    claim_level: Fraction
    margin: Annotated[float, Field(strict=True, gt=0, lt=1)]
    num_seeds: Count
    controlled: ControlledVariables = Field(alias="contract")
    target: Target
    arms: Annotated[list[ArmSummary], Field(min_length=1)]
    comparisons: list[Comparison]
    tuning: Tuning | None = None
    verdict: Text
    scope: Text
    reproduce: Reproduce = Reproduce()


@dataclass(frozen=True)
class Sweep:
    """What one sweep measured: the loss of every iteration, validation at a steady interval.

    Accuracies are fractions. ``stopped`` is None for a whole sweep, otherwise the ``reason``
    ("diverged" or "non-finite"), ``iteration`` and ``lr`` at which it ended.
    """

    seed: int
    lr: list[float]
    train_loss: list[float]
    val_lr: list[float]
    val_accuracy: list[float]
    val_loss: list[float]
    stopped: Mapping[str, Any] | None = None


class Bound(Record):
    """A learning rate, its range over single sweeps, those sweeps' values, and the reason."""

    value: Annotated[float, Field(strict=True, gt=0, le=1e30)]
    low: Annotated[float, Field(strict=True, gt=0, le=1e30)]
    high: Annotated[float, Field(strict=True, gt=0, le=1e30)]
    per_sweep: list[Number]
    reason: Text


class Bounds(Record):
    """The bounds a range test suggests, and what other finders read off the same sweeps."""

    base_lr: Bound | None
    max_lr: Bound | None
    steepest: Bound | None
    valley: Bound | None
    minimum: Bound | None


class Stopped(Record):
    """Why and where a sweep ended early."""

    reason: Text
    iteration: Count
    lr: Number


class SweepEnd(Record):
    seed: Count
    stopped: Stopped | None


class Ramp(Record):
    shape: Text
    min_lr: Number
    max_lr: Number


class RangeTestResult(Record):
    """result.json of a range test. inconclusive: None, or why there is no answer."""

    schema_version: Literal[1] = Field(1, alias="schema")
    inconclusive: Text | None
    next_range: tuple[Number, Number] | None
    estimates: Bounds
    sweeps: list[SweepEnd]
    seconds: Seconds
    range: Ramp
    device: Text = ""
    precision: Text = ""
    threads: Count | None = None
    versions: dict[str, Text] = Field(default_factory=dict)


R = TypeVar("R", bound=Record)


def read(model: type[R], path: Path, *, remedy: str) -> R:
    """A file of this model.

    Raises:
        InputError: the file is missing or damaged; ``remedy`` says how to go on.
    """
    tree = read_json(path)
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"] if not _is_type(part)) or None
        if first["type"] == "missing":
            said = "missing"
        elif key == "schema":
            said = f"{_shown(first['input'])}: the file of another version of clr"
        else:
            said = f"{_shown(first['input'])} does not fit: {first['msg'].lower()}"
        raise InputError(f"{said}; {remedy}", key=key, source=path) from None
    except RecursionError:
        raise InputError(f"nested too deeply; {remedy}", source=path) from None


def _is_type(part: int | str) -> bool:
    """Whether a part of pydantic's location names an alternative of a union, not a key."""
    return isinstance(part, str) and ("[" in part or part in ("float", "int", "str"))


def _shown(value: Any) -> str:
    """A value in a message: short, on one line, without control codes."""
    try:
        text = json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        text = type(value).__name__
    return text if len(text) <= 60 else f"{text[:57]}..."
