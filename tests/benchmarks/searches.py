"""What the rate search is worth on known curves, with noise drawn: seconds instead of hours.

The curves are the truths that finders.py has measured (test accuracy of whole runs, by rate), and
those of a constant rate under AdamW (kept trials; above .025 assumed). A probe's score is the
curve, between two rates by interpolation in log LR, plus normal noise; at most 20 % is chance.

    python tests/benchmarks/searches.py [--reps 300]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from clr_cli.analysis.lattice import DELTA, Probe, ProbeRequest, RatesFound, Scale, place
from clr_cli.analysis.probing import search

FINDERS = Path(__file__).parents[2] / "outputs/reference/finders"
CELLS = ("fashion-cnn", "svhn-cnn", "fashion-adamw", "fashion-plain")
NOISE = 0.012  # of a probe; of a constant rate under AdamW .05
CONSTANT = dict(
    zip(
        (1e-5, 1e-4, 4e-4, 8e-4, 0.0016, 0.0031, 0.0063, 0.0125, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8),
        (0.2, 0.6, 0.78, 0.8, 0.83, 0.845, 0.855, 0.86, 0.82, 0.74, 0.66, 0.55, 0.4, 0.2),
        strict=True,
    )
)


class Curve:
    """Accuracy by place; it falls off below the lowest rate known, and is chance above them."""

    def __init__(self, truth: Mapping[float, float]) -> None:
        self.places, self.values = [place(rate) for rate in truth], [*truth.values()]

    def at(self, k: float) -> float:
        if k > self.places[-1]:
            return 0.1
        below = max(0.0, self.places[0] - k)
        return max(0.1, float(np.interp(k, self.places, self.values)) - 0.04 * below**1.3)


def searched(curve: Curve, start: float, noise: float, world: int) -> tuple[RatesFound, int]:
    """Return what a search comes to, and the probes it took."""
    scores: dict[Probe, float | None] = {}
    while isinstance(
        asked := search(scores, start, Scale(DELTA, chance=0.1, images=1000)), ProbeRequest
    ):
        for k, seed in asked.probes:
            drawn = np.random.default_rng([k + 100, seed, world]).normal()
            score = curve.at(k)
            scores[k, seed] = score if score <= 0.2 else max(0.1, score + noise * drawn)
    return asked, len(scores)


def row(name: str, curve: Curve, start: float, noise: float, reps: int) -> list[str]:
    results = [searched(curve, start, noise, world) for world in range(reps)]
    rates = np.array([found.max_lr for found, _ in results if found.max_lr is not None])
    regrets = [100 * (max(curve.values) - curve.at(place(rate))) for rate in rates]
    spread = [f"{value:.2f}" for value in np.quantile(regrets, [0.5, 0.9, 1.0])]
    without = f"{100 * (1 - len(rates) / reps):.1f}"
    probes = f"{np.mean([count for _, count in results]):.1f}"
    return [name, f"{start:g}", *spread, f"{np.std(np.log10(rates)):.2f}", without, probes]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reps", type=int, default=300)
    reps = parser.parse_args().reps
    head = ["curve", "start", "regret: median", "90 %", "most", "sd of log LR"]
    lines = [[*head, "no rate, %", "probes"], ["---", *["--:"] * 7]]
    for cell in CELLS:
        truth = json.loads((FINDERS / f"{cell}.json").read_text(encoding="utf-8"))["truth"]
        curve = Curve({float(rate): percent / 100 for rate, percent in truth.items()})
        start = 0.0005 if cell == "fashion-adamw" else 0.05
        lines.append(row(cell.replace("-", "/"), curve, start, NOISE, reps))
    for start in (0.05, 0.003):
        lines.append(row("constant, AdamW", Curve(CONSTANT), start, 0.05, reps))
    print(*(f"| {' | '.join(line)} |" for line in lines), sep="\n")


if __name__ == "__main__":
    main()
