"""Bounds from synthetic curves whose answer is known, the stop rule, and the ramp."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clr_cli.analysis.suggest import Suggestion, suggest
from clr_cli.analysis.sweeps import smooth_accuracy, smooth_loss
from clr_cli.records import Stopped, Sweep
from clr_cli.training.sweep import Divergence, ramp

POINTS = 100
LINEAR = np.linspace(0.001, 0.5, POINTS + 1)[1:]
LOG = np.geomspace(1e-4, 5, POINTS)
Curve = Callable[[np.ndarray], np.ndarray]
NOISES = (0.02, 0.05, 0.1, 0.2)


def make_sweep(lr: np.ndarray, accuracy: np.ndarray, seed: int) -> Sweep:
    """Ten iterations a point; the loss falls as the accuracy rises."""
    accuracy = np.clip(accuracy, 0, 1)
    at = np.linspace(0, len(lr) - 1, 10 * len(lr))
    every = np.interp(at, np.arange(len(lr)), lr)
    loss = 2.3 - 2 * np.interp(every, lr, accuracy)
    return Sweep(
        seed, every.tolist(), loss.tolist(), lr.tolist(), accuracy.tolist(), (1 - accuracy).tolist()
    )


def noisy(lr: np.ndarray, curve: Curve, noise: float, k: int = 3, first: int = 0) -> list[Sweep]:
    return [
        make_sweep(lr, curve(lr) + noise * np.random.default_rng(s).standard_normal(len(lr)), s)
        for s in range(first, first + k)
    ]


def answer(sweeps: list[Sweep]) -> Suggestion:
    return suggest(sweeps, num_classes=10)


def peak(lr: np.ndarray) -> np.ndarray:
    """90 % at 0.1, chance 1.5 decades to either side."""
    return 0.1 + 0.8 * np.clip(1 - np.abs(np.log10(lr / 0.1)) / 1.5, 0, 1)


def plateau(lr: np.ndarray) -> np.ndarray:
    """Rises from 0.001 on, flat from 0.03 to 0.5, back at chance at 1.5."""
    u = np.log10(lr)
    return 0.1 + 0.7 * np.clip((u + 3) / 1.477, 0, 1) - 0.7 * np.clip((u + 0.301) / 0.477, 0, 1)


def rise_then_flat(lr: np.ndarray) -> np.ndarray:
    """Rises up to a rate of 0.25, then flat to the end of the range: it has stopped improving."""
    return 0.1 + 0.7 * np.clip(lr / 0.25, 0, 1)


def seed_figure(noise_seed: int) -> Sweep:
    """The original experiment's range test: 90 % from .03 to .16, ragged and sinking behind."""
    rng = np.random.default_rng(noise_seed)
    level = np.interp(
        LINEAR,
        [0.001, 0.0076, 0.0136, 0.02, 0.03, 0.16, 0.5],
        [0.1, 0.2, 0.6, 0.82, 0.9, 0.91, 0.84],
    )
    ragged = np.where(LINEAR > 0.16, 0.07, 0.03)
    dips = np.where(rng.random(POINTS) < np.where(LINEAR > 0.16, 0.15, 0.05), 0.25, 0)
    return make_sweep(LINEAR, level + ragged * rng.standard_normal(POINTS) - dips, noise_seed)


@pytest.mark.parametrize("noise", NOISES)
def test_a_peak_is_found_at_every_noise_level(noise: float) -> None:
    found = answer(noisy(LOG, peak, noise))
    assert found.inconclusive is None
    assert found.max_lr is not None
    assert abs(math.log10(found.max_lr.value / 0.1)) < 0.15
    assert found.base_lr is not None
    assert 0 < found.base_lr.value <= found.max_lr.value / 100


