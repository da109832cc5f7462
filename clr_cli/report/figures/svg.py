"""Figures as SVG whose marks say which arm and run they show, and the numbers beside them.

`mark` names an artist's arm and runs, `tell` keeps the numbers of a curve; a page's script finds
the one as attributes (``data-arm``, ``data-seeds``), the other in `numbers`.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from clr_cli.format import percent_tick

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

MOST_TOLD = 120  # points of a curve whose numbers a page has
_DRAWN: WeakKeyDictionary[Figure, str] = WeakKeyDictionary()  # figure -> its SVG
_TOLD: WeakKeyDictionary[Axes, dict[str, Any]] = WeakKeyDictionary()


def mark(artists: Iterable[Artist], arm: str, seeds: Iterable[int] = ()) -> None:
    """Say which arm the artists show; `seeds`: of an artist's marks, or of the artist itself."""
    for artist in artists:
        artist.set_gid(f"arm:{' '.join(map(str, seeds))}:{arm}")


def tell(ax: Axes, arm: str, x: ArrayLike, *curves: ArrayLike) -> None:
    """Keep the numbers of an arm's curve: the mean, and low and high if there is an interval.

    At most `MOST_TOLD` points are kept, the last among them.
    """
    places = np.asarray(x, np.float64)
    kept = np.unique(np.linspace(0, len(places) - 1, MOST_TOLD).round().astype(int))
    if len(places) <= MOST_TOLD:
        kept = np.arange(len(places))
    columns = [[_brief(value) for value in np.asarray(c, np.float64)[kept]] for c in curves]
    _TOLD.setdefault(ax, {})[arm] = [[_brief(value) for value in places[kept]], *columns]


def _brief(value: float) -> float | None:
    return float(f"{value:.6g}") if np.isfinite(value) else None


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
        # A quotation mark in a text must not look like the beginning of an attribute's value.
        text = re.sub(r'>[^<"]*"[^<]*<', lambda m: m[0].replace('"', "&quot;"), buffer.getvalue())
        _DRAWN[figure] = re.sub(r"""<g id=(["'])arm:([\d -]*):(.*?)\1""", _attributes, text)
    return _DRAWN[figure]


def _attributes(gid: re.Match[str]) -> str:
    seeds = f' data-seeds="{gid[2]}"' if gid[2] else ""
    arm = gid[3].replace('"', "&quot;")
    return f'<g data-arm="{arm}"{seeds}'


def numbers(figure: Figure) -> list[dict[str, Any]]:
    """Return the axes with curves for a page: id, box and limits, and the numbers of every arm.

    A box is left, top, width and height in the units of the SVG. Draw the figure first.
    """
    size, described = figure.get_size_inches(), []
    for k, ax in enumerate(figure.axes, 1):
        if ax not in _TOLD:
            continue
        low, high = ax.get_position().get_points() * size * 72
        box = [low[0], 72 * size[1] - high[1], high[0] - low[0], high[1] - low[1]]
        described.append(
            {
                "id": f"axes_{k}",
                "box": [round(float(side), 2) for side in box],
                "x": [*map(float, ax.get_xlim()), ax.get_xscale() == "log"],
                "y": [*map(float, ax.get_ylim()), ax.get_yscale() == "log"],
                "percent": getattr(ax.yaxis.get_major_formatter(), "func", None) is percent_tick,
                "name": (ax.get_xlabel() or figure.axes[-1].get_xlabel()).split(" (")[0],
                "curves": _TOLD[ax],
            }
        )
    return described


def compact(path: str) -> str:
    r"""Return an SVG path in fewer letters, with tenths of a point.

    >>> compact("M 1 2 \nL 3.14 4 \nL 5 6 \n")
    'M1 2l2.1 2 1.9 2'
    """
    parts = re.split(r"(?=M)", path)
    return "".join(_compact(part) for part in parts if part.strip())


def _compact(path: str) -> str:
    if re.search(r"[^MLz\d\s.e-]", path):  # curves: the shapes of marks
        return re.sub(r"(\.\d\d)\d+", r"\1", path)
    points = np.array(re.findall(r"-?[\d.]+(?:e-?\d+)?", path), np.float64).reshape(-1, 2)
    tenths = (points * 10).round().astype(int)
    steps = np.diff(tenths, axis=0, prepend=0)
    start, *rest = [_joined([_tenth(x), _tenth(y)]) for x, y in steps.tolist()]
    return f"M{start}" + (f"l{_joined(rest)}" if rest else "") + ("z" if "z" in path else "")


def _tenth(value: int) -> str:
    return f"{value / 10:.1f}".removesuffix(".0").replace("0.", ".", 1 if abs(value) < 10 else 0)


def _joined(numbers: Sequence[str]) -> str:
    return " ".join(numbers).replace(" -", "-")
