"""Sentences with one label per word: columns found, labels matched by their names, words without a label told."""

import unicodedata
from collections import Counter
from collections.abc import Iterable
from typing import Any

from datasets import ClassLabel, Dataset, DatasetDict, Features, LargeList, List, Value

from .arguments import TaggingArguments
from .classification import lookalikes
from .columns import rows_where, values_of, without_looking_for_cycles
from .conll import read_annotated
from .errors import DataError
from .loaded import LoadedData
from .loading import find_column, listed, load_named, printable, select_split, some_rows, trained_on_too
from .samples import split_of


TOKEN_COLUMNS = ("tokens", "words", "form", "column 1")
TAG_COLUMNS = ("tags", "ner_tags", "upos", "pos_tags", "labels", "ner", "pos")
NO_LABEL = None
"""In the column `tags`: of a word that nobody labeled."""


@without_looking_for_cycles()
def load_tagging(arguments: TaggingArguments) -> LoadedData:
    """
    The splits of a dataset of labeled words, with the columns `tokens` (strings) and `tags` (of a `ClassLabel`, `None`
    for a word without a label), one row per sentence.

    Labels are matched by their names, never by a split's own numbers. Sentences without any label are left out, and a
    test split without any is passed over. A label of held-out words that no training word has gets a number too: it is
    the right one for those words, and no model will find it. Where there is no validation split, 10 % of the training
    sentences are set apart, chosen by a hash of their words.

    Raises:
        DataError: For data that does not fit, in one line that says what was found.
    """
    loaded, names = load_named(arguments, whole_files=True)
    splits, source, remarks = loaded.splits, loaded.source, loaded.remarks
    prepared: dict[str, dict[str, list]] = {}
    order: list[str] | None = None
    columns: tuple[str | None, str | None] = arguments.text_column, arguments.label_column
    for split, name in names.items():
        if name not in splits:
            if split == "train" or name != split:  # needed, or asked for by name
                select_split(splits, name, source.name)
            continue
        where = f"Dataset {source.name!r}, split {name!r}"
        part = _annotated(select_split(splits, name, source.name), where, remarks)
        if split == "train":
            columns = _find_columns(part, columns, source.name, name, remarks)
            order = _names_of(part, columns[1])
        rows = _read_rows(part, columns, source.name, name, arguments.drop_empty_texts, remarks)
        if split == "test" and not rows["tokens"]:
            remarks.append(f"The split {name!r} has no labels: it is passed over.")
        elif not rows["tokens"]:
            raise DataError(f"{where}, column {columns[1]!r}: none of its words has a label.")
        else:
            prepared[split] = rows
    encoded = _encode(prepared, order, source.name, columns[1], remarks)
    if "validation" not in encoded:
        encoded |= _set_apart_validation(encoded["train"], source.name)
    encoded = some_rows(encoded, arguments)
    ordered = {split: encoded[split] for split in ("train", "validation", "test") if split in encoded}
    remarks += lookalikes(labels_of(ordered["train"]))
    sentences = {split: map(tuple, values_of(part, "tokens")) for split, part in ordered.items()}
    remarks += trained_on_too(sentences, "sentences")
    return LoadedData(DatasetDict(ordered), source, remarks=remarks)


def labels_of(rows: Dataset) -> list[str]:
    """The names of the labels of what [`load_tagging`] gave."""
    return rows.features["tags"].feature.names


def _annotated(part: Dataset, where: str, remarks: list[str]) -> Dataset:
    """The rows of a split; where each is a whole file of words in lines, the sentences of those files."""
    if part.column_names != ["text"]:
        return part
    columns: dict[str, list] = {}
    counts = Counter()
    for number, text in enumerate(part["text"], start=1):
        found = read_annotated(text, where if len(part) == 1 else f"{where}, file {number}")
        if columns and list(found.columns) != list(columns):
            raise DataError(f"{where}: its files have columns of different kinds.")
        for name, rows in found.columns.items():
            columns.setdefault(name, []).extend(rows)
        counts.update(found.counts)
    remarks += [f"{where}: {what}, left out: {count:,}." for what, count in counts.items()]
    features = Features({name: List(Value("string")) for name in columns})
    return Dataset.from_dict(columns, features)


def _find_columns(part: Dataset, asked: tuple, name: str, split: str, remarks: list[str]) -> tuple[str, str]:
    """The columns of words and of labels: those asked for, those with the usual names, or the last of a file."""
    tokens = find_column(part, asked[0], TOKEN_COLUMNS, "text", name, split)
    usual = [column for column in TAG_COLUMNS if column in part.column_names]
    if asked[1] is None and "column 1" in part.column_names:
        # The last one is the one that shared tasks ask for.
        usual = [column for column in reversed(part.column_names) if column != tokens]
    is_unnamed = asked[0] is None and tokens == "column 1" and _inner(part, tokens) is not None
    if is_unnamed and (why := _no_words(values_of(part, tokens))):
        raise DataError(
            f"Dataset {name!r}, split {split!r}: its first column {why}, which are no words. Say by --text_column "
            f"which of {listed(part.column_names[1:])} holds the words."
        )
    tags = find_column(part, asked[1], tuple(usual) or TAG_COLUMNS, "label", name, split)
    others = [column for column in usual if column != tags]
    if asked[1] is None and others:
        remarks.append(f"The labels are those of the column {tags!r}; others, by --label_column: {listed(others)}.")
    return tokens, tags


def _no_words(sentences: Iterable[list[str]]) -> str | None:
    """What a first column holds that holds no words: their places, or the name of their document; else nothing."""
    sentences = [cells for cells in sentences if cells and len(cells) > 1]
    if not sentences:
        return None
    for first in (0, 1):
        if all(cells == [str(first + place) for place in range(len(cells))] for cells in sentences):
            return f"counts the words of each sentence ({', '.join(sentences[0][:3])})"
    if all(len(set(cells)) == 1 for cells in sentences):
        return f"holds one thing for all words of a sentence ({printable(sentences[0][0])})"
    return None


