"""Write files atomically, and read them with one clear line for a damaged one.

A file is written to a temporary file, synced and renamed, so that a kill at any moment
leaves the old file or the new one. No file is written or emptied through a symbolic link.
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
    """Return the error to raise for a file or folder that cannot be made."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    kind = EnvironmentFailure if full else InputError
    return kind(f"{path}: cannot be written: {error.strerror}")


def check_writable(folder: Path) -> None:
    """Check that files can be made in ``folder``, which need not exist; leave nothing behind.

    Raises InputError if not, or for a symbolic link, and EnvironmentFailure for a full disk.
    """
    refuse_link(folder)
    try:
        nearest = next(path for path in (folder, *folder.parents) if path.exists())
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise unwritable(folder, error) from None


def refuse_link(path: Path) -> None:
    """Raise InputError for a symbolic link."""
    if path.is_symlink():
        raise InputError(
            "is a symbolic link, and clr does not write through links: delete it (only the output "
            "folder and the experiment's folder may be links)",
            source=path,
        )


def open_own(path: Path, flags: int) -> int:
    """Open a file that clr writes, make it if it is missing, and return its descriptor.

    Raises InputError for a symbolic link, OSError for anything else.
    """
    # O_NONBLOCK: a named pipe without a reader is an error; without it, open would wait forever.
    flags |= os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o666)
    except OSError:
        refuse_link(path)
        raise


def write_atomic(path: Path, content: str | bytes) -> None:
    """Replace ``path`` with ``content``, or leave it as it was.

    A symbolic link at ``path`` is replaced by the file. Raises EnvironmentFailure, and InputError
    if the temporary file is a symbolic link.
    """
    # Text may contain the name of a file, whose bytes need not be UTF-8.
    data = content.encode(errors="backslashreplace") if isinstance(content, str) else content
    # Always the same name, so that the next write replaces what a kill left there.
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
def locked(folder: Path) -> Iterator[None]:
    """Lock a folder, which is made if needed, against others that lock it; wait for those that do.

    Raises InputError for a symbolic link, and as `unwritable` says.
    """
    refuse_link(folder)
    lock = folder / ".lock"
    with contextlib.ExitStack() as held:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            held.enter_context(_only_writer(lock))
        except OSError as error:
            raise unwritable(folder, error) from None
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


@contextlib.contextmanager
def _only_writer(path: Path) -> Iterator[BinaryIO]:
    """Open ``path``, and make it if needed, once no other process writes it."""
    while True:
        with open(open_own(path, os.O_WRONLY | os.O_APPEND), "ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                still_there = os.path.samestat(os.fstat(file.fileno()), os.lstat(path))
            except FileNotFoundError:
                still_there = False
            if still_there:  # otherwise the process that held it has renamed it
                yield file
                return


def write_json(path: Path, value: Any) -> None:
    """Replace ``path`` with a value as JSON. Raises as ``write_atomic`` does."""
    write_atomic(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Return the value of a JSON file. Raises InputError for a missing or damaged one."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", source=path) from None
    except (ValueError, RecursionError):
        raise InputError("damaged (not JSON); delete it and run again", source=path) from None


def check_archive(path: Path) -> None:
    """Check the checksums of a zip archive, such as torch.save's, which torch.load does not.

    Raises zipfile.BadZipFile.
    """
    import zipfile

    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(f"{damaged} has a wrong checksum")
