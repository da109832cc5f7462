"""What the command line, or a config, says of a program of the user's own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from clr_cli.errors import InputError

if TYPE_CHECKING:
    from clr_cli.config.program import ProgramConfig, ProgramSearch


@dataclass(frozen=True)
class ProgramArguments:
    """Options; what is not given there, a config may say. config: its name."""

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
    """Whether a config is that of a program. Raises InputError for one that cannot be read."""
    from clr_cli.config.load import read_tree

    return config is not None and "command" in read_tree(config, sets)


def comparison(given: ProgramArguments, *, allow_code: bool) -> ProgramConfig:
    """What is to be compared, checked.

    Raises InputError; also where a config's command may not be run without --allow-code.
    """
    from clr_cli.config.load import validate_as
    from clr_cli.config.program import ProgramConfig, parse_arms

    tree, source = _tree(given, allow_code)
    if given.arms:
        tree["arms"] = parse_arms(given.arms)
    if not tree.get("arms"):
        raise InputError("give --arm name:key=value two times or more, the settings to compare")
    tree = _with(tree, "compare", {k: v for k, v in given.compare.items() if v is not None})
    return validate_as(ProgramConfig, tree, source)


def search(
    given: ProgramArguments, *, start: float | None, delta: float | None, allow_code: bool
) -> ProgramSearch:
    """What rates are to be searched for, checked. At most one arm: values beside the rate.

    Raises InputError as ``comparison`` does.
    """
    from clr_cli.config.hints import did_you_mean
    from clr_cli.config.load import validate_as
    from clr_cli.config.program import RATE, ProgramSearch, parse_arms

    tree, source = _tree(given, allow_code)
    tree.pop("compare", None)
    known = tree.pop("arms", None) or {}
    if not isinstance(known, dict):
        raise InputError("must be a mapping of settings by name", key="arms", source=source)
    if len(given.arms) > 1:
        raise InputError("--arm: the rates of one arm are searched for at a time")
    for text in given.arms:
        if ":" in text:
            known = parse_arms([text])
        name = text.partition(":")[0]
        if name not in known:
            raise InputError(f"--arm {name}: is not there{did_you_mean(name, [*known])}")
        values = known[name] or {}
        if isinstance(values, dict):  # an arm of a comparison has a rate; here it is asked for
            values = {key: value for key, value in values.items() if key != RATE}
        tree["values"] = values
    tree |= {k: v for k, v in (("start", start), ("delta", delta)) if v is not None}
    return validate_as(ProgramSearch, tree, source)


def _tree(given: ProgramArguments, allow_code: bool) -> tuple[dict[str, Any], str]:
    """The keys so far, and where they come from."""
    from clr_cli.config.load import find_config, read_tree
    from clr_cli.records import Metric

    tree: dict[str, Any] = {} if given.config is None else read_tree(given.config, given.sets)
    source = "--cmd" if given.config is None else str(find_config(given.config))
    if given.config is None and given.sets:
        raise InputError("--set changes a key of a --config; with --cmd there is none")
    if given.command is None and not allow_code:
        raise InputError(
            f"{tree.get('command')!r} runs a program of your own; pass --allow-code",
            key="command",
            source=source,
        )
    tree |= {} if given.command is None else {"command": given.command}
    tree |= {} if given.name is None else {"name": given.name}
    tree |= {"read": list(given.reads)} if given.reads else {}
    tree |= {} if given.time_limit is None else {"time_limit": given.time_limit}
    metric = {key: value for key, value in given.metric.items() if value is not None}
    tree = _with(tree, "metric", metric)
    if not isinstance(tree.get("metric"), dict):
        raise InputError("give --metric NAME, the number of the program's rows that is compared")
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
    """The value of --seeds as the config has it: a number, a list or auto. Raises InputError."""
    if text is None or text.startswith("auto"):
        return text
    if not re.fullmatch(r"\d+(,\d+)*", text):
        raise InputError(f"--seeds {text!r}: give a number, a list such as 0,1,7, or auto[:CAP]")
    return int(text) if text.isdigit() else [int(part) for part in text.split(",")]


def parse_target(text: str | None) -> float | str | None:
    """The value of --target: a number or auto. Raises InputError."""
    if text is None or text == "auto":
        return text
    try:
        return float(text)
    except ValueError:
        raise InputError(f"--target {text!r}: give a number, or auto") from None
