"""How many runs at a time a GPU is given, decided on what a trial has measured."""

from __future__ import annotations

import pytest
import torch
from support.plans import plan

from clr_cli.execution import engines, trial
from clr_cli.training import device


@pytest.mark.parametrize(
    ("rates", "answer"),
    [
        ({1: 100, 2: 102}, 1),
        ({1: 100, 2: 160, 4: 200, 6: 205}, 4),
        ({1: 100, 2: 180, 4: 90}, 2),
        ({}, 1),
    ],
)
def test_more_runs_that_gain_nothing_are_not_worth_their_memory(rates, answer):
    assert trial.fewest_as_fast(rates) == answer


@pytest.fixture
def build(tiny, tmp_path):
    return plan(tiny, tmp_path)[0].build


@pytest.fixture
def gains(monkeypatch):
    """Every run more trains as many images as the one before, up to eight of them."""
    monkeypatch.setattr(
        trial, "measure", lambda states, *_: 1000.0 * min(8, len(states)) * (len(states) > 0)
    )


def memory(total, *, each):
    left = iter([total, total - each])
    return lambda: next(left)


@pytest.mark.parametrize(("total", "answer"), [(1000, 8), (8.0, 6), (3.0, 2), (1.5, 1)])
def test_runs_are_as_many_as_fit(build, gains, total, answer):
    assert trial.runs_at_once(build, memory(total, each=1.0)) == answer


def test_out_of_memory_means_as_many_as_there_were(build, gains):
    left = iter(range(3))

    def or_fail():
        if next(left, None) is None:
            raise torch.OutOfMemoryError
        return build()

    assert trial.runs_at_once(or_fail, memory(1000, each=1)) == 2


def test_a_trial_trains_for_real_and_leaves_no_files(build, tmp_path):
    assert trial.runs_at_once(build, memory(2.0, each=1.0)) == 1
    assert not list(tmp_path.rglob("*.pt"))
    states = [build(), build()]
    assert trial.measure(states, 12, [states[0].data.val]) > 0
    assert [state.iteration for state in states] == [12, 12]


def test_jobs_auto_tries_each_kind_of_run_once(tiny, tmp_path, monkeypatch):
    tried = []
    monkeypatch.setattr(trial, "runs_at_once", lambda *_: tried.append(1) or 3)
    monkeypatch.setattr(device, "resolve_device", lambda _: torch.device("cuda"))
    monkeypatch.setattr(engines, "may_have_gpu", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    first, second = plan(tiny, tmp_path)[:2]
    auto = engines.Local("auto", None)
    assert auto.workers(12, None, first) == (6, None)
    assert auto.workers(5, None, second) == (5, None)
    assert tried == [1]
    assert engines.Local("auto", 4).workers(12, None, first) == (4, None)
    assert tried == [1]
