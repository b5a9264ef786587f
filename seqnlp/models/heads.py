"""What stands on a backbone, once for all of them: classifiers, language models, and their losses.

A model with a head names one of these classes before its family's `PreTrainedModel`, and makes the backbone
`self.model`, and `self.lm_head` or, by `add_classifier`, `self.score`. What is not in a signature here goes on to the
backbone: `position_ids`, `cache`, `output_hidden_states` and so on, where it has them.

Shapes: `B` rows, `T` tokens.
"""

from collections.abc import Callable

import torch
from torch import nn
from transformers import Cache
from transformers.modeling_outputs import (
    BaseModelOutput,
    CausalLMOutputWithPast,
    ImageClassifierOutput,
    MaskedLMOutput,
    Seq2SeqLMOutput,
    Seq2SeqModelOutput,
    SequenceClassifierOutputWithPast,
    TokenClassifierOutput,
)
from transformers.modeling_utils import slice_logits_to_keep
from transformers.processing_utils import Unpack
from transformers.utils import ModelOutput, TransformersKwargs, can_return_tuple

from .beam_search import BeamSearch, SourceOnce
from .losses import (
    IGNORE_INDEX,
    causal_language_model_loss,
    chunked_cross_entropy,
    classifier_loss,
    divide_by_items,
    next_token_labels,
    token_loss,
)
from .pretrained import takes_past_key_values
from .word_reader import WordReader


# What a call may tell the loss over a vocabulary, whichever way it is computed.
LOSS_ARGUMENTS = ("label_smoothing", "num_items_in_batch", "ignore_index", "divergence_weight")


def pool_tokens(hidden_states: torch.Tensor, attention_mask: torch.Tensor | None, pooling: str) -> torch.Tensor:
    """
    One vector per row: its first or last valid token's state, or the mean or maximum of its valid tokens' states.

    Args:
        hidden_states: `(B, T, size)`.
        attention_mask: `(B, T)` or longer by the tokens of a cache, 0 at padding, which may stand anywhere; `None` if
            all are valid.
        pooling: `"first"`, `"last"`, `"mean"` or `"max"`.

    Returns:
        `(B, size)`. A row without a valid token gets zeros.
    """
    length = hidden_states.shape[1]
    if attention_mask is None:
        attention_mask = hidden_states.new_ones(hidden_states.shape[:2])
    mask = attention_mask[:, -length:].bool()
    if pooling == "mean":
        # In float32 at least: the sum of a long text is beyond float16.
        exact = torch.promote_types(hidden_states.dtype, torch.float32)
        summed = hidden_states.masked_fill(~mask.unsqueeze(-1), 0).sum(dim=1, dtype=exact)
        return (summed / mask.sum(dim=1, keepdim=True).clamp(min=1)).to(hidden_states.dtype)
    if pooling == "max":
        pooled = hidden_states.masked_fill(~mask.unsqueeze(-1), torch.finfo(hidden_states.dtype).min).amax(dim=1)
        return pooled.masked_fill(~mask.any(dim=1, keepdim=True), 0)
    if pooling == "first":
        index = mask.int().argmax(dim=1)  # (B,); of equal values the first
    else:
        index = torch.where(mask, torch.arange(length, device=mask.device), 0).amax(dim=1)  # (B,)
    # Spread out by hand: traced for export, take_along_dim would fix the number of rows and tokens.
    pooled = hidden_states.gather(1, index.view(-1, 1, 1).expand(-1, 1, hidden_states.shape[-1])).squeeze(1)
    return pooled.masked_fill(~mask.any(dim=1, keepdim=True), 0)


def shift_right(labels: torch.Tensor, start_token_id: int, pad_token_id: int) -> torch.Tensor:
    """
    What a decoder reads when it is to predict the labels: the start token, then all labels but the last ("outputs
    (shifted right)" in Vaswani et al. 2017, figure 1).

    Args:
        labels: `(B, T)`, -100 where no loss is wanted.
        start_token_id: What each row starts with.
        pad_token_id: What stands where the labels are -100.
    """
    shifted = nn.functional.pad(labels[:, :-1], (1, 0), value=start_token_id)
    return shifted.masked_fill(shifted == IGNORE_INDEX, pad_token_id)


