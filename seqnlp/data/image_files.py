"""What is looked at in files of images before training: that each can be read, and what of it a model will not see."""

import hashlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset, Image
from PIL import Image as PILImage

from .caching import map_once
from .columns import values_of
from .errors import DataError
from .loading import is_hidden, listed
from .local_files import told_of_pointer
from .tables import read_file


DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")  # of more than 256 shades of gray
FEW_SHADES = 32  # of 256, to which deep grays may shrink without a word
WHITES = (1, 255, 1023, 4095, 16383, 65535)  # what white is where pixels have more or fewer than 8 bits
METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")  # in which `datasets` looks for labels


def looked_at(prepared: dict[str, Dataset], name: str, remarks: list[str]) -> dict[str, Dataset]:
    """
    The images, each of them read once; those with deep grays brought to 8 bits by one white for the whole dataset.

    Pillow would cut deep grays off: a 16-bit image turns white, one of numbers between 0 and 1 black.

    Args:
        prepared: The splits, with a column `image`.
        name: The dataset's.
        remarks: Gets a line for each thing of some images that is left out or converted, with their number.

    Raises:
        DataError: For an image that cannot be read or that is drawn by its transparency alone, by its name, and for
            pixels below 0.
    """
    deep, clear, moving, most, least = 0, 0, 0, -np.inf, np.inf
    for split, part in prepared.items():
        for row, stored in enumerate(part.cast_column("image", Image(decode=False))["image"]):
            if stored is None:
                raise DataError(f"Dataset {name!r}, split {split!r}: row {row} has no image. Leave such rows out.")
            what = f"Dataset {name!r}, split {split!r}: the image {_shown(stored, row)}"
            with _open(stored, what) as image:
                if image.mode in DEEP_MODES:
                    pixels = np.asarray(image)
                    if not np.isfinite(pixels).all():
                        raise DataError(f"{what} has pixels that are no numbers. Mend or remove it.")
                    deep, most, least = deep + 1, max(most, float(pixels.max())), min(least, float(pixels.min()))
                elif image.has_transparency_data:
                    clear += _is_clear(image, what)
                moving += _has_another(image)
    if clear:
        remarks.append(
            f"Dataset {name!r}: images that are transparent in part: {clear:,}. The colors below are read, as "
            "pipelines do; lay them on a background where that is not what they show."
        )
    if moving:
        remarks.append(
            f"Dataset {name!r}: images with more than one frame or page, of which the first is read: {moving:,}."
        )
    if not deep:
        return prepared
    if least < 0:
        raise DataError(f"Dataset {name!r}: its pixels go from {least:g} to {most:g}; write them as grays from 0 up.")
    white = _white_for(most)
    shades = round(most * 255 / white) - round(least * 255 / white) + 1
    few = f" Only {shades} of 256 shades are left: spread the grays before." if shades < FEW_SHADES else ""
    remarks.append(
        f"Dataset {name!r}: images with deep grays, from {least:g} to {most:g}: {deep:,}. They are brought to 8 bits, "
        f"with white at {white:g}.{few}"
    )

    def convert(rows: dict[str, list]) -> dict[str, list]:
        return {"image": [_in_256_shades(image, white) for image in rows["image"]]}

    return {split: map_once(part, convert, batch_size=32, features=part.features) for split, part in prepared.items()}


def in_8_bits(image: PILImage.Image, what: str) -> tuple[PILImage.Image, list[str]]:
    """
    One image by the rules of [`looked_at`], its white by its own pixels, and a line for what is converted or left
    out.

    Args:
        image: The image.
        what: What it is called where it is refused.

    Raises:
        DataError: As [`looked_at`] does.
    """
    if image.mode not in DEEP_MODES:
        is_clear = image.has_transparency_data and _is_clear(image, what)
        return image, ["It is transparent in part: the colors below are read, as pipelines do."] if is_clear else []
    pixels = np.asarray(image)
    least, most = float(pixels.min()), float(pixels.max())
    if not 0 <= least <= most < np.inf:
        raise DataError(f"{what}: its pixels go from {least:g} to {most:g}; write them as grays from 0 up.")
    white = _white_for(most)
    told = f"It has deep grays, from {least:g} to {most:g}: it is brought to 8 bits, with white at {white:g}."
    return _in_256_shades(image, white), [told]


def _white_for(most: float) -> float:
    return next((white for white in WHITES if most <= white), most)


def _in_256_shades(image: PILImage.Image, white: float) -> PILImage.Image:
    if image.mode not in DEEP_MODES:
        return image
    return PILImage.fromarray((np.asarray(image) * (255.0 / white)).round().astype(np.uint8))


def digests_of(part: Dataset) -> Iterator[bytes]:
    """A hash of the bytes of each image."""
    for stored in part.cast_column("image", Image(decode=False))["image"]:
        yield hashlib.sha256(stored["bytes"] or Path(stored["path"]).read_bytes()).digest()


