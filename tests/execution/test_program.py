"""A user's program as a task: rows, failing, resuming; nothing of it stays behind."""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from support.programs import STUBBORN, written

from clr_cli import interrupt
from clr_cli.errors import InputError
from clr_cli.execution import engines, program_process
from clr_cli.execution.output import LONGEST, Tail, from_text, suggest
from clr_cli.execution.program import FirstRuns, Program
from clr_cli.execution.rows import Rows, count_on, find_rows, from_json
from clr_cli.execution.task import Event, execute
from clr_cli.report.runs import read_runs_csv, write_runs_csv

READ = (r"step (?P<step>\d+): val loss (?P<val_loss>[\d.]+)",)


def task(path: Path, command: str, **kwargs) -> Program:
    given = {"arm": "base", "values": {"lr": "0.5"}, "metric": "val_loss", "seed": 0, **kwargs}
    return Program(path=path / "run", command=command, folder=path, **given)


def script(tmp_path: Path, *lines: str) -> str:
    return written(tmp_path, "\n".join(["import os, sys", *lines]))


def kill_once_there(run: Program, file: Path) -> None:
    """Execute the run in a process that is killed as soon as the file is there."""
    child = os.fork()
    if child == 0:
        list(execute(run))
        os._exit(0)
    deadline = time.monotonic() + 30
    while not file.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


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
    assert "wrote no val_loss; its rows contain iteration, l" in str(caught.value)
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
    kill_once_there(run, tmp_path / "begun")
    list(execute(run))
    assert run.record().result["final"]["val_loss"] == 1, "both ran at once"
    assert sys.executable in command


def test_one_that_starts_over_waits_for_the_program_of_a_killed_clr(tmp_path):
    """That program writes until it has ended; none of its rows are among the new ones."""
    command = script(
        tmp_path,
        "import json, signal, time",
        "signal.signal(signal.SIGTERM, lambda *_: None)",
        "first = not os.path.exists('begun')",
        "open('begun', 'w')",
        "for step in range(40 if first else 1):",
        "    row = json.dumps({'step': step + 100 * first, 'val_loss': 1})",
        "    open(sys.argv[3], 'a').write(row + '\\n')",
        "    time.sleep(0.05)",
    )
    run = task(tmp_path, command)
    kill_once_there(run, run.out)
    list(execute(replace(run, overwrite=True)))
    assert [row["iteration"] for row in run.record().epochs] == [0]


def test_a_file_that_is_written_anew_counts_as_it_is_at_the_end(tmp_path):
    """Killed after two rows, started again with mode w."""
    lines = (
        "first = not os.path.exists('tried')",
        "open('tried', 'w')",
        "out = open(sys.argv[3], 'w')",
        "for step in (1, 2) if first else (3,):",
        "    out.write('{\"val_loss\": %d}\\n' % step)",
        "    out.flush()",
        "import time; time.sleep(0.3)",
        "if first: os.kill(os.getpid(), 9)",
    )
    run = task(tmp_path, script(tmp_path, *lines))
    events = list(execute(run))
    assert [event.value["val_loss"] for event in events if event.kind == "row"] == [1, 2, 3]
    assert run.record().epochs == [{"val_loss": 3}]


def test_a_crash_is_not_tried_twice(tmp_path):
    """A segmentation fault would come again; a program that others have killed may not be."""
    lines = ("open('tries', 'a').write('x')", "os.kill(os.getpid(), 11)")
    events = list(execute(task(tmp_path, script(tmp_path, *lines))))
    assert "failed (exit code 139, SIGSEGV)" in notes(events)
    assert (tmp_path / "tries").read_text() == "x"


def test_a_command_that_failed_before_its_first_row_can_be_mended(tmp_path):
    """Its folder holds nothing of worth: another command needs no --overwrite."""
    run = task(tmp_path, "no-such-program {lr} {seed} {out}", reads=READ)
    assert list(execute(run))[-1].value == "failed"
    assert not (run.path / "seconds.json").exists()
    run = task(tmp_path, written(tmp_path), reads=READ)
    assert list(execute(run))[-1].value == "finished"
    assert "no-such-program" not in run.log.read_text()


def runs_of(tmp_path: Path, command: str) -> list[Program]:
    return [
        Program(
            path=tmp_path / arm / str(seed),
            command=command,
            arm=arm,
            values={"lr": lr},
            metric="val_loss",
            seed=seed,
            folder=tmp_path,
        )
        for seed in range(4)
        for arm, lr in (("base", "1"), ("new", "2"))
    ]


