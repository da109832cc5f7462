"""Show what files of results contain, before any verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace
from itertools import chain

from clr_cli.errors import InputError
from clr_cli.records import RunRecord, mode_of
from clr_cli.results.cells import listed
from clr_cli.results.columns import metrics_of, suggestions
from clr_cli.results.query import Query, Results
from clr_cli.results.read import Loaded, load, runs_of

MOST_METRICS = 30


@dataclass(frozen=True)
class Overview:
    """Facts as (label, text), what is missing, and the command that compares, if there is one."""

    facts: list[tuple[str, str]]
    missing: list[str]
    command: str | None


def overview(query: Query) -> Overview:
    """Return what files contain, and the command that compares them. Raises InputError."""
    loaded = load(query)
    kinds = Counter(frame.kind for frame in loaded.frames)
    names = metrics_of(loaded.frames)
    facts = [
        ("kind", listed(kinds)),
        ("files", f"{len(loaded.paths)}: {listed(loaded.paths, 4)}"),
        ("rows", f"{sum(frame.rows for frame in loaded.frames):,}"),
        ("columns", listed((n for frame in loaded.frames for n in frame.names), MOST_METRICS)),
        ("metrics", listed(names, MOST_METRICS) or "none"),
    ]
    missing: list[str] = []
    metric = query.metric or _metric(names)
    if metric is None:
        return Overview(facts, ["no column with numbers that could be the metric"], None)
    with_metric = replace(query, metric=metric)
    try:
        chosen, results = with_metric, runs_of(loaded, with_metric)
    except InputError as error:
        tried = _first_that_works(loaded, with_metric)
        if tried is None:
            return Overview(facts, [*missing, str(error)], None)
        missing.append("a column 'arm'; the command below shows where the arms come from")
        chosen, results = tried
    mode = () if mode_of(metric) is not None else ("--mode", "max")
    if mode:
        missing.append(f"whether a higher {metric} is better: --mode max or --mode min")
    arms = list(dict.fromkeys(run.arm for run in results.records))
    if len(arms) < 2:
        missing.append("a second arm, or a number to compare with: --baseline NUMBER")
    for name, block in results.blocks.items():
        facts += [("data set", name)] * bool(name) + _runs(block.records, arms)
    facts += [("metric", metric), *(("note", note) for note in dict.fromkeys(results.notes))]
    return Overview(facts, missing, chosen.command(*mode))


def _first_that_works(loaded: Loaded, query: Query) -> tuple[Query, Results] | None:
    """Return the first suggestion that works, if possible one with seeds."""
    working = []
    for better in suggestions(loaded.frames, query):
        try:
            again = (
                load(better) if better != replace(query, arm_columns=better.arm_columns) else loaded
            )
            working.append((better, runs_of(again, better)))
        except InputError:
            continue
    return min(working, key=lambda each: each[1].numbered, default=None)


def _metric(names: list[str]) -> str | None:
    """Return the likeliest metric: of known direction, if possible on held-out data."""

    def rank(name: str) -> tuple[bool, bool]:
        held_out = any(part in name.casefold() for part in ("val", "test", "eval", "map"))
        return mode_of(name) is None, not held_out

    return min(names, key=rank, default=None)


def _runs(block: list[RunRecord], arms: list[str]) -> list[tuple[str, str]]:
    seeds = {arm: [run.seed for run in block if run.arm == arm] for arm in arms}
    failed = sum(run.status != "finished" for run in block)
    rows = {len(run.epochs) for run in block} or {0}
    each = _count(rows.pop(), "row") if len(rows) == 1 else f"{_range(rows)} rows"
    facts = [
        ("arms", listed((f"{arm} ({_count(len(seeds[arm]), 'run')})" for arm in arms), 12)),
        ("seeds", listed(sorted(set(chain(*seeds.values()))), 12)),
        ("runs", f"{_count(len(block), 'run')}, {failed or 'none'} failed, {each} each"),
    ]
    for key in ("iteration", "epoch", "seconds"):
        ends = [run.epochs[-1][key] for run in block if run.epochs and key in run.epochs[-1]]
        if ends:
            facts.append((f"last {key}", _range(ends)))
            break
    gaps = {arm: sorted({*chain(*seeds.values())} - {*seeds[arm]}) for arm in arms}
    lacking = [f"{arm} lacks seeds {listed(left, 5)}" for arm, left in gaps.items() if left]
    return facts + ([("gaps", listed(lacking, 5))] if lacking else [])


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("s" if number != 1 else "")


def _range(values: Collection[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
