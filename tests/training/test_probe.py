"""Probes on real training: their length and schedule, the split they see, resume."""

from __future__ import annotations

import dataclasses
from itertools import groupby
from unittest.mock import patch

import pytest
from support.left_behind import timeless

from clr_cli import interrupt
from clr_cli.config.load import load
from clr_cli.execution.range_test_tasks import ProbeTask
from clr_cli.execution.task import execute
from clr_cli.schedules import KINDS, make
from clr_cli.training.probe import Compressed, length, shortened


def probe_task(config_path, path, kind="clr", rate=0.05, iterations=25):
    config = load(str(config_path))
    arm = config.schedule(kind).at_rate(rate)
    return ProbeTask(
        config=config,
        arm=kind,
        schedule=arm,
        iterations=iterations,
        seed=1,
        path=path,
        device="cpu",
        threads=1,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_probe_of_any_kind_goes_through_its_rates(kind):
    """One cycle as it is, or the whole run's schedule passed through faster."""
    whole = make(kind, {}, iterations_per_epoch=100, total_iterations=8000)
    total = length(whole, 100, 8000)
    made = shortened(whole, 8000, total)
    rates = [made.lr(i) for i in range(total)]
    if whole.first_cycle() is not None:
        assert total == whole.first_cycle()
        assert rates == [whole.lr(i) for i in range(total)]
        return
    assert total == 1000  # 10 epochs
    assert rates == [whole.lr(8 * i) for i in range(total)]


@pytest.mark.parametrize(
    ("epochs", "run", "iterations"), [(None, 8000, 1000), (2.5, 8000, 250), (None, 300, 300)]
)
def test_the_length_is_a_cycle_or_what_is_given_and_a_whole_run_at_most(epochs, run, iterations):
    clr = make("clr", step_size=500)
    assert length(clr, 100, run, epochs) == iterations


@pytest.mark.parametrize(("total", "cycles"), [(50, 1), (100, 1), (140, 1), (160, 2), (300, 3)])
def test_a_probe_of_any_length_ends_where_a_cycle_does(total, cycles):
    clr = make("clr", base_lr=0.001, max_lr=0.1, step_size=50)
    made = shortened(clr, 8000, total)
    rates = [lr for lr, _ in groupby(made.lr(i) for i in range(total))]
    tops = sum(a < b > c for a, b, c in zip(rates, rates[1:], rates[2:], strict=False))
    assert tops == cycles
    assert max(rates) == 0.1
    assert rates[-1] < 0.01


def test_a_warm_up_is_part_of_the_first_cycle():
    assert length(make("clr", step_size=50, warmup=20), 100, 8000) == 120


def test_momentum_is_compressed_with_the_rate():
    one = make("one_cycle", total=100, base_momentum=0.85, max_momentum=0.95)
    half = Compressed(schedule=one, run=100, total=50)
    assert [half.momentum(i) for i in range(50)] == [one.momentum(2 * i) for i in range(50)]


def test_a_probe_is_validated_at_its_end_and_never_tested(tiny, tmp_path):
    task = probe_task(tiny, tmp_path / "probe")
    seen = []
    with patch("clr_cli.training.loop.evaluation_batches", wraps=None) as batches:
        from clr_cli.data.batches import evaluation_batches

        batches.side_effect = lambda split, size: (
            seen.append(split) or evaluation_batches(split, size)
        )
        list(execute(task))
    images, _ = task.images()
    assert [split is images.val for split in seen] == [True]
    rows = task.directory.read_metrics()
    assert [row["iteration"] for row in rows] == [10, 20, 25]
    assert [row["val_accuracy"] is None for row in rows] == [True, True, False]
    assert task.directory.read_result()["score"] == rows[-1]["val_accuracy"]


def test_a_probe_that_was_stopped_goes_on_to_the_same_score(tiny, tmp_path):
    whole = probe_task(tiny, tmp_path / "whole")
    list(execute(whole))
    stopped = dataclasses.replace(whole, path=tmp_path / "stopped")
    events = execute(stopped)
    for event in events:
        if event.kind == "row":
            break
    events.close()
    assert len(stopped.directory.read_metrics()) == 1
    list(execute(stopped))
    assert timeless(stopped.directory.read_metrics()) == timeless(whole.directory.read_metrics())


def test_a_probe_that_diverges_has_no_score(tiny, tmp_path):
    task = probe_task(tiny, tmp_path / "probe", rate=1e8)
    with interrupt.deferred():
        kinds = [event.kind for event in execute(task)]
    assert kinds[-1] == "end"
    result = task.directory.read_result()
    assert (result["status"], result["score"]) == ("diverged", None)
