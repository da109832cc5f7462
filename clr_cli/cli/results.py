"""Run ``clr results``: show what files of results contain, and the command to compare them."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from clr_cli.cli import terminal
from clr_cli.cli.options import (
    Across,
    ArmColumn,
    AsJson,
    MetricName,
    RunName,
    SeedColumn,
    StepColumn,
    Where,
    parse_list,
)


def command(
    sources: Annotated[
        list[str],
        typer.Argument(help="Files, folders or patterns, such as 'runs/{arm}/{seed}/*.csv'."),
    ],
    arm_column: ArmColumn = None,
    seed_column: SeedColumn = None,
    step_column: StepColumn = None,
    metric: MetricName = None,
    where: Where = None,
    across: Across = None,
    run_name: RunName = None,
    as_json: AsJson = False,
) -> None:
    """Show what files of results contain, and the command that compares them."""
    from clr_cli.results import Query
    from clr_cli.results.overview import overview

    arms = tuple(parse_list(arm_column)) if arm_column else ()
    columns = (arms, seed_column, step_column, metric, tuple(where or ()), across, run_name)
    contents = overview(Query(tuple(sources), *columns))
    if as_json:
        print(
            json.dumps(
                {"facts": contents.facts, "missing": contents.missing, "command": contents.command},
                indent=2,
            )
        )
        return
    width = max(len(label) for label, _ in contents.facts)
    for label, text in [*contents.facts, *(("missing", text) for text in contents.missing)]:
        terminal.hanging(f"{label:<{width}}  ", text)
    print("\nCompare them:" if contents.command else "\nNothing to compare.")
    if contents.command:
        print(f"  {contents.command}")
