"""The figure of a range test: validation accuracy and training loss against learning rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from clr_cli.format import number, percent_tick
from clr_cli.report.figures.style import (
    MUTED,
    PALETTE,
    RED,
    SIZE,
    Array,
    Curve,
    EndLabel,
    Size,
    dress,
    label_ends,
    new_figure,
    offset_text,
)
from clr_cli.report.figures.svg import tell

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from clr_cli.records import Peak, Sweep


def range_test(
    sweeps: Sequence[Sweep],
    *,
    smooth: Sequence[Curve] = (),
    smooth_loss: Sequence[Curve] = (),
    peak: Peak | None = None,
    size: Size | None = None,
) -> Figure:
    """Draw validation accuracy (top) and training loss (bottom) against learning rate.

    Raw curves are faint, the caller's smoothed ones (one (lrs, values) for each sweep) strong.
    The peak is circled. The x axis is logarithmic if the ramp is exponential.
    """
    figure = new_figure(size or (SIZE[0], 5.0))
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    dress(top, ylabel="Validation accuracy")
    dress(bottom, ylabel="Training loss", xlabel="Learning rate")
    labels: list[EndLabel] = []
    for k, sweep in enumerate(sweeps):
        color = PALETTE[k % len(PALETTE)]
        strong = len(smooth) > k
        top.plot(
            sweep.val_lr,
            sweep.val_accuracy,
            color=color,
            lw=0.9 if strong else 1.6,
            alpha=0.4 if strong else 1.0,
        )
        lrs, losses = _thin(sweep.lr, sweep.train_loss)
        bottom.plot(lrs, losses, color=color, lw=0.7, alpha=0.35)
        if strong:
            top.plot(*smooth[k], color=color, lw=2, zorder=4)
        ends, shown = smooth[k] if strong else (sweep.val_lr, sweep.val_accuracy)
        tell(top, f"seed {sweep.seed}", ends, shown)
        if len(shown):
            labels.append(EndLabel(ends[-1], shown[-1], f"seed {sweep.seed}", color))
        if len(smooth_loss) > k:
            tell(bottom, f"seed {sweep.seed}", *smooth_loss[k])
            bottom.plot(*smooth_loss[k], color=color, lw=2, zorder=4)
        if sweep.stopped and math.isfinite(sweep.stopped.lr):
            place = bottom.get_xaxis_transform()
            bottom.plot(sweep.stopped.lr, 0.93, "x", color=color, ms=8, mew=2, transform=place)
    _range_axes(sweeps, smooth_loss, top, bottom)
    label_ends(top, labels, panel_height=0.6 * figure.get_figheight())
    if peak is not None:
        ring = {"mfc": "none", "mec": RED, "ms": 19, "mew": 2.2, "zorder": 6, "clip_on": False}
        top.plot(peak.lr, peak.accuracy, "o", **ring)
        place = {"xycoords": top.get_xaxis_transform(), "ha": "center"}
        offset_text(top, f"highest at {peak.lr:.3g}", (peak.lr, 1.0), (0, 9), color=RED, **place)
    stops = sum(s.stopped is not None for s in sweeps)
    counted = "1 sweep" if len(sweeps) == 1 else f"{len(sweeps)} sweeps"
    note = f"{counted}; faint: raw, strong: smoothed"
    note += f"; × {stops} of {len(sweeps)} stopped" if stops else ""
    bottom.set_title(note, loc="left", fontsize=9, color=MUTED)
    return figure


def _range_axes(
    sweeps: Sequence[Sweep], smooth_loss: Sequence[Curve], top: Axes, bottom: Axes
) -> None:
    """Scales and limits: a log x axis for an exponential ramp; a loss axis without its blow-up."""
    lrs = np.array(max((s.lr for s in sweeps), key=len, default=[]), dtype=float)
    if len(lrs) > 2 and lrs[0] > 0:
        middle, ends = lrs[len(lrs) // 2], (lrs[0], lrs[-1])
        exponential = abs(middle - math.sqrt(ends[0] * ends[1])) < abs(middle - sum(ends) / 2)
        if exponential:
            bottom.set_xscale("log")
            bottom.xaxis.set_major_formatter(FuncFormatter(number))
        bottom.set_xlim(ends[0], ends[1])
    curves = [v for _, v in smooth_loss] or [s.train_loss for s in sweeps]
    losses = [np.array(v, dtype=float)[np.isfinite(v)] for v in curves]
    losses = [v for v in losses if len(v)]
    if losses:
        low, start = min(v.min() for v in losses), max(v[: 1 + len(v) // 50].max() for v in losses)
        bottom.set_ylim(min(0.9 * low, low - 0.1 * (start - low)), low + 1.3 * (start - low) + 1e-3)
    accuracies = [a for s in sweeps for a in s.val_accuracy if math.isfinite(a)]
    if accuracies:
        best, worst = max(accuracies), min(accuracies)
        pad = 0.06 * (best - worst) + 1e-3
        top.set_ylim(max(0.0, worst - pad), min(1.03, best + 2 * pad))
    top.yaxis.set_major_formatter(FuncFormatter(percent_tick))


def _thin(x: Sequence[float], y: Sequence[float], bins: int = 400) -> tuple[Array, Array]:
    """At most 2 * bins points that keep each bin's extremes, so that a long ramp draws small."""
    xs, ys = np.array(x, dtype=float), np.array(y, dtype=float)
    if len(ys) <= 2 * bins:
        return xs, ys
    edges = np.linspace(0, len(ys), bins + 1).astype(int)
    keep: list[int] = []
    for start, stop in pairwise(edges):
        part = np.nan_to_num(ys[start:stop], posinf=np.nanmax(ys, initial=0.0))
        keep += sorted({start + int(part.argmin()), start + int(part.argmax())})
    return xs[keep], ys[keep]
