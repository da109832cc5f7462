"""What the comparison says of simulated runs: numbers, verdicts, sentences and files."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from support.summaries import summarize

from clr_cli.analysis.headline import headline
from clr_cli.analysis.rates import Scoring
from clr_cli.records import (
    VAL_ACCURACY,
    ControlledVariables,
    Cost,
    Metric,
    Probed,
    RateAnswer,
    Reached,
    RunRecord,
    Summary,
    Tuning,
)

CONTEXT = ControlledVariables(dataset="svhn", model="cnn", epochs=4, device="cpu")
TUNED = RateAnswer(
    **Scoring(VAL_ACCURACY).question(0.1),
    experiment="svhn",
    low=0.05,
    high=0.2,
    max_lr=0.1,
    seconds=12.0,
    tried=[Probed(rate=0.1, scores=[0.9, 0.9], mean=0.9)],
)
TUNING = Tuning(seeds=3, arms={"constant": TUNED})


def run(arm, seed, accuracy, *, status="finished", validation=None, seconds=2.0):
    """A run of four epochs of 100 iterations; validation is its curve (default: flat)."""
    curve = validation or [accuracy] * 4
    epochs = [
        {
            "epoch": k + 1,
            "iteration": 100 * (k + 1),
            "lr": 0.1,
            "val_accuracy": value,
            "test_accuracy": accuracy,
            "train_seconds": seconds,
        }
        for k, value in enumerate(curve)
    ]
    final = {
        "train_loss": 0.1,
        "val_loss": 0.2,
        "test_loss": 1 - accuracy,
        "train_accuracy": 0.99,
        "val_accuracy": curve[-1],
        "test_accuracy": accuracy,
    }
    result = {"final": final, "train_seconds": 4 * seconds, "schedule": {"kind": arm}}
    return RunRecord(arm, seed, status, epochs, {} if status == "failed" else result)


def arm(name, accuracies, **options):
    return [run(name, seed, value, **options) for seed, value in enumerate(accuracies)]


def compare(*runs, **options):
    options = {"margin": 0.001, "num_classes": 10, "baseline": "constant", **options}
    records = [record for group in runs for record in group]
    return summarize(records, experiment="test", context=CONTEXT, **options)


BASE = [0.900, 0.905, 0.898, 0.902, 0.899, 0.903]
GAIN = [0.012, 0.010, 0.011, 0.009, 0.012, 0.010]
BETTER = [a + b for a, b in zip(BASE, GAIN, strict=True)]


def test_better_in_numbers_and_words():
    quick = [
        run("clr", seed, value, validation=[0.5, 0.95, 0.95, 0.95])
        for seed, value in enumerate(BETTER)
    ]
    slow = [
        run("constant", seed, value, validation=[0.5, 0.6, 0.7, 0.93])
        for seed, value in enumerate(BASE)
    ]
    summary = compare(slow, quick, target=0.92)
    (comparison,) = summary.comparisons
    assert comparison.verdict == "better"
    assert comparison.difference.mean == pytest.approx(np.mean(GAIN))
    assert comparison.difference.low < np.mean(GAIN) < comparison.difference.high
    assert comparison.difference.values == pytest.approx(dict(enumerate(GAIN)))
    assert (comparison.wins, comparison.ties, comparison.losses) == (6, 0, 0)
    assert comparison.p == comparison.p_holm == pytest.approx(0.00158, abs=1e-5)
    assert comparison.time_to_target.clocks["iterations"].ratio == 0.5
    assert comparison.time_to_target.clocks["seconds"].ratio == 0.5
    assert summary.verdict == comparison.sentence
    assert comparison.sentence.startswith(
        "clr is better than constant by 1.07 points of test accuracy (95 % interval 0.9"
    )
    assert "to 1.19, 6 paired seeds, p = 0.0016). The error goes from " in comparison.sentence
    assert comparison.sentence.endswith(
        "clr reached 92 % validation accuracy in 0.50 times the iterations (95 % interval 0.50"
        " to 0.50). With 6 runs and no failure, the true failure rate could"
        " still be as high as 39 %."
    )


def test_worse_is_said_with_positive_sizes():
    (comparison,) = compare(arm("constant", BETTER), arm("clr", BASE)).comparisons
    assert comparison.verdict == "worse"
    assert comparison.difference.mean == pytest.approx(-np.mean(GAIN))
    assert "clr is worse than constant by 1.07 points" in comparison.sentence
    assert "interval -" not in comparison.sentence


def test_same_schedule_under_two_names():
    summary = compare(arm("constant", BASE), arm("copy", BASE))
    (comparison,) = summary.comparisons
    assert comparison.verdict == "identical"
    difference = comparison.difference
    assert difference.mean == 0.0
    assert comparison.p == 1.0
    assert comparison.superiority.estimate == 0.5
    assert comparison.time_to_target.clocks["iterations"].ratio == 1.0
    assert summary.verdict == (
        "copy and constant are identical: every number is the same in all of 6 paired seeds."
    )


@pytest.mark.parametrize(
    ("accuracy", "margin"),
    [(0.9, 0.001), (0.995, 0.0005), (0.99, 0.001), (1.0, 0.001)],
)
def test_a_default_margin_is_at_most_a_tenth_of_the_error_and_one_that_was_given_stays(
    accuracy, margin
):
    runs = [arm(name, [accuracy] * 3) for name in ("constant", "clr")]
    assert compare(*runs, margin=None, default_margin=0.001).margin == pytest.approx(margin)
    assert compare(*runs).margin == 0.001
    assert compare(*runs, baseline=0.5, margin=None).margin is None


def test_a_margin_that_is_a_tenth_of_the_error_is_called_that():
    runs = [arm(name, [0.99, 0.991, 0.9905, 0.9895] * 3) for name in ("constant", "clr")]
    runs[1][0] = run("clr", 0, 0.9901)
    (comparison,) = compare(*runs, margin=None, default_margin=0.005).comparisons
    assert "are equivalent within 0.10 points, a tenth of constant's error: " in comparison.sentence


def test_equivalent_within_the_margin():
    near = [a + b for a, b in zip(BASE, [1e-4, -1e-4, 2e-4, 0, -2e-4, 1e-4], strict=True)]
    (comparison,) = compare(arm("constant", BASE), arm("clr", near)).comparisons
    assert comparison.verdict == "equivalent"
    assert "equivalent within 0.10 points" in comparison.sentence
    (strict,) = compare(arm("constant", BASE), arm("clr", near), margin=1e-4).comparisons
    assert strict.verdict == "undecided"


def test_no_difference_names_the_seeds_it_would_take():
    mixed = [a + b for a, b in zip(BASE, [0.01, -0.004, 0.006, -0.005, 0.008, 0], strict=True)]
    (comparison,) = compare(arm("constant", BASE), arm("clr", mixed)).comparisons
    assert comparison.verdict == "undecided"
    assert comparison.ties == 1
    assert comparison.seeds_needed > 6
    assert comparison.smallest_detectable > abs(comparison.difference.mean)
    assert comparison.sentence.startswith("Undecided between clr and constant: ")
    low, high = comparison.difference.low, comparison.difference.high
    assert f"95 % interval {100 * low:.2f} to +{100 * high:.2f}" in comparison.sentence
    assert "seeds would show a difference of 0.10 points" in comparison.sentence


def test_the_interval_is_the_decision():
    uneven = [a + b for a, b in zip(BASE, [0.001, 0.002, 5e-4, 9e-3, 0.012, 1e-4], strict=True)]
    (comparison,) = compare(arm("constant", BASE), arm("clr", uneven)).comparisons
    assert comparison.difference.low < 0 < comparison.difference.high
    assert comparison.p > 0.05
    assert comparison.verdict == "undecided"


@pytest.mark.parametrize("n", [1, 2, 3])
def test_fewer_than_four_seeds_cannot_decide(n):
    (comparison,) = compare(arm("constant", BASE[:n]), arm("clr", BETTER[:n])).comparisons
    assert comparison.verdict == "too_few_runs"
    assert comparison.difference.mean == pytest.approx(np.mean(GAIN[:n]))
    assert comparison.difference.low is None
    assert "at least 4 are needed" in comparison.sentence
    assert f"{100 * np.mean(GAIN[:n]):+.2f} points" in comparison.sentence


def test_more_arms_are_corrected_and_need_more_seeds():
    four = compare(*[arm(name, values[:4]) for name, values in (
        ("constant", BASE), ("clr", BETTER), ("cosine", BETTER))])  # fmt: skip
    assert [c.verdict for c in four.comparisons] == ["too_few_runs"] * 2
    assert "at least 5 are needed for 2 comparisons" in four.verdict
    seven = compare(
        arm("constant", [*BASE, 0.9]),
        arm("clr", [*BETTER, 0.91]),
        arm("cosine", [*BETTER[:5], 0.89, 0.89]),
        arm("copy", [*BASE, 0.9]),
    )
    clr, cosine, copy = seven.comparisons
    assert clr.p_holm == pytest.approx(3 * clr.p)
    assert [c.verdict for c in seven.comparisons] == ["better", "undecided", "identical"]
    assert "corrected for 3 comparisons" in clr.sentence
    assert copy.p_holm == 1.0
    assert (clr.difference.level, cosine.difference.level) == pytest.approx((1 - 0.05 / 3, 0.975))
    assert seven.verdict == " ".join(c.sentence for c in seven.comparisons)


def test_a_run_that_diverged_is_a_result_of_its_own():
    runs = [*arm("clr", BETTER), run("clr", 6, 0.99, status="diverged")]
    summary = compare(arm("constant", [*BASE, 0.9]), runs, target=0.85)
    clr = summary.arms[1]
    assert (clr.n, clr.diverged, clr.diverged_seeds) == (7, 1, [6])
    assert (clr.failing.count, clr.failing.runs) == (1, 7)
    assert clr.failing.high == pytest.approx(0.5207, abs=1e-3)
    assert clr.metrics["test_accuracy"].values[6] is None
    assert clr.metrics["test_accuracy"].mean == pytest.approx(np.mean(BETTER))
    assert clr.time_to_target.clocks["iterations"].values[6] is None
    assert clr.time_to_target.reached == 6
    (comparison,) = summary.comparisons
    assert (comparison.n, comparison.unpaired_seeds) == (6, [6])
    assert comparison.difference.mean == pytest.approx(np.mean(GAIN))
    # Better among those that trained, and never without the failing being said.
    assert comparison.verdict == "better"
    assert comparison.sentence.endswith(
        "Failed to train: 1 of 7 runs of clr (the true share may be up to 52 %), 0 of 7 runs of"
        " constant (the true share may be up to 35 %). The difference is among pairs that both"
        " trained."
    )


def test_arms_that_all_diverged_have_no_difference_and_are_not_identical():
    never = [run("clr", seed, 0.1, status="diverged") for seed in range(6)]
    (comparison,) = compare(arm("constant", BASE), never, target=0.85).comparisons
    assert comparison.verdict == "too_few_runs"
    assert "6 of 6 runs of clr" in comparison.sentence


def test_each_interval_is_at_the_level_that_decided_its_arm():
    arms = [arm(name, [*BETTER, 0.91]) for name in ("a", "b", "c")]
    found = compare(arm("constant", [*BASE, 0.9]), *arms).comparisons
    assert {c.verdict for c in found} == {"better"}
    for c in found:  # Holm claims all three at the first step
        assert c.difference.level == pytest.approx(1 - 0.05 / 3)
        assert c.difference.own.low > c.difference.low > 0


def test_a_run_at_chance_or_far_outside_is_named_and_left_out():
    seven = [*BETTER, 0.1]
    summary = compare(arm("constant", [*BASE, 0.9]), arm("clr", seven))
    (comparison,) = summary.comparisons
    assert [each.seed for each in summary.arms[1].stuck] == [6]
    assert (comparison.n, comparison.verdict) == (6, "better")
    assert summary.arms[1].metrics["test_accuracy"].mean == pytest.approx(np.mean(BETTER))
    assert "The error goes from 9.90 to 8.82 %" in comparison.sentence
    several = compare(arm("clr", seven), arm("constant", [*BASE, 0.9]), arm("other", [*BASE, 0.9]),
                      baseline="clr")  # fmt: skip
    assert several.best_first[0].name == several.best.winner == "clr"
    assert "The best mean is clr's, 91.18" in headline(several)
    assert "Stuck: 1 of 7 runs of clr (seed 6) ended at chance." in comparison.sentence
    most = compare(arm("constant", [0.1] * 6), arm("clr", BETTER)).comparisons[0]
    assert (most.n, most.verdict) == (6, "better")
    stuck = "Stuck: 6 of 6 runs of constant (seeds 0, 1, 2, 3, 4, 5) ended at chance (included in"
    assert f"{stuck} the difference)." in most.sentence
    assert "among" not in most.sentence
    far = of_loss(measured("adam", LOSSES), measured("muon", [*LOSSES[:6], 3.9]), paired=False)
    assert "1 of 7 runs of muon (seed 6) ended far outside the others" in far.verdict


def test_a_program_that_ignores_its_seed_claims_nothing():
    summary = of_loss(measured("adam", [3.28] * 8), measured("muon", [3.27] * 8), paired=False)
    assert summary.comparisons[0].verdict == "seed_changes_nothing"
    assert summary.verdict.startswith("The seed changes nothing: every run of muon gives the same")


def test_an_arm_keeps_its_schedule_if_its_first_run_failed():
    runs = [run("clr", 0, 0.0, status="failed"), *arm("clr", BASE)[1:]]
    assert compare(arm("constant", BASE), runs).arms[1].schedule == {"kind": "clr"}


def test_the_sentences_of_many_arms_fit_into_a_summary():
    names = [f"learning_rate={k},weight_decay=0.1,beta2=0.95" for k in range(60)]
    summary = compare(arm("constant", BASE[:3]), *(arm(name, BETTER[:3]) for name in names))
    assert len(summary.verdict) > 10_000
    assert Summary.model_validate(summary.plain()) == summary


def test_a_failed_run_is_listed_and_leaves_its_pair():
    runs = [*arm("clr", BETTER), run("clr", 6, 0.0, status="failed")]
    summary = compare(arm("constant", [*BASE, 0.9]), runs)
    (comparison,) = summary.comparisons
    assert summary.arms[1].failed_seeds == [6]
    assert (comparison.n, comparison.unpaired_seeds) == (6, [6])
    assert comparison.verdict == "better"


def test_no_common_seed():
    (comparison,) = compare(arm("constant", BASE), [run("clr", 99, 0.9)]).comparisons
    assert (comparison.n, comparison.p) == (0, None)
    assert comparison.verdict == "too_few_runs"
    assert comparison.sentence == "No seed has a run that trained in both clr and constant."


def test_automatic_target_does_not_move_when_seeds_are_added():
    before = compare(arm("constant", BASE), arm("clr", BETTER)).target
    after = compare(arm("clr", BETTER), arm("constant", [*BASE, 0.99, 0.99, 0.99, 0.99])).target
    assert before == after
    assert before.value == pytest.approx(0.901)
    assert "seeds 0, 1, 2, 3, 4, 5" in before.source
    assert before.source.endswith("90.1 %")


def test_missed_targets_are_counted_in_words():
    never = [run("constant", seed, value) for seed, value in enumerate(BASE)]
    summary = compare(never, arm("clr", BETTER), target=0.907)
    (comparison,) = summary.comparisons
    assert comparison.time_to_target.clocks["iterations"].ratio == 0
    assert comparison.time_to_target.reached == Reached(arm=6, baseline=0)
    assert "6 of 6 runs reached and held 90.7 % validation accuracy; 0 of the" in summary.verdict
    assert summary.arms[0].time_to_target.clocks["iterations"].median is None
    both = compare(never, arm("clr", BETTER), target=0.99).comparisons[0]
    assert both.time_to_target.clocks["iterations"].ratio is None
    assert "0 of 6 runs reached and held 99 % validation accuracy; 0 of the" in both.sentence


def test_a_ratio_made_of_misses_is_not_a_time():
    """Two misses are a ratio of 1; most arms' runs must have held the target to speak of times."""
    held, missed = [0.5, 0.95, 0.95, 0.95], [0.5, 0.6, 0.6, 0.6]

    def group(name, count):
        accuracies = BETTER if name == "clr" else BASE
        return [
            run(name, seed, value, validation=held if seed < count else missed)
            for seed, value in enumerate(accuracies)
        ]

    few = compare(group("constant", 3), group("clr", 2), target=0.9).comparisons[0]
    assert few.time_to_target.clocks["iterations"].ratio == 1
    assert "times the iterations" not in few.sentence
    counts = "2 of 6 runs reached and held 90 % validation accuracy; 3 of the baseline's did."
    assert counts in few.sentence
    most = compare(group("constant", 6), group("clr", 5), target=0.9).comparisons[0]
    assert (
        "is undecided: 1.00 times the iterations (95 % interval 1.00 to infinity, held in 5 of 6"
        " runs, the baseline's in 6)." in most.sentence
    )


