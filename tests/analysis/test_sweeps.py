"""The curve of a sweep: how it is smoothed, and where its peak is."""

from __future__ import annotations

import numpy as np
import pytest

from clr_cli.analysis.sweeps import peak, smooth
from clr_cli.records import Sweep

RATES = [0.01 * k for k in range(1, 101)]


def sweep(accuracies, seed=0):
    return Sweep(seed, [], [], RATES[: len(accuracies)], list(accuracies), [])


def hill(top, at=0.4):
    return [top - (lr - at) ** 2 for lr in RATES]


def test_in_the_middle_it_is_the_weighted_line_of_numpy():
    """Where values rise, the running median changes none of them."""
    values = np.linspace(0, 1, 100) ** 3
    at = np.arange(100)
    for middle in (40, 50, 59):
        distance = np.abs(at - middle) / 12
        weights = np.where(distance < 1, (1 - distance**3) ** 3, 0)
        _, height = np.polyfit(at - middle, values, 1, w=np.sqrt(weights))
        assert smooth(values)[middle] == pytest.approx(height)


@pytest.mark.parametrize("count", [1, 2])
def test_of_one_or_two_points_nothing_is_smoothed(count):
    values = np.array([0.1, 0.7])[:count]
    assert smooth(values).tolist() == values.tolist()


def test_a_sweep_that_ended_early_counts_as_chance_beyond_its_end():
    whole, early = sweep(hill(0.9)), sweep(hill(0.95, at=0.8)[:50], seed=1)
    for order in ([whole, early], [early, whole]):
        found = peak(order, chance=0.1)
        assert found.lr == pytest.approx(0.5, abs=0.05)  # the mean has a step there
        assert found.accuracy == pytest.approx((0.89 + 0.86) / 2, abs=0.02)


@pytest.mark.parametrize(("top", "learned"), [(0.18, False), (0.2, True)])
def test_a_tenth_of_the_way_from_chance_must_be_learned(top, learned):
    found = peak([sweep([top] * 100)], chance=0.1)
    assert (found is not None) == learned


def test_a_sweep_without_a_point_has_no_peak():
    assert peak([sweep([])], chance=0.1) is None
