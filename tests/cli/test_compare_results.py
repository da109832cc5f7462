"""`clr compare --from`: tables of results in every form, the page they give, what is refused."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from clr_cli.cli import app
from clr_cli.report import comparison as report

LOSSES = {"adam": [3.30, 3.31, 3.29, 3.305, 3.295, 3.302], "muon": [3.25, 3.26, 3.245, 3.255, 3.25]}


def csv(rows, header="arm,seed,val_loss", sep=","):
    lines = [header, *(",".join(map(str, row)) for row in rows)]
    return "\n".join(lines).replace(",", sep) + "\n"


def finals(losses=LOSSES):
    return [(arm, seed, v) for arm, values in losses.items() for seed, v in enumerate(values)]


def curves(losses=LOSSES, steps=(0, 100, 200, 300)):
    """Every run falls from 10 to its final loss; muon's runs are a step shorter."""
    for arm, values in losses.items():
        for seed, last in enumerate(values):
            own = steps if arm == "adam" else steps[:-1]
            for step in own:
                yield arm, seed, step, last + (10 - last) * (1 - step / own[-1]) ** 2


@pytest.fixture
def drawn(tmp_path, monkeypatch, capsys):
    """Run the command in this process, in an empty folder: `text` is written to `name`."""
    monkeypatch.chdir(tmp_path)

    def compare(text, *options, name="results.csv"):
        (tmp_path / name).write_text(text)
        arguments = ["compare", "--from", name, *map(str, options)]
        monkeypatch.setattr(sys, "argv", ["clr", *arguments])
        code = app.run(arguments)
        shown = capsys.readouterr()
        return SimpleNamespace(code=code, out=shown.out, err=shown.err)

    return compare


@pytest.fixture
def run(drawn, drawing):
    """Run it for a test that looks at no figure."""
    return drawn


def summary_of(run, text, *options, **more):
    done = run(text, *options, "--json", **more)
    assert done.code == 0, done.err
    return json.loads(done.out)


def refused(run, text, *options, **more):
    done = run(text, *options, **more)
    assert done.code == 2
    assert not Path("outputs").exists()
    assert done.err.count("\n") == 1
    return done.err


def test_an_arm_may_have_a_comma_in_its_name(run):
    arms = {"SGD, lr 0.1": LOSSES["adam"], "b": LOSSES["muon"], "c": LOSSES["muon"]}
    rows = [(f'"{arm}"', *rest) for arm, *rest in finals(arms)]
    chosen = summary_of(run, csv(rows), "--schedules", 'b, "SGD, lr 0.1"')
    assert [arm["name"] for arm in chosen["arms"]] == ["b", "SGD, lr 0.1"]


def test_finals_alone_give_a_page(drawn):
    done = drawn(csv(finals()))
    assert done.code == 0
    assert "muon is better than adam: validation loss lower by 0.0" in done.out
    assert "5 against 6 runs" in done.out
    assert "to target" not in done.out
    folder = Path("outputs/results/compare")
    assert {path.name for path in folder.iterdir()} == {
        *("runs.csv", "summary.json", "report.html", "report.md", "difference.png"),
        "difference.svg",
    }
    page = (folder / "report.html").read_text().partition("<script")[0]
    for word in (
        "Schedule",
        "accuracy",
        "epoch",
        "Epoch",
        "learning rate",
        "points",
        "nan",
        "None",
    ):
        assert word not in page
    assert "Lower is better" in page


