"""Texts with classes: columns found, labels matched by their names, a validation split set apart if there is none."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import pyarrow as pa
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from .arguments import DataArguments
from .columns import dataset_of, is_blank, rows_where, texts_in_columns, values_of, without_looking_for_cycles
from .errors import DataError
from .loaded import LoadedData
from .loading import find_column, listed, load_named, load_splits, select_split, some_rows, trained_on_too
from .local_files import file_type, path_of
from .samples import split_of


TEXT_COLUMNS = ("text", "sentence", "content", "review", "tweet")
_WHOLE = re.compile(r"-?\d+")
_IF_A_CLASS = "; if -1 is a class, write it as a word, such as negative"
LABEL_COLUMNS = ("label", "labels", "sentiment", "class")


def load_unlabeled(file: str, text_column: str | None) -> tuple[Dataset, list[str]]:
    """
    Texts without labels, as the column `text`: the lines of a txt file, or a table's column; and remarks. Empty texts
    are left out.

    Raises:
        DataError: For a file that cannot be read, or has no text.
    """
    loaded = load_splits(data_files={"train": file})
    part = select_split(loaded.splits, "train", file)
    if file_type(path_of(file)) == "text":
        text_column = None  # of the labeled texts, which are in a table
    column = find_column(part, text_column, TEXT_COLUMNS, "text", file, "train")
    texts = list(values_of(part, column))
    kept = kept_rows(texts, f"--unlabelled_file {file}, column {column!r}", True, loaded.remarks)
    return Dataset.from_dict({"text": [texts[row] for row in kept]}), loaded.remarks


class OneClass:
    """
    A class per text, as the column `label`, a `ClassLabel`. Classes are matched by their names, never by a split's own
    numbers.

    Subclasses read labels of other kinds from the columns that [`find`][OneClass.find] names.
    """

    def find(self, train: Dataset, arguments: DataArguments, name: str, split: str) -> list[str]:
        """The columns of the labels: those asked for, or the first of the usual name."""
        return [find_column(train, arguments.label_column, LABEL_COLUMNS, "label", name, split)]

    def is_unlabeled(self, part: Dataset, columns: list[str]) -> bool:
        """Whether none of a split's texts has a label."""
        return is_unlabeled(part, columns[0])

    def read(self, part: Dataset, columns: list[str], where: str, remarks: list[str]) -> list[Any]:
        """The label of each text, by its name."""
        return label_names(part, columns[0], f"{where}, column {columns[0]!r}", remarks)

    def encode(
        self, prepared: dict[str, dict], train: Dataset, columns: list[str], name: str, remarks: list[str]
    ) -> dict[str, Dataset]:
        """The splits, of the columns `text` and `label`."""
        labels = prepared["train"]["label"]
        if not self.is_enough(labels):
            raise DataError(
                f"Dataset {name!r}, column {columns[0]!r}: all training texts have the class {labels[0]!r}. A "
                "classifier needs at least two."
            )
        return _encode_labels(prepared, classes_of(train.features[columns[0]], labels), name, columns[0])

    def classes_in(self, label: Any) -> list[Any]:
        """The classes that a text of this label is an example of."""
        return [label]

    def is_enough(self, labels: list[Any]) -> bool:
        """Whether there is something to learn from texts of these labels."""
        return len(set(labels)) > 1

    def remarks(self, splits: dict[str, Dataset]) -> list[str]:
        """One line for each thing that its user should know of the labels."""
        return [*lookalikes(splits["train"].features["label"].names), *missing_classes(splits, "text")]


@without_looking_for_cycles()
def load_text_classification(arguments: DataArguments, kind: OneClass | None = None) -> LoadedData:
    """
    The splits of a text classification dataset, with the columns `text` (string) and `label`, of the kind that is
    asked for: a `ClassLabel` by default.

    Where there is no validation split, 10 % of the training texts are set apart, chosen by a hash of the text, so that
    they are the same in every run and no text is in both. Where the test split is missing or has no labels (GLUE's
    carry -1), there is no `test` in what is returned.

    Raises:
        DataError: For data that does not fit, in one line that says what was found.
    """
    kind = kind or OneClass()
    loaded, names = load_named(arguments)
    splits, source, remarks = loaded.splits, loaded.source, loaded.remarks

    train = select_split(splits, names["train"], source.name)
    text_column = find_column(train, arguments.text_column, TEXT_COLUMNS, "text", source.name, names["train"])
    if arguments.text_column is None:
        remarks += others_of(train, text_column, TEXT_COLUMNS, "text")
    label_columns = kind.find(train, arguments, source.name, names["train"])
    if arguments.label_column is None and len(label_columns) == 1:
        remarks += others_of(train, label_columns[0], LABEL_COLUMNS, "label")
    prepared = {}
    for split, name in names.items():
        if name not in splits:
            if name != split:  # the user asked for it by name
                select_split(splits, name, source.name)
            continue
        part, where = select_split(splits, name, source.name), f"Dataset {source.name!r}, split {name!r}"
        find_column(part, text_column, (), "text", source.name, name)
        if split == "test" and kind.is_unlabeled(part, label_columns):
            remarks.append(f"The split {name!r} has no labels: it is passed over.")
            continue
        for column in label_columns:
            find_column(part, column, (), "label", source.name, name)
        texts = list(values_of(part, text_column))
        labels = kind.read(part, label_columns, where, remarks)
        kept = kept_rows(texts, f"{where}, column {text_column!r}", arguments.drop_empty_texts, remarks)
        # In columns at once: as strings of Python they would take twice the memory until all splits are read.
        if len(kept) < len(texts):
            texts, labels = [texts[row] for row in kept], [labels[row] for row in kept]
        prepared[split] = {**texts_in_columns({"text": texts}), "label": labels}
        del texts

    prepared = kind.encode(prepared, train, label_columns, source.name, remarks)
    if "validation" not in prepared:
        prepared |= _set_apart_validation(prepared["train"], source.name, kind)
    prepared = some_rows(prepared, arguments)
    ordered = {split: prepared[split] for split in ("train", "validation", "test") if split in prepared}
    remarks += kind.remarks(ordered)
    remarks += trained_on_too({split: values_of(rows, "text") for split, rows in ordered.items()}, "texts")
    return LoadedData(DatasetDict(ordered), source, remarks=remarks)


