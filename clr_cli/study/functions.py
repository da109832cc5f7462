"""Runs of Python functions: called in this process, one after the other."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from clr_cli import __version__
from clr_cli.analysis.study import Facts
from clr_cli.records import ControlledVariables, Metric, RunRecord

Row = Mapping[str, float]
Result = float | Row | Iterable[Row]


@dataclass(frozen=True)
class FunctionSource:
    """The runs of training functions, by arm; each is called with a seed."""

    arms: Mapping[str, Callable[[int], Result]]
    metric: Metric

    def task(self, arm: str, seed: int) -> None:
        return None

    def record(self, arm: str, seed: int) -> RunRecord:
        """Call the arm's function. Raises ValueError if its rows do not contain the metric."""
        begun = time.perf_counter()
        rows = rows_of(self.arms[arm](seed), self.metric)
        value = final_value(rows, self.metric, f"{arm}, seed {seed}")
        result = {
            "final": {key: number for row in rows for key, number in row.items()},
            "train_seconds": time.perf_counter() - begun,
        }
        status: Literal["finished", "diverged"] = "finished" if math.isfinite(value) else "diverged"
        return RunRecord(arm, seed, status, rows, result)

    def facts(self, records: Sequence[RunRecord]) -> Facts:
        shared = {"source": "functions in Python", "varied": "the function"}
        return Facts(ControlledVariables.model_validate({**shared, "versions": versions()}))

    def without_baseline(self, baseline: str) -> ValueError:
        return ValueError(f"no run of the baseline {baseline} gave a value")


def rows_of(result: Result, metric: Metric) -> list[dict[str, float]]:
    """Return what a function gave as rows of plain numbers.

    Raises:
        ValueError: a row is not a mapping.
    """
    if isinstance(result, Mapping):
        result = [result]
    if not isinstance(result, Iterable):
        return [{metric.name: float(result)}]
    rows = []
    for row in result:
        if not isinstance(row, Mapping):
            raise ValueError(f"a row must be a mapping of numbers by name, not {row!r}")
        rows.append({key: float(value) for key, value in row.items()})
    return rows


def final_value(rows: Sequence[Row], metric: Metric, who: str) -> float:
    """Return the last value of the metric. Raises ValueError if there is none."""
    values = [row[metric.name] for row in rows if metric.name in row]
    if not values:
        known = ", ".join(dict.fromkeys(key for row in rows for key in row)) or "nothing"
        raise ValueError(f"{who}: no row contains {metric.name}; there is {known}")
    return values[-1]


def versions() -> dict[str, str]:
    """Return the versions of clr and Python."""
    return {"clr": __version__, "python": sys.version.split()[0]}
