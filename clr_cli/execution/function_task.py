"""A task that calls a function of the user's. A finished call is never made again.

A call leaves nothing before it has ended: one that was interrupted is made again from its start.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import pickle
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from clr_cli.errors import InputError
from clr_cli.execution.fingerprint import Fingerprint
from clr_cli.execution.rows import Rows, clean_row, count_on, numbers
from clr_cli.execution.run_directory import RunDirectory
from clr_cli.execution.task import ArmTask, Event
from clr_cli.files import write_json
from clr_cli.records import FunctionResult, Row, RunRecord, read
from clr_cli.training.ranks import Ranks

REMEDY = "delete its folder to make the call again"


class Call:
    """A function that can be sent to a worker. It is unpacked there when it is first called."""

    def __init__(self, function: Callable[..., Any] | None, packed: bytes = b"") -> None:
        self._function, self._packed = function, packed

    def __call__(self, *given: Any) -> Any:
        if self._function is None:
            self._function = pickle.loads(self._packed)
        return self._function(*given)

    def __reduce__(self) -> tuple[type[Call], tuple[None, bytes]]:
        return Call, (None, self.pack())

    def pack(self) -> bytes:
        """Return the function as bytes, a function of a script or a notebook as well.

        Raises:
            InputError: cloudpickle is not installed, or cannot pack the function.
        """
        if not self._packed:
            try:
                import cloudpickle
            except ImportError:
                raise InputError(
                    "functions reach other processes by cloudpickle, which is not installed: "
                    "pip install cloudpickle, or leave out jobs=",
                    key="jobs",
                ) from None
            try:
                self._packed = cloudpickle.dumps(self._function)
            except Exception as error:  # whatever an object raises when it is pickled
                text = f"cannot be sent to another process: {error}; leave out jobs="
                raise InputError(text, key=getattr(self._function, "__name__", "jobs")) from None
        return self._packed


class Raised:
    """An exception of the user's function on its way to the caller."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        text = "".join(traceback.format_exception(self.error))
        try:
            import cloudpickle

            packed = cloudpickle.dumps(self.error)
            pickle.loads(packed)
        except Exception:  # it cannot be sent: its text can
            packed = pickle.dumps(RuntimeError(text))
        return _raised, (packed, text)


def _raised(packed: bytes, text: str) -> Raised:
    raised = Raised(pickle.loads(packed))
    raised.error.add_note(f"In a worker process:\n{text}")
    return raised


