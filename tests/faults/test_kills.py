"""Killed, interrupted, started twice: in the end the results of an uninterrupted run.

``CLR_TEST_KILLS=12 pytest -m slow tests/faults/test_kills.py -s`` prints the table of kills.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import time
from pathlib import Path

import pytest
from support import forked, results_makers
from support.left_behind import left_behind, timeless

from clr_cli.execution.run_directory import RunDirectory

KILLS = int(os.environ.get("CLR_TEST_KILLS", "4"))
COMMANDS = {
    "train": ("train", "--schedule", "clr"),
    "range-test": ("range-test", "--jobs", "1", "--set", "range_test.epochs=1"),
    "compare": ("compare", "--jobs", "1"),
    "compare with workers": ("compare", "--jobs", "2"),
    "compare --tune": ("compare", "--jobs", "1", "--seeds", "2", "--tune", "--tune-arms", "clr"),
}
LEARNING = ("range-test", "compare --tune")  # on tiny no probe learns anything


def command_line(name: str, config: Path, *more: object) -> tuple[object, ...]:
    return (*COMMANDS[name], "--config", config, "--device", "cpu", *more)


def done(child: forked.Clr) -> None:
    assert child.wait() in (0, 3), child.stderr  # 3: a range test without an answer


def run_folders(output: Path) -> list[RunDirectory]:
    return [RunDirectory(path.parent) for path in output.rglob("config.yaml")]


def check_at_most_one_row_is_lost(output: Path) -> None:
    for directory in run_folders(output):
        state, notes = directory.load_checkpoint()
        assert notes == []
        kept = 0 if state is None else state["rows"]
        assert len(directory.read_metrics()) - kept in (0, 1)


def writing_a_checkpoint(output: Path, since: float) -> bool:
    """Whether one is half-written that was begun after ``since``, not left by an earlier kill."""
    for path in [*output.rglob(".checkpoint*"), *output.rglob("checkpoint.new.pt")]:
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime >= since:
                return True
    return False


def strike(child: forked.Clr, output: Path, moments: random.Random, *, in_write: bool) -> bool:
    """SIGKILL at a random moment, or the next time a checkpoint is half-written."""
    wait = moments.uniform(0.2, 2.0)
    started, since = time.monotonic(), time.time()
    skipped = moments.randrange(3)  # checkpoints left alone before
    while child.running and time.monotonic() - started < (30 if in_write else wait):
        if in_write and writing_a_checkpoint(output, since):
            if not skipped:
                break
            skipped -= 1
            while child.running and writing_a_checkpoint(output, since):
                pass
        elif not in_write:
            time.sleep(0.01)
    if not child.running:
        return False
    caught = writing_a_checkpoint(output, since) if in_write else True
    child.kill()
    return caught


def kill_again_and_again(name: str, kills: int, tiny: Path, folder: Path, seed: int) -> str:
    """Kill, start again, until done; anew until there were enough kills. A line of the table."""
    done(forked.start(folder, *command_line(name, tiny, "--output-dir", "whole")))
    expected = left_behind(folder / "whole")
    moments = random.Random(seed)
    struck = in_writes = rounds = 0
    while struck < kills:
        rounds += 1
        output = folder / f"killed-{rounds}"
        command = command_line(name, tiny, "--output-dir", output)
        while struck < kills:
            child = forked.start(folder, *command)
            in_write = struck % 2 == 1
            if strike(child, output, moments, in_write=in_write):
                struck += 1
                in_writes += in_write
            elif not child.running and child.wait() >= 0:
                break
            no_process_is_left(child)
            check_at_most_one_row_is_lost(output)
        done(forked.start(folder, *command))
        assert left_behind(output) == expected
        assert not list(output.rglob(".*.*")), "a temporary file was left"
    return f"{name:<22} {struck:>5} {in_writes:>9} {rounds:>8} {0:>11}"


def no_process_is_left(child: forked.Clr, seconds: float = 30) -> None:
    """Of the whole process group: workers included. They may take a moment to notice."""
    deadline = time.monotonic() + seconds
    while members := group_of(child.process.pid):
        assert time.monotonic() < deadline, f"left running: {members}"
        time.sleep(0.05)


def group_of(group: int) -> list[int]:
    members = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group = path.read_text().rpartition(") ")[2].split()[:3]
        except OSError:
            continue
        if int(its_group) == group and state != "Z":
            members.append(int(path.parent.name))
    return members


def test_two_kills_change_nothing(tiny, tmp_path):
    kill_again_and_again("train", 2, tiny, tmp_path, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_kills_at_random_moments_and_in_checkpoint_writes_change_nothing(
    tiny, easy, tmp_path, name
):
    config = easy if name in LEARNING else tiny
    line = kill_again_and_again(name, KILLS, config, tmp_path, seed=KILLS)
    print(f"\n{'command':<22} kills in writes    runs differences\n{line}")


# ---- signals -------------------------------------------------------------------------------------


def check_interrupted(child: forked.Clr, code: int, output: Path) -> None:
    assert child.wait() == code, child.stderr
    no_process_is_left(child)
    assert "Traceback" not in child.stderr
    check_at_most_one_row_is_lost(output)


def server_of(child: forked.Clr) -> int:
    """The server that forks the workers, as soon as it has been started."""
    while True:
        assert child.running, child.stderr
        for member in set(group_of(child.process.pid)) - {child.process.pid}:
            with contextlib.suppress(OSError):
                if b"execution.server" in Path(f"/proc/{member}/cmdline").read_bytes():
                    return member
        time.sleep(0.01)


def ignores_ctrl_c(process: int) -> bool:
    """Whether SIGINT is among the signals that the kernel drops for the process."""
    status = Path(f"/proc/{process}/status").read_text()
    (ignored,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigIgn"))
    return bool(int(ignored, 16) >> (signal.SIGINT - 1) & 1)


@pytest.mark.linux
@pytest.mark.parametrize("importing", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)],
)
def test_a_signal_ends_the_workers_too(tiny, tmp_path, number, code, importing):
    command = command_line("compare with workers", tiny, "--set", "training.epochs=1000")
    child = forked.start(tmp_path, *command)
    if importing:  # the server imports torch first, and must not answer Ctrl-C with a traceback
        assert ignores_ctrl_c(server_of(child))
        time.sleep(0.3)
    else:
        child.wait_for("to go")
        for worker in set(group_of(child.process.pid)) - {child.process.pid}:
            assert ignores_ctrl_c(worker)
    child.signal(number)
    check_interrupted(child, code, tmp_path / "outputs")
    said = "nothing was saved yet" if importing else "all progress is saved"
    assert child.stderr.splitlines()[-1].startswith(f"clr: interrupted: {said}")


@pytest.mark.parametrize("pause", [0.0, pytest.param(0.01, marks=pytest.mark.slow)])
def test_a_second_ctrl_c_ends_at_once_without_damage(tiny, tmp_path, pause):
    command = command_line("train", tiny, "--set", "training.epochs=1000")
    child = forked.start(tmp_path, *command)
    child.wait_for("epoch 2/")
    child.signal(signal.SIGINT)
    time.sleep(pause)
    if child.running:
        child.signal(signal.SIGINT)
    check_interrupted(child, 130, tmp_path / "outputs")


@pytest.mark.linux
@pytest.mark.slow
def test_a_killed_parent_leaves_no_workers(tiny, tmp_path):
    """Not even in the middle of an epoch that takes most of a minute."""
    command = command_line("compare with workers", tiny, "--set", "model.width=256")
    child = forked.start(tmp_path, *command)
    while len(run_folders(tmp_path / "outputs")) < 2:
        assert child.running, child.stderr
        time.sleep(0.01)
    time.sleep(5)
    assert len(group_of(child.process.pid)) == 4  # clr, two workers, the server that forks them
    child.kill()
    no_process_is_left(child, seconds=10)


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_interrupted_again_and_again_nothing_is_repeated_and_nothing_changes(
    tiny, easy, tmp_path, name
):
    """SIGTERM in the middle of an epoch saves the steps done so far."""
    config = easy if name in LEARNING else tiny
    short_steps = ("--set", "training.batch_size=10", "--set", "training.epochs=6")
    done(forked.start(tmp_path, *command_line(name, config, *short_steps, "-o", "whole")))
    command = command_line(name, config, *short_steps, "-o", "stopped")
    in_epochs, most = 0, 0
    moments = random.Random(5)
    slow_to_start = name == "compare with workers"  # they import torch anew
    for stops_to_come in reversed(range(4 if slow_to_start else 8)):
        child = forked.start(tmp_path, *command)
        begun = "to go" if slow_to_start else "clr "  # a first row, or the plan
        while child.running and begun not in child.stderr:
            time.sleep(0.01)
        child.process.join(moments.uniform(0, 0.5))
        if child.running and stops_to_come:
            child.signal(signal.SIGTERM)
        code = child.wait()
        no_process_is_left(child)
        if code in (0, 3):
            break
        assert code == 143, child.stderr
        states = [directory.load_checkpoint()[0] for directory in run_folders(tmp_path / "stopped")]
        in_epochs += sum(len(state["losses"]) > 0 for state in states if state)
        reached = sum(state["iteration"] for state in states if state)
        assert reached >= most, "steps were lost"
        most = reached
    assert code != 143
    assert in_epochs > 0
    assert left_behind(tmp_path / "stopped") == left_behind(tmp_path / "whole")


def test_a_signal_reaches_the_child_and_never_pytest(tmp_path):
    """Not even before the child has made a group of its own, or when it has ended."""
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        child = forked.start(tmp_path, "config", "schema")
        child.signal(signal.SIGINT)
        child.wait()
        child.signal(signal.SIGINT)
        assert child.process.pid != os.getpgrp()
    finally:
        signal.signal(signal.SIGINT, before)
    assert came == []


# ---- reports ----


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("kills", [1, pytest.param(3 * KILLS, marks=pytest.mark.slow)])
def test_a_killed_report_leaves_whole_files_and_the_next_one_makes_the_others(tmp_path, kills):
    done(forked.start(tmp_path, "compare", *results_makers.csv(tmp_path)))
    results = tmp_path / "outputs/results/compare"
    whole = contents(results)
    kept = {"summary.json", "runs.csv"}
    assert {"report.html", "report.md", "difference.png", "difference.svg", *kept} <= set(whole)
    moments = random.Random(kills)
    struck = 0
    for _ in range(kills):
        for name in set(whole) - kept:
            (results / name).unlink(missing_ok=True)
        child = forked.start(tmp_path, "report", results, "--formats", "png,svg")
        count = moments.randrange(2, len(whole))
        while child.running and len([*results.iterdir()]) < count:
            time.sleep(0.001)
        child.kill()
        made = contents(results)
        struck += made != whole
        for name, content in made.items():
            assert name.startswith(".") or content == whole[name], f"{name} is not whole"
    assert struck
    done(forked.start(tmp_path, "report", results, "--formats", "png,svg"))
    assert contents(results) == whole


# ---- a config that is edited while it is used ----


@pytest.mark.slow
def test_a_config_that_is_edited_midway_changes_nothing_until_the_next_command(tiny, tmp_path):
    """With workers, which begin their second run after the edit."""
    done(forked.start(tmp_path, *command_line("compare", tiny, "-o", "whole")))
    longer = ("-o", "edited")
    child = forked.start(tmp_path, *command_line("compare with workers", tiny, *longer))
    child.wait_for("to go")
    before = tiny.read_text()
    tiny.write_text(before.replace("lr: 0.05", "lr: 0.06"))
    done(child)
    assert left_behind(tmp_path / "edited") == left_behind(tmp_path / "whole")
    again = forked.start(tmp_path, *command_line("compare", tiny, *longer))
    assert again.wait() == 2
    assert "schedules.constant.lr: 0.05 there, 0.06 now" in again.stderr
    tiny.write_text("training: {epochs: [")
    again = forked.start(tmp_path, *command_line("compare", tiny, *longer))
    assert again.wait() == 2
    assert again.stderr.startswith(f"clr: {tiny}: ")


# ---- two at once ---------------------------------------------------------------------------------


def test_a_second_process_says_that_it_waits_and_then_goes_on(tiny, tmp_path):
    run = RunDirectory(tmp_path / "outputs" / "tiny" / "train" / "clr" / "seed-0")
    with run.lock():
        child = forked.start(tmp_path, *command_line("train", tiny))
        child.wait_for("another process is working on it")
        time.sleep(2.5)  # it tries again every second, and says so once
        assert child.running
        assert child.stderr.count("another process is working on it") == 1
    assert child.wait() == 0, child.stderr
    assert run.finished


@pytest.mark.slow
def test_a_range_test_beside_a_tuned_comparison_changes_neither(easy, tmp_path):
    """They share the probes of an arm, and each run is made once."""
    lines = [command_line(name, easy) for name in LEARNING]
    lines[0] += ("--schedule", "clr")
    for line in lines:
        done(forked.start(tmp_path / "one", *line))
    pair = [forked.start(tmp_path / "two", *line, prints=tmp_path / line[0]) for line in lines]
    for child in pair:
        done(child)
    assert left_behind(tmp_path / "two") == left_behind(tmp_path / "one")
    answers = [
        json.loads((tmp_path / folder / "outputs/easy/range-test/clr/result.json").read_text())
        for folder in ("one", "two")
    ]
    assert timeless(answers[0]) == timeless(answers[1])


def test_a_stale_lock_file_is_no_obstacle(tiny, tmp_path):
    run = RunDirectory(tmp_path / "outputs" / "tiny" / "train" / "clr" / "seed-0")
    run.path.mkdir(parents=True)
    (run.path / ".lock").write_text("4194303\n")
    child = forked.start(tmp_path, *command_line("train", tiny))
    assert child.wait() == 0, child.stderr
    assert run.finished
