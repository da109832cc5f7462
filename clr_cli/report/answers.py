"""Comparisons and searches as values for Python: printed, shown in a notebook, saved, read."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from clr_cli.analysis.rates import describe
from clr_cli.format import aligned
from clr_cli.records import RateAnswer, RunRecord, Summary, Verdict
from clr_cli.report import rates, write
from clr_cli.report.comparison import difference
from clr_cli.report.page import inline_svg
from clr_cli.report.tables import results_table


@dataclass(frozen=True)
class ArmResult:
    """One arm beside the baseline, in the metric's own numbers.

    Attributes:
        arm: its name.
        verdict: better, worse, equivalent, undecided, too_few_runs, ... (`records.Verdict`).
        difference: the arm's mean minus the baseline's; None where it is not known.
        low, high: the ends of the interval that is printed.
        p: the p value that is printed: of several arms Holm's.
        sentence: the verdict in words.
    """

    arm: str
    verdict: Verdict
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    sentence: str


@dataclass(frozen=True, repr=False)
class Comparison:
    """The result of a comparison: `summary` as in summary.json, `records` of the runs."""

    summary: Summary
    records: Sequence[RunRecord]

    def __getitem__(self, arm: str) -> ArmResult:
        """Return what an arm came to. Raises KeyError for the baseline and unknown names."""
        compared = self.summary.comparisons
        for each in compared:
            if each.arm == arm:
                p, ends = each.p_holm if len(compared) > 1 else each.p, each.difference
                return ArmResult(
                    arm, each.verdict, ends.mean, ends.low, ends.high, p, each.sentence
                )
        known = ", ".join(each.arm for each in compared)
        raise KeyError(f"{arm!r} is not compared with {self.summary.baseline}; there is {known}")

    @property
    def verdicts(self) -> dict[str, str]:
        """By arm: better, worse, equivalent, undecided, too_few_runs, ... (`records.Verdict`)."""
        return {each.arm: each.verdict for each in self.summary.comparisons}

    def table(self) -> Any:
        """Return a row for every arm: a list of dictionaries; with pandas installed a DataFrame.

        arm, runs, failed (to train), mean, sd, and as in `ArmResult` difference, low, high, p,
        verdict: None for the baseline.
        """
        compared = {each.arm: self[each.arm] for each in self.summary.comparisons}
        keys = ("difference", "low", "high", "p", "verdict")
        rows = []
        for arm in self.summary.arms:
            values = arm.metrics[self.summary.metric.name]
            runs = {"arm": arm.name, "runs": arm.failing.runs, "failed": arm.failing.count}
            against = {key: getattr(compared.get(arm.name), key, None) for key in keys}
            rows.append({**runs, "mean": values.mean, "sd": values.sd, **against})
        return _as_frame(rows)

    def runs(self) -> Any:
        """Return a row for every run: a list of dictionaries; with pandas installed a DataFrame.

        arm, seed, status (finished; diverged: it failed to train; failed: its process ended),
        reason (what was raised, or None), train_seconds, and the last value of each number.
        """
        return _as_frame(
            [
                {
                    "arm": run.arm,
                    "seed": run.seed,
                    "status": run.status,
                    "reason": run.result.get("error"),
                    "train_seconds": run.result.get("train_seconds"),
                    **run.result.get("final", {}),
                }
                for run in self.records
            ]
        )

    def __repr__(self) -> str:
        lines = aligned(*results_table(self.summary))
        return "\n".join([*lines, "", *self._sentences, self.summary.scope])

    def _repr_html_(self) -> str:
        header, rows = results_table(self.summary)
        head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
        )
        said = "".join(f"<p><b>{escape(sentence)}</b></p>" for sentence in self._sentences)
        drawn = difference(self.summary).items()
        svg = "".join(inline_svg(figure, name) for name, figure in drawn)
        return (
            f"{said}<table><tr>{head}</tr>{body}</table>"
            f'<div style="max-width:36em">{svg}</div><p>{escape(self.summary.scope)}</p>'
        )

    @property
    def _sentences(self) -> list[str]:
        found = [each.sentence for each in self.summary.comparisons]
        return found or [self.summary.verdict]

    def save(self, folder: str | Path) -> Path:
        """Write page, tables and figures as ``clr compare`` does. Return the page's path."""
        written = write.write_comparison(Path(folder), self.summary, self.records)
        return next(path for path in written if path.suffix == ".html")


@dataclass(frozen=True, repr=False)
class LearningRate:
    """What a search came to; see ``records.RateAnswer`` for the parts of ``answer``."""

    answer: RateAnswer

    @property
    def lr(self) -> float | None:
        """The rate to use; None if the search has no answer."""
        return None if self.answer.inconclusive else self.answer.max_lr

    @property
    def interval(self) -> tuple[float, float] | None:
        """From where to where rates are good; None where there is no answer."""
        answer = self.answer
        if answer.inconclusive or answer.low is None or answer.high is None:
            return None
        return answer.low, answer.high

    def __repr__(self) -> str:
        return "\n".join(f"{name:<12}  {text}" for name, text in describe(self.answer))

    def _repr_html_(self) -> str:
        drawn = rates.figures(self.answer)
        return f'<div style="max-width:48em">{rates.fragment(self.answer, drawn)}</div>'

    def save(self, folder: str | Path) -> Path:
        """Write page, figure and values to a folder. Return the page's path."""
        written = rates.write(Path(folder), self.answer)
        return next(path for path in written if path.suffix == ".html")


def _as_frame(rows: list[dict[str, Any]]) -> Any:
    if importlib.util.find_spec("pandas") is None:
        return rows
    return importlib.import_module("pandas").DataFrame(rows)
