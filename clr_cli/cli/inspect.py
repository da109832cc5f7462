"""``clr config`` and ``clr schedule``: look at configs and schedules without training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clr_cli.cli import terminal
from clr_cli.cli.options import Bounds, ConfigName, ExperimentName, OutputDir, Sets, errors_in, load
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
    """Print a config as it is resolved: every key, defaults filled in; of arms, what they set."""
    from clr_cli.config.yaml_text import dump

    resolved = load(config, sets)
    tree = resolved.model_dump(mode="json", exclude={"schedules"})
    tree |= resolved.model_dump(mode="json", include={"schedules"}, exclude_none=True)
    print(dump(tree), end="")


@schedule_app.command("plot", epilog="Example: clr schedule plot --schedule triangular2")
def schedule_plot(
    config: ConfigName = "svhn.yaml",
    schedule: Annotated[
        list[str] | None, typer.Option("--schedule", help="Arms or kinds; default: the config's.")
    ] = None,
    iterations_per_epoch: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Iterations per epoch. Required to place durations that are given in iterations.",
            metavar="N",
        ),
    ] = None,
    output: Annotated[Path, typer.Option(help="The figure: .png, .svg or .pdf.")] = Path(
        "schedule.png"
    ),
    bounds: Bounds = None,
    sets: Sets = None,
    name: ExperimentName = None,
    output_dir: OutputDir = Path("outputs"),
) -> None:
    """Draw learning rate (and momentum) against epoch, without training."""
    from clr_cli import schedules

    resolved = load(config, sets, name)
    epochs, per_epoch = resolved.training.epochs, iterations_per_epoch or ASSUMED
    total = epochs * per_epoch
    arms, made = {}, {}
    with errors_in(config):
        for each in schedule or resolved.compare.schedules:
            arm = arms[each] = resolved.arm(each, output_dir, bounds)
            try:
                made[each] = schedules.make(
                    arm.kind, arm.params, iterations_per_epoch=per_epoch, total_iterations=total
                )
            except ValueError as error:
                raise InputError(str(error), key=f"schedules.{each}") from error
    from clr_cli.report import write

    written = write.plot_schedules(made, per_epoch, total, output)
    for each, arm in arms.items():
        told = arm.params if iterations_per_epoch is None else None  # iterations are not known
        text = write.describe_schedule(arm.kind, made[each], per_epoch, epochs, told)
        terminal.note(f"{each}  {text}")
    terminal.paths(written)
