"""The results of a comparison in sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from clr_cli.analysis.outcomes import goal
from clr_cli.analysis.stuck import are_set_apart, most_elsewhere
from clr_cli.analysis.study import Study
from clr_cli.analysis.wording import Wording
from clr_cli.format import about as about_count
from clr_cli.format import number, p_equals, ratio_digits
from clr_cli.records import (
    ArmSummary,
    Comparison,
    ControlledVariables,
    Metric,
    TimeRatio,
    Tuning,
)

CLOCKS = {
    "images": "the images",
    "iterations": "the iterations",
    "epochs": "the epochs",
    "seconds": "the time",
}


@dataclass(frozen=True, kw_only=True)
class Telling(Wording):
    """What the sentences on all arms have in common.

    study: what was asked. target: a value of ``target_metric``, if any.
    """

    study: Study
    target_metric: Metric
    target: float | None


def sentence(comparison: Comparison, wording: Telling, about: Sequence[ArmSummary]) -> str:
    """Return the result of one arm against the baseline, with its evidence.

    about: the arm, and the baseline if it is one.
    """
    arm, base, verdict = comparison.arm, comparison.baseline, comparison.verdict
    difference, n = comparison.difference, comparison.n
    mean, study = difference.mean, wording.study
    if mean is None:
        return _nothing(arm, base, wording)
    seeds = wording.runs(n, comparison.n_baseline, "paired seed")
    evidence = [wording.interval(difference), seeds]
    if comparison.p_holm is not None:
        evidence.append(p_equals(comparison.p_holm))
    elif comparison.decided_at is not None or study.grows:
        by_looks = "stopped early" if comparison.futile else "decided by looks"
        evidence.append(by_looks if comparison.decided_at else "not decided at any look so far")
    if study.comparisons > 1:
        evidence.append(f"corrected for {study.comparisons} comparisons")
    proof = ", ".join(evidence)
    signed, subject = wording.signed(mean), wording.subject(arm)
    time = _time_sentence(arm, comparison.time_to_target, wording)
    errors = _errors(wording, about)
    match verdict:
        case "identical":
            return f"{arm} and {base} are identical: every number is the same in all of {seeds}."
        case "better" | "worse":
            said = wording.claim(verdict, arm, base, difference)
            ends = [abs(end) for end in (difference.low, difference.high) if end is not None]
            within = study.margin is not None and max(ends) < study.margin
            small = f", within the margin of {wording.size(study.margin or 0)}" if within else ""
            return f"{said}{small} ({proof}).{errors}{time}"
        case "equivalent":
            margin = wording.size(study.margin or 0.0)
            if study.default_margin is not None and study.margin != study.default_margin:
                margin += f", a tenth of {base}'s error"
            return (
                f"{subject} and {base} are equivalent within {margin}: {signed} ({proof})."
                f"{errors}{time}"
            )
        case "seed_changes_nothing":
            return (
                f"The seed changes nothing: every run of {arm} gives the same value"
                f"{'' if study.design == 'number' else f', and so does every run of {base}'}."
                f" Values that never vary have no interval; observed result: {signed}.{time}"
            )
        case "too_few_runs":
            fewest = study.fewest
            each = " of each" if study.design == "unpaired" else ""
            late = ", because seeds were added after a look" if study.past else ""
            many = f" for {study.comparisons} comparisons" if study.comparisons > 1 else ""
            return (
                f"Too few {wording.kind}s to tell {subject} from {base}: {seeds}, at least"
                f" {fewest}{each} are needed{many}{late}; so far {signed}.{time}"
            )
        case "undecided":
            pass
    end = ""
    if comparison.futile:
        end = "; more seeds would hardly have shown a difference"
    needed, detect = comparison.seeds_needed, study.detect or study.margin
    if needed is not None and detect is not None and not study.grows:
        runs = "seeds" if wording.paired else "runs of an arm"
        end += f"; about {about_count(max(needed, n + 1))} {runs} would show a difference of"
        end += f" {wording.size(detect)}"
    return f"Undecided between {subject} and {base}: {signed} ({proof}){end}.{time}"


def _errors(wording: Wording, about: Sequence[ArmSummary]) -> str:
    """Return how the error changes, where the metric is a fraction that should be 1."""
    metric = wording.metric
    if metric.unit != "%" or metric.mode != "max" or len(about) < 2:
        return ""
    means = [each.metrics[metric.name].mean for each in about]
    if any(mean is None or not 0 <= mean < 1 for mean in means):
        return ""
    mine, theirs = (1 - (mean or 0.0) for mean in means)
    bare = wording.scale.bare
    return f" The error goes from {bare(theirs)} to {bare(mine)} %, {mine / theirs:.2g} times."


def _nothing(arm: str, base: str, wording: Wording) -> str:
    if wording.paired:
        return f"No seed has a run that trained in both {arm} and {base}."
    none = "" if wording.design == "number" else f"or none of {base} "
    return f"No run of {arm} {none}trained: there is nothing to compare."


def losses_sentence(comparison: Comparison, wording: Wording, about: Sequence[ArmSummary]) -> str:
    """Return which runs are not in the difference, and what a claim's runs cannot exclude."""
    text, apart = "", False
    if any(arm.failing.count for arm in about):
        apart = True
        said = (
            f"{arm.failing.count} of {arm.failing.runs} runs of {arm.name} (the true share may be"
            f" up to {100 * arm.failing.high:.0f} %)"
            for arm in about
        )
        text += f" Failed to train: {', '.join(said)}."
    for arm in about:
        if arm.stuck:
            text += f" Stuck: {stuck_text(arm)}."
            apart |= are_set_apart(len(arm.stuck), arm.n - arm.diverged)
    if apart and comparison.difference.mean is not None:
        among = "pairs that both trained" if wording.paired else "runs that trained"
        return f"{text} The difference is among {among}."
    if not text and comparison.verdict in ("better", "worse"):
        n = min(each.failing.runs for each in about)
        text = f" With {n} runs and no failure, the true failure rate could still be as high as"
        text += f" {100 * most_elsewhere(0, n):.0f} %."
    return text


