"""``import clr_cli as clr``: compare and find_lr as a notebook has them."""

from __future__ import annotations

import argparse
import doctest
import io
import math
import random
import re
import shutil
import statistics
import subprocess
import sys
import threading
from collections import deque
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import clr_cli as clr
from clr_cli import api, format
from clr_cli.analysis import rates as scoring
from clr_cli.execution import fingerprint, function_task
from clr_cli.report.figures.style import arm_colors
from clr_cli.study import functions


def noisy(mean: float, sd: float = 0.1):
    return lambda seed: mean + sd * random.Random(f"{mean}, {seed}").gauss(0, 1)


def test_functions_are_compared(tmp_path):
    arms = {"old": noisy(2.0), "new": noisy(1.0)}
    result = clr.compare(arms, metric="val_loss", seeds=8)
    values = {arm: [train(seed) for seed in range(8)] for arm, train in arms.items()}
    (found,) = result.summary.comparisons
    assert found.difference.mean == pytest.approx(
        statistics.fmean(values["new"]) - statistics.fmean(values["old"])
    )
    assert result.verdicts == {"new": "better"}
    assert result.summary.design == "unpaired"
    assert "new is better than old" in str(result)
    assert "<svg" in result._repr_html_()
    page = result.save(tmp_path / "page")
    assert "new is better than old" in page.read_text()
    assert {"summary.json", "runs.csv"} <= {path.name for path in page.parent.iterdir()}


def test_seeds_are_added_until_it_is_decided():
    asked: list[int] = []

    def train(seed):
        asked.append(seed)
        return noisy(1.0)(seed)

    far = clr.compare({"a": train, "b": noisy(2.0)}, metric="val_loss", seeds="auto")
    assert asked == list(range(6)), "the difference is plain at the first look"
    assert far.summary.rule == "sequential"
    assert far.verdicts == {"b": "worse"}
    same = clr.compare({"a": noisy(1.0), "b": noisy(1.0001)}, metric="val_loss", seeds="auto:12")
    assert same.verdicts == {"b": "undecided"}
    assert same.summary.looks[0].n == 6


def test_rows_give_curves_and_failed_runs_are_counted():
    def train(speed):
        def rows(seed):
            for step in range(1, 11):
                yield {"iteration": step, "val_loss": math.exp(-speed * step) + 0.01 * (seed % 3)}

        return rows

    def fails(seed):
        return math.nan if seed == 2 else 0.5 + seed / 100

    result = clr.compare(
        {"slow": train(0.2), "fast": train(0.6), "fails": fails}, metric="val_loss", mode="min"
    )
    fast = result.summary.comparisons[0]
    assert fast.arm == "fast"
    failing = {arm.name: arm.diverged_seeds for arm in result.summary.arms}
    assert failing == {"slow": [], "fast": [], "fails": [2]}
    assert "Failed to train: 1 of 6 runs of fails" in str(result)
    only = clr.compare({"slow": train(0.2), "fast": train(0.6)}, metric="val_loss", target=0.3)
    (found,) = only.summary.comparisons
    assert found.time_to_target.clocks["iterations"].ratio == pytest.approx(3 / 7, abs=0.1)


