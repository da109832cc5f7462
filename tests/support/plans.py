"""Runs of a config as a plan for an engine, and the workers that execute them."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

from clr_cli.config import load as configs
from clr_cli.execution.training_task import Run
from support import forked


def plan(config_path: Path, output: Path, *overrides: str, seeds=(0,), **kwargs) -> list[Run]:
    forked.start_server()
    config = configs.load(str(config_path), overrides)
    return [
        Run(
            config=config,
            arm=arm,
            schedule=config.schedule(arm),
            seed=seed,
            path=output / arm / f"seed-{seed}",
            device="cpu",
            threads=1,
            **kwargs,
        )
        for arm in config.compare.schedules
        for seed in seeds
    ]


def worker_processes() -> list[int]:
    """The worker processes of this one."""
    return [child.pid for child in multiprocessing.active_children()]