def stuck_text(arm: ArmSummary) -> str:
    """Return which runs of an arm are stuck: "2 of 20 runs of a (seeds 3, 7) ended at chance"."""
    seeds = ", ".join(str(each.seed) for each in arm.stuck)
    far = [each.far for each in arm.stuck if each.far is not None]
    how = "ended at chance"
    if far:
        how = f"ended far outside the others ({min(far):.2g} times their range away)"
        how += "" if len(far) == len(arm.stuck) else " or at chance"
    many = "seed" if len(arm.stuck) == 1 else "seeds"
    said = f"{len(arm.stuck)} of {arm.failing.runs} runs of {arm.name} ({many} {seeds}) {how}"
    return (
        said
        if are_set_apart(len(arm.stuck), arm.n - arm.diverged)
        else f"{said} (included in the difference)"
    )


def _time_sentence(arm: str, times: TimeRatio | None, wording: Telling) -> str:
    if times is None or wording.target is None:
        return ""
    reached, runs = times.reached, times.runs
    clock, found = next(iter(times.clocks.items()))
    ratio, low = found.ratio, found.low
    high = math.inf if found.high is None else found.high
    target = goal(wording.target_metric.label, wording.scale, wording.target)
    others = "" if runs.baseline == runs.arm else f" of {runs.baseline}"
    counts = f"{reached.arm} of {runs.arm} runs, the baseline's in {reached.baseline}{others}"
    # Two misses make a ratio of 1, which may not pass for a time.
    mostly_missed = 2 * reached.arm <= runs.arm
    if mostly_missed or not ratio:
        held = f" {reached.arm} of {runs.arm} runs reached and held {target};"
        return f"{held} {reached.baseline}{others} of the baseline's did."
    rest = "" if reached == runs else f", held in {counts}"
    if low is None:
        kind = "seeds" if wording.paired else "runs"
        few = f"too few {kind} for an interval{rest}"
        return f" {arm} reached {target} in {ratio:.2f} times {CLOCKS[clock]} ({few})."
    digits = ratio_digits(low, high)
    end = f"{high:.{digits}f}" if math.isfinite(high) else "infinity"
    size = f"{ratio:.{digits}f} times {CLOCKS[clock]}"
    size += f" (95 % interval {low:.{digits}f} to {end}{rest})"
    if low <= 1 <= high:
        return f" Whether {arm} reaches {target} sooner is undecided: {size}."
    return f" {arm} reached {target} in {size}."


def scope(controlled: ControlledVariables, tuning: Tuning | None = None) -> str:
    """Return what the claim covers: data, model and budget; and rates, where they were tuned."""
    if controlled.source:
        return (
            f"From {controlled.source}: the interval covers run-to-run variation in these results,"
            " not other data, models or budgets."
        )
    budget = "" if controlled.epochs is None else f" ({controlled.epochs} epochs)"
    drawn = "seeds and validation splits" if "split" in controlled.vary else "seeds"
    said = (
        f"One data set ({controlled.dataset or 'unnamed'}), one model"
        f" ({controlled.model or 'unnamed'}), one budget{budget}: the interval accounts for the"
        f" {drawn}, not for other data, models or budgets."
    )
    if not tuning:
        return said
    rates = ", ".join(
        f"{arm} {tuning.arms[arm].key} {number(rate)}" for arm, rate in tuning.rates.items()
    )
    return (
        f"{said} The verdict is for these rates: {rates}. They were chosen on validation data, and"
        " another search could choose others."
    )
