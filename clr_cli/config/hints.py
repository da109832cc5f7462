"""Describe what is wrong with a config: similar names, and pydantic's errors as one line."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from datetime import date

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from clr_cli.errors import excerpt, reason

# What keys expect whose values have one of several types.
UNIONS = {
    "compare.seeds": "expected a number of seeds from 1, a list of seeds, or auto[:CAP]",
    "dataset.image_size": "expected 1 to 4096 pixels: one side, or [height, width]",
    "model.output": "expected a key, an attribute or a position",
}


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
    loc = place(error, kinds)
    key = ".".join(loc) or "config"
    kind, message, value = error["type"], error["msg"], error["input"]
    if kind == "extra_forbidden":
        return f"{key}: unknown key{did_you_mean(loc[-1], _keys_at(error['loc'], root, kinds))}"
    if kind.startswith("union_tag") or kind == "model_attributes_type":
        if not isinstance(value, Mapping) or value.get("kind") is None:
            return f"{key}.kind: missing; known: {', '.join(kinds)}"
        name = value["kind"]
        return f"{key}.kind: {excerpt(name)} is unknown{did_you_mean(str(name), [*kinds])}"
    if kind == "value_error":  # ours: "key: what is wrong"
        return ".".join([*loc, message.removeprefix("Value error, ")])
    if key in UNIONS:
        return f"{key}: {excerpt(value)}: {UNIONS[key]}"
    if kind == "string_type" and isinstance(value, bool | int | float | date):
        read = str(value).lower() if isinstance(value, bool) else value
        where = f"{key}: YAML reads this"
        if error["loc"][-1] == "[key]":
            where = f"{'.'.join(loc[:-1])}: YAML reads a name"
        return f"{where} as {read}, not as text; put it in quotes"
    if kind == "string_pattern_mismatch":
        is_metric = key == "metric.name"
        signs, first = (". _ / -", "letter") if is_metric else (". _ + -", "letter, digit")
        rule = f"expected 1 to 100 letters, digits and {signs}, beginning with a {first} or _"
        return f"{key}: {excerpt(value)}: {rule}"
    return f"{key}: {reason(error)}"


def place(error: ErrorDetails, kinds: Mapping[str, type[BaseModel]]) -> list[str]:
    """Return the key of a pydantic error in its parts, without the types that it could have had."""
    loc = [str(part) for part in error["loc"] if part != "[key]"]
    if loc[:1] == ["schedules"] and len(loc) > 2 and loc[2] in kinds:
        del loc[2]  # the union's tag
        del loc[3:]
    return loc[:2] if loc[:1] == ["compare"] or ".".join(loc[:2]) in UNIONS else loc


def _keys_at(
    loc: Sequence[int | str], root: type[BaseModel], kinds: Mapping[str, type[BaseModel]]
) -> list[str]:
    if loc[0] == "schedules" and len(loc) > 2 and loc[2] in kinds:
        return list(kinds[str(loc[2])].model_fields)
    model = root
    for part in loc[:-1]:
        if part in model.model_fields:
            kind = model.model_fields[str(part)].annotation
            model = kind if isinstance(kind, type) and issubclass(kind, BaseModel) else model
    return list(model.model_fields)


def printable(text: str) -> str:
    """Escape line ends and control codes, which a stranger's config may contain."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
