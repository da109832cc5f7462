"""Combine the comparisons on several data sets: check that they fit, write and print."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from clr_cli.cli import comparison, options, terminal
from clr_cli.errors import InputError
from clr_cli.files import check_writable
from clr_cli.paths import Experiment

if TYPE_CHECKING:
    from clr_cli.analysis.expectation import Expect
    from clr_cli.analysis.study import Study
    from clr_cli.records import Summary


def experiment_of(output_dir: Path, name: str) -> Experiment:
    """Return the experiment of this name. Raises InputError for a name that cannot be a folder."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,99}", name):
        raise InputError(
            f"--name {name[:120]!r}: expected letters, digits and . _ + -, at most 100"
        )
    return Experiment(output_dir, name)


def check(studies: Mapping[str, Study], folder: Path) -> None:
    """Check that the studies of all data sets fit, and the folder. Raises InputError."""
    from clr_cli.analysis.across import check_alike

    check_alike(studies)
    check_writable(folder)


def tell(name: str, summary: Summary) -> None:
    """Print what the comparison on one data set came to."""
    from clr_cli.analysis.headline import headline

    terminal.note(f"{name}: {headline(summary)}\n")


def conclude(
    folder: Path, found: Mapping[str, tuple[Path, Summary]], expect: Expect | None, *, as_json: bool
) -> None:
    """Combine the comparisons, with their folders, by data set; write and print the result.

    Raises:
        typer.Exit: the result is not as expected (exit code 4), or cannot tell (3).
    """
    from clr_cli.analysis import expectation
    from clr_cli.analysis.across import combine
    from clr_cli.cli.show import print_combination
    from clr_cli.records import DataSet, Reproduce
    from clr_cli.report import across, index

    data_sets = [
        DataSet(name=name, folder=Path(os.path.relpath(own, folder)).as_posix(), summary=summary)
        for name, (own, summary) in found.items()
    ]
    combination = combine(folder.parent.name, data_sets).model_copy(
        update={"reproduce": Reproduce(command=options.command_line())}
    )
    written = across.write(folder, combination)
    index.write(folder.parents[1])
    summaries = {data.name: data.summary for data in data_sets}
    judged = None if expect is None else expectation.verdict_on_all(summaries, expect)
    comparison.conclude(combination, print_combination, written, judged, as_json=as_json)
