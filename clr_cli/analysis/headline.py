"""What a comparison found, in one sentence that needs no statistics to be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from clr_cli.format import Scale
from clr_cli.records import Metric


def headline(summary: Mapping[str, Any]) -> str:
    """What was found, from how many seeds, and whether runs failed. ``summary``: summary.json's.

    Of one arm it is the difference with its interval, of several what holds of which and the best
    mean. How sure it is stands in the sentences of the comparisons.
    """
    comparisons = summary["comparisons"]
    if not comparisons:
        return str(summary["verdict"])
    said = _one(comparisons[0], summary) if len(comparisons) == 1 else _several(summary)
    return f"{said}; {_failed(summary)}."


def _one(comparison: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
    arm, base, verdict = (comparison[key] for key in ("arm", "baseline", "verdict"))
    difference, scale = comparison["difference"], Scale.of(summary)
    metric = Metric(**summary["metric"])
    mean, low, high = (difference[key] for key in ("mean", "low", "high"))
    runs = _runs(summary, comparison)
    number = summary["design"] == "number"
    one = f"{arm}'s mean {metric.label}" if number else arm
    if mean is None:
        return f"{arm} cannot be compared with {base}: too few runs trained"
    if verdict == "identical":
        return f"{arm} and {base} are identical in every number, {runs}"
    if verdict in ("better", "worse"):
        ends = (low, high) if mean > 0 else (-high, -low)  # said by its size
        size = f"{scale.bare(abs(mean))}{scale.points}"
        if number:
            said = f"{one} is {'above' if mean > 0 else 'below'} {base} by {size}"
        elif metric.unit == "%":
            said = f"{arm} is {verdict} than {base} by {size} of {metric.label}"
        else:
            side = "higher" if mean > 0 else "lower"
            said = f"{arm} is {verdict} than {base}: {metric.label} {side} by {size}"
        return f"{said} ({scale.bare(ends[0])} to {scale.bare(ends[1])}), {runs}"
    seen = f"{scale.bare(mean, sign=True)}{scale.points}"
    seen += "" if number else f" of {metric.label}"
    if low is not None:
        seen += f" ({scale.bare(low, sign=True)} to {scale.bare(high, sign=True)})"
    if verdict == "equivalent":
        margin = f"{scale.bare(summary['margin'])}{scale.points}"
        return f"{one} and {base} are equal within {margin}: {seen}, {runs}"
    few = ", which is too few to tell" if verdict == "too_few_seeds" else ""
    return f"No difference between {one} and {base} can be claimed: {seen}, {runs}{few}"


def _runs(summary: Mapping[str, Any], comparison: Mapping[str, Any]) -> str:
    """How many runs tell: "8 seeds", "10 against 12 runs", "10 runs"."""
    n, others = comparison["n"], comparison["n_baseline"]
    if others is not None:
        return f"{n} against {others} runs"
    kind = "seed" if summary["design"] == "paired" else "run"
    return f"{n} {kind}{'s' * (n != 1)}"


def _several(summary: Mapping[str, Any]) -> str:
    comparisons, base = summary["comparisons"], summary["baseline"]
    lower = summary["metric"]["mode"] == "min"
    below, above = f"have a mean below {base}", f"have a mean above {base}"
    phrases = {
        "better": f"better than {base}",
        "worse": f"worse than {base}",
        "equivalent": f"equivalent to {base}",
        "identical": f"identical to {base}",
    }
    if summary["design"] == "number":
        phrases |= {"better": below if lower else above, "worse": above if lower else below}
    found: dict[str, list[str]] = {}
    for c in comparisons:
        found.setdefault(c["verdict"], []).append(c["arm"])
    said = [
        _of(found.pop(verdict), len(comparisons), phrase)
        for verdict, phrase in phrases.items()
        if verdict in found
    ]
    rest = [c["arm"] for c in comparisons if c["verdict"] in found]
    if rest:
        which = _and(rest)
        if len(rest) > 4:
            which = f"the other {len(rest)} arms" if said else f"any of the {len(rest)} arms"
        said.append(f"No difference from {base} can be claimed for {which}.")
    scale, name = Scale.of(summary), summary["metric"]["name"]
    means = {arm["name"]: arm["metrics"][name]["mean"] for arm in summary["arms"]}
    known = {arm: mean for arm, mean in means.items() if mean is not None}
    if known:
        best = (min if lower else max)(known, key=lambda arm: known[arm])
        own = f"; {base}'s is {scale.shown(known[base])}" if base in known and best != base else ""
        said.append(f"The best mean is {best}'s, {scale.shown(known[best])}{own}.")
    paired = summary["design"] == "paired"
    total = summary["num_seeds"] if paired else sum(arm["n"] for arm in summary["arms"])
    said.append(f"{total} {'seed' if paired else 'run'}{'s' * (total != 1)}")
    return " ".join(said)


def _failed(summary: Mapping[str, Any]) -> str:
    lost = [
        f"{count} of {arm['n'] + arm['failed']} runs of {arm['name']}"
        for arm in summary["arms"]
        if (count := arm["diverged"] + arm["failed"])
    ]
    return f"{_and(lost)} failed to train" if lost else "no run failed"


def _of(arms: Sequence[str], total: int, phrase: str) -> str:
    one = len(arms) == 1
    if phrase.startswith("have"):
        phrase = phrase.replace("have", "has") if one else phrase
    else:
        phrase = f"{'is' if one else 'are'} {phrase}"
    if len(arms) <= 4:
        return f"{_and(arms)} {phrase}."
    return f"{len(arms)} of {total} arms {phrase}: {_and(arms)}."


def _and(names: Sequence[str]) -> str:
    return " and ".join([*([", ".join(names[:-1])] if len(names) > 1 else []), names[-1]])
