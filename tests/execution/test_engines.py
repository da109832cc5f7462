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
from conftest import write_tiny
from support import forked
from support.left_behind import left_by
from support.plans import plan, worker_processes

from clr_cli.errors import InputError
from clr_cli.execution import engines
from clr_cli.execution.fingerprint import Fingerprint
from clr_cli.execution.function_task import Call, FunctionTask
from clr_cli.execution.run_directory import RunDirectory
from clr_cli.execution.task import execute
from clr_cli.execution.workers import Place, Pool, execute_in_workers


@pytest.fixture(scope="module")
def reference(data_root, tmp_path_factory):
    """The tiny comparison, uninterrupted, in this process."""
    folder = tmp_path_factory.mktemp("reference")
    runs = plan(write_tiny(folder, data_root), folder, seeds=(0, 1))
    list(engines.local(runs))
    return [left_by(run.directory) for run in runs]


@pytest.mark.linux
def test_workers_give_what_one_process_gives_and_a_dead_one_is_replaced(tiny, tmp_path, reference):
    """They serve one plan after another: the second after one of them was killed."""
    pool = Pool()
    with pool.keep_workers():
        runs = plan(tiny, tmp_path / "workers", seeds=(0, 1))
        events = list(engines.local(runs, jobs=2, pool=pool))
        assert [left_by(run.directory) for run in runs] == reference
        assert sorted(e.index for e in events if e.kind == "end") == [0, 1, 2, 3]

        runs = plan(tiny, tmp_path / "killed", seeds=(0, 1))
        events, killed = [], False
        for event in engines.local(runs, jobs=2, pool=pool):
            events.append(event)
            if event.kind == "row" and not killed:
                killed = True
                os.kill(worker_processes()[0], signal.SIGKILL)
        assert any("its worker died" in str(e.value) for e in events if e.kind == "note")
        assert [left_by(run.directory) for run in runs] == reference

        runs = plan(tiny, tmp_path / "wrong", "training.batch_size=100000", seeds=(0, 1))
        with pytest.raises(InputError, match="training.batch_size"):
            list(engines.local(runs, jobs=2, pool=pool))
        assert worker_processes() == [], "an unreadable config value stops all workers"


def test_a_worker_that_dies_before_its_task_is_sent_is_replaced(tmp_path):
    pool, killed = Pool(), []

    class Killing:
        def __reduce__(self):
            if not killed:
                killed.append(pool._workers[0].process)
                killed[0].kill()
                killed[0].join()
            return int, (3,)

    call, given = Call(float), (Killing(),)
    about = {"path": tmp_path / "run", "seed": 0, "arm": "a", "metric": "loss"}
    task = FunctionTask(call=call, given=given, made_from=Fingerprint(), **about)
    events = list(execute_in_workers([(0, task)], [Place()], pool))
    assert [event.kind for event in events] == ["note", "start", "row", "end"]
    assert "a, seed 0: its worker died (exit code -9); calling" in events[0].value
    assert task.record().result["final"] == {"loss": 3.0}


@pytest.mark.linux
def test_a_worker_has_the_environment_of_now(easy, tmp_path, monkeypatch):
    """Not that of the server that it is forked from."""
    model = "nn.Sequential(nn.Flatten(), nn.Linear(in_channels * 64, num_classes))"
    source = f"from torch import nn\n\ndef net(*, num_classes, in_channels):\n    return {model}\n"
    (tmp_path / "own_net.py").write_text(source)
    easy.write_text(easy.read_text().replace("{name: cnn, width: 8}", "{name: 'own_net:net'}"))
    monkeypatch.chdir(tmp_path)
    runs = plan(easy, tmp_path / "outputs")
    with pytest.raises(InputError, match="CLR_ALLOW_CODE=1"):
        list(engines.local(runs, jobs=2))
    monkeypatch.setenv("CLR_ALLOW_CODE", "1")
    ends = [event.value for event in engines.local(runs, jobs=2) if event.kind == "end"]
    assert ends == ["finished"] * 2


@pytest.mark.slow
def test_workers_start_where_a_temporary_folder_has_too_long_a_path_for_a_socket(tiny, tmp_path):
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    command = [sys.executable, "-m", "clr_cli", "compare", "--config", tiny, "--jobs", "2"]
    environment = {**os.environ, "TMPDIR": str(folder)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(": finished") == 4


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
    assert [left_by(run.directory) for run in runs] == reference


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


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_cleanly_and_says_how_to_go_on(tiny, tmp_path, number, code):
    command = ("train", "--config", tiny, "--device", "cpu", "--set", "training.epochs=1000")
    child = forked.start(tmp_path, *command, "--output-dir", "out")
    child.wait_for("epoch 2/")
    child.signal(number)
    assert child.wait(60) == code
    assert child.stderr.splitlines()[-1].startswith("clr: interrupted: all progress is saved")
    run = RunDirectory(tmp_path / "out" / "tiny" / "train" / "clr" / "seed-0")
    state, notes = run.load_checkpoint()
    assert notes == []
    assert state["epoch"] >= 2
    assert len(run.read_metrics()) - state["epoch"] in (0, 1)
    assert not list(run.path.glob(".*.??*"))  # no temporary file


@pytest.mark.slow
def test_two_processes_share_a_plan(tiny, tmp_path, reference):
    command = ("compare", "--config", tiny, "--jobs", "1", "--device", "cpu", "-o", "out", "--json")
    pair = [
        forked.start(tmp_path, *command, prints=tmp_path / f"prints-{number}")
        for number in range(2)
    ]
    assert [child.wait() for child in pair] == [0, 0]
    summaries = [json.loads(child.stdout) for child in pair]
    assert summaries[0]["comparisons"] == summaries[1]["comparisons"]
    runs = plan(tiny, tmp_path / "out" / "tiny" / "train", seeds=(0, 1))
    assert [left_by(run.directory) for run in runs] == reference


@pytest.mark.slow
@pytest.mark.linux
def test_memory_and_files_are_flat_over_many_epochs(tiny, tmp_path):
    """Of a very small run: what grows once an epoch would show."""
    sizes = []
    overrides = ["training.epochs=300", "dataset.train_size=100", "model.width=1"]
    overrides += ["dataset.test_size=50", "dataset.val_size=50"]
    run = plan(tiny, tmp_path, *overrides)[0]
    for event in execute(run):
        if event.kind == "row" and event.value["epoch"] in (40, 300):
            resident = int(Path("/proc/self/statm").read_text().split()[1]) * 4096
            sizes.append((resident, len(os.listdir("/proc/self/fd"))))
    assert torch.get_num_threads() == 1
    (early, files), (late, files_late) = sizes
    assert late - early < 80e3 * (300 - 40)
    assert files == files_late
