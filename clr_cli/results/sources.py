"""Find files of results by paths, folders, and patterns with named parts."""

from __future__ import annotations

import glob
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from clr_cli.errors import InputError
from clr_cli.results import mlflow, tensorboard
from clr_cli.results.cells import Cell, listed
from clr_cli.results.frame import flatten

MOST_FILES = 20_000
SIDECARS = (
    *("hparams.yaml", "args.yaml", "config.yaml", "config.json", "params.json"),
    ".hydra/config.yaml",
)
MOST_SETTINGS = 1000
MOST_SIDECAR = 1_000_000  # bytes
_ENDINGS = (".csv", ".tsv", ".jsonl", ".json", ".parquet", ".log", ".db", ".sqlite", ".ndjson")
_PART = re.compile(r"\{(\w+)\}")
_TOKENS = re.compile(r"(\{\w+\}|\*\*/|\*|\?)")


@dataclass(frozen=True)
class Found:
    """A file or folder to read, and the columns from its path.

    walked: whether it was found inside a folder, so that it may not be a file of results.
    """

    path: Path
    constants: dict[str, str] = field(default_factory=dict)
    walked: bool = False


def find(sources: Sequence[str]) -> list[Found]:
    """Return the files of the sources, in order. Raises InputError for a source without files."""
    every: dict[Path, Found] = {}
    for source in sources:
        path = Path(source)
        if os.path.lexists(path) or not re.search(r"[{*?]", source):
            hits: Iterable[Found] = [Found(path)]
        else:
            hits = _matching(source)
        for hit in hits:
            if hit.path.is_dir():
                inside = list(walk(hit.path))
                if not inside:
                    raise InputError(f"no file of results; {_contents(hit.path)}", source=hit.path)
                every |= {path: Found(path, hit.constants, len(inside) > 1) for path in inside}
            else:
                every[hit.path] = hit
        if len(every) > MOST_FILES:
            raise InputError(f"more than {MOST_FILES:,} files; choose fewer by a pattern")
    latest = _latest(every)
    return [found for path, found in every.items() if path in latest]


