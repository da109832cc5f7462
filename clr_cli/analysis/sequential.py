"""Looking early without false claims: a sign-flip test that may be asked again as seeds are added.

A comparison of paired runs is looked at after some seeds, and more are added until it is decided.
Asked naively at 5 % each time, 10 to 14 % of such comparisons of equal arms end in a claim. Here
the 5 % are spent over the looks (alpha spending; Lan & DeMets 1983, "Discrete sequential boundaries
for clinical trials"), and the boundary at each look is that of the sign-flip test itself, so that
no normal distribution is assumed. tests/benchmarks/claims.py measures its error rates.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import stats as distributions

from clr_cli.analysis import stats
from clr_cli.config.sections import AUTO_CAP, LEAST_CAP

FIRST = LEAST_CAP  # seeds at the first look
STEP = 2  # seeds added between two looks
PATTERNS = 2**12  # sign patterns: all of the first 12 seeds', then drawn by a fixed generator
GUARD = 0.009  # a claim's interval has the level 1 - GUARD
# Its power is that of the rule for seeds fixed in advance with so many times the comparisons.
STRICTER = (1 - stats.CLAIM_LEVEL) / GUARD
# Futile: the cap would find a difference of this size with power FOUND, and the differences seen
# are ODDS times as likely under none.
FOUND = 0.99
ODDS = 20.0

Verdict = Literal["better", "worse", "equivalent", "no_difference"]
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Decision:
    """What the looks came to for one arm.

    verdict: what may be claimed. seeds: at which look it was decided; None while it is open.
    futile: whether it ended because seeds up to the cap would hardly show a difference.
    """

    verdict: Verdict
    seeds: int | None = None
    futile: bool = False


def looks(cap: int) -> list[int]:
    """The numbers of seeds after which a comparison with ``seeds: auto`` is looked at.

    Args:
        cap: seeds of the last look, at least FIRST.

    Returns:
        FIRST, FIRST + STEP, ..., cap.

    >>> looks(13)
    [8, 10, 12, 13]
    """
    return [*range(FIRST, cap, STEP), cap]


def spent(n: int, alpha: float = stats.ALPHA) -> float:
    """The part of alpha that may be spent up to a look at n seeds.

    alpha * (1 - 5 / n) below AUTO_CAP (30) seeds, alpha * (1 - 1 / n) from there on: nearly all of
    it is spent where most comparisons end, and something is left for one that grows beyond. It
    depends on n alone, so that a cap that is raised later changes no look before it.

    Args:
        n: pairs at the look.
        alpha: what may be spent in all.

    Returns:
        A probability; 0 below 6 pairs, where no sign-flip test can succeed at 5 %.

    >>> round(spent(8), 5), round(spent(30), 5), spent(5)
    (0.01875, 0.04833, 0.0)
    """
    return alpha * max(0.0, 1 - (5 if n < AUTO_CAP else 1) / n) if n else 0.0


def _signs(n: int) -> Array:
    """(PATTERNS, n): the same for the first seeds however many there are."""
    return _more_signs(32 * math.ceil(n / 32))[:, :n]


@lru_cache(maxsize=2)
def _more_signs(n: int) -> Array:
    """(PATTERNS, n) signs of +1 and -1; the first pattern is all +1, the observed one."""
    full = round(math.log2(PATTERNS))
    number = np.arange(PATTERNS)[:, None]
    first = 1 - 2 * ((number >> np.arange(full)[None, :]) & 1)
    # Column by column, so that the signs of a seed do not depend on how many seeds there are.
    later = [
        np.where(np.random.default_rng(column).random(PATTERNS) < 0.5, -1, 1)
        for column in range(full, n)
    ]
    signs: Array = np.column_stack([first, *later]).astype(np.float64)
    signs[0] = 1
    return signs


def rejected(differences: Sequence[float], at: Sequence[int], alpha: float = stats.ALPHA) -> bool:
    """Whether the sequential sign-flip test rejects "no difference" at any of these looks.

    At each look the largest |sums| over sign patterns fall out, as many as alpha allows by then;
    ties fall out together or not at all. It rejects once the observed signs have fallen out.

    Args:
        differences: paired differences in the order of their seeds.
        at: pairs at each look, rising; those beyond the differences are left out.
        alpha: two-sided level over all looks.

    Returns:
        True if one of the looks rejects.

    >>> rejected([1.0, 1.2, 0.9, 1.1, 1.0, 1.3, 0.8, 1.2], [8])
    True
    >>> rejected([1.0, -1.2, 0.9, 1.1, -1.0, 1.3, 0.8, -1.2], [8])
    False
    """
    values: Array = np.asarray(differences, dtype=np.float64)
    sums, seen, alive = np.zeros(PATTERNS), 0, np.ones(PATTERNS, dtype=bool)
    # Sums of equal magnitude must be equal: rounded far above the error of adding in another order.
    unit = float(np.abs(values).sum()) * 1e-12 or 1.0
    for n in at:
        allowed = math.floor(PATTERNS * spent(n, alpha)) - int((~alive).sum())
        if n > len(values) or allowed < 0:
            continue
        sums += _signs(n)[:, seen:n] @ values[seen:n]
        seen = n
        extreme = np.abs(np.rint(sums / unit))
        left = extreme[alive]
        boundary = len(left) - 1 - allowed
        alive &= ~(extreme > np.partition(left, boundary)[boundary])
        if not alive[0]:
            return True
    return False


class Rule(Protocol):
    """What one look says of one arm, whatever its sample is made of.

    counts: how many runs the sample had at each look so far, the present one last; in the form
    that the rule has for them.
    """

    def claim(self, sample: Any, counts: Sequence[Any], margin: float, arms: int) -> Verdict:
        """What may be claimed with so many arms still open."""

    def futile(self, sample: Any, count: Any, cap: int, margin: float, arms: int) -> bool:
        """Whether it may be given up."""

    def seeds(self, count: Any) -> int:
        """How many seeds that are."""


def decide(
    samples: Mapping[str, Any],
    at: Mapping[str, Sequence[Any]],
    *,
    margin: float,
    cap: int | None = None,
    rule: Rule | None = None,
) -> dict[str, Decision]:
    """What the looks so far allow to say of every arm against the baseline.

    A pure replay: the same samples and looks give the same decisions. Several arms are
    corrected as by Holm (1979): K - r of K arms are open when r have been claimed, and each is
    tested at alpha / (K - r), with an interval of level 1 - GUARD / (K - r) that must not contain
    zero (better, worse) or must lie within the margin (equivalent). A decision is final.

    Args:
        samples: arm -> what its runs say; by the paired rule, the paired differences (fractions)
            in the order of their seeds.
        at: arm -> how many of its pairs were there at each look, the same number of looks for all.
        margin: the difference that does not matter (a fraction).
        cap: seeds at which it ends; None never gives up as futile.
        rule: for runs that are not paired: see `sequential_unpaired`.

    Returns:
        arm -> Decision. Open arms are "no_difference" with seeds None. An arm all of whose
        runs failed is futile.

    >>> ones = [0.02, 0.03, 0.02, 0.025, 0.03, 0.02, 0.025, 0.03]
    >>> decide({"clr": ones}, {"clr": [8]}, margin=0.001)["clr"]
    Decision(verdict='better', seeds=8, futile=False)
    """
    said = [{arm: Decision("no_difference") for arm in samples}]
    said.extend(replay(samples, at, margin=margin, cap=cap, rule=rule))
    return said[-1]


def replay(
    samples: Mapping[str, Any],
    at: Mapping[str, Sequence[Any]],
    *,
    margin: float,
    cap: int | None = None,
    rule: Rule | None = None,
) -> Iterator[dict[str, Decision]]:
    """The decisions after each look; see `decide`, which gives the last ones."""
    rule = rule or _Paired()
    decided: dict[str, Decision] = {}
    claimed: set[str] = set()
    for look in range(max((len(counts) for counts in at.values()), default=0)):
        again = True
        while again:  # a claim makes the others' level larger: ask them again
            again = False
            for arm, sample in samples.items():
                if arm in decided and not decided[arm].futile:
                    continue
                counts = at[arm][: look + 1]
                verdict = rule.claim(sample, counts, margin, len(samples) - len(claimed))
                if verdict != "no_difference":
                    decided[arm] = Decision(verdict, rule.seeds(counts[-1]))
                if verdict in ("better", "worse"):
                    claimed.add(arm)
                    again = True
        for arm, sample in samples.items():
            count, open_arms = at[arm][look], len(samples) - len(claimed)
            if cap is None or arm in decided:
                continue
            if rule.futile(sample, count, cap, margin, open_arms):
                decided[arm] = Decision("no_difference", rule.seeds(count), futile=True)
        yield {arm: decided.get(arm, Decision("no_difference")) for arm in samples}


class _Paired:
    """By paired differences."""

    def claim(
        self, sample: Sequence[float], counts: Sequence[int], margin: float, arms: int
    ) -> Verdict:
        return _claim(sample, counts, margin, arms)

    def futile(
        self, sample: Sequence[float], count: int, cap: int, margin: float, arms: int
    ) -> bool:
        values = sample[:count]
        if 0 < count < FIRST or count >= cap:
            return False
        if count == 0:  # all runs failed
            return True
        mean, sd = abs(float(np.mean(values))), float(np.std(values, ddof=1))
        return hopeless(mean, sd, count, cap, margin, arms)

    def seeds(self, count: int) -> int:
        return count


def guard_level(open_arms: int) -> float:
    """The level of the interval that a claim must pass, with so many arms still open.

    >>> guard_level(1), guard_level(4)
    (0.991, 0.99775)
    """
    return 1 - GUARD / open_arms


def _claim(values: Sequence[float], counts: Sequence[int], margin: float, arms: int) -> Verdict:
    n, level = counts[-1], guard_level(arms)
    if n < stats.MIN_SEEDS:
        return "no_difference"
    # What Student's t rules out needs no look at the rest: the union of intervals is wider.
    mean, half = abs(float(np.mean(values[:n]))), _half(values[:n], level)
    if mean <= half and mean + half >= margin:
        return "no_difference"
    low, high = stats.mean_intervals(values[:n], (level,))
    if -margin < low[0] and high[0] < margin:
        return "equivalent"
    if low[0] <= 0 <= high[0] or not rejected(values[:n], counts, stats.ALPHA / arms):
        return "no_difference"
    return "better" if low[0] > 0 else "worse"


def _half(values: Sequence[float], level: float) -> float:
    """Half of Student's interval of the mean."""
    n = len(values)
    error = float(np.std(values, ddof=1)) / math.sqrt(n)
    return _critical(level, n) * error


