"""What single runs came to: their numbers, the target, and each arm on its own."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from scipy import stats as distributions

from clr_cli.analysis import stats, times
from clr_cli.format import brief_percent
from clr_cli.records import RunRecord

AUTO_TARGET_SEEDS = 6
METRICS = ("test_accuracy", "test_loss", "train_loss", "val_accuracy")


@dataclass(frozen=True)
class Outcome:
    """One run's numbers, a diverged run's included."""

    final: dict[str, float]
    iterations: float  # to the target; infinite when it was never held
    seconds: float
    trained: bool = True  # False: it diverged, so its final numbers are not results

    @staticmethod
    def of(run: RunRecord, target: float) -> Outcome:
        if run.status == "diverged":
            return Outcome(dict.fromkeys(METRICS, math.nan), math.inf, math.inf, trained=False)
        final = {metric: float(run.result["final"][metric]) for metric in METRICS}
        reached = times.time_to_target(run.epochs, target)
        if reached is None:
            return Outcome(final, math.inf, math.inf)
        seconds = sum(row["train_seconds"] for row in run.epochs[: reached + 1])
        return Outcome(final, run.epochs[reached]["iteration"], seconds)


def choose_target(
    runs: Mapping[int, RunRecord], target: float | Literal["auto"], num_classes: int
) -> tuple[float, str]:
    """The target, and how it was fixed.

    "auto" takes the baseline's first AUTO_TARGET_SEEDS runs in the order of their seeds, so that
    seeds added later do not move it.
    """
    if target != "auto":
        return target, f"{brief_percent(target)} validation accuracy, given before the comparison"
    first = [run for run in runs.values() if run.status != "failed"][:AUTO_TARGET_SEEDS]
    if not first:
        raise ValueError("no run of the baseline finished, so there is no automatic target")
    value = statistics.median(
        1 / num_classes if run.status == "diverged" else float(run.result["final"]["val_accuracy"])
        for run in first
    )
    who = f"first {len(first)} runs" if len(first) > 1 else "first run"
    return value, (
        f"the median final validation accuracy of {first[0].arm}'s {who}"
        f" (seeds {', '.join(str(run.seed) for run in first)}): {brief_percent(value)}"
    )


def describe_arm(
    arm: str,
    runs: Mapping[int, RunRecord],
    outcomes: Mapping[int, Outcome],
    cost: Mapping[str, float],
) -> dict[str, Any]:
    any_run = next(iter(runs.values()), None)
    times = {
        "iterations": {seed: outcome.iterations for seed, outcome in outcomes.items()},
        "seconds": {seed: outcome.seconds for seed, outcome in outcomes.items()},
    }
    return {
        "name": arm,
        "schedule": any_run.result.get("schedule", {}) if any_run else {},
        "n": len(outcomes),
        "diverged": sum(run.status == "diverged" for run in runs.values()),
        "failed": sum(run.status == "failed" for run in runs.values()),
        "diverged_seeds": [seed for seed, run in runs.items() if run.status == "diverged"],
        "failed_seeds": [seed for seed, run in runs.items() if run.status == "failed"],
        **{
            metric: _spread({seed: outcome.final[metric] for seed, outcome in outcomes.items()})
            for metric in METRICS
        },
        "failing": failing(sum(run.status != "finished" for run in runs.values()), len(runs)),
        "time_to_target": {
            **{
                unit: {
                    "values": values,
                    "median": statistics.median(values.values()) if values else None,
                }
                for unit, values in times.items()
            },
            "reached": sum(map(math.isfinite, times["iterations"].values())),
        },
        "cost": {
            "train_seconds": sum(run.result.get("train_seconds", 0.0) for run in runs.values()),
            "tuning_seconds": cost.get("tuning_seconds", 0.0),
            "range_test_seconds": cost.get("range_test_seconds", 0.0),
            "runs": len(runs),
        },
    }


def failing(count: int, runs: int) -> dict[str, Any]:
    """How many runs failed to train, and the exact upper end of the true share (one-sided 95 %).

    Clopper & Pearson (1934): none of 8 still allows a share of 31 %.

    >>> round(failing(0, 8)["high"], 2)
    0.31
    """
    test = distributions.binomtest(count, runs, alternative="less")
    return {"count": count, "runs": runs, "high": float(test.proportion_ci(stats.LEVEL).high)}


def _spread(values: Mapping[int, float]) -> dict[str, Any]:
    numbers = [value for value in values.values() if not math.isnan(value)]  # of what trained
    finite = bool(numbers) and all(map(math.isfinite, numbers))
    return {
        "mean": statistics.fmean(numbers) if finite else None,
        "sd": statistics.stdev(numbers) if finite and len(numbers) > 1 else None,
        "values": dict(values),
    }
