"""A user's program as a task: rows, failing, resuming; nothing of it stays behind."""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from programs import STUBBORN, written

from clr_cli import interrupt
from clr_cli.errors import InputError
from clr_cli.execution import engines, program_process
from clr_cli.execution.program import Program
from clr_cli.execution.rows import Rows, from_json
from clr_cli.execution.task import execute

READ = (r"step (?P<step>\d+): val loss (?P<val_loss>[\d.]+)",)


def task(path: Path, command: str, **kwargs) -> Program:
    given = {"arm": "base", "values": {"lr": "0.5"}, "metric": "val_loss", "seed": 0, **kwargs}
    return Program(path=path / "run", command=command, folder=path, **given)


def script(tmp_path: Path, *lines: str) -> str:
    return written(tmp_path, "\n".join(["import os, sys", *lines]))


def notes(events) -> str:
    return "\n".join(str(event.value) for event in events if event.kind == "note")


@pytest.mark.parametrize("reads", [(), READ])
def test_its_rows_are_what_it_writes_or_prints(tmp_path, reads):
    run = task(tmp_path, written(tmp_path), reads=reads, seed=3)
    events = list(execute(run))
    kinds = [event.kind for event in events]
    assert kinds == ["start", *["row"] * 5, "end"]
    record = run.record()
    losses = [0.25 + 1 / step + (3 * 7919 % 13) / 1000 for step in range(1, 6)]
    assert [row["val_loss"] for row in record.epochs] == pytest.approx(losses, abs=5e-5)
    assert [row["iteration"] for row in record.epochs] == [1, 2, 3, 4, 5]
    assert record.result["final"]["val_loss"] == pytest.approx(losses[-1], abs=5e-5)
    assert record.status == "finished"


def test_a_finished_one_is_never_run_again(tmp_path):
    run = task(tmp_path, written(tmp_path))
    list(execute(run))
    before = (run.path / "out.jsonl").read_bytes()
    events = list(execute(run))
    assert [event.kind for event in events] == ["start", "end"]
    assert (run.path / "out.jsonl").read_bytes() == before


def test_other_patterns_read_a_finished_one_anew(tmp_path):
    """The training is kept where only the pattern was wrong."""
    command = written(tmp_path)
    with pytest.raises(InputError) as caught:
        list(execute(task(tmp_path, command, reads=(r"step (?P<step>\d+): val loss (?P<l>.+)",))))
    assert "wrote no val_loss; its rows hold iteration, l" in str(caught.value)
    run = task(tmp_path, command, reads=READ)
    assert [event.kind for event in execute(run)] == ["start", "end"]
    assert run.record().result["final"]["val_loss"] == pytest.approx(0.45, abs=1e-4)


def test_another_command_or_value_is_refused_with_the_difference(tmp_path):
    command = written(tmp_path)
    list(execute(task(tmp_path, command)))
    with pytest.raises(InputError, match=r"arm\.lr: 0\.5 there, 0\.7 now.*--overwrite"):
        list(execute(task(tmp_path, command, values={"lr": "0.7"})))
    with pytest.raises(InputError, match="command: .* --amp now"):
        list(execute(task(tmp_path, command + " --amp")))


def test_values_are_passed_without_a_shell(tmp_path):
    lines = ("open(sys.argv[3], 'w').write(repr(sys.argv[1:3]) + '\\n')",)
    run = task(tmp_path, script(tmp_path, *lines), values={"lr": "$(touch x) ; 'a b'"})
    with pytest.raises(InputError, match="no row of numbers was found"):
        list(execute(run))
    assert run.out.read_text() == repr(["$(touch x) ; 'a b'", "0"]) + "\n"
    assert not (tmp_path / "x").exists()


def test_one_that_fails_shows_the_end_of_its_log_and_is_tried_again(tmp_path):
    lines = (
        "print('loading')",
        "if not os.path.exists('ready'): raise RuntimeError('no data here')",
        "open(sys.argv[3], 'a').write('{\"val_loss\": 1}')",
    )
    run = task(tmp_path, script(tmp_path, *lines))
    events = list(execute(run))
    assert "failed (exit code 1)" in notes(events)
    assert notes(events).splitlines()[-1].strip() == "RuntimeError: no data here"
    assert events[-1].value == "failed"
    assert run.record().status == "failed"
    (tmp_path / "ready").touch()
    assert list(execute(run))[-1].value == "finished"


