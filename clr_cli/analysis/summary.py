"""Finished runs -> the comparison of every arm with the baseline, in numbers and in words.

Accuracies are fractions here; the sentences show percent and points.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from clr_cli.analysis.comparisons import LEVEL, Side, compare_arms
from clr_cli.analysis.judgement import choose_best, final_values, judge
from clr_cli.analysis.outcomes import Measures, Outcome, choose_target, describe_arm, spread
from clr_cli.analysis.pairing import gain
from clr_cli.analysis.sentences import Telling, scope
from clr_cli.analysis.study import Runs, Study
from clr_cli.format import Scale, decimals
from clr_cli.records import ArmSummary, Metric, RunRecord, Summary, Target, finals


def analyse(study: Study, runs: Runs) -> Summary:
    """Compare every arm with the baseline.

    Failing to train is a result of its own: a run that diverged or could not be finished is counted
    and named, and no difference contains it. So is a run that is stuck: that finished at chance, or
    far outside the others of its arm. A diverged run never reaches the target.

    Raises:
        ValueError: the baseline has no run, or a seed occurs twice in one arm.

    """
    records, reference, facts = runs.records, study.reference, runs.facts
    finished = finals(records, study.metric.name).values()
    metric = study.metric.fitted(value for each in finished for value in each.values())
    study = replace(study, metric=metric)
    arms: dict[str, dict[int, RunRecord]] = {arm: {} for arm in study.arms}
    for record in records:
        if arms[record.arm].setdefault(record.seed, record) is not record:
            raise ValueError(f"{record.arm}: seed {record.seed} occurs twice")
    arms = {arm: dict(sorted(each.items())) for arm, each in arms.items() if each}
    if reference is None and str(study.baseline) not in arms:
        raise ValueError(f"the baseline {study.baseline!r} has no run")
    study = replace(study, arms=tuple(arms))
    values, stuck = final_values(study, records)
    study = study.with_margin(values)
    past = [look for look in study.past if look not in runs.looks]
    looks = sorted([*past, *runs.looks], key=lambda look: (look.most, look.n))
    # These runs say nothing of a look at more of them, which counts when there are as many again.
    most = max((look.most for look in runs.looks), default=study.last_look)
    seen = [look for look in looks if look.most <= most] if study.grows else []
    measures = Measures.of(records, metric, study.target_metric or metric)
    scale = Scale(metric.unit, _decimals(finished, metric))
    goal = None
    if measures.clocks and study.target == "auto" and reference is not None:
        goal = reference, f"the number that the arms are compared with: {scale.exact(reference)}"
    elif measures.clocks:
        first = arms[str(study.baseline)] if reference is None else {}
        goal = choose_target(first, study.target, measures, scale, study.chance)
    if goal is None:
        measures = replace(measures, clocks=())
    costed = bool(facts.costs) or any("train_seconds" in run.result for run in records)
    sides = []
    for arm, each in arms.items():
        outcomes = {
            seed: Outcome.of(run, measures, goal and goal[0])
            for seed, run in each.items()
            if run.status != "failed"
        }
        cost = facts.costs.get(arm, {}) if costed else None
        described = describe_arm(arm, each, outcomes, measures, cost, stuck[arm])
        sides.append((Side(arm, each, outcomes), described))
    base: tuple[Side, ArmSummary | None] = sides[0]
    others = sides[1:]
    if reference is not None:
        base, others = (Side(scale.exact(reference), {}, {}), None), sides
    wording = Telling(
        design=study.design,
        metric=metric,
        scale=scale,
        study=study,
        target_metric=measures.target_metric,
        target=goal and goal[0],
    )
    compared = compare_arms(study, others, base, judge(study, values, seen), measures, wording)
    return Summary(
        experiment=study.name,
        metric=metric,
        decimals=scale.decimals,
        design=study.design,
        baseline=base[0].name,
        reference=reference,
        level=LEVEL,
        margin=study.margin,
        detect=study.detect,
        num_seeds=max(len(side.outcomes) for side, _ in sides),
        looks=looks,
        rule="sequential" if study.grows else "fixed",
        last=study.last_look if study.grows else None,
        looked_at=max(study.looked_at, len(arms)),
        redesigned=study.redesigned,
        corrected_for=study.comparisons,
        controlled=facts.shared,
        target=goal and Target(metric=measures.target_metric.name, value=goal[0], source=goal[1]),
        arms=[described for _, described in sides],
        comparisons=compared,
        best=choose_best(study, values, seen),
        pairing=gain([values[arm] for arm in study.others], values[str(study.baseline)])
        if study.design == "paired"
        else None,
        tuning=facts.tuning,
        verdict=" ".join(comparison.sentence for comparison in compared)
        or f"Only {study.baseline} has run: there is nothing to compare it with.",
        scope=scope(facts.shared, facts.tuning),
    )


def _decimals(finished: Collection[Mapping[int, float]], metric: Metric) -> int:
    """Return the decimals of the metric. In percent they are two: one image of 10,000."""
    if metric.unit == "%":
        return 2
    return decimals(
        (spread(values).sd for values in finished), (v for f in finished for v in f.values())
    )
