"""What a sweep of a range test is: its ramp, its stop rule, its curves and their smoothing.

Pure functions over plain numbers; ``suggest`` reads the bounds off the curves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import takewhile
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

BETA = 0.98  # of the loss average, as in fastai and Lightning: a memory of 50 iterations
MEDIAN_WIDTH = 0.09  # of the ramp: a point must be outvoted by its neighbours
LOCAL_WIDTH = 0.12  # of the ramp, to each side: the local line's reach


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


def ramp(shape: str, min_lr: float, max_lr: float, total: int) -> Callable[[int], float]:
    """The rate of iteration 0 .. total-1: exactly min_lr at the first, max_lr at the last.

    ``shape`` is linear (Smith 2015, section 3.3) or exponential (equal time per decade).
    Raises ValueError for another shape or an empty range.
    """
    if not 0 < min_lr < max_lr < math.inf:
        raise ValueError(f"max_lr: {max_lr:g} is not above min_lr {min_lr:g} > 0")
    if total < 2:
        raise ValueError(f"iterations: a sweep needs at least 2, not {total}")
    if shape not in ("linear", "exponential"):
        raise ValueError(f"shape: {shape!r} is neither linear nor exponential")

    def lr(iteration: int) -> float:
        part = iteration / (total - 1)
        if shape == "linear":
            return min_lr * (1 - part) + max_lr * part
        return math.exp(math.log(min_lr) * (1 - part) + math.log(max_lr) * part)

    return lr


@dataclass(frozen=True)
class Divergence:
    """The stop rule of a sweep, as a value: feed it losses with ``after``, look at ``reason``.

    A sweep has diverged at the first loss that is not finite, or once the average loss lies
    half the loss of guessing, ln(classes) / 2, above the lowest average so far. The distance is
    an offset because a factor (fastai, Lightning: 4 times the best) fires on plain noise when
    the best is near zero, and never when training stops learning at a loss of 1. The average is
    exponential and bias-corrected, so the first average is the first loss; it is judged after
    its memory of 50 iterations, so no single early batch can stop a sweep.
    """

    num_classes: int
    count: int = 0
    weighted: float = 0.0
    best: float = math.inf
    reason: Literal["diverged", "non-finite"] | None = None
    stopped_at: int | None = None  # 0-based iteration, that is an index into the losses

    def after(self, losses: Iterable[float]) -> Divergence:
        """The state after these further losses; those after a stop are ignored."""
        state = self
        for loss in losses:
            if state.reason is not None:
                break
            state = state._step(loss)
        return state

    def _step(self, loss: float) -> Divergence:
        if not math.isfinite(loss):
            return replace(self, reason="non-finite", stopped_at=self.count)
        count = self.count + 1
        weighted = BETA * self.weighted + (1 - BETA) * loss
        average = weighted / (1 - BETA**count)
        after = replace(self, count=count, weighted=weighted, best=min(self.best, average))
        judged = count * (1 - BETA) >= 1
        if judged and average > self.best + math.log(self.num_classes) / 2:
            return replace(after, reason="diverged", stopped_at=self.count)
        return after


def smooth_loss(losses: Sequence[float]) -> list[float]:
    """Bias-corrected exponential average per iteration, up to the first non-finite loss."""
    weighted, out = 0.0, []
    for count, loss in enumerate(takewhile(math.isfinite, losses), start=1):
        weighted = BETA * weighted + (1 - BETA) * loss
        out.append(weighted / (1 - BETA**count))
    return out


def smooth_accuracy(values: Sequence[float]) -> list[float]:
    """``smooth`` as a list."""
    out: list[float] = smooth(np.asarray(values, dtype=np.float64)).tolist()
    return out


def smooth(values: Array) -> Array:
    """Accuracies (points,): running median, then a local line, along the ramp.

    The median removes single lucky or unlucky points whatever their size; the line (LOESS of
    degree 1, Cleveland 1979) removes its steps without flattening the rise at the ends.
    """
    n = len(values)
    if n < 3:
        return values
    half = max(1, round(MEDIAN_WIDTH * n / 2))
    padded = np.pad(values, half, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1)
    lines: Array = _local_lines(n) @ np.nanmedian(windows, axis=1)
    return lines


@lru_cache(maxsize=8)
def _local_lines(n: int) -> Array:
    """Row i holds the weights that fit a line around point i and read it off at i (tricube)."""
    at = np.arange(n, dtype=np.float64)
    offset = at[None, :] - at[:, None]
    weight = np.clip(1 - np.abs(offset / max(2.0, LOCAL_WIDTH * n)) ** 3, 0, None) ** 3
    weight /= weight.sum(axis=1, keepdims=True)
    centre = (weight * offset).sum(axis=1, keepdims=True)
    variance = (weight * (offset - centre) ** 2).sum(axis=1, keepdims=True)
    lines: Array = weight * (1 - centre * (offset - centre) / variance)
    return lines