@pytest.mark.parametrize("form", ["csv", "tsv", "semicolon", "jsonl", "long", "long jsonl"])
def test_every_form_gives_the_same_comparison(run, form):
    rows = [(*row, 0.5) for row in curves()]
    wide = "arm,seed,step,val_loss,train_loss"
    names = wide.split(",")
    match form:
        case "csv" | "tsv" | "semicolon":
            text = csv(rows, wide, {"csv": ",", "tsv": "\t", "semicolon": ";"}[form])
        case "jsonl":
            text = "\n".join(json.dumps(dict(zip(names, row, strict=True))) for row in rows)
        case _:
            header = ["arm", "seed", "step", "metric", "value"]
            both = [
                (*row[:3], metric, value)
                for row in rows
                for metric, value in zip(names[3:], row[3:], strict=True)
            ]
            text = csv(both, ",".join(header))
            if form == "long jsonl":
                text = "\n".join(json.dumps(dict(zip(header, row, strict=True))) for row in both)
    summary = summary_of(run, text, "--metric", "val_loss")
    assert summary["metric"] == {"name": "val_loss", "mode": "min", "unit": ""}
    (comparison,) = summary["comparisons"]
    means = [np.mean(LOSSES[arm]) for arm in ("muon", "adam")]
    assert comparison["difference"]["mean"] == pytest.approx(means[0] - means[1])
    times = {arm["name"]: arm["time_to_target"]["clocks"]["iterations"] for arm in summary["arms"]}
    assert times["adam"]["values"]["0"] == 300
    assert times["muon"]["median"] == 200


def test_curves_have_their_figures_and_can_be_reported_again(drawn, capsys):
    text = csv(curves(), "arm,seed,step,val_loss")
    assert drawn(text, "--target", "3.31").code == 0
    folder = Path("outputs/results/compare")
    figures = {path.stem for path in folder.glob("*.png")}
    assert figures == {"val_loss", "difference", "time_to_target", "time_ratio"}
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for path in folder.iterdir():
        if path.name not in ("runs.csv", "summary.json"):
            path.unlink()
    assert app.run(["report", str(folder), "--formats", "png,svg"]) == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    _, records = report.load(folder)
    assert sorted(len(record.epochs) for record in records) == [3] * 5 + [4] * 6


def test_paired_only_on_the_users_word(run):
    shared = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    rows = [("a", k, v) for k, v in enumerate(shared)]
    rows += [("b", k, v + 0.1 + 0.001 * k) for k, v in enumerate(shared)]
    text = csv(rows, "arm,seed,score")
    apart = summary_of(run, text, "--mode", "max")
    assert (apart["design"], apart["comparisons"][0]["verdict"]) == ("unpaired", "undecided")
    together = summary_of(run, text, "--mode", "max", "--paired")
    assert (together["design"], together["comparisons"][0]["verdict"]) == ("paired", "better")


def test_arms_against_a_number_and_a_single_arm(drawn):
    summary = summary_of(drawn, csv(finals()), "--baseline", "3.28")
    assert [c["baseline"] for c in summary["comparisons"]] == ["3.28", "3.28"]
    assert [c["verdict"] for c in summary["comparisons"]] == ["worse", "better"]
    alone = csv([row for row in finals() if row[0] == "adam"])
    one = summary_of(drawn, alone, "--baseline", "3.25", name="one.csv")
    assert "adam's mean validation loss is above 3.25 by 0.0503" in one["verdict"]
    page = Path("outputs/one/compare/report.html").read_text()
    assert "minus 3.25" in page


def test_arms_can_be_chosen(run):
    text = csv([*finals(), ("third", 0, 3.0)])
    summary = summary_of(run, text, "--schedules", "muon,adam", "--baseline", "muon")
    assert [arm["name"] for arm in summary["arms"]] == ["muon", "adam"]


@pytest.mark.parametrize("last", ["nan", "inf", "-inf", "1e40"])
def test_a_final_that_is_not_finite_is_a_failed_run(run, last):
    summary = summary_of(run, csv([*finals(), ("muon", 9, last)]))
    muon = summary["arms"][1]
    assert (muon["n"], muon["diverged_seeds"], muon["failing"]["count"]) == (6, [9], 1)
    assert "Failed to train: 1 of 6 runs of muon" in summary["verdict"]
    assert summary["comparisons"][0]["n"] == 5


