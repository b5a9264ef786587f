"""Images with labels: scikit-learn's digits, folders and datasets on the Hub; as batches of pixels."""

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import ClassLabel, Dataset, DatasetDict, Image
from PIL import Image as PILImage

from .arguments import ImageArguments
from .columns import values_of
from .errors import DataError
from .loaded import DataSource, LoadedData
from .loading import find_column, load_splits, select_split, some_rows
from .samples import divide_evenly


IMAGE_COLUMNS = ("image", "img", "picture")
LABEL_COLUMNS = ("label", "labels", "fine_label", "class")
MOST_PATCHES, FEWEST_PATCHES = 7, 3  # along a side
DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")  # of more than 256 shades of gray
WHITES = (1, 255, 1023, 4095, 16383, 65535)  # what white is where pixels have more or fewer than 8 bits


def load_images(arguments: ImageArguments) -> LoadedData:
    """
    The splits of a dataset of images, with the columns `image` and `label` (a `ClassLabel`).

    Where there is no validation split, 10 % of the training images are set apart, the same in every run, of every
    class its share; where there is no test split, there is none in what is returned.

    Raises:
        DataError: For data that does not fit, in one line that says what was found.
    """
    prepared, source, remarks = _load(arguments)
    prepared = _in_256_shades(prepared, source.name, remarks)
    if "validation" not in prepared:
        rest, chosen = divide_evenly(prepared["train"], 0.1)
        prepared |= {"train": rest, "validation": chosen}
    prepared = some_rows(prepared, arguments)
    ordered = {split: prepared[split] for split in ("train", "validation", "test") if split in prepared}
    return LoadedData(DatasetDict(ordered), source, remarks=remarks)


def image_size_of(side: int) -> int:
    """
    The size to which images of this side are brought: their own, unless it has no patches that tile it sensibly.

    A prime side, for one, could only be one patch. Such a side becomes the nearest multiple of a seventh of it.
    """
    if side // patch_size_of(side) >= FEWEST_PATCHES or side < FEWEST_PATCHES:
        return side
    patch = math.ceil(side / MOST_PATCHES)
    return patch * round(side / patch)


