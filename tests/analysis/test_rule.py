"""The rule in which the printed interval is the decision: formulas, duals, cases, known truth."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special
from scipy import stats as scipy_stats

from clr_cli.analysis import best, designs, looks, planning, stuck, verdicts
from clr_cli.analysis.rule import ALPHA, Array, Estimate, Moments

RNG = np.random.default_rng


# --- oracles: one comparison at a time, in plain Python -------------------------------------


def moments(x):
    n, mean = len(x), fmean(x)
    m2, m3 = (fmean([(v - mean) ** k for v in x]) for k in (2, 3))
    return n, mean, m2 * n / (n - 1), math.sqrt(n * (n - 1)) / (n - 2) * m3 / m2**1.5


def kappa(n):
    return n * (n - 1) / (n - 2) ** 2


def reaches(level, freedom, down, up):
    z, c = scipy_stats.norm.isf(level / 2), scipy_stats.t.isf(level / 2, freedom)
    q, k = (1 + 2 * c * c) / 6, 1 + max(0, z - 1.959964)
    a = 12 / max(freedom - 1, 1) * max(0, z - 2.3) / math.sqrt(freedom + 1)
    return c + q * max(0, -k * down + a), c + q * max(0, k * up + a)


def one(x, level):
    n, mean, variance, g = moments(x)
    push = kappa(n) * g / math.sqrt(n)
    down, up = reaches(level, n - 1, push, push)
    error = math.sqrt(variance / n)
    return mean - down * error, mean + up * error


def welch(vx, vy, fx, fy, n, m):
    least = min(fx, fy)
    full = (vx + vy) ** 2 / (vx**2 / fx + vy**2 / fy)
    return least + (full - least) * math.sqrt(min(n, m) / max(n, m))


def two(x, y, level):
    (n, a, va, ga), (m, b, vb, gb) = moments(x), moments(y)
    v = va / n + vb / m
    ga, gb = ga * kappa(n) ** 1.5, gb * kappa(m) ** 1.5
    wa, wb = va**1.5 / n**2 / v**1.5, vb**1.5 / m**2 / v**1.5
    pooled = (n * ga + m * gb) / (n + m) * (wa - wb)
    pushes = ga * wa - gb * wb, pooled
    down, up = reaches(level, welch(va / n, vb / m, n - 1, m - 1, n, m), min(pushes), max(pushes))
    low, high = a - b - down * math.sqrt(v), a - b + up * math.sqrt(v)
    if level >= 0.05 and 12 / math.comb(n + m, n) <= 0.05:
        low, high = max(low, min(x) - max(y)), min(high, max(x) - min(y))
    return low, high


def many(arms, base, k, level):
    """Of arm k; base None: the arms are paired differences."""
    found = [moments(x) for x in arms]
    logs = [
        math.log(v) - special.digamma((n - 1) / 2) + math.log((n - 1) / 2) for n, _, v, _ in found
    ]
    excess = np.var(logs, ddof=1) - fmean(special.polygamma(1, (n - 1) / 2) for n, *_ in found)
    prior = 1000.0
    if excess > 2e-3:
        low, high = 1e-3, 1e4
        for _ in range(200):
            prior = math.sqrt(low * high)
            low, high = (prior, high) if special.polygamma(1, prior / 2) > excess else (low, prior)
    shared = math.exp(fmean(logs) + special.digamma(prior / 2) - math.log(prior / 2))
    prior = min(prior, 4)
    n, a, own, _ = found[k]
    freedom = prior + n - 1
    va = max(own, (prior * shared + (n - 1) * own) / freedom)
    skews = [g * kappa(size) ** 1.5 for size, _, _, g in found]
    total = sum(size for size, *_ in found)
    common = sum(size * g for (size, *_), g in zip(found, skews, strict=True)) / total
    v, f, b, push_base = va / n, freedom, 0.0, 0.0
    if base is not None:
        m, b, vb, gb = moments(base)
        gb *= kappa(m) ** 1.5
        v, f = va / n + vb / m, welch(va / n, vb / m, freedom, m - 1, n, m)
        gb = 0.75 * (total * common + m * gb) / (total + m) + 0.25 * gb
        push_base = gb * vb**1.5 / m**2 / v**1.5
    push_arm = (0.75 * common + 0.25 * skews[k]) * va**1.5 / n**2 / v**1.5
    c, z = scipy_stats.t.isf(level / 2, f), scipy_stats.norm.isf(level / 2)
    push = push_arm * max(0, ((3 * (n - 1) / freedom - 1) * c * c + 1) / 6)
    push = (push - push_base * (2 * c * c + 1) / 6) * (1 + max(0, z - 1.959964))
    error = math.sqrt(v)
    return a - b - (c + max(0, -push)) * error, a - b + (c + max(0, push)) * error


@pytest.mark.parametrize("level", [0.3, 0.05, 0.01, 1e-4])
@pytest.mark.parametrize(("n", "m"), [(5, 5), (6, 10), (30, 7)])
def test_intervals_are_the_formulas(n: int, m: int, level: float) -> None:
    rng = RNG([n, m])
    x, y = rng.exponential(size=(8, n)), rng.normal(size=m)
    zeros = np.zeros(n)
    ends = designs.paired(x[:1], zeros).interval(level)
    np.testing.assert_allclose([end[0] for end in ends], one(x[0], level), rtol=1e-8)
    ends = designs.unpaired(x[:1], y).interval(level)
    np.testing.assert_allclose([end[0] for end in ends], two(x[0], y, level), rtol=1e-8)
    shared = np.stack(designs.unpaired(x, y).interval(level), axis=-1)
    np.testing.assert_allclose(shared, [many(x, y, k, level) for k in range(8)], rtol=1e-6)
    shared = np.stack(designs.paired(x, zeros).interval(level), axis=-1)
    np.testing.assert_allclose(shared, [many(x, None, k, level) for k in range(8)], rtol=1e-6)


# --- properties -----------------------------------------------------------------------------

samples = st.builds(
    lambda seed, n, m, k, skewed: (
        RNG(seed).exponential(size=(k, n)) if skewed else RNG(seed).normal(size=(k, n)),
        RNG(seed + 1).normal(size=m),
    ),
    st.integers(0, 2**32),
    st.integers(4, 12),
    st.integers(4, 12),
    st.integers(1, 5),
    st.booleans(),
)


def padded(rows: Sequence[Sequence[float]]) -> Array:
    """Samples of several lengths as one array (K, n), NaN for missing runs."""
    return np.array([*zip_longest(*rows, fillvalue=np.nan)], dtype=np.float64).T


def estimates(x, y) -> list[Estimate]:
    return [designs.unpaired(x, y), designs.paired(x, np.resize(y, x.shape[-1]))]


@given(samples, st.floats(1e-6, 0.9), st.floats(1.01, 5))
def test_intervals_are_nested_and_p_is_their_dual(sample, level, times) -> None:
    for estimate in estimates(*sample):
        low, high = estimate.interval(level)
        wide_low, wide_high = estimate.interval(level / times)
        assert (wide_low <= low).all()
        assert (high <= wide_high).all()
        p = estimate.p()
        excluded = (low > 0) | (high < 0)
        clear = np.abs(np.log(p / level)) > 1e-9
        assert (excluded == (p <= level))[clear].all()
        at_p = estimate.interval(p)
        assert (((at_p[0] > 0) | (at_p[1] < 0)) == (p < 1)).all()


@given(samples, st.floats(-100, 100), st.floats(0.01, 100), st.integers(0, 2**32))
def test_intervals_follow_sign_scale_shift_and_forget_the_order(sample, shift, scale, seed) -> None:
    x, y = sample
    for design in (designs.unpaired, designs.paired):
        base = np.resize(y, x.shape[-1]) if design is designs.paired else y
        ends = np.array(design(x, base).interval(0.02))
        moved = np.array(design(scale * x + shift, scale * base + shift).interval(0.02))
        np.testing.assert_allclose(moved, scale * ends, rtol=1e-6, atol=1e-7 * scale)
        turned = np.array(design(-x, -base).interval(0.02))
        np.testing.assert_allclose(turned, -ends[::-1], rtol=1e-6, atol=1e-9)
        order = RNG(seed).permutation(x.shape[-1])
        others = base[order] if design is designs.paired else base[::-1]
        same = np.array(design(x[:, order], others).interval(0.02))
        np.testing.assert_allclose(same, ends, rtol=1e-6, atol=1e-9)


@given(samples, st.integers(1, 20), st.sampled_from([1.0, 0.29, 0.05]))
def test_the_printed_interval_is_the_decision(sample, more, weight) -> None:
    x, y = sample
    x = x + 1.5 * np.arange(len(x))[:, None]
    count = len(x) - 1 + more
    for estimate in estimates(x, y):
        said = verdicts.claims(estimate, comparisons=count, weight=weight)
        _, adjusted = verdicts.p_holm(estimate, comparisons=count)
        assert (said.claimed == ((said.low > 0) | (said.high < 0))).all()
        known = verdicts.is_testable(estimate, count)
        clear = known & (np.abs(adjusted - ALPHA * weight) > 1e-9)
        assert (said.claimed == (adjusted <= ALPHA * weight))[clear].all()
        assert np.isinf(said.low[~known]).all()
        assert np.isnan(adjusted[~known]).all()


def test_missing_runs_are_as_if_they_were_never_there() -> None:
    x, y = RNG(0).normal(size=(4, 9)), RNG(1).normal(size=8)
    x[1, 6:] = np.nan
    whole = designs.unpaired(padded([row[~np.isnan(row)].tolist() for row in x]), y)
    np.testing.assert_array_equal(designs.unpaired(x, y).interval(), whole.interval())
    base = RNG(2).normal(size=9)
    base[0] = np.nan
    alone = designs.paired(x[:1, 1:], base[1:]).interval()
    np.testing.assert_allclose(designs.paired(x[:1], base).interval(), alone)


# --- cases ----------------------------------------------------------------------------------


def test_samples_that_lie_wholly_apart_are_claimed_at_five_runs() -> None:
    arm, base = [[150.0] * 5], [2250.0, 2700.0, 3500.0, 5000.0, 6300.0]
    said = verdicts.claims(designs.unpaired(arm, base))
    assert (said.low[0], said.high[0]) == (-6150.0, -2100.0)
    assert said.claimed.all()
    far = [[5.0, 5.1, 5.2, 5.3, 50.0]], [4.9, 4.8, 4.7, 4.6, -70.0]
    assert verdicts.claims(designs.unpaired(*far)).claimed.all()
    assert not verdicts.is_testable(designs.unpaired([far[0][0][1:]], far[1])).any()


def test_a_program_that_ignores_its_seed_gives_no_claim() -> None:
    for estimate in (
        designs.unpaired([[0.9] * 8], [0.8] * 8),
        designs.paired([[0.9] * 8], [0.8] * 8),
        designs.against([[0.9] * 8], 0.8),
    ):
        assert estimate.blind.all()
        assert not verdicts.claims(estimate).claimed.any()
        assert estimate.p() == 1


def test_equal_differences_of_runs_that_vary_are_claimed_by_their_signs() -> None:
    base = np.array([0.8, 0.7, 0.6, 0.5, 0.4, 0.3])
    estimate = designs.paired([base + 0.1], base)
    assert not estimate.blind.any()
    np.testing.assert_allclose(estimate.interval(), [[0.1], [0.1]])
    assert estimate.p() == pytest.approx(2**-5)
    assert not verdicts.claims(designs.paired([base[:5] + 0.1], base[:5])).claimed.any()


def test_too_few_runs_say_how_many_it_takes() -> None:
    four = RNG(0).normal(5, 0.01, size=(1, 4))
    assert verdicts.claims(designs.paired(four, np.zeros(4))).claimed.all()
    assert not verdicts.is_testable(designs.paired(four[:, :3], np.zeros(3))).any()
    for arms in (1, 2, 5, 16):
        n = verdicts.fewest_pairs(arms)
        values = RNG(1).normal(50, 0.01, size=(arms, n))
        enough = designs.paired(values, np.zeros(n))
        few = designs.paired(values[:, 1:], np.zeros(n - 1))
        assert verdicts.is_testable(enough).all()
        assert not verdicts.is_testable(few).any()


def test_the_board_calls_adamh_better_by_the_interval_that_it_prints() -> None:
    page = Path(__file__).parents[2] / "outputs/reference/nanogpt_track3/steps/runs.csv"
    ends: dict[str, dict[str, float]] = {}
    for row in csv.DictReader(page.read_text("utf-8").splitlines()):
        ends.setdefault(row["arm"], {})[row["seed"]] = float(row["val_loss"])  # the last row stays
    base = list(ends.pop("muon_tuned").values())
    arms = padded([list(values.values()) for values in ends.values()])
    estimate = designs.unpaired(arms, base)
    k, said = list(ends).index("adamh"), verdicts.claims(estimate)
    assert said.claimed.sum() == said.claimed[k] == 1
    assert (round(said.low[k], 4), round(said.high[k], 4)) == (-0.0073, -0.0017)
    assert 0.0016 < verdicts.p_holm(estimate)[1][k] < 0.0033


def test_holm_gives_a_later_arm_the_level_of_its_step() -> None:
    rng = RNG(3)
    x = rng.normal(size=(2, 8)) + np.array([[9.0], [1.1]])
    said = verdicts.claims(designs.paired(x, np.zeros(8)))
    alone = verdicts.claims(designs.paired(x, np.zeros(8)), among=np.array([False, True]))
    assert said.level[0] == ALPHA / 2
    assert said.level[1] == (ALPHA if not alone.claimed[1] else ALPHA / 2)


def test_words() -> None:
    assert verdicts.verdict(-math.inf, math.inf, 0.1) == "undecided"
    assert verdicts.verdict(0.001, 0.002, 0.1) == "better"  # sure, however small
    assert verdicts.holds_on_all(["worse", "worse", "equivalent"]) == "undecided"
    assert verdicts.comparisons_after_looking(6, baseline_chosen=False) == 5


def test_the_mean_over_data_sets_is_the_mean_of_independent_differences() -> None:
    x = RNG(0).exponential(size=(3, 2, 9))  # data sets, arms, runs
    each = designs.paired(x, np.zeros((3, 9)))
    mean = designs.average(over_arms(each))
    np.testing.assert_allclose(mean.mean, x.mean(axis=(0, 2)))
    np.testing.assert_allclose(mean.error**2 * 9, (x.var(axis=-1, ddof=1) / 9).sum(axis=0))
    alone = designs.average(over_arms(designs.paired(x[:1], np.zeros((1, 9)))))
    np.testing.assert_allclose(
        alone.interval(), np.array(designs.paired(x[0], np.zeros(9)).interval())
    )


def over_arms(estimate: Estimate) -> Estimate:
    """Blocks, the first axis, moved to the last."""
    return Estimate(
        **{
            key: np.moveaxis(value, 1 if value.ndim == 3 else 0, -1)
            for key, value in vars(estimate).items()
        }
    )


# --- looks ----------------------------------------------------------------------------------


def test_the_weights_never_give_more_than_a_look_alone_may_have() -> None:
    assert looks.weight(looks.FIRST_LOOK - 1) == 0
    for cap in (6, 9, 12, 30, 60):
        assert all(0 < looks.weight(n, cap) <= 1 for n in range(6, cap + 1))
        assert looks.weight(cap, cap) >= looks.weight(cap, 1000)
    assert looks.weight(40, 30) == looks.weight(40, 1000)  # the last look's bonus is given once


def run(x, y, paired: bool) -> looks.Progress:
    progress = looks.Progress.begin(x.shape[:-1])
    for n in range(6, 31):
        stop = np.where(progress.open, n, progress.at)
        there = np.where(np.arange(n) < stop[..., None], x[..., :n], np.nan)
        estimate = (designs.paired if paired else designs.unpaired)(there, y[..., :n])
        before = progress
        progress = progress.look(estimate, n, cap=30)
        held = ~before.open
        for field in vars(progress):
            np.testing.assert_array_equal(
                getattr(progress, field)[held], getattr(before, field)[held]
            )
    return progress


@pytest.mark.parametrize("paired", [True, False])
def test_looking_at_every_run_keeps_the_level_and_finds_large_differences_early(paired) -> None:
    rng = RNG(0)
    x, y = rng.normal(size=(600, 4, 30)), rng.normal(size=(600, 30)) * (not paired)
    x[:, 3] += 3
    progress = run(x, y, paired)
    claimed = progress.state == looks.CLAIMED
    assert (claimed == ((progress.low > 0) | (progress.high < 0))).all()
    assert claimed[:, :3].any(axis=1).mean() < 0.08
    assert claimed[:, 3].mean() > 0.99
    assert progress.at[:, 3].mean() < 7
    assert (progress.state[:, :3] == looks.HOPELESS).mean() > 0.8


def test_a_replay_is_the_looks_one_after_the_other() -> None:
    x, y = RNG(5).normal(size=(3, 12)) + np.array([[0.0], [2.0], [4.0]]), RNG(6).normal(size=14)
    seen = [looks.Look(6, [6, 6, 6], 8), looks.Look(7, [7, 7, 6], 9), looks.Look(8, [7, 9, 6], 14)]
    steps = looks.replay(x, y, seen, designs.unpaired, cap=30)
    progress = looks.Progress.begin((3,))
    for look, step in zip(seen, steps, strict=True):
        rows = [row[:n].tolist() for row, n in zip(x, look.arms, strict=True)]
        estimate = designs.unpaired(padded(rows), y[: look.baseline])
        progress = progress.look(estimate, look.n, cap=30)
        for field in vars(step):
            np.testing.assert_allclose(getattr(step, field), getattr(progress, field))
    assert steps[-1].state[2] == looks.CLAIMED


def test_without_a_cap_nothing_is_given_up_and_a_margin_makes_equivalence() -> None:
    x, zeros = RNG(1).normal(size=(1, 20)), np.zeros(20)
    estimate = designs.paired(x - x.mean(), zeros)
    start = looks.Progress.begin((1,))
    assert start.look(estimate, 20).state[0] == looks.OPEN
    assert start.look(estimate, 20, cap=30).state[0] == looks.HOPELESS
    assert start.look(estimate, 20, cap=30, margin=5.0).state[0] == looks.EQUIVALENT


def test_runs_go_to_the_noisier_side_and_never_to_a_decided_arm() -> None:
    rng = RNG(0)
    arms = Moments.of(np.stack([rng.normal(size=5), rng.normal(size=5), 9 * rng.normal(size=5)]))
    base = Moments.of(5 * rng.normal(size=5))
    still = np.array([True, True, False])
    more, more_base = looks.next_runs(arms, base, still, 6)
    assert more.sum() + more_base == 6
    assert more[2] == 0
    assert more_base >= 4
    assert looks.next_runs(arms, base, np.zeros(3, bool), 6)[1] == 0
    more, more_base = looks.next_runs(arms, base, still, 6, [1, 0, 9, 2])
    assert (more.tolist(), more_base) == ([1, 0, 0], 2)


# --- the best, planning, stuck runs ---------------------------------------------------------


@pytest.mark.parametrize("design", [designs.paired, designs.unpaired])
def test_the_set_holds_the_best_and_shrinks(design) -> None:
    x = RNG(0).normal(size=(500, 6, 10))
    assert best.could_be_best(x, design)[:, 0].mean() > 0.93
    x[:, 0] += 2
    keep = best.could_be_best(x, design)
    assert keep[:, 0].all()
    assert keep.sum(axis=-1).mean() < 2


@pytest.mark.parametrize("paired", [False, True])
def test_the_best_arm_is_as_likely_as_draws_of_the_true_means_say(paired: bool) -> None:
    random = np.random.default_rng(5)
    x = random.normal(size=(3, 6)) + np.array([[0.0], [0.4], [0.9]])
    x += 5 * paired * random.normal(size=6)  # what the runs of a seed share
    rest = x - x.mean(axis=0) if paired else x
    error = np.sqrt(rest.var(axis=1, ddof=1) * (1.5 if paired else 1) / 6)
    truth = x.mean(axis=1) + error * random.standard_t(5, size=(200_000, 3))
    expected = np.bincount(truth.argmax(axis=1), minlength=3) / len(truth)
    np.testing.assert_allclose(best.probabilities(x, paired=paired), expected, atol=0.005)


def test_equal_arms_are_equally_likely_the_best_and_one_run_says_nothing() -> None:
    same = np.tile(np.arange(4.0), (3, 1))
    np.testing.assert_allclose(best.probabilities(same, paired=True), 1 / 3)
    alone = np.array([[1.0, np.nan], [1.0, 2.0], [1.0, 3.0]])
    assert np.isnan(best.probabilities(alone, paired=False)).all()


def test_the_winners_optimism_is_that_of_equal_arms() -> None:
    x = RNG(0).normal(size=(200, 6, 10))
    excess = x.mean(axis=-1).max(axis=-1).mean()
    said = np.mean([best.optimism(row, paired=False) for row in x])
    assert said == pytest.approx(excess, rel=0.2)
    shared = x + 10 * RNG(1).normal(size=(200, 1, 10))
    said = np.mean([best.optimism(row, paired=True) for row in shared])
    assert said == pytest.approx(excess, rel=0.2)
    apart = x[0] + 100 * np.arange(6)[:, None]
    assert best.optimism(apart, paired=False) < 1e-6


@pytest.mark.parametrize(
    ("sizes", "arms", "effect"),
    [((6,), 1, 2.0), ((6,), 1, 3.0), ((10,), 4, 1.0), ((5, 5), 1, 3.0), ((8, 8), 4, 1.5)],
)
def test_power_is_what_simulation_finds(sizes, arms, effect) -> None:
    rng = RNG(0)
    x = rng.normal(size=(4000, arms, sizes[0]))
    x[:, 0] += effect
    if len(sizes) == 1:
        estimate = designs.paired(x, np.zeros((4000, sizes[0])))
    else:
        estimate = designs.unpaired(x, rng.normal(size=(4000, sizes[1])))
    found = (estimate.interval(ALPHA / arms)[0][:, 0] > 0).mean()
    said = planning.power(effect, (1.0,) * len(sizes), sizes, comparisons=arms)
    assert said == pytest.approx(found, abs=0.05)
    least = planning.smallest_detectable((1.0,) * len(sizes), sizes, comparisons=arms)
    assert least is not None
    told = planning.power(least, (1.0,) * len(sizes), sizes, comparisons=arms)
    assert told == pytest.approx(planning.POWER, abs=1e-3)


def test_runs_needed_are_the_fewest_with_power() -> None:
    n = planning.runs_needed(1.0, (1.0,), comparisons=3)
    assert n is not None
    assert planning.power(1.0, (1.0,), (n,), comparisons=3) >= planning.POWER
    assert planning.power(1.0, (1.0,), (n - 1,), comparisons=3) < planning.POWER
    assert planning.runs_needed(0.0, (1.0,)) is None
    assert planning.runs_needed(1.0, (0.0,)) is None
    assert planning.smallest_detectable((1.0,), (3,)) is None


def test_stuck_runs_are_named_and_others_are_not() -> None:
    values = [*RNG(0).normal(0.9, 0.005, size=18), 0.1, 0.13]
    assert stuck.stuck_runs(values, chance=0.1) == {18: None, 19: None}
    assert [*stuck.stuck_runs(values)] == [18, 19]
    assert all(far > 10 for far in stuck.stuck_runs(values).values())
    assert not stuck.stuck_runs([1.0, 1.0, 1.0, 0.9])  # of values without a spread, none is far
    assert not stuck.stuck_runs([0.9, 0.1, 0.9])
    for n in (4, 6, 10, 30):
        for draw in (RNG(n).normal, RNG(n).exponential):
            false = [bool(stuck.stuck_runs(row)) for row in draw(size=(800, n)).tolist()]
            assert np.mean(false) < 0.02
    assert stuck.most_elsewhere(0, 8) == pytest.approx(1 - 0.05 ** (1 / 8))
    assert stuck.most_elsewhere(8, 8) == 1


@pytest.mark.parametrize(("noise", "most"), [("normal", 0.06), ("exponential", 0.085)])
def test_equal_arms_are_seldom_called_different(noise: str, most: float) -> None:
    draw = getattr(RNG(0), "standard_" + noise)
    for arms, n in ((1, 5), (1, 10), (4, 6), (8, 10)):
        x, y = draw(size=(2000, arms, n)), draw(size=(2000, n))
        for estimate in (designs.unpaired(x, y), designs.paired(x, np.full((2000, n), y.mean()))):
            assert verdicts.claims(estimate).claimed.any(axis=-1).mean() < most
