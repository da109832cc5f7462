"""The run directory: atomic writes, checksummed checkpoints, the lock, config conflicts."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from clr_cli.errors import EnvironmentFailure, InputError
from clr_cli.execution.run_directory import Locked, RunDirectory
from clr_cli.files import read_json, write_atomic, write_json


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    (tmp_path / "run").mkdir()
    return RunDirectory(tmp_path / "run")


def test_an_atomic_write_replaces_and_leaves_nothing_behind(tmp_path):
    write_atomic(tmp_path / "a" / "x.txt", "one")
    write_atomic(tmp_path / "a" / "x.txt", "two")
    assert (tmp_path / "a" / "x.txt").read_text() == "two"
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["x.txt"]


def test_what_a_killed_write_left_is_used_up_by_the_next(tmp_path):
    path = tmp_path / "x.txt"
    write = "from pathlib import Path; from clr_cli.files import write_atomic; import os, signal\n"
    write += "os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
    write += f"write_atomic(Path({str(path)!r}), 'a long text that is never finished')"
    assert subprocess.run([sys.executable, "-c", write]).returncode == -signal.SIGKILL
    assert [p.name for p in tmp_path.iterdir()] == [".x.txt.part"]
    write_atomic(path, "new")
    assert path.read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["x.txt"]


def test_two_processes_write_one_file_without_mixing(tmp_path):
    path = tmp_path / "x.txt"
    write = "import sys; from pathlib import Path; from clr_cli.files import write_atomic\n"
    write += f"for _ in range(200): write_atomic(Path({str(path)!r}), sys.argv[1] * 100_000)"
    writers = [subprocess.Popen([sys.executable, "-c", write, letter]) for letter in "ab"]
    read = set()
    while any(writer.poll() is None for writer in writers):
        if path.exists():
            read.add(path.read_text())
    assert [writer.returncode for writer in writers] == [0, 0]
    assert read == {"a" * 100_000, "b" * 100_000}
    assert [p.name for p in tmp_path.iterdir()] == ["x.txt"]


def test_a_failed_write_keeps_the_old_file(tmp_path):
    (tmp_path / "x").mkdir()  # a folder cannot be replaced by a file
    with pytest.raises(EnvironmentFailure, match="cannot be written"):
        write_atomic(tmp_path / "x", "new")
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_json_has_no_nan_and_damage_is_named(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"loss": float("nan")})
    (tmp_path / "x.json").write_text('{"a": ')
    with pytest.raises(InputError, match=r"x\.json: damaged"):
        read_json(tmp_path / "x.json")


def test_a_damaged_checkpoint_falls_back_to_the_one_before(directory):
    for epoch in (1, 2):
        directory.save_checkpoint({"epoch": epoch, "weights": torch.arange(1000.0) + epoch})
    state, notes = directory.load_checkpoint()
    assert (state["epoch"], notes) == (2, [])
    newest = directory.path / "checkpoint.pt"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1  # a single flipped bit within the weights
    newest.write_bytes(content)
    state, notes = directory.load_checkpoint()
    assert state["epoch"] == 1
    assert torch.equal(state["weights"], torch.arange(1000.0) + 1)
    assert "checkpoint.pt: damaged" in notes[0]
    (directory.path / "checkpoint.previous.pt").write_bytes(b"")
    state, notes = directory.load_checkpoint()
    assert state is None
    assert len(notes) == 3
    assert notes[2].endswith("no checkpoint can be used; starting from the beginning")


def test_a_checkpoint_cannot_run_code(directory):
    class Evil:
        def __reduce__(self):
            return (exec, ("raise SystemExit('it ran')",))

    torch.save({"epoch": Evil()}, directory.path / "checkpoint.pt")
    state, notes = directory.load_checkpoint()
    assert state is None
    assert "damaged" in notes[0]


def test_the_lock_keeps_others_off_and_dies_with_its_process(directory):
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time; from pathlib import Path\n"
            "from clr_cli.execution.run_directory import RunDirectory\n"
            "with RunDirectory(Path(sys.argv[1])).lock():\n"
            "    print('held', flush=True); time.sleep(60)",
            str(directory.path),
        ],
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(Locked, match="another process"), directory.lock():
            pass
    finally:
        holder.kill()
        holder.wait()
    with directory.lock():
        assert (directory.path / ".lock").exists()


def test_another_config_is_refused_with_the_difference_and_two_ways_out(directory):
    config = {"training": {"epochs": 3}, "dataset": {"root": "data", "name": "svhn"}}
    directory.prepare(config)
    directory.prepare({**config, "dataset": {"root": "elsewhere", "name": "svhn"}})
    directory.prepare({**config, "training": {"epochs": 3, "cuda_graph": True}})
    changed = {**config, "training": {"epochs": 4}}
    with pytest.raises(InputError, match=r"training.epochs: 3 there, 4 now.*--overwrite.*--name"):
        directory.prepare(changed)
    (directory.path / "metrics.jsonl").write_text("{}\n")
    directory.prepare(changed, overwrite=True)
    assert not (directory.path / "metrics.jsonl").exists()
    directory.prepare(changed)


def test_metrics_after_the_checkpoint_are_dropped(directory):
    for epoch in (1, 2, 3):
        directory.append_metrics({"epoch": epoch, "iteration": 5 * epoch, "train_seconds": 0.5})
    path = directory.path / "metrics.jsonl"
    path.write_text(path.read_text() + '{"epoch": 4, "lo')  # cut off by a kill
    assert [row["epoch"] for row in directory.read_metrics()] == [1, 2, 3]
    directory.keep_metrics(2)
    assert [row["epoch"] for row in directory.read_metrics()] == [1, 2]
    assert path.read_text().count("\n") == 2
    path.write_text(path.read_text().replace("train_seconds", "train_secondt", 1))
    with pytest.raises(InputError, match="row 1 has no train_seconds"):
        directory.keep_metrics(2)