def parts_of(pattern: str, text: str) -> dict[str, str] | None:
    """Return the values of a pattern's named parts in a text; None if it does not match.

    ``{seed}`` matches digits.

    >>> parts_of("{arm}-{seed}", "sgd-cosine-3")
    {'arm': 'sgd-cosine', 'seed': '3'}
    """
    expression, known = "", set()
    for token in _TOKENS.split(pattern):
        name = _PART.fullmatch(token)
        if name and name[1] in known:
            expression += f"(?P={name[1]})"
        elif name:
            known.add(name[1])
            expression += rf"(?P<{name[1]}>{'[0-9]+' if name[1] == 'seed' else '[^/]+?'})"
        else:
            wild = {"**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}
            expression += wild.get(token, re.escape(token))
    try:
        match = re.fullmatch(expression, text, re.DOTALL)
    except re.error:
        raise InputError(f"{pattern}: expected names in the braces") from None
    return None if match is None else match.groupdict()


def check_pattern(pattern: str, option: str) -> None:
    """Raise InputError for a pattern without a named part."""
    if not _PART.search(pattern):
        raise InputError(f"{option} {pattern}: name a part in braces, such as '{{arm}}-{{seed}}'")


def _matching(pattern: str) -> list[Found]:
    clean = os.path.normpath(pattern)
    wild = "".join(
        token
        if token in ("**/", "*", "?")
        else "*"
        if _PART.fullmatch(token)
        else glob.escape(token)
        for token in _TOKENS.split(clean)
    )
    paths = sorted(glob.glob(wild, recursive=True), key=_natural)
    hits = [
        Found(Path(path), parts) for path in paths if (parts := parts_of(clean, path)) is not None
    ]
    if not hits and paths:
        raise InputError(f"{pattern}: {paths[0]} does not match; {{seed}} matches digits only")
    if not hits:
        folder = Path(re.split(r"[{*?]", clean)[0] + "x").parent
        while not folder.is_dir():
            folder = folder.parent
        raise InputError(f"{pattern}: no file matches; {_contents(folder)}")
    return hits


def _contents(folder: Path) -> str:
    names = sorted(os.listdir(folder), key=_natural)
    return f"{folder}/ contains {listed(names, 6) or 'nothing'}"


def walk(folder: Path) -> Iterator[Path]:
    """Yield the files in a folder that may be results, without sidecars and hidden folders."""
    if mlflow.is_store(folder):
        yield folder
        return
    for where, folders, files in os.walk(folder):
        here = Path(where)
        stores = [name for name in folders if mlflow.is_store(here / name)]
        yield from (here / name for name in stores)
        folders[:] = sorted(
            (name for name in folders if name[0] != "." and name not in stores), key=_natural
        )
        if tensorboard.events(here):
            yield here
        for name in sorted(files, key=_natural):
            plain = re.sub(r"\.(gz|zip)$", "", name.lower())
            if plain.endswith(_ENDINGS) and name not in SIDECARS and name[0] != ".":
                yield here / name


def _latest(paths: Iterable[Path]) -> set[Path]:
    """Drop earlier checkpoints of a run, such as checkpoint-10/trainer_state.json."""
    chosen: dict[Path, tuple[float, Path]] = {}
    for path in paths:
        number = re.fullmatch(r"checkpoint-(\d+)", path.parent.name)
        key, rank = path, 0.0
        if path.name == "trainer_state.json":
            key = path.parent.parent / path.name if number else path
            rank = float(number[1]) if number else float("inf")
        if key not in chosen or rank > chosen[key][0]:
            chosen[key] = rank, path
    return {path for _, path in chosen.values()}


def sidecars(path: Path) -> dict[str, Cell]:
    """Return the settings in files beside a file of results, with dotted names."""
    folder = path if path.is_dir() else path.parent
    settings: dict[str, Cell] = {}
    for name in SIDECARS:
        file = folder / name
        if not file.is_file() or file.stat().st_size > MOST_SIDECAR or file == path:
            continue
        for key, value in islice(flatten(_tree(file)), MOST_SETTINGS):  # aliases may multiply
            scalar = isinstance(value, str | int | float | bool)
            if scalar and len(str(value)) <= 200 and len(settings) < MOST_SETTINGS:
                settings.setdefault(key.removesuffix(".value"), value)  # W&B: {value: ...}
    return settings


def _tree(file: Path) -> dict[Any, Any]:
    """Return the mapping of a YAML or JSON file; empty if it cannot be read."""
    import yaml

    class Loader(yaml.SafeLoader):
        """A loader that reads Python's tags, which Lightning writes, as None."""

    Loader.add_multi_constructor("", lambda *_: None)
    try:
        text = file.read_text(encoding="utf-8")
        tree = json.loads(text) if file.suffix == ".json" else yaml.load(text, Loader)
    except (OSError, ValueError, yaml.YAMLError, RecursionError, TypeError):
        return {}
    return tree if isinstance(tree, dict) else {}


def suggested_pattern(paths: Sequence[Path]) -> str | None:
    """Return a pattern that the paths match, with {arm} and, if possible, {seed}.

    >>> suggested_pattern([Path(f"runs/{arm}/version_{k}/m.csv") for arm in "ab" for k in (0, 1)])
    'runs/{arm}/version_{seed}/m.csv'
    >>> suggested_pattern([Path(f"logs/{arm}-s{k}.csv") for arm in "ab" for k in (0, 1)])
    'logs/{arm}-s{seed}.csv'
    """
    parts = [path.parts for path in paths]
    if len(parts) < 2 or len({len(each) for each in parts}) > 1:
        return None
    columns = [list(dict.fromkeys(column)) for column in zip(*parts, strict=True)]
    for names in columns:
        if all(re.fullmatch(r"checkpoint-\d+", name) for name in names):
            names[:] = ["*"]
    varying = [k for k, names in enumerate(columns) if len(names) > 1]
    if not varying:
        return None
    pattern = [names[0] if len(names) == 1 else "*" for names in columns]
    pattern[varying[0]], last = "{arm}", varying[-1]
    ending = os.path.splitext(columns[last][0])[1] if last == len(columns) - 1 else ""
    stems = [name.removesuffix(ending) for name in columns[last]]
    tails = [re.fullmatch(r"(.*?)([-_.]?(?:seed|run|version|s|v|r)?[-_=]?)(\d+)", s) for s in stems]
    if last == varying[0]:
        pattern[last] = "{arm}" + ending
        ends = {tail and tail[2] for tail in tails}
        if len(ends) == 1 and None not in ends and all(tail and tail[1] for tail in tails):
            pattern[last] = f"{{arm}}{ends.pop()}{{seed}}{ending}"
    else:
        heads = {tail and tail[1] + tail[2] for tail in tails}
        if len(heads) == 1 and None not in heads:
            pattern[last] = f"{heads.pop()}{{seed}}{ending}"
    return str(Path(*pattern))


def _natural(text: str) -> list[tuple[int, str]]:
    """Return a key that sorts seed-10 after seed-9."""
    return [
        (int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", text)
    ]
