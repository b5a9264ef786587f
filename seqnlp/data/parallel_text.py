"""Loading pairs of sentences: two columns, a `translation` column as many datasets on the Hub have it, or two files
whose lines correspond."""

import re
import unicodedata
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from datasets import Dataset, DatasetDict

from .arguments import PairArguments
from .columns import dataset_of, is_blank, rows_where, texts_in_columns, values_of, without_looking_for_cycles
from .errors import DataError
from .loaded import DataSource, LoadedData
from .loading import listed, load_splits, read_twice, select_split, some_rows, trained_on_too
from .local_files import path_of
from .samples import split_of
from .tables import read_lines


SPLITS = ("train", "validation", "test")
# Names that a pair of sentences would hardly be: codes of languages, and words for the two sides.
_LANGUAGE = re.compile(r"[a-z]{2,3}([-_][A-Za-z]{2,4})?|source|target|sentence|translation|english|input|output")


class Languages(NamedTuple):
    """What source and target are called: by their columns, or by the endings of their files."""

    source: str
    target: str


@without_looking_for_cycles()
def load_translation(arguments: PairArguments) -> LoadedData:
    """
    The splits of a translation dataset, with the columns `source` and `target` (strings).

    Where there is no validation split, 10 % of the training pairs are set apart, chosen by a hash of the source, so
    that they are the same in every run and no source is in both.

    `test_split` may name several splits, joined by commas; each keeps its name. The two languages are among the
    details: they are called by their columns, or by the endings of their files.

    Raises:
        DataError: For data that does not fit, in one line that says what was found.
    """
    tests = [name.strip() for name in arguments.test_split.split(",") if name.strip()]
    unread = arguments.splits_unread("test", *tests)
    sources = {split: getattr(arguments, f"{split}_file") for split in SPLITS if split not in unread}
    targets = {split: getattr(arguments, f"{split}_target_file") for split in SPLITS if split not in unread}
    if any(targets.values()):
        splits, source, languages = _load_parallel_files(sources, targets)
        remarks = read_twice({split: path_of(sources[split]).resolve() for split in splits}, "file")
        names = {split: split for split in splits}
    else:
        files = {split: file for split, file in sources.items() if file is not None}
        asked = arguments.dataset_name, arguments.dataset_config_name, arguments.dataset_revision
        loaded = load_splits(*asked, files or None, unread=unread)
        splits, source, remarks = loaded.splits, loaded.source, loaded.remarks
        names = {"train": arguments.train_split, "validation": arguments.validation_split}
        names |= {name: name for name in tests if name not in unread}
        if files:
            names = {split: split for split in files}
        # The usual names are looked for; one that the user chose has to be there.
        names = {split: name for split, name in names.items() if name in splits or name not in ("validation", "test")}
        remarks += read_twice(names, "split")
        chosen = arguments.source_column, arguments.target_column
        train = select_split(splits, names["train"], source.name)
        languages = _find_languages(train, chosen, source.name, names["train"])

    prepared = {}
    for split, name in names.items():
        part = select_split(splits, name, source.name)
        where = f"Dataset {source.name!r}, split {name!r}"
        columns = [_texts(part, language, where) for language in languages]
        prepared[split] = _pairs(*columns, languages, where, arguments.drop_empty_texts, remarks)
    if "validation" not in prepared:
        prepared |= _set_apart_validation(prepared["train"], source.name)
    prepared = some_rows(prepared, arguments)
    order = ["train", "validation", *(split for split in prepared if split not in ("train", "validation"))]
    splits = DatasetDict({split: prepared[split] for split in order})
    remarks += trained_on_too({split: values_of(part, "source") for split, part in splits.items()}, "sources")
    return LoadedData(splits, source, details=languages._asdict(), remarks=remarks)


def _load_parallel_files(sources: dict[str, str | None], targets: dict[str, str | None]):
    splits = {}
    for split in sources:
        source, target = sources[split], targets[split]
        if (source is None) != (target is None):
            given, missing = ("", "_target") if target is None else ("_target", "")
            raise DataError(
                f"--{split}{given}_file {source or target} has nothing to go with: give --{split}{missing}_file too."
            )
        if source is None:
            continue
        lines = [read_lines(file) for file in (source, target)]
        if path_of(source).resolve() == path_of(target).resolve():
            raise DataError(f"--{split}_file and --{split}_target_file are both {source}: give one for each language.")
        if len(lines[0]) != len(lines[1]):
            raise DataError(
                f"{source} has {len(lines[0]):,} lines and {target} has {len(lines[1]):,}: line by line they must "
                "translate each other."
            )
        if not lines[0]:
            raise DataError(f"The files {source} and {target} are empty.")
        splits[split] = lines
    if "train" not in splits:
        raise DataError("There is nothing to train on: give --train_file and --train_target_file.")
    languages = Languages(_language(sources["train"], "source"), _language(targets["train"], "target"))
    if languages.source == languages.target:
        languages = Languages("source", "target")
    data = {split: Dataset.from_dict(dict(zip(languages, lines, strict=True))) for split, lines in splits.items()}
    name = f"<local:{path_of(sources['train']).resolve().name}>"
    return DatasetDict(data), DataSource(name), languages


