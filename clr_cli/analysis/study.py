"""A comparison as a value: what is asked, and the runs that answer it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from clr_cli.analysis import looks, planning, verdicts
from clr_cli.errors import InputError
from clr_cli.records import (
    TEST_ACCURACY,
    ControlledVariables,
    Design,
    Look,
    Metric,
    RunRecord,
    Summary,
    Tuning,
    finals,
)

DESIGNS: dict[Design, str] = {
    "paired": "paired: runs of equal seeds share their randomness",
    "unpaired": "unpaired: runs are compared as if they shared nothing",
    "number": "every arm against a number",
}
MARGIN_OF_ERROR = 10  # the share of the baseline's error that a default margin is at most
Key = tuple[str, int]  # arm and seed of a run


@dataclass(frozen=True, kw_only=True)
class Study:
    """What a comparison asks, whatever way its runs come about.

    Attributes:
        name: of the experiment.
        arms: the baseline first, if it is an arm.
        metric: what is compared: its value at the end of each run.
        baseline: an arm, or a number that the mean of every arm is compared with.
        seeds: of all runs; the most there can be if seeds are added.
        cap: the most seeds if seeds are added until every arm is decided; else None.
        paired: whether runs of equal seeds share their randomness.
        target: a value of ``target_metric``, or "auto": see `outcomes.choose_target`.
        target_metric: what time to target goes by; None: the metric itself.
        chance: the metric of a run that has learned nothing, if that is known.
        margin: the difference that does not matter; None: no arms are called equivalent.
        default_margin: the margin where none was given, see `with_margin`.
        detect: the difference for which the number of seeds is stated; None: the margin.
        past: the looks of an earlier result of the same arms.
        last: the look that gets the weight of the last one; None: the cap.
        looked_at: how many arms were looked at before a choice among them; 0: none.
        rebased: whether the baseline was chosen too, after such a look.
        redesigned: whether the same runs were judged by the other design before, paired or not.

    ``target``, ``margin`` and ``detect`` are in the metric's own numbers: .01 of an accuracy that
    is a fraction is one point.

    Raises:
        InputError: the arms, the baseline or a difference do not fit together.
    """

    name: str
    arms: tuple[str, ...]
    baseline: str | float
    seeds: tuple[int, ...]
    metric: Metric = TEST_ACCURACY
    cap: int | None = None
    paired: bool = True
    target: float | Literal["auto"] = "auto"
    target_metric: Metric | None = None
    chance: float | None = None
    margin: float | None = None
    default_margin: float | None = None
    detect: float | None = None
    past: tuple[Look, ...] = ()
    last: int | None = None
    looked_at: int = 0
    rebased: bool = False
    redesigned: bool = False

    def __post_init__(self) -> None:
        if self.reference is not None and self.cap is not None:
            raise InputError("auto needs a baseline that is an arm; here it is a number")
        for name in ("margin", "detect"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= 1e15:
                text = f"{value:g}: expected a number above 0 and at most 1e15"
                raise InputError(text, key=name)
            if value is not None and value >= 1 and self.metric.unit == "%":
                points = f"{value:g} point{'s' * (value != 1)}"
                text = f"{value:g}: {self.metric.label} is a fraction: write {value / 100:g} for"
                text += f" {points}; if its values are in percent, set the unit to ''"
                raise InputError(text, key=name)

    @property
    def reference(self) -> float | None:
        """The number that arms are compared with; None if they are compared with an arm."""
        return None if isinstance(self.baseline, str) else float(self.baseline)

    @property
    def design(self) -> Design:
        """What runs are compared with."""
        if self.reference is not None:
            return "number"
        return "paired" if self.paired else "unpaired"

    @property
    def others(self) -> tuple[str, ...]:
        """The arms that are compared with the baseline."""
        return tuple(arm for arm in self.arms if arm != self.baseline)

    @property
    def comparisons(self) -> int:
        """For how many comparisons is corrected: more if arms or a design were chosen."""
        before = 0
        if self.looked_at > len(self.arms):
            before = verdicts.comparisons_after_looking(
                self.looked_at, baseline_chosen=self.rebased
            )
        return max(1, len(self.others), before) * (2 if self.redesigned else 1)

    def runs(self) -> tuple[Key, ...]:
        """Return arm and seed of the runs, seed by seed: stopped early it leaves complete pairs."""
        return tuple((arm, seed) for seed in self.seeds for arm in self.arms)

    def seed(self, number: int) -> int:
        """Return the seed of this number; beyond the seeds that were asked for, the next ones."""
        most = len(self.seeds)
        return self.seeds[number] if number < most else self.seeds[-1] + 1 + number - most

    def after(self, before: Summary | None, records: Sequence[RunRecord]) -> Study:
        """Return the study as it is after an earlier result under its name, of the same runs.

        Its looks count, if it has the same arms: more seeds after it are seeds added after a look,
        and fewer are a second look as well. Where it has more arms, these were chosen among those.
        Where it was paired and this is not, or the reverse, each comparison counts as two.
        """
        if before is None or not _is_of(before, self.metric, records):
            return self
        names = {arm.name for arm in before.arms}
        if not names >= set(self.arms):
            return self
        redesigned = before.redesigned or {before.design, self.design} == {"paired", "unpaired"}
        study = replace(self, redesigned=redesigned)
        if names != set(self.arms) or before.looked_at > len(names):
            seen = max(before.looked_at, len(names))
            return replace(study, looked_at=seen, rebased=before.baseline != str(self.baseline))
        most = max(len({seed for _, seed in _keys(records)}), 1)
        # With fewer runs than the fewest nothing could be claimed.
        fewest = replace(study, cap=None).fewest
        past = tuple(look for look in before.looks if fewest <= look.most != most)
        return replace(study, past=past, last=before.last)

    def with_margin(self, values: Mapping[str, Mapping[int, float]]) -> Study:
        """Return the study with a margin where only a default is known, for these final values.

        It is at most a tenth of the baseline's error: near 100 % a point is a lot.
        """
        if self.default_margin is None:
            return self
        base = values.get(str(self.baseline), {}).values()
        error = 1 - sum(base) / len(base) if base else 0.0
        most = error / MARGIN_OF_ERROR if error > 0 else self.default_margin
        return replace(self, margin=min(self.default_margin, most))

    @property
    def fewest(self) -> int:
        """The fewest seeds with which a difference can be claimed at all."""
        fewest = verdicts.fewest_runs if self.design == "unpaired" else verdicts.fewest_pairs
        return max(fewest(self.comparisons), looks.FIRST_LOOK if self.grows else 0)

    @property
    def grows(self) -> bool:
        """Whether seeds are added after a look."""
        return self.cap is not None or bool(self.past)

    @property
    def last_look(self) -> int:
        """The look that gets the weight of the last one."""
        return self.last or self.cap or looks.LAST

    @property
    def sides(self) -> int:
        """How many samples have a noise of their own: 2 where runs share nothing, else 1."""
        return 2 if self.design == "unpaired" else 1

    def smallest_detectable(
        self, spreads: tuple[float, ...], sizes: tuple[int, ...]
    ) -> float | None:
        """Return the true difference that so many runs find 4 times in 5; None if there is none.

        Args:
            spreads: of each side, the standard deviation of paired differences, or of single runs.
            sizes: of each side, the number of pairs, or of runs; the arm's is the first.
        """
        weight = looks.weight(sizes[0], self.last_look) if self.grows else 1.0
        if not weight:
            return None
        return planning.smallest_detectable(
            spreads, sizes, comparisons=self.comparisons, weight=weight
        )

    def seeds_needed(self, difference: float, spreads: tuple[float, ...]) -> int | None:
        """Return how many seeds find a true difference 4 times in 5; None if too many."""
        return planning.runs_needed(difference, spreads, comparisons=self.comparisons)


def _keys(records: Sequence[RunRecord]) -> list[Key]:
    return [(record.arm, record.seed) for record in records]


def _is_of(before: Summary, metric: Metric, records: Sequence[RunRecord]) -> bool:
    """Return whether an earlier result is of these runs, of some of them, or of more."""
    if before.metric.name != metric.name:
        return False
    now = finals(records, metric.name)
    for arm in before.arms:
        values = arm.metrics[metric.name].values
        there = {(seed, value) for seed, value in values.items() if value is not None}
        here = {*now.get(arm.name, {}).items()}
        if not (there <= here or here <= there):
            return False
    return True


@dataclass(frozen=True)
class Facts:
    """What a source knows of its runs, beside the runs.

    Attributes:
        shared: what was equal in all arms, and what differs.
        costs: seconds of each arm besides training, such as {"clr": {"range_test_seconds": 60.0}}.
        tuning: how the arms' learning rates were chosen.
        config: the experiment's config as YAML; empty if it has none.
    """

    shared: ControlledVariables
    costs: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    tuning: Tuning | None = None
    config: str = ""


@dataclass(frozen=True)
class Runs:
    """The runs of a study, the looks that there have been, and their facts."""

    records: Sequence[RunRecord]
    facts: Facts
    looks: Sequence[Look] = ()
