"""People's own data: nothing of it is dropped, cut off or ignored without a word."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image, ImageOps
from test_data import npz_config, one_line_error, small_arrays
from torchvision.transforms import v2

from clr_cli.config.sections import AugmentConfig, DatasetConfig
from clr_cli.data import folders
from clr_cli.data import sources as data
from clr_cli.errors import InputError
from clr_cli.execution import preloaded


def save(path: Path, pixels: np.ndarray | int, size: tuple[int, int] = (6, 5)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(pixels, int):
        Image.new("RGB", size, (pixels, 2 * pixels, 255 - pixels)).save(path)
    else:
        Image.fromarray(pixels).save(path)


def image_folder(root: Path, splits: tuple[str, ...] = ("train", "test")) -> DatasetConfig:
    """Two classes of 6 images a split; those of ``cat`` lie in folders of several depths."""
    places = ("", "b/", "b/deep/er/", "a/", "b.c/", "b/")
    for split in splits:
        for k, place in enumerate(places):
            save(root / split / "cat" / f"{place}{k}.png", 10 + k)
            save(root / split / "dog" / f"{k}.PNG", 100 + k)
    return DatasetConfig(name="imagefolder", path=root)


def test_nested_folders_are_read_as_torchvision_reads_them(tmp_path: Path) -> None:
    config = image_folder(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    save(tmp_path / "elsewhere" / "linked.png", 77)
    (tmp_path / "train" / "cat" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "train" / "cat" / "notes.txt").write_text("not an image")
    theirs = torchvision.datasets.ImageFolder(str(tmp_path / "train"))
    assert len(theirs) == 13
    files = folders.class_files(tmp_path / "train")
    ours = [(str(f), k) for k, members in enumerate(files.values()) for f in members]
    assert ours == theirs.samples
    loaded = data.load(config)
    assert len(loaded.train) + len(loaded.val) == 13
    assert len(loaded.test) == 12
    assert loaded.notes == ()


@pytest.mark.parametrize("kind", ["png", "tif"])
def test_sixteen_bits_are_scaled_to_eight(tmp_path: Path, kind: str) -> None:
    values = np.array([[0, 128, 129, 257], [32768, 65278, 65407, 65535]], np.uint16)
    save(tmp_path / f"deep.{kind}", values)
    image = folders.read_image(tmp_path / f"deep.{kind}")
    assert image.shape == (2, 4, 3)
    assert np.array_equal(image, np.rint(values / 257).astype(np.uint8)[..., None].repeat(3, 2))


@pytest.mark.parametrize(
    ("kind", "said"), [(np.float32, "32-bit floats"), (np.int32, "32-bit integers")]
)
def test_pixels_without_a_known_range_are_refused_by_name(
    tmp_path: Path, kind: type, said: str
) -> None:
    config = image_folder(tmp_path)
    path = tmp_path / "train" / "cat" / "b" / "odd.tiff"
    save(path, np.linspace(0, 1, 30).reshape(5, 6).astype(kind))
    message = one_line_error(config)
    assert str(path) in message
    assert said in message


@pytest.mark.parametrize(
    ("mode", "value", "seen"),
    [
        ("1", 1, 255),
        ("L", 9, 9),
        ("P", 0, 0),
        ("RGBA", (9, 9, 9, 0), 9),
        ("CMYK", (0, 0, 0, 0), 255),
    ],
)
def test_other_modes_are_read_as_rgb(tmp_path: Path, mode: str, value: object, seen: int) -> None:
    path = tmp_path / "image.tif"
    Image.new(mode, (3, 2), value).save(path)
    assert np.array_equal(folders.read_image(path), np.full((2, 3, 3), seen))


def test_images_of_mixed_sizes_are_resized_and_cropped_in_the_middle(tmp_path: Path) -> None:
    config = image_folder(tmp_path)
    rng = np.random.default_rng(0)
    smooth = rng.integers(0, 256, (3, 4, 3), np.uint8)
    big = np.array(Image.fromarray(smooth).resize((120, 60), Image.Resampling.BICUBIC))
    save(tmp_path / "test" / "cat" / "0.png", big)
    assert "60x120x3 but" in one_line_error(config)
    assert "set dataset.image_size" in one_line_error(config)

    square = data.load(config.model_copy(update={"image_size": 20})).test.images[0]
    theirs = v2.Compose([v2.Resize(20, antialias=True), v2.CenterCrop(20)])(Image.fromarray(big))
    # Pillow resizes the crop, torchvision crops what is resized: they differ by rounding.
    assert np.abs(square.numpy().astype(int) - np.asarray(theirs).astype(int)).max() <= 3

    wide = data.load(config.model_copy(update={"image_size": (10, 30)}))
    assert wide.train.images.shape[1:] == wide.test.images.shape[1:] == (10, 30, 3)
    middle = Image.fromarray(big[10:50]).resize((30, 10), Image.Resampling.BILINEAR)
    # At the border of the crop Pillow looks at the pixels beyond it.
    assert np.array_equal(wide.test.images[0].numpy()[1:-1], np.asarray(middle)[1:-1])


def test_images_of_arrays_are_resized_as_those_of_folders(tmp_path: Path) -> None:
    arrays = small_arrays()
    loaded = data.load(npz_config(tmp_path, arrays, image_size=[8, 4])).test.images
    theirs = [
        ImageOps.fit(Image.fromarray(image), (4, 8), Image.Resampling.BILINEAR)
        for image in arrays["test_images"]
    ]
    assert np.array_equal(loaded.numpy(), np.stack([np.asarray(image) for image in theirs]))


def test_runs_that_differ_in_augmentation_load_the_data_once(tmp_path: Path) -> None:
    plain = npz_config(tmp_path, small_arrays(), augment={"crop_padding": 0})
    other = plain.model_copy(update={"augment": AugmentConfig(crop_padding=1, flip=True)})
    first, fingerprint = preloaded.resident(plain, torch.device("cpu"))
    assert plain.path is not None
    plain.path.unlink()
    second, again = preloaded.resident(other, torch.device("cpu"))
    assert (second.crop_padding, second.flip, again) == (1, True, fingerprint)
    assert torch.equal(second.padded[:, 1:-1, 1:-1], first.padded)
    with pytest.raises(InputError, match="not found"):
        preloaded.resident(plain.model_copy(update={"split": 1}), torch.device("cpu"))


# ---- validation images of its own


def with_validation() -> dict[str, np.ndarray]:
    arrays = small_arrays()
    rng = np.random.default_rng(1)
    arrays["val_images"] = rng.integers(0, 256, (9, 4, 4, 3), np.uint8)
    arrays["val_labels"] = np.arange(9) % 3
    return arrays


def test_validation_arrays_are_the_validation_split(tmp_path: Path) -> None:
    arrays = with_validation()
    loaded = data.load(npz_config(tmp_path, arrays))
    assert np.array_equal(loaded.val.images.numpy(), arrays["val_images"])
    assert np.array_equal(loaded.val.labels.numpy(), arrays["val_labels"])
    assert np.array_equal(loaded.train.images.numpy(), arrays["train_images"])
    assert loaded.notes == ("validation: the data set's own 9 images",)
    changed = with_validation()
    changed["val_images"][0, 0, 0, 0] ^= 1
    other = data.load(npz_config(tmp_path, changed))
    assert other.fingerprint != loaded.fingerprint


def test_a_validation_folder_is_the_validation_split(tmp_path: Path) -> None:
    loaded = data.load(image_folder(tmp_path, ("train", "test", "val")))
    assert (len(loaded.train), len(loaded.val), len(loaded.test)) == (12, 12, 12)
    assert "validation: the data set's own 12 images" in loaded.notes[0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda a: a.pop("val_labels"), "no array val_labels"),
        (lambda a: a.pop("val_images"), "no array val_images"),
        (lambda a: a.update(val_labels=np.arange(9)), "val_labels contains 8"),
        (lambda a: a.update(val_labels=np.arange(8) % 3), "9 images but val_labels has 8"),
        (lambda a: a.update(val_images=a["val_images"][:, :3]), "val images are 3x4x3"),
        (lambda a: a.update(val_images=a["val_images"] / 255), "val_images is float64"),
        (lambda a: a.update(val_images=a["val_images"][:0]), "val_images is empty"),
    ],
)
def test_validation_arrays_that_do_not_fit_are_refused(tmp_path: Path, change, said) -> None:
    arrays = with_validation()
    change(arrays)
    assert said in one_line_error(npz_config(tmp_path, arrays))


@pytest.mark.parametrize("keys", [{"val_size": 9}, {"split": 2}])
def test_nothing_is_carved_beside_validation_of_its_own(tmp_path: Path, keys) -> None:
    config = npz_config(tmp_path, with_validation(), **keys)
    assert one_line_error(config).startswith(f"dataset.{next(iter(keys))}: ")


@pytest.mark.parametrize("name", ["valid", "validation"])
def test_a_folder_of_another_name_is_not_ignored(tmp_path: Path, name: str) -> None:
    message = one_line_error(image_folder(tmp_path, ("train", "test", name)))
    assert f"{tmp_path / name} would be ignored" in message


def test_a_class_that_train_has_not_is_refused_in_validation_too(tmp_path: Path) -> None:
    config = image_folder(tmp_path, ("train", "test", "val"))
    save(tmp_path / "val" / "emu" / "0.png", 3)
    with pytest.raises(InputError, match=r"val/emu: .*train has no class of this name"):
        data.load(config)


# ---- channels and shapes


def test_a_constant_channel_is_warned_of(tmp_path: Path) -> None:
    arrays = small_arrays()
    arrays["train_images"][..., 1] = 7
    (note,) = data.load(npz_config(tmp_path, arrays)).notes
    assert note.startswith("warning: channel 1 never changes in the training images (always 7)")
    arrays["train_images"][3, 0, 0, 1] = 8
    assert data.load(npz_config(tmp_path, arrays)).notes == ()


@pytest.mark.parametrize("shape", [(32, 3), (16, 24)])
def test_images_need_not_be_square(tmp_path: Path, shape: tuple[int, int]) -> None:
    arrays = small_arrays()
    for name in ("train_images", "test_images"):
        arrays[name] = np.resize(arrays[name], (len(arrays[name]), *shape, 3))
    loaded = data.load(npz_config(tmp_path, arrays))
    assert loaded.train.images.shape[1:] == (*shape, 3)
    assert torch.equal(loaded.test.images, torch.from_numpy(arrays["test_images"]))
