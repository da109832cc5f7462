"""Runs that share nothing, and runs against a number: what a comparison says of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from test_across import SCORE, runs
from test_summary import LOSS, LOSSES, measured, of_loss

from clr_cli.analysis import times
from clr_cli.analysis.study import Study
from clr_cli.analysis.summary import analyse
from clr_cli.errors import InputError
from clr_cli.records import Metric, RunRecord
from clr_cli.study.collect import collect
from clr_cli.study.table import TableSource


def test_a_ratio_of_times_is_of_means_or_of_medians():
    every = times.unpaired_ratio([90, 100, 110, 95, 105], [200, 220, 180, 210, 190, 205])
    assert every.value == pytest.approx(0.5, abs=0.01)
    assert 0.4 < every.low < 0.5 < every.high < 0.6
    some = times.unpaired_ratio([90, 100, math.inf, 95, 105], [200] * 7)
    assert some.value == 0.5
    assert (some.low, some.high) == (0.45, math.inf)  # the order statistics of five are all of them
    few = times.unpaired_ratio([90, math.inf, 100], [200, 200])
    assert few.value == 0.5
    assert math.isnan(few.low)
    assert math.isnan(times.unpaired_ratio([math.inf] * 3, [math.inf, math.inf, 5]).value)
    assert times.unpaired_ratio([math.inf] * 6, [100] * 6).value == math.inf
    assert math.isnan(times.unpaired_ratio([], [1.0]).value)


LOWER = [loss - 0.012 for loss in LOSSES]


def test_unpaired_runs_in_numbers_and_words():
    summary = of_loss(
        measured("adam", LOSSES, [9, 4]), measured("muon", LOWER[:5], [9, 3.2]), paired=False
    )
    assert summary.design == "unpaired"
    (comparison,) = summary.comparisons
    assert (comparison.n, comparison.n_baseline) == (5, 7)
    assert comparison.verdict == "better"
    assert comparison.wins is comparison.superiority is None
    assert comparison.difference.values == {}
    assert comparison.p < 1e-3
    assert comparison.difference.level == 0.95
    assert comparison.unpaired_seeds == []
    assert comparison.sentence.startswith("muon is better than adam: validation loss lower by")
    assert "5 against 7 runs, p < 0.001)" in comparison.sentence
    assert (
        "5 of 5 runs reached and held validation loss 3.2798; 3 of 7 of the baseline's did."
        in comparison.sentence
    )


def test_seeds_of_unpaired_runs_mean_nothing():
    other = [
        RunRecord(run.arm, 100 + run.seed, run.status, run.epochs, run.result)
        for run in measured("muon", LOWER)[::-1]
    ]
    one = of_loss(measured("adam", LOSSES), measured("muon", LOWER), paired=False)
    two = of_loss(measured("adam", LOSSES), other, paired=False)
    assert one.verdict == two.verdict


def test_few_or_failed_unpaired_runs():
    few = of_loss(measured("adam", LOSSES), measured("muon", LOWER[:4]), paired=False)
    assert "Too few runs to tell muon from adam: 4 against 7 runs" in few.verdict
    assert "at least 5 of each" in few.verdict
    assert "are needed; so far validation loss -0.012" in few.verdict
    lost = [RunRecord("muon", k, "diverged", [], {}) for k in range(3)]
    none = of_loss(measured("adam", LOSSES), lost, paired=False)
    assert none.comparisons[0].verdict == "too_few_runs"
    assert "No run of muon or none of adam trained" in none.verdict
    some = of_loss(measured("adam", LOSSES), [*measured("muon", LOWER), *[
        RunRecord("muon", 50, "diverged", [], {})]], paired=False)  # fmt: skip
    assert some.comparisons[0].verdict == "better"
    assert "1 of 8 runs of muon" in some.verdict
    assert some.verdict.endswith("The difference is among runs that trained.")


def test_arms_against_a_number():
    summary = of_loss(
        measured("adam", LOSSES), measured("muon", LOWER), baseline=3.28, paired=False
    )
    assert (summary.design, summary.reference, summary.baseline) == (
        "number",
        3.28,
        "3.28",
    )
    adam, muon = summary.comparisons
    assert (adam.verdict, muon.verdict) == ("undecided", "better")
    assert adam.sentence.startswith(
        "Undecided between adam's mean validation loss and 3.28: difference -0.00003"
    )
    assert muon.sentence.startswith("muon's mean validation loss is below 3.28 by 0.0120")
    assert (muon.wins, muon.losses, muon.time_to_target) == (7, 0, None)
    values = [loss - 3.28 for loss in LOWER]
    assert muon.difference.mean == pytest.approx(np.mean(values))
    assert summary.target.value == 3.28
    assert summary.arms[1].time_to_target.reached == 7


def test_seeds_are_added_after_looking_only_where_arms_are_compared():
    with pytest.raises(InputError, match="auto needs a baseline that is an arm"):
        of_loss(measured("b", LOWER), baseline=3.28, cap=10)


def test_a_unit_stands_behind_the_values():
    runs = [
        RunRecord(arm, k, "finished", [{"took": t}], {"final": {"took": t}})
        for arm, shift in (("old", 0.0), ("new", -5.0))
        for k, t in enumerate(x + shift for x in (61.2, 60.8, 61.9, 60.1, 61.0, 61.4))
    ]
    summary = of_loss(
        runs, metric=Metric(name="took", mode="min", unit="s"), baseline="old", paired=False
    )
    assert "new is better than old: took lower by 5.00\N{NO-BREAK SPACE}s (" in summary.verdict
    assert LOSS.label == "validation loss"


def test_a_side_at_the_cap_leaves_the_others_their_runs_up_to_the_last_look():
    rng = np.random.default_rng(4)
    # The baseline's noise fills its side first; with such a margin, no arm is given up.
    spreads = {"old": 9, "new": 1, "next": 1}
    records = [*runs({arm: sd * rng.normal(size=40) for arm, sd in spreads.items()})]
    asked = {"baseline": "old", "seeds": tuple(range(12)), "metric": SCORE, "paired": False}
    study = Study(name="x", arms=("old", "new", "next"), cap=12, margin=8.0, **asked)
    found = collect(study, TableSource(records, "score", "", ""))
    full = [max(look.runs.values()) == 12 for look in found.looks]
    assert full.index(True) < len(full) - 1
    assert found.looks[-1].n == 12
    assert set(found.looks[-1].runs.values()) == {12}
    numbers = [look.n for look in found.looks]
    assert numbers == sorted(set(numbers))


def test_the_other_design_on_the_same_runs_counts_twice():
    rng = np.random.default_rng(0)
    old = rng.normal(size=8)
    records = [*runs({"old": old, "new": old + 0.7 + 0.5 * rng.normal(size=8)})]
    asked = {"baseline": "old", "seeds": tuple(range(8)), "metric": SCORE}
    pairs, apart = (
        Study(name="x", arms=("old", "new"), paired=paired, **asked) for paired in (True, False)
    )

    def judged(study, before=None):
        found = collect(study, TableSource(records, "score", "", ""))
        return analyse(study.after(before, found.records), found)

    first = judged(pairs)
    second = judged(apart, first)
    third = judged(pairs, second)
    again = judged(pairs, third)
    corrected = [s.corrected_for for s in (first, judged(pairs, first), second, third, again)]
    assert corrected == [1, 1, 2, 2, 2]
    assert third.comparisons[0].p_holm == pytest.approx(2 * first.comparisons[0].p_holm)
    assert "corrected for 2 comparisons" in third.verdict


def test_seeds_are_added_until_the_corrected_comparison_is_decided():
    rng = np.random.default_rng(3)
    records = [*runs({f"a{k}": rng.normal(3 * (k == 5), 1, size=40) for k in range(6)})]
    asked = {"baseline": "a0", "metric": SCORE}
    many = Study(name="x", arms=tuple(f"a{k}" for k in range(6)), seeds=tuple(range(6)), **asked)
    early = [record for record in records if record.seed < 6]
    before = analyse(many, collect(many, TableSource(early, "score", "", "")))
    one = Study(name="x", arms=("a0", "a5"), seeds=tuple(range(20)), cap=20, **asked)
    source = TableSource(records, "score", "", "")
    alone, told = collect(one, source), collect(one, source, before=before)
    assert len(told.looks) > len(alone.looks)
    (last,) = analyse(one.after(before, told.records), told).comparisons
    assert last.verdict == "better"
    assert last.decided_at == told.looks[-1].n
    (early,) = analyse(one.after(before, alone.records), alone).comparisons
    assert early.verdict == "too_few_runs"
