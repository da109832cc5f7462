"""Looking at a comparison while seeds are added: when, and whether it is decided."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from clr_cli.cli import terminal

if TYPE_CHECKING:
    from clr_cli.execution.plan import Plan, Runs
    from clr_cli.execution.program_plan import ProgramPlan
    from clr_cli.records import RunRecord

P = TypeVar("P", bound="Runs")


def looks_of(plan: Plan | ProgramPlan) -> list[int]:
    """The numbers of seeds at which this comparison has been, and will be, looked at.

    An earlier result of the same arms counts: more seeds after it are seeds added after a look.
    """
    from clr_cli.analysis import sequential, stats
    from clr_cli.paths import SUMMARY
    from clr_cli.records import Summary, read

    n = len(plan.seeds)
    now = [n] if plan.cap is None else sequential.looks(plan.cap)
    file = plan.folder / SUMMARY
    if not file.exists() or plan.options.overwrite:
        return now
    before = read(Summary, file, remedy="give --overwrite to compare anew")
    if {arm.name for arm in before.arms} != set(plan.arms):
        return now
    seen = before.looks or [before.num_seeds]
    return sorted({*now, *(k for k in seen if stats.MIN_SEEDS <= k < n)})


def power_note(plan: Plan) -> str:
    """What the plan's seeds can show; in points where an earlier result tells the noise."""
    from clr_cli.analysis import sequential, stats

    n, comparisons, wanted = len(plan.seeds), float(len(plan.arms) - 1), plan.config.compare.detect
    comparisons *= sequential.STRICTER if plan.adds_seeds else 1
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

    file = plan.folder / SUMMARY
    if not file.exists() or plan.options.overwrite:
        return None
    before = read(Summary, file, remedy="give --overwrite to compare anew")
    found = (c.difference.values.values() for c in before.comparisons)
    known = [[value for value in values if value is not None] for values in found]
    return max((statistics.stdev(values) for values in known if len(values) > 1), default=None)


def until_decided(
    plan: P,
    looks: Sequence[int],
    execute: Callable[[P, int], None],
    read: Callable[[P], Sequence[RunRecord]],
    rule: Mapping[str, Any],
) -> tuple[P, list[int]]:
    """Execute the runs of a plan; where it adds seeds, look by look until every arm is decided.

    Args:
        execute: executes the plan's runs, of which so many have been executed already.
        read: the records of a plan's runs.
        rule: what `analysis.comparisons.decide` is given besides the looks.

    Returns:
        the plan with the seeds that were used, and the looks that there have been.
    """
    done = 0
    for n in looks if plan.adds_seeds else [len(plan.seeds)]:
        batch, seen = plan.first(n), [k for k in looks if k <= n]
        execute(batch, done)
        done = len(batch.wanted)
        if plan.adds_seeds and _decided(read(batch), seen, rule):
            break
    return batch, seen


def _decided(records: Sequence[RunRecord], looks: Sequence[int], rule: Mapping[str, Any]) -> bool:
    """Whether every arm is decided at this look; says which are not."""
    from clr_cli.analysis.comparisons import decide

    decisions = decide(records, looks=looks, **rule)
    still = [arm for arm, decision in decisions.items() if decision.seeds is None]
    where = f"look {len(looks)}, {looks[-1]} seeds"
    if not still:
        terminal.note(f"{where}: decided")
    elif looks[-1] == rule["cap"]:
        terminal.note(f"{where}: these are all that are allowed")
    else:
        terminal.note(f"{where}: {', '.join(still)} not decided, more seeds are added")
    return not still
