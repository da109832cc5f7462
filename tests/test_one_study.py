"""One data set through every way in: a config's runs, a program, functions, a table of results.

Whatever way runs come about, the same values give the same numbers and the same words.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.terminal import invoke

import clr_cli as clr
from clr_cli.config.load import load
from clr_cli.execution.setup import Setup
from clr_cli.execution.task import TaskOptions
from clr_cli.files import write_json
from clr_cli.paths import Experiment
from clr_cli.records import RunRecord, Summary
from clr_cli.study.training import TrainingSource

pytestmark = pytest.mark.usefixtures("drawing")
SEEDS = range(8)
VALUES = {
    "old": [0.902, 0.897, 0.905, 0.899, 0.903, 0.898, 0.901, 0.904],
    "new": [0.931, 0.922, 0.935, 0.925, 0.93, 0.93, 0.926, 0.936],
}
PERCENTS = {arm: [100 * value for value in values] for arm, values in VALUES.items()}
LOSSES = {arm: [2 - value for value in values] for arm, values in VALUES.items()}

# Prints nothing, writes the value that belongs to its arm and seed.
PROGRAM = """
import json, sys
arm, seed, out = sys.argv[1], int(sys.argv[2]), sys.argv[3]
values = json.load(open(__file__ + ".json"))
open(out, "w").write(json.dumps({{"{metric}": values[arm][seed]}}) + "\\n")
"""

Values = Mapping[str, list[float]]
Way = Callable[..., Summary]


def of(folder: Path) -> Summary:
    return Summary.model_validate_json((folder / "compare/summary.json").read_text())


def by_table(values: Values, metric: str, *options: str) -> Summary:
    rows = [f"{arm},{seed},{v}" for arm, each in values.items() for seed, v in enumerate(each)]
    Path("table.csv").write_text("\n".join([f"arm,seed,{metric}", *rows]))
    invoke("compare", "--from", "table.csv", "--metric", metric, *options)
    return of(Path("outputs/table"))


def by_program(values: Values, metric: str, *options: str) -> Summary:
    Path("train.py").write_text(PROGRAM.format(metric=metric))
    write_json(Path("train.py.json"), dict(values))
    command = f"{sys.executable} train.py {{name}} {{seed}} {{out}}"
    arms = [part for arm in values for part in ("--arm", f"{arm}:name={arm}")]
    numbers = ("--seeds", str(len(SEEDS)), "--jobs", "1")
    invoke("compare", "--cmd", command, *arms, "--metric", metric, *numbers, *options)
    return of(Path("outputs/program"))


def by_functions(values: Values, metric: str, *options: str) -> Summary:
    functions = {arm: each.__getitem__ for arm, each in values.items()}
    paired = "--paired" in options
    return clr.compare(functions, metric=metric, seeds=len(SEEDS), paired=paired).summary


def by_config(values: Values, metric: str, *options: str) -> Summary:
    """Runs of clr's own training that are finished, with these values."""
    assert metric == "test_accuracy"
    rng = np.random.default_rng(0)
    images = {f"{split}_images": rng.integers(0, 255, (60, 8, 8), np.uint8) for split in SPLITS}
    labels = {f"{split}_labels": np.arange(60) % 2 for split in SPLITS}
    np.savez("data.npz", **images, **labels)
    Path("own.yaml").write_text(
        f"dataset: {{name: npz, path: {Path('data.npz').resolve()}, val_size: 20}}\n"
        "model: {name: cnn, width: 1}\n"
        "training: {epochs: 1, batch_size: 20, threads: 1}\n"
        "schedules: {old: {kind: constant, lr: 0.1}, new: {kind: constant, lr: 0.2}}\n"
        f"compare: {{schedules: [old, new], seeds: {len(SEEDS)}}}\n"
    )
    config = load("own.yaml")
    source = TrainingSource(
        config=config,
        options=TaskOptions(Experiment(Path("outputs"), config.name)),
        arms=config.arms(Path("outputs")),
    )
    for arm, each in values.items():
        for seed, value in enumerate(each):
            write_run(source.task(arm, seed), value)
    invoke("compare", "--config", "own.yaml", "--jobs", "1", "--device", "cpu", *options)
    return of(Path("outputs/own"))


