"""What a comparison found, in sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from clr_cli.analysis import stats
from clr_cli.format import about, brief_percent, number, p_equals, points


def sentence(
    names: tuple[str, str],
    numbers: Mapping[str, Any],
    target: float,
    margin: float,
    detect: float,
    comparisons: int,
) -> str:
    arm, base = names
    difference, n, verdict = numbers["difference"], numbers["n"], numbers["verdict"]
    seeds = f"{n} paired seed{'s' * (n != 1)}"
    ends = [difference["low"], difference["high"]]
    if verdict == "worse":  # said as "worse by": the signs turn round
        ends = [-difference["high"], -difference["low"]]
    interval = f"95 % interval {points(ends[0])} to {points(ends[1])}"
    if n == 1:
        interval = "no interval from one seed"
    corrected = f"Holm-corrected over {comparisons} arms, " if comparisons > 1 else ""
    sequential = "decided_at" in numbers
    test = "sequential test" if sequential else p_equals(numbers["p_holm"])
    evidence = f"{interval}, {seeds}, {corrected}{test}"
    signed = f"{points(difference['mean'], sign=True)} points of test accuracy"
    time = _time_sentence(arm, numbers["time_to_target"], target, numbers["pairs"])
    match verdict:
        case "identical":
            return f"{arm} and {base} are identical: every number is the same in all of {seeds}."
        case "better" | "worse" as word:
            size = points(abs(difference["mean"]))
            return (
                f"{arm} is {word} than {base} by {size} points of test accuracy ({evidence}).{time}"
            )
        case "equivalent":
            return (
                f"{arm} and {base} are equivalent within {points(margin)} points of test accuracy:"
                f" difference {points(difference['mean'], sign=True)} ({interval}, {seeds}).{time}"
            )
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
    more = f"the difference is at most {points(max(map(abs, ends)))} points (95 %)"
    needed = numbers["seeds_needed"]
    if needed is not None:
        count = about(max(needed, n + 1))
        more += f", and about {count} seeds would show one of {points(detect)} points"
    return f"{said} {arm} and {base}: {signed} ({evidence}){missing}; {more}.{time}"


def _time_sentence(arm: str, ratios: Mapping[str, Any], target: float, n: int) -> str:
    reached, ratio = ratios["reached"], ratios["ratio"]
    goal = f"{brief_percent(target)} validation accuracy"
    counts = f"{reached['arm']} of {n} runs, the baseline's in {reached['baseline']}"
    # Two misses make a ratio of 1, which may not pass for a time.
    mostly_missed = 2 * reached["arm"] <= n
    if mostly_missed or not math.isfinite(ratio) or ratio == 0:
        return f" {goal} was held in {counts}."
    rest = "" if min(reached.values()) == n else f", held in {counts}"
    low, high = ratios["low"], ratios["high"]
    if not math.isfinite(low):
        few = f"too few seeds for an interval{rest}"
        return f" {arm} reached {goal} in {ratio:.2f} times the iterations ({few})."
    end = f"{high:.2f}" if math.isfinite(high) else "infinity"
    found = f"{ratio:.2f} times the iterations (95 % interval {low:.2f} to {end}{rest})"
    if low <= 1 <= high:
        return f" Whether {arm} reaches {goal} sooner is undecided: {found}."
    return f" {arm} reached {goal} in {found}."


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
