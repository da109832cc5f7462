"""The numbers in the original post's figures beside the same numbers of a comparison of ours.

    python tests/benchmarks/post_figures.py outputs/reference/post-20k/compare

Reads runs.csv alone. A number is the mean over seeds, with the least and the greatest; the post
has one run of each arm, read off its figures. A cycle of the post is 10 epochs: it ends at epoch
10, 20, ..., and its rate is highest 5 epochs before.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from pathlib import Path

from clr_cli.records import RunRecord
from clr_cli.report.runs import read_runs_csv

CYCLE = 10
Read = Callable[[RunRecord], float]


def at(key: str, epoch: int) -> Read:
    return lambda run: run.epochs[epoch - 1][key]


def ends(key: str) -> Read:
    """The mean over the ends of cycles."""
    return lambda run: statistics.fmean(row[key] for row in run.epochs[CYCLE - 1 :: CYCLE])


def worst(key: str, *, after: int = CYCLE) -> Read:
    """The worst epoch after the first cycle."""
    extreme = min if "accuracy" in key else max
    return lambda run: extreme(row[key] for row in run.epochs[after:])


# (what, arm, the post's number, how to read ours)
POINTS: list[tuple[str, str, str, Read]] = [
    ("train loss, epoch 80", "clr_post", "0.10", at("train_loss", 80)),
    ("train loss, epoch 80", "constant", "0.21", at("train_loss", 80)),
    ("test loss at cycle ends", "clr_post", "0.26", ends("test_loss")),
    ("test loss, epoch 80", "constant", "0.42", at("test_loss", 80)),
    ("highest test loss within cycles", "clr_post", "1.0", worst("test_loss")),
    ("test accuracy at cycle ends", "clr_post", "95 %", ends("test_accuracy")),
    ("test accuracy, epoch 80", "clr_post", "95 %", at("test_accuracy", 80)),
    ("test accuracy, epoch 80", "constant", "91 %", at("test_accuracy", 80)),
    ("lowest test accuracy within cycles", "clr_post", "76 %", worst("test_accuracy")),
]


def shown(values: list[float], key: str) -> str:
    scale, digits, unit = (100, 1, " %") if "accuracy" in key else (1, 2, "")
    mean, low, high = statistics.fmean(values), min(values), max(values)
    mean, low, high = (f"{scale * value:.{digits}f}" for value in (mean, low, high))
    return f"{mean}{unit} ({low} to {high})"


def main() -> None:
    runs = read_runs_csv((Path(sys.argv[1]) / "runs.csv").read_text())
    print("| | arm | the post | ours |\n|---|---|--:|--:|")
    for what, arm, post, read in POINTS:
        values = [read(run) for run in runs if run.arm == arm and run.status == "finished"]
        print(f"| {what} | {arm} | {post} | {shown(values, what)} |")


if __name__ == "__main__":
    main()
