"""A task that runs a program of the user's: a command, an arm's values and a seed.

The program writes JSONL rows to ``{out}``, or prints what the patterns of ``--read`` find. A
finished one is never run again. One that was killed is started again in the same folder, so that
it can go on by its own means.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ClassVar

from clr_cli import interrupt
from clr_cli.config.hints import did_you_mean
from clr_cli.config.program import arguments, patterns
from clr_cli.errors import EnvironmentFailure, InputError
from clr_cli.execution import keeper
from clr_cli.execution.rows import Rows, Tail, from_json, from_text, last_lines, numbers
from clr_cli.execution.task import RETRIES, Event, Task
from clr_cli.files import open_own, refuse_link, write_atomic, write_json
from clr_cli.paths import PROGRAM_LOG, PROGRAM_OUT, PROGRAM_SECONDS
from clr_cli.records import ProgramResult, ProgramSeconds, RunRecord, read
from clr_cli.training.lane import Turn

if TYPE_CHECKING:
    from clr_cli.training.ranks import Ranks

GRACE = 10.0  # seconds between SIGTERM and SIGKILL
PAUSE = 0.02  # seconds between two looks at what it has written
SHOWN = 10  # lines of the log of a program that has failed
REMEDY = "delete the run's folder and run again"  # where a file of it is damaged
CLOCK_SECONDS = 10.0  # how often the time that it has taken is saved


@dataclass(frozen=True, kw_only=True)
class Program(Task):
    """A run of the program.

    values: of the arm's placeholders, as text. metric: what every run must tell. reads: patterns
    for what it prints. folder: where it is started. alone: whether it may have all GPUs.
    """

    command: str
    arm: str
    values: Mapping[str, str]
    metric: str
    reads: tuple[str, ...] = ()
    folder: Path = field(default_factory=Path.cwd)
    alone: bool = True
    takes_turns: ClassVar[bool] = True
    only_waits: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return f"{self.arm}, seed {self.seed}"

    @property
    def log(self) -> Path:
        return self.path / PROGRAM_LOG

    @property
    def out(self) -> Path:
        return self.path / PROGRAM_OUT

    def tree(self) -> dict[str, Any]:
        return {"command": self.command, "arm": dict(self.values), "seed": self.seed}

    def settled(self) -> bool:
        """Whether nothing is left to do. Its rows are read anew where other patterns are given."""
        if not self.directory.finished:
            return False
        result = self._result()
        if result["read"] != list(self.reads):
            rows = self._read()
            self._keep(rows)
            write_json(
                self.directory.result_path,
                {**result, "read": list(self.reads), "points": len(rows.all)},
            )
        self.record()  # raises where the metric is missing
        return True

    def work(self, index: int, _: Ranks) -> Iterator[Event | Turn]:
        rows = self._read()
        yield Event(index, "start", len(rows.all))
        code = 0
        with interrupt.deferred():
            for attempt in range(1 + RETRIES):
                code = yield from self._run(index, rows)
                if code <= 128 or attempt == RETRIES:
                    break
                yield Event(
                    index, "note", f"{self.name}: killed by signal {code - 128}; started again"
                )
        self._keep(rows)
        if code:
            shown = "".join(f"\n  {line}" for line in last_lines(self.log, SHOWN))
            yield Event(
                index, "note", f"{self.name}: failed (exit code {code}); {self.log} ends:{shown}"
            )
            yield Event(index, "end", "failed")
            return
        write_json(
            self.directory.result_path,
            {
                "schema": 1,
                "status": "finished",
                "arm": self.arm,
                "seed": self.seed,
                "points": len(rows.all),
                "read": list(self.reads),
                "train_seconds": _Clock(self.path / PROGRAM_SECONDS).before,
            },
        )
        yield Event(index, "end", self.record().status)

    def _result(self) -> dict[str, Any]:
        """Return the finished run's result. Raises InputError for a damaged one."""
        self.directory.read_result()
        return read(ProgramResult, self.directory.result_path, remedy=REMEDY).plain()

    def record(self) -> RunRecord:
        """What the run came to. Raises InputError for a finished one that told no metric."""
        rows = self.directory.read_metrics()
        for row in rows:
            for key, value in row.items():
                if isinstance(value, bool) or not isinstance(value, int | float):
                    path = self.directory.metrics_path
                    raise InputError(
                        f"{value!r:.60} is not a number; {REMEDY}", key=key, source=path
                    )
        if not self.directory.finished:
            return RunRecord(self.arm, self.seed, "failed", rows, {})
        result = self._result()
        kept = Rows()
        kept.all = rows
        final = kept.final()
        if self.metric not in final:
            raise InputError(self._untold(rows), source=self.log if self.reads else self.out)
        value = final[self.metric]
        status = "finished" if abs(value) < float("inf") else "diverged"
        return RunRecord(self.arm, self.seed, status, rows, {**result, "final": final})  # type: ignore[arg-type]

    def _untold(self, rows: list[dict[str, float]]) -> str:
        known = numbers(rows)
        how = "change --read" if self.reads else "give --read for what it prints"
        if not known:
            return f"{self.name} ended well, but no row of numbers was found; {how}"
        return (
            f"{self.name} ended well, but told no {self.metric}; its rows hold "
            f"{', '.join(known)}{did_you_mean(self.metric, known) if len(known) > 9 else ''}"
        )

    def _run(self, index: int, rows: Rows) -> Generator[Event | Turn, None, int]:
        """Run it once, telling its rows as they come; its exit code."""
        with contextlib.closing((yield from _ended_before(self.path))) as lock:
            for path, _ in self._sources():
                _drop_cut_line(path)
            tails = [(Tail(path), parse) for path, parse in self._sources()]
            for tail, _ in tails:  # what is there already is in the rows
                tail.lines()
            running = _Running()
            with open(open_own(self.log, os.O_WRONLY | os.O_APPEND), "ab") as log:
                process = self._start(log.fileno(), running, lock.fileno())
        clock = _Clock(self.path / PROGRAM_SECONDS)
        try:
            while True:
                ended = process.poll() is not None
                for tail, parse in tails:
                    for line in tail.lines(ended=ended):
                        for row in parse(line):
                            whole = rows.add(row)
                            yield Event(index, "row", dict(whole))
                if ended:
                    return process.returncode
                interrupt.check()
                clock.save()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(PAUSE)
                yield Turn.WAITING
        except BaseException:
            _Running.end_all()  # whatever ends this one ends all: they end side by side
            raise
        finally:
            running.end()
            process.wait()
            clock.save(now=True)

    def _start(self, log: int, running: _Running, lock: int) -> subprocess.Popen[bytes]:
        given = {**self.values, "seed": str(self.seed), "out": str(self.out.resolve())}
        argv = arguments(self.command, given)
        kept = [sys.executable, "-I", "-S", keeper.__file__, str(GRACE), str(lock), *argv]
        try:
            return subprocess.Popen(
                kept,
                stdin=running.held,
                stdout=log,
                stderr=log,
                pass_fds=[lock],
                cwd=self.folder,
                env=self._environment(running.slot),
                start_new_session=True,
            )
        except OSError as error:
            running.end()
            raise EnvironmentFailure(f"{self.name}: cannot be started: {error}") from None
        finally:
            os.close(running.held)

    def _environment(self, slot: int) -> dict[str, str]:
        """The user's, with output that comes at once, and a share of the cores and GPUs."""
        given = {**os.environ, "PYTHONUNBUFFERED": "1"}
        if self.threads is not None:
            given.setdefault("OMP_NUM_THREADS", str(self.threads))
        if not self.alone and (gpus := _gpus()):
            given["CUDA_VISIBLE_DEVICES"] = gpus[slot % len(gpus)]
        return given

    def _sources(self) -> list[tuple[Path, Any]]:
        """The files with rows, and what makes rows of a line of each."""
        if not self.reads:
            return [(self.out, lambda line: [row] if (row := from_json(line)) else [])]
        wanted = patterns(self.reads)
        return [(self.log, lambda line: from_text(line, wanted))]

    def _read(self) -> Rows:
        """The rows that are there."""
        rows = Rows()
        for path, parse in self._sources():
            for line in Tail(path).lines(ended=self.directory.finished):
                for row in parse(line):
                    rows.add(row)
        return rows

    def _keep(self, rows: Rows) -> None:
        text = "".join(json.dumps(row) + "\n" for row in rows.all)
        write_atomic(self.directory.metrics_path, text)


