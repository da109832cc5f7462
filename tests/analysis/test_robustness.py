"""The robustness of a difference, from runs with known curves."""

from __future__ import annotations

import math

import numpy as np
import pytest

from clr_cli.analysis.outcomes import Measures
from clr_cli.analysis.robustness import check_robustness, ratio_curve
from clr_cli.records import KNOWN, TEST_ACCURACY, VAL_ACCURACY, RunRecord, pack

MEASURES = Measures(TEST_ACCURACY, VAL_ACCURACY, ("test_accuracy",), ("iterations",))
HEADLINE = (-0.001, 0.001)  # narrower than any interval here


def check(arm, base):
    return check_robustness(arm, base, HEADLINE, MEASURES)


def run(arm, seed, validation, test, *, right=None, status="finished"):
    rows = [
        {"epoch": k, "iteration": 10 * k, "lr": 0.1, "val_accuracy": v, "test_accuracy": t}
        for k, (v, t) in enumerate(zip(validation, test, strict=True), 1)
    ]
    result = {"final": {"test_accuracy": test[-1], "val_accuracy": validation[-1]}}
    if right is not None:
        result["test_answers"] = {"images": len(right), "bits": pack(np.array(right, bool))}
    return RunRecord(arm, seed, status, rows, result)


def runs(arm, validation, test, seeds=6, **more):
    return {seed: run(arm, seed, validation, test, **more) for seed in range(seeds)}


def test_a_lead_that_is_only_at_the_end_vanishes_at_the_best_epoch():
    base = runs("constant", [0.5, 0.9, 0.8], [0.5, 0.88, 0.78])
    arm = runs("clr", [0.5, 0.7, 0.9], [0.5, 0.7, 0.88])
    found = check(arm, base).best_epoch
    assert found.mean == pytest.approx(0.0)
    later = check(runs("clr", [0.5, 0.7, 0.9], [0.5, 0.7, 0.91]), base).best_epoch
    assert later.mean == pytest.approx(0.03)


def test_a_baseline_that_diverged_at_once_has_no_first_target():
    measures = Measures(KNOWN["val_loss"], KNOWN["val_loss"], ("val_loss",), ("iterations",))
    rows = [{"iteration": 10 * k, "val_loss": loss} for k, loss in ((1, 2.5), (2, 2.0))]
    arm = RunRecord("clr", 0, "finished", rows, {"final": {"val_loss": 2.0}})
    lost = RunRecord("constant", 0, "diverged", [{"iteration": 10, "val_loss": math.inf}], {})
    assert ratio_curve([arm], [lost], measures) == []


def test_the_ratio_depends_on_the_target():
    base = runs("constant", [0.5, 0.6, 0.7, 0.8, 0.8, 0.8], [0.8] * 6)
    arm = runs("clr", [0.3, 0.4, 0.5, 0.6, 0.9, 0.9], [0.9] * 6)
    points = ratio_curve(list(arm.values()), list(base.values()), MEASURES)
    assert points[0].target == pytest.approx(0.5)
    assert points[0].ratio == 3  # 30 iterations against 10: later at low targets
    assert points[0].low == points[0].high == 3
    assert points[-1].target == pytest.approx(0.9)
    assert points[-1].ratio == 0  # only the arm arrives
    assert [p.target for p in points] == sorted(p.target for p in points)


def test_a_diverged_run_reaches_no_target_and_is_no_difference():
    base = runs("constant", [0.5, 0.6, 0.7], [0.7] * 3)
    arm = runs("clr", [0.5, 0.6, 0.7], [0.7] * 3) | {
        0: run("clr", 0, [0.5, 0.6, 0.7], [0.7] * 3, status="diverged")
    }
    points = ratio_curve([arm[seed] for seed in base], list(base.values()), MEASURES)
    assert points
    assert all(point.high is None or point.high > 1 for point in points)
    assert check(arm, base).best_epoch.mean == 0


def test_images_are_used_where_every_run_kept_them():
    base = runs("constant", [0.5] * 2, [0.5] * 2, right=[1, 0, 1, 0])
    arm = runs("clr", [0.75] * 2, [0.75] * 2, right=[1, 1, 1, 0])
    found = check(arm, base).images
    assert found.seeds_error == 0
    assert found.images_error == pytest.approx(0.25)
    assert found.low < 0.25 < found.high
    assert check(arm, runs("constant", [0.5] * 2, [0.5] * 2)).images is None


def test_nothing_is_said_of_a_single_pair():
    base, arm = (runs(name, [0.5, 0.6], [0.5, 0.6], seeds=1) for name in ("constant", "clr"))
    found = check(arm, base)
    assert found.best_epoch is None
    assert found.images is None


def of_loss(arm, seed, losses, *, status="finished"):
    rows = [{"iteration": 10 * k, "val_loss": loss} for k, loss in enumerate(losses, 1)]
    return RunRecord(arm, seed, status, rows, {"final": {"val_loss": losses[-1]}})


LOSS_MEASURES = Measures(KNOWN["val_loss"], KNOWN["val_loss"], ("val_loss",), ("iterations",))


