"""What passes between the rooms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class RunRecord:
    """What the comparison sees of one run: its metrics rows (one an epoch) and its result.json."""

    arm: str
    seed: int
    status: Literal["finished", "diverged", "failed"]
    epochs: list[dict[str, float]]
    result: dict[str, Any]


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
