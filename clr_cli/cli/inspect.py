"""``clr config`` and ``clr schedule``: look at configs and schedules without training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clr_cli.cli import terminal
from clr_cli.cli.options import ConfigName, Sets, load
from clr_cli.errors import InputError

ASSUMED = 500  # iterations per epoch, where they are not given: enough for a smooth curve

config_app = typer.Typer(
    help="Look at configs and their schema.", no_args_is_help=True, rich_markup_mode=None
)
schedule_app = typer.Typer(
    help="Look at schedules without training.", no_args_is_help=True, rich_markup_mode=None
)


@config_app.command("schema", epilog="Example: clr config schema > clr.schema.json")
def config_schema() -> None:
    """Print the JSON Schema of a config file, for editors."""
    from clr_cli.config.load import json_schema

    print(json_schema())


@config_app.command("show", epilog="Example: clr config show --config quickstart.yaml")
def config_show(config: ConfigName = "svhn.yaml", sets: Sets = None) -> None:
    """Print a config as it is resolved: every key, defaults filled in."""
    from clr_cli.config.yaml_text import dump

    print(dump(load(config, sets, None).model_dump(mode="json", exclude_none=True)), end="")


@schedule_app.command("plot", epilog="Example: clr schedule plot --schedule triangular2")
def schedule_plot(
    config: ConfigName = "svhn.yaml",
    schedule: Annotated[
        list[str] | None, typer.Option("--schedule", help="Arms or kinds; default: the config's.")
    ] = None,
    iterations_per_epoch: Annotated[
        int | None,
        typer.Option(
            min=1, help="To tell durations in iterations; those given so need it.", metavar="N"
        ),
    ] = None,
    output: Annotated[Path, typer.Option(help="The figure: .png, .svg or .pdf.")] = Path(
        "schedule.png"
    ),
    sets: Sets = None,
) -> None:
    """Draw learning rate (and momentum) against epoch, without training."""
    resolved = load(config, sets, None)
    names = schedule or resolved.compare.schedules
    arms = {name: resolved.schedule(name) for name in names}
    for name, arm in arms.items():
        if arm.needs_bounds:
            raise InputError(
                "auto has no number yet: run clr range-test first", key=f"schedules.{name}"
            )
    from clr_cli import schedules
    from clr_cli.report import write

    epochs = resolved.training.epochs
    per_epoch = iterations_per_epoch or ASSUMED
    total = epochs * per_epoch
    made = {
        name: schedules.make(
            arm.kind,
            arm.params,
            iterations_per_epoch=per_epoch,
            total_iterations=total,
        )
        for name, arm in arms.items()
    }
    written = write.plot_schedules(made, per_epoch, total, output)
    for name, each in made.items():
        arm = arms[name]
        told = arm.params if iterations_per_epoch is None else None  # iterations are not known
        terminal.note(f"{name}  {write.describe_schedule(arm.kind, each, per_epoch, epochs, told)}")
    terminal.paths(written)
