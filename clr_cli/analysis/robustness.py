"""Further looks at a difference, beside the headline: what a sceptic would ask next.

Would other test images give it as well? Is it there at each run's best epoch? Does "sooner"
depend on the target?
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from clr_cli.analysis import stats, times
from clr_cli.analysis.images import crossed
from clr_cli.analysis.outcomes import Measures, Outcome, curve
from clr_cli.records import Clock, Metric, RunRecord
from clr_cli.records.answers import unpack

RESAMPLES = 1_999  # of each point
TARGETS = 25  # on the grid of `ratio_curve`
LEAST_ERROR = 1e-4  # a target of 100 % would be at infinity on an axis of errors
EARLY = 0.2  # of a run; before, a loss falls too fast for its times to be told apart
LEAST_DISTANCE = 0.003  # of the way, from a last target that is no bound: see `ratio_curve`


def further(
    arm: Mapping[int, RunRecord],
    base: Mapping[int, RunRecord],
    interval: Mapping[str, Any],
    measures: Measures,
    *,
    paired: bool = True,
) -> dict[str, Any]:
    """The further looks at one arm's difference from the baseline, for summary.json.

    Args:
        arm, base: the runs by seed; base is empty where arms are compared with a number.
        interval: low and high of the headline, over seeds alone. The interval over seeds and test
            images is never the narrower one: it covers more.

    Returns:
        best_epoch: mean, low and high of the difference of the metric at each run's best row by
        what is watched; None where that is the metric itself. images: the interval over seeds and
        test images, with each source's standard error. ratios: see `ratio_curve`. None where there
        are fewer than 2 pairs, or runs are not paired.
    """
    if not paired:
        runs, others = (
            [run for run in side.values() if run.status != "failed"] for side in (arm, base)
        )
        curves = ratio_curve(runs, others, measures, paired=False) if base else []
        return {"best_epoch": None, "images": None, "ratios": curves}
    pairs = [(arm[seed], base[seed]) for seed in sorted(arm.keys() & base.keys())]
    trained = [pair for pair in pairs if all(run.status == "finished" for run in pair)]
    answered = [pair for pair in pairs if all(run.status != "failed" for run in pair)]
    return {
        "best_epoch": _best_epoch(trained, measures),
        "images": _over_images(trained, interval),
        "ratios": ratio_curve([a for a, _ in answered], [b for _, b in answered], measures),
    }


def _best_epoch(
    pairs: Sequence[tuple[RunRecord, RunRecord]], measures: Measures
) -> dict[str, float] | None:
    metric, watched = measures.metric, measures.watched
    if metric == watched or len(pairs) < 2 or not all(run.epochs for pair in pairs for run in pair):
        return None

    def at_best(run: RunRecord) -> float:
        """The metric where the watched one is best, at the first of equal rows."""
        return max(run.epochs, key=lambda row: watched.sign * row[watched.name])[metric.name]

    differences = [at_best(arm) - at_best(base) for arm, base in pairs]
    (low,), (high,) = stats.mean_intervals(differences, (stats.LEVEL,))
    ends = {"low": float(low), "high": float(high)}
    if metric.unit == "%":  # no two fractions differ by more than 1
        ends = {"low": max(ends["low"], -1.0), "high": min(ends["high"], 1.0)}
    return {"mean": statistics.fmean(differences), **ends}


def _over_images(
    pairs: Sequence[tuple[RunRecord, RunRecord]], interval: Mapping[str, Any]
) -> dict[str, float] | None:
    rows = []
    for pair in pairs:
        arm, base = (_answers(run) for run in pair)
        if arm is None or base is None or len(arm) != len(base):
            return None
        rows.append(arm.astype(np.int8) - base.astype(np.int8))
    if len(rows) < 2 or len({len(row) for row in rows}) > 1 or len(rows[0]) < 2:
        return None
    found = crossed(np.stack(rows))
    return {
        "low": max(min(found.low, interval["low"]), -1.0),
        "high": min(max(found.high, interval["high"]), 1.0),
        "seeds_error": found.seeds_error,
        "images_error": found.images_error,
    }


def _answers(run: RunRecord) -> npt.NDArray[np.bool_] | None:
    kept = run.result.get("test_answers")
    return None if kept is None else unpack(kept["bits"], kept["images"])


def ratio_curve(
    arm: Sequence[RunRecord],
    base: Sequence[RunRecord],
    measures: Measures,
    *,
    paired: bool = True,
) -> list[dict[str, float]]:
    """Ratio of the times to a target, for a grid of targets, on the first clock.

    The targets run to the better of the two arms' median final values. For fractions that should
    be 1 they start at what the baseline has at its first row and lie evenly in the logarithm of the
    error; else they start at what it has after a fifth of its run and lie evenly in the logarithm
    of the distance from the last target, down to a small part of the way. A target that too many
    miss on both sides has no ratio and is left out; so is one that most unpaired runs of one arm
    miss.

    Args:
        arm, base: the runs, in the same order of seeds where they are paired.

    Returns:
        target, ratio, low and high (see `times.median_ratio`, `times.unpaired_ratio`) of each
        point; an infinite or undefined number is not finite.
    """
    watched = measures.watched
    sides = [[_Curve.of(run, measures) for run in side] for side in (arm, base)]
    if not all(sides) or not measures.clocks or not all(run.rows for side in sides for run in side):
        return []
    fractions = watched.unit == "%" and watched.mode == "max"
    share = 0.0 if fractions else EARLY
    first = statistics.median(run.after(share) for run in sides[1])
    finals = [statistics.median(run.final for run in side) for side in sides]
    last = watched.sign * max(watched.sign * value for value in finals)
    if not (math.isfinite(last) and watched.sign * (last - first) > 0):
        return []
    points = []
    for target in _grid(first, last, fractions=fractions):
        mine, theirs = ([run.time_to(target) for run in side] for side in sides)
        if paired:
            found = times.median_ratio(mine, theirs)
        else:
            found = times.unpaired_ratio(mine, theirs, RESAMPLES)
        drawn = not math.isnan(found.value) if paired else 0 < found.value < math.inf
        if drawn:
            ends = {"ratio": found.value, "low": found.low, "high": found.high}
            points.append({"target": target, **ends})
    return points


def _grid(first: float, last: float, *, fractions: bool) -> list[float]:
    if fractions:
        errors = np.geomspace(1 - first, max(1 - last, LEAST_ERROR), TARGETS)
        return [float(1 - error) for error in errors]
    left = np.geomspace(1, LEAST_DISTANCE, TARGETS - 1)  # of the way from first to last
    return [*(float(last + share * (first - last)) for share in left), last]


@dataclass(frozen=True)
class _Curve:
    """A run as it nears its targets."""

    rows: list[dict[str, float]]
    moments: list[float]
    watched: Metric
    trained: bool

    @staticmethod
    def of(run: RunRecord, measures: Measures) -> _Curve:
        rows = curve(run, measures.watched)
        moments = (times.moments(rows, measures.clocks[0]) if measures.clocks else None) or []
        begun = [k for k, moment in enumerate(moments) if moment > 0]  # no ratio of nothing
        return _Curve(
            [rows[k] for k in begun],
            [moments[k] for k in begun],
            measures.watched,
            run.status == "finished",
        )

    @property
    def final(self) -> float:
        return self.rows[-1][self.watched.name] if self.trained else self.watched.worst

    def after(self, share: float) -> float:
        """The value after this share of the run: at the first row from there on."""
        there = share * self.moments[-1]
        later = (row for row, at in zip(self.rows, self.moments, strict=True) if at >= there)
        return next(later)[self.watched.name]

    def time_to(self, target: float) -> float:
        reached = times.time_to_target(self.rows, target, self.watched) if self.trained else None
        return math.inf if reached is None else self.moments[reached]


def ratios(
    arm: Sequence[Outcome], base: Sequence[Outcome], clocks: Sequence[Clock], *, paired: bool
) -> dict[str, Any] | None:
    """Time to target over the baseline's, on every clock; None where runs tell none.

    An infinite end of an interval is None in the file, so "reached" tells who missed.

    Args:
        arm, base: the runs, in the same order of seeds where they are paired.
    """
    if not clocks:
        return None
    made = {}
    for clock in clocks:
        mine, theirs = ([run.times[clock] for run in side] for side in (arm, base))
        rule = times.median_ratio if paired else times.unpaired_ratio
        made[clock] = rule(mine, theirs)
    sides = {"arm": arm, "baseline": base}
    return {
        "clocks": {
            clock: {"ratio": found.value, "low": found.low, "high": found.high}
            for clock, found in made.items()
        },
        "reached": {
            name: sum(math.isfinite(run.times[clocks[0]]) for run in side)
            for name, side in sides.items()
        },
        "runs": {name: len(side) for name, side in sides.items()},
    }
