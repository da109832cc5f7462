"""The controlled variables of a comparison: what is equal in all arms, and whatever is not."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from clr_cli.config.model import differences
from clr_cli.execution.plan import Plan
from clr_cli.execution.setup import Setup
from clr_cli.execution.training_task import resolve_schedule
from clr_cli.records import ControlledVariables, RunRecord


def controlled_variables(
    plan: Plan, setups: Mapping[str, Setup], records: Sequence[RunRecord]
) -> ControlledVariables:
    """Return what the report says was compared: sizes, hyperparameters and run metadata.

    setups: by arm.
    """
    config, setup = plan.config.for_arm(plan.config.baseline), setups[plan.config.baseline]
    epochs = config.training.epochs
    steps = {arm: each.steps_per_epoch for arm, each in setups.items()}
    equal = len(set(steps.values())) == 1
    ran = next(r.result for r in records if r.result)
    own = differences({arm: plan.config.for_arm(arm) for arm in plan.arms})
    also = [
        f"{key}: {', '.join(f'{arm} {value}' for arm, value in values.items())}"
        for key, values in own.items()
    ]
    for key in ("device", "precision", "threads", "versions"):
        seen = {json.dumps(r.result[key]) for r in records if r.result}
        if len(seen) > 1:
            also.append(f"{key}: {', '.join(sorted(seen))}")
    made = {arm: resolve_schedule(each, steps[arm], epochs) for arm, each in plan.arms.items()}
    cycled = [arm for arm, schedule in made.items() if schedule.momentum(0) is not None]
    if cycled:
        also.append(f"momentum is cycled in {', '.join(cycled)}")
    return ControlledVariables(
        varied="the arm, see what differs" if own else "the learning-rate schedule",
        also_differs=also,
        dataset=config.dataset.label,
        train_size=setup.train_size,
        val_size=setup.val_size,
        test_size=setup.test_size,
        num_classes=setup.num_classes,
        model=config.model.name,
        parameters=setup.parameters,
        optimizer=config.optimizer.name,
        momentum=config.optimizer.used.get("momentum"),
        weight_decay=config.optimizer.used.get("weight_decay"),
        epochs=epochs,
        batch_size=config.training.batch_size if equal else None,
        iterations_per_epoch=setup.steps_per_epoch if equal else None,
        iterations=setup.steps_per_epoch * epochs if equal else None,
        **{key: ran[key] for key in ("precision", "device", "threads", "versions")},
        determinism="arms of one seed share initial weights, data order, crops and split",
        vary=config.compare.vary,
    )
