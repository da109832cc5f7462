"""What people do beyond one comparison: several arms, failed runs, tuning; how often is it wrong?

    python tests/benchmarks/practice.py --reps 500 --output practice.json

Simulated runs with known truth go through `analysis.summary.summarize`, the whole way that a
comparison takes. A cell that is in the JSON file already is not made again.

- "arms": equal arms against a baseline, seeds fixed in advance. False: any is better or worse.
- "failures": an arm that is 1 point better where it trains (sd .5), and fails to train with
  probability p. False: called better, with a failed run that the sentence does not tell of.
- "tuned": two equal methods whose accuracy falls by .5 k**2 points, k steps of a grid of 5 rates
  away from the best. Each takes the rate that looks best with noise of sd 1.8 points, over 1 or 3
  seeds; compared with noise of sd .5. False: called different.
- "margin": a true difference of exactly the margin. False: called equivalent.
- "A/A": one real pool of 48 small runs of one arm; each experiment draws two disjoint sets of
  seeds from it and compares them, with all that a page needs.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clr_cli.analysis.summary import summarize
from clr_cli.paths import METRICS, RESULT
from clr_cli.records import RunRecord

POINT = 0.01
POOL = 48
Result = dict[str, float]
Rng = np.random.Generator

DRAWS: dict[str, Callable[[Rng, Any], NDArray[np.float64]]] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "spread differs by seed": lambda rng, shape: (
        rng.normal(size=shape) * rng.choice([0.3, 1.5], size=shape)
    ),
    "coarse": lambda rng, shape: np.round(rng.normal(size=shape) * 2) / 2,
    "skewed": lambda rng, shape: 2 - rng.gamma(2, size=shape),
    "lognormal": lambda rng, shape: rng.lognormal(sigma=0.5, size=shape) - math.exp(0.125),
    "exponential": lambda rng, shape: rng.exponential(size=shape) - 1,
}


def compared(
    accuracy: Mapping[str, NDArray[np.float64]], failed: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """The comparisons of arms -> accuracies by seed (n,); failed: arm -> which diverged (n,)."""
    records = []
    for arm, values in accuracy.items():
        for seed, value in enumerate(values.tolist()):
            diverged = failed is not None and arm in failed and bool(failed[arm][seed])
            losses = {"test_loss": 1.0, "train_loss": 1.0}
            final = {"test_accuracy": value, "val_accuracy": 0.9, **losses}
            row = {"epoch": 1, "iteration": 100, "lr": 0.1, "train_seconds": 1.0}
            row |= {"val_accuracy": 0.9, "test_accuracy": value}
            status = "diverged" if diverged else "finished"
            records.append(RunRecord(arm, seed, status, [row], {"final": final}))  # type: ignore[arg-type]
    summary = summarize(
        records, experiment="", context={}, num_classes=10, baseline=next(iter(accuracy))
    )
    found: list[dict[str, Any]] = summary["comparisons"]
    return found


def arms(rng: Rng, name: str, count: int, n: int) -> Result:
    """Equal arms; the baseline's noise is small, so that differences have the named shape."""
    base = 0.8 + 0.0001 * rng.normal(size=n)
    noise = {f"arm {k}": base + 0.5 * POINT * DRAWS[name](rng, n) for k in range(count)}
    verdicts = [c["verdict"] for c in compared({"base": base, **noise})]
    return {"false": float(any(verdict in ("better", "worse") for verdict in verdicts))}


def failures(rng: Rng, share: float, n: int) -> Result:
    base = 0.8 + 0.3 * POINT * rng.normal(size=n)
    arm = base + POINT + 0.5 * POINT * rng.normal(size=n)
    failed = rng.random(n) < share
    (found,) = compared({"base": base, "arm": arm}, {"arm": failed})
    better = found["verdict"] == "better"
    told = "Failed to train" in found["sentence"]
    return {"false": float(better and failed.any() and not told), "right": float(better)}


def tuned(rng: Rng, seeds: int, n: int) -> Result:
    accuracy = {}
    for method in ("base", "arm"):
        loss = 0.5 * np.arange(-2, 3) ** 2
        seen = -loss + rng.normal(size=5) * 1.8 / math.sqrt(seeds)
        reached = 80 - loss[int(seen.argmax())]
        accuracy[method] = POINT * (reached + 0.5 * rng.normal(size=n))
    (found,) = compared(accuracy)
    return {"false": float(found["verdict"] in ("better", "worse"))}


def margin(rng: Rng, name: str, n: int) -> Result:
    """Noise of half the margin, so that equivalence could be shown; the margin is .1 point."""
    base = 0.8 + 0.0 * rng.normal(size=n)
    (found,) = compared({"base": base, "arm": base + 0.001 + 0.0005 * DRAWS[name](rng, n)})
    return {"false": float(found["verdict"] == "equivalent")}


