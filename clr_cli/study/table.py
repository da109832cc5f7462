"""Take a study's runs from files of results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from clr_cli.analysis.study import Facts, Key
from clr_cli.errors import InputError
from clr_cli.records import ControlledVariables, RunRecord


@dataclass(frozen=True)
class TableSource:
    """The runs of files of results; the files' name, digest, and notes for the page."""

    runs: Sequence[RunRecord]
    metric: str
    name: str
    sha256: str
    notes: Sequence[str] = ()

    @cached_property
    def _by_key(self) -> dict[Key, RunRecord]:
        return {(run.arm, run.seed): run for run in self.runs}

    def task(self, arm: str, seed: int) -> None:
        return None

    def record(self, arm: str, seed: int) -> RunRecord | None:
        return self._by_key.get((arm, seed))

    def facts(self, records: Sequence[RunRecord]) -> Facts:
        arms = len({record.arm for record in records})
        counted = f"{len(records)} runs" + (f" of {arms} arms" if arms > 1 else "")
        source = f"{self.name} ({counted}, sha256 {self.sha256[:12]})"
        shown = source.encode(errors="backslashreplace").decode()  # bytes that are not UTF-8
        return Facts(ControlledVariables(source=shown, notes=[*self.notes]))

    def without_baseline(self, baseline: str) -> InputError:
        text = f"no run of the baseline {baseline} has a {self.metric}"
        return InputError(text, source=self.name)
