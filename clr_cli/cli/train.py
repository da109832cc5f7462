"""``clr train``: one run with one schedule."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clr_cli.cli import progress, terminal
from clr_cli.cli.options import (
    AllowCode,
    AsJson,
    Bounds,
    ConfigName,
    Device,
    ExperimentName,
    Options,
    OutputDir,
    Overwrite,
    Sets,
    Tensorboard,
    errors_in,
    load,
)

if TYPE_CHECKING:
    from clr_cli.study.training import TrainingSource


def command(
    config: ConfigName = "svhn.yaml",
    schedule: Annotated[
        str, typer.Option("--schedule", help="An arm of the config, or a kind such as one_cycle.")
    ] = "clr",
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Of weights, data order and crops.")
    ] = 0,
    bounds: Bounds = None,
    sets: Sets = None,
    name: ExperimentName = None,
    output_dir: OutputDir = Path("outputs"),
    device: Device = "auto",
    overwrite: Overwrite = False,
    allow_code: AllowCode = False,
    tensorboard: Tensorboard = False,
    as_json: AsJson = False,
) -> None:
    """Train one run with one schedule. The same command again resumes it."""
    resolved = load(config, sets, name)
    with errors_in(config):
        arm = resolved.arm(schedule, output_dir, bounds)
        options = Options(
            output_dir,
            device,
            overwrite=overwrite,
            allow_code=allow_code,
            json=as_json,
            tensorboard=tensorboard,
        ).check(resolved)
        from clr_cli.study.training import TrainingSource

        source = TrainingSource(
            config=resolved, options=options.for_tasks(resolved), arms={schedule: arm}
        )
        _train(source, seed, options)


def _train(source: TrainingSource, seed: int, options: Options) -> None:
    """Execute one run; under torchrun, all its ranks. Print the last epoch's numbers."""
    from clr_cli.cli import setup
    from clr_cli.execution import engines
    from clr_cli.execution.setup import measure
    from clr_cli.execution.tensorboard import write_tensorboard
    from clr_cli.execution.training_task import follow, resolve_schedule
    from clr_cli.report import write
    from clr_cli.training import ranks
    from clr_cli.training.device import resolve_device

    config, (arm,) = source.config, source.arms
    epochs = config.training.epochs
    device = ranks.own_device(resolve_device(options.device))
    _, threads = options.engine.workers(1, config.training.threads)
    run = replace(source.task(arm, seed), threads=threads, device=str(device))
    with ranks.joined(device) as group:
        if group.rank:
            group.share(None)  # rank 0 is the first to load the data, and may download them
            follow(run, group)
            return
        sizes = measure(run)
        group.share(None)
        made = resolve_schedule(run.schedule, sizes.steps_per_epoch, epochs)
        terminal.plan(
            f"clr train: {config.name}, {run.name}",
            [
                *setup.rows(run.config, sizes),
                *([("ranks", f"{group.world}, each on a part of every batch")] * (group.world > 1)),
                *setup.schedule_rows(source.arms, config, {arm: sizes}),
            ],
        )
        progress.follow([run], 1, epochs, engines.local([run], 1, group))
    record = run.record()
    written = write.write_run(run.path, record, made)
    if options.tensorboard:
        written.append(write_tensorboard(run.path, record))
    if options.json:
        print(json.dumps(record.result, indent=2))
        return
    final = record.result["final"]
    if final is None:
        at = record.result["diverged"]
        print(f"\n{run.arm} diverged at iteration {at['iteration']} (learning rate {at['lr']:g})\n")
    else:
        terminal.table(
            ["run", "train loss", "test loss", "test accuracy", "images/s"],
            [[run.name, *_final(final), f"{record.result['images_per_second']:,.0f}"]],
        )
    terminal.paths([run.directory.result_path, run.directory.metrics_path, *written])


def _final(final: Mapping[str, float]) -> list[str]:
    accuracy = f"{final['test_accuracy']:.2%}"
    return [f"{final['train_loss']:.3f}", f"{final['test_loss']:.3f}", accuracy]