def test_a_run_without_a_value_could_not_be_finished(run):
    summary = summary_of(run, csv([*finals(), ("muon", 9, "")]))
    assert summary["arms"][1]["failed_seeds"] == [9]
    assert summary["arms"][1]["failing"]["runs"] == 6


def test_rows_may_come_in_any_order_and_miss_values(run):
    rows = list(curves())
    shuffled = [rows[k] for k in np.random.default_rng(0).permutation(len(rows))]
    gaps = [*shuffled, *((arm, seed, 50, "") for arm, seed, _ in finals())]
    one = summary_of(run, csv(rows, "arm,seed,step,val_loss"), name="a.csv")
    two = summary_of(run, csv(gaps, "arm,seed,step,val_loss"), "--baseline", "adam", name="b.csv")
    assert [c["difference"] for c in one["comparisons"]] == [
        c["difference"] | {"values": {}} for c in two["comparisons"]
    ]


def test_the_index_that_pandas_writes_is_no_metric(run):
    rows = [(k, *row) for k, row in enumerate(finals())]
    assert summary_of(run, csv(rows, ",arm,seed,val_loss"))["metric"]["name"] == "val_loss"


def test_seconds_are_a_clock_too(run):
    rows = [(arm, seed, step / 7, value) for arm, seed, step, value in curves()]
    summary = summary_of(run, csv(rows, "arm,seed,time,val_loss"), "--target", 3.5)
    assert list(summary["arms"][0]["time_to_target"]["clocks"]) == ["seconds"]
    assert "times the time" in summary["verdict"]
    assert "Seconds to target" in Path("outputs/results/compare/report.html").read_text()