@pytest.mark.parametrize("jobs", [1, 3])
def test_a_program_that_fails_in_every_arm_stops_the_comparison(tmp_path, jobs):
    lines = ("open('tries', 'a').write('x')", "sys.exit('no data')")
    runs = runs_of(tmp_path, script(tmp_path, *lines))
    first = FirstRuns(["base", "new"])
    with pytest.raises(
        InputError, match=r"first run of every arm \(base, new\) failed .*; see .*\.log"
    ):
        [first.feed(runs[event.index], event) for event in engines.local(runs, jobs=jobs)]
    assert len((tmp_path / "tries").read_text()) <= jobs + 1


def test_a_program_that_works_in_one_arm_goes_on(tmp_path):
    write = "open(sys.argv[3], 'w').write('{\"val_loss\": 1}')"
    runs = runs_of(tmp_path, script(tmp_path, f"{write} if sys.argv[1] == '2' else sys.exit(1)"))
    first, events = FirstRuns(["base", "new"]), []
    for event in engines.local(runs):
        events.append(event)
        first.feed(runs[event.index], event)
    assert [e.value for e in events if e.kind == "end"] == ["failed", "finished"] * 4
    for run in runs:  # those of a later look
        first.feed(run, Event(0, "end", "failed"))


@pytest.mark.parametrize("sign", [Event(0, "row", {"val_loss": 1}), Event(0, "start", 3)])
def test_a_program_that_fails_after_its_first_row_goes_on(tmp_path, sign):
    """The rows may be of an earlier start."""
    runs, first = runs_of(tmp_path, "train"), FirstRuns(["base", "new"])
    first.feed(runs[0], sign)
    for index in range(4):
        first.feed(runs[index], Event(index, "end", "failed"))


def test_colored_output_is_read(tmp_path):
    """Colors, a window title, a link, and a progress bar that is redrawn on its line."""
    lines = (
        r"print('\x1b]0;training\x07\x1b[1;32mstep 1\x1b[0m: \x1b[4mval\x1b[24m loss 2.5\x1b[K')",
        r"print('\r 50% step 2: val loss 9\r', end='')",
        r"print('100% step 2: val \x1b]8;;a\x1b\\loss\x1b(B 2.0', end='')",
    )
    run = task(tmp_path, script(tmp_path, *lines), reads=READ)
    list(execute(run))
    rows = [(row["iteration"], row["val_loss"]) for row in run.record().epochs]
    assert rows == [(1, 2.5), (2, 2.0)]


def test_without_a_row_the_log_is_shown_and_a_pattern_that_reads_it(tmp_path):
    command = script(tmp_path, "print('loading'); print('Epoch 3 | Val-Loss: 0.25, took 3 s')")
    run = task(tmp_path, command)
    events = []
    with pytest.raises(InputError) as caught:
        events += execute(run)
    said = str(caught.value)
    assert str(run.log) in said
    assert "out.jsonl" not in said, "there is no such file"
    assert "no row of numbers was found" in said
    pattern = shlex.split(said[said.index("--read ") :])[1]
    again = task(tmp_path, command, reads=(pattern,))
    assert [event.kind for event in execute(again)] == ["start", "end"]
    assert again.record().epochs == [{"epoch": 3, "val_loss": 0.25}]


def test_the_end_of_the_log_is_told_where_the_metric_is_missing(tmp_path):
    events = execute(task(tmp_path, script(tmp_path, "print('no numbers at all')")))
    assert [next(events).kind, next(events).value.splitlines()[-1]] == [
        "start",
        "  no numbers at all",
    ]
    with pytest.raises(InputError, match=r"output\.log: .* write rows to \{out\}"):
        next(events)


KINDS = ["csv", "csv with semicolons", "json", "json lines"]
CSV = "epoch,step,train_loss,val_loss\n1,3,2.5,\n1,3,,2.25\n2,6,2.0,2.125\n"
JSON = json.dumps(
    {
        "best": None,
        "log_history": [{"epoch": 1, "step": 3, "val_loss": 2.25}, {"step": 6, "val_loss": 2.125}],
    }
)
LINES = '{"step": 3, "val_loss": 2.25}\n{"step": 6, "val_loss": 2.125}\n'