def others_of(part: Dataset, column: str, usual: Sequence[str], kind: str) -> list[str]:
    """A line if there are more columns of a usual name than the one that is taken."""
    others = [name for name in usual if name in part.column_names and name != column]
    return (
        [f"The {kind}s are those of the column {column!r}; others, by --{kind}_column: {listed(others)}."]
        if others
        else []
    )


def kept_rows(texts: list, where: str, drop_empty: bool, remarks: list[str]) -> Sequence[int]:
    """
    The rows whose text is not empty.

    Raises:
        DataError: If a text is no string, is empty and is not to be dropped, or if all of them are empty.
    """
    wrong = next((text for text in texts if text is not None and not isinstance(text, str)), None)
    if wrong is not None:
        raise DataError(
            f"{where}: expected strings, found a {type(wrong).__name__} ({str(wrong)[:40]}). Name the column of the "
            "texts by --text_column."
        )
    empty = [row for row, text in enumerate(texts) if text is None or is_blank(text)]
    if len(empty) == len(texts):
        raise DataError(f"{where}: all {len(texts)} texts are empty.")
    if empty and not drop_empty:
        raise DataError(
            f"{where}: {len(empty)} of {len(texts)} texts are empty (first in row {empty[0]}). Remove them, or leave "
            "them out by --drop_empty_texts."
        )
    if empty:
        remarks.append(f"{where}: {len(empty)} of {len(texts)} texts are empty and left out.")
    skip = set(empty)
    return [row for row in range(len(texts)) if row not in skip] if empty else range(len(texts))


def is_unlabeled(part: Dataset, column: str) -> bool:
    """Whether no row of a split has a label."""
    return column not in part.column_names or all(
        _is_missing(label) or label == -1 for label in values_of(part, column)
    )


def _is_missing(label: Any) -> bool:
    return label is None or label != label or (isinstance(label, str) and not label.strip())


def label_names(part: Dataset, column: str, where: str, remarks: list[str]) -> list[str]:
    """
    The class of each row by its name: `5` for 5 and, where all numbers are whole, for 5.0.

    Args:
        part: A split.
        column: The column of the labels.
        where: Both of them, as an error and a remark name them.
        remarks: Gets a line for each thing that was converted.

    Raises:
        DataError: For a row without a label, and for one whose label is no class.
    """
    feature, known = part.features[column], {}  # a name for each value, not for each row: there may be a million rows
    names, stripped, composed, whole = [], 0, 0, 0
    for row, label in enumerate(values_of(part, column)):
        if _is_missing(label) or (isinstance(label, int | float | Decimal) and label < 0 and label % 1 == 0):
            shown = "is blank" if _is_missing(label) else f"holds {label}"
            raise DataError(
                f"{where}: row {row} is not labeled (it {shown}). Leave such rows out, or choose a labeled split by "
                f"--train_split, --validation_split or --test_split{_IF_A_CLASS if label == -1 else ''}."
            )
        key = type(label), str(label)
        if key not in known:
            known[key] = _written(label, feature, f"{where}, row {row}")
        written, name = known[key]
        whole += isinstance(label, float)
        stripped += written != written.strip()
        composed += name != written.strip()
        names.append(name)
    if whole:
        first = next(label for kind, label in known if kind is float)
        remarks.append(
            f"{where}: labels written with a point, such as {first}, read as whole numbers, such as "
            f"{known[float, first][1]}: {whole:,}."
        )
    if stripped:
        remarks.append(f"{where}: labels with white space around them, which is dropped: {stripped:,}.")
    if composed:
        remarks.append(f"{where}: labels with accents written as marks of their own, read in NFC: {composed:,}.")
    return names