def left_out(folder: Path, splits: dict[str, Dataset], column: str) -> list[str]:
    """
    A line if a folder holds files that are not among the images of its splits: `datasets` goes by the ending, and
    passes over what it does not know without a word, such as HEIC; and one if it holds folders without an image.
    """
    read = {_place(path) for part in splits.values() for path in _paths(part, column)}
    if not any(_place(folder) in path.parents for path in read):
        return []  # the images lie within tables
    found = [path for path in sorted(folder.rglob("*")) if not is_hidden(path, folder)]
    folders = {parent for path in read for parent in path.parents}
    others = [path for path in found if not path.is_dir() and _place(path) not in read]
    others = [path for path in others if path.name not in METADATA]
    # Beside the folders there may be a README, a license and the like, but no image that is passed over.
    others = [path for path in others if _is_image(path, folder) or _place(path.parent) != _place(folder)]
    empty = [path.relative_to(folder) for path in found if path.is_dir() and _place(path) not in folders]
    lines = []
    if others:
        shown = listed((path.relative_to(folder) for path in others), 3)
        lines.append(
            "Left out, as no images by their endings, links to nothing, in folders that tell no split, or without a "
            f"row of metadata: {shown}."
        )
    if empty:
        lines.append(f"Folders without an image: {listed(empty, 3)}.")
    return lines


def as_written(folder: Path, part: Dataset, images: str, labels: str) -> Dataset:
    """
    A split whose labels are those that a `metadata.csv` beside its images says: `datasets` would take `01` for 1, and
    `NA` for no label.
    """
    tables = [path for path in folder.rglob("metadata.csv") if not is_hidden(path, folder)]
    if not tables or not {images, labels} <= set(part.column_names):
        return part
    found = {}
    for path in tables:
        rows, _ = read_file(str(path))
        if {"file_name", labels} <= set(rows.column_names):
            files = (_place(path.parent / str(name)) for name in values_of(rows, "file_name"))
            found |= dict(zip(files, values_of(rows, labels), strict=True))
    written = [found.get(_place(path)) for path in _paths(part, images)]
    if len(written) < len(part) or all(label is None for label in written):
        return part
    return part.remove_columns(labels).add_column(labels, written)


def _place(path: str | Path) -> Path:
    """Where a path leads to; a link that leads to itself stays what it is."""
    return Path(os.path.realpath(path))


def told_apart(folder: Path) -> str:
    """Why the folders of images name no class, in a sentence for an error."""
    images = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if _is_image(path, folder)]
    depths = {len(path.parts): path for path in images}
    if len(depths) > 1:
        first, second = list(depths.values())[:2]
        return f"its images are not all equally deep in folders ({first}, {second}), so that no folder names a class."
    return f"its images are all in one folder ({images[0].parent}), so that nothing tells a class." if images else ""


def _is_image(path: Path, folder: Path) -> bool:
    return path.suffix.lower() in PILImage.registered_extensions() and not is_hidden(path, folder)


def _paths(part: Dataset, column: str) -> Iterator[str]:
    stored = part.cast_column(column, Image(decode=False))[column]
    return (image["path"] for image in stored if image and image["path"])


def _shown(stored: dict[str, Any], row: int) -> str:
    return "/".join(Path(stored["path"]).parts[-2:]) if stored["path"] else f"in row {row}"


def _is_clear(image: PILImage.Image, what: str) -> bool:
    """Whether something of an image is transparent, so that its colors alone are not what it shows."""
    lowest, highest = image.convert("RGBA").getchannel("A").getextrema()
    if lowest < highest and all(low == high for low, high in image.convert("RGB").getextrema()):
        raise DataError(
            f"{what} is drawn by its transparency alone, which image processors drop. Lay the images on a background."
        )
    return lowest < 255


def _has_another(image: PILImage.Image) -> bool:
    """Whether there is a second frame or page."""
    try:
        image.seek(1)
    except EOFError:
        return False
    return True


def _open(stored: dict[str, Any], what: str) -> PILImage.Image:
    try:
        image = PILImage.open(io.BytesIO(stored["bytes"]) if stored["bytes"] else stored["path"])
        image.load()
        if image.mode not in ("L", "RGB", *DEEP_MODES):
            image.convert("RGB")
    except PILImage.UnidentifiedImageError as error:
        start = stored["bytes"] or Path(stored["path"]).read_bytes()[:200]
        if pointer := told_of_pointer(start):
            raise DataError(f"{what} {pointer}.") from error
        raise DataError(f"{what} is of no kind that Pillow reads. Replace or remove it.") from error
    except Exception as error:  # Pillow's readers raise errors of many kinds
        reason = " ".join(str(error).split())[:120]
        raise DataError(f"{what} cannot be read: {reason}. Replace or remove it.") from error
    return image