def test_epochs_from_0_are_a_clock_and_an_axis(run):
    rows = [(arm, seed, step // 100, value) for arm, seed, step, value in curves()]
    summary = summary_of(run, csv(rows, "arm,seed,epoch,val_loss"), "--target", 3.5)
    times = summary["arms"][0]["time_to_target"]["clocks"]
    assert list(times) == ["epochs"]
    assert set(times["epochs"]["values"].values()) == {3}
    _, records = report.load(Path("outputs/results/compare"))
    assert [row["epoch"] for row in records[0].epochs] == [0, 1, 2, 3]


def test_fractions_are_shown_in_percent(run):
    rows = [(arm, seed, 4.1 - value) for arm, seed, value in finals()]
    summary = summary_of(run, csv(rows, "arm,seed,test_accuracy"))
    assert summary["metric"]["unit"] == "%"
    assert "points of test accuracy" in summary["verdict"]
    plain = summary_of(run, csv(rows, "arm,seed,f1"), "--mode", "max", "--unit", "%")
    assert "points of f1" in plain["verdict"]
    bare = summary_of(run, csv(rows, "arm,seed,f1"), "--mode", "max")
    assert "f1 higher by 0.0483" in bare["verdict"]


GOOD = csv(finals())


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        (GOOD + "adam,0,3.1\n", (), "line 13: arm adam, seed 0 also appears on line 2"),
        ("arm,seed,step,loss\na,0,5,1\na,0,5,2\n", (), "line 3: arm a, seed 0, iteration 5 also"),
        ("run,seed,loss\na,0,1\n", (), "no column 'arm'; the columns are 'run', 'seed', "),
        ("arm,loss\na,1\n", (), "a is the only arm; add another"),
        (GOOD + "adam,8,abc\n", (), "line 13: val_loss 'abc' is not a number"),
        (GOOD + "adam,x,3.1\n", (), "line 13: seed 'x' is not a whole number"),
        (GOOD + "adam,1.5,3.1\n", (), "seed '1.5' is not a whole number"),
        (GOOD + ",8,3.1\n", (), "line 13: arm '' is not a name"),
        (GOOD + "adam,8\n", (), "line 13: 2 cells for 3 columns"),
        ("arm,seed,step,loss\na,0,-5,1\n", (), "step '-5': expected a number from 0 to 1e15"),
        ("arm,seed,step,loss\na,0,x,1\n", (), "line 2: step 'x' is not a number"),
        (csv([("a", k, k) for k in range(6)]), (), "a is the only arm; add another, or give a"),
        ("arm,seed,a,b\nx,0,1,2\n", (), "several columns could be the metric: 'a', 'b'; name one"),
        (
            "arm,seed,a,b\nx,0,1,2\n",
            ("--schedules", "x,y", "--baseline", "-1", "--mode", "min", "--paired"),
            "--metric a --schedules x,y --mode=min --baseline=-1 --paired",
        ),
        ("arm,seed,a\nx,0,red\n", (), "none of the columns could be the metric"),
        (GOOD, ("--metric", "loss"), "--metric loss: not found; there are 'val_loss'"),
        (GOOD, ("--metric", "seed"), "--metric seed: not found"),
        ("arm,seed,status\na,0,1\n", ("--metric", "status"), "--metric status: not found"),
        (GOOD, ("--baseline", "sgd"), "--baseline sgd: neither an arm nor a number; the arms are"),
        (GOOD, ("--baseline", "nan"), "--baseline nan: neither an arm nor a number"),
        (GOOD, ("--baseline", "3.28", "--paired"), "--paired: the baseline 3.28 is a number"),
        (GOOD, ("--schedules", "adam,sgd"), "--schedules: 'sgd' is not an arm; the arms are adam"),
        (GOOD, ("--mode", "low"), "--mode: 'low': say which val_loss is better: max"),
        ("arm,seed,x\na,0,1\nb,0,2\n", (), "--mode: say which x is better"),
        (GOOD, ("--unit", "%"), "--unit: expected fractions from 0 to 1 for %"),
        (GOOD, ("--target", "low"), "--target low: expected a value of the metric, or auto"),
        (GOOD, ("--margin", "-1"), "--margin: -1: expected a number above 0"),
        (GOOD, ("--name", "../x"), "--name '../x': expected letters"),
        (GOOD, ("--seeds", "6"), "--seeds is for runs that clr starts; leave it out"),
        (GOOD, ("--jobs", "2"), "--jobs is for runs that clr starts; leave it out"),
        (GOOD, ("--config", "a.yaml"), "--config is for runs that clr starts; leave it out"),
        ("", (), "contains no rows"),
        ("arm,seed,loss\n", (), "contains no rows; a table has the columns arm, seed"),
        ("arm,arm,seed\n", (), "the column 'arm' occurs twice"),
        ('{"arm": "a", "seed": 0, "loss": 1}\n{"arm"\n', (), "line 2: not JSON"),
        ('{"arm": "a", "seed": 0, "loss": 1}\n[1]\n', (), "line 2: not a JSON object"),
        ('{"arm": "a", "seed": 0, "loss": [1]}\n', (), "none of the columns could be the metric"),
        (csv([("a", 0, ""), ("b", 0, 1)]), (), "no run of the baseline a has a val_loss"),
        (csv([(f"arm{k}", 0, k) for k in range(41)]), (), "41 arms; a comparison takes at most 40"),
    ],
)  # fmt: skip
def test_what_is_refused_in_a_line(run, text, options, said):
    assert said in refused(run, text, *options)


def test_a_file_that_cannot_be_read(run, tmp_path, monkeypatch):
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    monkeypatch.setattr(sys, "argv", ["clr"])
    assert app.run(["compare", "--from", "binary.csv"]) == 2
    assert app.run(["compare", "--from", "nowhere.csv"]) == 2
    assert app.run(["compare", "--from", "."]) == 2


def test_options_of_results_apply_only_to_results(clr):
    for given in (["--paired"], ["--metric", "loss"], ["--mode", "min"], ["--unit", "s"]):
        done = clr("compare", *given, check=False)
        assert (done.returncode, f"{given[0]} works only with --from" in done.stderr) == (2, True)


