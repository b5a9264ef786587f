"""Of which kind the data is that the flags name, and which of the other flags are not read of that kind."""

import dataclasses
from typing import NamedTuple

from .arguments import KINDS, DataArguments, ImageArguments, PairArguments, SeriesArguments
from .local_files import file_type, path_of
from .samples import SAMPLES, SIMULATION


SAMPLE_PREFIX = "sample:"


class Source(NamedTuple):
    """
    What the data is read from.

    Attributes:
        kind: One of [`seqnlp.data.arguments.KINDS`].
        flag: The flag that names it.
        name: What that flag says.
    """

    kind: str
    flag: str
    name: str


def kind_of(dataset_name: str) -> str:
    """
    Of which kind a dataset is that has a name.

    Raises:
        DataError: For a name that the system does not take.
    """
    if dataset_name == SIMULATION:
        return "simulation"
    if dataset_name in SAMPLES or dataset_name.startswith(SAMPLE_PREFIX):
        return "sample"
    path = path_of(dataset_name)
    if path.is_file() or (not path.exists() and file_type(path)):
        return "file"
    return "folder" if path.is_dir() else "hub"


def source_of(arguments: DataArguments | ImageArguments | SeriesArguments) -> Source | None:
    """What the flags name; `None` where they name nothing."""
    if isinstance(arguments, DataArguments) and arguments.train_file is not None:
        is_parallel = isinstance(arguments, PairArguments) and arguments.train_target_file is not None
        return Source("parallel" if is_parallel else "files", "train_file", arguments.train_file)
    if arguments.dataset_name is None:
        return None
    return Source(kind_of(arguments.dataset_name), "dataset_name", arguments.dataset_name)


def unread_flags(arguments: DataArguments | ImageArguments | SeriesArguments) -> dict[str, str]:
    """
    The flags that have another value than their usual one, and that the data which the flags name is not read by; for
    each a line that says so, with both flags.

    Raises:
        DataError: For data of a name that the system does not take.
    """
    source = source_of(arguments)
    told = {}
    for field in dataclasses.fields(arguments):
        value = getattr(arguments, field.name)
        if source is None or value == field.default or source.kind not in field.metadata.get("unread_of", ()):
            continue
        shown = " ".join(value) if isinstance(value, list) else value
        line = f"--{field.name} {shown} is not read of {KINDS[source.kind]} (--{source.flag} {source.name})"
        told[field.name] = " ".join(line.split())
    return told
