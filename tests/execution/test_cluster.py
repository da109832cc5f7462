"""The Ray engine: what the local engine gives, wherever it runs and whichever node is lost."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.left_behind import left_behind, timeless
from support.plans import plan
from support.programs import TRAIN, written

from clr_cli.errors import InputError
from clr_cli.execution import engines
from clr_cli.execution.program import Program
from clr_cli.execution.run_directory import FILES, RunDirectory
from clr_cli.execution.task import execute
from clr_cli.paths import PROGRAM_LOG, PROGRAM_OUT, PROGRAM_SECONDS

NODE = {"num_cpus": 1, "object_store_memory": 100_000_000}
SMALL = ("dataset.train_size=200", "dataset.val_size=50", "dataset.test_size=50", "model.width=2")
TRAINED = [name for name in FILES if name not in (PROGRAM_LOG, PROGRAM_OUT, PROGRAM_SECONDS)]


@pytest.fixture(scope="module")
def nodes():
    """A cluster of two nodes with one CPU each on this machine."""
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_enable_metrics_collection", "0")
        patch.setenv("RAY_health_check_period_ms", "1000")  # find a lost node sooner
        cluster = cluster_utils.Cluster(
            initialize_head=True, head_node_args={**NODE, "include_dashboard": False}
        )
        try:
            cluster.add_node(**NODE)
            yield cluster
        finally:
            cluster.shutdown()


def on_ray(nodes, runs):
    """The events of these runs on the cluster."""
    from clr_cli.execution.cluster import RayCluster

    return RayCluster(nodes.address).execute(runs)


@pytest.fixture
def engine():
    """The module of the engine, imported only if a test that needs it runs."""
    pytest.importorskip("ray")
    from clr_cli.execution import cluster

    return cluster


def stop_at_row(events, number: int) -> None:
    """Close the engine's generator once so many rows have come."""
    rows = 0
    for event in events:
        rows += event.kind == "row"
        if rows == number:
            break
    events.close()


def finished_locally(config: Path, output: Path, *overrides: str) -> dict[str, Any]:
    list(engines.local(plan(config, output, *overrides)))
    return left_behind(output)


@pytest.mark.slow
def test_every_engine_gives_the_same_comparison(clr, tiny, tmp_path, nodes):
    engines_options = {
        "one process": ("--jobs", 1),
        "two workers": ("--jobs", 2),
        "ray": ("--engine", "ray", "--ray-address", nodes.address),
    }
    summaries, left = {}, {}
    for name, options in engines_options.items():
        sets = [word for key in (*SMALL, "training.epochs=1") for word in ("--set", key)]
        options = (*options, "--seeds", "auto:12", "--device", "cpu", "--output-dir", name, *sets)
        done = clr("compare", "--config", tiny, *options)
        at_once = 1 if name == "one process" else 2
        assert f"2 arms x at most 12 seeds = at most 24, {at_once} at" in done.stderr
        folder = tmp_path / name
        summaries[name] = timeless(json.loads(next(folder.rglob("summary.json")).read_text()))
        left[name] = left_behind(folder)
    assert len(left["ray"]) == 2 * summaries["ray"]["num_seeds"] >= 12
    assert summaries["ray"]["rule"] == "sequential"
    assert left["one process"] == left["two workers"] == left["ray"]
    assert summaries["one process"] == summaries["two workers"] == summaries["ray"]
    assert len(summaries["ray"]["arms"]) == 2  # and not an empty comparison of nothing


@pytest.mark.slow
def test_a_range_test_on_the_nodes_has_the_same_answer(clr, easy, nodes):
    given = ("range-test", "--config", easy, "--device", "cpu", "--json")
    here = json.loads(clr(*given, "--jobs", 1, "--output-dir", "here").stdout)
    ray = ("--engine", "ray", "--ray-address", nodes.address)
    there = json.loads(clr(*given, *ray, "--output-dir", "there").stdout)
    for key in ("tried", "low", "high", "max_lr", "base_lr", "inconclusive"):
        assert there[key] == here[key], key
    assert here["inconclusive"] is None


