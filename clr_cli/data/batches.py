"""Gather, augment and normalize batches in bulk on the device, without a DataLoader.

Everything random is a function of (seed, epoch), so a resumed run sees the same images as an
uninterrupted one, and all arms of one seed see the same images in the same order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from clr_cli.data.sources import Data, Split
from clr_cli.errors import InputError


def derive_seed(seed: int, epoch: int, stream: str) -> int:
    """Return a 63-bit seed for one use of randomness: different streams share no sequence."""
    digest = hashlib.blake2b(f"{seed}/{epoch}/{stream}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def _generator(seed: int, epoch: int, stream: str) -> torch.Generator:
    # Always drawn on the CPU, so that every device trains on the same batches.
    return torch.Generator().manual_seed(derive_seed(seed, epoch, stream))


@dataclass(frozen=True)
class Resident:
    """A data set on its device, ready for training.

    padded: uint8 (N, H + 2p, W + 2p, C), the training images with a black border of p pixels.
    flip: whether half of the training images are mirrored. cutout: the side of the square in each
    image that is painted over with ``fill``, uint8 (C,), the mean color; 0: none.
    scale, shift: (W * C,), float32, one image row: normalized = pixel * scale + shift.
    notes: remarks on the data for the user.
    """

    padded: Tensor
    labels: Tensor
    val: Split
    test: Split
    crop_padding: int
    flip: bool
    cutout: int
    height: int
    width: int
    channels: int
    num_classes: int
    fill: Tensor
    scale: Tensor
    shift: Tensor
    classes: tuple[str, ...] = ()  # the names of the classes
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def steps_per_epoch(self, batch_size: int) -> int:
        """Return the number of full batches; the remaining images are left out of this epoch.

        Raises:
            InputError: the batch size is larger than the split.
        """
        if batch_size > len(self):
            raise InputError(
                f"{batch_size} is larger than the training split ({len(self)})",
                key="training.batch_size",
            )
        return len(self) // batch_size


def to_device(
    data: Data, device: torch.device, crop_padding: int, flip: bool = False, cutout: int = 0
) -> Resident:
    """Move a data set to the device and prepare it for ``training_batches``.

    Raises InputError as `augmented` does.
    """
    _, height, width, channels = data.train.images.shape
    mean, std = torch.tensor(data.mean), torch.tensor(data.std)
    plain = Resident(
        padded=data.train.images.to(device),
        labels=data.train.labels.to(device),
        val=Split(data.val.images.to(device), data.val.labels.to(device)),
        test=Split(data.test.images.to(device), data.test.labels.to(device)),
        crop_padding=0,
        flip=False,
        cutout=0,
        height=height,
        width=width,
        channels=channels,
        num_classes=data.num_classes,
        fill=(255 * mean).round().to(torch.uint8).to(device),
        scale=(1 / (255 * std)).repeat(width).to(device),
        shift=(-mean / std).repeat(width).to(device),
        notes=data.notes,
        classes=data.classes or tuple(map(str, range(data.num_classes))),
    )
    return augmented(plain, crop_padding, flip, cutout)


def augmented(data: Resident, crop_padding: int, flip: bool, cutout: int) -> Resident:
    """Return the same images with another augmentation.

    Raises:
        InputError: cutout is larger than the images.
    """
    if cutout > min(data.height, data.width):
        raise InputError(
            f"{cutout} is larger than the images ({data.height} x {data.width})",
            key="dataset.augment.cutout",
        )
    p = crop_padding - data.crop_padding
    padded = F.pad(data.padded, (0, 0, p, p, p, p)) if p else data.padded  # crops if p < 0
    return replace(data, padded=padded, crop_padding=crop_padding, flip=flip, cutout=cutout)


def draw(data: Resident, *, seed: int, epoch: int) -> tuple[Tensor, Tensor]:
    """Draw one epoch's order of the images, (N,), and their augmentation in that order, (N, 4).

    The four columns: the index of the crop's first byte in ``padded``; 1 if it is mirrored; top and
    left of the square to paint over, which may be partly outside. Both tensors are on the CPU.
    """
    count = len(data)
    order = torch.randperm(count, generator=_generator(seed, epoch, "order"))
    changes = torch.zeros((count, 4), dtype=torch.int64)
    image_stride, row_stride, pixel_stride, _ = data.padded.stride()
    changes[:, 0] = order * image_stride
    if data.crop_padding:
        generator = _generator(seed, epoch, "crop")
        span = 2 * data.crop_padding + 1
        top, left = torch.randint(span, (2, count), generator=generator)
        changes[:, 0] += top * row_stride + left * pixel_stride
    if data.flip:
        generator = _generator(seed, epoch, "flip")
        changes[:, 1] = torch.randint(2, (count,), generator=generator)
    if data.cutout:
        generator = _generator(seed, epoch, "cutout")
        for column, side in ((2, data.height), (3, data.width)):
            centers = torch.randint(side, (count,), generator=generator)
            changes[:, column] = centers - data.cutout // 2
    return order, changes


class Augmenter:
    """Crop the padded images, mirror them and paint squares over.

    Its input is rows of ``draw``, (B, 4), on the device; its output is uint8 (B, H, W, C).
    """

    def __init__(self, data: Resident) -> None:
        # A crop is H contiguous runs of W * C bytes, so the gather copies whole rows; indexing the
        # pixels one by one is five times slower on a CPU.
        row = data.width * data.channels
        self._shape = (data.height, data.width, data.channels)
        self._rows = data.padded.as_strided((data.padded.numel() - row + 1, row), (1, 1))
        self._y = torch.arange(data.height, device=data.padded.device)
        self._x = torch.arange(data.width, device=data.padded.device)
        self._first = self._y * data.padded.stride(1)
        self._flip, self._cutout, self._fill = data.flip, data.cutout, data.fill

    def __call__(self, changes: Tensor) -> Tensor:
        """Return the augmented images of these rows."""
        place, mirrored, top, left = changes.unbind(1)
        offsets = (place[:, None] + self._first).view(-1)
        images = self._rows.index_select(0, offsets).view(len(place), *self._shape)
        if self._flip:
            images = torch.where(mirrored.bool()[:, None, None, None], images.flip(2), images)
        if self._cutout:  # DeVries & Taylor 2017, section 3
            square = self._within(self._y, top)[:, :, None] & self._within(self._x, left)[:, None]
            images = torch.where(square[..., None], self._fill, images)
        return images

    def _within(self, pixels: Tensor, first: Tensor) -> Tensor:
        """Return which pixels of one side the square covers: (B, pixels)."""
        return (pixels >= first[:, None]) & (pixels < first[:, None] + self._cutout)


def training_batches(
    data: Resident, batch_size: int, *, seed: int, epoch: int, part: tuple[int, int] = (0, 1)
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield one epoch of shuffled, augmented batches: images uint8 (B, H, W, C), labels (B,).

    ``part`` (k, n) selects the k-th of n equal parts of every batch, so B is batch_size / n.
    """
    k, n = part
    size = batch_size // n
    device = data.labels.device
    order, changes = (drawn.to(device) for drawn in draw(data, seed=seed, epoch=epoch))
    augment = Augmenter(data)
    for step in range(data.steps_per_epoch(batch_size)):
        first_image = step * batch_size + k * size
        chosen = slice(first_image, first_image + size)
        yield augment(changes[chosen]), data.labels[order[chosen]]


def evaluation_batches(split: Split, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the split in order, without augmentation; the last batch may be smaller."""
    for start in range(0, len(split), batch_size):
        part = slice(start, start + batch_size)
        yield split.images[part], split.labels[part]


def normalize(data: Resident, images: Tensor) -> Tensor:
    """Return uint8 (B, H, W, C) as float32 (B, C, H, W), channels_last, of mean 0 and std 1."""
    rows = images.reshape(len(images), data.height, data.width * data.channels)
    scaled = rows.float().mul_(data.scale).add_(data.shift)  # by rows: C = 3 would not vectorize
    return scaled.view(images.shape).permute(0, 3, 1, 2)
