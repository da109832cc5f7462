"""Find the columns of arm, seed, clocks, status and metric by name, without case."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from clr_cli.errors import InputError, excerpt
from clr_cli.records import mode_of
from clr_cli.results.cells import COMMAS, is_missing, listed, number
from clr_cli.results.frame import Frame
from clr_cli.results.query import Query
from clr_cli.results.sources import suggested_pattern

# Key of a run's rows -> names of its column, the most certain first.
CLOCKS = {
    "iteration": (
        *("iteration", "step", "global_step", "_step", "trainer/global_step", "iter"),
        *("timesteps", "timestep", "total_timesteps", "time/total_timesteps", "update"),
    ),
    "epoch": ("epoch",),
    "seconds": (
        *("seconds", "time", "elapsed", "time_elapsed", "time/time_elapsed", "_runtime"),
        *("relative_time", "relative time (process)", "relative time (wall)"),
    ),
}
SEEDS = ("seed", "random_seed", "rng_seed", "manual_seed", "seed_everything")
STATUS = ("status", "state")
RUNS = ("run_id", "run", "run_name", "name")
# Names of columns that often identify arms, the likeliest first; suggested, never assumed.
ARM_NAMES = (
    *("method", "model", "variant", "config", "algo", "algorithm", "optimizer", "optim"),
    *("schedule", "scheduler", "experiment", "setting", "group", "lr", "lr0", "learning_rate"),
    *RUNS,
)
MOST_VALUES = 40


@dataclass(frozen=True)
class Roles:
    """The columns by their roles; `Frame.find` returns a frame's own name of one."""

    arms: tuple[str, ...]
    seed: tuple[str, ...]  # names, of which a frame has one; empty: runs are numbered
    metric: str
    clocks: dict[str, tuple[str, ...]]

    def not_factors(self, frame: Frame) -> set[str]:
        """Return the columns of a frame with a known role."""
        known = [self.seed, STATUS, (self.metric,), *self.clocks.values()]
        known += [(arm,) for arm in self.arms]
        return {name for names in known if (name := frame.find(names)) is not None} | {"arm"}


def is_long(frames: Sequence[Frame]) -> bool:
    """Return whether the frames are in long form, with columns ``metric`` and ``value``."""
    return all({"metric", "value"} <= {*frame.columns} for frame in frames)


def metrics_of(frames: Sequence[Frame], known: Iterable[str] = ()) -> list[str]:
    """Return the columns that may be the metric: those with a number."""
    if is_long(frames):
        named = (str(c).strip() for f in frames for c in f.columns["metric"] if not is_missing(c))
        return [*dict.fromkeys(named)]
    others = {"arm", *SEEDS, *STATUS, "_timestamp", "wall_time", "timestamp", *known}
    others |= {name for names in CLOCKS.values() for name in names}
    metrics: dict[str, bool] = {}
    for frame in frames:
        for name, cells in frame.columns.items():
            index = not name or name.startswith("Unnamed: ")  # the index of pandas
            if name in metrics or index or name.casefold() in others:
                continue
            if any(number(cell, comma=frame.comma) is not None for cell in cells):
                metrics[name] = True
    return [*metrics]


def resolve(frames: Sequence[Frame], query: Query) -> Roles:
    """Return the roles of the columns. Raises InputError with a command if they are ambiguous."""
    clocks = dict(CLOCKS)
    if query.step_column is not None:
        name = _given(frames, query.step_column, "--step-column", query)
        key = next((k for k, names in CLOCKS.items() if name.casefold() in names), "iteration")
        clocks = {key: (name,)}
    seed: tuple[str, ...] = ()
    if query.seed_column is not None:
        seed = (_given(frames, query.seed_column, "--seed-column", query),)
    elif all(seeds := [_seed_name(frame) for frame in frames]):
        seed = tuple(dict.fromkeys(str(name) for name in seeds))
    elif any(seeds):
        without = frames[seeds.index(None)].path
        raise InputError(
            f"no column of seeds, but other files have one; {_there(frames)}", source=without
        )
    arms = tuple(_given(frames, name, "--arm-column", query) for name in query.arm_columns)
    if not arms:
        without_arm = [frame for frame in frames if frame.find(("arm",)) is None]
        if without_arm:
            raise _no_arm(frames, without_arm[0], query)
        arms = ("arm",)
    return Roles(arms, seed, _metric(frames, query, arms), clocks)


def _seed_name(frame: Frame) -> str | None:
    last = {name.casefold().replace("/", ".").rpartition(".")[2]: name for name in frame.names}
    return frame.find(SEEDS) or next((last[name] for name in SEEDS if name in last), None)


