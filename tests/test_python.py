"""``import clr_cli as clr``: compare and find_lr as a notebook has them."""

from __future__ import annotations

import doctest
import math
import random
import statistics
import subprocess
import sys

import pytest

import clr_cli as clr
from clr_cli import api, format
from clr_cli.analysis import rates as scoring


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
        ({"a": noisy(1)}, {}, "arms: a comparison needs two or more"),
        ({"a": noisy(1), "b": noisy(1)}, {"baseline": "c"}, "baseline: 'c' is not an arm"),
        ({"a": noisy(1), "b": noisy(1)}, {"metric": "glow"}, "mode: say which glow is better"),
        (
            {"a": lambda seed: {"los": 1.0}, "b": noisy(1)},
            {},
            "no row contains val_loss; there is los",
        ),
        (
            {"a": lambda seed: [1.0], "b": noisy(1)},
            {},
            "a row must be a mapping of numbers by name",
        ),
        ({"a": noisy(1), "b": noisy(1)}, {"seeds": "auto:3"}, "the cap must be at least 8"),
        ({"a": noisy(1), "b": noisy(1)}, {"seeds": 0}, "seeds"),
    ],
)
def test_what_does_not_fit_is_said(arms, options, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        clr.compare(arms, **{"metric": "val_loss", **options})


def test_what_a_function_raises_goes_through():
    def broken(seed):
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        clr.compare({"a": broken, "b": broken}, metric="val_loss")


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
    assert "good rates" in page.read_text()
    assert "<svg" in found._repr_html_()
    assert "good rates" in str(found)


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


@pytest.mark.parametrize("module", [api, format, scoring])
def test_the_examples_in_the_docstrings_hold(module):
    assert doctest.testmod(module).failed == 0


def test_the_package_loads_neither_torch_nor_matplotlib():
    """In a fresh process; nor does anything that has nothing to draw or train."""
    code = """
import sys
import clr_cli as clr
assert not {"torch", "matplotlib", "scipy"} & set(sys.modules)
clr.schedules.make("constant", {"lr": 1.0})
clr.find_lr(lambda lr, seed: 1 + abs(lr - 0.01), metric="val_loss")
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
