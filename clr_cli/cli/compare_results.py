"""``clr compare --from``: a comparison of runs that were executed elsewhere."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from clr_cli.cli import terminal
from clr_cli.cli.options import command_line
from clr_cli.errors import InputError
from clr_cli.files import check_writable
from clr_cli.paths import Experiment

if TYPE_CHECKING:
    from clr_cli.records import Metric, RunRecord

# Those that apply.
OPTIONS = {"source", "metric", "mode", "unit", "paired", "schedules", "baseline", "target"}
OPTIONS |= {"margin", "detect", "name", "output_dir", "as_json"}


@dataclass(frozen=True)
class Request:
    """What was asked of a table of results, as it was typed."""

    source: Path
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
    as_json: bool = False


def compare(request: Request) -> None:
    """Read, compare, write and print. Raises InputError."""
    from clr_cli.analysis.summary import summarize
    from clr_cli.cli import results
    from clr_cli.execution.elsewhere import Table
    from clr_cli.report import write
    from clr_cli.report.controlled import DESIGNS

    table = Table.read(request.source)
    name = table.choose(request.metric)
    chosen = None if request.schedules is None else request.schedules.split(",")
    records = table.runs(name, chosen)
    metric = _metric(name, request, records)
    arms = list(dict.fromkeys(record.arm for record in records))
    for arm in chosen or ():
        if arm not in arms:
            there = dict.fromkeys(record.arm for record in table.runs(name))
            raise InputError(f"--schedules: no arm {arm!r}; there are {_listed([*there])}")
    if chosen:
        arms = chosen
        records.sort(key=lambda record: arms.index(record.arm))
    baseline = _baseline(request, arms)
    if len(arms) < 2 and isinstance(baseline, str):
        raise InputError(
            f"{_listed(arms)} is the only arm; give a second one, or a number as --baseline",
            source=request.source,
        )
    if isinstance(baseline, str) and not any(
        record.arm == baseline and record.status != "failed" for record in records
    ):
        raise InputError(f"no run of the baseline {baseline} has a {name}", source=request.source)
    folder = _folder(request)
    counted = (
        f"{len(records)} runs of {len(arms)} arms" if len(arms) > 1 else f"{len(records)} runs"
    )
    file = request.source.name.encode(errors="backslashreplace").decode()
    summary = summarize(
        records,
        experiment=folder.parent.name,
        context={"source": f"{file} ({counted}, sha256 {table.sha256[:12]})"},
        baseline=baseline,
        paired=request.paired,
        metric=metric,
        watched=metric,
        target=_target(request),
        margin=_positive("--margin", request.margin),
        detect=_positive("--detect", request.detect),
    )
    hint = " (give --paired if runs of equal seeds do)" if summary["design"] == "unpaired" else ""
    terminal.plan(
        f"clr compare: {folder.parent.name}, {len(arms)} arms",
        [
            ("results", summary["contract"]["source"]),
            (
                "metric",
                f"{metric.label}, {'higher' if metric.mode == 'max' else 'lower'} is better",
            ),
            ("design", DESIGNS[summary["design"]] + hint),
            ("baseline", summary["baseline"]),
        ],
    )
    summary["reproduce"] = {"command": command_line(), "config": ""}
    written = write.write_comparison(folder, summary, records)
    if request.as_json:
        print(json.dumps(summary, indent=2))
        return
    results.print_summary(summary)
    terminal.paths(written)


def _metric(name: str, request: Request, records: Iterable[RunRecord]) -> Metric:
    """The metric with its direction and unit, as given or as its name tells. Raises InputError."""
    from clr_cli.records import KNOWN, Metric, mode_of

    values = [row[name] for record in records for row in record.epochs]
    fractions = all(0 <= value <= 1 for value in values if math.isfinite(value))
    mode, unit = request.mode, request.unit
    if mode is None:
        mode = mode_of(name)
    if mode not in ("max", "min"):
        given = f" {mode!r}" if mode is not None else ""
        raise InputError(f"--mode{given}: say whether a higher {name} is better (max), or min")
    if unit is None:
        unit = "%" if name in KNOWN and KNOWN[name].unit == "%" and fractions else ""
    if unit == "%" and not fractions:
        out = next(value for value in values if math.isfinite(value) and not 0 <= value <= 1)
        raise InputError(
            f"--unit %: the values must be fractions, but there is {out:g}; leave it out"
        )
    if len(unit) > 30 or not unit.isprintable():
        raise InputError(f"--unit {unit[:40]!r}: at most 30 characters that can be shown")
    if len(name) > 200 or not name.isprintable():
        raise InputError(f"--metric {name[:40]!r}: at most 200 characters that can be shown")
    return Metric(name=name, mode=_mode(mode), unit=unit)


# Endings of names that tell which direction is better.
def _mode(text: str) -> Literal["max", "min"]:
    return "max" if text == "max" else "min"


def _baseline(request: Request, arms: Sequence[str]) -> str | float:
    """The arm or number that arms are compared with; default: the first arm. Raises InputError."""
    given = request.baseline
    if given is None:
        return arms[0]
    if given in arms:
        return given
    number = _number(given)
    if number is None:
        raise InputError(
            f"--baseline {given}: neither an arm nor a number; there are {_listed(arms)}"
        )
    if request.paired:
        raise InputError(f"--paired: there are no pairs with a number, {given}")
    return number


def _target(request: Request) -> float | Literal["auto"]:
    if request.target in (None, "auto"):
        return "auto"
    number = _number(str(request.target))
    if number is None:
        raise InputError(f"--target {request.target}: give a value of the metric, or auto")
    return number


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and abs(number) <= 1e15 else None


def _positive(option: str, value: float | None) -> float | None:
    if value is not None and not 0 < value <= 1e15:
        raise InputError(f"{option} {value:g}: give a difference above 0")
    return value


def _folder(request: Request) -> Path:
    """Where the comparison is written; refuses the one of runs that were trained here."""
    name = request.name or re.sub(r"[^A-Za-z0-9_.+-]+", "-", request.source.stem).strip("-.")
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,99}", name):
        raise InputError(f"--name {name[:120]!r}: give a name of letters, digits and . _ + -")
    experiment = Experiment(request.output_dir, name)
    folder = experiment.comparison()
    if (experiment.folder / "train").exists():
        raise InputError(f"{folder} is that of runs that were trained here; give another --name")
    check_writable(folder)
    return folder


def _listed(arms: Sequence[str]) -> str:
    return ", ".join(arms[:10]) + (f" and {len(arms) - 10} more" if len(arms) > 10 else "")