def _written(label: Any, feature: Any, where: str) -> tuple[str, str]:
    """How a label is written, and what its class is called."""
    if isinstance(label, float | Decimal) and label % 1 == 0:
        label = int(label)
    if not isinstance(label, int | str):
        other = {float: "regression", Decimal: "regression", list: "multi_label_classification"}.get(type(label))
        instead = f", or take --problem_type {other}" if other else ""
        raise DataError(
            f"{where}: expected class names or whole numbers, found a {type(label).__name__} ({str(label)[:40]}). "
            f"Name the column of the classes by --label_column{instead}."
        )
    written = feature.int2str(label) if isinstance(feature, ClassLabel) else str(label)
    return written, unicodedata.normalize("NFC", written.strip())


def classes_of(feature: Any, labels: list[str]) -> list[str]:
    """The classes of a column in their order: a `ClassLabel`'s own, else that of their numbers or their names."""
    if isinstance(feature, ClassLabel):
        return list(dict.fromkeys(unicodedata.normalize("NFC", name.strip()) for name in feature.names))
    is_of_numbers = all(map(_WHOLE.fullmatch, labels))
    return sorted(set(labels), key=int if is_of_numbers else None)


def lookalikes(names: list[str]) -> list[str]:
    """A line if classes differ only by what a reader may not see: they may have been meant as one."""
    alike: dict[Any, list[str]] = {}
    for name in names:
        seen = "".join(mark for mark in name if unicodedata.category(mark) != "Cf").casefold().strip()
        try:
            number = Decimal(seen)
        except InvalidOperation:
            number = Decimal("nan")
        alike.setdefault(number if number.is_finite() else seen, []).append(name)
    pair = next((group for group in alike.values() if len(group) > 1), None)
    if pair is None:
        return []
    shown = " and ".join(ascii(name) if not name.isprintable() else repr(name) for name in pair[:3])
    return [f"The classes {shown} differ only in case, hidden characters or the way a number is written: kept apart."]


def _encode_labels(prepared: dict, names: list[str], name: str, column: str) -> dict[str, Dataset]:
    features = Features({"text": Value("string"), "label": ClassLabel(names=names)})
    encoded = {}
    for split, rows in prepared.items():
        ids = numbers_of(rows["label"], names, f"Dataset {name!r}, split {split!r}, column {column!r}", "texts")
        table = pa.table({"text": rows["text"], "label": pa.array(ids, pa.int64())})
        encoded[split] = dataset_of(table, features)
    return encoded


def numbers_of(labels: list[str], names: list[str], where: str, rows: str) -> list[int]:
    """
    The number of each label's class.

    Raises:
        DataError: For a class that is not among the names, which are those of the training texts, or whatever `rows`
            calls them.
    """
    ids = {label: number for number, label in enumerate(names)}
    unknown = next((label for label in labels if label not in ids), None)
    if unknown is not None:
        raise DataError(
            f"{where}: the class {unknown!r} does not occur in the training {rows}, whose classes are {listed(ids)}."
        )
    return [ids[label] for label in labels]


def _set_apart_validation(train: Dataset, name: str, kind: OneClass) -> dict[str, Dataset]:
    """Of the texts a share that their hashes say; but a class of which all would be set apart stays in training."""
    labels = list(values_of(train, "label"))
    is_validation = [split_of(text, validation=10, test=0) == "validation" for text in values_of(train, "text")]
    classes: dict[bool, set[Any]] = {True: set(), False: set()}
    for label, chosen in zip(labels, is_validation, strict=True):
        classes[chosen].update(kind.classes_in(label))
    if lost := classes[True] - classes[False]:
        of_texts = zip(values_of(train, "text"), labels, strict=True)
        needed = {text for text, label in of_texts if lost.intersection(kind.classes_in(label))}
        of_texts = zip(values_of(train, "text"), is_validation, strict=True)
        is_validation = [chosen and text not in needed for text, chosen in of_texts]
    trained_on = [label for label, chosen in zip(labels, is_validation, strict=True) if not chosen]
    if not any(is_validation) or not kind.is_enough(trained_on):
        raise DataError(
            f"Dataset {name!r} has no validation split, and its {len(train)} training texts are too few to set some "
            "apart."
        )
    return {
        "train": rows_where(train, [not chosen for chosen in is_validation]),
        "validation": rows_where(train, is_validation),
    }


def missing_classes(splits: dict[str, Dataset], row: str) -> list[str]:
    """A line for each split that lacks a class: a score over it says nothing of that class. `row` is what a row is."""
    names = splits["train"].features["label"].names
    remarks = []
    for split, rows in splits.items():
        counts = Counter(values_of(rows, "label"))
        missing = [name for number, name in enumerate(names) if not counts[number]]
        if missing:
            what = f"of the class{'es' if len(missing) > 1 else ''} {listed(missing)}"
            remarks.append(f"The split {split!r} has no {row} {what}.")
    return remarks
