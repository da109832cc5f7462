"""The figure of a range test with probes: score against learning rate, and the good interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from clr_cli.analysis.sweeps import smooth_accuracy
from clr_cli.format import epochs, number, percent_tick
from clr_cli.report.figures.style import (
    BAND,
    INK,
    MUTED,
    PALETTE,
    RED,
    SIZE,
    Size,
    dress,
    new_figure,
    note_above,
    offset_text,
)
from clr_cli.report.figures.svg import mark, tell

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from clr_cli.records import RateAnswer, Sweep

SEVERAL = 3.0  # times the best mean, beyond which a metric to be minimized is not drawn
DELTAS = 10  # above the best value, where delta is a difference
RATE = "Learning rate (its highest, where it moves)"  # what the axis shows
ROOM = 1.6  # factor of learning rate kept free beside the outermost probes


def probes(answer: RateAnswer, sweeps: Sequence[Sweep], *, size: Size | None = None) -> Figure:
    """Draw the metric, at the end of each probe, against learning rate (logarithmic).

    A dot is a probe, a cross at the bottom one that failed; the line joins the means. The interval
    of good rates is shaded, max_lr circled, the lowest rate at which probes failed marked; the
    sweeps are faint.

    Args:
        answer: of the search.
        sweeps: for context; their learning rates beyond the probes' are left out.
    """
    figure = new_figure(size or (SIZE[0], 3.9))
    ax = figure.subplots()
    color = PALETTE[0]
    rates = [each.rate for each in answer.tried]
    rate_axis(ax, rates)
    low, high, best = answer.low, answer.high, answer.max_lr
    if low is not None and high is not None:
        ax.axvspan(low, high, color=BAND, lw=0, zorder=0)
    for sweep in sweeps:
        smooth = smooth_accuracy(sweep.val_accuracy)
        ax.plot(sweep.val_lr, smooth, color=MUTED, lw=1.2, alpha=0.55, zorder=1)
    means = [(each.rate, each.mean) for each in answer.tried if each.mean is not None]
    if means:
        ax.plot(*zip(*means, strict=True), color=color, lw=2, zorder=3)
        learned = [each for each in answer.tried if each.mean is not None]
        scores = [[score for score in each.scores if score is not None] for each in learned]
        ends = [*map(min, scores)], [*map(max, scores)]
        tell(ax, "mean", [each.rate for each in learned], [mean for _, mean in means], *ends)
    percent = answer.metric.unit == "%"
    values = [score for each in answer.tried for score in each.scores if score is not None]
    worst = min if answer.metric.mode == "max" else max
    floor = worst(values, default=0.0) if answer.chance is None else answer.chance
    if answer.metric.mode == "min" and means:
        floor = min(floor, highest([mean for _, mean in means], answer))
    for each in answer.tried:
        there = [score for score in each.scores if score is not None]
        style: dict[str, Any] = {"color": color, "ms": 5, "alpha": 0.75, "zorder": 4}
        seeds = [k for k, score in enumerate(each.scores) if score is not None]
        mark(ax.plot([each.rate] * len(there), there, "o", **style), "probes", seeds)
        if len(there) < len(each.scores):
            ax.plot(each.rate, floor, "x", color=RED, ms=8, mew=2.2, zorder=5, clip_on=False)
    if best is not None and means:
        ax.plot(best, _between(means, best), "o", mfc="none", mec=RED, ms=17, mew=2.2, zorder=6)
    _labels(ax, answer)
    dress(ax, xlabel=RATE, ylabel=answer.metric.heading)
    ax.yaxis.set_major_formatter(FuncFormatter(percent_tick if percent else _plain_tick))
    if answer.metric.mode == "min" and means:
        cut(ax, values, highest([mean for _, mean in means], answer))
    length = "" if answer.epochs is None else f" of {epochs(answer.epochs)}"
    parts = [f"{answer.probes} probes{length}, line: means"]
    note_above(ax, [*parts, "gray: the sweep" if sweeps else ""])
    return figure


def _plain_tick(value: float, _: object = None) -> str:
    return f"{value:.6g}"


def highest(means: Sequence[float], answer: RateAnswer) -> float:
    """Return up to where a metric to be minimized is drawn: a bad rate must not hide the others."""
    best = min(means)
    several = best * SEVERAL if best > 0 else math.inf
    return several if answer.relative else max(several, best + DELTAS * answer.delta)


def cut(ax: Axes, scores: Sequence[float], top: float) -> None:
    """End the vertical axis at `top` if it goes beyond, and leave a little room below the least."""
    if ax.get_ylim()[1] > top:
        ax.set_ylim(min(scores) - 0.06 * (top - min(scores)), top)


def rate_axis(ax: Axes, rates: Sequence[float]) -> None:
    """Make the horizontal axis one of these rates, with ticks at 1, 2, 5 of every power of ten.

    Where the rates reach over a factor of 500 or more, there are ticks at the powers of ten alone.
    """
    ax.set_xscale("log")
    if rates:
        ax.set_xlim(min(rates) / ROOM, max(rates) * ROOM)
    ratio = max(rates, default=1) / min(rates, default=1)
    ax.xaxis.set_major_locator(LogLocator(10, subs=(1.0, 2.0, 5.0) if ratio < 500 else (1.0,)))
    ax.xaxis.set_major_formatter(FuncFormatter(number))
    ax.xaxis.set_minor_formatter(NullFormatter())


def _between(means: Sequence[tuple[float, float]], rate: float) -> float:
    """The mean score at a rate, between its neighbors by interpolation in log LR."""
    for (left, a), (right, b) in pairwise(means):
        if left <= rate <= right:
            return a + (b - a) * math.log(rate / left) / math.log(right / left)
    return means[-1][1] if rate > means[-1][0] else means[0][1]


def _labels(ax: Axes, answer: RateAnswer) -> None:
    """What the marks mean, written beside them."""
    low, high, best, cliff = (answer.low, answer.high, answer.max_lr, answer.cliff)
    bottom = {"xycoords": ax.get_xaxis_transform(), "fontsize": 9.5}
    edge = 0.03 if answer.metric.mode == "max" else 0.8  # away from where the best are
    if low is not None and high is not None:
        middle = math.sqrt(low * high)
        said = f"good: {low:.2g} to {high:.2g}"
        offset_text(ax, said, (middle, edge), (0, 6), color=INK, **bottom)
    if best is not None:
        offset_text(ax, f"{answer.key} {best:.2g}", (best, edge + 0.1), (0, 6), color=RED, **bottom)
    if cliff is not None:
        ax.axvline(cliff, color=RED, lw=1.1, ls=(0, (4, 2)), zorder=2)
        side = {**bottom, "ha": "left", "rotation": 90, "va": "bottom"}
        offset_text(ax, "runs fail from here on", (cliff, 0.3), (4, 0), color=RED, **side)
