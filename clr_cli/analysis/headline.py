"""The result of a comparison in one sentence that needs no statistics to be read."""

from __future__ import annotations

from collections.abc import Sequence

from clr_cli.analysis.sentences import stuck_text
from clr_cli.analysis.wording import Wording
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
    words = Wording(design=summary.design, metric=summary.metric, scale=summary.scale)
    difference, runs = comparison.difference, words.runs(comparison.n, comparison.n_baseline)
    if difference.mean is None:
        return f"{arm} cannot be compared with {base}: too few runs finished training"
    subject, seen = words.subject(arm), words.signed(difference.mean)
    interval = words.interval(difference)
    match verdict:
        case "identical":
            return f"{arm} and {base} are identical in every number, {runs}"
        case "better" | "worse":
            return f"{words.claim(verdict, arm, base, difference)} ({interval}), {runs}"
        case "equivalent":
            margin = words.size(summary.margin or 0.0)
            return f"{subject} and {base} are equal within {margin}: {seen} ({interval}), {runs}"
        case "too_few_runs":
            return f"Too few {words.kind}s to tell {subject} from {base}: {seen}, {runs}"
        case "seed_changes_nothing":
            return f"The seed changes nothing in {arm} and {base}: {seen}, {runs}"
        case "undecided":
            return f"Undecided between {subject} and {base}: {seen} ({interval}), {runs}"


def _several(summary: Summary) -> str:
    """Return how many arms are better, worse, undecided and so on, which, and the best mean."""
    base, scale, name = summary.baseline, summary.scale, summary.metric.name
    means = {arm.name: arm.metrics[name].mean for arm in summary.best_first}
    known = {arm: mean for arm, mean in means.items() if mean is not None}
    order = [*means]
    comparisons = sorted(summary.comparisons, key=lambda c: order.index(c.arm))
    words = phrases(summary)
    if summary.design == "number":
        words |= {key: f"have a mean {words[key]}" for key in ("better", "worse")}
    arms: dict[str, list[str]] = {}
    for c in comparisons:
        arms.setdefault(c.verdict, []).append(c.arm)
    said = [
        _of(arms[verdict], len(comparisons), phrase)
        for verdict, phrase in words.items()
        if verdict in arms
    ]
    best = summary.best
    if best is not None and len(best.arms) < len(summary.arms):
        one = "is" if len(best.arms) == 1 else "is one of"
        said.append(
            f"With 95 % certainty, the best {one} {joined(sorted(best.arms, key=order.index))}."
        )
    if known:
        winner = order[0]
        own = (
            f"; {base}'s is {scale.shown(known[base])}" if base in known and base != winner else ""
        )
        flatters = ""
        if best is not None and best.optimism and float(scale.bare(best.optimism)):
            size = f"{scale.bare(best.optimism)}{scale.points}"
            flatters = f" (as the best of {len(known)}, probably overstated by {size})"
        said.append(f"The best mean is {winner}'s, {scale.shown(known[winner])}{flatters}{own}.")
    paired = summary.design == "paired"
    total = summary.num_seeds if paired else sum(arm.n for arm in summary.arms)
    least = min((c.n for c in comparisons), default=total)
    some = f"{least} to {total}" if paired and least < total else str(total)
    said.append(f"{some} {'seed' if paired else 'run'}{'s' * (total != 1)}")
    return " ".join(said)


def phrases(summary: Summary) -> dict[str, str]:
    """Return the verdicts in words that follow "is": "better than constant", "below 3.28"."""
    base = summary.baseline
    said = {
        "better": f"better than {base}",
        "worse": f"worse than {base}",
        "equivalent": f"equivalent to {base}",
        "identical": f"identical to {base}",
        "undecided": "undecided",
        "too_few_runs": "undecided for too few runs",
        "seed_changes_nothing": "not changed by the seed",
    }
    if summary.design == "number":
        sides = ["above", "below"] if summary.metric.mode == "max" else ["below", "above"]
        said |= {"better": f"{sides[0]} {base}", "worse": f"{sides[1]} {base}"}
    return said


def _failed(summary: Summary) -> str:
    lost = [
        f"{arm.failing.count} of {arm.failing.runs} runs of {arm.name}"
        for arm in summary.arms
        if arm.failing.count
    ]
    stuck = [stuck_text(arm) for arm in summary.arms if arm.stuck]
    failed = f"{joined(lost)} failed to train" if lost else "no run failed"
    return "; ".join([*([] if stuck and not lost else [failed]), *stuck])


def _of(arms: Sequence[str], total: int, phrase: str) -> str:
    one = len(arms) == 1
    if phrase.startswith("have"):
        phrase = phrase.replace("have", "has") if one else phrase
    else:
        phrase = f"{'is' if one else 'are'} {phrase}"
    if len(arms) <= 4:
        return f"{joined(arms)} {phrase}."
    return f"{len(arms)} of {total} arms {phrase}: {joined(arms)}."


def joined(names: Sequence[str]) -> str:
    """Return names as a list in words: "a, b and c"."""
    return " and ".join([*([", ".join(names[:-1])] if len(names) > 1 else []), names[-1]])
