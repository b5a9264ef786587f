"""The arguments that translation has beside those of every recipe."""

from dataclasses import dataclass, field
from typing import Literal

from .arguments import ArgumentsError, ModelArguments, TrainingArguments


@dataclass
class TranslationModelArguments(ModelArguments):
    """What translates."""

    architecture: Literal["elman", "gru", "lstm", "transformer"] = field(
        default="transformer", metadata={"help": "The kind of encoder-decoder."}
    )
    tokenizer_type: Literal["char", "word", "bpe", "wordpiece", "unigram"] = field(
        default="bpe", metadata={"help": "The kind of tokenizer trained on the training texts."}
    )
    vocab_size: int = field(default=2000, metadata={"help": "Size of a vocabulary at most, special tokens included."})
    lowercase: bool = field(default=False, metadata={"help": "Lower-case the text, the translations too."})
    max_length: int = field(
        default=256, metadata={"help": "Training pairs with more tokens on either side are left out; no other is cut."}
    )
    joint_vocabulary: bool = field(
        default=True, metadata={"help": "One tokenizer and embedding for both languages; false for one each."}
    )


@dataclass
class TranslationTrainingArguments(TrainingArguments):
    """How translation is trained and what is made of the trained model."""

    num_train_epochs: float = field(default=40.0, metadata={"help": "Passes over the training data."})
    learning_rate: float = field(default=2e-3, metadata={"help": "Highest learning rate of AdamW."})
    lr_scheduler_type: Literal[
        "linear", "cosine", "inverse_sqrt", "constant", "constant_with_warmup", "polynomial"
    ] = field(default="inverse_sqrt", metadata={"help": "How the learning rate falls after the warm-up."})
    max_tokens: int = field(
        default=512,
        metadata={"help": "Tokens of the longer side, padding included, that a process takes in one forward pass."},
    )
    bpe_dropout: float = field(
        default=0.0, metadata={"help": "Probability with which a merge of BPE is left out in training."}
    )
    average_checkpoints: int = field(
        default=5, metadata={"help": "Average the weights at the last so many validations, if they translate better."}
    )
    bleu_every: int = field(
        default=10, metadata={"help": "Translate the validation sentences, greedily, at every so many validations."}
    )
    num_beams: int = field(default=5, metadata={"help": "Beams of the translations after training."})
    length_penalty: float = field(
        default=1.0,
        metadata={"help": "Beams are compared by their log-probability divided by their length to this power."},
    )

    def __post_init__(self):
        super().__post_init__()
        for name in ("max_tokens", "bleu_every", "num_beams"):
            if getattr(self, name) < 1:
                raise ArgumentsError(f"--{name} {getattr(self, name)} must be at least 1.")
        if self.average_checkpoints < 0:
            raise ArgumentsError(f"--average_checkpoints {self.average_checkpoints} must be at least 0.")
        if not 0 <= self.bpe_dropout < 1:
            raise ArgumentsError(f"--bpe_dropout {self.bpe_dropout} is a probability: at least 0 and below 1.")
