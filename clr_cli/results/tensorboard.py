"""Read the scalars and hyperparameters of TensorBoard's event files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clr_cli.errors import InputError
from clr_cli.results.frame import Frame, from_rows

_MARK = "tfevents"


def events(path: Path) -> list[Path]:
    """Return the event files at a path: the file, or those in a folder, which are one run."""
    if path.is_file():
        return [path] if _MARK in path.name else []
    if not path.is_dir():
        return []
    return sorted(file for file in path.iterdir() if _MARK in file.name and file.is_file())


def read(path: Path) -> list[Frame]:
    """Read one run: a row per step, with the last value of each scalar. Raises InputError."""
    try:
        from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    except ImportError:
        needs = "TensorBoard's files need the extra: pip install 'clr-cli[tensorboard]'"
        raise InputError(needs, source=path) from None
    rows: dict[int, dict[str, Any]] = {}
    settings: dict[str, Any] = {}
    scalars: set[str] = set()
    start: float | None = None
    for file in events(path):
        try:
            for event in EventFileLoader(str(file)).Load():
                start = event.wall_time if start is None else start
                for value in event.summary.value:
                    plugin = value.metadata.plugin_data
                    if plugin.plugin_name == "scalars":
                        scalars.add(value.tag)
                    if plugin.plugin_name == "hparams":
                        settings |= _settings(plugin.content)
                    if value.tag in scalars:
                        row = rows.setdefault(event.step, {"step": event.step})
                        row["seconds"] = max(0.0, event.wall_time - start)
                        row[value.tag] = _scalar(value.tensor)
        except Exception:  # protobuf and TensorBoard raise all kinds of errors for damaged files
            raise InputError("a damaged event file", source=file) from None
    return [from_rows(path, [rows[k] for k in sorted(rows)], constants=settings, is_log=True)]


def _scalar(tensor: Any) -> float:
    from tensorboard.util.tensor_util import make_ndarray

    return float(make_ndarray(tensor).item())


def _settings(content: bytes) -> dict[str, Any]:
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    start = HParamsPluginData.FromString(content).session_start_info
    settings = {}
    for name, value in start.hparams.items():
        kind = value.WhichOneof("kind")
        settings[name] = None if kind is None else getattr(value, kind)
    return settings
