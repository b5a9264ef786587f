"""Texts for language models: documents, checked and counted, held in memory or streamed."""

from collections.abc import Callable

import pyarrow as pa
from datasets import Dataset, DatasetDict, IterableDataset

from .arguments import DataArguments, TextArguments
from .classification import TEXT_COLUMNS, others_of
from .columns import dataset_of, is_blank, texts_in_columns, values_of, without_looking_for_cycles
from .errors import DataError
from .loaded import LoadedData
from .loading import find_column, load_named, select_split, trained_on_too
from .samples import split_of


STREAMED_EVALUATION_ROWS = 100


def load_texts(arguments: TextArguments) -> LoadedData:
    """
    The splits of a text dataset, with the one column `text`; each row is a document. A txt file is one document.

    With `join_rows` the rows are pieces of one text, as the lines of WikiText are; they are joined, with a line break
    between those that have none. With `streaming` the training split is an `IterableDataset`, read as it is needed;
    the held-out splits are kept in memory, `max_eval_samples` rows of them at most.

    Where there is no validation split, a tenth of the training text is set apart: of several documents those that a
    hash of their text chooses, of a single one its end. When streaming, the first rows of the stream are set apart.

    Raises:
        DataError: For data that is no text, empty, or too short to set some apart.
    """
    loaded = read_documents(arguments, arguments.join_rows, arguments.streaming)
    if not arguments.streaming:
        texts = {split: values_of(rows, "text") for split, rows in loaded.splits.items()}
        loaded.remarks += trained_on_too(texts, "texts")
    return loaded


@without_looking_for_cycles()
def read_documents(
    arguments: DataArguments,
    join_rows: bool = False,
    streaming: bool = False,
    divide: Callable[[str], list[str]] | None = None,
) -> LoadedData:
    """[`load_texts`]; `divide` makes the documents of a row, where a row holds several, before some are set apart."""
    if streaming and join_rows:
        raise DataError("--join_rows goes with text in memory; with --streaming each row is a document of its own.")
    loaded, names = load_named(arguments, whole_files=True, streaming=streaming)
    splits, source, remarks = loaded.splits, loaded.source, loaded.remarks
    texts: dict[str, Dataset | IterableDataset] = {}
    for split, name in names.items():
        if name not in splits:
            if split == "train" or name != split:  # needed, or asked for by name
                select_split(splits, name, source.name)
            continue
        limit = arguments.max_train_samples if split == "train" else arguments.max_eval_samples
        part = splits[name] if limit is None else splits[name].take(limit)
        first = _first_row(part, source.name, name)
        column = find_column(first, arguments.text_column, TEXT_COLUMNS, "text", source.name, name)
        if split == "train" and arguments.text_column is None:
            remarks += others_of(first, column, TEXT_COLUMNS, "text")
        if streaming and split == "train":
            texts[split] = part.select_columns(column).rename_columns({} if column == "text" else {column: "text"})
        else:
            values = [row[column] for row in part] if streaming else list(values_of(part, column))
            where = f"Dataset {source.name!r}, split {name!r}, column {column!r}"
            texts[split] = _documents(values, where, join_rows, arguments.drop_empty_texts, remarks)
            if divide is not None:
                parts = [part for row in values_of(texts[split], "text") for part in divide(row)][:limit]
                texts[split] = _texts(parts)
    if "validation" not in texts:
        set_apart = _set_apart_stream(texts["train"], arguments, source.name, remarks) if streaming else None
        if divide is not None and len(texts["train"]) < 2:
            raise DataError(f"Dataset {source.name!r} has no validation split, and one row to train on: give more.")
        texts |= set_apart or _set_apart(texts["train"], source.name)
    return LoadedData(texts, source, remarks=remarks, counts_text=True)


def check_text(text, where: str) -> None:
    """
    Refuse what is no text.

    Raises:
        DataError: For something other than a string, and for a string with NUL characters, which no text file has.
    """
    if not isinstance(text, str):
        raise DataError(
            f"{where}: expected strings, found a {type(text).__name__} ({str(text)[:40]}). Name the column of the "
            "texts by --text_column."
        )
    if "\0" in text:
        raise DataError(f"{where}: this is not text, it holds NUL characters (a binary file?).")


def _first_row(part, name: str, split: str) -> Dataset:
    """No rows, with the columns of the first one."""
    first = next(iter(part), None)
    if first is None:
        raise DataError(f"Dataset {name!r}, split {split!r}: it has no rows.")
    return Dataset.from_dict({column: [] for column in first})


def _documents(values: list, where: str, join_rows: bool, drop_empty: bool, remarks: list[str]) -> Dataset:
    values = ["" if value is None else value for value in values]
    for value in values:
        check_text(value, where)
    if join_rows:
        values = ["".join(value if value.endswith("\n") else value + "\n" for value in values)]
    empty = [row for row, value in enumerate(values) if is_blank(value)]
    if len(empty) == len(values):
        raise DataError(f"{where}: the text is empty.")
    if empty and not drop_empty:
        raise DataError(
            f"{where}: {len(empty)} of {len(values)} texts are empty (first in row {empty[0]}). Leave them out by "
            "--drop_empty_texts; or, if the rows are the lines of one text, use --join_rows."
        )
    if empty:
        remarks.append(f"{where}: {len(empty)} of {len(values)} texts are empty and left out.")
    skip = set(empty)
    return _texts([value for row, value in enumerate(values) if row not in skip])


def _texts(texts: list[str]) -> Dataset:
    return dataset_of(pa.table(texts_in_columns({"text": texts})))


def _set_apart(train: Dataset, name: str) -> DatasetDict:
    texts = list(values_of(train, "text"))
    if len(texts) == 1:
        cut = len(texts[0]) * 9 // 10
        parts = {"train": [texts[0][:cut]], "validation": [texts[0][cut:]]}
    else:
        chosen = [split_of(text, validation=10, test=0) == "validation" for text in texts]
        parts = {
            "train": [text for text, held_out in zip(texts, chosen, strict=True) if not held_out],
            "validation": [text for text, held_out in zip(texts, chosen, strict=True) if held_out],
        }
    if not all(any(not is_blank(text) for text in part) for part in parts.values()):
        raise DataError(
            f"Dataset {name!r} has no validation split, and its training text is too short to set some apart."
        )
    return {split: _texts(part) for split, part in parts.items()}


def _set_apart_stream(train: IterableDataset, arguments, name: str, remarks: list[str]) -> dict:
    count = arguments.max_eval_samples or STREAMED_EVALUATION_ROWS
    first = [row["text"] for row in train.take(count + 1)]
    if len(first) <= count:
        raise DataError(
            f"Dataset {name!r} has no validation split, and its stream has {len(first)} rows, of which the first "
            f"{count} would be set apart: give --validation_file, or a lower --max_eval_samples."
        )
    where = f"Dataset {name!r}, the stream's first {count} rows"
    validation = _documents(first[:count], where, False, arguments.drop_empty_texts, remarks)
    return {"train": train.skip(count), "validation": validation}
