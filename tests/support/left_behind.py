"""What runs leave behind, as a value: two of them are equal if nothing but the clock differs."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from clr_cli.execution.run_directory import RunDirectory

OF_ITS_PLACE = ("cost", "costs", "reproduce", "git_commit")


def left_behind(folder: Path) -> dict[str, Any]:
    """Metrics, result, weights and optimizer of every run and sweep under an output folder."""
    paths = sorted(path.parent for path in folder.rglob("metrics.jsonl"))
    left = {str(path.relative_to(folder)): left_by(RunDirectory(path)) for path in paths}
    assert all(tensors is not None for *_, tensors in left.values())
    return left


def left_by(directory: RunDirectory) -> tuple[Any, Any, Any]:
    """Metrics, result and the tensors of its undamaged checkpoint, if it has one."""
    state, notes = directory.load_checkpoint()
    assert notes == []
    kept = ("model", "optimizer", "iteration", "rows")
    tensors = None if state is None else {key: _plain(state[key]) for key in kept}
    return timeless(directory.read_metrics()), timeless(directory.read_result()), tensors


def timeless(value: Any) -> Any:
    """Rows, a result or a summary without what the clock, the folder and the command line say."""
    if isinstance(value, dict):
        kept = {key: item for key, item in value.items() if "second" not in key}
        return {key: timeless(item) for key, item in kept.items() if key not in OF_ITS_PLACE}
    return [timeless(item) for item in value] if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    """Tensors as digests of their bytes, so that equal means bit for bit and a diff is short."""
    if hasattr(value, "numpy"):
        return hashlib.sha256(value.numpy().tobytes()).hexdigest()[:16]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
