"""Texts with several labels each, or with a number, where those of `classification` have one class."""

import math
import statistics
import unicodedata
from collections import Counter
from typing import Any

import pyarrow as pa
from datasets import ClassLabel, Dataset, Features, LargeList, List, Value

from .arguments import LabelArguments
from .classification import LABEL_COLUMNS, OneClass, is_unlabeled, load_text_classification, lookalikes
from .columns import dataset_of, values_of
from .errors import DataError
from .loaded import LoadedData
from .loading import find_column, listed, printable


NUMBER_COLUMNS = (*LABEL_COLUMNS, "stars", "rating", "score")
YES_OR_NO = {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True}
USUAL_SPREAD = (0.01, 100.0)  # standard deviations of numbers that networks learn as they are


def load_labeled_texts(arguments: LabelArguments) -> LoadedData:
    """
    The splits of a dataset of texts with labels of the kind that `--problem_type` says, see
    [`load_text_classification`]: the column `label` holds a `ClassLabel`, a list of them, or a float64.

    Raises:
        DataError: For data that does not fit, and flags that do not, in one line.
    """
    several = arguments.problem_type == "multi_label_classification"
    for name in ("label_columns", "label_separator"):
        if vars(arguments)[name] is not None and not several:
            raise DataError(
                f"--{name} does nothing with --problem_type {arguments.problem_type}: it is for "
                "multi_label_classification."
            )
    if several:
        return load_text_classification(arguments, SeveralLabels(arguments.label_separator))
    return load_text_classification(arguments, Number() if arguments.problem_type == "regression" else OneClass())


