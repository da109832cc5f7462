"""The lattice of learning rates, and what a search on it asks for and comes to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

LATTICE = 0.1  # the rate at k = 0; k counts factors of 2
LOWEST, HIGHEST = -24, 10  # k: 6e-9 to 100
DELTA = 0.03  # of accuracy: rates within 3 points of the top are good
DISTANCE = 2.0  # factor that max_lr keeps from the lowest rate at which a probe failed
LEVEL = 0.95  # of the regret bound

Probe = tuple[int, int]  # k and the number of the seed
Scores = Mapping[Probe, float | None]


@dataclass(frozen=True)
class Scale:
    """What a score is; higher is better.

    delta: how far below the top a rate still counts as good. chance: the score of a model that
    has learned nothing, if that is known. images: on how many a score, being an accuracy, was
    measured, if it is one: its binomial noise is the least there can be.
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

    A failed probe's score is None; mean is None where one failed.
    """

    rate: float
    scores: tuple[float | None, ...]
    mean: float | None


@dataclass(frozen=True)
class RatesFound:
    """What a search comes to.

    tried: the rates that count, rising. low, high: the interval of rates within delta of the top.
    max_lr: its centre in log LR, or ``DISTANCE`` below the cliff where that is lower. top: the
    mean score of the best three rates. cliff: the lowest rate above the best from which on probes
    failed. sd: of one probe's score at one rate; bound: no rate tried beats max_lr by more (at
    ``LEVEL``, at the probes' length). inconclusive: why there is no answer; the numbers, if any,
    are then hints. learned: whether probes of this length have learned enough to be judged.
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


def rate(k: float) -> float:
    """The learning rate at a place of the lattice.

    >>> rate(1), rate(-2)
    (0.2, 0.025)
    """
    return float(LATTICE * 2.0**k)


def place(lr: float) -> float:
    """The place of a learning rate on the lattice, a whole number for its own rates.

    >>> place(0.05)
    -1.0
    """
    return math.log2(lr / LATTICE)
