"""`clr compare` on several data sets: a column of results, or several configs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from clr_cli.cli import app
from clr_cli.records import Combination


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run a command in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def clr(*arguments):
        monkeypatch.setattr(sys, "argv", ["clr", *map(str, arguments)])
        code = app.run([*map(str, arguments)])
        shown = capsys.readouterr()
        return SimpleNamespace(code=code, out=shown.out, err=shown.err)

    return clr


def rows(ahead, seeds=8, arms=("old", "new")):
    """Rows of results by data set: new is ahead of old by so much."""
    rng = np.random.default_rng(0)
    for data, difference in ahead.items():
        for arm in arms:
            for seed in range(seeds):
                value = 0.7 + difference * (arm == "new") + rng.normal(0, 0.004)
                yield arm, seed, data, 30 + seed, round(value, 5)


def written(path, *lines, header="arm,seed,dataset,time,val_acc"):
    Path(path).write_text("\n".join([header, *(",".join(map(str, line)) for line in lines)]) + "\n")
    return path


TABLE = ("compare", "--from", "results.csv", "--across")


@pytest.mark.usefixtures("drawing")
def test_an_arm_that_is_worse_on_one_data_set_is_not_called_better(run):
    written("results.csv", *rows({"small": 0.05, "large": -0.03}))
    assert run("compare", "--from", "results.csv").code == 2  # not mixed
    done = run(*TABLE, "dataset")
    assert done.code == 0
    first, *_ = done.out.splitlines()
    assert (
        "new is better than old on 1 (small), worse than old on 1 (large) of 2 data sets" in first
    )
    table = re.sub(" +", " ", done.out)
    assert re.search(
        r"new better on 1, worse on 1 .* \+0.0\d+ \[.*\] better −0.0\d+ \[.*\] worse", table
    )
    assert run(*TABLE, "dataset", "--expect", "better").code == 4


@pytest.mark.usefixtures("drawing")
def test_each_data_set_is_the_comparison_that_it_is_alone(run):
    written("results.csv", *rows({"small": 0.05, "large/2": 0.0}))
    done = run(*TABLE, "DATASET", "--json", "--paired")
    assert done.code == 0, done.err
    found = Combination.model_validate(json.loads(done.out))
    for data in found.data_sets:
        alone = run("compare", "--from", "results.csv", "--where", f"dataset={data.name}",
                    "--paired", "--json", "--name", "alone")  # fmt: skip
        assert data.summary.plain()["comparisons"] == json.loads(alone.out)["comparisons"]
        page = Path("outputs/results/across") / data.folder / "report.html"
        assert f"<h1>results: {data.name}</h1>" in page.read_text()
    html = Path("outputs/results/across/report.html").read_text()
    links = re.findall(r'<a href="(\.\.[^"]*)"', html)
    assert len(links) == 2
    assert all((Path("outputs/results/across") / link).exists() for link in links)
    assert found.verdict.partition(" (")[0] in html
    index = Path("outputs/index.html").read_text()
    assert "results/across/report.html" in index
    assert found.verdict.partition(" (")[0] in index


@pytest.mark.usefixtures("drawing")
def test_the_report_is_made_again_from_its_file_alone(run):
    written("results.csv", *rows({"a": 0.05, "b": 0.04}))
    assert run(*TABLE, "dataset").code == 0
    folder = Path("outputs/results/across")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert before.keys() == {"across.json", "report.html", "report.md", "across.png", "across.svg"}
    for name in before.keys() - {"across.json"}:
        (folder / name).unlink()
    assert run("report", "outputs/results", "--formats", "png,svg").code == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    (folder / "across.json").write_text(
        json.dumps(json.loads(before["across.json"]) | {"arms": []})
    )
    damaged = run("report", folder)
    assert damaged.code == 2
    assert "across.json: arms: " in damaged.err


@pytest.mark.usefixtures("drawing")
def test_a_data_set_may_be_a_number_or_a_part_of_the_path(run):
    lines = [(*row[:2], {"a": 1, "b": 2}[row[2]], row[4]) for row in rows({"a": 0.05, "b": 0.04})]
    written("results.csv", *lines, header="arm,seed,fold,acc")
    one = json.loads(run(*TABLE, "fold", "--json").out)
    for fold in (1, 2):
        Path(f"runs/fold{fold}").mkdir(parents=True)
        mine = [(arm, seed, acc) for arm, seed, own, acc in lines if own == fold]
        written(f"runs/fold{fold}/all.csv", *mine, header="arm,seed,acc")
    done = run("compare", "--from", "runs/fold{fold}/*.csv", "--across", "fold", "--json")
    two = json.loads(done.out)
    assert [arm["mean"] for arm in one["arms"]] == [arm["mean"] for arm in two["arms"]]


@pytest.mark.usefixtures("drawing")
def test_notes_are_on_the_page_of_their_data_set(run):
    lines = [(arm, seed, data, 9, acc) for arm, seed, data, _, acc in rows({"a": 0.05, "b": 0.04})]
    lines[0] = (*lines[0][:3], 5, lines[0][4])
    written("results.csv", *lines, header="arm,seed,data,step,acc")
    found = json.loads(run(*TABLE, "data", "--json").out)
    a, b = (data["summary"]["contract"]["notes"] for data in found["data_sets"])
    assert a == ["Runs end at step 5 to 9: old seed 0 at 5."]
    assert b == []


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        (lambda r: r[2:3] != ("b",) or r[0] == "old", (), "new is an arm on a, not on b"),
        (lambda r: r[2] == "a", (), "--across dataset: all runs are of a; leave it out"),
        (lambda r: True, ("--margin", "-1"), "--margin: -1: expected a number above 0"),
        (lambda r: True, ("--expect", "not-worse"), "say by how much an arm may be worse"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_line_and_nothing_is_written(run, change, options, said):
    written("results.csv", *filter(change, rows({"a": 0.05, "b": 0.04})))
    done = run(*TABLE, "dataset", *options)
    assert done.code == 2
    assert said in done.err
    assert done.err.count("\n") == 1
    assert not Path("outputs").exists()


def test_rows_without_a_data_set_fractions_beside_percents_and_a_seed_are_refused(run):
    lines = [*rows({"a": 0.05, "b": 0.04})]
    written("results.csv", *lines, ("old", 9, "", 30, 0.7))
    assert "line 34: no dataset: the data set of the row is not known" in run(*TABLE, "dataset").err
    scaled = [(*r[:4], r[4] * (100 if r[2] == "b" else 1)) for r in lines]
    written("results.csv", *scaled, header="arm,seed,dataset,time,val_accuracy")
    assert "the unit of val_accuracy is % on a and none on b" in run(*TABLE, "dataset").err
    written(
        "results.csv", *((arm, 0, k, 0.5) for arm in "ab" for k in range(41)), header="arm,seed,t,x"
    )
    done = run(*TABLE, "t", "--mode", "max", "--metric", "x")
    assert "--across t: 41 values; a comparison takes at most 40 data sets" in done.err


def test_a_data_set_whose_baseline_failed_is_refused_before_a_page_is_written(run):
    lines = [
        (*r, "failed" if r[0] == "old" and r[2] == "b" else "finished")
        for r in rows({"a": 0.1, "b": 0.1})
    ]
    written("results.csv", *lines, header="arm,seed,dataset,time,val_acc,status")
    done = run(*TABLE, "dataset")
    assert "no run of the baseline old has a val_acc" in done.err
    assert not Path("outputs").exists()


# --- clr's own training -------------------------------------------------------------------------


@pytest.fixture
def configs(tmp_path, monkeypatch):
    """Two data sets, where dark or light is learned at once, except at hardly any rate."""
    monkeypatch.chdir(tmp_path)
    for name, noise, order in (("plain", 60, "constant, clr"), ("noisy", 110, "clr, constant")):
        rng = np.random.default_rng(len(name))
        arrays = {}
        for split, size in (("train", 240), ("test", 100)):
            labels = rng.permutation(np.arange(size) % 2)
            light = 60 + 80 * labels[:, None, None, None]
            images = light + rng.integers(0, noise, (size, 8, 8, 3))
            arrays |= {f"{split}_images": images.astype(np.uint8), f"{split}_labels": labels}
        np.savez(f"{name}.npz", **arrays)
        Path(f"{name}.yaml").write_text(f"""\
