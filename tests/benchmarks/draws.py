"""Simulated differences of pairs with known truth, by the shape of their distribution."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Shape = tuple[int, ...]
Sampler = Callable[[np.random.Generator, Shape], Array]
LOST = 0.1  # of pairs, where some fail to train


def _normal(rng: np.random.Generator, shape: Shape) -> Array:
    return rng.standard_normal(shape)


def _heteroscedastic(rng: np.random.Generator, shape: Shape) -> Array:
    # one seed in five is three times as noisy
    return rng.standard_normal(shape) * np.where(rng.random(shape) < 0.2, 3.0, 1.0)


def _coarse(rng: np.random.Generator, shape: Shape) -> Array:
    # a test set so small that most differences tie
    return np.round(rng.standard_normal(shape))


def _failing(rng: np.random.Generator, shape: Shape) -> Array:
    # not a number: a run of the pair fails to train
    return np.where(rng.random(shape) < LOST, math.nan, rng.standard_normal(shape))


def _skewed_arms(rng: np.random.Generator, shape: Shape) -> Array:
    # both arms fall short of a ceiling by an exponential amount, the baseline by half as much
    return (1 - rng.exponential(size=shape)) - 0.5 * (1 - rng.exponential(size=shape))


def _lognormal(rng: np.random.Generator, shape: Shape) -> Array:
    return rng.lognormal(0.0, 0.5, shape) - math.exp(0.125)


def _exponential(rng: np.random.Generator, shape: Shape) -> Array:
    return rng.exponential(size=shape) - 1


def _extreme(rng: np.random.Generator, shape: Shape) -> Array:
    return rng.lognormal(0.0, 1.0, shape) - math.exp(0.5)


# name -> sampler of differences with mean 0, and their standard deviation
DISTRIBUTIONS: dict[str, tuple[Sampler, float]] = {
    "normal": (_normal, 1.0),
    "heteroscedastic": (_heteroscedastic, math.sqrt(2.6)),
    "coarse (many ties)": (_coarse, math.sqrt(1.083)),
    "normal, 10 % of pairs fail": (_failing, 1.0),
    "skewed arms, unequal noise": (_skewed_arms, math.sqrt(1.25)),
    "lognormal (skewness 1.75)": (_lognormal, math.sqrt((math.exp(0.25) - 1) * math.exp(0.25))),
    "exponential (skewness 2)": (_exponential, 1.0),
    "beyond: lognormal (skewness 6)": (_extreme, math.sqrt((math.e - 1) * math.e)),
}
SYMMETRIC = tuple(DISTRIBUTIONS)[:4]
