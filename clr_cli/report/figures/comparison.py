"""Draw learning rates against epochs, and differences from the baseline.

Figures are made with `Figure()`, never through pyplot; nothing is shown or saved here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from clr_cli.format import Scale, number
from clr_cli.report.figures.style import (
    BAND,
    MUTED,
    PAPER,
    RED,
    SIZE,
    Curve,
    EndLabel,
    Size,
    arm_looks,
    arm_rows,
    dress,
    label_ends,
    new_figure,
    note_above,
    offset_text,
    progress_axis,
    short,
)
from clr_cli.report.figures.svg import mark, tell

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from clr_cli.records import Design, Metric

NAMED = 12  # seeds at most that stand beside their marks: more would cover one another


def lr_schedule(
    arms: Mapping[str, Curve],
    *,
    momentum: Mapping[str, Curve] | None = None,
    baseline: str | None = None,
    size: Size | None = None,
) -> Figure:
    """Draw learning rate against epoch, one line per arm: arm -> (epochs, learning rates).

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
            style = {"color": looks[arm].color, "lw": 1.8}
            mark(ax.plot(epochs, values, solid_joinstyle="miter", **style), arm)
            tell(ax, arm, epochs, values)
        ends = [epochs[-1] for epochs, _ in curves.values() if len(epochs)]
        ax.set_xlim(0, math.ceil(max(ends, default=1)) or 1)
        if ylabel == "Learning rate":
            ax.set_ylim(bottom=0)
        labels = [
            EndLabel(c[0][-1], c[1][-1], short(arm), looks[arm].color, arm)
            for arm, c in curves.items()
            if len(c[1])
        ]
        label_ends(ax, labels, panel_height=size[1] / len(panels))
    progress_axis(axes[-1])
    return figure


class DifferenceRow(NamedTuple):
    """One arm of the figure of differences.

    values: by seed. interval: mean, low and high. unpaired_seeds: those that failed in one arm.
    """

    arm: str
    values: Mapping[int, float | None]
    interval: tuple[float | None, float | None, float | None] = (None, None, None)
    unpaired_seeds: Sequence[int] = ()


def difference(
    arms: Sequence[DifferenceRow],
    metric: Metric,
    scale: Scale,
    *,
    baseline: str,
    margin: float | None = None,
    rows_are: str = "Arm",
    design: Design = "paired",
    size: Size | None = None,
) -> Figure:
    """Draw the metric at the end minus the baseline's, run by run, with mean, interval and margin.

    Fractions are drawn in points. In an unpaired `design` the values are differences from the
    baseline's mean, or from a number.
    """
    rows, factor = len(arms), scale.factor
    figure = new_figure(size or (SIZE[0], max(2.8, 1.5 + (0.8 if rows <= 5 else 0.66) * rows)))
    ax = figure.subplots()
    one = "seed" if design == "paired" else "run"
    looks = arm_looks([*(row.arm for row in arms), baseline], baseline)
    if margin is not None:
        ax.axvspan(-factor * margin, factor * margin, color=BAND, lw=0, zorder=0)
    ax.axvline(0, color=MUTED, lw=1.1, zorder=1)
    for row, (arm, values, (mean, low, high), unpaired_seeds) in enumerate(arms):
        color, marker = looks[arm]
        seeds = {s: v for s, v in values.items() if v is not None}
        x = [factor * value for value in seeds.values()]
        heights = [row - 0.38 + 0.46 * (k + 0.5) / len(seeds) for k in range(len(seeds))]
        dots = ax.plot(x, heights, marker, color=color, ms=5, alpha=0.75, mew=0, zorder=3)
        mark(dots, arm, seeds)
        if rows == 1 and len(seeds) <= NAMED:
            for seed, *here in zip(seeds, x, heights, strict=True):
                place = (here[0], here[1])
                offset_text(ax, f"{one} {seed}", place, (7, 0), color=MUTED, fontsize=8)
        for k, seed in enumerate(unpaired_seeds):
            _failed_pair(ax, row, k, seed)
        if mean is None:
            continue
        y = row + 0.26
        if low is not None and high is not None:
            ends = np.array([factor * low, factor * high])
            if scale.unit == "%":  # no difference is larger
                ends = ends.clip(-100, 100)
            bar = ax.plot(ends, [y, y], color=color, lw=2.4, marker="|", ms=9, mew=2, zorder=3)
            mark(bar, arm)
        middle: dict[str, Any] = {"color": color, "ms": 8, "mec": PAPER, "mew": 1, "zorder": 4}
        mark(ax.plot([factor * mean], [y], marker, **middle), arm)
        text = scale.difference(mean, low, high)
        behind = {"fc": PAPER, "ec": "none", "alpha": 0.75, "pad": 0.5}
        style: dict[str, Any] = {"weight": "bold", "bbox": behind, "zorder": 2}
        mark([offset_text(ax, text, (factor * mean, y), (0, -14), **style)], arm)
    gap = 4 * "\N{NO-BREAK SPACE}"
    unit = f" ({scale.points.strip()})" if scale.points else ""
    whose = {"paired": "’s", "unpaired": "’s mean", "number": ""}[design]
    label = f"{metric.heading} minus {short(baseline)}{whose}{unit}"
    left, right = ("worse", "better") if metric.mode == "max" else ("better", "worse")
    sides = f"{label}\n← {left}{8 * gap}{right} →"
    if len(label) + max(len(short(row.arm)) for row in arms) <= 50:  # beside those names
        sides = f"← {left}{gap}{label}{gap}{right} →"
    dress(ax, xlabel=sides, ylabel=rows_are)
    arm_rows(ax, [row.arm for row in arms], looks, bottom=0.72)
    ax.margins(x=0.12)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=6))
    gray = "" if margin is None else f"gray: ±{number(factor * margin)}{scale.points}"
    failed = "×: a run failed" if any(row.unpaired_seeds for row in arms) else ""
    note_above(ax, [f"small: a {one}; large: mean, deciding interval", gray, failed])
    return figure


def _failed_pair(ax: Axes, row: int, place: int, seed: int) -> None:
    """Draw a cross at the left edge of an arm's row, for a seed without a difference."""
    x, y = 0.02 + 0.022 * (place % 40), row - 0.15
    mark = ax.get_yaxis_transform()
    ax.plot([x], [y], "x", transform=mark, color=RED, ms=5.5, mew=1.6, clip_on=False, zorder=5)
    if place == 0:
        offset_text(ax, f"seed {seed}", (x, y), (-2, 9), color=RED, fontsize=8, xycoords=mark)
