"""Plain numbers -> matplotlib figures: those of the original post, differences, times to target.

Figures are made with `Figure()`, never through pyplot; nothing is shown or saved here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from clr_cli.format import percent, signed_points
from clr_cli.report.figures.epochs import METRICS, epoch_curves, mean_interval
from clr_cli.report.figures.range_test import range_test
from clr_cli.report.figures.style import (
    BAND,
    MUTED,
    PAPER,
    SIZE,
    Curve,
    Size,
    arm_colors,
    arm_looks,
    arm_rows,
    dress,
    epoch_axis,
    label_ends,
    new_figure,
    note_above,
    offset_text,
    short,
    to_png,
    to_svg,
)

__all__ = [
    "METRICS",
    "Curve",
    "Size",
    "arm_colors",
    "epoch_curves",
    "lr_schedule",
    "mean_interval",
    "paired_difference",
    "range_test",
    "time_to_target",
    "to_png",
    "to_svg",
]


def lr_schedule(
    arms: Mapping[str, Curve],
    *,
    momentum: Mapping[str, Curve] | None = None,
    baseline: str | None = None,
    size: Size | None = None,
) -> Figure:
    """Learning rate against epoch, one line per arm: arm -> (epochs, learning rates).

    `momentum` (arm -> (epochs, momenta)) adds a lower panel.
    """
    panels = [("Learning rate", arms)] + ([("Momentum", momentum)] if momentum else [])
    size = size or (SIZE[0], SIZE[1] + 1.6 * (len(panels) - 1))
    figure = new_figure(size)
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    looks = arm_looks(list(arms), baseline)
    for ax, (ylabel, curves) in zip(axes, panels, strict=True):
        dress(ax, ylabel=ylabel)
        for arm, (epochs, values) in curves.items():
            ax.plot(epochs, values, color=looks[arm].color, lw=1.8, solid_joinstyle="miter")
        ends = [epochs[-1] for epochs, _ in curves.values() if len(epochs)]
        ax.set_xlim(0, math.ceil(max(ends, default=1)) or 1)
        if ylabel == "Learning rate":
            ax.set_ylim(bottom=0)
        labels = [
            (c[1][-1], short(arm), looks[arm].color) for arm, c in curves.items() if len(c[1])
        ]
        label_ends(ax, labels, panel_height=size[1] / len(panels))
    epoch_axis(axes[-1])
    return figure


def paired_difference(
    comparisons: Sequence[Mapping[str, Any]], *, margin: float, size: Size | None = None
) -> Figure:
    """Final test accuracy minus the baseline's, seed by seed, with mean, interval and margin.

    `comparisons`: those of summary.json (fractions); drawn in points, one row per arm.
    """
    rows = len(comparisons)
    figure = new_figure(size or (SIZE[0], max(2.8, 1.5 + 0.8 * rows)))
    ax = figure.subplots()
    baseline = comparisons[0]["baseline"] if comparisons else ""
    looks = arm_looks([c["arm"] for c in comparisons] + [baseline], baseline)
    ax.axvspan(-100 * margin, 100 * margin, color=BAND, lw=0, zorder=0)
    ax.axvline(0, color=MUTED, lw=1.1, zorder=1)
    for row, comparison in enumerate(comparisons):
        color, marker = looks[comparison["arm"]]
        difference = comparison["difference"]
        seeds = {s: v for s, v in difference["values"].items() if v is not None}
        for k, (seed, value) in enumerate(seeds.items()):
            y = row - 0.38 + 0.46 * (k + 0.5) / len(seeds)
            ax.plot([100 * value], [y], marker, color=color, ms=5, alpha=0.75, mew=0, zorder=3)
            if rows == 1:
                offset_text(ax, f"seed {seed}", (100 * value, y), (7, 0), color=MUTED, fontsize=8)
        mean, low, high = (difference.get(k) for k in ("mean", "low", "high"))
        if mean is None:
            continue
        y = row + 0.26
        if low is not None and high is not None:
            ends = np.clip([100 * low, 100 * high], -100, 100)  # no difference is larger
            ax.plot(ends, [y, y], color=color, lw=2.4, marker="|", ms=9, mew=2, zorder=3)
        ax.plot([100 * mean], [y], marker, color=color, ms=8, mec=PAPER, mew=1, zorder=4)
        text = signed_points(mean) + (
            f" [{signed_points(low)}, {signed_points(high)}]" if low is not None else ""
        )
        offset_text(ax, text, (100 * mean, y), (0, -14), color=color, weight="bold")
    gap = 4 * "\N{NO-BREAK SPACE}"
    label = f"Test accuracy minus {short(baseline)}’s (points)"
    dress(ax, xlabel=f"← worse{gap}{label}{gap}better →", ylabel="Schedule")
    arm_rows(ax, [c["arm"] for c in comparisons], looks, bottom=0.72)
    ax.margins(x=0.12)
    note = f"small: one seed; large: mean and 95 % interval; grey: ±{100 * margin:.2g} points"
    note_above(ax, [note])
    return figure


def time_to_target(
    times: Mapping[str, Mapping[Any, float | None]],
    *,
    target: float,
    baseline: str | None = None,
    limit: float | None = None,
    unit: str = "Iterations",
    size: Size | None = None,
) -> Figure:
    """Time until the target accuracy is held, per arm and seed; None is a miss, drawn at right.

    `times`: arm -> {seed: time or None}; `limit`: where training ended, in the same `unit`.
    """
    figure = new_figure(size or (SIZE[0], max(2.6, 1.5 + 0.6 * len(times))))
    ax = figure.subplots()
    looks = arm_looks(list(times), baseline)
    reached = [t for values in times.values() for t in values.values() if t is not None]
    missed = any(t is None for values in times.values() for t in values.values())
    end = limit or max(reached, default=1.0) * 1.05
    miss_at = 1.11 * end
    if missed:
        ax.axvspan(1.01 * end, 1.21 * end, color=BAND, lw=0, zorder=0)
        top = {"xycoords": ax.get_xaxis_transform(), "va": "top", "fontsize": 9, "color": MUTED}
        offset_text(ax, "not reached", (miss_at, 1.0), (0, -3), **top)
    for row, (arm, values) in enumerate(times.items()):
        if not values:  # no run of it has an answer
            continue
        color, marker = looks[arm]
        for k, time in enumerate(values.values()):
            y = row - 0.26 + 0.52 * (k + 0.5) / len(values)
            x, face = (miss_at, PAPER) if time is None else (time, color)
            ax.plot([x], [y], marker, color=color, mfc=face, ms=5, alpha=0.8, mew=1, zorder=3)
        median = float(np.median([math.inf if t is None else t for t in values.values()]))
        text = "median: not reached"
        if math.isfinite(median):
            ax.plot([median, median], [row - 0.33, row + 0.33], color=color, lw=2.6, zorder=4)
            text = f"median {median:,.0f}"
        there = [time for time in values.values() if time is not None]
        right = min([median, *there]) > 0.45 * end
        x = min([median, end, *there]) if right else max([*there, min(median, end)])
        side, dx = ("right", -9) if right else ("left", 9)
        offset_text(ax, text, (x, row), (dx, 0), color=color, ha=side, fontsize=9.5)
    dress(ax, xlabel=f"{unit} until validation accuracy holds {percent(target)}", ylabel="Schedule")
    arm_rows(ax, list(times), looks, bottom=0.55)
    ticks = [t for t in MaxNLocator(6).tick_values(0, end) if t <= end]
    ax.set_xticks(ticks, [f"{t:,.0f}" for t in ticks])
    ax.set_xlim(0, 1.21 * end if missed else 1.02 * end)
    note_above(ax, ["one mark per seed", "bar: median"])
    return figure
