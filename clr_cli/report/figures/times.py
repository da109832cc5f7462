"""Time to target as figures: per run, and relative to the baseline for a grid of targets."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from clr_cli.format import Scale, moment
from clr_cli.report.figures.style import (
    BAND,
    MUTED,
    PAPER,
    SIZE,
    EndLabel,
    Size,
    arm_looks,
    arm_rows,
    dress,
    label_ends,
    new_figure,
    note_above,
    offset_text,
    short,
)
from clr_cli.report.figures.svg import mark

if TYPE_CHECKING:
    from clr_cli.records import Metric, RatioAt

MOST_BANDS = 4  # arms with bands at most: those of more would merge in gray
RATIOS = (  # where the axis of ratios has ticks: the first that are few enough
    (0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.3, 1.5, 1.75, 2),
    (1 / 8, 1 / 4, 1 / 3, 1 / 2, 2 / 3, 0.8, 1, 1.25, 1.5, 2, 3, 4, 8),
    (1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8),
)
LETTER = 6.0  # points of a tick's letter, with some room
LARGEST_RATIO = 8.0  # drawn, and its inverse; a ratio beyond lies on the edge


def time_to_target(
    times: Mapping[str, Mapping[int, float | None]],
    *,
    goal: str,
    baseline: str | None = None,
    limit: float | None = None,
    unit: str = "Iterations",
    rows_are: str = "Arm",
    of: str = "seed",
    size: Size | None = None,
) -> Figure:
    """Draw the time until the target is held, per arm and seed; None is a miss, drawn at right.

    `times`: arm -> {seed: time or None}; `goal`: the target in words, such as "validation accuracy
    holds 90 %"; `limit`: where training ended, in the same `unit`.
    """
    figure = new_figure(size or (SIZE[0], max(2.6, 1.5 + 0.6 * len(times))))
    ax = figure.subplots()
    looks = arm_looks(list(times), baseline)
    reached = [t for values in times.values() for t in values.values() if t is not None]
    missed = any(t is None for values in times.values() for t in values.values())
    end = limit or max(reached, default=1.0) * 1.05 or 1.0
    start = 0.0  # without a length that all runs have, the axis shows where they differ
    if limit is None and reached and min(reached) > 0.3 * end:
        wide = max(reached) - min(reached) or 0.1 * end
        start, end = min(reached) - 0.6 * wide, max(reached) + 0.1 * wide
    span = end - start
    miss_at = end + 0.11 * span
    if missed:
        ax.axvspan(end + 0.01 * span, end + 0.21 * span, color=BAND, lw=0, zorder=0)
        top = {"xycoords": ax.get_xaxis_transform(), "va": "top", "fontsize": 9, "color": MUTED}
        offset_text(ax, "not reached", (miss_at, 1.0), (0, -3), **top)
    for row, (arm, values) in enumerate(times.items()):
        if not values:  # no run of it has an answer
            continue
        color, marker = looks[arm]
        heights = [row - 0.26 + 0.52 * (k + 0.5) / len(values) for k in range(len(values))]
        for missed_too, face in ((False, color), (True, PAPER)):
            spots = [
                (seed, miss_at if time is None else time, y)
                for (seed, time), y in zip(values.items(), heights, strict=True)
                if (time is None) == missed_too
            ]
            marks = ax.plot(
                [x for _, x, _ in spots],
                [y for *_, y in spots],
                marker,
                color=color,
                mfc=face,
                ms=5,
                alpha=0.8,
                mew=1,
                zorder=3,
            )
            mark(marks, arm, [seed for seed, *_ in spots])
        median = float(np.median([math.inf if t is None else t for t in values.values()]))
        text = "median: not reached"
        if math.isfinite(median):
            bar = ax.plot([median, median], [row - 0.33, row + 0.33], color=color, lw=2.6, zorder=4)
            mark(bar, arm)
            text = f"median {moment(median)}"
        there = [time for time in values.values() if time is not None]
        right = min([median, *there]) > start + 0.45 * span
        x = min([median, end, *there]) if right else max([*there, min(median, end)])
        side, dx = ("right", -9) if right else ("left", 9)
        mark([offset_text(ax, text, (x, row), (dx, 0), ha=side, fontsize=9.5)], arm)
    dress(ax, xlabel=f"{unit} until {goal}", ylabel=rows_are)
    arm_rows(ax, list(times), looks, bottom=0.55)
    ticks = [t for t in MaxNLocator(6).tick_values(start, end) if start <= t <= end]
    ax.set_xticks(ticks, [f"{t:,.6g}" for t in ticks])
    ax.set_xlim(start, end + (0.21 if missed else 0.02) * span)
    note_above(ax, [f"one mark per {of}", "bar: median"])
    return figure


def time_ratio(
    curves: Mapping[str, Sequence[RatioAt]],
    metric: Metric,
    scale: Scale,
    *,
    target: float,
    unit: str = "Iterations",
    baseline: str | None = None,
    paired: bool = True,
    size: Size | None = None,
) -> Figure:
    """Draw the ratio of the times to a target, against the target, with its 95 % band.

    Both axes are logarithmic: the lower one in the error that the target leaves, or, where the
    metric is not a fraction that should be 1, in the distance from the last target. There is no
    line where most runs of the arm or of the baseline miss: there, the ratio says who arrives, not
    when.
    """
    height = size or SIZE
    figure = new_figure(height)
    ax = figure.subplots()
    looks = arm_looks([*curves, *([baseline] if baseline else [])], baseline)
    arrives = {
        arm: list(takewhile(lambda point: point.ratio != 0, points))
        for arm, points in curves.items()
    }
    curves = {arm: points for arm, points in arrives.items() if points} or curves
    drawn = [point.ratio for points in curves.values() for point in points]
    ends = [end for points in curves.values() for p in points for end in (p.low, p.high)]
    banded = len(curves) <= MOST_BANDS
    seen = [1.0, *filter(None, [*drawn, *(ends if banded else ())])]
    room = 1.2 if max(seen) < 1.3 * min(seen) else 1.08
    bottom = max(1 / LARGEST_RATIO, min(seen) / room)
    top = min(LARGEST_RATIO, max(seen) * room)
    ax.set_yscale("log")
    ax.set_ylim(bottom, top)
    targets = [p.target for points in curves.values() for p in points]
    left = _Left.of(targets, metric)
    errors = [left(t) for t in targets]
    ax.set_xscale("log")
    farthest, nearest = max(errors), min(errors)
    ax.set_xlim(*((farthest, nearest) if farthest > nearest else (2 * farthest, nearest / 2)))
    ax.axhline(1, color=MUTED, lw=1.1, zorder=1)
    if min(errors) <= left(target) <= max(errors):
        ax.axvline(left(target), color=MUTED, lw=1, ls="--", zorder=1)
    labels = []
    for arm, points in curves.items():
        color, marker = looks[arm]
        x = [left(point.target) for point in points]
        ratio = np.clip([_or(point.ratio, math.nan) for point in points], bottom, top)
        known = np.flatnonzero(np.isfinite(ratio))
        if not len(known):
            continue
        if banded and any(point.low is not None for point in points):
            low = np.clip([_or(point.low, bottom) for point in points], bottom, top)
            high = np.clip([_or(point.high, top) for point in points], bottom, top)
            mark([ax.fill_between(x, low, high, color=color, alpha=0.16, lw=0, zorder=2)], arm)
        style: dict[str, Any] = {"color": color, "lw": 1.8, "zorder": 3, "ms": 5, "mec": PAPER}
        mark(ax.plot(x, ratio, marker=marker, markevery=max(1, len(x) // 8), **style), arm)
        last = int(known[-1])
        labels.append(EndLabel(x[last], float(ratio[last]), short(arm), color, arm))
    rival = short(baseline) if baseline else "the baseline"
    dress(ax, xlabel=f"{metric.heading} to be held", ylabel=f"{unit}, × {rival}’s")
    chosen = left.ticks(min(errors), max(errors))
    texts = {t: f"{100 * t:.4g} %" if scale.unit == "%" else f"{t:,.6g}" for t in chosen}
    wide = max(map(len, texts.values()), default=0) * LETTER / (0.6 * 72 * height[0])
    chosen = left.apart(chosen, wide * math.log(max(errors) / min(errors)))
    ax.set_xticks([left(t) for t in chosen], [texts[t] for t in chosen])
    ax.xaxis.set_minor_locator(NullLocator())
    fits = ([r for r in ratios if bottom <= r <= top] for ratios in RATIOS)
    ticks = next((each for each in fits if len(each) < 8), [1.0])
    ax.set_yticks(ticks, [f"{tick:.2g}" if tick < 1 else f"{tick:g}" for tick in ticks])
    ax.yaxis.set_minor_locator(NullLocator())
    label_ends(ax, labels, panel_height=height[1])
    kind = "median of paired ratios" if paired else "ratio of means, or medians"
    note_above(ax, [f"{kind}, 95 % band" if banded else kind, "below 1: sooner"])
    return figure


def _or(value: float | None, other: float) -> float:
    return other if value is None else value


@dataclass(frozen=True)
class _Left:
    """How far a target is from the end of the axis: its error, or the distance from the last."""

    end: float
    sign: int

    @staticmethod
    def of(targets: Sequence[float], metric: Metric) -> _Left:
        """Return the axis of these targets."""
        if metric.unit == "%" and metric.mode == "max":
            return _Left(1.0, 1)
        last = max(targets) if metric.mode == "max" else min(targets)
        step = min((abs(t - last) for t in targets if t != last), default=1.0)
        return _Left(last + metric.sign * step, metric.sign)

    def __call__(self, target: float) -> float:
        return max(self.sign * (self.end - target), 1e-12)

    def apart(self, targets: Sequence[float], least: float) -> list[float]:
        """Return those of the targets, from the last on, that lie `least` apart on the axis."""
        kept: list[float] = []
        for target in reversed(targets):
            if not kept or abs(math.log(self(target) / self(kept[-1]))) >= least:
                kept.append(target)
        return kept[::-1]

    def ticks(self, least: float, most: float) -> list[float]:
        """Return at most seven round targets, evenly over the axis."""
        count = max(4, min(7, round(math.log2(most / least)) + 1))
        chosen: list[float] = []
        for error in np.geomspace(most, least, count).tolist():
            step = 10.0 ** math.floor(math.log10(error))
            step /= 2 if error < 2 * step else 1
            target = round(round((self.end - self.sign * error) / step) * step, 12)
            inside = least * 0.99 <= self(target) <= most * 1.01
            if inside and target not in chosen:
                chosen.append(target)
        return chosen
