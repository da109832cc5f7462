"""The paired statistics against scipy, against enumeration, and against simulated truth."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats as reference

from clr_cli.analysis import stats, times

SIX = [0.012, -0.003, 0.008, 0.011, 0.002, 0.007]


def test_p_is_that_of_all_sign_patterns():
    flipped = [abs(np.dot(s, SIX)) for s in itertools.product([-1, 1], repeat=6)]
    expected = np.mean([total >= abs(sum(SIX)) - 1e-12 for total in flipped])
    assert float(stats.sign_flip_p(SIX)) == pytest.approx(expected)


@pytest.mark.parametrize(("n", "smallest"), [(1, 1.0), (2, 0.5), (5, 0.0625), (6, 0.03125)])
def test_smallest_p_is_two_over_two_to_the_n(n, smallest):
    assert float(stats.sign_flip_p(np.arange(1, n + 1))) == pytest.approx(smallest)


def test_p_of_many_seeds_is_a_valid_monte_carlo_p():
    p = float(stats.sign_flip_p(np.linspace(1, 2, 20)))
    assert 0 < p < 1e-3
    assert p == float(stats.sign_flip_p(np.linspace(1, 2, 20)))


def test_p_of_no_difference_is_one():
    assert float(stats.sign_flip_p(np.zeros(6))) == 1.0


def test_interval_contains_student_t_and_the_levels_nest():
    low, high = stats.mean_intervals(SIX, (0.95, 0.97))
    t = reference.ttest_1samp(SIX, 0).confidence_interval(0.95)
    assert low[0] <= t.low
    assert high[0] >= t.high
    assert low[1] < low[0] < high[0] < high[1]


def test_interval_contains_the_bootstrap_t_of_scipy():
    values = np.random.default_rng(4).exponential(size=10)
    mean, error = values.mean(), reference.sem(values)

    def t(sample, axis):
        return (sample.mean(axis=axis) - mean) / reference.sem(sample, axis=axis)

    drawn = reference.bootstrap(
        (values,), t, method="percentile", n_resamples=9_999, random_state=np.random.default_rng(8)
    ).bootstrap_distribution
    low, high = stats.mean_intervals(values, (0.95,))
    # skewed: the bootstrap sets the far end, Student's t the near one; other draws, so 5 % slack
    assert high[0] == pytest.approx(mean - np.quantile(drawn, 0.025) * error, rel=0.05)
    assert low[0] == pytest.approx(reference.ttest_1samp(values, 0).confidence_interval(0.95).low)


def test_interval_of_few_seeds_is_student_t():
    low, high = stats.mean_intervals([0.01, 0.03, 0.04], (0.95,))
    t = reference.ttest_1samp([0.01, 0.03, 0.04], 0).confidence_interval(0.95)
    assert (low[0], high[0]) == pytest.approx((t.low, t.high))


def test_interval_edge_cases():
    assert [end.tolist() for end in stats.mean_intervals([0.1], (0.95,))] == [
        [-math.inf],
        [math.inf],
    ]
    assert np.concatenate(stats.mean_intervals([0.1] * 7, (0.95,))) == pytest.approx([0.1, 0.1])
    assert [end.tolist() for end in stats.mean_intervals([0.0] * 2, (0.95,))] == [[0.0], [0.0]]
    assert np.isfinite(stats.mean_intervals([0, 0, 0, 0, 0, 0.01], (0.97,))).all()


def test_interval_is_deterministic_and_the_same_in_a_batch():
    rows = np.random.default_rng(1).normal(size=(3, 8))
    low, high = stats.mean_intervals(rows, (0.95,))
    for k, row in enumerate(rows):
        one = stats.mean_intervals(row, (0.95,))
        assert (one[0][0], one[1][0]) == pytest.approx((low[0, k], high[0, k]))


def test_holm_by_hand():
    # sorted 0.01 x 4, 0.02 x 3, 0.03 x 2, 0.04 x 1, then never falling
    assert stats.holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert stats.holm([0.6, 0.7]) == [1.0, 1.0]
    assert stats.holm([]) == []


@pytest.mark.parametrize(("comparisons", "seeds"), [(1, 6), (2, 7), (3, 7), (4, 8)])
def test_seeds_for_test_is_the_fewest_that_can_succeed(comparisons, seeds):
    assert stats.seeds_for_test(comparisons) == seeds
    assert comparisons * 2 / 2**seeds <= 0.05 < comparisons * 2 / 2 ** (seeds - 1)


@pytest.mark.parametrize(
    ("n", "p", "low", "high", "comparisons", "expected"),
    [
        (6, 0.03, 0.01, 0.02, 1, "better"),
        (6, 0.03, -0.02, -0.01, 1, "worse"),
        (6, 0.06, 0.01, 0.02, 1, "no_difference"),
        (6, 0.03, -0.01, 0.02, 1, "no_difference"),
        (6, 0.03, 0.0001, 0.0009, 1, "equivalent"),
        (6, 1.0, -0.001, 0.0009, 1, "no_difference"),  # an end on the margin is not inside
        (5, 0.06, 0.01, 0.02, 1, "too_few_seeds"),
        (5, 1.0, -0.0001, 0.0001, 1, "too_few_seeds"),
        (6, 0.06, 0.01, 0.02, 2, "too_few_seeds"),
        (6, 0.06, 0.0001, 0.0002, 2, "equivalent"),
        (7, 0.03, 0.01, 0.02, 2, "better"),
    ],
)
def test_claim(n, p, low, high, comparisons, expected):
    assert stats.claim(n, p, low, high, 0.001, comparisons) == expected


def test_superiority_is_sane_at_the_extremes():
    estimate, low, high = stats.superiority(6, 0, 0)
    assert (estimate, high) == (1.0, 1.0)
    assert low == pytest.approx(0.025 ** (1 / 6))
    assert stats.superiority(0, 6, 0) == (0.5, 0.0, 1.0)
    assert stats.superiority(0, 0, 6)[2] == pytest.approx(1 - 0.025 ** (1 / 6))


@pytest.mark.parametrize("n", [6, 8, 12, 20])
def test_power_is_what_the_claim_rule_has(n):
    effect = stats.smallest_detectable(1.0, n)
    values = np.random.default_rng(n).normal(effect, 1, size=(1_000, n))
    low, high = stats.mean_intervals(values, (stats.CLAIM_LEVEL,), 1_999)
    p = stats.sign_flip_p(values, 4_096)
    found = [stats.claim(n, *row, 0.0) == "better" for row in zip(p, low[0], high[0], strict=True)]
    assert np.mean(found) == pytest.approx(0.8, abs=0.05)


def test_power_needs_six_seeds():
    assert stats.power(100.0, 5) == 0.0
    assert stats.smallest_detectable(1.0, 5) is None
    assert stats.smallest_detectable(1.0, 6, comparisons=2) is None


def test_seeds_needed_turns_smallest_detectable_round():
    for n in (8, 15, 40):
        effect = stats.smallest_detectable(1.0, n)
        assert stats.seeds_needed(effect * 1.0001, 1.0) == n
        assert stats.seeds_needed(-effect * 1.0001, 1.0) == n
    assert stats.seeds_needed(0.0, 1.0) is None
    assert stats.seeds_needed(1e-6, 1.0) is None
    assert stats.seeds_needed(0.1, 0.0) == 6


def test_median_ratio_holds_misses():
    six = times.median_ratio([1, 2, 3, 4, 5, 6], [2] * 6)
    assert (six.value, six.low, six.high) == (1.75, 0.5, 3.0)
    inf = math.inf
    late = times.median_ratio([50, inf, inf, inf, 60, inf], [100] * 6)
    assert (late.value, late.low, late.high) == (inf, 0.5, inf)
    assert times.median_ratio([50] * 3, [inf] * 3).value == 0
    assert math.isnan(times.median_ratio([50] * 3, [inf] * 3).low)  # fewer than six pairs
    assert times.median_ratio([inf, 5, 5], [inf, 10, 10]).value == 0.5  # a tie and two
    assert math.isnan(times.median_ratio([inf, inf, 1], [inf, inf, 2]).value)
    assert math.isnan(times.median_ratio([], []).value)
    assert times.median_ratio([5, 5, 5, 6], [inf, inf, 10, 10]).value == 0.5  # not (0 + 0.5) / 2
    assert times.median_ratio([5, inf], [inf, 5]).value == 1.0


def rows(accuracies, rates=None):
    rates = rates or [0.1] * len(accuracies)
    return [{"val_accuracy": a, "lr": r} for a, r in zip(accuracies, rates, strict=True)]


@pytest.mark.parametrize(
    ("accuracies", "epoch"),
    [
        ([0.5, 0.9, 0.5, 0.9, 0.9, 0.9, 0.5], 3),  # one lucky epoch does not count, three do
        ([0.5, 0.9, 0.5, 0.9, 0.9, 0.5, 0.5], None),  # nor do two
        ([0.5, 0.6, 0.7, 0.9], 3),  # the declared last epoch does
        ([0.9, 0.9, 0.9], 0),
        ([0.5, 0.5], None),
        ([], None),
        ([0.5, math.nan, 0.95, 0.95], 2),
    ],
)
def test_time_to_target_without_cycles(accuracies, epoch):
    assert times.time_to_target(rows(accuracies), 0.9) == epoch


def test_dips_in_mid_cycle_do_not_lose_the_target():
    rates = [0.1, 0.2, 0.1, 0.01] * 3
    held = [0.3, 0.4, 0.5, 0.91, 0.5, 0.4, 0.6, 0.92, 0.5, 0.5, 0.8, 0.93]
    assert times.time_to_target(rows(held, rates), 0.9) == 3
    lucky = [*held[:7], 0.8, *held[8:]]
    assert times.time_to_target(rows(lucky, rates), 0.9) == 11
    assert times.time_to_target(rows(held), 0.9) == 11  # without the cycles only the last epoch


def test_cycle_ends_are_read_from_the_learning_rate():
    assert times.cycle_ends([0.1, 0.2, 0.1, 0.01, 0.1, 0.2, 0.1, 0.01]) == [3, 7]
    assert times.cycle_ends([0.2, 0.1, 0.0, 0.2, 0.1, 0.0]) == [2, 5]  # warm restarts
    assert times.cycle_ends([0.1] * 5) == []
    assert times.cycle_ends([0.1, 0.2, 0.15, 0.1]) == []  # one_cycle, and a warm-up: no next cycle
    assert times.cycle_ends([]) == []
