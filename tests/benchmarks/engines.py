"""What each engine costs beyond the runs themselves: a table, as JSON on request. Run by hand.

    python tests/benchmarks/engines.py [--runs 24] [--jobs 2] [--json FILE]

The runs are as small as they get (one epoch of 200 images), so that the overhead shows. `overhead`
is the time of a place in which no run trains, per run: (wall x jobs - the runs' own seconds) /
runs. `steady` is the same once every place has ended its first run, which leaves out starting
the workers. The Ray cluster is one node on this machine, started before the clock.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray

from clr_cli.config import load as configs
from clr_cli.execution.cluster import RayCluster
from clr_cli.execution.engines import Engine, Local
from clr_cli.execution.task import TaskOptions
from clr_cli.execution.training_task import Run
from clr_cli.paths import Experiment
from clr_cli.study.training import TrainingSource

SMALL = (
    "dataset.train_size=200",
    "dataset.val_size=50",
    "dataset.test_size=50",
    "model.width=2",
    "training.epochs=1",
    "training.batch_size=50",
)


def plan(runs: int, output: Path, root: str) -> list[Run]:
    config = configs.load("quickstart.yaml", [*SMALL, f"dataset.root={root}"])
    options = TaskOptions(Experiment(output, config.name), device="cpu")
    arms = {"constant": config.schedule("constant")}
    source = TrainingSource(config=config, options=options, arms=arms, threads=1)
    return [source.task("constant", seed) for seed in range(runs)]


def measure(engine: Engine, jobs: int, runs: Sequence[Run]) -> dict[str, Any]:
    started = time.perf_counter()
    ends = [(e.index, time.perf_counter()) for e in engine.execute(runs) if e.kind == "end"]
    wall = time.perf_counter() - started
    own = {i: run.directory.read_result()["total_seconds"] for i, run in enumerate(runs)}
    later = [own[index] for index, _ in ends[jobs:]]
    span = ends[-1][1] - ends[jobs - 1][1]
    return {
        "runs": len(runs),
        "at_a_time": jobs,
        "wall_seconds": wall,
        "runs_seconds": sum(own.values()),
        "overhead_per_run": (wall * jobs - sum(own.values())) / len(runs),
        "steady_overhead_per_run": (span * jobs - sum(later)) / len(later),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=24)
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, fewer than --runs")
    parser.add_argument("--root", default="data", help="where synthetic digits are cached")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False, "include_dashboard": False}
    ray.init(address="local", num_cpus=options.jobs, object_store_memory=200_000_000, **quiet)
    kinds: dict[str, tuple[int, Engine]] = {
        "one process": (1, Local()),
        "workers": (options.jobs, Local(jobs=options.jobs)),
        "ray": (options.jobs, RayCluster(jobs=options.jobs)),
    }
    rows = {}
    columns = ("runs", "at a time", "wall s", "runs' s", "overhead s", "steady s")
    print(f"{'engine':12}" + "".join(f"{column:>12}" for column in columns))
    with tempfile.TemporaryDirectory() as folder:
        list(Local().carry_out(plan(1, Path(folder) / "warm", options.root)))  # renders the digits
        for name, (jobs, engine) in kinds.items():
            runs = plan(options.runs, Path(folder) / name, options.root)
            row = rows[name] = measure(engine, jobs, runs)
            shown = (f"{x:12.3f}" if isinstance(x, float) else f"{x:12}" for x in row.values())
            print(f"{name:12}" + "".join(shown))
    ray.shutdown()
    if options.json:
        load = os.getloadavg()[0]
        options.json.write_text(json.dumps({"load": load, "engines": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
