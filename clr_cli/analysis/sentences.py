"""What a comparison found, in sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clr_cli.analysis import stats, unpaired
from clr_cli.analysis.outcomes import Measures, goal
from clr_cli.format import Scale, about, number, p_equals, ratio_digits
from clr_cli.records import Design

CLOCKS = {
    "images": "the images",
    "iterations": "the iterations",
    "epochs": "the epochs",
    "seconds": "the time",
}


@dataclass(frozen=True)
class Wording:
    """What the sentences of one comparison have in common.

    target: of the watched metric, if there is one. margin, detect: differences of the metric.
    comparisons: arms that are compared with the baseline.
    """

    design: Design
    measures: Measures
    scale: Scale
    target: float | None
    margin: float | None
    detect: float | None
    comparisons: int

    def base(self, baseline: str | float) -> str:
        """The name of the baseline; a number as it was given."""
        return baseline if isinstance(baseline, str) else self.scale.given(baseline)

    def sides(self, arm: str, base: str) -> tuple[str, str]:
        """What is told apart: two arms, or an arm's mean and a number."""
        if self.design == "number":
            return f"{arm}'s mean {self.measures.metric.label}", base
        return arm, base

    def size(self, difference: float) -> str:
        """A difference without its sign: "1.07 points", "0.0012"."""
        return self.scale.bare(abs(difference)) + self.scale.points

    def signed(self, difference: float) -> str:
        """As in "+1.07 points of test accuracy", or "validation loss +0.0012"."""
        label, text = self.measures.metric.label, self.scale.bare(difference, sign=True)
        text += self.scale.points
        if self.design == "number":
            return f"difference {text}"
        return f"{text} of {label}" if self.scale.unit == "%" else f"{label} {text}"

    def is_(self, word: str, arm: str, base: str, difference: float) -> str:
        """As in "a is better than b by 1.07 points of ..." or "... than b: ... lower by 0.0012"."""
        label, size = self.measures.metric.label, self.size(difference)
        if self.design == "number":
            side = "above" if difference > 0 else "below"
            return f"{arm}'s mean {label} is {side} {base} by {size}"
        if self.scale.unit == "%":
            return f"{arm} is {word} than {base} by {size} of {label}"
        side = "higher" if difference > 0 else "lower"
        return f"{arm} is {word} than {base}: {label} {side} by {size}"

    def runs(self, n: int, others: int | None) -> str:
        """How many runs tell: "8 paired seeds", "10 against 12 runs", "10 runs"."""
        if self.design == "paired":
            return f"{n} paired seed{'s' * (n != 1)}"
        if others is not None:
            return f"{n} against {others} runs"
        return f"{n} run{'s' * (n != 1)}"


def sentence(names: tuple[str, str], numbers: Mapping[str, Any], wording: Wording) -> str:
    """What is said of one arm against the baseline; numbers: as in summary.json."""
    arm, base = names
    difference, n, verdict = numbers["difference"], numbers["n"], numbers["verdict"]
    if difference["mean"] is None:
        return _nothing(arm, base, wording)
    comparisons, bare = wording.comparisons, wording.scale.bare
    seeds = wording.runs(n, numbers["n_baseline"])
    ends = [difference["low"], difference["high"]]
    if verdict in ("better", "worse") and difference["mean"] < 0:  # said by its size
        ends = [-difference["high"], -difference["low"]]
    interval = f"95 % interval {bare(ends[0])} to {bare(ends[1])}"
    if not math.isfinite(difference["low"]):
        interval = "no interval from one " + ("seed" if wording.design == "paired" else "run")
    corrected = f"Holm-corrected over {comparisons} arms, " if comparisons > 1 else ""
    sequential = "decided_at" in numbers
    test = "sequential test" if sequential else p_equals(numbers["p_holm"])
    evidence = f"{interval}, {seeds}, {corrected}{test}"
    signed = wording.signed(difference["mean"])
    time = _time_sentence(arm, numbers["time_to_target"], wording)
    one, other = wording.sides(arm, base)
    match verdict:
        case "identical":
            return f"{arm} and {base} are identical: every number is the same in all of {seeds}."
        case "better" | "worse" as word:
            return f"{wording.is_(word, arm, base, difference['mean'])} ({evidence}).{time}"
        case "equivalent":
            margin, of = wording.size(wording.margin or 0.0), bare(difference["mean"], sign=True)
            label = "" if wording.design == "number" else f" of {wording.measures.metric.label}"
            return (
                f"{one} and {other} are equivalent within {margin}{label}: difference {of}"
                f" ({interval}, {seeds}).{time}"
            )
        case "too_few_seeds":
            few = _too_few(n, numbers["n_baseline"], wording)
            kind = "seeds" if wording.design == "paired" else "runs"
            return (
                f"Too few {kind} to tell {one} from {other}: {few}; so far {signed}"
                f" ({interval}).{time}"
            )
    more = f"the difference is at most {wording.size(max(map(abs, ends)))} (95 %)"
    if sequential:
        end = "; these seeds do not decide it"
        if numbers["futile"]:
            end = "; ended early, because more seeds would hardly have shown one"
        said = f"No detectable difference between {one} and {other}"
        return f"{said}: {signed} ({evidence}){end}; {more}.{time}"
    said, missing = "No detectable difference between", ""
    if numbers["p_holm"] <= stats.ALPHA or difference["low"] > 0 or difference["high"] < 0:
        said = "Not enough to claim a difference between"
        missing = (
            "; a claim needs both p of at most 0.05 and a"
            f" {100 * difference['claim']['level']:.3g} % interval without zero"
        )
    needed, detect = numbers["seeds_needed"], wording.detect or wording.margin
    if needed is not None and detect is not None:
        count = about(max(needed, n + 1))
        kind = "seeds" if wording.design == "paired" else "runs of an arm"
        more += f", and about {count} {kind} would show one of {wording.size(detect)}"
    return f"{said} {one} and {other}: {signed} ({evidence}){missing}; {more}.{time}"


