"""Read and write the run directory: config, metrics, checkpoint, result, lock.

Files are replaced atomically, so a kill at any moment leaves the old file or the new one.
``result.json`` is written last: a run that has it is finished.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clr_cli import paths
from clr_cli.config.trees import differences
from clr_cli.config.yaml_text import dump, parse_yaml
from clr_cli.errors import EnvironmentFailure, InputError
from clr_cli.execution.origin import Origin, changes
from clr_cli.files import (
    check_archive,
    open_own,
    read_json,
    refuse_link,
    unwritable,
    write_atomic,
    write_json,
)
from clr_cli.records import RunResult, read

# In the order in which they are installed: a kill in between leaves a run that can resume.
FILES = (
    paths.METRICS,
    paths.PROGRAM_LOG,
    paths.PROGRAM_OUT,
    paths.PROGRAM_SECONDS,
    paths.PREVIOUS_CHECKPOINT,
    paths.CHECKPOINT,
    paths.MODEL,
    paths.RESULT,
)
WAYS_OUT = "start over with --overwrite, or keep both with another --name"

_LOCKS = (".lock", ".program")  # another process may wait for them
# The place of the data, its download and the way of taking steps do not change results.
_NOT_COMPARED = {"dataset.root", "dataset.download", "training.cuda_graph"}


class Locked(EnvironmentFailure):
    """Another process is working on this run."""


@dataclass(frozen=True)
class RunDirectory:
    """The folder of one run. Methods that write need the lock.

    ways_out: what can be done where the folder holds another run.
    """

    path: Path
    ways_out: str = WAYS_OUT

    @property
    def metrics_path(self) -> Path:
        """The file with the rows of metrics."""
        return self.path / paths.METRICS

    @property
    def result_path(self) -> Path:
        """The file with the result, which is written last."""
        return self.path / paths.RESULT

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the folder against other processes; the lock ends with this process.

        Raises Locked, and InputError for a symbolic link below the experiment's folder.
        """
        try:
            for folder in paths.links_to(self.path):
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
                    raise EnvironmentFailure(
                        f"{self.path}: cannot be locked: {error.strerror}"
                    ) from None
                raise Locked(f"{self.path}: another process is working on this run") from None
            yield

    def prepare(
        self, config: Mapping[str, Any], origin: Origin | None = None, *, overwrite: bool = False
    ) -> None:
        """Claim the folder for this config and origin.

        Raises:
            InputError: it belongs to another config, or to other files.

        """
        if overwrite:
            for old in self.path.iterdir():
                if old.name not in _LOCKS:
                    folder = old.is_dir() and not old.is_symlink()
                    shutil.rmtree(old) if folder else old.unlink()
        there = self.read_config()
        if there is None:
            if origin:
                write_json(self.path / paths.ORIGIN, origin)
            else:  # a file that a kill left here
                (self.path / paths.ORIGIN).unlink(missing_ok=True)
            self.write_config(config)
            return
        self.check(there, config, origin or {})

    def check(self, there: Mapping[str, Any], config: Mapping[str, Any], origin: Origin) -> None:
        """Raise InputError unless the folder belongs to this config and origin."""
        if differing := config_differences(there, config):
            raise InputError(
                f"{self.path} contains a run of another config ({'; '.join(differing)}): "
                f"{self.ways_out}"
            )
        self.check_origin(origin)

    def check_origin(self, origin: Origin) -> None:
        """Raise InputError unless the folder's run was made from these files."""
        if changed := changes(self.read_origin(), origin):
            raise InputError(
                f"{self.path} was made from other files ({'; '.join(changed)}): {self.ways_out}"
            )

    def read_config(self) -> dict[str, Any] | None:
        """Return the config to which the folder belongs; None if there is none.

        Raises:
            InputError: the file is damaged.

        """
        path = self.path / paths.CONFIG
        if not path.exists():
            return None
        try:
            there = parse_yaml(path.read_text(encoding="utf-8"), str(path))
        except (InputError, UnicodeDecodeError):
            there = None
        if not isinstance(there, dict):
            raise InputError(
                "damaged; restore it, or delete it if the run was made with the present config",
                source=path,
            )
        return there

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Record that the folder belongs to this config."""
        write_atomic(self.path / paths.CONFIG, dump(config))

    def read_origin(self) -> Origin:
        """Return the origin of the run. Raises InputError if the file is damaged."""
        path = self.path / paths.ORIGIN
        if not path.exists():
            return {}
        origin = read_json(path)
        if not isinstance(origin, dict) or not all(isinstance(v, dict) for v in origin.values()):
            raise InputError(f"{path}: damaged; start over with --overwrite")
        return origin

    def reopen(self, config: Mapping[str, Any]) -> None:
        """Turn a finished run into an unfinished one of this config, to continue it.

        A kill in between leaves an unfinished run of the old config.
        """
        for name in (paths.RESULT, paths.MODEL):
            (self.path / name).unlink(missing_ok=True)
        self.write_config(config)

    def append_metrics(self, row: Mapping[str, float]) -> None:
        """Append a row to metrics.jsonl and sync it. Raises EnvironmentFailure."""
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
        """Read the rows so far, except a last line that a kill cut off."""
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

    def take_metrics(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Replace the rows. Raises EnvironmentFailure."""
        content = "".join(json.dumps(row) + "\n" for row in rows).encode()
        if not self.metrics_path.exists() or content != self.metrics_path.read_bytes():
            write_atomic(self.metrics_path, content)

    def keep_metrics(self, epochs: int) -> None:
        """Drop the rows after the checkpoint of ``epochs`` finished epochs, which a kill left.

        Raises InputError if there are fewer, as a row is on disk before its checkpoint, or if a
        row lacks what the run's result is made from.
        """
        rows = self.read_metrics()
        self._check_metrics(rows[:epochs], epochs)
        for number, row in enumerate(rows[:epochs], start=1):
            for key in ("iteration", "train_seconds"):
                if type(row.get(key)) not in (int, float):
                    raise InputError(
                        f"{self.metrics_path}: damaged: row {number} has no {key}; start over with "
                        "--overwrite"
                    )
        if self.metrics_path.exists():
            self.take_metrics(rows[:epochs])

    def _check_metrics(self, rows: Sequence[Mapping[str, Any]], expected: int) -> None:
        if len(rows) != expected:
            raise InputError(
                f"{self.path / 'metrics.jsonl'}: damaged: {len(rows)} of {expected} rows can be "
                "read; start over with --overwrite"
            )

    def save_checkpoint(self, state: Mapping[str, Any]) -> None:
        """Replace checkpoint.pt; the old one becomes checkpoint.previous.pt."""
        self._replace_checkpoint(_encode(state))

    def save_model(self, model: Mapping[str, Any]) -> None:
        """Write model.pt: the trained model, for use."""
        write_atomic(self.path / paths.MODEL, _encode(model))

    def _replace_checkpoint(self, content: bytes) -> None:
        newest, previous = self._checkpoints
        fresh = newest.with_name("checkpoint.new.pt")
        write_atomic(fresh, content)
        if newest.exists():
            os.replace(newest, previous)
        os.replace(fresh, newest)

    def load_checkpoint(self) -> tuple[dict[str, Any] | None, list[str]]:
        """Return the newest intact checkpoint, or None, and a line for each damaged one.

        The checksums of its contents are checked.
        """
        import torch

        notes: list[str] = []
        for path in self._checkpoints:
            if not path.exists():
                continue
            try:
                check_archive(path)
                state = torch.load(path, map_location="cpu", weights_only=True)
                return state, notes
            except Exception as error:  # whatever is wrong, it cannot be used
                reason = (str(error) or type(error).__name__).splitlines()[0]
                notes.append(f"{path}: damaged ({reason}); skipped")
        if notes:
            notes.append(f"{self.path}: no checkpoint can be used; starting from the beginning")
        return None, notes

    @property
    def _checkpoints(self) -> tuple[Path, Path]:
        return self.path / paths.CHECKPOINT, self.path / paths.PREVIOUS_CHECKPOINT

    @property
    def has_checkpoint(self) -> bool:
        """Whether there is a checkpoint, intact or not."""
        return any(path.exists() for path in self._checkpoints)

    def read_files(self, names: Sequence[str] = FILES) -> dict[str, bytes]:
        """Return the contents of the existing ``FILES`` by name, to continue on another machine."""
        files = (self.path / name for name in names)
        return {file.name: file.read_bytes() for file in files if file.is_file()}

    def install(self, files: Mapping[str, bytes]) -> None:
        """Write the files that ``read_files`` returned elsewhere. Raises EnvironmentFailure."""
        for name in FILES:
            if name == paths.CHECKPOINT and name in files:
                self._replace_checkpoint(files[name])
            elif name in files:
                write_atomic(self.path / name, files[name])

    @property
    def finished(self) -> bool:
        """Whether the run has a result."""
        return self.result_path.exists()

    def read_result(self) -> dict[str, Any]:
        """Read the finished run's result. Raises InputError if it or the metrics are damaged."""
        path = self.result_path
        result: Any = read_json(path)
        if isinstance(result, dict) and "epochs" in result:
            read(RunResult, path, remedy="delete it and run again")
        rows = result.get("epochs", result.get("points")) if isinstance(result, dict) else None
        if type(rows) is not int or not isinstance(result.get("status"), str):
            raise InputError(f"{path}: damaged; delete it and run again")
        self._check_metrics(self.read_metrics(), rows)
        return dict(result)


def _encode(state: Mapping[str, Any]) -> bytes:
    import torch

    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    return buffer.getvalue()


def config_differences(there: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the keys in which two configs differ: "key: old there, new now"."""
    plain = parse_yaml(dump(now), "config")
    return [
        f"{key}: {each['there']} there, {each['now']} now"
        for key, each in differences({"there": there, "now": plain}).items()
        if key not in _NOT_COMPARED
    ]
