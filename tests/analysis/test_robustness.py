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
