"""What a comparison found, in sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clr_cli.analysis import stats
from clr_cli.analysis.outcomes import Measures, goal
from clr_cli.format import Scale, about, number, p_equals

CLOCKS = {"iterations": "the iterations", "seconds": "the time"}


@dataclass(frozen=True)
class Wording:
    """What the sentences of one comparison have in common.

    target: of the watched metric, if there is one. margin, detect: differences of the metric.
    comparisons: arms that are compared with the baseline.
    """

    measures: Measures
    scale: Scale
    target: float | None
    margin: float | None
    detect: float | None
    comparisons: int

    def size(self, difference: float) -> str:
        """A difference without its sign: "1.07 points", "0.0012"."""
        return self.scale.bare(abs(difference)) + self.scale.points

    def signed(self, difference: float) -> str:
        """ "+1.07 points of test accuracy", "validation loss +0.0012"."""
        label, text = self.measures.metric.label, self.scale.bare(difference, sign=True)
        text += self.scale.points
        return f"{text} of {label}" if self.scale.unit == "%" else f"{label} {text}"

    def by(self, word: str, base: str, difference: float) -> str:
        """ "better than base by 1.07 points of ...", "better than base: ... lower by 0.0012"."""
        label, size = self.measures.metric.label, self.size(difference)
        if self.scale.unit == "%":
            return f"{word} than {base} by {size} of {label}"
        return f"{word} than {base}: {label} {'higher' if difference > 0 else 'lower'} by {size}"

    def equal(self, difference: float) -> str:
        margin = self.size(self.margin or 0.0)
        label, of = self.measures.metric.label, self.scale.bare(difference, sign=True)
        return f"equivalent within {margin} of {label}: difference {of}"


def sentence(names: tuple[str, str], numbers: Mapping[str, Any], wording: Wording) -> str:
    """What is said of one arm against the baseline; numbers: as in summary.json."""
    arm, base = names
    difference, n, verdict = numbers["difference"], numbers["n"], numbers["verdict"]
    if difference["mean"] is None:
        return f"No seed has a run that trained in both {arm} and {base}."
    comparisons, bare = wording.comparisons, wording.scale.bare
    seeds = f"{n} paired seed{'s' * (n != 1)}"
    ends = [difference["low"], difference["high"]]
    if verdict in ("better", "worse") and difference["mean"] < 0:  # said by its size
        ends = [-difference["high"], -difference["low"]]
    interval = f"95 % interval {bare(ends[0])} to {bare(ends[1])}"
    if n == 1:
        interval = "no interval from one seed"
    corrected = f"Holm-corrected over {comparisons} arms, " if comparisons > 1 else ""
    sequential = "decided_at" in numbers
    test = "sequential test" if sequential else p_equals(numbers["p_holm"])
    evidence = f"{interval}, {seeds}, {corrected}{test}"
    signed = wording.signed(difference["mean"])
    time = _time_sentence(arm, numbers["time_to_target"], wording)
    match verdict:
        case "identical":
            return f"{arm} and {base} are identical: every number is the same in all of {seeds}."
        case "better" | "worse" as word:
            return f"{arm} is {wording.by(word, base, difference['mean'])} ({evidence}).{time}"
        case "equivalent":
            equal = wording.equal(difference["mean"])
            return f"{arm} and {base} are {equal} ({interval}, {seeds}).{time}"
        case "too_few_seeds":
            fewest = stats.seeds_for_test(comparisons)
            least = min(1.0, 2 * comparisons / 2**n)
            many = f" for {comparisons} comparisons" if comparisons > 1 else ""
            return (
                f"Too few seeds to tell {arm} from {base}: with {seeds} no two-sided sign-flip test"
                f"{many} can succeed at 5 % (the smallest p is {least:.2g}), at least {fewest} are"
                f" needed; so far {signed} ({interval}).{time}"
            )
    if sequential:
        end = "the seeds that were allowed are used up"
        if numbers["futile"]:
            end = "ended early, because more seeds would hardly have shown one"
        said = f"No detectable difference between {arm} and {base}"
        return f"{said}: {signed} ({evidence}); {end}.{time}"
    said, missing = "No detectable difference between", ""
    if numbers["p_holm"] <= stats.ALPHA or difference["low"] > 0 or difference["high"] < 0:
        said = "Not enough to claim a difference between"
        missing = (
            "; a claim needs both p of at most 0.05 and a"
            f" {100 * difference['claim']['level']:.3g} % interval without zero"
        )
    more = f"the difference is at most {wording.size(max(map(abs, ends)))} (95 %)"
    needed, detect = numbers["seeds_needed"], wording.detect or wording.margin
    if needed is not None and detect is not None:
        count = about(max(needed, n + 1))
        more += f", and about {count} seeds would show one of {wording.size(detect)}"
    return f"{said} {arm} and {base}: {signed} ({evidence}){missing}; {more}.{time}"


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
    if not math.isfinite(low):
        few = f"too few seeds for an interval{rest}"
        return f" {arm} reached {said} in {ratio:.2f} times {CLOCKS[clock]} ({few})."
    end = f"{high:.2f}" if math.isfinite(high) else "infinity"
    size = f"{ratio:.2f} times {CLOCKS[clock]} (95 % interval {low:.2f} to {end}{rest})"
    if low <= 1 <= high:
        return f" Whether {arm} reaches {said} sooner is undecided: {size}."
    return f" {arm} reached {said} in {size}."


def failing_sentence(sides: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """What is said wherever a run failed to train: how many, and how large the share may be."""
    if not any(found["count"] for _, found in sides):
        return ""
    said = (
        f"{found['count']} of {found['runs']} runs of {name} (the true share may be up to"
        f" {100 * found['high']:.0f} %)"
        for name, found in sides
    )
    return f" Failed to train: {', '.join(said)}; the difference is among pairs that both trained."


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
