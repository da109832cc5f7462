"""What people do beyond one clean comparison: runs that fail, tuning, the same arm twice.

- "failures": an arm that is 1 point better where it trains (sd .5), and fails to train with
  probability p; the whole way through `analyse`. False: called better by a sentence that names no
  failed run though there is one.
- "tuned": two equal methods. Each one's rate is searched for as ``compare --tune`` does it, on
  runs with noise of their own; then they are compared at these rates. False: called different.
  "by the best rate": the best of the rates tried, instead of the centre of the good ones.
- "A/A": a pool of real runs of one arm; each experiment deals it out as pairs and compares them,
  with all that a page needs ("auto": at most 24 pairs). False: called different.

`claims.py` measures these with the others.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from simulated import REPS, Array

from clr_cli.analysis import designs, probing
from clr_cli.analysis.lattice import DELTA, Probe, ProbeRequest, RatesFound, Scale, place
from clr_cli.analysis.study import Study
from clr_cli.analysis.summary import analyse
from clr_cli.analysis.verdicts import claims
from clr_cli.paths import METRICS, RESULT
from clr_cli.records import VAL_ACCURACY, RunRecord
from clr_cli.study.collect import collect
from clr_cli.study.table import TableSource

POINT = 0.01
POOL = 48
WHOLE = 500  # replications of what goes the whole way
CAP = 30
Rng = np.random.Generator
Result = dict[str, Any]

# Rates, each with its accuracy in %. From 88 % on: measured, a small CNN on 7,000 images of
# Fashion-MNIST, 20 epochs. Below: assumed, falling as trainings do.
CURVES = {
    "SGD": "0.0006 70, 0.0025 82, 0.01 87, 0.04 88.9, 0.12 89.4, 0.36 89.7, 1.19 88.8, 2.4 87,"
    " 4.8 78, 9.6 30",
    "AdamW": "0.00001 60, 0.00006 75, 0.00025 84, 0.001 88.1, 0.004 89.7, 0.016 89.9, 0.083 89.7,"
    " 0.41 89.2, 1.6 87, 3.2 80, 6.4 30",
}


# noise (points) of a trial on validation and of a run on test; by the centre of the good rates?
TUNED = ((1.8, 0.5, True), (1.8, 0.5, False), (0.5, 0.5, True), (1.8, 1.8, True))


def name_of(curve: str, trials: float, runs: float, centre: bool, n: int) -> str:
    best = "" if centre else ", by the best rate"
    return f"tuned, {curve}, noise {trials} and {runs}, {n} seeds{best}"


def record(arm: str, seed: int, accuracy: float, *, diverged: bool = False) -> RunRecord:
    losses = {"test_loss": 1.0, "train_loss": 1.0}
    final = {"test_accuracy": accuracy, "val_accuracy": 0.9, **losses}
    row = {"epoch": 1, "iteration": 100, "lr": 0.1, "train_seconds": 1.0}
    row |= {"val_accuracy": 0.9, "test_accuracy": accuracy}
    return RunRecord(arm, seed, "diverged" if diverged else "finished", [row], {"final": final})


def ended(pairs: list[tuple[RunRecord, RunRecord]], seeds: str) -> tuple[dict[str, Any], int]:
    """What is said of pairs (baseline, arm) at the end, and the seeds spent."""
    count = len(pairs) if seeds == "auto" else int(seeds)
    study = Study(
        name="",
        arms=tuple(run.arm for run in pairs[0]),
        baseline=pairs[0][0].arm,
        seeds=tuple(range(count)),
        cap=count if seeds == "auto" else None,
        margin=0.001,
        target_metric=VAL_ACCURACY,
        chance=0.1,
    )
    records = [run for pair in pairs for run in pair]
    runs = collect(study, TableSource(records, study.metric.name, "", ""))
    (found,) = analyse(study, runs).plain()["comparisons"]
    return found, runs.looks[-1].most


def failures(rng: Rng, share: float, seeds: str) -> Result:
    base = 0.8 + 0.3 * POINT * rng.normal(size=CAP)
    arm = base + POINT + 0.5 * POINT * rng.normal(size=CAP)
    failed = rng.random(CAP) < share
    pairs = [
        (record("base", k, base[k]), record("arm", k, arm[k], diverged=bool(failed[k])))
        for k in range(CAP)
    ]
    found, n = ended(pairs, seeds)
    better = found["verdict"] == "better"
    told = "Failed to train" in found["sentence"]
    false = better and failed[:n].any() and not told
    return {"false": float(false), "right": float(better), "seeds": float(n)}


@lru_cache
def reached(curve: str, noise: float, centre: bool) -> Array:
    """(REPS, 2): the accuracy (%) of two equal methods at the rates found for them."""
    rng = np.random.default_rng([*f"{curve} {noise}".encode()])
    points = [point.split() for point in CURVES[curve].split(",")]
    places, percent = ([place(float(lr)) for lr, _ in points], [float(a) for _, a in points])

    def accuracy(k: float) -> float:
        return float(np.interp(k, places, percent))

    def found() -> RatesFound:
        scores: dict[Probe, float | None] = {}
        while True:
            answer = probing.search(scores, 0.05, Scale(DELTA, 0.1, images=2_000))
            if not isinstance(answer, ProbeRequest):
                return answer
            for probe in answer.probes:
                scores[probe] = POINT * (accuracy(probe[0]) + noise * rng.normal())

    def rate() -> float:
        while (tried := found()).max_lr is None:
            pass  # --tune stops
        if centre:
            return tried.max_lr
        return max(tried.tried, key=lambda each: each.mean or 0.0).rate

    return np.array([[accuracy(place(rate())) for _ in range(2)] for _ in range(REPS)])


def tuned(curve: str, trials: float, runs: float, n: int, centre: bool) -> Result:
    rng = np.random.default_rng(0)
    pairs = np.diff(reached(curve, trials, centre))
    values = pairs + runs * (rng.normal(size=(REPS, n)) - rng.normal(size=(REPS, n)))
    estimate = designs.paired(values[:, None, :], np.zeros((REPS, n)))
    return {"false": float(claims(estimate).claimed.mean())}


def a_a(rng: Rng, pool: list[RunRecord], seeds: str) -> Result:
    drawn = rng.permutation(len(pool)).reshape(-1, 2)
    pairs = [
        tuple(
            RunRecord(arm, seed, pool[k].status, pool[k].epochs, pool[k].result)
            for arm, k in zip(("first", "second"), pair, strict=True)
        )
        for seed, pair in enumerate(drawn.tolist())
    ]
    found, n = ended(pairs, seeds)  # type: ignore[arg-type]
    covered = float(found["difference"]["low"] <= 0 <= found["difference"]["high"])
    false = float(found["verdict"] in ("better", "worse"))
    return {"false": false, "covered": covered, "seeds": float(n)}


@lru_cache
def recorded() -> list[RunRecord]:
    """POOL runs of one arm on noisy patterns of four kinds, trained by ``clr compare``."""
    rng = np.random.default_rng(0)
    patterns, arrays = rng.normal(size=(4, 8, 8, 3)), {}
    for split, size in (("train", 500), ("test", 1_000)):
        labels = np.arange(size) % 4
        images = 128 + 18 * patterns[labels] + 45 * rng.normal(size=(size, 8, 8, 3))
        arrays[f"{split}_images"] = images.clip(0, 255).astype(np.uint8)
        arrays[f"{split}_labels"] = labels
    runs = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.savez(folder / "patterns.npz", **arrays)
        config = f"""\
