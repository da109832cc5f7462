"""Do the statistics of two independent samples hold what they promise? Runs with known truth.

For each pair of distributions with equal means and each pair of sizes: how often the 95 % interval
covers the truth (Welch's t and the studentised bootstrap alone beside it), how often "better" or
"worse" is said (by the permutation test alone beside it), how often "equivalent" is said of arms
that differ by exactly the margin, and how often a difference is found that should be found with
80 % power.

Then eight arms against one baseline, corrected as by Holm: how often any claim is false. And times
to a target, measured on a grid, in which runs may miss: how often the interval of the ratio covers
the true one.

    python tests/benchmarks/unpaired.py --output unpaired.json [--reps 2000]

A cell that is in the JSON file with as many replications is not made again. One core takes about
15 minutes. The README's table has 10,000 replications of four cells, made with `--only "exponential
(skewness 2) | 10 + " --reps 10000`.
"""

from __future__ import annotations

import argparse
import json
import math
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats as distributions

from clr_cli.analysis import unpaired
from clr_cli.analysis.stats import LEVEL, Array, holm
from clr_cli.analysis.times import unpaired_ratio

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


ARMS = 8
ARMS_SIZES = [(5, 10), (10, 10), (20, 20)]  # of each arm, of the baseline


def several(name: str, sizes: tuple[int, int], reps: int) -> dict[str, Any]:
    """How often any of ARMS equal arms is called better or worse; the baseline is the second."""
    rng = np.random.default_rng([zlib.crc32(name.encode()), ARMS, *sizes])
    (draw_one, _), (draw_two, _) = PAIRS[name]
    base = draw_two(rng, (reps, sizes[1]))
    levels = (1 - (1 - unpaired.claim_level(*sizes)) / ARMS,)
    ends, p = [], []
    for _ in range(ARMS):
        arm = draw_one(rng, (reps, sizes[0]))
        ends.append(unpaired.mean_intervals(arm, base, levels, RESAMPLES))
        p.append(_p(arm, base))
    false = [_any_claim(k, np.array(p), ends, sizes) for k in range(reps)]
    return {"reps": reps, "false": float(np.mean(false))}


def _any_claim(rep: int, p: Array, ends: list[tuple[Array, Array]], sizes: tuple[int, int]) -> bool:
    """As `analysis.comparisons` steps down, up to its first claim."""
    adjusted = holm(p[:, rep].tolist())
    for arm, (low, high) in enumerate(ends):
        bounds = float(low[0, rep]), float(high[0, rep])
        if unpaired.claim(*sizes, adjusted[arm], *bounds, 0.0, ARMS) in ("better", "worse"):
            return True
    return False


# name -> spread of the two arms' log times, steps between measurements, share of runs that miss
TIMES: dict[str, tuple[tuple[float, float], int, tuple[float, float]]] = {
    "no misses": ((0.05, 0.05), 25, (0.0, 0.0)),
    "no misses, spread 3:1": ((0.15, 0.05), 25, (0.0, 0.0)),
    "no misses, as coarse as the spread": ((0.01, 0.01), 25, (0.0, 0.0)),
    "1 in 10 misses in one arm, as coarse as the spread": ((0.01, 0.01), 25, (0.0, 0.1)),
    "3 in 10 miss in one arm": ((0.05, 0.05), 25, (0.3, 0.0)),
    "3 in 10 miss in both": ((0.05, 0.05), 25, (0.3, 0.3)),
    "2 in 10 miss in both, spread 3:1": ((0.15, 0.05), 25, (0.2, 0.2)),
}
TIME_SIZES = [(5, 5), (6, 6), (8, 8), (10, 10), (10, 30), (20, 20), (30, 30)]


def timed(name: str, sizes: tuple[int, int], reps: int) -> dict[str, Any]:
    """How often an interval covers the ratio of the true means (of logs) or medians."""
    spreads, grid, misses = TIMES[name]

    def draw(rng: np.random.Generator, shape: tuple[int, ...], side: int) -> Array:
        exact = 3_000 * np.exp(spreads[side] * rng.standard_normal(shape))
        measured = np.ceil(exact / grid) * grid
        return np.where(rng.random(shape) < misses[side], np.inf, measured)

    rng = np.random.default_rng([zlib.crc32(name.encode()), *sizes])
    many = [draw(rng, (1_000_000,), side) for side in range(2)]
    truth = float(np.median(many[0]) / np.median(many[1]))
    if not any(misses):
        truth = math.exp(np.log(many[0]).mean() - np.log(many[1]).mean())
    covers = []
    for _ in range(reps):
        sides = [draw(rng, (sizes[side],), side).tolist() for side in range(2)]
        found = unpaired_ratio(sides[0], sides[1], RESAMPLES)
        if not math.isnan(found.low):  # else too many missed on both sides
            covers.append(found.low <= truth * (1 + 1e-9) and truth * (1 - 1e-9) <= found.high)
    return {"reps": reps, "coverage": float(np.mean(covers))}


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


OTHER_HEADER = ("| eight arms, or times | runs | % |", "|---|--:|--:|")


def other_row(name: str, cell: dict[str, Any]) -> str:
    if "false" in cell:
        return f"| {name} | any false claim {100 * cell['false']:.1f} |"
    return f"| {name} | interval covers {100 * cell['coverage']:.1f} |"


def cells() -> dict[str, Callable[[int], dict[str, Any]]]:
    """Every cell by its name: what makes it, given the replications."""
    made: dict[str, Callable[[int], dict[str, Any]]] = {}
    for name in PAIRS:
        for sizes in SIZES:
            made[key(name, sizes)] = partial(calibrate, name, sizes)
    for name in PAIRS:
        for sizes in ARMS_SIZES:
            made[key(f"eight arms: {name}", sizes)] = partial(several, name, sizes)
    for name in TIMES:
        for sizes in TIME_SIZES:
            made[key(f"ratio of times: {name}", sizes)] = partial(timed, name, sizes)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--reps", type=int, default=2_000)
    parser.add_argument("--output", type=Path, default=Path("unpaired.json"))
    parser.add_argument("--only", default="", help="cells whose name holds this")
    given = parser.parse_args()
    made = json.loads(given.output.read_text()) if given.output.exists() else {}
    for cell, make in cells().items():
        if given.only in cell and made.get(cell, {}).get("reps", 0) < given.reps:
            made[cell] = make(given.reps)
            given.output.write_text(json.dumps(made, indent=1) + "\n")
    print("\n".join(table(made)))


SHOWN = [(5, 5), (5, 30), (10, 10), (10, 30), (30, 30)]  # in the README; the JSON has all


def table(made: dict[str, dict[str, Any]]) -> list[str]:
    """The cells as two Markdown tables, the first of SHOWN sizes only."""
    shown = [key(name, sizes) for name in PAIRS for sizes in SHOWN]
    second = [other_row(name, cell) for name, cell in made.items() if "welch" not in cell]
    return [*HEADER, *(row(name, made[name]) for name in shown), "", *OTHER_HEADER, *second]


if __name__ == "__main__":
    main()
