"""Find a config file, read it as YAML and apply overrides.

Every error is an :class:`InputError` that names the file and the key.
"""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from clr_cli.config.arms import SCHEDULE_MODELS
from clr_cli.config.hints import did_you_mean, explain, place, printable
from clr_cli.config.model import Config
from clr_cli.config.trees import Tree, with_value, with_values
from clr_cli.config.yaml_text import parse_yaml
from clr_cli.errors import InputError

C = TypeVar("C", bound=BaseModel)

MAX_CONFIG_BYTES = 1_000_000


def shipped_configs() -> Path:
    """Return the shipped configs' folder: inside the wheel, or beside the package in a checkout."""
    package = Path(__file__).parents[1]
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


def find_config(name: str) -> Path:
    """Return a config's path: as it is, in ./configs, or among the shipped. Raises InputError."""
    shipped = shipped_configs()
    for stem in (name, f"{name}.yaml"):
        for path in (Path(stem), Path("configs") / stem, shipped / stem):
            # A file, or a pipe such as /dev/stdin or <(...).
            if os.path.exists(path) and not os.path.isdir(path):
                return path
    known = sorted(p.name for p in shipped.glob("*.yaml"))
    suffixed = name if name.endswith(".yaml") else f"{name}.yaml"
    raise InputError(f"config {name!r} not found{did_you_mean(suffixed, known)}")


def load(name: str, overrides: Sequence[str] = (), values: Tree | None = None) -> Config:
    """Read a config by path or shipped name; set ``section.key=value`` overrides, then ``values``.

    Raises InputError naming file, key and value for anything that is wrong.
    """
    tree, file = read_tree(name, overrides), str(find_config(name))
    try:
        tree = with_values(tree, values or {})
    except ValueError as error:
        raise InputError(f"{file}: {error}") from None
    return validate(tree, file)


def read_tree(name: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Return a config's keys with the overrides, not yet checked. Raises InputError."""
    path = find_config(name)
    try:
        content = _content(path)
        if len(content) > MAX_CONFIG_BYTES:
            raise InputError(
                f"{path}: larger than {MAX_CONFIG_BYTES:,} bytes, so it is not a config"
            )
        text = content.decode()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start})") from None
    parsed = parse_yaml(text, str(path))
    tree: dict[str, Any] = {} if parsed is None else parsed
    if not isinstance(tree, dict):
        raise InputError(
            f"{path}: expected a mapping of keys to values, not a {type(tree).__name__}"
        )
    if tree.get("name") is None:
        stem = path.stem if path.is_file() else "stdin"  # <(...) is /dev/fd/63, or another number
        name = re.sub(r"[^A-Za-z0-9._+-]", "-", stem)
        tree["name"] = (f"_{name}" if name[0] in ".+-" else name)[:100]
    for override in overrides:
        tree = _override(tree, override)
    return tree


def _content(path: Path) -> bytes:
    return _read(path) if path.is_file() else _read_once(path)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_CONFIG_BYTES + 1)


_read_once = functools.cache(_read)  # a pipe can be read only once


def _override(tree: dict[str, Any], text: str) -> dict[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not all(key.split(".")):
        raise InputError(f"--set {text!r}: write it as section.key=value")
    try:
        return with_value(tree, key, parse_yaml(value, f"--set {text}"))
    except ValueError as error:
        raise InputError(f"--set {text!r}: {error}") from None


def validate(tree: Any, source: str) -> Config:
    """Build the Config. Raises InputError naming ``source``, the key and the value."""
    return validate_as(Config, tree, source)


def validate_as(model: type[C], tree: Any, source: str) -> C:
    """Build any model of a config. Raises InputError as ``validate`` does."""
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        errors = error.errors()
        keys = {tuple(place(each, SCHEDULE_MODELS)) for each in errors}
        more = f" (and {len(keys) - 1} more)" if len(keys) > 1 else ""
        first = printable(explain(errors[0], model, SCHEDULE_MODELS))
        raise InputError(f"{source}: {first}{more}") from None
    except RecursionError:
        raise InputError(f"{source}: nested too deeply") from None


def json_schema() -> str:
    """Return the JSON Schema of a config file, for editors (yaml-language-server)."""
    return json.dumps(Config.model_json_schema(), indent=2)