SPLITS = ("train", "test")


def write_run(task, value: float) -> None:
    scores = {
        f"{split}_{kind}": value if kind == "accuracy" else 1 - value
        for split in ("train", "val", "test")
        for kind in ("loss", "accuracy")
    }
    with task.directory.lock():
        task.prepare()
    where = {"epoch": 1, "iteration": 2, "lr": 0.1, "train_seconds": 1.0, "eval_seconds": 1.0}
    task.directory.metrics_path.write_text(json.dumps({**where, **scores}) + "\n")
    result = {
        "schema": 1,
        "status": "finished",
        "arm": task.arm,
        "seed": task.seed,
        "epochs": 1,
        "final": scores,
        "num_classes": 2,
        "device": "cpu",
        "precision": "fp32",
        "threads": 1,
        "versions": {},
        "iterations_per_epoch": 2,
        "train_seconds": 1.0,
    }
    write_json(task.directory.result_path, result)


WAYS = {"table": by_table, "program": by_program, "functions": by_functions}


def numbers(summary: Summary, scale: float = 1.0) -> list[float | str | None]:
    """What a verdict rests on, and what it says; differences divided by ``scale``."""
    (found,) = summary.comparisons
    difference = found.difference
    ends = (difference.mean, difference.low, difference.high)
    sizes = [None if end is None else pytest.approx(end / scale, rel=1e-6) for end in ends]
    return [found.verdict, found.n, pytest.approx(found.p_holm, rel=1e-6), *sizes]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("metric", "design"),
    [
        ("test_accuracy", ("--paired",)),
        ("val_loss", ()),
        pytest.param("test_accuracy", (), marks=pytest.mark.slow),
        pytest.param("val_loss", ("--paired",), marks=pytest.mark.slow),
    ],
)
def test_every_way_in_gives_the_same_numbers_and_words(metric, design):
    values = VALUES if metric == "test_accuracy" else LOSSES
    summaries = {name: way(values, metric, *design) for name, way in WAYS.items()}
    if metric == "test_accuracy" and design:
        summaries["config"] = by_config(values, metric)
    first = summaries["table"]
    assert first.comparisons[0].verdict == "better"
    for name, summary in summaries.items():
        assert numbers(summary) == numbers(first), name
        assert summary.metric == first.metric, name
        said = summary.comparisons[0].sentence  # clr's own runs say more: their times
        for words in first.comparisons[0].sentence.rstrip(".").split(". "):
            assert words in said, name


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("design", [(), pytest.param(("--paired",), marks=pytest.mark.slow)])
def test_percents_are_percents_and_fractions_are_shown_as_percent(name, design):
    fractions = WAYS[name](VALUES, "test_accuracy", *design)
    percents = WAYS[name](PERCENTS, "test_accuracy", *design, *overwrite(name))
    assert (fractions.metric.unit, percents.metric.unit) == ("%", "")
    assert numbers(percents, scale=100) == numbers(fractions)
    mean = percents.arms[0].metrics["test_accuracy"].mean
    assert mean == pytest.approx(90.1125)
    low, high = percents.comparisons[0].difference.low, percents.comparisons[0].difference.high
    assert low < percents.comparisons[0].difference.mean < high
    assert "higher by 2.8" in percents.comparisons[0].sentence


def overwrite(name: str) -> tuple[str, ...]:
    return ("--overwrite",) if name == "program" else ()


def test_a_number_is_a_baseline_as_well():
    summary = by_table({"new": VALUES["new"]}, "test_accuracy", "--baseline", "0.9")
    (found,) = summary.comparisons
    assert (summary.design, found.verdict, found.n) == ("number", "better", 8)
    assert found.difference.mean == pytest.approx(np.mean(VALUES["new"]) - 0.9)