def _names_of(part: Dataset, column: str) -> list[str] | None:
    inner = _inner(part, column)
    return list(inner.names) if isinstance(inner, ClassLabel) else None


def _inner(part: Dataset, column: str) -> Any:
    """What a column's lists hold; `None` for a column of something else."""
    feature = part.features[column]
    return feature.feature if isinstance(feature, List | LargeList) else None


def _read_rows(
    part: Dataset, columns: tuple[str, str], name: str, split: str, drop_empty: bool, remarks: list[str]
) -> dict[str, list]:
    """Words and names of labels of the sentences that have any."""
    where = f"Dataset {name!r}, split {split!r}"
    for column, kind in zip(columns, ("text", "label"), strict=True):
        find_column(part, column, (), kind, name, split)
        if _inner(part, column) is None:
            raise DataError(
                f"{where}, column {column!r}: expected a list per sentence, with one item per word. Name the right "
                f"column by --{kind}_column; a file of words in lines ends in .conllu, .conll or .txt."
            )
    inner = _inner(part, columns[1])
    rows: dict[str, list] = {"tokens": [], "tags": []}
    empty = unlabeled = partly = 0
    for number, (tokens, labels) in enumerate(zip(*(values_of(part, column) for column in columns), strict=True)):
        place = f"{where}, row {number}"
        tokens = tokens or []
        if not tokens:
            if not drop_empty:
                raise DataError(f"{place}: it has no words. Leave such rows out by --drop_empty_texts.")
            empty += 1
            continue
        if labels is not None and len(labels) != len(tokens):
            raise DataError(
                f"{place}: it has {len(tokens)} words and {len(labels)} labels ({_shown(tokens)}). Every word has one."
            )
        _check_words(tokens, place)
        found = [_label_name(label, inner, place) for label in labels or [None] * len(tokens)]
        if all(label is NO_LABEL for label in found):
            unlabeled += 1
            continue
        partly += found.count(NO_LABEL)
        rows["tokens"].append(tokens)
        rows["tags"].append(found)
    if empty:
        remarks.append(f"{where}: {empty:,} of {len(part):,} sentences have no words and are left out.")
    if unlabeled and rows["tokens"]:
        remarks.append(f"{where}: {unlabeled:,} of {len(part):,} sentences have no labels and are left out.")
    if partly:
        words = sum(map(len, rows["tokens"]))
        remarks.append(f"{where}: {partly:,} of {words:,} words have no label; they are read, and not scored.")
    return rows


def _check_words(tokens: list, place: str) -> None:
    for word in tokens:
        if not isinstance(word, str) or not word.strip():
            shown = "is blank" if isinstance(word, str) or word is None else f"is a {type(word).__name__}"
            raise DataError(f"{place}: one of its words {shown} ({_shown(tokens)}).")


def _shown(tokens: list) -> str:
    text = " ".join(map(str, tokens))
    return repr(text if len(text) <= 40 else f"{text[:40]}...")


def _label_name(label: Any, feature: Any, place: str) -> str | None:
    if label is None or label == -100 or (isinstance(label, str) and not label.strip()):
        return NO_LABEL
    if isinstance(feature, ClassLabel):
        return NO_LABEL if label == -1 else feature.int2str(label)
    if not isinstance(label, str | int):
        raise DataError(
            f"{place}: expected names of labels, found a {type(label).__name__} ({str(label)[:40]}). Name the column "
            "of the labels by --label_column."
        )
    return unicodedata.normalize("NFC", str(label)).strip()


def _encode(
    prepared: dict[str, dict], order: list[str] | None, name: str, column: str, remarks: list[str]
) -> dict[str, Dataset]:
    counts = {split: Counter(label for tags in rows["tags"] for label in tags) for split, rows in prepared.items()}
    for count in counts.values():
        del count[NO_LABEL]
    if len(counts["train"]) < 2:
        raise DataError(
            f"Dataset {name!r}, column {column!r}: all training words have the label {next(iter(counts['train']))!r}. "
            "A tagger needs at least two."
        )
    names = order or sorted(counts["train"], key=lambda label: (0, int(label)) if label.isdecimal() else (1, label))
    for split, count in counts.items():
        missing = [label for label in count if label not in counts["train"]]
        if missing:
            words = sum(count[label] for label in missing)
            remarks.append(
                f"The split {split!r}: words with labels that no training word has ({listed(missing)}): {words:,}. No "
                "model can find them, and they count as wrong."
            )
            names += sorted(set(missing) - set(names))
    ids = {label: number for number, label in enumerate(names)}
    features = Features({"tokens": List(Value("string")), "tags": List(ClassLabel(names=names))})
    return {
        split: Dataset.from_dict(
            {
                "tokens": rows["tokens"],
                "tags": [[None if label is NO_LABEL else ids[label] for label in tags] for tags in rows["tags"]],
            },
            features,
        )
        for split, rows in prepared.items()
    }


def _set_apart_validation(train: Dataset, name: str) -> dict[str, Dataset]:
    sentences = (" ".join(tokens) for tokens in values_of(train, "tokens"))
    chosen = [split_of(sentence, validation=10, test=0) == "validation" for sentence in sentences]
    if not any(chosen) or all(chosen):
        raise DataError(
            f"Dataset {name!r} has no validation split, and its {len(train)} training sentences are too few to set "
            "some apart."
        )
    return {
        "train": rows_where(train, [not is_held_out for is_held_out in chosen]),
        "validation": rows_where(train, chosen),
    }
