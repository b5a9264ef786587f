"""Images with labels: scikit-learn's digits, folders and datasets on the Hub; as batches of pixels."""

from collections.abc import Sequence
from typing import Any

import torch
from datasets import ClassLabel, Dataset, DatasetDict, Image

from .arguments import ImageArguments
from .errors import DataError
from .loaded import DataSource, LoadedData
from .loading import find_column, load_splits, select_split
from .samples import divide_evenly


IMAGE_COLUMNS = ("image", "img", "picture")
LABEL_COLUMNS = ("label", "labels", "fine_label", "class")


def load_images(arguments: ImageArguments) -> LoadedData:
    """
    The splits of a dataset of images, with the columns `image` and `label` (a `ClassLabel`).

    Where there is no validation split, 10 % of the training images are set apart, the same in every run, of every
    class its share; where there is no test split, there is none in what is returned.

    Raises:
        DataError: For data that does not fit, in one line that says what was found.
    """
    prepared, source = _load(arguments)
    if "validation" not in prepared:
        rest, chosen = divide_evenly(prepared["train"], 0.1)
        prepared |= {"train": rest, "validation": chosen}
    for split, part in prepared.items():
        limit = arguments.max_train_samples if split == "train" else arguments.max_eval_samples
        if limit is not None and limit < len(part):
            prepared[split] = part.shuffle(seed=0).select(range(limit))
    ordered = {split: prepared[split] for split in ("train", "validation", "test") if split in prepared}
    return LoadedData(DatasetDict(ordered), source)


def patch_size_of(image_size: int) -> int:
    """The smallest patches of which at most seven by seven tile a square image."""
    return next(size for size in range(1, image_size + 1) if image_size % size == 0 and image_size // size <= 7)


class ProcessedImages(torch.utils.data.Dataset):
    """
    Images as pixels, each processed when it is first asked for and kept if all of them fit.

    Args:
        part: A split with the columns `image` and `label`.
        processor: An image processor of transformers: sizes, scales and normalises.
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
        max_shift: Move each image by up to so many pixels in each direction, drawn anew each time; what comes into
            view repeats the edge. 0 for evaluation.
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


def _load(arguments: ImageArguments) -> tuple[dict[str, Dataset], DataSource]:
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
            if split == "train" or min(part["label"]) >= 0:  # without labels a test tells nothing
                prepared[split] = part
        elif name != split:
            select_split(splits, name, source.name)  # the user asked for it by name
    return prepared, source
