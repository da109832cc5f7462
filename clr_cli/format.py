"""How a number is written: in sentences, in tables of the page and the terminal, in figures.

Accuracies and their differences come in as fractions and are shown in percent and points. A metric
of another kind is shown as it is, with the decimals that its noise allows: see `Scale`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NONE = "–"


def value(raw: Any) -> float | None:
    """A number as summary.json holds it: null is None, "inf" is infinity."""
    number_or_none = None if raw is None else float(raw)
    return None if number_or_none is None or math.isnan(number_or_none) else number_or_none


@dataclass(frozen=True)
class Scale:
    """How the values of a metric and their differences are written.

    unit: "%" for fractions, shown in percent and points; any other stands behind the value.
    decimals: of values and of differences.
    """

    unit: str
    decimals: int

    @staticmethod
    def of(summary: Mapping[str, Any]) -> Scale:
        return Scale(summary["metric"]["unit"], summary["decimals"])

    @property
    def factor(self) -> int:
        return 100 if self.unit == "%" else 1

    @property
    def points(self) -> str:
        """The unit of a difference, after a space; nothing where there is none."""
        return " points" if self.unit == "%" else self._unit

    @property
    def _unit(self) -> str:
        return f"\N{NO-BREAK SPACE}{self.unit}" if self.unit else ""

    def bare(self, raw: Any, *, sign: bool = False) -> str:
        """A value or a difference without its unit, never "-0.00".

        >>> Scale("%", 2).bare(0.0107), Scale("", 4).bare(0.0012345, sign=True)
        ('1.07', '+0.0012')
        """
        number_ = value(raw)
        if number_ is None:
            return NONE
        number_ *= self.factor
        if math.isinf(number_) or abs(number_) >= 1e9 or self.decimals > 9:
            return f"{number_:{'+' * sign}.6g}"
        rounded = round(number_, self.decimals) + 0.0
        return f"{rounded:{'+' * (sign and rounded != 0)},.{self.decimals}f}"

    def shown(self, raw: Any) -> str:
        """A value with its unit: "95.12 %", "3.2787"."""
        return NONE if value(raw) is None else self.bare(raw) + self._unit

    def brief(self, raw: float) -> str:
        """A value that someone has set: no digits beyond those it needs."""
        if self.unit == "%":
            return brief_percent(raw)
        text = self.bare(raw)
        return (text.rstrip("0").rstrip(".") if "." in text else text) + self._unit

    def given(self, raw: float) -> str:
        """A number that someone has given, with all its digits."""
        return f"{self.factor * raw:.10g}{self._unit}"

    def mean_sd(self, measure: Mapping[str, Any]) -> str:
        """Mean and standard deviation over runs, without the unit: "95.08 ± 0.21"."""
        mean, sd = value(measure.get("mean")), value(measure.get("sd"))
        return self.bare(mean) + ("" if mean is None or sd is None else f" ± {self.bare(sd)}")

    def spread(self, measure: Mapping[str, Any]) -> str:
        """The same with its unit: "95.08 ± 0.21 %"."""
        text = self.mean_sd(measure)
        return text if text == NONE else text + self._unit

    def signed(self, raw: float) -> str:
        """A difference with a sign for print: −0.12."""
        return self.bare(raw, sign=True).replace("-", "−")

    def difference(self, measure: Mapping[str, Any]) -> str:
        """Mean difference and its interval: "+3.81 [+3.50, +4.12]"."""
        mean, low, high = (value(measure.get(key)) for key in ("mean", "low", "high"))
        if mean is None:
            return NONE
        if low is None or high is None:
            return self.signed(mean)
        return f"{self.signed(mean)} [{self.signed(low)}, {self.signed(high)}]"


def decimals(spreads: Iterable[float | None], values: Iterable[float]) -> int:
    """The decimals with which values of a metric are written.

    Two significant digits of the smallest standard deviation; without any, four of the largest
    value. At most 12.

    >>> decimals([0.0013, 0.0008], [3.278]), decimals([], [0.25])
    (5, 4)
    """
    known = [spread for spread in spreads if spread and math.isfinite(spread)]
    if known:
        return min(12, max(0, 1 - math.floor(math.log10(min(known)))))
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    return min(12, max(0, 3 - math.floor(math.log10(largest)))) if largest else 2


def loss(raw: Any) -> str:
    number_ = value(raw)
    return NONE if number_ is None else "∞" if math.isinf(number_) else f"{number_:.3f}"


def accuracy(raw: Any) -> str:
    number_ = value(raw)
    return NONE if number_ is None else percent(number_)


def count(raw: Any) -> str:
    number_ = value(raw)
    return NONE if number_ is None else "∞" if math.isinf(number_) else f"{number_:,.0f}"


def moment(raw: Any) -> str:
    """A time to target in iterations or seconds: "1,988", "0.42"."""
    number_ = value(raw)
    if number_ is None or not math.isfinite(number_) or number_ == round(number_):
        return count(raw)
    return count(raw) if abs(number_) >= 1000 else f"{number_:.3g}"


def p_value(raw: Any) -> str:
    p = value(raw)
    return NONE if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def ratio(measure: Mapping[str, Any] | None) -> str:
    """Median ratio of times and its interval: "0.42 [0.37, 0.55]".

    Beside a ratio, a null high end stands for infinity (misses of the arm); without a low end
    there were too few seeds for an interval.
    """
    middle, *ends = (value((measure or {}).get(key)) for key in ("ratio", "low", "high"))
    if middle is None or math.isinf(middle):
        return NONE
    if middle == 0:
        return "baseline missed"
    if ends[0] is None:
        return number(middle)
    if ends[1] is None or math.isinf(ends[1]):
        return f"{number(middle)} [{number(ends[0])}, ∞]"
    if ratio_digits(ends[0], ends[1]) == 3:
        return f"{middle:.3f} [{ends[0]:.3f}, {ends[1]:.3f}]"
    return f"{number(middle)} [{number(ends[0])}, {number(ends[1])}]"


def ratio_digits(low: float, high: float) -> int:
    """Decimals of a ratio and its interval: three where two would hardly tell the ends apart."""
    return 3 if 0 < high - low < 0.1 else 2


def duration(raw: Any) -> str:
    """Seconds as people read them: 75 -> "1 min 15 s"."""
    seconds = value(raw)
    if seconds is None:
        return NONE
    if seconds < 59.95:
        return f"{seconds:.3g} s" if seconds else "0 s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def percent(value: float, digits: int = 2) -> str:
    """A fraction as people read it: 0.9512 -> "95.12 %" (with a no-break space)."""
    return f"{100 * value:.{digits}f}\N{NO-BREAK SPACE}%"


def signed_points(value: float) -> str:
    """A difference of fractions in percentage points: -0.0012 -> "−0.12"."""
    return f"{100 * value:+.2f}".replace("-", "−")


def percent_tick(value: float, _: Any = None) -> str:
    return f"{100 * value:.6g}\N{NO-BREAK SPACE}%"


def number(value: float, _: Any = None) -> str:
    return f"{value:.3g}"


def brief_percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %"


def points(fraction: float, *, sign: bool = False) -> str:
    """A difference of accuracies in points, two decimals, never "-0.00"."""
    points = round(100 * fraction, 2) + 0.0
    return f"{points:+.2f}" if sign and points else f"{points:.2f}"


def p_equals(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.2g}"


def about(count: int) -> str:
    """A number of seeds to two significant digits: it is an estimate."""
    step = 10 ** max(0, len(str(count)) - 2)
    return f"{math.ceil(count / step) * step:,}"


def rough_duration(seconds: float) -> str:
    """Seconds for people: ``45 s``, ``12 min``, ``3.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def rounded_lr(value: float) -> float:
    """Two significant digits: more would claim a precision that no range test has."""
    return float(f"{value:.1e}")


def reached_at(raw: Any) -> str:
    return moment(raw) if isinstance(raw, int | float) else "not reached"


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table as lines of text: the first column left, the others right.

    >>> aligned(["arm", "n"], [["clr", "10"]])
    ['arm   n', '───  ──', 'clr  10']
    """
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = []
    for row in [header, ["─" * width for width in widths], *rows]:
        cells = [
            f"{row[i]:>{widths[i]}}" if i else f"{row[i]:<{widths[i]}}" for i in range(len(row))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines
