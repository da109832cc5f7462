"""``clr compare --cmd``: is one setting of your own program better than another?"""

from __future__ import annotations

import contextlib
import json
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from clr_cli.cli import terminal
from clr_cli.cli.looks import looks_of, until_decided
from clr_cli.cli.options import Options
from clr_cli.errors import EnvironmentFailure

if TYPE_CHECKING:
    from clr_cli.config.program import ProgramConfig
    from clr_cli.execution.engines import Engine
    from clr_cli.execution.program import FirstRuns
    from clr_cli.execution.program_plan import ProgramPlan
    from clr_cli.execution.task import Task
    from clr_cli.records import RunRecord

SHOWN = 60  # characters of the command in a sentence; the whole of it stands at the page's end


def compare(config: ProgramConfig, options: Options, only: Sequence[str], command: str) -> None:
    """Run the program under every arm and seed, then compare, write and print.

    Raises InputError, EnvironmentFailure.
    """
    from clr_cli.execution.program import FirstRuns
    from clr_cli.execution.program_plan import plan_program
    from clr_cli.execution.records import check_finished

    plan, engine = plan_program(config, options.for_runs(config), only=only), options.engine
    with engine.connected():
        jobs, threads = engine.workers(len(plan.wanted), None)
        _print_plan(plan, engine, jobs)

        def execute(batch: ProgramPlan, done: int) -> None:
            new = batch.runs(threads, alone=jobs == 1)[done:]
            follow(new, config.metric.name, engine, FirstRuns(new))

        plan, looks = until_decided(plan, looks_of(plan), execute, _records, _rule(plan))
    if plan.only:
        check_finished(plan.runs(threads))
        terminal.note("\nonce all runs are finished, the same command without --only compares them")
        return
    _conclude(plan, options, looks, command)


def dry_run(config: ProgramConfig, options: Options) -> None:
    """Show the plan, the first command line and one trial run of it. Raises as `compare`."""
    from clr_cli.cli.dry_run import try_first
    from clr_cli.execution.program_plan import plan_program

    plan, engine = plan_program(config, options.for_runs(config)), options.engine
    with engine.connected():
        jobs, threads = engine.workers(len(plan.wanted), None)
        _print_plan(plan, engine, jobs)
        try_first(plan, engine, jobs, threads)


def follow(
    runs: Sequence[Task], metric: str, engine: Engine, first: FirstRuns | None = None
) -> None:
    """Execute runs of a program and show their progress, until all end, or ``first`` stops them."""
    with (
        RunsProgress([run.name for run in runs], metric) as progress,
        contextlib.closing(engine.execute(runs)) as events,  # type: ignore[type-var]
    ):
        for event in events:
            progress.feed(event.index, event.kind, event.value)
            if first is not None:
                first.feed(event)


def _records(plan: ProgramPlan) -> list[RunRecord]:
    return [run.record() for run in plan.runs(None)]


def _rule(plan: ProgramPlan) -> dict[str, Any]:
    """By what the comparison is judged."""
    from clr_cli.records import Metric

    config = plan.config
    return {
        "baseline": config.baseline,
        "margin": config.compare.margin,
        "cap": plan.cap,
        "metric": Metric(**config.metric.model_dump()),
        "paired": config.compare.paired,
    }


def _print_plan(plan: ProgramPlan, engine: Engine, jobs: int) -> None:
    config, now, runs = plan.config, len(plan.wanted), len(plan.all_runs)
    metric, most = config.metric, "at most " if plan.adds_seeds else ""
    few = "" if now == runs else f", of which {now} now"
    terminal.plan(
        f"clr compare: {config.name}, {' vs '.join(plan.arms)}",
        [
            ("command", config.command),
            *((arm, _values(values)) for arm, values in plan.arms.items()),
            ("metric", f"{metric.name}, {'less' if metric.mode == 'min' else 'more'} is better"),
            (
                "design",
                "paired: runs of one seed share their randomness"
                if config.compare.paired
                else "unpaired: runs share nothing (--paired, where equal seeds do)",
            ),
            (
                "runs",
                f"{len(plan.arms)} arms x {most}{len(plan.seeds)} seeds = {most}{runs}{few}, "
                f"{jobs} at a time{engine.where}",
            ),
        ],
    )


def _values(values: Mapping[str, str]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items()) or "as the command stands"


def _conclude(
    plan: ProgramPlan, options: Options, looks: Sequence[int], command: str
) -> dict[str, Any]:
    from clr_cli.analysis.summary import summarize
    from clr_cli.cli import results
    from clr_cli.config.yaml_text import dump
    from clr_cli.report import write

    config, records = plan.config, _records(plan)
    if not any(r.arm == config.baseline and r.status != "failed" for r in records):
        log = next(run.log for run in plan.runs(None) if run.arm == config.baseline)
        raise EnvironmentFailure(
            f"no run of the baseline {config.baseline} could be finished; see {log}"
        )
    summary = summarize(
        records,
        experiment=config.name,
        context=_contract(config),
        target=config.compare.target,
        detect=config.compare.detect,
        looks=looks,
        **_rule(plan),
    )
    text = dump(config.model_dump(mode="json", exclude_none=True))
    summary["reproduce"] = {"command": command, "config": text}
    written = write.write_comparison(plan.folder, summary, records)
    if options.json:
        print(json.dumps(summary, indent=2))
    else:
        results.print_summary(summary)
        terminal.paths(written)
    return summary


def _contract(config: ProgramConfig) -> dict[str, Any]:
    """What was compared, for the report."""
    from clr_cli import __version__

    keys = dict.fromkeys(key for values in config.arms.values() for key in values)
    differs = {
        key: {arm: values[key] for arm, values in config.ordered.items()}
        for key in keys
        if len({values[key] for values in config.arms.values()}) > 1
    }
    said = [
        f"{key}: {', '.join(f'{arm} {value}' for arm, value in values.items())}"
        for key, values in differs.items()
    ]
    return {
        "source": textwrap.shorten(config.command, SHOWN, placeholder=" ..."),
        "varied": said[0] if said else "nothing: all arms have the same values",
        "also_differs": said[1:],
        "determinism": "runs of one seed share their randomness, as --paired says"
        if config.compare.paired
        else None,
        "versions": {"clr": __version__, "python": sys.version.split()[0]},
    }


class RunsProgress(terminal.Progress):
    """Progress of programs, of which nobody knows how many rows they will write.

    On a terminal: a bar for the runs, and a line for each running one with its newest row.
    """

    def __init__(self, names: Sequence[str], metric: str) -> None:
        super().__init__(names, 1)
        self.metric = metric
        self.total.unit = "run"

    def _start(self, index: int, rows: int) -> None:
        self.done[index] = rows
        if self.live:
            self.bars[index] = self._tqdm(
                total=None,
                initial=rows,
                desc=f"  {self.names[index]}",
                unit="row",
                leave=False,
                dynamic_ncols=True,
            )

    def _row(self, index: int, row: dict[str, Any]) -> None:
        if index in self.bars:
            names = ["iteration", self.metric, *(key for key in row if key != self.metric)]
            shown = [f"{key} {row[key]:.5g}" for key in dict.fromkeys(names) if key in row]
            self.bars[index].update()
            self.bars[index].set_postfix_str(", ".join(shown[:3]))

    def _end(self, index: int, status: str) -> None:
        self.done[index] = 0
        super()._end(index, status)
        if len(self.names) == 1 and not self.live:
            terminal.note(f"{self.names[index]}: {status}")