class SmoothedLabels:
    """What the heads share that have a loss over classes: label smoothing in training alone."""

    @property
    def smoothing(self) -> float:
        """The share of a label that the loss spreads over the classes, so that an evaluation's is not smoothed."""
        return self.config.label_smoothing if self.training else 0.0


class Classifier(SmoothedLabels):
    """What the classifiers share: dropout and a linear map."""

    loss_function = staticmethod(classifier_loss)

    def add_classifier(self, size: int) -> None:
        """Make the map from states of `size` to the labels."""
        self.num_labels = self.config.num_labels
        self.head_dropout = nn.Dropout(self.config.head_dropout)
        self.score = nn.Linear(size, self.config.num_labels)

    def read(self, **inputs) -> ModelOutput:
        """What the backbone gives; a cache among it only where `use_cache` asks for one, whatever the config says."""
        if hasattr(self.config, "use_cache"):
            inputs["use_cache"] = bool(inputs.get("use_cache"))
        return self.model(**inputs)

    def padding_alone(self, input_ids: torch.LongTensor) -> tuple[torch.LongTensor, torch.LongTensor]:
        """Ids and mask, both `(B, 1)`, that stand for `(B, 0)` ids: backbones read at least one token."""
        padding = input_ids.new_full((len(input_ids), 1), self.config.pad_token_id or 0)
        return padding, torch.zeros_like(padding)

    def pool(self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None) -> torch.Tensor:
        """From `(B, T, size)` states to the `(B, size)` vectors that are classified: by `config.pooling`."""
        return pool_tokens(hidden_states, attention_mask, self.config.pooling)

    def set_loss(self, loss: Callable[..., torch.Tensor]) -> None:
        """
        Train by another loss of one class per row, called as `loss_function`: it divides by `num_items_in_batch`.
        """
        self.config.problem_type = "single_label_classification"  # as transformers' own loss says at its first call
        self.loss_function = loss

    def classify(
        self, pooled: torch.Tensor, labels: torch.Tensor | None, **kwargs
    ) -> tuple[torch.Tensor | None, torch.Tensor]:
        """Loss, if there are labels, and `(B, num_labels)` logits of `(B, size)` vectors."""
        logits = self.score(self.head_dropout(pooled))
        if labels is None:
            return None, logits
        kwargs = {"label_smoothing": self.smoothing, **kwargs}
        loss = self.loss_function(labels=labels, logits=logits, pooled_logits=logits, config=self.config, **kwargs)
        return divide_by_items(loss, labels, self.config.problem_type, kwargs.get("num_items_in_batch")), logits


class SequenceClassifier(Classifier):
    """A label, several labels or a number for a whole text: its states, pooled, and a linear map."""

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        labels: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> SequenceClassifierOutputWithPast:
        """
        Args:
            labels: `(batch_size,)` class ids; `(batch_size, num_labels)` floats for several labels per text; floats
                for regression. `config.problem_type` decides, or else the labels' type and `num_labels`.

        The other arguments are those of the backbone's `forward`; a cache is returned only if `use_cache` asks for it.

        A text without tokens is read as padding alone, so that the bias of the linear map classifies it, whatever else
        is in its batch.

        Returns:
            `loss` and `logits` of shape `(batch_size, num_labels)`.
        """
        if input_ids is not None and input_ids.shape[1] == 0:
            input_ids, attention_mask = self.padding_alone(input_ids)
        outputs = self.read(input_ids=input_ids, attention_mask=attention_mask, inputs_embeds=inputs_embeds, **kwargs)
        loss, logits = self.classify(self.pool(outputs.last_hidden_state, attention_mask), labels, **kwargs)
        return SequenceClassifierOutputWithPast(
            loss=loss,
            logits=logits,
            cache=outputs.get("cache"),
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )


