"""A training run: its result.json, and what a comparison sees of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from clr_cli.records.base import Arm, Count, Fraction, Number, Record, Seconds, Text


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


class Answers(Record):
    """Which test images were answered rightly: how many there are, one bit each in base64."""

    images: Annotated[int, Field(strict=True, ge=1, le=10**8)]
    bits: Annotated[str, Field(strict=True, max_length=20_000_000)]


class RunResult(Record):
    """result.json of a run."""

    schema_version: Literal[1] = Field(1, alias="schema")
    status: Literal["finished", "diverged"]
    epochs: Count = 0
    final: Final | None
    test_answers: Answers | None = None
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


class ProgramResult(Record):
    """result.json of a run of a program of the user's."""

    schema_version: Literal[1] = Field(1, alias="schema")
    status: Literal["finished"]
    arm: Arm
    seed: Count
    points: Count
    read: list[Text] = Field(default_factory=list)
    train_seconds: Seconds


class ProgramSeconds(Record):
    """seconds.json: how long a program has run, over all its starts."""

    seconds: Seconds


@dataclass(frozen=True)
class RunRecord:
    """What a comparison sees of one run: rows of what was measured, and how it ended.

    Rows (of our own training: one an epoch) hold metrics by name, and where they were measured:
    ``iteration``, ``epoch``, ``seconds`` (since the start) or ``train_seconds`` (since the row
    before), as far as they are known. Of ``result``, ``final`` holds a finished run's metrics; it
    is empty for a run that failed, and where only runs.csv is at hand.
    """

    arm: str
    seed: int
    status: Literal["finished", "diverged", "failed"]
    epochs: list[dict[str, float]]
    result: dict[str, Any]
