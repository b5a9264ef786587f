"""What a label of a text may be: a class, several labels, or a number. Each knows how it is learned and scored."""

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import numpy as np
from datasets import Dataset
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge

from ..data import DataError, map_once, values_of
from ..metrics import (
    CLASSIFICATION_SCORES,
    NUMBER_SCORES,
    SEVERAL_LABELS_SCORES,
    Score,
    classification_report,
    classification_scores,
    number_report,
    number_scores,
    puts_no_spaces,
    scores_of_labels,
    several_labels_report,
    several_labels_scores,
)
from ..training import Predictions
from ..training.bar import counted
from .reporting.results import Record, decimals, of_baseline, spread


BASELINE = "tfidf_logistic_regression"
RIDGE = "tfidf_ridge_regression"
MEAN = "mean_of_training"
COMMON_LABELS = "most_frequent_labels"
NEVER = -30.0  # the logit of a label that no training text has
MOST_WEIGHTS = 20_000_000
"""Features times classes; the solver of a logistic regression holds some twenty numbers for each."""


class Problem:
    """
    A kind of label.

    Attributes:
        name: What `--problem_type` and a model's configuration call it.
        title: What a card calls the task.
        scores: Every number that is reported.
        validated: Keys of those that each validation gives; by the first one the best model is kept by default.
        loss_name: Key of the score that is the loss of training too.
        loss_unit, score_unit: Of the learning curves.
        shown: What reports call each baseline.
        pipeline_options: What a pipeline is told behind the text, with a comma before it.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    scores: ClassVar[tuple[Score, ...]]
    validated: ClassVar[tuple[str, ...]]
    loss_name: ClassVar[str] = "loss"
    loss_unit: ClassVar[str] = "nats per example"
    score_unit: ClassVar[str] = "%"
    shown: ClassVar[dict[str, str]]
    pipeline_options: ClassVar[str] = ""

    def names(self, train: Dataset) -> list[str]:
        """Of a model's outputs, in their order."""
        raise NotImplementedError

    def config_of(self, train: Dataset) -> dict[str, Any]:
        """The fields of a model's configuration that follow from the labels of the training texts."""
        names = self.names(train)
        ids = {name: number for number, name in enumerate(names)}
        return {"id2label": dict(enumerate(names)), "label2id": ids, "problem_type": self.name}

    def as_learned(self, rows: Dataset) -> Dataset:
        """Rows whose `label` or `labels` are what a model's loss takes."""
        return rows

    def score(self, predictions: Predictions) -> dict[str, float]:
        """The scores of logits or numbers."""
        raise NotImplementedError

    def baselines(self, splits: dict[str, Dataset], split: str) -> dict[str, Callable[[], dict[str, float]]]:
        """By name, what gives the scores of a split of something that needs no such model, or none; not yet called."""
        raise NotImplementedError

    def report(self, rows: Dataset, predictions: Predictions, table: dict[str, dict[str, float]]) -> str:
        """What is printed of a split, with the scores of each model that is compared."""
        raise NotImplementedError

    def results_row(self, records: list[Record], split: str) -> dict[str, str]:
        """Cells of the table of results."""
        raise NotImplementedError


class OneClass(Problem):
    """One of two or more classes."""

    name = "single_label_classification"
    title = "Sentiment classification of texts"
    scores = CLASSIFICATION_SCORES
    validated = ("accuracy", "f1", "macro_f1", "loss")
    shown: ClassVar = {BASELINE: "TF-IDF + logistic regression"}

    def names(self, train: Dataset) -> list[str]:
        """Of the classes."""
        return train.features["label"].names

    def score(self, predictions: Predictions) -> dict[str, float]:
        """Accuracy, F1 and loss."""
        return classification_scores(*predictions)

    def baselines(self, splits: dict[str, Dataset], split: str) -> dict[str, Callable[[], dict[str, float]]]:
        """TF-IDF of words and word pairs with logistic regression, its C chosen on validation; or none."""
        return {BASELINE: partial(self._logistic_regression, splits, split)}

    def _logistic_regression(self, splits: dict[str, Dataset], split: str) -> dict[str, float]:
        features, labels = _tfidf(splits, split), _labels(splits, split)
        if features["train"].shape[1] * len(np.unique(labels["train"])) > MOST_WEIGHTS:
            return {}
        fitted = [
            LogisticRegression(C=c, max_iter=1000).fit(features["train"], labels["train"])
            for c in (0.5, 1, 2, 4, 8, 16)
        ]
        best = max(fitted, key=lambda model: model.score(features["validation"], labels["validation"]))
        logits = np.full((len(labels[split]), len(self.names(splits["train"]))), NEVER)
        logits[:, best.classes_] = best.predict_log_proba(features[split])  # of the classes that it has seen
        return {"C": best.C, **classification_scores(logits, labels[split])}

    def report(self, rows: Dataset, predictions: Predictions, table: dict[str, dict[str, float]]) -> str:
        """Scores, the confusion matrix, and the errors that it was surest of."""
        return classification_report(self.names(rows), rows["text"], *predictions, table)

    def results_row(self, records: list[Record], split: str) -> dict[str, str]:
        """Accuracy over the seeds, beside the baseline on the same split."""
        return {
            "validation": spread(record["metrics"]["validation"]["accuracy"] for record in records),
            "accuracy, %": f"{spread(record['metrics'][split]['accuracy'] for record in records)} ({split})",
            "TF-IDF + log. reg.": spread(of_baseline(records, BASELINE, split, "accuracy")),
        }


