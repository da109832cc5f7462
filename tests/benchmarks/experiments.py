"""Simulated comparisons with known truth, judged by the functions that ``clr compare`` uses.

Differences are in standard deviations. A plan says when it is looked at: "6", "10" and "20" seeds
are fixed in advance; "auto" looks at 8, 10, ... 30 and gives up where more seeds would hardly help;
"growing" is a number raised from 6 by 2 after each look, up to 30; "naive" looks as "growing" does
and judges each look by the rule for seeds fixed in advance.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
from draws import DISTRIBUTIONS, Array
from scipy import stats as distributions

from clr_cli.analysis import sequential, stats

CAP = 30
GROWING = list(range(6, CAP + 1, 2))
REPS = 2_000
NO_MARGIN = 0.001  # nothing is equivalent
CLAIMS = ("better", "worse", "equivalent")
Result = dict[str, float]


@dataclass(frozen=True)
class Cell:
    """One kind of comparison: `truth` is the difference of the first arm, the others have none.

    With a margin it is about equivalence: false where it is claimed of a difference of the margin.
    """

    plan: str
    draw: str
    arms: int = 1
    truth: float = 0.0
    margin: float = NO_MARGIN
    reps: int = REPS

    @property
    def name(self) -> str:
        arms = f"{self.arms} arm{'s' * (self.arms > 1)}"
        margin = f", margin = {self.margin:g}" if self.margin != NO_MARGIN else ""
        return f"{self.plan}, {arms}, {self.draw}, d = {self.truth:g}{margin}"


def there(row: Array) -> Array:
    """The differences of pairs that both trained."""
    return row[~np.isnan(row)]


def fixed(values: Array, margin: float) -> list[str]:
    """The verdicts on arms with seeds fixed in advance: (arms, seeds) -> one for each arm.

    tests/analysis/test_claims.py holds it to `clr_cli.analysis.summary.summarize`.
    """
    rows = [there(row) for row in values]
    p = [float(stats.sign_flip_p(row)) if len(row) else 1.0 for row in rows]
    adjusted, verdicts, claimed = stats.holm(p), [""] * len(rows), 0
    for k in sorted(range(len(rows)), key=lambda k: p[k]):
        row, open_arms = rows[k], len(rows) - claimed
        low = high = math.nan  # the interval decides nothing where p does, and none is equivalent
        if adjusted[k] <= stats.ALPHA or margin != NO_MARGIN:
            level = 1 - (1 - stats.CLAIM_LEVEL) / open_arms
            (low,), (high,) = stats.mean_intervals(row, (level,))
        verdicts[k] = stats.claim(len(row), adjusted[k], low, high, margin, len(rows))
        claimed += verdicts[k] in ("better", "worse")
    return verdicts


def naive(row: Array, margin: float) -> tuple[list[str], int]:
    """One arm. No look can claim what Student's interval, the narrower one, leaves open."""
    said = ["no_difference"]
    for n in GROWING:
        t = distributions.t.isf((1 - stats.CLAIM_LEVEL) / 2, n - 1)
        if abs(row[:n].mean()) > t * row[:n].std(ddof=1) / math.sqrt(n):
            said = fixed(row[None, :n], margin)
        if said[0] in CLAIMS:
            break
    return said, n


def added(values: Array, looks: list[int], cap: int | None, margin: float) -> tuple[list[str], int]:
    """The verdicts where seeds are added until all arms are decided, and the seeds spent."""
    names = [str(k) for k in range(len(values))]
    counts = [np.cumsum(~np.isnan(row)) for row in values]
    replay = sequential.replay(
        {name: there(row) for name, row in zip(names, values, strict=True)},
        {name: [int(c[n - 1]) for n in looks] for name, c in zip(names, counts, strict=True)},
        margin=margin,
        cap=cap,
    )
    for n, decisions in zip(looks, replay, strict=True):
        said = [decisions[name].verdict for name in names], n
        if all(decision.seeds is not None for decision in decisions.values()):
            break
    return said


def experiment(values: Array, cell: Cell) -> tuple[list[str], int]:
    """The verdicts of one comparison, and the seeds that it spent."""
    if cell.plan == "auto":
        return added(values, sequential.looks(CAP), CAP, cell.margin)
    if cell.plan == "growing":
        return added(values, GROWING, None, cell.margin)
    if cell.plan == "naive":
        return naive(values[0], cell.margin)
    n = int(cell.plan)
    return fixed(values[:, :n], cell.margin), n


def measure(cell: Cell) -> dict[str, Any]:
    """The cell's rates; its generator is its own, whatever else is measured.

    false: any claim that is not true. right: the claim that is true, of the first arm. covered:
    the 95 % interval of the first arm holds the truth when the comparison ends. seeds: spent.
    """
    rng = np.random.default_rng([*cell.name.encode()])
    sampler, sd = DISTRIBUTIONS[cell.draw]
    true = ["better" if cell.truth else "equivalent", *["equivalent"] * (cell.arms - 1)]
    false = right = spent = 0
    ended: dict[int, list[Array]] = defaultdict(list)
    for _ in range(cell.reps):
        values = sampler(rng, (cell.arms, CAP)) / sd
        values[0] += cell.truth
        verdicts, n = experiment(values, cell)
        said = zip(verdicts, true, strict=True)
        false += any(verdict in CLAIMS and verdict != truth for verdict, truth in said)
        right += verdicts[0] == true[0]
        spent += n
        pairs = there(values[0, :n]) - cell.truth
        ended[len(pairs)].append(pairs)
    held = 0
    for rows in ended.values():
        (low,), (high,) = stats.mean_intervals(np.array(rows), (stats.LEVEL,))
        held += int(((low <= 0) & (high >= 0)).sum())
    rates = {"false": false, "right": right, "covered": held, "seeds": spent}
    return with_error({key: value / cell.reps for key, value in rates.items()}, cell.reps)


def with_error(rates: Result, reps: int) -> Result:
    """With the Monte-Carlo error of the false rate, at least that of one in all."""
    error = math.sqrt(max(rates["false"] * (1 - rates["false"]), 1 / reps) / reps)
    return {"reps": reps, **rates, "error": error}