def test_a_final_that_is_no_number_is_a_failed_run(tmp_path):
    run = task(tmp_path, script(tmp_path, "open(sys.argv[3], 'w').write('{\"val_loss\": NaN}\\n')"))
    assert list(execute(run))[-1].value == "diverged"
    assert run.record().status == "diverged"


def test_one_that_is_killed_is_started_once_more(tmp_path):
    lines = (
        "tries = len(os.listdir('.'))",
        "open(f'try-{tries}', 'w')",
        "if not os.path.exists('fine'): os.kill(os.getpid(), 9)",
        "open(sys.argv[3], 'a').write('{\"val_loss\": 1}\\n')",
    )
    run = task(tmp_path, script(tmp_path, *lines))
    events = list(execute(run))
    assert "killed by SIGKILL; started again" in notes(events)
    assert "failed (exit code 137, SIGKILL)" in notes(events)
    assert len(list(tmp_path.glob("try-*"))) == 2


def stopped_after_a_row(run: Program, monkeypatch) -> None:
    """Start it, and ask the process to stop once a row is there."""
    events = execute(run)
    assert next(event for event in events if event.kind == "row")
    monkeypatch.setattr(interrupt, "_pending", signal.SIGTERM)
    with pytest.raises(interrupt.Stopped):
        list(events)
    monkeypatch.setattr(interrupt, "_pending", None)


def test_one_that_was_stopped_writes_on(tmp_path, monkeypatch):
    monkeypatch.setenv("WAIT", "0.1")
    run = task(tmp_path, written(tmp_path))
    stopped_after_a_row(run, monkeypatch)
    assert not run.directory.finished
    list(execute(run))
    rows = run.record().epochs
    assert [row["iteration"] for row in rows] == [1, 2, 3, 4, 5]
    assert rows[0]["resumed_at"] == 0
    assert rows[-1]["resumed_at"] > 0, "it began again"


def test_nothing_of_it_stays_behind(tmp_path, monkeypatch):
    """It ignores SIGTERM, and has a child in a session of its own that does so too."""
    monkeypatch.setattr(program_process, "GRACE", 0.5)
    run = task(tmp_path, written(tmp_path, STUBBORN))
    stopped_after_a_row(run, monkeypatch)
    pids = [int(pid) for pid in (run.path / "out.jsonl.pids").read_text().split()]
    assert not any(running(pid) for pid in pids)


def test_what_it_leaves_running_at_its_end_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(program_process, "GRACE", 0.5)
    lines = (
        "import subprocess",
        "left = subprocess.Popen(['sleep', '600'], start_new_session=True)",
        'open(sys.argv[3], "w").write(f\'{{"val_loss": 1, "pid": {left.pid}}}\\n\')',
    )
    run = task(tmp_path, script(tmp_path, *lines))
    list(execute(run))
    assert not running(int(run.record().epochs[0]["pid"]))


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


