"""Derive the configs of ``clr train --branch``: several decays from one plateau.

The plateau is the arm's schedule with its decay far away. A run that starts from the plateau's end
is bit-identical to one trained from the start (Hägele et al. 2024, section 3).
"""

from __future__ import annotations

from clr_cli.config.arms import ScheduleConfig
from clr_cli.config.model import Config
from clr_cli.errors import InputError
from clr_cli.execution.training_task import resolve_schedule

NEVER = 1e6  # epochs after which a plateau ends
MOST = 1000  # the longest run, as a multiple of its plateau


def with_epochs(config: Config, epochs: int) -> Config:
    """Return the config with another number of epochs."""
    training = config.training.model_copy(update={"epochs": epochs})
    return config.model_copy(update={"training": training})


def plateau_of(arm: ScheduleConfig) -> ScheduleConfig:
    """Return the arm without its decay.

    Raises:
        InputError: the arm has no plateau, or its length is fixed.

    """
    if arm.kind != "wsd":
        raise InputError(f"--branch: only wsd has a plateau to branch from, not {arm.kind}")
    for key in ("total", "total_epochs"):
        if key in arm.params:
            raise InputError(f"--branch: leave {key} out: the decay begins at the branch")
    return arm.with_params({"total_epochs": NEVER})


def branch_epochs(arm: ScheduleConfig, epoch: int, steps_per_epoch: int) -> int:
    """Return the epochs of the shortest run of a wsd arm whose plateau lasts up to ``epoch``.

    Raises:
        InputError: the rate is not constant at that epoch, or the run would be far too long.

    """
    end = epoch * steps_per_epoch
    steady = resolve_schedule(plateau_of(arm), steps_per_epoch, int(NEVER))
    if steady.lr(end - 1) != steady.lr(end):
        raise InputError(
            f"--branch {epoch}: the rate is not constant there (warm-up, or decay_share 1)"
        )
    for epochs in range(epoch + 1, MOST * epoch):
        if resolve_schedule(arm, steps_per_epoch, epochs).lr(end - 1) == steady.lr(end - 1):
            return epochs
    raise InputError(
        f"--branch {epoch}: decay_share is too close to 1 and leaves no plateau; lower it"
    )