@pytest.mark.parametrize("noise", [0.02, 0.05, 0.1])
def test_a_plateau_gives_its_middle_and_not_its_luckiest_point(noise: float) -> None:
    values = []
    for first in range(0, 60, 3):
        found = answer(noisy(LOG, plateau, noise, first=first))
        assert found.inconclusive is None
        assert found.max_lr is not None
        values.append(found.max_lr.value)
    assert min(values) > 0.06
    assert max(values) < 0.25
    luckiest = [
        LOG[np.mean([s.val_accuracy for s in noisy(LOG, plateau, noise, first=f)], 0).argmax()]
        for f in range(0, 60, 3)
    ]
    assert math.log10(max(values) / min(values)) < 0.5 * math.log10(max(luckiest) / min(luckiest))


def test_the_original_experiment_gives_its_bounds_again_and_again() -> None:
    values = []
    for first in range(0, 60, 3):
        found = answer([seed_figure(first + k) for k in range(3)])
        assert found.inconclusive is None
        assert found.base_lr is not None
        assert found.max_lr is not None
        assert 0.0005 <= found.base_lr.value <= 0.0136
        assert found.max_lr.low <= found.max_lr.value <= found.max_lr.high
        values.append(found.max_lr.value)
    assert min(values) > 0.05
    assert max(values) < 0.18
    assert math.log10(max(values) / min(values)) < 0.3


def test_raggedness_beyond_a_rate_moves_max_lr_below_it() -> None:
    """The mean accuracy is the same on both halves; only one of them can be depended on."""
    lr = LINEAR
    swing = np.where(np.arange(POINTS) % 2, 0.08, -0.08) * (lr > 0.25)
    sweeps = [
        make_sweep(lr, 0.1 + 0.75 * np.clip(lr / 0.02, 0, 1) + swing + e, s)
        for s, e in enumerate(0.005 * np.random.default_rng(0).standard_normal((3, POINTS)))
    ]
    found = answer(sweeps)
    assert found.max_lr is not None
    assert found.max_lr.value < 0.25


def test_one_lucky_spike_does_not_move_max_lr() -> None:
    sweeps = noisy(LOG, plateau, 0.03)
    spiked = list(sweeps[0].val_accuracy)
    spiked[80] = 1.0  # at a rate of 0.6, beyond the plateau
    with_spike = make_sweep(LOG, np.array(spiked), 0)
    plain, lucky = answer(sweeps), answer([with_spike, *sweeps[1:]])
    assert plain.max_lr is not None
    assert lucky.max_lr is not None
    assert lucky.max_lr.value == pytest.approx(plain.max_lr.value, rel=0.05)


def test_the_range_is_said_to_end_too_soon_only_if_accuracy_has_not_fallen() -> None:
    for first in range(5):
        found = answer(noisy(LOG, plateau, 0.03, first=first))
        assert found.max_lr is not None
        assert "higher rates may be" not in found.max_lr.reason


def test_a_flat_end_is_an_answer_and_a_rising_end_is_not() -> None:
    for noise in (0.02, 0.05):
        flat = answer(noisy(LINEAR, rise_then_flat, noise))
        assert flat.inconclusive is None
        assert flat.max_lr is not None
        assert 0.25 < flat.max_lr.value < 0.5
        assert "higher rates may be as good" in flat.max_lr.reason
    for noise in (0.02, 0.1, 0.2):
        rising = answer(noisy(LINEAR, lambda lr: 0.1 + 1.6 * lr, noise))
        assert rising.inconclusive is not None
        assert "still rises" in rising.inconclusive
        assert "--max-lr 2" in rising.inconclusive
        assert rising.next_range is not None
        assert rising.next_range[1] == pytest.approx(2.0)


@pytest.mark.parametrize("noise", [0.02, 0.05, 0.1])
def test_falling_from_the_start_is_inconclusive(noise: float) -> None:
    found = answer(noisy(LINEAR, lambda lr: 0.1 + 0.7 * np.clip(1 - lr / 0.08, 0, 1), noise))
    assert found.inconclusive is not None
    assert "from the start" in found.inconclusive
    assert found.next_range is not None
    assert found.next_range[0] < LINEAR[0]


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.05, 0.1])
def test_no_learning_is_inconclusive(noise: float) -> None:
    found = answer(noisy(LINEAR, lambda lr: np.full_like(lr, 0.1), noise))
    assert found.inconclusive is not None
    assert found.inconclusive.startswith("nothing was learned")
    assert (found.base_lr, found.max_lr) == (None, None)
    assert found.next_range == pytest.approx((LINEAR[0], 5.0))


