"""Further looks at a difference, beside the headline: what a sceptic would ask next.

Would other test images give it as well? Is it there at each run's best epoch? Does "sooner"
depend on the target?
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from clr_cli.analysis import stats, times
from clr_cli.analysis.images import crossed
from clr_cli.analysis.outcomes import Outcome
from clr_cli.records import RunRecord
from clr_cli.records.answers import unpack

TARGETS = 25  # on the grid of `ratio_curve`
LEAST_ERROR = 1e-4  # a target of 100 % would be at infinity on an axis of errors


def further(
    arm: Mapping[int, RunRecord], base: Mapping[int, RunRecord], interval: Mapping[str, Any]
) -> dict[str, Any]:
    """The further looks at one arm's difference from the baseline, for summary.json.

    Args:
        arm, base: the runs by seed.
        interval: low and high of the headline, over seeds alone. The interval over seeds and test
            images is never the narrower one: it covers more.

    Returns:
        best_epoch: mean, low and high of the difference of test accuracy at each run's best
        validation epoch. images: the interval over seeds and test images, with each source's
        standard error. ratios: see `ratio_curve`. None where there are fewer than 2 pairs.
    """
    pairs = [(arm[seed], base[seed]) for seed in sorted(arm.keys() & base.keys())]
    trained = [pair for pair in pairs if all(run.status == "finished" for run in pair)]
    answered = [pair for pair in pairs if all(run.status != "failed" for run in pair)]
    return {
        "best_epoch": _best_epoch(trained),
        "images": _over_images(trained, interval),
        "ratios": ratio_curve(answered),
    }


def _best_epoch(pairs: Sequence[tuple[RunRecord, RunRecord]]) -> dict[str, float] | None:
    if len(pairs) < 2 or not all(run.epochs for pair in pairs for run in pair):
        return None
    differences = [_at_best(arm) - _at_best(base) for arm, base in pairs]
    (low,), (high,) = stats.mean_intervals(differences, (stats.LEVEL,))
    ends = {"low": max(float(low), -1.0), "high": min(float(high), 1.0)}
    return {"mean": statistics.fmean(differences), **ends}


def _at_best(run: RunRecord) -> float:
    """Test accuracy after the epoch that is best on validation, the first of equal ones."""
    return max(run.epochs, key=lambda row: row["val_accuracy"])["test_accuracy"]


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


def ratio_curve(pairs: Sequence[tuple[RunRecord, RunRecord]]) -> list[dict[str, float]]:
    """Median ratio of the iterations to a target, for a grid of targets.

    The targets run from what the baseline has after its first epoch to the higher of the two
    arms' median final validation accuracy, evenly in the logarithm of the error. A target that
    more than half of the pairs miss on both sides has no ratio and is left out.

    Returns:
        target, ratio, low and high (see `times.median_ratio`) of each point; an infinite or
        undefined number is not finite.
    """
    sides = list(zip(*pairs, strict=True))
    if not sides or not all(run.epochs for side in sides for run in side):
        return []
    first = statistics.median(run.epochs[0]["val_accuracy"] for run in sides[1])
    last = max(statistics.median(_final(run) for run in side) for side in sides)
    if not first < last:
        return []
    errors = np.geomspace(1 - first, max(1 - last, LEAST_ERROR), TARGETS)
    points = []
    for target in (float(1 - error) for error in errors):
        reached = [[_iterations(run, target) for run in side] for side in sides]
        found = times.median_ratio(*reached)
        if not math.isnan(found.median):
            ends = {"ratio": found.median, "low": found.low, "high": found.high}
            points.append({"target": target, **ends})
    return points


def _final(run: RunRecord) -> float:
    return run.epochs[-1]["val_accuracy"] if run.status == "finished" else 0.0


def _iterations(run: RunRecord, target: float) -> float:
    reached = times.time_to_target(run.epochs, target) if run.status == "finished" else None
    return math.inf if reached is None else run.epochs[reached]["iteration"]


def ratios(pairs: Sequence[tuple[Outcome, Outcome]]) -> dict[str, Any]:
    """Median of time to target over the baseline's, in iterations and (under "seconds") seconds.

    An infinite end of an interval is None in the file, so "reached" tells who missed.
    """
    units = []
    for unit in ("iterations", "seconds"):
        ratio = times.median_ratio(
            [getattr(arm, unit) for arm, _ in pairs], [getattr(base, unit) for _, base in pairs]
        )
        units.append({"ratio": ratio.median, "low": ratio.low, "high": ratio.high})
    reached = [
        sum(math.isfinite(run.iterations) for run in side) for side in zip(*pairs, strict=True)
    ]
    return {
        **units[0],
        "seconds": units[1],
        "reached": dict(zip(("arm", "baseline"), reached or [0, 0], strict=True)),
    }