@pytest.mark.parametrize("name", WAYS)
def test_too_few_runs_are_said_before_and_after(name, recwarn):
    few = {arm: values[:3] for arm, values in VALUES.items()}
    if name == "functions":
        summary = clr.compare(
            {arm: each.__getitem__ for arm, each in few.items()}, metric="val_loss", seeds=3
        ).summary
        assert "3 seeds are too few to show any difference" in str(recwarn.pop().message)
    elif name == "program":
        Path("train.py").write_text(PROGRAM.format(metric="val_loss"))
        write_json(Path("train.py.json"), few)
        command = f"{sys.executable} train.py {{name}} {{seed}} {{out}}"
        told = invoke(
            *("compare", "--cmd", command, "--arm", "old:name=old", "--arm", "new:name=new"),
            *("--metric", "val_loss", "--seeds", "3", "--jobs", "1"),
        )
        assert "3 runs per arm are too few to show any difference" in told.stderr
        summary = of(Path("outputs/program"))
    else:
        summary = by_table(few, "val_loss")
    assert summary.comparisons[0].verdict == "too_few_runs"


def test_a_difference_to_detect_is_in_the_metrics_own_numbers():
    summary = by_table(VALUES, "test_accuracy", "--detect", "0.01")
    assert summary.detect == 0.01
    by_program(VALUES, "test_accuracy")
    for told in (
        invoke("compare", "--from", "table.csv", "--detect", "1", code=2),
        invoke("compare", "--config", "quickstart.yaml", "--detect", "1", code=2),
    ):
        assert "detect" in told.stderr
        assert "fraction" in told.stderr or "less than 1" in told.stderr


def test_of_unpaired_training_the_noisier_arm_gets_more_runs():
    rng = np.random.default_rng(0)
    values = {"old": rng.normal(0.9, 0.002, 30), "new": rng.normal(0.905, 0.02, 30)}
    few = by_config(values, "test_accuracy", "--seeds", "auto:30", "--design", "unpaired")
    assert few.design == "unpaired"
    assert few.rule == "sequential"
    runs = few.looks[-1].runs
    assert runs["new"] > 1.3 * runs["old"]
    (found,) = few.comparisons
    assert f"{runs['new']} against {runs['old']} runs" in found.sentence
    assert few.pairing is None
    page = Path("outputs/own/compare/report.html")
    assert "crops and split, which this design does not use" in page.read_text()
    invoke("compare", "--config", "own.yaml", "--seeds", "20", "--jobs", "1", "--device", "cpu")
    paired = of(Path("outputs/own"))
    assert paired.design == "paired"
    assert paired.pairing.pairs == 20
    assert "With 20 seeds, no benefit from pairing can be shown" in page.read_text()
    told = invoke("compare", "--from", "table.csv", "--design", "unpaired", code=2)
    assert "--design is for" in told.stderr


def test_only_what_is_equal_in_all_arms_is_listed_as_equal():
    Path("own.yaml").write_text(
        "schedules:\n"
        "  old: {kind: constant, lr: 0.1}\n"
        "  new: {kind: constant, lr: 0.1, set: {model.width: 8, optimizer.name: adamw,"
        " dataset.augment.flip: true}}\n"
        "compare: {schedules: [old, new]}\n"
    )
    config = load("own.yaml")
    sizes = {"train_size": 40, "val_size": 20, "test_size": 60, "image": (8, 8, 1)}
    ran = {"device": "cpu", "threads": 1, "precision": "fp32"}
    setup = Setup(**sizes, num_classes=2, chance=0.5, parameters=100, steps_per_epoch=2, **ran)
    records = [
        RunRecord(arm, 0, "finished", [], {**ran, "threads": threads, "versions": {"clr": "1"}})
        for arm, threads in (("old", 1), ("new", 2))
    ]
    source = TrainingSource(
        config=config,
        options=TaskOptions(Experiment(Path("outputs"), config.name)),
        arms=config.arms(Path("outputs")),
        setups={"old": setup, "new": replace(setup, parameters=900)},
    )
    shared = source.facts(records).shared
    assert (shared.parameters, shared.optimizer, shared.threads) == (None, None, None)
    assert (shared.model, shared.batch_size, shared.iterations) == ("cnn", 128, 160)
    assert (shared.device, shared.versions) == ("cpu", {"clr": "1"})
    assert shared.determinism == "arms of one seed share data order and split"
    assert {"model.width: old None, new 8", "threads: 1, 2"} <= {*shared.also_differs}
