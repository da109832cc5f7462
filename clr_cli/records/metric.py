"""What a comparison is about: a number of every run, and which direction of it is better."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from clr_cli.records.base import Record

SPLITS = {"train": "training", "val": "validation", "test": "test"}


class Metric(Record):
    """A number of a run. mode: whether "max" or "min" is better.

    unit: "%" for fractions, which are shown in percent and their differences in points; any other
    unit, also "", stands behind the values as they are.
    """

    name: Annotated[str, Field(strict=True, min_length=1, max_length=200)]
    mode: Literal["max", "min"]
    unit: Annotated[str, Field(strict=True, max_length=30)] = ""

    @property
    def label(self) -> str:
        """How people say the name: "validation loss"; a name of another kind as it is."""
        split, _, kind = self.name.partition("_")
        if split in SPLITS and kind in ("loss", "accuracy"):
            return f"{SPLITS[split]} {kind}"
        return self.name

    @property
    def sign(self) -> int:
        """1 or -1: a difference times it is positive where it is better."""
        return 1 if self.mode == "max" else -1

    @property
    def worst(self) -> float:
        return -self.sign * math.inf

    def holds(self, value: float, target: float) -> bool:
        """Whether a value is at the target or better; NaN never is.

        >>> Metric(name="val_loss", mode="min").holds(3.27, 3.28)
        True
        """
        return value >= target if self.mode == "max" else value <= target


# What our own training measures after every epoch.
KNOWN = {
    f"{split}_{kind}": Metric(name=f"{split}_{kind}", mode=mode, unit=unit)
    for split in SPLITS
    for kind, mode, unit in (("loss", "min", ""), ("accuracy", "max", "%"))
}
TEST_ACCURACY, VAL_ACCURACY = KNOWN["test_accuracy"], KNOWN["val_accuracy"]

_ENDINGS: dict[str, Literal["max", "min"]] = {
    **dict.fromkeys(("loss", "error", "perplexity"), "min"),
    **dict.fromkeys(("accuracy", "acc"), "max"),
}


def mode_of(name: str) -> Literal["max", "min"] | None:
    """Which is better, as the name of a metric tells; None where it does not.

    >>> mode_of("val_loss"), mode_of("top1_acc"), mode_of("bleu")
    ('min', 'max', None)
    """
    return next((mode for end, mode in _ENDINGS.items() if name.lower().endswith(end)), None)
