"""Results at the prompt: the short table of a comparison, the answer of a range test."""

from __future__ import annotations

import textwrap
from pathlib import Path

from clr_cli.analysis.headline import headline
from clr_cli.analysis.rates import config_lines, describe
from clr_cli.cli import terminal
from clr_cli.format import NONE, Scale, moment, p_value
from clr_cli.paths import BOUNDS
from clr_cli.records import ArmSummary, Combination, Difference, RateAnswer, Summary
from clr_cli.report.tables import rows_are, trained

MOST_SENTENCES = 4  # at the prompt, below the headline


def print_summary(summary: Summary) -> None:
    """Print the short table of a comparison, then the verdict."""
    comparisons = {c.arm: c for c in summary.comparisons}
    scale, metric, arms = summary.scale, summary.metric, summary.arms
    beside = [
        name
        for name in ("test_loss", "train_loss")
        if name != metric.name and all(name in arm.metrics for arm in arms)
    ]
    unit = f" {metric.unit}" if metric.unit else ""
    headers = [rows_are(summary).lower(), "seeds" if summary.design == "paired" else "runs"]
    headers += [metric.label + unit, *(name.replace("_", " ") for name in beside)]
    tested = any(c.p_holm is not None for c in summary.comparisons)  # not by looks
    headers += ["difference", *(["p"] * tested), *(["to target"] if summary.target else [])]
    rows = []
    for arm in arms:
        against, time = comparisons.get(arm.name), arm.times.median
        row = [arm.name, trained(arm), _mean(arm, metric.name, scale)]
        row += [_mean(arm, name, Scale("", 3)) for name in beside]
        row.append("baseline" if against is None else _difference(against.difference, scale))
        row += ["" if against is None else p_value(against.p_holm)] * tested
        if summary.target:
            row.append("not reached" if time is None else moment(time))
        rows.append(row)
    terminal.table(headers, rows)
    terminal.verdict(headline(summary))
    print()
    sentences = [comparison.sentence for comparison in summary.comparisons]
    if len(sentences) > MOST_SENTENCES:  # the page has them all
        sentences = []
    terminal.sentences([*sentences, summary.scope])
    print()


def print_combination(combination: Combination) -> None:
    """Print what holds on all data sets, then the table of arms by data sets."""
    from clr_cli.report.across import table  # draws with matplotlib, which takes a while to load

    terminal.verdict(combination.verdict)
    terminal.table(*table(combination))


def _mean(arm: ArmSummary, metric: str, scale: Scale) -> str:
    spread = arm.metrics[metric]
    text = scale.mean_sd(spread.mean, spread.sd)
    why = "diverged" if arm.diverged else "failed" if arm.failed else NONE
    return why if text == NONE else text


def _difference(difference: Difference, scale: Scale) -> str:
    """Return mean difference and interval: "+3.81 (+3.50 to +4.12)"."""
    mean, low, high = difference.mean, difference.low, difference.high
    if mean is None:
        return "-"
    ends = [scale.end(end, sign=True) for end in (low, high)]
    spread = "" if low is None or high is None else f" ({ends[0]} to {ends[1]})"
    return scale.bare(mean, sign=True) + spread


def print_rates(answer: RateAnswer, folder: Path) -> None:
    """Print an answer of a folder, or why there is none, and the lines of a config that use it."""
    print()
    rows = describe(answer)
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        terminal.hanging(f"{name:<{width}}  ", text)
    print()
    lines = config_lines(answer)
    if lines:
        print(f"To use it, add this to the config (or pass --bounds {folder / BOUNDS}):")
        print(textwrap.indent(lines, "  "), end="\n\n")
