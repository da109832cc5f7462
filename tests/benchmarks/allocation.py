"""How many runs would the reference comparisons need, if each run went where it helps most?

    python tests/benchmarks/allocation.py [FOLDER]

For every comparison of several arms with equally many runs of each: the fewest runs, shared out
as `looks.next_runs` does, that bring the standard error of every difference down to what it was.
The standard deviations are estimated from the runs, treated as unpaired. It takes about a second.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from clr_cli.analysis.looks import FIRST_BASELINE, FIRST_RUNS, next_runs
from clr_cli.analysis.rule import Moments
from clr_cli.records import Summary
from clr_cli.report import comparison as report

LEAST = 3  # arms besides the baseline
SHARED = FIRST_BASELINE  # with no more runs of each arm than this, nothing is left to share out
REFERENCE = Path(__file__).parents[2] / "outputs" / "reference"


def needed(summary: Summary) -> tuple[int, int]:
    """Return the runs that a comparison has, and those that it takes."""
    finals = {
        arm.name: [x for x in arm.metrics[summary.metric.name].values.values() if x is not None]
        for arm in summary.arms
    }
    base = Moments.of(finals.pop(summary.baseline))
    sides = [Moments.of(values) for values in finals.values()]
    arms = Moments(**{key: np.array([getattr(s, key) for s in sides]) for key in vars(base)})
    asked = arms.variance / arms.n + base.variance / base.n
    n, m = np.full(len(finals), FIRST_RUNS), FIRST_BASELINE
    while (short := arms.variance / n + base.variance / m > asked).any():
        now = replace(base, n=np.array(m, dtype=float))
        more, more_base = next_runs(replace(arms, n=n.astype(float)), now, short, 1)
        n, m = n + more, m + int(more_base)
    return int(arms.n.sum() + base.n), int(n.sum() + m)


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else REFERENCE
    total = np.zeros(2, dtype=int)
    print("| comparison | runs | shared out | times |\n| :-- | --: | --: | --: |")
    for path in sorted(folder.rglob("summary.json")):
        summary, _ = report.load(path.parent)
        fewest = min(arm.failing.runs for arm in summary.arms)
        if summary.reference is None and len(summary.comparisons) >= LEAST and fewest > SHARED:
            had, takes = needed(summary)
            total += had, takes
            name = path.parent.relative_to(folder).parent
            print(f"| {name} | {had} | {takes} | {takes / had:.2f} |")
    print(f"| all | {total[0]} | {total[1]} | {total[1] / total[0]:.2f} |")


if __name__ == "__main__":
    main()
