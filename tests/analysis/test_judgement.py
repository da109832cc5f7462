"""Every arm's judgement is the rule's, in the metric's direction, at the look that decided it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from clr_cli.analysis import best, designs, looks, verdicts
from clr_cli.analysis.judgement import choose_best, final_values, first_look, judge, next_counts
from clr_cli.analysis.study import Study
from clr_cli.analysis.summary import analyse
from clr_cli.records import TEST_ACCURACY, Look, Metric, RunRecord
from clr_cli.study.collect import collect
from clr_cli.study.table import TableSource

RNG = np.random.default_rng
SCORE, LOSS = Metric(name="score", mode="max"), Metric(name="loss", mode="min")


def study(**changes) -> Study:
    asked = {"name": "s", "arms": ("a", "b", "c"), "baseline": "a", "seeds": tuple(range(8))}
    return Study(**(asked | {"metric": SCORE} | changes))


def values(arms: str = "abc", runs: int = 8, step: float = 1.0) -> dict[str, dict[int, float]]:
    """Each arm is a step above the one before."""
    rows = RNG(len(arms)).normal(size=(len(arms), runs)) + step * np.arange(len(arms))[:, None]
    return {arm: dict(enumerate(row)) for arm, row in zip(arms, rows.tolist(), strict=True)}


@pytest.mark.parametrize("metric", [SCORE, LOSS])
@pytest.mark.parametrize("design", ["paired", "unpaired", "number"])
def test_a_judgement_is_the_rules_in_the_metrics_direction(metric, design):
    known = values(step=1.5)
    del known["b"][3]
    asked = study(metric=metric, paired=design == "paired", looked_at=4)
    if design == "number":
        asked = study(metric=metric, baseline=0.5, arms=("b", "c"), looked_at=4)
        del known["a"]
    judged = judge(asked, known)
    x = metric.sign * np.array([[known[arm].get(k, np.nan) for k in range(8)] for arm in "bc"])
    base = np.full(8, metric.sign * 0.5)
    if design != "number":
        base = metric.sign * np.array([*known["a"].values()])
    estimate = (designs.unpaired if design == "unpaired" else designs.paired)(x, base)
    if design == "number":
        estimate = designs.against(x, metric.sign * 0.5)
    said = verdicts.claims(estimate, comparisons=3)
    p, adjusted = verdicts.p_holm(estimate, comparisons=3)
    assert [*judged] == ["b", "c"]
    for k, (arm, found) in enumerate(judged.items()):
        ends, own = sorted([found.low, found.high]), estimate.interval(0.05)
        flipped = sorted([metric.sign * said.low[k], metric.sign * said.high[k]])
        assert ends == pytest.approx(flipped)
        assert sorted(metric.sign * end for end in found.own) == pytest.approx(
            [own[0][k], own[1][k]]
        )
        assert (found.p, found.p_holm) == pytest.approx((p[k], adjusted[k]))
        assert found.level == pytest.approx(1 - said.level[k])
        assert found.verdict == verdicts.verdict(said.low[k], said.high[k])
        assert found.mean == pytest.approx(metric.sign * estimate.mean[k])
        assert found.n == len(known[arm])
        sides = [x[k] - base] if design != "unpaired" else [x[k], base]
        assert found.spreads == pytest.approx([np.nanstd(side, ddof=1) for side in sides])
        assert found.n_baseline == (8 if design == "unpaired" else None)
        expected = {
            seed: metric.sign * (x[k][seed] - base[seed])
            for seed in known[arm]
            if design != "unpaired"
        }
        assert found.differences == pytest.approx(expected)
        assert (found.decided_at, found.futile, found.is_open) == (None, False, True)


def test_runs_are_paired_by_their_seeds_also_by_those_that_were_not_asked_for():
    known = {"a": {2: 1.0, 9: 4.0, 0: 0.0}, "b": {9: 5.0, 0: 2.0, 4: 1.0, 2: 4.0}}
    found = judge(study(arms=("a", "b"), seeds=(0, 2)), known)["b"]
    assert found.differences == {0: 2.0, 2: 3.0, 9: 1.0}
    assert (found.n, found.mean, found.verdict) == (3, 2.0, "too_few_runs")
    assert (found.p, found.low, found.high) == (None, -math.inf, math.inf)
    assert judge(study(arms=("a",)), known) == {}


def test_without_runs_of_one_side_there_is_no_mean():
    for known in ({"a": {}, "b": {0: 1.0}}, {"a": {0: 1.0}, "b": {}}):
        found = judge(study(arms=("a", "b"), paired=False), known)["b"]
        assert math.isnan(found.mean)
        assert (found.low, found.high, found.verdict) == (-math.inf, math.inf, "too_few_runs")


@pytest.mark.parametrize("paired", [True, False])
def test_an_arm_is_judged_by_the_runs_of_the_look_that_decided_it(paired):
    known = values("abcd", 14, step=2.0)
    known["d"] = {seed: known["a"][seed] + 0.3 * (-1) ** seed for seed in range(14)}
    options = {"cap": 14, "last": 9, "margin": 0.9}
    seeds = tuple(range(14))
    asked = study(arms=tuple("abcd"), seeds=seeds, paired=paired, looked_at=6, **options)
    seen = [Look(n=n, runs=dict.fromkeys("abcd", n)) for n in range(6, 11)]
    judged = judge(asked, known, seen)
    design = designs.paired if paired else designs.unpaired
    x = np.array([[*known[arm].values()] for arm in "bcd"])
    progress = looks.replay(
        x,
        [*known["a"].values()],
        [looks.Look(n, [n] * 3, n) for n in range(6, 11)],
        design,
        comparisons=5,
        **options,
    )[-1]
    assert len({*progress.at.tolist()}) > 1
    for k, found in enumerate(judged.values()):
        at = progress.at[k]
        assert found.decided_at == (at or None)
        assert found.n == (at or 10)
        assert (found.low, found.high) == (progress.low[k], progress.high[k])
        assert found.level == 1 - progress.level[k]
        assert found.futile == (progress.state[k] == looks.HOPELESS)
        assert (found.p, found.p_holm) == (None, None)
        count = found.n
        expected = np.mean(x[k][:count]) - np.mean([*known["a"].values()][:count])
        assert found.mean == pytest.approx(expected)


def test_an_arm_that_was_given_up_with_too_few_runs_says_so():
    known = values("ab", 6, step=0.0)
    asked = study(arms=("a", "b"), cap=14)
    six = [Look(n=6, runs={"a": 6, "b": 6})]
    assert judge(asked, known, six)["b"].verdict == "undecided"
    chosen = study(arms=("a", "b"), cap=14, looked_at=6)
    assert judge(chosen, known, six)["b"].verdict == "too_few_runs"


# --- the next runs --------------------------------------------------------------------------


def test_the_first_look_is_at_six_runs_and_eight_of_a_baseline_of_several():
    assert first_look(study()) == Look(n=6, runs={"a": 6, "b": 6, "c": 6})
    assert first_look(study(paired=False)).runs == {"a": 8, "b": 6, "c": 6}
    assert first_look(study(paired=False, arms=("a", "b"))).runs == {"a": 6, "b": 6}


@pytest.mark.parametrize("paired", [True, False])
def test_the_next_runs_are_of_open_arms(paired):
    known = values(runs=12, step=0.0)
    for arm, ahead in (("b", 1.8), ("c", 20)):
        known[arm] = {seed: value + ahead for seed, value in known[arm].items()}
    asked = study(paired=paired, cap=12, seeds=tuple(range(12)))
    now = first_look(asked)
    judged = judge(asked, known, [now])
    assert (judged["b"].is_open, judged["c"].decided_at) == (True, 6)
    there = {arm: {k: v for k, v in each.items() if k < now.runs[arm]}
             for arm, each in known.items()}  # fmt: skip
    after = next_counts(asked, there, judged, now)
    assert after.n == 7
    assert after.runs["c"] == 6
    if paired:
        assert after.runs == {"a": 7, "b": 7, "c": 6}
    else:
        assert sum(after.runs.values()) == sum(now.runs.values()) + 2  # open arms and one
        full = Look(n=20, runs={"a": 12, "b": 11, "c": 6})
        more = next_counts(asked, known, judged, full)
        assert more.runs["a"] == 12
        assert 11 <= more.runs["b"] <= 12


# --- the best, and what is judged -----------------------------------------------------------


@pytest.mark.parametrize("metric", [SCORE, LOSS])
@pytest.mark.parametrize("paired", [True, False])
def test_the_best_arms_are_those_of_the_rule(metric, paired):
    rng = RNG(584)  # where weight and design change which arms are left
    table = rng.normal(size=(4, 9)) + 1.2 * np.arange(4)[:, None] + rng.normal(size=9)
    known = {arm: dict(enumerate(row)) for arm, row in zip("abcd", table.tolist(), strict=True)}
    asked = study(arms=tuple("abcd"), metric=metric, paired=paired)
    table, left = metric.sign * table, set[tuple[str, ...]]()
    design = designs.paired if paired else designs.unpaired
    for seen, weight in (((), 1.0), ((Look(n=9, runs=dict.fromkeys("abcd", 9)),), looks.weight(9))):
        found = choose_best(asked, known, seen)
        could = best.could_be_best(table, design, weight=weight)
        assert found.arms == [arm for arm, kept in zip("abcd", could, strict=True) if kept]
        left.add(tuple(found.arms))
        assert found.winner == "abcd"[table.mean(axis=1).argmax()]
        assert found.optimism == float(best.optimism(table, paired=paired))
        chances = best.probabilities(table, paired=paired)
        assert [*found.probabilities.values()] == pytest.approx(chances.tolist(), rel=1e-3)
    assert len(left) == 2
    assert choose_best(study(arms=("a", "b")), known) is None
    assert choose_best(asked, {**known, "c": {}}) is None


def test_an_arm_is_out_at_5_percent_and_the_winner_is_of_the_best_mean():
    rows = RNG(2).normal(size=(3, 8)) + np.array([[0.0], [0.5], [2.0]])
    ahead = designs.paired(rows[1:], rows[0]).interval(2 * 0.05 / 2)[0].max()
    for gap, kept in ((-1e-6, False), (1e-6, True)):
        table = rows + np.array([[ahead + gap], [0.0], [0.0]])
        known = {arm: dict(enumerate(row)) for arm, row in zip("abc", table.tolist(), strict=True)}
        assert ("a" in choose_best(study(), known).arms) == kept
    spread = {"a": [9.0, 0.0, 0.5], "b": [4.0, 4.5, 5.0], "c": [1.0, 2.0, 3.0]}
    known = {arm: dict(enumerate(row)) for arm, row in spread.items()}
    assert choose_best(study(), known).winner == "b"


def test_of_runs_that_are_stuck_fewer_than_half_are_left_out():
    def records(stuck: int) -> list[RunRecord]:
        finals = [0.1] * stuck + [0.9 + 0.001 * k for k in range(8 - stuck)]
        return [
            RunRecord("a", k, "finished", [], {"final": {TEST_ACCURACY.name: value}})
            for k, value in enumerate(finals)
        ]

    asked = study(arms=("a",), metric=TEST_ACCURACY, chance=0.1)
    for count, kept in ((0, 8), (1, 7), (3, 5), (4, 8), (8, 8)):
        found, stuck = final_values(asked, [*records(count), RunRecord("a", 9, "failed", [], {})])
        assert len(found["a"]) == kept
        assert [each.seed for each in stuck["a"]] == [*range(count)]


@pytest.mark.parametrize(
    ("old", "new", "verdict"),
    [
        (lambda k: 0.5 + 0.01 * k, None, "too_few_runs"),
        (lambda k: 0.5, lambda k: 0.6, "seed_changes_nothing"),
        (lambda k: 0.5 + 0.01 * k, lambda k: 0.5 + 0.01 * k, "identical"),
    ],
)
def test_an_arm_of_which_more_runs_show_nothing_is_given_up_long_before_the_cap(old, new, verdict):
    records = [
        RunRecord(arm, k, "finished" if of else "diverged", [], {"final": {"score": of and of(k)}})
        for arm, of in (("a", old), ("b", new))
        for k in range(30)
    ]
    told: list[str] = []
    auto = study(arms=("a", "b"), cap=30, seeds=tuple(range(30)))
    found = collect(auto, TableSource(records, "score", "", ""), notify=told.append)
    assert len(found.records) == 2 * 8
    assert told[-1] == "look 3, 8 seeds: more seeds would hardly show a difference for b"
    (comparison,) = analyse(auto, found).comparisons
    assert comparison.verdict == verdict


# --- the margin -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "center", "given", "margin"),
    [
        (TEST_ACCURACY, 0.99, {"default_margin": 0.005}, 0.001),  # a tenth of the error
        (TEST_ACCURACY, 0.5, {"default_margin": 0.005}, 0.005),
        (TEST_ACCURACY, 0.99, {"margin": 0.005}, 0.005),
        (SCORE, 0.99, {"margin": 0.005}, 0.005),
    ],
)
def test_only_a_default_margin_is_at_most_a_tenth_of_the_baselines_error(
    metric, center, given, margin
):
    records = [
        RunRecord(arm, k, "finished", [], {"final": {metric.name: center + 0.001 * (k - 2.5)}})
        for arm in "ab"
        for k in range(6)
    ]
    asked = study(arms=("a", "b"), metric=metric, **given, detect=0.02, seeds=tuple(range(6)))
    found = analyse(asked, collect(asked, TableSource(records, metric.name, "", "")))
    assert found.margin == pytest.approx(margin)
    assert (found.detect, found.corrected_for, found.last, found.rule) == (0.02, 1, None, "fixed")
    none = analyse(
        study(arms=("a", "b"), metric=metric, seeds=tuple(range(6))),
        collect(asked, TableSource(records, metric.name, "", "")),
    )
    assert none.margin is None


def test_seeds_are_added_until_the_margin_of_the_verdict_decides():
    rng = np.random.default_rng(1)
    records = [
        RunRecord(arm, seed, "finished", [], {"final": {"test_accuracy": 0.95 + 0.004 * noise}})
        for arm in "ab"
        for seed, noise in enumerate(rng.normal(size=30))
    ]
    asked = {"arms": ("a", "b"), "metric": TEST_ACCURACY, "cap": 30, "seeds": tuple(range(30))}
    counts = []
    for margin in ({"margin": 0.01}, {"default_margin": 0.01}):  # which is lowered to 0.005
        auto = study(**asked, **margin)
        found = analyse(auto, collect(auto, TableSource(records, "test_accuracy", "", "")))
        (comparison,) = found.comparisons
        assert comparison.verdict == "equivalent"
        counts.append(found.looks[-1].n)
    assert counts[0] < counts[1]
