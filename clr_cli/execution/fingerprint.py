"""Tell what a function of the user's is made from: code and plain values, by name.

The compiled code counts, because that is what runs: a file may have been edited after its import,
and comments change nothing. Whole modules of the user's are digested as files.
"""

from __future__ import annotations

import argparse
import dis
import functools
import inspect
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import PurePath
from typing import Any

import numpy as np

from clr_cli.files import digest
from clr_cli.training.code import source_digests

FILLS = {"append", "extend", "insert", "add", "update", "setdefault", "pop", "clear", "remove"}
SHOWN = 100  # characters of a value that is kept as text; a longer one is kept as a digest
HOLDERS = (argparse.Namespace, types.SimpleNamespace)  # the user's values in a library's object
PLAIN: tuple[type, ...] = (bool, int, float, complex, str, bytes)  # whose repr says all
PLAIN += (PurePath, Enum, range, Decimal, Fraction, date, timedelta)
OF_TORCH = ("<class 'torch.dtype'>", "<class 'torch.device'>")
NAMED = (type, types.FunctionType, types.BuiltinFunctionType)


@dataclass(frozen=True)
class Fingerprint:
    """What a function is made from.

    Attributes:
        code: digests of the function, and of the user's own functions, classes and modules that it
            uses.
        values: the numbers, texts, paths and the like that it refers to, in lists, dictionaries and
            the user's own objects as well, without those that it fills itself. Of arrays and
            objects of libraries, only the type counts.
    """

    code: dict[str, str] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)


def fingerprint(function: Callable[..., Any]) -> Fingerprint:
    """Return what a function is made from; installed packages do not count.

    >>> def train(rate):
    ...     return lambda seed: rate * seed
    >>> fingerprint(train(0.5)).values
    {'rate': '0.5'}
    >>> fingerprint(train(0.5)).code == fingerprint(train(0.7)).code
    True

    Raises nothing: what cannot be looked into does not count.
    """
    found, seen = Fingerprint(), set[int]()
    waiting: list[tuple[str, Any]] = [(getattr(function, "__name__", "function"), function)]
    while waiting:
        name, thing = waiting.pop()
        if id(thing) in seen:
            continue
        inside: list[tuple[str, Any]] = []
        try:
            text = _written(thing, inside, set())
        except RecursionError:  # it contains itself
            continue
        if text is not None:
            _keep(found.values, name, text if len(text) <= SHOWN else digest(text.encode()))
            waiting[:0] = inside  # the names of all others come first
            if not _is_own(type(thing)):
                continue
        seen.add(id(thing))
        if isinstance(thing, types.ModuleType):
            found.code.update(source_digests(thing.__name__))
        elif isinstance(thing, functools.partial):
            given = dict(enumerate(thing.args, 1)) | thing.keywords
            waiting.append((name, thing.func))
            waiting += [(f"{name}.{key}", value) for key, value in given.items()]
        elif isinstance(thing, types.MethodType):
            waiting += [(name, thing.__func__), (f"{name}.self", thing.__self__)]
        elif isinstance(thing, types.FunctionType) and (thing is function or _is_own(thing)):
            _keep(found.code, thing.__qualname__, digest(_text(thing.__code__).encode()))
            waiting += _used(thing)
        elif isinstance(thing, type) and _is_own(thing):
            waiting += [(f"{name}.{key}", value) for key, value in _members(thing)]
        elif isinstance(thing, staticmethod | classmethod | property):
            inner = thing.fget if isinstance(thing, property) else thing.__func__
            waiting.append((name, inner))
        elif isinstance(thing, functools._lru_cache_wrapper):
            waiting.append((name, thing.__wrapped__))
        elif _is_holder(thing):
            waiting.append((type(thing).__name__, type(thing)))
            waiting += [(f"{name}.{key}", value) for key, value in _attributes(thing).items()]
        elif isinstance(thing, NAMED) and thing.__name__ != name.rpartition(".")[2]:
            _keep(found.values, name, thing.__name__)  # a library's, under another name
    return Fingerprint(dict(sorted(found.code.items())), dict(sorted(found.values.items())))


def _keep(kept: dict[str, str], name: str, text: str) -> None:
    """Keep a text under a name. An earlier, different one moves to rate', and then to rate''."""
    earlier, kept[name] = kept.get(name, text), text
    if earlier != text:
        _keep(kept, f"{name}'", earlier)


def _is_own(thing: Any) -> bool:
    """Return whether people edit this function or class: not an installed package's."""
    module = getattr(thing, "__module__", None)
    return module in (None, "__main__") or bool(source_digests(module))


