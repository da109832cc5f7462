"""What passes between rooms and what is on disk, typed.

The models are written to result.json and summary.json and read back through ``read``.
"""

from clr_cli.records.base import Record, read
from clr_cli.records.range_test import (
    Bound,
    Bounds,
    Ramp,
    RangeTestResult,
    Stopped,
    Sweep,
    SweepEnd,
)
from clr_cli.records.runs import Divergence, Final, RunRecord, RunResult
from clr_cli.records.summary import (
    ArmSummary,
    ArmTimes,
    Comparison,
    ControlledVariables,
    Cost,
    Difference,
    Interval,
    Ratio,
    Reached,
    Reproduce,
    Spread,
    Summary,
    Superiority,
    Target,
    TimeRatio,
    Times,
    Trial,
    TunedArm,
    Tuning,
)

__all__ = [
    "ArmSummary",
    "ArmTimes",
    "Bound",
    "Bounds",
    "Comparison",
    "ControlledVariables",
    "Cost",
    "Difference",
    "Divergence",
    "Final",
    "Interval",
    "Ramp",
    "RangeTestResult",
    "Ratio",
    "Reached",
    "Record",
    "Reproduce",
    "RunRecord",
    "RunResult",
    "Spread",
    "Stopped",
    "Summary",
    "Superiority",
    "Sweep",
    "SweepEnd",
    "Target",
    "TimeRatio",
    "Times",
    "Trial",
    "TunedArm",
    "Tuning",
    "read",
]
