"""Looks beside oracles in plain Python: who is claimed, given up or equal, and who gets runs."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from clr_cli.analysis import designs, looks
from clr_cli.analysis.looks import CLAIMED, EQUIVALENT, HOPELESS, OPEN
from clr_cli.analysis.rule import ALPHA, Moments

RNG = np.random.default_rng


@pytest.mark.parametrize(
    ("n", "last", "part"),
    [(5, 30, 0), (6, 30, 0.29 * 4 / 6), (7, 30, 0.29 * 5 / 6)]
    + [(n, 30, 0.29) for n in range(8, 13)]
    + [(24, 30, 0.29 * 0.5**1.5), (31, 30, 0.29 * (12 / 31) ** 1.5)]
    + [(6, 6, 1), (9, 9, 1), (10, 10, 0.9), (30, 30, 0.3), (60, 60, 0.15)],
)
def test_the_weight_of_a_look(n, last, part):
    assert looks.weight(n, last) == pytest.approx(part)


def hopeless_up_to(error, freedom, n, cap, share):
    """The largest mean at which no difference is 20 times as likely as one the cap surely finds.

    Also how far from a mean of zero the interval at the cap will reach.
    """
    rest = freedom + cap - n
    c = stats.t.isf(ALPHA * share / 2, rest)
    at_cap = error * math.sqrt(n / cap)
    size = at_cap * (c + 2.326 * math.sqrt(1 + c * c / (2 * rest)))
    most = size / 2 - math.log(20) * error**2 / size
    ratio = stats.norm.logpdf(most, 0, error) - stats.norm.logpdf(most, size, error)
    assert ratio == pytest.approx(math.log(20))
    return most, c * at_cap


def hopeless(mean, error, freedom, n, cap, share, margin):
    most, reach = hopeless_up_to(error, freedom, n, cap, share)
    return mean < most and (margin is None or mean + reach >= margin)


@pytest.mark.parametrize("margin", [None, 0.25, 0.6, 1.5])
@pytest.mark.parametrize(("n", "cap", "share"), [(8, 12, 0.75), (8, 30, 0.1), (20, 24, 0.3)])
def test_an_arm_is_given_up_by_its_likelihood_ratio(n, cap, share, margin):
    x = RNG(n).normal(size=(1, n))
    estimate = designs.paired(x - x.mean(), np.zeros(n))
    most, reach = hopeless_up_to(estimate.error[0], n - 1, n, cap, share)
    edges = [most, (margin or 0) - reach, 0.0]
    means = [edge + gap for edge in edges for gap in (-1e-6, 1e-6) if edge + gap >= 0]
    for mean in means:
        expected = mean < most and (margin is None or mean + reach >= margin)
        for sign in (-1, 1):
            moved = replace(estimate, mean=np.array([sign * mean]))
            assert looks.hopeless(moved, n, cap, share, margin)[0] == expected
    for alike, baseline in ((np.ones(n), np.zeros(n)), (np.arange(n), np.arange(n)),
                            (np.full(n, np.nan), np.zeros(n))):  # fmt: skip
        given_up = looks.hopeless(designs.paired([alike], baseline), n, cap, share)[0]
        assert given_up == (0.5 ** (n - 1) <= ALPHA * share)
    ahead = designs.paired([np.arange(n) + 1.0], np.arange(n))
    assert not looks.hopeless(ahead, n, cap, share).any()


def by_hand(x, options, sizes):
    """The looks at one study of paired differences x (K, n), arm by arm."""
    count, total = len(x), max(len(x), options["comparisons"] or 0)
    cap, last, margin = options["cap"], options["last"], options["margin"]
    state, at = [OPEN] * count, [0] * count
    ends = [(-math.inf, math.inf, 0.0)] * count
    for n in sizes:
        estimate = designs.paired(x[:, :n], np.zeros(n))
        still = [k for k in range(count) if state[k] == OPEN]
        before, new = state.count(CLAIMED), set()
        while True:
            left = max(total - before - len(new), 1)
            for k in still:
                if k not in new:
                    level = ALPHA * looks.weight(n, last) / left
                    low, high = (end[k] for end in estimate.interval(level))
                    if 2 ** (1 - n) * total > 0.125:  # too few runs
                        low, high = -math.inf, math.inf
                    ends[k] = low, high, level
            found = {k for k in still if ends[k][0] > 0 or ends[k][1] < 0}
            if found == new:
                break
            new = found
        for k in new:
            state[k] = CLAIMED
        claimed = state.count(CLAIMED)
        for k in set(still) - new:
            low, high, _ = ends[k]
            share = looks.weight(cap, last) / max(total - claimed, 1) if cap else 0.0
            mean, error, freedom = abs(estimate.mean[k]), estimate.error[k], estimate.freedom[k]
            if margin is not None and -margin < low and high < margin:
                state[k] = EQUIVALENT
            elif cap and n < cap and hopeless(mean, error, freedom, n, cap, share, margin):
                state[k] = HOPELESS
        for k in still:
            at[k] = n if state[k] != OPEN else 0
    return state, at, ends


@pytest.mark.parametrize(
    "options",
    [
        {"cap": 14, "last": 14, "margin": None, "comparisons": None},
        {"cap": 14, "last": 9, "margin": 1.2, "comparisons": 5},
        {"cap": None, "last": 30, "margin": 1.6, "comparisons": 4},
    ],
)
def test_looks_are_holms_steps_over_the_arms_that_are_open(options):
    assert len({OPEN, CLAIMED, EQUIVALENT, HOPELESS}) == 4
    x = RNG(4).normal(size=(12, 3, 14)) + np.array([0.0, 1.0, 2.0])[:, None]
    sizes = range(5, 15)
    progress = looks.Progress.begin((12, 3))
    for n in sizes:
        progress = progress.look(designs.paired(x[..., :n], np.zeros((12, n))), n, **options)
        if n == 5:  # before the first look
            assert progress.open.all()
            assert (progress.low == -math.inf).all()
            assert (progress.level == 0).all()
    expected = [by_hand(each, options, sizes[1:]) for each in x]
    np.testing.assert_array_equal(progress.state, [state for state, _, _ in expected])
    np.testing.assert_array_equal(progress.at, [at for _, at, _ in expected])
    ends = np.stack([progress.low, progress.high, progress.level], axis=-1)
    np.testing.assert_allclose(ends, [each for _, _, each in expected])
    for state in {OPEN, CLAIMED, HOPELESS if options["cap"] else EQUIVALENT}:
        assert (progress.state == state).any()
    for row in range(3):
        seen = [looks.Look(n, [n] * 3, n) for n in sizes]
        one = looks.replay(x[row], np.zeros(14), seen, designs.paired, **options)[-1]
        for field, value in vars(progress).items():
            np.testing.assert_allclose(getattr(one, field), value[row])


def greedy(sizes, variances, open_arms, count):
    """Runs one by one, the baseline's last: each where the summed squared errors fall most."""
    freedom = [max(n - 1, 0) for n in sizes]
    pooled = sum(f * v for f, v in zip(freedom, variances, strict=True)) / sum(freedom)
    v = [max(each, pooled) for each in variances]
    now = list(sizes)
    for _ in range(count if any(open_arms) else 0):

        def total(n):
            arms = [k for k, each in enumerate(open_arms) if each]
            return sum(v[k] / n[k] + v[-1] / n[-1] for k in arms)

        sides = [k for k, each in enumerate([*open_arms, True]) if each]
        tried = {k: total([n + (j == k) for j, n in enumerate(now)]) for k in sides}
        now[min(sides, key=tried.get)] += 1
    return [after - before for after, before in zip(now, sizes, strict=True)]


def test_runs_go_where_they_lower_the_errors_of_open_arms_most():
    rng = RNG(9)
    arms = rng.normal(size=(60, 3, 9)) * rng.choice([0.5, 1.0, 2.0], size=(60, 3, 1))
    base = rng.normal(size=(60, 10)) * rng.choice([0.5, 1.0, 2.0], size=(60, 1))
    arms[::2, 1, 3:] = np.nan
    open_arms = rng.random((60, 3)) < 0.7
    open_arms[0] = False
    x, y = Moments.of(arms), Moments.of(base)
    more, more_base = looks.next_runs(x, y, open_arms, 8)
    assert more_base.any()
    assert more.any()
    for row in range(60):
        expected = greedy(
            [*x.n[row], y.n[row]], [*x.variance[row], y.variance[row]], open_arms[row], 8
        )
        assert [*more[row], more_base[row]] == expected
