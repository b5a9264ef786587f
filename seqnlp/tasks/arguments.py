"""The flags that several tasks share: what is trained, and what is done with it."""

from dataclasses import dataclass
from typing import get_args

from ..models.cells import CELLS
from ..tokenization.train import TokenizerType
from ..training.flags import flag


TRANSFORMER = "transformer"
ARCHITECTURES = (*CELLS, TRANSFORMER)
"""What `--architecture` may be: a recurrent cell, or the Transformer that fits the task."""


@dataclass
class ModelArguments:
    """What is trained."""

    architecture: str = flag("lstm", "The kind of model.", "model", choices=ARCHITECTURES, fixed_by="model")
    config_overrides: str | None = flag(
        None,
        "Fields of the model's configuration, e.g. hidden_size=256,num_hidden_layers=2.",
        "model",
        may_be_empty=True,
    )
    model_name_or_path: str | None = flag(
        None,
        "Start from this model instead of drawing all weights: a run's folder, or any model of transformers on the "
        "Hub or in a folder, with its tokenizer or image processor.",
        "model source",
    )
    model_revision: str | None = flag(None, "Branch, tag or commit of that model on the Hub.", "model source")
    trust_remote_code: bool = flag(
        False, "Run the code that comes with that model or tokenizer, with your rights.", "model source"
    )
    peft: str | None = flag(
        None, "Train adapters of that model instead of its weights, by this method of PEFT, e.g. lora.", "model"
    )
    peft_config: str | None = flag(
        None, "Fields of that method's configuration, e.g. r=8,lora_alpha=16,target_modules=all-linear.", "model"
    )


@dataclass
class TextModelArguments(ModelArguments):
    """What is trained, and the tokenizer that makes its inputs."""

    tokenizer_type: str = flag(
        "word",
        "The kind of tokenizer trained on the training texts.",
        "model",
        choices=get_args(TokenizerType),
        fixed_by="tokenizer",
    )
    vocab_size: int = flag(
        10000,
        "Largest size of the vocabulary, special tokens included.",
        "model",
        "[5, 10000000]",
        fixed_by="tokenizer",
    )
    min_frequency: int = flag(
        2, "How often a unit must occur to enter the vocabulary.", "model", "[1, inf)", fixed_by="tokenizer"
    )
    lowercase: bool = flag(True, "Lower-case the text.", "model", fixed_by="tokenizer")
    max_length: int = flag(
        256, "Tokens of a text that are read; the rest is cut off.", "model", "[2, inf)", fixed_by="model"
    )
    tokenizer_name: str | None = flag(
        None,
        "A tokenizer on the Hub or in a folder, in the place of one trained on the training texts or of the one that "
        "the given model brings.",
        "model source",
    )
    init_embeddings: str | None = flag(
        None,
        "A file of word vectors (word2vec, GloVe or fastText, text or binary) with which the embeddings begin.",
        "model source",
        is_path=True,
    )

    def tokenizer_settings(self) -> dict:
        """The arguments of [`seqnlp.tokenization.train_tokenizer`]."""
        names = ("tokenizer_type", "vocab_size", "lowercase", "min_frequency")
        return {name: getattr(self, name) for name in names}


@dataclass
class GenerationArguments:
    """What is done with the trained model; nothing, where it does not generate."""


@dataclass
class WritingArguments(GenerationArguments):
    """How a model that writes does so."""

    compile_generation: bool = flag(
        False,
        "Compiled generation (torch.compile), where no beam search is used: the first text takes some seconds longer, "
        "and all others are faster.",
        "harmless",
    )
