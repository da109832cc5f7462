"""Define the metric of a comparison: a number of every run, its direction and its unit."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field

from clr_cli.errors import InputError
from clr_cli.records.base import Record

SPLITS = {"train": "training", "val": "validation", "test": "test"}
LONGEST_NAME, LONGEST_UNIT = 200, 30

Mode = Literal["max", "min"]


class Metric(Record):
    """A number of a run. mode: "max" if higher is better, "min" if lower is.

    unit: "%" for fractions, which are shown in percent and their differences in points; any other
    unit, or "", leaves the values as they are.
    """

    name: Annotated[str, Field(strict=True, min_length=1, max_length=LONGEST_NAME)]
    mode: Mode
    unit: Annotated[str, Field(strict=True, max_length=LONGEST_UNIT)] = ""

    @staticmethod
    def resolve(
        name: str,
        mode: str | None = None,
        unit: str | None = None,
        values: Iterable[float] | None = None,
    ) -> Metric:
        """Return the metric of this name; decide a direction or unit that is None.

        Args:
            name: a known name, such as val_loss, decides both; the ending of another name may
                decide the direction (see `mode_of`).
            mode: "max" or "min"; None: the name decides.
            unit: None: "%" for a known accuracy whose values are fractions, otherwise "".
            values: all values of the runs; None before there are any, which assumes fractions.
                Resolve again once they are known.

        Raises:
            InputError: with key "metric" for a name that cannot be shown; with key "mode" for an
                unknown direction; with key "unit" for a unit that cannot be shown, or "%" for
                values that are not fractions.

        >>> Metric.resolve("test_accuracy", values=[0.90, 0.93]).unit
        '%'
        >>> Metric.resolve("test_accuracy", values=[90.0, 93.0]).unit
        ''

        """
        if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
            raise InputError(
                f"{name[:40]!r}: expected 1 to {LONGEST_NAME} printable characters", key="metric"
            )
        known = KNOWN.get(name)
        direction = mode or (known.mode if known else mode_of(name))
        if direction != "max" and direction != "min":
            stated = "" if mode is None else f"{mode!r}: "
            raise InputError(
                f"{stated}say which {name} is better: max (higher) or min (lower)", key="mode"
            )
        percents = (v for v in values or () if math.isfinite(v) and not 0 <= v <= 1)
        outside = next(percents, None)
        if unit is None:
            unit = known.unit if known and outside is None else ""
        if unit == "%" and outside is not None:
            raise InputError(
                f"expected fractions from 0 to 1 for %, but a value is {outside:g}; drop the unit",
                key="unit",
            )
        if len(unit) > LONGEST_UNIT or not unit.isprintable():
            raise InputError(
                f"{unit[:40]!r}: expected at most {LONGEST_UNIT} printable characters", key="unit"
            )
        return Metric(name=name, mode=direction, unit=unit)

    def fitted(self, values: Iterable[float]) -> Metric:
        """Return the metric without the unit % if these values are not fractions.

        >>> TEST_ACCURACY.fitted([90.0, 93.0]).unit, TEST_ACCURACY.fitted([0.9, 0.93]).unit
        ('', '%')
        """
        if self.unit == "%" and any(math.isfinite(v) and not 0 <= v <= 1 for v in values):
            return self.model_copy(update={"unit": ""})
        return self

    @property
    def label(self) -> str:
        """The name in words, such as "validation loss"; any other name as it is."""
        split, _, kind = self.name.partition("_")
        if split in SPLITS and kind in ("loss", "accuracy"):
            return f"{SPLITS[split]} {kind}"
        return self.name

    @property
    def heading(self) -> str:
        """The label with a capital first letter."""
        return self.label[:1].upper() + self.label[1:]

    @property
    def direction(self) -> str:
        """Which of two values is better, in words."""
        return f"{'higher' if self.mode == 'max' else 'lower'} is better"

    @property
    def sign(self) -> int:
        """1 or -1: a difference times the sign is positive if it is better."""
        return 1 if self.mode == "max" else -1

    @property
    def worst(self) -> float:
        """The infinity that is worse than any value."""
        return -self.sign * math.inf

    def possible(self, low: float, high: float) -> tuple[float, float]:
        """Return an interval of differences, cut where no two fractions can lie so far apart.

        An infinite end stays: nothing is known there.

        >>> TEST_ACCURACY.possible(-0.5, 1.2), KNOWN["val_loss"].possible(-0.5, 1.2)
        ((-0.5, 1.0), (-0.5, 1.2))
        """
        if self.unit == "%" and math.isfinite(low) and math.isfinite(high):
            return max(low, -1.0), min(high, 1.0)
        return low, high

    def holds(self, value: float, target: float) -> bool:
        """Return whether a value is at the target or better; NaN never is.

        >>> Metric(name="val_loss", mode="min").holds(3.27, 3.28)
        True
        """
        return value >= target if self.mode == "max" else value <= target


# The metrics that clr's own training measures after every epoch.
KNOWN = {
    f"{split}_{kind}": Metric(name=f"{split}_{kind}", mode=mode, unit=unit)
    for split in SPLITS
    for kind, mode, unit in (("loss", "min", ""), ("accuracy", "max", "%"))
}
TEST_ACCURACY, VAL_ACCURACY = KNOWN["test_accuracy"], KNOWN["val_accuracy"]

_LOWER = (
    *("loss", "error", "errors", "err", "perplexity", "ppl", "mse", "rmse", "mae", "mape", "nll"),
    *("bpc", "bpb", "bpd", "logloss", "crossentropy", "ce", "ece", "brier", "wer", "cer", "ter"),
    *("fid", "kl", "regret", "eer"),
)
_HIGHER = (
    *("accuracy", "acc", "top", "f", "fbeta", "precision", "recall", "auc", "auroc", "auprc", "ap"),
    *("map", "ndcg", "mrr", "hits", "iou", "miou", "dice", "jaccard", "bleu", "sacrebleu", "chrf"),
    *("rouge", "rougel", "rougelsum", "meteor", "cider", "psnr", "ssim", "mcc", "kappa", "pearson"),
    *("spearman", "spearmanr", "r", "reward", "rewards", "rew", "return", "returns", "success"),
    *("match", "elbo", "specificity", "sensitivity", "winrate"),
)
_ONLY_WITH_DIGITS = {"top", "f", "r"}  # top1, f1, r2
_DIRECTIONS: dict[str, Mode] = {
    **dict.fromkeys(_LOWER, "min"),
    **dict.fromkeys(_HIGHER, "max"),
}
# Words that may follow the deciding one: mean_reward_max, error rate, recall at 5, f1 score.
_NEUTRAL = {"mean", "avg", "average", "median", "max", "min", "best", "last", "final", "epoch"}
_NEUTRAL |= {"rate", "score", "at", "k", "macro", "micro", "weighted", "step", "val", "test", ""}


def mode_of(name: str) -> Mode | None:
    """Return which direction is better by the last known word of a metric's name, or None.

    >>> mode_of("val_loss"), mode_of("top-1 error rate"), mode_of("rollout/ep_rew_mean")
    ('min', 'min', 'max')
    >>> mode_of("metrics/mAP50-95(B)"), mode_of("F1"), mode_of("loss_scale")
    ('max', 'max', None)
    """
    parts = re.split(r"[^A-Za-z0-9]+", re.sub(r"\([^)]*\)$", "", name))
    for part in reversed(parts):
        word = part.lower().rstrip("0123456789")
        if word in _NEUTRAL:  # so is a number alone
            continue
        if word in _ONLY_WITH_DIGITS and word == part.lower() and part != parts[-1]:
            return _DIRECTIONS[word]  # top-1
        if word in _ONLY_WITH_DIGITS and word == part.lower():
            return None
        if word in _DIRECTIONS:
            return _DIRECTIONS[word]
        inner = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", part)  # valLoss
        return _DIRECTIONS.get(inner[-1].lower()) if len(inner) > 1 else None
    return None