@pytest.mark.slow
def test_a_program_of_the_users_runs_on_the_nodes(tmp_path, nodes):
    """Its rows and its log come home, also where it fails."""
    fails = "if seed == 2: sys.exit('no GPU left')\n"
    text = TRAIN.replace("steps, wait", fails + "steps, wait", 1)
    command = written(tmp_path, text)

    def runs(folder: Path) -> list[Program]:
        return [
            Program(
                path=folder / f"seed-{seed}",
                seed=seed,
                command=command,
                arm="base",
                values={"lr": "0.5"},
                metric="val_loss",
                device="cpu",
                threads=1,
            )
            for seed in range(3)
        ]

    list(engines.local(runs(tmp_path / "local")))
    there = runs(tmp_path / "ray")
    notes = [event.value for event in on_ray(nodes, there) if event.kind == "note"]
    for here, remote in zip(runs(tmp_path / "local"), there, strict=True):
        assert remote.record().status == here.record().status
        assert remote.record().epochs == here.record().epochs
        assert remote.log.read_text() == here.log.read_text()
    assert [run.record().status for run in there] == ["finished", "finished", "failed"]
    assert len(notes) == 1
    assert f"{there[2].log} ends:\n  no GPU left" in notes[0]


@pytest.mark.slow
def test_a_lost_node_costs_no_result(tiny, tmp_path, nodes, engine, monkeypatch):
    monkeypatch.setattr(engine, "SEND_SECONDS", 0.0)
    overrides = ("training.epochs=60", *SMALL)
    expected = finished_locally(tiny, tmp_path / "local", *overrides)
    doomed = next(node for node in nodes.list_all_nodes() if node is not nodes.head_node)
    runs = plan(tiny, tmp_path / "ray", *overrides)
    events, lost = [], False
    for event in on_ray(nodes, runs):
        events.append(event)
        rows = [sum(e.kind == "row" and e.index == i for e in events) for i in (0, 1)]
        if min(rows) >= 2 and not lost:  # both nodes are at work
            lost = True
            nodes.remove_node(doomed, allow_graceful=False)
            nodes.add_node(**NODE)
    assert lost
    (note,) = [e for e in events if e.kind == "note"]
    assert note.value.startswith(f"{runs[note.index].name}: its worker died (")
    assert note.value.endswith("; resuming from its checkpoint")
    starts = [e.value for e in events if e.kind == "start" and e.index == note.index]
    assert starts[0] == 0
    assert starts[1] >= 2  # not from the beginning
    assert sorted(e.index for e in events if e.kind == "end") == [0, 1]
    assert left_behind(tmp_path / "ray") == expected


@pytest.mark.linux
@pytest.mark.slow
def test_a_run_whose_worker_dies_again_is_given_up(tiny, tmp_path, nodes, engine):
    runs = plan(tiny, tmp_path, "training.epochs=1000", *SMALL)[:1]
    events = []
    for event in on_ray(nodes, runs):
        events.append(event)
        if event.kind == "row" and events[-2].kind == "start":
            for pid in task_processes(nodes):
                os.kill(pid, signal.SIGKILL)
    notes = [e.value.partition(": ")[2] for e in events if e.kind == "note"]
    assert notes == [
        "its worker died (WorkerCrashedError); resuming from its checkpoint",
        "its worker died (WorkerCrashedError) again; giving up on this run",
    ]
    assert (events[-1].kind, events[-1].value) == ("end", "failed")
    assert not runs[0].directory.finished
    with runs[0].directory.lock():  # nobody holds it anymore
        pass


def task_processes(nodes) -> list[int]:
    """The processes of the cluster in which a task runs now."""
    found = []
    for node in nodes.list_all_nodes():
        (raylet,) = node.all_processes["raylet"]
        children = Path(f"/proc/{raylet.process.pid}/task").glob("*/children")
        for child in " ".join(path.read_text() for path in children).split():
            if b"_execute_there" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(int(child))
    return found


