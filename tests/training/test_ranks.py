"""One run on two ranks, started by torchrun (gloo, CPU): the numbers of one process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.left_behind import left_behind

from clr_cli.execution.run_directory import RunDirectory
from clr_cli.training.ranks import local_world_size, own_rank, world_size

# Batch norm takes its statistics over a rank's own images, so that its numbers are others.
NO_BATCH_NORM = """
from torch import nn

def net(*, num_classes, in_channels):
    return nn.Sequential(
        nn.Conv2d(in_channels, 8, 3, stride=2), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2),
        nn.ReLU(), nn.Flatten(), nn.Linear(8 * 49, num_classes),
    )
"""


@pytest.fixture
def command(tiny: Path, tmp_path: Path):
    (tmp_path / "plain.py").write_text(NO_BATCH_NORM)
    given = [
        "--config",
        tiny,
        "--device",
        "cpu",
        "--allow-code",
        "--set",
        "model={name: plain:net}",
    ]
    given += ["--set", "training.precision=fp32"]

    def line(output: str, *more: object, ranks: int = 2, name: str = "train") -> list[str]:
        launch = [sys.executable, "-m"]
        if ranks > 1:
            launch += ["torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}", "-m"]
        return [*launch, "clr_cli", name, *map(str, given), "-o", output, *map(str, more)]

    return line


def run(line: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{Path(__file__).parents[2]}"}
    return subprocess.run(
        line, cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )


def the_run(output: Path) -> RunDirectory:
    return RunDirectory(output / "tiny" / "train" / "clr" / "seed-0")


@pytest.mark.slow
@pytest.mark.parametrize("parts", [1, 5])
def test_two_ranks_have_the_losses_of_one_process(command, tmp_path, parts):
    for output, ranks in (("one", 1), ("two", 2)):
        cut = ("--set", f"training.accumulate={parts}")
        done = run(command(output, *cut, ranks=ranks), tmp_path)
        assert done.returncode == 0, done.stderr
    one, two = (the_run(tmp_path / output).read_metrics() for output in ("one", "two"))
    assert len(one) == len(two) == 3
    for a, b in zip(one, two, strict=True):
        for key in ("train_loss", "val_loss", "test_loss"):
            assert a[key] == pytest.approx(b[key], abs=1e-5)
        assert a["train_accuracy"] == pytest.approx(b["train_accuracy"], abs=0.005)
        assert a["iteration"] == b["iteration"]
    assert [the_run(tmp_path / o).read_result()["ranks"] for o in ("one", "two")] == [1, 2]
    assert done.stderr.count("clr train: tiny") == 1  # rank 0 alone speaks


def rank_one_of(launcher: int) -> int:
    """The process in which torchrun has started rank 1."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    environments = {pid: Path(f"/proc/{pid}/environ").read_bytes() for pid in children}
    (found,) = (pid for pid, given in environments.items() if b"RANK=1" in given.split(b"\0"))
    return int(found)


@pytest.mark.linux
@pytest.mark.slow
def test_all_ranks_stop_on_sigterm_and_the_same_command_goes_on(command, tmp_path):
    longer = ("--set", "training.batch_size=4", "--set", "training.epochs=2")  # 125 steps an epoch
    assert run(command("whole", *longer), tmp_path).returncode == 0
    environment = {**os.environ, "PYTHONPATH": f"{Path(__file__).parents[2]}"}
    stopped = the_run(tmp_path / "stopped")
    child = subprocess.Popen(
        command("stopped", *longer),
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (stopped.path / "metrics.jsonl").exists():  # the first epoch has ended
        assert child.poll() is None
        time.sleep(0.01)
    os.kill(rank_one_of(child.pid), signal.SIGTERM)  # the others hear of it from this one
    _, stderr = child.communicate(timeout=60)
    assert child.returncode != 0
    assert "clr: interrupted: all progress is saved" in stderr
    assert not stopped.finished
    state, notes = stopped.load_checkpoint()
    assert notes == []
    assert 125 <= state["iteration"] < 250
    assert len(state["losses"]) == state["iteration"] - 125
    assert run(command("stopped", *longer), tmp_path).returncode == 0
    assert left_behind(tmp_path / "stopped") == left_behind(tmp_path / "whole")


@pytest.mark.slow
def test_all_ranks_stop_when_the_loss_is_not_finite(command, tmp_path):
    done = run(
        command("out", "--schedule", "constant", "--set", "schedules.constant.lr=1e30"), tmp_path
    )
    assert done.returncode == 0, done.stderr
    result = RunDirectory(tmp_path / "out" / "tiny" / "train" / "constant" / "seed-0").read_result()
    assert (result["status"], result["diverged"]["lr"]) == ("diverged", 1e30)


@pytest.mark.parametrize("name", ["compare", "range-test"])
def test_torchrun_is_for_one_run(clr, tiny, monkeypatch, name):
    for key, value in (("TORCHELASTIC_RUN_ID", "none"), ("WORLD_SIZE", "2"), ("RANK", "0")):
        monkeypatch.setenv(key, value)
    done = clr(name, "--config", tiny, "--device", "cpu", check=False)
    assert done.returncode == 2
    assert f"torchrun works only with clr train, not with clr {name}" in done.stderr


def test_a_rank_says_who_speaks(clr, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    assert clr("train", "--config", "nowhere.yaml", check=False).stderr.startswith("clr: ")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    done = clr("train", "--config", "nowhere.yaml", check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("clr, rank 1: config 'nowhere.yaml' not found")


@pytest.mark.parametrize("size", ["2", ""])
def test_a_jobs_environment_alone_does_not_make_ranks(monkeypatch, size):
    """Some clusters set WORLD_SIZE for every process."""
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.setenv(name, size)
    assert (world_size(), local_world_size(), own_rank()) == (1, 1, 0)
