"""The results of a comparison in sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from clr_cli.analysis import stats, unpaired
from clr_cli.analysis.outcomes import Measures, goal
from clr_cli.format import Scale, about, number, p_equals, ratio_digits
from clr_cli.records import Comparison, ControlledVariables, Design, Failing, TimeRatio, Tuning

CLOCKS = {
    "images": "the images",
    "iterations": "the iterations",
    "epochs": "the epochs",
    "seconds": "the time",
}


@dataclass(frozen=True)
class Wording:
    """What the sentences on all arms have in common.

    reference: the number that arms are compared with, if any. target: a value of
    ``measures.target_metric``, if any. margin, detect: differences of the metric. comparisons: how
    many arms are compared with the baseline.
    """

    design: Design
    measures: Measures
    scale: Scale
    reference: float | None
    target: float | None
    margin: float | None
    detect: float | None
    comparisons: int

    @property
    def paired(self) -> bool:
        """Whether runs of one seed are compared with each other."""
        return self.design == "paired"

    def subject(self, arm: str) -> str:
        """Return what is compared: an arm, or its mean where the baseline is a number."""
        return f"{arm}'s mean {self.measures.metric.label}" if self.design == "number" else arm

    def size(self, difference: float) -> str:
        """Return a difference without its sign: "1.07 points", "0.0012"."""
        return self.scale.bare(abs(difference)) + self.scale.points

    def signed(self, difference: float) -> str:
        """Return, for example, "+1.07 points of test accuracy" or "validation loss +0.0012"."""
        label, text = self.measures.metric.label, self.scale.bare(difference, sign=True)
        text += self.scale.points
        if self.design == "number":
            return f"difference {text}"
        return f"{text} of {label}" if self.scale.unit == "%" else f"{label} {text}"

    def state(self, word: str, arm: str, base: str, difference: float) -> str:
        """Return "a is better than b by 1.07 points of ..." or "...: ... lower by 0.0012"."""
        label, size = self.measures.metric.label, self.size(difference)
        if self.design == "number":
            side = "above" if difference > 0 else "below"
            return f"{arm}'s mean {label} is {side} {base} by {size}"
        if self.scale.unit == "%":
            return f"{arm} is {word} than {base} by {size} of {label}"
        side = "higher" if difference > 0 else "lower"
        return f"{arm} is {word} than {base}: {label} {side} by {size}"

    def runs(self, n: int, others: int | None) -> str:
        """Return how many runs there are: "8 paired seeds", "10 against 12 runs", "10 runs"."""
        if self.paired:
            return f"{n} paired seed{'s' * (n != 1)}"
        if others is not None:
            return f"{n} against {others} runs"
        return f"{n} run{'s' * (n != 1)}"


def sentence(comparison: Comparison, wording: Wording) -> str:
    """Return the result of one arm against the baseline, with its evidence."""
    arm, base, verdict = comparison.arm, comparison.baseline, comparison.verdict
    difference, n = comparison.difference, comparison.n
    mean, low, high = difference.mean, difference.low, difference.high
    if mean is None:
        return _nothing(arm, base, wording)
    comparisons, bare = wording.comparisons, wording.scale.bare
    kind = "seed" if wording.paired else "run"
    seeds = wording.runs(n, comparison.n_baseline)
    interval, ends = f"no interval from one {kind}", (-math.inf, math.inf)
    if low is not None and high is not None:
        ends = (low, high)
        if verdict in ("better", "worse") and mean < 0:  # said by its size
            ends = (-high, -low)
        interval = f"95 % interval {bare(ends[0])} to {bare(ends[1])}"
    corrected = f"Holm-corrected over {comparisons} arms, " if comparisons > 1 else ""
    p = comparison.p_holm
    test = "sequential test" if p is None else p_equals(p)
    evidence = f"{interval}, {seeds}, {corrected}{test}"
    signed = wording.signed(mean)
    time = _time_sentence(arm, comparison.time_to_target, wording)
    subject = wording.subject(arm)
    match verdict:
        case "identical":
            return f"{arm} and {base} are identical: every number is the same in all of {seeds}."
        case "better" | "worse":
            return f"{wording.state(verdict, arm, base, mean)} ({evidence}).{time}"
        case "equivalent":
            margin, of = wording.size(wording.margin or 0.0), bare(mean, sign=True)
            label = "" if wording.design == "number" else f" of {wording.measures.metric.label}"
            return (
                f"{subject} and {base} are equivalent within {margin}{label}: difference {of}"
                f" ({interval}, {seeds}).{time}"
            )
        case "too_few_seeds":
            few = _too_few(n, comparison.n_baseline, wording)
            return (
                f"Too few {kind}s to tell {subject} from {base}: {few}; so far {signed}"
                f" ({interval}).{time}"
            )
    more = f"the difference is at most {wording.size(max(map(abs, ends)))} (95 %)"
    if p is None:
        end = "; these seeds do not decide it"
        if comparison.futile:
            end = "; ended early, because more seeds would hardly have shown one"
        said = f"No detectable difference between {subject} and {base}"
        return f"{said}: {signed} ({evidence}){end}; {more}.{time}"
    said, missing = "No detectable difference between", ""
    if difference.claim is not None and (p <= stats.ALPHA or ends[0] > 0 or ends[1] < 0):
        said = "Not enough to claim a difference between"
        missing = (
            "; a claim needs both p of at most 0.05 and a"
            f" {100 * difference.claim.level:.3g} % interval without zero"
        )
    needed, detect = comparison.seeds_needed, wording.detect or wording.margin
    if needed is not None and detect is not None:
        runs = "seeds" if wording.paired else "runs of an arm"
        more += f", and about {about(max(needed, n + 1))} {runs} would show one of"
        more += f" {wording.size(detect)}"
    return f"{said} {subject} and {base}: {signed} ({evidence}){missing}; {more}.{time}"


def _nothing(arm: str, base: str, wording: Wording) -> str:
    if wording.paired:
        return f"No seed has a run that trained in both {arm} and {base}."
    none = f"No run of {arm} " + (f"or none of {base} " if wording.design == "unpaired" else "")
    return f"{none}trained: there is nothing to compare."


def _too_few(n: int, others: int | None, wording: Wording) -> str:
    """Return why so few runs cannot support a claim, and how many could."""
    comparisons, seeds = wording.comparisons, wording.runs(n, others)
    many = f" for {comparisons} comparisons" if comparisons > 1 else ""
    if others is not None:
        fewest = next(k for k in range(2, 1000) if unpaired.can_claim(k, k, comparisons))
        return f"with {seeds} no claim can be made{many}, at least {fewest} of each are needed"
    fewest = stats.seeds_for_test(comparisons)
    least = min(1.0, 2 * comparisons / 2**n)
    return (
        f"with {seeds} no two-sided sign-flip test{many} can succeed at 5 % (the smallest p is"
        f" {least:.2g}), at least {fewest} are needed"
    )


def _time_sentence(arm: str, times: TimeRatio | None, wording: Wording) -> str:
    if times is None or wording.target is None:
        return ""
    reached, runs = times.reached, times.runs
    clock, found = next(iter(times.clocks.items()))
    ratio, low = found.ratio, found.low
    high = math.inf if found.high is None else found.high
    target = goal(wording.measures.target_metric.label, wording.scale, wording.target)
    others = "" if runs.baseline == runs.arm else f" of {runs.baseline}"
    counts = f"{reached.arm} of {runs.arm} runs, the baseline's in {reached.baseline}{others}"
    # Two misses make a ratio of 1, which may not pass for a time.
    mostly_missed = 2 * reached.arm <= runs.arm
    if mostly_missed or not ratio:
        what = target if wording.scale.unit == "%" else f"The target {target}"
        return f" {what} was held in {counts}."
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


def failing_sentence(sides: Sequence[tuple[str, Failing]], among: str) -> str:
    """Return how many runs failed to train, and how large the share may be; "" where none did.

    among: the runs that the difference is of; empty where there is no difference.
    """
    if not any(failing.count for _, failing in sides):
        return ""
    said = (
        f"{failing.count} of {failing.runs} runs of {name} (the true share may be up to"
        f" {100 * failing.high:.0f} %)"
        for name, failing in sides
    )
    rest = f"; the difference is among {among}" if among else ""
    return f" Failed to train: {', '.join(said)}{rest}."


def scope(controlled: ControlledVariables, tuning: Tuning | None = None) -> str:
    """Return what the claim covers: data, model and budget; and rates, where they were tuned."""
    if controlled.source:
        return (
            f"From {controlled.source}: the interval covers what differs from run to run there,"
            " not other data, models or budgets."
        )
    budget = "" if controlled.epochs is None else f" ({controlled.epochs} epochs)"
    drawn = "seeds and validation splits" if "split" in controlled.vary else "seeds"
    said = (
        f"One data set ({controlled.dataset or 'unnamed'}), one model"
        f" ({controlled.model or 'unnamed'}), one budget{budget}: the interval covers the"
        f" {drawn}, not other data, models or budgets."
    )
    if not tuning:
        return said
    rates = ", ".join(
        f"{arm} {tuning.arms[arm].key} {number(rate)}" for arm, rate in tuning.rates.items()
    )
    return (
        f"{said} It holds at these rates: {rates}; they were searched for on validation, and"
        " another search could choose others."
    )
