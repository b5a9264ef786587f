"""
The one reader of local files. docs/data.md states its rules: every file is UTF-8, a name is never a pattern, a cell is
what it says (the words `None` and `NA` too), and a column is of numbers only if all of its cells are.
"""

import csv
import glob
import gzip
import json
import re
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset, Features, IterableDataset, Value, load_dataset

from .columns import dataset_of, texts_in_columns, without_looking_for_cycles
from .errors import DataError
from .local_files import LONGEST_MARK, MARK, check_file, check_kind, path_of, told_of_pointer


LONGEST_NAME = 60  # characters of a column's name
ROWS_AT_ONCE = 10_000

# Only what is written the usual way is a number: 007, 1_000 and 2024-01 are words.
_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,17}")
_NUMBER = re.compile(r"[+-]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
# And what float64 holds: of a whole number with more digits, such as an id, it would change the last ones.
_FLOAT = re.compile(rf"(?![+-]?[0-9]{{16,}}\Z){_NUMBER.pattern}")
_SENTENCE_END = re.compile(r"[.!?…。\uff01\uff1f]$")
_QUOTED_CELL = re.compile(r'"((?:[^"]|"")*)"(?=[\t\n]|\Z)|([^\t\n]*)')
_FIRST_LINE = re.compile(r"\n*([^\n]*)")
_DELIMITER_LINE = re.compile(r"(?i)sep=([,;|\t])[ \t]*")  # which a spreadsheet writes on top


@without_looking_for_cycles()
def read_file(file: str, whole: bool = False, words: Collection[str] = ()) -> tuple[Dataset, list[str]]:
    """
    The rows of a json, jsonl, csv, tsv, parquet or txt file, gzipped or not, and remarks on how they were read.

    Args:
        file: Its name, which is never a pattern.
        whole: Whether a txt file is one row, instead of each of its lines.
        words: Columns of a table that hold words, though all cells of this file may be numbers.

    Raises:
        DataError: If there is no such file, or it cannot be read by the rules, in one line that says where and why.
    """
    path = path_of(file)
    kind = check_file(file)
    if kind == "parquet":
        return _read_parquet(file, path), []
    text = read_text(file)
    if kind == "text":
        rows = [text] if whole else lines_of(text)
        return dataset_of(pa.table(texts_in_columns({"text": rows}))), []
    if kind == "json":
        return _read_json(file, text, ".jsonl" in path.name.lower(), words)
    return _read_delimited(file, text, "\t" if kind == "tsv" else ",", words)


def read_text(file: str) -> str:
    """
    The text of a UTF-8 file, gzipped or not, without a byte order mark and with `\\n` for every line break.

    Raises:
        DataError: If it cannot be read, or is in another encoding.
    """
    path = path_of(file)
    try:
        content = path.read_bytes()
        if path.suffix.lower() == ".gz":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"The file {file!r} cannot be read: {error}.") from error
    check_kind(file, content)
    try:
        text = content.decode("utf-8").lstrip(MARK)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(
            f"The file {file!r} cannot be read as UTF-8: line {line} holds the byte 0x{content[error.start]:02x}. "
            "Save it as UTF-8, e.g. by `iconv -f CP1252 -t UTF-8`."
        ) from error
    if "\0" in text:
        line = content[: content.index(b"\0")].count(b"\n") + 1
        raise DataError(
            f"The file {file!r} holds NUL characters (first in line {line}), which no text has: it is UTF-16 without "
            "a mark, of which `iconv -f UTF-16LE -t UTF-8` makes UTF-8, or no text at all."
        )
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text


def stream_file(file: str, whole: bool = False) -> IterableDataset:
    """
    The rows of a file as they are needed, by the same rules; but all cells of a table are strings, and quotes are
    ordinary characters in every TSV file. The columns are those of the first row.

    Raises:
        DataError: As [`read_file`], for a row when it is read.
    """
    kind = check_file(file)
    first = next(_stream(kind, [file], whole), None)
    if first is None:
        raise DataError(f"The file {file!r} has no rows.")
    # Of no kind: values stay what they are. Of the first row's kinds `datasets` would make words of numbers and lists,
    # and stop at a column, though it is not read, whose kind changes.
    features = Features({name: Value("null") for name in first})
    arguments = {"kind": kind, "files": [file], "whole": whole, "names": tuple(first)}
    return IterableDataset.from_generator(_stream, features=features, gen_kwargs=arguments)


