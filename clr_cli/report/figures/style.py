"""The look of every figure: colors, markers, axes, labels, and the figure as SVG or PNG.

Every arm has one color and one marker in all figures. All colors are keys of `THEME`, so that
a page can swap them for its dark counterparts.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from clr_cli.files import write_atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Size = tuple[float, float]
Curve = tuple[Sequence[float], Sequence[float]]  # x, y
Array = NDArray[np.float64]

SIZE: Size = (5.6, 3.5)  # inches; the text is 10 pt, so that half of this size is still readable
PAPER, INK, MUTED, GRID, BAND = "#ffffff", "#24292f", "#636c76", "#e4e7eb", "#eef1f4"
RED, NEUTRAL = "#cc2a1e", "#4a4f57"
# Okabe & Ito's color-blind-safe set without its yellow (too faint for lines on white); then
# three of Tol's muted set, which most comparisons do not need.
PALETTE = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"),
    *("#882255", "#7d7d1f", "#332288"),
)
MARKERS = ("s", "^", "D", "v", "P", "X", "p")
BASELINE_MARKER = "o"
# Names that everyone uses keep their color across experiments, whatever stands beside them.
PREFERRED = {
    "clr": 0,
    "triangular": 0,
    "one_cycle": 1,
    "cosine": 2,
    "sgdr": 3,
    "triangular2": 4,
    "exp_range": 5,
}
# What a curve can be drawn against, and what its axis is called.
PROGRESS = {"epoch": "Epoch", "iteration": "Iteration", "seconds": "Seconds"}
# light -> dark counterpart of every color used here
THEME = {
    PAPER: "#161a1f",
    INK: "#e6eaef",
    MUTED: "#9aa4af",
    GRID: "#2b3138",
    BAND: "#20262d",
    RED: "#ff6b5e",
    NEUTRAL: "#c3cad2",
    PALETTE[0]: "#4ba6e3",
    PALETTE[1]: "#f2834b",
    PALETTE[2]: "#35c298",
    PALETTE[3]: "#e29cc4",
    PALETTE[4]: "#f2b93b",
    PALETTE[5]: "#86cdf5",
    PALETTE[6]: "#d98aa8",
    PALETTE[7]: "#c5c55a",
    PALETTE[8]: "#9d90e8",
}


_DRAWN: WeakKeyDictionary[Figure, str] = WeakKeyDictionary()  # figure -> its SVG


class Look(NamedTuple):
    """The look of an arm: a hex color and a marker of matplotlib."""

    color: str
    marker: str


def arm_looks(arms: Sequence[str], baseline: str | None = None) -> dict[str, Look]:
    """Return color and marker per arm; they do not depend on the order of `arms`.

    The baseline (without one: an arm named "constant") is neutral. After the nine colors, they
    come again with other markers: 9 colors and 7 markers give 63 different looks.
    """
    neutral = baseline if baseline is not None else "constant"
    names = sorted(set(arms) - {neutral})
    free = list(range(max(len(names), len(PALETTE))))
    slots: dict[str, int] = {}
    for name in sorted(names, key=lambda name: (name not in PREFERRED, name)):
        wish = PREFERRED.get(name, -1)
        slots[name] = wish if wish in free else free[0]
        free.remove(slots[name])
    looks = {
        name: Look(PALETTE[k % len(PALETTE)], MARKERS[k % len(MARKERS)])
        for name, k in slots.items()
    }
    if neutral in arms:
        looks[neutral] = Look(NEUTRAL, BASELINE_MARKER)
    return {arm: looks[arm] for arm in arms}


def arm_colors(arms: Sequence[str], baseline: str | None = None) -> dict[str, str]:
    """Return the colors of `arm_looks`, as hex strings."""
    return {arm: look.color for arm, look in arm_looks(arms, baseline).items()}


def to_svg(figure: Figure) -> str:
    """Return the figure as SVG text; the same figure gives the same bytes, and is drawn once.

    Letters stay letters: they can be searched, edited and read aloud, and every viewer has a
    sans-serif font. The layout is measured in DejaVu Sans, wider than nearly all others.
    """
    if figure not in _DRAWN:
        buffer = io.StringIO()
        with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "clr"}):
            figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
        figure.set_layout_engine("none")  # it is laid out now, for a PNG as well
        _DRAWN[figure] = buffer.getvalue()
    return _DRAWN[figure]


def to_png(figure: Figure, dpi: int = 200) -> bytes:
    """Return the figure as PNG bytes, `dpi` pixels per inch."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def save_figure(
    figure: Figure, stem: Path, formats: tuple[str, ...] = ("png", "svg")
) -> list[Path]:
    """Write a figure as ``stem``.png, .svg, ... and return the paths."""
    written = []
    for suffix in formats:
        path = stem.with_name(f"{stem.name}.{suffix}")
        content = to_svg(figure) if suffix == "svg" else to_png(figure)
        write_atomic(path, content)
        written.append(path)
    return written


