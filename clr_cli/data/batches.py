"""Device-resident batches: gathered, cropped and normalised in bulk, without a DataLoader.

Everything random is a function of (seed, epoch), so a resumed run sees what an uninterrupted one
would have seen, and all arms of one seed see the same images in the same order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from clr_cli.data.sources import Data, Split
from clr_cli.errors import InputError


def derive_seed(seed: int, epoch: int, stream: str) -> int:
    """A 63-bit seed for one use of randomness: distinct streams never share a sequence."""
    digest = hashlib.blake2b(f"{seed}/{epoch}/{stream}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def _generator(seed: int, epoch: int, stream: str) -> torch.Generator:
    # Drawn on the CPU whatever the device, so that every device trains on the same batches.
    return torch.Generator().manual_seed(derive_seed(seed, epoch, stream))


@dataclass(frozen=True)
class Resident:
    """A data set on its device, ready for training.

    padded: uint8 (N, H + 2p, W + 2p, C), the training images with a black border of p pixels.
    scale, shift: (W * C,), float32, one image row: normalised = pixel * scale + shift.
    """

    padded: Tensor
    labels: Tensor
    val: Split
    test: Split
    crop_padding: int
    height: int
    width: int
    channels: int
    num_classes: int
    scale: Tensor
    shift: Tensor
    classes: tuple[str, ...] = ()  # their names

    def __len__(self) -> int:
        return len(self.labels)

    def steps_per_epoch(self, batch_size: int) -> int:
        """Full batches only: every step has the same shape (the rest returns in other epochs).

        Raises InputError if there is none.
        """
        if batch_size > len(self):
            raise InputError(
                f"{batch_size} is larger than the training split ({len(self)})",
                key="training.batch_size",
            )
        return len(self) // batch_size


def to_device(data: Data, device: torch.device, crop_padding: int) -> Resident:
    """Move a data set to the device and prepare it for ``training_batches``."""
    _, height, width, channels = data.train.images.shape
    p = crop_padding
    images = data.train.images.to(device)
    std = torch.tensor(data.std)
    scale = 1 / (255 * std)
    shift = -torch.tensor(data.mean) / std
    return Resident(
        padded=F.pad(images, (0, 0, p, p, p, p)) if p else images,
        labels=data.train.labels.to(device),
        val=Split(data.val.images.to(device), data.val.labels.to(device)),
        test=Split(data.test.images.to(device), data.test.labels.to(device)),
        crop_padding=p,
        height=height,
        width=width,
        channels=channels,
        num_classes=data.num_classes,
        scale=scale.repeat(width).to(device),
        shift=shift.repeat(width).to(device),
        classes=data.classes or tuple(map(str, range(data.num_classes))),
    )


def draw(data: Resident, *, seed: int, epoch: int) -> tuple[Tensor, Tensor]:
    """One epoch's order of the images, and the place of each one's crop in that order, (N,) both.

    A place is the number of the crop's first byte in ``padded``. Drawn on the CPU and left there.
    """
    order = torch.randperm(len(data), generator=_generator(seed, epoch, "order"))
    image_stride, row_stride, pixel_stride, _ = data.padded.stride()
    places = order * image_stride
    if data.crop_padding:
        generator = _generator(seed, epoch, "crop")
        span = 2 * data.crop_padding + 1
        top, left = torch.randint(span, (2, len(data)), generator=generator)
        places += top * row_stride + left * pixel_stride
    return order, places


class Crops:
    """Cuts crops out of the padded images: places (B,) of their first bytes -> (B, H, W, C)."""

    def __init__(self, data: Resident) -> None:
        # A crop is H contiguous runs of W * C bytes, so the gather copies whole rows; indexing the
        # pixels one by one is five times slower on a CPU.
        row = data.width * data.channels
        self._shape = (data.height, data.width, data.channels)
        self._rows = data.padded.as_strided((data.padded.numel() - row + 1, row), (1, 1))
        steps = torch.arange(data.height, device=data.padded.device)
        self._first = steps * data.padded.stride(1)

    def __call__(self, places: Tensor) -> Tensor:
        offsets = (places[:, None] + self._first).view(-1)
        return self._rows.index_select(0, offsets).view(len(places), *self._shape)


def training_batches(
    data: Resident, batch_size: int, *, seed: int, epoch: int, part: tuple[int, int] = (0, 1)
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of shuffled, randomly cropped batches: images uint8 (B, H, W, C), labels (B,).

    ``part`` (k, n) gives the k-th of n equal parts of every batch, so B is batch_size / n.
    """
    k, n = part
    size = batch_size // n
    device = data.labels.device
    order, places = (drawn.to(device) for drawn in draw(data, seed=seed, epoch=epoch))
    crops = Crops(data)
    for step in range(data.steps_per_epoch(batch_size)):
        first_image = step * batch_size + k * size
        chosen = slice(first_image, first_image + size)
        yield crops(places[chosen]), data.labels[order[chosen]]


def evaluation_batches(split: Split, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The split in order, uncropped; the last batch may be smaller."""
    for start in range(0, len(split), batch_size):
        part = slice(start, start + batch_size)
        yield split.images[part], split.labels[part]


def normalize(data: Resident, images: Tensor) -> Tensor:
    """uint8 (B, H, W, C) -> float32 (B, C, H, W) in channels_last memory, zero mean, unit std."""
    rows = images.reshape(len(images), data.height, data.width * data.channels)
    scaled = rows.float().mul_(data.scale).add_(data.shift)  # by rows: vectorises, unlike C = 3
    return scaled.view(images.shape).permute(0, 3, 1, 2)
