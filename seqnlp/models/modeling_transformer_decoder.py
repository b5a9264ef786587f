"""The Transformer decoder alone: language models, and on top of one classifiers and models of time series."""

import torch
from torch import nn
from transformers import Cache, GenerationMixin, StaticCache
from transformers.masking_utils import create_causal_mask
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from .attention import MultiHeadAttention
from .configuration_transformer_decoder import TransformerDecoderConfig
from .heads import CausalLanguageModel, SequenceClassifier, pool_tokens
from .key_value_cache import GrowingCache
from .positions import count_positions
from .pretrained import AttentionPreTrainedModel, takes_past_key_values
from .time_series import TimeSeriesPredictionMixin
from .transformer_layers import DecoderLayer, TransformerStack


class TransformerDecoderPreTrainedModel(AttentionPreTrainedModel):
    """What the decoders share: flags."""

    config: TransformerDecoderConfig
    _no_split_modules = ["DecoderLayer"]
    _supports_attention_backend = True
    _can_record_outputs = {"hidden_states": DecoderLayer, "attentions": MultiHeadAttention}

    def create_cache(self, length: int | None = None) -> Cache:
        """An empty cache of the kind that this model goes on from; with room for `length` tokens, if that is given."""
        return GrowingCache(self.config) if length is None else StaticCache(self.config, length)


class TransformerDecoderModel(TransformerStack, TransformerDecoderPreTrainedModel):
    """
    Embedded tokens through a stack of layers in which each token sees itself and those before it.

    Vaswani et al. 2017, the right half of figure 1 without the encoder (Liu et al. 2018, arXiv 1801.10198, section
    4.2.3; Radford et al. 2018). Padding on either side changes no valid output.
    """

    def __init__(self, config: TransformerDecoderConfig):
        super().__init__(config)
        self.add_layers(lambda index: DecoderLayer(config, index), config.num_hidden_layers)

    @takes_past_key_values
    @merge_with_config_defaults
    @capture_outputs
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        cache: Cache | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        use_cache: bool | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaseModelOutputWithPast:
        """
        Args:
            input_ids: `(batch_size, sequence_length)`.
            attention_mask: `(batch_size, sequence_length)`, longer by the tokens in a cache that is given; 0 at
                padding. `None` means that every token is valid.
            position_ids: `(batch_size, sequence_length)`; by default the number of valid tokens before each. Where
                one is not one more than that before it, and neither mask nor cache is given, another text begins:
                several share a row and do not see each other.
            cache: Keys and values of earlier tokens; updated in place.
            inputs_embeds: `(batch_size, sequence_length, hidden_size)`, instead of `input_ids`.
            use_cache: Whether to return keys and values.

        Returns:
            `last_hidden_state`, `(batch_size, sequence_length, hidden_size)`, and `cache`.

        Raises:
            ValueError: If not exactly one of `input_ids` and `inputs_embeds` is given, or if the mask has another
                shape.
        """
        inputs_embeds = self.embed(input_ids, inputs_embeds)
        # Before a cache is made: texts that share a row are told apart where none is given.
        causal_mask = create_causal_mask(self.config, inputs_embeds, attention_mask, cache, position_ids)
        past_length = 0 if cache is None else cache.get_seq_length()
        position_ids = count_positions(attention_mask, inputs_embeds, past_length, position_ids)
        if use_cache and cache is None:
            cache = self.create_cache()

        hidden_states = self.run_layers(
            inputs_embeds,
            position_ids,
            causal_mask,
            position_ids=position_ids,
            cache=cache,
            **kwargs,
        )
        return BaseModelOutputWithPast(last_hidden_state=hidden_states, cache=cache)


class TransformerDecoderForCausalLM(CausalLanguageModel, TransformerDecoderPreTrainedModel, GenerationMixin):
    """A language model: the next token from the last layer's state (Radford et al. 2018, section 3.1, equation 2)."""

    _tp_plan = {"lm_head": "colwise_gather_output"}
    _pp_plan = {"lm_head": (["hidden_states"], ["logits"])}

    def __init__(self, config: TransformerDecoderConfig):
        super().__init__(config)
        self.model = TransformerDecoderModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    @takes_past_key_values
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        cache: Cache | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        labels: torch.LongTensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        **kwargs: Unpack[TransformersKwargs],
    ) -> CausalLMOutputWithPast:
        """As [`CausalLanguageModel.forward`]; generation gives `position_ids` to a model that names them."""
        return super().forward(
            input_ids,
            attention_mask,
            cache,
            inputs_embeds,
            labels,
            use_cache,
            logits_to_keep,
            position_ids=position_ids,
            **kwargs,
        )

    def _prepare_position_ids_for_generation(self, inputs_tensor, model_kwargs):
        # transformers puts all padding at position 0 and each new token one behind the last: after a prompt that ends
        # in padding it would count from there.
        mask = model_kwargs.get("attention_mask")
        if isinstance(mask, torch.Tensor) and mask.dim() == 2:
            return (mask.long().cumsum(dim=1) - 1).clamp(min=0)
        return super()._prepare_position_ids_for_generation(inputs_tensor, model_kwargs)


class TransformerDecoderForSequenceClassification(SequenceClassifier, TransformerDecoderPreTrainedModel):
    """
    A label, several labels or a number for a whole text, from the state of its last valid token (Radford et al. 2018,
    section 3.2).
    """

    def __init__(self, config: TransformerDecoderConfig):
        super().__init__(config)
        self.model = TransformerDecoderModel(config)
        self.add_classifier(config.hidden_size)
        self.post_init()

    def pool(self, hidden_states, attention_mask):
        """The last valid token has seen all others."""
        return pool_tokens(hidden_states, attention_mask, "last")


class TransformerDecoderForTimeSeriesPrediction(TimeSeriesPredictionMixin, TransformerDecoderPreTrainedModel):
    """The next values of a series from the last layer's state (compare Das et al. 2024, arXiv 2310.10688)."""

    def __init__(self, config: TransformerDecoderConfig):
        super().__init__(config)
        self.model = TransformerDecoderModel(config)
        self.add_series_layers(config.hidden_size)
        self.post_init()


__all__ = [
    "TransformerDecoderForCausalLM",
    "TransformerDecoderForSequenceClassification",
    "TransformerDecoderForTimeSeriesPrediction",
    "TransformerDecoderModel",
]
