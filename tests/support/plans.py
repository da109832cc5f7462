"""Runs of a config as a plan for an engine, and the workers that execute them."""

from __future__ import annotations

import os
from pathlib import Path

from clr_cli.config import load as configs
from clr_cli.execution.training_task import Run


def plan(config_path: Path, output: Path, *overrides: str, seeds=(0,), **kwargs) -> list[Run]:
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
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [
        int(child)
        for child in children
        if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]
