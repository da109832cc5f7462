"""What a comparison reports besides its verdict: wins, seeds needed, identical and missing runs."""

from __future__ import annotations

import pytest
from scipy import stats
from test_summary import BASE, BETTER, LOSSES, arm, compare, measured, of_loss, run

from clr_cli.analysis.comparisons import superiority


@pytest.mark.parametrize(("wins", "losses"), [(0, 6), (1, 5), (3, 3), (5, 1), (6, 0), (2, 9)])
def test_how_often_an_arm_is_better_has_the_exact_interval(wins, losses):
    exact = stats.binomtest(wins, wins + losses).proportion_ci(0.95, method="exact")
    expected = (wins / (wins + losses), exact.low, exact.high)
    assert superiority(wins, 0, losses) == pytest.approx(expected)


def test_a_tie_counts_half_and_widens_the_interval():
    share, low, high = superiority(3, 2, 1)
    assert share == pytest.approx(4 / 6)
    assert low == pytest.approx(superiority(3, 0, 3)[1])
    assert high == pytest.approx(superiority(5, 0, 1)[2])


def test_wins_are_counted_by_their_direction():
    losses = [3.0, 3.5, 2.0, 3.2, 4.0, 3.0, 3.0]
    found = of_loss(measured("adam", [3.2] * 7), measured("muon", losses)).comparisons[0]
    assert (found.wins, found.ties, found.losses) == (4, 1, 2)
    unpaired = of_loss(measured("adam", LOSSES), measured("muon", losses), paired=False)
    assert unpaired.comparisons[0].wins is None


def test_one_equal_pair_is_no_identical_schedule():
    one = compare(arm("constant", BASE[:1]), arm("copy", BASE[:1])).comparisons[0]
    two = compare(arm("constant", BASE[:2]), arm("copy", BASE[:2])).comparisons[0]
    assert (one.verdict, two.verdict) == ("too_few_runs", "identical")


def test_pairs_that_are_missing_are_those_of_seeds_that_the_arm_has():
    diverged = [run("constant", 6, 0.9, status="diverged")]
    found = compare([*arm("constant", BASE), *diverged, run("constant", 7, 0.9)],
                    [*arm("clr", BETTER), run("clr", 6, 0.9)])  # fmt: skip
    assert found.comparisons[0].unpaired_seeds == [6]  # seed 7 was never to be one of clr


def test_no_plan_without_a_noise_and_one_where_a_side_has_it():
    still = of_loss(measured("adam", [3.2] * 7), measured("muon", [3.1] * 7), paired=False)
    assert still.comparisons[0].smallest_detectable is None
    half = of_loss(measured("adam", [3.2] * 7), measured("muon", LOSSES), paired=False, margin=0.01)
    assert half.comparisons[0].smallest_detectable > 0
    assert half.comparisons[0].seeds_needed > 0


def test_nothing_is_won_without_a_difference():
    found = compare(arm("constant", BASE), [run("clr", 99, 0.9)]).comparisons[0]
    assert (found.wins, found.ties, found.losses, found.superiority) == (0, 0, 0, None)
    assert found.decided_at is None
