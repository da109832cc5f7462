"""What clr itself costs beside a user's program: CPU and wall seconds, fixed and a run.

A program that does nothing but write one row is compared with 4 and with 20 runs, one at a time;
then the same command is given again, with nothing left to do. Everything is resumable: the same
command in the same folder measures only what is missing.

Run: python tests/benchmarks/overhead.py FOLDER [REPEATS]
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

SCRIPT = """printf '{"step": 1, "val_loss": %s.%s}\\n' "$1" "$2" > "$3"\n"""
RUNS = (4, 20)


def seconds(arguments: list[str], folder: Path) -> dict[str, float]:
    """CPU seconds (with all that it starts) and wall seconds of one command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    subprocess.run(arguments, cwd=folder, capture_output=True, check=True, env=os.environ)
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"cpu": cpu, "wall": wall}


def compare(folder: Path, runs: int) -> dict[str, dict[str, float]]:
    """Measure one comparison from its beginning, and the same command again."""
    (folder / "nothing.sh").write_text(SCRIPT)
    shutil.rmtree(folder / "outputs", ignore_errors=True)
    command = [
        *(sys.executable, "-m", "clr_cli", "compare", "--cmd", "sh nothing.sh {lr} {seed} {out}"),
        *("--arm", "a:lr=1", "--arm", "b:lr=2", "--metric", "val_loss", "--jobs", "1"),
        *("--seeds", str(runs // 2)),
    ]
    return {"first": seconds(command, folder), "again": seconds(command, folder)}


def main(folder: Path, repeats: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "overhead.json"
    done = json.loads(file.read_text()) if file.exists() else {}
    for repeat in range(repeats):
        for runs in RUNS:
            key = f"{runs} runs, repeat {repeat}"
            if key not in done:
                done[key] = compare(folder, runs)
                file.write_text(json.dumps(done, indent=2) + "\n")
    # The least of several: what the machine does besides can only add to it.
    rounds = range(repeats)
    least = {
        (runs, kind, clock): min(done[f"{runs} runs, repeat {n}"][kind][clock] for n in rounds)
        for runs in RUNS
        for kind in ("first", "again")
        for clock in ("cpu", "wall")
    }
    print("| what | CPU s | wall s |\n| --- | --: | --: |")
    for kind, name in (("first", "{} runs"), ("again", "{} finished runs, the same command again")):
        for runs in RUNS:
            cpu, wall = (least[runs, kind, clock] for clock in ("cpu", "wall"))
            print(f"| {name.format(runs)} | {cpu:.2f} | {wall:.2f} |")
    few, many = RUNS
    each = {
        clock: (least[many, "first", clock] - least[few, "first", clock]) / (many - few)
        for clock in ("cpu", "wall")
    }
    fixed = {clock: least[few, "first", clock] - few * each[clock] for clock in each}
    print(f"| a run | {each['cpu']:.3f} | {each['wall']:.3f} |")
    print(f"| fixed | {fixed['cpu']:.2f} | {fixed['wall']:.2f} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 3)
