"""Summaries of records that a test has made up, without a source that has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from clr_cli.analysis.study import Facts, Runs, Study
from clr_cli.analysis.summary import analyse
from clr_cli.records import (
    TEST_ACCURACY,
    VAL_ACCURACY,
    ControlledVariables,
    Look,
    Metric,
    Reproduce,
    RunRecord,
    Summary,
    Tuning,
)


def summarize(
    records: Iterable[RunRecord],
    *,
    experiment: str = "test",
    context: ControlledVariables | Mapping[str, Any] | None = None,
    baseline: str | float,
    num_classes: int | None = None,
    looks: Sequence[Look] = (),
    costs: Mapping[str, Mapping[str, float]] | None = None,
    tuning: Mapping[str, Any] | None = None,
    metric: Metric = TEST_ACCURACY,
    margin: float | None = 0.001,
    reproduce: Reproduce | None = None,
    **options: Any,
) -> Summary:
    """Analyse records as the study of their arms; ``options``: the study's other attributes."""
    records = list(records)
    arms = dict.fromkeys(record.arm for record in records)
    if isinstance(baseline, str):
        arms = {baseline: None, **arms}
    if metric == TEST_ACCURACY:
        options.setdefault("target_metric", VAL_ACCURACY)
    study = Study(
        name=experiment,
        arms=tuple(arms),
        baseline=baseline,
        seeds=tuple(sorted({record.seed for record in records})),
        metric=metric,
        margin=margin,
        chance=None if num_classes is None else 1 / num_classes,
        **options,
    )
    facts = Facts(
        ControlledVariables.model_validate(context or {}),
        costs=costs or {},
        tuning=None if tuning is None else Tuning.model_validate(tuning),
    )
    summary = analyse(study, Runs(records, facts, looks))
    return summary if reproduce is None else summary.model_copy(update={"reproduce": reproduce})