def new_figure(size: Size) -> Figure:
    """Return an empty figure of this size in inches."""
    return Figure(figsize=size, layout="constrained", facecolor=PAPER)


def dress(ax: Axes, *, xlabel: str = "", ylabel: str = "") -> None:
    """Style the axes: not through rcParams, because ticks are made later, at drawing time."""
    ax.set_facecolor("none")
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(MUTED)
    ax.tick_params(which="both", colors=MUTED, labelcolor=INK, labelsize=10, length=3)
    ax.grid(True, color=GRID, lw=0.8)
    ax.set_axisbelow(True)
    if xlabel:
        ax.set_xlabel(xlabel, fontsize=10, color=INK, parse_math=False)
    if ylabel:
        ax.set_ylabel(ylabel, fontsize=10, color=INK, parse_math=False)


def progress_axis(ax: Axes, axis: str = "epoch") -> None:
    """Label an axis of epochs, iterations or seconds."""
    ax.set_xlabel(PROGRESS[axis], fontsize=10, color=INK)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=9 if axis == "epoch" else 6, integer=True))
    if axis != "epoch":
        ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.6g}"))


def arm_rows(ax: Axes, arms: Sequence[str], looks: Mapping[str, Look], bottom: float) -> None:
    """Make a row of each arm, the first on top, their names in their colors."""
    names = [short(arm) for arm in arms]
    ax.set_yticks(range(len(names)), names, parse_math=False, fontsize=10)
    ax.set_ylim(len(names) - 1 + bottom, -0.6)
    for tick, arm in zip(ax.get_yticklabels(), arms, strict=True):
        tick.set_color(looks[arm].color)
    ax.tick_params(axis="y", length=0)
    ax.grid(False, axis="y")


def note_above(ax: Axes, parts: Sequence[str]) -> None:
    """Write a small note above the axes; empty parts are left out."""
    text = "; ".join(part for part in parts if part)
    ax.set_title(text, loc="left", fontsize=9, color=MUTED, parse_math=False)


def offset_text(
    ax: Axes, text: str, xy: tuple[float, float], offset: tuple[float, float], **style: Any
) -> None:
    """Write a text beside a point, `offset` in typographic points."""
    style = {"ha": "left" if offset[0] else "center", "va": "center", "fontsize": 10} | style
    ax.annotate(text, xy, offset, textcoords="offset points", parse_math=False, **style)


def label_ends(ax: Axes, labels: Sequence[tuple[float, str, str]], *, panel_height: float) -> None:
    """Write (value, text, color) at the right edge, moved apart where they would overlap."""
    if not labels:
        return
    to_axes = ax.transScale + ax.transLimits
    ordered = sorted(labels)
    heights = [float(to_axes.transform((1.0, value))[1]) for value, _, _ in ordered]
    gap = 13.5 / (72 * panel_height * 0.74)  # a line of 10 pt text, in fractions of the axes
    for (_, text, color), y, moved in zip(
        ordered, heights, spread_apart(heights, gap), strict=True
    ):
        ax.annotate(
            text,
            (1.0, y),
            (1.035, moved),
            xycoords="axes fraction",
            textcoords="axes fraction",
            color=color,
            va="center",
            fontsize=10,
            parse_math=False,
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": color,
                "lw": 0.9,
                "shrinkA": 1,
                "shrinkB": 3,
                "relpos": (0, 0.5),
            },
        )


def spread_apart(heights: Sequence[float], gap: float) -> list[float]:
    """Move sorted heights as little as possible (least squares) to lie `gap` apart.

    Pool-adjacent-violators on height - k * gap, then shifted to end within the axes.
    """
    groups: list[list[float]] = []
    for k, height in enumerate(heights):
        groups.append([height - k * gap])
        while len(groups) > 1 and np.mean(groups[-2]) > np.mean(groups[-1]):
            groups[-2:] = [groups[-2] + groups[-1]]
    flat = [float(np.mean(group)) for group in groups for _ in group]
    placed = [value + k * gap for k, value in enumerate(flat)]
    return [y + max(0.0, -placed[0]) - max(0.0, placed[-1] - 1.0) for y in placed]


def short(name: str, most: int = 18) -> str:
    """Shorten a long name, keeping both ends: names of a family often differ in the tail."""
    half = (most - 1) // 2
    return name if len(name) <= most else f"{name[:half]}…{name[-half:]}"
