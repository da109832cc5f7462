"""Run ``clr compare --from``: a comparison of runs from files of results."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clr_cli.cli import across, comparison, program_options
from clr_cli.errors import InputError
from clr_cli.files import check_writable
from clr_cli.paths import Experiment
from clr_cli.results.cells import listed

if TYPE_CHECKING:
    from clr_cli.analysis.expectation import Expect
    from clr_cli.results import Query

# Options that may be given with --from.
OPTIONS = {"source", "metric", "mode", "unit", "paired", "schedules", "baseline", "target"}
OPTIONS |= {"margin", "detect", "name", "output_dir", "as_json", "arm_column", "seed_column"}
OPTIONS |= {"step_column", "where", "across", "run_name", "expect"}


@dataclass(frozen=True)
class Request:
    """The options of a comparison of results; ``query`` selects the runs."""

    query: Query
    mode: str | None = None
    unit: str | None = None
    paired: bool = False
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
    from clr_cli.results import read_results
    from clr_cli.study.collect import collect
    from clr_cli.study.table import TableSource

    query, target = request.query, program_options.parse_target(request.target)
    results = read_results(query)
    if request.paired and results.numbered:
        raise InputError(
            "--paired needs the seeds of the runs; name their column with --seed-column"
        )
    if not results.records:
        raise InputError("no run has ended", source=query.source)
    experiment = _experiment(request, query.name)
    arms = [*(query.arms or dict.fromkeys(record.arm for record in results.records))]
    baseline = _baseline(request, arms)
    if len(arms) < 2 and isinstance(baseline, str):
        raise InputError(
            f"{listed(arms)} is the only arm; add another, or give a number as --baseline",
            source=query.source,
        )
    if isinstance(baseline, str):
        arms = [baseline, *(arm for arm in arms if arm != baseline)]

    several = query.across is not None
    if several and len(results.blocks) == 1:
        only = next(iter(results.blocks))
        raise InputError(f"--across {query.across}: all runs are of {only}; leave it out")
    studies, sources = {}, {}
    for data_set, block in results.blocks.items():
        values = [row[results.metric] for record in block.records for row in record.epochs]
        unit = results.unit if request.unit is None else request.unit
        there = {record.arm for record in block.records}
        studies[data_set] = Study(
            name=f"{experiment.name}: {data_set}" if several else experiment.name,
            arms=tuple(arm for arm in arms if arm in there or not several),
            baseline=baseline,
            seeds=tuple(sorted({record.seed for record in block.records})),
            metric=Metric.resolve(results.metric, request.mode, unit, values),
            paired=request.paired,
            target="auto" if target is None else target,
            margin=request.margin,
            detect=request.detect,
        )
        notes = [*results.file_notes, *block.notes]
        sources[data_set] = TableSource(
            block.records, results.metric, query.source, results.sha256, notes
        )
        expectation.check(studies[data_set], request.expect)
    if several:
        across.check(studies, experiment.across())
        for data_set, study in studies.items():
            collect(study, sources[data_set])  # refuses what it must before any page is written
    found = {}
    for data_set, study in studies.items():
        source = sources[data_set]
        folder = experiment.comparison_on(data_set) if several else experiment.comparison()
        summary, written = comparison.compare(study, source, comparison.Place(folder))
        rows = [("results", summary.controlled.source or "")]
        rows += [("note", note) for note in source.notes]
        comparison.print_plan(study, rows, comparison.CAN_PAIR)
        if not several:
            comparison.print_result(summary, written, request.expect, as_json=request.as_json)
            return
        across.tell(data_set, summary)
        found[data_set] = folder, summary
    across.conclude(experiment.across(), found, request.expect, as_json=request.as_json)


def _baseline(request: Request, arms: Sequence[str]) -> str | float:
    """Return the arm or number to compare with; default: the first arm. Raises InputError."""
    text = request.baseline
    if text is None:
        return arms[0]
    if text in arms:
        return text
    number = program_options.parse_number(text)
    if number is None:
        raise InputError(
            f"--baseline {text}: neither an arm nor a number; the arms are {listed(arms)}"
        )
    if request.paired:
        raise InputError(
            f"--paired: the baseline {text} is a number and has no runs to pair; leave it out"
        )
    return number


def _experiment(request: Request, stem: str) -> Experiment:
    """Return the comparison's experiment. Raises InputError if clr trained runs there."""
    name = request.name or re.sub(r"[^A-Za-z0-9_.+-]+", "-", stem).strip("-.")
    experiment = across.experiment_of(request.output_dir, name)
    if (experiment.folder / "train").exists():
        raise InputError(
            f"{experiment.folder} belongs to runs that clr trained; give another --name"
        )
    check_writable(experiment.comparison())
    return experiment
