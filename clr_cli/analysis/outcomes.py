"""The outcomes of single runs, the target, and each arm on its own."""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from clr_cli.analysis import times
from clr_cli.analysis.stuck import are_set_apart, most_elsewhere
from clr_cli.format import Scale
from clr_cli.records import (
    CLOCKS,
    ArmSummary,
    ArmTimes,
    Clock,
    Cost,
    Failing,
    Metric,
    RunRecord,
    Spread,
    Stuck,
    Times,
    finite,
)

AUTO_TARGET_SEEDS = 6
BESIDE = ("test_loss", "train_loss")  # shown beside the metric of the comparison


@dataclass(frozen=True)
class Measures:
    """The metrics and clocks of a comparison.

    metric: what is compared. target_metric: the metric of time to target. names: of all metrics
    that every finished run ends with. clocks: those in the rows of every finished run.
    """

    metric: Metric
    target_metric: Metric
    names: tuple[str, ...]
    clocks: tuple[Clock, ...]

    @staticmethod
    def of(records: Iterable[RunRecord], metric: Metric, target_metric: Metric) -> Measures:
        """Return what all finished runs were measured by."""
        finished = [run for run in records if run.status == "finished"]
        wanted = dict.fromkeys([metric.name, *BESIDE, target_metric.name])
        names = [
            name
            for name in wanted
            if name == metric.name or all(name in run.result["final"] for run in finished)
        ]
        curves = [curve(run, target_metric) for run in finished]
        clocks = [
            clock
            for clock in CLOCKS
            if curves and all(times.moments(rows, clock) is not None for rows in curves)
        ]
        # All count the same, but where batches are of several sizes: rows tell images then.
        progress = [clock for clock in clocks if clock != "seconds"]
        clocks = [clock for clock in clocks if clock not in progress[1:]]
        return Measures(metric, target_metric, tuple(names), tuple(clocks))


def curve(run: RunRecord, target_metric: Metric) -> list[dict[str, float]]:
    """Return the rows of a run that contain this metric."""
    return [row for row in run.epochs if target_metric.name in row]


@dataclass(frozen=True)
class Outcome:
    """The numbers of one run, also of a diverged one."""

    final: dict[str, float]
    times: dict[Clock, float]  # to the target; infinite when it was never held

    @staticmethod
    def of(run: RunRecord, measures: Measures, target: float | None) -> Outcome:
        """Return a run's final metrics, and its times to the target on every clock."""
        never: dict[Clock, float] = dict.fromkeys(measures.clocks, math.inf)
        if run.status == "diverged":
            return Outcome(dict.fromkeys(measures.names, math.nan), never)
        final = {name: float(run.result["final"][name]) for name in measures.names}
        if target is None or not measures.clocks:
            return Outcome(final, {})
        rows = curve(run, measures.target_metric)
        reached = times.time_to_target(rows, target, measures.target_metric)
        if reached is None:
            return Outcome(final, never)
        moments = {clock: times.moments(rows, clock) or [] for clock in measures.clocks}
        return Outcome(final, {clock: at[reached] for clock, at in moments.items()})


def goal(label: str, scale: Scale, target: float) -> str:
    """Return a target in words.

    >>> goal("validation accuracy", Scale("%", 2), 0.9), goal("val loss", Scale("", 4), 3.28)
    ('90 % validation accuracy', 'val loss 3.28')
    """
    text = scale.brief(target)
    return f"{text} {label}" if scale.unit == "%" else f"{label} {text}"