def test_costs_and_context_are_reported():
    summary = compare(
        arm("constant", BASE),
        arm("clr", BETTER),
        costs={"clr": {"range_test_seconds": 30.0}},
        tuning=TUNING,
    )
    assert summary.arms[0].cost == Cost(
        train_seconds=48.0, tuning_seconds=0.0, range_test_seconds=0.0, runs=6
    )
    assert summary.arms[1].cost.range_test_seconds == 30.0
    assert summary.arms[1].schedule == {"kind": "clr"}
    assert summary.controlled == CONTEXT
    assert summary.tuning == TUNING
    assert "svhn" in summary.scope
    assert "4 epochs" in summary.scope


def test_summary_is_strict_json_and_deterministic():
    runs = [*arm("clr", BETTER[:2]), run("clr", 2, 0.5, status="diverged")]
    one, two = (compare(arm("constant", BASE), runs, [run("cosine", 0, 0.9)]) for _ in range(2))
    text = json.dumps(one.plain(), allow_nan=False)
    assert Summary.model_validate(json.loads(text)) == one
    assert text == json.dumps(two.plain(), allow_nan=False)


def test_a_run_whose_loss_is_infinite_is_summarized():
    runs = arm("clr", BETTER)
    runs[0].result["final"]["test_loss"] = math.inf
    summary = compare(arm("constant", BASE), runs)
    assert summary.arms[1].metrics["test_loss"].values[0] is None
    assert summary.comparisons[0].verdict == "better"


