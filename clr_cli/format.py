"""Write numbers for sentences, tables and figures.

Accuracies and their differences are fractions here; they are shown in percent and points. Any other
metric is shown as it is, with the decimals that its noise allows: see `Scale`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

NONE = "–"
FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")  # a spreadsheet computes a cell that begins so


@dataclass(frozen=True)
class Scale:
    """The unit and the decimals in which values of a metric and their differences are written.

    unit: "%" for fractions, shown in percent and points; any other unit follows the value.
    """

    unit: str
    decimals: int

    @property
    def factor(self) -> int:
        """The factor of shown values: 100 for fractions."""
        return 100 if self.unit == "%" else 1

    @property
    def points(self) -> str:
        """The unit of a difference after a space, or nothing."""
        return " points" if self.unit == "%" else self.unit_text

    @property
    def unit_text(self) -> str:
        """The unit of a value after a no-break space, or nothing."""
        return f"\N{NO-BREAK SPACE}{self.unit}" if self.unit else ""

    def bare(self, raw: float | None, *, sign: bool = False) -> str:
        """Return a value or a difference without its unit, never "-0.00".

        >>> Scale("%", 2).bare(0.0107), Scale("", 4).bare(0.0012345, sign=True)
        ('1.07', '+0.0012')
        """
        if raw is None:
            return NONE
        number_ = raw * self.factor
        if math.isinf(number_) or abs(number_) >= 1e9 or self.decimals > 9:
            return f"{number_:{'+' * sign}.6g}"
        rounded = round(number_, self.decimals) + 0.0
        return f"{rounded:{'+' * (sign and rounded != 0)},.{self.decimals}f}"

    def end(self, raw: float | None, *, sign: bool = False) -> str:
        """Return an end of an interval: with the digits to tell it from zero, if it is not zero.

        >>> Scale("%", 2).end(0.0107), Scale("%", 2).end(-0.0000312, sign=True)
        ('1.07', '-0.003')
        """
        size = abs(raw or 0.0) * self.factor
        digits = math.ceil(-math.log10(size)) if 0 < size <= 0.5 * 10**-self.decimals else 0
        return replace(self, decimals=max(self.decimals, digits)).bare(raw, sign=sign)

    def shown(self, raw: float | None) -> str:
        """Return a value with its unit: "95.12 %", "3.2787"."""
        return NONE if raw is None else self.bare(raw) + self.unit_text

    def brief(self, raw: float) -> str:
        """Return a value without trailing zeros, for instance a target."""
        text = self.bare(raw)
        text = text.rstrip("0").rstrip(".") if "." in text else text
        return text + (" %" if self.unit == "%" else self.unit_text)

    def exact(self, raw: float) -> str:
        """Return a value with all its digits."""
        return f"{self.factor * raw:.10g}{self.unit_text}"

    def mean_sd(self, mean: float | None, sd: float | None) -> str:
        """Return mean and standard deviation over runs, without the unit: "95.08 ± 0.21"."""
        return self.bare(mean) + ("" if mean is None or sd is None else f" ± {self.bare(sd)}")

    def signed(self, raw: float) -> str:
        """Return a difference with a typographic sign: −0.12."""
        return self.end(raw, sign=True).replace("-", "−")

    def difference(self, mean: float | None, low: float | None, high: float | None) -> str:
        """Return a mean difference and its interval: "+3.81 [+3.50, +4.12]"."""
        if mean is None:
            return NONE
        if low is None or high is None:
            return self.signed(mean)
        return f"{self.signed(mean)} [{self.signed(low)}, {self.signed(high)}]"


def decimals(spreads: Iterable[float | None], values: Iterable[float]) -> int:
    """Return how many decimals the values of a metric get, at most 12.

    They show two significant digits of the smallest standard deviation, or four of the largest
    value if there is none.

    >>> decimals([0.0013, 0.0008], [3.278]), decimals([], [0.25])
    (5, 4)
    """
    known = [spread for spread in spreads if spread and math.isfinite(spread)]
    if known:
        return min(12, max(0, 1 - math.floor(math.log10(min(known)))))
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    return min(12, max(0, 3 - math.floor(math.log10(largest)))) if largest else 2


def loss(raw: float | None) -> str:
    """Return a loss; a small one with three significant digits.

    >>> loss(0.1234), loss(0.000012), loss(math.inf)
    ('0.123', '1.2e-05', '∞')
    """
    if raw is None or math.isinf(raw):
        return count(raw)
    return f"{raw:.3g}" if 0 < abs(raw) < 0.01 else f"{raw:.3f}"


def count(raw: float | None) -> str:
    """Return a whole number with separators: "1,988"."""
    return NONE if raw is None else "∞" if math.isinf(raw) else f"{raw:,.0f}"


def moment(raw: float | None) -> str:
    """Return a time to target in iterations or seconds: "1,988", "0.42"."""
    if raw is None or not math.isfinite(raw) or raw == round(raw):
        return count(raw)
    return number(raw)


def p_value(p: float | None) -> str:
    """Return a p value for a table."""
    return NONE if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def ratio(middle: float | None, low: float | None, high: float | None) -> str:
    """Return a ratio of times and its interval: "0.42 [0.37, 0.55]".

    If there is a ratio, ``high`` None means infinity (the arm missed the target in some runs), and
    ``low`` None means too few seeds for an interval.
    """
    if middle is None:
        return NONE
    if middle == 0:
        return "baseline missed"
    if low is None:
        return number(middle)
    if low == 0 and high == middle:
        return f"at most {number(high)}"
    if high is None:
        return f"{number(middle)} [{number(low)}, ∞]"
    if ratio_digits(low, high) == 3:
        return f"{middle:.3f} [{low:.3f}, {high:.3f}]"
    return f"{number(middle)} [{number(low)}, {number(high)}]"


def ratio_digits(low: float, high: float) -> int:
    """Return the decimals of a ratio's interval: three if two would hide its width."""
    return 3 if 0 < high - low < 0.1 else 2