class SeveralLabels(OneClass):
    """
    Any number of labels per text, none too, as lists of a `ClassLabel`: from columns of 0 and 1, from a column of
    lists, or from one of texts such as `sad, angry`.

    Args:
        separator: What stands between two labels of such a text.
    """

    def __init__(self, separator: str | None):
        self.separator = separator

    def find(self, train: Dataset, arguments: LabelArguments, name: str, split: str) -> list[str]:
        """The columns that are asked for; of 0 and 1 if there are several."""
        if arguments.label_columns is None:
            return super().find(train, arguments, name, split)
        given = [flag for flag in ("label_column", "label_separator") if vars(arguments)[flag] is not None]
        if given:
            raise DataError(f"--label_columns and --{given[0]}: the labels are read in one way alone.")
        if len(set(arguments.label_columns)) < 2:
            raise DataError("--label_columns names one column: give one for each of several labels.")
        return list(dict.fromkeys(arguments.label_columns))

    def is_unlabeled(self, part: Dataset, columns: list[str]) -> bool:
        """Whether none of a split's texts says anything of labels."""
        present = [column for column in columns if column in part.column_names]
        return all(label in (None, -1, "") for column in present for label in values_of(part, column))

    def read(self, part: Dataset, columns: list[str], where: str, remarks: list[str]) -> list[tuple[str, ...]]:
        """The names of each text's labels, each once."""
        if len(columns) > 1:
            asked = [_yes_or_no(part, column, f"{where}, column {column!r}") for column in columns]
            return [
                tuple(name for name, holds in zip(columns, row, strict=True) if holds)
                for row in zip(*asked, strict=True)
            ]
        found, twice, place = [], 0, f"{where}, column {columns[0]!r}"
        for names in self._lists(part, columns[0], place):
            found.append(tuple(dict.fromkeys(names)))
            twice += len(names) != len(found[-1])
        if twice:
            remarks.append(f"{place}: texts with a label more than once, which counts once: {twice:,}.")
        return found

    def _lists(self, part: Dataset, column: str, where: str) -> list[list[str]]:
        feature, values = part.features[column], list(values_of(part, column))
        if isinstance(feature, List | LargeList):
            if self.separator is not None:
                raise DataError(
                    f"{where}: it holds lists, so that --label_separator {self.separator!r} is not needed."
                )
            missing = next((row for row, value in enumerate(values) if value is None), None)
            if missing is not None:
                raise DataError(f"{where}: row {missing} is not labeled; a text without any label has an empty list.")
            return [
                [_name(label, feature.feature, f"{where}, row {row}") for label in value]
                for row, value in enumerate(values)
            ]
        if not isinstance(feature, Value) or feature.dtype not in ("string", "large_string"):
            raise DataError(
                f"{where}: expected a list per text, or a text such as 'sad, angry'; it holds {values[0]!r}. Name the "
                "column of the labels by --label_column, or columns of 0 and 1 by --label_columns."
            )
        filled = [value.strip() for value in values if value and value.strip()]
        if filled and all(value[0] + value[-1] in ("[]", "()", "{}") for value in filled):
            raise DataError(
                f"{where}: a program has written its lists as texts ({printable(filled[0])!r}). Write them as lists "
                "of json, or with nothing but a separator between two labels."
            )
        if self.separator is None:
            shown = max((value for value in values if value), key=len, default="")[:60]
            raise DataError(
                f"{where}: the labels are written as one text ({shown!r}): say what stands between two of them by "
                "--label_separator."
            )
        return [
            [
                name
                for part in (value or "").split(self.separator)
                if (name := unicodedata.normalize("NFC", part).strip())
            ]
            for value in values
        ]

    def encode(
        self, prepared: dict[str, dict], train: Dataset, columns: list[str], name: str, remarks: list[str]
    ) -> dict[str, Dataset]:
        """The splits, of the columns `text` and `label`; a label that no training text has gets a number too."""
        counts = {
            split: Counter(label for labels in rows["label"] for label in labels) for split, rows in prepared.items()
        }
        known = counts["train"]
        if len(known) < 2:
            raise DataError(
                f"Dataset {name!r}, column {columns[0]!r}: the training texts have {len(known)} different labels. "
                "Several labels per text need at least two."
            )
        names = self._order(train, columns, known)
        for split, count in counts.items():
            missing = sorted(set(count) - set(known))
            if missing:
                texts = sum(count[label] for label in missing)
                remarks.append(
                    f"The split {split!r}: labels that no training text has ({listed(missing)}): {texts:,}. No model "
                    "can find them, and they count as missed."
                )
                names = list(dict.fromkeys([*names, *missing]))
        ids = {label: number for number, label in enumerate(names)}
        features = Features({"text": Value("string"), "label": List(ClassLabel(names=names))})
        encoded = {}
        for split, rows in prepared.items():
            labels = [sorted(ids[label] for label in row) for row in rows["label"]]
            table = pa.table({"text": rows["text"], "label": pa.array(labels, pa.list_(pa.int64()))})
            encoded[split] = dataset_of(table, features)
            bare = sum(not row for row in labels)
            if bare:
                remarks.append(f"The split {split!r}: {bare:,} of {len(labels):,} texts have no label.")
        return encoded

    @staticmethod
    def _order(train: Dataset, columns: list[str], known: Counter) -> list[str]:
        """The names of all labels: as the columns or the dataset have them, or else sorted."""
        if len(columns) > 1:
            return list(columns)
        inner = getattr(train.features[columns[0]], "feature", None)
        if isinstance(inner, ClassLabel):
            return list(inner.names)
        return sorted(known, key=lambda label: (0, int(label), "") if label.isdecimal() else (1, 0, label))

    def classes_in(self, label: list[int]) -> list[int]:
        """Each of its labels."""
        return label

    def is_enough(self, labels: list[list[int]]) -> bool:
        """Whether two labels occur."""
        return len({label for row in labels for label in row}) > 1

    def remarks(self, splits: dict[str, Dataset]) -> list[str]:
        """Labels that look alike, and those that a split lacks: a mean over the labels says little there."""
        names = splits["train"].features["label"].feature.names
        found = lookalikes(names)
        for split, rows in splits.items():
            present = {label for labels in values_of(rows, "label") for label in labels}
            missing = [name for number, name in enumerate(names) if number not in present]
            if missing:
                found.append(f"The split {split!r} has no text with {listed(missing)}.")
        return found