@pytest.mark.parametrize(
    ("arms", "options", "message"),
    [
        ({"a": noisy(1)}, {}, "arms: expected a dictionary of two or more functions"),
        ({"a": noisy(1), "b": noisy(1)}, {"baseline": "c"}, "baseline: 'c' is not an arm"),
        ({"a": noisy(1), "b": noisy(1)}, {"metric": "glow"}, "mode: say which glow is better"),
        (
            {"a": lambda seed: {"los": 1.0}, "b": noisy(1)},
            {},
            "a, seed 0: no row contains val_loss; there is los",
        ),
        (
            {"a": noisy(1), "b": lambda seed: [1.0]},
            {},
            "b, seed 0: a row must be a mapping of numbers by name, not 1.0",
        ),
        (
            {"a": noisy(1), "b": lambda seed: {"val_loss": [1.0, 2.0]}},
            {},
            "b, seed 0: val_loss: [1.0, 2.0] is not a number",
        ),
        ({"a": noisy(1), "b": lambda seed: "1.0"}, {}, "b, seed 0: '1.0' is neither a number"),
    ],
)
def test_what_does_not_fit_is_said(arms, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        clr.compare(arms, **{"metric": "val_loss", **options})


def untouched(seed):
    raise AssertionError("nothing may be called")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"arms": {"a": untouched}}, "arms: expected a dictionary of two or more"),
        ({"arms": [untouched, untouched]}, "arms: expected a dictionary of two"),
        ({"arms": {"a": untouched, 3e-4: untouched}}, "arms: 0.0003: a name is 1 to 200"),
        ({"arms": {"a": untouched, "b\n": untouched}}, "arms: 'b\\n': a name is 1 to 200"),
        ({"arms": {"a": untouched, "b" * 201: untouched}}, "a name is 1 to 200"),
        ({"arms": {"a": untouched, "b": 1.0}}, "arms: b: 1.0: give a function of a seed"),
        ({"baseline": "c"}, "baseline: 'c' is not an arm: a, b"),
        ({"metric": "seed"}, "metric: seed identifies a row"),
        ({"metric": 7}, "metric: 7: a name is 1 to 200"),
        ({"name": 7}, "name: 7: a name is 1 to 200"),
        ({"metric": "zeal"}, "mode: say which zeal is better"),
        ({"seeds": "auto:3"}, "the cap must be at least 8"),
        ({"seeds": 0}, "seeds: 0: give their number"),
        ({"seeds": [0, -1]}, "seeds: [0, -1]: give their number"),
        ({"seeds": [2**32]}, "seeds: [4294967296]: give their number"),
        ({"seeds": 1.5}, "seeds: 1.5: give their number"),
        ({"seeds": "many"}, "seeds: 'many': give their number"),
        ({"margin": -1.0}, "margin: -1.0 must be greater than 0"),
        ({"metric": "test_accuracy", "margin": 1.0}, "set the unit to ''"),
        ({"target": math.nan}, "target: nan must be a finite number"),
        ({"jobs": 0}, "jobs: 0: give a number from 1 up, or 'auto'"),
    ],
)
def test_arguments_are_checked_before_the_first_call(options, message):
    given = {"arms": {"a": untouched, "b": untouched}, "metric": "val_loss", **options}
    with pytest.raises(ValueError, match=re.escape(message)):
        clr.compare(**given)


def test_arguments_of_other_types_are_what_they_stand_for():
    given = {"metric": "val_loss", "seeds": np.arange(1, 6), "margin": "0.1"}
    found = clr.compare({"a": noisy(1.0), "b": noisy(1.0)}, **given).summary
    assert found.margin == 0.1
    assert [*found.arms[0].metrics["val_loss"].values] == [1, 2, 3, 4, 5]


def test_any_number_is_a_value_and_text_is_left_out():
    """Also in a tensor or an array, of no dimension or of one number."""

    def rows(seed):
        for step in np.arange(1, 4):
            loss = torch.tensor(3.0 - step, requires_grad=True)
            yield {"step": step, "val_loss": loss, "note": "x", "other": None, "list": [1]}
        yield {"step": 4, "val_loss": None, "train_loss": np.float32(0.5)}

    arms = {
        "tensor": lambda seed: torch.tensor([2.0 + seed], requires_grad=True),
        "array": lambda seed: np.array(1.0 + seed),
        "rows": rows,
    }
    result = clr.compare(arms, metric="val_loss", seeds=np.int64(5))
    finals = {(run.arm, run.seed): run.result["final"] for run in result.records}
    assert finals["tensor", 1] == {"val_loss": 3.0}
    assert finals["array", 2] == {"val_loss": 3.0}
    assert finals["rows", 0] == {"iteration": 4.0, "val_loss": 0.0, "train_loss": 0.5}


