"""Check the robustness of a difference, for a reader who doubts it.

Would other test images show it too? Does it exist at each run's best epoch? Does "sooner" depend on
the target?
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from clr_cli.analysis import times
from clr_cli.analysis.designs import against
from clr_cli.analysis.images import crossed
from clr_cli.analysis.outcomes import Measures, Outcome, curve
from clr_cli.records import (
    TEST_ACCURACY,
    BestEpoch,
    Clock,
    Metric,
    OverImages,
    Ratio,
    RatioAt,
    Reached,
    RunRecord,
    TimeRatio,
    finite,
    unpack,
)

TARGETS = 25  # on the grid of `ratio_curve`
LEAST_ERROR = 1e-4  # a target of 100 % would be at infinity on an axis of errors
EARLY = 0.2  # of a run; before, a loss falls too fast to compare times
LEAST_DISTANCE = 0.003  # as a share, to a last target that is not a bound: see `ratio_curve`


class Robustness(NamedTuple):
    """The robustness of one arm's difference from the baseline, as `records.Comparison` has it."""

    best_epoch: BestEpoch | None
    images: OverImages | None
    ratios: list[RatioAt]


def check_robustness(
    arm: Mapping[int, RunRecord],
    base: Mapping[int, RunRecord],
    interval: tuple[float, float],
    measures: Measures,
    *,
    paired: bool = True,
) -> Robustness:
    """Return the robustness of one arm's difference from the baseline.

    Args:
        arm: its runs by seed.
        base: the baseline's; empty if arms are compared with a number.
        measures: the metrics and the target of the comparison.
        paired: whether runs of one seed belong together.
        interval: low and high of the arm's own 95 % interval, over seeds alone. The interval over
            seeds and test images is never the narrower one: it covers more.

    Returns:
        best_epoch: the difference of the metric at each run's best row by target_metric; None if
        that is the metric itself. images: the interval over seeds and test images; None if runs
        did not save their answers. Both are None for fewer than 2 pairs, and for unpaired runs.
        ratios: see `ratio_curve`.

    """
    if not paired:
        runs, others = (
            [run for run in side.values() if run.status != "failed"] for side in (arm, base)
        )
        curves = ratio_curve(runs, others, measures, paired=False) if base else []
        return Robustness(None, None, curves)
    pairs = [(arm[seed], base[seed]) for seed in sorted(arm.keys() & base.keys())]
    trained = [pair for pair in pairs if all(run.status == "finished" for run in pair)]
    ended = [pair for pair in pairs if all(run.status != "failed" for run in pair)]
    return Robustness(
        _at_best_epoch(trained, measures),
        _over_images(trained, interval),
        ratio_curve([a for a, _ in ended], [b for _, b in ended], measures),
    )


def _at_best_epoch(
    pairs: Sequence[tuple[RunRecord, RunRecord]], measures: Measures
) -> BestEpoch | None:
    metric, by = measures.metric, measures.target_metric
    if metric == by or len(pairs) < 2 or not all(run.epochs for pair in pairs for run in pair):
        return None

    def at_best(run: RunRecord) -> float:
        """Return the metric at the best row by target_metric, the first of equal ones."""
        return max(run.epochs, key=lambda row: by.sign * row[by.name])[metric.name]

    differences = [at_best(arm) - at_best(base) for arm, base in pairs]
    low, high = metric.possible(*(float(end[0]) for end in against([differences], 0.0).interval()))
    return BestEpoch(mean=statistics.fmean(differences), low=finite(low), high=finite(high))


def _over_images(
    pairs: Sequence[tuple[RunRecord, RunRecord]], interval: tuple[float, float]
) -> OverImages | None:
    rows = []
    for pair in pairs:
        arm, base = (_answers(run) for run in pair)
        if arm is None or base is None or len(arm) != len(base):
            return None
        rows.append(arm.astype(np.int8) - base.astype(np.int8))
    images = {len(row) for row in rows}
    if len(images) != 1 or images == {1} or not all(map(math.isfinite, interval)):
        return None
    both = crossed(np.stack(rows))
    low, high = min(both.low, interval[0]), max(both.high, interval[1])
    low, high = TEST_ACCURACY.possible(low, high)
    return both.model_copy(update={"low": low, "high": high})


def _answers(run: RunRecord) -> npt.NDArray[np.bool_] | None:
    kept = run.result.get("test_answers")
    return None if kept is None else unpack(kept["bits"], kept["images"])


