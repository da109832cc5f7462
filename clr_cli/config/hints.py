"""Describe what is wrong with a config: similar names, and pydantic's errors as one line."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from clr_cli.errors import reason


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """Return the end of a message about an unknown word: the most similar known one, or all."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(known)}"


def explain(
    error: ErrorDetails, root: type[BaseModel], kinds: Mapping[str, type[BaseModel]]
) -> str:
    """Return a pydantic error as ``key: what is wrong``.

    ``root`` is the model of the whole file, ``kinds`` the models of its arms by schedule kind.
    """
    loc = [str(part) for part in error["loc"] if part != "[key]"]
    if loc[:1] == ["schedules"] and len(loc) > 2 and loc[2] in kinds:
        del loc[2]  # the union's tag
        del loc[3:]  # the kinds of value that a key could have had
    if loc[:1] == ["compare"] or loc[:2] in (["dataset", "image_size"], ["model", "output"]):
        del loc[2:]  # the kinds of value that the key could have had
    key = ".".join(loc) or "config"
    kind, message = error["type"], error["msg"]
    if kind == "extra_forbidden":
        return f"{key}: unknown key{did_you_mean(loc[-1], _keys_at(error['loc'], root, kinds))}"
    if kind.startswith("union_tag"):
        arm = error["input"]
        if not isinstance(arm, Mapping) or arm.get("kind") is None:
            return f"{key}.kind: missing; known: {', '.join(kinds)}"
        name = arm["kind"]
        return f"{key}.kind: {_excerpt(name)} is unknown{did_you_mean(str(name), [*kinds])}"
    if kind == "value_error":  # ours: "key: what is wrong"
        return ".".join([*loc, message.removeprefix("Value error, ")])
    if kind == "string_pattern_mismatch":
        rule = "expected 1 to 100 letters, digits and . _ + -, beginning with a letter or digit"
        return f"{key}: {_excerpt(error['input'])}: {rule}"
    return f"{key}: {reason(error)}"


def _keys_at(
    loc: Sequence[int | str], root: type[BaseModel], kinds: Mapping[str, type[BaseModel]]
) -> list[str]:
    model = root
    for part in loc[:-1]:
        if part in kinds and model is root:
            model = kinds[str(part)]
        elif part in model.model_fields:
            kind = model.model_fields[str(part)].annotation
            model = kind if isinstance(kind, type) and issubclass(kind, BaseModel) else model
    return list(model.model_fields)


def printable(text: str) -> str:
    """Escape line ends and control codes, which a stranger's config may contain."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _excerpt(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
