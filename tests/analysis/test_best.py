"""The best of several arms, beside integrals and one comparison at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, special

from clr_cli.analysis import best, designs
from clr_cli.analysis.rule import ALPHA

RNG = np.random.default_rng


def errors(x, paired):
    """Squared standard errors; of pairs, of what is left beside the seeds' means."""
    rest = x - x.mean(axis=0) if paired else x
    return rest.var(axis=1, ddof=1) * (len(x) / (len(x) - 1) if paired else 1) / x.shape[1]


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize(("arms", "step"), [(2, 0.5), (4, 0.6), (4, 0.0), (3, 4.0)])
def test_optimism_is_the_expected_excess_of_the_winner(arms, step, paired):
    x = RNG(arms).normal(size=(arms, 7)) * np.linspace(0.5, 1.5, arms)[:, None]
    x += step * np.arange(arms)[:, None] + 3 * paired * RNG(1).normal(size=7)
    square, means = errors(x, paired), x.mean(axis=1)
    kept = max(0.0, 1 - square.mean() / means.var(ddof=1))
    truth, error = means.mean() + kept * (means - means.mean()), np.sqrt(square)

    def excess(k):
        others = [j for j in range(arms) if j != k]

        def density(value):
            wins = math.prod(special.ndtr((value - truth[j]) / error[j]) for j in others)
            z = (value - truth[k]) / error[k]
            return z * math.exp(-z * z / 2) / math.sqrt(2 * math.pi) * wins

        ends = truth[k] - 8 * error[k], truth[k] + 8 * error[k]
        return integrate.quad(density, *ends, epsabs=1e-8)[0]

    expected = sum(map(excess, range(arms)))
    assert best.optimism(x, paired=paired) == pytest.approx(expected, abs=1e-6)


def test_where_nothing_is_known_of_the_noise_nothing_is_said():
    one = np.array([[1.0, np.nan], [1.0, 2.0], [3.0, 1.0]])
    for paired in (True, False):
        assert math.isnan(best.optimism(one, paired=paired))
        assert np.isnan(best.probabilities(one, paired=paired)).all()
    assert best.optimism(np.ones((3, 5)), paired=False) == 0
    assert best.optimism(np.arange(3.0)[:, None] * np.ones(5), paired=False) == 0
    assert best.optimism([[1.0, 2.0, 4.0]], paired=False) == 0
    two = np.array([[1.0, 2.0, np.nan], [1.0, 3.0, np.nan], [3.0, 1.0, 2.0]])
    assert best.optimism(two, paired=True) > 0  # two whole pairs
    two[0, 1:] = np.nan, 2.0
    assert math.isnan(best.optimism(two, paired=True))  # one


@pytest.mark.parametrize("weight", [1.0, 0.3])
@pytest.mark.parametrize("design", [designs.paired, designs.unpaired])
@pytest.mark.parametrize("arms", [1, 2, 3, 5])
def test_an_arm_is_out_where_one_of_the_others_is_larger(arms, design, weight):
    x = RNG(arms).normal(size=(12, arms, 8))
    x += 1.4 * np.arange(arms)[:, None] + 2 * RNG(1).normal(size=(12, 1, 8))
    said = best.could_be_best(x, design, weight=weight)
    for row, kept in zip(x, said, strict=True):
        for k in range(arms):
            others = [row[j] for j in range(arms) if j != k]
            level = 2 * ALPHA * weight / max(arms - 1, 1)
            low = design(others, row[k]).interval(level)[0] if others else np.array([-1.0])
            assert kept[k] == (low <= 0).all()
    assert said.any(axis=1).all()
    if weight == 1:
        np.testing.assert_array_equal(best.could_be_best(x, design), said)
    assert said.all() == (arms == 1)
