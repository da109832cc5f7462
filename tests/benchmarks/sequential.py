"""How often a comparison that adds seeds until it is decided says something false.

    python tests/benchmarks/sequential.py --reps 1000 --output sequential.json

Simulated paired differences with known truth (in standard deviations) go through the rule that
``clr compare`` uses (`analysis.sequential.decide`), look by look. A cell that is in the JSON file
already is not made again, so that a run that was stopped goes on. "naive": the same looks, each
judged by the rule for seeds fixed in advance.
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

from clr_cli.analysis import sequential, stats

MARGIN = 0.001  # standard deviations: nothing is equivalent here but for the equivalence cells
CAP = 30
Draw = Callable[[np.random.Generator, int], NDArray[np.float64]]


def _coarse(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Accuracies on a small test set: few different values, many ties."""
    values: NDArray[np.float64] = np.round(rng.normal(size=n) * 2) / 2
    return values


DRAWS: dict[str, Draw] = {
    "normal": lambda rng, n: rng.normal(size=n),
    "spread differs by seed": lambda rng, n: rng.normal(size=n) * rng.choice([0.3, 1.5], size=n),
    "skewed arms": lambda rng, n: rng.gamma(2, size=n) - rng.gamma(2, size=n),
    "coarse": _coarse,
    "lognormal": lambda rng, n: rng.lognormal(sigma=0.75, size=n) - math.exp(0.75**2 / 2),
    "exponential": lambda rng, n: rng.exponential(size=n) - 1,
}
GROWING = list(range(6, CAP + 1, 2))  # a fixed number of seeds that grows after each look

# name: (distribution, true difference, arms, how)
CELLS: dict[str, tuple[str, float, int, str]] = {
    **{f"auto, {name}": (name, 0.0, 1, "auto") for name in DRAWS},
    **{f"growing, {name}": (name, 0.0, 1, "growing") for name in ("normal", "exponential")},
    **{
        f"growing, four arms, {name}": (name, 0.0, 4, "growing")
        for name in ("normal", "exponential")
    },
    "naive, normal": ("normal", 0.0, 1, "naive"),
    "naive, exponential": ("exponential", 0.0, 1, "naive"),
    "auto, four arms, normal": ("normal", 0.0, 4, "auto"),
    "auto, four arms, exponential": ("exponential", 0.0, 4, "auto"),
    **{f"auto, normal, d = {d}": ("normal", d, 1, "auto") for d in (0.5, 1.0, 1.5, 3.0)},
}


def experiment(rng: np.random.Generator, cell: tuple[str, float, int, str]) -> dict[str, float]:
    """One simulated comparison: whether it claims wrongly or rightly, and the seeds it spends."""
    name, truth, arms, how = cell
    draws = {str(k): DRAWS[name](rng, CAP) + truth for k in range(arms)}
    looks = sequential.looks(CAP) if how == "auto" else GROWING
    verdicts: dict[str, str] = {}
    for i, n in enumerate(looks):
        if how == "naive":
            values = draws["0"][:n]
            low, high = stats.mean_intervals(values, (stats.CLAIM_LEVEL,))
            said = stats.claim(n, float(stats.sign_flip_p(values)), low[0], high[0], MARGIN)
            verdicts, done = {"0": said}, said in ("better", "worse")
        else:
            decisions = sequential.decide(
                {arm: values[:n] for arm, values in draws.items()},
                dict.fromkeys(draws, looks[: i + 1]),
                margin=MARGIN,
                cap=CAP if how == "auto" else None,
            )
            verdicts = {arm: decision.verdict for arm, decision in decisions.items()}
            done = all(decision.seeds is not None for decision in decisions.values())
        if done:
            break
    claims = [verdict for verdict in verdicts.values() if verdict in ("better", "worse")]
    right = [verdict for verdict in claims if truth > 0 and verdict == "better"]
    return {"false": float(len(claims) > len(right)), "right": float(bool(right)), "seeds": n}


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
    right = f"{100 * cell['right']:.1f}" if CELLS[name][1] else "–"
    return f"| {name} | {false} | {right} | {cell['seeds']:.1f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--reps", type=int, default=1000)
    parser.add_argument("--output", type=Path, default=Path("sequential.json"))
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
