"""Data sets: what is loaded, how validation is carved, and what is said of bad data."""

from __future__ import annotations

import hashlib
import itertools
import os
import pickle
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from clr_cli.config.sections import DatasetConfig
from clr_cli.data import digits
from clr_cli.data import sources as data
from clr_cli.data.arrays import ARRAY_NAMES
from clr_cli.data.split import validation_mask
from clr_cli.errors import InputError

Arrays = dict[str, np.ndarray]


def small_arrays(classes: int = 3, train: int = 60, test: int = 12, size: int = 4) -> Arrays:
    rng = np.random.default_rng(0)
    return {
        "train_images": rng.integers(0, 256, (train, size, size, 3), np.uint8),
        "train_labels": np.arange(train) % classes,
        "test_images": rng.integers(0, 256, (test, size, size, 3), np.uint8),
        "test_labels": np.arange(test) % classes,
    }


def npz_config(folder: Path, arrays: Arrays, **keys: Any) -> DatasetConfig:
    path = folder / "own.npz"
    np.savez(path, **arrays)
    return DatasetConfig(name="npz", path=path, **keys)


def synthetic(root: Path, **keys: Any) -> DatasetConfig:
    return DatasetConfig(**{"root": root, "train_size": 60, "test_size": 20, **keys})


def one_line_error(config: DatasetConfig) -> str:
    with pytest.raises(InputError) as caught:
        data.load(config)
    message = str(caught.value)
    assert "\n" not in message
    return message


def same(left: data.Data, right: data.Data) -> bool:
    return all(
        torch.equal(getattr(left, split).images, getattr(right, split).images)
        and torch.equal(getattr(left, split).labels, getattr(right, split).labels)
        for split in ("train", "val", "test")
    )


# ---- synthetic_digits


def test_synthetic_digits_are_the_same_in_another_process() -> None:
    program = (
        "import hashlib; from clr_cli.data import digits;"
        "print(hashlib.sha256(b''.join(a.tobytes() for a in digits.render(600, 30))).hexdigest())"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    }
    assert len(seen) == 1


def test_a_longer_synthetic_set_begins_with_the_shorter_one() -> None:
    short = digits.render(30, 10)
    longer = digits.render(700, 40)
    for few, many in zip(short, longer, strict=True):
        assert np.array_equal(few, many[: len(few)])


def test_synthetic_digits_are_balanced_varied_and_split_apart() -> None:
    images, labels, test_images, test_labels = digits.render(1000, 500)
    assert images.shape == (1000, 32, 32, 3)
    assert images.dtype == np.uint8
    assert np.array_equal(np.bincount(labels), np.full(10, 100))
    assert np.array_equal(np.bincount(test_labels), np.full(10, 50))
    flat = np.concatenate([images, test_images]).reshape(1500, -1)
    assert len(np.unique(flat, axis=0)) == 1500
    assert flat.std(axis=1).mean() > 10  # something is drawn on them


