"""A small language model learns what a large one says of the next token (Hinton et al. 2015, arXiv 1503.02531).

The teacher reads each batch beside the student, and nothing of it is kept: an epoch cuts the text into other windows
than the one before, and a number per token of the text and of the vocabulary would be gigabytes, where the likeliest
few alone would make another divergence of it.
"""

from collections.abc import Iterable
from itertools import islice
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from ...models import RecurrentConfig
from ...training import ArgumentsError
from .distillation import LOGITS, load_teacher
from .starting_model import Source, StartingModel, positions_of


TEXTS, CHARACTERS = 100, 1000  # by which two tokenizers are compared


def reads_ahead(model: PreTrainedModel) -> bool:
    """Whether what a model says of a token depends on those after it, as that of an encoder does."""
    known = model.config.get_text_config().vocab_size
    one = torch.arange(8, device=model.device).unsqueeze(0) % known
    other = one.clone()
    other[0, -1] = known - 1
    with torch.no_grad():
        logits = [model.eval()(input_ids=ids).logits[:, :-1] for ids in (one, other)]
    return not torch.allclose(*logits, rtol=1e-3, atol=1e-4)


class NextTokenTeacher:
    """
    A causal language model that another one learns from.

    Args:
        source: Where it is.
        task: The task's name.
        tokenizer: That of the student: the teacher's must give the same tokens.
        texts: Some, to see that it does.
        vocab_size: Tokens of which the student gives logits.
        window: Tokens that a student reads at once.
        first: Tokens of a window of which it says nothing, for lack of context.

    Raises:
        ArgumentsError: If it is not there, is no causal language model, reads too few tokens or other ones.
    """

    def __init__(
        self,
        source: Source,
        task: str,
        tokenizer: PreTrainedTokenizerBase,
        texts: Iterable[str],
        vocab_size: int,
        window: int,
        first: int,
    ):
        self.model, own, self.described = load_teacher(StartingModel.find(source, AutoModelForCausalLM, task))
        self.first = first
        named = f"--{source.flag} {source.name}"
        some = [text[:CHARACTERS] for text in islice(texts, TEXTS)]
        same = own.get_vocab() == tokenizer.get_vocab() and all(
            own(text, add_special_tokens=False)["input_ids"] == tokenizer(text, add_special_tokens=False)["input_ids"]
            for text in some
        )
        if not same:
            raise ArgumentsError(
                f"{named}: its tokens are not those of the model that is trained, so that what it says of them cannot "
                f"be compared: take its tokenizer, by --tokenizer_name {source.name}."
            )
        theirs = self.model.config.get_text_config().vocab_size
        if theirs != vocab_size:
            raise ArgumentsError(f"{named}: it gives logits of {theirs:,} tokens, and the student of {vocab_size:,}.")
        reach = positions_of(self.model.config)
        if reach is not None and reach < window:
            raise ArgumentsError(
                f"{named}: it reads {reach} tokens at once, and a window has {window}: lower --max_length."
            )
        if reads_ahead(self.model):
            raise ArgumentsError(
                f"{named}: this {type(self.model).__name__} reads the tokens that it is to predict, as an encoder "
                "does. Give a causal model."
            )
        self.is_recurrent = isinstance(self.model.config, RecurrentConfig)

    def teach(self, student: PreTrainedModel) -> None:
        """From now on each batch that the student is trained on, and no other, comes with the teacher's logits."""
        self.model.to(student.device)
        student.register_forward_pre_hook(self._add_logits, with_kwargs=True)

    def _add_logits(self, student: PreTrainedModel, args: tuple, kwargs: dict[str, Any]) -> tuple | None:
        if not student.training or kwargs.get("labels") is None:
            return None
        names = ("input_ids",) if self.is_recurrent else ("input_ids", "position_ids")
        read = {name: kwargs[name] for name in names if name in kwargs}
        with torch.no_grad():
            logits = self.model(**read, use_cache=False).logits.float()
        logits[:, : self.first] = torch.nan
        return args, {**kwargs, LOGITS: logits}