def test_refuses_a_seed_given_twice_and_a_missing_baseline():
    with pytest.raises(ValueError, match="clr: seed 0 occurs twice"):
        compare(arm("constant", BASE), [run("clr", 0, 0.9), run("clr", 0, 0.8)])
    with pytest.raises(ValueError, match="'constant' has no run"):
        compare(arm("clr", BASE))


def test_only_the_baseline():
    summary = compare(arm("constant", BASE))
    assert summary.comparisons == []
    assert "nothing to compare" in summary.verdict


def test_the_seeds_needed_are_for_the_difference_that_was_named():
    noisy = [a + b for a, b in zip(BASE, [0.01, -0.01, 0.012, -0.008, 0.006, -0.009], strict=True)]
    (margin,) = compare(arm("constant", BASE), arm("clr", noisy)).comparisons
    (named,) = compare(arm("constant", BASE), arm("clr", noisy), detect=0.02).comparisons
    assert named.seeds_needed < margin.seeds_needed
    most = max(named.seeds_needed, 7)
    assert f"about {most} seeds would show a difference of 2.00 points" in named.sentence


def test_the_scope_names_the_rates_and_what_was_varied():
    varied = summarize(
        arm("constant", BASE),
        experiment="test",
        context=CONTEXT.model_copy(update={"vary": ["seed", "split"]}),
        num_classes=10,
        baseline="constant",
        tuning=TUNING,
    )
    assert "accounts for the seeds and validation splits, not for other data" in varied.scope
    rates = "The verdict is for these rates: constant lr 0.1. They were chosen on validation data"
    assert rates in varied.scope