class ImageClassifier(Classifier):
    """A label, several labels or a number for an image: its states, pooled, and a linear map."""

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.FloatTensor | None = None,
        labels: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> ImageClassifierOutput:
        """
        Args:
            pixel_values: `(batch_size, num_channels, height, width)`, as an image processor gives them.
            labels: As those of [`SequenceClassifier.forward`].

        Returns:
            `loss` and `logits` of shape `(batch_size, num_labels)`.
        """
        outputs: BaseModelOutput = self.model(pixel_values, **kwargs)
        loss, logits = self.classify(self.pool(outputs.last_hidden_state, None), labels, **kwargs)
        return ImageClassifierOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )


class TokenClassifier(Classifier):
    """
    A label for every token: its state and a linear map (Devlin et al. 2019, arXiv 1810.04805, section 5.3).

    With `config.first_continuing_id` the backbone reads words, each a vector made of its tokens by a [`WordReader`],
    and each token has the label of its word.
    """

    loss_function = staticmethod(token_loss)

    def add_word_reader(self, size: int) -> None:
        """Make what turns tokens into words of `size`, if the configuration asks for it."""
        config = self.config
        self.word_reader = None
        if config.first_continuing_id is not None:
            self.word_reader = WordReader(
                size, config.first_continuing_id, config.word_vocab_size or 0, config.word_dropout or 0.0
            )

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, WordReader):
            module.reset_known()

    def read(self, input_ids=None, attention_mask=None, inputs_embeds=None, **inputs) -> ModelOutput:
        """
        What the backbone gives, token by token, whether it reads tokens or words.

        Raises:
            ValueError: For vectors instead of tokens where words are to be read.
        """
        if self.word_reader is None:
            return super().read(
                input_ids=input_ids, attention_mask=attention_mask, inputs_embeds=inputs_embeds, **inputs
            )
        if input_ids is None or inputs_embeds is not None:
            raise ValueError("This model reads the spelling of words: give input_ids, not inputs_embeds.")
        embed_tokens = self.model.get_input_embeddings()
        words, mask, index = self.word_reader(embed_tokens, input_ids, attention_mask)
        outputs = super().read(inputs_embeds=words, attention_mask=mask, **inputs)
        states = outputs.last_hidden_state
        outputs.last_hidden_state = states.gather(1, index.unsqueeze(-1).expand(-1, -1, states.shape[-1]))
        return outputs

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        labels: torch.LongTensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> TokenClassifierOutput:
        """
        Args:
            labels: `(batch_size, sequence_length)` class ids, -100 where no loss is wanted.

        The other arguments are those of the backbone's `forward`. A text without tokens has no labels.

        Returns:
            `loss` and `logits` of shape `(batch_size, sequence_length, num_labels)`.
        """
        is_empty = input_ids is not None and input_ids.shape[1] == 0
        if is_empty:
            input_ids, attention_mask = self.padding_alone(input_ids)
        outputs = self.read(input_ids=input_ids, attention_mask=attention_mask, inputs_embeds=inputs_embeds, **kwargs)
        states = outputs.last_hidden_state[:, :0] if is_empty else outputs.last_hidden_state
        logits = self.score(self.head_dropout(states))
        loss = None
        if labels is not None:
            kwargs = {"label_smoothing": self.smoothing, **kwargs}
            loss = self.loss_function(logits=logits, labels=labels, config=self.config, **kwargs)
        return TokenClassifierOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )


class LanguageModel(SmoothedLabels):
    """What the models over a vocabulary share: `self.lm_head`, from states to logits, and the loss of their labels."""

    loss_function = staticmethod(token_loss)

    def transform(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """What `lm_head` reads, of the backbone's states: by default the states themselves."""
        return hidden_states

    def targets(self, labels: torch.Tensor, **kwargs) -> torch.Tensor:
        """`(B, T)`, for each position the token that it is to predict: by default the label that stands there."""
        return labels

    def states_to_keep(
        self, hidden_states: torch.Tensor, logits_to_keep: int | torch.Tensor, labels: torch.Tensor | None
    ) -> torch.Tensor:
        """
        The `(B, T, hidden_size)` states of the tokens whose logits are asked for.

        Raises:
            ValueError: If these are not all, and there are labels.
        """
        if labels is not None and (isinstance(logits_to_keep, torch.Tensor) or logits_to_keep):
            raise ValueError(
                f"logits_to_keep={logits_to_keep} with labels: their loss needs the logits of all tokens. "
                "Leave one of them out."
            )
        return slice_logits_to_keep(hidden_states, logits_to_keep)

    def loss_and_logits(
        self, hidden_states: torch.Tensor, labels: torch.Tensor | None, **kwargs
    ) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """
        Loss, if there are labels, and `(B, T, vocab_size)` logits of `(B, T, hidden_size)` states.

        The loss is in nats per token: the mean, or the sum divided by `num_items_in_batch`. It is smoothed by
        `config.label_smoothing` in training alone, so that an evaluation's loss stays the cross-entropy. In training
        with `config.loss_chunk_size` and labels there are no logits, unless another `loss_function` was set, which
        reads them. Such a loss takes `divergence_weight` too (see [`chunked_cross_entropy`]).
        """
        hidden_states = self.transform(hidden_states)
        chunk_size = self.config.loss_chunk_size
        is_own_loss = self.loss_function is type(self).loss_function
        kwargs = {"label_smoothing": self.smoothing, **kwargs}
        if labels is not None and self.training and chunk_size is not None and is_own_loss:
            named = {name: kwargs[name] for name in LOSS_ARGUMENTS if name in kwargs}
            targets = self.targets(labels, **kwargs)
            return chunked_cross_entropy(hidden_states, self.lm_head, targets, chunk_size, **named), None
        logits = self.lm_head(hidden_states)
        if labels is None:
            return None, logits
        return self.loss_function(logits=logits, labels=labels, vocab_size=self.config.vocab_size, **kwargs), logits


class CausalLanguageModel(BeamSearch, LanguageModel):
    """The next token from the state of each."""

    loss_function = staticmethod(causal_language_model_loss)
    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}

    def targets(self, labels, shift_labels=None, ignore_index=IGNORE_INDEX, **kwargs):
        """The label of the token after each, or `shift_labels` where they are given."""
        return next_token_labels(labels, ignore_index) if shift_labels is None else shift_labels

    def states_to_write_from(self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None) -> torch.Tensor:
        """Where there are no labels, the `(B, T, hidden_size)` states that logits are computed from."""
        return hidden_states

    @takes_past_key_values
    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        cache: Cache | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        labels: torch.LongTensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        **kwargs: Unpack[TransformersKwargs],
    ) -> CausalLMOutputWithPast:
        """
        Args:
            labels: `(batch_size, sequence_length)`, the input ids with -100 where no loss is wanted; shifted inside.
            logits_to_keep: Compute the logits of this many last tokens only, or of the tokens at these indices; 0 for
                all.

        The other arguments are those of the backbone's `forward`.

        Returns:
            `loss` and `logits` of shape `(batch_size, sequence_length, vocab_size)` (see
            [`LanguageModel.loss_and_logits`]), and `cache`.
        """
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            cache=cache,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            **kwargs,
        )
        hidden_states = outputs.last_hidden_state
        if labels is None:
            hidden_states = self.states_to_write_from(hidden_states, attention_mask)
        hidden_states = self.states_to_keep(hidden_states, logits_to_keep, labels)
        loss, logits = self.loss_and_logits(hidden_states, labels, **kwargs)
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            cache=outputs.cache,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )


