"""The figure of every seed: its runs of all arms in a panel of their own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from clr_cli.format import Scale
from clr_cli.report.figures.curves import curves
from clr_cli.report.figures.epochs import set_scale, view
from clr_cli.report.figures.style import (
    INK,
    PAPER,
    PROGRESS,
    SIZE,
    Size,
    arm_looks,
    dress,
    new_figure,
    short,
)
from clr_cli.report.figures.svg import mark, tell

if TYPE_CHECKING:
    from clr_cli.records import Metric, RunRecord

MOST_SEEDS, MOST_ARMS = 8, 3  # with more there is nothing to see in a panel
COLUMNS = 4


def seed_curves(
    records: Sequence[RunRecord],
    metric: Metric,
    *,
    axis: str = "epoch",
    scale: Scale,
    baseline: str,
    of: str = "seed",
    size: Size | None = None,
) -> Figure | None:
    """Draw each seed's runs of all arms in a panel, on equal axes; None for too many or too few.

    Two arms: a panel's title has their difference at the end, the arm minus the baseline.
    """
    data = curves(records, metric.name, axis)
    seeds = sorted({seed for each in data.values() for seed in each.seeds})
    if not (1 < len(data) <= MOST_ARMS and 1 < len(seeds) <= MOST_SEEDS):
        return None
    looks = arm_looks(list(data), baseline)
    rows = math.ceil(len(seeds) / COLUMNS)
    columns = math.ceil(len(seeds) / rows)
    figure = new_figure(size or (SIZE[0], 0.9 + 1.35 * rows))
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    low, high, log, _ = view(data, metric)
    for k, panel in enumerate(panels):
        lowest = k + columns >= len(seeds)
        dress(panel, xlabel=PROGRESS[axis], ylabel="" if k % columns else metric.heading)
        panel.tick_params(labelsize=9, labelbottom=lowest)
        panel.xaxis.label.set_visible(k >= (rows - 1) * columns)
        panel.set_visible(k < len(seeds))
    for panel, seed in zip(panels, seeds, strict=False):
        finals = {}
        for arm, (x, values, final, known) in data.items():
            if seed not in known:
                continue
            run, (color, marker) = list(known).index(seed), looks[arm]
            style: dict[str, Any] = {"color": color, "marker": marker, "mec": PAPER, "mew": 0.6}
            end = np.flatnonzero(np.isfinite(values[run]))[-1:].tolist()
            mark(panel.plot(x, values[run], lw=1.5, ms=5, markevery=end, **style), arm, [seed])
            tell(panel, arm, x, values[run])
            finals[arm] = float(final[run])
        title = f"{of} {seed}"
        if len(finals) == len(data) == 2:
            lead = sum(finals.values()) - 2 * finals[baseline]
            title += f": {scale.signed(lead)}" if math.isfinite(lead) else ""
        panel.set_title(title, fontsize=9, color=INK, loc="left")
    set_scale(panels[0], (low, high, log), metric)
    panels[0].xaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))
    first = min(each.x[0] for each in data.values())
    last = max(each.x[-1] for each in data.values())
    panels[0].set_xlim(first, last + (0.04 * (last - first) or 0.5))  # with room for the mark
    lines = [Line2D([], [], color=look.color, marker=look.marker, ms=5) for look in looks.values()]
    place: dict[str, Any] = {"loc": "outside upper left", "ncols": MOST_ARMS, "frameon": False}
    figure.legend(lines, [short(arm) for arm in looks], fontsize=9, labelcolor=INK, **place)
    return figure
