"""How much pairing gained: what runs of equal seeds share does not blur their difference."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import special

from clr_cli.analysis.rule import ALPHA
from clr_cli.format import Scale
from clr_cli.records import Pairing

LEAST = 8  # pairs; with fewer, the interval is too wide to report


def gain(arms: Sequence[Mapping[int, float]], baseline: Mapping[int, float]) -> Pairing | None:
    """Return what pairing gained over all arms; None without two pairs that differ.

    The variance of a paired difference over the sum of the two sides' variances is the share of
    runs that is left to do: 1 minus an intraclass correlation, whose interval is exact where both
    sides have one normal noise (Shrout & Fleiss 1979, "Intraclass correlations", ICC(3,1)). Arms
    share the baseline, so the interval is that of the one with the most pairs.

    Args:
        arms: final values by seed, of each arm.
        baseline: the same of the baseline.

    >>> found = gain([{0: 1.0, 1: 2.0, 2: 3.0}], {0: 0.0, 1: 1.1, 2: 1.9})
    >>> found.pairs, round(found.sd, 3), round(found.sd_unpaired, 3), round(found.saved, 3)
    (3, 0.1, 1.382, 0.995)
    """
    most, paired, unpaired, freedom = 0, 0.0, 0.0, 0
    for arm in arms:
        seeds = arm.keys() & baseline.keys()
        if len(seeds) < 2:
            continue
        x, y = (np.array([side[seed] for seed in sorted(seeds)]) for side in (arm, baseline))
        n = len(seeds)
        most, freedom = max(most, n), freedom + n - 1
        paired += (n - 1) * float(np.var(x - y, ddof=1))
        unpaired += (n - 1) * float(np.var(x, ddof=1) + np.var(y, ddof=1))
    if not (unpaired > 0 and math.isfinite(unpaired)):
        return None
    saved = 1 - paired / unpaired
    reach = float(special.fdtri(most - 1, most - 1, 1 - ALPHA / 2))
    return Pairing(
        pairs=most,
        sd=math.sqrt(paired / freedom),
        sd_unpaired=math.sqrt(unpaired / freedom),
        saved=saved,
        low=_shifted(saved, 1 / reach),
        high=_shifted(saved, reach),
    )


def _shifted(correlation: float, factor: float) -> float:
    """Return the intraclass correlation whose ratio of variances is so many times as large."""
    between, within = factor * (1 + correlation), 1 - correlation
    return (between - within) / (between + within)


def pairing_sentence(pairing: Pairing | None, scale: Scale) -> str:
    """Return in a sentence what pairing gained; nothing of few pairs."""
    if pairing is None or pairing.pairs < LEAST:
        return ""
    paired, unpaired = scale.end(pairing.sd), scale.end(pairing.sd_unpaired)
    sizes = f"the differences have a standard deviation of {paired}{scale.points}, {unpaired}"
    sizes += " if unpaired"
    if pairing.low > 0:
        saved, low, high = (f"{100 * x:.0f}" for x in (pairing.saved, pairing.low, pairing.high))
        return f"Pairing saved {saved} % of the runs (95 % interval {low} to {high} %): {sizes}."
    return f"With {pairing.pairs} seeds, no benefit from pairing can be shown: {sizes}."