def _given(frames: Sequence[Frame], name: str, option: str, query: Query) -> str:
    for frame in frames:
        if frame.find((name,)) is None:
            several = len({frame.path for frame in frames}) > 1
            raise InputError(
                f"{option} {name}: not a column{f' of {frame.path}' if several else ''};"
                f" {_there(frames)}",
                source=query.source,
            )
    return frames[0].find((name,)) or name


def _there(frames: Sequence[Frame]) -> str:
    """List the columns for a message."""
    names = list(dict.fromkeys(name for frame in frames for name in frame.names))
    return f"the columns are {listed(map(excerpt, names), 20)}"


def _metric(frames: Sequence[Frame], query: Query, arms: Sequence[str]) -> str:
    identity = [*arms, *([query.across] if query.across is not None else [])]
    metrics = metrics_of(frames, (name.casefold() for name in identity))
    names_text = listed(map(excerpt, metrics), 20) or "none"
    if query.metric is not None:
        reserved = ("arm", *SEEDS, *STATUS)
        names = metrics if is_long(frames) else [name for frame in frames for name in frame.columns]
        by_case = {name.casefold(): name for name in reversed(names)}
        name = query.metric if query.metric in names else by_case.get(query.metric.casefold())
        if name is None or name.casefold() in reserved:
            raise InputError(
                f"--metric {query.metric}: not found; there are {names_text}", source=query.source
            )
        return name
    directed = [name for name in metrics if mode_of(name) is not None]
    if len(metrics) == 1 or len(directed) == 1:
        return (directed or metrics)[0]
    if not metrics:
        commas = (
            f"; {name} has {excerpt(cells[0])}, but {COMMAS}"
            for frame in frames
            for name, cells in frame.columns.items()
            if cells and number(cells[0], comma=True) is not None and number(cells[0]) is None
        )
        raise InputError(
            f"none of the columns could be the metric; {_there(frames)}{next(commas, '')}",
            source=query.source,
        )
    chosen = (sorted(directed, key=lambda name: not name.startswith(("val", "eval"))) or metrics)[0]
    raise InputError(
        f"several columns could be the metric: {names_text}; name one: "
        f"{query.command(metric=chosen)}",
        source=query.source,
    )


def arm_candidates(frames: Sequence[Frame]) -> list[str]:
    """Return the columns that may identify arms, the likeliest first."""
    values: dict[str, set[str]] = {}
    texts: set[str] = set()
    for frame in frames:
        for name in frame.names:
            distinct = values.setdefault(name, set())
            for cell in frame.columns.get(name) or [frame.constants.get(name)]:
                if len(distinct) <= MOST_VALUES and not is_missing(cell):
                    distinct.add(str(cell))
                    if number(cell) is None:
                        texts.add(name)
    clocks = {name for names in CLOCKS.values() for name in names}
    taken = {*SEEDS, *STATUS, *clocks, "metric", "value"}

    def rank(name: str) -> tuple[int, int]:
        last = re.split(r"[./]", name.casefold())[-1]
        known = ARM_NAMES.index(last) if last in ARM_NAMES else len(ARM_NAMES)
        return known, name not in texts

    fitting = [
        name
        for name, distinct in values.items()
        if 2 <= len(distinct) <= MOST_VALUES and name.casefold() not in taken
        if name in texts or rank(name)[0] < len(ARM_NAMES)
        if mode_of(name) is None
    ]
    return sorted(fitting, key=rank)


def _no_arm(frames: Sequence[Frame], frame: Frame, query: Query) -> InputError:
    better = next(suggestions(frames, query), None)
    hint = f"; say where the arms are: {better.command()}" if better else ""
    several = (
        "" if len(frames) == 1 else f" of {frame.path}" if str(frame.path) != query.source else ""
    )
    return InputError(f"no column 'arm'{several}; {_there(frames)}{hint}", source=query.source)


def suggestions(frames: Sequence[Frame], query: Query) -> Iterator[Query]:
    """Yield queries that may find the arms: by a column, names of runs, or a pattern of paths."""
    candidates = arm_candidates(frames)
    settings = [name for name in candidates if name.casefold() not in RUNS]
    for name in settings[:3]:
        yield replace(query, arm_columns=(name,))
    runs = [str(frame.constants["run"]) for frame in frames if "run" in frame.constants]
    split = [re.fullmatch(r".+?([-_. ]?(?:seed|s|run)?[-_=]?)\d+", run) for run in runs]
    ends = {part and part[1] for part in split}
    if runs and len(ends) == 1 and None not in ends:
        yield replace(query, run_name=f"{{arm}}{ends.pop()}{{seed}}")
    pattern = suggested_pattern(list(dict.fromkeys(frame.path for frame in frames)))
    if pattern is not None:
        yield replace(query, sources=(pattern,))
    for name in candidates:
        if name not in settings:
            yield replace(query, arm_columns=(name,))
