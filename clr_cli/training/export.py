"""Write a trained model for use without clr: weights or program, and a description in JSON."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from clr_cli import __version__
from clr_cli.errors import InputError
from clr_cli.files import write_atomic, write_json
from clr_cli.training.trained import Trained

FORMATS = {"safetensors": ".safetensors", "torch-export": ".pt2"}
_TYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def export(model: Trained, form: str, output: Path) -> list[Path]:
    """Write a trained model and its description.

    Args:
        model: on the CPU, as ``load`` returns it.
        form: a key of FORMATS. ``safetensors`` contains the weights and buffers by
            name; ``torch-export`` the whole computation, from uint8 images (N, H, W, C) to logits.
        output: where, without a suffix.

    Returns:
        The two files: the model, and the JSON beside it.

    Raises:
        InputError: as ``files_of`` does, or PyTorch cannot export this model.
        EnvironmentFailure: a file cannot be written.

    """
    files = files_of(form, output)
    content = safetensors(model.model.state_dict()) if form == "safetensors" else _program(model)
    write_atomic(files[0], content)
    write_json(files[1], {"file": files[0].name, "format": form, **describe(model)})
    return files


def files_of(form: str, output: Path) -> list[Path]:
    """Return the files of an export. Raises InputError for an unknown format, or for a folder."""
    if form not in FORMATS:
        raise InputError(f"--format {form!r} is unknown; known: {', '.join(FORMATS)}")
    if output.is_dir():
        raise InputError(f"--output {output}: a folder; add the name of the file, without a suffix")
    return [output.with_name(output.name + suffix) for suffix in (FORMATS[form], ".json")]


def describe(model: Trained) -> dict[str, Any]:
    """Return what a program needs besides the weights: architecture, normalization, classes.

    ``mean`` and ``std`` are per channel and for pixels in 0..1: (pixel / 255 - mean) / std.
    """
    architecture = model.config.model
    height, width, channels = model.image
    scale, shift = model.scale.double(), model.shift.double()
    std = 1 / (255 * scale)
    return {
        "clr": __version__,
        "architecture": {"name": architecture.name, **architecture.arguments},
        "input": {"height": height, "width": width, "channels": channels},
        "normalization": {"mean": (-shift * std).tolist(), "std": std.tolist()},
        "classes": list(model.classes),
        "precision": model.precision,
        "run": {
            "experiment": model.config.name,
            "arm": next(iter(model.config.schedules)),
            "seed": model.seed,
            "epoch": model.epoch,
        },
    }


def safetensors(tensors: dict[str, Tensor]) -> bytes:
    """Encode tensors in the safetensors format: a length, a header in JSON, and their bytes.

    See https://huggingface.co/docs/safetensors ("Format"). Raises InputError for a type that
    the format does not have.
    """
    header: dict[str, Any] = {}
    parts: list[bytes] = []
    at = 0
    for name, tensor in tensors.items():
        if tensor.dtype not in _TYPES:
            raise InputError(f"{name} is {tensor.dtype}, which safetensors cannot store")
        flat = tensor.detach().cpu().contiguous().view(-1)
        data = flat.view(torch.uint8).numpy().tobytes() if len(flat) else b""
        offsets = [at, at + len(data)]
        header[name] = {
            "dtype": _TYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": offsets,
        }
        parts.append(data)
        at += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *parts])


class _Program(nn.Module):
    """The exported computation: from images to logits, for batches of any size."""

    def __init__(self, trained: Trained) -> None:
        super().__init__()
        self.trained = trained

    def forward(self, images: Tensor) -> Tensor:
        return self.trained.logits(images)


def _program(model: Trained) -> bytes:
    images = torch.zeros(2, *model.image, dtype=torch.uint8)
    batch = torch.export.Dim("batch", min=1)
    try:
        program = torch.export.export(
            _Program(model).eval(), (images,), dynamic_shapes=({0: batch},), strict=False
        )
    except Exception as error:  # a model may do anything that cannot be traced
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(
            f"PyTorch cannot export this model ({reason}); use --format safetensors"
        ) from error
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()