def test_no_time_to_learn_asks_for_a_longer_sweep_of_the_same_range() -> None:
    """The loss falls and rises again within the range, but accuracy has not followed yet."""
    idle = make_sweep(LOG, np.full(POINTS, 0.1), 0)
    loss = 2.3 - 0.8 * (peak(np.array(idle.lr)) - 0.1)
    sweep = Sweep(0, idle.lr, loss.tolist(), idle.val_lr, idle.val_accuracy, idle.val_loss)
    found = answer([sweep])
    assert found.inconclusive is not None
    assert "longer sweep" in found.inconclusive
    assert found.next_range == pytest.approx((LOG[0], LOG[-1]))


def test_chance_may_be_the_share_of_the_largest_class() -> None:
    """A model that always names the largest class has learned nothing."""
    sweeps = noisy(LINEAR, lambda lr: np.where(lr < 0.02, 0.1, 0.25), 0.01)
    assert answer(sweeps).max_lr is not None
    found = suggest(sweeps, num_classes=10, chance=0.25)
    assert found.inconclusive is not None
    assert "nothing was learned" in found.inconclusive


def test_disagreeing_sweeps_are_inconclusive_and_say_by_how_much() -> None:
    sweeps = [
        make_sweep(LOG, peak(LOG / shift) + 0.02 * np.random.default_rng(s).standard_normal(100), s)
        for s, shift in enumerate((0.1, 1.0, 2.0))
    ]
    found = answer(sweeps)
    assert found.inconclusive is not None
    assert "disagree" in found.inconclusive
    assert found.max_lr is not None
    assert found.max_lr.low == pytest.approx(0.01, rel=0.3)
    assert found.max_lr.high == pytest.approx(0.2, rel=0.3)
    assert "factor of" in found.inconclusive


def cut(sweep: Sweep, point: int) -> Sweep:
    """The sweep as it is when its loss becomes NaN at this validation point."""
    n = 10 * point
    stop = Stopped(reason="non-finite", iteration=n, lr=sweep.lr[n])
    losses = [*sweep.train_loss[:n], math.nan]
    measured = (sweep.val_lr[:point], sweep.val_accuracy[:point], sweep.val_loss[:point])
    return Sweep(sweep.seed, sweep.lr[: n + 1], losses, *measured, stop)


def test_sweeps_that_end_in_nan_at_different_rates() -> None:
    whole = noisy(LOG, plateau, 0.03)
    ended = [cut(sweep, point) for sweep, point in zip(whole, (78, 82, 85), strict=True)]
    found, reference = answer(ended), answer(whole)
    assert found.inconclusive is None
    assert found.max_lr is not None
    assert reference.max_lr is not None
    assert abs(math.log10(found.max_lr.value / reference.max_lr.value)) < 0.1
    for name in ("steepest", "valley", "minimum"):
        estimate = getattr(found, name)
        assert estimate is not None
        assert math.isfinite(estimate.value)
        assert len(estimate.per_sweep) == 3


@pytest.mark.parametrize("point", [0, 3, 20])
def test_a_range_that_starts_too_high_asks_for_a_lower_one(point: int) -> None:
    sweeps = [cut(s, point) for s in noisy(LOG, lambda lr: np.full_like(lr, 0.1), 0.02)]
    found = answer(sweeps)
    assert found.inconclusive is not None
    assert "diverged" in found.inconclusive
    assert found.next_range is not None
    assert found.next_range[0] < LOG[0]
    assert found.next_range[1] <= sweeps[0].lr[-1]


