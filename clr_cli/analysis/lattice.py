"""The lattice of learning rates: what a search on it asks for, and what it comes to."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

LATTICE = 0.1  # the rate at k = 0; k counts factors of 2
LOWEST, HIGHEST = -24, 10  # k: 6e-9 to 100
DELTA = 0.03  # of accuracy: rates within 3 points of the top are good
DISTANCE = 2.0  # max_lr keeps a place, this factor, from the lowest rate at which a probe failed
LEVEL = 0.95  # of the bound

Probe = tuple[int, int]  # (k, seed): one short training
Scores = Mapping[Probe, float | None]


@dataclass(frozen=True)
class Scale:
    """What a score is; higher is better.

    Attributes:
        delta: how far below the top a rate still counts as good.
        chance: the score of a model that has learned nothing; None if it is unknown.
        images: the number of images that an accuracy was measured on, which gives the least noise
            it can have; None for other scores.

    """

    delta: float
    chance: float | None = None
    images: int | None = None


@dataclass(frozen=True)
class ProbeRequest:
    """The probes that are missing, and what they are for."""

    probes: tuple[Probe, ...]
    stage: str


@dataclass(frozen=True)
class Tried:
    """One rate of the answer with the scores of its probes, in the order of their seeds.

    A failed probe's score is None; the mean is None where a probe failed.
    """

    rate: float
    scores: tuple[float | None, ...]
    mean: float | None


@dataclass(frozen=True)
class RatesFound:
    """What a search comes to.

    Attributes:
        tried: the rates that count, rising.
        low, high: the ends of the interval of rates within delta of the top.
        max_lr: the rate to use, see `center`; at most the cliff / ``DISTANCE``. None if no rate
            is clearly the one.
        top: the mean score of the best three rates.
        cliff: the lowest rate above the best from which on probes failed.
        sd: the standard deviation of one probe's score at one rate.
        bound: no rate that was tried beats max_lr by more (at ``LEVEL``, for this length).
        inconclusive: None, or why there is no answer; the numbers, if any, are then hints.
        learned: whether probes of this length learn enough to be judged.
        too_short: whether they learn something, but not enough, so that longer ones may tell.

    """

    tried: tuple[Tried, ...]
    low: float | None = None
    high: float | None = None
    max_lr: float | None = None
    top: float | None = None
    cliff: float | None = None
    sd: float | None = None
    bound: float | None = None
    inconclusive: str | None = None
    learned: bool = True
    too_short: bool = False


def rate(k: float) -> float:
    """Return the learning rate at a place of the lattice.

    >>> rate(1), rate(-2)
    (0.2, 0.025)
    """
    return float(LATTICE * 2.0**k)


def place(lr: float) -> float:
    """Return the place of a learning rate on the lattice, a whole number for its own rates.

    >>> place(0.05)
    -1.0
    """
    return math.log2(lr / LATTICE)


def center(means: Mapping[int, float], delta: float) -> float:
    """Return the center of the good places, each weighted by how good it is.

    The weight of a place is its mean score above the mean of the best three less ``delta``, times
    the octaves that it represents.
    Noise moves this center less than it moves the best place or the ends of the interval, and it
    leans to the better end (tests/benchmarks/README.md). Where it would fall between two separate
    runs of good places, the best place is returned.

    Args:
        means: the mean score by place.
        delta: how far below the top a rate still counts as good.

    Returns:
        a place, not necessarily a whole number.

    >>> round(center({-2: 0.80, -1: 0.88, 0: 0.90, 1: 0.91, 2: 0.80}, 0.03), 2)
    0.33

    """
    places = sorted(means)
    best = max(places, key=lambda k: means[k])
    if len(places) == 1:
        return best
    least = statistics.fmean(sorted(means.values())[-3:]) - delta
    octaves = np.gradient(places)
    weights = [max(means[k] - least, 0.0) * width for k, width in zip(places, octaves, strict=True)]
    middle = float(np.average(places, weights=weights))
    beside = sorted(places, key=lambda k: abs(k - middle))[:2]
    return middle if statistics.fmean(means[k] for k in beside) > least else best


def crossing(means: Mapping[int, float], best: int, least: float, step: int) -> float:
    """Return where the mean score falls below ``least``, going outwards from the best place.

    Args:
        means: the mean score by place.
        best: where to begin.
        least: the least score of a good place.
        step: 1 to go up, -1 to go down.

    Returns:
        a place, interpolated; the last one if the score does not fall below ``least``.

    >>> round(crossing({0: 0.9, 1: 0.9, 2: 0.8}, 0, 0.85, 1), 6)
    1.5

    """
    inside = best
    for k in sorted((k for k in means if step * k > step * best), key=lambda k: step * k):
        if means[k] < least:
            part = (means[inside] - least) / (means[inside] - means[k])
            return inside + part * (k - inside)
        inside = k
    return inside
