"""Run ``clr train``: one run with one schedule."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clr_cli.cli import options as opt
from clr_cli.cli import progress, terminal
from clr_cli.errors import InputError

if TYPE_CHECKING:
    from clr_cli.config.arms import ScheduleConfig
    from clr_cli.config.model import Config
    from clr_cli.study.training import TrainingSource


def command(
    config: opt.ConfigName = "svhn.yaml",
    schedule: Annotated[
        str,
        typer.Option(
            "--schedule",
            help="An arm of the config, or a kind such as one_cycle.",
            autocompletion=opt.complete_arms,
        ),
    ] = "clr",
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="The seed of weights, data order and crops.")
    ] = 0,
    more: Annotated[
        int | None,
        typer.Option(
            "--more",
            min=1,
            max=10**6,
            help="Continue the finished run for this many epochs, if its schedule does not depend "
            "on the length. A larger training.epochs does the same.",
        ),
    ] = None,
    branch: Annotated[
        int | None,
        typer.Option(
            "--branch",
            min=1,
            max=10**6,
            help="For wsd: train the plateau up to this epoch, then a decay from there "
            "as a separate "
            "run. A later epoch continues the same plateau.",
        ),
    ] = None,
    bounds: opt.Bounds = None,
    sets: opt.Sets = None,
    name: opt.ExperimentName = None,
    output_dir: opt.OutputDir = Path("outputs"),
    device: opt.Device = "auto",
    overwrite: opt.Overwrite = False,
    allow_code: opt.AllowCode = False,
    tensorboard: opt.Tensorboard = False,
    as_json: opt.AsJson = False,
) -> None:
    """Train one run with one schedule. The same command again resumes it."""
    resolved = opt.load(config, sets, name)
    with opt.errors_in(config):
        arm = resolved.arm(schedule, output_dir, bounds)
        options = opt.Options(
            output_dir,
            device,
            overwrite=overwrite,
            allow_code=allow_code,
            json=as_json,
            tensorboard=tensorboard,
        ).check(resolved)
        from clr_cli.study.training import TrainingSource

        for option, value in (("--more", more), ("--branch", branch)):
            if value is not None and overwrite:
                raise InputError(f"{option} continues an earlier run; leave out --overwrite")
        if more is not None and branch is not None:
            raise InputError("--more and --branch: give only one of them")
        if branch is not None:
            _branch(resolved, schedule, arm, seed, branch, options)
            return
        if more is not None:
            place = options.for_tasks(resolved).experiment.run(schedule, seed)
            from clr_cli.execution.branch import with_epochs

            resolved = with_epochs(resolved, _epochs_with(place, more))
        source = TrainingSource(
            config=resolved, options=options.for_tasks(resolved), arms={schedule: arm}
        )
        _train(source, seed, options)


def _epochs_with(place: Path, more: int) -> int:
    """Return the epochs of the run in a folder, plus ``more`` if it is finished."""
    from clr_cli.execution.run_directory import RunDirectory

    directory = RunDirectory(place)
    there = directory.read_config()
    if there is None:
        raise InputError(f"--more: {place} contains no run; train it first, without --more")
    epochs: int = there["training"]["epochs"]
    if directory.finished:
        return epochs + more
    terminal.note(f"the run is unfinished, so it continues to its {epochs} epochs")
    return epochs


def _branch(
    config: Config, name: str, arm: ScheduleConfig, seed: int, epoch: int, options: opt.Options
) -> None:
    """Train the plateau of a wsd arm up to an epoch, if needed, and a decay from there."""
    from clr_cli.execution.branch import branch_epochs, plateau_of, with_epochs
    from clr_cli.study.training import TrainingSource
    from clr_cli.training.ranks import world_size

    if world_size() > 1:
        raise InputError("--branch does not work under torchrun")
    own = config.for_arm(name)
    places, threads = options.for_tasks(own), own.training.threads
    steady = TrainingSource(
        config=with_epochs(own, epoch),
        options=places,
        arms={f"{name}-plateau": plateau_of(arm)},
        threads=threads,
    )
    plateau = steady.task(f"{name}-plateau", seed)
    images, _ = plateau.images()
    epochs = branch_epochs(arm, epoch, images.steps_per_epoch(own.training.batch_size))
    branch = f"{name}-from-{epoch}"
    decay = TrainingSource(config=with_epochs(own, epochs), options=places, arms={branch: arm})
    run = decay.task(branch, seed)
    if not run.directory.has_checkpoint:
        there = plateau.directory.read_config()
        if there is not None and there["training"]["epochs"] > epoch:
            raise InputError(
                f"--branch {epoch}: the plateau has reached epoch "
                f"{there['training']['epochs']}, and "
                "only its end is saved; branch there or later, or give another --name"
            )
        with contextlib.redirect_stdout(sys.stderr):  # the decay is the result
            _train(steady, seed, replace(options, json=False))
    _train(decay, seed, options, plateau.path)


def _train(
    source: TrainingSource, seed: int, options: opt.Options, plateau: Path | None = None
) -> None:
    """Execute one run, under torchrun as one of its ranks, and print the last epoch's numbers.

    The run starts from the end of the run in ``plateau``, if that is not None.
    """
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
    run = replace(
        source.task(arm, seed), threads=threads, device=str(device), extends=True, plateau=plateau
    )
    with ranks.join_ranks(device) as group:
        if group.rank:
            group.share(None)  # rank 0 loads the data first, and may download it
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
        before = run.directory.finished
        trained = progress.follow([run], 1, epochs, engines.local([run], 1, group))
    record = run.record()
    written = write.write_run(run.path, record, made)
    if options.tensorboard:
        written.append(write_tensorboard(run.path, record))
    if before and not trained:
        size = record.result["parameters"]
        terminal.note(
            f"the run is finished, so nothing was trained; the model has {size:,} parameters"
        )
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
