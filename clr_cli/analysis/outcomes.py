"""What single runs came to: their numbers, the target, and each arm on its own."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from scipy import stats as distributions

from clr_cli.analysis import stats, times
from clr_cli.format import Scale
from clr_cli.records import TEST_ACCURACY, VAL_ACCURACY, Clock, Metric, RunRecord

AUTO_TARGET_SEEDS = 6
BESIDE = ("test_loss", "train_loss")  # shown beside the metric of the comparison


@dataclass(frozen=True)
class Measures:
    """What the runs of a comparison were measured by.

    metric: what is compared. watched: what time to target goes by; for our own classifiers it is
    validation accuracy, because nothing is chosen on the test split. names: of all metrics that
    every finished run ends with. clocks: those that every finished run's rows tell.
    """

    metric: Metric
    watched: Metric
    names: tuple[str, ...]
    clocks: tuple[Clock, ...]

    @staticmethod
    def of(records: Iterable[RunRecord], metric: Metric, watched: Metric | None) -> Measures:
        finished = [run for run in records if run.status == "finished"]
        if watched is None:
            watched = VAL_ACCURACY if metric == TEST_ACCURACY else metric
        wanted = dict.fromkeys([metric.name, *BESIDE, watched.name])
        names = [
            name
            for name in wanted
            if name == metric.name or all(name in run.result["final"] for run in finished)
        ]
        curves = [curve(run, watched) for run in finished]
        clocks = [
            clock
            for clock in times.CLOCKS
            if curves and all(times.moments(rows, clock) is not None for rows in curves)
        ]
        # All count the same, but where batches are of several sizes: rows tell images then.
        progress = [clock for clock in clocks if clock != "seconds"]
        clocks = [clock for clock in clocks if clock not in progress[1:]]
        return Measures(metric, watched, tuple(names), tuple(clocks))


def curve(run: RunRecord, watched: Metric) -> list[dict[str, float]]:
    """The rows of a run that hold this metric."""
    return [row for row in run.epochs if watched.name in row]


@dataclass(frozen=True)
class Outcome:
    """One run's numbers, a diverged run's included."""

    final: dict[str, float]
    times: dict[Clock, float]  # to the target; infinite when it was never held
    trained: bool = True  # False: it diverged, so its final numbers are not results

    @staticmethod
    def of(run: RunRecord, measures: Measures, target: float | None) -> Outcome:
        never: dict[Clock, float] = dict.fromkeys(measures.clocks, math.inf)
        if run.status == "diverged":
            return Outcome(dict.fromkeys(measures.names, math.nan), never, trained=False)
        final = {name: float(run.result["final"][name]) for name in measures.names}
        if target is None or not measures.clocks:
            return Outcome(final, {})
        rows = curve(run, measures.watched)
        reached = times.time_to_target(rows, target, measures.watched)
        if reached is None:
            return Outcome(final, never)
        found = {clock: (times.moments(rows, clock) or [])[reached] for clock in measures.clocks}
        return Outcome(final, found)


def goal(label: str, scale: Scale, target: float) -> str:
    """A target in words.

    >>> goal("validation accuracy", Scale("%", 2), 0.9), goal("val loss", Scale("", 4), 3.28)
    ('90.0 % validation accuracy', 'val loss 3.28')
    """
    text = scale.brief(target)
    return f"{text} {label}" if scale.unit == "%" else f"{label} {text}"


def choose_target(
    runs: Mapping[int, RunRecord],
    target: float | Literal["auto"],
    measures: Measures,
    scale: Scale,
    num_classes: int | None,
) -> tuple[float, str] | None:
    """The target, and how it was fixed; None where half of the runs that would tell it failed.

    "auto" takes the baseline's first AUTO_TARGET_SEEDS runs in the order of their seeds, so that
    seeds added later do not move it. A run that diverged counts as chance, or as the worst.
    """
    watched = measures.watched
    if target != "auto":
        return target, f"{goal(watched.label, scale, target)}, given before the comparison"
    first = [run for run in runs.values() if run.status != "failed"][:AUTO_TARGET_SEEDS]
    if not first:
        raise ValueError("no run of the baseline finished, so there is no automatic target")
    chance = watched.worst if num_classes is None else 1 / num_classes
    found = statistics.median(
        chance if run.status == "diverged" else float(run.result["final"][watched.name])
        for run in first
    )
    if not math.isfinite(found):
        return None
    who = f"first {len(first)} runs" if len(first) > 1 else "first run"
    return found, (
        f"the median final {watched.label} of {first[0].arm}'s {who}"
        f" (seeds {', '.join(str(run.seed) for run in first)}): {scale.brief(found)}"
    )


def describe_arm(
    arm: str,
    runs: Mapping[int, RunRecord],
    outcomes: Mapping[int, Outcome],
    measures: Measures,
    cost: Mapping[str, float] | None,
) -> dict[str, Any]:
    """One arm for summary.json. cost: seconds besides training; None where no run tells its own."""
    any_run = next(iter(runs.values()), None)
    timed = {
        clock: {seed: outcome.times[clock] for seed, outcome in outcomes.items()}
        for clock in measures.clocks
        if all(clock in outcome.times for outcome in outcomes.values())
    }
    main = next(iter(timed.values()), {})
    return {
        "name": arm,
        "schedule": any_run.result.get("schedule", {}) if any_run else {},
        "iterations_per_epoch": any_run.result.get("iterations_per_epoch") if any_run else None,
        "n": len(outcomes),
        "diverged": sum(run.status == "diverged" for run in runs.values()),
        "failed": sum(run.status == "failed" for run in runs.values()),
        "diverged_seeds": [seed for seed, run in runs.items() if run.status == "diverged"],
        "failed_seeds": [seed for seed, run in runs.items() if run.status == "failed"],
        "metrics": {
            name: spread({seed: outcome.final[name] for seed, outcome in outcomes.items()})
            for name in measures.names
        },
        "failing": failing(sum(run.status != "finished" for run in runs.values()), len(runs)),
        "time_to_target": {
            "reached": sum(map(math.isfinite, main.values())),
            "clocks": {
                clock: {
                    "values": values,
                    "median": statistics.median(values.values()) if values else None,
                }
                for clock, values in timed.items()
            },
        }
        if timed
        else None,
        "cost": None
        if cost is None
        else {
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


def spread(values: Mapping[int, float]) -> dict[str, Any]:
    """Mean and standard deviation over the runs that trained, and the values by seed.

    >>> spread({0: 1.0, 1: 3.0, 2: math.nan})["mean"]
    2.0
    """
    numbers = [value for value in values.values() if not math.isnan(value)]  # of what trained
    finite = bool(numbers) and all(map(math.isfinite, numbers))
    return {
        "mean": statistics.fmean(numbers) if finite else None,
        "sd": statistics.stdev(numbers) if finite and len(numbers) > 1 else None,
        "values": dict(values),
    }
