"""The Transformer decoder alone: language models, and classifiers on top of one."""

import torch
from torch import nn
from transformers import Cache, DynamicCache, GenerationMixin, PreTrainedModel
from transformers.masking_utils import create_causal_mask
from transformers.modeling_outputs import (
    BaseModelOutputWithPast,
    CausalLMOutputWithPast,
    SequenceClassifierOutputWithPast,
)
from transformers.modeling_utils import slice_logits_to_keep
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs, can_return_tuple
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from .aligned_weights import AlignedWeights
from .attention import MultiHeadAttention
from .configuration_transformer_decoder import TransformerDecoderConfig
from .losses import causal_language_model_loss, chunked_cross_entropy, divide_by_items, next_token_labels
from .transformer_layers import (
    DecoderLayer,
    Positions,
    count_positions,
    create_final_norm,
    create_norm,
    last_valid_token,
)


class TransformerDecoderPreTrainedModel(AlignedWeights, PreTrainedModel):
    """What the decoders share: flags. transformers draws the weights, normal with `initializer_range`."""

    config: TransformerDecoderConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ["DecoderLayer"]
    _skip_keys_device_placement = ["past_key_values"]
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _can_compile_fullgraph = True
    _can_record_outputs = {"hidden_states": DecoderLayer, "attentions": MultiHeadAttention}


class TransformerDecoderModel(TransformerDecoderPreTrainedModel):
    """
    Embedded tokens through a stack of layers in which each token sees itself and those before it.

    Vaswani et al. 2017, the right half of figure 1 without the encoder (Liu et al. 2018, arXiv 1801.10198, section
    4.2.3; Radford et al. 2018). Padding on either side changes no valid output.
    """

    def __init__(self, config: TransformerDecoderConfig):
        super().__init__(config)
        self.embed_tokens = None
        if config.input_size is None:
            self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, config.pad_token_id)
        self.embedding_scale = config.hidden_size**0.5 if config.scale_embedding else 1.0
        self.positions = Positions(config)
        self.embedding_norm = create_norm(config) if config.embedding_norm else nn.Identity()
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList([DecoderLayer(config, index) for index in range(config.num_hidden_layers)])
        self.norm = create_final_norm(config)
        self.gradient_checkpointing = False
        self.post_init()

    @merge_with_config_defaults
    @capture_outputs
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        use_cache: bool | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaseModelOutputWithPast:
        """
        Args:
            input_ids: `(batch_size, sequence_length)`.
            attention_mask: `(batch_size, sequence_length)`, or longer by the tokens in the cache; 0 at padding. `None`
                means that every token is valid.
            position_ids: `(batch_size, sequence_length)`; by default the number of valid tokens before each. Where
                they start anew, and neither mask nor cache is given, several texts share a row and do not see each
                other.
            past_key_values: Keys and values of earlier tokens; updated in place.
            inputs_embeds: `(batch_size, sequence_length, hidden_size)`, instead of `input_ids`.
            use_cache: Whether to return keys and values.

        Returns:
            `last_hidden_state`, `(batch_size, sequence_length, hidden_size)`, and `past_key_values`.

        Raises:
            ValueError: If not exactly one of `input_ids` and `inputs_embeds` is given, or if the mask has another
                shape.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("Give exactly one of input_ids and inputs_embeds.")
        if inputs_embeds is None:
            if self.embed_tokens is None:
                raise ValueError(
                    f"This model reads numbers (input_size={self.config.input_size}) and has no embeddings for "
                    "input_ids: give inputs_embeds, or past_values to a model for time series prediction."
                )
            inputs_embeds = self.embed_tokens(input_ids)
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache(config=self.config)

        causal_mask = create_causal_mask(self.config, inputs_embeds, attention_mask, past_key_values, position_ids)
        if position_ids is None:
            past_length = 0 if past_key_values is None else past_key_values.get_seq_length()
            position_ids = count_positions(attention_mask, inputs_embeds, past_length)

        hidden_states, position_embeddings = self.positions(inputs_embeds * self.embedding_scale, position_ids)
        hidden_states = self.dropout(self.embedding_norm(hidden_states))
        for layer in self.layers[: self.config.num_hidden_layers]:
            hidden_states = layer(
                hidden_states,
                attention_mask=causal_mask,
                position_ids=position_ids,
                position_embeddings=position_embeddings,
                past_key_values=past_key_values,
                **kwargs,
            )
        hidden_states = self.norm(hidden_states)

        return BaseModelOutputWithPast(last_hidden_state=hidden_states, past_key_values=past_key_values)


class TransformerDecoderForCausalLM(TransformerDecoderPreTrainedModel, GenerationMixin):
    """A language model: the next token from the last layer's state (Radford et al. 2018, section 3.1, equation 2)."""

    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}
    _tp_plan = {"lm_head": "colwise_gather_output"}
    _pp_plan = {"lm_head": (["hidden_states"], ["logits"])}
    loss_function = staticmethod(causal_language_model_loss)

    def __init__(self, config: TransformerDecoderConfig):
        super().__init__(config)
        self.model = TransformerDecoderModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        labels: torch.LongTensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        **kwargs: Unpack[TransformersKwargs],
    ) -> CausalLMOutputWithPast:
        """
        Args:
            labels: `(batch_size, sequence_length)`, the input ids with -100 where no loss is wanted; shifted inside.
            logits_to_keep: Compute the logits of the last so many tokens only, or of the tokens at these indices; 0
                for all.

        The other arguments are those of [`TransformerDecoderModel.forward`].

        Returns:
            `loss` (nats a token), `logits` of shape `(batch_size, sequence_length, vocab_size)` and `past_key_values`.
            In training with `config.loss_chunk_size` and labels there are no logits.
        """
        outputs: BaseModelOutputWithPast = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            **kwargs,
        )
        hidden_states = slice_logits_to_keep(outputs.last_hidden_state, logits_to_keep)
        loss, logits = None, None
        if labels is not None and self.training and self.config.loss_chunk_size is not None:
            loss = self._chunked_loss(hidden_states, labels, **kwargs)
        else:
            logits = self.lm_head(hidden_states)
        if labels is not None and logits is not None:
            smoothing = self.config.label_smoothing if self.training else 0.0
            loss = self.loss_function(
                logits=logits,
                labels=labels,
                vocab_size=self.config.vocab_size,
                **{"label_smoothing": smoothing, **kwargs},
            )
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )

    def _chunked_loss(self, hidden_states, labels, shift_labels=None, num_items_in_batch=None, **kwargs):
        targets = next_token_labels(labels) if shift_labels is None else shift_labels
        return chunked_cross_entropy(
            hidden_states,
            self.lm_head,
            targets,
            self.config.loss_chunk_size,
            self.config.label_smoothing,
            num_items_in_batch,
        )

    def _prepare_position_ids_for_generation(self, inputs_tensor, model_kwargs):
        # transformers puts all padding at position 0 and each new token one behind the last: after a prompt that ends
        # in padding it would count from there.
        mask = model_kwargs.get("attention_mask")
        if isinstance(mask, torch.Tensor) and mask.dim() == 2:
            return (mask.long().cumsum(dim=1) - 1).clamp(min=0)
        return super()._prepare_position_ids_for_generation(inputs_tensor, model_kwargs)


