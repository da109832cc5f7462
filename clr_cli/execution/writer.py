"""Write a run's rows and checkpoints in a thread, while the run goes on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, Future
from typing import Any

from clr_cli.execution.run_directory import RunDirectory
from clr_cli.records import Row
from clr_cli.training.stream import Fence, Turn


class Writer:
    """Write one row and its checkpoint at a time, in a thread that the caller ends."""

    def __init__(self, directory: RunDirectory, thread: Executor) -> None:
        self._directory, self._thread = directory, thread
        self._row: Row | None = None
        self._written: Future[None] | None = None

    def write(self, row: Row, state: Mapping[str, Any], there: Fence) -> None:
        """Begin to write, after ``collect``. The state can be read once ``there`` is reached."""
        assert self._written is None
        self._row, self._written = row, self._thread.submit(self._write, row, state, there)

    def _write(self, row: Row, state: Mapping[str, Any], there: Fence) -> None:
        self._directory.append_metrics(row)  # before its checkpoint: a kill leaves no gap
        there.wait()
        self._directory.save_checkpoint(state)

    def poll(self) -> Row | None:
        """Return the last row once it is on disk, only once. Raises EnvironmentFailure."""
        if self._written is None or not self._written.done():
            return None
        done, self._written = self._written, None
        done.result()
        return self._row

    def collect(self) -> Iterator[Row | Turn]:
        """Yield turns until the last row is on disk, then yield that row."""
        while self._written is not None:
            yield self.poll() or Turn.WAITING
