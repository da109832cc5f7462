"""Combine options and config of a user's program into a checked config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from clr_cli.cli.options import parse_list
from clr_cli.errors import InputError
from clr_cli.results.cells import LARGEST

if TYPE_CHECKING:
    from clr_cli.config.program import ProgramConfig, ProgramSearch


@dataclass(frozen=True)
class ProgramArguments:
    """The options of a program. They override the config whose name is ``config``."""

    config: str | None
    sets: Sequence[str]
    name: str | None
    command: str | None
    arms: Sequence[str]
    reads: Sequence[str]
    metric: Mapping[str, str | None]
    compare: Mapping[str, Any] = field(default_factory=dict)
    time_limit: str | None = None


def is_program(config: str | None, sets: Sequence[str]) -> bool:
    """Return whether a config runs a program. Raises InputError if it cannot be read."""
    from clr_cli.config.load import read_tree

    return config is not None and "command" in read_tree(config, sets)


def comparison(options: ProgramArguments, *, allow_code: bool) -> ProgramConfig:
    """Return the checked config of a comparison.

    Raises InputError, also for a config's command without --allow-code.
    """
    from clr_cli.config.load import validate_as
    from clr_cli.config.program import ProgramConfig, parse_arms

    tree, source = _tree(options, allow_code)
    if options.arms:
        tree["arms"] = parse_arms(options.arms)
    if not tree.get("arms"):
        raise InputError("give two or more --arm name:key=value to compare")
    tree = _with(tree, "compare", {k: v for k, v in options.compare.items() if v is not None})
    return validate_as(ProgramConfig, tree, source)


def search(
    options: ProgramArguments, *, start: float | None, delta: float | None, allow_code: bool
) -> ProgramSearch:
    """Return the checked config of a search for rates, with the values of at most one arm.

    Raises InputError as ``comparison`` does.
    """
    from clr_cli.config.hints import did_you_mean
    from clr_cli.config.load import validate_as
    from clr_cli.config.program import RATE, ProgramSearch, parse_arms

    tree, source = _tree(options, allow_code)
    tree.pop("compare", None)
    known = tree.pop("arms", None) or {}
    if not isinstance(known, dict):
        raise InputError(
            "expected a mapping from the arm's name to its values", key="arms", source=source
        )
    if len(options.arms) > 1:
        raise InputError("--arm: give only one; a search finds the rates of one arm")
    for text in options.arms:
        if ":" in text:
            known = parse_arms([text])
        name = text.partition(":")[0]
        if name not in known:
            raise InputError(f"--arm {name}: not found{did_you_mean(name, [*known])}")
        values = known[name] or {}
        if isinstance(values, dict):  # drop a comparison's rate, which the search replaces
            values = {key: value for key, value in values.items() if key != RATE}
        tree["values"] = values
    tree |= {k: v for k, v in (("start", start), ("delta", delta)) if v is not None}
    return validate_as(ProgramSearch, tree, source)


def _tree(options: ProgramArguments, allow_code: bool) -> tuple[dict[str, Any], str]:
    """Return the keys of config and options, and where they come from."""
    from clr_cli.config.load import find_config, read_tree
    from clr_cli.records import Metric

    tree: dict[str, Any] = {} if options.config is None else read_tree(options.config, options.sets)
    source = "--cmd" if options.config is None else str(find_config(options.config))
    if options.config is None and options.sets:
        raise InputError("--set works only with --config")
    if options.command is None and not allow_code:
        raise InputError(
            f"{tree.get('command')!r} runs your own program; pass --allow-code",
            key="command",
            source=source,
        )
    tree |= {} if options.command is None else {"command": options.command}
    tree |= {} if options.name is None else {"name": options.name}
    tree |= {"read": list(options.reads)} if options.reads else {}
    tree |= {} if options.time_limit is None else {"time_limit": options.time_limit}
    metric = {key: value for key, value in options.metric.items() if value is not None}
    tree = _with(tree, "metric", metric)
    if not isinstance(tree.get("metric"), dict):
        raise InputError("give --metric NAME, the number in the program's rows to compare")
    name = str(tree["metric"].get("name"))
    try:
        mode = tree["metric"].get("mode") or Metric.resolve(name).mode
        unit = Metric.resolve(name, "max").unit
    except InputError as error:
        error.key = f"--{error.key}"
        raise
    return {**tree, "metric": {"mode": mode, "unit": unit, **tree["metric"]}}, source


def _with(tree: dict[str, Any], section: str, values: Mapping[str, Any]) -> dict[str, Any]:
    if not values:
        return tree
    there = tree.get(section)
    return {**tree, section: {**(there if isinstance(there, dict) else {}), **values}}


def parse_seeds(text: str | None) -> Any:
    """Parse --seeds to the config's form: a number, a list or auto. Raises InputError."""
    if text is None or text.startswith("auto"):
        return text
    parts = parse_list(text)
    if not all(part.isdecimal() and len(part) <= 10 for part in parts):
        raise InputError(
            f"--seeds {text!r}: expected a number, a list such as 0,1,7, or auto[:CAP]"
        )
    return int(text) if len(parts) == 1 else [int(part) for part in parts]


def parse_target(text: str | None) -> float | Literal["auto"] | None:
    """Parse --target: a number or auto. Raises InputError."""
    if text is None:
        return None
    if text == "auto":
        return "auto"
    number = parse_number(text)
    if number is None:
        raise InputError(f"--target {text}: expected a value of the metric, or auto")
    return number


def parse_number(text: str) -> float | None:
    """Parse a value of a metric; None for any other text."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) <= LARGEST else None  # nor for nan