def _language(file: str, default: str) -> str:
    ending = Path(file.removesuffix(".gz")).suffix[1:]
    return ending if 2 <= len(ending) <= 8 and ending not in ("txt", "text") else default


def _find_languages(train: Dataset, chosen: tuple[str | None, str | None], name: str, split: str) -> Languages:
    """The columns, or keys of the `translation` column, that were asked for; else the only two there are."""
    nested = _translation_keys(train)
    kinds = {column: getattr(feature, "dtype", None) for column, feature in train.features.items()}
    known = nested or [column for column, kind in kinds.items() if kind in ("string", "large_string")]
    inside = " in its column translation" if nested else ""
    where = f"Dataset {name!r}, split {split!r}"
    if chosen == (None, None) and len(known) == 2:
        if _is_table(name) and not all(map(_LANGUAGE.fullmatch, known)):
            raise DataError(
                f"{where}: its first row is {known[0]!r} and {known[1]!r}. If these are the names of its columns, say "
                "so by --source_column and --target_column; if they are a pair, put a row of names such as en and de "
                "on top."
            )
        return Languages(*known)
    for flag, column in zip(("source_column", "target_column"), chosen, strict=True):
        if column is None:
            raise DataError(
                f"{where} has {', '.join(known) or f'no texts, but {listed(train.column_names)}'}{inside}: say by "
                f"--{flag} which of them is the {flag.split('_')[0]}."
            )
        if column not in known and (nested or column not in train.column_names):
            raise DataError(
                f"{where}: there is no {flag.replace('_', ' ')} {column!r}{inside}; there is "
                f"{', '.join(nested or train.column_names)}. Name the right one by --{flag}."
            )
    if chosen[0] == chosen[1]:
        raise DataError(f"--source_column and --target_column are both {chosen[0]!r}: name two columns.")
    return Languages(*chosen)


def _is_table(name: str) -> bool:
    """Whether the columns' names were the first row of a file, which may have been data."""
    return any(ending in name.lower() for ending in (".csv", ".tsv"))


def _translation_keys(part: Dataset) -> list[str]:
    if "translation" not in part.column_names:
        return []
    first = next((row for row in values_of(part, "translation") if row is not None), None)
    return list(first) if isinstance(first, dict) else []


def _texts(part: Dataset, language: str, where: str) -> list[Any]:
    nested = _translation_keys(part)
    known = nested or part.column_names
    if language not in known:
        raise DataError(
            f"{where}: there is no column {language!r}; there is {', '.join(known)}. Every split must have the "
            "columns of the training split."
        )
    if nested:
        return [(row or {}).get(language) for row in values_of(part, "translation")]
    return list(values_of(part, language))


def _pairs(
    sources: list, targets: list, languages: Languages, where: str, drop_empty: bool, remarks: list[str]
) -> Dataset:
    empty = {}
    for language, texts in zip(languages, (sources, targets), strict=True):
        wrong = next((text for text in texts if text is not None and not isinstance(text, str)), None)
        if wrong is not None:
            raise DataError(
                f"{where}, column {language!r}: expected strings, found a {type(wrong).__name__} ({str(wrong)[:40]}). "
                "Name the columns of the sentences by --source_column and --target_column."
            )
        empty |= {row: language for row, text in enumerate(texts) if text is None or is_blank(text)}
    if empty and not drop_empty:
        row = min(empty)
        raise DataError(
            f"{where}: {len(empty)} of {len(sources)} pairs have an empty sentence (first in row {row}, column "
            f"{empty[row]!r}). Remove them, or leave them out by --drop_empty_texts."
        )
    kept = [row for row in range(len(sources)) if row not in empty]
    if not kept:
        raise DataError(f"{where}: all {len(sources)} pairs have an empty sentence.")
    if empty:
        remarks.append(f"{where}: {len(empty)} of {len(sources)} pairs have an empty sentence and are left out.")
    sides, apart = {}, 0
    for side, texts in (("source", sources), ("target", targets)):
        sides[side] = [unicodedata.normalize("NFC", texts[row]) for row in kept]
        apart += sum(texts[row] != read for row, read in zip(kept, sides[side], strict=True))
    if apart:
        remarks.append(f"{where}: sentences with accents written as marks of their own, read in NFC: {apart:,}.")
    same = sum(source == target for source, target in zip(*sides.values(), strict=True))
    if same > len(kept) / 2:
        remarks.append(f"{where}: {same:,} of {len(kept):,} pairs are the same on both sides.")
    return dataset_of(pa.table(texts_in_columns(sides)))


def _set_apart_validation(train: Dataset, name: str) -> dict[str, Dataset]:
    is_validation = [split_of(text, validation=10, test=0) == "validation" for text in values_of(train, "source")]
    if not any(is_validation) or all(is_validation):
        raise DataError(
            f"Dataset {name!r} has no validation split, and its {len(train)} training pairs are too few to set some "
            "apart."
        )
    return {
        "train": rows_where(train, [not chosen for chosen in is_validation]),
        "validation": rows_where(train, is_validation),
    }
