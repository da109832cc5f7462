"""Several data sets: what holds on all of them, and the mean difference over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import get_args

import numpy as np

from clr_cli.analysis import designs, looks, verdicts
from clr_cli.analysis.headline import joined, phrases
from clr_cli.analysis.judgement import Values, estimates, turned
from clr_cli.analysis.rule import Array, Estimate
from clr_cli.analysis.stuck import are_set_apart
from clr_cli.analysis.study import DESIGNS, Study
from clr_cli.analysis.wording import Wording
from clr_cli.errors import InputError
from clr_cli.records import (
    Combination,
    Comparison,
    DataSet,
    Difference,
    Look,
    OverAll,
    Summary,
    Verdict,
    finite,
)

MOST_NAMED = 2  # data sets by name


def check_alike(studies: Mapping[str, Study]) -> None:
    """Check that the studies of several data sets, by name, ask the same of each.

    Raises InputError for arms, a baseline, a unit or a design that differ.
    """
    (first, one), *others = studies.items()
    for name, other in others:
        for arm in sorted({*one.arms} ^ {*other.arms}):
            has, lacks = (first, name) if arm in one.arms else (name, first)
            raise InputError(
                f"{arm} is an arm on {has}, not on {lacks}: every data set needs the same arms;"
                " choose them with --schedules"
            )
        for what, a, b in (
            ("baseline", one.baseline, other.baseline),
            ("design", DESIGNS[one.design], DESIGNS[other.design]),
            (f"unit of {one.metric.name}", one.metric.unit or "none", other.metric.unit or "none"),
        ):
            if a != b:
                raise InputError(f"the {what} is {a} on {first} and {b} on {name}; make it one")


def combine(name: str, data_sets: Sequence[DataSet]) -> Combination:
    """Return what holds on all data sets, and the mean difference over them.

    An arm is better on all if it is better on each (see `verdicts.holds_on_all`). The mean
    difference is that of these data sets, which count the same; its interval is corrected for the
    arms as on one data set. Where seeds were added after a look, it is at the level of the
    strictest of the looks that decided.

    Args:
        name: of the combination.
        data_sets: two or more, of the same arms; see `check_alike`.
    """
    plain = Combination(
        experiment=name, data_sets=[*data_sets], arms=_over_all(data_sets), verdict=""
    )
    said = [arm.model_copy(update={"sentence": _sentence(arm, plain)}) for arm in plain.arms]
    worded = plain.model_copy(update={"arms": said})
    return worded.model_copy(update={"verdict": _headline(worded)})


def _over_all(data_sets: Sequence[DataSet]) -> list[OverAll]:
    """Return what holds of every arm, and its mean difference; without a sentence."""
    summaries = [data.summary for data in data_sets]
    arms = [comparison.arm for comparison in summaries[0].comparisons]
    known = [_estimates(data, arms) for data in data_sets]
    fields = [vars(estimate) for estimate, _ in known]
    mean = designs.average(
        Estimate(**{key: np.stack([each[key] for each in fields], axis=-1) for key in fields[0]})
    )
    comparisons = max(summary.corrected_for for summary in summaries)
    weight = np.min([weights for _, weights in known], axis=0)
    said = verdicts.claims(mean, comparisons=comparisons, weight=weight)
    margins = [summary.margin for summary in summaries]
    margin = None if None in margins else min(each for each in margins if each is not None)
    metric, found = summaries[0].metric, []
    for k, arm in enumerate(arms):
        on = [data.compared(arm).verdict for data in data_sets]
        ends, level = (float(said.low[k]), float(said.high[k])), float(said.level[k])
        low, high = map(finite, turned(ends, metric))
        center = finite(metric.sign * float(mean.mean[k]))
        over_all = OverAll(
            arm=arm,
            holds=verdicts.holds_on_all(on),
            counts={each: on.count(each) for each in get_args(Verdict) if each in on},
            mean=Difference(mean=center, low=low, high=high, level=1 - level, values={}),
            mean_verdict=verdicts.word(
                mean, k, ends, level, margin=margin, comparisons=comparisons
            ),
            sentence="",
        )
        found.append(over_all)
    return found


def _estimates(data: DataSet, arms: Sequence[str]) -> tuple[Estimate, Array]:
    """Return one data set's estimates (K,), as its comparison decided, and their looks' weights."""
    summary, compared = data.summary, [data.compared(arm) for arm in arms]
    values = {arm.name: _judged(summary, arm.name) for arm in summary.arms}
    number, name = summary.reference, summary.metric.name
    # A look counts all runs, also those that failed.
    ran = {s for arm in summary.arms for s in (*arm.metrics[name].values, *arm.failed_seeds)}
    study = Study(
        name=summary.experiment,
        arms=(*([summary.baseline] if number is None else []), *arms),
        baseline=summary.baseline if number is None else number,
        seeds=tuple(sorted(ran)),
        metric=summary.metric,
        paired=summary.design == "paired",
    )
    if summary.rule == "fixed":
        return estimates(study, values, [None] * len(arms)), np.ones(len(arms))
    most = max(arm.failing.runs for arm in summary.arms)
    seen = [look for look in summary.looks if look.most <= most]
    last, latest = summary.last or looks.LAST, seen[-1].n if seen else most
    weights = [looks.weight(each.decided_at or latest, last) for each in compared]
    at = [_deciding(each, seen, study, values) for each in compared]
    return estimates(study, values, at), np.array(weights)


def _deciding(
    comparison: Comparison, seen: Sequence[Look], study: Study, values: Values
) -> Look | None:
    """Return the look that decided an arm; of two of one number, that with the arm's runs."""
    names = (comparison.arm, comparison.baseline)
    for look in seen:
        a, b = ({*study.seeds[: look.runs.get(x, 0)]} & {*values.get(x, ())} for x in names)
        n = len(a & b if study.paired else a), len(b) if study.design == "unpaired" else None
        if look.n == comparison.decided_at and n == (comparison.n, comparison.n_baseline):
            return look
    return None


