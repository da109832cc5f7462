"""Three lines of Python: compare training functions, and find the learning rate of one.

``import clr_cli as clr`` offers what stands here as ``clr.compare`` and ``clr.find_lr``. The
functions run in this process, one after the other; nothing is written until ``save``.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Literal

from clr_cli import __version__
from clr_cli.analysis import sequential
from clr_cli.analysis.comparisons import decide
from clr_cli.analysis.lattice import Ask, Probe
from clr_cli.analysis.lattice import rate as lattice_rate
from clr_cli.analysis.probing import SEEDS, search
from clr_cli.analysis.scoring import Scoring, describe
from clr_cli.analysis.summary import summarize
from clr_cli.config.program import DEFAULT_START, ProgramCompare
from clr_cli.errors import InputError
from clr_cli.format import aligned
from clr_cli.records import ControlledVariables, Metric, RateSearch, RunRecord, Summary
from clr_cli.report import rates, write
from clr_cli.report.comparison import figures
from clr_cli.report.figures.probes import probes
from clr_cli.report.page import inline_svg
from clr_cli.report.tables import results_table

Row = Mapping[str, float]
Result = float | Row | Iterable[Row]
Mode = Literal["min", "max"]


@dataclass(frozen=True)
class Comparison:
    """The result: ``summary`` is that of summary.json, ``records`` are the runs."""

    summary: Summary
    records: Sequence[RunRecord]

    @property
    def verdicts(self) -> dict[str, str]:
        """By arm: better, worse, equivalent, no_difference, too_few_seeds or identical."""
        return {each.arm: each.verdict for each in self.summary.comparisons}

    def __str__(self) -> str:
        lines = aligned(*results_table(self.summary))
        return "\n".join([*lines, "", *self._sentences, self.summary.scope])

    def _repr_html_(self) -> str:
        header, rows = results_table(self.summary)
        head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
        )
        said = "".join(f"<p><b>{escape(sentence)}</b></p>" for sentence in self._sentences)
        drawn = {
            name: figure
            for name, figure in figures(self.summary, self.records).items()
            if name in ("difference", "paired_difference")
        }
        svg = "".join(inline_svg(figure, name, name) for name, figure in drawn.items())
        return (
            f"{said}<table><tr>{head}</tr>{body}</table>"
            f'<div style="max-width:36em">{svg}</div><p>{escape(self.summary.scope)}</p>'
        )

    @property
    def _sentences(self) -> list[str]:
        found = [each.sentence for each in self.summary.comparisons]
        return found or [self.summary.verdict]

    def save(self, folder: str | Path) -> Path:
        """Write page, tables and figures to a folder, as ``clr compare`` does; the page's path."""
        written = write.write_comparison(Path(folder), self.summary, self.records)
        return next(path for path in written if path.suffix == ".html")


@dataclass(frozen=True)
class LearningRate:
    """The result of a search; see ``records.RateSearch`` for the parts of ``answer``."""

    answer: RateSearch

    @property
    def lr(self) -> float | None:
        """The rate to use; None where there is no answer."""
        return None if self.answer.inconclusive else self.answer.max_lr

    @property
    def interval(self) -> tuple[float, float] | None:
        """From where to where rates are good; None where there is no answer."""
        low, high = self.answer.low, self.answer.high
        return None if self.answer.inconclusive or not (low and high) else (low, high)

    def __str__(self) -> str:
        return "\n".join(f"{name:<12}  {text}" for name, text in describe(self.answer))

    def _repr_html_(self) -> str:
        return rates.fragment(self.answer, probes(self.answer, ()))

    def save(self, folder: str | Path) -> Path:
        """Write page, figure and values to a folder; the page's path."""
        written = rates.write(Path(folder), self.answer)
        return next(path for path in written if path.suffix == ".html")


