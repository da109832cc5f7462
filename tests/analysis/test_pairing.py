"""What pairing gained: the interval covers the truth, and the sentence follows it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from clr_cli.analysis.pairing import LEAST, gain, pairing_sentence
from clr_cli.format import Scale


def pairs(rng: np.random.Generator, n: int, shared: float, wider: float = 1.0) -> list[dict]:
    """An arm and its baseline whose runs of a seed share this part of their variance."""
    common = np.sqrt(shared) * rng.normal(size=n)
    arm, base = (common + np.sqrt(1 - shared) * rng.normal(size=n) for _ in range(2))
    return [dict(enumerate((wider * arm).tolist())), dict(enumerate(base.tolist()))]


@pytest.mark.parametrize("shared", [0.0, 0.5, 0.9])
def test_the_interval_covers_the_share_that_is_saved(shared):
    rng, count = np.random.default_rng(0), 1000
    found = [gain([arm], base) for arm, base in (pairs(rng, 12, shared) for _ in range(count))]
    covered = np.mean([each.low <= shared <= each.high for each in found])
    assert covered == pytest.approx(0.95, abs=0.025)
    assert np.median([each.saved for each in found]) == pytest.approx(shared, abs=0.05)


def test_the_sentence_claims_a_gain_only_where_the_interval_shows_one():
    rng, scale = np.random.default_rng(1), Scale("", 2)
    arm, base = pairs(rng, 16, 0.95)
    text = pairing_sentence(gain([arm], base), scale)
    assert text.startswith("Pairing saved 89 % of the runs (95 % interval 72 to 96 %): ")
    arm, base = pairs(rng, 16, 0.0, wider=5.0)
    found = gain([arm], base)
    differences = [arm[seed] - base[seed] for seed in arm]
    apart = np.sqrt(np.var([*arm.values()], ddof=1) + np.var([*base.values()], ddof=1))
    assert pairing_sentence(found, scale) == (
        "With 16 seeds, no benefit from pairing can be shown: the differences have a standard"
        f" deviation of {np.std(differences, ddof=1):.2f}, {apart:.2f} if unpaired."
    )


def test_nothing_is_said_of_few_pairs_or_without_noise():
    arm, base = pairs(np.random.default_rng(2), LEAST - 1, 0.9)
    assert pairing_sentence(gain([arm], base), Scale("", 2)) == ""
    assert gain([{0: 1.0, 1: 1.0}], {0: 2.0, 1: 2.0}) is None
    assert gain([{0: 1.0, 1: 1.5}], {1: 2.0, 2: 2.0}) is None, "one pair"
    same = dict(enumerate([1.0, 2.0, 4.0]))
    found = gain([same], same)
    assert (found.saved, found.low, found.high, found.sd) == (1.0, 1.0, 1.0, 0.0)


def test_what_is_saved_is_one_less_the_ratio_of_the_variances():
    rng = np.random.default_rng(3)
    arms, base = zip(*[pairs(rng, n, 0.5) for n in (6, 9)], strict=True)
    base = base[1] | {20: 0.0}  # without a partner
    alone = {30: 1.0}
    found = gain([*arms, alone], base)
    paired, apart, freedom = 0.0, 0.0, 0
    for arm in arms:
        x, y = (np.array([side[seed] for seed in arm]) for side in (arm, base))
        freedom += len(arm) - 1
        paired += (len(arm) - 1) * np.var(x - y, ddof=1)
        apart += (len(arm) - 1) * (np.var(x, ddof=1) + np.var(y, ddof=1))
    assert (found.pairs, found.saved) == (9, pytest.approx(1 - paired / apart))
    assert (found.sd, found.sd_unpaired) == pytest.approx(
        (np.sqrt(paired / freedom), np.sqrt(apart / freedom))
    )
    reach = stats.f.ppf(0.975, 8, 8)
    ratio = (1 + found.saved) / (1 - found.saved)
    for end, factor in ((found.low, 1 / reach), (found.high, reach)):
        assert (1 + end) / (1 - end) == pytest.approx(factor * ratio)
