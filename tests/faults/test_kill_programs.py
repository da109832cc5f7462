"""A user's program as a run: killed, interrupted, started again; nothing of it stays behind."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest
from support import forked
from support.programs import DAEMON, STUBBORN, written

pytestmark = pytest.mark.linux
ARMS = ("--arm", "base:lr=0.5", "--arm", "new:lr=1.0")
KILLS = int(os.environ.get("CLR_TEST_KILLS", "6"))


def command_line(tmp_path: Path, output: str, jobs: int) -> tuple[object, ...]:
    command = written(tmp_path)
    return (
        *("compare", "--cmd", command, *ARMS, "--metric", "val_loss", "--seeds", "3", "--paired"),
        *("--jobs", jobs, "-o", output),
    )


def programs(folder: Path) -> list[int]:
    """Return the processes that run a program of this folder, their supervisors included."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if str(folder / "train.py").encode() in path.read_bytes():
                found.append(int(path.parent.name))
    return [pid for pid in found if pid != os.getpid() and not is_clr(pid)]


def is_clr(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return b"--cmd" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return True


def nothing_is_left(folder: Path, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while left := programs(folder):
        assert time.monotonic() < deadline, f"left running: {left}"
        time.sleep(0.05)


def search_line(tmp_path: Path, output: str, jobs: int) -> tuple[object, ...]:
    command = written(tmp_path)
    return (
        *("range-test", "--cmd", command, "--metric", "val_loss", "--start", "0.8"),
        *("--jobs", jobs, "-o", output),
    )


def rows_of(output: Path) -> dict[str, list[dict[str, float]]]:
    """The rows of every run, without what says where it was resumed."""
    runs = {}
    for path in sorted(output.rglob("metrics.jsonl")):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        kept = [{k: v for k, v in row.items() if k != "resumed_at"} for row in rows]
        runs[str(path.relative_to(output))] = kept
    return runs


def left_behind(output: Path) -> dict[str, object]:
    """The rows of every run, and the verdict."""
    summary = json.loads((output / "program/compare/summary.json").read_text())
    return {"runs": rows_of(output), "verdict": summary["verdict"]}


def searched(output: Path) -> dict[str, object]:
    """The rows of every probe of a search, and its answer."""
    answer = json.loads((output / "program/rates/result.json").read_text())
    kept = ("tried", "low", "high", "max_lr", "inconclusive")
    return {"runs": rows_of(output), "answer": {key: answer[key] for key in kept}}


def kill_until_done(tmp_path, monkeypatch, jobs, kills, line=command_line, left=left_behind):
    monkeypatch.setenv("WAIT", "0.02")
    whole = forked.start(tmp_path, *line(tmp_path, "whole", jobs))
    code = whole.wait()
    assert code in (0, 3), whole.stderr  # 3: a search without an answer is one as well
    moments, struck = random.Random(jobs), 0
    for _ in range(kills):
        child = forked.start(tmp_path, *line(tmp_path, "killed", jobs))
        while child.running and not programs(tmp_path):
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.3))
        struck += child.running
        child.kill()
        child.process.join()
        nothing_is_left(tmp_path, 5)
    last = forked.start(tmp_path, *line(tmp_path, "killed", jobs))
    assert last.wait() == code, last.stderr
    assert struck
    assert left(tmp_path / "killed") == left(tmp_path / "whole")


def test_killed_twice_it_ends_with_the_same_rows(tmp_path, monkeypatch):
    """By SIGKILL: the program is ended, started again, and goes on from its own state."""
    kill_until_done(tmp_path, monkeypatch, jobs=1, kills=2)


