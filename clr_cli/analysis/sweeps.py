"""What a sweep of a range test is: its ramp, its stop rule, its curves and their smoothing.

Pure functions over plain numbers; ``suggest`` reads the bounds off the curves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

BETA = 0.98  # of the loss average, as in fastai and Lightning: a memory of 50 iterations
MEDIAN_WIDTH = 0.09  # of the ramp: a point must be outvoted by its neighbours
LOCAL_WIDTH = 0.12  # of the ramp, to each side: the local line's reach


def smooth_loss(losses: Sequence[float]) -> list[float]:
    """Bias-corrected exponential average per iteration, up to the first non-finite loss.

    >>> [round(x, 2) for x in smooth_loss([2.0, 1.0, float('inf'), 1.0])]
    [2.0, 1.49]
    """
    weighted, out = 0.0, []
    for count, loss in enumerate(takewhile(math.isfinite, losses), start=1):
        weighted = BETA * weighted + (1 - BETA) * loss
        out.append(weighted / (1 - BETA**count))
    return out


def smooth_accuracy(values: Sequence[float]) -> list[float]:
    """``smooth`` as a list.

    >>> [round(x, 2) for x in smooth_accuracy([0.1, 0.1, 0.9, 0.1, 0.1])]
    [0.1, 0.1, 0.1, 0.1, 0.1]
    """
    out: list[float] = smooth(np.asarray(values, dtype=np.float64)).tolist()
    return out


def smooth(values: Array) -> Array:
    """Accuracies (points,): running median, then a local line, along the ramp.

    The median removes single lucky or unlucky points whatever their size; the line (LOESS of
    degree 1, Cleveland 1979) removes its steps without flattening the rise at the ends.

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
    """Row i holds the weights that fit a line around point i and read it off at i (tricube)."""
    at = np.arange(n, dtype=np.float64)
    offset = at[None, :] - at[:, None]
    weight = np.clip(1 - np.abs(offset / max(2.0, LOCAL_WIDTH * n)) ** 3, 0, None) ** 3
    weight /= weight.sum(axis=1, keepdims=True)
    centre = (weight * offset).sum(axis=1, keepdims=True)
    variance = (weight * (offset - centre) ** 2).sum(axis=1, keepdims=True)
    lines: Array = weight * (1 - centre * (offset - centre) / variance)
    return lines
