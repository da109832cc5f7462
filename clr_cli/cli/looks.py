"""Looking at a comparison while seeds are added: when, and whether it is decided."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from clr_cli.cli import terminal

if TYPE_CHECKING:
    from clr_cli.execution.plan import Plan
    from clr_cli.execution.training_task import Run


def looks_of(plan: Plan) -> list[int]:
    """The numbers of seeds at which this comparison has been, and will be, looked at.

    An earlier result of the same arms counts: more seeds after it are seeds added after a look.
    """
    from clr_cli.analysis import sequential, stats
    from clr_cli.paths import SUMMARY
    from clr_cli.records import Summary, read

    cap, n = plan.config.compare.cap, len(plan.seeds)
    now = [n] if cap is None else sequential.looks(cap)
    file = plan.options.experiment.comparison(tuned=bool(plan.chosen)) / SUMMARY
    if not file.exists() or plan.options.overwrite:
        return now
    before = read(Summary, file, remedy="give --overwrite to compare anew")
    if {arm.name for arm in before.arms} != set(plan.arms):
        return now
    seen = before.looks or [before.num_seeds]
    return sorted({*now, *(k for k in seen if stats.MIN_SEEDS <= k < n)})


def power_note(plan: Plan) -> str:
    """What the plan's seeds can show; in points where an earlier result tells the noise."""
    from clr_cli.analysis import stats

    n, comparisons, wanted = len(plan.seeds), len(plan.arms) - 1, plan.config.compare.detect
    smallest = stats.smallest_detectable(1.0, n, comparisons)
    if smallest is None:
        return f"power: {n} seeds cannot show any difference\n"
    said = (
        f"power: {n} seeds find a true difference of {smallest:.1f} standard deviations (of the"
        " paired differences) 4 times in 5"
    )
    noise = _earlier_noise(plan)
    if noise is None:
        return said + "\n"
    said += f": {100 * smallest * noise:.2f} points, by the noise of the earlier result"
    if wanted is not None:
        needed = stats.seeds_needed(wanted / 100, noise, comparisons)
        said += f"; {wanted:g} points take {needed if needed is not None else 'too many'} seeds"
    return said + "\n"


def _earlier_noise(plan: Plan) -> float | None:
    """The largest standard deviation of paired differences in the result that is there already."""
    import statistics

    from clr_cli.paths import SUMMARY
    from clr_cli.records import Summary, read

    file = plan.options.experiment.comparison(tuned=bool(plan.tuned_arms)) / SUMMARY
    if not file.exists() or plan.options.overwrite:
        return None
    before = read(Summary, file, remedy="give --overwrite to compare anew")
    found = (c.difference.values.values() for c in before.comparisons)
    known = [[value for value in values if value is not None] for values in found]
    return max((statistics.stdev(values) for values in known if len(values) > 1), default=None)


def decided(plan: Plan, runs: Sequence[Run], looks: Sequence[int]) -> bool:
    """Whether every arm is decided at this look; says which are not."""
    from clr_cli.analysis.comparisons import decide
    from clr_cli.execution.records import read_record

    config = plan.config
    decisions = decide(
        [read_record(run) for run in runs],
        baseline=config.baseline,
        looks=looks,
        margin=config.compare.margin,
        cap=config.compare.cap,
    )
    still = [arm for arm, decision in decisions.items() if decision.seeds is None]
    where = f"look {len(looks)}, {looks[-1]} seeds"
    if not still:
        terminal.note(f"{where}: decided")
    elif looks[-1] == config.compare.cap:
        terminal.note(f"{where}: these are all that are allowed")
    else:
        terminal.note(f"{where}: {', '.join(still)} not decided, more seeds are added")
    return not still