def choose_target(
    runs: Mapping[int, RunRecord],
    target: float | Literal["auto"],
    measures: Measures,
    scale: Scale,
    chance: float | None,
) -> tuple[float, str] | None:
    """Return the target and how it was chosen; None where half of the runs to choose it by failed.

    "auto" takes the median of the baseline's first AUTO_TARGET_SEEDS runs in the order of their
    seeds, so that seeds added later do not move it. A diverged run counts as chance, or as the
    worst.
    """
    target_metric = measures.target_metric
    if target != "auto":
        return target, f"{goal(target_metric.label, scale, target)}, given before the comparison"
    first = [run for run in runs.values() if run.status != "failed"][:AUTO_TARGET_SEEDS]
    if not first:
        raise ValueError("no run of the baseline finished, so there is no automatic target")
    failed = target_metric.worst if chance is None else chance
    median = statistics.median(
        failed if run.status == "diverged" else float(run.result["final"][target_metric.name])
        for run in first
    )
    if not math.isfinite(median):
        return None
    who = f"first {len(first)} runs" if len(first) > 1 else "first run"
    return median, (
        f"the median final {target_metric.label} of {first[0].arm}'s {who}"
        f" (seeds {', '.join(str(run.seed) for run in first)}): {scale.brief(median)}"
    )


def describe_arm(
    arm: str,
    runs: Mapping[int, RunRecord],
    outcomes: Mapping[int, Outcome],
    measures: Measures,
    cost: Mapping[str, float] | None,
    stuck: Sequence[Stuck] = (),
) -> ArmSummary:
    """Return one arm's part of the summary. Means are of the runs that are judged.

    cost: seconds besides training; None where no run tells its own.
    """
    result = next((run.result for run in runs.values() if run.result), {})
    diverged, failed = (
        [seed for seed, run in runs.items() if run.status == status]
        for status in ("diverged", "failed")
    )
    lost = len(diverged) + len(failed)
    are_apart = are_set_apart(len(stuck), len(runs) - lost)
    apart = {each.seed for each in stuck if are_apart}
    by_clock: dict[Clock, dict[int, float]] = {
        clock: {seed: outcome.times[clock] for seed, outcome in outcomes.items()}
        for clock in measures.clocks
        if all(clock in outcome.times for outcome in outcomes.values())
    }
    main = next(iter(by_clock.values()), {})
    return ArmSummary(
        name=arm,
        schedule=result.get("schedule", {}),
        iterations_per_epoch=result.get("iterations_per_epoch"),
        n=len(outcomes),
        diverged=len(diverged),
        failed=len(failed),
        diverged_seeds=diverged,
        failed_seeds=failed,
        failing=Failing(count=lost, runs=len(runs), high=most_elsewhere(lost, len(runs))),
        stuck=[*stuck],
        metrics={
            name: spread({seed: outcome.final[name] for seed, outcome in outcomes.items()}, apart)
            for name in measures.names
        },
        time_to_target=ArmTimes(
            reached=sum(map(math.isfinite, main.values())),
            clocks={clock: _times(values) for clock, values in by_clock.items()},
        )
        if by_clock
        else None,
        cost=None
        if cost is None
        else Cost(
            train_seconds=sum(run.result.get("train_seconds", 0.0) for run in runs.values()),
            tuning_seconds=cost.get("tuning_seconds", 0.0),
            range_test_seconds=cost.get("range_test_seconds", 0.0),
            runs=len(runs),
        ),
    )


def _times(values: Mapping[int, float]) -> Times:
    median = statistics.median(values.values()) if values else None
    return Times(values=_finite(values), median=finite(median))


def _finite(values: Mapping[int, float]) -> dict[int, float | None]:
    return {seed: finite(value) for seed, value in values.items()}


def spread(values: Mapping[int, float], apart: Collection[int] = ()) -> Spread:
    """Return mean and standard deviation over the runs that trained, and the values by seed.

    apart: seeds of stuck runs, which are in neither.

    >>> spread({0: 1.0, 1: 3.0, 2: math.nan}).mean
    2.0
    """
    trained = {seed: value for seed, value in values.items() if not math.isnan(value)}
    numbers = [value for seed, value in trained.items() if seed not in apart]
    known = bool(numbers) and all(map(math.isfinite, numbers))
    return Spread(
        mean=statistics.fmean(numbers) if known else None,
        sd=statistics.stdev(numbers) if known and len(numbers) > 1 else None,
        values=_finite(values),
    )
