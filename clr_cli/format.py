"""How a number is written: in sentences, in tables of the page and the terminal, in figures.

Accuracies and their differences come in as fractions and are shown in percent and points.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

NONE = "–"


def value(raw: Any) -> float | None:
    """A number as summary.json holds it: null is None, "inf" is infinity."""
    number_or_none = None if raw is None else float(raw)
    return None if number_or_none is None or math.isnan(number_or_none) else number_or_none


def loss(raw: Any) -> str:
    number_ = value(raw)
    return NONE if number_ is None else "∞" if math.isinf(number_) else f"{number_:.3f}"


def accuracy(raw: Any) -> str:
    number_ = value(raw)
    return NONE if number_ is None else percent(number_)


def spread(measure: Mapping[str, Any]) -> str:
    """Mean and standard deviation of an accuracy over seeds: "95.08 ± 0.21 %"."""
    mean, sd = value(measure.get("mean")), value(measure.get("sd"))
    if mean is None or sd is None:
        return accuracy(mean)
    return f"{100 * mean:.2f} ± {100 * sd:.2f}\N{NO-BREAK SPACE}%"


def difference(measure: Mapping[str, Any]) -> str:
    """Mean difference and its interval in points: "+3.81 [+3.50, +4.12]"."""
    mean, low, high = (value(measure.get(key)) for key in ("mean", "low", "high"))
    if mean is None:
        return NONE
    if low is None or high is None:
        return signed_points(mean)
    return f"{signed_points(mean)} [{signed_points(low)}, {signed_points(high)}]"


def count(raw: Any) -> str:
    number_ = value(raw)
    return NONE if number_ is None else "∞" if math.isinf(number_) else f"{number_:,.0f}"


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
    high = "∞" if ends[1] is None or math.isinf(ends[1]) else number(ends[1])
    return f"{number(middle)} [{number(ends[0])}, {high}]"


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


def mean_sd(spread: Mapping[str, Any], *, percent: bool) -> str:
    mean, sd = spread["mean"], spread["sd"]
    if not isinstance(mean, int | float):
        return "diverged"
    scale, digits = (100, 2) if percent else (1, 3)
    tail = f" ± {scale * sd:.{digits}f}" if isinstance(sd, int | float) else ""
    return f"{scale * mean:.{digits}f}{tail}"


def difference_with_interval(difference: Mapping[str, Any]) -> str:
    mean, low, high = (difference[key] for key in ("mean", "low", "high"))
    if mean is None:
        return "-"
    spread = "" if low is None or high is None else f" ({100 * low:+.2f} to {100 * high:+.2f})"
    return f"{100 * mean:+.2f}{spread}"


def reached_at(value: Any) -> str:
    return f"{value:,.0f}" if isinstance(value, int | float) else "not reached"
