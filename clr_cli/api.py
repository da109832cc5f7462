"""Three lines of Python: compare training functions, and find the learning rate of one.

``import clr_cli as clr`` offers what stands here as ``clr.compare`` and ``clr.find_lr``. The
functions run in this process, one after the other; nothing is written until ``save``.
"""

from __future__ import annotations

import contextlib
import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Literal

from clr_cli.analysis.lattice import Probe
from clr_cli.analysis.lattice import rate as lattice_rate
from clr_cli.analysis.rates import Scoring, describe
from clr_cli.analysis.study import Study
from clr_cli.analysis.summary import analyse
from clr_cli.config.program import DEFAULT_START, ProgramCompare
from clr_cli.errors import InputError
from clr_cli.format import aligned
from clr_cli.records import Metric, RateAnswer, RunRecord, Summary
from clr_cli.report import rates, write
from clr_cli.report.comparison import figures
from clr_cli.report.page import inline_svg
from clr_cli.report.tables import results_table
from clr_cli.study.collect import collect
from clr_cli.study.functions import FunctionSource, Result, final_value, rows_of, versions
from clr_cli.study.rates import RateSearch, search_rates

Mode = Literal["min", "max"]


@dataclass(frozen=True)
class Comparison:
    """What came out. ``summary`` is what summary.json holds, ``records`` are the runs."""

    summary: Summary
    records: Sequence[RunRecord]

    @property
    def verdicts(self) -> dict[str, str]:
        """By arm: better, worse, equivalent, undecided, too_few_runs, ... (`records.Verdict`)."""
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
    """What a search came to; see ``records.RateAnswer`` for the parts of ``answer``."""

    answer: RateAnswer

    @property
    def lr(self) -> float | None:
        """The rate to use; None where there is no answer."""
        return None if self.answer.inconclusive else self.answer.max_lr

    @property
    def interval(self) -> tuple[float, float] | None:
        """From where to where rates are good; None where there is no answer."""
        answer = self.answer
        if answer.inconclusive or answer.low is None or answer.high is None:
            return None
        return answer.low, answer.high

    def __str__(self) -> str:
        return "\n".join(f"{name:<12}  {text}" for name, text in describe(self.answer))

    def _repr_html_(self) -> str:
        return rates.fragment(self.answer, rates.figures(self.answer))

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
    if len(arms) < 2:
        raise ValueError("arms: give two or more")
    base = next(iter(arms)) if baseline is None else baseline
    if base not in arms:
        raise ValueError(f"baseline: {base!r} is not an arm: {', '.join(arms)}")
    counted = ProgramCompare.model_validate(
        {"seeds": seeds if isinstance(seeds, str | int) else [*seeds]}
    )
    with _value_errors():
        study = Study(
            name=name,
            arms=tuple({base: None, **arms}),
            baseline=base,
            seeds=tuple(counted.seed_list),
            metric=Metric.resolve(metric, mode, unit),
            cap=counted.cap,
            paired=paired,
            target=target,
            margin=margin,
        )
    if len(study.seeds) < study.fewest:
        warnings.warn(
            f"{len(study.seeds)} seeds are too few to show any difference; it takes at least "
            f"{study.fewest}",
            stacklevel=2,
        )
    runs = collect(study, FunctionSource(arms, study.metric))
    return Comparison(analyse(study, runs), runs.records)


@contextlib.contextmanager
def _value_errors() -> Iterator[None]:
    """Turn an input error into the ValueError that a caller of a function expects."""
    try:
        yield
    except InputError as error:
        raise ValueError(str(error)) from None


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
    if not (math.isfinite(start) and start > 0) or (delta is not None and not delta > 0):
        raise ValueError("start and delta must be above zero")
    with _value_errors():
        scoring = Scoring(Metric.resolve(metric, mode, unit), delta)
    begun = time.perf_counter()

    def score(probe: Probe) -> float | None:
        rows = rows_of(train(lattice_rate(probe[0]), probe[1]), scoring.metric)
        return scoring.score(final_value(rows, scoring.metric, "train"))

    request = RateSearch(start=start, scale=scoring.scale, task=lambda probe: None, score=score)
    found, _ = search_rates({name: request})[name]
    seconds = time.perf_counter() - begun
    return LearningRate(
        scoring.answer(found, start, experiment=name, seconds=seconds, versions=versions())
    )
