"""Images with labels: scikit-learn's digits, folders and datasets on the Hub; as batches of pixels."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from datasets import ClassLabel, Dataset, DatasetDict, Image

from .arguments import ImageArguments
from .classification import classes_of, is_unlabeled, label_names, lookalikes, missing_classes, numbers_of, others_of
from .errors import DataError
from .image_files import as_written, digests_of, left_out, looked_at, told_apart
from .loaded import DataSource, LoadedData
from .loading import find_column, load_splits, read_twice, select_split, some_rows, trained_on_too
from .local_files import path_of
from .samples import divide_evenly


IMAGE_COLUMNS = ("image", "img", "picture")
LABEL_COLUMNS = ("label", "labels", "fine_label", "class")
MOST_PATCHES, FEWEST_PATCHES = 7, 3  # along a side


def load_images(arguments: ImageArguments) -> LoadedData:
    """
    The splits of a dataset of images, with the columns `image` and `label` (a `ClassLabel`).

    Where there is no validation split, 10 % of the training images are set apart, the same in every run, of every
    class its share; where there is no test split, there is none in what is returned.

    Raises:
        DataError: For data that does not fit, in one line that says what was found.
    """
    prepared, source, remarks = _load(arguments)
    prepared = looked_at(prepared, source.name, remarks)
    if "validation" not in prepared:
        rest, chosen = divide_evenly(prepared["train"], 0.1)
        if not len(chosen):
            raise DataError(
                f"Dataset {source.name!r} has no validation split, and its {len(rest)} training images are too few to "
                "set some apart."
            )
        prepared |= {"train": rest, "validation": chosen}
    prepared = some_rows(prepared, arguments)
    ordered = {split: prepared[split] for split in ("train", "validation", "test") if split in prepared}
    remarks += [
        *lookalikes(ordered["train"].features["label"].names),
        *missing_classes(ordered, "image"),
        *trained_on_too({split: digests_of(part) for split, part in ordered.items()}, "images"),
    ]
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
        # As pipelines hand images over; by itself a processor would lay what is transparent on white.
        pixels = self.processor(row["image"].convert("RGB"), return_tensors="pt").pixel_values[0]
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
    unread = arguments.splits_unread("test", arguments.test_split)
    asked = arguments.dataset_name, arguments.dataset_config_name, arguments.dataset_revision
    loaded = load_splits(*asked, unread=unread)
    splits, source, remarks = loaded.splits, loaded.source, loaded.remarks
    folder = path_of(arguments.dataset_name)
    train, where = select_split(splits, arguments.train_split, source.name), f"Dataset {source.name!r}"
    asked = arguments.image_column, IMAGE_COLUMNS, "image"
    images = find_column(train, *asked, source.name, arguments.train_split)
    if not isinstance(train.features[images], Image):
        raise DataError(
            f"{where}, column {images!r}: it holds {train.features[images]}, not images. Name the column of the "
            "images by --image_column."
        )
    if train.column_names == [images] and folder.is_dir():
        raise DataError(f"{where}: {told_apart(folder)} Put the images of each class into a folder of its name.")
    asked = arguments.label_column, LABEL_COLUMNS, "label"
    labels = find_column(train, *asked, source.name, arguments.train_split)
    for flag, column, usual in (("image", images, IMAGE_COLUMNS), ("label", labels, LABEL_COLUMNS)):
        if vars(arguments)[f"{flag}_column"] is None:
            remarks += others_of(train, column, usual, flag)
    named = {split: vars(arguments)[f"{split}_split"] for split in ("train", "validation", "test")}
    named = {split: name for split, name in named.items() if name not in unread}
    remarks += read_twice(named, "split")
    if folder.is_dir():
        splits = {name: as_written(folder, part, images, labels) for name, part in splits.items()}
        train = splits[arguments.train_split]
        remarks += left_out(folder, {name: part for name, part in splits.items() if images in part.features}, images)
    found = {}
    for split, name in named.items():
        if name in splits:
            part, what = splits[name], f"{where}, split {name!r}, column {labels!r}"
            if split == "test" and is_unlabeled(part, labels):
                remarks.append(f"The split {name!r} has no labels: it is passed over.")
                continue
            if split == "train" and is_unlabeled(part, labels):  # as `datasets` has it where only the test has folders
                raise DataError(f"{where}, split {name!r}: its images are of one class, or of none; two are needed.")
            found[split] = part, label_names(part, labels, what, remarks), what
        elif name != split:
            select_split(splits, name, source.name)  # the user asked for it by name
    names = classes_of(train.features[labels], found["train"][1])
    if len(set(found["train"][1])) < 2:
        raise DataError(f"{where}: all training images have the class {found['train'][1][0]!r}; two are needed.")
    prepared = {}
    for split, (part, written, what) in found.items():
        label = ClassLabel(names=names)
        part = part.select_columns([images, labels]).rename_columns({images: "image", labels: "label"})
        if part.features["label"] != label:  # by name: another split's numbers may mean other classes
            numbers = numbers_of(written, names, what, "images")
            part = part.remove_columns("label").add_column("label", numbers, feature=label)
        prepared[split] = part
    return prepared, source, remarks
