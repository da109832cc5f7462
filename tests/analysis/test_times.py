"""Times to target and their ratios, beside the rules in words and the binomial distribution."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from clr_cli.analysis.times import (
    cycle_ends,
    median_ratio,
    moments,
    time_to_target,
    unpaired_ratio,
)

INF = math.inf


def reaches(held: str, rates: list[float] | None = None) -> int | None:
    """Of rows that hold the target ("x") or do not (".")."""
    rows = [{"val_accuracy": 0.9 if each == "x" else 0.5} for each in held]
    for row, lr in zip(rows, rates or [], strict=False):
        row["lr"] = lr
    return time_to_target(rows, 0.9)


@pytest.mark.parametrize(
    ("held", "at"),
    [
        ("x..", None),
        ("xx.", None),  # the last row misses, and so do the next two of every one
        ("xxx", 0),
        ("xx.xxx", 3),
        ("xxx...", 0),
        (".x.xx", 3),
        ("x...x", 4),  # the last row may reach it alone
        ("....", None),
        ("", None),
    ],
)
def test_a_target_is_held_for_three_rows_or_to_the_end(held, at):
    assert reaches(held) == at


def test_a_target_that_two_cycles_end_with_is_held():
    rates = [0.2, 0.1] * 3  # cycles end at rows 1, 3 and 5
    assert reaches(".x.x..", rates) == 1
    assert reaches(".x...x", rates) == 5
    assert reaches("x.x...", rates) is None  # in mid-cycle
    assert reaches(".x.x..") is None  # rows without rates have no cycles
    assert reaches(".x.x..", rates[:5]) is None
    assert reaches(".xx.x.xx", [0.2, 0.1, 0.15, 0.2, 0.1, 0.15, 0.2, 0.1]) == 1


@pytest.mark.parametrize(
    ("rates", "ends"),
    [
        ([0.1, 0.2, 0.3], []),  # a warm-up
        ([0.3, 0.2, 0.1], []),
        ([0.1, 0.1, 0.1], []),
        ([0.2, 0.1, 0.2, 0.2], [1, 3]),
        ([0.3, 0.2, 0.1, 0.3, 0.2, 0.1, 0.3], [2, 5, 6]),
        ([0.2, 0.1, 0.1 * (1 + 1e-12), 0.2], [2, 3]),  # a rounding error is not a rise
        ([0.2], []),
        ([], []),
    ],
)
def test_a_cycle_ends_where_the_rate_has_fallen_and_rises(rates, ends):
    assert cycle_ends(rates) == ends


def test_moments_are_a_clock_of_every_row():
    rows = [{"seconds": 5.0, "train_seconds": 2.0}, {"seconds": 9.0, "train_seconds": 3.0}]
    assert moments(rows, "seconds") == [5.0, 9.0]
    assert moments([*rows, {"train_seconds": 1.0}], "seconds") == [2.0, 5.0, 6.0]
    assert moments([*rows, {}], "seconds") is None
    assert moments(rows, "iterations") is None
    assert moments([], "seconds") is None


def binomial_ends(n: int, level: float) -> int | None:
    """How many order statistics from either side the narrowest interval of a median begins."""
    inside = [k for k in range(n // 2) if 1 - 2 * stats.binom.cdf(k, n, 0.5) >= level]
    return max(inside, default=None)


@pytest.mark.parametrize("n", range(4, 26))
def test_medians_have_the_interval_of_the_binomial_distribution(n):
    times = np.random.default_rng(n).permutation(np.arange(1.0, n + 1))
    ratio = median_ratio(times, [1.0] * n)
    k = binomial_ends(n, 0.95)
    assert ratio.value == (n + 1) / 2
    expected = (math.nan, math.nan) if k is None else (k + 1, n - k)
    np.testing.assert_equal((ratio.low, ratio.high), expected)
    missed = [*times[times < n], INF]  # one miss: medians, at 89 % each
    ratio, k = unpaired_ratio(missed, 10 * times), binomial_ends(n, 0.89)
    assert ratio.value == 0.1
    if k is None:
        expected = (math.nan, math.nan)
    else:
        high = INF if k == 0 else (n - k) / (10 * (k + 1))
        expected = ((k + 1) / (10 * (n - k)), high)
    np.testing.assert_allclose((ratio.low, ratio.high), expected)
    turned = unpaired_ratio(10 * times, missed)
    np.testing.assert_allclose(
        (turned.low, turned.high), (0.0 if k == 0 else 1 / expected[1], 1 / expected[0])
    )


@pytest.mark.parametrize(
    ("mine", "theirs", "value"),
    [
        ([1, 3], [2, 2], 1.0),  # the mean of the middle ratios
        ([1, INF], [INF, 4], 1.0),  # 0 and infinity
        ([1, 2], [INF, 4], 0.5),  # 0 and 0.5: a miss makes no claim larger
        ([1, 9], [INF, 3], 1.0),  # 0 and 3
        ([6, INF], [3, 4], 2.0),  # 2 and infinity
        ([1, INF], [2, 4], 1.0),  # 0.5 and infinity
        ([INF, 1], [INF, 2], 0.75),  # two misses are a tie
        ([INF, INF, 1], [INF, INF, 2], math.nan),  # of more than half
        ([0, 0], [0, 0], 1.0),
        ([], [], math.nan),
    ],
)
def test_a_miss_never_makes_a_paired_ratio_a_larger_claim(mine, theirs, value):
    assert median_ratio(mine, theirs).value == pytest.approx(value, nan_ok=True)


def test_times_of_zero_have_medians_and_no_logarithm():
    found = unpaired_ratio([0.0] * 6, [2.0] * 6)
    assert (found.value, found.low, found.high) == (0, 0, 0)
    assert unpaired_ratio([2.0] * 6, [0.0] * 6).value == INF


def test_a_miss_over_a_miss_may_be_anything():
    missed, most = [INF] * 6, [100.0] * 5 + [INF]
    found, turned = unpaired_ratio(missed, most), unpaired_ratio(most, missed)
    assert (found.value, found.low, found.high) == (INF, 0, INF)
    assert (turned.value, turned.low, turned.high) == (0, 0, INF)