def fails_at(seed_to_fail, how):
    def train(seed):
        return how() if seed == seed_to_fail else 1.0 + seed / 100

    return train


def overflow():
    raise FloatingPointError("loss is nan")


def rows_that_end_early():
    yield {"step": 1, "val_loss": 1.0}
    raise ZeroDivisionError("no batches")


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        (overflow, "FloatingPointError: loss is nan"),
        (rows_that_end_early, "ZeroDivisionError: no batches"),
        (lambda: math.exp(1000), "OverflowError: math range error"),
        (lambda: math.nan, None),
        (lambda: -math.inf, None),
        (lambda: 1e16, None),
        (lambda: 10**400, None),
        (lambda: {"val_loss": None}, None),
        (lambda: torch.tensor(math.inf), None),
    ],
)
def test_runs_that_fail_to_train_are_counted_and_named(how, reason):
    arms = {"good": noisy(1.0), "bad": fails_at(2, how)}
    result = clr.compare(arms, metric="val_loss", mode="min")
    (run,) = (run for run in result.records if (run.arm, run.seed) == ("bad", 2))
    assert (run.status, run.result["error"]) == ("diverged", reason)
    assert {arm.name: arm.diverged_seeds for arm in result.summary.arms} == {"good": [], "bad": [2]}
    assert "Failed to train: 1 of 6 runs of bad" in str(result)
    assert next(row["failed"] for row in rows(result.table()) if row["arm"] == "bad") == 1


def test_a_function_that_returns_nothing_is_said_at_its_first_call():
    arms = {"good": noisy(1.0), "bad": lambda seed: None}
    with pytest.warns(UserWarning, match="returned None; the run counts as failed") as told:
        result = clr.compare(arms, metric="val_loss")
    assert str(told[0].message).startswith("bad, seed 0: returned None")
    assert [arm.diverged for arm in result.summary.arms] == [0, 6]


def rows(table):
    """The rows of a table, whether pandas is installed or not."""
    return table if isinstance(table, list) else table.to_dict("records")


def test_results_are_read_in_code(tmp_path):
    arms = {"old": noisy(2.0), "new": noisy(1.0), "more": noisy(1.9)}
    result = clr.compare(arms, metric="val_loss", seeds=8, paired=True)
    compared = {each.arm: each for each in result.summary.comparisons}
    for arm, each in compared.items():
        found = result[arm]
        ends = (found.difference, found.low, found.high)
        assert ends == (each.difference.mean, each.difference.low, each.difference.high)
        assert (found.verdict, found.p, found.sentence) == (
            each.verdict,
            each.p_holm,
            each.sentence,
        )
    assert f"{abs(result['new'].low):.3f}" in str(result).replace("−", "-")
    with pytest.raises(KeyError, match="'old' is not compared with old; there is new, more"):
        result["old"]
    table = {row["arm"]: row for row in rows(result.table())}
    assert list(table) == ["old", "new", "more"]
    assert table["new"]["difference"] == result["new"].difference
    assert table["old"]["mean"] == pytest.approx(2.0, abs=0.1)
    runs = rows(result.runs())
    assert len(runs) == 24
    assert runs[1]["val_loss"] == noisy(1.0)(0)
    assert repr(result) == str(result)


def breaks_at_call(number, error, calls):
    def train(seed):
        calls.append(seed)
        if len(calls) == number:
            raise error
        return 1.0 + seed / 100

    return train


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), KeyboardInterrupt()])
def test_what_a_function_raises_goes_through_with_what_is_finished(error):
    calls = []
    train = breaks_at_call(8, error, calls)
    with pytest.raises(type(error)) as raised:
        clr.compare({"a": train, "b": train}, metric="val_loss")
    assert raised.value is error
    keys = [(run.arm, run.seed) for run in error.finished]
    assert keys == [(arm, seed) for seed in range(4) for arm in "ab"][:7]
    assert error.finished[6].result["final"] == {"val_loss": 1.03}
    assert "7 finished runs are in this exception's attribute finished" in error.__notes__[-1]
    with pytest.raises(type(error)) as raised:
        clr.find_lr(lambda lr, seed: breaks_at_call(11, error, calls)(seed), metric="val_loss")
    assert len(raised.value.finished) == 2


