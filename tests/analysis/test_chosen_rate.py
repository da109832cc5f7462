"""The rate that every search gives: the center of the good rates, leaning to the better end."""

from __future__ import annotations

import numpy as np
import pytest

from clr_cli.analysis.lattice import center, rate


def test_it_is_the_center_of_the_good_rates_by_how_good_they_are():
    assert center({-3: 0.80, -2: 0.90, -1: 0.90, 0: 0.90, 1: 0.80}, 0.03) == pytest.approx(-1)
    leaning = center({-3: 0.80, -2: 0.88, -1: 0.90, 0: 0.91, 1: 0.80}, 0.03)
    assert -1 < leaning < 0


def test_a_rate_stands_for_the_octaves_around_it():
    # a plateau from -4 to 0, tried at every second place below -1
    plateau = {-6: 0.8, -4: 0.9, -2: 0.9, -1: 0.9, 0: 0.9, 1: 0.8}
    expected = (-4 * 2 - 2 * 1.5 - 1) / (2 + 1.5 + 1 + 1)
    assert center(plateau, 0.03) == pytest.approx(expected, abs=0.1)


def test_noise_moves_it_less_than_the_best_rate():
    rng = np.random.default_rng(0)
    places = list(range(-6, 7))
    curve = 0.9 - 0.001 * np.square(places)
    drawn = [curve + 0.01 * rng.standard_normal(13) for _ in range(200)]
    centers = [center(dict(zip(places, row.tolist(), strict=True)), 0.03) for row in drawn]
    assert np.std(centers) < 0.6 * np.std([places[row.argmax()] for row in drawn])


def test_between_two_segments_it_is_the_best_rate():
    apart = {-6: 0.9, -5: 0.91, -4: 0.7, -3: 0.5, -2: 0.5, -1: 0.5, 0: 0.9, 1: 0.9, 2: 0.7}
    assert center(apart, 0.03) == -5


def test_of_a_narrow_peak_its_neighbors_count():
    """Means of 13 trials of the quickstart's constant rate: a rate alone would be .1."""
    peak = {-2: 0.789, -1: 0.812, 0: 0.857, 1: 0.702, 2: 0.743}
    assert rate(center(peak, 0.03)) == pytest.approx(0.084, abs=0.0005)


def test_of_one_rate_it_is_that_rate():
    assert center({3: 0.9}, 0.03) == 3