def _yes_or_no(part: Dataset, column: str, where: str) -> list[bool]:
    found = []
    for row, value in enumerate(values_of(part, column)):
        holds = YES_OR_NO.get(str(value).strip().lower())
        if holds is None:
            raise DataError(f"{where}: row {row} holds {str(value)[:40]!r}, where a column per label holds 0 or 1.")
        found.append(holds)
    return found


def _name(label: Any, feature: Any, where: str) -> str:
    if isinstance(feature, ClassLabel) and isinstance(label, int) and label >= 0:
        return feature.int2str(label)
    if isinstance(label, str) and label.strip():
        return unicodedata.normalize("NFC", label).strip()
    if isinstance(label, int) and label >= 0:
        return str(label)
    raise DataError(f"{where}: expected names of labels or whole numbers, found {str(label)[:40]!r}.")


class Number(OneClass):
    """A number per text, such as its stars, as float64."""

    def find(self, train: Dataset, arguments: LabelArguments, name: str, split: str) -> list[str]:
        """The column that is asked for, or the first of a usual name."""
        return [find_column(train, arguments.label_column, NUMBER_COLUMNS, "label", name, split)]

    def is_unlabeled(self, part: Dataset, columns: list[str]) -> bool:
        """Whether no text has a number: all are blank or -1, as those of the test split of STS-B in GLUE."""
        return is_unlabeled(part, columns[0])

    def read(self, part: Dataset, columns: list[str], where: str, remarks: list[str]) -> list[float]:
        """The number of each text; of a `ClassLabel` whose names are numbers, those."""
        feature, place, numbers = part.features[columns[0]], f"{where}, column {columns[0]!r}", []
        for row, value in enumerate(values_of(part, columns[0])):
            if value is None or value == "" or (isinstance(feature, ClassLabel) and value < 0):
                raise DataError(f"{place}: row {row} is not labeled. Leave such rows out, or choose a labeled split.")
            written = feature.int2str(value) if isinstance(feature, ClassLabel) else value
            try:
                number = math.nan if isinstance(written, bool) or "_" in str(written) else float(written)
            except (TypeError, ValueError):
                number = math.nan
            if not math.isfinite(number):
                raise DataError(
                    f"{place}: row {row} holds {str(written)[:40]!r}, which is no number. Name the column of the "
                    "numbers by --label_column, or take another --problem_type."
                )
            numbers.append(number)
        return numbers

    def encode(
        self, prepared: dict[str, dict], train: Dataset, columns: list[str], name: str, remarks: list[str]
    ) -> dict[str, Dataset]:
        """The splits, of the columns `text` and `label`."""
        numbers = prepared["train"]["label"]
        if not self.is_enough(numbers):
            raise DataError(
                f"Dataset {name!r}, column {columns[0]!r}: all training texts have the number {numbers[0]:g}. There "
                "is nothing to learn."
            )
        features = Features({"text": Value("string"), "label": Value("float64")})
        return {
            split: dataset_of(
                pa.table({"text": rows["text"], "label": pa.array(rows["label"], pa.float64())}),
                features,
            )
            for split, rows in prepared.items()
        }

    def classes_in(self, label: float) -> list[Any]:
        """None: no number must occur in training."""
        return []

    def remarks(self, splits: dict[str, Dataset]) -> list[str]:
        """Numbers of a size that a network does not learn as they are."""
        spread, (least, most) = statistics.pstdev(values_of(splits["train"], "label")), USUAL_SPREAD
        if least <= spread <= most:
            return []
        return [
            f"The numbers of the training texts have a standard deviation of {spread:.3g}, and a model learns best "
            "what is about 1: divide them, or change --learning_rate."
        ]
