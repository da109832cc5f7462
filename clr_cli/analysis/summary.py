"""Finished runs -> the comparison of every arm with the baseline, in numbers and in words.

Accuracies are fractions here; the sentences show percent and points.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from clr_cli.analysis import stats
from clr_cli.analysis.comparisons import Side, comparisons, decide
from clr_cli.analysis.outcomes import Measures, Outcome, choose_target, describe_arm, spread
from clr_cli.analysis.sentences import Wording, scope
from clr_cli.format import Scale, decimals
from clr_cli.records import (
    TEST_ACCURACY,
    ControlledVariables,
    Design,
    Metric,
    Reproduce,
    RunRecord,
    Summary,
    Target,
    Tuning,
)


def summarize(
    records: Iterable[RunRecord],
    *,
    experiment: str,
    context: ControlledVariables,
    baseline: str | float,
    paired: bool = True,
    metric: Metric = TEST_ACCURACY,
    target_metric: Metric | None = None,
    num_classes: int | None = None,
    target: float | Literal["auto"] = "auto",
    margin: float | None = 0.001,
    detect: float | None = None,
    looks: Sequence[int] = (),
    cap: int | None = None,
    costs: Mapping[str, Mapping[str, float]] | None = None,
    tuning: Tuning | None = None,
    reproduce: Reproduce | None = None,
) -> Summary:
    """Compare every arm with the baseline.

    Failing to train is a result of its own: a run that diverged or could not be finished is counted
    and named, and no difference contains it. A diverged run never reaches the target.

    Args:
        records: the runs; the arms of the summary are in the order of their first record, the
            baseline first.
        experiment: its name.
        context: what the arms share and how they differ, passed through.
        baseline: an arm, or a number that the mean of every arm is compared with.
        paired: whether runs of equal seeds share their randomness, so that their difference is
            less noisy than they are. Otherwise the arms are independent samples.
        metric: what is compared: its value at the end of each run (``result["final"]``).
        target_metric: the metric of time to target, from the rows of the runs; default: see
            `outcomes.Measures.of`.
        num_classes: of a classifier; a diverged run then counts as chance in the target.
        target: a value of target_metric, or "auto": see `outcomes.choose_target`.
        margin: the difference of the metric that does not matter (for accuracies: a fraction).
            None: no difference is called equivalent.
        detect: the difference for which the seeds needed are estimated; default: margin.
        looks: the numbers of seeds at which the comparison was looked at. With several of them, or
            with a cap, `sequential` decides instead of the rule for seeds fixed in advance.
        cap: the most seeds, where they are added until the comparison is decided.
        costs: seconds per arm besides training, such as {"clr": {"range_test_seconds": 60.0}}.
        tuning: how the arms' learning rates were chosen, passed through.
        reproduce: how to repeat the comparison, passed through.

    Raises:
        ValueError: the baseline has no run, or a seed occurs twice in one arm.

    """
    records = list(records)
    reference = None if isinstance(baseline, str) else float(baseline)
    design: Design = "number" if reference is not None else "paired" if paired else "unpaired"
    sequential = len(looks) > 1 or cap is not None
    if reference is not None and sequential:
        raise ValueError("seeds can be added after looking only where arms are compared")
    arms: dict[str, dict[int, RunRecord]] = {} if reference is not None else {str(baseline): {}}
    for record in records:
        if arms.setdefault(record.arm, {}).setdefault(record.seed, record) is not record:
            raise ValueError(f"{record.arm}: seed {record.seed} occurs twice")
    if not all(arms.values()):
        raise ValueError(f"the baseline {baseline!r} has no run")
    arms = {arm: dict(sorted(runs.items())) for arm, runs in arms.items()}
    measures = Measures.of(records, metric, target_metric)
    scale = Scale(metric.unit, _decimals(arms, metric))
    goal = None
    if measures.clocks and target == "auto" and reference is not None:
        goal = reference, f"the number that the arms are compared with: {scale.exact(reference)}"
    elif measures.clocks:
        first = arms[str(baseline)] if reference is None else {}
        goal = choose_target(first, target, measures, scale, num_classes)
    if goal is None:
        measures = replace(measures, clocks=())
    sides = [
        Side(
            arm,
            runs,
            {
                seed: Outcome.of(run, measures, goal and goal[0])
                for seed, run in runs.items()
                if run.status != "failed"
            },
        )
        for arm, runs in arms.items()
    ]
    base, others = sides[0], sides[1:]
    if reference is not None:
        base, others = Side(scale.exact(reference), {}, {}), sides
    decisions = None
    if sequential:
        decisions = decide(
            records,
            baseline=base.name,
            looks=looks,
            margin=margin,
            cap=cap,
            metric=metric,
            paired=paired,
        )
    wording = Wording(
        design=design,
        measures=measures,
        scale=scale,
        reference=reference,
        target=goal and goal[0],
        margin=margin,
        detect=detect,
        comparisons=len(others),
    )
    compared = comparisons(others, base, measures, wording, decisions)
    costed = bool(costs) or any("train_seconds" in run.result for run in records)
    return Summary(
        experiment=experiment,
        metric=metric,
        decimals=scale.decimals,
        design=design,
        baseline=base.name,
        reference=reference,
        level=stats.LEVEL,
        claim_level=stats.CLAIM_LEVEL,
        margin=margin,
        detect=detect,
        num_seeds=max(len(side.outcomes) for side in sides),
        looks=list(looks),
        rule="sequential" if sequential else "fixed",
        controlled=context,
        target=goal and Target(metric=measures.target_metric.name, value=goal[0], source=goal[1]),
        arms=[
            describe_arm(*side, measures, (costs or {}).get(side.name, {}) if costed else None)
            for side in sides
        ],
        comparisons=compared,
        tuning=tuning,
        verdict=" ".join(comparison.sentence for comparison in compared)
        or f"Only {baseline} has run: there is nothing to compare it with.",
        scope=scope(context, tuning),
        reproduce=reproduce or Reproduce(),
    )


def _decimals(arms: Mapping[str, Mapping[int, RunRecord]], metric: Metric) -> int:
    """Return the decimals of the metric. In percent they are two: one image of 10,000."""
    if metric.unit == "%":
        return 2
    finals = [
        {
            seed: float(run.result["final"][metric.name])
            for seed, run in runs.items()
            if run.status == "finished"
        }
        for runs in arms.values()
    ]
    return decimals(
        (spread(values).sd for values in finals), (v for f in finals for v in f.values())
    )
