"""The figure of claims.py: how often equal arms are called different, in every cell."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from pictures import shrink
from simulated import NOISES, WIDE_BASE

from clr_cli.report.figures.style import INK, MUTED, PALETTE, RED, dress, new_figure, to_bytes

PANELS = ("paired", "unpaired", "a look at every run")
ARMS = {"1 arm": (1,), "3 or 4 arms": (3, 4), "8 arms": (8,), "20 arms": (20,)}
MOST = 0.33  # on the axis; what is beyond it stands at its end, as a number
NAMES = {
    "exponential and normal, 3:1": "exponential\nand normal, 3:1",
    WIDE_BASE: "normal, baseline\n3 times wider",
}
Cells = list[tuple[str, int, float, float | None]]  # noise, arms, false claims, those before


def equal_arms(made: Mapping[str, Mapping[str, Any]]) -> dict[str, Cells]:
    """Panel -> its cells: those in which every arm equals the baseline."""
    panels: dict[str, Cells] = {panel: [] for panel in PANELS}
    for name, cell in made.items():
        design, *rest = name.split(" | ")
        if design in PANELS and rest[-1].endswith(" x 0"):
            noise, size, effects = rest
            panel = PANELS[2] if size.startswith("auto") else design
            old = cell.get("before", {}).get("false")
            panels[panel].append((noise, int(effects.split()[0]), cell["false"], old))
    return panels


def _draw(ax: Axes, cells: Cells, rows: Mapping[str, int]) -> None:
    for group, (label, counts) in enumerate(ARMS.items()):
        shift = 0.2 * (group - 1.5)
        mine = [(x, old, rows[noise] + shift) for noise, arms, x, old in cells if arms in counts]
        known = [(old, y) for _, old, y in mine if old is not None]
        before = {"marker": "x", "s": 16, "color": MUTED, "linewidths": 0.9, "zorder": 2}
        ax.scatter([100 * min(old, MOST) for old, _ in known], [y for _, y in known], **before)
        now = {"s": 22, "color": PALETTE[group], "label": label, "zorder": 3, "alpha": 0.85}
        ax.scatter([100 * x for x, _, _ in mine], [y for _, _, y in mine], **now)
        for old, y in known:
            if old > MOST:
                where = {"va": "center", "ha": "right", "fontsize": 8, "color": MUTED}
                ax.text(100 * MOST - 1, y, f"{100 * old:.0f}", **where)
    ax.axvline(5, color=RED, lw=1, ls=(0, (4, 3)), zorder=1)
    ax.set_xlim(-1, 100 * MOST + 1)
    dress(ax, xlabel="called different, %")


def draw(made: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Write the figure as PNG."""
    panels = equal_arms(made)
    rows = {noise: row for row, noise in enumerate(NOISES)}
    figure = new_figure((10.0, 5.6))
    axes = figure.subplots(1, len(panels), sharey=True)
    for ax, (title, cells) in zip(axes, panels.items(), strict=True):
        _draw(ax, cells, rows)
        ax.set_title(title, fontsize=11, color=INK, loc="left")
    axes[0].set_yticks([*rows.values()], [NAMES.get(noise, noise) for noise in rows])
    axes[0].set_ylim(len(rows) - 0.4, -0.6)
    handles, labels = axes[0].get_legend_handles_labels()
    before = axes[0].collections[0]
    style = {"loc": "outside upper center", "ncols": 5, "frameon": False, "fontsize": 10}
    figure.legend([*handles, before], [*labels, "the rule before"], **style)
    path.write_bytes(shrink(to_bytes(figure, dpi=120)))
