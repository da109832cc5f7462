"""What a speedrun board's own rule says of its runs, beside the tests that assume less.

    python tests/benchmarks/board_rule.py outputs/reference/nanogpt_track3/against-3.28

Reads runs.csv alone. The rule of the modded-nanogpt optimization benchmark (track 3) takes a
standard deviation of SIGMA for granted: an arm is valid where (GOAL - mean) * sqrt(n) >= LEAST, and
sooner than another where (difference of loss + CREDIT per 100 steps saved) / sqrt(1/n + 1/m) >=
LEAST; both are one-sided z tests at p < .001.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
from scipy import stats

from clr_cli.report.runs import read_runs_csv

GOAL, SIGMA, LEAST, CREDIT = 3.28, 0.0013, 0.004, 0.0045
PAIRS = [("skylight", "muon_tuned"), ("skylight", "muonh_tuned"), ("muonh_tuned", "muon_tuned")]
PAIRS += [("contra_muon", "muon_tuned"), ("muloco_normuonh", "muon_tuned")]


def main() -> None:
    """Print the two tables, and how well one sigma fits all arms."""
    runs = read_runs_csv((Path(sys.argv[1]) / "runs.csv").read_text("utf-8"))
    ends: dict[str, list[float]] = {}
    steps: dict[str, float] = {}
    for run in runs:
        ends.setdefault(run.arm, []).append(run.epochs[-1]["val_loss"])
        steps[run.arm] = max(steps.get(run.arm, 0), run.epochs[-1]["iteration"])
    final = {arm: np.array(values) for arm, values in ends.items()}
    total = sum(map(len, final.values()))
    freedom = total - len(final)
    left = np.concatenate([values - values.mean() for values in final.values()])
    pooled = math.sqrt(float((left**2).sum()) / freedom)
    print(
        f"pooled standard deviation {pooled:.5f} ({freedom} degrees of freedom); one for all arms:"
        f" Bartlett p = {stats.bartlett(*final.values()).pvalue:.2f}; normal: Shapiro-Wilk p ="
        f" {stats.shapiro(left).pvalue:.2f}, skewness {stats.skew(left):.2f}\n"
    )
    print("| arm | runs | (3.28 - mean) √n | board: p | t test, pooled sd: p | t test, own sd: p |")
    print("|---|--:|--:|--:|--:|--:|")
    for arm, values in final.items():
        n = len(values)
        statistic = (GOAL - values.mean()) * math.sqrt(n)
        z = stats.norm.sf(statistic / SIGMA)
        shared = stats.t.sf(statistic / pooled, freedom)
        own = stats.t.sf(statistic / values.std(ddof=1), n - 1)
        print(f"| {arm} | {n} | {statistic:.4f} | {z:.1g} | {shared:.1g} | {own:.1g} |")
    print("\n| arm | against | steps saved | statistic | board: p | Welch with the credit: p |")
    print("|---|---|--:|--:|--:|--:|")
    for arm, other in PAIRS:
        one, two = final[arm], final[other]
        saved = steps[other] - steps[arm]
        credit = CREDIT * saved / 100
        error = math.sqrt(1 / len(one) + 1 / len(two))
        statistic = (two.mean() - one.mean() + credit) / error
        z = stats.norm.sf(statistic / SIGMA)
        welch = stats.ttest_ind(two + credit, one, equal_var=False, alternative="greater").pvalue
        print(f"| {arm} | {other} | {saved:.0f} | {statistic:.4f} | {z:.1g} | {welch:.1g} |")


if __name__ == "__main__":
    main()
