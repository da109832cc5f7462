"""The one sentence that needs no statistics: what was found, from how many seeds, what failed."""

from __future__ import annotations

import pytest
from support.summaries import summarize
from test_summary import BASE, BETTER, LOSS, arm, compare, measured, run

from clr_cli.analysis.headline import headline
from clr_cli.records import ControlledVariables


def test_better_and_worse_are_said_by_their_size():
    better = compare(arm("constant", BASE), arm("clr", BETTER))
    assert headline(better) == (
        "clr is better than constant by 1.07 points of test accuracy (95 % interval 0.93 to 1.19),"
        " 6 seeds; no run failed."
    )
    worse = compare(arm("constant", BETTER), arm("clr", BASE))
    assert headline(worse).startswith("clr is worse than constant by 1.07 points")
    assert "(95 % interval 0.93 to 1.19)" in headline(worse)


@pytest.mark.parametrize(
    ("others", "words"),
    [
        ([b + 1e-5 * (-1) ** k for k, b in enumerate(BASE)], "clr and constant are equal within"),
        ([b + 0.02 * (-1) ** k for k, b in enumerate(BASE)], "Undecided between clr and constant"),
        (BASE, "clr and constant are identical in every number, 6 seeds; no run failed."),
        (BETTER[:3], "points of test accuracy"),
    ],
)
def test_every_verdict_has_one_sentence(others, words):
    said = headline(compare(arm("constant", BASE[: len(others)]), arm("clr", others)))
    assert words in said
    assert said.count(".\n") == 0
    assert said.endswith("; no run failed.")


def test_too_few_seeds_are_said_and_one_has_no_interval():
    three = headline(compare(arm("constant", BASE[:3]), arm("clr", BETTER[:3])))
    assert three.startswith("Too few seeds to tell clr from constant: +1.10 points of")
    assert three.endswith("3 seeds; no run failed.")
    one = headline(compare(arm("constant", BASE[:1]), arm("clr", BETTER[:1])))
    assert "+1.20 points of test accuracy, 1 seed;" in one


def test_what_failed_is_always_said():
    lost = [*arm("clr", BETTER)[:-1], run("clr", 5, 0.1, status="diverged")]
    said = headline(compare(arm("constant", BASE), lost))
    assert said.endswith("5 seeds; 1 of 6 runs of clr failed to train.")
    none = [run("clr", seed, 0.1, status="diverged") for seed in range(6)]
    assert headline(compare(arm("constant", BASE), none)) == (
        "clr cannot be compared with constant: too few runs finished training;"
        " 6 of 6 runs of clr failed to train."
    )


def test_several_arms_are_named_by_what_holds_of_them():
    eight = [*BASE, 0.901, 0.904]
    gain = [0.012, 0.010, 0.011, 0.009, 0.012, 0.010, 0.011, 0.013]
    more = [b + g for b, g in zip(eight, gain, strict=True)]
    said = headline(compare(arm("constant", eight), arm("clr", more), arm("cosine", eight[::-1])))
    assert said.replace("\N{NO-BREAK SPACE}", " ") == (
        "clr is better than constant. cosine is undecided. With 95 % certainty, the best is clr."
        " The best mean is clr's, 91.25 %; constant's is 90.15 %. 8 seeds; no run failed."
    )


def test_a_metric_of_another_kind_keeps_its_name_and_direction():
    runs = [*measured("adam", [3.30, 3.31, 3.32]), *measured("muon", [3.20, 3.22, 3.21])]
    common = {"experiment": "t", "context": ControlledVariables(), "metric": LOSS, "margin": None}
    said = headline(summarize(runs, **common, baseline="adam", paired=False))
    assert "muon" in said
    assert "validation loss" in said
    assert "3 against 3 runs" in said
    number = headline(summarize(measured("muon", [3.2] * 6 + [3.21]), **common, baseline=3.28))
    assert number.startswith("muon's mean validation loss is below 3.28 by")
    assert number.endswith("7 runs; no run failed.")
