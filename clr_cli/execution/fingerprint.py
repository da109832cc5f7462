"""Tell what a function of the user's is made from: code and plain values, by name.

The compiled code counts, because that is what runs: a file may have been edited after its import,
and comments change nothing. Whole modules of the user's are digested as files.
"""

from __future__ import annotations

import dis
import functools
import inspect
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from clr_cli.files import digest
from clr_cli.training.code import source_digests

FILLS = {"append", "extend", "insert", "add", "update", "setdefault", "pop", "clear", "remove"}
SHOWN = 100  # characters of a value that is kept as text; a longer one is kept as a digest


@dataclass(frozen=True)
class Fingerprint:
    """What a function is made from.

    Attributes:
        code: digests of the function, and of the user's own functions, classes and modules that it
            uses.
        values: the numbers, texts, and lists, tuples and dictionaries of them that it refers to,
            without those that it fills itself. Arrays and objects of libraries do not count.
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
        try:
            text = _plain(thing)
        except RecursionError:  # it contains itself
            continue
        if text is not None:
            found.values[name] = text if len(text) <= SHOWN else digest(text.encode())
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
        elif isinstance(thing, types.FunctionType):
            if thing is function or _is_own(thing):
                found.code[thing.__qualname__] = digest(_text(thing.__code__).encode())
                waiting += _used(thing)
        elif isinstance(thing, type):
            if _is_own(thing):
                waiting += [(f"{name}.{key}", value) for key, value in _members(thing)]
        elif isinstance(thing, staticmethod | classmethod | property):
            inner = thing.fget if isinstance(thing, property) else thing.__func__
            waiting.append((name, inner))
        elif _is_own(type(thing)):  # an object of the user's, such as a config
            waiting.append((type(thing).__name__, type(thing)))
            inside = getattr(thing, "__dict__", {})
            waiting += [(f"{name}.{key}", value) for key, value in inside.items()]
    return Fingerprint(dict(sorted(found.code.items())), dict(sorted(found.values.items())))


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


def _plain(value: Any) -> str | None:
    """Write a plain value; None for anything else."""
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        return repr(value)
    if isinstance(value, list | tuple):
        texts = [*map(_plain, value)]
        return None if None in texts else f"[{', '.join(map(str, texts))}]"
    if isinstance(value, dict):
        texts = [each for pair in value.items() for each in map(_plain, pair)]
        pairs = zip(texts[::2], texts[1::2], strict=True)
        return None if None in texts else f"{{{', '.join(f'{k}: {v}' for k, v in pairs)}}}"
    return None
