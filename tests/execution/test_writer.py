"""Checkpoints are written by a thread: training goes on, and nothing is told before it is there."""

from __future__ import annotations

import threading

import pytest
from support.left_behind import left_by
from support.plans import plan

from clr_cli.errors import EnvironmentFailure
from clr_cli.execution.run_directory import RunDirectory
from clr_cli.execution.task import execute
from clr_cli.training.steps import EagerSteps


def test_a_row_is_told_once_its_checkpoint_is_on_disk(tiny, tmp_path):
    run = plan(tiny, tmp_path)[0]
    told = []
    for event in execute(run):
        if event.kind == "row":
            told.append(event.value)
            state, _ = run.directory.load_checkpoint()
            assert state["rows"] == state["epoch"] == event.value["epoch"] == len(told)
            assert run.directory.read_metrics() == told
    assert len(told) == 3


def test_training_goes_on_while_a_checkpoint_is_written(tiny, tmp_path, monkeypatch):
    """Each write waits for a step of the next epoch, and still holds the weights of its own."""
    plain, run = plan(tiny, tmp_path / "plain")[0], plan(tiny, tmp_path / "waiting")[0]
    list(execute(plain))
    saved, take = RunDirectory.save_checkpoint, EagerSteps.take
    stepped = threading.Event()
    kept = []

    def save(directory, state):
        stepped.clear()
        went_on = state["epoch"] == 3 or stepped.wait(60)
        kept.append((went_on, state["iteration"]))
        saved(directory, state)

    def step(*given):
        take(*given)
        stepped.set()

    monkeypatch.setattr(RunDirectory, "save_checkpoint", save)
    monkeypatch.setattr(EagerSteps, "take", step)
    list(execute(run))
    assert kept == [(True, 10), (True, 20), (True, 30)]
    assert left_by(run.directory) == left_by(plain.directory)


def test_what_cannot_be_written_ends_the_run(tiny, tmp_path, monkeypatch):
    def fails(directory, state):
        raise EnvironmentFailure("no room is left")

    run = plan(tiny, tmp_path)[0]
    monkeypatch.setattr(RunDirectory, "save_checkpoint", fails)
    with pytest.raises(EnvironmentFailure, match="no room is left"):
        list(execute(run))
    assert not run.directory.finished