@pytest.mark.slow
def test_either_engine_goes_on_where_the_other_stopped(tiny, tmp_path, nodes, engine, monkeypatch):
    monkeypatch.setattr(engine, "SEND_SECONDS", 0.0)
    overrides = ("training.epochs=8", *SMALL)
    expected = finished_locally(tiny, tmp_path / "reference", *overrides)
    runs = plan(tiny, tmp_path / "shared", *overrides)
    stop_at_row(engines.local(runs), 2)
    stop_at_row(on_ray(nodes, runs), 4)
    checkpoints = [run.directory.load_checkpoint()[0] for run in runs]
    rows = [checkpoint["rows"] if checkpoint else 0 for checkpoint in checkpoints]
    assert sum(rows) >= 5
    assert not any(run.directory.finished for run in runs)
    with runs[0].directory.lock():  # as another process that is at it would
        events = on_ray(nodes, runs)
        seen = [next(events)]
        assert (seen[0].kind, seen[0].index) == ("locked", 0)
    seen += events
    assert left_behind(tmp_path / "shared") == expected
    assert [e.value for e in seen if e.kind == "start"] == rows[::-1]
    again = [e for e in on_ray(nodes, runs) if e.kind != "start"]
    assert [(e.kind, e.value) for e in again] == [("end", "finished")] * 2


@pytest.mark.slow
def test_bad_input_found_on_a_node_is_bad_input_here(tiny, tmp_path, nodes, engine):
    run = plan(tiny, tmp_path, *SMALL)[0]
    stop_at_row(execute(run), 1)
    state, _ = run.directory.load_checkpoint()
    run.directory.save_checkpoint({**state, "fingerprint": "other"})
    with pytest.raises(InputError, match=f"^{run.path}: the data has changed"):
        list(on_ray(nodes, [run]))
    with run.directory.lock():
        pass