SCRIPT = """
RATE, calls = 0.1, []

def loss(seed):
    return 1.0 + RATE * seed

def train(offset):
    def run(seed, scale=2):
        calls.append(seed)
        if len(calls) in LAST:
            raise RuntimeError("out of memory")
        return scale * loss(seed) + offset
    return run

arms = {"a": train(0.0), "b (new)": train(0.5)}
"""


@pytest.fixture
def executed(tmp_path):
    """Run the script, with some of it changed, and compare its arms; its calls, and the error."""

    def execute(old="", new="", last=None):
        assert old in SCRIPT
        script = {"__name__": "__main__", "LAST": deque([last])}  # LAST is not a plain value
        exec(SCRIPT.replace(old, new) if old else SCRIPT, script)
        try:
            clr.compare(script["arms"], metric="val_loss", directory=tmp_path / "kept")
        except (RuntimeError, ValueError) as error:
            return len(script["calls"]), error
        return len(script["calls"]), None

    return execute


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_with_a_directory_the_same_call_resumes_and_another_is_refused(tmp_path, executed):
    calls, error = executed(last=8)
    assert calls == 8
    assert error.__notes__ == [
        f"clr: 7 finished runs are kept in {tmp_path / 'kept'}: a call with the same functions "
        "resumes"
    ]
    assert executed() == (5, None)
    assert executed() == (0, None)
    assert executed("def loss", "# the same\ndef loss") == (0, None)
    assert (tmp_path / "kept/compare/report.html").exists()
    kept = files(tmp_path)
    for old, new, difference in (
        ("RATE * seed", "RATE * seed**2", "loss has changed since"),
        ("0.1, []", "0.2, []", "values.RATE: 0.1 there, 0.2 now"),
        ("scale=2", "scale=3", "values.scale: 2 there, 3 now"),
        ("train(0.5)", "train(0.7)", "values.offset: 0.5 there, 0.7 now"),
        ("scale * loss", "3 * scale * loss", "train.<locals>.run has changed since"),
    ):
        calls, error = executed(old, new)
        assert calls == 0
        assert difference in str(error)
        assert re.search(
            r"delete \S+/train/\S+ to start over, or keep both with another directory", str(error)
        )
    assert files(tmp_path) == kept


def test_calls_that_an_earlier_fingerprint_kept_are_not_made_again(tmp_path):
    """It did not look into objects of libraries: what it did not see is not compared."""

    def compare(gain, offset=0):
        given, calls = argparse.Namespace(gain=gain), []

        def train(seed):
            calls.append(seed)
            return given.gain * seed + offset

        clr.compare({"a": train, "b": train}, metric="val_loss", directory=tmp_path)
        return len(calls)

    assert compare(0.1) == 12
    with pytest.raises(ValueError, match=r"values\.given\.gain: 0\.1 there, -0\.1 now"):
        compare(-0.1)
    for path in tmp_path.glob("train/*/*/config.yaml"):
        tree = yaml.safe_load(path.read_text())
        del tree["fingerprint"], tree["values"]["given.gain"]
        path.write_text(yaml.safe_dump(tree))
    assert compare(0.1) == 0
    with pytest.raises(ValueError, match=r"values\.offset: 0 there, 1 now"):
        compare(0.1, offset=1)


