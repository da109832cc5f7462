"""How many runs would the reference comparisons have taken with equally many of every arm?

    python tests/benchmarks/allocation.py [FOLDER]

For every unpaired comparison of several arms that added runs after looks: the fewest runs, as many
of each arm, that bring the standard error of every difference down to what it was. The standard
deviations are estimated from the runs. It takes about a second.
"""

from __future__ import annotations

import math
import statistics
import sys
from pathlib import Path

from clr_cli.records import Summary
from clr_cli.report import comparison as report

LEAST = 3  # arms besides the baseline
REFERENCE = Path(__file__).parents[2] / "outputs" / "reference"


def needed(summary: Summary) -> tuple[int, int]:
    """Return the runs that a comparison has, and those that equal numbers would take."""
    finals = {
        arm.name: [x for x in arm.metrics[summary.metric.name].values.values() if x is not None]
        for arm in summary.arms
    }
    n = {arm: len(values) for arm, values in finals.items()}
    variance = {arm: statistics.variance(values) for arm, values in finals.items()}
    base = summary.baseline
    times = [
        (variance[arm] + variance[base]) / (variance[arm] / n[arm] + variance[base] / n[base])
        for arm in finals
        if arm != base
    ]
    return sum(n.values()), len(n) * math.ceil(max(times))


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else REFERENCE
    total = [0, 0]
    print("| comparison | runs | equally many | times |\n| :-- | --: | --: | --: |")
    for path in sorted(folder.rglob("summary.json")):
        summary, _ = report.load(path.parent)
        shared_out = summary.design == "unpaired" and summary.rule == "sequential"
        if shared_out and len(summary.comparisons) >= LEAST:
            has, takes = needed(summary)
            total = [total[0] + has, total[1] + takes]
            print(f"| {summary.experiment} | {has} | {takes} | {has / takes:.2f} |")
    print(f"| all | {total[0]} | {total[1]} | {total[0] / total[1]:.2f} |")


if __name__ == "__main__":
    main()