def test_notes_are_on_the_page_and_at_the_prompt(run):
    rows = [(a, s, k, "crashed" if (a, s) == ("b", 1) else "ok", 1.0 + s / 10)
            for a in "ab" for s in range(5) for k in (10, 20, 30)]  # fmt: skip
    rows.remove(("a", 2, 30, "ok", 1.2))
    done = run(csv(rows, "arm,seed,step,status,loss"))
    assert done.code == 0
    page = Path("outputs/results/compare/report.html").read_text()
    for note in ("Runs end at step 20 to 30: a seed 2 at 20.", "b seed 1 (crashed)"):
        assert note in done.err
        assert note in page
    assert "1 of 5 runs of b failed to train" in done.out


def test_numbered_runs_cannot_be_paired(run):
    rows = [(arm, value) for arm, _, value in finals()]
    assert "--paired needs the seeds of the runs" in refused(run, csv(rows, "arm,loss"), "--paired")
    assert run(csv(rows, "arm,loss")).code == 0


def test_several_files_are_one_comparison(run, tmp_path):
    (tmp_path / "muon.csv").write_text(csv([row for row in finals() if row[0] == "muon"]))
    adam = csv([row for row in finals() if row[0] == "adam"])
    both = summary_of(run, adam, "--from", "muon.csv")
    one = summary_of(run, csv(finals()), name="one.csv")
    assert both["comparisons"] == one["comparisons"]


def test_reading_text_loads_no_library(tmp_path):
    (tmp_path / "results.csv").write_text(csv(finals()))
    code = "import sys; from clr_cli.results import Query, read_results;"
    code += "read_results(Query(('results.csv',)));"
    code += "print(sorted({'numpy', 'pyarrow', 'polars', 'yaml', 'tensorboard'} & {*sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout == "[]\n", done.stderr


def test_trained_runs_keep_their_page(run, tmp_path):
    (tmp_path / "outputs" / "results" / "train").mkdir(parents=True)
    done = run(GOOD)
    assert done.code == 2
    assert "belongs to runs that clr trained; give another --name" in done.err
    assert run(GOOD, "--name", "other").code == 0


def test_needs_no_torch(tmp_path):
    (tmp_path / "results.csv").write_text(csv(curves(), "arm,seed,step,val_loss"))
    code = "import sys; from clr_cli.cli import app; sys.argv = ['clr'];"
    code += "app.run(['compare', '--from', 'results.csv']);"
    code += "print(sorted({'torch', 'torchvision', 'matplotlib.pyplot'} & {*sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
    assert (tmp_path / "outputs" / "results" / "compare" / "report.html").exists()


def test_names_from_a_file_are_text_on_the_page(run):
    rows = [("<script>alert(1)</script>", k, k) for k in range(5)]
    rows += [("a|b*c$d$", k, k + 0.5) for k in range(5)]
    assert run(csv(rows, "arm,seed,<b>x</b>"), "--mode", "min", "--unit", "<i>").code == 0
    page = Path("outputs/results/compare/report.html").read_text()
    assert "<script>alert" not in page
    assert "<b>x</b>" not in page
    assert "<i>" not in page
    assert math.isfinite(len(page))


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("better",), 0, ""),
        (("better", "--baseline", "muon"), 4, "better than muon does not hold for adam"),
        (("not-worse", "--margin", "0.001"), 0, ""),
        (
            ("not-worse", "--margin", "0.02", "--baseline", "muon"),
            4,
            "not-worse than muon by more than 0.0200 does not hold for adam",
        ),
        (("not-worse", "--margin", "0.05", "--baseline", "muon"), 3, "these runs cannot tell for"),
        (("not-worse",), 2, "--expect: not-worse: say by how much an arm may be worse: --margin"),
        (("beter",), 2, "--expect beter: give better or not-worse"),
    ],
)
def test_a_comparison_is_a_check_that_can_fail(run, options, code, said):
    done = run(csv(finals()), "--expect", *options)
    assert done.code == code, done.err
    assert said in " ".join(done.err.split())
    assert Path("outputs/results/compare/summary.json").exists() == (code != 2)