@lru_cache(maxsize=256)
def _critical(level: float, n: int) -> float:
    return float(distributions.t.ppf((1 + level) / 2, n - 1))


def hopeless(mean: float, sd: float, n: int, cap: int, margin: float, arms: int) -> bool:
    """Whether there is hardly a difference that seeds up to the cap could show.

    A likelihood ratio of normal differences, as in Wald's (1945) sequential test: none against the
    size that the cap would surely find. Giving up costs no level, only power: .4 points of 99.5 %
    at that size. Nor may equivalence be within reach: then the interval at the cap would be
    narrower than the margin.

    Args:
        mean: of the differences so far, without its sign; sd: of one difference.
        n: differences so far.

    >>> hopeless(0.0, 1.0, 20, 30, 0.001, 1), hopeless(1.0, 1.0, 20, 30, 0.001, 1)
    (True, False)
    """
    level = guard_level(arms)
    if sd == 0 or mean + _critical(level, cap) * sd / math.sqrt(cap) < margin:
        return False
    size = _surely_found(cap, arms)
    return size is None or n * size * (size / 2 - mean / sd) > math.log(ODDS)


@lru_cache(maxsize=64)
def _surely_found(cap: int, open_arms: int) -> float | None:
    """The difference, in standard deviations, that the cap finds with power FOUND."""
    return stats.smallest_detectable(1.0, cap, open_arms, FOUND)
