"""Finished runs -> the comparison of every arm with the baseline, in numbers and in words.

Accuracies are fractions here; the sentences show percent and points.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from clr_cli.analysis import stats
from clr_cli.analysis.comparisons import Side, comparisons, decide
from clr_cli.analysis.outcomes import Measures, Outcome, choose_target, describe_arm, spread
from clr_cli.analysis.sentences import Wording, scope
from clr_cli.analysis.study import Runs, Study
from clr_cli.format import Scale, decimals
from clr_cli.records import Metric, RunRecord, Summary, Target


def analyse(study: Study, runs: Runs) -> Summary:
    """Compare every arm with the baseline.

    Failing to train is a result of its own: a run that diverged or could not be finished is counted
    and named, and no difference contains it. A diverged run never reaches the target. With several
    looks, or with a cap of seeds, `sequential` decides instead of the rule for seeds fixed in
    advance.

    Raises:
        ValueError: the baseline has no run, or a seed occurs twice in one arm.

    """
    records, reference, facts = runs.records, study.reference, runs.facts
    sequential = len(runs.looks) > 1 or study.cap is not None
    if reference is not None and sequential:
        raise ValueError("seeds can be added after looking only where arms are compared")
    values = [
        float(record.result["final"][study.metric.name])
        for record in records
        if record.status == "finished"
    ]
    metric = study.metric.fitted(values)
    arms: dict[str, dict[int, RunRecord]] = (
        {} if reference is not None else {str(study.baseline): {}}
    )
    for record in records:
        if arms.setdefault(record.arm, {}).setdefault(record.seed, record) is not record:
            raise ValueError(f"{record.arm}: seed {record.seed} occurs twice")
    if not all(arms.values()):
        raise ValueError(f"the baseline {study.baseline!r} has no run")
    arms = {arm: dict(sorted(runs.items())) for arm, runs in arms.items()}
    measures = Measures.of(records, metric, study.target_metric or metric)
    scale = Scale(metric.unit, _decimals(arms, metric))
    goal = None
    if measures.clocks and study.target == "auto" and reference is not None:
        goal = reference, f"the number that the arms are compared with: {scale.exact(reference)}"
    elif measures.clocks:
        first = arms[str(study.baseline)] if reference is None else {}
        goal = choose_target(first, study.target, measures, scale, facts.num_classes)
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
    decisions = decide(study, records, runs.looks) if sequential else None
    wording = Wording(
        design=study.design,
        measures=measures,
        scale=scale,
        reference=reference,
        target=goal and goal[0],
        margin=study.margin,
        detect=study.detect,
        comparisons=len(others),
    )
    compared = comparisons(others, base, measures, wording, decisions)
    costed = bool(facts.costs) or any("train_seconds" in run.result for run in records)
    return Summary(
        experiment=study.name,
        metric=metric,
        decimals=scale.decimals,
        design=study.design,
        baseline=base.name,
        reference=reference,
        level=stats.LEVEL,
        claim_level=stats.CLAIM_LEVEL,
        margin=study.margin,
        detect=study.detect,
        num_seeds=max(len(side.outcomes) for side in sides),
        looks=list(runs.looks),
        rule="sequential" if sequential else "fixed",
        controlled=facts.shared,
        target=goal and Target(metric=measures.target_metric.name, value=goal[0], source=goal[1]),
        arms=[
            describe_arm(*side, measures, facts.costs.get(side.name, {}) if costed else None)
            for side in sides
        ],
        comparisons=compared,
        tuning=facts.tuning,
        verdict=" ".join(comparison.sentence for comparison in compared)
        or f"Only {study.baseline} has run: there is nothing to compare it with.",
        scope=scope(facts.shared, facts.tuning),
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