def _used(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    """Yield what a function refers to: its defaults, what it encloses, globals."""
    code = function.__code__
    changed = {name for each in _codes(code) for name in _changed(each)}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.default is not parameter.empty:
            yield parameter.name, parameter.default
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        try:
            if name not in changed:
                yield name, cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    for name in sorted({name for each in _codes(code) for name in each.co_names} - changed):
        if name in function.__globals__:
            yield name, function.__globals__[name]


def _changed(code: types.CodeType) -> Iterator[str]:
    """Yield the names that a code object changes: a counter, or a list that it fills.

    They are results and not ingredients. What is stored into begins where its name is loaded.
    """
    steps = [*dis.get_instructions(code)]
    starts = set()
    for step in steps:
        if step.opname in ("STORE_GLOBAL", "STORE_DEREF"):
            yield step.argval
        if step.opname in ("STORE_SUBSCR", "DELETE_SUBSCR", "STORE_ATTR") or (
            step.opname in ("LOAD_ATTR", "LOAD_METHOD") and step.argval in FILLS
        ):
            starts.add(_start(step))
    yield from (
        step.argval
        for step in steps
        if step.opname.startswith(("LOAD_GLOBAL", "LOAD_DEREF", "LOAD_NAME"))
        and _start(step) in starts
    )


def _start(step: dis.Instruction) -> tuple[int | None, int | None]:
    at = step.positions
    return (None, None) if at is None else (at.lineno, at.col_offset)


def _members(cls: type) -> Iterator[tuple[str, Any]]:
    """Yield what a class is made from: methods, plain values and bases."""
    for key, value in vars(cls).items():
        if callable(value) or not key.startswith("__"):
            yield key, value
    for base in cls.__bases__:
        yield base.__name__, base


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """Yield a code object and those within it."""
    yield code
    for value in code.co_consts:
        if isinstance(value, types.CodeType):
            yield from _codes(value)


def _text(code: types.CodeType) -> str:
    """Write what a code object does, without where it lies in its file.

    A call of ``torch.rand`` is compiled in another way if the same text imports torch; a notebook
    compiles every statement alone. That makes no difference here.
    """
    lines = []
    for each in _codes(code):
        names = (each.co_argcount, each.co_posonlyargcount, each.co_kwonlyargcount)
        lines.append(repr((*names, each.co_varnames, each.co_flags & 0xFFF)))
        at, steps = dict[int, int](), list[dis.Instruction]()
        for step in dis.get_instructions(each):
            at[step.offset] = len(steps)
            if step.opname != "PUSH_NULL":
                steps.append(step)
        for step in steps:
            jumps = step.opcode in dis.hasjrel or step.opcode in dis.hasjabs
            value = at[step.argval] if jumps else _constant(step.argval)
            lines.append(f"{step.opname.replace('LOAD_METHOD', 'LOAD_ATTR')} {value}")
        for entry in getattr(dis.Bytecode(each), "exception_entries", ()):
            lines.append(f"{at[entry.start]} {at.get(entry.end)} {at[entry.target]}")
    return "\n".join(lines)


def _constant(value: Any) -> str:
    """Write an argument; the order of a set differs from process to process."""
    if isinstance(value, types.CodeType):
        return value.co_name
    if isinstance(value, frozenset):
        return f"set {sorted(map(_constant, value))}"
    if isinstance(value, tuple):
        return f"tuple {[*map(_constant, value)]}"
    return repr(value)


def _written(value: Any, inside: list[tuple[str, Any]], seen: set[int]) -> str | None:
    """Write a value, or a container of any things; return None for anything else.

    Functions in a container, and classes of objects, are added to ``inside`` with their names.
    seen: the objects so far, each of which is written once.
    """

    def text_of(each: Any) -> str:
        if (text := _written(each, inside, seen)) is not None:
            return text
        known = each if isinstance(each, NAMED) else type(each)
        inside.append((known.__name__, known if _is_holder(each) else each))
        if not _is_holder(each) or id(each) in seen:
            return f"<{known.__name__}>"
        seen.add(id(each))
        parts = (f"{key}={text_of(part)}" for key, part in _attributes(each).items())
        return f"{known.__name__}({', '.join(parts)})"

    if value is None or isinstance(value, PLAIN) or str(type(value)) in OF_TORCH:
        return repr(value)
    if isinstance(value, np.generic):
        return repr(value.item())
    if isinstance(value, dict):
        return f"{{{', '.join(f'{text_of(k)}: {text_of(v)}' for k, v in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(text_of, value))}]"
    if isinstance(value, set | frozenset):
        return f"[{', '.join(sorted(map(text_of, value)))}]"
    return None


def _is_holder(thing: Any) -> bool:
    """Return whether the attributes of an object are the user's values, such as a config's."""
    return isinstance(thing, HOLDERS) or (not isinstance(thing, type) and _is_own(type(thing)))


def _attributes(thing: Any) -> dict[str, Any]:
    """Return the attributes of an object, those in slots as well."""
    state = object.__getstate__(thing)
    parts = state if isinstance(state, tuple) else (state,)
    return {key: value for part in parts for key, value in (part or {}).items()}
