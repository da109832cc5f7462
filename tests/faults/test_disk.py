"""Disks that are full or read-only, and run folders whose files have been damaged."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from support import forked
from support.left_behind import left_behind

from clr_cli.config import load as configs
from clr_cli.errors import InputError
from clr_cli.execution.program import Program
from clr_cli.execution.run_directory import RunDirectory
from clr_cli.execution.task import execute
from clr_cli.execution.training_task import Run

PAGE = 4096


@contextlib.contextmanager
def mounted(folder: Path, options: str):
    """A small disk in memory; the test is skipped where mounting is not allowed."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"mounting a small disk is not permitted here: {error}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_read_only_disk_is_found_before_training(tiny, tmp_path):
    disk = tmp_path / "disk"
    with mounted(disk, "size=1m,ro"):
        child = forked.start(tmp_path, "compare", "--config", tiny, "--output-dir", disk)
        assert child.wait() == 2
        expected = f"clr: {disk}/tiny/train: cannot be written: Read-only file system\n"
        assert child.stderr == expected


def test_a_disk_without_room_for_another_file_is_an_environment_failure(tiny, tmp_path):
    disk = tmp_path / "disk"
    with mounted(disk, "size=1m,nr_inodes=1"):
        child = forked.start(tmp_path, "train", "--config", tiny, "--output-dir", disk)
        assert child.wait() == 1
        assert child.stderr.startswith(f"clr: {disk}/tiny/train: cannot be written: No space left")
        assert child.stderr.count("\n") == 1
        assert "saved" not in child.stderr  # no run had begun


@pytest.mark.slow
def test_a_disk_that_fills_up_anywhere_loses_nothing(tiny, tmp_path):
    """The disk grows a little after each failure; at last the run is what it is on a large one."""
    command = ("train", "--config", tiny, "--device", "cpu")
    child = forked.start(tmp_path, *command, "--output-dir", "large")
    assert child.wait() == 0, child.stderr
    disk = tmp_path / "disk"
    filled = []
    with mounted(disk, "size=4m"):
        pages, ballast = 0, disk / "ballast"
        while True:
            _fill(ballast, disk, leaving=pages * PAGE)
            child = forked.start(tmp_path, *command, "--output-dir", disk)
            if child.wait() == 0:
                break
            assert child.process.exitcode == 1, child.stderr
            *_, last = child.stderr.splitlines()
            assert "Traceback" not in child.stderr
            assert last.startswith("clr: ")
            assert "No space left on device" in last
            filled.append(Path(last.removeprefix("clr: ").partition(":")[0]).name)
            begun = filled[-1] not in ("config.yaml", "origin.json")
            assert ("every finished epoch is saved" in last) == begun, last
            run = disk / "tiny" / "train" / "clr" / "seed-0"
            assert not list(run.glob(".*.*")), "a temporary file was left"
            pages = pages + 1 if pages < 4 else pages + max(8, pages // 2)
        same = left_behind(tmp_path / "large") == left_behind(disk)
    assert same
    assert {"config.yaml", "metrics.jsonl", "checkpoint.new.pt"} <= set(filled)
    assert any(name.endswith((".png", ".svg")) for name in filled), filled


def _fill(ballast: Path, disk: Path, *, leaving: int) -> None:
    """Fill the disk but for some free bytes (and what its files use already)."""
    ballast.unlink(missing_ok=True)
    free = int(subprocess.check_output(["stat", "-f", "-c", "%f", str(disk)])) * PAGE
    with ballast.open("wb") as file:
        file.write(bytes(max(0, free - leaving)))


def test_a_full_disk_promises_nothing_where_nothing_trains(tmp_path):
    table = tmp_path / "train.csv"
    table.write_text("arm,seed,loss\na,0,1\na,1,2\nb,0,2\nb,1,3\n")
    disk = tmp_path / "disk"
    with mounted(disk, "size=64k"):
        _fill(disk / "ballast", disk, leaving=PAGE)
        child = forked.start(tmp_path, "compare", "--from", table, "--output-dir", disk)
        assert child.wait() == 1
        assert child.stderr.endswith("No space left on device\n")


# ---- damaged files -------------------------------------------------------------------------------


@pytest.fixture
def run(tiny, tmp_path) -> Run:
    config = configs.load(str(tiny))
    arm = config.schedule("clr")
    path = tmp_path / "run"
    return Run(config=config, seed=0, path=path, device="cpu", threads=1, arm="clr", schedule=arm)


def stop_after(run: Run, epochs: int) -> None:
    events = execute(run)
    for _ in range(epochs):
        while next(events).kind != "row":
            pass
    events.close()


DAMAGE = {
    "emptied": lambda content: b"",
    "cut in half": lambda content: content[: len(content) // 2],
    "other bytes": lambda content: b"\xff\x00\xfe" * 40,
    "other JSON": lambda content: b"[]\n",
    "an empty object": lambda content: b"{}\n",
}


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(damage, id=name, marks=[] if name == "cut in half" else pytest.mark.slow)
        for name, damage in DAMAGE.items()
    ],
)
def test_damaged_files_of_a_run_are_named_or_made_good(run, tmp_path, damage):
    list(execute(run))
    finished = left_behind(tmp_path)
    for name in ("config.yaml", "result.json", "metrics.jsonl"):
        path = run.path / name
        whole = path.read_bytes()
        path.write_bytes(damage(whole))
        with pytest.raises(InputError) as caught:
            list(execute(run))
        message = str(caught.value)
        assert message.isprintable()
        assert str(path if "contains a run of another" not in message else run.path) in message
        path.write_bytes(whole)
    for name in ("checkpoint.pt", "checkpoint.previous.pt"):  # first one of them, then both
        (run.path / name).write_bytes(damage((run.path / name).read_bytes()))
        (run.path / "result.json").unlink()
        notes = [event.value for event in execute(run) if event.kind == "note"]
        assert f"{run.path / 'checkpoint.pt'}: damaged" in notes[0]
        assert left_behind(tmp_path) == finished
        (run.path / "checkpoint.pt").write_bytes(b"")