def test_a_sweep_that_learned_nothing_is_named_and_does_not_count() -> None:
    sweeps = noisy(LOG, peak, 0.03)
    dead = noisy(LOG, lambda lr: np.full_like(lr, 0.1), 0.01, k=1, first=7)
    for chance in (0.1, 0.2):
        found = suggest([*sweeps, *dead], num_classes=10, chance=chance)
        assert found.inconclusive is not None
        assert "1 of 4 sweeps learned nothing" in found.inconclusive
        assert found.max_lr is not None
        assert len(found.max_lr.per_sweep) == 3
        assert found.max_lr.high < 0.2


def test_too_short_a_sweep_says_so() -> None:
    lr = np.geomspace(1e-4, 5, 6)
    found = answer([make_sweep(lr, peak(lr), 0)])
    assert found.inconclusive is not None
    assert "longer sweep" in found.inconclusive


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(NOISES))
def test_the_order_of_the_sweeps_does_not_matter(seed: int, noise: float) -> None:
    sweeps = noisy(LOG, plateau, noise, first=seed)
    answers = [answer(list(order)) for order in permutations(sweeps)]
    assert all(a == answers[0] for a in answers)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.lists(st.floats(0, 1), min_size=12, max_size=12), min_size=1, max_size=4),
    st.integers(2, 100),
)
def test_any_curve_gets_bounds_in_the_range_or_a_reason(
    curves: list[list[float]], classes: int
) -> None:
    lr = np.geomspace(1e-3, 1, 12)
    sweeps = [make_sweep(lr, np.array(c), s) for s, c in enumerate(curves)]
    found = suggest(sweeps, num_classes=classes)
    assert (found.inconclusive is None) == (found.next_range is None)
    if found.max_lr is None:
        assert found.inconclusive
        return
    assert found.base_lr is not None
    assert lr[0] * 0.999 <= found.max_lr.value <= lr[-1] * 1.001
    assert 0 < found.base_lr.value <= found.max_lr.value / 100 * 1.001
    for estimate in (found.base_lr, found.max_lr):
        assert estimate.low <= estimate.value <= estimate.high
        assert len(estimate.per_sweep) <= len(sweeps)
        assert "\n" not in estimate.reason


def test_sweeps_of_different_ramps_are_refused() -> None:
    with pytest.raises(ValueError, match="another ramp"):
        answer([*noisy(LOG, peak, 0.02, k=1), *noisy(LINEAR, peak, 0.02, k=1, first=1)])
    with pytest.raises(ValueError, match="at least one"):
        answer([])


def fastai_valley(lrs: list[float], losses: list[float]) -> float:
    """fastai 2.8, callback/schedule.py, `valley`, line by line."""
    n = len(losses)
    max_start, max_end = 0, 0
    lds = [1] * n
    for i in range(1, n):
        for j in range(i):
            if losses[i] < losses[j] and lds[i] < lds[j] + 1:
                lds[i] = lds[j] + 1
            if lds[max_end] < lds[i]:
                max_end = i
                max_start = max_end - lds[max_end]
    sections = (max_end - max_start) / 3
    return lrs[max_start + int(sections) + int(sections / 2)]


@pytest.mark.parametrize("seed", range(5))
def test_the_other_finders_numbers_are_theirs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lr = np.geomspace(1e-6, 10, 200)
    loss = 2.3 - 2 * np.clip((np.log10(lr) + 4) / 3, 0, 1) + 10 * np.clip(lr - 1, 0, None)
    raw = (loss + 0.1 * rng.standard_normal(200)).tolist()
    found = answer([Sweep(seed, lr.tolist(), raw, [], [], [])])
    smooth = smooth_loss(raw)
    start, end = 200 // 10, -5
    assert found.valley is not None
    assert found.valley.value == fastai_valley(lr.tolist()[start:end], smooth[start:end])
    assert found.minimum is not None
    assert found.minimum.value == lr[start:end][np.argmin(smooth[start:end])] / 10
    assert found.steepest is not None
    slopes = np.gradient(np.array(smooth)[10:-1], np.log(lr[10:-1]))
    assert found.steepest.value == lr[10:-1][slopes.argmin()]


