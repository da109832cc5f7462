"""What goes into a claim, beside oracles: moments, rounding, Holm's steps, words at their edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from clr_cli.analysis import designs, verdicts
from clr_cli.analysis.rule import ALPHA, Moments

RNG = np.random.default_rng
WOBBLE = np.array([0.0, 1.0, -1.0, 0.0, 3.0, 1.0])


@pytest.mark.parametrize("n", range(1, 7))
def test_moments_are_those_of_scipy(n):
    x = RNG(n).exponential(size=(3, n))
    found = Moments.of(np.concatenate([x, np.full((3, 2), np.nan)], axis=1)[:, ::-1])
    np.testing.assert_array_equal(found.n, n)
    np.testing.assert_allclose(found.mean, x.mean(axis=1))
    np.testing.assert_allclose(found.variance, x.var(axis=1, ddof=1) if n > 1 else 0.0)
    skew = stats.skew(x, axis=1, bias=False) if n > 2 else 0.0
    np.testing.assert_allclose(found.skew, skew, atol=1e-9)
    np.testing.assert_array_equal(found.least, x.min(axis=1))
    np.testing.assert_array_equal(found.most, x.max(axis=1))


def test_no_values_have_no_mean_and_no_spread():
    found = Moments.of([[np.nan, np.nan]])
    assert (found.n[0], found.variance[0], found.skew[0]) == (0, 0, 0)
    assert math.isnan(found.mean[0])


@pytest.mark.parametrize("size", [1e-9, -1.0, 1e9, -1e9])
def test_a_spread_of_rounding_errors_is_none(size):
    rounding, real = (Moments.of(size * (1 + part * WOBBLE)) for part in (1e-13, 1e-9))
    assert (rounding.variance, rounding.skew) == (0, 0)
    assert real.variance == pytest.approx((1e-9 * size) ** 2 * WOBBLE.var(ddof=1), rel=1e-4)
    differences = abs(size) * 1e-13 * WOBBLE
    assert Moments.of(differences).variance > 0
    assert Moments.of(differences, abs(size)).variance == 0


@pytest.mark.parametrize("size", [1e6, -1e6])
def test_differences_that_are_equal_but_for_rounding_are_equal(size):
    base = size * np.linspace(0.3, 2, 8)
    assert np.ptp(base + 0.1 - base) > 0
    estimate = designs.paired([base + 0.1], base)
    assert (estimate.error[0], estimate.blind[0]) == (0, False)
    assert estimate.p()[0] == pytest.approx(2**-7)
    still = designs.against([size * (1 + 1e-14 * np.arange(8))], size - 0.1)
    assert still.blind.all()
    assert not designs.against([size + 1e-3 * np.arange(8)], size - 0.1).blind.any()


def adjusted(p, total):
    """Holm's p by hand; NaN is not tested."""
    order = sorted(range(len(p)), key=lambda k: (math.isnan(p[k]), p[k]))
    out, most = [math.nan] * len(p), 0.0
    for step, k in enumerate(order):
        if not math.isnan(p[k]):
            most = max(most, min(1.0, (total - step) * p[k]))
            out[k] = most
    return out


@pytest.mark.parametrize("weight", [1.0, 0.3])
def test_p_is_adjusted_as_by_holm(weight):
    x = RNG(0).normal(size=(20, 4, 8)) + np.array([0.0, 0.7, 3.0, 1.4])[:, None]
    x[::2, 1, 3:] = np.nan  # too few runs
    estimate = designs.paired(x, np.zeros((20, 8)))
    p, said = verdicts.p_holm(estimate, comparisons=6)
    np.testing.assert_array_equal(np.isnan(p), np.isnan(x[..., 3]))
    np.testing.assert_array_equal(p, np.where(np.isnan(p), np.nan, estimate.p()))
    np.testing.assert_allclose(said, [adjusted(row, 6) for row in p.tolist()])
    claims = verdicts.claims(estimate, comparisons=6, weight=weight)
    np.testing.assert_array_equal(claims.claimed, said <= ALPHA * weight)


def test_arms_that_were_claimed_before_or_are_not_open_leave_the_level_to_others():
    x = RNG(1).normal(size=(5, 3, 8)) + np.array([9.0, 0.0, 0.0])[:, None]
    estimate = designs.paired(x, np.zeros((5, 8)))
    before = np.array([[0], [1], [2], [3], [3]])
    among = np.array([False, True, True])
    said = verdicts.claims(estimate, comparisons=4, weight=0.5, before=before, among=among)
    assert not said.claimed[:, 0].any()
    level = 0.5 * ALPHA / np.maximum(4 - before - said.claimed.sum(axis=1, keepdims=True), 1)
    np.testing.assert_allclose(said.level, np.where(said.claimed, said.level, level))
    np.testing.assert_allclose(
        np.stack([said.low, said.high]), np.stack(estimate.interval(said.level))
    )


def test_p_is_of_arms_that_have_runs_enough_and_a_noise():
    four, three = RNG(4).normal(size=(1, 4)), RNG(5).normal(size=(1, 3))
    for estimate, tested in (
        (designs.paired(four, np.zeros(4)), True),
        (designs.paired(three, np.zeros(3)), False),
        (designs.unpaired(four, RNG(6).normal(size=9)), False),
        (designs.paired([np.ones(8)], np.zeros(8)), False),
    ):
        assert np.isnan(verdicts.p_holm(estimate)[0][0]) != tested
        assert verdicts.is_testable(estimate)[0] == tested


def test_as_many_comparisons_as_runs_can_tell_apart():
    """2 / 252 of the deals of 5 + 5 runs, 2**-3 of the signs of 4 pairs: at most one in eight."""
    assert (verdicts.fewest_runs(15), verdicts.fewest_runs(16)) == (5, 6)
    assert (verdicts.fewest_pairs(1), verdicts.fewest_pairs(2), verdicts.fewest_pairs(3)) == (
        4,
        5,
        6,
    )
    x, y = RNG(2).normal(size=(1, 5)), RNG(3).normal(size=5)
    for count in (15, 16):
        for estimate in (designs.unpaired(x, y), designs.unpaired(x + 9, y)):
            testable = verdicts.is_testable(estimate, count)[0]
            _, p = verdicts.p_holm(estimate, comparisons=count)
            assert testable == (not math.isnan(p[0])) == (count == 15)


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (0.0, 0.5, "undecided"),
        (-0.5, 0.0, "undecided"),
        (-0.5, 0.05, "undecided"),
        (-0.05, 0.5, "undecided"),
        (-0.1, 0.05, "undecided"),
        (-0.05, 0.1, "undecided"),
        (-0.05, 0.05, "equivalent"),
        (-0.05, -0.01, "worse"),
        (0.01, 0.05, "better"),
        (-0.5, -0.2, "worse"),
    ],
)
def test_a_word_says_what_the_interval_shows(low, high, word):
    assert verdicts.verdict(low, high, 0.1) == word
    assert verdicts.verdict(low, high) == ("undecided" if word == "equivalent" else word)


def test_what_is_exactly_the_least_does_not_exceed_it():
    assert verdicts.exceeds(-0.1, 0.5, -0.1) is None
    assert verdicts.exceeds(-0.5, -0.1, -0.1) is None
    assert verdicts.comparisons_after_looking(3, baseline_chosen=True) == 3
