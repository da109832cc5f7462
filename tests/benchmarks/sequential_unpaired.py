"""How often a comparison of runs that share nothing, seeds added until it is decided, is wrong.

    python tests/benchmarks/sequential_unpaired.py --reps 1000 --output sequential_unpaired.json

Simulated runs of an arm and of a baseline go through the rule that ``clr compare --cmd --seeds
auto`` uses, look by look. Means are equal unless a difference d is given, in standard deviations of
a single run. A cell that is in the JSON file already is not made again.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clr_cli.analysis import sequential
from clr_cli.analysis.sequential_unpaired import Unpaired

CAP = 30
MARGIN = 0.001
Runs = NDArray[np.float64]
Draw = Callable[[np.random.Generator], Runs]


def _normal(spread: float = 1.0) -> Draw:
    return lambda rng: spread * rng.normal(size=CAP)


def _exponential(rng: np.random.Generator) -> Runs:
    return rng.exponential(size=CAP) - 1


def _skewed(rng: np.random.Generator) -> Runs:
    return rng.gamma(2, size=CAP) - 2


def _lognormal(rng: np.random.Generator) -> Runs:
    return rng.lognormal(sigma=0.75, size=CAP) - math.exp(0.75**2 / 2)


def _coarse(rng: np.random.Generator) -> Runs:
    values: Runs = np.round(rng.normal(size=CAP) * 2) / 2
    return values


# name: (the arms, the baseline, true difference, share of runs that fail)
CELLS: dict[str, tuple[list[Draw], Draw, float, float]] = {
    "normal": ([_normal()], _normal(), 0.0, 0.0),
    "spread 3 : 1": ([_normal(3)], _normal(), 0.0, 0.0),
    "spread 1 : 3": ([_normal()], _normal(3), 0.0, 0.0),
    "coarse": ([_coarse], _coarse, 0.0, 0.0),
    "skewed": ([_skewed], _skewed, 0.0, 0.0),
    "exponential": ([_exponential], _exponential, 0.0, 0.0),
    "lognormal": ([_lognormal], _lognormal, 0.0, 0.0),
    "exponential against normal": ([_exponential], _normal(), 0.0, 0.0),
    "normal, one run in ten fails": ([_normal()], _normal(), 0.0, 0.1),
    "spread 3 : 1, one run in ten fails": ([_normal(3)], _normal(), 0.0, 0.1),
    "four arms, normal": ([_normal()] * 4, _normal(), 0.0, 0.0),
    "four arms, exponential": ([_exponential] * 4, _exponential, 0.0, 0.0),
    **{f"normal, d = {d}": ([_normal()], _normal(), d, 0.0) for d in (1.0, 1.5, 2.0, 3.0)},
}


def experiment(
    rng: np.random.Generator, cell: tuple[list[Draw], Draw, float, float]
) -> dict[str, float]:
    """One simulated comparison: whether it claims wrongly or rightly, and the seeds it spends."""
    draws, baseline, truth, failing = cell
    arms = {str(k): draw(rng) + truth for k, draw in enumerate(draws)}
    base = baseline(rng)
    there = {arm: rng.random(CAP) >= failing for arm in [*arms, ""]}
    samples = {arm: (values[there[arm]], base[there[""]]) for arm, values in arms.items()}
    looks = sequential.looks(CAP)
    at = {
        arm: [(int(there[arm][:n].sum()), int(there[""][:n].sum())) for n in looks] for arm in arms
    }
    said = sequential.replay(samples, at, margin=MARGIN, cap=CAP, rule=Unpaired())
    for seen, decisions in zip(looks, said, strict=True):
        n = seen
        if all(decision.seeds is not None for decision in decisions.values()):
            break
    verdicts = [each.verdict for each in decisions.values() if each.verdict in ("better", "worse")]
    right = [verdict for verdict in verdicts if truth > 0 and verdict == "better"]
    return {"false": float(len(verdicts) > len(right)), "right": float(bool(right)), "seeds": n}


def measure(name: str, reps: int) -> dict[str, Any]:
    """The cell's rates over simulated comparisons; the same generator whatever else is run."""
    rng = np.random.default_rng([*name.encode()])
    results = [experiment(rng, CELLS[name]) for _ in range(reps)]
    rates = {key: float(np.mean([result[key] for result in results])) for key in results[0]}
    error = math.sqrt(max(rates["false"] * (1 - rates["false"]), 1 / reps) / reps)
    return {"reps": reps, **rates, "error": error}


HEADER = (
    "| cell | false claims % (± Monte-Carlo error) | right claims % | mean seeds |",
    "|---|--:|--:|--:|",
)


def row(name: str, cell: dict[str, Any]) -> str:
    false = f"{100 * cell['false']:.1f} ± {100 * cell['error']:.1f}"
    right = f"{100 * cell['right']:.1f}" if CELLS[name][2] else "–"
    return f"| {name} | {false} | {right} | {cell['seeds']:.1f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--reps", type=int, default=1000)
    parser.add_argument("--output", type=Path, default=Path("sequential_unpaired.json"))
    given = parser.parse_args()
    made = json.loads(given.output.read_text()) if given.output.exists() else {}
    print("\n".join(HEADER))
    for name in CELLS:
        if made.get(name, {}).get("reps") != given.reps:
            made[name] = measure(name, given.reps)
            given.output.write_text(json.dumps(made, indent=1) + "\n")
        print(row(name, made[name]), flush=True)


if __name__ == "__main__":
    main()