def ratio_curve(
    arm: Sequence[RunRecord],
    base: Sequence[RunRecord],
    measures: Measures,
    *,
    paired: bool = True,
) -> list[RatioAt]:
    """Return the ratio of the times to a target, for a grid of targets, on the first clock.

    The last target is the better of the two arms' median final values. For fractions whose ideal is
    1, the first target is the baseline's value at its first row, and targets are even in the
    logarithm of the error. Otherwise the first is the baseline's value after a fifth of its run,
    and targets are even in the logarithm of the distance from the last target. A target without a
    ratio, because too many runs of both arms miss it, is left out; so is one that most unpaired
    runs of one arm miss.

    Args:
        arm: its runs.
        base: the baseline's, in the same order of seeds if they are paired.
        measures: the metrics and the target of the comparison.
        paired: whether runs of one seed belong together.

    Returns:
        a ratio and its interval (see `times.median_ratio`, `times.unpaired_ratio`) per target.

    """
    metric = measures.target_metric
    sides = [[_Curve.of(run, measures) for run in side] for side in (arm, base)]
    if not all(sides) or not measures.clocks or not all(run.rows for side in sides for run in side):
        return []
    fractions = metric.unit == "%" and metric.mode == "max"
    share = 0.0 if fractions else EARLY
    first = statistics.median(run.after(share) for run in sides[1])
    finals = [statistics.median(run.final for run in side) for side in sides]
    last = metric.sign * max(metric.sign * value for value in finals)
    if not (math.isfinite(first) and math.isfinite(last) and metric.sign * (last - first) > 0):
        return []
    points = []
    for target in _grid(first, last, fractions=fractions):
        mine, theirs = ([run.time_to(target) for run in side] for side in sides)
        ratio = times.median_ratio(mine, theirs) if paired else times.unpaired_ratio(mine, theirs)
        drawn = not math.isnan(ratio.value) if paired else 0 < ratio.value < math.inf
        if drawn:
            points.append(RatioAt(target=target, **_ends(ratio)))
    return points


def _ends(ratio: times.Ratio) -> dict[str, float | None]:
    return {"ratio": finite(ratio.value), "low": finite(ratio.low), "high": finite(ratio.high)}


def _grid(first: float, last: float, *, fractions: bool) -> list[float]:
    if fractions:
        errors = np.geomspace(1 - first, max(1 - last, LEAST_ERROR), TARGETS)
        return [float(1 - error) for error in errors]
    left = np.geomspace(1, LEAST_DISTANCE, TARGETS - 1)  # of the way from first to last
    return [*(float(last + share * (first - last)) for share in left), last]


@dataclass(frozen=True)
class _Curve:
    """A run's approach to its targets."""

    rows: list[dict[str, float]]
    moments: list[float]
    metric: Metric
    trained: bool

    @staticmethod
    def of(run: RunRecord, measures: Measures) -> _Curve:
        rows = curve(run, measures.target_metric)
        moments = (times.moments(rows, measures.clocks[0]) if measures.clocks else None) or []
        begun = [k for k, moment in enumerate(moments) if moment > 0]  # a ratio needs times above 0
        return _Curve(
            [rows[k] for k in begun],
            [moments[k] for k in begun],
            measures.target_metric,
            run.status == "finished",
        )

    @property
    def final(self) -> float:
        return self.rows[-1][self.metric.name] if self.trained else self.metric.worst

    def after(self, share: float) -> float:
        """Return the value after this share of the run, at the first row from there on."""
        there = share * self.moments[-1]
        later = (row for row, at in zip(self.rows, self.moments, strict=True) if at >= there)
        return next(later)[self.metric.name]

    def time_to(self, target: float) -> float:
        reached = times.time_to_target(self.rows, target, self.metric) if self.trained else None
        return math.inf if reached is None else self.moments[reached]


def ratios(
    arm: Sequence[Outcome], base: Sequence[Outcome], clocks: Sequence[Clock], *, paired: bool
) -> TimeRatio | None:
    """Return time to target over the baseline's, on every clock; None without a clock.

    An infinite end of an interval is None in the file, so "reached" says which runs missed.

    Args:
        arm: its runs.
        base: the baseline's, in the same order of seeds where they are paired.
        clocks: the first is the main one.
        paired: whether runs of one seed belong together.

    """
    if not clocks:
        return None
    rule = times.median_ratio if paired else times.unpaired_ratio
    by_clock: dict[Clock, Ratio] = {}
    for clock in clocks:
        mine, theirs = ([run.times[clock] for run in side] for side in (arm, base))
        by_clock[clock] = Ratio(**_ends(rule(mine, theirs)))
    reached = [sum(math.isfinite(run.times[clocks[0]]) for run in side) for side in (arm, base)]
    return TimeRatio(
        clocks=by_clock,
        reached=Reached(arm=reached[0], baseline=reached[1]),
        runs=Reached(arm=len(arm), baseline=len(base)),
    )
