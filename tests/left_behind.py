"""What runs leave behind, as a value: two of them are equal if nothing but the clock differs."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from clr_cli.execution.run_directory import RunDirectory


def left_behind(folder: Path) -> dict[str, Any]:
    """Metrics, result, weights and optimizer of every run and sweep under an output folder."""
    paths = sorted(path.parent for path in folder.rglob("metrics.jsonl"))
    return {str(path.relative_to(folder)): _of_one(RunDirectory(path)) for path in paths}


def _of_one(directory: RunDirectory) -> Any:
    state, notes = directory.load_checkpoint()
    assert state is not None
    assert notes == []
    metrics = [_timeless(row) for row in directory.read_metrics()]
    tensors = {key: _plain(state[key]) for key in ("model", "optimizer", "iteration", "rows")}
    return metrics, _timeless(directory.read_result()), tensors


def _timeless(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if "second" not in key}


def _plain(value: Any) -> Any:
    """Tensors as digests of their bytes, so that equal means bit for bit and a diff is short."""
    if hasattr(value, "numpy"):
        return hashlib.sha256(value.numpy().tobytes()).hexdigest()[:16]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