def duration(seconds: float) -> str:
    """Return seconds in larger units: 75 -> "1 min 15 s"."""
    if seconds < 59.95:
        return f"{seconds:.3g} s" if seconds else "0 s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def epochs(count: float) -> str:
    """Return a number of epochs.

    >>> epochs(1), epochs(2.5)
    ('1 epoch', '2.5 epochs')
    """
    text = number(count)
    return f"{text} epoch" + ("" if text == "1" else "s")


def percent(value: float) -> str:
    """Return a fraction in percent: 0.9512 -> "95.12 %" (with a no-break space)."""
    return f"{100 * value:.2f}\N{NO-BREAK SPACE}%"


def percent_tick(value: float, _: Any = None) -> str:
    """Return a fraction in percent, for an axis."""
    return f"{100 * value:.6g}\N{NO-BREAK SPACE}%"


def number(value: float, _: Any = None) -> str:
    """Return a number with three significant digits, or all those before the point.

    >>> number(0.01234), number(999.7), number(12345)
    ('0.0123', '1,000', '12,345')
    """
    return f"{value:,.0f}" if 999.5 <= abs(value) < 1e9 else f"{value:.3g}"


def p_equals(value: float) -> str:
    """Return a p value for a sentence."""
    return "p < 0.001" if value < 0.001 else f"p = {value:.2g}"


def about(count: int) -> str:
    """Return an estimated number of seeds, with two significant digits."""
    step = 10 ** max(0, len(str(count)) - 2)
    return f"{math.ceil(count / step) * step:,}"


def rough_duration(seconds: float) -> str:
    """Return a rough duration: ``45 s``, ``12 min``, ``3.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def rounded_lr(value: float) -> float:
    """Round to two significant digits: no range test is more precise."""
    return float(f"{value:.1e}")


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a table as lines of text: the first column left, the others right.

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


def as_cell(name: str) -> str:
    """Return a name as a cell that a spreadsheet shows and does not compute.

    >>> as_cell("=1+1"), as_cell("clr")
    ("'=1+1", 'clr')
    """
    return f"'{name}" if name.startswith(FORMULA) else name


def of_cell(cell: str) -> str:
    """Return the name of which `as_cell` made a cell."""
    return cell[1:] if cell[:1] == "'" and cell[1:].startswith(FORMULA) else cell
