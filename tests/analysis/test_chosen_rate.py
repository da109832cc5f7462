"""The rate that ``compare --tune`` takes from what a search has tried."""

from __future__ import annotations

import numpy as np
import pytest

from clr_cli.analysis.lattice import RatesFound, Tried, rate
from clr_cli.analysis.tuning import chosen_rate


def tried(means: dict[int, float | None]) -> tuple[Tried, ...]:
    return tuple(Tried(rate(k), (mean,), mean) for k, mean in sorted(means.items()))


def test_it_is_the_centre_of_the_good_rates_by_how_good_they_are():
    even = tried({-3: 0.80, -2: 0.90, -1: 0.90, 0: 0.90, 1: 0.80})
    assert chosen_rate(RatesFound(even)) == pytest.approx(rate(-1))
    leaning = tried({-3: 0.80, -2: 0.88, -1: 0.90, 0: 0.91, 1: 0.80})
    assert rate(-1) < chosen_rate(RatesFound(leaning)) < rate(0)


def test_a_rate_stands_for_the_octaves_around_it():
    # a plateau from -4 to 0, tried at every second place below -1
    plateau = tried({-6: 0.8, -4: 0.9, -2: 0.9, -1: 0.9, 0: 0.9, 1: 0.8})
    places = np.log2(chosen_rate(RatesFound(plateau)) / rate(0))
    assert places == pytest.approx((-4 * 2 - 2 * 1.5 - 1) / (2 + 1.5 + 1 + 1), abs=0.1)


def test_noise_moves_it_less_than_the_best_rate():
    rng = np.random.default_rng(0)
    places = np.arange(-6, 7)
    curve = 0.9 - 0.001 * places**2
    drawn = [curve + 0.01 * rng.standard_normal(13) for _ in range(200)]
    found = [
        np.log2(chosen_rate(RatesFound(tried(dict(zip(places, row, strict=True))))) / rate(0))
        for row in drawn
    ]
    assert np.std(found) < 0.6 * np.std([places[row.argmax()] for row in drawn])


def test_it_keeps_its_distance_from_rates_at_which_runs_failed():
    cliff = tried({-4: 0.8, -3: 0.85, -2: 0.9, -1: 0.9, 0: None})
    assert chosen_rate(RatesFound(cliff)) <= rate(-1)
    steep = tried({-2: 0.8, -1: 0.86, 0: 0.92, 1: 0.80, 2: 0.1})
    assert chosen_rate(RatesFound(steep)) > rate(-1)
    assert chosen_rate(RatesFound(steep, cliff=rate(0))) == rate(-1)


def test_between_two_stretches_it_is_the_best_rate():
    apart = tried({-6: 0.9, -5: 0.91, -4: 0.7, -3: 0.5, -2: 0.5, -1: 0.5, 0: 0.9, 1: 0.9, 2: 0.7})
    assert chosen_rate(RatesFound(apart, inconclusive="two separate stretches")) == pytest.approx(
        rate(-5), rel=0.1
    )


def test_there_is_none_where_nothing_was_learned():
    assert chosen_rate(RatesFound(tried({0: None, 1: None}))) is None
    assert (
        chosen_rate(RatesFound(tried({0: 0.1, 1: 0.1}), inconclusive="nothing", learned=False))
        is None
    )
    assert chosen_rate(RatesFound(tried({0: 0.9}))) == rate(0)
