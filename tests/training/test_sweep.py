"""Range tests on real training: files, isolation, resume, and the test split left alone."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
import yaml
from support.left_behind import timeless

from clr_cli.config import load as configs
from clr_cli.config.sections import RangeTestConfig
from clr_cli.data.batches import Resident
from clr_cli.data.sources import Split
from clr_cli.execution import preloaded
from clr_cli.execution.range_test_tasks import SweepTask
from clr_cli.execution.task import execute
from clr_cli.execution.training_task import Run
from clr_cli.training import sweep as range_test
from clr_cli.training.stream import alone


def sweep_task(config_path, path, *overrides, seed=0):
    config = configs.load(str(config_path), overrides)
    return SweepTask(config=config, seed=seed, path=path, device="cpu", threads=1)


def test_a_sweep_follows_its_ramp_and_validates_often_enough(tiny, tmp_path):
    task = sweep_task(tiny, tmp_path / "s")
    list(execute(task))
    rows = task.directory.read_metrics()
    steps = task.images()[0].steps_per_epoch(50)
    _, total, interval = range_test.plan(task.config.range_test, steps)
    assert (total, interval) == (20, 1)  # 2 epochs of 10 iterations: fewer than 100 points
    curve = range_test.measured(0, rows)
    assert len(curve.lr) == len(curve.train_loss) == 20
    assert (curve.lr[0], curve.lr[-1]) == (0.001, 0.5)
    steps = [b - a for a, b in zip(curve.lr, curve.lr[1:], strict=False)]
    assert max(steps) - min(steps) < 1e-12
    assert curve.val_lr == curve.lr


@pytest.mark.parametrize(
    ("total", "steps", "interval"), [(150 * 533, 533, 533), (1000, 533, 10), (50, 533, 1)]
)
def test_validation_is_once_an_epoch_or_a_hundred_times(total, steps, interval):
    config = RangeTestConfig(iterations=total)
    assert range_test.plan(config, steps)[1:] == (total, interval)


def test_the_validation_subset_is_spread_and_bounded():
    split = Split(torch.arange(5500).view(-1, 1, 1, 1), torch.arange(5500))
    for trained, most in ((10, 250), (600, 600), (10**6, 1000)):
        subset = range_test.validation_subset(split, trained)
        assert 0.8 * most < len(subset) <= most
        assert subset.labels.max() > 5400


def test_a_range_test_between_two_runs_changes_neither(tiny, tmp_path):
    config = configs.load(str(tiny))
    arm = config.schedule("clr")

    def train(folder):
        path = tmp_path / folder
        run = Run(config=config, arm="clr", schedule=arm, seed=0, path=path, threads=1)
        list(execute(run))
        state, _ = run.directory.load_checkpoint()
        return timeless(run.directory.read_metrics()), state["model"]

    rows, weights = train("before")
    list(execute(sweep_task(tiny, tmp_path / "sweep")))
    rows_after, weights_after = train("after")
    assert rows == rows_after
    assert all(torch.equal(weights[name], weights_after[name]) for name in weights)


@pytest.mark.slow
def test_a_resumed_sweep_equals_an_uninterrupted_one(tiny, tmp_path):
    overrides = ("range_test.iterations=130", "range_test.epochs=null")  # 2 iterations a point
    whole = sweep_task(tiny, tmp_path / "whole", *overrides)
    list(execute(whole))
    parts = sweep_task(tiny, tmp_path / "parts", *overrides)
    for stop_after in (7, 20):
        events = execute(parts)
        seen = 0
        while seen < stop_after:
            seen += next(events).kind == "row"
        events.close()
    list(execute(parts))
    assert timeless(parts.directory.read_metrics()) == timeless(whole.directory.read_metrics())
    assert parts.directory.read_result()["points"] == 65


def test_a_sweep_stops_when_the_loss_is_not_finite(tiny, tmp_path):
    overrides = ("range_test.max_lr=1e30", "range_test.shape=exponential")
    task = sweep_task(tiny, tmp_path / "s", *overrides)
    list(execute(task))
    result = task.directory.read_result()
    assert result["stopped"]["reason"] == "non-finite"
    assert result["stopped"]["iteration"] < 20
    json.dumps(task.directory.read_metrics(), allow_nan=False)
    curve = range_test.measured(0, task.directory.read_metrics())
    assert math.isnan(curve.train_loss[-1])
    assert len(curve.val_lr) == len(curve.lr) - 1  # the point at which it stopped is not measured


def test_the_test_split_is_never_touched(tiny, tmp_path):
    """The same sweep with a test split that cannot be read at all."""
    task = sweep_task(tiny, tmp_path / "s")
    state = task.build()
    steps = task.images()[0].steps_per_epoch(50)
    _, total, interval = range_test.plan(task.config.range_test, steps)
    assert isinstance(state.data, Resident)
    state.data = dataclasses.replace(state.data, test=None)
    blind = list(alone(range_test.sweep(state, total, interval, [])))
    list(execute(task))
    assert timeless(blind) == timeless(task.directory.read_metrics())
    assert preloaded.resident(task.config.dataset, torch.device("cpu"))[0].test is not None


@pytest.fixture
def easy(tmp_path):
    """Four classes told apart by the brighter quadrant, learned in a few dozen iterations."""
    rng = np.random.default_rng(0)
    arrays = {}
    for split, n in {"train": 1200, "test": 100}.items():
        labels = np.arange(n) % 4
        images = rng.integers(0, 120, (n, 16, 16, 3))
        for k, (y, x) in enumerate([(0, 0), (0, 8), (8, 0), (8, 8)]):
            images[labels == k, y : y + 8, x : x + 8] += 70
        arrays |= {f"{split}_images": images.astype(np.uint8), f"{split}_labels": labels}
    np.savez(tmp_path / "easy.npz", **arrays)
    path = tmp_path / "easy.yaml"
    path.write_text(
        "dataset: {name: npz, path: easy.npz, val_size: 200, augment: {crop_padding: 0}}\n"
        "model: {name: cnn, width: 4}\n"
        "training: {epochs: 1, batch_size: 20, threads: 1}\n"
        "range_test: {min_lr: 1e-4, max_lr: 10, shape: exponential, epochs: 4, sweeps: 2}\n"
        "schedules: {clr: {kind: triangular, base_lr: auto, max_lr: auto}}\n"
    )
    return path


@pytest.mark.slow
def test_the_command_gives_bounds_that_train_can_use(clr, easy, tmp_path):
    folder = tmp_path / "outputs" / "easy" / "range-test"
    refused = clr("train", "--config", easy, check=False)
    assert refused.returncode == 2
    assert "clr range-test" in refused.stderr

    done = clr("range-test", "--config", easy, "--jobs", 1)
    written = {"range_test.csv", "range_test.png", "result.json", "bounds.yaml"}
    written |= {"probes.csv", "rates.png", "report.html", "sweeps"}
    assert written <= {p.name for p in folder.iterdir()}
    bounds = yaml.safe_load((folder / "bounds.yaml").read_text())
    assert 1e-4 < bounds["base_lr"] < bounds["max_lr"] < 1
    assert f"base_lr: {bounds['base_lr']:g}, max_lr: {bounds['max_lr']:g}" in done.stdout
    result = json.loads((folder / "result.json").read_text())
    assert bounds["low"] <= bounds["max_lr"] <= bounds["high"]
    assert {key: result[key] for key in bounds} == bounds

    clr("train", "--config", easy, "--device", "cpu")  # auto
    clr("train", "--config", easy, "--device", "cpu", "--bounds", folder / "bounds.yaml")
    kept = tmp_path / "outputs" / "easy" / "train" / "clr" / "seed-0" / "config.yaml"
    clr_arm = yaml.safe_load(kept.read_text())["schedules"]["clr"]
    assert {key: clr_arm[key] for key in ("base_lr", "max_lr")} == {
        key: bounds[key] for key in ("base_lr", "max_lr")
    }


def test_nothing_learned_is_inconclusive_with_exit_code_3(clr, tiny, tmp_path):
    done = clr(
        "range-test",
        "--config",
        tiny,
        "--jobs",
        1,
        "--min-lr",
        1e-9,
        "--max-lr",
        1e-8,
        "--probes",
        "off",
        check=False,
    )
    assert done.returncode == 3
    assert "inconclusive" in done.stdout
    assert "try another range or a longer sweep" in done.stdout
    assert not (tmp_path / "outputs" / "tiny" / "range-test" / "bounds.yaml").exists()


@pytest.mark.parametrize("length", ["--epochs", "--iterations"])
def test_a_sweep_of_no_length_is_refused(clr, tiny, length):
    done = clr("range-test", "--config", tiny, length, 0, check=False)
    assert done.returncode == 2
    assert f"{length}: 0" in done.stderr