def test_more_seeds_call_only_the_new_ones(tmp_path):
    calls = []

    def train(seed):
        calls.append(seed)
        return noisy(1.0)(seed)

    for seeds in (6, 8):
        result = clr.compare(
            {"a": train, "b": train}, metric="val_loss", seeds=seeds, directory=tmp_path
        )
    assert calls == [seed for seed in range(8) for _ in "ab"]
    assert [look.n for look in result.summary.looks] == [6, 8], "the first look counts"
    fewer = clr.compare(
        {"a": train, "b": train}, metric="val_loss", seeds=6, directory=tmp_path
    ).summary
    assert [look.n for look in fewer.looks] == [6, 8], "and so does a look at more of the runs"
    assert (fewer.rule, fewer.comparisons[0].n) == ("sequential", 6)


def test_a_search_is_kept_as_well(tmp_path):
    calls = []

    def train(lr, seed):
        calls.append(lr)
        return bowl(lr, seed)

    first = clr.find_lr(train, metric="val_loss", directory=tmp_path)
    count = len(calls)
    assert count == len(list(tmp_path.rglob("seed-*/result.json")))
    again = clr.find_lr(train, metric="val_loss", directory=tmp_path, start=1e-5)
    assert again.lr == first.lr
    assert len(set(calls)) < count + 8, "what both starts ask for is called once"
    assert (tmp_path / "rates/report.html").exists()


def test_runs_of_another_metric_are_named(tmp_path):
    arms = {"a": noisy(1.0), "b": noisy(2.0)}
    clr.compare(arms, metric="val_loss", directory=tmp_path)
    with pytest.raises(ValueError, match="a, seed 0: no row contains test_loss; there is val_loss"):
        clr.compare(arms, metric="test_loss", directory=tmp_path)


