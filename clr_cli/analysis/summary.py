"""Finished runs -> the comparison of every arm with the baseline, in numbers and in words.

Pure: plain numbers in, plain JSON types out (the contents of summary.json). Accuracies are
fractions here; the sentences show percent and points.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from clr_cli.analysis import stats
from clr_cli.analysis.comparisons import comparisons, decide
from clr_cli.analysis.further import further
from clr_cli.analysis.outcomes import Measures, Outcome, choose_target, describe_arm, spread
from clr_cli.analysis.sentences import Wording, failing_sentence, scope
from clr_cli.format import Scale, decimals
from clr_cli.records import TEST_ACCURACY, Design, Metric, RunRecord, Summary


def summarize(
    records: Iterable[RunRecord],
    *,
    experiment: str,
    context: Mapping[str, Any],
    baseline: str | float,
    paired: bool = True,
    metric: Metric = TEST_ACCURACY,
    watched: Metric | None = None,
    num_classes: int | None = None,
    target: float | Literal["auto"] = "auto",
    margin: float | None = 0.001,
    detect: float | None = None,
    looks: Sequence[int] = (),
    cap: int | None = None,
    costs: Mapping[str, Mapping[str, float]] | None = None,
    tuning: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Compare every arm with the baseline.

    Failing to train is a result of its own: a run that diverged or could not be finished is counted
    and named, and it is in no difference. A diverged run never reaches the target.

    Args:
        records: the runs; arms appear in the summary in the order of their first record, the
            baseline first.
        baseline: an arm, or a number that the mean of every arm is compared with.
        paired: whether runs of equal seeds share their randomness, so that their difference is
            less noisy than they are. Otherwise the arms are independent samples.
        context: what the arms share, passed through as "contract".
        metric: what is compared: its value at the end of each run (``result["final"]``).
        watched: what time to target goes by, from the rows of the runs; default: validation
            accuracy where test accuracy is compared, else the metric itself.
        num_classes: of a classifier; a run that diverged then counts as chance in the target.
        target: a value of the watched metric, or "auto": see `outcomes.choose_target`.
        margin: the difference of the metric that does not matter (for accuracies: a fraction).
            None: no difference is called equivalent.
        detect: the difference for which the seeds needed are said; default: margin.
        looks: numbers of seeds at which the comparison was looked at. With several of them, or
            with a cap, `sequential` decides instead of the rule for seeds fixed in advance.
        cap: the most seeds, where they are added until it is decided.
        costs: seconds per arm besides training, such as {"clr": {"range_test_seconds": 60.0}}.
        tuning: how the arms' learning rates were chosen, passed through.

    Returns:
        summary.json: plain JSON types; an infinite or undefined number is None.

    Raises:
        ValueError: the baseline has no run, or a seed occurs twice in one arm.
    """
    records = list(records)
    reference = None if isinstance(baseline, str) else float(baseline)
    against = baseline if isinstance(baseline, str) else float(baseline)
    design: Design = "number" if reference is not None else "paired" if paired else "unpaired"
    if reference is not None and (len(looks) > 1 or cap is not None):
        raise ValueError("seeds can be added after looking only where arms are compared")
    arms: dict[str, dict[int, RunRecord]] = {} if reference is not None else {str(baseline): {}}
    for record in records:
        if arms.setdefault(record.arm, {}).setdefault(record.seed, record) is not record:
            raise ValueError(f"{record.arm}: seed {record.seed} occurs twice")
    if not all(arms.values()):
        raise ValueError(f"the baseline {baseline!r} has no run")
    arms = {arm: dict(sorted(runs.items())) for arm, runs in arms.items()}
    measures = Measures.of(records, metric, watched)
    scale = Scale(metric.unit, _decimals(arms, metric))
    goal = None
    if measures.clocks and target == "auto" and reference is not None:
        goal = reference, f"the number that the arms are compared with: {scale.given(reference)}"
    elif measures.clocks:
        first = arms[str(baseline)] if reference is None else {}
        goal = choose_target(first, target, measures, scale, num_classes)
    if goal is None:
        measures = replace(measures, clocks=())
    outcomes = {
        arm: {
            seed: Outcome.of(run, measures, goal and goal[0])
            for seed, run in runs.items()
            if run.status != "failed"
        }
        for arm, runs in arms.items()
    }
    decisions = None
    if len(looks) > 1 or cap is not None:
        decisions = decide(
            records,
            baseline=str(baseline),
            looks=looks,
            margin=margin,
            cap=cap,
            metric=metric,
            paired=paired,
        )
    others = len(arms) - (reference is None)
    wording = Wording(design, measures, scale, goal and goal[0], margin, detect, others)
    compared = comparisons(outcomes, against, measures, wording, decisions)
    costed = bool(costs) or any("train_seconds" in run.result for run in records)
    described = [
        describe_arm(
            arm, runs, outcomes[arm], measures, (costs or {}).get(arm, {}) if costed else None
        )
        for arm, runs in arms.items()
    ]
    failures = {arm["name"]: arm["failing"] for arm in described}
    for comparison in compared:
        named = [comparison["arm"], *([] if reference is not None else [str(baseline)])]
        sides = [(name, failures[name]) for name in named]
        among = "pairs that both trained" if design == "paired" else "runs that trained"
        known = comparison["difference"]["mean"] is not None
        comparison["sentence"] += failing_sentence(sides, among if known else "")
        arm, base = (arms.get(name, {}) for name in [*named, ""][:2])
        comparison |= further(
            arm, base, comparison["difference"], measures, paired=design == "paired"
        )
    summary = {
        "schema": 2,
        "experiment": experiment,
        "metric": metric.plain(),
        "decimals": scale.decimals,
        "design": design,
        "baseline": wording.base(against),
        "reference": reference,
        "level": stats.LEVEL,
        "claim_level": stats.CLAIM_LEVEL,
        "margin": margin,
        "detect": detect,
        "num_seeds": max(len(runs) for runs in outcomes.values()),
        "looks": list(looks),
        "rule": "fixed" if decisions is None else "sequential",
        "contract": dict(context),
        "target": None
        if goal is None
        else {"metric": measures.watched.name, "value": goal[0], "source": goal[1]},
        "arms": described,
        "comparisons": compared,
        "tuning": None if tuning is None else dict(tuning),
        "verdict": " ".join(comparison["sentence"] for comparison in compared)
        or f"Only {baseline} has run: there is nothing to compare it with.",
        "scope": scope(context, tuning),
    }
    return Summary.model_validate(_plain(summary)).plain()


def _decimals(arms: Mapping[str, Mapping[int, RunRecord]], metric: Metric) -> int:
    """Those of percents are two: a hundredth of a point is one image of 10,000."""
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
        (spread(values)["sd"] for values in finals), (v for f in finals for v in f.values())
    )


def _plain(value: Any) -> Any:
    """Plain JSON types: string keys, and None for a number that is infinite or undefined."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
