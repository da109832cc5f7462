"""Simulated comparisons with known truth, judged by the functions that ``clr compare`` uses.

Differences are in standard deviations of a run (of a paired difference where runs are paired).
`claims.py` chooses the cells and prints the tables.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clr_cli.analysis import best, designs, planning, stuck, verdicts
from clr_cli.analysis.looks import (
    CLAIMED,
    FIRST_BASELINE,
    FIRST_RUNS,
    Progress,
    next_runs,
    weight,
)
from clr_cli.analysis.rule import Bools, Estimate, Moments

try:
    import before
except ImportError:  # the rule that was replaced is gone: its numbers stay in the JSON file
    before = None  # type: ignore[assignment]

Array = NDArray[np.float64]
Rng = np.random.Generator
Sampler = Callable[[Rng, tuple[int, ...]], Array]
REPS, CAP = 2_000, 30
WIDE_BASE = "normal, baseline 3 times wider"


def _exponential(rng: Rng, shape: tuple[int, ...]) -> Array:
    return rng.exponential(size=shape) - 1


def _lognormal(rng: Rng, shape: tuple[int, ...]) -> Array:
    return (rng.lognormal(0.0, 0.5, shape) - math.exp(0.125)) / 0.6039


def _normal(rng: Rng, shape: tuple[int, ...]) -> Array:
    return rng.standard_normal(shape)


def _two_humps(rng: Rng, shape: tuple[int, ...]) -> Array:
    return np.where(rng.random(shape) < 0.5, -1.0, 1.0) + 0.15 * rng.standard_normal(shape)


def _t3(rng: Rng, shape: tuple[int, ...]) -> Array:
    return rng.standard_t(3, shape) / math.sqrt(3)


def _blind(rng: Rng, shape: tuple[int, ...]) -> Array:  # arms that differ, seeds that do nothing
    return np.broadcast_to(rng.standard_normal((*shape[:-1], 1)), shape).copy()


def _wider(sampler: Sampler, times: float) -> Sampler:
    return lambda rng, shape: times * sampler(rng, shape)


# name -> samplers of an arm and of the baseline, both of mean 0
NOISES: dict[str, tuple[Sampler, Sampler]] = {
    "normal": (_normal, _normal),
    "normal, sd 3:1": (_wider(_normal, 3), _normal),
    "lognormal": (_lognormal, _lognormal),
    "exponential": (_exponential, _exponential),
    "exponential, 3:1": (_wider(_exponential, 3), _exponential),
    "exponential and normal, 3:1": (_exponential, _wider(_normal, 1 / 3)),
    WIDE_BASE: (_normal, _wider(_normal, 3)),
    "t, 3 degrees": (_t3, _t3),
    "two humps": (_two_humps, _two_humps),
    "seed-blind": (_blind, _blind),
}


@dataclass(frozen=True)
class Cell:
    """One kind of comparison. effects: of each arm. base: runs of the baseline; auto: grown.

    auto: "" for sizes fixed in advance, "even" for a look at every run, "spent" for runs that go
    where they tell most.
    """

    paired: bool
    noise: str
    runs: int
    base: int
    effects: tuple[float, ...] = (0.0,)
    auto: str = ""
    reps: int = REPS
    before: int = 300

    @property
    def name(self) -> str:
        """Its key in the JSON file."""
        size = f"{self.runs}" if self.paired else f"{self.runs} + {self.base}"
        size = f"auto {self.auto}" if self.auto else size
        effects = ",".join(f"{d:g}" for d in self.effects)
        few = len(set(self.effects)) == 1
        effects = f"{len(self.effects)} x {self.effects[0]:g}" if few else effects
        return f"{'paired' if self.paired else 'unpaired'} | {self.noise} | {size} | {effects}"


def draw(cell: Cell) -> tuple[Array, Array]:
    """(reps, K, runs) and (reps, base); paired: differences, against zero."""
    rng = np.random.default_rng([*cell.name.encode()])
    arm, base = NOISES[cell.noise]
    count = len(cell.effects)
    x = arm(rng, (cell.reps, count, cell.runs)) + np.array(cell.effects)[:, None]
    y = np.zeros((cell.reps, cell.runs)) if cell.paired else base(rng, (cell.reps, cell.base))
    return x, y


def _estimate(cell: Cell, x: Array, y: Array) -> Estimate:
    return (designs.paired if cell.paired else designs.unpaired)(x, y)


def _rates(effects: Sequence[float], low: Array, high: Array, claimed: Array) -> dict[str, float]:
    truth = np.array(effects)
    wrong = claimed & np.where(low > 0, truth <= 0, truth >= 0)
    return {
        "false": float(wrong.any(axis=-1).mean()),
        "right": float((claimed & ~wrong)[..., -1].mean()),
        "covered": float(((low <= truth) & (high >= truth)).mean()),
    }


def measure(cell: Cell) -> dict[str, Any]:
    """The cell's rates: any false claim, the last arm's true claim, coverage, seeds and runs."""
    x, y = draw(cell)
    if cell.auto == "spent":
        made = _spent(cell, x, y)
    elif cell.auto:
        made = _even(cell, x, y)
    else:
        said = verdicts.claims(_estimate(cell, x, y))
        made = _rates(cell.effects, said.low, said.high, said.claimed)
        made["p agrees"] = _agrees(cell, x[:200], y[:200])
    if before is not None and cell.before:
        some = slice(0, cell.before)
        made["before"] = before.judge(x[some], y[some], cell.paired, bool(cell.auto), cell.effects)
    return {"reps": cell.reps, **made}


def _agrees(cell: Cell, x: Array, y: Array) -> float:
    estimate = _estimate(cell, x, y)
    said, (_, adjusted) = verdicts.claims(estimate), verdicts.p_holm(estimate)
    return float(((adjusted <= 0.05) == said.claimed).mean())


def _ended(cell: Cell, progress: Progress, runs: Array, base: Array) -> dict[str, Any]:
    claimed = progress.state == CLAIMED
    made = _rates(cell.effects, progress.low, progress.high, claimed)
    seeds = np.maximum(runs.max(axis=-1), 0)
    return {**made, "seeds": float(seeds.mean()), "runs": float((runs.sum(-1) + base).mean())}


def _looked_at(cell: Cell, x: Array, y: Array) -> Progress:
    progress = Progress.begin(x.shape[:-1])
    for n in range(6, CAP + 1):
        stop = np.where(progress.open, n, progress.at)
        there = np.where(np.arange(n) < stop[..., None], x[..., :n], np.nan)
        progress = progress.look(_estimate(cell, there, y[:, :n]), n, cap=CAP)
    return progress


def _even(cell: Cell, x: Array, y: Array) -> dict[str, Any]:
    progress = _looked_at(cell, x, y)
    runs = np.where(progress.open, CAP, progress.at)
    return _ended(cell, progress, runs, runs.max(axis=-1))


def _spent(cell: Cell, x: Array, y: Array) -> dict[str, Any]:
    """Unpaired runs that go where they tell most; the rounds count as looks at 6, 7, ... runs.

    A side gets at most CAP. One that is full is looked at on, with the same runs, up to the last
    look, which decides at the widest level: that tells as much as the last look alone.
    """
    progress = Progress.begin(x.shape[:-1])
    n = np.full(x.shape[:-1], FIRST_RUNS)
    m = np.full(x.shape[:1], FIRST_BASELINE)
    for look in range(6, CAP + 1):
        there = np.where(np.arange(x.shape[-1]) < n[..., None], x, np.nan)
        base = np.where(np.arange(y.shape[-1]) < m[..., None], y, np.nan)
        progress = progress.look(designs.unpaired(there, base), look, cap=CAP)
        arms, baseline = Moments.of(there), Moments.of(base)
        count = progress.open.sum(axis=-1)
        for k in range(1, x.shape[-2] + 1):  # as many runs as there are open arms, and one
            mine = count == k
            room = CAP - np.concatenate([n, m[:, None]], axis=-1)
            more, more_base = next_runs(arms, baseline, progress.open & mine[:, None], k + 1, room)
            n += more
            m += more_base
    return _ended(cell, progress, n.astype(float), m.astype(float))


# --- other questions --------------------------------------------------------------------------


def rarely_stuck(share: float, n: int) -> dict[str, Any]:
    """Accuracies of 90 ± 1 %, but runs of one arm end at chance, 10 %, with this probability.

    False claims. kept: where such runs stay among the values, and the arm's mean is the baseline's
    for all that. far: of arms that are equal where they train, runs that `stuck_runs` names set
    apart. chance: the same where chance is known. missed: stuck runs that go unnamed as far.
    """
    rng = np.random.default_rng([n, int(100 * share)])
    x = 0.9 + 0.01 * rng.standard_normal((REPS, 1, n))
    y = 0.9 + 0.01 * rng.standard_normal((REPS, n))
    off = rng.random(x.shape) < share
    x = np.where(off, 0.1 + 0.003 * rng.standard_normal(x.shape), x)
    samples = {"kept": x + 0.8 * share, "far": x.copy(), "chance": x.copy()}
    for key, chance in (("far", None), ("chance", 0.1)):
        for row in samples[key][:, 0]:
            row[[*stuck.stuck_runs(row.tolist(), chance=chance)]] = np.nan
    missed = (off & ~np.isnan(samples["far"])).sum() / max(off.sum(), 1)
    claimed = {k: verdicts.claims(designs.unpaired(v, y)).claimed for k, v in samples.items()}
    return {**{k: float(v.mean()) for k, v in claimed.items()}, "missed": float(missed)}


def named_falsely(noise: str, n: int) -> dict[str, Any]:
    """The share of arms without a stuck run in which one is named."""
    rng = np.random.default_rng([n])
    rows = NOISES[noise][0](rng, (5 * REPS, n)).tolist()
    return {"named": float(np.mean([bool(stuck.stuck_runs(row)) for row in rows]))}


def chosen_after_looking(arms: int, runs: int = 10) -> dict[str, Any]:
    """False claims of the best against the worst of equal arms: bare, and corrected."""
    rng = np.random.default_rng(arms)
    x = rng.standard_normal((REPS, arms, runs))
    order = x.mean(axis=-1).argsort(axis=-1)[..., None]
    worst, top = (np.take_along_axis(x, order[:, [k]], axis=1) for k in (0, -1))
    estimate = designs.unpaired(top, worst[:, 0])
    count = verdicts.comparisons_after_looking(arms, baseline_chosen=True)
    return {
        "bare": float(verdicts.claims(estimate).claimed.mean()),
        "corrected": float(verdicts.claims(estimate, comparisons=count).claimed.mean()),
    }


def best_of(arms: int, runs: int, ahead: float, paired: bool, noise: str) -> dict[str, Any]:
    """How often the best arm is in the set, the set's size, and the winner's optimism."""
    rng = np.random.default_rng([arms, runs, int(paired)])
    truth = np.zeros(arms)
    truth[0] = ahead
    x = NOISES[noise][0](rng, (REPS, arms, runs)) + truth[:, None]
    keep = best.could_be_best(x, designs.paired if paired else designs.unpaired)
    winner = x.mean(axis=-1).argmax(axis=-1)
    excess = x.mean(axis=-1).max(axis=-1) - truth[winner]
    said = [float(best.optimism(row, paired=paired)) for row in x[:300]]
    held = float(keep[:, 0].mean())
    size = float(keep.sum(axis=-1).mean())
    return {
        "held": held,
        "size": size,
        "excess": float(excess.mean()),
        "told": float(np.mean(said)),
    }


def blocks(effects: Sequence[float], runs: int, noise: str) -> dict[str, Any]:
    """Several data sets: better on all of them, and the interval of the mean difference."""
    rng = np.random.default_rng([runs, len(effects)])
    x = NOISES[noise][0](rng, (REPS, len(effects), runs)) + np.array(effects)[:, None]
    estimate = _alone(x)
    return _over_blocks(effects, estimate, estimate.interval()[0] > 0, 1.0)


def blocks_by_looks(effects: Sequence[float], noise: str) -> dict[str, Any]:
    """The same where each data set gets runs until it is decided, as `analysis.across` judges it.

    The mean is that of the runs that decided, at the level of the strictest of their looks.
    """
    x, _ = draw(Cell(True, noise, CAP, CAP, tuple(effects), "even"))
    alone = x.reshape(-1, 1, CAP)
    progress = _looked_at(Cell(True, noise, CAP, CAP), alone, np.zeros((len(alone), CAP)))
    at = np.where(progress.open, CAP, progress.at).reshape(x.shape[:-1])
    claimed = (progress.state == CLAIMED) & (progress.low > 0)
    weights = np.vectorize(weight)(at).min(axis=-1, keepdims=True)
    there = np.where(np.arange(CAP) < at[..., None], x, np.nan)
    return _over_blocks(effects, _alone(there), claimed.reshape(at.shape), weights)


def _alone(x: Array) -> Estimate:
    """Differences (reps, blocks, runs) -> estimates (reps, blocks), each of a comparison alone."""
    estimate = designs.paired(x[:, :, None], np.zeros_like(x))
    return Estimate(**{key: value[..., 0] for key, value in vars(estimate).items()})


def _over_blocks(
    effects: Sequence[float], estimate: Estimate, better: Bools, weights: Array | float
) -> dict[str, Any]:
    """Estimates and claims of each data set -> the rates over all of them."""
    mean = vars(designs.average(estimate)).items()
    said = verdicts.claims(Estimate(**{k: v[..., None] for k, v in mean}), weight=weights)
    truth = float(np.mean(effects))
    return {
        "all": float(better.all(axis=-1).mean()),
        "covered": float(((said.low <= truth) & (said.high >= truth)).mean()),
        "mean claimed": float((said.low > 0).mean()),
    }


def powers(paired: bool, runs: int, base: int, arms: int, effect: float) -> dict[str, Any]:
    """The power that is said beside what is simulated."""
    cell = Cell(paired, "normal", runs, base, (effect,) * arms)
    said = verdicts.claims(_estimate(cell, *draw(cell)))  # every arm differs: Holm may step
    alone = _estimate(cell, *draw(cell)).interval(0.05 / arms)[0] > 0
    sizes = (runs,) if paired else (runs, base)
    told = planning.power(effect, (1.0,) * len(sizes), sizes, comparisons=arms)
    return {"said": told, "simulated": float(alone.mean()), "stepped": float(said.claimed.mean())}
