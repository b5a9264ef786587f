"""Translation: from a sentence in one language to the same in another."""

import json
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from datasets import Dataset
from transformers import (
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from ..data import (
    LoadedData,
    PairArguments,
    PairCollator,
    cut_long_texts,
    lengths_of,
    load_translation,
    pair_lengths,
    tokenize_pairs,
)
from ..metrics import (
    BLEU,
    BLEU_TOKENIZERS,
    ROUGE,
    ChrF,
    NegativeLogLikelihood,
    Score,
    bleu_tokenizer,
    lacking_package,
    translation_report,
    translation_scores,
)
from ..models import RecurrentSeq2SeqForConditionalGeneration, TransformerForConditionalGeneration
from ..models.cells import GRUCell
from ..training import ArgumentsError, Run, TrainingArguments, TrainingLoop, WeightAverager
from ..training.batches import Batch
from ..training.evaluation import Evaluator
from ..training.flags import flag, flag_as_in
from ..training.optimizers import OPTIMIZERS
from ..visualization import plot_bleu_by_length
from .arguments import TRANSFORMER, TextModelArguments, WritingArguments
from .base import OF_ITS_DATA, Outcome, PreparedData, Task
from .reporting.results import Link, Record, dataset_of
from .reporting.translation_results import PUBLISHED, TESTS, bleu_of, draw_bleu_by_length, translation_section
from .reporting.unknown import shown_unknown, tell_unknown
from .starting.starting_model import end_texts, give_ends, is_ours, load_tokenizer, positions_of


BLEU_DISTANCE = 5.0
"""BLEU between two points of time that a run notes."""
CASED = ("bleu", "chrf")
"""Scores of text as it is written."""
TARGET_TOKENIZER = "target_tokenizer"
"""The folder of the second tokenizer of a translator with two vocabularies."""


@dataclass
class TranslationModelArguments(TextModelArguments):
    """What translates."""

    architecture: str = flag_as_in(
        TextModelArguments, "architecture", default=GRUCell.cell_type, help="The kind of encoder-decoder."
    )
    tokenizer_type: str = flag_as_in(TextModelArguments, "tokenizer_type", default="bpe")
    vocab_size: int = flag_as_in(
        TextModelArguments,
        "vocab_size",
        default=2000,
        help="Largest size of a vocabulary, special tokens included.",
    )
    lowercase: bool = flag_as_in(
        TextModelArguments, "lowercase", default=False, help="Lower-case the text, the translations too."
    )
    max_length: int = flag_as_in(
        TextModelArguments,
        "max_length",
        help="Training pairs with more tokens on either side are left out, and none is cut, unless --truncate is "
        "given.",
    )
    truncate: bool = flag(
        False,
        "Cut all texts to --max_length tokens, held-out ones too, as is needed for summaries of long texts.",
        "model",
    )
    joint_vocabulary: bool = flag(
        True,
        "One tokenizer and embedding for both languages; false for one each.",
        "model",
        fixed_by="tokenizer",
    )


@dataclass
class TranslationTrainingArguments(TrainingArguments):
    """How translation is trained."""

    max_tokens: int = flag(
        512,
        "Tokens of the longer side, padding included, that a process takes in one forward pass.",
        "training",
        "[1, inf)",
        replaces="per_device_train_batch_size",
    )
    bpe_dropout: float = flag(
        0.0, "Probability with which a merge of BPE is left out in training.", "training", "[0, 1)"
    )
    average_checkpoints: int = flag(
        5,
        "Number of the last validations whose weights are averaged, if the average translates better.",
        "training",
        "[0, 1000]",
    )
    bleu_every: int = flag(
        10, "Validations between two greedy translations of the validation sentences.", "training", "[1, inf)"
    )

    def __post_init__(self):
        super().__post_init__()
        if self.metric_for_best_model.removeprefix("validation_") == "bleu" and self.bleu_every > 1:
            raise ArgumentsError(
                f"--metric_for_best_model {self.metric_for_best_model}: by --bleu_every {self.bleu_every} one "
                f"validation of {self.bleu_every} gives it, and each must; add --bleu_every 1."
            )
        averages = f"--ema_decay {self.ema_decay}" if self.ema_decay is not None else None
        if OPTIMIZERS[self.optimizer].averages:
            averages = f"--optimizer {self.optimizer}"
        if averages and self.average_checkpoints:
            raise ArgumentsError(
                f"{averages} and --average_checkpoints {self.average_checkpoints} both average the weights; give "
                f"--average_checkpoints 0, or leave out {averages}."
            )


@dataclass
class BeamArguments(WritingArguments):
    """How the trained model translates."""

    num_beams: int = flag(
        5, "Number of beams in beam search, for the translations after training.", "after training", "[1, 1000]"
    )
    bleu_tokenizer: str | None = flag(
        None,
        "sacrebleu's tokenizer for BLEU; by default the one for the target language, 13a for those with spaces.",
        "after training",
        choices=BLEU_TOKENIZERS,
    )
    rouge: bool = flag(False, "Also report ROUGE, which is usual for summaries.", "after training")
    length_penalty: float = flag(
        1.0,
        "Exponent of the length by which the log-probability of a beam is divided.",
        "after training",
        "[-100, 100]",
    )

    def __post_init__(self):
        # Asked here, not when the trained model is scored.
        if self.bleu_tokenizer and (package := lacking_package(self.bleu_tokenizer)):
            raise ArgumentsError(f'--bleu_tokenizer {self.bleu_tokenizer} needs pip install "{package}".')


class Translations(NamedTuple):
    """What a translator made of a split."""

    loss: float
    texts: list[str]


class Tokenizers(NamedTuple):
    """The tokenizers of source and target; a joint one is both."""

    source: PreTrainedTokenizerBase
    target: PreTrainedTokenizerBase

    def save_pretrained(self, folder: str | Path) -> None:
        """The source's beside the model, where the pipeline looks for one; another of the target in a folder below."""
        self.source.save_pretrained(folder)
        if self.target is not self.source:
            self.target.save_pretrained(Path(folder) / TARGET_TOKENIZER)


class Translation(Task):
    """Sentence by sentence, from any dataset of sentence pairs."""

    name = "translation"
    title = "Translation"
    pipeline_tag = "translation"
    use = "Translating sentences like those it was trained on; a baseline; teaching and study of sequence models."
    limits = (
        OF_ITS_DATA,
        "It translates sentence by sentence, and may leave out or invent things without a sign of it.",
    )
    longest_input = "It was trained on sentences of up to {} tokens."

    data_arguments = PairArguments
    model_arguments = TranslationModelArguments
    training_arguments = TranslationTrainingArguments
    generation_arguments = BeamArguments
    example_flags = "--train_file pairs.tsv --vocab_size 8000 --max_tokens 2048 --early_stopping_patience 5"
    default_dataset = "sample:jupyterlab_fr"
    published = {
        "multi30k_en_de all_tests": ", ".join(
            f"{scores[shown]} ({name})" for name, scores in PUBLISHED.items() for shown in scores
        )
    }
    auto_class = AutoModelForSeq2SeqLM
    model_classes = {
        "recurrent": RecurrentSeq2SeqForConditionalGeneration,
        TRANSFORMER: TransformerForConditionalGeneration,
    }
    scores = (*NegativeLogLikelihood.scores, *BLEU.scores, *ChrF.scores, *ROUGE.scores)
    validated = ("loss", "bleu")
    compared_by = "bleu"
    pictures = {"bleu_by_length.png": "BLEU by the length of the source"}
    loss_unit, score_unit = "nats per token", "BLEU"
    targets = "target tokens"

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        if self.model_args.truncate and self.training_args.bpe_dropout:
            raise ArgumentsError(
                f"--truncate cuts tokens, and with --bpe_dropout {self.training_args.bpe_dropout:g} a text has others "
                "each time: leave out one of them."
            )

    @classmethod
    def scores_of(cls, record: dict[str, Any]) -> tuple[Score, ...]:
        """A model of lower-cased text is told by lower-cased scores; the others say less of it, and come last."""
        return tuple(sorted(cls.scores, key=lambda score: cls._is_lowercase(record) and score.key in CASED))

    @classmethod
    def reported_key(cls, record: dict[str, Any], key: str) -> str:
        """Validations compare lower-cased text with lower-cased references."""
        return "bleu_lowercase" if key == "bleu" and cls._is_lowercase(record) else key

    @staticmethod
    def _is_lowercase(record: dict[str, Any]) -> bool:
        return bool((record.get("hyperparameters") or {}).get("lowercase"))

    @classmethod
    def terms_of(cls, record: Record, split: str, key: str) -> dict[str, Any]:
        """How sacrebleu signs what it computed."""
        return {"signature": record["metrics"][split].get("signatures", {}).get(key) or "not recorded"}

    @classmethod
    def example(cls, record: dict[str, Any], revision: str) -> str:
        """Greedy or by the run's beams, as `generation_config.json` says."""
        lines, decoder = [], "tokenizer"
        if target := record["model"].get("config", {}).get("target_tokenizer"):
            options = f'subfolder="{target}"{revision}, trust_remote_code=True'
            lines.append(f"target_tokenizer = AutoTokenizer.from_pretrained(model_id, {options})")
            decoder = "target_tokenizer"
        text = json.dumps((cls.widget_of(record) or ["Hello!"])[0], ensure_ascii=False)
        lines.append(f'outputs = model.generate(**tokenizer({text}, return_tensors="pt"))')
        lines.append(f"print({decoder}.decode(outputs[0], skip_special_tokens=True))")
        return "\n".join(lines)

    longest: int = 0
    """Tokens of the longest sentence that is scored."""

    @property
    def positions(self) -> int:
        """Of the longest sentence that is trained on or scored, on either side."""
        return max(self.model_args.max_length, self.longest)

    @property
    def longest_flag(self) -> str:
        """What asks for them."""
        is_scored = self.longest > self.model_args.max_length
        return f"a scored sentence of {self.longest} tokens" if is_scored else super().longest_flag

    @property
    def beams(self) -> dict[str, Any]:
        """How sentences are translated after training."""
        return {"num_beams": self.generation_args.num_beams, "length_penalty": self.generation_args.length_penalty}

    def load(self) -> LoadedData:
        """Columns `source` and `target`."""
        return load_translation(self.data_args)

    def load_processor(self, folder: Path) -> Tokenizers:
        """Both tokenizers."""
        source = super().load_processor(folder)
        if not (Path(folder) / TARGET_TOKENIZER).is_dir():
            return Tokenizers(source, source)
        options = {"subfolder": TARGET_TOKENIZER, "trust_remote_code": False}
        return Tokenizers(source, AutoTokenizer.from_pretrained(folder, **options))

    def fit_tokenizer(self, tokenizer: PreTrainedTokenizerBase, flag: str) -> None:
        """A new model begins a translation by one token, and learns to end it by another."""
        super().fit_tokenizer(tokenizer, flag)
        if self.start_model is None:
            give_ends(tokenizer, self.remarks)
            end_texts(tokenizer, flag, self.remarks)

    def load_given_processor(self) -> Tokenizers:
        """Both tokenizers; where there is but one, it is both."""
        source = super().load_given_processor()
        folder = self.start_model and getattr(self.start_model.config, TARGET_TOKENIZER, None)
        if folder is None:
            return Tokenizers(source, source)
        if self.model_args.tokenizer_name:
            raise ArgumentsError(
                f"--tokenizer_name {self.model_args.tokenizer_name}: {self.start_model.source.name} has a tokenizer "
                "for each language. Leave the flag out."
            )
        return Tokenizers(source, load_tokenizer(self.start_model.source, subfolder=folder))

    def tokenizer_of_inputs(self) -> PreTrainedTokenizerBase:
        """That of the source."""
        return self.processor.source

    def prepare(self, loaded: LoadedData, processor: Tokenizers, splits: Iterable[str] | None = None) -> PreparedData:
        """Token ids of source and target; nothing is cut off, unless `--truncate` asks for it."""
        examples = {split: tokenize_pairs(loaded.splits[split], *processor) for split in splits or loaded.splits}
        remarks = self._cut(examples) if self.model_args.truncate else []
        held_out = {split: rows for split, rows in examples.items() if split != "train"}
        longest = {split: max(map(max, pair_lengths(rows)), default=0) for split, rows in held_out.items()}
        self._refuse_long(longest)
        self.longest = max(longest.values(), default=0)
        data = PreparedData(loaded, processor, examples, PairCollator(processor.source), remarks=remarks)
        tell_unknown(data, processor.source, self.model_args.tokenizer_type, "input_ids")
        return data

    def _cut(self, examples: dict[str, Dataset]) -> list[str]:
        """Cut long texts, in their place; a line for each split that has some."""
        remarks, most = [], self.model_args.max_length
        for split, rows in examples.items():
            examples[split], counts = cut_long_texts(rows, most)
            cut = " and ".join(f"{count:,} {side}" for side, count in counts.items() if count)
            if cut:
                remarks.append(
                    f"The split {split!r}: of {len(rows):,} pairs {cut} have more than the {most:,} tokens of "
                    "--max_length and are cut there."
                )
        return remarks

    def _refuse_long(self, longest: dict[str, int]) -> None:
        """Held-out texts must fit the positions of a given model; of the training pairs long ones are left out."""
        limit = positions_of(self.start_model.config) if self.start_model else None
        for split, length in longest.items() if limit else ():
            if length > limit:
                raise ArgumentsError(
                    f"--model_name_or_path {self.start_model.source.name} reads {limit} tokens at once, and a text of "
                    f"the split {split!r} has {length}: leave such pairs out of the data."
                )

    def described_vocabulary(self, processor: Tokenizers) -> str:
        """Of one tokenizer or of two."""
        if processor.source is processor.target:
            return super().described_vocabulary(processor.source)
        source, target = map(len, processor)
        return f"{source:,} tokens of the source and {target:,} of the target{self.described_tokenizer()}"

    def count_tokens(self, loop: TrainingLoop, data: PreparedData) -> dict[str, int]:
        """Of both sides of the training pairs, and of what is scored."""
        counts = {"train (source)": sum(lengths_of(data.examples["train"], "input_ids"))}
        return counts | {f"{name} (target)": sum(lengths_of(part, "labels")) for name, part in data.examples.items()}

    def has_attention(self, config: PreTrainedConfig) -> bool:
        """Recurrent ones have it unless they squeeze a sentence into a vector."""
        return config.attention_type != "none" if self.is_recurrent else super().has_attention(config)

    def predict(self, evaluator: Evaluator, data: PreparedData, split: str) -> Translations:
        """The loss of the references, and the translations by beams."""
        return Translations(self.loss(evaluator, data, split), self.translate(evaluator, data, split, **self.beams))

    def score(self, predictions: Translations, data: PreparedData, split: str) -> dict[str, Any]:
        """Loss, BLEU in three ways and chrF; and ROUGE, if it is asked for."""
        pairs, target = data.loaded.splits[split], data.loaded.details["target"]
        tokenizer = self.generation_args.bleu_tokenizer
        scores = translation_scores(pairs["source"], predictions.texts, pairs["target"], target, tokenizer)
        if self.generation_args.rouge:
            scores |= ROUGE().compute(predictions=predictions.texts, references=list(pairs["target"]))
        return {"loss": predictions.loss, **scores}

    def loss(self, evaluator: Evaluator, data: PreparedData, split: str) -> float:
        """The cross-entropy in nats per target token, the end token included, without label smoothing."""
        examples = data.examples[split]
        rows = evaluator.evaluate_rows(examples, _summed_losses, data.collator, lengths_of(examples, "input_ids"))
        nats, counts = zip(*rows, strict=True)
        return sum(nats) / sum(counts)

    def translate(
        self, evaluator: Evaluator, data: PreparedData, split: str, num_beams: int = 1, length_penalty: float = 1.0
    ) -> list[str]:
        """
        The translation of each row of a split, in its order; labels are not looked at.

        Args:
            evaluator: Its model translates.
            data: The prepared data.
            split: What is translated.
            num_beams: Number of beams; 1 takes the likeliest token each time.
            length_penalty: Hypotheses are compared by their log-probability divided by their length to this power.
        """

        def decode(model: PreTrainedModel, batch: Batch) -> list[str]:
            tokens = model.generate(
                input_ids=batch["input_ids"],
                attention_mask=batch["attention_mask"],
                num_beams=num_beams,
                length_penalty=length_penalty if num_beams > 1 else 1.0,
                do_sample=False,
                max_length=longest_translation(model.config, batch["input_ids"].shape[1]) + 1,  # with its first token
                stopping_criteria=evaluator.stopping_criteria(),
            )
            return [text.strip() for text in data.processor.target.batch_decode(tokens, skip_special_tokens=True)]

        examples = data.examples[split]
        return evaluator.evaluate_rows(examples, decode, data.collator, lengths_of(examples, "input_ids"))

    def validation_bleu(self, evaluator: Evaluator, data: PreparedData, **beams: Any) -> float:
        """BLEU of the validation sentences."""
        texts = self.translate(evaluator, data, "validation", **beams)
        references = data.loaded.splits["validation"]["target"]
        asked = self.generation_args.bleu_tokenizer
        how = {"tokenize": asked or bleu_tokenizer(data.loaded.details["target"], references)}
        how["lowercase"] = self.model_args.lowercase
        return BLEU().compute(predictions=texts, references=references, **how)["bleu"]

    def validate(self, loop: TrainingLoop, data: PreparedData) -> dict[str, float]:
        """The loss, and at every `--bleu_every`-th validation, counted over resumptions, greedy BLEU."""
        scores = {"loss": self.loss(loop, data, "validation")}
        loop.run.sample = self.sample(loop, data, None)
        done = sum("validation_loss" in entry for entry in loop.record.history)
        if (done + 1) % self.training_args.bleu_every == 0:
            scores |= {"bleu": self.validation_bleu(loop, data), "seconds": loop.seconds}
        return scores

    def sample(self, evaluator: Evaluator, data: PreparedData, predictions: Any) -> str:
        """A sentence of validation, the same each time, its translation and the reference."""
        pairs = data.loaded.splits["validation"]
        row = next((row for row, text in enumerate(pairs["source"]) if 20 < len(text) <= 80), 0)
        one = replace(data, examples={"validation": data.examples["validation"].select([row])})
        written = self.translate(evaluator, one, "validation")[0]
        return f"{pairs[row]['source']!r} became {written!r}; the reference is {pairs[row]['target']!r}."

    def choose_weights(self, run: Run, loop: TrainingLoop, data: PreparedData, averager: WeightAverager) -> None:
        """Leave the best weights or the mean of the last ones in the model, whichever translates validation better."""
        weights = averager.keep_better(loop, lambda: self.validation_bleu(loop, data, **self.beams))
        run.record.metrics["validation"] = {"bleu_by_weights": weights, **speed(run.record.history)}

    def use_model(self, evaluator: Evaluator, outcome: Outcome) -> None:
        """Write the translations down."""
        for split, found in outcome.predictions.items() if evaluator.is_main_process else ():
            lines = "".join(text.replace("\n", " ") + "\n" for text in found.texts)
            outcome.file(f"translations.{split}.txt").write_text(lines, encoding="utf-8")

    def report(self, outcome: Outcome) -> str:
        """The scores, and some translations beside their references."""
        pairs, texts = outcome.data.loaded.splits[outcome.split], outcome.predictions[outcome.split].texts
        report = translation_report(outcome.split, pairs, texts, outcome.metrics)
        found = [score for score in ROUGE.scores if score.key in outcome.metrics]
        rouge = ", ".join(f"{score.name} {score.shown(outcome.metrics[score.key])} %" for score in found)
        return "\n\n".join(filter(None, (report, rouge, shown_unknown(outcome.data, outcome.split))))

    def draw(self, outcome: Outcome) -> None:
        """BLEU by the length of the source."""
        bins = {self.architecture: outcome.metrics["bleu_by_source_length"]}
        title = f"{self.title}, {self.architecture}"
        plot_bleu_by_length(bins, outcome.file("bleu_by_length.png"), title, f"split {outcome.split}")

    @classmethod
    def results(cls, records: list[Record], link: Link) -> str:
        """BLEU by test set, beside the literature, over time and by the length of the source."""
        return translation_section(records, link)

    @classmethod
    def draw_results(cls, records: list[Record], folder: Path) -> dict[str, str]:
        """BLEU by the length of the source."""
        name = "translation_bleu_by_length.png"
        return {name: "BLEU by the words of the source"} if draw_bleu_by_length(records, folder / name) else {}

    @classmethod
    def in_short(cls, records: list[Record], split: str) -> tuple[str, str]:
        """BLEU as the literature computes it, with the literature's."""
        test = next(iter(TESTS))
        score = bleu_of(records, test, "bleu_lowercase_moses")
        return f"BLEU: {score} ({TESTS[test]})", cls.published[dataset_of(records[0])]


def longest_translation(config: PreTrainedConfig, source_length: int) -> int:
    """
    How many tokens a translation may have: enough for any pair of languages, an end to babble, and no more than there
    are positions.
    """
    longest, limit = 2 * source_length + 20, positions_of(config)
    # In transformers' encoder-decoders the first token takes one of them.
    return longest if limit is None else min(longest, limit if is_ours(config) else limit - 1)


def speed(history: list[dict[str, Any]]) -> dict[str, Any]:
    """
    How fast training was: `seconds_to_bleu`, the time at which validation first reached BLEU 5, 10, 15, ...
    (evaluation included), and `target_tokens_per_second`, the median of training alone.
    """
    reached: dict[str, float] = {}
    threshold = BLEU_DISTANCE
    for entry in history:
        while entry.get("validation_bleu", 0.0) >= threshold:
            reached[f"{threshold:g}"] = entry["validation_seconds"]
            threshold += BLEU_DISTANCE
    speeds = [entry["targets_per_second"] for entry in history if "targets_per_second" in entry]
    return {"seconds_to_bleu": reached, "target_tokens_per_second": statistics.median(speeds or [0.0])}


def _summed_losses(model: PreTrainedModel, batch: Batch) -> list[tuple[float, int]]:
    labels = batch["labels"]
    logits = model(**batch).logits.float()
    losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels, reduction="none")  # (B, T)
    return list(zip(losses.sum(dim=1).tolist(), (labels != -100).sum(dim=1).tolist(), strict=True))
