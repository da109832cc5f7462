"""Do the statistics of two independent samples hold what they promise? Runs with known truth.

For each pair of distributions with equal means and each pair of sizes: how often the 95 % interval
covers the truth (Welch's t and the studentised bootstrap alone beside it), how often "better" or
"worse" is said (by the permutation test alone beside it), how often "equivalent" is said of arms
that differ by exactly the margin, and how often a difference is found that should be found with
80 % power.

    python tests/benchmarks/unpaired.py --output unpaired.json [--reps 2000]

A cell that is in the JSON file already is not made again. One core takes about ten minutes.
"""

from __future__ import annotations

import argparse
import json
import math
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats as distributions

from clr_cli.analysis import unpaired
from clr_cli.analysis.stats import LEVEL, Array

Sampler = Callable[[np.random.Generator, tuple[int, int]], Array]
RESAMPLES = 1_999


def normal(sd: float) -> tuple[Sampler, float]:
    return lambda rng, shape: sd * rng.standard_normal(shape), sd


def lognormal(scale: float) -> tuple[Sampler, float]:
    sd = scale * math.sqrt((math.exp(0.25) - 1) * math.exp(0.25))
    return lambda rng, shape: scale * (rng.lognormal(0, 0.5, shape) - math.exp(0.125)), sd


def exponential(scale: float) -> tuple[Sampler, float]:
    return lambda rng, shape: scale * (rng.exponential(size=shape) - 1), abs(scale)


def coarse(sd: float) -> tuple[Sampler, float]:
    return lambda rng, shape: np.round(sd * rng.standard_normal(shape)), math.hypot(sd, 12**-0.5)


# name -> samplers of the two arms, both with mean 0, and their standard deviations
PAIRS: dict[str, tuple[tuple[Sampler, float], tuple[Sampler, float]]] = {
    "normal": (normal(1), normal(1)),
    "normal, sd 3:1": (normal(3), normal(1)),
    "lognormal (skewness 1.75)": (lognormal(1), lognormal(1)),
    "lognormal, sd 3:1": (lognormal(3), lognormal(1)),
    "lognormal and normal, sd 2:1": (lognormal(1), normal(0.3)),
    "coarse (many ties)": (coarse(1), coarse(1)),
    "coarse, sd 3:1": (coarse(2), coarse(0.6)),
    "exponential (skewness 2)": (exponential(1), exponential(1)),
    "exponential, sd 3:1": (exponential(3), exponential(1)),
    "exponential and normal, sd 3:1": (exponential(1), normal(0.3)),
    "exponential, tails apart": (exponential(1), exponential(-1)),
}
SIZES = [(5, 5), (5, 10), (10, 5), (5, 30), (30, 5), (6, 6), (6, 30), (30, 6)]
SIZES += [(10, 10), (10, 30), (30, 10), (20, 20), (30, 30)]


def calibrate(name: str, sizes: tuple[int, int], reps: int) -> dict[str, Any]:
    """The rates of one pair of distributions and sizes, each between 0 and 1."""
    rng = np.random.default_rng([zlib.crc32(name.encode()), *sizes])
    (draw_one, sd_one), (draw_two, sd_two) = PAIRS[name]
    one, two = draw_one(rng, (reps, sizes[0])), draw_two(rng, (reps, sizes[1]))
    levels = (LEVEL, unpaired.claim_level(*sizes))
    low, high = unpaired.mean_intervals(one, two, levels, RESAMPLES)
    p = _p(one, two)
    wide = 20 * math.hypot(sd_one, sd_two)  # the worst case: nothing but the nearer end decides
    detectable = unpaired.smallest_detectable((sd_one, sd_two), sizes) or 0.0

    def said(words: set[str], shift: float, p: Array, margin: float) -> float:
        bounds = zip(p, low[1] + shift, high[1] + shift, strict=True)
        return sum(unpaired.claim(*sizes, *row, margin) in words for row in bounds) / reps

    return {
        "reps": reps,
        "coverage": _covers(low[0], high[0]),
        "welch": _covers(*_welch(one, two)),
        "bootstrap_t": _covers(*_bootstrap_t(one, two)),
        "permutation": float(np.mean(p <= 1 - LEVEL)),
        "false": said({"better", "worse"}, 0.0, p, 0.0),
        "equivalent": max(said({"equivalent"}, s, p, wide) for s in (wide, -wide)),
        "power": said({"better"}, detectable, _p(one + detectable, two), 0.0),
    }


def _p(one: Array, two: Array) -> Array:
    blocks = range(0, len(one), 200)  # for memory
    dealt = [unpaired.permutation_p(one[k : k + 200], two[k : k + 200], 4_000) for k in blocks]
    return np.concatenate(dealt)


def _covers(low: Array, high: Array) -> float:
    return float(np.mean((low <= 0) & (high >= 0)))


def _welch(one: Array, two: Array) -> tuple[Array, Array]:
    with np.errstate(invalid="ignore"):
        found = distributions.ttest_ind(one, two, axis=-1, equal_var=False)
        interval = found.confidence_interval(LEVEL)
    return interval.low, interval.high


def _bootstrap_t(one: Array, two: Array) -> tuple[Array, Array]:
    t = unpaired._bootstrap_t(one, two, RESAMPLES)
    error = np.sqrt(unpaired._square_error(one) + unpaired._square_error(two))
    mean = one.mean(-1) - two.mean(-1)
    tail = (1 - LEVEL) / 2
    ends = np.quantile(t, (tail, 1 - tail), axis=-1)
    return mean - ends[1] * error, mean - ends[0] * error


HEADER = (
    "| two arms | runs | interval covers | Welch's t alone | bootstrap-t alone | false better/worse"
    " | permutation alone | false equivalent | power at the smallest detectable |",
    "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
)


def key(name: str, sizes: tuple[int, int]) -> str:
    return f"{name} | {sizes[0]} + {sizes[1]}"


def row(name: str, cell: dict[str, Any]) -> str:
    bold = ("coverage", "false", "equivalent")
    order = ("coverage", "welch", "bootstrap_t", "false", "permutation", "equivalent", "power")
    texts = (f"{100 * cell[k]:.1f}" for k in order)
    shown = (f"**{text}**" if k in bold else text for k, text in zip(order, texts, strict=True))
    return f"| {name} | {' | '.join(shown)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--reps", type=int, default=2_000)
    parser.add_argument("--output", type=Path, default=Path("unpaired.json"))
    given = parser.parse_args()
    made = json.loads(given.output.read_text()) if given.output.exists() else {}
    print("\n".join(HEADER))
    for name in PAIRS:
        for sizes in SIZES:
            cell = key(name, sizes)
            if made.get(cell, {}).get("reps") != given.reps:
                made[cell] = calibrate(name, sizes, given.reps)
                given.output.write_text(json.dumps(made, indent=1) + "\n")
            print(row(cell, made[cell]), flush=True)


if __name__ == "__main__":
    main()
