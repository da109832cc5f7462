"""Several data sets: what holds on all of them, and the mean difference, beside oracles."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from support.summaries import summarize

from clr_cli.analysis import looks
from clr_cli.analysis.across import check_alike, combine
from clr_cli.analysis.expectation import Expect, verdict_on_all
from clr_cli.analysis.study import Study
from clr_cli.analysis.summary import analyse
from clr_cli.errors import InputError
from clr_cli.records import Combination, DataSet, Look, Metric, RunRecord, Summary
from clr_cli.study.collect import collect
from clr_cli.study.table import TableSource

LOSS = Metric(name="val_loss", mode="min")
SCORE = Metric(name="score", mode="max")
EVEN = np.array([-3.0, -1.0, 0.0, 0.0, 1.0, 3.0])  # no skewness: the interval is Student's


def runs(arms, metric=SCORE):
    """Runs of arms: name -> final values; NaN for a run that diverged."""
    for arm, values in arms.items():
        for seed, value in enumerate(values):
            final = {"final": {metric.name: float(value)}} if np.isfinite(value) else {}
            status = "finished" if final else "diverged"
            yield RunRecord(arm, seed, status, [{metric.name: float(value)}], final)


def data_set(name, arms, *, metric=SCORE, baseline="old", margin=None, paired=True):
    summary = summarize(
        *(runs(arms, metric),), baseline=baseline, metric=metric, margin=margin, paired=paired
    )
    return DataSet(name=name, folder=f"../{name}/compare", summary=summary)


def two(first, second, spread=0.1, **more):
    """Two data sets where new is ahead of old by so much, and varies evenly."""
    old = np.linspace(5, 6, len(EVEN))
    return [
        data_set(name, {"old": old, "new": old + ahead + spread * EVEN}, **more)
        for name, ahead in (("x", first), ("y", second))
    ]


@pytest.mark.parametrize(
    ("ahead", "holds", "said"),
    [
        ((2.0, 3.0), "better", "new is better than old on both data sets"),
        ((-2.0, -3.0), "worse", "new is worse than old on both data sets"),
        ((2.0, -3.0), "mixed", "better than old on 1 (x), worse than old on 1 (y) of 2 data sets"),
        ((2.0, 0.0), "undecided", "better than old on 1 (x), undecided on 1 (y) of 2 data sets"),
        ((0.0, 0.0), "undecided", "new is undecided on both data sets"),
    ],
)
def test_it_holds_on_all_if_it_holds_on_each(ahead, holds, said):
    data_sets = two(*ahead)
    (new,) = combine("both", data_sets).arms
    each = [data.summary.comparisons[0].verdict for data in data_sets]
    assert new.holds == holds
    assert new.counts == {verdict: each.count(verdict) for verdict in each}
    assert said in new.sentence
    every = verdict_on_all({data.name: data.summary for data in data_sets}, Expect.BETTER)
    assert every[0] == {"better": 0, "undecided": 3, "worse": 4, "mixed": 4}[holds]


def test_what_is_not_as_expected_is_named_with_its_data_sets():
    data_sets = {data.name: data.summary for data in two(2.0, -3.0)}
    said = "--expect better than old does not hold for new on y"
    assert verdict_on_all(data_sets, Expect.BETTER) == (4, said)


@pytest.mark.parametrize("metric", [SCORE, LOSS])
def test_the_mean_difference_has_students_interval_with_satterthwaites_freedom(metric):
    old = np.linspace(5, 6, len(EVEN))
    new = {"x": old + 0.3 + 0.1 * EVEN, "y": old - 0.1 + 0.2 * EVEN, "z": old + 0.05 * EVEN}
    sets = [data_set(k, {"old": old, "new": v}, metric=metric) for k, v in new.items()]
    mean = combine("three", sets).arms[0].mean
    errors = np.array([(v - old).var(ddof=1) / len(EVEN) for v in new.values()])
    freedom = errors.sum() ** 2 / (errors**2 / (len(EVEN) - 1)).sum()
    half = stats.t.ppf(0.975, freedom) * np.sqrt(errors.sum()) / 3
    middle = np.mean([0.3, -0.1, 0.0])
    assert mean.level == 0.95
    assert (mean.mean, mean.low, mean.high) == pytest.approx((middle, middle - half, middle + half))


def test_the_means_of_several_arms_are_corrected_as_on_one_data_set():
    rng = np.random.default_rng(0)
    old = rng.normal(size=8)
    arms = {"old": old, "near": old + np.tile(EVEN[1:-1], 2), "far": old + 9 + rng.normal(size=8)}
    near, far = combine("both", [data_set("x", arms), data_set("y", arms)]).arms
    assert (far.mean_verdict, far.mean.level) == ("better", 1 - 0.05 / 2)
    assert (near.mean_verdict, near.mean.level) == ("undecided", 0.95)  # Holm's second step


def test_the_best_on_every_data_set_could_be_the_best_on_each():
    rng = np.random.default_rng(1)
    base = rng.normal(size=8)

    def arms(*ahead):
        values = (base + each + rng.normal(0, 0.1, 8) for each in ahead)
        return dict(zip(("old", "a", "b"), values, strict=True))

    x, y, z = (
        data_set(n, arms(*v)) for n, v in {"x": (0, 5, 5), "y": (0, 5, 1), "z": (0, 1, 5)}.items()
    )
    assert combine("xy", [x, y]).best == ["a"]
    assert (
        "a could be the best on every data set (95 % certainty on each)."
        in combine("xy", [x, y]).verdict
    )
    assert combine("yz", [y, z]).best == []
    assert "No arm could be the best on every data set." in combine("yz", [y, z]).verdict
    assert combine("two", two(1.0, 1.0)).best is None


def looked_at(name, old, new, *, paired=True):
    """A comparison that adds seeds until it is decided, at most as many as there are values."""
    records, cap = [*runs({"old": old, "new": new})], len(old)
    asked = {"baseline": "old", "seeds": tuple(range(cap)), "metric": SCORE, "cap": cap}
    study = Study(name=name, arms=("old", "new"), paired=paired, **asked)
    found = collect(study, TableSource(records, "score", "", ""))
    return DataSet(name=name, folder=name, summary=analyse(study, found))


@pytest.mark.slow
@pytest.mark.parametrize("paired", [True, False])
def test_after_looks_the_interval_of_the_mean_misses_it_in_at_most_5_percent(paired):
    rng, trials, misses = np.random.default_rng(int(paired)), 150, 0
    for _ in range(trials):
        sets = [
            looked_at(name, rng.normal(size=16), rng.normal(ahead, size=16), paired=paired)
            for name, ahead in (("x", 0.7), ("y", 0.7), ("z", 0.0))
        ]
        mean = combine("three", sets).arms[0].mean
        misses += not mean.low <= 1.4 / 3 <= mean.high
    assert misses <= 0.05 * trials


def test_after_looks_the_mean_takes_the_runs_and_the_level_of_the_looks_that_decided():
    rng = np.random.default_rng(6)
    old = rng.normal(size=12)
    faint, clear = old + 1 + rng.normal(size=12), old + 9 + rng.normal(size=12)
    sets = [looked_at("clear", old, clear), looked_at("faint", old, faint)]
    first, last = (data.summary.comparisons[0].decided_at for data in sets)
    assert first == 6 < last < 12
    (new,) = combine("both", sets).arms
    assert new.mean.level == pytest.approx(
        1 - 0.05 * min(looks.weight(n, 12) for n in (first, last))
    )
    expected = [(clear - old)[:first].mean(), (faint - old)[:last].mean()]
    assert new.mean.mean == pytest.approx(np.mean(expected))


def test_after_looks_the_mean_is_that_of_the_printed_differences_though_a_seed_failed_everywhere():
    rng = np.random.default_rng(7)
    sets = []
    for name in ("x", "y"):
        arms = {arm: rng.normal(ahead, size=20) for arm, ahead in (("old", 0), ("a", 9), ("b", 1))}
        for values in arms.values():
            values[1] = np.nan
        asked = {"seeds": tuple(range(20)), "metric": SCORE, "cap": 20, "paired": False}
        study = Study(name=name, arms=tuple(arms), baseline="old", **asked)
        found = collect(study, TableSource([*runs(arms)], "score", "", ""))
        sets.append(DataSet(name=name, folder=name, summary=analyse(study, found)))
        one, other = sets[-1].summary.comparisons
        assert one.n_baseline < other.n_baseline
    printed = [data.summary.comparisons[0].difference.mean for data in sets]
    assert combine("both", sets).arms[0].mean.mean == pytest.approx(np.mean(printed))


def test_an_arm_that_stayed_open_counts_with_all_of_its_runs_at_the_last_look():
    rng = np.random.default_rng(10)
    old = rng.normal(size=12)
    clear, open_ = old + 9 + rng.normal(size=12), old + 0.8 + rng.normal(size=12)
    sets = [looked_at("clear", old, clear), looked_at("open", old, open_)]
    assert [data.summary.comparisons[0].decided_at for data in sets] == [6, None]
    (new,) = combine("both", sets).arms
    weight = min(looks.weight(6, 12), looks.weight(12, 12))
    assert new.mean.level == pytest.approx(1 - 0.05 * weight)
    assert new.mean.mean == pytest.approx(np.mean([(clear - old)[:6].mean(), (open_ - old).mean()]))
    (new,) = combine("twice", [sets[1], sets[1]]).arms
    assert new.mean.level == pytest.approx(1 - 0.05 * looks.weight(12, 12))


def test_a_decided_arm_is_compared_with_the_baseline_as_it_was_at_its_look():
    rng = np.random.default_rng(3)
    values = {
        "old": rng.normal(size=16),
        "clear": rng.normal(9, 1, 12),
        "open": rng.normal(1, 1, 12),
    }
    asked = {"baseline": "old", "seeds": tuple(range(12)), "metric": SCORE, "cap": 12}
    study = Study(name="x", arms=tuple(values), paired=False, **asked)
    summary = analyse(study, collect(study, TableSource([*runs(values)], "score", "", "")))
    clear, open_ = summary.comparisons
    assert clear.decided_at == 6 < len(summary.looks) + 5
    assert clear.n_baseline < open_.n_baseline
    data = DataSet(name="x", folder="x", summary=summary)
    for arm, alone in zip(combine("both", [data, data]).arms, (clear, open_), strict=True):
        assert arm.mean.mean == pytest.approx(alone.difference.mean)


def test_looks_at_more_runs_than_there_are_do_not_count():
    rng = np.random.default_rng(10)
    old, _ = rng.normal(size=12), rng.normal(size=12)
    data = looked_at("open", old, old + 0.8 + rng.normal(size=12))
    assert data.summary.comparisons[0].decided_at is None
    later = Look(n=20, runs={"old": 20, "new": 20})
    longer = data.summary.model_copy(update={"looks": [*data.summary.looks, later], "last": 30})
    (new,) = combine("both", [data.model_copy(update={"summary": longer})] * 2).arms
    assert new.mean.level == pytest.approx(1 - 0.05 * looks.weight(12, 30))


def test_means_are_corrected_for_the_most_comparisons_and_equal_within_the_least_margin():
    old = np.linspace(5, 6, len(EVEN))
    arms = {"old": old, "new": old + 0.02 * EVEN}
    wide, narrow = (data_set(n, arms, margin=m) for n, m in (("x", 0.5), ("y", 0.2)))
    (new,) = combine("both", [wide, narrow]).arms
    assert (new.mean_verdict, new.mean.level) == ("equivalent", 0.95)
    least = max(abs(new.mean.low), abs(new.mean.high))
    edge = [data_set(n, arms, margin=m) for n, m in (("x", 0.5), ("y", 0.9 * least))]
    assert combine("both", edge).arms[0].mean_verdict == "undecided"
    none = data_set("z", arms)
    assert combine("both", [wide, none]).arms[0].mean_verdict == "undecided"
    chosen = wide.model_copy(
        update={"summary": wide.summary.model_copy(update={"corrected_for": 3})}
    )
    for pair in ([chosen, narrow], [narrow, chosen]):
        assert combine("both", pair).arms[0].mean.level == pytest.approx(1 - 0.05 / 3)


def test_a_seed_that_changes_nothing_on_one_data_set_leaves_no_claim():
    still = data_set("still", {"old": [1.0] * 6, "new": [2.0] * 6})
    (new,) = combine("both", [two(2.0, 2.0)[0], still]).arms
    assert (new.mean_verdict, new.mean.low) == ("seed_changes_nothing", None)
    few = data_set("few", {"old": [1.0] * 3, "new": [2.0] * 3})
    assert combine("both", [still, few]).arms[0].mean_verdict == "too_few_runs"


def test_after_looks_at_arms_against_a_number_the_mean_takes_the_look_that_decided():
    rng = np.random.default_rng(2)
    sets, values = [], 19 + rng.normal(size=8)
    for name in ("x", "y"):
        study = Study(name=name, arms=("new",), baseline=5.0, seeds=tuple(range(8)), metric=SCORE,
                      past=(Look(n=6, runs={"new": 6}),))  # fmt: skip
        found = collect(study, TableSource([*runs({"new": values})], "score", "", ""))
        sets.append(DataSet(name=name, folder=name, summary=analyse(study, found)))
        assert sets[-1].summary.comparisons[0].decided_at == 6
    (new,) = combine("both", sets).arms
    assert new.mean.mean == pytest.approx(values[:6].mean() - 5)


def test_before_the_first_look_nothing_is_claimed_of_a_mean():
    old = np.linspace(5, 6, 5)
    new = old + 9 + 0.1 * EVEN[:5]
    few = data_set("x", {"old": old[:4], "new": new[:4]}).summary
    assert few.comparisons[0].verdict == "better"
    few = few.model_copy(update={"looks": [Look(n=4, runs={"old": 4, "new": 4})]})
    records = [*runs({"old": old, "new": new})]
    asked = {"seeds": tuple(range(5)), "metric": SCORE}
    study = Study(name="x", arms=("old", "new"), baseline="old", **asked).after(few, records)
    found = analyse(study, collect(study, TableSource(records, "score", "", "")))
    (comparison,) = found.comparisons
    assert comparison.verdict == "too_few_runs"
    why = "5 paired seeds, at least 6 are needed, because seeds were added after a look; so far"
    assert why in comparison.sentence
    with np.errstate(all="raise"):
        (both,) = combine("both", [DataSet(name=n, folder=n, summary=found) for n in "xy"]).arms
    assert (both.mean.low, both.mean_verdict) == (None, "too_few_runs")


def test_what_holds_of_a_mean_is_said_with_its_side():
    (up,) = combine("both", two(2.0, 3.0)).arms
    assert "; on average score higher by 2.5" in up.sentence
    (down,) = combine("both", two(-2.0, -3.0)).arms
    assert "; on average score lower by 2.5" in down.sentence
    (open_,) = combine("both", two(0.0, 0.0)).arms
    assert open_.sentence.startswith("new is undecided on both data sets; on average score 0.00")
    assert open_.sentence.endswith(").")
    (mixed,) = combine("three", [*two(2.0, -3.0), *two(2.0, 2.0)[:1]]).arms
    assert mixed.holds == "mixed"


def test_too_few_runs_or_none_on_one_data_set_leave_no_interval():
    few = data_set("few", {"old": [1.0, 1.1, 1.3], "new": [2.0, 2.2, 2.1]})
    none = data_set("none", {"old": [1.0, 1.1, 1.3, 1.2], "new": [np.nan] * 4})
    for other, mean in ((few, True), (none, False)):
        combination = combine("both", [two(2.0, 2.0)[0], other])
        (new,) = combination.arms
        assert (new.holds, new.mean_verdict) == ("undecided", "too_few_runs")
        assert (new.mean.mean is not None, new.mean.low, new.mean.high) == (mean, None, None)
        assert Combination.model_validate(combination.plain()) == combination
    assert "4 of 20 runs failed to train." in combination.verdict


def test_runs_that_are_stuck_are_in_no_mean():
    rng = np.random.default_rng(2)
    old, new = rng.normal(0.8, 0.01, 8), rng.normal(0.9, 0.01, 8)
    new[3] = 0.1  # far outside the others
    x = data_set("x", {"old": old, "new": new})
    combination = combine("both", [x, x])
    assert combination.arms[0].mean.mean == pytest.approx(np.delete(new - old, 3).mean())
    assert "2 of 32 runs are stuck." in combination.verdict


def test_means_against_a_number_are_above_or_below_it():
    values = {"new": 2 + 0.1 * EVEN}
    x = data_set("x", values, baseline=3.0, metric=LOSS)
    assert "new's mean validation loss is below 3 on both data sets" in combine("b", [x, x]).verdict


def study(**changes) -> Study:
    asked = {"name": "s", "arms": ("old", "new"), "baseline": "old", "seeds": (0,)}
    return Study(**(asked | changes))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"arms": ("old", "new", "more")}, "more is an arm on y, not on x"),
        ({"arms": ("old",)}, "new is an arm on x, not on y: every data set needs the same arms"),
        ({"baseline": "new"}, "the baseline is old on x and new on y"),
        ({"paired": False}, "the design is paired: "),
        (
            {"metric": Metric(name="test_accuracy", mode="max")},
            "the unit of test_accuracy is % on x",
        ),
    ],
)
def test_data_sets_that_are_not_asked_the_same_are_refused(changes, said):
    with pytest.raises(InputError) as refused:
        check_alike({"x": study(), "y": study(**changes)})
    assert said in str(refused.value)
    check_alike({"x": study(), "y": study(arms=("new", "old"), seeds=(0, 1))})


def test_arms_may_come_in_another_order():
    old = np.linspace(5, 6, 6)
    a, b = old + 1 + 0.1 * EVEN, old - 1 + 0.1 * EVEN
    sets = [
        data_set("x", {"old": old, "a": a, "b": b}),
        data_set("y", {"old": old, "b": b, "a": a}),
    ]
    assert {arm.arm: arm.holds for arm in combine("both", sets).arms} == {
        "a": "better",
        "b": "worse",
    }
    assert isinstance(combine("both", sets).first, Summary)
