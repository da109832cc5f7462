"""The arguments of ``clr.compare`` and ``clr.find_lr``, checked before the first call."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import ValidationError

from clr_cli.analysis.study import Study
from clr_cli.config.program import TAKEN, ProgramCompare
from clr_cli.errors import InputError, reason
from clr_cli.records import Metric

Mode = Literal["min", "max"]
LONGEST_NAME = 200


def study_of(arms: Mapping[str, Any], *, baseline: str | None, **asked: Any) -> Study:
    """Return what is asked. Raises InputError for arms that do not fit."""
    if not isinstance(arms, Mapping) or len(arms) < 2:
        text = "expected a dictionary of two or more functions, keyed by arm name"
        raise InputError(text, key="arms")
    for arm, function in arms.items():
        text_of(arm, "arms")
        if not callable(function):
            raise InputError(f"{arm}: {function!r:.60}: give a function of a seed", key="arms")
    base = next(iter(arms)) if baseline is None else baseline
    if base not in arms:
        raise InputError(f"{base!r} is not an arm: {', '.join(arms)}", key="baseline")
    return Study(arms=tuple({base: None, **arms}), baseline=base, **asked)


def text_of(value: Any, key: str) -> str:
    """Return a name. Raises InputError for one that cannot be shown."""
    if not isinstance(value, str) or not value.isprintable() or not 0 < len(value) <= LONGEST_NAME:
        raise InputError(
            f"{value!r:.60}: a name is 1 to {LONGEST_NAME} printable characters", key=key
        )
    return value


def metric_of(name: str, mode: Mode | None, unit: str | None) -> Metric:
    """Return the metric. Raises InputError for a name that rows have for something else."""
    if text_of(name, "metric") in TAKEN:
        text = f"{name} identifies a row, so it cannot be the metric"
        raise InputError(text, key="metric")
    return Metric.resolve(name, mode, unit)


def counted(seeds: int | Sequence[int] | str, **asked: Any) -> dict[str, Any]:
    """Return the study's seeds, cap, design, target and margin. Raises InputError."""
    try:
        found = ProgramCompare.model_validate({"seeds": _plain(seeds), **asked})
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:
            raise InputError(reason(first)) from None
        if first["loc"][0] != "seeds":
            raise InputError(reason(first), key=str(first["loc"][0])) from None
        raise _not_seeds(seeds) from None
    except TypeError:
        raise _not_seeds(seeds) from None
    checked = {key: getattr(found, key) for key in asked}
    return {"seeds": tuple(found.seed_list), "cap": found.cap, **checked}


def _plain(seeds: Any) -> str | int | list[int]:
    """Return the seeds as plain types. Raises TypeError."""
    if isinstance(seeds, str):
        return seeds
    try:
        return operator.index(seeds)
    except TypeError:  # an array of several, too
        return [operator.index(seed) for seed in seeds]


def _not_seeds(seeds: Any) -> InputError:
    return InputError(
        f"{seeds!r:.60}: give their number, a list of whole numbers from 0 to 2**32 - 1, "
        "'auto' or 'auto:CAP'",
        key="seeds",
    )
