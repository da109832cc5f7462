"""``clr report``: a comparison's figures and page again, from its files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clr_cli.cli import terminal
from clr_cli.paths import ACROSS, PROGRESS, SUMMARY, comparison_in


def command(
    directory: Annotated[Path, typer.Argument(help="A compare folder, or its experiment's.")],
    formats: Annotated[
        str, typer.Option(help="Formats of the figures beside the page, e.g. png,svg,pdf.")
    ] = "svg",
    size: Annotated[
        str | None, typer.Option(help="Figure size in inches, WIDTHxHEIGHT, e.g. 6x4.")
    ] = None,
) -> None:
    """Make a comparison's figures and page again from its files, without training."""
    from clr_cli.cli import show
    from clr_cli.report import write

    wanted = write.parse_formats(formats)
    inches = write.parse_size(size)
    folder = comparison_in(directory)
    if not (folder / SUMMARY).exists() and (folder / PROGRESS).exists():
        from clr_cli.report import live

        terminal.note("some runs are not finished, so there is no verdict yet")
        terminal.paths([live.remake(folder)])
        return
    if (folder / ACROSS).exists():
        from clr_cli.report import across

        combination = across.load(folder)
        show.print_combination(combination)
        terminal.paths(across.write(folder, combination, wanted, inches))
        return
    summary, written = write.remake(folder, wanted, inches)
    show.print_summary(summary)
    terminal.paths(written)
