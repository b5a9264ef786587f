"""What a person gives, read: images and tables of numbers."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ..data import read_series_file
from .errors import DemoError


@dataclass
class Series:
    """
    Numbers over time.

    Attributes:
        values: `(steps, channels)`, NaN in gaps.
        channels: The names of the channels; empty where they have none.
        remarks: How they were read, a line each.
    """

    values: np.ndarray
    channels: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def read_image(path: str | Path) -> Image.Image:
    """
    An image from a file, turned as its camera says.

    Raises:
        DemoError: If it is not there or cannot be read.
    """
    try:
        image = Image.open(os.path.expanduser(path))
        image.load()
        image = ImageOps.exif_transpose(image)
    except FileNotFoundError as error:
        raise DemoError(f"There is no image {str(path)!r}.") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise DemoError(f"The image {str(path)!r} cannot be read: it is damaged or of no known type.") from error
    return image


def read_series(path: str | Path, channels: Sequence[str] = ()) -> Series:
    """
    Numbers from a csv, tsv, json or parquet file, by the rules of training data (docs/data.md): columns of numbers are
    channels, cells without a number are gaps. Where the file has all the `channels` that a model reads, it is those
    alone.

    Raises:
        DataError: If it cannot be read, or holds no numbers.
    """
    return Series(*read_series_file(str(path), channels))


def parse_series(text: str) -> Series:
    """
    Numbers as they are typed: one step of several channels between semicolons, `1 2; 1.5 2.5`, or steps of one
    channel, `1 2 3`.

    Raises:
        DemoError: For what is no number, and steps of different lengths.
    """
    rows = [part.replace(",", " ").split() for part in text.split(";") if part.strip()]
    rows = [[word] for word in rows[0]] if len(rows) == 1 and ";" not in text else rows
    try:
        values = [[float(word) for word in row] for row in rows]
    except ValueError as error:
        raise DemoError(f"{text[:60]!r} holds something that is no number: type e.g. 1 2 3, or 1 2; 3 4.") from error
    if not values or len({len(row) for row in values}) > 1:
        raise DemoError(f"{text[:60]!r} is no series: give every step the same number of values, e.g. 1 2; 3 4.")
    return Series(np.array(values))
