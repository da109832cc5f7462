"""Arms that set keys of the config for themselves."""

from __future__ import annotations

import json
from pathlib import Path

from clr_cli.config.load import load
from clr_cli.config.model import Config
from clr_cli.execution.plan import RunOptions, plan
from clr_cli.paths import Experiment


def test_a_run_has_its_arms_own_config(tiny, tmp_path):
    config = load(str(tiny), ["schedules.clr.set={optimizer.weight_decay: 0.01}"])
    options = RunOptions(Experiment(tmp_path, config.name))
    made = plan(config, options, config.arms(tmp_path), [0], tune=True)
    decays = {run.arm: run.tree()["optimizer"]["weight_decay"] for run in made.runs(1)}
    assert decays == {"constant": 5e-4, "clr": 0.01}
    trials = {arm: made.trial(arm, (0, 0), 1).config.optimizer for arm in made.tuned_arms}
    assert {arm: given.weight_decay for arm, given in trials.items()} == decays
    tuned = made.at({"clr": 0.02})
    assert tuned.as_run()["schedules"]["clr"]["set"] == {"optimizer.weight_decay": 0.01}


def test_the_report_names_what_differs(clr, tiny, tmp_path):
    clr(
        *("compare", "--config", tiny, "--seeds", "1", "--set", "training.epochs=1"),
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
    made = plan(
        config, RunOptions(Experiment(Path("outputs"), "x")), config.arms(Path("outputs")), range(3)
    )
    splits = {(run.arm, run.seed): run.tree()["dataset"].get("split", 0) for run in made.runs(None)}
    assert splits == {(arm, seed): seed for arm in ("constant", "clr") for seed in range(3)}


def test_trials_have_folders_and_seeds_of_their_own():
    config = Config.model_validate({"name": "x"})
    options = RunOptions(Experiment(Path("outputs"), "x"))
    arms = config.arms(Path("outputs"))
    made = plan(config, options, arms, range(6), tune=True)
    probes = [(k, seed) for k in (-2, 0, 1) for seed in range(3)]
    trials = [made.trial(arm, probe, None) for arm in made.tuned_arms for probe in probes]
    assert len({run.path for run in trials}) == 3 * 3 * 2
    assert {run.seed for run in trials}.isdisjoint(range(6))
    assert {run.schedule.rate for run in trials} == {0.025, 0.1, 0.2}
