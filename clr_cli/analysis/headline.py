"""The result of a comparison in one sentence that needs no statistics to be read."""

from __future__ import annotations

from collections.abc import Sequence

from clr_cli.records import Comparison, Summary


def headline(summary: Summary) -> str:
    """Return the result, from how many seeds, and whether runs failed.

    For one arm it is the difference with its interval; for several, which are better, worse or
    equal, and the best mean. The evidence is in the sentences of the comparisons.
    """
    comparisons = summary.comparisons
    if not comparisons:
        return summary.verdict
    said = _one(comparisons[0], summary) if len(comparisons) == 1 else _several(summary)
    return f"{said}; {_failed(summary)}."


def _one(comparison: Comparison, summary: Summary) -> str:
    arm, base, verdict = comparison.arm, comparison.baseline, comparison.verdict
    difference, scale, metric = comparison.difference, summary.scale, summary.metric
    mean, low, high = difference.mean, difference.low, difference.high
    runs = _runs(summary, comparison)
    number = summary.design == "number"
    subject = f"{arm}'s mean {metric.label}" if number else arm
    if mean is None:
        return f"{arm} cannot be compared with {base}: too few runs trained"
    if verdict == "identical":
        return f"{arm} and {base} are identical in every number, {runs}"
    if verdict in ("better", "worse") and low is not None and high is not None:
        ends = (low, high) if mean > 0 else (-high, -low)  # said by its size
        size = f"{scale.bare(abs(mean))}{scale.points}"
        side = "higher" if mean > 0 else "lower"
        if number:
            said = f"{subject} is {'above' if mean > 0 else 'below'} {base} by {size}"
        elif metric.unit == "%":
            said = f"{arm} is {verdict} than {base} by {size} of {metric.label}"
        else:
            said = f"{arm} is {verdict} than {base}: {metric.label} {side} by {size}"
        return f"{said} ({scale.bare(ends[0])} to {scale.bare(ends[1])}), {runs}"
    seen = f"{scale.bare(mean, sign=True)}{scale.points}"
    seen += "" if number else f" of {metric.label}"
    if low is not None:
        seen += f" ({scale.bare(low, sign=True)} to {scale.bare(high, sign=True)})"
    if verdict == "equivalent":
        margin = f"{scale.bare(summary.margin)}{scale.points}"
        return f"{subject} and {base} are equal within {margin}: {seen}, {runs}"
    few = ", which is too few to tell" if verdict == "too_few_seeds" else ""
    return f"No difference between {subject} and {base} can be claimed: {seen}, {runs}{few}"


def _runs(summary: Summary, comparison: Comparison) -> str:
    """Return how many runs there are: "8 seeds", "10 against 12 runs", "10 runs"."""
    n, others = comparison.n, comparison.n_baseline
    if others is not None:
        return f"{n} against {others} runs"
    kind = "seed" if summary.design == "paired" else "run"
    return f"{n} {kind}{'s' * (n != 1)}"


def _several(summary: Summary) -> str:
    comparisons, base = summary.comparisons, summary.baseline
    lower = summary.metric.mode == "min"
    below, above = f"have a mean below {base}", f"have a mean above {base}"
    phrases = {
        "better": f"better than {base}",
        "worse": f"worse than {base}",
        "equivalent": f"equivalent to {base}",
        "identical": f"identical to {base}",
    }
    if summary.design == "number":
        phrases |= {"better": below if lower else above, "worse": above if lower else below}
    arms: dict[str, list[str]] = {}
    for c in comparisons:
        arms.setdefault(c.verdict, []).append(c.arm)
    said = [
        _of(arms[verdict], len(comparisons), phrase)
        for verdict, phrase in phrases.items()
        if verdict in arms
    ]
    rest = [c.arm for c in comparisons if c.verdict not in phrases]
    if rest:
        which = _and(rest)
        if len(rest) > 4:
            which = f"the other {len(rest)} arms" if said else f"any of the {len(rest)} arms"
        said.append(f"No difference from {base} can be claimed for {which}.")
    scale, name = summary.scale, summary.metric.name
    known = {arm.name: m for arm in summary.arms if (m := arm.metrics[name].mean) is not None}
    if known:
        best = (min if lower else max)(known, key=lambda arm: known[arm])
        own = f"; {base}'s is {scale.shown(known[base])}" if base in known and best != base else ""
        said.append(f"The best mean is {best}'s, {scale.shown(known[best])}{own}.")
    paired = summary.design == "paired"
    total = summary.num_seeds if paired else sum(arm.n for arm in summary.arms)
    said.append(f"{total} {'seed' if paired else 'run'}{'s' * (total != 1)}")
    return " ".join(said)


def _failed(summary: Summary) -> str:
    lost = [
        f"{arm.failing.count} of {arm.failing.runs} runs of {arm.name}"
        for arm in summary.arms
        if arm.failing.count
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
