"""Schedules against torch's own schedulers, and what they promise beyond them."""

from __future__ import annotations

import doctest
import math
import random
import subprocess
import sys
from fractions import Fraction
from itertools import pairwise
from typing import Annotated

import pytest
import torch
from pydantic import Field
from torch.optim import lr_scheduler

from clr_cli.schedules import (
    KINDS,
    Schedule,
    base,
    cycles,
    decays,
    entry,
    kind,
    make,
    parameters,
    resolved,
)

ITERATIONS = 2500
DRAWS = [0, 1, *(pytest.param(draw, marks=pytest.mark.slow) for draw in (2, 3))]
RUN = {"iterations_per_epoch": 100, "total_iterations": 8000}
PERIODIC = ["clr", "triangular", "triangular2", "exp_range", "cyclic", "sgdr"]


def torch_trace(build, lr=0.1, iterations=ITERATIONS):
    """(rates, momenta) of a torch scheduler, stepped once per update."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr, momentum=0.5)
    scheduler = build(optimizer)
    rates, momenta = [], []
    for iteration in range(iterations):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        momenta.append(float(optimizer.param_groups[0]["momentum"]))
        optimizer.step()
        if iteration < iterations - 1:
            scheduler.step()
    return rates, momenta


def assert_same(schedule, rates, momenta=None):
    """Equal to a relative 1e-9: torch subtracts near-equal numbers (1 + i / n - cycle, 1 + cos),
    which costs up to 1e-11 where the rate is low.
    """
    own = [schedule.lr(i) for i in range(len(rates))]
    assert own == pytest.approx(rates, rel=1e-9, abs=0)
    if momenta is not None:
        own = [schedule.momentum(i) for i in range(len(rates))]
        assert own == pytest.approx(momenta, rel=1e-9, abs=0)


def rate_pair(rng):
    base = 10 ** rng.uniform(-4, -1)
    return base, base * 10 ** rng.uniform(0.1, 3)


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("mode", ["triangular", "triangular2", "exp_range"])
def test_cyclic_equals_cyclic_lr(mode, draw):
    rng = random.Random(f"{mode}{draw}")
    base, top = rate_pair(rng)
    up, down = rng.randint(20, 600), rng.choice([None, rng.randint(20, 600)])
    low, high = sorted([rng.uniform(0.5, 0.99), rng.uniform(0.5, 0.99)])
    gamma = {"gamma": rng.uniform(0.995, 1)} if mode == "exp_range" else {}
    rates, momenta = torch_trace(
        lambda optimizer: lr_scheduler.CyclicLR(
            optimizer,
            base_lr=base,
            max_lr=top,
            step_size_up=up,
            step_size_down=down,
            mode=mode,
            base_momentum=low,
            max_momentum=high,
            **gamma,
        )
    )
    params = {"base_lr": base, "max_lr": top, "step_size": up, "step_size_down": down, **gamma}
    schedule = make(mode, {**params, "base_momentum": low, "max_momentum": high}, **RUN)
    assert_same(schedule, rates, momenta)


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("three_phase", [False, True])
@pytest.mark.parametrize("anneal", ["cos", "linear"])
def test_one_cycle_equals_one_cycle_lr(anneal, three_phase, draw):
    rng = random.Random(f"{anneal}{three_phase}{draw}")
    total = rng.randint(2000, 4000)
    params = {
        "max_lr": 10 ** rng.uniform(-3, 1),
        "div_factor": rng.uniform(2, 50),
        "final_div_factor": rng.uniform(1, 1e4),
        "pct_start": rng.uniform(0.01, 0.5 if three_phase else 0.99),
        "three_phase": three_phase,
        "base_momentum": rng.uniform(0.5, 0.8),
        "max_momentum": rng.uniform(0.8, 0.99),
    }
    rates, momenta = torch_trace(
        lambda optimizer: lr_scheduler.OneCycleLR(
            optimizer, total_steps=total, anneal_strategy=anneal, **params
        ),
        iterations=total,
    )
    assert_same(
        make("one_cycle", {**params, "anneal": anneal, "total": total}, **RUN), rates, momenta
    )


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("t_mult", [1, 2, 3])
def test_sgdr_equals_cosine_annealing_warm_restarts(t_mult, draw):
    rng = random.Random(f"{t_mult}{draw}")
    base, top = rate_pair(rng)
    base, t_0 = rng.choice([0.0, base]), rng.randint(1, 900)
    rates, _ = torch_trace(
        lambda optimizer: lr_scheduler.CosineAnnealingWarmRestarts(
            optimizer, t_0, t_mult, eta_min=base
        ),
        lr=top,
    )
    params = {"base_lr": base, "max_lr": top, "t_0": t_0, "t_mult": t_mult}
    assert_same(make("sgdr", params, **RUN), rates)


# Hägele et al. 2024, section 3: the rate over the peak's, after a part u of the fall.
WSD_FALLS = {
    "linear": lambda u: 1 - u,
    "cosine": lambda u: (1 + math.cos(math.pi * u)) / 2,
    "sqrt": lambda u: 1 - math.sqrt(u),
}


def wsd_height(decay, total, share, iteration):
    fall = share * total
    begin = total - fall
    if iteration <= begin:
        return 1.0
    return WSD_FALLS[decay](min(1.0, (iteration - begin) / fall))


def drawn(kind, rng):
    """(parameters, the torch scheduler's constructor) of a random decaying schedule."""
    params, build = {
        "constant": lambda: ({}, lambda o: lr_scheduler.ConstantLR(o, factor=1.0)),
        "step": lambda: (
            {"gamma": (g := rng.uniform(0.3, 1)), "step_size": (s := rng.randint(50, 900))},
            lambda o: lr_scheduler.StepLR(o, s, g),
        ),
        "multistep": lambda: (
            {
                "gamma": (g := rng.uniform(0.1, 1)),
                "milestones": (m := sorted(rng.randint(1, 2400) for _ in range(4))),
            },
            lambda o: lr_scheduler.MultiStepLR(o, m, g),
        ),
        "exponential": lambda: (
            {"gamma": (g := rng.uniform(0.99, 1)), "step_size": 1},
            lambda o: lr_scheduler.ExponentialLR(o, g),
        ),
        "polynomial": lambda: (
            {"power": (p := rng.uniform(0.5, 3)), "total": (t := rng.randint(1500, 2400))},
            lambda o: lr_scheduler.PolynomialLR(o, t, p),
        ),
        "cosine": lambda: (
            # torch turns up again after T_max, so at least the whole trace
            {"min_lr": (e := rng.choice([0.0, 0.001])), "total": (t := rng.randint(2500, 4000))},
            lambda o: lr_scheduler.CosineAnnealingLR(o, t, e),
        ),
        "linear": lambda: (
            {"total": (t := rng.randint(1500, 2400))},
            lambda o: lr_scheduler.LinearLR(o, 1.0, 0.0, t),
        ),
        "wsd": lambda: (
            {
                "total": (t := rng.randint(2000, 2400)),
                "decay_share": (s := rng.uniform(0.05, 1)),
                "decay": (d := rng.choice([*WSD_FALLS])),
            },
            lambda o: lr_scheduler.LambdaLR(o, lambda i: wsd_height(d, t, s, i)),
        ),
        "inverse": lambda: (
            {"gamma": (g := 10 ** rng.uniform(-5, -1)), "power": (p := rng.uniform(0.3, 2))},
            lambda o: lr_scheduler.LambdaLR(o, lambda i: (1 + g * i) ** -p),  # Caffe's formula
        ),
    }[kind]()
    return params, build


DECAYS = [
    *("constant", "step", "multistep", "exponential", "polynomial", "cosine", "inverse"),
    *("linear", "wsd"),
]


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("kind", DECAYS)
def test_decays_equal_torch(kind, draw):
    rng = random.Random(f"{kind}{draw}")
    params, build = drawn(kind, rng)
    lr = 10 ** rng.uniform(-2, 1)
    rates, _ = torch_trace(build, lr)
    assert_same(make(kind, {"lr": lr, **params}, **RUN), rates)


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("kind", DECAYS)
def test_warmup_equals_linear_lr_before_it(kind, draw):
    rng = random.Random(f"warm{kind}{draw}")
    params, build = drawn(kind, rng)
    lr, warmup, factor = 10 ** rng.uniform(-2, 1), rng.randint(1, 700), rng.uniform(0.001, 1)
    before, _ = torch_trace(lambda o: lr_scheduler.LinearLR(o, factor, 1.0, warmup), lr, warmup)
    after, _ = torch_trace(build, lr)
    warm = {"warmup": warmup, "warmup_start_factor": factor}
    assert_same(make(kind, {"lr": lr, **params, **warm}, **RUN), before + after)


def test_warmup_equals_sequential_lr():
    rates, _ = torch_trace(
        lambda o: lr_scheduler.SequentialLR(
            o,
            [
                lr_scheduler.LinearLR(o, 0.05, 1.0, 300),
                lr_scheduler.CosineAnnealingLR(o, 2200),
            ],
            milestones=[300],
        ),
        lr=0.2,
    )
    params = {"lr": 0.2, "warmup": 300, "warmup_start_factor": 0.05}
    schedule = make("cosine", params, iterations_per_epoch=10, total_iterations=2500)
    assert_same(schedule, rates)


@pytest.mark.parametrize("decay", WSD_FALLS)
def test_wsd_warms_up_stays_and_falls(decay):
    params = {"lr": 0.2, "min_lr": 0.02, "warmup": 500, "decay": decay, "decay_share": 0.2}
    schedule = make("wsd", params, **RUN)
    assert schedule.lr(250) == pytest.approx((0.002 + 0.2) / 2)
    assert [schedule.lr(i) for i in (500, 3000, 6500)] == [0.2] * 3
    middle = 0.02 + 0.18 * WSD_FALLS[decay](0.5)
    assert [schedule.lr(i) for i in (7250, 8000, 9000)] == pytest.approx([middle, 0.02, 0.02])


def test_linear_goes_to_zero_and_never_reaches_it_in_a_run():
    schedule = make("linear", {"lr": 0.2, "warmup": 4000}, **RUN)
    assert [schedule.lr(i) for i in (4000, 6000, 7999)] == pytest.approx([0.2, 0.1, 0.2 / 4000])


@pytest.mark.parametrize("shape", ["triangle", "sine", "cosine", "sawtooth"])
@pytest.mark.parametrize("amplitude", ["constant", "halved", "exponential"])
def test_every_shape_stays_in_its_bounds_and_touches_the_upper_one(shape, amplitude):
    params = {"shape": shape, "amplitude": amplitude, "base_lr": 0.01, "max_lr": 0.5}
    schedule = make("cyclic", {**params, "step_size": 40, "step_size_down": 70}, **RUN)
    rates = [schedule.lr(i) for i in range(1000)]
    assert 0.01 <= min(rates) < 0.011 + 0.49 / 110
    assert max(rates) <= 0.5
    peak = 40 if shape in ("triangle", "sine") else 0
    scale = 0.99994**peak if amplitude == "exponential" else 1
    assert rates[peak] == pytest.approx(0.01 + 0.49 * scale)
    assert max(rates[:110]) == rates[peak]


def test_shapes_have_their_textbook_values():
    def at(shape, iteration):
        params = {"shape": shape, "base_lr": 1, "max_lr": 3, "step_size": 100}
        return make("cyclic", params, **RUN).lr(iteration)

    quarter = (1 - math.cos(math.pi / 4)) / 2  # of a half cosine
    expected = {
        "triangle": [1, 1.5, 2, 3, 2, 1],
        "sine": [1, 1 + 2 * quarter, 2, 3, 2, 1],
        "cosine": [3, 3 - (1 - math.cos(math.pi / 8)), 3 - 2 * quarter, 2, 1 + 2 * quarter, 3],
        "sawtooth": [3, 2.75, 2.5, 2, 1.5, 3],
    }
    for shape, values in expected.items():
        assert [at(shape, i) for i in (0, 25, 50, 100, 150, 200)] == pytest.approx(values)


def test_amplitudes_shrink_from_cycle_to_cycle():
    peaks = [100, 300, 500]
    params = {"base_lr": 0.1, "max_lr": 0.9, "step_size": 100}
    halved = make("triangular2", params, **RUN)
    assert [halved.lr(i) for i in peaks] == pytest.approx([0.9, 0.5, 0.3])
    decayed = make("exp_range", {**params, "gamma": 0.999}, **RUN)
    assert [decayed.lr(i) for i in peaks] == pytest.approx([0.1 + 0.8 * 0.999**i for i in peaks])


def test_cosine_cycles_are_sgdr_without_growth():
    cyclic = make("cyclic", {"shape": "cosine", "step_size": 150}, **RUN)
    sgdr = make("sgdr", {"t_0": 300}, **RUN)
    rates = [sgdr.lr(i) for i in range(2000)]
    assert [cyclic.lr(i) for i in range(2000)] == pytest.approx(rates, rel=1e-12)


def test_inverse_is_caffes_formula():
    schedule = make("inverse", {"lr": 0.01, "gamma": 1e-4, "power": 0.75}, **RUN)
    assert schedule.lr(10_000) == pytest.approx(0.01 * 2**-0.75, rel=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("per_epoch", "epochs"), [(1, 1), (1, 3), (7, 2), (157, 80)])
def test_a_bare_kind_gives_positive_rates_in_any_run(kind, per_epoch, epochs):
    total = per_epoch * epochs
    schedule = make(kind, {}, iterations_per_epoch=per_epoch, total_iterations=total)
    rates = [schedule.lr(i) for i in range(total)]
    assert all(0 < rate <= 0.14 for rate in rates)
    assert all(schedule.momentum(i) is None for i in range(total))


def test_the_original_post_by_default():
    schedule = make("clr", {}, **RUN)
    assert [schedule.lr(i) for i in (0, 500, 1000, 1500)] == pytest.approx([0.001, 0.14] * 2)
    assert schedule.cycles(8000) == 8
    assert make("constant", {}, **RUN).lr(4000) == 0.05


def test_clr_is_triangular():
    assert KINDS["clr"] is KINDS["triangular"]
    assert parameters("clr") == parameters("triangular")
    params = {"base_lr": 0.01, "step_size_epochs": 2.5}
    assert make("clr", params, **RUN) == make("triangular", params, **RUN)


@pytest.mark.parametrize("kind", KINDS)
def test_any_order_of_iterations_gives_the_same_rates(kind):
    order = list(range(2000))
    random.Random(kind).shuffle(order)
    momenta = {"base_momentum": 0.8, "max_momentum": 0.95}
    names = {p.name for p in parameters(kind)}
    params = {"warmup": 100, **(momenta if "base_momentum" in names else {})}
    schedule = make(kind, params, **RUN)
    shuffled = {i: (schedule.lr(i), schedule.momentum(i)) for i in order}
    resumed = make(kind, params, **RUN)
    assert shuffled == {i: (resumed.lr(i), resumed.momentum(i)) for i in range(2000)}


@pytest.mark.parametrize("kind", [*PERIODIC, "one_cycle"])
def test_momentum_moves_against_the_rate(kind):
    schedule = make(kind, {"base_momentum": 0.85, "max_momentum": 0.95}, **RUN)
    steps = [(schedule.lr(i), schedule.momentum(i)) for i in range(0, 8000, 7)]
    assert all((b[0] - a[0]) * (b[1] - a[1]) <= 0 for a, b in pairwise(steps))
    # exp_range has lost 3 % of its amplitude at its first peak
    assert min(momentum for _, momentum in steps) == pytest.approx(0.85, abs=0.004)
    assert max(momentum for _, momentum in steps) == pytest.approx(0.95, abs=0.001)


def test_momentum_stays_at_its_start_during_warmup():
    momenta = {"base_momentum": 0.85, "max_momentum": 0.95}
    schedule = make("clr", {"warmup": 100, **momenta}, **RUN)
    assert [schedule.momentum(i) for i in (0, 50, 100)] == [0.95] * 3


def test_durations_in_epochs():
    assert make("clr", {"step_size_epochs": 2.5}, **RUN) == make("clr", {"step_size": 250}, **RUN)
    in_epochs = make("multistep", {"milestones_epochs": [10, 20.5]}, **RUN)
    assert in_epochs == make("multistep", {"milestones": [1000, 2050]}, **RUN)
    assert make("cosine", {"total": None, "total_epochs": 40}, **RUN).total == 4000
    assert make("constant", {"warmup_epochs": 0}, **RUN) == make("constant", {}, **RUN)


def test_the_warmup_shortens_what_lasts_the_whole_run():
    schedule = make("cosine", {"lr": 0.2, "min_lr": 0.01, "warmup_epochs": 5}, **RUN)
    assert schedule.lr(0) == pytest.approx(0.002)
    assert schedule.lr(250) == pytest.approx((0.002 + 0.2) / 2)
    assert schedule.lr(500) == 0.2
    assert schedule.lr(4250) == pytest.approx((0.2 + 0.01) / 2)
    assert schedule.lr(8000) == 0.01


def test_decays_hold_their_last_rate_after_their_end():
    for name, last in {"cosine": 0.01, "polynomial": 0.01, "one_cycle": 0.14 / 25 / 1e4}.items():
        params = {"total": 100} | ({} if name == "one_cycle" else {"min_lr": 0.01})
        schedule = make(name, params, **RUN)
        assert [schedule.lr(i) for i in (100, 101, 7999)] == pytest.approx([last] * 3)


@pytest.mark.parametrize(
    ("kind", "params", "cycles"),
    [
        ("clr", {"step_size": 500}, 8),
        ("clr", {"step_size": 300, "step_size_down": 700}, 8),
        ("triangular2", {"step_size": 600}, 8000 / 1200),
        ("clr", {"step_size": 375, "warmup": 500}, 10),
        ("sgdr", {"t_0": 1000}, 8),
        ("sgdr", {"t_0": 1000, "t_mult": 2}, 3.125),
        ("sgdr", {"t_0": 500, "t_mult": 3}, 3 + 1500 / 13500),
        ("one_cycle", {}, 1),
        ("one_cycle", {"total": 16_000}, 0.5),
        ("constant", {}, None),
        ("cosine", {"warmup": 100}, None),
    ],
)
def test_cycles_tell_whether_the_last_one_completes(kind, params, cycles):
    assert make(kind, params, **RUN).cycles(8000) == pytest.approx(cycles)


@pytest.mark.parametrize("kind", KINDS)
def test_resolved_is_plain_and_makes_the_same_schedule(kind):
    for params in ({}, {"warmup_epochs": 2}):
        schedule = make(kind, params, **RUN)
        plain = resolved(kind, schedule)
        assert all(isinstance(value, int | float | str | list) for value in plain.values())
        assert plain.pop("kind") == kind
        again = make(kind, plain, iterations_per_epoch=1, total_iterations=8000)
        assert again == schedule


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_describe_what_make_takes(kind):
    listed = parameters(kind)
    names = [p.name for p in listed]
    assert len(set(names)) == len(names)
    assert names[-2:] == ["warmup", "warmup_start_factor"]
    assert all(p.help for p in listed)
    defaults = {p.name: p.default for p in listed}
    assert make(kind, defaults, **RUN) == make(kind, {}, **RUN)


@pytest.mark.parametrize(
    ("kind", "params", "message"),
    [
        ("clr", {"max_lr": 0.01, "base_lr": 0.1}, "max_lr: 0.01 is below base_lr 0.1"),
        ("cosine", {"lr": 0.01, "min_lr": 0.1}, "lr: 0.01 is below min_lr 0.1"),
        ("constant", {"lr": 0}, "lr: 0 must be greater than 0"),
        ("constant", {"lr": -1.0}, "lr: -1.0 must be greater than 0"),
        ("constant", {"lr": math.nan}, "lr: nan must be a finite number"),
        ("clr", {"max_lr": math.inf}, "max_lr: inf must be a finite number"),
        ("constant", {"lr": True}, "lr: True must be a valid number"),
        ("constant", {"lr": "0.1"}, "lr: '0.1' must be a valid number"),
        ("clr", {"step_size": 0}, "step_size: 0 must be greater than or equal to 1"),
        ("clr", {"step_size": 2.5}, "step_size: 2.5 must be a valid integer"),
        ("clr", {"step_size": True}, "step_size: True must be a valid integer"),
        ("clr", {"step_size_down": 0}, "step_size_down: 0 must be"),
        ("clr", {"step_size": 9, "step_size_epochs": 1}, "step_size: give step_size or"),
        ("clr", {"step_size_epochs": 0.001}, "step_size_epochs: 0.001 is less than one iteration"),
        (
            "clr",
            {"step_size_epochs": -1},
            "step_size_epochs: -1 must be greater than",
        ),
        ("clr", {"step_size_epochs": math.nan}, "step_size_epochs: nan must be a finite number"),
        ("clr", {"gamma": 0.9}, "gamma: not a key of schedule kind clr"),
        ("clr", {"shape": "sine"}, "shape: not a key of schedule kind clr"),
        ("clr", {"base_lr_epochs": 1}, "base_lr_epochs: not a key of schedule kind clr"),
        ("cyclic", {"shape": "square"}, "shape: 'square' must be 'triangle', 'sine'"),
        ("cyclic", {"gamma": 0.9}, "gamma: only for amplitude exponential, not constant"),
        ("exp_range", {"gamma": 0.0}, "gamma: 0.0 must be greater than 0"),
        ("exp_range", {"gamma": 1.1}, "gamma: 1.1 must be less than or equal to 1"),
        ("step", {"gamma": -0.5}, "gamma: -0.5 must be greater than 0"),
        ("multistep", {"milestones": [20, 10]}, "milestones: [20, 10] must increase"),
        ("multistep", {"milestones": [0, 10]}, "milestones: 0 must be greater than or equal to 1"),
        ("multistep", {"milestones": 10}, "milestones: 10 must be a valid tuple"),
        ("sgdr", {"t_mult": 0}, "t_mult: 0 must be greater"),
        ("sgdr", {"t_mult": 1.5}, "t_mult: 1.5 must be a valid integer"),
        ("one_cycle", {"pct_start": 1.5}, "pct_start: 1.5 must be less than"),
        (
            "one_cycle",
            {"three_phase": True, "pct_start": 0.6},
            "pct_start: 0.6 must be at most 0.5",
        ),
        ("one_cycle", {"three_phase": 1}, "three_phase: 1 must be a valid boolean"),
        ("one_cycle", {"anneal": "exp"}, "anneal: 'exp' must be 'cos' or 'linear'"),
        ("one_cycle", {"div_factor": 0.5}, "div_factor: 0.5 must be greater"),
        ("clr", {"base_momentum": 0.8}, "base_momentum: give base_momentum and max_momentum"),
        ("clr", {"base_momentum": 0.9, "max_momentum": 0.8}, "max_momentum: 0.8 is below"),
        (
            "clr",
            {"base_momentum": 0.9, "max_momentum": 1.0},
            "max_momentum: 1.0 must be less",
        ),
        ("constant", {"base_momentum": 0.9}, "base_momentum: not a key of schedule kind constant"),
        ("constant", {"warmup": 8000}, "warmup: 8000 must be less than the run's 8000"),
        ("constant", {"warmup": -1}, "warmup: -1 must be greater than or equal to 0"),
        ("constant", {"warmup": 9, "warmup_start_factor": 0}, "warmup_start_factor: 0 must be"),
        ("constant", {"warmup_start_factor": 7}, "warmup_start_factor: 7 must be less than or"),
        ("triangle", {}, "kind: 'triangle' is not a schedule; did you mean triangular?"),
        ("zzz", {}, "kind: 'zzz' is not a schedule; known: clr, triangular"),
    ],
)
def test_errors_begin_with_the_key(kind, params, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is compared below
        make(kind, params, **RUN)
    assert str(caught.value).startswith(message)


def test_a_schedule_is_added_by_one_class(monkeypatch):
    monkeypatch.setattr(base, "KINDS", KINDS)  # both are put back at the end
    for name in ("KINDS", "FIXED"):
        monkeypatch.setitem(getattr(base, name), "drop", None)

    @kind("drop")
    class Drop(Schedule):
        high: base.Rate = Field(0.1, description="rate before the drop")
        after: Annotated[base.Iterations, base.Lasts(run=Fraction(1, 2))] = Field(
            description="when it drops (default run / 2)"
        )

        def lr(self, iteration):
            return self.high if iteration < self.after else self.high / 10

    assert [p.name for p in parameters("drop") if p.duration] == ["after", "warmup"]
    schedule = make("drop", {"high": 1, "after_epochs": 3, "warmup_epochs": 1}, **RUN)
    assert [schedule.lr(i) for i in (50, 399, 400)] == pytest.approx([0.505, 1.0, 0.1])
    assert make("drop", **RUN).after == 4000
    with pytest.raises(ValueError, match=r"^high: -1 must be greater than 0$"):
        make("drop", {"high": -1}, **RUN)


def test_schedules_need_neither_torch_nor_numpy():
    code = (
        "import sys; from clr_cli import schedules; schedules.make('clr', step_size=9).lr(5);"
        "print({'torch', 'numpy', 'scipy', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("kind", "params", "message"),
    [
        ("clr", {}, "step_size: give it in iterations, or give iterations_per_epoch"),
        ("cosine", {}, "total: give it in iterations, or give total_iterations"),
        ("clr", {"step_size_epochs": 1}, "step_size_epochs: give it in iterations, or"),
        ("cosine", {"total_iterations": 0}, "total_iterations: 0 must be greater than or equal"),
        ("clr", {"iterations_per_epoch": 0}, "iterations_per_epoch: 0 must be greater than"),
        ("clr", {"iterations_per_epoch": 1.5}, "iterations_per_epoch: 1.5 must be a valid int"),
    ],
)
def test_outside_a_run_durations_are_asked_for(kind, params, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        make(kind, **params)


def test_keys_can_be_keywords():
    assert make("clr", base_lr=0.01, step_size=100) == make(
        "clr", {"base_lr": 0.01, "step_size": 100}
    )


# ---- as torch's schedulers -----------------------------------------------------------------------

CLR = {"base_lr": 0.01, "max_lr": 0.2, "step_size": 7}
MOMENTA = {"base_momentum": 0.8, "max_momentum": 0.95}


def trained(steps, make_scheduler, interrupted_at=None):
    """The weights after ``steps`` updates of a small model whose bias has a tenth of the rate."""

    def fresh():
        torch.manual_seed(3)
        model = torch.nn.Linear(4, 2)
        groups = [{"params": [model.weight]}, {"params": [model.bias], "lr": 0.1}]
        optimizer = torch.optim.SGD(groups, lr=1.0, momentum=0.9)
        return model, optimizer, make_scheduler(optimizer)

    model, optimizer, scheduler = fresh()
    data = torch.randn(steps, 8, 4, generator=torch.Generator().manual_seed(1))
    for step, batch in enumerate(data):
        if step == interrupted_at:
            saved = [item.state_dict() for item in (model, optimizer, scheduler)]
            model, optimizer, scheduler = fresh()
            for item, state in zip((model, optimizer, scheduler), saved, strict=True):
                item.load_state_dict(state)
        optimizer.zero_grad()
        model(batch).square().mean().backward()
        optimizer.step()
        scheduler.step()
    return torch.cat([parameter.flatten() for parameter in model.parameters()])


def test_a_torch_scheduler_trains_as_torchs_own():
    ours = trained(40, make("clr", **CLR, **MOMENTA).torch)
    theirs = trained(
        40,
        lambda optimizer: lr_scheduler.CyclicLR(
            optimizer,
            base_lr=[0.01, 0.001],
            max_lr=[0.2, 0.02],
            step_size_up=7,
            base_momentum=0.8,
            max_momentum=0.95,
        ),
    )
    torch.testing.assert_close(ours, theirs)
    assert not torch.allclose(ours, trained(40, make("constant", lr=0.01).torch))


def test_a_torch_scheduler_goes_on_from_its_state_dict(tmp_path):
    schedule = make("clr", **CLR, **MOMENTA)
    assert torch.equal(trained(40, schedule.torch, interrupted_at=23), trained(40, schedule.torch))
    scheduler = schedule.torch(torch.optim.SGD([torch.zeros(1)], lr=1.0))
    torch.save(scheduler.state_dict(), tmp_path / "state.pt")
    assert torch.load(tmp_path / "state.pt", weights_only=True) == scheduler.state_dict()


def test_a_torch_scheduler_moves_beta1_where_there_are_betas():
    optimizer = torch.optim.AdamW([torch.zeros(1, requires_grad=True)], lr=1e-3)
    scheduler = make("clr", **CLR, **MOMENTA).torch(optimizer)
    betas = []
    for _ in range(8):
        betas.append(optimizer.param_groups[0]["betas"])
        optimizer.step()
        scheduler.step()
    assert [betas[0], betas[7]] == [(0.95, 0.999), (pytest.approx(0.8), 0.999)]


def test_the_examples_in_the_docstrings_hold():
    results = [doctest.testmod(module) for module in (base, cycles, decays, entry)]
    assert sum(result.failed for result in results) == 0
    assert sum(result.attempted for result in results) > 15