@pytest.mark.slow
def test_a_search_that_is_killed_ends_with_the_same_answer(tmp_path, monkeypatch):
    """``range-test --cmd``: finished probes are kept, the others go on."""
    monkeypatch.setenv("STEPS", "2")
    kill_until_done(tmp_path, monkeypatch, 2, KILLS, search_line, searched)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_search_that_is_interrupted_ends_its_programs(tmp_path, monkeypatch, number):
    monkeypatch.setenv("WAIT", "600")
    child = forked.start(tmp_path, *search_line(tmp_path, "outputs", 2))
    deadline = time.monotonic() + 60
    while len(programs(tmp_path)) < 4:  # two, each with its supervisor
        assert time.monotonic() < deadline, child.stderr
        time.sleep(0.02)
    child.signal(number)
    assert child.wait() == 128 + number, child.stderr
    nothing_is_left(tmp_path, 0.5)
    assert "Traceback" not in child.stderr


def daemon_line(tmp_path: Path, output: str) -> tuple[object, ...]:
    command = written(tmp_path, DAEMON)
    return ("compare", "--cmd", command, *ARMS, "--metric", "val_loss", "--seeds", 1, "-o", output)


def test_a_daemon_ends_with_the_program_that_made_it(tmp_path):
    """Neither is it waited for, even if it keeps the program's streams."""
    child = forked.start(tmp_path, *daemon_line(tmp_path, "outputs"), "--jobs", 2)
    assert child.wait(60) == 0, child.stderr
    assert len([*tmp_path.glob("outputs/**/seed-0/result.json")]) == 2
    nothing_is_left(tmp_path, 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_daemon_ends_with_clr(tmp_path, monkeypatch, number):
    monkeypatch.setenv("WAIT", "600")
    child = forked.start(tmp_path, *daemon_line(tmp_path, "outputs"), "--jobs", 1)
    deadline = time.monotonic() + 60
    while len(programs(tmp_path)) < 4:  # the program, its supervisor and two daemons
        assert time.monotonic() < deadline, child.stderr
        time.sleep(0.02)
    child.signal(number)
    child.wait()
    nothing_is_left(tmp_path, 10)


def test_a_pattern_that_takes_for_ever_keeps_no_signal_waiting(tmp_path):
    """It is ended by itself as well: whichever comes first."""
    printing = "import time; print('a' * 60 + '!', flush=True); time.sleep(600)"
    child = forked.start(
        tmp_path,
        *("compare", "--cmd", written(tmp_path, printing), *ARMS, "--metric", "val_loss"),
        *("--read", r"(a+)+(?P<val_loss>\d)$"),
    )
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size for path in tmp_path.rglob("output.log")):
        assert time.monotonic() < deadline, child.stderr
        time.sleep(0.01)
    child.signal(signal.SIGTERM)
    assert child.wait(30) in (2, 143), child.stderr
    nothing_is_left(tmp_path, 0.5)
    assert "Traceback" not in child.stderr


def runs(pid: int) -> bool:
    """Not so for a killed process that nobody has waited for yet."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_killed_again_and_again_it_ends_with_the_same_rows(tmp_path, monkeypatch, jobs):
    kill_until_done(tmp_path, monkeypatch, jobs, KILLS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("jobs", "number", "code"), [(1, signal.SIGINT, 130), (2, signal.SIGTERM, 143)]
)
def test_a_signal_reaches_the_program_and_its_children(tmp_path, jobs, number, code):
    """They ignore SIGTERM: they are killed, and clr waits for that."""
    command = written(tmp_path, STUBBORN)
    child = forked.start(
        tmp_path,
        *("compare", "--cmd", command, *ARMS, "--metric", "val_loss", "--jobs", jobs),
    )
    deadline = time.monotonic() + 60
    while len(files := [*tmp_path.rglob("*.pids")]) < jobs:
        assert time.monotonic() < deadline, child.stderr
        time.sleep(0.02)
    time.sleep(0.2)
    pids = [int(pid) for path in files for pid in path.read_text().split()]
    assert len(pids) == 2 * jobs
    child.signal(number)
    assert child.wait() == code, child.stderr
    assert not any(map(runs, pids))
    nothing_is_left(tmp_path, 0.5)
    assert "Traceback" not in child.stderr
    last = child.stderr.splitlines()[-1]
    assert last.startswith("clr: interrupted: every finished run is saved; run the same command")
    assert sys.executable in command