def _judged(summary: Summary, arm: str) -> dict[int, float]:
    """Return the final values of an arm that its comparison judged, by seed."""
    found = next(each for each in summary.arms if each.name == arm)
    finals = found.metrics[summary.metric.name].values
    known = {seed: value for seed, value in finals.items() if value is not None}
    if are_set_apart(len(found.stuck), len(known)):
        for each in found.stuck:
            del known[each.seed]
    return known


# --- words -----------------------------------------------------------------------------------


def _where(arm: OverAll, combination: Combination) -> str:
    """Return where an arm is what: "better than a on 2 (x, y), worse than a on 1 (z) of 3 ..."."""
    sets, words, said = combination.data_sets, phrases(combination.first), ""
    if len(arm.counts) == 1:
        every = "both data sets" if len(sets) == 2 else f"all {len(sets)} data sets"
        return f"{words[next(iter(arm.counts))]} on {every}"
    for verdict, count in arm.counts.items():
        names = [data.name for data in sets if data.compared(arm.arm).verdict == verdict]
        where = f" ({', '.join(names)})" if len(names) <= MOST_NAMED else ""
        said += f", {words[verdict]} on {count}{where}"
    return f"{said[2:]} of {len(sets)} data sets"


def _sentence(arm: OverAll, combination: Combination) -> str:
    """Return what one arm is on the data sets, and its mean difference over them."""
    first, mean, scale = combination.first, arm.mean.mean, combination.scale
    words = Wording(design=first.design, metric=first.metric, scale=scale)
    said = f"{words.subject(arm.arm)} is {_where(arm, combination)}"
    if mean is None:
        return f"{said}; no mean difference could be computed."
    proof = words.interval(arm.mean)
    if arm.mean_verdict in ("better", "worse"):
        what = "" if scale.unit == "%" else f"{first.metric.label} "
        side = "higher" if mean > 0 else "lower"
        return f"{said}; on average {what}{side} by {words.claimed_size(arm.mean)} ({proof})."
    said += f"; on average {words.signed(mean)} ({proof})"
    if arm.mean_verdict == arm.holds == "undecided" and len(arm.counts) == 1:
        return f"{said}."
    return f"{said}, {phrases(first)[arm.mean_verdict]}."


def _headline(combination: Combination) -> str:
    """Return what holds on all data sets, arm by arm, and which arms could be the best."""
    arms, best = combination.arms, combination.best
    said = [arms[0].sentence]
    if len(arms) > 1:
        groups: dict[str, list[str]] = {}
        whose = "'s mean" if combination.first.design == "number" else ""
        for arm in arms:
            groups.setdefault(_where(arm, combination), []).append(arm.arm + whose)
        said = [
            f"{joined(names)} {'is' if len(names) == 1 else 'are'} {where}."
            for where, names in groups.items()
        ]
    if best:
        said.append(f"{joined(best)} could be the best on every data set (95 % certainty on each).")
    elif best is not None:
        said.append("No arm could be the best on every data set.")
    runs = [arm for data in combination.data_sets for arm in data.summary.arms]
    total = sum(arm.failing.runs for arm in runs)
    failed, stuck = sum(arm.failing.count for arm in runs), sum(len(arm.stuck) for arm in runs)
    said += [f"{failed} of {total} runs failed to train."] * bool(failed)
    said += [f"{stuck} of {total} runs {'is' if stuck == 1 else 'are'} stuck."] * bool(stuck)
    return " ".join(said)
