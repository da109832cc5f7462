"""``clr report``: figures and page of a comparison or a range test again, from its files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clr_cli.cli import terminal
from clr_cli.paths import ACROSS, PROGRESS, SUMMARY, holds_rates, results_in


def command(
    directory: Annotated[
        Path, typer.Argument(help="The folder of a comparison, a range test or an experiment.")
    ],
    formats: Annotated[
        str, typer.Option(help="Formats of the figures beside the page, e.g. png,svg,pdf.")
    ] = "svg",
    size: Annotated[
        str | None, typer.Option(help="Figure size in inches, WIDTHxHEIGHT, e.g. 6x4.")
    ] = None,
) -> None:
    """Make the figures and the page of a comparison or a range test again, without training."""
    from clr_cli.cli import show
    from clr_cli.report import write

    wanted = write.parse_formats(formats)
    inches = write.parse_size(size)
    folder = results_in(directory)
    if not (folder / SUMMARY).exists() and (folder / PROGRESS).exists():
        from clr_cli.report import live

        terminal.note("no verdict yet: some runs have not finished")
        terminal.paths([live.remake(folder)])
        return
    if (folder / ACROSS).exists():
        from clr_cli.report import across

        combination = across.load(folder)
        show.print_combination(combination)
        terminal.paths(across.write(folder, combination, wanted, inches))
        return
    if holds_rates(folder):
        from clr_cli.report import rates

        answer, written = rates.remake(folder, wanted, inches)
        show.print_rates(answer, folder)
        terminal.paths(written)
        return
    summary, written = write.remake(folder, wanted, inches)
    show.print_summary(summary)
    terminal.paths(written)
