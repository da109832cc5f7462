"""``clr.compare(directory=...)`` and ``find_lr``: killed and interrupted, the same call resumes."""

from __future__ import annotations

import json
import math
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from support import forked

import clr_cli as clr

KILLS = int(os.environ.get("CLR_TEST_KILLS", "6"))
SEEDS = 4
WAIT = 0.05


def logged(name: str, value: float, seed: int) -> float:
    with open("calls.log", "a") as file:
        file.write(f"{name} {seed}\n")
    time.sleep(WAIT)
    return value + random.Random(f"{name} {seed}").gauss(0, 0.01)


def train(name: str, mean: float) -> Callable[[int], float]:
    return lambda seed: logged(name, mean, seed)


def compare(jobs: int) -> object:
    arms = {"old": train("old", 2.0), "new": train("new", 1.0)}
    result = clr.compare(
        arms, metric="val_loss", seeds=SEEDS, paired=True, directory="kept", jobs=jobs
    )
    return [[run.arm, run.seed, run.result["final"]] for run in result.records]


def bowl(lr: float, seed: int) -> float:
    return logged(f"{lr:.4g}", 1.5 + 0.15 * math.log10(lr / 0.004) ** 2, seed)


def find(jobs: int) -> object:
    found = clr.find_lr(bowl, metric="val_loss", directory="kept", jobs=jobs)
    return [found.lr, found.interval, found.answer.probes]


def child(folder: Path, what: Callable[[int], object], jobs: int) -> None:
    """Call in a process of its own; write what came of it, or how it was interrupted."""
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(folder)
    try:
        Path("result.json").write_text(json.dumps(what(jobs)))
    except KeyboardInterrupt as error:
        notes = "; ".join(error.__notes__)
        told = {"finished": [[run.arm, run.seed] for run in error.finished], "notes": notes}
        Path("interrupted.json").write_text(json.dumps(told))


def start(folder: Path, what: Callable[[int], object], jobs: int) -> BaseProcess:
    folder.mkdir(exist_ok=True)
    process = forked.CONTEXT.Process(target=child, args=(folder, what, jobs))
    process.start()
    return process


def finish(folder: Path, what: Callable[[int], object], jobs: int) -> object:
    process = start(folder, what, jobs)
    process.join(120)
    assert process.exitcode == 0
    return json.loads((folder / "result.json").read_text())


def calls(folder: Path) -> Counter[str]:
    path = folder / "calls.log"
    return Counter(path.read_text().splitlines()) if path.exists() else Counter()


def wait_for_calls(folder: Path, process: BaseProcess, more: int) -> None:
    deadline = time.monotonic() + 60
    while calls(folder).total() < more and process.is_alive():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def results(folder: Path) -> set[str]:
    return {str(path.parent) for path in folder.rglob("seed-*/result.json")}


@pytest.mark.parametrize(
    ("what", "jobs", "kills"),
    [
        (compare, 1, 2),
        pytest.param(compare, 2, KILLS, marks=pytest.mark.slow),
        pytest.param(find, 2, KILLS, marks=pytest.mark.slow),
    ],
)
def test_killed_again_and_again_it_ends_with_the_same_result(tmp_path, what, jobs, kills):
    whole = finish(tmp_path / "whole", what, jobs)
    folder, moments, struck = tmp_path / "killed", random.Random(jobs), 0
    for _ in range(kills):
        process = start(folder, what, jobs)
        wait_for_calls(folder, process, calls(folder).total() + 2)
        time.sleep(moments.uniform(0, 2 * WAIT))
        struck += process.is_alive()
        process.kill()
        process.join()
    assert struck
    assert finish(folder, what, jobs) == whole
    made = calls(folder)
    assert set(made) == set(calls(tmp_path / "whole"))
    assert made.total() <= len(made) + kills * jobs, "only calls in progress are made again"
    again = made.total()
    assert finish(folder, what, jobs) == whole
    assert calls(folder).total() == again, "what is finished is not called again"


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_ctrl_c_tells_what_is_finished_and_the_same_call_resumes(tmp_path, jobs):
    process = start(tmp_path, compare, jobs)
    wait_for_calls(tmp_path, process, 4)
    os.kill(process.pid, signal.SIGINT)
    process.join(60)
    assert process.exitcode == 0
    told = json.loads((tmp_path / "interrupted.json").read_text())
    kept = {f"{Path(path).parent.name} {Path(path).name[5:]}" for path in results(tmp_path)}
    assert kept
    assert {f"{arm} {seed}" for arm, seed in told["finished"]} == kept
    assert f"{len(kept)} finished runs are kept in kept" in told["notes"]
    finish(tmp_path, compare, jobs)
    made = calls(tmp_path)
    assert made.total() <= 2 * SEEDS + jobs
    assert all(made[call] == 1 for call in kept)
