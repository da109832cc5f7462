"""A study: for how much it corrects, which looks count, and what it asks of the numbers."""

from __future__ import annotations

import numpy as np
import pytest
from support.summaries import summarize

from clr_cli.analysis import looks, planning
from clr_cli.analysis.study import Study
from clr_cli.errors import InputError
from clr_cli.records import Look, Metric, RunRecord, Summary

SCORE = Metric(name="score", mode="max")


def study(**changes) -> Study:
    asked = {"name": "s", "arms": ("a", "b", "c"), "baseline": "a", "seeds": (3, 5, 9)}
    return Study(**(asked | {"metric": SCORE} | changes))


def runs(arms: str, count: int, *, first: int = 0, metric: Metric = SCORE) -> list[RunRecord]:
    values = dict(zip("abc", np.random.default_rng(0).normal(size=(3, 20)).tolist(), strict=True))
    return [
        RunRecord(arm, k, "finished", [], {"final": {metric.name: values[arm][k]}})
        for arm in arms
        for k in range(first, count)
    ]


def look(n: int, arms: str = "abc") -> Look:
    return Look(n=n, runs=dict.fromkeys(arms, n))


def earlier(count: int = 6, sizes: tuple[int, ...] = (), **options) -> Summary:
    """An earlier result of these arms, looked at with so many seeds."""
    seen = [look(n) for n in sizes or (count,)]
    return summarize(
        runs("abc", count), baseline="a", metric=SCORE, margin=None, looks=seen, **options
    )


def test_the_seeds_go_on_after_those_that_were_asked_for():
    assert [study().seed(k) for k in range(5)] == [3, 5, 9, 10, 11]
    assert study().runs()[:3] == (("a", 3), ("b", 3), ("c", 3))
    assert len(study().runs()) == 9


def test_arms_that_were_chosen_after_a_look_are_corrected_as_if_all_were_compared():
    assert study(arms=("a",)).comparisons == 1
    assert study().comparisons == 2
    assert study(baseline=0.5).comparisons == 3
    assert study(looked_at=6).comparisons == 5
    assert study(looked_at=6, rebased=True).comparisons == 15
    assert study().fewest == 5
    assert study(paired=False).fewest == 5
    assert study(paired=False, looked_at=7, rebased=True).fewest == 6


def test_the_last_look_is_the_first_cap_that_was_reached():
    assert study().last_look == looks.LAST
    assert study(cap=12).last_look == 12
    assert study(cap=12, last=8).last_look == 8
    assert (study().grows, study(cap=12).grows, study(past=(look(6),)).grows) == (False, True, True)


def test_plans_are_made_for_the_comparisons_and_the_look_of_the_study():
    fixed, grown = study(), study(cap=12)
    for sizes, spreads in (((8,), (1.0,)), ((8, 9), (1.0, 2.0))):
        for each, weight in ((fixed, 1.0), (grown, looks.weight(8, 12))):
            found = each.smallest_detectable(spreads, sizes)
            assert found == planning.smallest_detectable(
                spreads, sizes, comparisons=2, weight=weight
            )
    assert grown.smallest_detectable((1.0,), (5,)) is None  # before the first look
    assert fixed.seeds_needed(1.0, (1.0,)) == planning.runs_needed(1.0, (1.0,), comparisons=2)
    assert (study().sides, study(paired=False).sides, study(baseline=0.5).sides) == (1, 2, 1)


@pytest.mark.parametrize(
    ("value", "unit", "valid"),
    [
        (0.0, "", False),
        (-1.0, "", False),
        (1.0, "", True),
        (1e15, "", True),
        (1.1e15, "", False),
        (0.5, "%", True),
        (1.0, "%", False),
    ],
)
def test_a_margin_is_above_zero_and_of_a_fraction_below_one(value, unit, valid):
    metric = Metric(name="score", mode="max", unit=unit)
    for name in ("margin", "detect"):
        if valid:
            assert getattr(study(metric=metric, **{name: value}), name) == value
        else:
            with pytest.raises(InputError):
                study(metric=metric, **{name: value})


# --- after an earlier result ----------------------------------------------------------------


def test_looks_of_the_same_runs_count():
    before = earlier(8, sizes=(4, 5, 6, 8), cap=8)
    after = study().after(before, runs("abc", 10))
    assert [each.n for each in after.past] == [5, 6, 8]  # with 4 nothing could be claimed
    assert (after.last, after.looked_at) == (8, 0)
    again = study().after(before, runs("abc", 8))
    assert [each.n for each in again.past] == [5, 6]  # a repeated look is not counted again
    fewer = study().after(before, runs("abc", 6))
    assert [each.n for each in fewer.past] == [5, 8]


def test_arms_of_an_earlier_result_were_chosen_among_all_of_them():
    before = earlier()
    some = study(arms=("a", "b")).after(before, runs("ab", 6))
    assert (some.looked_at, some.rebased, some.past) == (3, False, ())
    assert some.comparisons == 2
    turned = study(arms=("b", "c"), baseline="b").after(before, runs("bc", 6))
    assert (turned.looked_at, turned.rebased, turned.comparisons) == (3, True, 3)
    # All of the arms of a result that was itself a choice.
    chosen = before.model_copy(update={"looked_at": 5})
    assert study().after(chosen, runs("abc", 6)).looked_at == 5
    more = study(arms=("a", "b", "c", "d"))
    assert more.after(before, runs("abc", 6)) == more


def test_an_earlier_result_of_other_runs_does_not_count():
    before, asked = earlier(8, sizes=(6, 8), cap=8), study()
    assert asked.after(before, runs("abc", 10)).past
    assert asked.after(None, runs("abc", 10)) == asked
    other = runs("abc", 10)
    other[0] = RunRecord("a", 0, "finished", [], {"final": {"score": 9.0}})
    assert asked.after(before, other) == asked
    assert asked.after(before, runs("abc", 10, first=2)) == asked  # some are new, some are gone
    loss = Metric(name="loss", mode="min")
    of_loss = study(metric=loss)
    assert of_loss.after(before, runs("abc", 10, metric=loss)) == of_loss
