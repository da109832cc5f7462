"""Run ``clr compare`` on several data sets, and combine the comparisons."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from clr_cli.cli import options, terminal
from clr_cli.errors import InputError
from clr_cli.files import check_writable
from clr_cli.paths import Experiment

if TYPE_CHECKING:
    from clr_cli.analysis.expectation import Expect
    from clr_cli.analysis.study import Study
    from clr_cli.records import DataSet, Summary


def experiment_of(output_dir: Path, name: str) -> Experiment:
    """Return the experiment of this name. Raises InputError for a name that cannot be a folder."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,99}", name):
        raise InputError(
            f"--name {name[:120]!r}: expected letters, digits and . _ + -, at most 100"
        )
    return Experiment(output_dir, name)


@dataclass(frozen=True)
class Across:
    """Comparisons on several data sets, by name, and where they are combined.

    Attributes:
        experiment: has the combination in a folder of its own.
        studies: what is asked on each data set.
        expect: what every arm is expected to be on every data set.
        tuned: whether rates were searched for.

    Raises:
        InputError: the studies do not ask the same, or the folder cannot be written.
    """

    experiment: Experiment
    studies: Mapping[str, Study]
    expect: Expect | None
    tuned: bool = False
    data_sets: list[DataSet] = field(default_factory=list)

    def __post_init__(self) -> None:
        from clr_cli.analysis.across import check_alike

        check_alike(self.studies)
        check_writable(self.folder)

    @property
    def folder(self) -> Path:
        """The folder of the combination."""
        return self.experiment.across(tuned=self.tuned)

    def add(self, name: str, folder: Path, summary: Summary) -> None:
        """Add the finished comparison of a data set, and tell of it."""
        from clr_cli.analysis.headline import headline
        from clr_cli.records import DataSet

        place = Path(os.path.relpath(folder, self.folder)).as_posix()
        self.data_sets.append(DataSet(name=name, folder=place, summary=summary))
        terminal.note(f"{name}: {headline(summary)}\n")

    def conclude(self, *, as_json: bool) -> None:
        """Combine the comparisons, write and print what holds on all data sets.

        Raises:
            typer.Exit: the result is not as expected (exit code 4), or cannot tell (3).
        """
        from clr_cli.analysis import expectation
        from clr_cli.analysis.across import combine
        from clr_cli.cli import show
        from clr_cli.records import Reproduce
        from clr_cli.report import across, index

        again = Reproduce(command=options.command_line())
        combination = combine(self.experiment.name, self.data_sets).model_copy(
            update={"reproduce": again}
        )
        written = across.write(self.folder, combination)
        index.write(self.experiment.output_dir)
        if as_json:
            print(json.dumps(combination.plain(), indent=2))
        else:
            show.print_combination(combination)
            terminal.paths(written)
        if self.expect is not None:
            summaries = {data.name: data.summary for data in self.data_sets}
            code, text = expectation.verdict_on_all(summaries, self.expect)
            if code:
                terminal.error(text)
                raise typer.Exit(code)