def test_targets_of_a_loss_go_from_a_fifth_of_the_baselines_run_to_the_better_end():
    falling = [3.0, 2.0, 1.5, 1.2, 1.1, 1.05, 1.02, 1.01, 1.005, 1.0]
    base = [of_loss("adam", seed, falling) for seed in range(6)]
    arm = [of_loss("muon", seed, [loss - 0.2 for loss in falling]) for seed in range(6)]
    points = ratio_curve(arm, base, LOSS_MEASURES)
    targets = [point.target for point in points]
    assert len(targets) == 25
    assert targets[0] == pytest.approx(2.0)  # at iteration 20 of 100
    assert targets[-1] == pytest.approx(0.8)
    left = (np.array(targets[:-1]) - 0.8) / 1.2  # of the way to the last
    np.testing.assert_allclose(left[1:] / left[:-1], 0.003 ** (1 / 23))
    assert points[0].ratio == 1  # iteration 20 both: 1.8 and 2.0
    assert points[-1].ratio == 0


def test_targets_that_most_unpaired_runs_of_one_arm_miss_are_left_out():
    base = [of_loss("adam", seed, [3, 2, 1.5, 1.2, 1]) for seed in range(6)]
    arm = [of_loss("muon", seed, [3, 2.5, 1.8, 1.4, 1.3]) for seed in range(6)]
    points = ratio_curve(arm, base, LOSS_MEASURES, paired=False)
    assert points
    assert min(point.target for point in points) >= 1.3
    assert all(0 < point.ratio < math.inf for point in points)
    gone = ratio_curve(base, arm, LOSS_MEASURES, paired=False)
    assert min(point.target for point in gone) >= 1.3
    assert ratio_curve(arm[:0], base, LOSS_MEASURES) == []


def test_a_baseline_that_gets_worse_has_no_targets():
    base = [of_loss("adam", seed, [1, 2, 3, 4, 5]) for seed in range(6)]
    assert ratio_curve(base, base, LOSS_MEASURES) == []


def test_failed_runs_and_runs_without_rows_are_in_no_curve():
    base, arm = ({k: of_loss(name, k, [3, 2, 1.5, 1.2, 1]) for k in range(6)} for name in "ab")
    failed = of_loss("a", 6, [3, 2], status="failed")
    more, others = {**arm, 6: failed}, {**base, 6: of_loss("b", 6, [3, 2])}
    whole = check_robustness(arm, base, HEADLINE, LOSS_MEASURES)
    assert check_robustness(more, others, HEADLINE, LOSS_MEASURES) == whole
    whole = check_robustness(arm, base, HEADLINE, LOSS_MEASURES, paired=False)
    assert check_robustness(more, base, HEADLINE, LOSS_MEASURES, paired=False) == whole
    assert check_robustness(arm, {}, HEADLINE, LOSS_MEASURES, paired=False).ratios == []
    empty = RunRecord("a", 0, "finished", [], {"final": {"val_loss": 1.0}})
    assert ratio_curve([empty, *arm.values()], [base[0], *base.values()], LOSS_MEASURES) == []


def test_a_diverged_pair_is_no_difference_at_the_best_epoch():
    base, arm = runs("constant", [0.5, 0.6], [0.5, 0.6]), runs("clr", [0.5, 0.6], [0.5, 0.7])
    arm[0] = run("clr", 0, [0.5, 0.6], [0.5, 0.1], status="diverged")
    found = check(arm, base).best_epoch
    assert found.mean == pytest.approx(0.1)
    two = check({k: arm[k] for k in (1, 2)}, base)
    assert two.best_epoch.mean == pytest.approx(0.1)
    assert check({1: arm[1]}, base).best_epoch is None
    arm[1] = RunRecord("clr", 1, "finished", [], {"final": {"test_accuracy": 0.7}})
    assert check(arm, base).best_epoch is None


def test_the_interval_over_images_is_never_the_narrower_one():
    base = runs("constant", [0.5] * 2, [0.5] * 2, right=[1, 0, 1, *[0, 1, 0] * 25, 0, 0])
    arm = runs("clr", [0.75] * 2, [0.75] * 2, right=[1, 1, 1, *[0, 1, 0] * 25, 1, 0])
    alone = check(arm, base).images
    wide = check_robustness(arm, base, (-0.9, 0.95), MEASURES).images
    assert (wide.low, wide.high) == (-0.9, 0.95)
    mixed = check_robustness(arm, base, (-0.9, alone.high - 0.01), MEASURES).images
    assert (mixed.low, mixed.high) == (-0.9, alone.high)
    assert check_robustness(arm, base, (-math.inf, math.inf), MEASURES).images is None
    other = runs("clr", [0.75] * 2, [0.75] * 2, right=[1, 1, 1])
    assert check(other, base).images is None
    other = {**arm, 0: run("clr", 0, [0.75] * 2, [0.75] * 2, right=[1, 1, 1])}
    assert check(other, {**base, 0: other[0]}).images is None  # not the same images in all pairs
