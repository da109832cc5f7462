"""The interval that was chosen beside those that were not, on differences with known truth."""

from __future__ import annotations

import math
import warnings
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from draws import DISTRIBUTIONS
from scipy import stats

from clr_cli.analysis.stats import LEVEL, Array, mean_intervals


def coverage(draw: str, n: int, replications: int, resamples: int = 1_999) -> dict[str, float]:
    """How often each method's 95 % interval holds the truth."""
    sampler, _ = DISTRIBUTIONS[draw]
    rng = np.random.default_rng([zlib.crc32(draw.encode()), n])
    values = sampler(rng, (replications, n))
    low, high = mean_intervals(values, (LEVEL,), resamples)
    return {
        "reps": replications,
        "chosen": _held(low[0], high[0]),
        "student_t": _held(*_student_t(values)),
        "bootstrap_t": _held(*_bootstrap_t(values, resamples)),
        "bca": _held(*_bca(values, resamples)),
    }


def _held(low: Array, high: Array) -> float:
    return float(np.mean((low <= 0) & (high >= 0)))


def _student_t(values: Array) -> tuple[Array, Array]:
    n = values.shape[-1]
    half = stats.t.ppf((1 + LEVEL) / 2, n - 1) * values.std(axis=-1, ddof=1) / math.sqrt(n)
    return values.mean(axis=-1) - half, values.mean(axis=-1) + half


def _bootstrap_t(values: Array, resamples: int) -> tuple[Array, Array]:
    mean, n = values.mean(axis=-1), values.shape[-1]

    def t(sample: Array, axis: int) -> Array:
        centre, spread = sample.mean(axis=axis), sample.std(axis=axis, ddof=1)
        error = np.where(np.ptp(sample, axis=axis) > 0, spread / math.sqrt(n), math.inf)
        return np.asarray(centre / error)

    ratios = _bootstrap(values - mean[:, None], t, "percentile", resamples)
    error = values.std(axis=-1, ddof=1) / math.sqrt(n)
    return mean - ratios.high * error, mean - ratios.low * error


def _bca(values: Array, resamples: int) -> tuple[Array, Array]:
    interval = _bootstrap(values, np.mean, "BCa", resamples)
    # Undefined for equal values: scipy says NaN, and every such value is the estimate.
    centre = values.mean(axis=-1)
    low, high = (np.where(np.isnan(end), centre, end) for end in (interval.low, interval.high))
    return low, high


def _bootstrap(values: Array, statistic: Callable[..., Any], method: str, resamples: int) -> Any:
    with warnings.catch_warnings(), np.errstate(invalid="ignore"):
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        return stats.bootstrap(
            (values,),
            statistic,
            axis=-1,
            vectorized=True,
            n_resamples=resamples,
            batch=max(1, 4_000_000 // values.size),
            confidence_level=LEVEL,
            method=method,
            rng=np.random.default_rng(0),
        ).confidence_interval
