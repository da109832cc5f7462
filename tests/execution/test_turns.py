"""Several runs in one process take turns: each is what it is alone, whatever befalls the others.

There need be no GPU: a stream whose work is done only after a few looks makes runs wait as well.
"""

from __future__ import annotations

import itertools
import os
import signal
from collections import Counter
from dataclasses import dataclass, fields

import pytest
import torch
from support.left_behind import left_by
from support.plans import plan, worker_processes
from torch import nn

from clr_cli import interrupt
from clr_cli.errors import EnvironmentFailure
from clr_cli.execution import engines
from clr_cli.execution.training_task import Run
from clr_cli.execution.turns import interleave
from clr_cli.execution.workers import Place, Pool, execute_in_workers
from clr_cli.training import models, stream

DIVERGES = "schedules.constant.lr=1e30"
looks = itertools.count()


class SlowFence(stream.Fence):
    """Reached at the third to seventh look."""

    def __init__(self):
        super().__init__()
        self.left = 2 + next(looks) % 5

    def is_reached(self):
        self.left -= 1
        return self.left < 0


@pytest.fixture
def busy_device(monkeypatch):
    monkeypatch.setattr(stream.Stream, "fence", lambda _: SlowFence())


@pytest.fixture
def alone(tiny, tmp_path):
    """What runs leave behind one after the other; trained once for all tests."""

    def each(*overrides, model="cnn"):
        key = (model, *overrides)
        if key not in _alone:
            runs = plan(tiny, tmp_path / "alone", *overrides, seeds=(0, 1))
            list(engines.local(runs))
            _alone[key] = prints(runs)
        return _alone[key]

    return each


_alone = {}


def prints(runs):
    return [left_by(run.directory) for run in runs]


def test_runs_that_take_turns_are_what_they_are_alone(tiny, tmp_path, alone, busy_device):
    """Two of them diverge beside the others."""
    runs = plan(tiny, tmp_path / "together", DIVERGES, seeds=(0, 1))
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    events = list(interleave(enumerate(runs), at_once=4))
    assert torch.equal(torch.rand(3), expected), "the process's own generator was touched"
    assert Counter(e.value for e in events if e.kind == "end") == {"diverged": 2, "finished": 2}
    rows = [event.index for event in events if event.kind == "row"]
    assert rows != sorted(rows), "they did not take turns"
    assert prints(runs) == alone(DIVERGES)


class Drops(nn.Module):
    """Draws random numbers in every step."""

    def __init__(self, channels, classes):
        super().__init__()
        self.layer = nn.Linear(channels * 1024, classes)

    def forward(self, x):
        return self.layer(nn.functional.dropout(x.flatten(1), 0.5, self.training))


def test_random_layers_of_one_run_know_nothing_of_another(tiny, tmp_path, alone, monkeypatch):
    monkeypatch.setitem(
        models.MODELS, "cnn", lambda *, num_classes, in_channels, width: Drops(in_channels, 10)
    )
    runs = plan(tiny, tmp_path / "together", seeds=(0, 1))
    list(interleave(enumerate(runs), at_once=3))
    assert prints(runs) == alone(model="dropout")


@pytest.mark.slow
def test_a_signal_stops_all_within_their_epochs_and_they_go_on(
    tiny, tmp_path, alone, busy_device, monkeypatch
):
    short = ("training.batch_size=10",)  # 50 steps an epoch
    runs = plan(tiny, tmp_path / "stopped", *short, seeds=(0, 1))
    within = 0
    for stop_at in (2, 5):
        rows = (event for event in interleave(enumerate(runs), at_once=4) if event.kind == "row")
        list(itertools.islice(rows, stop_at))
        monkeypatch.setattr(interrupt, "_pending", signal.SIGTERM)
        with pytest.raises(interrupt.Stopped):
            list(rows)
        monkeypatch.setattr(interrupt, "_pending", None)
        assert interrupt._deferred == 0
        states = [run.directory.load_checkpoint()[0] for run in runs]
        within += sum(bool(state and len(state["losses"])) for state in states)
    assert within >= 3, "what was done of an epoch was lost"
    list(interleave(enumerate(runs), at_once=4))
    assert prints(runs) == alone(*short)


@dataclass(frozen=True, kw_only=True)
class Failing(Run):
    """Runs out of memory after two rows, or ends its process after one."""

    how: str = "memory"

    def rows(self, state, before):
        rows = 0
        for item in super().rows(state, before):
            yield item
            rows += not isinstance(item, stream.Turn)
            if rows == 1 and self.how == "die":
                os._exit(9)
            if rows == 2:
                raise torch.OutOfMemoryError("Tried to allocate 20.00 GiB")


def failing(run, how):
    return Failing(**{field.name: getattr(run, field.name) for field in fields(run)}, how=how)


@pytest.mark.slow
def test_a_failing_run_leaves_its_neighbors_what_they_have_done(tiny, tmp_path, alone):
    runs = plan(tiny, tmp_path / "together", "training.batch_size=10", seeds=(0, 1))
    broken = [failing(runs[0], "memory"), *runs[1:]]
    said = "out of memory with batches of 10 and cnn of width 2; use fewer --jobs"
    with pytest.raises(EnvironmentFailure, match=said):
        list(interleave(enumerate(broken), at_once=4))
    states = [run.directory.load_checkpoint()[0] for run in runs[1:]]
    assert all(state and state["iteration"] > 0 for state in states)
    assert any(len(state["losses"]) for state in states), "not even within an epoch"
    list(interleave(enumerate(runs), at_once=4))
    assert prints(runs) == alone("training.batch_size=10")


@pytest.mark.slow
def test_closed_in_the_middle_all_runs_can_go_on(tiny, tmp_path, alone):
    runs = plan(tiny, tmp_path / "closed")
    events = interleave(enumerate(runs), at_once=2)
    while next(events).kind != "row":
        pass
    events.close()
    list(interleave(enumerate(runs), at_once=2))
    assert prints(runs) == alone()[::2]


@pytest.mark.slow
@pytest.mark.linux
def test_on_one_gpu_runs_share_this_process_and_on_several_each_has_one(
    tiny, tmp_path, alone, monkeypatch
):
    cpu = torch.device("cpu")  # stands for a GPU
    expected = alone()
    for gpus in (1, 2):
        runs = plan(tiny, tmp_path / str(gpus), seeds=(0, 1))
        monkeypatch.setattr(engines, "gpus_of", lambda _, gpus=gpus: [cpu] * gpus)
        seen = {len(worker_processes()) for _ in engines.local(runs, jobs=4)}
        assert max(seen) == (0 if gpus == 1 else 2)
        assert prints(runs) == expected


@pytest.mark.slow
def test_who_dies_with_a_worker_is_tried_again_and_the_guilty_one_is_given_up(
    tiny, tmp_path, alone
):
    runs = plan(tiny, tmp_path / "together", seeds=(0, 1))
    broken = [*runs[:2], failing(runs[2], "die"), runs[3]]
    events = list(execute_in_workers(list(enumerate(broken)), [Place("cpu", 4)], Pool()))
    ends = {event.index: event.value for event in events if event.kind == "end"}
    assert ends == {0: "finished", 1: "finished", 2: "failed", 3: "finished"}
    assert prints([runs[0], runs[1], runs[3]]) == [alone()[k] for k in (0, 1, 3)]
