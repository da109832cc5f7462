"""The figures of a metric against epoch: means over seeds, their intervals, single seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from scipy.special import stdtrit

from clr_cli.format import number, percent, percent_tick
from clr_cli.report.figures.style import (
    PAPER,
    SIZE,
    Array,
    Size,
    arm_looks,
    dress,
    epoch_axis,
    label_ends,
    new_figure,
    note_above,
    short,
)

if TYPE_CHECKING:
    from clr_cli.records import RunRecord

METRICS = {
    "train_loss": "Training loss",
    "train_accuracy": "Training accuracy",
    "val_loss": "Validation loss",
    "val_accuracy": "Validation accuracy",
    "test_loss": "Test loss",
    "test_accuracy": "Test accuracy",
}


def matrices(records: Sequence[RunRecord], key: str) -> dict[str, Array]:
    """Per arm the values of `key`, shape (seeds, epochs); NaN where a run has no finite value.

    An epoch whose training loss is not finite has none: its accuracy is that of broken weights.
    """
    last = max((int(row["epoch"]) for r in records for row in r.epochs), default=1)
    out: dict[str, list[Array]] = {}
    for record in records:
        line = np.full(last, np.nan)
        for row in record.epochs:
            value = row.get(key, math.nan)
            if math.isfinite(value) and math.isfinite(row.get("train_loss", value)):
                line[int(row["epoch"]) - 1] = value
        out.setdefault(record.arm, []).append(line)
    return {arm: np.array(lines) for arm, lines in out.items()}


def mean_interval(values: Array, level: float = 0.95) -> tuple[Array, Array, Array]:
    """Mean over axis 0 and its Student-t interval (low, high), NaN left out.

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
    records: Sequence[RunRecord], key: str, *, baseline: str | None = None, size: Size = SIZE
) -> Figure:
    """A metric of `METRICS` against epoch: mean over seeds, its 95 % interval, faint single seeds.

    The interval (Student's t) needs 3 seeds. A diverged run leaves the mean, with a cross at the
    axis' bad end; the arm's label then says how many runs the last mean holds.
    """
    accuracy = key.endswith("accuracy")
    data = matrices(records, key)
    looks = arm_looks(list(data), baseline)
    means = {arm: mean_interval(values) for arm, values in data.items()}
    low, high, log, note = _view(data, {arm: m[0] for arm, m in means.items()}, accuracy)
    figure = new_figure(size)
    ax = figure.subplots()
    dress(ax, ylabel=METRICS[key])
    if log:
        ax.set_yscale("log")
        subs = (1.0, 2.0, 5.0) if high / low > 30 else (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
        ax.yaxis.set_major_locator(LogLocator(subs=subs, numticks=20))
        ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(FuncFormatter(percent_tick if accuracy else number))
    labels = []
    lines = sum(map(len, data.values()))
    faint = 0.3 * math.sqrt(16 / max(16, lines))  # many of them must not hide the means
    band = 0.6 * faint
    for index, (arm, values) in enumerate(data.items()):
        color, marker = looks[arm]
        mean, lower, upper = means[arm]
        epochs = np.arange(1, values.shape[1] + 1)
        if len(values) > 1:
            ax.plot(epochs, values.T, color=color, lw=0.7, alpha=faint, zorder=2)
            ax.fill_between(
                epochs, np.maximum(lower, low / 10), upper, color=color, alpha=band, lw=0, zorder=1
            )
        step = max(1, len(epochs) // 7)
        ax.plot(
            epochs,
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
        finished = np.isfinite(values[:, -1])
        if finished.any():
            ax.plot(
                epochs[-1:],
                mean[-1:],
                color=color,
                marker=marker,
                ms=7,
                mec=PAPER,
                mew=0.8,
                zorder=5,
                clip_on=False,
            )
            text = percent(mean[-1]) if accuracy else f"{mean[-1]:.3f}"
            share = "" if finished.all() else f" ({finished.sum()} of {len(values)})"
            labels.append((mean[-1], f"{short(arm)} {text}{share}", color))
    for record in records:
        if record.status == "diverged":
            at = max([row["epoch"] for row in record.epochs], default=1)
            y = 0.03 if accuracy else 0.97
            style: dict[str, Any] = {"ms": 8, "mew": 2, "zorder": 6}
            style["color"] = looks[record.arm].color
            ax.plot([at], [y], "x", transform=ax.get_xaxis_transform(), **style)
    ax.set_ylim(low, high)
    most = max((values.shape[1] for values in data.values()), default=1)
    ax.set_xlim((1, most) if most > 1 else (0.5, 1.5))
    label_ends(ax, labels, panel_height=size[1])
    epoch_axis(ax)
    diverged = any(record.status == "diverged" for record in records)
    note_above(ax, [_seeds_note(data), "× diverged" if diverged else "", note])
    return figure


def _seeds_note(data: Mapping[str, Array]) -> str:
    counts = sorted({len(values) for values in data.values()})
    if not counts or counts[-1] == 1:
        return ""
    seeds = f"{counts[-1]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"{seeds} seeds: mean" + (", 95 % interval" if counts[-1] >= 3 else "")


def _view(
    data: Mapping[str, Array], means: Mapping[str, Array], accuracy: bool
) -> tuple[float, float, bool, str]:
    """(low, high, log?, note) of a y axis that shows the end of training, not its accidents.

    The first tenth of training and what single seeds do may be cut off, and so may rare dips of a
    mean that would take two thirds of the axis; final values never are. Losses that span a
    factor of 3 get a log axis.
    """
    pool = np.concatenate([v[np.isfinite(v)] for v in data.values()] or [np.zeros(0)])
    if not len(pool):
        return 0.0, 1.0, False, "no finite value"
    log = bool(not accuracy and pool.min() > 0)
    sign = 1.0 if accuracy else -1.0  # turns "worse" into "lower"

    def height(values: Array) -> Array:
        return sign * (np.log(values) if log else values)

    best, worst = float(height(pool).max()), float(height(pool).min())
    late = [m[len(m) // 10 :] for m in means.values()]
    late = [height(m[np.isfinite(m)]) for m in late if np.isfinite(m).any()]
    final = height(np.concatenate([v[np.isfinite(v[:, -1]), -1] for v in data.values()]))
    needed = min([*(float(np.quantile(m, 0.1)) for m in late), *final], default=worst)
    lowest = min([float(m.min()) for m in late], default=worst)
    bottom = lowest if best - lowest < 3 * (best - needed) else needed
    bottom = min(bottom, *final, best) if len(final) else bottom
    cut = best - worst > 1.4 * (best - bottom) > 0
    bottom = bottom if cut else worst
    pad = max(0.06 * (best - bottom), 2e-4)
    low, high = sorted((sign * (best + pad), sign * (bottom - pad)))
    if accuracy:
        note = f"axis cut, lowest {percent(pool.min())}" if cut else ""
        return max(low, 0.0), min(high, 1.002), False, note
    note = f"axis cut, highest {number(pool.max())}" if cut else ""
    if log:
        low, high = math.exp(low), math.exp(high)
    return low, high, log and high / low >= 3, note