class SeveralLabels(Problem):
    """Any number of labels, each of which is learned by itself (binary relevance, Tsoumakas & Katakis 2007)."""

    name = "multi_label_classification"
    title = "Texts with several labels"
    scores = SEVERAL_LABELS_SCORES
    validated = ("micro_f1", "macro_f1", "subset_accuracy", "loss")
    loss_unit = "nats per label"
    shown: ClassVar = {BASELINE: "TF-IDF + logistic regression", COMMON_LABELS: "the most frequent set of labels"}
    pipeline_options = ", top_k=None"  # each label's probability, not the largest alone

    def names(self, train: Dataset) -> list[str]:
        """Of the labels."""
        return train.features["label"].feature.names

    def as_learned(self, rows: Dataset) -> Dataset:
        """1.0 for each label that a text has and 0.0 for the others."""
        return map_once(rows, Indicators(len(self.names(rows))), remove_columns="label")

    def score(self, predictions: Predictions) -> dict[str, float]:
        """F1 over all labels and on average, how many texts have exactly the right ones, and loss."""
        return several_labels_scores(*predictions)

    def baselines(self, splits: dict[str, Dataset], split: str) -> dict[str, Callable[[], dict[str, float]]]:
        """TF-IDF with a logistic regression per label; and the set of labels that most training texts have."""
        count = len(self.names(splits["train"]))
        labels = {part: self._dense(splits[part], count) for part in dict.fromkeys(("train", "validation", split))}
        return {
            BASELINE: lambda: self._logistic_regressions(splits, split, labels),
            COMMON_LABELS: lambda: self._most_frequent(labels["train"], labels[split]),
        }

    @staticmethod
    def _most_frequent(train: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        sets, counts = np.unique(train, axis=0, return_counts=True)
        return scores_of_labels(np.repeat(sets[[counts.argmax()]], len(labels), axis=0), labels)

    @staticmethod
    def _logistic_regressions(
        splits: dict[str, Dataset], split: str, labels: dict[str, np.ndarray]
    ) -> dict[str, float]:
        features = _tfidf(splits, split)
        logits = {c: _logits_per_label(c, features, labels["train"]) for c in (1, 4, 16)}
        best = max(
            logits, key=lambda c: several_labels_scores(logits[c]["validation"], labels["validation"])["micro_f1"]
        )
        return {"C": best, **several_labels_scores(logits[best][split], labels[split])}

    @staticmethod
    def _dense(rows: Dataset, count: int) -> np.ndarray:
        return np.array(Indicators(count)({"label": list(values_of(rows, "label"))})["labels"], dtype=np.int64)

    def report(self, rows: Dataset, predictions: Predictions, table: dict[str, dict[str, float]]) -> str:
        """Scores, those of each label, and the texts whose labels it was most wrong of."""
        return several_labels_report(self.names(rows), rows["text"], *predictions, table)

    def results_row(self, records: list[Record], split: str) -> dict[str, str]:
        """Micro F1 over the seeds, and beside it the baseline and the share of texts with all the right labels."""
        found = [record["metrics"][split] for record in records]
        return {
            "validation": spread(record["metrics"]["validation"]["micro_f1"] for record in records),
            "micro F1, %": f"{spread(scores['micro_f1'] for scores in found)} ({split})",
            "all labels right": spread(scores["subset_accuracy"] for scores in found),
            "TF-IDF + log. reg.": spread(of_baseline(records, BASELINE, split, "micro_f1")),
        }


class Number(Problem):
    """A number, such as stars, by least squares."""

    name = "regression"
    title = "Numbers for texts"
    scores = NUMBER_SCORES
    validated = ("mse", "pearson", "spearman")
    loss_name = "mse"
    loss_unit = "squared error per example"
    score_unit = "correlation, -1 to 1"
    shown: ClassVar = {RIDGE: "TF-IDF + ridge regression", MEAN: "the mean of the training texts"}

    def names(self, train: Dataset) -> list[str]:
        """Of the one output, which pipelines show."""
        return ["number"]

    def score(self, predictions: Predictions) -> dict[str, float]:
        """Squared and absolute error, and correlations."""
        return number_scores(*predictions)

    def baselines(self, splits: dict[str, Dataset], split: str) -> dict[str, Callable[[], dict[str, float]]]:
        """TF-IDF with ridge regression, chosen on validation; and the mean of the training texts for each text."""
        labels = _labels(splits, split)
        mean = np.full(len(labels[split]), labels["train"].mean())
        return {
            RIDGE: lambda: self._ridge_regression(splits, split, labels),
            MEAN: lambda: number_scores(mean, labels[split]),
        }

    @staticmethod
    def _ridge_regression(splits: dict[str, Dataset], split: str, labels: dict[str, np.ndarray]) -> dict[str, float]:
        features = _tfidf(splits, split)
        fitted = [Ridge(alpha=alpha).fit(features["train"], labels["train"]) for alpha in (0.25, 1, 4, 16)]
        best = min(
            fitted,
            key=lambda model: number_scores(model.predict(features["validation"]), labels["validation"])["mse"],
        )
        return {"alpha": best.alpha, **number_scores(best.predict(features[split]), labels[split])}

    def report(self, rows: Dataset, predictions: Predictions, table: dict[str, dict[str, float]]) -> str:
        """Scores, and the largest errors."""
        return number_report(rows["text"], *predictions, table)

    def results_row(self, records: list[Record], split: str) -> dict[str, str]:
        """Pearson's correlation and the errors over the seeds, beside the baseline."""
        found = [record["metrics"][split] for record in records]
        return {
            "validation": decimals(record["metrics"]["validation"]["pearson"] for record in records),
            "Pearson": f"{decimals(scores['pearson'] for scores in found)} ({split})",
            "MAE": decimals(scores["mae"] for scores in found),
            "TF-IDF + ridge": decimals(of_baseline(records, RIDGE, split, "pearson")),
        }


PROBLEMS = {problem.name: problem() for problem in (OneClass, SeveralLabels, Number)}
"""Each kind of label by its name."""


def problem_of(record: Record) -> Problem:
    """That of a run's record; those of before there were several kinds have classes."""
    name = (record.get("hyperparameters") or {}).get("problem_type") or OneClass.name
    return PROBLEMS.get(str(name), PROBLEMS[OneClass.name])


def every_score() -> tuple[Score, ...]:
    """The scores of all kinds, each key once."""
    found = {score.key: score for problem in reversed(PROBLEMS.values()) for score in problem.scores}
    return tuple(found.values())


class Indicators:
    """
    From lists of the numbers of labels to 1.0 for each of them and 0.0 for the others.

    Args:
        count: Of all labels.
    """

    def __init__(self, count: int):
        self.count = count

    def __call__(self, rows: dict[str, list]) -> dict[str, list]:
        """The column `labels` of a batch: of another name, or `datasets` would make whole numbers of it."""
        dense = np.zeros((len(rows["label"]), self.count))
        for row, labels in enumerate(rows["label"]):
            dense[row, labels] = 1.0
        return {"labels": dense.tolist()}


def _tfidf(splits: dict[str, Dataset], split: str) -> dict[str, Any]:
    """
    TF-IDF of the words and word pairs of the splits that a baseline needs; of up to three characters where no spaces
    part the words.

    Raises:
        DataError: Where no two training texts share any.
    """
    units = {"ngram_range": (1, 2)}
    if puts_no_spaces(values_of(splits["train"], "text")):
        units = {"ngram_range": (1, 3), "analyzer": "char"}
    try:
        vectorizer = TfidfVectorizer(**units, min_df=2).fit(values_of(splits["train"], "text"))
    except ValueError as error:
        count = counted(len(splits["train"]), "training text")
        raise DataError(f"TF-IDF needs a word that two training texts have; there is none in {count}.") from error
    parts = dict.fromkeys(("train", "validation", split))
    return {part: vectorizer.transform(values_of(splits[part], "text")) for part in parts}


def _labels(splits: dict[str, Dataset], split: str) -> dict[str, np.ndarray]:
    parts = dict.fromkeys(("train", "validation", split))
    return {part: np.array(list(values_of(splits[part], "label"))) for part in parts}


def _logits_per_label(c: float, features: dict[str, Any], labels: np.ndarray) -> dict[str, np.ndarray]:
    """By part, the logits of a logistic regression per label; of a label that all or none have, no regression."""
    found = {part: np.empty((rows.shape[0], labels.shape[1])) for part, rows in features.items()}
    for label in range(labels.shape[1]):
        right = labels[:, label]
        if right.min() == right.max():
            for logits in found.values():
                logits[:, label] = -NEVER if right[0] else NEVER
            continue
        fitted = LogisticRegression(C=c, max_iter=1000).fit(features["train"], right)
        for part, rows in features.items():
            found[part][:, label] = fitted.decision_function(rows)
    return found