class TransformerDecoderForSequenceClassification(TransformerDecoderPreTrainedModel):
    """
    A label, several labels or a number for a whole text, from the state of its last valid token (Radford et al. 2018,
    section 3.2).
    """

    def __init__(self, config: TransformerDecoderConfig):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.model = TransformerDecoderModel(config)
        self.head_dropout = nn.Dropout(config.head_dropout)
        self.score = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        labels: torch.Tensor | None = None,
        use_cache: bool | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> SequenceClassifierOutputWithPast:
        """
        Args:
            labels: `(batch_size,)` class ids; `(batch_size, num_labels)` floats for several labels a text; floats for
                regression. `config.problem_type` decides, or else the labels' type and `num_labels`.

        The other arguments are those of [`TransformerDecoderModel.forward`]; keys and values are returned only if
        `use_cache` asks for them.

        Returns:
            `loss` and `logits` of shape `(batch_size, num_labels)`.
        """
        outputs: BaseModelOutputWithPast = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=bool(use_cache),
            **kwargs,
        )
        state = last_valid_token(attention_mask, outputs.last_hidden_state)  # (B, hidden_size)
        logits = self.score(self.head_dropout(state))
        loss = None
        if labels is not None:
            loss = self.loss_function(labels=labels, logits=logits, pooled_logits=logits, config=self.config, **kwargs)
            loss = divide_by_items(loss, labels, self.config.problem_type, kwargs.get("num_items_in_batch"))
        return SequenceClassifierOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )


__all__ = [
    "TransformerDecoderForCausalLM",
    "TransformerDecoderForSequenceClassification",
    "TransformerDecoderModel",
    "TransformerDecoderPreTrainedModel",
]
