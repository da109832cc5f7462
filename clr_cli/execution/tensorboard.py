"""Write a run's metrics for TensorBoard."""

from __future__ import annotations

from pathlib import Path

from clr_cli.files import refuse_link
from clr_cli.records import RunRecord


def write_tensorboard(directory: Path, record: RunRecord) -> Path:
    """Write the metrics as TensorBoard event files; needs the extra ``tensorboard``."""
    from torch.utils.tensorboard import SummaryWriter

    folder = directory / "tensorboard"
    refuse_link(folder)
    for old in folder.glob("events.*") if folder.exists() else ():
        old.unlink()
    with SummaryWriter(str(folder)) as writer:
        for row in record.epochs:
            for key, value in row.items():
                if key not in ("epoch", "iteration"):
                    writer.add_scalar(key, value, int(row["epoch"]))
    return folder