def a_a(rng: Rng, pool: list[RunRecord], n: int) -> Result:
    drawn = rng.permutation(len(pool))[: 2 * n]
    records = [
        RunRecord(arm, seed, pool[k].status, pool[k].epochs, pool[k].result)
        for arm, half in (("first", drawn[:n]), ("second", drawn[n:]))
        for seed, k in enumerate(half.tolist())
    ]
    context = {"epochs": 2}
    summary = summarize(
        records, experiment="A/A", context=context, num_classes=10, baseline="first"
    )
    (found,) = summary["comparisons"]
    low, high = found["difference"]["low"], found["difference"]["high"]
    covered = float(low <= 0 <= high)
    return {"false": float(found["verdict"] in ("better", "worse")), "covered": covered}


def recorded(folder: Path) -> list[RunRecord]:
    """POOL runs of one arm, trained by the command that everyone uses."""
    settings = ["dataset.train_size=600", "dataset.test_size=1000", "dataset.val_size=200"]
    settings += ["model.width=4", "training.epochs=4", "training.batch_size=50"]
    command = [sys.executable, "-m", "clr_cli", "compare", "--config", "quickstart.yaml"]
    command += ["--seeds", str(POOL), "--output-dir", str(folder)]
    command += [word for seed in range(POOL) for word in ("--only", f"constant:{seed}")]
    command += ["--name", "pool", *(word for each in settings for word in ("--set", each))]
    subprocess.run(command, check=True, capture_output=True)
    runs = []
    for seed, path in enumerate(sorted(folder.rglob(RESULT))):
        rows = [json.loads(line) for line in (path.parent / METRICS).read_text().splitlines()]
        result = json.loads(path.read_text())
        runs.append(RunRecord("constant", seed, result["status"], rows, result))
    return runs


CELLS: dict[str, Callable[[Rng], Result]] = {
    **{
        f"{count} arm{'s' * (count > 1)}, {name}, n = {n}": (
            lambda rng, name=name, count=count, n=n: arms(rng, name, count, n)  # type: ignore[misc]
        )
        for count in (1, 4)
        for name in DRAWS
        for n in (8, 10)
    },
    **{
        f"failures, p = {share}, n = {n}": (
            lambda rng, share=share, n=n: failures(rng, share, n)  # type: ignore[misc]
        )
        for share in (0.05, 0.1)
        for n in (6, 10)
    },
    **{
        f"tuned on {seeds} seed{'s' * (seeds > 1)}, n = {n}": (
            lambda rng, seeds=seeds, n=n: tuned(rng, seeds, n)  # type: ignore[misc]
        )
        for seeds in (1, 3)
        for n in (6, 10)
    },
    **{
        f"margin, {name}, n = 10": lambda rng, name=name: margin(rng, name, 10)  # type: ignore[misc]
        for name in ("normal", "exponential")
    },
}


def measure(name: str, cell: Callable[[Rng], Result], reps: int) -> dict[str, Any]:
    rng = np.random.default_rng([*name.encode()])
    results = [cell(rng) for _ in range(reps)]
    rates = {key: float(np.mean([result[key] for result in results])) for key in results[0]}
    error = math.sqrt(max(rates["false"] * (1 - rates["false"]), 1 / reps) / reps)
    return {"reps": reps, **rates, "error": error}


HEADER = (
    "| cell | false % (± Monte-Carlo error) | better % | interval holds the truth % |",
    "|---|--:|--:|--:|",
)


def row(name: str, cell: dict[str, Any]) -> str:
    false = f"{100 * cell['false']:.1f} ± {100 * cell['error']:.1f}"
    others = [f"{100 * cell[k]:.1f}" if k in cell else "–" for k in ("right", "covered")]
    return f"| {name} | {false} | {' | '.join(others)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--reps", type=int, default=500)
    parser.add_argument("--output", type=Path, default=Path("practice.json"))
    given = parser.parse_args()
    made = json.loads(given.output.read_text()) if given.output.exists() else {}
    cells, last = dict(CELLS), "A/A, n = 8"
    if made.get(last, {}).get("reps") != given.reps:
        with tempfile.TemporaryDirectory() as folder:
            pool = recorded(Path(folder))
        cells[last] = lambda rng: a_a(rng, pool, 8)
    print("\n".join(HEADER))
    for name in (*CELLS, last):
        if made.get(name, {}).get("reps") != given.reps:
            made[name] = measure(name, cells[name], given.reps)
            given.output.write_text(json.dumps(made, indent=1) + "\n")
        print(row(name, made[name]), flush=True)


if __name__ == "__main__":
    main()
