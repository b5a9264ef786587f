"""Images: the digits' splits, folders, columns, shifts, refusals."""

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from transformers import ViTImageProcessorPil

from seqnlp.data import (
    DIGITS,
    DataError,
    ImageArguments,
    ImageCollator,
    ProcessedImages,
    image_size_of,
    load_images,
    patch_size_of,
)


def load(name, **fields):
    return load_images(ImageArguments(dataset_name=str(name), **fields))


@pytest.fixture(scope="module")
def pets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pets")
    generator = np.random.default_rng(0)
    for split, count in (("train", 20), ("test", 3)):
        for name in ("cat", "dog"):
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(0, 255, (10, 12, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{number}.png")
    return folder


def test_digits_are_divided_the_same_way_in_every_run_and_no_image_twice():
    loaded = load(DIGITS)
    splits = loaded.splits
    assert {split: len(part) for split, part in splits.items()} == {"train": 1257, "validation": 180, "test": 360}
    assert loaded.describe() == load(DIGITS).describe()
    labels = [label for part in splits.values() for label in part["label"]]
    assert np.array_equal(np.bincount(labels), np.bincount(load_digits().target))
    assert min(np.bincount(splits["validation"]["label"])) >= 16  # each class has its share
    first = np.asarray(splits["train"][0]["image"])
    assert first.shape == (8, 8)
    assert 200 < first.max() <= 255


def test_a_folder_of_images_with_validation_set_apart(pets):
    loaded = load(pets)
    splits = loaded.splits
    assert {split: len(part) for split, part in splits.items()} == {"train": 36, "validation": 4, "test": 6}
    assert splits["train"].features["label"].names == ["cat", "dog"]
    assert sorted(splits["validation"]["label"]) == [0, 0, 1, 1]
    assert loaded.source.name == f"<local:{pets.name}>"
    assert len(load(pets, max_train_samples=5).splits["train"]) == 5


def test_shifts_move_whole_images_and_evaluation_does_not():
    processor = ViTImageProcessorPil(size={"height": 6, "width": 6}, do_convert_rgb=True)
    pixels = np.arange(36, dtype=np.uint8).reshape(6, 6) * 7
    images = ProcessedImages([{"image": Image.fromarray(pixels), "label": 1}], processor)
    assert images[0] is images[0]  # kept
    examples = [images[0]] * 40
    still = ImageCollator()(examples)
    assert still["pixel_values"].shape == (40, 3, 6, 6)
    assert still["labels"].tolist() == [1] * 40
    assert torch.equal(still["pixel_values"][0], still["pixel_values"][-1])
    torch.testing.assert_close(still["pixel_values"][0, 0], torch.tensor(pixels / 127.5 - 1, dtype=torch.float32))
    moved = ImageCollator(max_shift=1)(examples)["pixel_values"]
    inner = {tuple(image[0, 2:4, 2:4].flatten().tolist()) for image in moved}
    whole = still["pixel_values"][0, 0]
    possible = {
        tuple(whole[2 + down : 4 + down, 2 + right : 4 + right].flatten().tolist())
        for down in (-1, 0, 1)
        for right in (-1, 0, 1)
    }
    assert len(inner) > 5
    assert inner <= possible


@pytest.fixture
def folder(tmp_path):
    def write(name, make):
        for label in ("a", "b"):
            (tmp_path / name / label).mkdir(parents=True)
            for number in range(6):
                make(number).save(tmp_path / name / label / f"{number}.{'tiff' if 'tiff' in name else 'png'}")
        return tmp_path / name

    return write


@pytest.mark.parametrize(
    ("name", "kind", "most", "white"),
    [
        ("16 bits", np.uint16, 60_000, 65_535),
        ("12 bits", np.uint16, 4_000, 4_095),
        ("tiff of shares", np.float32, 1.0, 1),
        ("tiff of floats", np.float32, 200.0, 255),
        ("tiff of whole numbers", np.int32, 900, 1023),
    ],
)
def test_deep_grays_stay_grays(folder, name, kind, most, white):
    ramp = np.linspace(0, most, 256).reshape(16, 16).astype(kind)
    images = folder(name, lambda number: Image.fromarray(ramp))
    loaded = load(images)
    image = loaded.splits["train"][0]["image"]
    assert image.mode == "L"
    np.testing.assert_array_equal(np.asarray(image), np.round(ramp.astype(float) * (255 / white)))
    assert loaded.remarks[0] == (
        f"Dataset '<local:{images.name}>': images with deep grays, from 0 to {ramp.max():g}: 12. They are brought "
        f"to 8 bits, with white at {white}."
    )


def test_a_broken_image_is_named(folder):
    generator = np.random.default_rng(0)
    path = folder("pets", lambda number: Image.fromarray(generator.integers(0, 255, (64, 64, 3)).astype(np.uint8)))
    broken = path / "b" / "3.png"
    for content, reason in ((broken.read_bytes()[:4000], "cannot be read: .*truncated"), (b"none", "is of no kind")):
        broken.write_bytes(content)
        with pytest.raises(DataError, match=f"split 'train': the image b/3.png {reason}") as raised:
            load(path)
        assert str(path) not in str(raised.value)


def test_sides_that_no_patches_tile_become_their_neighbours():
    assert [image_size_of(side) for side in (8, 28, 32, 224, 9, 2)] == [8, 28, 32, 224, 9, 2]
    assert [image_size_of(side) for side in (11, 22, 97, 101, 223)] == [12, 24, 98, 105, 224]
    for side in range(3, 500):
        size = image_size_of(side)
        assert abs(size - side) <= side / 12 + 1
        assert 3 <= size // patch_size_of(size) <= 7


def test_patches_tile_the_image():
    assert [patch_size_of(size) for size in (8, 28, 32, 224, 7)] == [2, 4, 8, 32, 1]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"image_column": "photo"}, "there is no image column 'photo'; the columns are .*--image_column"),
        ({"image_column": "label"}, "column 'label': it holds .* not images"),
        ({"label_column": "kind"}, "there is no label column 'kind'"),
        ({"test_split": "final"}, "has no split 'final'"),
    ],
)
def test_what_does_not_fit_is_refused(pets, fields, message):
    with pytest.raises(DataError, match=message):
        load(pets, **fields)
