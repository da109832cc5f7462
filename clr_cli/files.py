"""Files: whole ones are replaced atomically, JSON is read with one clear line for a damaged one.

A whole file is written to a temporary file, synced and renamed, so that a kill at any moment
leaves the old file or the new one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from clr_cli.errors import EnvironmentFailure, InputError


def digest(content: bytes) -> str:
    """Return a digest of 32 hexadecimal digits that changes with every bit of the content."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def unwritable(path: Path, error: OSError) -> InputError | EnvironmentFailure:
    """What to raise for a file or folder that cannot be made."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    kind = EnvironmentFailure if full else InputError
    return kind(f"{path}: cannot be written: {error.strerror}")


def check_writable(folder: Path) -> None:
    """Raise unless files can be made in ``folder``, or where it would be made; leave nothing."""
    try:
        nearest = next(path for path in (folder, *folder.parents) if path.exists())
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise unwritable(folder, error) from None


def write_atomic(path: Path, content: str | bytes) -> None:
    """Replace ``path`` by ``content`` or leave it as it was. Raises EnvironmentFailure."""
    data = content.encode() if isinstance(content, str) else content
    # Always the same name, so that what a kill leaves there is used up by the next write.
    temporary = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _only_writer(temporary) as file:
            try:
                file.truncate(0)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                os.replace(temporary, path)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
                raise
    except OSError as error:
        raise EnvironmentFailure(f"{path}: cannot be written: {error.strerror}") from None


@contextlib.contextmanager
def _only_writer(path: Path) -> Iterator[BinaryIO]:
    """The file at ``path``, made if need be, once no other process writes it."""
    while True:
        with open(path, "ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                still_there = os.path.samestat(os.fstat(file.fileno()), os.stat(path))
            except FileNotFoundError:
                still_there = False
            if still_there:  # else whoever had it before has renamed it away
                yield file
                return


def write_json(path: Path, value: Any) -> None:
    write_atomic(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The value of a JSON file. Raises InputError naming the file if it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", source=path) from None
    except (ValueError, RecursionError):
        raise InputError("damaged (not JSON); delete it and run again", source=path) from None
