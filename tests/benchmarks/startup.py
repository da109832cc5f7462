"""How long ``clr --help`` and a config error take, beside an empty Python: CPU and wall seconds.

Run: python tests/benchmarks/startup.py [REPEATS]
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "clr --help": ["-m", "clr_cli", "--help"],
    "clr train, a config that is not there": ["-m", "clr_cli", "train", "--config", "none.yaml"],
}


def seconds(arguments: list[str]) -> tuple[float, float]:
    """(CPU, wall) seconds of one start."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], capture_output=True, check=False)
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, wall


def main(repeats: int) -> None:
    # The least of several starts: what the machine does besides can only add to it.
    least = {
        name: [min(column) for column in zip(*(seconds(c) for _ in range(repeats)), strict=True)]
        for name, c in COMMANDS.items()
    }
    empty_cpu, empty_wall = least["python -c pass"]
    print(f"{'command':<40} {'CPU ms':>8} {'times':>6} {'wall ms':>8} {'times':>6}")
    for name, (cpu, wall) in least.items():
        print(
            f"{name:<40} {cpu * 1e3:8.0f} {cpu / empty_cpu:6.1f} "
            f"{wall * 1e3:8.0f} {wall / empty_wall:6.1f}"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
