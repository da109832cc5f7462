"""Results at the prompt: the short table of a comparison, the answer of a range test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clr_cli.cli import terminal
from clr_cli.format import difference_with_interval, mean_sd, reached_at, rounded_lr
from clr_cli.format import p_value as p_cell
from clr_cli.report.range_test import ESTIMATES


def print_summary(summary: Mapping[str, Any]) -> None:
    """The comparison's short table on stdout, then the verdict."""
    comparisons = {c["arm"]: c for c in summary["comparisons"]}
    rows = []
    for arm in summary["arms"]:
        against = comparisons.get(arm["name"])
        rows.append(
            [
                arm["name"],
                str(arm["n"]),
                mean_sd(arm["test_accuracy"], percent=True),
                mean_sd(arm["test_loss"], percent=False),
                mean_sd(arm["train_loss"], percent=False),
                "baseline" if against is None else difference_with_interval(against["difference"]),
                "" if against is None else p_cell(against["p_holm"]),
                reached_at(arm["time_to_target"]["iterations"]["median"]),
            ]
        )
    headers = [
        "schedule",
        "seeds",
        "test accuracy %",
        "test loss",
        "train loss",
        "difference",
        "p",
        "to target",
    ]
    terminal.table(headers, rows)
    sentences = [comparison["sentence"] for comparison in summary["comparisons"]]
    terminal.sentences([*(sentences or [summary["verdict"]]), summary["scope"]])
    print()


def print_range_test(result: Mapping[str, Any]) -> None:
    """The estimates and their reasons, then the snippet to paste, or why there is no answer."""
    print()
    for name in ESTIMATES:
        found = result["estimates"][name]
        if found is not None:
            spread = f"{found['low']:.3g} to {found['high']:.3g} over the sweeps"
            print(f"{name:<8}  {found['value']:<8.3g}  {spread}\n{'':20}{found['reason']}")
    print()
    if result["inconclusive"]:
        print("inconclusive:", *result["inconclusive"].splitlines(), sep="\n  ")
        print()
        return
    low, high = (rounded_lr(result["estimates"][name]["value"]) for name in ("base_lr", "max_lr"))
    print("To use them, put into the config (or give --bounds):")
    print(f"  schedules:\n    clr: {{kind: triangular, base_lr: {low:g}, max_lr: {high:g}}}\n")