def _nothing(arm: str, base: str, wording: Wording) -> str:
    if wording.design == "paired":
        return f"No seed has a run that trained in both {arm} and {base}."
    none = f"No run of {arm} " + (f"or none of {base} " if wording.design == "unpaired" else "")
    return f"{none}trained: there is nothing to compare."


def _too_few(n: int, others: int | None, wording: Wording) -> str:
    """Why so few runs can give no claim, and how many could."""
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


def _time_sentence(arm: str, ratios: Mapping[str, Any] | None, wording: Wording) -> str:
    if ratios is None or wording.target is None:
        return ""
    reached, runs = ratios["reached"], ratios["runs"]
    clock, found = next(iter(ratios["clocks"].items()))
    ratio, low, high = found["ratio"], found["low"], found["high"]
    said = goal(wording.measures.watched.label, wording.scale, wording.target)
    n, others = runs["arm"], "" if runs["baseline"] == runs["arm"] else f" of {runs['baseline']}"
    counts = f"{reached['arm']} of {n} runs, the baseline's in {reached['baseline']}{others}"
    # Two misses make a ratio of 1, which may not pass for a time.
    mostly_missed = 2 * reached["arm"] <= n
    if mostly_missed or not math.isfinite(ratio) or ratio == 0:
        what = said if wording.scale.unit == "%" else f"The target {said}"
        return f" {what} was held in {counts}."
    rest = "" if reached == runs else f", held in {counts}"
    digits = ratio_digits(low, high)
    if not math.isfinite(low):
        kind = "seeds" if wording.design == "paired" else "runs"
        few = f"too few {kind} for an interval{rest}"
        return f" {arm} reached {said} in {ratio:.2f} times {CLOCKS[clock]} ({few})."
    end = f"{high:.{digits}f}" if math.isfinite(high) else "infinity"
    size = f"{ratio:.{digits}f} times {CLOCKS[clock]}"
    size += f" (95 % interval {low:.{digits}f} to {end}{rest})"
    if low <= 1 <= high:
        return f" Whether {arm} reaches {said} sooner is undecided: {size}."
    return f" {arm} reached {said} in {size}."


def failing_sentence(sides: Sequence[tuple[str, Mapping[str, Any]]], among: str) -> str:
    """What is said wherever a run failed to train: how many, and how large the share may be.

    among: what the difference is of; empty where there is none.
    """
    if not any(found["count"] for _, found in sides):
        return ""
    said = (
        f"{found['count']} of {found['runs']} runs of {name} (the true share may be up to"
        f" {100 * found['high']:.0f} %)"
        for name, found in sides
    )
    rest = f"; the difference is among {among}" if among else ""
    return f" Failed to train: {', '.join(said)}{rest}."


def scope(context: Mapping[str, Any], tuning: Mapping[str, Any] | None = None) -> str:
    """What the claim is about: data, model and budget; and the rates, where they were tuned."""
    if context.get("source"):
        return (
            f"From {context['source']}: the interval covers what differs from run to run there,"
            " not other data, models or budgets."
        )
    epochs = context.get("epochs")
    budget = f" ({epochs} epochs)" if epochs is not None else ""
    drawn = "seeds and validation splits" if "split" in context.get("vary", ()) else "seeds"
    said = (
        f"One data set ({context.get('dataset', 'unnamed')}), one model"
        f" ({context.get('model', 'unnamed')}), one budget{budget}: the interval covers the"
        f" {drawn}, not other data, models or budgets."
    )
    if not tuning:
        return said
    rates = ", ".join(
        f"{arm} {best['key']} {number(best['value'])}" for arm, best in tuning["arms"].items()
    )
    return (
        f"{said} It holds at these rates: {rates}; they were searched for on validation, and"
        " another search could choose others."
    )
