"""Runs of a metric as arrays along epochs, iterations or seconds, and their means."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.special import stdtrit

from clr_cli.report.figures.style import PROGRESS, Array

if TYPE_CHECKING:
    from clr_cli.records import RunRecord

MOST_POINTS = 400  # of a curve whose runs were measured at different places
LEAST_POINTS = 3  # of the last tenth of a curve


class Curves(NamedTuple):
    """The runs of one arm: where they were measured, their values there, and how they ended.

    values has shape (runs, points), NaN where a run has no finite value; final, (runs,), is NaN for
    a run that did not finish; seeds are those of the runs.
    """

    x: Array
    values: Array
    final: Array
    seeds: Sequence[int]

    @property
    def mean(self) -> float | None:
        """The mean of the runs that finished, to the last digit as in a summary; or None."""
        finals = self.final[np.isfinite(self.final)].tolist()
        return statistics.fmean(finals) if finals else None

    @property
    def end(self) -> float:
        """Where the last value of any run is; the end of x if there is none."""
        known = self.x[np.isfinite(self.values).any(axis=0)]
        return float(known[-1] if len(known) else self.x[-1])


def axis_of(records: Sequence[RunRecord], key: str) -> str | None:
    """Return the axis of `key`: "epoch", "iteration", "seconds", or None."""
    rows = [row for record in records for row in record.epochs if key in row]
    if not rows:
        return "epoch" if not any(record.epochs for record in records) else None
    return next((axis for axis in PROGRESS if all(axis in row for row in rows)), None)


def curves(records: Sequence[RunRecord], key: str, axis: str = "epoch") -> dict[str, Curves]:
    """Return per arm the values of `key` along `axis`. Epochs are the same for all arms.

    Runs of an arm that were measured at different places are interpolated, each within its own
    range. A row whose training loss is not finite has no value: it is that of broken weights.
    """
    runs: dict[str, list[tuple[Array, Array, float]]] = {}
    seeds: dict[str, list[int]] = {}
    for record in records:
        rows = [row for row in record.epochs if key in row and axis in row]
        x = np.array([row[axis] for row in rows], np.float64)
        sound = [math.isfinite(row.get("train_loss", row[key])) for row in rows]
        values = np.where(sound, [row[key] for row in rows], np.nan) if rows else np.zeros(0)
        values = np.where(np.isfinite(values), values, np.nan)
        final = float(values[-1]) if rows and record.status == "finished" else math.nan
        runs.setdefault(record.arm, []).append((x, values, final))
        seeds.setdefault(record.arm, []).append(record.seed)
    ends = [(int(x[0]), int(x[-1])) for each in runs.values() for x, *_ in each if len(x)]
    first, last = min((a for a, _ in ends), default=1), max((b for _, b in ends), default=1)
    made = {}
    for arm, each in runs.items():
        grid = (
            np.arange(float(first), last + 1) if axis == "epoch" else _grid([x for x, *_ in each])
        )
        lines = [_on(grid, x, values) for x, values, _ in each]
        finals = np.array([final for *_, final in each])
        made[arm] = Curves(grid, np.array(lines), finals, seeds[arm])
    return made


def _grid(places: Sequence[Array]) -> Array:
    union = np.unique(np.concatenate([*places, np.zeros(0)]))
    if len(union) > max(MOST_POINTS, *(len(x) for x in places)):
        return np.linspace(union[0], union[-1], MOST_POINTS)
    return union if len(union) else np.zeros(1)


def _on(grid: Array, x: Array, values: Array) -> Array:
    """Interpolate a run's values to the grid; NaN outside of its own range."""
    if not len(x):
        return np.full(len(grid), np.nan)
    return np.asarray(np.interp(grid, x, values, left=np.nan, right=np.nan))


def mean_interval(values: Array, level: float = 0.95) -> tuple[Array, Array, Array]:
    """Return the mean over axis 0 and its Student-t interval (low, high); NaN is left out.

    The interval is NaN where fewer than 3 values are left: two say next to nothing of a spread.
    """
    count = np.isfinite(values).sum(axis=0)
    total = np.where(np.isfinite(values), values, 0.0).sum(axis=0)
    mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    deviation = np.where(np.isfinite(values), values - mean, 0.0)
    degrees = np.maximum(count - 1, 1)
    error = np.sqrt((deviation**2).sum(axis=0) / degrees / np.maximum(count, 1))
    half = np.where(count >= 3, stdtrit(degrees, 0.5 + level / 2) * error, np.nan)
    return mean, mean - half, mean + half


def last_part(data: Mapping[str, Curves]) -> tuple[dict[str, Curves], float, float, bool]:
    """Return the last tenth of every arm, from where to where it goes, and whether it is a share.

    It has at least `LEAST_POINTS` points of an arm, and one before, so that lines enter from the
    left. Where arms end at different places, x is the share of an arm's own length, in percent.
    """
    ends = {arm: each.end for arm, each in data.items()}
    share = len({*ends.values()}) > 1
    unit = {arm: end / 100 if share else 1.0 for arm, end in ends.items()}
    starts = []
    for arm, each in data.items():
        known = each.x[each.x <= ends[arm]]
        starts.append(min(0.9 * ends[arm], known[-LEAST_POINTS:][0]) / unit[arm])
    start, late = float(min(starts)), {}
    for arm, (x, values, final, seeds) in data.items():
        first = max(0, int(np.searchsorted(x / unit[arm], start)) - 1)
        late[arm] = Curves(x[first:] / unit[arm], values[:, first:], final, seeds)
    return late, start, 100.0 if share else max(ends.values()), share
