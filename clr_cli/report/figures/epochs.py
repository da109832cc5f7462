"""The figures of a metric against progress: means over runs, their intervals, single runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from clr_cli.format import Scale, loss, number, percent, percent_tick
from clr_cli.report.figures.curves import Curves, curves, last_part, mean_interval
from clr_cli.report.figures.style import (
    INK,
    LINE,
    PAPER,
    PROGRESS,
    SIZE,
    Array,
    EndLabel,
    Look,
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
    from matplotlib.axes import Axes

    from clr_cli.records import Metric, RunRecord

MOST_LINES = 400  # single runs that are drawn; more would hide each other
MANY = 4  # arms at least for a panel of the last tenth
MOST_LATE = 40  # the same, in the panel of the last tenth
LATE = 0.36  # of the height: the panel of the last tenth
SLOPE = 2.5  # times the spread of the ends that this panel shows of the way there
Show = Callable[[float], str]  # writes a value
Limits = tuple[float, float, bool]  # low, high, whether the axis is logarithmic


def epoch_curves(
    records: Sequence[RunRecord],
    metric: Metric,
    *,
    axis: str = "epoch",
    scale: Scale | None = None,
    baseline: str | None = None,
    of: str = "seed",
    size: Size | None = None,
) -> Figure:
    """Draw a metric against progress: mean over runs, its 95 % interval, faint single runs.

    The interval (Student's t) needs 3 runs. A diverged run leaves the mean, with a cross at the
    axis' bad end; the arm's label then says how many runs the last mean holds. Where three of many
    arms end within the height of a label, a second panel shows the last tenth. `axis`: epoch,
    iteration or seconds. `of`: what a run is called.
    """
    show = scale.shown if scale else percent if metric.unit == "%" else loss
    data = curves(records, metric.name, axis)
    looks = arm_looks(list(data), baseline)
    low, high, log, note = view(data, metric)
    first = min((each.x[0] for each in data.values()), default=1.0)
    last = max((each.x[-1] for each in data.values()), default=1.0)
    sides = (first, last) if last > first else (first - 0.5, first + 0.5)
    labels = _labels(data, looks, show)
    spots = _spots(labels, sides, (low, high, log))
    gap = LINE / (72 * (size or SIZE)[1] * 0.74)
    heights = np.sort(spots[:, 1])
    crowded = len(labels) >= MANY and bool((heights[2:] - heights[:-2] < gap).any())

    figure = new_figure(size or (SIZE[0], SIZE[1] / (1 - LATE) if crowded else SIZE[1]))
    ratios = (1 - LATE, LATE) if crowded else (1,)
    panels = figure.subplots(len(ratios), 1, height_ratios=ratios, squeeze=False)[:, 0]
    ax, height = panels[0], figure.get_figheight() * ratios[0]
    dress(ax, ylabel=metric.heading)
    set_scale(ax, (low, high, log), metric)
    _draw(ax, data, looks, labels, floor=low / 10 if log else -math.inf)
    for record in records:
        if record.status == "diverged":
            at = max([row[axis] for row in record.epochs if axis in row], default=1)
            y = 0.03 if metric.mode == "max" else 0.97
            style: dict[str, Any] = {"ms": 8, "mew": 2, "zorder": 6}
            style["color"] = looks[record.arm].color
            cross = ax.plot([at], [y], "x", transform=ax.get_xaxis_transform(), **style)
            mark(cross, record.arm, [record.seed])
    ax.set_xlim(sides)
    progress_axis(ax, axis)
    diverged = any(record.status == "diverged" for record in records)
    note_above(ax, [_seeds_note(data, of), "× diverged" if diverged else "", note])
    if crowded:
        _draw_end(panels[1], data, looks, metric, show, axis, LATE * figure.get_figheight())
        labels = [k for k, spot in zip(labels, spots, strict=True) if _is_alone(spot, spots, gap)]
    label_ends(ax, labels, panel_height=height)
    return figure


def _labels(data: Mapping[str, Curves], looks: Mapping[str, Look], show: Show) -> list[EndLabel]:
    """Return the label of every arm of which a run finished, at its own curve's end."""
    labels = []
    for arm, each in data.items():
        if (value := each.mean) is not None:
            finished = np.isfinite(each.final)
            share = "" if finished.all() else f" ({finished.sum()} of {len(finished)})"
            text = f"{short(arm)} {show(value)}{share}"
            labels.append(EndLabel(each.end, value, text, looks[arm].color, arm))
    return labels


def _spots(labels: Sequence[EndLabel], sides: tuple[float, float], limits: Limits) -> Array:
    """Return where the curves end, in fractions of width and height. Shape (labels, 2)."""
    low, high, log = limits
    places = np.array([(label.x, label.y) for label in labels], np.float64).reshape(-1, 2)
    x, y = places.T
    if log:
        y, low, high = np.log(y), math.log(low), math.log(high)
    return np.stack([(x - sides[0]) / (sides[1] - sides[0]), (y - low) / (high - low)], 1)


def _is_alone(spot: Array, spots: Array, gap: float) -> bool:
    """Return whether no other curve ends near: within a label's height and a tenth of the width."""
    return int((np.abs(spots - spot) < (0.1, gap)).all(axis=1).sum()) == 1


def set_scale(ax: Axes, limits: Limits, metric: Metric) -> None:
    """Set limits, scale and ticks of a metric's axis."""
    low, high, log = limits
    if log:
        ax.set_yscale("log")
        subs = (1.0, 2.0, 5.0) if high / low > 30 else (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
        ax.yaxis.set_major_locator(LogLocator(subs=subs, numticks=20))
        ax.yaxis.set_minor_locator(NullLocator())
    if metric.unit == "%":
        ax.yaxis.set_major_formatter(FuncFormatter(percent_tick))
    elif log:
        ax.yaxis.set_major_formatter(FuncFormatter(number))
    ax.set_ylim(low, high)


def _draw(
    ax: Axes,
    data: Mapping[str, Curves],
    looks: Mapping[str, Look],
    labels: Sequence[EndLabel],
    *,
    floor: float = -math.inf,
    most: int = MOST_LINES,
) -> None:
    """Draw every arm: single runs, if at most `most`, interval, not below `floor`, mean, end."""
    lines = sum(len(each.values) for each in data.values())
    faint = 0.3 * math.sqrt(16 / max(16, lines))  # many of them must not hide the means
    ends = {label.arm: ([label.x], [label.y]) for label in labels}
    for index, (arm, (x, values, _, seeds)) in enumerate(data.items()):
        color, marker = looks[arm]
        mean, lower, upper = mean_interval(values)
        tell(ax, arm, x, mean, lower, upper)
        if len(values) > 1:
            if lines <= most:
                single = ax.plot(x, values.T, color=color, lw=0.7, alpha=faint, zorder=2)
                for line, seed in zip(single, seeds, strict=True):
                    mark([line], arm, [seed])
            band: dict[str, Any] = {"color": color, "alpha": 0.6 * faint, "lw": 0, "zorder": 1}
            mark([ax.fill_between(x, np.maximum(lower, floor), upper, **band)], arm)
        step = max(1, len(x) // 7)
        style: dict[str, Any] = {"color": color, "marker": marker, "mec": PAPER}
        every = (index * step // max(1, len(data)), step)
        drawn = ax.plot(x, mean, lw=1.8, ms=5, mew=0.7, markevery=every, zorder=4, **style)
        if arm in ends:
            drawn += ax.plot(*ends[arm], ms=7, mew=0.8, zorder=5, clip_on=False, **style)
        mark(drawn, arm)


def _draw_end(
    ax: Axes,
    data: Mapping[str, Curves],
    looks: Mapping[str, Look],
    metric: Metric,
    show: Show,
    axis: str,
    height: float,
) -> None:
    """Draw the last tenth of every arm, and label every end."""
    late, start, end, share = last_part(data)
    spreads = [[a[each.x >= start] for a in mean_interval(each.values)] for each in late.values()]
    means = [mean for mean, *_ in spreads]
    halves = [(high - low)[-1] / 2 for _, low, high in spreads if np.isfinite((high - low)[-1])]
    labels = _labels(late, looks, show)
    ends = metric.sign * np.array([label.y for label in labels])  # better is higher
    heights = metric.sign * np.concatenate([mean[np.isfinite(mean)] for mean in means])
    span = max(float(np.ptp(ends)), *halves, 0.0) or float(np.ptp(heights)) or 1e-3
    best, worst = max(heights.max(), ends.max()), max(heights.min(), ends.min() - SLOPE * span)
    sides = metric.sign * (best + 0.1 * span), metric.sign * (min(worst, ends.min()) - 0.1 * span)
    limits = (min(sides), max(sides), False)
    dress(ax, ylabel=metric.heading)
    set_scale(ax, limits, metric)
    _draw(ax, late, looks, labels, most=MOST_LATE)
    ax.set_xlim(start, end)
    progress_axis(ax, axis)
    if share:
        ax.set_xlabel(f"{PROGRESS[axis]}, % of the arm’s own length", fontsize=10, color=INK)
    note_above(ax, ["the end, enlarged"])
    label_ends(ax, labels, panel_height=height)


def _seeds_note(data: Mapping[str, Curves], of: str) -> str:
    counts = sorted({len(found.values) for found in data.values()})
    if not counts or counts[-1] == 1:
        return ""
    seeds = f"{counts[-1]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"{seeds} {of}s: mean" + (", 95 % interval" if counts[-1] >= 3 else "")


def view(data: Mapping[str, Curves], metric: Metric) -> tuple[float, float, bool, str]:
    """Return (low, high, log?, note) of a y axis that shows the end of training, not its accidents.

    The first tenth of training and what single runs do may be cut off, and so may rare dips of a
    mean that would take two thirds of the axis; final values never are. Losses that span a
    factor of 3 get a log axis.
    """
    pool = np.concatenate([f.values[np.isfinite(f.values)] for f in data.values()] or [np.zeros(0)])
    if not len(pool):
        return 0.0, 1.0, False, "no finite value"
    rises, fraction = metric.mode == "max", metric.unit == "%"
    log = bool(not rises and not fraction and pool.min() > 0)

    def height(values: Array) -> Array:
        return metric.sign * (np.log(values) if log else values)  # better is higher

    best, worst = float(height(pool).max()), float(height(pool).min())
    means = [mean_interval(each.values)[0] for each in data.values()]
    late = [mean[len(mean) // 10 :] for mean in means]
    late = [height(m[np.isfinite(m)]) for m in late if np.isfinite(m).any()]
    final = height(np.concatenate([f.final[np.isfinite(f.final)] for f in data.values()]))
    needed = min([*(float(np.quantile(m, 0.1)) for m in late), *final], default=worst)
    lowest = min([float(m.min()) for m in late], default=worst)
    bottom = lowest if best - lowest < 3 * (best - needed) else needed
    bottom = min(bottom, *final, best) if len(final) else bottom
    cut = best - worst > 1.4 * (best - bottom) > 0
    bottom = bottom if cut else worst
    least = 2e-4 if log or fraction else 1e-3 * (float(np.abs(pool).max()) or 1.0)
    pad = max(0.06 * (best - bottom), 0.0 if best > bottom and not (log or fraction) else least)
    low, high = sorted((metric.sign * (best + pad), metric.sign * (bottom - pad)))
    extreme = float(pool.min() if rises else pool.max())
    note = f"axis cut, {'lowest' if rises else 'highest'} " if cut else ""
    if fraction:
        return max(low, 0.0), min(high, 1.002), False, note and note + percent(extreme)
    if log:
        low, high = math.exp(low), math.exp(high)
    return low, high, log and high / low >= 3, note and note + number(extreme)
