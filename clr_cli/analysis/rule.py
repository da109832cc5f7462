"""The confidence interval of a difference that is the decision: one closed form per design.

A t interval whose long-tail end is moved outward by the skewness of the sample (Johnson 1978,
"Modified t tests and confidence intervals for asymmetrical populations"; Hall 1992, "On the removal
of skewness by transformation"), tightened for few runs. Nothing is resampled, so no verdict depends
on a generator. The intervals of a comparison are nested in their level, and p is their dual: the
smallest level (1 - confidence) whose interval excludes zero.

`designs` makes the estimates, for paired runs, two samples and several arms.
The constants were chosen by simulation; tests/benchmarks/claims.py measures what they give.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

ALPHA = 0.05
LEAST_LEVEL = 1e-15
_Z95 = 1.959964
_ROUNDING = 1e-12  # relative: a smaller spread is rounding


@dataclass(frozen=True)
class Moments:
    """What an interval needs of a sample, for any leading axes.

    n: values that are not NaN. variance: with n - 1. skew: the usual G1 (Joanes & Gill 1998).
    least, most: the extremes.
    """

    n: Array
    mean: Array
    variance: Array
    skew: Array
    least: Array
    most: Array

    @staticmethod
    def of(values: ArrayLike, size: Array | float = 0.0) -> Moments:
        """Return the moments along the last axis; a spread of rounding errors is none.

        size: of the numbers that the values are differences of, for what rounding can be.
        """
        x = np.asarray(values, dtype=np.float64)
        present = ~np.isnan(x)
        n = present.sum(axis=-1).astype(np.float64)
        least = np.min(x, axis=-1, initial=np.inf, where=present)
        most = np.max(x, axis=-1, initial=-np.inf, where=present)
        mean = np.sum(x, axis=-1, where=present) / np.maximum(n, 1)
        centred = np.where(present, x - mean[..., None], 0.0)
        m2 = (centred**2).sum(axis=-1) / np.maximum(n, 1)
        m3 = (centred**3).sum(axis=-1) / np.maximum(n, 1)
        size = np.maximum(size, np.maximum(np.abs(least), np.abs(most)))
        spread = (n > 1) & (most - least > _ROUNDING * size)
        safe = np.where(spread, m2, 1.0)
        variance = np.where(spread, m2 * n / np.maximum(n - 1, 1), 0.0)
        skew = np.where(
            spread & (n > 2), np.sqrt(n * (n - 1)) / np.maximum(n - 2, 1) * m3 / safe**1.5, 0.0
        )
        return Moments(n, np.where(n > 0, mean, np.nan), variance, skew, least, most)


@dataclass(frozen=True)
class Estimate:
    """Differences of means with all that their intervals need; arrays of one shape (..., K).

    mean, error, freedom: the difference, its standard error and degrees of freedom.
    push_arm, push_base: (candidates, ..., K), third cumulants of the two sides over error**3; each
    end of the interval takes the candidate that moves it outward most.
    share: of the degrees of freedom, what is the arm's own; the others are borrowed.
    chance: the share of equally likely sign flips or deals that lie as far apart as can be.
    blind: the seed changes nothing: no value varies, so that nothing is known of the noise.
    enough: whether there are runs to say anything. apart: (2, ..., K), the ends of the differences
    between any two runs of the two samples; infinite where they mean nothing.
    """

    mean: Array
    error: Array
    freedom: Array
    push_arm: Array
    push_base: Array
    share: Array
    chance: Array
    blind: Bools
    enough: Bools
    apart: Array

    def interval(self, level: ArrayLike = ALPHA) -> tuple[Array, Array]:
        """Return the ends of the interval of confidence 1 - level; infinite if nothing is known.

        Differences that are all equal, of runs that vary, have a point as interval where that many
        equal signs are rarer than the level.

        Args:
            level: two-sided, from LEAST_LEVEL to 1, broadcast against (..., K).
        """
        lev = np.asarray(level, dtype=np.float64)
        z = -special.ndtri(lev / 2)
        c = -special.stdtrit(self.freedom, lev / 2)
        quadratic = (1 + 2 * c**2) / 6
        own = np.maximum(0.0, ((3 * self.share - 1) * c**2 + 1) / 6)
        # Beyond 5 % a tail needs more than the first order of the skewness: fitted to exponential
        # samples. A symmetric one does so too if it has few degrees of freedom of its own.
        steeper = 1 + np.maximum(0.0, z - _Z95)
        few = 12 / np.maximum(self.freedom - 1, 1) / np.sqrt(self.freedom + 1)
        wider = np.where(self.share == 1, few * np.maximum(0.0, z - 2.3) * quadratic, 0.0)
        push = steeper * (self.push_arm * own - self.push_base * quadratic)
        up = c + np.maximum(0.0, push.max(axis=0) + wider)
        down = c + np.maximum(0.0, -push.min(axis=0) + wider)
        low, high = self.mean - down * self.error, self.mean + up * self.error
        # Two samples that lie wholly apart differ; `enough` runs seldom do so by chance. Only at
        # the 5 % of a single arm: eight arms, skewed and wide, lie apart in 25 %.
        single = lev >= ALPHA * (1 - 1e-9)
        low = np.where(single, np.maximum(low, self.apart[0]), low)
        high = np.where(single, np.minimum(high, self.apart[1]), high)
        known = self.enough & ~self.blind & ((self.error > 0) | (self.chance <= lev))
        return np.where(known, low, -np.inf), np.where(known, high, np.inf)

    def p(self) -> Array:
        """Return the smallest level, from 1e-15, whose interval excludes zero; 1 if none does."""
        low, high = np.full(self.mean.shape, np.log(LEAST_LEVEL)), np.zeros(self.mean.shape)
        for _ in range(50):
            middle = (low + high) / 2
            ends = self.interval(np.exp(middle))
            excluded = (ends[0] > 0) | (ends[1] < 0)
            low, high = np.where(excluded, low, middle), np.where(excluded, middle, high)
        # At a step of the dual (ALPHA, chance) the level itself excludes zero: it is p.
        return np.where(np.isclose(high, np.log(ALPHA), rtol=0, atol=1e-9), ALPHA, np.exp(high))
