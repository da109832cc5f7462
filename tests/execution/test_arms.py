"""Arms that set keys of the config for themselves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clr_cli.analysis.rates import Scoring
from clr_cli.config.load import load
from clr_cli.config.model import Config
from clr_cli.execution.task import TaskOptions
from clr_cli.paths import Experiment
from clr_cli.records import VAL_ACCURACY, RateAnswer, Tuning
from clr_cli.study.training import TrainingSource


def source_of(config, folder):
    options = TaskOptions(Experiment(folder, config.name))
    return TrainingSource(config=config, options=options, arms=config.arms(folder))


def test_a_run_has_its_arms_own_config(tiny, tmp_path):
    config = load(str(tiny), ["schedules.clr.set={optimizer.weight_decay: 0.01}"])
    made = source_of(config, tmp_path)
    decays = {arm: made.task(arm, 0).tree()["optimizer"]["weight_decay"] for arm in made.arms}
    assert decays == {"constant": 5e-4, "clr": 0.01}
    trials = {arm: made.trial(arm, (0, 0)).config.optimizer for arm in made.arms}
    assert {arm: each.weight_decay for arm, each in trials.items()} == decays
    best = RateAnswer(**Scoring(VAL_ACCURACY).question(0.1), experiment="tiny", max_lr=0.02)
    tuned = made.at(Tuning(arms={"clr": best}))
    assert tuned.task("clr", 0).path != made.task("clr", 0).path
    assert tuned.as_run()["schedules"]["clr"]["set"] == {"optimizer.weight_decay": 0.01}


def test_the_report_names_what_differs(clr, tiny, tmp_path):
    clr(
        *("compare", "--config", tiny, "--seeds", 1, "--jobs", 1, "--set", "training.epochs=1"),
        *("--set", "schedules.clr.set={optimizer.weight_decay: 0.01, optimizer.name: adamw}"),
    )
    said = json.loads((tmp_path / "outputs/tiny/compare/summary.json").read_text())["contract"]
    assert said["also_differs"] == [
        "optimizer.name: constant sgd, clr adamw",
        "optimizer.weight_decay: constant 0.0005, clr 0.01",
    ]
    assert (
        "optimizer.name: constant sgd, clr adamw"
        in (tmp_path / "outputs/tiny/compare/report.html").read_text()
    )


def test_the_split_varies_with_the_seed_and_not_with_the_arm():
    config = Config.model_validate(
        {"name": "x", "compare": {"seeds": 3, "vary": ["seed", "split"]}}
    )
    made = source_of(config, Path("outputs"))
    runs = [made.task(arm, seed) for arm in made.arms for seed in range(3)]
    splits = {(run.arm, run.seed): run.tree()["dataset"]["split"] for run in runs}
    assert splits == {(arm, seed): seed for arm in ("constant", "clr") for seed in range(3)}


def test_trials_have_folders_and_seeds_of_their_own():
    config = Config.model_validate({"name": "x"})
    made = source_of(config, Path("outputs"))
    probes = [(k, seed) for k in (-2, 0, 1) for seed in range(3)]
    trials = [made.trial(arm, probe) for arm in made.arms for probe in probes]
    assert len({run.path for run in trials}) == 3 * 3 * 2
    assert {run.seed for run in trials}.isdisjoint(range(6))
    assert {run.schedule.rate for run in trials} == {0.025, 0.1, 0.2}


OWN = """
import torch

def adam(model, **settings):
    return torch.optim.Adam(model.parameters(), **settings)
"""


def test_an_arm_with_an_optimizer_of_ones_own(clr, tiny, tmp_path):
    (tmp_path / "mine.py").write_text(OWN)
    own = "schedules.clr.set={optimizer: {name: 'mine:adam', settings: {eps: 0.001}}}"
    args = ("compare", "--config", tiny, "--jobs", 1, "--seeds", 1, "--set", own)
    args += ("--set", "training.epochs=1")
    refused = clr(*args, check=False)
    assert refused.returncode == 2
    assert "optimizer.name: 'mine:adam' runs your own code; pass --allow-code" in refused.stderr
    wrong = clr(*args, "--allow-code", "--set", f"{own.replace('eps', 'epsilon')}", check=False)
    assert "optimizer.settings: mine:adam cannot be built: TypeError" in wrong.stderr
    assert not (tmp_path / "outputs/tiny/train").exists(), "nothing is trained before it is refused"
    clr(*args, "--allow-code")
    said = json.loads((tmp_path / "outputs/tiny/compare/summary.json").read_text())["contract"]
    assert said["also_differs"] == [
        "optimizer.name: constant sgd, clr mine:adam",
        "optimizer.settings.eps: constant None, clr 0.001",
    ]


@pytest.mark.slow
def test_arms_with_batches_of_other_sizes_are_compared_in_images(clr, tiny, tmp_path):
    """Twice the batch is half the iterations, and as many images."""
    own = "schedules.clr.set={training.batch_size: 100}"
    clr("compare", "--config", tiny, "--jobs", 1, "--seeds", 2, "--set", own, "--target", 0.01)
    folder = tmp_path / "outputs/tiny/compare"
    said = json.loads((folder / "summary.json").read_text())
    assert said["contract"]["also_differs"] == ["training.batch_size: constant 50, clr 100"]
    assert said["contract"]["iterations"] is None
    assert [arm["iterations_per_epoch"] for arm in said["arms"]] == [10, 5]
    times = [arm["time_to_target"]["clocks"]["images"]["values"] for arm in said["arms"]]
    assert times == [{"0": 500, "1": 500}] * 2, "the target is held from the first epoch on"
    (found,) = said["comparisons"]
    assert set(found["time_to_target"]["clocks"]) == {"images", "seconds"}
    assert found["time_to_target"]["clocks"]["images"]["ratio"] == 1
    assert "times the images" in found["sentence"]
    again = (folder / "report.html").read_text()
    clr("report", folder)
    assert (folder / "report.html").read_text() == again
    assert "iterations" not in found["sentence"]
