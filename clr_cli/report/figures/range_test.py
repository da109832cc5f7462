"""The figure of a range test: validation accuracy and training loss against learning rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from clr_cli.format import number, percent_tick
from clr_cli.report.figures.style import (
    INK,
    MUTED,
    PALETTE,
    RED,
    Array,
    Curve,
    Size,
    dress,
    label_ends,
    new_figure,
    offset_text,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from clr_cli.records import Sweep


def range_test(
    sweeps: Sequence[Sweep],
    *,
    smooth: Sequence[Curve] = (),
    smooth_loss: Sequence[Curve] = (),
    base_lr: float | None = None,
    max_lr: float | None = None,
    base_range: tuple[float, float] | None = None,
    max_range: tuple[float, float] | None = None,
    peak: tuple[float, float] | None = None,
    size: Size = (5.6, 5.0),
) -> Figure:
    """Draw validation accuracy (top) and training loss (bottom) against learning rate.

    Raw curves are faint, the caller's smoothed ones (one (lrs, values) per sweep) strong. The
    bounds are vertical lines, their ranges over the sweeps shaded. The circle is at `peak`, or on
    the mean smoothed accuracy at max_lr. The x axis is logarithmic when the ramp is exponential.
    """
    figure = new_figure(size)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    dress(top, ylabel="Validation accuracy")
    dress(bottom, ylabel="Training loss", xlabel="Learning rate")
    labels: list[tuple[float, str, str]] = []
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
        shown = smooth[k][1] if strong else sweep.val_accuracy
        if len(shown):
            labels.append((shown[-1], f"seed {sweep.seed}", color))
        if len(smooth_loss) > k:
            bottom.plot(*smooth_loss[k], color=color, lw=2, zorder=4)
        if sweep.stopped:
            place = bottom.get_xaxis_transform()
            bottom.plot(sweep.stopped.lr, 0.93, "x", color=color, ms=8, mew=2, transform=place)
    _range_axes(sweeps, smooth_loss, top, bottom)
    label_ends(top, labels, panel_height=0.6 * size[1])
    bounds = [("base_lr", base_lr, base_range), ("max_lr", max_lr, max_range)]
    sides = _sides(bottom, base_lr, max_lr)
    for (name, at, spread), side in zip(bounds, sides, strict=True):
        if at is None:
            continue
        for ax in (top, bottom):
            ax.axvline(at, color=INK, lw=1.1, ls=(0, (4, 2)), zorder=3)
            if spread and spread[1] > spread[0]:
                ax.axvspan(*spread, color=MUTED, alpha=0.15, lw=0, zorder=0)
        style: dict[str, Any] = {"xycoords": top.get_xaxis_transform(), "ha": side}
        offset_text(top, f"{name} {at:.3g}", (at, 1.0), (0, 9), color=INK, **style)
    if peak is None and max_lr is not None and smooth:
        heights = [np.interp(max_lr, lrs, values) for lrs, values in smooth if len(lrs)]
        peak = (max_lr, float(np.mean(heights)))
    if peak is not None:
        top.plot(*peak, "o", mfc="none", mec=RED, ms=19, mew=2.2, zorder=6)
    stops = sum(s.stopped is not None for s in sweeps)
    note = f"{len(sweeps)} sweeps; faint: raw, strong: smoothed"
    note += f"; × {stops} of {len(sweeps)} stopped" if stops else ""
    bottom.set_title(note, loc="left", fontsize=9, color=MUTED)
    return figure


def _sides(ax: Axes, base_lr: float | None, max_lr: float | None) -> tuple[str, str]:
    """Return how the labels of the two bounds are aligned: apart when they are close."""
    if base_lr is None or max_lr is None:
        return "center", "center"
    place = ax.transScale + ax.transLimits
    left, right = (place.transform((lr, 1.0))[0] for lr in (base_lr, max_lr))
    if right - left > 0.5:
        return "left" if left < 0.1 else "center", "right" if right > 0.9 else "center"
    return "left" if left < 0.1 and right - left > 0.26 else "right", "left"


def _range_axes(
    sweeps: Sequence[Sweep], smooth_loss: Sequence[Curve], top: Axes, bottom: Axes
) -> None:
    """Set a log x axis for an exponential ramp, and a loss axis without its blow-up."""
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
    """Return at most 2 * bins points that keep each bin's extremes: a long ramp is a small file."""
    xs, ys = np.array(x, dtype=float), np.array(y, dtype=float)
    if len(ys) <= 2 * bins:
        return xs, ys
    edges = np.linspace(0, len(ys), bins + 1).astype(int)
    keep: list[int] = []
    for start, stop in pairwise(edges):
        part = np.nan_to_num(ys[start:stop], posinf=np.nanmax(ys, initial=0.0))
        keep += sorted({start + int(part.argmin()), start + int(part.argmax())})
    return xs[keep], ys[keep]
