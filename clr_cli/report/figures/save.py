"""Figures to files."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from clr_cli.files import write_atomic
from clr_cli.report.figures.style import to_png, to_svg


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
