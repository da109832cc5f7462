"""Set values in nested mappings by dotted keys, and compare such mappings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Tree = Mapping[str, Any]


def with_value(tree: Tree, key: str, value: Any) -> dict[str, Any]:
    """Return a tree with this value at a dotted key.

    Raises ValueError "key: what is wrong".

    >>> with_value({"a": {"b": 1, "c": 2}}, "a.b", {"d": 3})
    {'a': {'b': {'d': 3}, 'c': 2}}
    """
    first, _, rest = key.partition(".")
    if not rest:
        return {**tree, first: value}
    below = tree.get(first)
    if below is not None and not isinstance(below, Mapping):
        raise ValueError(f"{key}: {first!r} is a value, not a section with keys")
    return {**tree, first: with_value(below or {}, rest, value)}


def with_values(tree: Tree, values: Tree) -> dict[str, Any]:
    """Return a tree with other values at dotted keys; a mapping changes only the keys it has.

    Raises ValueError as `with_value` does.

    >>> with_values({"a": {"b": 1, "c": 2}}, {"a.b": 3, "a": {"d": 4}})
    {'a': {'b': 3, 'c': 2, 'd': 4}}
    """
    changed = dict(tree)
    for key, value in values.items():
        if isinstance(value, Mapping):
            changed = with_values(changed, {f"{key}.{inner}": v for inner, v in value.items()})
        else:
            changed = with_value(changed, key, value)
    return changed


def differences(trees: Mapping[str, Tree]) -> dict[str, dict[str, Any]]:
    """Return what differs between trees: dotted key -> name of the tree -> value.

    A key that only some trees have is None in the others.

    >>> differences({"old": {"a": {"b": 1}, "c": 0}, "new": {"a": {"b": 2}, "c": 0}})
    {'a.b': {'old': 1, 'new': 2}}
    """
    leaves = {name: _leaves(tree) for name, tree in trees.items()}
    keys = dict.fromkeys(key for each in leaves.values() for key in each)
    values = {key: {name: each.get(key) for name, each in leaves.items()} for key in keys}
    return {key: each for key, each in values.items() if len(set(map(repr, each.values()))) > 1}


def _leaves(tree: Tree, prefix: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        inner = isinstance(value, Mapping)
        leaves |= _leaves(value, f"{prefix}{key}.") if inner else {f"{prefix}{key}": value}
    return leaves
