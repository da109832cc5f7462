"""Run ``clr compare --from``: a comparison of runs from files of results."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from clr_cli.cli import comparison
from clr_cli.errors import InputError
from clr_cli.files import check_writable
from clr_cli.paths import Experiment
from clr_cli.results.cells import listed

if TYPE_CHECKING:
    from clr_cli.analysis.expectation import Expect

# Options that may be given with --from.
OPTIONS = {"source", "metric", "mode", "unit", "paired", "schedules", "baseline", "target"}
OPTIONS |= {"margin", "detect", "name", "output_dir", "as_json", "arm_column", "seed_column"}
OPTIONS |= {"step_column", "where", "across", "run_name", "expect"}


@dataclass(frozen=True)
class Columns:
    """The options that say how rows of results become runs."""

    arm: str | None = None
    seed: str | None = None
    step: str | None = None
    where: tuple[str, ...] = ()
    across: str | None = None
    run_name: str | None = None


@dataclass(frozen=True)
class Request:
    """The options of a comparison of results."""

    sources: tuple[str, ...]
    columns: Columns = Columns()
    metric: str | None = None
    mode: str | None = None
    unit: str | None = None
    paired: bool = False
    schedules: str | None = None
    baseline: str | None = None
    target: str | None = None
    margin: float | None = None
    detect: float | None = None
    name: str | None = None
    output_dir: Path = Path("outputs")
    expect: Expect | None = None
    as_json: bool = False


def compare(request: Request) -> None:
    """Read the results, compare them, write the page and print. Raises InputError."""
    try:
        _compare(request)
    except InputError as error:
        raise error.as_option() from error.__cause__


def _compare(request: Request) -> None:
    from clr_cli.analysis import expectation
    from clr_cli.analysis.study import Study
    from clr_cli.records import Metric
    from clr_cli.results import Query, read_results
    from clr_cli.study.table import TableSource

    chosen = None if request.schedules is None else tuple(request.schedules.split(","))
    columns = request.columns
    query = Query(
        sources=request.sources,
        arm_columns=tuple(columns.arm.split(",")) if columns.arm else (),
        seed_column=columns.seed,
        step_column=columns.step,
        metric=request.metric,
        where=columns.where,
        across=columns.across,
        run_name=columns.run_name,
        arms=chosen,
    )
    results = read_results(query)
    name, records = results.metric, results.records
    if request.paired and results.numbered:
        raise InputError(
            "--paired needs the seeds of the runs; name their column with --seed-column"
        )
    values = [row[name] for record in records for row in record.epochs]
    unit = results.unit if request.unit is None else request.unit
    metric = Metric.resolve(name, request.mode, unit, values)
    arms = [*(chosen or dict.fromkeys(record.arm for record in records))]
    baseline = _baseline(request, arms)
    if len(arms) < 2 and isinstance(baseline, str):
        raise InputError(
            f"{listed(arms)} is the only arm; add another, or give a number as --baseline",
            source=query.source,
        )
    if isinstance(baseline, str):
        arms = [baseline, *(arm for arm in arms if arm != baseline)]
    folder = _folder(request, query.name)
    study = Study(
        name=folder.parent.name,
        arms=tuple(arms),
        baseline=baseline,
        seeds=tuple(sorted({record.seed for record in records})),
        metric=metric,
        paired=request.paired,
        target=_target(request),
        margin=request.margin,
        detect=request.detect,
    )
    expectation.check(study, request.expect)
    source = TableSource(records, name, query.source, results.sha256, results.notes)
    summary, written = comparison.compare(study, source, comparison.Place(folder))
    rows = [("results", summary.controlled.source or "")]
    rows += [("note", note) for note in results.notes]
    comparison.print_plan(study, rows, comparison.CAN_PAIR)
    comparison.print_result(summary, written, request.expect, as_json=request.as_json)


def _baseline(request: Request, arms: Sequence[str]) -> str | float:
    """Return the arm or number to compare with; default: the first arm. Raises InputError."""
    text = request.baseline
    if text is None:
        return arms[0]
    if text in arms:
        return text
    number = _number(text)
    if number is None:
        raise InputError(
            f"--baseline {text}: neither an arm nor a number; the arms are {listed(arms)}"
        )
    if request.paired:
        raise InputError(
            f"--paired: the baseline {text} is a number and has no runs to pair; leave it out"
        )
    return number


def _target(request: Request) -> float | Literal["auto"]:
    if request.target in (None, "auto"):
        return "auto"
    number = _number(str(request.target))
    if number is None:
        raise InputError(f"--target {request.target}: expected a value of the metric, or auto")
    return number


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and abs(number) <= 1e15 else None


def _folder(request: Request, stem: str) -> Path:
    """Return the comparison's folder. Raises InputError if clr trained runs there."""
    name = request.name or re.sub(r"[^A-Za-z0-9_.+-]+", "-", stem).strip("-.")
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,99}", name):
        raise InputError(f"--name {name[:120]!r}: expected letters, digits and . _ + -")
    experiment = Experiment(request.output_dir, name)
    folder = experiment.comparison()
    if (experiment.folder / "train").exists():
        raise InputError(f"{folder} belongs to runs that clr trained; give another --name")
    check_writable(folder)
    return folder
