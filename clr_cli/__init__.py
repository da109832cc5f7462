"""clr: find good learning rates, train with a schedule, compare honestly.

In Python: ``clr.compare``, ``clr.find_lr``, ``clr.load`` and ``clr.schedules``. What they need is
loaded on first use: importing the package loads neither torch nor matplotlib.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clr_cli import schedules
    from clr_cli.api import ArmResult, Comparison, LearningRate, compare, find_lr, load

__version__ = "0.3.0"
__all__ = [
    "ArmResult",
    "Comparison",
    "LearningRate",
    "__version__",
    "compare",
    "find_lr",
    "load",
    "schedules",
]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    import importlib

    if name == "schedules":
        return importlib.import_module("clr_cli.schedules")
    if name in __all__:
        return getattr(importlib.import_module("clr_cli.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