dataset: {{name: npz, path: {name}.npz, val_size: 40, augment: {{crop_padding: 0}}}}
model: {{name: cnn, width: 4}}
training: {{epochs: 1, batch_size: 20, threads: 1}}
schedules:
  constant: {{kind: constant, lr: 0.0000001}}
  clr: {{kind: triangular, base_lr: 0.001, max_lr: 0.1, step_size_epochs: 0.5}}
compare: {{schedules: [{order}], baseline: constant, seeds: 2}}
""")
    return "compare", "--config", "plain.yaml", "--config", "noisy.yaml"


def numbers(printed):
    """What was found on each data set and on all, without times and commands."""
    found = json.loads(printed)
    own = [
        {
            each["arm"]: (each["verdict"], each["difference"])
            for each in data["summary"]["comparisons"]
        }
        for data in found["data_sets"]
    ]
    return [data["name"] for data in found["data_sets"]], own, found["arms"], found["verdict"]


@pytest.mark.usefixtures("drawing")
def test_configs_are_data_sets_that_resume_and_are_combined(run, configs):
    assert run(*configs, "--only", "clr:0", "--jobs", 1).code == 0
    assert not Path("outputs/plain+noisy").exists()  # half-finished: nothing is combined
    early = {p: p.stat().st_mtime_ns for p in Path("outputs").glob("*/train/*/*/result.json")}
    assert len(early) == 2
    done = run(*configs, "--jobs", 1, "--json")
    assert done.code == 0, done.err
    assert {path: path.stat().st_mtime_ns for path in early} == early
    names, own, _, verdict = numbers(done.out)
    assert names == ["plain", "noisy"]
    for name, comparisons in zip(names, own, strict=True):
        alone = json.loads(Path(f"outputs/{name}/compare/summary.json").read_text())
        (each,) = alone["comparisons"]
        assert comparisons == {"clr": (each["verdict"], each["difference"])}
    assert "clr is undecided for too few runs on both data sets" in verdict
    html = Path("outputs/plain+noisy/across/report.html").read_text()
    assert '<a href="../../noisy/compare/report.html">noisy</a>' in html


@pytest.mark.usefixtures("drawing")
def test_every_option_is_one_of_each_data_set(run, configs):
    done = run(*configs, "--jobs", 1, "--seeds", "auto:8", "--schedules", "constant,clr", "--json",
               "--expect", "better", "--margin", "0.002", "--name", "both")  # fmt: skip
    found = json.loads(done.out)
    summaries = [data["summary"] for data in found["data_sets"]]
    assert [each["rule"] for each in summaries] == ["sequential"] * 2
    assert [each["margin"] for each in summaries] == [0.002] * 2
    held = [each["comparisons"][0]["verdict"] == "better" for each in summaries]
    assert (done.code == 0) == all(held)
    assert "--expect better than constant" in done.err or all(held)
    assert {path.name for path in Path("outputs").iterdir()} == {
        "plain",
        "noisy",
        "both",
        "index.html",
    }


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            ("noisy.yaml", "[clr, constant]", "[clr, constant, cosine]"),
            "cosine is an arm on noisy, not",
        ),
        (
            ("noisy.yaml", "baseline: constant", "baseline: clr"),
            "the baseline is constant on plain and",
        ),
        (("noisy.yaml", "noisy.npz", "gone.npz"), "gone.npz"),
        (("noisy.yaml", "dataset:", "name: plain\ndataset:"), "two have one name"),
        (("noisy.yaml", "width: 4", "width: 0"), "noisy.yaml: model.width"),
    ],
)
def test_nothing_is_trained_before_every_config_is_checked(run, configs, change, said):
    file, old, new = change
    text = Path(file).read_text()
    assert old in text
    Path(file).write_text(text.replace(old, new))
    done = run(*configs)
    assert done.code == 2
    assert said in done.err.splitlines()[-1]
    assert not Path("outputs").exists()


def test_programs_take_one_config(run, configs):
    Path("mine.yaml").write_text("command: echo {seed}\n")
    done = run(*configs[:3], "--config", "mine.yaml")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "--config: a program takes only one" in done.err


@pytest.mark.slow
def test_killed_between_two_data_sets_it_goes_on_and_ends_as_if_it_had_not_been(run, configs):
    whole = run(*configs, "--jobs", 1, "--json", "--output-dir", "whole")
    child = subprocess.Popen([sys.executable, "-m", "clr_cli", *configs, "--jobs", "1"],
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    while child.poll() is None:
        if len(list(Path("outputs/noisy").rglob("result.json"))) == 1:
            child.kill()
        time.sleep(0.005)
    assert Path("outputs/plain/compare/summary.json").exists()
    assert not list(Path("outputs").rglob("across.json"))
    assert numbers(run(*configs, "--jobs", 1, "--json").out) == numbers(whole.out)
