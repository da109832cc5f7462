"""Power and runs needed, beside what many simulated samples find."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from clr_cli.analysis import designs, planning
from clr_cli.analysis.rule import ALPHA

RNG = np.random.default_rng


@pytest.mark.parametrize(
    ("sizes", "spreads", "arms", "weight", "effect"),
    [
        ((5,), (1.0,), 1, 1.0, 2.0),
        ((9,), (2.0,), 2, 0.29, 3.0),
        ((8,), (1.0,), 3, 1.0, 1.6),
        ((7,), (0.5,), 8, 1.0, 1.0),
        ((6, 9), (1.0, 2.0), 1, 1.0, 2.5),
        ((9, 6), (0.3, 1.0), 2, 0.5, 1.6),
        ((7, 9), (1.0, 1.0), 6, 1.0, 2.0),
    ],
)
def test_power_is_the_share_of_normal_samples_whose_interval_lies_above_zero(
    sizes, spreads, arms, weight, effect
):
    """Given a sample's skewness and variance its mean is still normal (Basu 1955)."""
    rng, many = RNG(0), 3000
    x = spreads[0] * rng.normal(size=(many, arms, sizes[0]))
    if len(sizes) == 1:
        estimate = designs.paired(x, np.zeros((many, sizes[0])))
    else:
        estimate = designs.unpaired(x, spreads[1] * rng.normal(size=(many, sizes[1])))
    low, _ = estimate.interval(ALPHA * weight / arms)
    error = np.sqrt(sum(sd**2 / n for sd, n in zip(spreads, sizes, strict=True)))
    expected = special.ndtr((effect - (estimate.mean - low)) / error).mean()
    said = planning.power(effect, spreads, sizes, comparisons=arms, weight=weight)
    assert 0.2 < said < 0.97
    assert said == pytest.approx(expected, abs=0.025 if arms < 3 else 0.035)


def test_too_few_runs_or_no_noise_have_no_power():
    for sizes, comparisons in (((4,), 1), ((5,), 2), ((5, 5), 1), ((6, 6), 16)):
        spreads = (1.0,) * len(sizes)
        assert planning.power(9.0, spreads, sizes, comparisons=comparisons) > 0.5
        fewer = tuple(n - 1 for n in sizes)
        assert planning.power(9.0, spreads, fewer, comparisons=comparisons) == 0
    assert planning.power(9.0, (1.0, 1.0), (4, 90)) == 0
    assert planning.power(9.0, (0.0, 0.0), (8, 8)) == 0
    assert 0 < planning.power(2.0, (0.0, 1.0), (8, 8)) < 1
    assert planning.power(0.0, (1.0,), (8,)) < ALPHA / 2
    assert planning.power(1e9, (1.0,), (8,)) == pytest.approx(1)


@pytest.mark.parametrize(("sizes", "arms"), [((4,), 1), ((9,), 4), ((5, 12), 1), ((8, 8), 9)])
def test_the_smallest_difference_that_is_found_has_the_power_of_planning(sizes, arms):
    spreads = (2.0, 0.5)[: len(sizes)]
    options = {"comparisons": arms, "weight": 0.5}
    found = planning.smallest_detectable(spreads, sizes, **options)
    assert planning.power(found, spreads, sizes, **options) == pytest.approx(
        planning.POWER, abs=1e-6
    )
    scaled = tuple(1000 * sd for sd in spreads)
    larger = planning.smallest_detectable(scaled, sizes, **options)
    assert larger == pytest.approx(1000 * found, rel=1e-6)


@pytest.mark.parametrize(
    ("difference", "spreads", "arms"),
    [
        (3.0, (1.0,), 1),
        (0.9, (1.0,), 4),
        (-0.5, (1.0,), 1),
        (1.2, (1.0, 0.5), 1),
        (1.0, (1.0, 1.0), 3),
    ],
)
def test_the_runs_needed_are_the_fewest_of_all(difference, spreads, arms):
    found = planning.runs_needed(difference, spreads, comparisons=arms)
    powers = [
        planning.power(abs(difference), spreads, (n,) * len(spreads), comparisons=arms)
        for n in range(1, found + 1)
    ]
    assert [n for n, each in enumerate(powers, 1) if each >= planning.POWER] == [found]


def test_no_number_of_runs_shows_what_is_too_small_or_has_no_noise():
    assert planning.runs_needed(1e-3, (1.0,)) is None
    assert planning.runs_needed(0.03, (1.0,)) == pytest.approx(8720, rel=0.02)
    assert planning.runs_needed(0.0, (1.0,)) is None
    assert planning.runs_needed(1.0, (0.0, 0.0)) is None
