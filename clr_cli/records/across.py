"""Define the across.json of a comparison over several data sets."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from clr_cli.format import Scale
from clr_cli.records.base import Arm, Count, Record, Text
from clr_cli.records.summary import Comparison, Difference, Reproduce, Summary, Verdict

# What holds on all data sets; "mixed": better on one and worse on another.
Holds = Verdict | Literal["mixed"]


class DataSet(Record):
    """One data set's comparison, and its folder relative to the combination's."""

    name: Text
    folder: Text
    summary: Summary

    def compared(self, arm: str) -> Comparison:
        """Return the comparison of an arm with the baseline."""
        return next(each for each in self.summary.comparisons if each.arm == arm)


class OverAll(Record):
    """One arm over all data sets.

    holds: what holds on every one. counts: on how many it is what. mean: the mean of the
    differences over the data sets, with the interval that decides; mean_verdict: what that shows.
    """

    arm: Arm
    holds: Holds
    counts: dict[Verdict, Count]
    mean: Difference
    mean_verdict: Verdict
    sentence: Text


class Combination(Record):
    """The comparisons of the same arms on several data sets, and what holds on all of them."""

    schema_version: Literal[1] = Field(1, alias="schema")
    experiment: Text
    data_sets: Annotated[list[DataSet], Field(min_length=2)]
    arms: Annotated[list[OverAll], Field(min_length=1)]
    verdict: Text
    reproduce: Reproduce = Reproduce()

    @property
    def first(self) -> Summary:
        """The first comparison; all of them share its baseline, design and metric."""
        return self.data_sets[0].summary

    @property
    def scale(self) -> Scale:
        """How the metric's values are written."""
        decimals = max(data.summary.decimals for data in self.data_sets)
        return Scale(self.first.metric.unit, decimals)

    @property
    def best(self) -> list[str] | None:
        """The arms that could be the best on every data set; None for fewer than three arms."""
        sets = [data.summary.best for data in self.data_sets]
        known = [best.arms for best in sets if best is not None]
        if len(known) < len(sets):
            return None
        return [arm for arm in known[0] if all(arm in each for each in known)]

    def on_each(self, arm: str) -> list[Comparison]:
        """Return the comparison of an arm on every data set."""
        return [data.compared(arm) for data in self.data_sets]

    @model_validator(mode="after")
    def _check(self) -> Combination:
        """Check the assumptions of tables and figures."""
        names = {arm.arm for arm in self.arms}
        for data in self.data_sets:
            if {each.arm for each in data.summary.comparisons} != names:
                raise ValueError(f"the arms of {data.name!r} are not those of all data sets")
        return self
