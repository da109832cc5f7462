"""The first part of a search: which rates are about as good as the best."""

from __future__ import annotations

import math

from clr_cli.analysis.lattice import HIGHEST, LOWEST, place, rate
from clr_cli.analysis.replay import LONGER, UNSTABLE, Inconclusive, Replay, segments

REACH = 10  # places, three decades: without a sign of learning over so many, the search ends
FLAT = "the rate does not matter here, or the score does not see it"


def bracket(replay: Replay, start: float) -> None:
    """Find the run of rates that are about as good as the best, and refine its ends."""
    middle = min(max(2 * round(place(start) / 2), LOWEST + 2), HIGHEST - 2)
    wanted = dict.fromkeys((middle - 2, middle, middle + 2), 1)
    while wanted:
        replay.need(wanted, "bracket")
        best = max(replay.places, key=lambda k: (replay.first(k), -k))
        if replay.learned(replay.first(best)):
            low, high = (_end(replay, best, step) for step in (-2, 2))
            wanted = {k: replay.count.get(k, 0) + 1 for k in (low, high) if not _fell(replay, k)}
        else:
            wanted = _elsewhere(replay, best)
    least = replay.first(best) - replay.fall
    run = range(low, high + 1, 2)
    apart = [k for k in replay.places if k not in run and replay.first(k) >= least]
    if apart:
        raise Inconclusive(segments(best, apart))
    between = {k + 1 for k in run[:-1]} if len(run) <= 4 else {low + 1, high - 1}
    replay.count = {k: replay.count[k] for k in run}
    replay.need(dict.fromkeys(between, 1), "refine")


def _end(replay: Replay, best: int, step: int) -> int:
    """Return the first place, going outwards from the best, that is not known to be as good."""
    k, least = best, replay.first(best) - replay.fall
    while k in replay.count and max(replay.values(k)) >= least:
        k += step
    if not LOWEST <= k <= HIGHEST:
        raise Inconclusive(
            f"the score is still good at {rate(k - step):.2g}, where the search ends: {FLAT}"
        )
    return k


def _fell(replay: Replay, k: int) -> bool:
    """Return whether an end has been tried often enough to be one."""
    return k in replay.count and (replay.count[k] > 1 or not replay.learned(replay.first(k)))


def _elsewhere(replay: Replay, best: int) -> dict[int, int]:
    """Return where to look next while nothing was learned: towards a sign, or on both sides."""
    low, high = replay.places[0], replay.places[-1]
    if replay.shows_sign(replay.first(best)):
        toward = {low: low - 2, high: high + 2}.get(best)
        if toward is None or not LOWEST <= toward <= HIGHEST:
            raise Inconclusive(
                f"little was learned at any rate: {LONGER}", learned=False, too_short=True
            )
        return {toward: 1}
    failed = not math.isfinite(replay.first(high))  # a higher rate would fail too
    if high - low >= REACH:
        where = f"from {rate(low):.2g} to {rate(high):.2g}"
        if all(not math.isfinite(replay.first(k)) for k in replay.places):
            raise Inconclusive(f"every run {where} failed: {UNSTABLE}", learned=False)
        raise Inconclusive(
            f"nothing was learned at any rate {where}: check the data and their labels, or "
            "train longer",
            learned=False,
        )
    lowest = min(max(low - (6 if failed else 4), LOWEST), HIGHEST - REACH)
    return dict.fromkeys(range(lowest, lowest + REACH + 1, 2), 1)