dataset: {{name: npz, path: {folder}/patterns.npz, val_size: 100, augment: {{crop_padding: 0}}}}
model: {{name: cnn, width: 4}}
training: {{epochs: 4, batch_size: 25, threads: 1}}
schedules: {{first: {{kind: constant, lr: 0.05}}, second: {{kind: constant, lr: 0.05}}}}
compare: {{schedules: [first, second], seeds: {POOL}}}
"""
        (folder / "pool.yaml").write_text(config)
        command = [sys.executable, "-m", "clr_cli", "compare", "--config", f"{folder}/pool.yaml"]
        command += ["--jobs", "1", "--output-dir", str(folder / "outputs")]
        command += [word for seed in range(POOL) for word in ("--only", f"first:{seed}")]
        subprocess.run(command, check=True, capture_output=True)
        for seed, path in enumerate(sorted(folder.rglob(RESULT))):
            rows = [json.loads(line) for line in (path.parent / METRICS).read_text().splitlines()]
            result = json.loads(path.read_text())
            runs.append(RunRecord("first", seed, result["status"], rows, result))
    return runs


def repeated(name: str, once: Callable[[Rng], Result]) -> Result:
    rng = np.random.default_rng([*name.encode()])
    results = [once(rng) for _ in range(WHOLE)]
    return {key: float(np.mean([result[key] for result in results])) for key in results[0]}


def cells() -> Mapping[str, Callable[[], Result]]:
    """name -> what measures it."""
    made: dict[str, Callable[[], Result]] = {}
    for share in (0.05, 0.1):
        for seeds in ("6", "10", "auto"):
            name = f"failures, p = {share}, {seeds} seeds"
            made[name] = lambda name=name, share=share, seeds=seeds: repeated(  # type: ignore[misc]
                name, lambda rng: failures(rng, share, seeds)
            )
    for curve in CURVES:
        for trials, runs, centre in TUNED:
            for n in (6, 10):
                name = name_of(curve, trials, runs, centre, n)
                given = (curve, trials, runs, n, centre)
                made[name] = lambda given=given: tuned(*given)  # type: ignore[misc]
    for seeds in ("8", "auto"):
        name = f"A/A, {seeds} seeds"
        made[name] = lambda name=name, seeds=seeds: repeated(  # type: ignore[misc]
            name, lambda rng: a_a(rng, recorded(), seeds)
        )
    return made