def _stream(
    kind: str, files: list[str], whole: bool, names: tuple[str, ...] | None = None
) -> Iterator[dict[str, Any]]:
    for file in files:
        path = path_of(file)
        if kind == "parquet":
            yield from _stream_parquet(file, path)
            continue
        if kind == "text" and whole:
            yield {"text": read_text(file)}
            continue
        opened = gzip.open if path.suffix.lower() == ".gz" else open
        try:
            with opened(path, "rb") as content:
                check_kind(file, content.read(LONGEST_MARK))
            with opened(path, "rt", encoding="utf-8") as lines:
                for row in _stream_rows(kind, file, _without_mark(lines)):
                    yield row if names is None else {name: row.get(name) for name in names}
        except UnicodeDecodeError as error:
            raise DataError(f"The file {file!r} cannot be read as UTF-8: {error.reason}.") from error
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"The file {file!r} cannot be read: {error}.") from error


def _stream_parquet(file: str, path: Path) -> Iterator[dict[str, Any]]:
    try:
        for batch in pq.ParquetFile(path).iter_batches():
            yield from batch.to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise _no_parquet(file, path, error) from error


def _no_parquet(file: str, path: Path, error: Exception) -> DataError:
    """What to say of a file that cannot be read: it may only point to the one that is meant."""
    with suppress(OSError), path.open("rb") as content:
        if pointer := told_of_pointer(content.read(LONGEST_MARK)):
            return DataError(f"The file {file!r} {pointer}.")
    reason = " ".join(str(error.__cause__ or error).split())[:200]
    return DataError(f"The file {file!r} cannot be read as parquet: {reason}")


def _without_mark(lines: TextIO) -> Iterator[str]:
    yield next(lines, "").lstrip(MARK)
    yield from lines


def _stream_rows(kind: str, file: str, lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    if kind == "text":
        yield from ({"text": line.rstrip("\n")} for line in lines)
    elif kind == "json":
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line, object_pairs_hook=_object)
            except (ValueError, RecursionError):
                row = None
            if not isinstance(row, dict):
                raise DataError(f"The file {file!r} cannot be streamed: line {number} is no json object.")
            if "\\ud" in line.lower() and _is_broken(row):
                raise DataError(f"The file {file!r}, line {number}: {_HALF_A_CHARACTER}")
            yield row
    else:
        if kind == "csv":
            table = _cells_with_quotes(file, lines, ",")
        else:
            table = _cells_between_tabs(lines)
        header = next(table, (1, []))[1]
        _check_header(file, header)
        for number, cells in table:
            _square(file, header, [cells], [number])
            if not _repeats(header, cells):
                yield {name.strip(): cell or None for name, cell in zip(header, cells, strict=True)}


def read_lines(file: str) -> list[str]:
    """
    The lines of a UTF-8 file of any name, gzipped or not.

    Raises:
        DataError: If there is no such file, or it cannot be read.
    """
    if not path_of(file).is_file():
        raise DataError(f"There is no file {file!r}.")
    return lines_of(read_text(file))


def lines_of(text: str) -> list[str]:
    """The lines of a text; the last one's end begins no other."""
    # Not splitlines(), which also breaks lines at characters that sentences contain, such as U+2028.
    lines = text.split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def _each_line(text: str) -> Iterator[str]:
    """The same one after the other, each with its line break."""
    start = 0
    while start < len(text):
        end = text.find("\n", start) + 1 or len(text)
        yield text[start:end]
        start = end


def _read_parquet(file: str, path: Path) -> Dataset:
    try:
        if pq.read_metadata(path).num_rows:  # an error of it says less than one of `datasets`, with its traceback
            return load_dataset("parquet", data_files={"train": [glob.escape(str(path))]}, split="train")
    except Exception as error:
        raise _no_parquet(file, path, error) from error
    raise DataError(f"The file {file!r} has no rows.")


def _read_json(file: str, text: str, is_lines: bool, words: Collection[str]) -> tuple[Dataset, list[str]]:
    """An object per line; or, in a file that ends in .json, one list of objects or one object of columns."""
    rows = None if is_lines else _json_rows(file, text)
    values: dict[str, list] = {}
    count = 0
    for row in _json_lines(file, text) if rows is None else rows:
        if not isinstance(row, dict):
            raise DataError(
                f'The file {file!r}, row {count}: expected an object such as {{"text": ...}}, found a '
                f"{type(row).__name__}."
            )
        for name in row:
            if name not in values:
                values[name] = [None] * count
        for name, column in values.items():
            column.append(row.get(name))
        count += 1
    if not count:
        raise DataError(f"The file {file!r} has no rows.")
    remarks: list[str] = []
    columns = {name: _json_column(file, name, values.pop(name), name in words, remarks) for name in list(values)}
    return dataset_of(pa.table(columns)), remarks


