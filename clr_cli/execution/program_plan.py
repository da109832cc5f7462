"""Plan the runs of a user's program: pure values, made before anything starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from clr_cli.analysis.lattice import Probe
from clr_cli.analysis.lattice import rate as lattice_rate
from clr_cli.config.program import RATE, ProgramConfig, ProgramSearch
from clr_cli.execution.plan import RunOptions, Runs
from clr_cli.execution.program import Program


@dataclass(frozen=True, kw_only=True)
class ProgramPlan(Runs):
    """The runs of a program's comparison. started_in: the folder in which they are started."""

    config: ProgramConfig
    options: RunOptions
    arms: Mapping[str, Mapping[str, str]]
    started_in: Path = field(default_factory=Path.cwd)

    def runs(self, threads: int | None, *, alone: bool = True) -> list[Program]:
        """Return the runs to execute, each with so many CPU threads; alone: one at a time."""
        return [
            Program(
                path=self.options.experiment.run(arm, seed),
                seed=seed,
                device=self.options.device,
                threads=threads,
                overwrite=self.options.overwrite,
                command=self.config.command,
                arm=arm,
                values=self.arms[arm],
                metric=self.config.metric.name,
                reads=tuple(self.config.read),
                folder=self.started_in,
                time_limit=self.config.time_limit,
                alone=alone,
            )
            for arm, seed in self.wanted
        ]

    @property
    def folder(self) -> Path:
        """The folder in which the comparison is written."""
        return self.options.experiment.comparison()


def plan_program(
    config: ProgramConfig, options: RunOptions, *, only: Sequence[str] = ()
) -> ProgramPlan:
    """Return the plan of a program's comparison. Raises InputError for an unknown run."""
    whole = ProgramPlan(
        config=config,
        options=options,
        arms=config.ordered,
        seeds=tuple(config.compare.seed_list),
        cap=config.compare.cap,
    )
    return whole.with_only(only)


@dataclass(frozen=True, kw_only=True)
class ProgramProbes:
    """The runs of a program that a search for its rates asks for."""

    config: ProgramSearch
    options: RunOptions
    started_in: Path = field(default_factory=Path.cwd)

    def task(self, probe: Probe, threads: int | None, *, alone: bool) -> Program:
        """Return the run of a probe."""
        rate, seed = lattice_rate(probe[0]), probe[1]
        return Program(
            path=self.options.experiment.program_probe(f"lr-{rate:.6g}", seed),
            seed=seed,
            device=self.options.device,
            threads=threads,
            overwrite=self.options.overwrite,
            command=self.config.command,
            arm=f"lr {rate:.6g}",
            values={**self.config.values, RATE: repr(rate)},
            metric=self.config.metric.name,
            reads=tuple(self.config.read),
            folder=self.started_in,
            time_limit=self.config.time_limit,
            alone=alone,
        )
