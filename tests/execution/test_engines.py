"""Plans of runs: same results whatever the engine, resumes, divergence and lost workers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from clr_cli.config import load as configs
from clr_cli.errors import InputError
from clr_cli.execution import engines
from clr_cli.execution.run_directory import RunDirectory
from clr_cli.execution.task import execute
from clr_cli.execution.training_task import Run


def plan(config_path: Path, output: Path, *overrides: str, seeds=(0,), **kwargs) -> list[Run]:
    config = configs.load(str(config_path), overrides)
    return [
        Run(
            config=config,
            arm=arm,
            schedule=config.schedule(arm),
            seed=seed,
            path=output / arm / f"seed-{seed}",
            device="cpu",
            threads=1,
            **kwargs,
        )
        for arm in config.compare.schedules
        for seed in seeds
    ]


def fingerprint(directory: RunDirectory):
    """All a run left behind, but the clock."""

    def timeless(row):
        return {k: v for k, v in row.items() if "second" not in k}

    state, _ = directory.load_checkpoint()
    weights = [t.numpy().tobytes() for t in state["model"].values()] if state else None
    metrics = [timeless(row) for row in directory.read_metrics()]
    return metrics, timeless(directory.read_result()), weights


@pytest.fixture
def reference(tiny, tmp_path):
    """The tiny comparison, uninterrupted, in this process."""
    runs = plan(tiny, tmp_path / "reference", seeds=(0, 1))
    list(engines.local(runs))
    return [fingerprint(run.directory) for run in runs]


def test_workers_give_what_one_process_gives(tiny, tmp_path, reference):
    runs = plan(tiny, tmp_path / "workers", seeds=(0, 1))
    events = list(engines.local(runs, jobs=2))
    assert [fingerprint(run.directory) for run in runs] == reference
    assert sorted(e.index for e in events if e.kind == "end") == [0, 1, 2, 3]


def test_a_finished_plan_is_not_trained_again(tiny, tmp_path):
    runs = plan(tiny, tmp_path)
    list(engines.local(runs))
    before = [(run.path / "result.json").stat().st_mtime_ns for run in runs]
    assert not [e for e in engines.local(runs) if e.kind == "row"]
    assert before == [(run.path / "result.json").stat().st_mtime_ns for run in runs]


def test_a_closed_generator_leaves_a_resumable_run(tiny, tmp_path, reference):
    runs = plan(tiny, tmp_path / "stopped", seeds=(0, 1))
    events = engines.local(runs)
    while next(events).kind != "row":
        pass
    events.close()
    assert not runs[0].directory.finished
    list(engines.local(runs))
    assert [fingerprint(run.directory) for run in runs] == reference


def test_divergence_is_a_result_and_the_plan_goes_on(tiny, tmp_path):
    runs = plan(tiny, tmp_path, "schedules.constant.lr=1e30")
    events = list(engines.local(runs))
    assert [e.value for e in events if e.kind == "end"] == ["diverged", "finished"]
    result = runs[0].directory.read_result()
    assert result["final"] is None
    assert result["diverged"]["lr"] == 1e30
    assert result["diverged"]["epoch"] == 1


def test_changed_data_is_not_mixed_into_a_run(tiny, tmp_path):
    run = plan(tiny, tmp_path)[0]
    events = execute(run)
    while next(events).kind != "row":
        pass
    events.close()
    state, _ = run.directory.load_checkpoint()
    run.directory.save_checkpoint({**state, "fingerprint": "other"})
    with pytest.raises(InputError, match="the data has changed"):
        list(execute(run))


def test_a_dead_worker_is_replaced_and_its_run_goes_on(tiny, tmp_path, reference):
    runs = plan(tiny, tmp_path / "killed", seeds=(0, 1))
    events, killed = [], False
    for event in engines.local(runs, jobs=2):
        events.append(event)
        if event.kind == "row" and not killed:
            killed = True
            children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
            victims = [int(c) for c in children if b"spawn_main" in _command(int(c))]
            os.kill(victims[0], signal.SIGKILL)
    assert any("its worker died" in str(e.value) for e in events if e.kind == "note")
    assert [fingerprint(run.directory) for run in runs] == reference


def _command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def test_an_unreadable_config_value_stops_all_workers(tiny, tmp_path):
    runs = plan(tiny, tmp_path, "training.batch_size=100000", seeds=(0, 1))
    with pytest.raises(InputError, match="training.batch_size"):
        list(engines.local(runs, jobs=2))


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_ends_cleanly_and_says_how_to_go_on(tiny, tmp_path, name, code):
    command = [sys.executable, "-m", "clr_cli", "train", "--config", str(tiny), "--device", "cpu"]
    command += ["--set", "training.epochs=1000", "--output-dir", str(tmp_path / "out")]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while "epoch 2/" not in child.stderr.readline():
        pass
    child.send_signal(getattr(signal, name))
    _, stderr = child.communicate(timeout=60)
    assert child.returncode == code
    assert stderr.splitlines()[-1].startswith("clr: interrupted: all progress is saved")
    run = RunDirectory(tmp_path / "out" / "tiny" / "train" / "clr" / "seed-0")
    state, notes = run.load_checkpoint()
    assert notes == []
    assert state["epoch"] >= 2
    assert len(run.read_metrics()) - state["epoch"] in (0, 1)
    assert not list(run.path.glob(".*.??*"))  # no temporary file


def test_two_processes_share_a_plan(tiny, tmp_path, reference):
    command = [sys.executable, "-m", "clr_cli", "compare", "--config", str(tiny), "--jobs", "1"]
    command += ["--device", "cpu", "--output-dir", str(tmp_path / "out"), "--json"]
    pair = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for _ in range(2)
    ]
    summaries = [json.loads(child.communicate(timeout=120)[0]) for child in pair]
    assert [child.returncode for child in pair] == [0, 0]
    assert summaries[0]["comparisons"] == summaries[1]["comparisons"]
    runs = plan(tiny, tmp_path / "out" / "tiny" / "train", seeds=(0, 1))
    assert [fingerprint(run.directory) for run in runs] == reference


def test_memory_and_files_are_flat_over_many_epochs(tiny, tmp_path):
    """300 epochs of a very small run: what grows once an epoch would show."""
    sizes = []
    overrides = ["training.epochs=300", "dataset.train_size=200", "model.width=1"]
    overrides += ["dataset.test_size=50", "dataset.val_size=50"]
    run = plan(tiny, tmp_path, *overrides)[0]
    for event in execute(run):
        if event.kind == "row" and event.value["epoch"] in (50, 300):
            resident = int(Path("/proc/self/statm").read_text().split()[1]) * 4096
            sizes.append((resident, len(os.listdir("/proc/self/fd"))))
    assert torch.get_num_threads() == 1
    (early, files), (late, files_late) = sizes
    assert late - early < 20e6
    assert files == files_late
