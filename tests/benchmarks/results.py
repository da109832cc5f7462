"""Time and memory of reading results: rows in 200 curves, on one core, in several forms.

``python tests/benchmarks/results.py FOLDER [--rows 1000000]`` writes results.json there and prints
a table. The same command again measures what is missing.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import time
from pathlib import Path

ARMS, SEEDS = 20, 10
FORMS = ("csv", "jsonl", "files", "error")


def make(folder: Path, form: str, rows: int) -> list[str]:
    """Write the curves and return the source; ``error`` is a small file with a wrong cell."""
    random_ = random.Random(0)
    runs = [(arm, seed) for arm in range(ARMS) for seed in range(SEEDS)]
    steps = max(1, rows // len(runs))
    if form == "error":
        text = "arm,seed,val_loss\na,0,1\na,1,x\n"
        (folder / "error.csv").write_text(text)
        return [str(folder / "error.csv")]
    if form == "files":
        for arm, seed in runs:
            path = folder / "files" / f"arm{arm}-{seed}" / "metrics.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = (f"{k},{k // 100},{random_.random():.6f}\n" for k in range(steps))
            path.write_text("step,epoch,val_loss\n" + "".join(lines))
        return [str(folder / "files" / "{arm}-{seed}" / "metrics.csv")]
    path = folder / f"curves.{form}"
    with path.open("w") as file:
        if form == "csv":
            file.write("arm,seed,step,val_loss\n")
        for arm, seed in runs:
            for step in range(steps):
                row = {"arm": f"arm{arm}", "seed": seed, "step": step, "val_loss": random_.random()}
                text = json.dumps(row) if form == "jsonl" else ",".join(map(str, row.values()))
                file.write(text + "\n")
    return [str(path)]


def measure(source: list[str]) -> dict[str, float]:
    """Read in this process. Seconds with the imports, of CPU too, and the peak of its memory."""
    started = time.perf_counter()
    from clr_cli.errors import InputError
    from clr_cli.results import Query, read_results

    rows = 0
    try:
        results = read_results(Query(tuple(source)))
        rows = sum(len(run.epochs) for run in results.records)
    except InputError as error:
        print(error, file=sys.stderr)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 10)
    cpu = round(time.process_time(), 2)
    return {"rows": rows, "seconds": round(seconds, 2), "cpu": cpu, "peak_mib": round(peak)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure)))
        return
    options.folder.mkdir(parents=True, exist_ok=True)
    path = options.folder / "results.json"
    done = json.loads(path.read_text()) if path.exists() else {}
    for form in FORMS:
        if form not in done:
            source = make(options.folder, form, options.rows)
            command = [sys.executable, __file__, str(options.folder), "--measure", *source]
            one_core = {"preexec_fn": lambda: os.sched_setaffinity(0, {0})}
            found = subprocess.run(command, capture_output=True, text=True, check=True, **one_core)
            done[form] = json.loads(found.stdout)
            path.write_text(json.dumps(done, indent=2) + "\n")
    print(f"{'form':<8}{'rows':>10}{'seconds':>9}{'CPU':>7}{'MiB':>7}")
    for form, found in done.items():
        print(
            f"{form:<8}{found['rows']:>10,}{found['seconds']:>9}{found['cpu']:>7}"
            f"{found['peak_mib']:>7}"
        )


if __name__ == "__main__":
    main()
