"""Measure how long ``clr --help`` and a config error take, beside an empty Python.

CPU and wall seconds of the fastest of several starts, with the bytecode cached.
Run: python tests/benchmarks/startup.py [REPEATS]
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "clr --help": ["-m", "clr_cli", "--help"],
    "clr train, a config that is not there": ["-m", "clr_cli", "train", "--config", "none.yaml"],
}


def seconds(arguments: list[str], environment: Mapping[str, str]) -> tuple[float, float]:
    """Return (CPU, wall) seconds of one start."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], capture_output=True, check=False, env=environment)
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, wall


def main(repeats: int) -> None:
    least: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": cache}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for name, arguments in COMMANDS.items():
            seconds(arguments, environment)  # which writes the bytecode
            # The least of several starts: what the machine does besides can only add to it.
            starts = [seconds(arguments, environment) for _ in range(repeats)]
            least[name] = [min(column) for column in zip(*starts, strict=True)]
    empty_cpu, empty_wall = least["python -c pass"]
    print(f"{'command':<40} {'CPU ms':>8} {'times':>6} {'wall ms':>8} {'times':>6}")
    for name, (cpu, wall) in least.items():
        print(
            f"{name:<40} {cpu * 1e3:8.0f} {cpu / empty_cpu:6.1f} "
            f"{wall * 1e3:8.0f} {wall / empty_wall:6.1f}"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
