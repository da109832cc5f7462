"""The rule that `clr_cli.analysis.rule` replaced, on the same draws: hull, sign flips, guard.

It goes with the modules that it judges by: `stats`, `unpaired`, `sequential`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from experiments import NO_MARGIN, added, fixed
from numpy.typing import NDArray

from clr_cli.analysis import sequential, stats, unpaired
from clr_cli.analysis.sequential_unpaired import Unpaired

Array = NDArray[np.float64]


def judge(x: Array, y: Array, paired: bool, auto: bool, effects: Sequence[float]) -> dict[str, Any]:
    """Rates over (reps, K, n) and (reps, m): false, right (last arm), seeds and runs."""
    false = right = seeds = runs = 0
    for arms, base in zip(x, y, strict=True):
        said, n = _one(arms, base, paired, auto)
        right += said[-1] == "better" and effects[-1] > 0
        false += any(
            (word == "better" and d <= 0) or (word == "worse" and d >= 0)
            for word, d in zip(said, effects, strict=True)
        )
        seeds += n
        runs += n * (len(arms) + 1)
    rates = {"reps": len(x), "false": false / len(x), "right": right / len(x)}
    return {**rates, "seeds": seeds / len(x), "runs": runs / len(x)} if auto else rates


def _one(arms: Array, base: Array, paired: bool, auto: bool) -> tuple[list[str], int]:
    looks = sequential.looks(30)
    if paired:
        if auto:
            return added(arms, looks, 30, NO_MARGIN)
        return fixed(arms, NO_MARGIN), arms.shape[-1]
    if auto:
        at = {str(k): [(n, n) for n in looks] for k in range(len(arms))}
        samples = {str(k): (row, base) for k, row in enumerate(arms)}
        replay = sequential.replay(samples, at, margin=NO_MARGIN, cap=30, rule=Unpaired())
        for seen, decisions in zip(looks, replay, strict=True):
            n = seen
            if all(decision.seeds is not None for decision in decisions.values()):
                break
        return [decisions[name].verdict for name in samples], n
    return _unpaired(arms, base), arms.shape[-1]


def _unpaired(arms: Array, base: Array) -> list[str]:
    sizes = arms.shape[-1], len(base)
    p = unpaired.permutation_p(arms, np.broadcast_to(base, (len(arms), len(base))), 4_000)
    adjusted, said, claimed = stats.holm(p.tolist()), ["no_difference"] * len(arms), 0
    for k in np.argsort(p, kind="stable"):
        if adjusted[k] > stats.ALPHA:
            break
        level = 1 - (1 - unpaired.claim_level(*sizes)) / (len(arms) - claimed)
        (low,), (high,) = unpaired.mean_intervals(arms[k], base, (level,), 1_999)
        said[k] = unpaired.claim(*sizes, adjusted[k], low, high, NO_MARGIN, len(arms))
        claimed += said[k] in ("better", "worse")
    return said
