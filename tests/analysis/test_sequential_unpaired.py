"""Added seeds for runs that share nothing: the level, ties, sizes that differ, several arms."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest

from clr_cli.analysis import sequential
from clr_cli.analysis.sequential_unpaired import Unpaired, rejected

LOOKS = sequential.looks(30)
BOTH = [(n, n) for n in LOOKS]


def test_the_first_look_is_a_permutation_test_of_its_share_of_the_level():
    """Against all ways to deal 16 values out to two arms of 8."""
    rng = np.random.default_rng(0)
    agreed = []
    for shift in np.linspace(0, 2.5, 40):
        one, two = rng.normal(size=8) + shift, rng.normal(size=8)
        values = np.concatenate([one, two])
        observed = abs(one.mean() - two.mean())
        dealt = [
            abs(values[list(c)].mean() - np.delete(values, c).mean())
            for c in combinations(range(16), 8)
        ]
        p = np.mean(np.array(dealt) >= observed * (1 - 1e-9))
        if abs(p - sequential.spent(8)) > 0.006:  # beyond the error of drawing permutations
            agreed.append(rejected((one, two), [(8, 8)]) == (p <= sequential.spent(8)))
    assert len(agreed) > 25
    assert all(agreed)


def test_equal_arms_are_rejected_as_often_as_the_level_allows():
    """Over all looks together, whatever the distribution that both arms have."""
    rng = np.random.default_rng(1)
    wrong = [
        rejected((rng.exponential(size=30), rng.exponential(size=30)), BOTH) for _ in range(300)
    ]
    error = math.sqrt(0.05 * 0.95 / len(wrong))
    assert 0.05 - 3 * error < np.mean(wrong) < 0.05 + 3 * error


def test_ties_do_not_split():
    assert not rejected(([1.0] * 8, [1.0] * 8), [(8, 8)])
    assert rejected(([1.0] * 8, [0.0] * 8), [(8, 8)])


def test_a_decision_is_a_replay_and_stays():
    rng = np.random.default_rng(2)
    one, two = rng.normal(size=30) + 2.0, rng.normal(size=30)
    said = [
        sequential.decide(
            {"a": (one, two)}, {"a": BOTH[: k + 1]}, margin=0.0, cap=30, rule=Unpaired()
        )["a"]
        for k in range(len(LOOKS))
    ]
    first = next(each for each in said if each.seeds is not None)
    assert first.verdict == "better"
    assert said[said.index(first) :] == [first] * (len(said) - said.index(first))
    worse = sequential.decide({"a": (two, one)}, {"a": BOTH}, margin=0.0, cap=30, rule=Unpaired())
    assert worse["a"].verdict == "worse"


@pytest.mark.parametrize("counts", [(8, 3), (2, 8), (0, 8), (1, 1)])
def test_too_few_runs_of_a_side_claim_nothing(counts):
    one, two = np.arange(counts[0]) + 100.0, np.arange(counts[1]) + 0.0
    decision = sequential.decide(
        {"a": (one, two)}, {"a": [counts]}, margin=0.0, cap=30, rule=Unpaired()
    )["a"]
    assert decision.verdict == "no_difference"
    assert decision.futile == (0 in counts)


def test_sides_of_other_sizes_are_compared():
    rng = np.random.default_rng(3)
    one, two = rng.normal(size=7) + 4, rng.normal(size=10)
    at = {"a": [(6, 8), (7, 10)]}
    said = sequential.decide({"a": (one, two)}, at, margin=0.0, cap=30, rule=Unpaired())["a"]
    assert (said.verdict, said.seeds) == ("better", 8)


def test_equal_arms_are_given_up_and_equivalent_ones_said_to_be():
    rng = np.random.default_rng(4)
    one, two = rng.normal(size=30), rng.normal(size=30)
    same = {"a": (one, one[::-1])}
    assert sequential.decide(same, {"a": BOTH}, margin=0.0, cap=30, rule=Unpaired())["a"].futile
    close = {"a": (one * 1e-3, two * 1e-3)}
    said = sequential.decide(close, {"a": BOTH}, margin=0.1, cap=30, rule=Unpaired())["a"]
    assert (said.verdict, said.seeds) == ("equivalent", 8)
