"""Runs of Python functions: each call is a task."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from clr_cli import __version__
from clr_cli.analysis.lattice import Probe
from clr_cli.analysis.lattice import rate as lattice_rate
from clr_cli.analysis.study import Facts
from clr_cli.execution.fingerprint import Fingerprint, fingerprint
from clr_cli.execution.function_task import Call, FunctionTask
from clr_cli.files import digest
from clr_cli.paths import Experiment
from clr_cli.records import ControlledVariables, RunRecord

Row = Mapping[str, Any]
Result = Any | Row | Iterable[Row]  # a number, which may be in a tensor, or rows of numbers


@dataclass(frozen=True)
class Function:
    """A function as its calls need it. Make it once: its fingerprint is that of the first look."""

    call: Call
    made_from: Fingerprint

    @staticmethod
    def of(function: Callable[..., Result]) -> Function:
        return Function(Call(function), fingerprint(function))


@dataclass(frozen=True, kw_only=True)
class FunctionRuns:
    """How functions are called.

    Attributes:
        experiment: the folder that keeps the calls.
        metric: the name of what every call gives.
        threads: CPU threads of a call in a process of its own.
        made: the tasks so far.
    """

    experiment: Experiment
    metric: str
    threads: int | None = None
    made: list[FunctionTask] = field(default_factory=list)

    def called(self, function: Function, **about: Any) -> FunctionTask:
        """Return a call; ``about``: its folder, arm, seed and arguments."""
        task = FunctionTask(
            call=function.call,
            made_from=function.made_from,
            metric=self.metric,
            threads=self.threads,
            device="cpu",  # clr's share of it: a function sees to its devices by itself
            **about,
        )
        self.made.append(task)
        return task


@dataclass(frozen=True, kw_only=True)
class FunctionSource(FunctionRuns):
    """The runs of training functions, by arm; each is called with a seed."""

    arms: Mapping[str, Function]

    def task(self, arm: str, seed: int) -> FunctionTask:
        path = self.experiment.run(folder_of(arm), seed)
        return self.called(self.arms[arm], path=path, arm=arm, seed=seed, given=(seed,))

    def record(self, arm: str, seed: int) -> RunRecord:
        return self.task(arm, seed).record()

    def facts(self, records: Sequence[RunRecord]) -> Facts:
        shared = {"source": "functions in Python", "varied": "the function"}
        return Facts(ControlledVariables.model_validate({**shared, "versions": versions()}))

    def without_baseline(self, baseline: str) -> ValueError:
        return ValueError(f"no run of the baseline {baseline} gave a value")


@dataclass(frozen=True, kw_only=True)
class FunctionProbes(FunctionRuns):
    """The runs of a training function at single rates; it is called with a rate and a seed."""

    function: Function

    def task(self, probe: Probe) -> FunctionTask:
        rate, seed = lattice_rate(probe[0]), probe[1]
        path = self.experiment.program_probe(f"lr-{rate:.6g}", seed)
        name = f"lr {rate:.6g}"
        return self.called(self.function, path=path, arm=name, seed=seed, given=(rate, seed))


def folder_of(arm: str) -> str:
    """Return the name of an arm's folder: its own, or a digest of one that cannot be a folder's.

    >>> folder_of("adamw"), folder_of("AdamW (lr 1e-3)")
    ('adamw', 'arm-77c75370')
    """
    plain = re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,99}", arm)
    return arm if plain else f"arm-{digest(arm.encode())[:8]}"


def versions() -> dict[str, str]:
    """Return the versions of clr and Python."""
    return {"clr": __version__, "python": sys.version.split()[0]}
