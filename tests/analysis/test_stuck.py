"""Runs that are stuck, at the edges of what is called so."""

from __future__ import annotations

import pytest

from clr_cli.analysis.stuck import are_set_apart, least_gap, most_elsewhere, stuck_runs


def named(values: list[float], **options: float) -> list[int]:
    return [*stuck_runs(values, **options)]


@pytest.mark.parametrize(("value", "stuck"), [(0.1449, True), (0.1451, False), (0.02, True)])
def test_a_run_at_chance_is_within_a_twentieth_of_the_way_to_perfect(value, stuck):
    assert named([0.9, value], chance=0.1) == [1] * stuck
    assert named([0.9, value]) == []


def test_of_four_runs_one_may_lie_far_outside():
    assert named([0.90, 0.91, 0.10, 0.905]) == [2]
    assert named([0.90, 0.10, 0.905]) == []  # of three, any one lies far from two
    assert named([0.90, 0.91, 0.10, 0.905, 0.1], chance=0.1) == [2, 4]  # three are left


@pytest.mark.parametrize("n", [4, 9, 20])
@pytest.mark.parametrize("side", [-1, 1])
def test_a_gap_is_measured_in_ranges_of_the_other_runs(n, side):
    rest = [k / (n - 2) for k in range(n - 1)]  # of range 1
    edge = 0.0 if side < 0 else 1.0
    for factor, stuck in ((0.99, False), (1.01, True)):
        found = stuck_runs([*rest, edge + side * factor * least_gap(n)])
        assert [*found] == [n - 1] * stuck
        assert all(far == pytest.approx(factor * least_gap(n)) for far in found.values())


@pytest.mark.parametrize(("n", "most"), [(4, 1), (9, 3), (20, 8)])
def test_a_group_is_at_most_a_third_of_few_runs_and_nearly_half_of_many(n, most):
    for count in range(1, n - most):
        far = [0.1 - 0.001 * k for k in range(count)]  # a later run lies lower
        values = [*far, *(0.9 + 0.001 * k for k in range(n - count))]
        assert named(values) == ([*range(count)] if count <= most else [])


def test_fewer_than_half_are_set_apart():
    assert [are_set_apart(stuck, 6) for stuck in range(5)] == [False, True, True, False, False]
    assert (most_elsewhere(3, 3), most_elsewhere(4, 3)) == (1, 1)