@pytest.mark.slow
def test_jobs_give_the_same_numbers(tmp_path):
    """Functions that no worker could import, in a script that nothing guards."""
    code = """
import os, random, sys
import clr_cli as clr
def train(mean):
    def run(seed):
        for step in range(3):
            loss = mean + random.Random(seed).random()
            yield {"step": step, "val_loss": loss, "pid": os.getpid()}
    return run
arms = {"a": train(2.0), "b": train(1.0)}
one, two = (clr.compare(arms, metric="val_loss", jobs=jobs, seeds=4) for jobs in (1, 2))
for result in (one, two):
    values = [row["val_loss"] for run in result.records for row in run.epochs]
    pids = {row["pid"] for run in result.records for row in run.epochs}
    print(values, len(pids), os.getpid() in pids)
assert "torch" not in sys.modules
def broken(seed):
    raise KeyError(f"no {seed}")
try:
    clr.compare({"a": broken, "b": broken}, metric="val_loss", jobs=2)
except KeyError as error:
    print(error, "in broken" in error.__notes__[0], error.finished)
"""
    (tmp_path / "script.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    one, two, raised = done.stdout.splitlines()
    assert one.endswith(" 1 True")
    assert two == one.replace(" 1 True", " 2 False")
    assert re.fullmatch(r"'no \d' True \[\]", raised)


def test_jobs_without_cloudpickle_are_refused_before_the_first_call(monkeypatch):
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    with pytest.raises(ValueError, match="jobs: .* pip install cloudpickle"):
        clr.compare({"a": untouched, "b": untouched}, metric="val_loss", jobs=2)


def test_what_cannot_be_sent_is_refused_before_the_first_call():
    lock = threading.Lock()

    def train(seed):
        return untouched(lock)

    with pytest.raises(ValueError, match="train: cannot be sent to another process: .*lock"):
        clr.compare({"a": train, "b": train}, metric="val_loss", jobs=2)


def test_progress_is_shown_where_it_is_asked_for(capsys):
    clr.compare({"a": noisy(1.0), "b": noisy(2.0)}, metric="val_loss")
    assert capsys.readouterr().err == ""
    clr.compare({"a": noisy(1.0), "b": noisy(2.0)}, metric="val_loss", progress=True)
    assert "12/12" in capsys.readouterr().err

    def rows(lr, seed):
        for step in range(200):
            yield {"step": step, "val_loss": bowl(lr, seed)}

    clr.find_lr(rows, metric="val_loss", progress=True)
    told = capsys.readouterr().err
    assert "seed 0: val_loss 1." in told
    assert told.count("\r") < 400, "not a line for every row"


def test_the_package_lists_what_it_has():
    assert {"compare", "find_lr", "load", "schedules"} <= set(dir(clr))


@pytest.mark.slow
def test_figures_have_their_colors_where_no_page_defines_them():
    """In a browser, as a notebook shows them; in a page they follow its colors."""
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no chromium on this machine")
    results = (
        clr.compare({"old": noisy(2.0), "new": noisy(1.0)}, metric="val_loss"),
        clr.compare({"old": noisy(2.0), "new": noisy(1.0)}, metric="val_loss", paired=True),
        clr.find_lr(bowl, metric="val_loss"),
    )
    looks = arm_colors(["old", "new"], "old")["new"]
    color = f"rgb{tuple(bytes.fromhex(looks[1:]))}"
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for result in results:
            page = browser.new_page(viewport={"width": 800, "height": 800})
            page.set_content(result._repr_html_())
            fills, strokes = (
                page.eval_on_selector_all(
                    "svg [style]",
                    f"all => all.filter(each => each.style.{kind})"
                    f".map(each => getComputedStyle(each).{kind})",
                )
                for kind in ("fill", "stroke")
            )
            assert fills[0] == "rgb(255, 255, 255)", "the paper"
            assert "rgb(0, 0, 0)" not in fills
            assert {"rgb(0, 114, 178)", color} & {*fills, *strokes}, "the arm's color"
            drawn = Image.open(io.BytesIO(page.query_selector("svg").screenshot()))
            assert drawn.convert("RGB").getpixel((3, 3)) == (255, 255, 255)
        browser.close()


@pytest.mark.parametrize(
    ("noise", "highest", "reason"),
    [
        (0.0, 100, "delta is the cause"),
        (0.005, 100, "delta is the cause"),
        (0.0, 1, "delta is the cause"),
        (0.05, 100, "training is not stable"),
        (0.0, 0.02, "training is not stable"),
    ],
)
def test_why_an_interval_is_narrow(noise, highest, reason):
    """A sharp optimum, noise and failing runs next to the best rate are told apart."""

    def train(lr, seed):
        if lr > highest:
            return math.nan
        return 1 + 5 * math.log10(lr / 0.01) ** 2 + random.Random(f"{lr} {seed}").gauss(0, noise)

    found = clr.find_lr(train, metric="val_loss")
    assert "lie within a factor of 2" in found.answer.inconclusive
    assert reason in found.answer.inconclusive
    wide = clr.find_lr(
        lambda lr, seed: 1 + 5 * math.log10(lr / 0.01) ** 2, metric="val_loss", delta=0.3
    )
    assert wide.lr == pytest.approx(0.01, rel=0.3)


def test_a_search_counts_what_a_function_raises_as_failed():
    def raises(lr, seed):
        if lr > 0.02:
            raise FloatingPointError("loss is nan")
        return 1 + math.log10(lr / 0.01) ** 2

    def diverges(lr, seed):
        return math.nan if lr > 0.02 else 1 + math.log10(lr / 0.01) ** 2

    first, second = (clr.find_lr(each, metric="val_loss") for each in (raises, diverges))
    assert first.answer.cliff == second.answer.cliff == pytest.approx(0.025)
    assert (first.lr, first.interval) == (second.lr, second.interval)


def bowl(lr: float, seed: int) -> float:
    """Best at .004; from 1 on it diverges."""
    if lr >= 1:
        return math.nan
    noise = random.Random(f"{lr}, {seed}").gauss(0, 0.002)
    return 1.5 + 0.15 * math.log10(lr / 0.004) ** 2 + noise


@pytest.mark.parametrize("start", [1e-5, 3e-4, 3.0])
def test_the_answer_does_not_depend_on_the_start(start):
    """3 % of 1.5 is .045: half a decade and a little to either side of .004."""
    found = clr.find_lr(bowl, start=start, metric="val_loss", mode="min")
    low, high = found.interval
    reach = 10 ** math.sqrt(0.045 / 0.15)
    assert found.lr == pytest.approx(0.004, rel=0.25)
    assert low == pytest.approx(0.004 / reach, rel=0.35)
    assert high == pytest.approx(0.004 * reach, rel=0.35)
    there = clr.find_lr(bowl, metric="val_loss", mode="min")
    assert (found.lr, found.interval) == (there.lr, there.interval)


def test_a_metric_to_be_maximised_and_a_delta_of_ones_own(tmp_path):
    found = clr.find_lr(
        lambda lr, seed: -bowl(lr, seed), metric="score", mode="max", delta=0.045, start=0.01
    )
    assert found.lr == pytest.approx(0.004, rel=0.25)
    assert found.answer.top == pytest.approx(-1.5, abs=0.05)
    page = found.save(tmp_path)
    assert "Good rates" in page.read_text()
    assert "<svg" in found._repr_html_()
    assert "good rates" in str(found)


def test_accuracies_in_percent_are_judged_as_the_same_search_without_a_unit():
    def percent(lr, seed):
        return 95 - 10 * math.log10(lr / 0.01) ** 2 + random.Random(seed).gauss(0, 0.1)

    by_name, plain = (clr.find_lr(percent, metric="test_accuracy", unit=u) for u in (None, ""))
    assert by_name.answer == plain.answer.model_copy(update={"seconds": by_name.answer.seconds})
    assert by_name.interval[0] < 0.005 < 0.02 < by_name.interval[1]


def test_a_cliff_is_part_of_the_answer():
    def steep(lr, seed):
        return math.nan if lr > 0.02 else 1 + 0.001 / lr

    found = clr.find_lr(steep, metric="val_loss", delta=1.0)
    assert found.answer.cliff == pytest.approx(0.025)
    assert found.lr <= found.answer.cliff / 2
    assert "from 0.025 on, runs fail" in str(found)


def test_nothing_learned_is_no_answer():
    found = clr.find_lr(lambda lr, seed: math.nan, metric="val_loss")
    assert found.lr is None
    assert found.interval is None
    assert "inconclusive" in str(found)
    with pytest.raises(ValueError, match="say how far from the best is still good"):
        clr.find_lr(lambda lr, seed: -1.0, metric="val_loss")


@pytest.mark.parametrize("module", [api, format, scoring, fingerprint, function_task, functions])
def test_the_examples_in_the_docstrings_hold(module):
    assert doctest.testmod(module).failed == 0


def test_the_recipe_of_a_notebook_runs_as_it_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (Path(__file__).parents[1] / "configs/README.md").read_text()
    cells = re.findall(r"<!-- recipe notebook -->\n```python\n(.*?)```", text, flags=re.S)
    assert len(cells) == 3
    names = {"__name__": "__main__"}
    for cell in cells:
        exec(cell, names)
    low, high = names["found"].interval
    assert low < names["found"].lr < high
    assert names["new"].verdict == names["result"].verdicts["momentum"]
    assert {path.name for path in Path("runs").iterdir()} == {"plain", "momentum"}
    assert Path("page/report.html").exists()


def test_the_package_loads_neither_torch_nor_matplotlib():
    """In a fresh process; nor does anything that has nothing to draw or train."""
    code = """
import sys
import clr_cli as clr
assert not {"torch", "matplotlib", "scipy"} & set(sys.modules)
clr.schedules.make("constant", {"lr": 1.0})
clr.find_lr(lambda lr, seed: 1 + abs(lr - 0.01), metric="val_loss")
clr.compare({"a": lambda seed: 1.0 + seed, "b": lambda seed: 2.0 + seed}, metric="val_loss")
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
