"""Scores of taggers: words whose label is right, and entities that are found whole, as CoNLL's `conlleval` counts."""

from collections import Counter
from collections.abc import Iterable, Sequence

import datasets
import numpy as np
from seqeval.metrics.sequence_labeling import get_entities, precision_recall_fscore_support
from tabulate import tabulate

from .score import ONE_EXAMPLE, OfflineMetric, Score


Labels = Sequence[Sequence[str]]
OUTSIDE = "O"
_SCHEMES = {"IOB": "BI", "IOBES": "BIES", "BILOU": "BILU"}
_TO_IOBES = {"L-": "E-", "U-": "S-"}


class _LabelMetric(OfflineMetric):
    """What compares the labels of words with the right ones."""

    inputs = "\nArgs:\n    predictions: Labels per sentence.\n    references: The right ones.\n"
    columns = datasets.Features(
        dict.fromkeys(("predictions", "references"), datasets.Sequence(datasets.Value("string")))
    )


class WordAccuracy(_LabelMetric):
    """The share of the words whose label is right; predictions and references are lists of labels per sentence."""

    scores = (
        Score(
            "accuracy",
            "Accuracy",
            "share of the words whose label is the right one, of {classes} labels",
            greater_is_better=True,
            is_share=True,
            digits=1,
            weight_of_an_example=ONE_EXAMPLE,
        ),
    )

    def _compute(self, predictions, references) -> dict[str, float]:
        rows = zip(predictions, references, strict=True)
        right = [p == r for row, wanted in rows for p, r in zip(row, wanted, strict=True)]
        return {"accuracy": sum(right) / len(right)}


class EntityF1(_LabelMetric):
    """
    Precision, recall and F1 of entities: one is right if its first and last word and its type are (Tjong Kim Sang & De
    Meulder 2003, section 2.3), counted over all types by seqeval (Nakayama 2018), which agrees with `conlleval`.

    There, an entity also begins where `I-` follows another type or `O`. `L-` and `U-` are read as `E-` and `S-`.
    """

    scores = tuple(
        Score(
            key,
            name,
            f"{what}, an entity being right if its words and its type are, as conlleval counts (seqeval)",
            greater_is_better=True,
            is_share=True,
            digits=1,
            weight_of_an_example=ONE_EXAMPLE,
        )
        for key, name, what in (
            ("f1", "Entity F1", "harmonic mean of precision and recall of entities"),
            ("precision", "Precision", "share of the entities found that are right"),
            ("recall", "Recall", "share of the entities there are that are found"),
        )
    )

    software = "https://github.com/chakki-works/seqeval"

    def _compute(self, predictions, references) -> dict[str, float]:
        found, wanted = ([_to_iobes(row) for row in rows] for rows in (predictions, references))
        precision, recall, f1, _ = precision_recall_fscore_support(wanted, found, average="micro", zero_division=0)
        return {"f1": float(f1), "precision": float(precision), "recall": float(recall)}


UNSEEN_ACCURACY = Score(
    "unseen_accuracy",
    "Accuracy on unseen words",
    "the same share of the words that are not among the training words",
    greater_is_better=True,
    is_share=True,
    digits=1,
    weight_of_an_example=10 * ONE_EXAMPLE,  # of some ten words one is unseen
)
WORD_LOSS = Score("loss", "Loss", "mean cross-entropy of a word, in nats", greater_is_better=False, unit="nats")
TAGGING_SCORES = (*EntityF1.scores, *WordAccuracy.scores, UNSEEN_ACCURACY, WORD_LOSS)


def entity_scheme(labels: Iterable[str]) -> str | None:
    """
    The scheme by which labels mark entities: `"IOB"`, `"IOBES"` or `"BILOU"`; `None` if they do not.

    They do if `O` is among them and each other one is a letter of the scheme, a hyphen and a type, of which one begins
    or continues an entity. Whether `B-` opens every entity (IOB2) or one right behind another of its type (IOB1) makes
    no difference to what is counted.
    """
    labels = set(labels)
    others = labels - {OUTSIDE}
    if OUTSIDE not in labels or not others:
        return None
    if any(len(label) < 3 or label[1] != "-" for label in others):
        return None
    letters = {label[0] for label in others}
    if not letters & {"B", "I"}:
        return None
    return next((name for name, known in _SCHEMES.items() if letters <= set(known)), None)


def strays_among_entities(labels: Iterable[str]) -> list[str]:
    """The labels without which the others would mark entities, such as `X` beside `O`, `B-PER` and `I-PER`."""
    labels = list(labels)
    letters = set().union(*_SCHEMES.values())
    strays = [
        name for name in labels if name != OUTSIDE and not (name[1:2] == "-" and name[0] in letters and name[2:])
    ]
    return strays if entity_scheme(name for name in labels if name not in strays) else []


