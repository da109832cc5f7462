"""Define the records of a run: its result.json, and the run as a comparison sees it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from clr_cli.records.base import Arm, Count, Fraction, Number, Record, Seconds, Text

if TYPE_CHECKING:  # results are read without numpy
    import numpy as np
    import numpy.typing as npt

RUN_COLUMNS = ("arm", "seed", "status")  # with which runs.csv begins
Row = dict[str, Any]  # a row of metrics by name, or a part of a result


class Final(Record):
    """The losses and accuracies after the last epoch; an infinite loss is None."""

    train_loss: Number | None
    train_accuracy: Fraction
    val_loss: Number | None
    val_accuracy: Fraction
    test_loss: Number | None
    test_accuracy: Fraction


class Divergence(Record):
    """The iteration at which the loss stopped being finite."""

    epoch: Count
    iteration: Count
    lr: Number


class Answers(Record):
    """Which test images a run classified correctly: their number, and one bit each in base64."""

    images: Annotated[int, Field(strict=True, ge=1, le=10**8)]
    bits: Annotated[str, Field(strict=True, max_length=20_000_000)]


def pack(correct: npt.NDArray[np.bool_]) -> str:
    """Encode which images were classified correctly, (N,), as text: one bit an image, in base64."""
    import numpy as np

    return base64.b64encode(np.packbits(correct).tobytes()).decode()


def unpack(text: str, count: int) -> npt.NDArray[np.bool_] | None:
    """Decode the text of ``pack``, (count,); None if the text has fewer than ``count`` bits.

    >>> import numpy as np
    >>> unpack(pack(np.array([True, False, True])), 3).tolist()
    [True, False, True]
    """
    import numpy as np

    try:
        packed = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
    except (binascii.Error, ValueError):
        return None
    return np.unpackbits(packed, count=count).astype(bool) if 8 * len(packed) >= count else None


class RunResult(Record):
    """The result.json of a run.

    group_ratios: the rate of each of the optimizer's parameter groups, over the schedule's.
    """

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
    group_ratios: list[Number] = Field(default_factory=lambda: [1.0])
    device: Text = ""
    precision: Text = ""
    threads: Count | None = None
    versions: dict[str, Text] = Field(default_factory=dict)


class ProgramResult(Record):
    """The result.json of a run of a user's program."""

    schema_version: Literal[1] = Field(1, alias="schema")
    status: Literal["finished"]
    arm: Arm
    seed: Count
    points: Count
    read: list[Text] = Field(default_factory=list)
    train_seconds: Seconds


class FunctionResult(Record):
    """result.json of a call of a function. error: why it failed to train, if it raised."""

    schema_version: Literal[1] = Field(1, alias="schema")
    status: Literal["finished", "diverged"]
    arm: Arm
    seed: Count
    points: Count
    error: Text | None = None
    train_seconds: Seconds


class ProgramSeconds(Record):
    """The seconds.json of a program: how long it has run, over all its starts."""

    seconds: Seconds


@dataclass(frozen=True)
class RunRecord:
    """One run as a comparison sees it: its measurements, and how it ended.

    The rows (of our own training: one per epoch) contain metrics by name and, where known, the
    place of the measurement: ``iteration``, ``epoch``, ``seconds`` (since the start) or
    ``train_seconds`` (since the previous row). ``result["final"]`` contains the metrics of a
    finished run; ``result`` is empty for a failed run, and for a run read from runs.csv.
    """

    arm: str
    seed: int
    status: Literal["finished", "diverged", "failed"]
    epochs: list[dict[str, float]]
    result: dict[str, Any]


def finals(records: Iterable[RunRecord], name: str) -> dict[str, dict[int, float]]:
    """Return the final values of a metric by arm and seed, of the runs that finished."""
    values: dict[str, dict[int, float]] = {}
    for run in records:
        if run.status == "finished":
            values.setdefault(run.arm, {})[run.seed] = float(run.result["final"][name])
    return values