def test_a_damaged_config_costs_no_run(run):
    """--overwrite would delete the run, so it is not the advice; what is advised goes on."""
    stop_after(run, 2)
    path = run.path / "config.yaml"
    path.write_bytes(b"\xff")
    with pytest.raises(InputError) as caught:
        list(execute(run))
    assert str(caught.value).startswith(f"{path}: damaged; restore it, or delete it if")
    assert "--overwrite" not in str(caught.value)
    path.unlink()
    assert next(event.value for event in execute(run) if event.kind == "start") == 2


def test_true_is_not_a_number_of_rows(run):
    list(execute(run))
    path = run.directory.result_path
    path.write_text(json.dumps({**json.loads(path.read_text()), "epochs": True}))
    with pytest.raises(InputError, match=r"result.json: epochs: true does not fit") as caught:
        list(execute(run))
    assert "True" not in str(caught.value)


PROGRAMS_FILES = [
    ("seconds.json", '{"seconds": "many"}', "seconds: "),
    ("seconds.json", "[1]", "seconds.json: "),
    ("metrics.jsonl", '{"iteration": 1, "val_loss": "low"}\n', "val_loss: 'low' is not a number"),
    ("metrics.jsonl", '{"iteration": 1, "val_loss": [1]}\n', r"val_loss: \[1\] is not a number"),
    ("result.json", {"train_seconds": "long"}, "train_seconds: "),
    ("result.json", {"points": True}, "damaged"),
    ("result.json", {"status": 3}, "damaged"),
    ("result.json", {"status": "going"}, "status: "),
    ("result.json", {"read": 3}, "read: "),
]


@pytest.mark.parametrize(("name", "content", "said"), PROGRAMS_FILES)
def test_values_of_another_kind_in_a_programs_files_give_one_line(tmp_path, name, content, said):
    (tmp_path / "one.py").write_text(
        "import sys; open(sys.argv[1], 'w').write('{\"val_loss\": 1}')"
    )
    task = Program(
        command=f"{sys.executable} {tmp_path / 'one.py'} {{out}}",
        arm="a",
        values={},
        metric="val_loss",
        path=tmp_path / "run",
        seed=0,
    )
    list(execute(task))
    path = task.path / name
    if isinstance(content, dict):
        content = json.dumps({**json.loads(path.read_text()), **content})
    path.write_text(content)
    if name == "seconds.json":  # it is read where the program runs on
        task.directory.result_path.unlink()
    with pytest.raises(InputError, match=said) as caught:
        list(execute(task))
    assert str(path) in str(caught.value)
    assert str(caught.value).isprintable()


def test_an_unfinished_run_with_lost_metrics_is_not_continued(run):
    stop_after(run, 2)
    path = run.path / "metrics.jsonl"
    path.write_text("not JSON\n" + path.read_text())
    with pytest.raises(InputError, match=r"metrics.jsonl: damaged: 0 of \d rows.*--overwrite"):
        list(execute(run))


def test_a_checkpoint_of_another_model_is_refused(run):
    stop_after(run, 1)
    state, _ = run.directory.load_checkpoint()
    run.directory.save_checkpoint({**state, "model": {}})
    with pytest.raises(InputError, match=r"does not fit this model.*--overwrite"):
        list(execute(run))


def test_metrics_are_appended_never_rewritten(run):
    """The file that the first epoch made is the one that the last epoch is in."""
    events = execute(run)
    inodes, sizes = set(), []
    for event in events:
        if event.kind == "row":
            there = (run.path / "metrics.jsonl").stat()
            inodes.add(there.st_ino)
            sizes.append(there.st_size)
    assert len(inodes) == 1
    lines = (run.path / "metrics.jsonl").read_text().splitlines(keepends=True)
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3]
    assert sizes == [sum(map(len, lines[: n + 1])) for n in range(3)]
    assert RunDirectory(run.path).finished
