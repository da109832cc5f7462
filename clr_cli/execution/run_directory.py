"""The run directory: config, metrics, checkpoint, result, lock. Nothing else writes outputs/.

Whole files are written to a temporary file, synced and renamed, so a kill at any moment leaves
the old file or the new one. ``result.json`` is written last: where it is, the run is finished.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import json
import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clr_cli.config.load import with_defaults
from clr_cli.config.yaml_text import dump, parse_yaml
from clr_cli.errors import EnvironmentFailure, InputError
from clr_cli.files import open_own, read_json, refuse_link, unwritable, write_atomic
from clr_cli.paths import (
    CHECKPOINT,
    CONFIG,
    METRICS,
    PREVIOUS_CHECKPOINT,
    PROGRAM_LOG,
    PROGRAM_OUT,
    PROGRAM_SECONDS,
    RESULT,
    links_to,
)
from clr_cli.records import RunResult, read

# In the order in which they are put in place: a kill in between leaves a run that can go on.
FILES = (
    METRICS,
    PROGRAM_LOG,
    PROGRAM_OUT,
    PROGRAM_SECONDS,
    PREVIOUS_CHECKPOINT,
    CHECKPOINT,
    RESULT,
)

# Where the data lies, how it got there and how steps are taken changes nothing about a result.
_NOT_COMPARED = {"dataset.root", "dataset.download", "training.cuda_graph"}


class Locked(EnvironmentFailure):
    """Another process works on this run right now."""


@dataclass(frozen=True)
class RunDirectory:
    """One run's folder. Every method but ``read_*`` wants the lock held."""

    path: Path

    @property
    def metrics_path(self) -> Path:
        return self.path / METRICS

    @property
    def result_path(self) -> Path:
        return self.path / RESULT

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes off; the lock dies with its process.

        Raises Locked, and InputError for a symbolic link below the experiment's folder.
        """
        try:
            for folder in links_to(self.path):
                refuse_link(folder)
            self.path.mkdir(parents=True, exist_ok=True)
            lock = open_own(self.path / ".lock", os.O_RDWR)
        except OSError as error:
            raise unwritable(self.path, error) from None
        with open(lock) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EACCES):
                    raise EnvironmentFailure(f"{self.path}: no lock: {error.strerror}") from None
                raise Locked(f"{self.path}: another process is working on this run") from None
            yield

    def prepare(self, config: Mapping[str, Any], *, overwrite: bool = False) -> None:
        """Claim the folder for this config. Raises InputError if it holds another experiment."""
        path = self.path / CONFIG
        if overwrite:
            for old in self.path.iterdir():
                if old.name != ".lock":
                    folder = old.is_dir() and not old.is_symlink()
                    shutil.rmtree(old) if folder else old.unlink()
        if not path.exists():
            write_atomic(path, dump(config))
            return
        try:
            there = parse_yaml(path.read_text(encoding="utf-8"), str(path))
        except (InputError, UnicodeDecodeError):
            there = None
        if not isinstance(there, dict):
            raise InputError(
                "damaged; restore it, or delete it if the run was made with the config given now",
                source=path,
            )
        now = parse_yaml(dump(config), "config")
        changes = differences(with_defaults(there, now), now)
        if changes:
            raise InputError(
                f"{self.path} holds another config ({'; '.join(changes)}): "
                "start over with --overwrite, or keep both with another --name"
            )

    def append_metrics(self, row: Mapping[str, float]) -> None:
        line = json.dumps(row) + "\n"
        try:
            with open(open_own(self.metrics_path, os.O_WRONLY | os.O_APPEND), "ab") as file:
                file.write(line.encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            path = self.metrics_path
            raise EnvironmentFailure(f"{path}: cannot be written: {error.strerror}") from None

    def read_metrics(self) -> list[dict[str, float]]:
        """The epochs so far; a last line cut off by a kill is left out."""
        path = self.metrics_path
        if not path.exists():
            return []
        rows = []
        for line in path.read_bytes().splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                break
            if not isinstance(row, dict):
                break
            rows.append(row)
        return rows

    def keep_metrics(self, epochs: int) -> None:
        """Drop what a kill left after the checkpoint of ``epochs`` finished epochs.

        Raises InputError if fewer can be read: a row is on disk before its checkpoint.
        """
        rows = self.read_metrics()
        path = self.metrics_path
        self._check_metrics(rows[:epochs], epochs)
        if path.exists():
            kept = "".join(json.dumps(row) + "\n" for row in rows[:epochs])
            if kept.encode() != path.read_bytes():
                write_atomic(path, kept)

    def _check_metrics(self, rows: Sequence[Mapping[str, Any]], expected: int) -> None:
        if len(rows) != expected:
            raise InputError(
                f"{self.path / 'metrics.jsonl'}: damaged: {len(rows)} of {expected} rows can be "
                "read; start over with --overwrite"
            )

    def save_checkpoint(self, state: Mapping[str, Any]) -> None:
        """Replace checkpoint.pt, keeping the one before it as checkpoint.previous.pt."""
        import torch

        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        self._replace_checkpoint(buffer.getvalue())

    def _replace_checkpoint(self, content: bytes) -> None:
        newest, previous = self._checkpoints
        fresh = newest.with_name("checkpoint.new.pt")
        write_atomic(fresh, content)
        if newest.exists():
            os.replace(newest, previous)
        os.replace(fresh, newest)

    def load_checkpoint(self) -> tuple[dict[str, Any] | None, list[str]]:
        """The newest undamaged checkpoint, or None, and a line on each damaged one.

        A checkpoint is a zip archive, whose members carry CRC-32 sums: all are checked.
        """
        import torch

        notes: list[str] = []
        for path in self._checkpoints:
            if not path.exists():
                continue
            try:
                with zipfile.ZipFile(path) as archive:
                    damaged = archive.testzip()
                if damaged is not None:
                    raise zipfile.BadZipFile(f"{damaged} fails its checksum")
                state = torch.load(path, map_location="cpu", weights_only=True)
                return state, notes
            except Exception as error:  # whatever is wrong with it, it cannot be used
                reason = (str(error) or type(error).__name__).splitlines()[0]
                notes.append(f"{path}: damaged ({reason}); going back to the one before")
        if notes:
            notes.append(f"{self.path}: no checkpoint can be used; starting again")
        return None, notes

    @property
    def _checkpoints(self) -> tuple[Path, Path]:
        return self.path / CHECKPOINT, self.path / PREVIOUS_CHECKPOINT

    def read_files(self, names: Sequence[str] = FILES) -> dict[str, bytes]:
        """The contents of those of ``FILES`` that are there, by name, to go on elsewhere."""
        paths = (self.path / name for name in names)
        return {path.name: path.read_bytes() for path in paths if path.is_file()}

    def install(self, files: Mapping[str, bytes]) -> None:
        """Put in place what ``read_files`` gave elsewhere. Raises EnvironmentFailure."""
        for name in FILES:
            if name == CHECKPOINT and name in files:
                self._replace_checkpoint(files[name])
            elif name in files:
                write_atomic(self.path / name, files[name])

    @property
    def finished(self) -> bool:
        return (self.result_path).exists()

    def read_result(self) -> dict[str, Any]:
        """The finished run's result. Raises InputError if it or the metrics are damaged."""
        path = self.result_path
        result: Any = read_json(path)
        if isinstance(result, dict) and "epochs" in result:
            read(RunResult, path, remedy="delete it and run again")
        rows = result.get("epochs", result.get("points")) if isinstance(result, dict) else None
        if type(rows) is not int or not isinstance(result.get("status"), str):
            raise InputError(f"{path}: damaged; delete it and run again")
        self._check_metrics(self.read_metrics(), rows)
        return dict(result)


def differences(there: Any, now: Any, key: str = "") -> list[str]:
    """``key: old there, new now`` for each leaf in which two config trees differ."""
    if key in _NOT_COMPARED or there == now:
        return []
    if isinstance(there, dict) and isinstance(now, dict):
        found = []
        for name in {**there, **now}:
            inner = f"{key}.{name}" if key else str(name)
            found += differences(there.get(name), now.get(name), inner)
        return found
    return [f"{key}: {there} there, {now} now"]