class _TwiceError(ValueError):
    """An object in which a name stands twice."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of a row, in which each name stands once: the reader of Python would keep the last of its values."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _TwiceError(f"the name {next(name for name in names if names.count(name) > 1)!r} stands there twice")
    return found


def _json_lines(file: str, text: str) -> Iterator[Any]:
    for number, line in enumerate(_each_line(text), start=1):
        try:
            if line.strip():
                yield json.loads(line, object_pairs_hook=_object)
        except RecursionError as error:
            raise DataError(f"The file {file!r}, line {number}: its json is nested too deeply.") from error
        except ValueError as error:
            reason = getattr(error, "msg", error)
            raise DataError(f"The file {file!r} cannot be read as json: line {number}: {reason}.") from error


def _json_rows(file: str, text: str) -> list | None:
    """The rows of one list, or of one object whose values are lists of one length; `None` for a file of lines."""
    try:
        whole = json.loads(text, object_pairs_hook=_object)
    except _TwiceError as error:
        raise DataError(f"The file {file!r} cannot be read as json: {error}.") from error
    except (ValueError, RecursionError):
        return None
    if isinstance(whole, list):
        return whole
    if not isinstance(whole, dict) or not whole:
        return None
    has_columns = all(isinstance(value, list) for value in whole.values())
    if not has_columns or len({len(value) for value in whole.values()}) > 1:
        if "\n" in text.strip():
            raise DataError(
                f"The file {file!r} is one json object, of {', '.join(map(repr, list(whole)[:5]))}: expected a list "
                "of objects, an object of lists of one length, or an object per line."
            )
        return None
    return [dict(zip(whole, row, strict=True)) for row in zip(*whole.values(), strict=True)]


def _json_column(
    file: str, name: str, values: list, are_words: bool, remarks: list[str]
) -> pa.ChunkedArray | pa.Array:
    try:
        return _words(values) if are_words and _are_single(values) else pa.array(values)
    except UnicodeEncodeError as error:
        row = next(row for row, value in enumerate(values) if _is_broken(value))
        raise DataError(f"The file {file!r}, row {row}, column {name!r}: {_HALF_A_CHARACTER}") from error
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, pa.ArrowNotImplementedError) as error:
        kinds = sorted({type(value).__name__ for value in values if value is not None})
        if not _are_single(values):
            raise DataError(
                f"The file {file!r}, column {name!r}: its rows hold things of several kinds ({', '.join(kinds)}). "
                "Write it alike in all of them, or leave it out."
            ) from error
        remarks.append(f"{Path(file).name}, column {name!r}: it holds {' and '.join(kinds)}; all are read as words.")
        return _words(values)


def _are_single(values: list) -> bool:
    return all(isinstance(value, str | int | float | None) for value in values)


def _words(values: list) -> pa.Array:
    return pa.array([None if value is None else str(value) for value in values])


_HALF_A_CHARACTER = (
    "it holds half a character (a lone surrogate), which is no text. Write the file anew with whole characters."
)


def _is_broken(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def _read_delimited(file: str, text: str, delimiter: str, words: Collection[str]) -> tuple[Dataset, list[str]]:
    """The table and remarks; rows become columns as they come, which takes a fraction of the memory."""
    name, remarks = Path(file).name, []
    if delimiter == ",":
        text, delimiter = _delimiter_of(text)
        if delimiter != ",":
            written = {";": "semicolons", "\t": "tabs", "|": "bars"}[delimiter]
            remarks.append(f"{name}: its columns are separated by {written}, not by commas.")
    if delimiter == "\t":
        table = _cells_of_tsv(text)
    else:
        table = _cells_with_quotes(file, _each_line(text), delimiter)
    _, header = next(table, (1, []))
    columns = [_Cells() for _ in header]
    count, first, spanning, uneven, repeated = 0, 1, 0, [0, 0], []
    while part := list(islice(table, ROWS_AT_ONCE)):
        repeated += [line for line, cells in part if _repeats(header, cells)]
        part = [(line, cells) for line, cells in part if not (repeated and _repeats(header, cells))]
        if not part:
            continue
        lines, rows = zip(*part, strict=True)
        uneven = [sum(both) for both in zip(uneven, _square(file, header, rows, lines), strict=True)]
        first, count = first if count else lines[0], count + len(rows)
        spanning = spanning or next((at for at, cells in part if "\n" in "".join(cells)), 0)
        for column, cells in zip(columns, zip(*rows, strict=True), strict=True):
            column.add(cells)
    if not count:
        raise DataError(f"The file {file!r} has no rows under its line of column names.")
    remarks += [f"{name}: {few:,} of {count:,} rows {what}" for few, what in zip(uneven, _UNEVEN, strict=True) if few]
    _check_header(file, header)
    in_file = sum(1 for line in islice(_each_line(text), first - 1, None) if line.strip(" \n"))
    if spanning:
        remarks.append(
            f"{name}: {in_file:,} lines make {count:,} rows, since some cells hold line breaks (first in line "
            f"{spanning})."
        )
    elif in_file > count + len(repeated):
        blank = in_file - count - len(repeated)
        remarks.append(f"{name}: {blank:,} of {in_file:,} rows have blank cells alone and are left out.")
    if repeated:
        remarks.append(
            f"{name}: rows that repeat the names of the columns, left out: {len(repeated):,} (first in line "
            f"{repeated[0]})."
        )
    if spaced := sum(column.spaced for column in columns if delimiter != "\t"):
        remarks.append(
            f"{name}: cells that begin with a space and a quote: {spaced:,}; such quotes are characters, and do not "
            "mark a cell."
        )
    named = zip(_column_names(header, columns), columns, strict=True)
    typed = {name: column.typed(as_words=name in words) for name, column in named if name is not None}
    return dataset_of(pa.table(typed)), remarks


def _delimiter_of(text: str) -> tuple[str, str]:
    """The text without a first line that only says what separates the columns of a csv file; and what does."""
    found = _FIRST_LINE.match(text)
    first = found.group(1)
    if said := _DELIMITER_LINE.fullmatch(first):
        return "\n" * found.start(1) + text[found.end() :], said.group(1)  # the lines keep their numbers
    return text, next((mark for mark in (";", "\t") if mark in first and "," not in first), ",")


def _repeats(header: list[str], cells: list[str]) -> bool:
    """Whether a row is the row of names once more, as where files were put behind each other."""
    if len(header) < 2 or len(cells) != len(header) or cells[0].lstrip(MARK).strip() != header[0].strip():
        return False
    return all(cell.strip() == name.strip() for cell, name in zip(cells[1:], header[1:], strict=True))


def _cells_with_quotes(file: str, lines: Iterable[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Rows by RFC 4180, each with the line in which it begins."""
    limit = csv.field_size_limit(2**31 - 1)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    line = 1
    try:
        for cells in reader:
            if any(cell.strip(" ") for cell in cells):
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"The file {file!r}, line {line}: {error}. A cell that begins with a quote must end with one, and quotes "
            'inside of it are doubled ("").'
        ) from error
    finally:
        csv.field_size_limit(limit)


