"""Do the comparison's statistics hold what they promise? Simulated differences with known truth.

For each distribution of the paired differences and each number of seeds: how often the 95 %
interval covers the truth (the other candidate methods beside it), how often "better" or "worse" is
said of arms that are equal, how often "equivalent" is said of arms that differ by exactly the
margin, and how often a difference is found that should be found with 80 % power.

    python tests/benchmarks/calibration.py [--replications 2000] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import math
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from clr_cli.analysis.stats import (
    CLAIM_LEVEL,
    LEVEL,
    Array,
    claim,
    mean_intervals,
    sign_flip_p,
    smallest_detectable,
)

Sampler = Callable[[np.random.Generator, tuple[int, int]], Array]


def _normal(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    return rng.standard_normal(shape)


def _heteroscedastic(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    # one seed in five is three times as noisy
    return rng.standard_normal(shape) * np.where(rng.random(shape) < 0.2, 3.0, 1.0)


def _skewed_arms(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    # both arms fall short of a ceiling by an exponential amount, the baseline by half as much
    return (1 - rng.exponential(size=shape)) - 0.5 * (1 - rng.exponential(size=shape))


def _lognormal(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    return rng.lognormal(0.0, 0.5, shape) - math.exp(0.125)


def _exponential(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    return rng.exponential(size=shape) - 1


def _coarse(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    # a test set so small that most differences tie
    return np.round(rng.standard_normal(shape))


def _extreme(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    return rng.lognormal(0.0, 1.0, shape) - math.exp(0.5)


# name -> sampler of differences with mean 0, and their standard deviation
DISTRIBUTIONS: dict[str, tuple[Sampler, float]] = {
    "normal": (_normal, 1.0),
    "heteroscedastic": (_heteroscedastic, math.sqrt(2.6)),
    "skewed arms, unequal noise": (_skewed_arms, math.sqrt(1.25)),
    "lognormal (skewness 1.75)": (_lognormal, math.sqrt((math.exp(0.25) - 1) * math.exp(0.25))),
    "exponential (skewness 2)": (_exponential, 1.0),
    "coarse (many ties)": (_coarse, math.sqrt(1.083)),
    "beyond: lognormal (skewness 6)": (_extreme, math.sqrt((math.e - 1) * math.e)),
}
SEEDS = (3, 6, 10, 20)


def calibrate(
    name: str, n: int, replications: int, resamples: int = 1_999, *, methods: bool = True
) -> dict[str, Any]:
    """The rates of one distribution and number of seeds, each between 0 and 1.

    `methods` measures the methods that were not chosen as well.
    """
    sampler, sd = DISTRIBUTIONS[name]
    rng = np.random.default_rng([zlib.crc32(name.encode()), n])
    values = sampler(rng, (replications, n))
    low, high = mean_intervals(values, (LEVEL, CLAIM_LEVEL), resamples)
    p = _sign_flip(values, resamples)

    def said(verdicts: set[str], shift: float, p: Array, margin: float) -> float:
        bounds = zip(p, low[1] + shift, high[1] + shift, strict=True)
        return sum(claim(n, *row, margin) in verdicts for row in bounds) / replications

    wide = 20 * sd  # the worst case: nothing but the nearer end decides
    detectable = smallest_detectable(sd, n)
    return {
        "distribution": name,
        "n": n,
        "replications": replications,
        "coverage": {
            "chosen": _coverage(low[0], high[0]),
            **(_other_methods(values, p, resamples) if methods else {}),
        },
        "width_over_t": _width(low[0], high[0]) / _width(*_student_t(values)),
        "false_better_or_worse": said({"better", "worse"}, 0.0, p, 0.0),
        "false_by_sign_flip_alone": float(np.mean(p <= 1 - LEVEL)),
        "false_equivalent": max(said({"equivalent"}, s, p, wide) for s in (wide, -wide)),
        "detectable_over_sd": detectable and detectable / sd,
        "power_there": detectable
        and said({"better"}, detectable, _sign_flip(values + detectable, resamples), 0.0),
    }


def _other_methods(values: Array, p: Array, resamples: int) -> dict[str, float]:
    return {
        "student_t": _coverage(*_student_t(values)),
        "bootstrap_t": _coverage(*_bootstrap_t(values, resamples)),
        "bca": _coverage(*_bca(values, resamples)),
        "sign_flip": float(np.mean(p > 1 - LEVEL)),  # its inversion covers 0 just when p > 0.05
    }


def _sign_flip(values: Array, resamples: int) -> Array:
    return sign_flip_p(values, max(resamples, 2**10))


def _coverage(low: Array, high: Array) -> float:
    return float(np.mean((low <= 0) & (high >= 0)))


def _width(low: Array, high: Array) -> float:
    return float(np.median(high - low))


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


def table(cells: list[dict[str, Any]]) -> str:
    """The cells as a Markdown table, in percent."""
    head = (
        "| differences | n | coverage | Student's t | bootstrap-t | BCa | sign-flip | width / t "
        "| false better/worse | sign-flip alone | false equivalent | detectable / sd | power |"
    )
    lines = [head, "|" + "---|" * (head.count("|") - 1)]
    for cell in cells:
        rates = [*cell["coverage"].values()]
        row = [cell["distribution"], str(cell["n"]), *(f"{100 * x:.1f}" for x in rates)]
        row.append(f"{cell['width_over_t']:.2f}")
        for key in ("false_better_or_worse", "false_by_sign_flip_alone", "false_equivalent"):
            row.append(f"{100 * cell[key]:.1f}")
        if cell["detectable_over_sd"] is None:
            row += ["", ""]
        else:
            row += [f"{cell['detectable_over_sd']:.2f}", f"{100 * cell['power_there']:.0f}"]
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def main() -> None:
    """Print the table; write the cells as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replications", type=int, default=2_000)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    cells = [calibrate(name, n, arguments.replications) for name in DISTRIBUTIONS for n in SEEDS]
    print(table(cells))
    if arguments.json:
        arguments.json.write_text(json.dumps(cells, indent=1, allow_nan=False) + "\n")


if __name__ == "__main__":
    main()
