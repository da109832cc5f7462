"""Smoothed curves of the sweeps of a range test, and the rate of the highest accuracy.

Pure functions of plain numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

from clr_cli.records import Peak, Sweep

Array = NDArray[np.float64]

BETA = 0.98  # of the loss average, as in fastai and Lightning: a memory of 50 iterations
MEDIAN_WIDTH = 0.09  # of the ramp: a point must be outvoted by its neighbors
LOCAL_WIDTH = 0.12  # of the ramp, to each side: the local line's reach


def smooth_loss(losses: Sequence[float]) -> list[float]:
    """Return the bias-corrected exponential average, up to the first loss that is not finite.

    >>> [round(x, 2) for x in smooth_loss([2.0, 1.0, float('inf'), 1.0])]
    [2.0, 1.49]
    """
    weighted, out = 0.0, []
    for count, loss in enumerate(takewhile(math.isfinite, losses), start=1):
        weighted = BETA * weighted + (1 - BETA) * loss
        out.append(weighted / (1 - BETA**count))
    return out


def smooth_accuracy(values: Sequence[float]) -> list[float]:
    """Return ``smooth`` of a list, as a list.

    >>> [round(x, 2) for x in smooth_accuracy([0.1, 0.1, 0.9, 0.1, 0.1])]
    [0.1, 0.1, 0.1, 0.1, 0.1]
    """
    out: list[float] = smooth(np.asarray(values, dtype=np.float64)).tolist()
    return out


def smooth(values: Array) -> Array:
    """Return accuracies (points,) smoothed along the ramp: a running median, then a local line.

    The median removes single lucky or unlucky points of any size; the line (LOESS of degree 1,
    Cleveland 1979) removes its steps without flattening the rise at the ends.

    >>> smooth(np.array([0.1, 0.1, 0.9, 0.1, 0.1])).round(2).tolist()
    [0.1, 0.1, 0.1, 0.1, 0.1]
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
    """Return (n, n) tricube weights: row i fits a line around point i and reads it off at i."""
    at = np.arange(n, dtype=np.float64)
    offset = at[None, :] - at[:, None]
    weight = np.clip(1 - np.abs(offset / max(2.0, LOCAL_WIDTH * n)) ** 3, 0, None) ** 3
    weight /= weight.sum(axis=1, keepdims=True)
    center = (weight * offset).sum(axis=1, keepdims=True)
    variance = (weight * (offset - center) ** 2).sum(axis=1, keepdims=True)
    lines: Array = weight * (1 - center * (offset - center) / variance)
    return lines


LEARNED = 0.1  # of the way from chance to 100 %: below it, nothing was learned


def peak(sweeps: Sequence[Sweep], chance: float) -> Peak | None:
    """Return the rate of the highest smoothed accuracy, as the original post circled it.

    It is read off the mean over the sweeps, on the rates of the longest; a sweep that ended early
    counts as chance beyond its end. Rate and time rise together in a sweep, so that the reading
    depends on its range: it says where to look, and the probes answer.

    Args:
        sweeps: of one ramp.
        chance: the accuracy of a model that has learned nothing.

    Returns:
        None if less than a tenth of the way from chance to 100 % was learned.

    >>> rates = [0.01 * k for k in range(1, 101)]
    >>> sweep = Sweep(0, [], [], rates, [0.9 - (lr - 0.4) ** 2 for lr in rates], [])
    >>> round(peak([sweep], chance=0.1).lr, 2)
    0.4
    """
    longest = max(sweeps, key=lambda sweep: len(sweep.val_lr))
    curves = np.full((len(sweeps), len(longest.val_lr)), chance)
    for row, sweep in zip(curves, sweeps, strict=True):
        smoothed = smooth_accuracy(sweep.val_accuracy)
        row[: len(smoothed)] = smoothed
    if not curves.size:
        return None
    mean = curves.mean(axis=0)
    at = int(mean.argmax())
    if mean[at] - chance <= LEARNED * (1 - chance):
        return None
    return Peak(lr=longest.val_lr[at], accuracy=float(mean[at]))
