"""Define the base of all records, and read a file of results as one of them.

A damaged file, or one from another version, gives one line that names file, key and value.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clr_cli.errors import InputError
from clr_cli.files import read_json

# Limits within which arithmetic and figures are safe.
Number = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=-1e30, le=1e30)]
Seconds = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=0, le=1e12)]
Fraction = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=0, le=1)]
Count = Annotated[int, Field(strict=True, ge=0, le=10**12)]
Text = Annotated[str, Field(strict=True, max_length=1_000_000)]  # sentences of a thousand arms
Arm = Annotated[str, Field(strict=True, min_length=1, max_length=200)]


class Record(BaseModel):
    """A part of a file of results. Unknown keys are ignored: a later version may write them."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    def plain(self) -> dict[str, Any]:
        """Return the record as plain JSON types, with the keys of the file."""
        return self.model_dump(mode="json", by_alias=True)


R = TypeVar("R", bound=Record)


def finite(value: float | None) -> float | None:
    """Return the value, or None if it is infinite or NaN, as files store it.

    >>> finite(0.5), finite(math.inf), finite(None)
    (0.5, None, None)
    """
    return value if value is not None and math.isfinite(value) else None


def read(model: type[R], path: Path, *, remedy: str) -> R:
    """Read a file as a record.

    Raises:
        InputError: the file is missing or damaged; ``remedy`` says what to do.

    """
    tree = read_json(path)
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"] if not _is_type(part)) or None
        if first["type"] == "missing":
            reason = "missing"
        elif key == "schema":
            reason = f"{_excerpt(first['input'])}: this file is from another version of clr"
        else:
            reason = f"{_excerpt(first['input'])} does not fit: {first['msg'].lower()}"
        raise InputError(f"{reason}; {remedy}", key=key, source=path) from None
    except RecursionError:
        raise InputError(f"nested too deeply; {remedy}", source=path) from None


def read_if_any(model: type[R], path: Path, *, remedy: str) -> R | None:
    """Read a file of this model, or return None if it does not exist. Raises as `read`."""
    return read(model, path, remedy=remedy) if path.exists() else None


def _is_type(part: int | str) -> bool:
    """Return whether a part of pydantic's location names an alternative of a union, not a key."""
    return isinstance(part, str) and ("[" in part or part in ("float", "int", "str"))


def _excerpt(value: Any) -> str:
    """Return a value for a message: short, on one line, without control codes."""
    try:
        text = json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        text = type(value).__name__
    return text if len(text) <= 60 else f"{text[:57]}..."