def entities_of(labels: Sequence[str]) -> list[tuple[str, int, int]]:
    """Type, first word and last word of each entity that the labels of a text mark, in any of the schemes."""
    return get_entities(_to_iobes(labels))


def _to_iobes(labels: Sequence[str]) -> list[str]:
    return [_TO_IOBES.get(label[:2], label[:2]) + label[2:] for label in labels]


def tagging_scores(
    predicted: Labels,
    right: Labels,
    unseen: Sequence[Sequence[bool]],
    scheme: str | None,
    nats: float | None = None,
) -> dict[str, float]:
    """
    The scores of a tagger: `accuracy`, `unseen_accuracy` where a word is unseen, `f1`, `precision` and `recall` where
    there are entities, and `loss`.

    Args:
        predicted: Of each sentence the predicted labels.
        right: The right ones.
        unseen: Of each word whether training has it not.
        scheme: By which all labels of the data mark entities, see [`entity_scheme`]; those of one split may not tell.
        nats: The mean cross-entropy of a word, if there is one.
    """
    scores = WordAccuracy().compute(predictions=predicted, references=right)
    hits = [
        p == r
        for row, wanted, new in zip(predicted, right, unseen, strict=True)
        for p, r, is_new in zip(row, wanted, new, strict=True)
        if is_new
    ]
    if hits:
        scores["unseen_accuracy"] = sum(hits) / len(hits)
    if scheme and any(label != OUTSIDE for row in right for label in row):
        scores = {**EntityF1().compute(predictions=predicted, references=right), **scores}
    return scores if nats is None else {**scores, "loss": nats}


def tagging_report(
    words: Sequence[Sequence[str]],
    predicted: Labels,
    right: Labels,
    scheme: str | None,
    scores: dict[str, dict[str, float]],
    num_confusions: int = 8,
) -> str:
    """
    Scores side by side, each label's or each entity type's precision, recall and F1, and what is confused most.

    Args:
        words: Of each sentence the words.
        predicted: The predicted labels.
        right: The right ones.
        scheme: By which all labels of the data mark entities.
        scores: For each model that is compared, its scores.
        num_confusions: How many pairs of labels are shown.
    """
    keys = [
        score for score in TAGGING_SCORES if not score.unit and any(score.key in found for found in scores.values())
    ]
    compared = [[model, *(score.shown(found.get(score.key)) for score in keys)] for model, found in scores.items()]
    confused = Counter()
    examples: dict[tuple[str, str], str] = {}
    for row, found, wanted in zip(words, predicted, right, strict=True):
        for word, p, r in zip(row, found, wanted, strict=True):
            if p != r:
                confused[r, p] += 1
                examples.setdefault((r, p), word)
    pairs = [(*pair, f"{count:,}", examples[pair]) for pair, count in confused.most_common(num_confusions)]
    of_what = f"Entities by type (labels in the scheme {scheme})" if scheme else "Labels"
    parts = [
        f"{sum(map(len, right)):,} words in {len(right):,} sentences",
        tabulate(compared, headers=["model", *(score.name for score in keys)], disable_numparse=True),
        of_what,
        tabulate(
            _by_type(predicted, right, scheme),
            headers=["", "precision", "recall", "F1", "number"],
            disable_numparse=True,
        ),
        f"The {len(pairs)} most frequent confusions, with the first word of each",
        tabulate(pairs, headers=["right", "predicted", "words", "e.g."], disable_numparse=True),
    ]
    return "\n\n".join(parts)


def _by_type(predicted: Labels, right: Labels, scheme: str | None) -> list[list[str]]:
    if scheme:
        found, wanted = ([_to_iobes(row) for row in rows] for rows in (predicted, right))
        names = sorted({label[2:] for rows in (found, wanted) for row in rows for label in row if label != OUTSIDE})
        columns = precision_recall_fscore_support(wanted, found, average=None, zero_division=0)
        columns = np.array(columns)
    else:
        pairs = Counter(
            (p, r) for row, gold in zip(predicted, right, strict=True) for p, r in zip(row, gold, strict=True)
        )
        names = sorted({name for pair in pairs for name in pair})
        hits = np.array([pairs[name, name] for name in names])
        said = np.array([sum(count for (p, _), count in pairs.items() if p == name) for name in names])
        number = np.array([sum(count for (_, r), count in pairs.items() if r == name) for name in names])
        precision, recall = hits / np.maximum(said, 1), hits / np.maximum(number, 1)
        f1 = 2 * hits / np.maximum(said + number, 1)
        columns = np.array([precision, recall, f1, number])
    return [
        [name, *(f"{value:.1%}" for value in row[:3]), f"{int(row[3]):,}"]
        for name, row in zip(names, columns.T, strict=True)
    ]