class _Clock:
    """How long a program has run, over all its starts; on disk, so that a kill loses little."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.before = read(ProgramSeconds, path, remedy=REMEDY).seconds if path.exists() else 0.0
        self._started = self._saved = time.monotonic()

    def save(self, *, now: bool = False) -> None:
        time_is = time.monotonic()
        if now or time_is - self._saved >= CLOCK_SECONDS:
            self._saved = time_is
            write_json(self.path, {"seconds": self.before + time_is - self._started})


class _Running:
    """What keeps a program running: a pipe that is held open. slot: its number among several."""

    _all: ClassVar[list[_Running]] = []

    def __init__(self) -> None:
        self.held, self._pipe = os.pipe()
        taken = {each.slot for each in self._all}
        self.slot: int = next(slot for slot in itertools.count() if slot not in taken)
        self._all.append(self)

    def end(self) -> None:
        """Let the keeper end it, if it still runs."""
        if self in self._all:
            self._all.remove(self)
            os.close(self._pipe)

    @classmethod
    def end_all(cls) -> None:
        for each in tuple(cls._all):
            each.end()


def _ended_before(folder: Path) -> Generator[Turn, None, IO[str]]:
    """Wait until an earlier program of this folder has ended; the file whose lock says so.

    A clr that was killed leaves its program to the keeper, for GRACE seconds at most.
    """
    file = open(open_own(folder / ".program", os.O_RDWR))  # noqa: SIM115 - closed by the caller
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except BlockingIOError:
            interrupt.check()
            time.sleep(PAUSE)
            yield Turn.WAITING


def _drop_cut_line(path: Path) -> None:
    """Cut off a last line without an end, which a kill has left: it may hold half a number."""
    refuse_link(path)
    if path.is_file():
        with open(path, "rb+") as file:
            text = file.read()
            file.truncate(max(text.rfind(b"\n"), text.rfind(b"\r")) + 1)


def _gpus() -> list[str]:
    """The GPUs that programs may use, by the numbers that CUDA knows them by."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [each for each in given.split(",") if each]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]
