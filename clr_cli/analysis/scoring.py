"""A metric as the score of a search for learning rates: higher is better, on a scale of its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from clr_cli.analysis.lattice import DELTA, DISTANCE, Found, Scale
from clr_cli.format import rounded_lr
from clr_cli.records import Answer, Metric, Probed

A = TypeVar("A", bound=Answer)


@dataclass(frozen=True)
class Scoring:
    """How values of a metric become scores, and back.

    delta: how far from the best a value still counts as good, in the metric's unit. None: 3 points
    of a metric in percent; of any other metric 3 % of the value, whose logarithm is the score then.
    """

    metric: Metric
    delta: float | None = None

    @property
    def relative(self) -> bool:
        return self.delta is None and self.metric.unit != "%"

    @property
    def scale(self) -> Scale:
        """The search's scale, in scores.

        >>> round(Scoring(Metric(name="val_loss", mode="min")).scale.delta, 4)
        0.0296
        """
        return Scale(math.log1p(DELTA) if self.relative else self.delta or DELTA)

    def score(self, value: float | None) -> float | None:
        """The score of a value; None for a run that failed.

        Raises:
            ValueError: 3 % of it say nothing, because it is not above zero.

        >>> loss = Scoring(Metric(name="val_loss", mode="min"))
        >>> loss.score(2.0) > loss.score(2.1), loss.score(math.nan)
        (True, None)
        """
        if value is None or not math.isfinite(value):
            return None
        if self.relative and value <= 0:
            raise ValueError(
                f"{self.metric.name} is {value:g}: say how far from the best is still good (delta)"
            )
        return self.metric.sign * (math.log(value) if self.relative else value)

    def value(self, score: float) -> float:
        """The value of a score.

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

    def answer(
        self,
        model: type[A],
        found: Found,
        base_lr: Callable[[float], float] | None = None,
        **about: Any,
    ) -> A:
        """Return the answer of a search, with values of the metric for scores.

        Args:
            model: Answer or RateSearch.
            found: max_lr is rounded to two digits.
            base_lr: gives that of a max_lr; None: there is none.
            **about: the other keys of the model, such as schedule or experiment.

        """

        def value(score: float | None) -> float | None:
            return None if score is None else self.value(score)

        bound, max_lr = found.bound, None if found.max_lr is None else rounded_lr(found.max_lr)
        return model(
            **about,
            metric=self.metric,
            relative=self.relative,
            low=found.low,
            high=found.high,
            delta=self.delta or DELTA,
            max_lr=max_lr,
            base_lr=rounded_lr(base_lr(max_lr)) if base_lr and max_lr else None,
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
        )


def describe(answer: Answer) -> list[tuple[str, str]]:
    """Return an answer in words, a row for each part of it."""
    metric, rows, after = answer.metric, [], ""
    if answer.iterations is not None:
        after = f", after {answer.iterations:,} iterations ({answer.epochs:.3g} epochs)"
    if answer.low is not None and answer.high is not None and answer.top is not None:
        within = Scoring(metric, None if answer.relative else answer.delta).within
        top = f"the best three rates' mean {metric.label}, {shown(metric, answer.top)}"
        said = f"{answer.low:.2g} to {answer.high:.2g}: within {within} of {top}{after}"
        rows.append(("good rates", said))
        if answer.max_lr is not None:
            center = math.isclose(answer.max_lr, math.sqrt(answer.low * answer.high), rel_tol=0.1)
            why = "their center in log LR" if center else f"a factor of {DISTANCE:g} below failing"
            why += "" if center else " runs"
            name = "lr" if answer.schedule is None else "max_lr"
            rows.append((name, f"{answer.max_lr:g}: {why}"))
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
        said = f"of the rates tried, none but its two neighbors is better{more} (95 %)"
        rows.append(("bound", said))
    if answer.inconclusive:
        rows.append(("inconclusive", answer.inconclusive))
    rows += [("certified", each.sentence) for each in answer.certified]
    return rows


def shown(metric: Metric, value: float, *, difference: bool = False) -> str:
    """A value of the metric, or a difference of two, in words.

    >>> shown(Metric(name="accuracy", mode="max", unit="%"), 0.9123)
    '91.2 %'
    """
    if metric.unit == "%":
        return f"{100 * value:.3g} {'points' if difference else '%'}"
    return f"{value:.4g}" + (f" {metric.unit}" if metric.unit else "")
