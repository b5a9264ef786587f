"""The Transformer of "Attention Is All You Need" (Vaswani et al. 2017, arXiv 1706.03762): encoder, decoder, output."""

import torch
from torch import nn
from transformers import Cache, DynamicCache, EncoderDecoderCache, GenerationMixin, StaticCache
from transformers.masking_utils import create_bidirectional_mask, create_causal_mask
from transformers.modeling_outputs import (
    BaseModelOutput,
    BaseModelOutputWithPastAndCrossAttentions,
    Seq2SeqModelOutput,
)
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs, can_return_tuple
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import OutputRecorder, capture_outputs

from .attention import MultiHeadAttention
from .beam_search import beside_source, check_source_mask, rows_per_source
from .cell_decoder_layer import CellDecoderLayer
from .configuration_transformer import TransformerConfig
from .heads import ConditionalGeneration
from .key_value_cache import GrowingCache, TransformerCache
from .positions import count_positions
from .pretrained import AttentionPreTrainedModel, takes_past_key_values
from .recurrence import Padding, refuse_packed_texts, token_mask
from .recurrent_cache import RecurrentCache, RecurrentStates, StaticRecurrentCache, num_tokens_read
from .recurrent_layer import RecurrentLayer
from .transformer_layers import DecoderLayer, EncoderLayer, EncoderStack, TransformerLayer, TransformerStack


class TransformerPreTrainedModel(AttentionPreTrainedModel):
    """What encoder, decoder and the models of both share: flags."""

    config: TransformerConfig
    _no_split_modules = ["EncoderLayer", "DecoderLayer"]

    def create_cache(self, length: int | None = None) -> TransformerCache:
        """An empty cache of the kind that this model goes on from; with room for `length` tokens, if that is given."""
        return TransformerCache(self.create_text_cache(length is not None, length), DynamicCache(config=self.config))

    def init_parallel_plans(self) -> None:
        """As transformers does, but the config's plan names the modules of both stacks: it is not for one alone."""
        super().init_parallel_plans()
        if isinstance(self, (TransformerEncoderStack, TransformerDecoderStack)):
            self.tp_plan = None

    def set_recurrence_implementation(self, name: str) -> None:
        """
        Choose how the decoder's cells are run over time from now on, `"eager"` or `"fused"`.

        Raises:
            ValueError: For another name, and for a model without such cells.
        """
        self.config.recurrence_implementation = name
        self.config.validate_architecture()
        for module in self.modules():
            if isinstance(module, RecurrentLayer):
                module.config.recurrence_implementation = name

    def create_text_cache(self, is_static: bool = False, length: int | None = None) -> Cache:
        """
        An empty cache of what the decoder keeps of the text so far: keys and values, with room for `length` tokens if
        that is given, or its cells' states, at an address that stays if they are to be static.
        """
        if self.config.decoder_cell is None:
            return GrowingCache(self.config) if length is None else StaticCache(self.config, length)
        return (StaticRecurrentCache if is_static else RecurrentCache)(self.config.recurrent_config())

    def _resize_token_embeddings(self, new_num_tokens, pad_to_multiple_of=None, mean_resizing=True):
        resized = super()._resize_token_embeddings(new_num_tokens, pad_to_multiple_of, mean_resizing)
        decoder = getattr(self.base_model, "decoder", None)
        if decoder is not None and not self.config.tie_word_embeddings:
            decoder.embed_tokens = self._get_resized_embeddings(
                decoder.embed_tokens, new_num_tokens, pad_to_multiple_of, mean_resizing
            )
        return resized


class TransformerEncoderStack(EncoderStack, TransformerPreTrainedModel):
    """Figure 1, left: the source, each token seeing all others. Padding anywhere changes no valid output."""

    _can_record_outputs = {"hidden_states": EncoderLayer, "attentions": MultiHeadAttention}