def test_synthetic_digits_keep_a_cache_and_repair_a_damaged_one(tmp_path: Path) -> None:
    first = data.load(synthetic(tmp_path))
    (cache,) = tmp_path.iterdir()
    again = data.load(synthetic(tmp_path))
    intact = cache.read_bytes()
    for damaged in (intact[: len(intact) // 2], b"", b"not a zip file"):
        cache.write_bytes(damaged)
        assert same(first, data.load(synthetic(tmp_path)))
        assert cache.read_bytes() == intact
    assert same(first, again)
    assert list(tmp_path.iterdir()) == [cache]


@pytest.mark.parametrize("pixel", [0, -1])
def test_a_cache_with_another_pixel_is_rendered_again(tmp_path: Path, pixel: int) -> None:
    first = data.load(synthetic(tmp_path))
    (cache,) = tmp_path.iterdir()
    with np.load(cache) as archive:
        images = archive["arr_0"].tobytes()
    content = bytearray(cache.read_bytes())
    content[content.index(images) + pixel % len(images)] ^= 1
    cache.write_bytes(content)
    assert same(first, data.load(synthetic(tmp_path)))


def test_a_cache_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    """It had a checksum of its own."""
    first = data.load(synthetic(tmp_path))
    (cache,) = tmp_path.iterdir()
    with np.load(cache) as archive:
        np.savez(cache, **archive, checksum=np.array("0123"))
    before = cache.read_bytes()
    assert same(first, data.load(synthetic(tmp_path)))
    assert cache.read_bytes() == before


def test_synthetic_digits_do_without_a_cache_where_root_cannot_be_written(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("a file where the folder should be")
    assert same(data.load(synthetic(blocked)), data.load(synthetic(tmp_path / "free")))


@pytest.mark.parametrize("keys", [{"train_size": 19}, {"test_size": 10**9}])
def test_impossible_synthetic_sizes_are_refused(tmp_path: Path, keys: dict[str, int]) -> None:
    assert f"dataset.{next(iter(keys))}" in one_line_error(synthetic(tmp_path, **keys))


# ---- validation


def runs(chosen: np.ndarray) -> list[tuple[int, int]]:
    """Start and stop of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], chosen.astype(int), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def test_validation_is_ten_blocks_spread_over_the_training_images() -> None:
    labels = np.tile(np.arange(10), 2000)
    chosen = validation_mask(labels, 10, None)
    blocks = runs(chosen)
    assert [stop - start for start, stop in blocks] == [200] * 10
    assert {b[0] - a[0] for a, b in itertools.pairwise(blocks)} == {2000}
    assert np.array_equal(chosen, validation_mask(labels, 10, None))


def test_validation_of_images_sorted_by_class_is_a_block_of_each_class() -> None:
    labels = np.repeat([0, 1, 2], [300, 100, 200])
    chosen = validation_mask(labels, 3, 60)
    assert np.array_equal(np.bincount(labels[chosen]), [30, 10, 20])
    assert len(runs(chosen)) == 3


@given(
    labels=st.lists(st.integers(0, 3), min_size=1, max_size=300),
    sort=st.booleans(),
    size=st.integers(1, 300),
)
def test_validation_has_the_size_asked_for_and_every_class_on_both_sides(
    labels: list[int], sort: bool, size: int
) -> None:
    every = np.array([*labels, *[0, 1, 2, 3] * 2])
    every = np.sort(every) if sort else every
    size = min(max(size, 4), len(every) - 4)
    chosen = validation_mask(every, 4, size)
    assert chosen.sum() == size
    assert set(every[chosen]) == set(every[~chosen]) == {0, 1, 2, 3}


def test_splits_are_disjoint_and_keep_images_with_their_labels(tmp_path: Path) -> None:
    arrays = small_arrays(train=9000, size=2)
    arrays["train_images"][:, 0, 0, 0] = arrays["train_labels"]
    arrays["train_images"].reshape(9000, 12).view(np.uint32)[:, 1] = np.arange(9000)
    loaded = data.load(npz_config(tmp_path, arrays, val_size=1000))
    assert (len(loaded.train), len(loaded.val), len(loaded.test)) == (8000, 1000, 12)
    numbers = []
    for split in (loaded.train, loaded.val):
        assert split.images.is_contiguous()
        assert torch.equal(split.images[:, 0, 0, 0].long(), split.labels)
        numbers.append(split.images.numpy().reshape(-1, 12).view(np.uint32)[:, 1])
    assert np.array_equal(np.sort(np.concatenate(numbers)), np.arange(9000))
    assert np.array_equal(numbers[0], np.sort(numbers[0]))


@pytest.mark.parametrize("val_size", [1, 2, 58, 60, 10**9])
def test_val_size_that_does_not_fit_is_refused(tmp_path: Path, val_size: int) -> None:
    message = one_line_error(npz_config(tmp_path, small_arrays(), val_size=val_size))
    assert message.startswith(f"dataset.val_size: {val_size} ")
    assert "choose 3 to 57" in message


def test_a_class_with_one_training_image_is_refused(tmp_path: Path) -> None:
    arrays = small_arrays()
    arrays["train_labels"] = np.array([0, 1] * 29 + [0, 2])
    assert "class 2 has only one image" in one_line_error(npz_config(tmp_path, arrays))


# ---- statistics


def test_mean_and_std_are_those_of_the_train_split(tmp_path: Path) -> None:
    loaded = data.load(npz_config(tmp_path, small_arrays(train=9000)))
    pixels = loaded.train.images.numpy().reshape(-1, 3) / 255
    assert loaded.mean == pytest.approx(pixels.mean(0), rel=1e-12)
    assert loaded.std == pytest.approx(pixels.std(0), rel=1e-12)


def test_a_channel_that_never_changes_has_std_one(tmp_path: Path) -> None:
    arrays = small_arrays()
    arrays["train_images"][..., 1] = 7
    loaded = data.load(npz_config(tmp_path, arrays))
    assert loaded.mean[1] == pytest.approx(7 / 255)
    assert loaded.std[1] == 1


def test_the_fingerprint_follows_every_image_and_label(tmp_path: Path) -> None:
    def fingerprint(arrays: Arrays) -> str:
        return data.load(npz_config(tmp_path, arrays)).fingerprint

    seen = [fingerprint(small_arrays())]
    assert fingerprint(small_arrays()) == seen[0]
    for name in ARRAY_NAMES:
        arrays = small_arrays()
        changed = arrays[name].reshape(-1)
        changed[5] = (changed[5] + 1) % 3
        seen.append(fingerprint(arrays))
    assert len(set(seen)) == 5


# ---- npz


def test_npz_takes_grey_images_and_any_integer_labels(tmp_path: Path) -> None:
    arrays = small_arrays()
    for name in ("train_images", "test_images"):
        arrays[name] = arrays[name][..., 0]
    arrays["train_labels"] = arrays["train_labels"].astype(np.uint8)
    loaded = data.load(npz_config(tmp_path, arrays))
    assert loaded.test.images.shape == (12, 4, 4, 1)
    assert np.array_equal(loaded.test.images[..., 0].numpy(), arrays["test_images"])
    assert loaded.train.labels.dtype == torch.int64
    assert loaded.num_classes == 3
    assert len(loaded.mean) == len(loaded.std) == 1


def changed(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Arrays], Arrays]:
    return lambda arrays: {**arrays, name: change(arrays[name])}


BAD_ARRAYS: dict[str, tuple[Callable[[Arrays], Arrays], str]] = {
    "missing": (lambda a: {k: v for k, v in a.items() if k != "test_labels"}, "no array test_lab"),
    "float images": (changed("train_images", lambda a: a / 255), "train_images is float64"),
    "channels first": (changed("test_images", lambda a: a.reshape(-1, 3, 4, 8)), "N,H,W,C"),
    "flat images": (changed("train_images", lambda a: a.reshape(len(a), -1)), "N,H,W,C"),
    "no pixels": (changed("train_images", lambda a: a[:, :0]), "N,H,W,C"),
    "lengths": (changed("train_labels", lambda a: a[:-1]), "60 images but train_labels has 59"),
    "sizes": (changed("test_images", lambda a: a[:, :3]), "4x4x3 but test images are 3x4x3"),
    "float labels": (changed("train_labels", lambda a: a / 1), "train_labels is float64"),
    "one-hot": (changed("test_labels", lambda a: np.eye(3, dtype=int)[a]), "shape (12, 3)"),
    "objects": (changed("test_labels", lambda a: a.astype(object)), "without object arrays"),
    "negative": (changed("train_labels", lambda a: a - 1), "class 2 has no image"),
    "from one on": (changed("train_labels", lambda a: a + 1), "class 0 has no image"),
    "a gap": (changed("train_labels", lambda a: a + (a == 2) * 5), "class 2 has no image"),
    "huge": (changed("train_labels", lambda a: a * 2**60), "class 1 has no image"),
    "unsigned": (changed("train_labels", lambda a: a.astype("u8") + 2**63), "class 0 has no"),
    "test range": (changed("test_labels", lambda a: a + 1), "test_labels contains 3"),
    "test negative": (changed("test_labels", lambda a: a - 1), "test_labels contains -1"),
    "one class": (changed("train_labels", np.zeros_like), "only one class"),
    "no training": (lambda a: {**a, **{k: a[k][:0] for k in list(a)[:2]}}, "train_images is empty"),
    "no test": (lambda a: {**a, **{k: a[k][:0] for k in list(a)[2:]}}, "test_images is empty"),
}


@pytest.mark.parametrize(("change", "said"), BAD_ARRAYS.values(), ids=BAD_ARRAYS)
def test_npz_with_bad_arrays_is_refused(
    tmp_path: Path, change: Callable[[Arrays], Arrays], said: str
) -> None:
    config = npz_config(tmp_path, change(small_arrays()))
    message = one_line_error(config)
    assert said in message
    assert str(config.path) in message


def test_a_truncated_npz_is_refused_wherever_it_ends(tmp_path: Path) -> None:
    config = npz_config(tmp_path, small_arrays())
    assert config.path is not None
    whole = config.path.read_bytes()
    for size in range(0, len(whole), 199):
        config.path.write_bytes(whole[:size])
        assert f"{config.path}: not a readable .npz" in one_line_error(config)


def test_an_npz_with_flipped_bytes_is_refused_or_reads_the_same(tmp_path: Path) -> None:
    config = npz_config(tmp_path, small_arrays())
    assert config.path is not None
    whole = config.path.read_bytes()
    expected = data.load(config)
    messages = []
    for at in range(0, len(whole), 17):
        config.path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        try:
            assert same(expected, data.load(config))  # the byte means nothing, as a file date
        except InputError as error:
            messages.append(str(error))
    assert all(str(config.path) in message for message in messages)
    assert len(messages) > len(whole) // 17 * 3 // 4


def test_other_files_than_npz_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    config = DatasetConfig(name="npz", path=path)
    assert f"{path}: not found" in one_line_error(config)
    with path.open("wb") as stream:
        np.save(stream, np.zeros(3))
    assert "not a readable .npz" in one_line_error(config)
    assert "not a readable .npz" in one_line_error(DatasetConfig(name="npz", path=tmp_path))
    assert one_line_error(DatasetConfig(name="npz")).startswith("dataset.path")


def test_an_unknown_data_set_is_refused_with_the_nearest_name() -> None:
    assert "did you mean 'svhn'?" in one_line_error(DatasetConfig(name="shvn"))
    assert "imagefolder" in one_line_error(DatasetConfig(name="?"))


# ---- imagefolder


def image_folder(root: Path, size: tuple[int, int] = (8, 6)) -> DatasetConfig:
    """12 training and 4 test images of each of two classes, each of one color."""
    for split, count in (("train", 12), ("test", 4)):
        for label, name in enumerate(("cat", "dog")):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                Image.new("RGB", size, (label * 100, i, 200)).save(folder / f"{i:02}.png")
    return DatasetConfig(name="imagefolder", path=root)


def test_imagefolder_reads_classes_by_name_and_files_in_order(tmp_path: Path) -> None:
    config = image_folder(tmp_path)
    (tmp_path / "train" / "cat" / "notes.txt").write_text("not an image")
    (tmp_path / "train" / ".hidden").mkdir()
    Image.new("L", (8, 6), 9).save(tmp_path / "test" / "cat" / "gray.PNG")
    loaded = data.load(config)
    assert (len(loaded.train), len(loaded.val), len(loaded.test)) == (22, 2, 9)
    assert loaded.test.images.shape == (9, 6, 8, 3)
    assert loaded.test.labels.tolist() == [0] * 5 + [1] * 4
    assert loaded.test.images[4, 0, 0].tolist() == [9, 9, 9]
    assert loaded.train.labels.tolist() == [0] * 11 + [1] * 11
    assert torch.equal(loaded.train.images[:, 0, 0, 0], loaded.train.labels * 100)
    assert sorted(loaded.val.labels.tolist()) == [0, 1]


def test_imagefolder_with_images_of_mixed_size_is_refused(tmp_path: Path) -> None:
    config = image_folder(tmp_path)
    odd = tmp_path / "test" / "dog" / "odd.png"
    Image.new("RGB", (9, 6)).save(odd)
    message = one_line_error(config)
    assert str(odd) in message
    assert "6x9x3" in message
    assert "6x8x3" in message


def test_imagefolder_with_a_damaged_image_is_refused(tmp_path: Path) -> None:
    config = image_folder(tmp_path, size=(40, 40))
    victim = tmp_path / "train" / "dog" / "03.png"
    whole = victim.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"GIF89a"):
        victim.write_bytes(content)
        assert f"{victim}: not a readable image" in one_line_error(config)


def test_imagefolder_with_missing_folders_images_or_classes_is_refused(tmp_path: Path) -> None:
    config = DatasetConfig(name="imagefolder", path=tmp_path)
    assert f"{tmp_path / 'train'}: contains no folders" in one_line_error(config)
    image_folder(tmp_path)
    empty = tmp_path / "train" / "ape"
    empty.mkdir()
    assert f"{empty}: contains no images" in one_line_error(config)
    empty.rmdir()
    (tmp_path / "train" / "dog").rename(tmp_path / "train" / "wolf")
    assert f"{tmp_path / 'test' / 'dog'}: " in one_line_error(config)
    shutil.rmtree(tmp_path / "train" / "wolf")
    shutil.rmtree(tmp_path / "test" / "dog")
    assert "only one class" in one_line_error(config)


# ---- torchvision


@pytest.mark.parametrize("extra", [False, True])
def test_missing_svhn_names_folder_files_and_the_offline_command(
    tmp_path: Path, extra: bool
) -> None:
    config = DatasetConfig(name="svhn", root=tmp_path, download=False, extra=extra)
    message = one_line_error(config)
    for part in (str(tmp_path), "train_32x32.mat", "test_32x32.mat", "dataset.download is false"):
        assert part in message
    assert ("extra_32x32.mat" in message) is extra
    assert "clr compare --config quickstart.yaml" in message


def test_a_failed_download_says_so_and_prints_nothing_to_stdout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nobody = "http://127.0.0.1:9"  # the discard port: connections are refused
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, nobody)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("svhn", "cifar10", "cifar100", "mnist", "fashion_mnist"):
        message = one_line_error(DatasetConfig(name=name, root=tmp_path))
        assert "the download failed" in message
        assert str(tmp_path) in message
    assert capsys.readouterr().out == ""


def md5(file: Path) -> str:
    return hashlib.md5(file.read_bytes()).hexdigest()


def write_svhn(file: Path, count: int) -> tuple[np.ndarray, np.ndarray]:
    """A small file in SVHN's format; its images (N, H, W, C) and labels."""
    images = np.random.default_rng(count).integers(0, 256, (count, 32, 32, 3), np.uint8)
    labels = np.arange(count) % 10
    y = np.where(labels == 0, 10, labels).astype(np.uint8)[:, None]  # SVHN calls the 0 ten
    scipy.io.savemat(file, {"X": images.transpose(1, 2, 3, 0), "y": y})
    return images, labels


def test_svhn_is_read_with_and_without_its_extra_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, known = {}, {}
    for split, count in (("train", 40), ("test", 20), ("extra", 30)):
        file = tmp_path / f"{split}_32x32.mat"
        written[split] = write_svhn(file, count)
        known[split] = ["http://localhost/", file.name, md5(file)]
    monkeypatch.setattr("torchvision.datasets.SVHN.split_list", known)
    for extra in (False, True):
        arrays = data.DATASETS["svhn"](DatasetConfig(name="svhn", root=tmp_path, extra=extra))
        train = [written["train"], written["extra"]] if extra else [written["train"]]
        assert np.array_equal(arrays[0], np.concatenate([images for images, _ in train]))
        assert np.array_equal(arrays[1], np.concatenate([labels for _, labels in train]))
        assert np.array_equal(arrays[2], written["test"][0])
        assert np.array_equal(arrays[3], written["test"][1])
    assert len(data.load(DatasetConfig(name="svhn", root=tmp_path, val_size=10)).train) == 30


def test_cifar_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    rows = np.random.default_rng(0).integers(0, 256, (40, 3072), np.uint8)
    for name, content in (
        ("data_batch_1", {"data": rows, "labels": [*range(10)] * 4}),
        ("test_batch", {"data": rows[:10], "labels": [*range(10)]}),
        ("batches.meta", {"label_names": [str(k) for k in range(10)]}),
    ):
        (folder / name).write_bytes(pickle.dumps(content))
    source = "torchvision.datasets.CIFAR10"
    meta = {"filename": "batches.meta", "key": "label_names", "md5": md5(folder / "batches.meta")}
    monkeypatch.setattr(f"{source}.meta", meta)
    for kind, name in (("train_list", "data_batch_1"), ("test_list", "test_batch")):
        monkeypatch.setattr(f"{source}.{kind}", [[name, md5(folder / name)]])
    loaded = data.load(DatasetConfig(name="cifar10", root=tmp_path, download=False))
    assert (len(loaded.train), len(loaded.val), loaded.num_classes) == (30, 10, 10)
    expected = rows[:10].reshape(10, 3, 32, 32).transpose(0, 2, 3, 1)
    assert np.array_equal(loaded.test.images.numpy(), expected)
    assert loaded.train.images.is_contiguous()


def test_mnist_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    images = np.random.default_rng(0).integers(0, 256, (40, 28, 28), np.uint8)
    labels = (np.arange(40) % 10).astype(np.uint8)
    for part, count in (("train", 40), ("t10k", 10)):
        head = struct.pack(">4i", 2051, count, 28, 28)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(head + images[:count].tobytes())
        head = struct.pack(">2i", 2049, count)
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(head + labels[:count].tobytes())
    loaded = data.load(DatasetConfig(name="mnist", root=tmp_path, download=False))
    assert np.array_equal(loaded.test.images[..., 0].numpy(), images[:10])
    assert loaded.test.labels.tolist() == [*range(10)]
    assert (len(loaded.train), len(loaded.val)) == (30, 10)


def test_svhn_files_of_the_wrong_content_are_named(tmp_path: Path) -> None:
    write_svhn(tmp_path / "train_32x32.mat", 20)
    config = DatasetConfig(name="svhn", root=tmp_path, download=False)
    message = one_line_error(config)
    assert "missing test_32x32.mat" in message
    assert "damaged train_32x32.mat" in message
    (tmp_path / "train_32x32.mat").write_bytes(b"MATLAB 5.0")
    assert "damaged train_32x32.mat" in one_line_error(config)


def test_damaged_mnist_files_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (folder / f"{name}-ubyte").write_bytes(b"\x00\x00\x08\x01\x00\x00")
    message = one_line_error(DatasetConfig(name="mnist", root=tmp_path, download=False))
    assert "train-images-idx3-ubyte" in message
    assert "cannot be read" in message


# ---- real digits


def test_real_street_view_digits_load_whole() -> None:
    default = Path(__file__).parents[3] / "shared" / "data" / "svhn_digits.npz"
    path = Path(os.environ.get("CLR_SVHN_DIGITS", default))
    if not path.is_file():
        pytest.skip("no real digits: set CLR_SVHN_DIGITS to the file svhn_digits.npz")
    loaded = data.load(DatasetConfig(name="npz", path=path))
    assert (len(loaded.train), len(loaded.val), len(loaded.test)) == (7275, 808, 1500)
    assert loaded.num_classes == 10
    assert np.bincount(loaded.val.labels).min() >= 20
    assert loaded.mean == pytest.approx((0.44, 0.44, 0.47), abs=0.03)


@pytest.mark.parametrize("by_class", [False, True], ids=["mixed", "sorted by class"])
def test_splits_of_other_numbers_are_rotated(by_class):
    labels = np.arange(3000) % 10
    labels = np.sort(labels) if by_class else labels
    masks = [validation_mask(labels, 10, 300, split) for split in range(6)]
    assert all(mask.sum() == 300 for mask in masks)
    assert len({mask.tobytes() for mask in masks}) == 6
    assert np.array_equal(masks[3], validation_mask(labels, 10, 300, 3))
    for mask in masks:  # still contiguous: at most ten blocks and one more where it wraps
        assert np.abs(np.diff(mask.astype(int))).sum() <= 2 * 11
        assert np.bincount(labels[mask], minlength=10).min() > 0
