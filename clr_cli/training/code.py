"""Import the user's functions, ``module.path:function`` in a config, and find their sources."""

from __future__ import annotations

import ast
import functools
import importlib
import os
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from clr_cli.config.hints import did_you_mean
from clr_cli.errors import InputError
from clr_cli.files import digest

ALLOW_CODE = "CLR_ALLOW_CODE"
_NOT_OWN = (
    Path(__file__).absolute().parents[1],
    *(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
)


def import_callable(name: str, key: str, allow_code: bool) -> Callable[..., Any]:
    """Import a function or class by its name in a config.

    This needs ``allow_code``, or CLR_ALLOW_CODE=1 in the environment.

    Raises:
        InputError: with ``key``, if running code is not allowed or the function is not found.

    """
    if not (allow_code or os.environ.get(ALLOW_CODE) == "1"):
        raise InputError(
            f"{name!r} runs your own code; pass --allow-code (or {ALLOW_CODE}=1)", key=key
        )
    path, _, attribute = name.partition(":")
    # An installed command does not search the current folder, where users have their modules.
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        module = importlib.import_module(path)
    except Exception as error:
        raise InputError(f"cannot import {path!r}: {first_line(error)}", key=key) from error
    source_digests(path)  # read the files now: they may change while this process runs
    function: Any = getattr(module, attribute, None)
    if not callable(function):
        known = [each for each, value in vars(module).items() if callable(value)]
        hint = did_you_mean(attribute, known)
        raise InputError(f"{path} does not contain a function {attribute!r}{hint}", key=key)
    return function  # type: ignore[no-any-return]


def first_line(error: Exception) -> str:
    """Return the error's type and the first line of its text."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


@functools.cache
def source_digests(module: str) -> dict[str, str]:
    """Return digests of an imported module's source and of modules that it imports from its folder.

    Imports are found in the text, also inside functions, and followed to files in the folder from
    which the module itself was imported. Installed packages and clr are left out.

    Returns:
        The digest of each file by its path in that folder; nothing for an installed module.

    """
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None or not _is_own(start := Path(file).absolute()):
        return {}
    is_package = start.stem == "__init__"
    root = start.parents[module.count(".") + is_package]
    digests: dict[str, str] = {}
    waiting = [module]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        waiting += [parent] if (parent := name.rpartition(".")[0]) else []
        source = _source(root, name)
        if source is None or not _is_own(source):
            continue
        content = source.read_bytes()
        digests[source.relative_to(root).as_posix()] = digest(content)
        package = name if source.stem == "__init__" else parent
        waiting += _imports(content, package)
    return dict(sorted(digests.items()))


def _is_own(file: Path) -> bool:
    """Return whether the user may edit this file: it is not clr's or an installed package's."""
    if file.suffix != ".py" or {"site-packages", "dist-packages"} & set(file.parts):
        return False
    return not any(file.is_relative_to(folder) for folder in _NOT_OWN)


def _source(root: Path, module: str) -> Path | None:
    """Find the file of a module below ``root``; None if there is none."""
    stem = root.joinpath(*module.split("."))
    candidates = (stem / "__init__.py", stem.with_name(f"{stem.name}.py"))
    return next((path for path in candidates if path.is_file()), None)


def _imports(content: bytes, package: str) -> Iterator[str]:
    """Yield the names that a source imports; an imported name may itself be a module."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):  # the import itself reports the error
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            parts = [*(above if node.level else []), *filter(None, [node.module])]
            base = ".".join(filter(None, parts))
            yield from filter(None, [base])
            yield from (".".join(filter(None, [base, alias.name])) for alias in node.names)
