"""The answer of a search for learning rates: from scores to values of a metric, and in words."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from clr_cli import schedules
from clr_cli.analysis.lattice import DELTA, DISTANCE, RatesFound, Scale
from clr_cli.errors import InputError
from clr_cli.format import duration, epochs, rounded_lr
from clr_cli.records import Metric, Probed, RateAnswer


@dataclass(frozen=True)
class Scoring:
    """How values of a metric become scores, and back.

    Attributes:
        metric: what is measured.
        delta: how far from the best a value still counts as good, in the metric's unit. None: 3
            points of a metric in percent; of any other metric 3 % of the value, whose logarithm is
            then the score.
        chance: the value of a model that has learned nothing; None if it is unknown.
        images: how many images an accuracy was measured on, if it is one.

    """

    metric: Metric
    delta: float | None = None
    chance: float | None = None
    images: int | None = None

    def fitted(self, values: Iterable[float | None]) -> Scoring:
        """Return the scoring without the unit % if these values are not fractions."""
        known = (value for value in values if value is not None)
        return replace(self, metric=self.metric.fitted(known))

    @property
    def relative(self) -> bool:
        """Whether delta is a share of the value."""
        return self.delta is None and self.metric.unit != "%"

    @property
    def scale(self) -> Scale:
        """The search's scale, in scores.

        >>> round(Scoring(Metric(name="val_loss", mode="min")).scale.delta, 4)
        0.0296
        """
        delta = math.log1p(DELTA) if self.relative else self.delta or DELTA
        return Scale(delta, self.chance, self.images)

    def score(self, value: float | None) -> float | None:
        """Return the score of a value; None for a run that failed.

        Raises:
            InputError: the value is not above zero, so that 3 % of it mean nothing.

        >>> loss = Scoring(Metric(name="val_loss", mode="min"))
        >>> loss.score(2.0) > loss.score(2.1), loss.score(math.nan)
        (True, None)
        """
        if value is None or not math.isfinite(value):
            return None
        if self.relative and value <= 0:
            text = f"{self.metric.name} is {value:g}: say how far from the best is still good"
            raise InputError(text, key="delta")
        return self.metric.sign * (math.log(value) if self.relative else value)

    def value(self, score: float) -> float:
        """Return the value of a score.

        >>> loss = Scoring(Metric(name="val_loss", mode="min"))
        >>> round(loss.value(loss.score(2.0)), 6)
        2.0
        """
        return math.exp(self.metric.sign * score) if self.relative else self.metric.sign * score

    @property
    def within(self) -> str:
        """How far from the best is still good, in words.

        >>> Scoring(Metric(name="val_loss", mode="min")).within
        '3 %'
        """
        if self.relative:
            return f"{100 * DELTA:g} %"
        size = self.delta or DELTA
        return f"{100 * size:g} points" if self.metric.unit == "%" else f"{size:g}"

    def show(self, score: float) -> str:
        """Write a score as the value of the metric that it stands for."""
        return shown(self.metric, self.value(score))

    def answer(self, found: RatesFound, start: float, **about: Any) -> RateAnswer:
        """Return what a search from ``start`` came to, with values of the metric for scores.

        max_lr is written in two significant digits; bound is in the metric's unit, or a share of
        the value.

        Args:
            found: by the search.
            start: where the search began.
            **about: the other attributes of `RateAnswer`.
        """

        def value(score: float | None) -> float | None:
            return None if score is None else self.value(score)

        bound = found.bound
        return RateAnswer(
            **self.question(start),
            low=found.low,
            high=found.high,
            max_lr=None if found.max_lr is None else rounded_lr(found.max_lr),
            sd=None if self.relative else found.sd,
            top=value(found.top),
            cliff=found.cliff,
            bound=math.expm1(bound) if bound is not None and self.relative else bound,
            probes=sum(len(each.scores) for each in found.tried),
            tried=[
                Probed(rate=each.rate, scores=[*map(value, each.scores)], mean=value(each.mean))
                for each in found.tried
            ],
            inconclusive=found.inconclusive,
            **about,
        )

    def question(self, start: float) -> dict[str, Any]:
        """Return the attributes of `RateAnswer` that say what was asked."""
        return {
            "metric": self.metric,
            "within": self.within,
            "relative": self.relative,
            "delta": self.delta or DELTA,
            "start": start,
        }


def describe(answer: RateAnswer) -> list[tuple[str, str]]:
    """Return an answer in words, a row for each part of it."""
    metric, rows = answer.metric, list[tuple[str, str]]()
    length = (
        ""
        if answer.iterations is None
        else (f" of {answer.iterations:,} iterations ({epochs(answer.epochs or 0)})")
    )
    if answer.low is not None and answer.high is not None and answer.top is not None:
        top = shown(metric, answer.top)
        within = f"within {answer.within} of the best three rates' mean {metric.label}, {top}"
        rows.append(("good rates", f"{answer.low:.2g} to {answer.high:.2g}: {within}"))
        if answer.max_lr is not None:
            limit = math.inf if answer.cliff is None else answer.cliff / DISTANCE
            why = (
                f"a factor of {DISTANCE:g} below failing runs"
                if math.isclose(answer.max_lr, limit, rel_tol=0.05)
                else "their center in log LR, each weighted by how good it is"
            )
            rows.append((answer.key, f"{answer.max_lr:g}: {why}"))
    elif answer.max_lr is not None and answer.sweep is not None:  # without probes
        rows.append(
            (answer.key, f"{answer.max_lr:g}: the rate of the sweep's highest smoothed accuracy")
        )
    if answer.base_lr is not None:
        rows.append(("base_lr", f"{answer.base_lr:g}"))
    if answer.tried:
        highest = max(each.rate for each in answer.tried)
        end = f"from {answer.cliff:.2g} on, runs fail" if answer.cliff else None
        rows.append(("cliff", end or f"no run failed up to {highest:.2g}"))
    if answer.bound is not None:
        size = f"{100 * answer.bound:.2g} %" if answer.relative else ""
        size = size or shown(metric, answer.bound, difference=True)
        more = f" by more than {size}" if answer.bound else ""
        said = f"with 95 % confidence, no rate tried beats {answer.key}{more}"
        rows.append(("bound", f"{said} (its two neighbors excluded)"))
    if answer.probes:
        rows.append(("probes", f"{answer.probes}{length}, {duration(answer.seconds)} in all"))
    elif answer.sweep is not None:
        ramp = answer.sweep.range
        said = f"this reading depends on the range ({ramp.min_lr:g} to {ramp.max_lr:g});"
        rows.append(("note", f"{said} --probes on gives one that does not"))
    rows += [("certified", each.sentence) for each in answer.certified]
    if answer.inconclusive:
        rows.append(("inconclusive", answer.inconclusive))
    return rows


def config_lines(answer: RateAnswer) -> str | None:
    """Return the lines of a config that use the answer; None if there is none.

    A search for an arm's rate leaves its base_lr as it is.
    """
    if answer.kind is None or answer.max_lr is None or answer.inconclusive:
        return None
    rates = f"{answer.key}: {answer.max_lr:g}"
    if answer.base_lr is not None and "base_lr" in schedules.KINDS[answer.kind].model_fields:
        rates = f"base_lr: {answer.base_lr:g}, {rates}"
    return f"schedules:\n  {answer.schedule}: {{kind: {answer.kind}, {rates}}}"


def shown(metric: Metric, value: float, *, difference: bool = False) -> str:
    """Write a value of the metric, or a difference of two.

    >>> shown(Metric(name="accuracy", mode="max", unit="%"), 0.9123)
    '91.2 %'
    """
    if metric.unit == "%":
        return f"{100 * value:.3g} {'points' if difference else '%'}"
    return f"{value:.4g}" + (f" {metric.unit}" if metric.unit else "")
