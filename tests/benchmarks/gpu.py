"""Everything that only a GPU can show, in one command of at most nine minutes.

    python tests/benchmarks/gpu.py [--only speed peers] [--json gpu.json] [--small]

Each part is a process of its own with a time budget; one that fails, or takes too long, gives a
line, and the next one goes on. The parts are in gpu_parts.py. ``--small`` goes through all of it
at a tiny size, on a CPU too, so that no GPU's time is spent on finding its errors.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gpu_parts

SECONDS = {  # of each part, the start of its process included; together less than nine minutes
    "tests": 75,
    "exact": 55,
    "speed": 60,
    "peers": 70,
    "profile": 30,
    "precision": 45,
    "svhn": 195,
}


def run_part(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """One part in a process of its own, ended with all that it started when its time is over."""
    started, limit = time.perf_counter(), SECONDS[name] * (10 if options.small else 1)
    with tempfile.TemporaryDirectory(prefix="clr-gpu-") as folder:
        found = Path(folder) / "rows.json"
        command = [
            sys.executable,
            str(Path(__file__).resolve()),
            "--part",
            name,
            "--json",
            str(found),
        ]
        command += ["--small"] * options.small
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(gpu_parts.ROOT), *paths()])}
        with open(Path(folder) / "printed.txt", "w+") as printed:
            child = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdout=printed,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            error = None
            try:
                code = child.wait(limit)
                printed.seek(0)
                if code:
                    last = printed.read().strip().splitlines()[-1:]
                    error = f"exit code {code}: {''.join(last)}"
            except subprocess.TimeoutExpired:
                error = f"not done after {limit:g} s"
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        rows = json.loads(found.read_text()) if found.exists() else []
    return {"seconds": time.perf_counter() - started, "error": error, "rows": rows}


def paths() -> list[str]:
    return [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []


def table(parts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """One line for each number, beside its aim; Markdown."""
    lines = ["| part | what | measured | aim | |", "|---|---|--:|---|---|"]
    for name, part in parts.items():
        for row in part["rows"]:
            met = {True: "met", False: "**missed**", None: ""}[row["met"]]
            lines.append(f"| {name} | {row['what']} | {row['value']} | {row['aim']} | {met} |")
        if part["error"]:
            lines.append(f"| {name} | **failed** | {part['error'].replace('|', '/')} | | |")
    return lines


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", choices=SECONDS, default=[*SECONDS])
    parser.add_argument("--small", action="store_true", help="a tiny size, on a CPU too")
    parser.add_argument("--json", type=Path, default=Path("gpu.json"))
    parser.add_argument("--part", choices=SECONDS, help=argparse.SUPPRESS)
    options = parser.parse_args(given)
    if options.part:
        tell = gpu_parts.Telling(options.json)
        part = getattr(gpu_parts, options.part)
        part(gpu_parts.SMALL if options.small else gpu_parts.WHOLE, Path.cwd(), tell)
        return
    machine = gpu_parts.machine()
    if machine["gpu"] is None and not options.small:
        sys.exit("gpu.py: no CUDA device here; --small goes through it on a CPU")
    print(json.dumps(machine), flush=True)
    result: dict[str, Any] = {"machine": machine, "small": options.small, "parts": {}}
    for name in options.only:
        part = result["parts"][name] = run_part(name, options)
        print(f"{name}: {part['seconds']:.0f} s {part['error'] or ''}".rstrip(), flush=True)
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    print("\n" + "\n".join(table(result["parts"])))
    if options.small:
        print("\nat this size the aims of speed mean nothing")


if __name__ == "__main__":
    main()