def test_programs_that_run_side_by_side_take_turns_on_the_gpus(tmp_path, monkeypatch):
    """Each sees one GPU, and all are used; one after the other each sees them all."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    lines = (
        "import json, time",
        "seen = {'val_loss': 1, 'gpu': int(os.environ['CUDA_VISIBLE_DEVICES'].replace(',', ''))}",
        "seen['threads'] = int(os.environ['OMP_NUM_THREADS'])",
        "open(sys.argv[3], 'w').write(json.dumps(seen) + '\\n')",
        "time.sleep(0.5)",
    )
    command = script(tmp_path, *lines)
    runs = [
        Program(
            path=tmp_path / f"run-{seed}",
            command=command,
            arm="base",
            values={"lr": "1"},
            metric="val_loss",
            seed=seed,
            threads=3,
            alone=seed == 2,
        )
        for seed in range(3)
    ]
    list(engines.local(runs[:2], jobs=2))
    list(engines.local(runs[2:], jobs=1))
    *final, alone = [run.record().result["final"] for run in runs]
    assert alone["gpu"] == 47
    assert sorted(row["gpu"] for row in final) == [4, 7]
    assert {row["threads"] for row in final} == {3}


def test_a_run_is_failed_where_its_command_is_not_there(tmp_path):
    run = task(tmp_path, "no-such-program {lr} {seed} {out}")
    events = list(execute(run))
    assert "no-such-program: No such file or directory" in notes(events)
    assert run.record().status == "failed"


def rows_of(*given: dict) -> list[dict]:
    rows = Rows()
    for row in given:
        rows.add(row)
    return rows.all


def test_what_a_program_writes_last_counts():
    again = rows_of(
        {"iteration": 1, "loss": 5.0},
        {"iteration": 2, "loss": 4.0},
        {"iteration": 3, "loss": 3.0},
        {"iteration": 2, "loss": 4.5},
    )
    assert again == [{"iteration": 1, "loss": 5.0}, {"iteration": 2, "loss": 4.5}]
    together = rows_of(
        {"iteration": 1, "val_loss": 5.0}, {"iteration": 1, "loss": 4.0}, {"test_loss": 2.0}
    )
    assert together == [{"iteration": 1, "val_loss": 5.0, "loss": 4.0, "test_loss": 2.0}]
    assert rows_of({"loss": 5.0}, {"loss": 4.0}) == [{"loss": 5.0}, {"loss": 4.0}]
    assert rows_of({"epoch": 1, "loss": 5.0}, {"epoch": 1, "acc": 0.5}) == [
        {"epoch": 1, "loss": 5.0, "acc": 0.5}
    ]


@pytest.mark.parametrize(
    ("line", "row"),
    [
        ('{"step": 3, "loss": 1e-3, "name": "x", "ok": true}', {"iteration": 3, "loss": 1e-3}),
        ('{"loss": null}', {"loss": math.nan}),
        ('{"loss": Infinity}', {"loss": math.inf}),
        ('{"loss": 1.', None),
        ("[1, 2]", None),
        ("3", None),
        ('{"name": "x"}', None),
        ("[" * 100_000, None),
    ],
)
def test_a_line_is_a_row_or_nothing(line, row):
    found = from_json(line)
    assert json.dumps(found) == json.dumps(row)


def test_half_a_number_is_not_read(tmp_path, monkeypatch):
    """A kill may cut a line: what was left of it is dropped before the program writes on."""
    lines = (
        "print('step 2: val loss 1.5')",
        "print('step 3: val loss 1.25')",
    )
    run = task(tmp_path, script(tmp_path, *lines), reads=READ)
    run.path.mkdir()
    run.log.write_text("step 1: val loss 9.5\nstep 2: val loss 1")
    events = list(execute(run))
    assert events[0].value == 1
    assert [row["val_loss"] for row in run.record().epochs] == [9.5, 1.5, 1.25]


def test_a_program_of_a_killed_clr_ends_before_the_next_begins(tmp_path):
    """The supervisor holds the folder until all has ended."""
    command = script(
        tmp_path,
        "import signal, time",
        "end = lambda *_: (time.sleep(1), open('ended', 'w'), sys.exit(0))",
        "signal.signal(signal.SIGTERM, end)",
        "open('begun', 'w') if not os.path.exists('begun') else open('again', 'w')",
        "if os.path.exists('again'):",
        "    open(sys.argv[3], 'w').write('{\"val_loss\": %d}\\n' % os.path.exists('ended'))",
        "    sys.exit(0)",
        "time.sleep(600)",
    )
    run = task(tmp_path, command)
    child = os.fork()
    if child == 0:
        list(execute(run))
        os._exit(0)
    deadline = time.monotonic() + 30
    while not (tmp_path / "begun").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    list(execute(run))
    assert run.record().result["final"]["val_loss"] == 1, "both ran at once"
    assert sys.executable in command
