"""What a comparison is about: a number of every run, and which direction of it is better."""

from __future__ import annotations

import math
import re
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
_DIRECTIONS: dict[str, Literal["max", "min"]] = {
    **dict.fromkeys(_LOWER, "min"),
    **dict.fromkeys(_HIGHER, "max"),
}
# Words behind the one that tells: mean_reward_max, error rate, recall at 5, f1 score.
_NEUTRAL = {"mean", "avg", "average", "median", "max", "min", "best", "last", "final", "epoch"}
_NEUTRAL |= {"rate", "score", "at", "k", "macro", "micro", "weighted", "step", "val", "test", ""}


def mode_of(name: str) -> Literal["max", "min"] | None:
    """Return which is better, as the last telling word of a metric's name says; None without one.

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