@pytest.mark.parametrize(
    "text", [CSV, CSV.replace(",", ";"), JSON, LINES], ids=["csv", ";", "json", "jsonl"]
)
@pytest.mark.parametrize("place", ["", "/logs/version_0/metrics", ".d/metrics"])
def test_rows_are_read_whatever_file_the_program_writes(tmp_path, text, place):
    kind = {"e": "csv", "{": "json" if text == JSON else "jsonl"}[text[0]]
    suffix = f".{kind}" if place else ""
    lines = (
        "import pathlib",
        f"path = pathlib.Path(sys.argv[3] + {place + suffix!r})",
        "path.parent.mkdir(parents=True, exist_ok=True)",
        f"path.write_text({text!r})",
    )
    run = task(tmp_path, script(tmp_path, *lines))
    assert list(execute(run))[-1].value == "finished"
    rows = run.record().epochs
    assert [(row["iteration"], row["val_loss"]) for row in rows] == [(3, 2.25), (6, 2.125)]
    assert [event.kind for event in execute(run)] == ["start", "end"]


def test_of_several_files_the_newest_with_the_metric_counts(tmp_path):
    folder = tmp_path / "out.d"
    folder.mkdir()
    for age, (name, text) in enumerate(
        {"hparams.json": '{"lr": 1}', "b.csv": "val_loss\n2\n", "a.csv": "val_loss\n1\n"}.items()
    ):
        (folder / name).write_text(text)
        os.utime(folder / name, (1e9 - age, 1e9 - age))
    assert find_rows(tmp_path / "out", "val_loss") == [{"val_loss": 2}]


@pytest.mark.parametrize("first", [0, 1])
def test_steps_within_an_epoch_are_counted_on(tmp_path, first):
    lines = (
        "import json",
        f"rows = [dict(epoch=e, step=s + {first}, val_loss=9 - 3 * e - s)",
        "        for e in range(3) for s in range(3)]",
        "open(sys.argv[3], 'w').writelines(json.dumps(row) + '\\n' for row in rows)",
    )
    run = task(tmp_path, script(tmp_path, *lines))
    list(execute(run))
    rows = run.record().epochs
    assert [row["iteration"] for row in rows] == [*range(first, 9 + first)]
    assert [row["val_loss"] for row in rows] == [*range(9, 0, -1)]


def test_a_row_without_a_position_leaves_the_first_step_as_it_is():
    steps = [(1, 0), (1, 10), (2, 0)]
    rows = [{"loss": 9.0}, *({"epoch": e, "iteration": step} for e, step in steps)]
    assert [row.get("iteration") for row in count_on(rows)] == [None, 0, 10, 20]


@pytest.mark.parametrize(
    ("text", "value"),
    [("2.31,", 2.31), ("1,234.5", 1234.5), ("1,234,567", 1234567), ("1_000", 1000)],
)
def test_commas_that_group_digits_are_left_out(text, value):
    assert list(from_text(f"loss {text}", [re.compile(r"loss (?P<loss>\S+)")])) == [{"loss": value}]


@pytest.mark.parametrize("text", ["2,31", "0,905", "1,2345", "12,34,567"])
def test_other_commas_are_no_number(text):
    with pytest.raises(InputError, match="which is not a number"):
        list(from_text(f"loss {text}", [re.compile(r"loss (?P<loss>\S+)")]))


def test_a_program_that_went_back_to_an_earlier_epoch_writes_it_again():
    first = [{"epoch": e, "iteration": s, "loss": e} for e in (1, 2) for s in (1, 2)]
    again = [{"epoch": 1, "iteration": 2, "loss": 7}, {"epoch": 2, "iteration": 1, "loss": 8}]
    assert rows_of(*first, *again) == [first[0], *again]


NASTY = [
    '{"seed": 7, "arm": 1, "status": 2, "val_loss": 1.5}',
    '{"step": 1, "epoch": -1, "seconds": -5, "val_loss": 1.5}',
    '{"step": 1, "big": 1e31, "val_loss": 1.5}',
    '{"step": 1, "val_loss": 1.5, "huge": 1' + "0" * 400 + "}",
    '{"step": 1, "val_loss": 1.5, "huge": -1' + "0" * 5000 + "}",
    '{"iteration": Infinity, "val_loss": 1.5}',
    '{"epoch": 1e9, "val_loss": 1.5}',
    '{"epoch": NaN, "iteration": -3, "val_loss": 1.5}',
    r'{"\ud800": 3, "a\nb": 1, "": 4, "x": {"y": 1}, "val_loss": 1.5}',
    '{"iteration": 4, "step": 2, "val_loss": 1.5}',
]