def _cells_of_tsv(text: str) -> Iterator[tuple[int, list[str]]]:
    """Rows of cells between tabs, each with its line; quotes are ordinary characters, unless a program wrote them."""
    quoted = _written_with_quotes(text) if '"' in text else None
    return iter(quoted) if quoted else _cells_between_tabs(_each_line(text))


def _cells_between_tabs(lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(lines, start=1):
        if line.strip(" \t\n"):
            yield number, line.removesuffix("\n").split("\t")


def _written_with_quotes(text: str) -> list[tuple[int, list[str]]] | None:
    """
    The rows of a TSV file in which quotes mark cells, as spreadsheets and pandas write them; `None` for another.

    They do if every cell that holds a quote is a well-formed quoted cell, and each of these either needs its quotes,
    or stands in a column all of whose cells are quoted; and tabs or line breaks within quotes count only if without
    them the lines would not have the same number of cells.
    """
    rows: list[tuple[int, list[tuple[str, bool]]]] = []
    cells: list[tuple[str, bool]] = []
    start = line = 1
    at = 0
    while at <= len(text):
        match = _QUOTED_CELL.match(text, at)
        is_quoted = match.group(1) is not None
        if not is_quoted and '"' in match.group(2):
            return None
        cells.append((match.group(1).replace('""', '"') if is_quoted else match.group(2), is_quoted))
        line += match.group().count("\n")
        at = match.end() + 1
        if match.end() == len(text) or text[match.end()] == "\n":
            if any(cell.strip(" ") for cell, _ in cells):
                rows.append((start, cells))
            cells, line = [], line + 1
            start = line
    tabs = {line.count("\t") for line in lines_of(text) if line.strip(" ")}
    if len(tabs) == 1 and any("\t" in cell or "\n" in cell for _, row in rows for cell, _ in row):
        return None
    needless = {
        place
        for _, row in rows[1:]
        for place, (cell, is_quoted) in enumerate(row)
        if is_quoted and not any(mark in cell for mark in '\t\n"')
    }
    for _, row in rows[1:]:
        if any(place < len(row) and row[place][0] and not row[place][1] for place in needless):
            return None
    return [(number, [cell for cell, _ in row]) for number, row in rows]


_UNEVEN = ("end in blank cells without a column: dropped.", "have fewer cells than columns; the rest are blank.")


def _square(file: str, header: list[str], rows: Iterable[list[str]], lines: Iterable[int]) -> tuple[int, int]:
    """
    Give every row the header's length: blank cells at its end are dropped or added, others refused. How many were
    longer and shorter is given back.
    """
    width, longer, shorter = len(header), 0, 0
    for line, cells in zip(lines, rows, strict=True):
        if len(cells) > width:
            if any(cell.strip() for cell in cells[width:]):
                raise DataError(
                    f"The file {file!r}, line {line}: it has {len(cells)} cells, and the line of column names has "
                    f"{width}. In csv, cells that hold the delimiter stand in quotes; in tsv, cells hold no tabs."
                )
            del cells[width:]
            longer += 1
        elif len(cells) < width:
            cells += [""] * (width - len(cells))
            shorter += 1
    return longer, shorter


def _check_header(file: str, header: list[str]) -> None:
    """Refuse a first row that is data, so that it is never taken for names and lost."""
    names = [name.strip() for name in header]
    for place, name in enumerate(names):
        why = None
        if _NUMBER.fullmatch(name):
            why = "is a number"
        elif len(name) > LONGEST_NAME:
            why = f"is longer than {LONGEST_NAME} characters"
        elif _SENTENCE_END.search(name):
            why = "ends like a sentence"
        elif name and name in names[:place]:
            why = "stands there twice"
        if why:
            raise DataError(
                f"The file {file!r}: its first row must hold the names of the columns, and {name[:40]!r} {why}. Put a "
                "row of names on top, one per column."
            )


def _column_names(header: list[str], columns: list["_Cells"]) -> list[str | None]:
    """The names; a column without one is left out where it is blank, else called by its place."""
    names = [name.strip() for name in header]
    for place, name in enumerate(names):
        if not name:
            names[place] = None if columns[place].is_blank else f"column {place + 1}"
    return names


class _Cells:
    """A column of a table as it is read: whole numbers if all cells are, else numbers if all are, else strings."""

    def __init__(self):
        self.is_blank = True
        self.spaced = 0  # that begin with a space and a quote
        self._parts: list[pa.Array] = []
        self._kinds = [(_WHOLE, pa.int64(), int), (_FLOAT, pa.float64(), float)]  # what it may be so far

    def add(self, cells: Sequence[str]) -> None:
        """Some more cells; an empty one is missing."""
        filled = list(filter(None, cells))
        self.is_blank = self.is_blank and not any(cell.strip() for cell in filled)
        if ' "' in "\n".join(filled):
            self.spaced += sum(cell[0] == " " and cell.lstrip(" ").startswith('"') for cell in filled)
        self._kinds = [kind for kind in self._kinds if all(map(kind[0].fullmatch, filled))]
        self._parts.append(pa.array([cell or None for cell in cells], pa.string()))

    def typed(self, as_words: bool = False) -> pa.ChunkedArray:
        """The whole column; of strings if it is to be one of words."""
        if as_words or not self._kinds or not any(part.null_count < len(part) for part in self._parts):
            return pa.chunked_array(self._parts, pa.string())
        _, kind, convert = self._kinds[0]
        return pa.chunked_array([_as_numbers(part, kind, convert) for part in self._parts], kind)


def _as_numbers(cells: pa.Array, kind: pa.DataType, convert: type) -> pa.Array:
    try:
        return cells.cast(kind)
    except pa.ArrowInvalid:  # Python reads what Arrow does not, such as +5 and 1e400
        return pa.array([cell if cell is None else convert(cell) for cell in cells.to_pylist()], kind)
