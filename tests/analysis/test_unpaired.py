"""Two independent samples: the rule against its parts, and what a comparison says of such runs."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats as oracle
from test_summary import LOSS, LOSSES, measured, of_loss

from clr_cli.analysis import times, unpaired
from clr_cli.errors import InputError
from clr_cli.records import Metric, RunRecord


def draws(n, m, seed=0, skew=False):
    rng = np.random.default_rng(seed)
    return (rng.exponential(size=n) if skew else rng.normal(size=n)), rng.normal(0.3, 2, size=m)


@pytest.mark.parametrize(("n", "m"), [(3, 4), (5, 5), (10, 30), (30, 5)])
def test_the_interval_holds_welchs(n, m):
    one, two = draws(n, m)
    low, high = unpaired.mean_intervals(one, two, (0.9, 0.95))
    for k, level in enumerate((0.9, 0.95)):
        welch = oracle.ttest_ind(one, two, equal_var=False).confidence_interval(level)
        few = min(n, m) < unpaired.MIN_RUNS
        assert low[k] == pytest.approx(welch.low) if few else low[k] <= welch.low + 1e-12
        assert high[k] == pytest.approx(welch.high) if few else high[k] >= welch.high - 1e-12
    assert low[1] < low[0] < high[0] < high[1]


def test_the_interval_turns_round_with_the_arms_up_to_resampling():
    one, two = draws(12, 9, skew=True)
    low, high = unpaired.mean_intervals(one, two, (0.95,))
    other_low, other_high = unpaired.mean_intervals(two, one, (0.95,))
    assert low[0] == pytest.approx(-other_high[0], abs=0.15)
    assert high[0] == pytest.approx(-other_low[0], abs=0.15)


def test_many_samples_at_once_are_the_single_ones():
    rng = np.random.default_rng(1)
    one, two = rng.normal(size=(4, 3, 7)), rng.normal(size=(4, 3, 9))
    low, _ = unpaired.mean_intervals(one, two, (0.95, 0.99))
    p = unpaired.permutation_p(one, two)
    assert low.shape == (2, 4, 3)
    assert p.shape == (4, 3)
    single, _ = unpaired.mean_intervals(one[2, 1], two[2, 1], (0.95, 0.99))
    assert low[:, 2, 1] == pytest.approx(single)
    assert p[2, 1] == pytest.approx(float(unpaired.permutation_p(one[2, 1], two[2, 1])))


@pytest.mark.parametrize("seed", range(5))
def test_the_permutation_test_is_exact(seed):
    one, two = draws(4, 5, seed)
    both = np.concatenate([one, two])

    def t(first):
        rest = [k for k in range(9) if k not in first]
        return abs(oracle.ttest_ind(both[list(first)], both[rest], equal_var=False).statistic)

    ways = [t(first) for first in itertools.combinations(range(9), 4)]
    expected = np.mean([way >= t((0, 1, 2, 3)) - 1e-9 for way in ways])
    assert float(unpaired.permutation_p(one, two)) == pytest.approx(expected)


def test_drawn_permutations_come_near_all_of_them():
    one, two = draws(8, 8, 3)
    exact = float(unpaired.permutation_p(one, two))
    drawn = float(unpaired.permutation_p(one, two, resamples=5_000))
    assert drawn == pytest.approx(exact, abs=4 * math.sqrt(exact / 5_000))


def test_samples_without_a_spread():
    low, high = unpaired.mean_intervals([2.0] * 6, [2.0] * 6, (0.95,))
    assert (low[0], high[0]) == (0, 0)
    assert float(unpaired.permutation_p([2.0] * 6, [2.0] * 6)) == 1
    low, high = unpaired.mean_intervals([2.1] * 6, [2.0] * 6, (0.95,))
    assert (low[0], high[0]) == pytest.approx((0.1, 0.1))
    assert float(unpaired.permutation_p([2.1] * 6, [2.0] * 6)) == pytest.approx(2 / 924)
    low, high = unpaired.mean_intervals([2.0], [1.0, 2.0], (0.95,))
    assert (low[0], high[0]) == (-math.inf, math.inf)


def test_what_so_few_runs_can_claim():
    assert unpaired.claim(4, 30, 0.001, 1.0, 2.0, 0.1) == "too_few_seeds"
    assert unpaired.claim(5, 5, 0.01, 1.0, 2.0, 0.1) == "better"
    assert unpaired.claim(5, 5, 0.06, 1.0, 2.0, 0.1) == "no_difference"
    assert unpaired.claim(5, 5, 0.01, -2.0, -1.0, 0.1) == "worse"
    assert unpaired.claim(5, 5, 0.01, -0.05, 0.09, 0.1) == "equivalent"
    assert unpaired.claim(5, 5, 0.01, 1.0, 2.0, 0.1, comparisons=8) == "too_few_seeds"


def test_the_runs_needed_find_what_they_should():
    n = unpaired.runs_needed(1.0, (1.0, 0.5))
    assert unpaired.power(1.0, (1.0, 0.5), (n, n)) >= 0.8
    assert unpaired.power(1.0, (1.0, 0.5), (n - 1, n - 1)) < 0.8
    assert unpaired.smallest_detectable((1.0, 0.5), (n, n)) == pytest.approx(1.0, rel=0.1)
    assert unpaired.runs_needed(0.0, (1.0, 1.0)) is None
    assert unpaired.runs_needed(1e-9, (1.0, 1.0)) is None


def test_a_ratio_of_times_is_of_means_or_of_medians():
    every = times.unpaired_ratio([90, 100, 110, 95, 105], [200, 220, 180, 210, 190, 205])
    assert every.value == pytest.approx(0.5, abs=0.01)
    assert 0.4 < every.low < 0.5 < every.high < 0.6
    some = times.unpaired_ratio([90, 100, math.inf, 95, 105], [200] * 7)
    assert some.value == 0.5
    assert (some.low, some.high) == (0.45, math.inf)  # the order statistics of five are all of them
    few = times.unpaired_ratio([90, math.inf, 100], [200, 200])
    assert few.value == 0.5
    assert math.isnan(few.low)
    assert math.isnan(times.unpaired_ratio([math.inf] * 3, [math.inf, math.inf, 5]).value)
    assert times.unpaired_ratio([math.inf] * 6, [100] * 6).value == math.inf
    assert math.isnan(times.unpaired_ratio([], [1.0]).value)


LOWER = [loss - 0.012 for loss in LOSSES]


def test_unpaired_runs_in_numbers_and_words():
    summary = of_loss(
        measured("adam", LOSSES, [9, 4]), measured("muon", LOWER[:5], [9, 3.2]), paired=False
    )
    assert summary.design == "unpaired"
    (comparison,) = summary.comparisons
    assert (comparison.n, comparison.n_baseline) == (5, 7)
    assert comparison.verdict == "better"
    assert comparison.wins is comparison.superiority is None
    assert comparison.difference.values == {}
    assert comparison.p == pytest.approx(1 / math.comb(12, 5))
    assert comparison.difference.claim.level == 0.985
    assert comparison.unpaired_seeds == []
    assert comparison.sentence.startswith("muon is better than adam: validation loss lower by")
    assert "5 against 7 runs, p = 0.0013)" in comparison.sentence
    assert "held in 5 of 5 runs, the baseline's in 3 of 7" in comparison.sentence


def test_seeds_of_unpaired_runs_mean_nothing():
    other = [
        RunRecord(run.arm, 100 + run.seed, run.status, run.epochs, run.result)
        for run in measured("muon", LOWER)[::-1]
    ]
    one = of_loss(measured("adam", LOSSES), measured("muon", LOWER), paired=False)
    two = of_loss(measured("adam", LOSSES), other, paired=False)
    assert one.verdict == two.verdict


def test_few_or_failed_unpaired_runs():
    few = of_loss(measured("adam", LOSSES), measured("muon", LOWER[:4]), paired=False)
    assert "Too few runs to tell muon from adam: with 4 against 7 runs no claim" in few.verdict
    assert "at least 5 of each are needed; so far validation loss -0.012" in few.verdict
    lost = [RunRecord("muon", k, "diverged", [], {}) for k in range(3)]
    none = of_loss(measured("adam", LOSSES), lost, paired=False)
    assert none.comparisons[0].verdict == "too_few_seeds"
    assert "No run of muon or none of adam trained" in none.verdict
    some = of_loss(measured("adam", LOSSES), [*measured("muon", LOWER), *[
        RunRecord("muon", 50, "diverged", [], {})]], paired=False)  # fmt: skip
    assert some.comparisons[0].verdict == "better"
    assert "1 of 8 runs of muon" in some.verdict
    assert some.verdict.endswith("the difference is among runs that trained.")


def test_arms_against_a_number():
    summary = of_loss(
        measured("adam", LOSSES), measured("muon", LOWER), baseline=3.28, paired=False
    )
    assert (summary.design, summary.reference, summary.baseline) == (
        "number",
        3.28,
        "3.28",
    )
    adam, muon = summary.comparisons
    assert (adam.verdict, muon.verdict) == ("no_difference", "better")
    assert adam.sentence.startswith(
        "No detectable difference between adam's mean validation loss and 3.28: difference -0.00003"
    )
    assert muon.sentence.startswith("muon's mean validation loss is below 3.28 by 0.0120")
    assert (muon.wins, muon.losses, muon.time_to_target) == (7, 0, None)
    values = [loss - 3.28 for loss in LOWER]
    assert muon.difference.mean == pytest.approx(np.mean(values))
    assert summary.target.value == 3.28
    assert summary.arms[1].time_to_target.reached == 7


def test_seeds_are_added_after_looking_only_where_arms_are_compared():
    with pytest.raises(InputError, match="only where arms are compared"):
        of_loss(measured("b", LOWER), baseline=3.28, looks=[8], cap=10)


def test_a_unit_stands_behind_the_values():
    runs = [
        RunRecord(arm, k, "finished", [{"took": t}], {"final": {"took": t}})
        for arm, shift in (("old", 0.0), ("new", -5.0))
        for k, t in enumerate(x + shift for x in (61.2, 60.8, 61.9, 60.1, 61.0, 61.4))
    ]
    summary = of_loss(
        runs, metric=Metric(name="took", mode="min", unit="s"), baseline="old", paired=False
    )
    assert "new is better than old: took lower by 5.00\N{NO-BREAK SPACE}s (" in summary.verdict
    assert LOSS.label == "validation loss"
