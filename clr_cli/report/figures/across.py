"""Draw every arm's difference from the baseline on each of several data sets, and their mean."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from clr_cli.records import Combination, Difference
from clr_cli.report.figures.style import (
    MUTED,
    SIZE,
    Size,
    arm_looks,
    dress,
    new_figure,
    note_above,
    short,
)
from clr_cli.report.figures.svg import mark


def across(combination: Combination, *, size: Size | None = None) -> Figure:
    """Draw a row for each arm and data set: the difference with the interval that decides.

    Fractions are drawn in points. An interval that has no ends is not drawn.
    """
    arms, scale, first = combination.arms, combination.scale, combination.first
    base, metric = first.baseline, first.metric
    looks = arm_looks([base, *(arm.arm for arm in arms)], base)
    rows: list[tuple[str, str, Difference | None]] = []
    for arm in arms:
        if len(arms) > 1:
            rows.append((arm.arm, arm.arm, None))
        for data in combination.data_sets:
            rows.append((arm.arm, data.name, data.compared(arm.arm).difference))
        rows.append((arm.arm, "mean", arm.mean))
    figure = new_figure(size or (SIZE[0], 1.1 + 0.2 * len(rows)))
    ax = figure.subplots()
    ax.axvline(0, color=MUTED, lw=1.1, zorder=1)
    means = [arm.mean for arm in arms]
    for y, (name, _, found) in enumerate(rows):
        if found is None or found.mean is None:
            continue
        color, is_mean = looks[name].color, found in means
        if found.low is not None and found.high is not None:
            ends = [scale.factor * found.low, scale.factor * found.high]
            mark(ax.plot(ends, [y, y], color=color, lw=3.6 if is_mean else 1.8, zorder=3), name)
        shape, width = ("D", 7) if is_mean else ("o", 5)
        middle = [scale.factor * found.mean]
        mark(ax.plot(middle, [y], shape, color=color, ms=width, mew=0, zorder=4), name)
    unit = f" ({scale.points.strip()})" if scale.points else ""
    better = "right" if metric.mode == "max" else "left"
    dress(ax, xlabel=f"{metric.heading} minus {short(base)}{unit}; better: {better}")
    ax.set_yticks(range(len(rows)), [short(label) for _, label, _ in rows], parse_math=False)
    for tick, (name, _, found) in zip(ax.get_yticklabels(), rows, strict=True):
        tick.set_fontweight("bold" if found is None else "normal")
        mark([tick], name)
    ax.tick_params(axis="y", length=0, labelsize=9)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.margins(x=0.06)
    ax.grid(False, axis="y")
    ax.xaxis.set_major_locator(MaxNLocator(nbins=6))
    note_above(ax, ["point: one data set; diamond: mean of all; line: deciding interval"])
    return figure
