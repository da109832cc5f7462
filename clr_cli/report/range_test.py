"""Write and read the files of a range test: CSV, bounds, figures, without torch."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from clr_cli.analysis.finders import Estimate
from clr_cli.analysis.suggest import Suggestion
from clr_cli.analysis.sweeps import smooth_accuracy, smooth_loss
from clr_cli.config.yaml_text import dump
from clr_cli.errors import InputError
from clr_cli.files import write_atomic, write_json
from clr_cli.format import rounded_lr
from clr_cli.paths import BOUNDS, CURVES, RESULT
from clr_cli.records import (
    Answer,
    Bound,
    Bounds,
    RangeTestResult,
    Stopped,
    Sweep,
    SweepEnd,
    read,
)
from clr_cli.report.figures import comparison as plots
from clr_cli.report.figures.probes import probes
from clr_cli.report.figures.style import save_figure

COLUMNS = ("sweep", "iteration", "lr", "train_loss", "train_loss_smooth")
VAL_COLUMNS = ("val_loss", "val_accuracy", "val_accuracy_smooth")
REMEDY = "run the same clr range-test again to write it anew (finished sweeps are kept)"
ESTIMATES = ("base_lr", "max_lr", "steepest", "valley", "minimum")


def to_csv(sweeps: Sequence[Sweep]) -> str:
    """Return raw and smoothed curves: a row per sweep and iteration."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*COLUMNS, *VAL_COLUMNS])
    for sweep in sweeps:
        smoothed = smooth_loss(sweep.train_loss)
        points = zip(
            sweep.val_loss, sweep.val_accuracy, smooth_accuracy(sweep.val_accuracy), strict=True
        )
        measured = dict(zip(sweep.val_lr, points, strict=True))
        for i, (lr, loss) in enumerate(zip(sweep.lr, sweep.train_loss, strict=True)):
            smooth = smoothed[i] if i < len(smoothed) else ""
            row = [sweep.seed, i, lr, loss, smooth, *measured.get(lr, ("", "", ""))]
            writer.writerow(row)
    return buffer.getvalue()


def from_csv(text: str, stopped: Mapping[int, Stopped | None]) -> list[Sweep]:
    """Read the sweeps of ``to_csv``; why each stopped is in result.json."""
    rows: dict[int, list[dict[str, str]]] = {}
    for row in csv.DictReader(io.StringIO(text)):
        rows.setdefault(int(row["sweep"]), []).append(row)

    def column(of: Sequence[Mapping[str, str]], name: str) -> list[float]:
        return [float(row[name]) for row in of]

    sweeps = []
    for seed, every in rows.items():
        points = [row for row in every if row["val_accuracy"]]
        sweeps.append(
            Sweep(
                seed=seed,
                lr=column(every, "lr"),
                train_loss=column(every, "train_loss"),
                val_lr=column(points, "lr"),
                val_accuracy=column(points, "val_accuracy"),
                val_loss=column(points, "val_loss"),
                stopped=stopped.get(seed),
            )
        )
    return sweeps


def figure(sweeps: Sequence[Sweep], bounds: Bounds) -> Figure:
    """Draw accuracy and loss against learning rate, with the sweeps' bounds."""
    base, top = bounds.base_lr, bounds.max_lr
    return plots.range_test(
        sweeps,
        smooth=[(s.val_lr, smooth_accuracy(s.val_accuracy)) for s in sweeps],
        smooth_loss=[(s.lr[: len(y)], y) for s in sweeps for y in [smooth_loss(s.train_loss)]],
        base_lr=None if base is None else base.value,
        max_lr=None if top is None else top.value,
        base_range=None if base is None else (base.low, base.high),
        max_range=None if top is None else (top.low, top.high),
    )


def read_figure(directory: Path) -> Figure | None:
    """Draw the figure again from a range test's files; None without a range test.

    Where the sweeps' curves are missing, the figure shows the probes alone; None without probes.
    """
    if not (directory / RESULT).exists():
        return None
    result = read(RangeTestResult, directory / RESULT, remedy=REMEDY)
    path, sweeps = directory / CURVES, []
    if path.exists():
        stopped = {sweep.seed: sweep.stopped for sweep in result.sweeps}
        try:
            sweeps = from_csv(path.read_text(encoding="utf-8"), stopped)
        except (OSError, ValueError, KeyError, TypeError, OverflowError, csv.Error) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0][:200]
            raise InputError(f"damaged: {reason}; {REMEDY}", source=path) from None
    if result.answer is not None:
        return probes(result.answer, sweeps)
    return figure(sweeps, result.estimates) if sweeps else None


def write(
    directory: Path,
    sweeps: Sequence[Sweep],
    suggestion: Suggestion,
    circumstances: Mapping[str, Any],
    answer: Answer | None,
) -> tuple[RangeTestResult, list[Path]]:
    """Write range_test.csv, the figures, bounds.yaml (only for an answer) and result.json, last.

    Args:
        directory: of the files.
        sweeps: their curves.
        suggestion: what the sweeps suggest.
        circumstances: the other keys of ``records.RangeTestResult``, such as range and seconds.
        answer: of the probes; None where the sweeps alone are to answer.

    """
    result = RangeTestResult(
        inconclusive=suggestion.inconclusive if answer is None else answer.inconclusive,
        next_range=suggestion.next_range,
        estimates=Bounds(**{name: _bound(getattr(suggestion, name)) for name in ESTIMATES}),
        sweeps=[SweepEnd(seed=sweep.seed, stopped=sweep.stopped) for sweep in sweeps],
        answer=answer,
        **circumstances,
    )
    write_atomic(directory / CURVES, to_csv(sweeps))
    written = [directory / CURVES]
    written += save_figure(figure(sweeps, result.estimates), directory / "range_test")
    if answer is not None:
        written += save_figure(probes(answer, sweeps), directory / "probes")
    bounds = directory / BOUNDS
    if result.inconclusive:
        bounds.unlink(missing_ok=True)  # an older answer must not pass for this one's
    else:
        base_lr, max_lr = recommended(result)
        good = {} if answer is None else {"low": answer.low, "high": answer.high}
        write_atomic(bounds, dump({"base_lr": base_lr, "max_lr": max_lr, **good}))
        written.append(bounds)
    write_json(directory / RESULT, result.plain())
    return result, [*written, directory / RESULT]


def recommended(result: RangeTestResult) -> tuple[float, float]:
    """Return base_lr and max_lr of a result that is not inconclusive."""
    if (answer := result.answer) is not None:
        base_lr, max_lr = answer.base_lr, answer.max_lr
    else:
        bounds = result.estimates.base_lr, result.estimates.max_lr
        base_lr, max_lr = (None if each is None else rounded_lr(each.value) for each in bounds)
    if base_lr is None or max_lr is None:
        raise ValueError("the range test is inconclusive")
    return base_lr, max_lr


def _bound(estimate: Estimate | None) -> Bound | None:
    if estimate is None:
        return None
    return Bound(**{**asdict(estimate), "per_sweep": [*estimate.per_sweep]})