class TransformerDecoderStack(TransformerStack, TransformerPreTrainedModel):
    """Figure 1, right: the target so far, each token seeing those before it and the whole source."""

    _can_record_outputs = {
        "hidden_states": TransformerLayer,
        "attentions": OutputRecorder(MultiHeadAttention, index=1, layer_name="self_attn"),
        "cross_attentions": OutputRecorder(MultiHeadAttention, index=1, layer_name="cross_attn"),
    }

    def __init__(self, config: TransformerConfig):
        super().__init__(config)
        self.add_layers(self._create_layer, config.decoder_layers)

    def _create_layer(self, index: int) -> TransformerLayer:
        if self.config.decoder_cell is not None:
            return CellDecoderLayer(self.config, index)
        return DecoderLayer(self.config, index, has_cross_attention=True)

    @takes_past_key_values
    @merge_with_config_defaults
    @capture_outputs
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        encoder_hidden_states: torch.FloatTensor | None = None,
        encoder_attention_mask: torch.Tensor | None = None,
        cache: EncoderDecoderCache | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        use_cache: bool | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaseModelOutputWithPastAndCrossAttentions:
        """
        Args:
            input_ids: `(batch_size, target_length)`.
            attention_mask: `(batch_size, target_length)`, longer by the tokens in a cache that is given; 0 at padding.
            position_ids: `(batch_size, target_length)`; by default the number of valid tokens before each.
            encoder_hidden_states: What the encoder gave, `(num_sources, source_length, hidden_size)`; as many sources
                as rows, or fewer, each read by equally many neighboring rows.
            encoder_attention_mask: `(num_sources, source_length)`, 0 at padding.
            cache: Keys and values of earlier tokens, or the cells' states after them, and of the source;
                updated in place.
            inputs_embeds: `(batch_size, target_length, hidden_size)`, instead of `input_ids`.
            use_cache: Whether to return them.

        Returns:
            `last_hidden_state`, `(batch_size, target_length, hidden_size)`, and `cache`.

        Raises:
            ValueError: If not exactly one of `input_ids` and `inputs_embeds` is given, without a source, if a mask has
                another shape, if sources do not share the rows out evenly, or for a cache that has no room for the
                source or for the cells' states.
        """
        inputs_embeds = self.embed(input_ids, inputs_embeds, prefix="decoder_")
        if encoder_hidden_states is None:
            raise ValueError("The decoder needs encoder_hidden_states: it reads a source.")
        if cache is not None and not isinstance(cache, EncoderDecoderCache):
            raise ValueError(
                f"cache of type {type(cache).__name__} has no room for the keys and values of the "
                "source: wrap two caches in an EncoderDecoderCache."
            )
        own_cache = None if cache is None else cache.self_attention_cache
        check_source_mask(encoder_attention_mask, encoder_hidden_states)
        source_mask = self._create_source_mask(inputs_embeds, encoder_attention_mask, encoder_hidden_states, cache)
        if self.config.decoder_cell is None:
            seen = create_causal_mask(self.config, inputs_embeds, attention_mask, own_cache, position_ids)
            past_length = 0 if own_cache is None else own_cache.get_seq_length()
        else:
            mask = token_mask(attention_mask, inputs_embeds)
            refuse_packed_texts(position_ids, mask)
            seen = Padding.from_mask(mask, num_directions=1)
            past_length = self._num_read(own_cache)
        position_ids = count_positions(attention_mask, inputs_embeds, past_length, position_ids)
        if use_cache and cache is None:
            cache = self.create_cache()
            own_cache = cache.self_attention_cache

        hidden_states = self.run_layers(
            inputs_embeds,
            position_ids,
            seen,
            encoder_hidden_states,
            encoder_attention_mask=source_mask,
            position_ids=position_ids,
            cache=cache,
            **kwargs,
        )
        if isinstance(own_cache, RecurrentStates):
            own_cache.count(inputs_embeds.shape[1])
        return BaseModelOutputWithPastAndCrossAttentions(last_hidden_state=hidden_states, cache=cache)

    def _num_read(self, cache: Cache | None) -> int | torch.Tensor:
        """How many tokens the cells have read, as [`num_tokens_read`] says."""
        if cache is not None and not isinstance(cache, RecurrentStates):
            raise ValueError(
                f"cache keeps the text in a {type(cache).__name__}, and decoder_cell="
                f"{self.config.decoder_cell!r} has states: give model.create_text_cache(), or leave it out."
            )
        return num_tokens_read(cache)

    def _create_source_mask(
        self,
        inputs_embeds: torch.Tensor,
        mask: torch.Tensor | None,
        source: torch.Tensor,
        cache: EncoderDecoderCache | None,
    ) -> torch.Tensor | None:
        """Which source tokens are seen by those that read a source; a cache may keep it for each of several rows."""
        if cache is not None and cache.is_updated.get(0):
            repeats = rows_per_source(cache.cross_attention_cache.layers[0].keys.shape[0], source.shape[0])
            if repeats > 1:
                source = source.repeat_interleave(repeats, dim=0)
                mask = None if mask is None else mask.repeat_interleave(repeats, dim=0)
        return create_bidirectional_mask(self.config, beside_source(inputs_embeds, source.shape[0]), mask, source)


