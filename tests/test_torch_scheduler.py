"""Schedules as PyTorch schedulers: parameter groups, resuming, and numbers of NumPy's."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from clr_cli.schedules import make

TRIANGLE = {"base_lr": 0.01, "max_lr": 0.14, "step_size": 4}


def parameter():
    return torch.nn.Parameter(torch.ones(2))


def groups(*rates, **keys):
    return torch.optim.SGD([{"params": [parameter()], "lr": rate} for rate in rates], **keys)


def rates(optimizer):
    return [float(group["lr"]) for group in optimizer.param_groups]


def go(optimizer, scheduler, steps):
    """The rates of so many updates."""
    used = []
    for _ in range(steps):
        used.append(rates(optimizer))
        optimizer.step()
        scheduler.step()
    return used


@pytest.mark.parametrize("default", [1e-3, 0.1, 5.0])
def test_the_group_with_the_highest_rate_gets_the_schedules(default):
    optimizer = groups(0.01, 0.1, 0.05, lr=default)
    schedule = make("clr", **TRIANGLE)
    used = go(optimizer, schedule.torch(optimizer), 9)
    for iteration, row in enumerate(used):
        assert row == pytest.approx([schedule.lr(iteration) * r for r in (0.1, 1, 0.5)])
    assert max(map(max, used)) == pytest.approx(0.14)


def test_a_rate_changed_before_attaching_is_no_ratio_by_accident():
    optimizer = groups(0.1, lr=0.1)
    optimizer.param_groups[0]["lr"] = 1e-4
    make("constant", lr=0.05).torch(optimizer)
    assert rates(optimizer) == [0.05]


def test_rates_that_are_all_zero_are_refused():
    with pytest.raises(ValueError, match="lr: 0 in every parameter group"):
        make("constant", lr=0.05).torch(groups(0.0, 0.0))


@pytest.mark.parametrize(
    "order", list(itertools.permutations(["attach", "optimizer", "scheduler"]))
)
@pytest.mark.parametrize("make_optimizer", [torch.optim.SGD, torch.optim.AdamW])
def test_resuming_in_any_order_gives_the_rate_and_momentum_of_the_iteration(order, make_optimizer):
    if order.index("attach") > order.index("scheduler"):
        return  # there is nothing to load into yet
    schedule = make("clr", **TRIANGLE, base_momentum=0.8, max_momentum=0.95)

    def fresh():
        keys = {"momentum": 0.9} if make_optimizer is torch.optim.SGD else {}
        lists = [{"params": [parameter()], "lr": lr} for lr in (0.01, 0.1)]
        return make_optimizer(lists, **keys)

    def hyperparameters(optimizer):
        return [(float(g["lr"]), g.get("momentum", g.get("betas"))) for g in optimizer.param_groups]

    optimizer = fresh()
    scheduler = schedule.torch(optimizer)
    go(optimizer, scheduler, 7)
    saved = {"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}
    resumed, again = fresh(), None
    for what in order:
        if what == "attach":
            again = schedule.torch(resumed)
        else:
            {"optimizer": resumed, "scheduler": again}[what].load_state_dict(saved[what])
    assert hyperparameters(resumed) == hyperparameters(optimizer)
    assert again.get_last_lr() == pytest.approx(scheduler.get_last_lr())
    assert go(resumed, again, 9) == go(optimizer, scheduler, 9)


def test_a_group_that_is_added_joins_with_its_ratio_and_is_resumed():
    schedule = make("clr", **TRIANGLE)
    optimizer = groups(0.1)
    scheduler = schedule.torch(optimizer)
    go(optimizer, scheduler, 3)
    optimizer.add_param_group({"params": [parameter()], "lr": 0.02})
    go(optimizer, scheduler, 1)
    for iteration, row in enumerate(go(optimizer, scheduler, 5), start=4):
        assert row == pytest.approx([schedule.lr(iteration), 0.2 * schedule.lr(iteration)])
    resumed = groups(0.1, 0.02)
    again = schedule.torch(resumed)
    again.load_state_dict(scheduler.state_dict())
    assert rates(resumed) == pytest.approx(rates(optimizer))
    assert len(scheduler.state_dict()["ratios"]) == 2


def test_a_saved_state_stays_as_it_was_when_a_group_joins_the_resumed_one():
    schedule = make("constant", lr=0.1)
    first = schedule.torch(groups(0.1))
    saved = first.state_dict()
    optimizer = groups(0.1)
    again = schedule.torch(optimizer)
    again.load_state_dict(saved)
    optimizer.add_param_group({"params": [parameter()], "lr": 0.05})
    go(optimizer, again, 1)
    assert rates(optimizer) == pytest.approx([0.1, 0.05])
    assert saved["ratios"] == [1.0]


@pytest.mark.parametrize("number", [np.int64, np.int32, np.uint8, int])
def test_numpys_numbers_are_numbers(number):
    plain = make("clr", base_lr=0.25, max_lr=0.75, step_size=100)
    rate = np.float32(0.75)
    assert make("clr", base_lr=0.25, max_lr=rate, step_size=number(100)) == plain
    per_epoch = {"iterations_per_epoch": number(50), "total_iterations": number(200)}
    assert make("clr", base_lr=0.25, max_lr=0.75, step_size_epochs=2, **per_epoch) == plain
    steps = make("multistep", lr=0.5, milestones=[number(3), number(9)], warmup=number(2))
    assert steps == make("multistep", lr=0.5, milestones=[3, 9], warmup=2)
    assert steps.lr(number(4)) == 0.5


@pytest.mark.parametrize("value", [np.float64(2.5), np.bool_(True), True, "8", np.array([8])])
def test_what_is_no_whole_number_is_no_duration(value):
    with pytest.raises(ValueError, match="step_size"):
        make("clr", step_size=value)