@pytest.mark.slow
def test_nodes_need_no_data_files(tiny, tmp_path, nodes, engine, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where a relative path means something, as it does not on nodes
    rng = np.random.default_rng(0)
    arrays = {}
    for split, size in (("train", 300), ("test", 100)):
        arrays[f"{split}_images"] = rng.integers(0, 256, (size, 8, 8), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(size) % 3
    np.savez("here.npz", **arrays)
    given = ("dataset.name=npz", "dataset.path=here.npz", "model.width=2")
    each = [
        (*given, more)
        for more in ("dataset.augment.flip=true", "dataset.split=0", "dataset.split=1")
    ]
    expected = [finished_locally(tiny, tmp_path / f"local-{k}", *one) for k, one in enumerate(each)]
    plans = [plan(tiny, tmp_path / f"ray-{k}", *one) for k, one in enumerate(each)]
    list(on_ray(nodes, [run for runs in plans for run in runs]))
    assert [left_behind(tmp_path / f"ray-{k}") for k in range(3)] == expected


@pytest.mark.slow
def test_what_killed_tasks_left_on_a_node_is_removed(tiny, tmp_path, nodes, engine):
    names = ("abandoned", "working", "fresh")
    folders = {name: Path(tempfile.mkdtemp(prefix="clr-run-", suffix=name)) for name in names}
    try:
        with RunDirectory(folders["working"]).lock():
            for name in ("abandoned", "working"):
                os.utime(folders[name], (0, 0))
            later = time.time() + 600  # fresh, however slowly this machine goes
            os.utime(folders["fresh"], (later, later))
            list(on_ray(nodes, plan(tiny, tmp_path, *SMALL)[:1]))
        assert [name for name in names if folders[name].exists()] == ["working", "fresh"]
    finally:
        for folder in folders.values():
            shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
def test_a_run_gets_a_gpu_where_the_cluster_has_one(nodes, engine):
    with engine.connected(nodes.address):
        assert engine.share("auto", 2) == engine.Share(2, 0, "cpu")
        with pytest.raises(InputError, match="--device cuda: no node"):
            engine.share("cuda", 1)
        before = engine.room(engine.Share(1, 0, "cpu"))
        node = nodes.add_node(**{**NODE, "num_cpus": 4}, num_gpus=2)
        try:
            assert engine.share("auto", None) == engine.Share(1, 1, "cuda")
            assert engine.share("cuda:1", 3) == engine.Share(3, 1, "cuda")
            assert engine.share("cpu", 3) == engine.Share(3, 0, "cpu")
            assert engine.room(engine.Share(1, 0, "cpu")) == before + 4
            assert engine.room(engine.Share(1, 1, "cuda")) == 2
            assert engine.room(engine.Share(3, 1, "cuda")) == 1
            third = engine.share("cuda", 1, jobs=5)  # on two GPUs
            assert (third, third.gpus) == (engine.Share(1, 3, "cuda"), 1 / 3)
            assert str(third) == "1 CPU and 1/3 GPU"
            assert engine.room(third) == 4  # for want of CPUs
        finally:
            nodes.remove_node(node)


@pytest.mark.linux
@pytest.mark.slow
def test_a_signal_ends_the_plan_and_what_the_nodes_do_for_it(tiny, tmp_path, nodes, engine):
    command = [sys.executable, "-m", "clr_cli", "compare", "--config", str(tiny), "--device", "cpu"]
    command += ["--engine", "ray", "--ray-address", nodes.address, "--output-dir", str(tmp_path)]
    command += ["--set", "training.epochs=100000"]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    with contextlib.ExitStack() as stack:
        stack.callback(child.kill)
        while "to go" not in (line := child.stderr.readline()):
            assert line
        assert len(task_processes(nodes)) == 2
        child.send_signal(signal.SIGTERM)
        _, stderr = child.communicate(timeout=60)
    assert child.returncode == 143
    assert stderr.splitlines()[-1].startswith("clr: interrupted")
    assert "Traceback" not in stderr
    deadline = time.monotonic() + 20
    while task_processes(nodes):
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--engine", "rya"), "--engine 'rya' is unknown; did you mean 'ray'?"),
        (("--ray-address", "auto"), "--ray-address works only with --engine ray"),
        (("--engine", "ray", "--ray-address", "127.0.0.1:1"), "--ray-address 127.0.0.1:1: no Ray"),
    ],
)
def test_an_engine_that_is_not_there_is_one_line(clr, tiny, options, message):
    if "ray" in options:
        pytest.importorskip("ray")
    done = clr("compare", "--config", tiny, *options, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"clr: {message}")
    assert len(done.stderr.splitlines()) == 1


def test_without_ray_the_extra_is_named(tiny, tmp_path):
    (tmp_path / "ray.py").write_text("raise ImportError('not installed')\n")
    command = [sys.executable, "-m", "clr_cli", "compare", "--config", tiny, "--engine", "ray"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    extra = "--engine ray needs the extra: pip install 'clr-cli[ray]'"
    assert done.stderr == f"clr: {extra}\n"


@pytest.mark.slow
@pytest.mark.parametrize("installed", range(len(TRAINED)))
def test_files_put_in_place_halfway_leave_a_run_that_goes_on(tiny, tmp_path, installed):
    """As if this process were killed after each of the files that a node has sent."""
    expected = finished_locally(tiny, tmp_path / "reference", *SMALL)
    run, other = plan(tiny, tmp_path / "run", *SMALL)
    list(engines.local([other]))
    stop_at_row(execute(run), 1)
    ahead = plan(tiny, tmp_path / "ahead", *SMALL)[0]
    shutil.copytree(run.path, ahead.path)
    list(execute(ahead))
    files = ahead.directory.read_files()
    assert list(files) == TRAINED
    run.directory.install({name: files[name] for name in TRAINED[:installed]})
    list(execute(run))
    assert left_behind(tmp_path / "run") == expected
