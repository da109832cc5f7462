"""``clr range-test``: which learning rates are good?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clr_cli.cli import terminal
from clr_cli.cli.options import (
    AllowCode,
    AsJson,
    ConfigName,
    Device,
    ExperimentName,
    Jobs,
    Options,
    OutputDir,
    Overwrite,
    Sets,
    errors_in,
    load,
    parse_jobs,
    refuse_torchrun,
)

if TYPE_CHECKING:
    from clr_cli.config.model import Config


def command(
    config: ConfigName = "svhn.yaml",
    sweeps: Annotated[int | None, typer.Option(help="Sweeps, each with its own seed.")] = None,
    min_lr: Annotated[float | None, typer.Option(help="The ramp's first rate.")] = None,
    max_lr: Annotated[float | None, typer.Option(help="The ramp's last rate.")] = None,
    shape: Annotated[str | None, typer.Option(help="linear or exponential.")] = None,
    epochs: Annotated[float | None, typer.Option(help="A sweep's length in epochs.")] = None,
    iterations: Annotated[int | None, typer.Option(help="... or in iterations.")] = None,
    sets: Sets = None,
    name: ExperimentName = None,
    output_dir: OutputDir = Path("outputs"),
    device: Device = "auto",
    jobs: Jobs = "auto",
    overwrite: Overwrite = False,
    allow_code: AllowCode = False,
    as_json: AsJson = False,
) -> None:
    """Which rates? Raise the rate in several sweeps and suggest base_lr and max_lr.

    Exit code 3 if the sweeps give no answer; the reason and the range to try next are printed.
    """
    keys = {"sweeps": sweeps, "min_lr": min_lr, "max_lr": max_lr, "shape": shape}
    if epochs is not None or iterations is not None:
        # One length takes the place of the config's, whichever that is.
        lengths = {"epochs": epochs, "iterations": iterations}
        keys |= {key: "null" if value is None else value for key, value in lengths.items()}
    given = (f"range_test.{key}={value}" for key, value in keys.items() if value is not None)
    resolved = load(config, sets, name, *given)
    with errors_in(config):
        options = Options(
            output_dir,
            device,
            parse_jobs(jobs),
            overwrite=overwrite,
            allow_code=allow_code,
            json=as_json,
        ).check(resolved)
        refuse_torchrun("range-test")
        raise typer.Exit(_range_test(resolved, options))


def _range_test(config: Config, options: Options) -> int:
    """The sweeps, then the bounds they support. Returns the exit code: 3 without an answer."""
    from clr_cli.analysis.suggest import suggest
    from clr_cli.cli import results, setup
    from clr_cli.execution import plan
    from clr_cli.execution.records import check_finished
    from clr_cli.execution.setup import measure
    from clr_cli.report import range_test as report
    from clr_cli.training import sweep

    engine = options.engine
    count = config.range_test.sweeps
    jobs, threads = engine.workers(count, config.training.threads)
    tasks = plan.sweeps(config, options.for_runs(config), threads)
    sizes = measure(tasks[0])
    given = config.range_test
    length = sweep.plan(given, sizes.steps_per_epoch)
    epochs = length.total / sizes.steps_per_epoch
    terminal.plan(
        f"clr range-test: {config.name}",
        [
            *setup.rows(config, sizes, iterations=length.total),
            ("ramp", f"{given.shape}, {given.min_lr:g} to {given.max_lr:g}"),
            (
                "sweeps",
                f"{count} of {length.total:,} iterations ({epochs:.3g} epochs); {jobs} at a time",
            ),
            (
                "points",
                f"validation every {length.interval} iterations on a fixed subset: {length.points}",
            ),
        ],
    )
    terminal.follow(tasks, jobs, length.points, engine.execute(tasks))
    check_finished(tasks)
    curves = [sweep.measured(task.seed, task.directory.read_metrics()) for task in tasks]
    finished = [task.directory.read_result() for task in tasks]
    images, _ = tasks[0].images()
    trained = length.interval * config.training.batch_size
    suggestion = suggest(
        curves,
        num_classes=sizes.num_classes,
        chance=sweep.chance(sweep.validation_subset(images.val, trained)),
    )
    metadata = {
        "seconds": sum(result["total_seconds"] for result in finished),
        "range": {"shape": given.shape, "min_lr": given.min_lr, "max_lr": given.max_lr},
        **{key: finished[0][key] for key in ("device", "precision", "threads", "versions")},
    }
    folder = options.for_runs(config).experiment.range_test
    result, written = report.write(folder, curves, suggestion, metadata)
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        results.print_range_test(result)
        terminal.paths(written)
    return 3 if result["inconclusive"] else 0