def test_smoothing_keeps_straight_lines_and_drops_single_points() -> None:
    line = [0.1 + 0.005 * i for i in range(100)]
    assert smooth_accuracy(line)[5:-5] == pytest.approx(line[5:-5], abs=0.01)
    spiked = [0.5] * 100
    spiked[40] = 1.0
    assert smooth_accuracy(spiked) == pytest.approx([0.5] * 100)
    assert smooth_accuracy([0.3]) == [0.3]
    assert smooth_accuracy([]) == []
    assert smooth_loss([3.0, 1.0, math.inf, 1.0])[0] == pytest.approx(3.0)
    assert len(smooth_loss([3.0, 1.0, math.inf, 1.0])) == 2


@pytest.mark.parametrize("shape", ["linear", "exponential"])
def test_ramp_runs_from_end_to_end(shape: str) -> None:
    lr = ramp(shape, 1e-3, 0.5, 101)
    assert lr(0) == pytest.approx(1e-3, rel=1e-12)
    assert lr(100) == pytest.approx(0.5, rel=1e-12)
    assert lr(50) == pytest.approx(0.2505 if shape == "linear" else math.sqrt(1e-3 * 0.5))
    values = [lr(i) for i in range(101)]
    assert values == sorted(values)


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (("cosine", 0.1, 1.0, 10), "shape"),
        (("linear", 1.0, 0.1, 10), "max_lr"),
        (("linear", 0.0, 0.1, 10), "max_lr"),
        (("linear", 0.1, 1.0, 1), "iterations"),
    ],
)
def test_ramp_refuses_what_is_no_range(arguments: tuple[str, float, float, int], key: str) -> None:
    with pytest.raises(ValueError, match=key):
        ramp(*arguments)


def losses(level: Callable[[int], float], noise: float, n: int, seed: int = 0) -> list[float]:
    rng = random.Random(seed)
    return [max(1e-3, level(i) * (1 + noise * rng.gauss(0, 1))) for i in range(n)]


@pytest.mark.parametrize("noise", [0.02, 0.2, 0.5])
@pytest.mark.parametrize(
    "level",
    [
        lambda i: 2.303,  # the flat start, or nothing learned
        lambda i: 2.303 + 0.3 * math.exp(-(((i - 200) / 100) ** 2)),  # above guessing for a while
        lambda i: 2.303 * math.exp(-i / 150) + 0.02,  # down to almost nothing
        lambda i: 0.5 + 0.4 * (i > 1000),  # a rougher plateau at higher rates
    ],
)
def test_noise_the_flat_start_and_raggedness_do_not_stop_a_sweep(
    level: Callable[[int], float], noise: float
) -> None:
    assert Divergence(10).after(losses(level, noise, 2000)).reason is None


def test_one_huge_early_batch_does_not_stop_a_sweep() -> None:
    assert Divergence(10).after([2.3, 9.0, 2.3, *[2.2] * 100]).reason is None


@pytest.mark.parametrize("best", [0.01, 0.5, 1.0])
@pytest.mark.parametrize("end", [2.303, 50.0])  # a dead network, an explosion
def test_divergence_is_seen_from_a_good_and_from_a_poor_best(best: float, end: float) -> None:
    curve = [*losses(lambda i: best + 2.3 * math.exp(-i / 60), 0.1, 500), *[end] * 500]
    state = Divergence(10).after(curve)
    assert state.reason == "diverged"
    assert state.stopped_at is not None
    assert 500 <= state.stopped_at < 700


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("at", [0, 1, 300])
def test_the_first_non_finite_loss_stops_at_once(bad: float, at: int) -> None:
    state = Divergence(10).after([*[2.3] * at, bad, 2.3])
    assert (state.reason, state.stopped_at) == ("non-finite", at)
    assert state.after([0.1] * 10) == state


def test_the_stop_rule_may_be_fed_in_pieces() -> None:
    curve = [*losses(lambda i: 0.3 + 2 * math.exp(-i / 60), 0.2, 400), *[5.0] * 300]
    state = Divergence(10)
    for i in range(0, len(curve), 37):
        state = state.after(curve[i : i + 37])
    assert state == Divergence(10).after(curve)
