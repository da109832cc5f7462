"""``clr range-test`` as people use it: sweep, probes, answer, and the same again."""

from __future__ import annotations

import json

import pytest
import yaml

from clr_cli.analysis.rates import Scoring
from clr_cli.cli.compare_training import _costs
from clr_cli.config.load import load
from clr_cli.execution.task import TaskOptions
from clr_cli.paths import Experiment
from clr_cli.records import VAL_ACCURACY, RateAnswer
from clr_cli.study.training import TrainingSource


def answer(clr, config, *more, code=0):
    given = ["range-test", "--config", config, "--jobs", 1, "--json"]
    done = clr(*given, *more, check=False)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout), done.stderr


def said(found):
    """What is said of the rates, without where the search began, its name and its seconds."""
    keys = ("low", "high", "max_lr", "base_lr", "top", "cliff", "sd", "bound", "probes", "tried")
    return {key: found[key] for key in keys}


def folders(tmp_path):
    return {
        path: path.stat().st_mtime_ns for path in tmp_path.glob("outputs/*/probes/**/result.json")
    }


def test_sweep_probes_answer_and_bounds(clr, easy, tmp_path):
    found, told = answer(clr, easy)
    assert "usually 12 to 24 of them" in told
    assert "bracket: " in told
    assert found["inconclusive"] is None
    assert found["low"] < found["max_lr"] < found["high"]
    good = [each for each in found["tried"] if found["low"] <= each["rate"] <= found["high"]]
    scores = [score for each in good for score in each["scores"]]
    assert min(scores) > found["chance"] + 0.1, "no rate of the interval fails to learn"
    assert found["iterations"] == 40  # one cycle
    bounds = yaml.safe_load((tmp_path / "outputs/easy/range-test/bounds.yaml").read_text())
    assert bounds == {key: found[key] for key in ("base_lr", "max_lr", "low", "high")}
    assert len(folders(tmp_path)) >= found["probes"]
    # The page is made again from the files of the folder, or of the experiment.
    page = tmp_path / "outputs/easy/range-test/report.html"
    first = page.read_text("utf-8").partition("<svg")[0]
    page.unlink()
    told = clr("report", tmp_path / "outputs/easy").stdout
    assert page.read_text("utf-8").partition("<svg")[0] == first
    assert page.read_text("utf-8").count("<svg") == 2  # the probes and the sweep
    assert f"max_lr      {found['max_lr']:g}: " in told


@pytest.mark.slow
def test_more_workers_another_range_or_a_later_search_give_the_same_answer(clr, easy, tmp_path):
    first, _ = answer(clr, easy)
    workers, _ = answer(clr, easy, "--jobs", 2, "--name", "workers")
    assert said(workers) == said(first)
    other = ("--max-lr", 5, "--epochs", 2, "--name", "range")
    assert said(answer(clr, easy, *other)[0]) == said(first)
    # What was probed is kept: a later search trains only what is missing.
    there = folders(tmp_path)
    again, _ = answer(clr, easy, "--max-lr", 3, "--epochs", 0.5)
    assert said(again) == said(first)
    now = folders(tmp_path)
    assert {path: now[path] for path in there} == there


@pytest.mark.slow
def test_any_arm_has_an_interval_of_its_own_and_auto_uses_it(clr, easy, tmp_path):
    found, _ = answer(clr, easy, "--schedule", "constant")
    assert found["schedule"] == "constant"
    assert (tmp_path / "outputs/easy/range-test/constant/rates.png").exists()
    automatic = ["--set", "schedules.constant.lr=auto", "--schedule", "constant", "--json"]
    run = json.loads(clr("train", "--config", easy, "--device", "cpu", *automatic).stdout)
    assert run["schedule"]["lr"] == found["max_lr"]


@pytest.mark.slow
def test_the_answer_is_certified_by_whole_runs_of_its_half_and_double(clr, easy, tmp_path):
    refused = clr("range-test", "--config", easy, "--certify", 4, check=False)
    assert refused.returncode == 2
    assert "--certify 4: too few seeds" in refused.stderr
    assert "give 5 or more" in refused.stderr
    found, told = answer(clr, easy, "--certify", 5)
    assert "3 rates x 5 seeds" in told
    rates = {each["rate"] for each in found["certified"]}
    assert rates == {found["max_lr"] / 2, 2 * found["max_lr"]}
    assert all(each["verdict"] != "too_few_runs" for each in found["certified"])
    folder = tmp_path / "outputs/easy/range-test/certify"
    assert (folder / "report.html").exists()
    answer(clr, easy, "--certify", 6)  # more seeds after a look
    summary = json.loads((folder / "summary.json").read_text())
    assert ([look["n"] for look in summary["looks"]], summary["rule"]) == ([5, 6], "sequential")


@pytest.mark.slow
def test_an_arm_is_probed_with_its_own_batch_size(clr, easy):
    own = "schedules.big={kind: triangular, step_size_epochs: 0.5, set: {training.batch_size: 40}}"
    found, told = answer(clr, easy, "--set", own, "--schedule", "big")
    assert "probes    of big, 20 iterations (1 epoch) each" in told
    assert (found["iterations"], found["epochs"]) == (20, 1)


def test_the_cost_is_that_of_the_range_test_whose_rates_an_arm_uses(easy, tmp_path):
    config = load(str(easy), [f"schedules.{arm}.max_lr=auto" for arm in ("clr",)])
    places = Experiment(tmp_path, config.name)
    source = TrainingSource(
        config=config, options=TaskOptions(places), arms=dict.fromkeys(config.schedules)
    )
    asked = Scoring(VAL_ACCURACY).question(0.1)
    for arm, seconds in ((None, 3.0), ("clr", 5.0)):
        folder = places.answer(arm)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "bounds.yaml").touch()
        found = RateAnswer(**asked, experiment=config.name, seconds=seconds)
        (folder / "result.json").write_text(json.dumps(found.plain()))
        assert _costs(source, None) == {"constant": {}, "clr": {"range_test_seconds": seconds}}
    assert _costs(source, places.answer(None) / "bounds.yaml")["clr"] == {"range_test_seconds": 3.0}


def test_without_probes_the_sweep_is_read_and_it_is_said_what_that_is_worth(clr, tiny):
    done = clr("range-test", "--config", tiny, "--jobs", 1, "--probes", "off", check=False)
    assert "depends on the range (0.001 to 0.5)" in done.stdout
    assert "bracket" not in done.stderr
    refused = clr("range-test", "--config", tiny, "--probes", "off", "--certify", 3, check=False)
    assert refused.returncode == 2
    assert "--probes off" in refused.stderr


@pytest.mark.slow
def test_where_nothing_is_learned_it_is_said_after_six_probes(clr, tiny, tmp_path):
    """Random labels would do the same: three epochs of ten iterations teach this model nothing."""
    found, told = answer(clr, tiny, "--sweeps", 1, code=3)
    assert "nothing was learned at any rate from" in found["inconclusive"]
    assert found["max_lr"] is None
    assert len(folders(tmp_path)) == 6
    assert "again with probes" not in told
