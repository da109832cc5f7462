"""What arms borrow from one another, what planning takes for typical, and means over data sets."""

from __future__ import annotations

import math

import numpy as np
import pytest
from test_rule import kappa, many, moments, over_arms, two, welch

from clr_cli.analysis import designs
from clr_cli.analysis.rule import Estimate, Moments

RNG = np.random.default_rng


def fields(estimate: Estimate, k: int) -> dict[str, np.ndarray]:
    return {key: value[..., k] for key, value in vars(estimate).items()}


def assert_same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    for key, value in one.items():
        np.testing.assert_allclose(value, other[key], err_msg=key)


def test_an_arm_without_noise_neither_lends_nor_borrows():
    x, y = RNG(0).exponential(size=(4, 6)), RNG(1).normal(size=7)
    x[1] = 0.5
    found = designs.unpaired(x, y)
    assert_same(fields(found, 1), fields(designs.unpaired(x[1:2], y), 0))
    rest = np.delete(x, 1, axis=0)
    low, high = found.interval(0.02)
    for at, k in enumerate((0, 2, 3)):
        np.testing.assert_allclose((low[k], high[k]), many(rest, y, at, 0.02), rtol=1e-6)
    x[0] = 0.7  # two arms are left, too few to say what noise they share
    found = designs.unpaired(x, y)
    for k in range(4):
        assert_same(fields(found, k), fields(designs.unpaired(x[k : k + 1], y), 0))


def test_many_comparisons_at_once_are_each_as_it_is_alone():
    x, y = RNG(6).exponential(size=(2, 4, 6)), RNG(7).normal(size=(2, 6))
    x[0, 2, 5:] = np.nan
    for design in (designs.paired, designs.unpaired):
        whole = vars(design(x, y))
        for row in range(2):
            for key, value in vars(design(x[row], y[row])).items():
                at = whole[key][:, row] if value.ndim == 2 else whole[key][row]
                np.testing.assert_allclose(at, value, err_msg=key)


def test_arms_that_lie_apart_are_cut_at_their_runs_only_where_nothing_is_borrowed():
    x = 100 + RNG(2).exponential(9, size=(3, 5))
    y = RNG(3).exponential(30, size=5)
    low, _ = designs.unpaired(x, y).interval(0.05)
    expected = [many(x, y, k, 0.05)[0] for k in range(3)]
    np.testing.assert_allclose(low, expected, rtol=1e-6)
    alone = two(x[0], y, 0.05)
    assert alone[0] == pytest.approx(x[0].min() - y.max())
    assert expected[0] < alone[0]
    low, _ = designs.unpaired(x[:1], y).interval([0.05, 0.0499])
    np.testing.assert_allclose(low, [alone[0], two(x[0], y, 0.0499)[0]])


@pytest.mark.parametrize("arms", [3, 8])
def test_a_typical_arm_has_its_own_spread_and_the_mean_skewness_of_so_many(arms):
    x, y = RNG(4).exponential(size=7), RNG(5).exponential(size=9)
    (n, a, va, ga), (m, b, vb, gb) = moments(x), moments(y)
    one, other = Moments.of([x]), Moments.of([y])
    freedom, weights = 4 + n - 1, np.full(arms, 0.75 / arms)
    weights[0] += 0.25  # of the arm's own; the skewnesses are independent
    ga, gb = ga * kappa(n) ** 1.5 * np.linalg.norm(weights), gb * kappa(m) ** 1.5
    gb *= 0.25 + 0.75 * m / (arms * n + m)
    v = va / n + vb / m
    found = fields(designs.typical(one, other, arms), 0)
    expected = {
        "mean": a - b,
        "error": math.sqrt(v),
        "freedom": welch(va / n, vb / m, freedom, m - 1, n, m),
        "push_arm": [ga * va**1.5 / n**2 / v**1.5],
        "push_base": [gb * vb**1.5 / m**2 / v**1.5],
        "share": (n - 1) / freedom,
        "apart": [-math.inf, math.inf],
    }
    assert_same(expected, found)
    found = fields(designs.typical(one, None, arms), 0)
    v = va / n
    expected |= {"mean": a, "error": math.sqrt(v), "freedom": freedom, "push_base": [0.0]}
    expected["push_arm"] = [ga * va**1.5 / n**2 / v**1.5]
    assert_same(expected, found)


def test_a_typical_arm_of_two_is_as_it_is_alone():
    x, y = RNG(4).exponential(size=7), RNG(5).exponential(size=9)
    one, other = Moments.of([x]), Moments.of([y])
    for arms in (1, 2):
        pairs = designs.typical(one, None, arms)
        assert_same(fields(pairs, 0), fields(designs.paired([x], np.zeros(7)), 0))
        assert_same(
            fields(designs.typical(one, other, arms), 0), fields(designs.unpaired([x], y), 0)
        )


def test_a_mean_over_data_sets_adds_variances_and_third_cumulants():
    x = [RNG(k).exponential(size=(1, 6 + k)) for k in range(3)]
    y = [RNG(9 + k).normal(size=7) for k in range(3)]
    each = [designs.unpaired(a, b) for a, b in zip(x, y, strict=True)]
    mean = designs.average(
        Estimate(**{key: np.stack([vars(e)[key] for e in each], axis=-1) for key in vars(each[0])})
    )
    v = np.array([e.error[0] ** 2 for e in each])
    np.testing.assert_allclose(mean.error[0], math.sqrt(v.sum()) / 3)
    np.testing.assert_allclose(
        mean.freedom[0], v.sum() ** 2 / sum(v**2 / [e.freedom[0] for e in each])
    )
    for push in ("push_arm", "push_base"):
        cumulants = sum(vars(e)[push][:, 0] * e.error[0] ** 3 for e in each)
        np.testing.assert_allclose(vars(mean)[push][:, 0], cumulants / v.sum() ** 1.5)
    assert (mean.share[0], mean.chance[0]) == (1, max(e.chance[0] for e in each))
    assert np.isinf(mean.apart).all()


def test_a_mean_is_known_as_far_as_every_data_set_is():
    x = RNG(0).normal(size=(2, 1, 6))
    x[1] = 1.0  # blind
    found = designs.average(over_arms(designs.paired(x, np.zeros((2, 6)))))
    assert (found.blind[0], found.enough[0], found.freedom[0]) == (True, True, 5)
    x[1, :, 3:] = np.nan
    found = designs.average(over_arms(designs.paired(x, np.zeros((2, 6)))))
    assert not found.enough[0]
    assert found.chance[0] == 2**-2
    still = designs.average(over_arms(designs.paired(np.ones((2, 1, 6)), np.zeros((2, 6)))))
    assert (still.error[0], still.freedom[0]) == (0, 5)
    borrowed = designs.paired(RNG(1).normal(size=(2, 3, 6)), np.zeros((2, 6)))
    found = designs.average(over_arms(borrowed))
    weights = borrowed.error**2 / (borrowed.error**2).sum(axis=0)
    np.testing.assert_allclose(found.share, (weights * borrowed.share).sum(axis=0))
