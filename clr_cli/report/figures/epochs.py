"""The figures of a metric against progress: means over runs, their intervals, single runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from scipy.special import stdtrit

from clr_cli.format import Scale, number, percent_tick
from clr_cli.report.figures.style import (
    PAPER,
    PROGRESS,
    SIZE,
    Array,
    EndLabel,
    Size,
    arm_looks,
    dress,
    label_ends,
    new_figure,
    note_above,
    progress_axis,
    short,
)
from clr_cli.report.figures.svg import mark, tell

if TYPE_CHECKING:
    from clr_cli.records import Metric, RunRecord

MOST_LINES = 400  # single runs that are drawn; more would hide each other
MOST_POINTS = 400  # of a curve whose runs were measured at different places


class Curves(NamedTuple):
    """The runs of one arm: where they were measured, their values there, and how they ended.

    values has shape (runs, points), NaN where a run has no finite value; final, (runs,), is NaN for
    a run that did not finish; seeds are those of the runs.
    """

    x: Array
    values: Array
    final: Array
    seeds: Sequence[int]


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


def epoch_curves(
    records: Sequence[RunRecord],
    metric: Metric,
    *,
    axis: str = "epoch",
    scale: Scale | None = None,
    baseline: str | None = None,
    of: str = "seed",
    size: Size = SIZE,
) -> Figure:
    """Draw a metric against progress: mean over runs, its 95 % interval, faint single runs.

    The interval (Student's t) needs 3 runs. A diverged run leaves the mean, with a cross at the
    axis' bad end; the arm's label then says how many runs the last mean holds. `axis`: epoch,
    iteration or seconds. `of`: what a run is called.
    """
    percent = metric.unit == "%"
    scale = scale or Scale(metric.unit, 2 if percent else 3)
    data = curves(records, metric.name, axis)
    looks = arm_looks(list(data), baseline)
    means = {arm: mean_interval(found.values) for arm, found in data.items()}
    low, high, log, note = _view(data, {arm: m[0] for arm, m in means.items()}, metric, scale)
    figure = new_figure(size)
    ax = figure.subplots()
    dress(ax, ylabel=metric.heading)
    if log:
        ax.set_yscale("log")
        subs = (1.0, 2.0, 5.0) if high / low > 30 else (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
        ax.yaxis.set_major_locator(LogLocator(subs=subs, numticks=20))
        ax.yaxis.set_minor_locator(NullLocator())
    if percent:
        ax.yaxis.set_major_formatter(FuncFormatter(percent_tick))
    elif log:
        ax.yaxis.set_major_formatter(FuncFormatter(number))
    labels = []
    lines = sum(len(found.values) for found in data.values())
    faint = 0.3 * math.sqrt(16 / max(16, lines))  # many of them must not hide the means
    band = 0.6 * faint
    for index, (arm, (x, values, final, seeds)) in enumerate(data.items()):
        color, marker = looks[arm]
        mean, lower, upper = means[arm]
        tell(ax, arm, x, mean, lower, upper)
        if len(values) > 1:
            if lines <= MOST_LINES:
                single = ax.plot(x, values.T, color=color, lw=0.7, alpha=faint, zorder=2)
                for line, seed in zip(single, seeds, strict=True):
                    mark([line], arm, [seed])
            floor = np.maximum(lower, low / 10) if log else lower
            area = ax.fill_between(x, floor, upper, color=color, alpha=band, lw=0, zorder=1)
            mark([area], arm)
        step = max(1, len(x) // 7)
        drawn = ax.plot(
            x,
            mean,
            color=color,
            lw=1.8,
            marker=marker,
            ms=5,
            mec=PAPER,
            mew=0.7,
            markevery=(index * step // max(1, len(data)), step),
            zorder=4,
        )
        finished = np.isfinite(final)
        if finished.any():
            end = float(final[finished].mean())
            drawn += ax.plot(
                x[-1:],
                [end],
                color=color,
                marker=marker,
                ms=7,
                mec=PAPER,
                mew=0.8,
                zorder=5,
                clip_on=False,
            )
            share = "" if finished.all() else f" ({finished.sum()} of {len(values)})"
            text = f"{short(arm)} {scale.shown(end)}{share}"
            labels.append(EndLabel(float(x[-1]), end, text, color, arm))
        mark(drawn, arm)
    for record in records:
        if record.status == "diverged":
            at = max([row[axis] for row in record.epochs if axis in row], default=1)
            y = 0.03 if metric.mode == "max" else 0.97
            style: dict[str, Any] = {"ms": 8, "mew": 2, "zorder": 6}
            style["color"] = looks[record.arm].color
            cross = ax.plot([at], [y], "x", transform=ax.get_xaxis_transform(), **style)
            mark(cross, record.arm, [record.seed])
    ax.set_ylim(low, high)
    first = min((found.x[0] for found in data.values()), default=1.0)
    most = max((found.x[-1] for found in data.values()), default=1.0)
    ax.set_xlim((first, most) if most > first else (first - 0.5, first + 0.5))
    label_ends(ax, labels, panel_height=size[1])
    progress_axis(ax, axis)
    diverged = any(record.status == "diverged" for record in records)
    note_above(ax, [_seeds_note(data, of), "× diverged" if diverged else "", note])
    return figure


def _seeds_note(data: Mapping[str, Curves], of: str) -> str:
    counts = sorted({len(found.values) for found in data.values()})
    if not counts or counts[-1] == 1:
        return ""
    seeds = f"{counts[-1]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"{seeds} {of}s: mean" + (", 95 % interval" if counts[-1] >= 3 else "")


def _view(
    data: Mapping[str, Curves], means: Mapping[str, Array], metric: Metric, scale: Scale
) -> tuple[float, float, bool, str]:
    """Return (low, high, log?, note) of a y axis that shows the end of training, not its accidents.

    The first tenth of training and what single runs do may be cut off, and so may rare dips of a
    mean that would take two thirds of the axis; final values never are. Losses that span a
    factor of 3 get a log axis.
    """
    pool = np.concatenate([f.values[np.isfinite(f.values)] for f in data.values()] or [np.zeros(0)])
    if not len(pool):
        return 0.0, 1.0, False, "no finite value"
    rises, percent = metric.mode == "max", metric.unit == "%"
    log = bool(not rises and not percent and pool.min() > 0)

    def height(values: Array) -> Array:
        return metric.sign * (np.log(values) if log else values)  # better is higher

    best, worst = float(height(pool).max()), float(height(pool).min())
    late = [m[len(m) // 10 :] for m in means.values()]
    late = [height(m[np.isfinite(m)]) for m in late if np.isfinite(m).any()]
    final = height(np.concatenate([f.final[np.isfinite(f.final)] for f in data.values()]))
    needed = min([*(float(np.quantile(m, 0.1)) for m in late), *final], default=worst)
    lowest = min([float(m.min()) for m in late], default=worst)
    bottom = lowest if best - lowest < 3 * (best - needed) else needed
    bottom = min(bottom, *final, best) if len(final) else bottom
    cut = best - worst > 1.4 * (best - bottom) > 0
    bottom = bottom if cut else worst
    least = 2e-4 if log or percent else 1e-3 * (float(np.abs(pool).max()) or 1.0)
    pad = max(0.06 * (best - bottom), 0.0 if best > bottom and not (log or percent) else least)
    low, high = sorted((metric.sign * (best + pad), metric.sign * (bottom - pad)))
    extreme = float(pool.min() if rises else pool.max())
    note = f"axis cut, {'lowest' if rises else 'highest'} " if cut else ""
    if percent:
        return max(low, 0.0), min(high, 1.002), False, note and note + scale.shown(extreme)
    if log:
        low, high = math.exp(low), math.exp(high)
    return low, high, log and high / low >= 3, note and note + number(extreme)