@dataclass(frozen=True, kw_only=True)
class FunctionTask(ArmTask):
    """A call of a function.

    call: the function. given: its arguments. made_from: what the function is made from. metric:
    what every call must give.
    """

    call: Call
    given: tuple[Any, ...]
    made_from: Fingerprint
    metric: str
    again: ClassVar[str] = "calling the function again"

    @property
    def directory(self) -> RunDirectory:
        ways = f"delete {self.path.parent} to start over, or keep both with another directory"
        return RunDirectory(self.path, ways)

    def tree(self) -> dict[str, Any]:
        """Return what the folder is kept under, beside the function's code."""
        version = ".".join(map(str, sys.version_info[:2]))  # the compiled code is that version's
        kept = {"arm": self.arm, "seed": self.seed, "given": [*self.given], "python": version}
        return {**kept, "values": self.made_from.values, "fingerprint": 2}

    def prepare(self) -> None:
        """Claim the folder. An unfinished call has left nothing that counts."""
        directory, tree, origin = self.directory, self.tree(), {"code": self.made_from.code}
        there = directory.read_config() if directory.finished else None
        if there is not None and "fingerprint" not in there:  # the first form saw fewer things
            del tree["fingerprint"]
            tree["values"] = _only(tree["values"], there.get("values"))
            origin["code"] = _only(origin["code"], directory.read_origin().get("code"))
        directory.prepare(tree, origin, overwrite=not directory.finished)

    def work(self, index: int, _: Ranks) -> Iterator[Event]:
        """Call the function and keep what it gives."""
        yield Event(index, "start", 0)
        self._share_cores()
        rows, error, begun = Rows(), None, time.perf_counter()
        try:
            given = self.call(*self.given)
            if given is None:
                error = "returned None"
                yield Event(index, "note", f"{self.name}: {error}; the run counts as failed")
            for row in () if given is None else rows_of(given, self.metric, self.name):
                yield Event(index, "row", dict(rows.add(row)))
        except ArithmeticError as raised:  # such as FloatingPointError: a loss that overflows
            error = f"{type(raised).__name__}: {raised}"[:1000]
        except Exception as raised:
            yield Event(index, "raised", Raised(raised))
            yield Event(index, "end", "failed")
            return
        self.directory.take_metrics(count_on(rows.all))
        write_json(
            self.directory.result_path,
            {
                "schema": 1,
                "status": "finished" if error is None else "diverged",
                "arm": self.arm,
                "seed": self.seed,
                "points": len(rows.all),
                "error": error,
                "train_seconds": time.perf_counter() - begun,
            },
        )
        yield Event(index, "end", self.record().status)

    def _share_cores(self) -> None:
        """Keep a worker to its share of the cores, as far as the function's libraries listen."""
        if multiprocessing.parent_process() is None or self.threads is None:
            return
        os.environ.setdefault("OMP_NUM_THREADS", str(self.threads))
        if torch := sys.modules.get("torch"):
            torch.set_num_threads(self.threads)

    def record(self) -> RunRecord:
        """Return what the call came to. Raises InputError for rows without the metric."""
        if not self.directory.finished:
            return RunRecord(self.arm, self.seed, "failed", [], {})
        self.directory.read_result()
        result = read(FunctionResult, self.directory.result_path, remedy=REMEDY).plain()
        rows = self.directory.read_metrics()
        final = {key: value for row in rows for key, value in row.items()}
        if self.metric not in final and result["error"] is None:
            known = ", ".join(numbers(rows)[:20]) or "nothing"
            raise InputError(f"{self.name}: no row contains {self.metric}; there is {known}")
        value = final.setdefault(self.metric, math.nan)
        trained = result["error"] is None and math.isfinite(value)
        status = "finished" if trained else "diverged"
        return RunRecord(self.arm, self.seed, status, rows, {**result, "final": final})  # type: ignore[arg-type]


def _only(seen: Mapping[str, str], there: Any) -> dict[str, str]:
    return {key: text for key, text in seen.items() if key in (there or ())}


def number(value: Any) -> float | None:
    """Return a number as a float, also one in a tensor or an array; None for anything else.

    >>> number(10**400), number("1.5")
    (inf, None)
    """
    if isinstance(value, str | bytes):
        return None
    item = getattr(value, "item", None)
    try:
        return float(item() if callable(item) else value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
    except (TypeError, ValueError, RuntimeError):  # such as a tensor of several numbers
        return None


def rows_of(given: Any, metric: str, who: str) -> Iterator[Row]:
    """Yield what a function returned as rows of numbers; ``who``: the call, for errors.

    Text and what else is no number is left out; so is None, a missing value. A metric that is
    missing in every row is nan at the end.

    Raises:
        ValueError: it is neither a number nor rows of numbers, or the metric is not a number.
    """
    if (value := number(given)) is not None:
        given = {metric: value}
    if isinstance(given, Mapping):
        given = [given]
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise ValueError(f"{who}: {given!r:.60} is neither a number nor rows of numbers")
    measured = missing = False
    for row in given:
        if not isinstance(row, Mapping):
            raise ValueError(f"{who}: a row must be a mapping of numbers by name, not {row!r:.60}")
        found = {key: each for key, raw in row.items() if (each := number(raw)) is not None}
        if metric in row and metric not in found:
            if row[metric] is not None:
                raise ValueError(f"{who}: {metric}: {row[metric]!r:.60} is not a number")
            missing = True
        measured = measured or metric in found
        if numeric := clean_row(found):
            yield numeric
    if missing and not measured:
        yield {metric: math.nan}