class MaskedLanguageModel(LanguageModel):
    """The hidden token at each position (Devlin et al. 2019, arXiv 1810.04805, section 3.1, task 1)."""

    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        labels: torch.LongTensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> MaskedLMOutput:
        """
        Args:
            labels: `(batch_size, sequence_length)`, the hidden tokens' ids, -100 where no loss is wanted.

        The other arguments are those of the backbone's `forward`.

        Returns:
            `loss` and `logits` of shape `(batch_size, sequence_length, vocab_size)`; see
            [`LanguageModel.loss_and_logits`].
        """
        outputs: BaseModelOutput = self.model(
            input_ids=input_ids, attention_mask=attention_mask, inputs_embeds=inputs_embeds, **kwargs
        )
        loss, logits = self.loss_and_logits(outputs.last_hidden_state, labels, **kwargs)
        return MaskedLMOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )


class ConditionalGeneration(SourceOnce, LanguageModel):
    """A text from a text: the target's next token from the state of a decoder that has read the source."""

    def prepare_decoder_input_ids_from_labels(self, labels: torch.LongTensor) -> torch.LongTensor:
        """
        What the decoder reads when it is to predict `(batch_size, target_length)` labels; see [`shift_right`].

        Raises:
            ValueError: If the configuration lacks the token to start with or the one for padding.
        """
        start, pad = self.config.decoder_start_token_id, self.config.pad_token_id
        start = self.config.bos_token_id if start is None else start
        if start is None or pad is None:
            raise ValueError(
                f"decoder_start_token_id={start} and pad_token_id={pad}: set both in the configuration to make "
                "decoder_input_ids from labels."
            )
        return shift_right(labels, start, pad)

    @takes_past_key_values
    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        decoder_input_ids: torch.LongTensor | None = None,
        decoder_attention_mask: torch.Tensor | None = None,
        encoder_outputs: ModelOutput | tuple[torch.FloatTensor, ...] | None = None,
        cache: Cache | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        decoder_inputs_embeds: torch.FloatTensor | None = None,
        labels: torch.LongTensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        **kwargs: Unpack[TransformersKwargs],
    ) -> Seq2SeqLMOutput:
        """
        Args:
            labels: `(batch_size, target_length)`, the target with its end token, -100 where no loss is wanted; not
                shifted against the logits. Unless the decoder's input is given it is made of them, shifted right. A
                cache is then returned only if `use_cache` asks for it.
            logits_to_keep: Compute the logits of this many last tokens only, or of the tokens at these indices; 0 for
                all.

        The other arguments are those of the backbone's `forward`.

        Returns:
            `loss` and `logits` of shape `(batch_size, target_length, vocab_size)` (see
            [`LanguageModel.loss_and_logits`]), and what the backbone gives.
        """
        if labels is not None:
            use_cache = bool(use_cache)
            if decoder_input_ids is None and decoder_inputs_embeds is None:
                decoder_input_ids = self.prepare_decoder_input_ids_from_labels(labels)
        outputs: Seq2SeqModelOutput = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            decoder_input_ids=decoder_input_ids,
            decoder_attention_mask=decoder_attention_mask,
            encoder_outputs=encoder_outputs,
            cache=cache,
            inputs_embeds=inputs_embeds,
            decoder_inputs_embeds=decoder_inputs_embeds,
            use_cache=use_cache,
            **kwargs,
        )
        hidden_states = self.states_to_keep(outputs.last_hidden_state, logits_to_keep, labels)
        loss, logits = self.loss_and_logits(hidden_states, labels, **kwargs)
        return Seq2SeqLMOutput(
            loss=loss,
            logits=logits,
            cache=outputs.cache,
            decoder_hidden_states=outputs.decoder_hidden_states,
            decoder_attentions=outputs.decoder_attentions,
            cross_attentions=outputs.cross_attentions,
            encoder_last_hidden_state=outputs.encoder_last_hidden_state,
            encoder_hidden_states=outputs.encoder_hidden_states,
            encoder_attentions=outputs.encoder_attentions,
        )
