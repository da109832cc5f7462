"""Read the data sets that torchvision downloads."""

from __future__ import annotations

import contextlib
import errno
import io
import socket
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from clr_cli.data.arrays import Arrays, one_line
from clr_cli.errors import EnvironmentFailure, InputError

if TYPE_CHECKING:
    from clr_cli.config.sections import DatasetConfig

OFFLINE = "use the generated images: clr compare --config quickstart.yaml"
_TIMEOUT = 30.0  # seconds without an answer before a download counts as failed


def svhn(config: DatasetConfig) -> Arrays:
    """Read SVHN, cropped digits (Netzer et al. 2011); with dataset.extra, also its extra split."""
    from torchvision.datasets import SVHN

    names = ["train", "extra", "test"] if config.extra else ["train", "test"]
    files = {SVHN.split_list[name][1]: SVHN.split_list[name][2] for name in names}
    with _fetching(config, files):
        splits = [SVHN(str(config.root), name, download=config.download) for name in names]
    *train, test = splits
    images = np.empty((sum(len(s.data) for s in train), 32, 32, 3), np.uint8)
    done = 0
    for split in train:
        images[done : done + len(split.data)] = split.data.transpose(0, 2, 3, 1)
        done += len(split.data)
    return Arrays(
        images,
        np.concatenate([s.labels for s in train]),
        np.ascontiguousarray(test.data.transpose(0, 2, 3, 1)),
        test.labels,
    )


def cifar(config: DatasetConfig) -> Arrays:
    """Read CIFAR-10 or CIFAR-100 (Krizhevsky 2009)."""
    from torchvision.datasets import CIFAR10, CIFAR100

    source = CIFAR10 if config.name == "cifar10" else CIFAR100
    files = {f"{source.base_folder}/{n}": md5 for n, md5 in source.train_list + source.test_list}
    with _fetching(config, files):
        train, test = (source(str(config.root), t, download=config.download) for t in (True, False))
    return Arrays(
        np.ascontiguousarray(train.data),
        np.array(train.targets, np.int64),
        np.ascontiguousarray(test.data),
        np.array(test.targets, np.int64),
    )


def mnist(config: DatasetConfig) -> Arrays:
    """Read MNIST (LeCun et al. 1998) or Fashion-MNIST (Xiao et al. 2017): 28x28, one channel."""
    from torchvision.datasets import MNIST, FashionMNIST

    source = MNIST if config.name == "mnist" else FashionMNIST
    files = {f"{source.__name__}/raw/{n.removesuffix('.gz')}": None for n, _ in source.resources}
    with _fetching(config, files):
        train, test = (source(str(config.root), t, download=config.download) for t in (True, False))
    return Arrays(
        train.data.numpy()[..., None],
        train.targets.numpy(),
        test.data.numpy()[..., None],
        test.targets.numpy(),
    )


@contextlib.contextmanager
def _fetching(config: DatasetConfig, files: Mapping[str, str | None]) -> Iterator[None]:
    """Guard torchvision's download and reading of files (name -> MD5 sum, if it is known).

    Its messages go to stderr, its bars only to a terminal, and every error becomes an InputError
    that names the missing or damaged files.
    """
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT)
    bars = sys.stderr if sys.stderr.isatty() else io.StringIO()
    try:
        with contextlib.redirect_stdout(sys.stderr), contextlib.redirect_stderr(bars):
            yield
    except Exception as error:  # readers raise all kinds of errors for a damaged file
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise EnvironmentFailure(f"{config.root}: the disk is full; free some space") from error
        raise InputError(_unusable(config, files, one_line(error))) from error
    finally:
        socket.setdefaulttimeout(timeout)


def _unusable(config: DatasetConfig, files: Mapping[str, str | None], reason: str) -> str:
    from torchvision.datasets.utils import check_integrity

    missing = [name for name in files if not (config.root / name).is_file()]
    damaged = [
        name
        for name, md5 in files.items()
        if name not in missing and not check_integrity(config.root / name, md5)
    ]
    bad = [f"missing {', '.join(missing)}"] if missing else []
    bad += [f"damaged {', '.join(damaged)} (wrong MD5 sum)"] if damaged else []
    if not bad:
        why = f"one of {', '.join(files)} cannot be read: {reason}"
    elif config.download:
        why = f"{', '.join(bad)}, and the download failed: {reason}"
    else:
        why = f"{', '.join(bad)}, and dataset.download is false"
    return (
        f"data set {config.name} in folder {config.root}: {why}; "
        f"put intact files there, or {OFFLINE}"
    )
