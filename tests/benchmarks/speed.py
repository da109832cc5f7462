"""How fast, beside what: prints tables, and writes them as JSON on request. Run by hand.

    python tests/benchmarks/speed.py [loops pictures jobs memory start] [--threads 1] [--json FILE]

Everything that is compared alternates in short rounds; a ratio is the median over the rounds of
that round's ratio, so that what else the machine does falls on both sides alike. `cpu` columns
count this process's CPU time, which other people's load hardly touches (with one thread; that of
workers which decode pictures is not in it).
The peers are in the `bench` extra; those not installed are left out.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from contenders import Problem, Seconds, contenders

from clr_cli.config import load as configs
from clr_cli.config.sections import DatasetConfig
from clr_cli.data import sources as data
from clr_cli.execution import engines
from clr_cli.execution.task import TaskOptions
from clr_cli.paths import Experiment
from clr_cli.study.training import TrainingSource
from clr_cli.training.device import resolve_device, resolve_precision

SVHN_TRAIN, SVHN_TEST = 73_257, 26_032
Result = dict[str, Any]


def machine(threads: int) -> Result:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "gpu": gpu,
        "threads": threads,
        "torch": str(torch.__version__),
        "load": os.getloadavg()[0],
    }


def alternate(work: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[Any]]:
    """Every work's results, one a round."""
    results: dict[str, list[Any]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, run in work.items():
            results[name].append(run())
    return results


def ratio(to: Sequence[float], of: Sequence[float]) -> float:
    return statistics.median(a / b for a, b in zip(to, of, strict=True))


def _problem(options: argparse.Namespace) -> Problem:
    config = DatasetConfig.model_validate(
        {"name": "npz", "path": options.data}
        if options.data
        else {"root": options.root, "train_size": 6000, "test_size": 1000}
    )
    device = resolve_device("auto")
    return Problem(
        data=data.load(config),
        width=options.width,
        batch_size=options.batch_size,
        iterations=options.iterations,
        device=device,
        precision=resolve_precision("auto", device),
    )


def loops(options: argparse.Namespace) -> Result:
    """Images per second in training, ours beside the others, all with images in memory."""
    return _side_by_side(_problem(options), options)


def pictures(options: argparse.Namespace) -> Result:
    """The same on all cores, the peers fed as their READMEs show: pictures, workers."""
    cores = os.cpu_count() or 1
    torch.set_num_threads(cores)
    try:
        return _side_by_side(dataclasses.replace(_problem(options), workers=cores), options)
    finally:
        torch.set_num_threads(options.threads)


def _side_by_side(problem: Problem, options: argparse.Namespace) -> Result:
    work = contenders(problem)
    alternate(work, 1)  # warms up
    seconds: dict[str, list[Seconds]] = alternate(work, options.rounds)
    ours = next(iter(seconds.values()))
    table = {
        name: {
            "images_per_second": problem.images / statistics.median(wall for wall, _ in times),
            "images_per_cpu_second": problem.images / statistics.median(cpu for _, cpu in times),
            "ours_is_faster": ratio([x[0] for x in times], [x[0] for x in ours]),
            "ours_is_faster_cpu": ratio([x[1] for x in times], [x[1] for x in ours]),
        }
        for name, times in seconds.items()
    }
    print(f"\n{'':52}{'images/s':>10}{'/cpu s':>10}{'ratio':>8}{'cpu':>8}")
    for name, row in table.items():
        rates = "".join(f"{value:10,.0f}" for value in list(row.values())[:2])
        print(f"{name:52}{rates}" + "".join(f"{x:8.2f}" for x in list(row.values())[2:]))
    return {"data": options.data or "synthetic_digits", "width": options.width, "rows": table}


def _rate(options: argparse.Namespace, output: Path, jobs: int, threads: int) -> float:
    """Images per second of four runs, from when every worker has done its first epoch."""
    given = [f"dataset.root={options.root}", "dataset.train_size=3000", "training.epochs=3"]
    config = configs.load("quickstart.yaml", [*given, f"model.width={options.width}"])
    where = TaskOptions(Experiment(output, config.name), device="cpu")
    arms = {arm: config.schedule(arm) for arm in ("constant", "clr")}
    source = TrainingSource(config=config, options=where, arms=arms, threads=threads)
    runs = [source.task(arm, seed) for seed in (0, 1) for arm in arms]
    ends = [time.perf_counter() for event in engines.local(runs, jobs) if event.kind == "row"]
    images = config.training.batch_size * runs[0].images()[0].steps_per_epoch(
        config.training.batch_size
    )
    return (len(ends) - jobs) * images / (ends[-1] - ends[jobs - 1])


def _timeless(output: Path) -> list[Result]:
    """The metrics of all runs below ``output``, but the clock's."""
    return [
        {key: value for key, value in json.loads(line).items() if "seconds" not in key}
        for path in sorted(output.rglob("metrics.jsonl"))
        for line in path.read_text().splitlines()
    ]


def jobs(options: argparse.Namespace) -> Result:
    """Two worker processes of one thread beside one process of one thread and of two."""
    with tempfile.TemporaryDirectory() as folder:
        count = iter(range(1000))

        def run(jobs: int, threads: int) -> tuple[float, list[Result]]:
            output = Path(folder) / str(next(count))
            return _rate(options, output, jobs, threads), _timeless(output)

        rates = alternate(
            {
                "2 workers x 1 thread": lambda: run(2, 1),
                "1 process x 2 threads": lambda: run(1, 2),
                "1 process x 1 thread": lambda: run(1, 1),
            },
            options.job_rounds,
        )
    pair, two, one = ([rate for rate, _ in rounds] for rounds in rates.values())
    same = all(a[1] == b[1] for a, b in zip(*list(rates.values())[::2], strict=True))
    result = {
        "images_per_second": {k: statistics.median(x for x, _ in v) for k, v in rates.items()},
        "over_two_threads": ratio(pair, two),
        "over_one_thread": ratio(pair, one),
        "same_results_as_one_thread": same,
    }
    print(f"\n{json.dumps(result, indent=2)}")
    return result


def _svhn_sized(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    arrays = {}
    for split, size in (("train", SVHN_TRAIN), ("test", SVHN_TEST)):
        arrays[f"{split}_images"] = rng.integers(0, 256, (size, 32, 32, 3), dtype=np.uint8)
        arrays[f"{split}_labels"] = rng.integers(0, 10, size)
    path = folder / "svhn-sized.npz"
    np.savez(path, **arrays)
    return path


def memory(options: argparse.Namespace) -> Result:
    """The largest resident set of `clr train` for one epoch of SVHN's size at width 32."""
    with tempfile.TemporaryDirectory() as folder:
        path = _svhn_sized(Path(folder))
        command = [sys.executable, "-m", "clr_cli", "train", "--config", "svhn.yaml"]
        for override in ("dataset.name=npz", f"dataset.path={path}", "training.epochs=1"):
            command += ["--set", override]
        command += ["--set", "schedules.clr.step_size_epochs=1", "--device", "cpu"]
        command += ["--set", f"training.threads={options.threads}", "--output-dir", folder]
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
    images = (SVHN_TRAIN + SVHN_TEST) * 32 * 32 * 3
    unit = 1 if sys.platform == "darwin" else 1024
    result = {
        "exit": os.waitstatus_to_exitcode(status),
        "peak_gb": usage.ru_maxrss * unit / 1e9,
        "data_set_gb": images / 1e9,
        "beyond_the_data_set_gb": (usage.ru_maxrss * unit - images) / 1e9,
    }
    print(f"\n{json.dumps(result, indent=2)}")
    return result


FIRST_STEP = """
import sys, time
import clr_cli.cli.results, clr_cli.execution.engines
from clr_cli.config import load as config
from clr_cli.execution.training_task import Run
started = time.perf_counter()
c = config.load("quickstart.yaml", sys.argv[1:])
run = Run(config=c, seed=0, path=None, threads=1, arm="clr", schedule=c.schedule("clr"))
run.build()
print(time.perf_counter() - started)
"""


def start(options: argparse.Namespace) -> Result:
    """What passes before work begins: `clr --help`, and the first epoch with cached data."""

    def seconds(*command: str) -> float:
        started = time.perf_counter()
        subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - started

    def ready(*overrides: str) -> float:
        command = [sys.executable, "-c", FIRST_STEP, *overrides]
        return float(subprocess.run(command, check=True, capture_output=True).stdout)

    with tempfile.TemporaryDirectory() as folder:
        path = _svhn_sized(Path(folder))
        times = alternate(
            {
                "python -c pass": lambda: seconds("-c", "pass"),
                "clr --help": lambda: seconds("-m", "clr_cli", "--help"),
                "imports to first epoch, synthetic": lambda: ready(f"dataset.root={options.root}"),
                "imports to first epoch, SVHN's size": lambda: ready(
                    "dataset.name=npz", f"dataset.path={path}"
                ),
            },
            options.rounds,
        )
    result = {name: statistics.median(values) for name, values in times.items()}
    print(f"\n{json.dumps(result, indent=2)}")
    return result


SECTIONS = {"loops": loops, "pictures": pictures, "jobs": jobs, "memory": memory, "start": start}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sections", nargs="*", metavar="section", help=f"of {', '.join(SECTIONS)}")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--iterations", type=int, default=10, help="of a loop in one round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--job-rounds", type=int, default=3)
    parser.add_argument("--root", default="data", help="where synthetic digits are cached")
    parser.add_argument("--data", help="an npz file to use for the loops instead of them")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    results: Result = {"machine": machine(options.threads)}
    print(json.dumps(results["machine"]))
    for name in options.sections or SECTIONS:
        results[name] = SECTIONS[name](options)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
