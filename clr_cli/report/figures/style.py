"""The look of every figure: colors, markers, axes, labels, and its files.

Every arm has one color and one marker in all figures. All colors are keys of `THEME`, so that
a page can swap them for its dark counterparts.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from zlib import crc32

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from matplotlib.transforms import offset_copy
from numpy.typing import NDArray

from clr_cli.files import write_atomic
from clr_cli.report.figures.svg import mark, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation

Size = tuple[float, float]
Curve = tuple[Sequence[float], Sequence[float]]  # x, y
Array = NDArray[np.float64]

FORMATS = ("png", "svg")  # of a figure's files, if no others are asked for
LINE = 13.5  # the height of a line of 10 pt text, in points
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


class Look(NamedTuple):
    """The look of an arm: a hex color and a marker of matplotlib."""

    color: str
    marker: str


def arm_looks(arms: Sequence[str], baseline: str | None = None) -> dict[str, Look]:
    """Return color and marker per arm; they do not depend on the order of `arms`.

    The baseline (without one: an arm named "constant") is neutral. A color belongs to a name: an
    arm has the one that its name wishes, whatever arms are there, unless another has it. After the
    nine colors, they come again with other markers: 9 colors and 7 markers give 63 looks.
    """
    neutral = baseline if baseline is not None else "constant"
    names = sorted(set(arms) - {neutral})
    free = list(range(max(len(names), len(PALETTE))))
    slots: dict[str, int] = {}
    for name in sorted(names, key=lambda name: (name not in PREFERRED, name)):
        wish = PREFERRED.get(name, crc32(name.encode()) % len(PALETTE))
        slots[name] = min(free, key=lambda k: (k // len(PALETTE), (k - wish) % len(PALETTE)))
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


def to_bytes(figure: Figure, form: str = "png", dpi: int = 200) -> bytes:
    """Return the figure as PNG or PDF; `dpi`: pixels per inch. It has no date in it."""
    buffer = io.BytesIO()
    stamp = {"png": "Software", "pdf": "CreationDate"}[form]
    with mpl.rc_context({"pdf.fonttype": 42}):  # TrueType: publishers refuse Type 3
        figure.savefig(buffer, format=form, dpi=dpi, metadata={stamp: None})
    return buffer.getvalue()


def save_figures(
    figures: Mapping[str, Figure], folder: Path, formats: Sequence[str] = FORMATS
) -> list[Path]:
    """Write figures by their names, as NAME.png, NAME.svg, ..., and return the paths."""
    written = []
    for name, figure in figures.items():
        for form in formats:
            written.append(folder / f"{name}.{form}")
            content = to_svg(figure) if form == "svg" else to_bytes(figure, form)
            write_atomic(written[-1], content)
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
    most = 9 if axis == "epoch" else 6
    ax.xaxis.set_major_locator(MaxNLocator(most, integer=True, min_n_ticks=1))
    if axis != "epoch":
        ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.6g}"))


def arm_rows(ax: Axes, arms: Sequence[str], looks: Mapping[str, Look], bottom: float) -> None:
    """Make a row of each arm, the first on top, a swatch of its color before its name."""
    names = [short(arm) for arm in arms]
    ax.set_yticks(range(len(names)), names, parse_math=False, fontsize=10)
    ax.set_ylim(len(names) - 1 + bottom, -0.6)
    ax.tick_params(axis="y", length=0, pad=14)
    for row, arm in enumerate(arms):
        mark(ax.get_yticklabels()[row : row + 1], arm)
        place = offset_copy(
            ax.get_yaxis_transform(), ax.get_figure(root=True), x=-8, units="points"
        )
        color, marker = looks[arm]
        swatch: dict[str, Any] = {
            "transform": place,
            "clip_on": False,
            "ms": 6,
            "mew": 0,
            "zorder": 5,
        }
        mark(ax.plot([0], [row], marker, color=color, **swatch), arm)
    ax.grid(False, axis="y")


def note_above(ax: Axes, parts: Sequence[str]) -> None:
    """Write a small note above the axes; empty parts are left out."""
    text = "; ".join(part for part in parts if part)
    ax.set_title(text, loc="left", fontsize=9, color=MUTED, parse_math=False, wrap=True)


def offset_text(
    ax: Axes, text: str, xy: tuple[float, float], offset: tuple[float, float], **style: Any
) -> Annotation:
    """Write a text in ink beside a point, `offset` in typographic points; return it."""
    style = {"va": "center", "fontsize": 10, "color": INK} | style
    style = {"ha": "left" if offset[0] else "center"} | style
    return ax.annotate(text, xy, offset, textcoords="offset points", parse_math=False, **style)


class EndLabel(NamedTuple):
    """The label of a curve: where the curve ends, what it says, in which color its line is."""

    x: float
    y: float
    text: str
    color: str
    arm: str = ""


def label_ends(ax: Axes, labels: Sequence[EndLabel], *, panel_height: float) -> None:
    """Write labels at the right edge, each joined to its curve's end, moved apart if they overlap.

    The words are in ink, because not every color can be read on white; the line has the color.
    """
    if not labels:
        return
    to_axes = ax.transScale + ax.transLimits
    ordered = sorted(labels, key=lambda label: label.y)
    places = [to_axes.transform((label.x, label.y)) for label in ordered]
    gap = LINE / (72 * panel_height * 0.74)  # in fractions of the axes
    moved = spread_apart([float(place[1]) for place in places], gap)
    for label, (x, y), height in zip(ordered, places, moved, strict=True):
        own, here = float(y), min(float(x), 1.0)
        style: dict[str, Any] = {
            "color": label.color,
            "transform": ax.transAxes,
            "clip_on": False,
            "zorder": 3,
        }
        lines = []
        if here < 0.97:  # a thin line from the curve's own end to the swatch
            lines = ax.plot([here, 1.012], [own, height], lw=0.7, ls=":", **style)
            here, own = 1.012, height
        lines += ax.plot([here, 1.052], [own, height], lw=1.8, solid_capstyle="butt", **style)
        place: dict[str, Any] = {"transform": ax.transAxes, "va": "center", "fontsize": 10}
        text = ax.text(1.07, height, label.text, color=INK, parse_math=False, **place)
        if label.arm:
            mark([text, *lines], label.arm)


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