def compare(
    arms: Mapping[str, Callable[[int], Result]],
    *,
    metric: str,
    mode: Mode | None = None,
    unit: str | None = None,
    seeds: int | Sequence[int] | str = 6,
    paired: bool = False,
    baseline: str | None = None,
    target: float | Literal["auto"] = "auto",
    margin: float | None = None,
    name: str = "comparison",
) -> Comparison:
    """Is one training function better than another? By how much, how surely, how much sooner?

    Args:
        arms: by name, functions of a seed. Each gives the metric's final value, or rows of numbers
            by name (an iterable of mappings, or one), whose last holds the final value. Rows with
            ``iteration`` or ``seconds`` (since the start) give curves and times to a target. A
            value that is not finite is a run that failed to train.
        metric: its name; of rows also the key.
        mode: whether "min" or "max" is better; known for such names as val_loss and test_accuracy.
        unit: "%" for fractions, which are shown in percent; None: the name and the values decide.
        seeds: how many, which ones, or "auto" or "auto:CAP": add seeds until it is decided.
        paired: whether runs of one seed share their randomness.
        baseline: the arm to compare with; default: the first.
        target: a value of the metric whose time is compared; "auto": the baseline's median.
        margin: the difference that does not matter; None: no arms are called equivalent.
        name: of the comparison, on the page.

    Returns:
        It prints as a table and sentences, shows in a notebook, and ``save`` writes the page.

    Raises:
        ValueError: an argument does not fit, or rows do not hold the metric. What a function
            raises goes through.

    >>> import random
    >>> def train(mean):
    ...     return lambda seed: mean + random.Random(seed).gauss(0, 0.1)
    >>> result = compare({"old": train(2.0), "new": train(1.0)}, metric="val_loss", paired=True)
    >>> result.verdicts
    {'new': 'better'}
    """
    wanted = _metric(metric, mode, unit)
    if len(arms) < 2:
        raise ValueError("arms: give two or more")
    base = next(iter(arms)) if baseline is None else baseline
    if base not in arms:
        raise ValueError(f"baseline: {base!r} is not an arm: {', '.join(arms)}")
    given = ProgramCompare.model_validate(
        {"seeds": seeds if isinstance(seeds, str | int) else [*seeds]}
    )
    ordered = {base: arms[base], **arms}
    looks = [len(given.seed_list)] if given.cap is None else sequential.looks(given.cap)
    rule: dict[str, Any] = {"baseline": base, "margin": margin, "cap": given.cap, "metric": wanted}
    rule["paired"] = paired
    records: list[RunRecord] = []
    for look, count in enumerate(looks):
        for seed in given.seed_list[len(records) // len(arms) : count]:
            records += [_run(arm, train, seed, wanted) for arm, train in ordered.items()]
        seen = looks[: look + 1]
        if given.cap is None:
            break
        decisions = decide(records, looks=seen, **rule)
        if all(each.seeds is not None for each in decisions.values()):
            break
    context = ControlledVariables(
        source="functions in Python", varied="the function", versions=_versions()
    )
    values = [row[metric] for record in records for row in record.epochs if metric in row]
    rule["metric"] = _metric(metric, mode, unit, values)
    summary = summarize(
        records, experiment=name, context=context, target=target, looks=seen, **rule
    )
    return Comparison(summary, records)


def find_lr(
    train: Callable[[float, int], Result],
    *,
    metric: str,
    mode: Mode | None = None,
    unit: str | None = None,
    start: float = DEFAULT_START,
    delta: float | None = None,
    name: str = "learning rate",
) -> LearningRate:
    """Which learning rates are good for a training function?

    Short trainings at single rates, on a lattice of factors of 2, bracket the good rates; the
    answer does not depend on where the search starts. See ``analysis.probing.search``.

    Args:
        train: a function of a learning rate and a seed, which gives the metric's final value or
            rows, as in ``compare``. Short trainings do: rates are judged against one another.
        metric, mode, unit: as in ``compare``.
        start: the rate to begin at.
        delta: how far from the best value is still good, in the metric's unit; None: 3 points of
            a metric in percent, 3 % of the value of any other.
        name: of the search, on the page.

    Returns:
        It prints as sentences, shows in a notebook, and ``save`` writes the page.

    Raises:
        ValueError: an argument does not fit, or rows do not hold the metric. What ``train`` raises
            goes through.

    >>> found = find_lr(lambda lr, seed: 1 + abs(math.log10(lr / 0.01)) ** 2, metric="val_loss")
    >>> [f"{each:.2g}" for each in (found.lr, *found.interval)]
    ['0.0097', '0.0059', '0.016']
    """
    wanted = _metric(metric, mode, unit)
    if not (math.isfinite(start) and start > 0) or (delta is not None and not delta > 0):
        raise ValueError("start and delta must be above zero")
    scoring, begun = Scoring(wanted, delta), time.perf_counter()
    scores: dict[Probe, float | None] = {}
    while isinstance(asked := search(scores, start, scoring.scale, SEEDS), Ask):
        for probe in asked.probes:
            rows = _rows(train(lattice_rate(probe[0]), probe[1]), wanted)
            scores[probe] = scoring.score(_final(rows, wanted, "train"))
    answer = scoring.answer(
        RateSearch,
        asked,
        experiment=name,
        within=scoring.within,
        start=start,
        seconds=time.perf_counter() - begun,
        versions=_versions(),
    )
    return LearningRate(answer)


def _metric(
    name: str, mode: Mode | None, unit: str | None, values: Iterable[float] | None = None
) -> Metric:
    try:
        return Metric.resolve(name, mode, unit, values)
    except InputError as error:
        raise ValueError(str(error)) from None


def _run(arm: str, train: Callable[[int], Result], seed: int, metric: Metric) -> RunRecord:
    begun = time.perf_counter()
    rows = _rows(train(seed), metric)
    value = _final(rows, metric, f"{arm}, seed {seed}")
    result = {
        "final": {key: number for row in rows for key, number in row.items()},
        "train_seconds": time.perf_counter() - begun,
    }
    status: Literal["finished", "diverged"] = "finished" if math.isfinite(value) else "diverged"
    return RunRecord(arm, seed, status, rows, result)


def _rows(given: Result, metric: Metric) -> list[dict[str, float]]:
    """What a function gave, as rows of plain numbers."""
    if isinstance(given, Mapping):
        given = [given]
    if not isinstance(given, Iterable):
        return [{metric.name: float(given)}]
    rows = []
    for row in given:
        if not isinstance(row, Mapping):
            raise ValueError(f"a row is a mapping of numbers by name, not {row!r}")
        rows.append({key: float(value) for key, value in row.items()})
    return rows


def _final(rows: Sequence[Row], metric: Metric, who: str) -> float:
    told = [row[metric.name] for row in rows if metric.name in row]
    if not told:
        known = ", ".join(dict.fromkeys(key for row in rows for key in row)) or "nothing"
        raise ValueError(f"{who}: no row holds {metric.name}; there is {known}")
    return told[-1]


def _versions() -> dict[str, str]:
    return {"clr": __version__, "python": sys.version.split()[0]}
