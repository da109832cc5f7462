"""Fingerprint what a run depends on besides its config: the user's code, data and weights.

A run belongs to the content of these files. Data sets that are rendered or come from torchvision,
which checks their sums, are not among them.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from clr_cli.config.model import Config
from clr_cli.errors import InputError
from clr_cli.paths import MODEL
from clr_cli.training.code import import_callable, source_digests

Origin = dict[str, dict[str, str]]  # kind -> file -> digest of its content


def origin_of(config: Config, allow_code: bool) -> Origin:
    """Return the digests of the user's own files that a config names, by kind and file.

    A missing file is left out: its reader reports it.

    Raises:
        InputError: the user's code is not allowed or cannot be imported, or data have changed
            since this process read them.

    """
    code: dict[str, str] = {}
    for key, name in (("model", config.model.name), ("optimizer", config.optimizer.name)):
        if ":" in name and not name.startswith("torchvision:"):
            import_callable(name, f"{key}.name", allow_code)
            code |= source_digests(name.partition(":")[0])
    files = {"data": config.dataset.path, "weights": getattr(config.model, "weights", None)}
    others = {kind: _digests(Path(path)) for kind, path in files.items() if path is not None}
    return {kind: digests for kind, digests in {"code": code, **others}.items() if digests}


def changes(there: Mapping[str, Mapping[str, str]], now: Origin) -> list[str]:
    """Return a line for each file whose content differs from when the run was made."""
    lines = []
    for kind in ("code", "data", "weights"):
        before, after = there.get(kind, {}), now.get(kind, {})
        for name in sorted({*before, *after}):
            if name not in before:
                lines.append(f"{name} ({kind}) is new")
            elif name not in after:
                lines.append(f"{name} ({kind}) is no longer used")
            elif before[name] != after[name]:
                lines.append(f"{name} has changed since")
    return lines


def _digests(path: Path) -> dict[str, str]:
    """Return the digest of a file, a run's model, or all files of a folder. Raises InputError."""
    path = path / MODEL if (path / MODEL).is_file() else path
    if not path.exists():
        return {}
    stamp, content = _first_look(path.absolute())
    if _stamp(path.absolute()) != stamp:
        raise InputError(
            "changed while this command was running; run the command again", source=path
        )
    return {path.name: content}


@functools.cache
def _first_look(path: Path) -> tuple[str, str]:
    """Return the path's stamp and digest at the time of this process's first call."""
    return _stamp(path), _content(path)


def _content(path: Path) -> str:
    """Return a digest of every file below ``path``, by name and content."""
    total = hashlib.blake2b(digest_size=16)
    for file in _files(path):
        total.update(f"{file.relative_to(path).as_posix()}\0{file.stat().st_size}\0".encode())
        with open(file, "rb") as stream:
            while chunk := stream.read(1 << 20):
                total.update(chunk)
    return total.hexdigest()


def _stamp(path: Path) -> str:
    """Return a digest of names, sizes and times, which changes if a file in ``path`` is written."""
    total = hashlib.blake2b(digest_size=16)
    for file in _files(path):
        status = file.stat()
        total.update(f"{file}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
    return total.hexdigest()


def _files(path: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Yield the file, or the files of the folder in a fixed order, except hidden ones.

    Left out are links to nothing, pipes and the like, and links to a folder ``above``.
    """
    if path.is_file():
        yield path
    elif path.is_dir() and (real := path.resolve()) not in above:
        for entry in sorted(path.iterdir()):
            if not entry.name.startswith("."):
                yield from _files(entry, (*above, real))
