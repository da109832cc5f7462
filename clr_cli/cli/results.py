"""Results at the prompt: the short table of a comparison, the answer of a range test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clr_cli.cli import terminal
from clr_cli.report.range_test import ESTIMATES, rounded_lr


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
                _mean_sd(arm["test_accuracy"], percent=True),
                _mean_sd(arm["test_loss"], percent=False),
                _mean_sd(arm["train_loss"], percent=False),
                "baseline" if against is None else _difference(against["difference"]),
                "" if against is None else f"{against['p_holm']:.3f}",
                _time(arm["time_to_target"]["iterations"]["median"]),
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
    print(*(sentences or [summary["verdict"]]), summary["scope"], sep="\n")
    print()


def _mean_sd(spread: Mapping[str, Any], *, percent: bool) -> str:
    mean, sd = spread["mean"], spread["sd"]
    if not isinstance(mean, int | float):
        return "diverged"
    scale, digits = (100, 2) if percent else (1, 3)
    tail = f" ± {scale * sd:.{digits}f}" if isinstance(sd, int | float) else ""
    return f"{scale * mean:.{digits}f}{tail}"


def _difference(difference: Mapping[str, Any]) -> str:
    mean, low, high = (difference[key] for key in ("mean", "low", "high"))
    if mean is None:
        return "-"
    spread = "" if low is None or high is None else f" ({100 * low:+.2f} to {100 * high:+.2f})"
    return f"{100 * mean:+.2f}{spread}"


def _time(value: Any) -> str:
    return f"{value:,.0f}" if isinstance(value, int | float) else "not reached"


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