LOSS = Metric(name="val_loss", mode="min")


def measured(name, losses, curves=None):
    """Runs that tell an iteration and a loss and nothing else; curves: rows before the end."""
    return [
        RunRecord(
            name,
            seed,
            "finished",
            [
                {"iteration": 50 * k, "val_loss": value}
                for k, value in enumerate([*(curves or []), loss], 1)
            ],
            {"final": {"val_loss": loss}},
        )
        for seed, loss in enumerate(losses)
    ]


def of_loss(*groups, **options):
    options = {"margin": None, "metric": LOSS, "baseline": "adam", **options}
    records = [record for group in groups for record in group]
    return summarize(
        records, experiment="t", context=ControlledVariables(source="a.csv"), **options
    )


LOSSES = [3.2801, 3.2790, 3.2812, 3.2795, 3.2803, 3.2788, 3.2809]


def test_any_metric_lower_is_better():
    lower = [loss - gain for loss, gain in zip(LOSSES, [0.012, 0.011] * 4, strict=False)]
    summary = of_loss(measured("adam", LOSSES, [9, 4]), measured("muon", lower, [9, 3.2]))
    (comparison,) = summary.comparisons
    assert comparison.verdict == "better"
    assert comparison.difference.mean == pytest.approx(-0.0116, abs=1e-4)
    assert (comparison.wins, comparison.losses) == (7, 0)
    assert comparison.sentence.startswith(
        "muon is better than adam: validation loss lower by 0.01157 (95 % interval 0.01"
    )
    assert (
        "7 of 7 runs reached and held validation loss 3.2798; 3 of the baseline's did."
        in summary.verdict
    )
    assert summary.arms[1].cost is None
    assert set(summary.arms[1].metrics) == {"val_loss"}
    assert list(summary.arms[1].time_to_target.clocks) == ["iterations"]
    assert comparison.seeds_needed is comparison.best_epoch is None
    turned = of_loss(measured("adam", lower), measured("muon", LOSSES))
    assert turned.comparisons[0].verdict == "worse"
    assert "validation loss higher by 0.0" in turned.verdict
    near = of_loss(
        measured("adam", LOSSES),
        measured("muon", [loss + 1e-5 * (-1) ** k for k, loss in enumerate(LOSSES)]),
        margin=0.001,
    )
    assert "equivalent within 0.00100: validation loss" in near.verdict


def test_finals_alone_have_no_target_and_need_no_rows():
    finals = [
        RunRecord(arm, seed, "finished", [{"val_loss": loss + gain}], {"final": {"val_loss": loss}})
        for arm, gain in (("adam", 0.0), ("muon", 0.1))
        for seed, loss in enumerate(LOSSES)
    ]
    summary = of_loss(finals)
    assert summary.target is None
    assert summary.comparisons[0].time_to_target is None
    assert summary.arms[0].time_to_target is None


def test_a_baseline_that_mostly_diverged_sets_no_target():
    lost = [RunRecord("adam", seed, "diverged", [], {}) for seed in range(6)]
    summary = of_loss(lost, measured("muon", LOSSES))
    assert summary.target is None
    assert "6 of 6 runs of adam" in summary.verdict
