"""clr: find learning-rate bounds, train with a schedule, compare schedules honestly."""

__version__ = "0.1.0"
