"""Results at the prompt: the short table of a comparison, the answer of a range test."""

from __future__ import annotations

import textwrap

from clr_cli.analysis.headline import headline
from clr_cli.analysis.rates import config_lines, described
from clr_cli.cli import terminal
from clr_cli.format import NONE, Scale, reached_at
from clr_cli.format import p_value as p_cell
from clr_cli.records import Difference, RateAnswer, Spread, Summary
from clr_cli.report.tables import rows_are, trained

MOST_SENTENCES = 4  # at the prompt, below the headline


def print_summary(summary: Summary) -> None:
    """The comparison's short table on stdout, then the verdict."""
    comparisons = {c.arm: c for c in summary.comparisons}
    scale, metric = summary.scale, summary.metric
    beside = [
        name
        for name in ("test_loss", "train_loss")
        if name != metric.name and all(name in arm.metrics for arm in summary.arms)
    ]
    unit = f" {metric.unit}" if metric.unit else ""
    headers = [rows_are(summary).lower(), "seeds" if summary.design == "paired" else "runs"]
    headers += [metric.label + unit, *(name.replace("_", " ") for name in beside)]
    tested = any(each.p_holm is not None for each in summary.comparisons)  # not by looks
    headers += ["difference", *(["p"] * tested), *(["to target"] if summary.target else [])]
    rows = []
    for arm in summary.arms:
        against, measured = comparisons.get(arm.name), arm.metrics
        row = [arm.name, trained(arm), _or_diverged(measured[metric.name], scale)]
        row += [_or_diverged(measured[name], Scale("", 3)) for name in beside]
        row.append("baseline" if against is None else _difference(against.difference, scale))
        row += ["" if against is None else p_cell(against.p_holm)] * tested
        row += [reached_at(arm.times.median)] if summary.target else []
        rows.append(row)
    terminal.table(headers, rows)
    terminal.sentences([headline(summary)])
    print()
    sentences = [comparison.sentence for comparison in summary.comparisons]
    if len(sentences) > MOST_SENTENCES:  # the page has them all
        sentences = []
    terminal.sentences([*sentences, summary.scope])
    print()


def _or_diverged(measure: Spread, scale: Scale) -> str:
    text = scale.mean_sd(measure)
    return "diverged" if text == NONE else text


def _difference(measure: Difference, scale: Scale) -> str:
    """Return mean difference and interval: "+3.81 (+3.50 to +4.12)"."""
    if measure.mean is None:
        return "-"
    spread = ""
    if measure.low is not None and measure.high is not None:
        low, high = (scale.bare(end, sign=True) for end in (measure.low, measure.high))
        spread = f" ({low} to {high})"
    return scale.bare(measure.mean, sign=True) + spread


def print_rates(answer: RateAnswer) -> None:
    """Print the answer, or why there is none, and the lines of a config that use it."""
    print()
    rows = described(answer)
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        terminal.hanging(f"{name:<{width}}  ", text)
    print()
    lines = config_lines(answer)
    if lines:
        print("To use it, put this into the config (or give --bounds):")
        print(textwrap.indent(lines, "  "), end="\n\n")