@pytest.mark.parametrize("line", NASTY)
def test_rows_with_nasty_names_and_values_make_tables_that_are_read_again(tmp_path, line):
    run = task(tmp_path, script(tmp_path, f"open(sys.argv[3], 'w').write({line!r})"))
    assert list(execute(run))[-1].value == "finished"
    record = run.record()
    assert record.result["final"]["val_loss"] == 1.5
    (found,) = read_runs_csv(write_runs_csv([record]))
    assert (found.arm, found.seed, found.status) == ("base", 0, "finished")
    assert found.epochs[-1]["val_loss"] == 1.5


@pytest.mark.parametrize("value", ["1e31", "1" + "0" * 400, "-Infinity", "NaN", '"NaN"', "null"])
def test_a_value_without_bounds_is_a_failed_run(tmp_path, value):
    run = task(
        tmp_path, script(tmp_path, f"open(sys.argv[3], 'w').write('{{\"val_loss\": {value}}}')")
    )
    assert list(execute(run))[-1].value == "diverged"


def test_a_pattern_that_takes_for_ever_is_ended(tmp_path):
    command = script(tmp_path, "print('a' * 60 + '!', flush=True); import time; time.sleep(60)")
    run = task(tmp_path, command, reads=(r"(a+)+(?P<val_loss>\d)$",))
    with pytest.raises(InputError, match="takes too long on the line 'aaa"):
        list(execute(run))


def test_a_line_without_an_end_is_capped(tmp_path):
    path = tmp_path / "log"
    with open(path, "wb") as file:
        for _ in range(40):
            file.write(b"x" * 500_000)
    tail = Tail(path)
    assert tail.lines() == []
    with open(path, "ab") as file:
        file.write(b"\nstep 1\n")
    long, last = tail.lines()
    assert len(long) == LONGEST
    assert last == "step 1"


def test_the_time_limit_ends_it_and_its_rows_count(tmp_path, monkeypatch):
    monkeypatch.setenv("STEPS", "100000")
    monkeypatch.setenv("WAIT", "0.1")
    run = task(tmp_path, written(tmp_path), time_limit=1.0)
    events = list(execute(run))
    assert "stopped by the time limit; its rows count" in notes(events)
    assert events[-1].value == "finished"
    assert len(run.record().epochs) == sum(event.kind == "row" for event in events) > 0
    with pytest.raises(InputError, match=r"time_limit: 1\.0 there"):
        list(execute(task(tmp_path, run.command, time_limit=2.0)))


def test_the_time_limit_without_a_row_is_a_failed_run(tmp_path):
    run = task(tmp_path, script(tmp_path, "import time; time.sleep(600)"), time_limit=0.2)
    for _ in range(2):  # the same command again gives it its time again
        events = list(execute(run))
        assert "no row within 0.2 s" in notes(events)
        assert run.record().status == "failed"


SEEN = [
    ("val_loss", "iter 20: train 2.5 val_loss=1.25e-1"),
    ("val_loss", "| end of epoch   1 | time:  3.5s | valid loss  5.90 | val loss 5.70"),
    ("accuracy", "Step: 7 (lr 0.1) Accuracy: 93.1%"),
    ("val/loss", "Epoch 3: val/loss 2.0"),
    ("val_ppl", "score: 12.5"),
    ("loss", "{'loss': 2.5, 'epoch': 1.0}"),
    ("loss", "step 5: [loss: nan]"),
]


@pytest.mark.parametrize(("metric", "line"), [case for case in SEEN if "/" not in case[0]])
def test_the_suggested_pattern_reads_the_line(metric, line):
    found = suggest(["warming up", line, "done in"], metric)
    assert found is not None
    assert found[0] == line
    (row,) = from_text(line, [re.compile(found[1])])
    assert metric in row


def test_no_pattern_is_suggested_where_none_reads_it():
    assert suggest(["Epoch 3: val/loss 2.0"], "val/loss") is None
    assert suggest(["no numbers", ""], "val_loss") is None
