"""Looking early: the sequential test against enumeration, and what may be claimed of each arm."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from support.summaries import summarize

from clr_cli.analysis import sequential
from clr_cli.analysis.sequential import Decision, decide, looks, rejected, spent
from clr_cli.records import ControlledVariables

MARGIN = 0.001


def gain(mean, sd, n, seed=0):
    return (mean + sd * np.random.default_rng(seed).standard_normal(n)).tolist()


@pytest.mark.parametrize("mean", [0.0, 0.4, 0.8, 1.2])
@pytest.mark.parametrize("seed", range(4))
def test_one_look_is_the_exact_sign_flip_test_at_what_may_be_spent(mean, seed):
    values = np.array(gain(mean, 1.0, 8, seed))
    sums = np.abs(np.array(list(product([1, -1], repeat=8))) @ values)
    as_extreme = (sums >= abs(values.sum()) - 1e-9).mean()
    # floor: whole patterns of 4,096 fall out, and ties only together
    allowed = np.floor(4096 * spent(8)) / 4096
    assert rejected(values, [8]) == (as_extreme <= allowed)


@pytest.mark.parametrize("seed", range(3))
def test_over_all_signs_no_more_are_rejected_than_the_level_allows(seed):
    """The exact level of several looks: all sign patterns are equally likely under the null."""
    sizes = np.abs(gain(0, 1, 10, seed)) + 0.01
    signs = np.array(list(product([1, -1], repeat=9)))  # by symmetry the last may be +1
    rate = np.mean([rejected([*row, 1] * sizes, [6, 8, 10]) for row in signs])
    assert 0 < rate <= spent(10)


def test_what_may_be_spent_rises_and_never_reaches_the_level():
    amounts = [spent(n) for n in range(1, 2_000)]
    assert amounts == sorted(amounts)
    assert amounts[4] == 0
    assert 0.96 * 0.05 < spent(30) < amounts[-1] < 0.05


def test_equal_sizes_are_ties_that_fall_out_together():
    assert rejected([0.01] * 8, [8])
    assert not rejected([0.01] * 7 + [-0.01], [8])  # 9 of 256 are as extreme: over 1.9 %
    assert not rejected([0.0] * 30, looks(30))


def test_signs_of_a_seed_do_not_depend_on_how_many_there_are():
    few, many = sequential._signs(14), sequential._signs(20)
    assert (many[:, :14] == few).all()
    assert (few[0] == 1).all()
    assert len(np.unique(few[:, :12], axis=0)) == sequential.PATTERNS


def test_a_decision_is_final():
    values = gain(0.01, 0.008, 30, seed=3)
    decisions = []
    for last in looks(30):
        at = [n for n in looks(30) if n <= last]
        decisions.append(decide({"a": values[:last]}, {"a": at}, margin=MARGIN)["a"])
    first = next(d for d in decisions if d.seeds is not None)
    assert first.verdict == "better"
    assert decisions[decisions.index(first) :] == [first] * (12 - decisions.index(first))


def test_a_larger_number_of_arms_asks_for_more_and_a_claim_gives_it_back():
    strong, weak = gain(0.02, 0.004, 8), gain(0.0078, 0.005, 8, seed=4)
    at = {"strong": [8], "weak": [8], "none": [8], "null": [8]}
    null = {"none": gain(0, 0.01, 8, seed=8), "null": gain(0, 0.01, 8, seed=9)}
    alone = decide({"weak": weak}, {"weak": [8]}, margin=MARGIN)["weak"]
    among = decide({"weak": weak, **null}, at | {}, margin=MARGIN)["weak"]
    assert alone.verdict == "better"
    assert among.verdict == "no_difference"
    both = decide({"strong": strong, "weak": weak}, at, margin=MARGIN)
    assert both["strong"].verdict == "better"
    assert both["weak"] == alone  # once strong is claimed, weak stands alone


def test_small_differences_are_equivalent_and_hopeless_ones_futile():
    sure = gain(0, 0.0002, 8)
    assert decide({"a": sure}, {"a": [8]}, margin=MARGIN)["a"] == Decision("equivalent", 8)
    noise = np.array(gain(0, 0.01, 12, seed=1))
    noise = 0.01 * (noise - noise.mean()) / noise.std(ddof=1)  # no difference at all

    def at_12(shift: float, **cap: int) -> Decision:
        return decide({"a": noise + shift}, {"a": [12]}, margin=MARGIN, **cap)["a"]

    assert at_12(0, cap=30) == Decision("no_difference", 12, futile=True)
    assert at_12(0).seeds is None  # without a cap never
    # Wald's line at 12 seeds: sizes of .89 are found by 30, and log(20) / (12 * .89) is .28
    assert at_12(0.01 * 0.15, cap=30).futile
    assert not at_12(0.01 * 0.17, cap=30).futile
    assert not at_12(0, cap=12).futile  # the cap itself is the end


def test_an_arm_whose_runs_all_fail_does_not_keep_the_others_waiting():
    assert decide({"a": []}, {"a": [0]}, margin=MARGIN, cap=30)["a"].futile


def test_worse_is_claimed_as_surely_as_better():
    values = gain(0.02, 0.004, 8)
    assert decide({"a": [-v for v in values]}, {"a": [8]}, margin=MARGIN)["a"].verdict == "worse"


def records(arm, values):
    from test_summary import run

    return [run(arm, seed, value) for seed, value in enumerate(values)]


@pytest.mark.parametrize("options", [{"looks": [8], "cap": 30}, {"looks": [6, 8]}])
def test_the_summary_says_which_rule_spoke(options):
    base = [0.9 + 0.001 * k for k in range(8)]
    runs = [
        *records("constant", base),
        *records("clr", [b + g for b, g in zip(base, gain(0.02, 0.004, 8), strict=True)]),
    ]
    common = {
        "experiment": "t",
        "context": ControlledVariables(),
        "num_classes": 10,
        "baseline": "constant",
    }
    summary = summarize(runs, **common, **options)
    (comparison,) = summary.comparisons
    assert (summary.rule, summary.looks) == ("sequential", options["looks"])
    assert (comparison.verdict, comparison.decided_at) == ("better", 8)
    assert comparison.p is comparison.p_holm is None
    assert comparison.difference.claim.level == sequential.guard_level(1)
    assert "sequential test" in comparison.sentence
    fixed = summarize(runs, **common, looks=[8])
    assert fixed.rule == "fixed"
    assert fixed.comparisons[0].p is not None
