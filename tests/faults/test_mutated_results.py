"""Result files that somebody or something has changed: a page or one clear line, no traceback."""

from __future__ import annotations

import copy
import json
import os
import random
import shutil
from pathlib import Path

import pytest

from clr_cli.analysis.across import combine
from clr_cli.errors import InputError
from clr_cli.records import DataSet, RateAnswer, RunResult, Summary, read
from clr_cli.report import across, rates, write
from clr_cli.report import comparison as report
from clr_cli.report.runs import write_runs_csv

REFERENCE = Path(__file__).parents[2] / "outputs" / "reference" / "three" / "svhn"
MUTATIONS = int(os.environ.get("CLR_TEST_FUZZ", "150"))
OWN_SCRIPTS = 2  # the page has its numbers and its code
VALUES = [
    None, True, False, 0, 1, -1, 0.5, -0.5, 1e308, -1e308, 10**400, float("nan"), float("inf"),
    "", "0.5", "nan", "<script>alert(1)</script>", "a\nb\x1b[2J", "x" * 100_000, [], {}, [1],
    {"a": 1}, [[[[]]]], {"values": {}}, 2**63, 1e-320,
]  # fmt: skip


def places(tree, path=()):
    """The path of every value in a tree."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in items:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from places(value, (*path, key))


def mutated(tree, random_: random.Random):
    """The tree with one to three values changed, removed, added or swapped."""
    tree = copy.deepcopy(tree)
    for _ in range(random_.randint(1, 3)):
        *parents, last = random_.choice(list(places(tree)))
        node = tree
        for key in parents:
            node = node[key]
        action = random_.randrange(4)
        if action == 0 and isinstance(node, dict):
            del node[last]
        elif action == 1 and isinstance(node, dict):
            node[random_.choice(["extra", "", "\x00", "<b>", last * 2])] = random_.choice(VALUES)
        elif action == 2:
            node[last] = [node[last]]
        else:
            node[last] = random_.choice(VALUES)
    return tree


def one_line(error: InputError, path: Path) -> None:
    line = str(error)
    assert "\n" not in line
    assert len(line) < 1000
    assert str(path.parent) in line


@pytest.fixture(scope="module")
def summary():
    return json.loads((REFERENCE / "compare-tuned" / "summary.json").read_text())


# Drawing is slow: so many pages for one that has its figures.
SPARSE = pytest.mark.parametrize("sparse", [30, pytest.param(10, marks=pytest.mark.slow)])


@SPARSE
@pytest.mark.parametrize(
    "first", [0, *(pytest.param(k, marks=pytest.mark.slow) for k in range(50, MUTATIONS, 50))]
)
def test_a_mutated_summary_gives_a_page_or_a_line(summary, first, sparse, tmp_path):
    shutil.copy(REFERENCE / "compare-tuned" / "runs.csv", tmp_path)
    path = tmp_path / "summary.json"
    pages = 0
    for seed in range(first, first + 50):
        path.write_text(json.dumps(mutated(summary, random.Random(seed))))
        try:
            loaded, records = report.load(tmp_path)
            drawn = report.figures(loaded, records) if pages % sparse == 0 else {}
            page = report.render(loaded, records, drawn)
            assert page.count("<script") == OWN_SCRIPTS
            assert report.markdown(loaded)
            pages += 1
        except InputError as error:
            one_line(error, path)
    assert 0 < pages < 50


def test_a_mutated_combination_gives_a_page_or_a_line(summary, tmp_path):
    one = Summary.model_validate(summary)
    sets = [DataSet(name=name, folder=name, summary=one) for name in ("x", "y")]
    tree = combine("both", sets).plain()
    for data in tree["data_sets"]:  # the summary has mutations of its own
        data["summary"]["arms"] = data["summary"]["arms"][:2]
        data["summary"]["comparisons"] = data["summary"]["comparisons"][:1]
    tree["arms"] = tree["arms"][:1]
    pages = 0
    for seed in range(MUTATIONS // 5):
        path = tmp_path / "across.json"
        path.write_text(json.dumps(mutated(tree, random.Random(seed))))
        try:
            across.write(tmp_path, across.load(tmp_path), formats=())
            pages += 1
        except InputError as error:
            one_line(error, path)
    assert 0 < pages < MUTATIONS // 5


def test_a_mutated_range_test_gives_a_figure_or_a_line(tmp_path):
    shutil.copy(REFERENCE / "range-test" / "result.json", tmp_path)
    sweep = [f"0,{k},{0.005 * (k + 1)},{2 - k / 100},{2 - k / 100},,," for k in range(100)]
    losses = "train_loss,train_loss_smooth,val_loss,val_accuracy,val_accuracy_smooth"
    header = f"sweep,iteration,lr,{losses}"
    (tmp_path / "range_test.csv").write_text("\n".join([header, *sweep, ""]))
    path = tmp_path / "result.json"
    tree = json.loads(path.read_text())
    figures = 0
    for seed in range(MUTATIONS):
        path.write_text(json.dumps(mutated(tree, random.Random(seed))))
        try:
            if seed % 10:
                read(RateAnswer, path, remedy=rates.REMEDY)
            else:
                rates.read_figure(tmp_path)
            figures += 1
        except InputError as error:
            one_line(error, path)
    assert 0 < figures < MUTATIONS


def test_a_mutated_run_is_read_or_refused_in_a_line(tmp_path):
    names = [f"{split}_{m}" for split in ("train", "val", "test") for m in ("loss", "accuracy")]
    tree = {
        "schema": 1, "seed": 0, "status": "finished", "arm": "clr", "diverged": None, "epochs": 8,
        "final": dict.fromkeys(names, 0.5), "schedule": {"kind": "constant", "lr": 0.1},
        "train_seconds": 4.5, "images_per_second": 1000.0, "iterations_per_epoch": 140,
        "num_classes": 10, "device": "cpu", "precision": "bf16", "threads": 1,
        "versions": {"clr": "0.1.0"},
    }  # fmt: skip
    path = tmp_path / "result.json"
    reads = 0
    for seed in range(MUTATIONS):
        path.write_text(json.dumps(mutated(tree, random.Random(seed))))
        try:
            assert read(RunResult, path, remedy="delete it").status in ("finished", "diverged")
            reads += 1
        except InputError as error:
            one_line(error, path)
    assert 0 < reads < MUTATIONS


@SPARSE
def test_mutated_runs_give_a_page_or_a_line(summary, sparse, tmp_path):
    text = (REFERENCE / "compare-tuned" / "runs.csv").read_text()
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    path = tmp_path / "runs.csv"
    for seed in range(MUTATIONS // sparse):
        random_ = random.Random(seed)
        rows = [line.split(",") for line in text.splitlines()]
        row = random_.choice(rows)
        row[random_.randrange(len(row))] = random_.choice(
            ["", "nan", "inf", "1e308", "x" * 1000, "<script>", "-1", "9" * 5000, '"', "\x00"]
        )
        path.write_text("\n".join(",".join(row) for row in rows))
        try:
            loaded, records = report.load(tmp_path)
            page = report.render(loaded, records, report.figures(loaded, records))
            assert page.count("<script") == OWN_SCRIPTS
        except InputError as error:
            one_line(error, path)


def test_clr_report_writes_nothing_for_a_damaged_summary(tmp_path):
    (tmp_path / "summary.json").write_text('{"schema": 3, "experiment": 3}')
    (tmp_path / "runs.csv").write_text(write_runs_csv([]))
    with pytest.raises(InputError, match="experiment: 3 does not fit"):
        write.remake(tmp_path, ["png"], None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs.csv", "summary.json"]
