"""The words that headline and sentences of a comparison share: sizes, intervals, counts of runs."""

from __future__ import annotations

from dataclasses import dataclass

from clr_cli.format import Scale
from clr_cli.records import Design, Difference, Metric, Verdict

LONG_END = 2.0  # times the near end of an interval: then its least size is stated


@dataclass(frozen=True, kw_only=True)
class Wording:
    """How the numbers of a comparison become words.

    design: what runs are compared with. metric: what is compared. scale: of its values.
    """

    design: Design
    metric: Metric
    scale: Scale

    @property
    def paired(self) -> bool:
        """Whether runs of one seed are compared with each other."""
        return self.design == "paired"

    @property
    def kind(self) -> str:
        """What the runs are counted in."""
        return "seed" if self.paired else "run"

    def subject(self, arm: str) -> str:
        """Return what is compared: an arm, or its mean where the baseline is a number."""
        return f"{arm}'s mean {self.metric.label}" if self.design == "number" else arm

    def size(self, difference: float) -> str:
        """Return a difference without its sign: "1.07 points", "0.0012"."""
        return self.scale.bare(abs(difference)) + self.scale.points

    def signed(self, difference: float) -> str:
        """Return, for example, "+1.07 points of test accuracy" or "validation loss +0.0012"."""
        text = self.scale.bare(difference, sign=True) + self.scale.points
        if self.design == "number":
            return f"difference {text}"
        label = self.metric.label
        return f"{text} of {label}" if self.scale.unit == "%" else f"{label} {text}"

    def claimed_size(self, difference: Difference) -> str:
        """Return the size of a claimed difference: "1.07 points of test accuracy".

        Where the interval's long end lies more than twice as far off as its near end, the least
        size is stated: "10.8 points of test accuracy, at least 2.6".
        """
        mean, low, high = difference.mean or 0.0, difference.low, difference.high
        size = self.scale.end(abs(mean)) + self.scale.points
        size += f" of {self.metric.label}" * (self.design != "number" and self.scale.unit == "%")
        if low is not None and high is not None:
            ends = (mean - low, high - mean)
            if max(ends) > LONG_END * min(ends):
                size += f", at least {self.scale.end(min(abs(low), abs(high)))}"
        return size

    def claim(self, verdict: Verdict, arm: str, base: str, difference: Difference) -> str:
        """Return "a is better than b by 1.07 points ..." or "... than b: ... lower by 0.0012"."""
        size, above = self.claimed_size(difference), (difference.mean or 0.0) > 0
        if self.design == "number":
            side = "above" if above else "below"
            return f"{self.subject(arm)} is {side} {base} by {size}"
        if self.scale.unit == "%":
            return f"{arm} is {verdict} than {base} by {size}"
        side = "higher" if above else "lower"
        return f"{arm} is {verdict} than {base}: {self.metric.label} {side} by {size}"

    def interval(self, difference: Difference) -> str:
        """Return the interval that decides, named: "98.3 % interval +0.72 to +3.05".

        A claimed difference is stated by its size, without signs.
        """
        low, high = difference.low, difference.high
        if low is None or high is None:
            return "no interval"
        claimed = low > 0 or high < 0
        ends = sorted((abs(low), abs(high))) if claimed else [low, high]
        level = f"{100 * difference.level:.3g} % interval"
        return f"{level} {' to '.join(self.scale.end(end, sign=not claimed) for end in ends)}"

    def runs(self, n: int, others: int | None, pairs: str = "seed") -> str:
        """Return how many runs there are: "8 seeds", "10 against 12 runs", "10 runs".

        pairs: what a pair of runs is called.
        """
        if others is not None:
            return f"{n} against {others} runs"
        return f"{n} {pairs if self.paired else 'run'}{'s' * (n != 1)}"
