"""The claim rules, end to end: what the benchmark simulates is the rule, and it holds its level."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import experiments
import practice
from draws import DISTRIBUTIONS, SYMMETRIC
from experiments import Cell
from intervals import coverage
from support.summaries import summarize

from clr_cli.analysis import sequential, stats
from clr_cli.records import ControlledVariables

EXPONENTIAL = "exponential (skewness 2)"


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("draw", ["normal", "normal, 10 % of pairs fail", "coarse (many ties)"])
def test_the_benchmark_judges_as_the_summary_does(draw: str, seed: int) -> None:
    """Three arms, one of which differs: by seeds fixed in advance, and by seeds that are added."""
    rng = np.random.default_rng(seed)
    values = DISTRIBUTIONS[draw][0](rng, (3, 12)) + np.array([[1.5], [0], [0]])
    records = [practice.record("base", k, 0.5) for k in range(12)]
    for arm, row in enumerate(values):
        for k, value in enumerate(row):
            failed = math.isnan(value)
            accuracy = 0.5 if failed else 0.5 + 0.01 * value
            records.append(practice.record(f"arm {arm}", k, accuracy, diverged=failed))
    common = {
        "experiment": "",
        "context": ControlledVariables(),
        "num_classes": 10,
        "baseline": "base",
    }
    options = {"margin": 0.01 * experiments.NO_MARGIN}

    def said(**how: object) -> list[str]:
        summary = summarize(records, **common, **options, **how)
        return [comparison.verdict for comparison in summary.comparisons]

    assert said() == experiments.fixed(values, experiments.NO_MARGIN)
    verdicts, n = experiments.added(values, sequential.looks(12), 12, experiments.NO_MARGIN)
    records = [record for record in records if record.seed < n]
    assert said(looks=sequential.looks(n), cap=12) == verdicts


@pytest.mark.parametrize("plan", ["6", "10", "auto", "growing"])
@pytest.mark.parametrize("draw", [*SYMMETRIC[1:], EXPONENTIAL])
def test_the_levels_hold(draw: str, plan: str) -> None:
    """tests/benchmarks/README.md has all cells with more replications."""
    cell = experiments.measure(replace(Cell(plan, draw), reps=400))
    aim = 0.05 if draw in SYMMETRIC else 0.07
    assert cell["false"] <= aim + 2 * math.sqrt(aim * (1 - aim) / 400)
    assert cell["covered"] >= 0.88


@pytest.mark.parametrize("draw", ["normal", EXPONENTIAL])
@pytest.mark.parametrize("plan", ["10", "auto"])
def test_a_difference_of_the_margin_is_hardly_ever_called_equivalent(draw: str, plan: str) -> None:
    cell = experiments.measure(replace(Cell(plan, draw, 1, 2.0, margin=2.0), reps=300))
    assert cell["false"] <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 300)


@pytest.mark.parametrize("arms", [1, 4])
def test_the_power_that_a_plan_states_is_that_of_the_rule(arms: int) -> None:
    """Stated: what 30 seeds find 4 times in 5, if they are added after looking."""
    size = stats.smallest_detectable(1.0, 30, arms * sequential.STRICTER)
    assert size is not None
    cell = experiments.measure(replace(Cell("auto", "normal", arms, size), reps=400))
    assert cell["right"] == pytest.approx(0.8, abs=0.08)


def test_bca_alone_would_not_hold_its_level() -> None:
    held = coverage("normal", 10, 500, resamples=999)
    assert held["bca"] < 0.93 < held["chosen"]
