"""Define the task that runs a user's program: a command, an arm's values and a seed.

The program writes rows to ``{out}``, or prints numbers that the patterns of ``--read`` find. A
finished run is never repeated. A killed one is started again in the same folder, so that a program
with checkpoints can continue.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import signal
import subprocess
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, ClassVar

from clr_cli import interrupt
from clr_cli.config.hints import did_you_mean
from clr_cli.config.program import arguments, patterns
from clr_cli.errors import EnvironmentFailure, InputError
from clr_cli.execution import program_process as process
from clr_cli.execution.output import Tail, from_text, last_lines, suggest
from clr_cli.execution.rows import Rows, count_on, find_rows, from_json, is_json_lines, numbers
from clr_cli.execution.task import RETRIES, ArmTask, Event, Task
from clr_cli.files import open_own, write_json
from clr_cli.format import duration
from clr_cli.paths import CONFIG, PROGRAM_LOG, PROGRAM_OUT, PROGRAM_SECONDS
from clr_cli.records import ProgramResult, RunRecord, read
from clr_cli.training.stream import Turn

if TYPE_CHECKING:
    from clr_cli.training.ranks import Ranks

SHOWN = 10  # lines of a failed program's log
SEARCHED = 200  # last lines of a log in which the metric is searched
# Signals that others send, so the run may be tried again.
KILLS = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, kw_only=True)
class Program(ArmTask):
    """A run of a program.

    values: the arm's placeholders, as text. metric: a number that every run must report. reads:
    patterns for its output. folder: its working directory. time_limit: seconds after which it is
    stopped. alone: whether it may use all GPUs.
    """

    command: str
    values: Mapping[str, str]
    metric: str
    reads: tuple[str, ...] = ()
    folder: Path = field(default_factory=Path.cwd)
    time_limit: float | None = None
    alone: bool = True
    takes_turns: ClassVar[bool] = True
    only_waits: ClassVar[bool] = True
    again: ClassVar[str] = "starting the program again"

    @property
    def log(self) -> Path:
        """The file with the program's output."""
        return self.path / PROGRAM_LOG

    @property
    def out(self) -> Path:
        """The path of ``{out}``, where the program makes a file or a folder."""
        return self.path / PROGRAM_OUT

    @property
    def argv(self) -> list[str]:
        """The words of the executed command line."""
        values = {**self.values, "seed": str(self.seed), "out": str(self.out.resolve())}
        return arguments(self.command, values)

    def tree(self) -> dict[str, Any]:
        """Return what determines the run; another time limit makes another run."""
        limit = {} if self.time_limit is None else {"time_limit": self.time_limit}
        return {"command": self.command, "arm": dict(self.values), "seed": self.seed, **limit}

    def prepare(self) -> None:
        """Claim the folder; to start over, first wait for the end of an earlier program in it."""
        with contextlib.ExitStack() as held:
            if self.overwrite:
                fcntl.flock(held.enter_context(process.lock_of(self.path)), fcntl.LOCK_EX)
            super().prepare()

    def is_complete(self) -> bool:
        """Return whether the run is complete; read its rows anew if the patterns changed."""
        if not self.directory.finished:
            return False
        result = self._result()
        if result["read"] != list(self.reads):
            rows = self._save_rows(self._read(ended=True))
            write_json(
                self.directory.result_path,
                {**result, "read": list(self.reads), "points": rows},
            )
        self.record()  # raises where the metric is missing
        return True

    def work(self, index: int, _: Ranks) -> Iterator[Event | Turn]:
        """Run the program to its end; start it once more if somebody killed it."""
        rows = self._read()
        yield Event(index, "start", len(rows.all))
        try:
            with interrupt.deferred():
                for attempt in range(1 + RETRIES):
                    code, late = yield from self._run(index, rows)
                    if late or code - 128 not in KILLS or attempt == RETRIES:
                        break
                    killed = signal.Signals(code - 128).name
                    yield Event(index, "note", f"{self.name}: killed by {killed}; started again")
        except BaseException:
            if not rows.all and not self.out.exists():
                self._release()
            raise
        if not self.reads:  # the program may have written the file anew, or in another format
            rows = self._read(ended=True)
        points = self._save_rows(rows)
        seconds = process.Clock(self.path / PROGRAM_SECONDS).seconds
        if late and rows.all:
            yield Event(index, "note", f"{self.name}: stopped by the time limit; its rows count")
        elif late or code:
            yield Event(index, "note", self._failure(code, late))
            if not rows.all:
                self._release()
            yield Event(index, "end", "failed")
            return
        write_json(
            self.directory.result_path,
            {
                "schema": 1,
                "status": "finished",
                "arm": self.arm,
                "seed": self.seed,
                "points": points,
                "read": list(self.reads),
                "train_seconds": seconds,
            },
        )
        if not any(self.metric in row for row in rows.all):
            yield Event(index, "note", self._log_end(f"{self.name}: {self.log} ends:"))
        yield Event(index, "end", self.record().status)

    def _result(self) -> dict[str, Any]:
        """Return the finished run's result. Raises InputError for a damaged one."""
        self.directory.read_result()
        return read(ProgramResult, self.directory.result_path, remedy=process.REMEDY).plain()

    def record(self) -> RunRecord:
        """Return the run's record. Raises InputError for a finished run without the metric.

        A failed run without rows failed before its first row.
        """
        rows = self.directory.read_metrics()
        for row in rows:
            for key, value in row.items():
                if isinstance(value, bool) or not isinstance(value, int | float):
                    path = self.directory.metrics_path
                    raise InputError(
                        f"{value!r:.60} is not a number; {process.REMEDY}", key=key, source=path
                    )
        if not self.directory.finished:
            return RunRecord(self.arm, self.seed, "failed", rows, {})
        result = self._result()
        final = {key: value for row in rows for key, value in row.items()}
        if self.metric not in final:
            source = self.log if self.reads or not self.out.exists() else self.out
            raise InputError(self._without_metric(rows), source=source)
        status = "finished" if math.isfinite(final[self.metric]) else "diverged"
        return RunRecord(self.arm, self.seed, status, rows, {**result, "final": final})  # type: ignore[arg-type]

    def _without_metric(self, rows: list[dict[str, float]]) -> str:
        """Return a message for a run that ended well without the metric: what to do."""
        what, known = "no row of numbers was found", numbers(rows)
        remedy = "; check the --read patterns" if self.reads else "; have it write rows to {out}"
        if known:
            remedy = did_you_mean(self.metric, known) if len(known) > 9 else ""
            what = f"wrote no {self.metric}; its rows contain {', '.join(known[:20])}"
        if suggestion := suggest(last_lines(self.log, SEARCHED), self.metric):
            line, pattern = suggestion
            found = f"the log has {line.strip()[:120]!r}, which --read {quote(pattern)} reads"
            remedy = f"{remedy if known else ''}; {found}"
        return f"{self.name} ended with exit code 0, but {what}{remedy}"

    def _release(self) -> None:
        """Free the folder for another command: this one left nothing of use in it."""
        for name in (CONFIG, PROGRAM_SECONDS):
            (self.path / name).unlink(missing_ok=True)

    def _failure(self, code: int, late: bool) -> str:
        if late:
            limit = duration(self.time_limit or 0)
            return self._log_end(f"{self.name}: no row within {limit}; {self.log} ends:")
        why = f"exit code {code}"
        with contextlib.suppress(ValueError):
            why += f", {signal.Signals(code - 128).name}"
        return self._log_end(f"{self.name}: failed ({why}); {self.log} ends:")

    def _log_end(self, head: str) -> str:
        return "\n  ".join([head, *(last_lines(self.log, SHOWN) or ["(empty)"])])

    def _run(self, index: int, rows: Rows) -> Generator[Event | Turn, None, tuple[int, bool]]:
        """Run the program once, and yield its rows as they come.

        Returns its exit code, and whether the time limit stopped it.
        """
        with contextlib.closing((yield from process.wait_for_earlier(self.path))) as lock:
            source, parse = self._source()
            process.drop_cut_line(source)
            if not rows.all:  # an earlier start left no rows
                self.log.unlink(missing_ok=True)
            tail = Tail(source)
            tail.lines()  # these lines are in the rows already
            clock, running = process.Clock(self.path / PROGRAM_SECONDS), process.Running()
            with open(open_own(self.log, os.O_WRONLY | os.O_APPEND), "ab") as log:
                program = self._start(running, log.fileno(), lock.fileno())
        late = False
        try:
            while True:
                ended = program.poll() is not None
                for line in tail.lines(ended=ended):
                    for row in parse(line):
                        yield Event(index, "row", dict(rows.add(row)))
                    interrupt.check()
                if ended:
                    return program.returncode, late
                if self.time_limit is not None and clock.seconds >= self.time_limit:
                    late = True
                    running.end()
                interrupt.check()
                clock.save()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    program.wait(process.PAUSE)
                yield Turn.WAITING
        except BaseException:
            process.Running.end_all()  # whatever ends this one ends all, so end them together
            raise
        finally:
            running.end()
            program.wait()
            clock.save(now=True)

    def _start(self, running: process.Running, log: int, lock: int) -> subprocess.Popen[bytes]:
        try:
            env = self._environment(running.slot)
            return running.start(self.argv, folder=self.folder, log=log, lock=lock, env=env)
        except (OSError, ValueError) as error:
            raise EnvironmentFailure(f"{self.name}: cannot be started: {error}") from None

    def _environment(self, slot: int) -> dict[str, str]:
        """Return the user's environment, with unbuffered output and a share of cores and GPUs."""
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        if self.threads is not None:
            environment.setdefault("OMP_NUM_THREADS", str(self.threads))
        if not self.alone and (gpus := process.gpus()):
            environment["CUDA_VISIBLE_DEVICES"] = gpus[slot % len(gpus)]
        return environment

    def _source(self) -> tuple[Path, Any]:
        """Return the file to follow while the program runs, and the parser of its lines."""
        if not self.reads:
            return self.out, lambda line: [row] if (row := from_json(line)) else []
        wanted = patterns(self.reads)
        return self.log, lambda line: from_text(line, wanted)

    def _read(self, *, ended: bool = False) -> Rows:
        """Return the rows so far; if ``ended``, also one whose line has no end."""
        if not self.reads and not is_json_lines(self.out):
            return Rows(find_rows(self.out, self.metric))
        source, parse = self._source()
        lines = Tail(source).lines(ended=ended)
        return Rows(row for line in lines for row in parse(line))

    def _save_rows(self, rows: Rows) -> int:
        """Write the rows to metrics.jsonl, and return their number."""
        self.directory.take_metrics(count_on(rows.all))
        return len(rows.all)


class FirstRuns:
    """Stop a comparison if the first run of every arm fails before its first row.

    Pass the engine's events, each with its run, to `feed`.
    """

    def __init__(self, arms: Iterable[str]) -> None:
        self._arms = [*arms]
        self._waiting = {*self._arms}  # arms without such a failure
        self._works = False  # whether any run has written a row

    def feed(self, run: Task, event: Event) -> None:
        """Raise InputError once every arm has failed."""
        assert isinstance(run, Program)
        self._works |= event.kind == "row" or (event.kind == "start" and event.value > 0)
        self._works |= event.kind == "end" and event.value != "failed"
        if self._works or event.kind != "end":
            return
        self._waiting.discard(run.arm)
        if not self._waiting:
            raise InputError(
                f"the first run of every arm ({', '.join(self._arms)}) failed before writing a "
                f"row; see {run.log}, fix the command, and run it again (--dry-run tries one run)"
            )
