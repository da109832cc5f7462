"""--expect: what holds, what does not, and what the runs cannot tell, for either direction."""

from __future__ import annotations

import numpy as np
import pytest
from test_across import EVEN, LOSS, SCORE, data_set

from clr_cli.analysis.expectation import CANNOT_TELL, FAILS, Expect, check, verdict
from clr_cli.analysis.study import Study
from clr_cli.errors import InputError

OLD = np.linspace(5, 6, len(EVEN))
CODES = {True: 0, False: FAILS, None: CANNOT_TELL}


def summary(ahead: float, spread: float, metric=SCORE, runs: int = 6, margin: float = 0.5):
    """New is ahead by so much, in the direction that is better; its interval is about 1 spread."""
    new = OLD + metric.sign * (ahead + spread * EVEN / 3)
    arms = {"old": OLD[:runs], "new": new[:runs]}
    return data_set("x", arms, metric=metric, margin=margin).summary


@pytest.mark.parametrize("metric", [SCORE, LOSS])
@pytest.mark.parametrize(
    ("ahead", "spread", "better", "not_worse"),
    [
        (2.0, 0.1, True, True),
        (0.2, 0.1, True, True),
        (0.0, 0.1, False, True),  # equivalent: never better
        (-0.2, 0.1, False, True),  # worse, by less than the margin
        (-2.0, 0.1, False, False),
        (0.0, 3.0, None, None),
        (-0.5, 0.5, False, None),  # worse, by about the margin
    ],
)
def test_the_interval_says_what_holds(metric, ahead, spread, better, not_worse):
    found = summary(ahead, spread, metric)
    low, high = sorted(
        metric.sign * end for end in (found.comparisons[0].difference.low,
                                      found.comparisons[0].difference.high)
    )  # fmt: skip
    assert not_worse is (True if low > -0.5 else False if high < -0.5 else None)
    for expect, holds in ((Expect.BETTER, better), (Expect.NOT_WORSE, not_worse)):
        code, said = verdict(found, expect)
        assert code == CODES[holds]
        assert ("new" in said) == (holds is not True)
        assert (" than old by more than 0.5" in said) == (
            expect is Expect.NOT_WORSE and holds is not True
        )


def test_too_few_runs_cannot_tell():
    found = summary(2.0, 0.1, runs=3)
    assert [verdict(found, expect)[0] for expect in Expect] == [CANNOT_TELL] * 2


def test_the_same_runs_are_not_worse_and_not_better():
    found = data_set("x", {"old": OLD, "new": OLD}, margin=0.5).summary
    assert verdict(found, Expect.BETTER)[0] == FAILS
    assert verdict(found, Expect.NOT_WORSE) == (0, "")


def test_every_arm_must_be_as_expected():
    arms = {"old": OLD, "a": OLD + 2 + 0.03 * EVEN, "b": OLD - 2 + 0.03 * EVEN, "c": OLD + EVEN}
    code, said = verdict(data_set("x", arms, margin=0.5).summary, Expect.BETTER)
    assert (code, said) == (FAILS, "--expect better than old does not hold for b")


def test_a_margin_is_needed_to_be_not_worse():

    asked = {"name": "s", "arms": ("old", "new"), "baseline": "old", "seeds": (0,)}
    with pytest.raises(InputError, match="--margin"):
        check(Study(**asked), Expect.NOT_WORSE)
    check(Study(**asked, margin=0.1), Expect.NOT_WORSE)
    check(Study(**asked, default_margin=0.1), Expect.NOT_WORSE)
    check(Study(**asked), Expect.BETTER)
    check(Study(**asked), None)
