"""A comparison as a check that can fail: whether the arms are as they are expected to be."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from clr_cli.analysis.study import Study
from clr_cli.analysis.verdicts import exceeds
from clr_cli.errors import InputError
from clr_cli.records import Comparison, Metric, Summary

FAILS, CANNOT_TELL = 4, 3  # exit codes


class Expect(StrEnum):
    """What every arm is expected to be, compared with the baseline."""

    BETTER = "better"
    NOT_WORSE = "not-worse"


def check(study: Study, expect: Expect | None) -> None:
    """Check what is expected before anything runs. Raises InputError without a margin."""
    if expect is Expect.NOT_WORSE and study.margin is study.default_margin is None:
        raise InputError("not-worse: say by how much an arm may be worse: --margin", key="expect")


def verdict(summary: Summary, expect: Expect) -> tuple[int, str]:
    """Return the exit code, and one line for what does not hold: 0 and "" if all holds.

    An arm is not worse if the interval that decides lies above minus the margin, in the direction
    that is better: non-inferiority, as in Piaggio et al. (2012), JAMA 308(24).
    """
    fails, open_ = [], []
    for comparison in summary.comparisons:
        holds = _holds(comparison, summary.metric, expect, summary.margin or 0.0)
        if holds is None:
            open_.append(comparison.arm)
        elif not holds:
            fails.append(comparison.arm)
    than = f"than {summary.baseline}"
    if expect is Expect.NOT_WORSE:
        margin = f"{summary.scale.bare(summary.margin)}{summary.scale.points}"
        than += f" by more than {margin}"
    if fails:
        return FAILS, f"--expect {expect} {than} does not hold for {', '.join(fails)}"
    if open_:
        runs = "these runs cannot tell for"
        return CANNOT_TELL, f"--expect {expect} {than}: {runs} {', '.join(open_)}"
    return 0, ""


def verdict_on_all(summaries: Mapping[str, Summary], expect: Expect) -> tuple[int, str]:
    """Return the same for comparisons on several data sets, by name: it must hold on each."""
    texts: dict[tuple[int, str], list[str]] = {}
    for name, summary in summaries.items():
        texts.setdefault(verdict(summary, expect), []).append(name)
    code = max(code for code, _ in texts)  # what fails on one does not hold on all
    said = (
        f"{text} on {', '.join(names)}" for (each, text), names in texts.items() if each == code
    )
    return code, "; ".join(said) if code else ""


def _holds(comparison: Comparison, metric: Metric, expect: Expect, margin: float) -> bool | None:
    """Return whether it holds for one arm; None if its runs cannot tell."""
    if comparison.verdict == "identical":
        return expect is Expect.NOT_WORSE
    if expect is Expect.BETTER:
        if comparison.verdict == "better":
            return True
        return False if comparison.verdict in ("worse", "equivalent") else None
    ends = (comparison.difference.low, comparison.difference.high)
    if ends[0] is None or ends[1] is None:
        return None
    low, high = sorted(metric.sign * end for end in ends if end is not None)
    return exceeds(low, high, -margin)
