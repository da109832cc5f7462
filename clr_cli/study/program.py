"""Take a study's runs from a user's program: one command, with its values in every arm."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clr_cli.analysis.lattice import Probe
from clr_cli.analysis.lattice import rate as lattice_rate
from clr_cli.analysis.study import Facts, Study
from clr_cli.config.program import RATE, ProgramConfig, ProgramSearch
from clr_cli.config.yaml_text import dump
from clr_cli.errors import EnvironmentFailure
from clr_cli.execution.program import Program
from clr_cli.execution.task import TaskOptions
from clr_cli.records import ControlledVariables, Metric, RunRecord
from clr_cli.study.functions import versions

SHOWN = 60  # characters of the command in a sentence; the end of the page shows all of it


def study_of(config: ProgramConfig) -> Study:
    """Return the study that a program's config describes."""
    given = config.compare
    return Study(
        name=config.name,
        arms=tuple(config.ordered),
        baseline=config.baseline,
        seeds=tuple(given.seed_list),
        metric=Metric(**config.metric.model_dump()),
        cap=given.cap,
        paired=given.paired,
        target=given.target,
        margin=given.margin,
        detect=given.detect,
    )


@dataclass(frozen=True, kw_only=True)
class ProgramRuns:
    """How the runs of a program are started.

    Attributes:
        options: options of every task.
        threads: CPU threads of a run.
        alone: whether runs are executed one at a time.
        started_in: the working directory of the program.
    """

    options: TaskOptions
    threads: int | None = None
    alone: bool = True
    started_in: Path = field(default_factory=Path.cwd)

    def program(self, config: ProgramConfig | ProgramSearch, path: Path, **run: Any) -> Program:
        """Return the task of a folder; ``run``: its arm, values and seed."""
        return Program(
            **self.options.of_task(path, self.threads),
            command=config.command,
            metric=config.metric.name,
            reads=tuple(config.read),
            folder=self.started_in,
            time_limit=config.time_limit,
            alone=self.alone,
            **run,
        )


@dataclass(frozen=True, kw_only=True)
class ProgramSource(ProgramRuns):
    """The runs of a comparison of settings of one program."""

    config: ProgramConfig

    def task(self, arm: str, seed: int) -> Program:
        path, values = self.options.experiment.run(arm, seed), self.config.arms[arm]
        return self.program(self.config, path, arm=arm, values=values, seed=seed)

    def record(self, arm: str, seed: int) -> RunRecord:
        return self.task(arm, seed).record()

    def facts(self, records: Sequence[RunRecord]) -> Facts:
        config = self.config
        keys = dict.fromkeys(key for values in config.arms.values() for key in values)
        differing = [
            f"{key}: {', '.join(f'{arm} {values[key]}' for arm, values in config.ordered.items())}"
            for key in keys
            if len({values[key] for values in config.arms.values()}) > 1
        ]
        paired = "runs of one seed share their randomness, as --paired says"
        return Facts(
            shared=ControlledVariables(
                source=textwrap.shorten(config.command, SHOWN, placeholder=" ..."),
                varied=differing[0] if differing else "nothing: all arms have the same values",
                also_differs=differing[1:],
                determinism=paired if config.compare.paired else None,
                versions=versions(),
            ),
            config=dump(config.model_dump(mode="json", exclude_none=True)),
        )

    def without_baseline(self, baseline: str) -> EnvironmentFailure:
        log = self.task(baseline, self.config.compare.seed_list[0]).log
        return EnvironmentFailure(f"no run of the baseline {baseline} finished; see {log}")


@dataclass(frozen=True, kw_only=True)
class ProgramProbes(ProgramRuns):
    """The runs of a program at single rates."""

    config: ProgramSearch

    def task(self, probe: Probe) -> Program:
        rate, seed = lattice_rate(probe[0]), probe[1]
        return self.program(
            self.config,
            self.options.experiment.program_probe(f"lr-{rate:.6g}", seed),
            arm=f"lr {rate:.6g}",
            values={**self.config.values, RATE: repr(rate)},
            seed=seed,
        )
