"""Learning-rate schedules as pure functions of the iteration, without torch.

A schedule is a frozen model of its parameters; `lr(i)` is the rate of the i-th update (from 0 on),
so resuming, previews, plots and training share one definition and there is no state to save.
To add one: write a class with ``@kind("its_name")`` in decays.py or cycles.py.
"""

from clr_cli.schedules import cycles, decays
from clr_cli.schedules.base import KINDS, Schedule, has_cycles, kind
from clr_cli.schedules.entry import Parameter, make, parameters, resolved

__all__ = [
    "KINDS",
    "Parameter",
    "Schedule",
    "cycles",
    "decays",
    "has_cycles",
    "kind",
    "make",
    "parameters",
    "resolved",
]