def patch_size_of(image_size: int) -> int:
    """The smallest patches of which at most seven by seven tile a square image."""
    sizes = range(1, image_size + 1)
    return next(size for size in sizes if image_size % size == 0 and image_size // size <= MOST_PATCHES)


class ProcessedImages(torch.utils.data.Dataset):
    """
    Images as pixels, each processed when it is first asked for and kept if all of them fit.

    Args:
        part: A split with the columns `image` and `label`.
        processor: An image processor of transformers: sizes, scales and normalizes.
        max_bytes: Keep the pixels if those of the whole split take no more.
    """

    def __init__(self, part: Dataset, processor, max_bytes: int = 2**29):
        self.part = part
        self.processor = processor
        self.max_bytes = max_bytes
        self._kept: dict[int, dict[str, torch.Tensor]] = {}

    def __len__(self) -> int:
        return len(self.part)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        if index in self._kept:
            return self._kept[index]
        row = self.part[index]
        pixels = self.processor(row["image"], return_tensors="pt").pixel_values[0]
        example = {"pixel_values": pixels, "labels": torch.tensor(row["label"])}
        if pixels.nbytes * len(self.part) <= self.max_bytes:
            self._kept[index] = example
        return example


class ImageCollator:
    """
    Makes a batch for an image classifier.

    Args:
        max_shift: Move each image by at most this number of pixels in each direction, drawn anew each time; what
            comes into view repeats the edge. 0 for evaluation.
    """

    def __init__(self, max_shift: int = 0):
        self.max_shift = max_shift

    def __call__(self, examples: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """From examples with `pixel_values` and `labels` to a batch of both."""
        pixels = torch.stack([example["pixel_values"] for example in examples])  # (B, channels, height, width)
        if self.max_shift:
            pixels = self._shift(pixels)
        return {"pixel_values": pixels, "labels": torch.stack([example["labels"] for example in examples])}

    def _shift(self, pixels: torch.Tensor) -> torch.Tensor:
        height, width = pixels.shape[-2:]
        padded = torch.nn.functional.pad(pixels, [self.max_shift] * 4, mode="replicate")
        corners = torch.randint(2 * self.max_shift + 1, (len(pixels), 2)).tolist()
        return torch.stack(
            [
                image[:, top : top + height, left : left + width]
                for image, (top, left) in zip(padded, corners, strict=True)
            ]
        )


def _load(arguments: ImageArguments) -> tuple[dict[str, Dataset], DataSource, list[str]]:
    loaded = load_splits(arguments.dataset_name, arguments.dataset_config_name, arguments.dataset_revision)
    splits, source = loaded.splits, loaded.source
    train = select_split(splits, arguments.train_split, source.name)
    columns = [
        find_column(train, asked, known, kind, source.name, arguments.train_split)
        for asked, known, kind in (
            (arguments.image_column, IMAGE_COLUMNS, "image"),
            (arguments.label_column, LABEL_COLUMNS, "label"),
        )
    ]
    if not isinstance(train.features[columns[0]], Image):
        raise DataError(
            f"Dataset {source.name!r}, column {columns[0]!r}: it holds {train.features[columns[0]]}, not images. Name "
            "the column of the images by --image_column."
        )
    if not isinstance(train.features[columns[1]], ClassLabel):
        train = train.class_encode_column(columns[1])
    label = train.features[columns[1]]
    if label.num_classes < 2:
        raise DataError(f"Dataset {source.name!r}: all images have the class {label.names[0]!r}; two are needed.")
    prepared = {}
    for split, name in (
        ("train", arguments.train_split),
        ("validation", arguments.validation_split),
        ("test", arguments.test_split),
    ):
        if name in splits:
            part = train if split == "train" else splits[name]
            part = part.select_columns(columns).rename_columns(dict(zip(columns, ("image", "label"), strict=True)))
            part = part if part.features["label"] == label else part.cast_column("label", label)
            if split == "train" or min(values_of(part, "label")) >= 0:  # without labels a test tells nothing
                prepared[split] = part
        elif name != split:
            select_split(splits, name, source.name)  # the user asked for it by name
    return prepared, source, loaded.remarks


def _in_256_shades(prepared: dict[str, Dataset], name: str, remarks: list[str]) -> dict[str, Dataset]:
    """
    The images with deep grays brought to 8 bits, by one white for the whole dataset.

    Pillow would cut them off: a 16-bit image turns white, one of numbers between 0 and 1 black.

    Raises:
        DataError: For an image that cannot be read, by its name, and for numbers below 0.
    """
    deep, most, least = 0, 0.0, 0.0
    for split, part in prepared.items():
        for row, stored in enumerate(part.cast_column("image", Image(decode=False))["image"]):
            shown = "/".join(Path(stored["path"]).parts[-2:]) if stored["path"] else f"in row {row}"
            image = _open(stored, f"Dataset {name!r}, split {split!r}: the image {shown}")
            if image.mode in DEEP_MODES:
                pixels = np.asarray(image)
                deep, most, least = deep + 1, max(most, pixels.max()), min(least, pixels.min())
    if not deep:
        return prepared
    if least < 0 or not np.isfinite(most):
        raise DataError(f"Dataset {name!r}: its pixels go from {least:g} to {most:g}; write them as grays from 0 up.")
    white = next((white for white in WHITES if most <= white), most)
    remarks.append(
        f"{deep:,} images have deep grays, up to {most:g}: they are brought to 8 bits, with white at {white:g}."
    )

    def convert(row: dict[str, Any]) -> dict[str, Any]:
        if row["image"].mode not in DEEP_MODES:
            return row
        return {"image": PILImage.fromarray((np.asarray(row["image"]) * (255.0 / white)).round().astype(np.uint8))}

    return {split: part.map(convert, features=part.features) for split, part in prepared.items()}


def _open(stored: dict[str, Any], what: str) -> PILImage.Image:
    try:
        image = PILImage.open(io.BytesIO(stored["bytes"]) if stored["bytes"] else stored["path"])
        image.load()
    except PILImage.UnidentifiedImageError as error:
        raise DataError(f"{what} is of no kind that Pillow reads. Replace or remove it.") from error
    except Exception as error:  # Pillow's readers raise errors of many kinds
        reason = " ".join(str(error).split())[:120]
        raise DataError(f"{what} cannot be read: {reason}. Replace or remove it.") from error
    return image