class TransformerModel(TransformerPreTrainedModel):
    """Encoder and decoder, by default over one embedding matrix (section 3.4)."""

    _tied_weights_keys = {"decoder.embed_tokens.weight": "encoder.embed_tokens.weight"}

    def __init__(self, config: TransformerConfig):
        super().__init__(config)
        self.encoder = TransformerEncoderStack(config)
        self.decoder = TransformerDecoderStack(config)
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        """The source's embedding matrix, by default the target's and the output's too."""
        return self.encoder.embed_tokens

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replace the source's embedding matrix, and the target's if they share it."""
        self.encoder.embed_tokens = value
        if self.config.tie_word_embeddings:
            self.decoder.embed_tokens = value

    @takes_past_key_values
    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        decoder_input_ids: torch.LongTensor | None = None,
        decoder_attention_mask: torch.Tensor | None = None,
        decoder_position_ids: torch.LongTensor | None = None,
        encoder_outputs: BaseModelOutput | tuple | None = None,
        cache: Cache | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        decoder_inputs_embeds: torch.FloatTensor | None = None,
        use_cache: bool | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> Seq2SeqModelOutput:
        """
        Args:
            encoder_outputs: What the encoder gave for the source, instead of running it.

        The other arguments are those of [`TransformerEncoderStack.forward`] and, with `decoder_` before their names,
        of [`TransformerDecoderStack.forward`].

        Returns:
            `last_hidden_state` of the decoder, `(batch_size, target_length, hidden_size)`, `cache`,
            `encoder_last_hidden_state`, and what of each layer is asked for.
        """
        if encoder_outputs is None:
            encoder_outputs = self.encoder(
                input_ids=input_ids,
                attention_mask=attention_mask,
                position_ids=position_ids,
                inputs_embeds=inputs_embeds,
                **kwargs,
            )
        elif not isinstance(encoder_outputs, BaseModelOutput):
            encoder_outputs = BaseModelOutput(*encoder_outputs)
        decoder_outputs = self.decoder(
            input_ids=decoder_input_ids,
            attention_mask=decoder_attention_mask,
            position_ids=decoder_position_ids,
            encoder_hidden_states=encoder_outputs.last_hidden_state,
            encoder_attention_mask=attention_mask,
            cache=cache,
            inputs_embeds=decoder_inputs_embeds,
            use_cache=use_cache,
            **kwargs,
        )
        return Seq2SeqModelOutput(
            last_hidden_state=decoder_outputs.last_hidden_state,
            cache=decoder_outputs.cache,
            decoder_hidden_states=decoder_outputs.hidden_states,
            decoder_attentions=decoder_outputs.attentions,
            cross_attentions=decoder_outputs.cross_attentions,
            encoder_last_hidden_state=encoder_outputs.last_hidden_state,
            encoder_hidden_states=encoder_outputs.hidden_states,
            encoder_attentions=encoder_outputs.attentions,
        )


class TransformerForConditionalGeneration(ConditionalGeneration, TransformerPreTrainedModel, GenerationMixin):
    """The target's next token from the decoder's state, by default by the embedding matrix (section 3.4)."""

    _tied_weights_keys = {"lm_head.weight": "model.encoder.embed_tokens.weight"}
    _tp_plan = {"lm_head": "colwise_gather_output"}

    def __init__(self, config: TransformerConfig):
        super().__init__(config)
        self.model = TransformerModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=config.output_bias)
        self.post_init()

    def _prepare_cache_for_generation(self, generation_config, model_kwargs, *args, **kwargs) -> None:
        given = model_kwargs.get("cache")
        super()._prepare_cache_for_generation(generation_config, model_kwargs, *args, **kwargs)
        cache = model_kwargs.get("cache")
        if self.config.decoder_cell is not None and given is None and cache is not None:
            if not isinstance(cache.self_attention_cache, RecurrentStates):
                # transformers has made room for keys and values of the text, where the cells have states.
                cache.self_attention_cache = self.create_text_cache(is_static=cache.is_compileable)
            if generation_config.is_assistant:  # what it drafts may be refused
                cache.activate_past_recording()

    def create_masks_for_generate(self, attention_mask: torch.Tensor | None, **kwargs) -> torch.Tensor | dict | None:
        """For compiled generation; cells read the mask of the tokens as it is."""
        if self.config.decoder_cell is not None:
            return attention_mask
        return super().create_masks_for_generate(attention_mask=attention_mask, **kwargs)

    def _reorder_cache(self, cache: EncoderDecoderCache, beam_idx: torch.Tensor) -> EncoderDecoderCache:
        # The beams of a text read the same source: its keys and values stay, once for all of them or alike.
        cache.self_attention_cache.reorder_cache(beam_idx)
        return cache

    def prepare_inputs_for_generation(self, input_ids, decoder_attention_mask=None, **kwargs):
        """As transformers does, and count the positions of a padded beginning before its mask is made square."""
        if decoder_attention_mask is not None and kwargs.get("decoder_position_ids") is None:
            kwargs["decoder_position_ids"] = (decoder_attention_mask.long().cumsum(dim=1) - 1).clamp(min=0)
        return super().prepare_inputs_for_generation(
            input_ids, decoder_attention_mask=decoder_attention_mask, **kwargs
        )


__all__ = ["TransformerForConditionalGeneration", "TransformerModel"]
