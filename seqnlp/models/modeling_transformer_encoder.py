"""The Transformer encoder alone: masked language models, classifiers of texts and of tokens."""

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_outputs import (
    BaseModelOutput,
    MaskedLMOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs, can_return_tuple
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from .aligned_weights import AlignedWeights
from .attention import MultiHeadAttention
from .configuration_transformer_encoder import TransformerEncoderConfig
from .losses import chunked_cross_entropy, divide_by_items, token_loss
from .transformer_layers import EncoderLayer, Positions, count_positions, create_final_norm, create_norm, pool_tokens


class TransformerEncoderPreTrainedModel(AlignedWeights, PreTrainedModel):
    """What the encoders share: flags. transformers draws the weights, normal with `initializer_range`."""

    config: TransformerEncoderConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ["EncoderLayer"]
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _can_compile_fullgraph = True
    _can_record_outputs = {"hidden_states": EncoderLayer, "attentions": MultiHeadAttention}


class TransformerEncoderModel(TransformerEncoderPreTrainedModel):
    """
    Embedded tokens through a stack of layers in which each token sees all others.

    Vaswani et al. 2017, the left half of figure 1 (Devlin et al. 2019, arXiv 1810.04805, section 3). Padding anywhere
    changes no valid output.
    """

    def __init__(self, config: TransformerEncoderConfig):
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, config.pad_token_id)
        self.embedding_scale = config.hidden_size**0.5 if config.scale_embedding else 1.0
        self.positions = Positions(config)
        self.embedding_norm = create_norm(config) if config.embedding_norm else nn.Identity()
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList([EncoderLayer(config, index) for index in range(config.num_hidden_layers)])
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
        inputs_embeds: torch.FloatTensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaseModelOutput:
        """
        Args:
            input_ids: `(batch_size, sequence_length)`.
            attention_mask: `(batch_size, sequence_length)`, 0 at padding; `None` means that every token is valid.
            position_ids: `(batch_size, sequence_length)`; by default the number of valid tokens before each.
            inputs_embeds: `(batch_size, sequence_length, hidden_size)`, instead of `input_ids`.

        Returns:
            `last_hidden_state`, `(batch_size, sequence_length, hidden_size)`.

        Raises:
            ValueError: If not exactly one of `input_ids` and `inputs_embeds` is given, or if the mask has another
                shape.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("Give exactly one of input_ids and inputs_embeds.")
        if inputs_embeds is None:
            inputs_embeds = self.embed_tokens(input_ids)
        if position_ids is None:
            position_ids = count_positions(attention_mask, inputs_embeds)
        mask = create_bidirectional_mask(self.config, inputs_embeds, attention_mask)

        hidden_states, position_embeddings = self.positions(inputs_embeds * self.embedding_scale, position_ids)
        hidden_states = self.dropout(self.embedding_norm(hidden_states))
        for layer in self.layers[: self.config.num_hidden_layers]:
            hidden_states = layer(
                hidden_states, attention_mask=mask, position_embeddings=position_embeddings, **kwargs
            )

        return BaseModelOutput(last_hidden_state=self.norm(hidden_states))


class TransformerEncoderForMaskedLM(TransformerEncoderPreTrainedModel):
    """
    The hidden token at each position (Devlin et al. 2019, section 3.1, task 1), through one more dense layer with GELU
    and a norm, as in BERT's released code.
    """

    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}
    _tp_plan = {"lm_head": "colwise_gather_output"}
    _pp_plan = {"lm_head": (["hidden_states"], ["logits"])}
    loss_function = staticmethod(token_loss)

    def __init__(self, config: TransformerEncoderConfig):
        super().__init__(config)
        self.model = TransformerEncoderModel(config)
        self.head_dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.head_norm = create_norm(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        labels: torch.LongTensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> MaskedLMOutput:
        """
        Args:
            labels: `(batch_size, sequence_length)`, the hidden tokens' ids, -100 where no loss is wanted.

        The other arguments are those of [`TransformerEncoderModel.forward`].

        Returns:
            `loss` (nats a hidden token) and `logits` of shape `(batch_size, sequence_length, vocab_size)`. In training
            with `config.loss_chunk_size` and labels there are no logits.
        """
        outputs: BaseModelOutput = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            **kwargs,
        )
        states = self.head_norm(nn.functional.gelu(self.head_dense(outputs.last_hidden_state)))
        loss, logits = None, None
        smoothing = self.config.label_smoothing if self.training else 0.0
        num_items = kwargs.get("num_items_in_batch")
        if labels is not None and self.training and self.config.loss_chunk_size is not None:
            chunk_size = self.config.loss_chunk_size
            loss = chunked_cross_entropy(states, self.lm_head, labels, chunk_size, smoothing, num_items)
        else:
            logits = self.lm_head(states)
        if labels is not None and logits is not None:
            loss = self.loss_function(
                logits=logits,
                labels=labels,
                vocab_size=self.config.vocab_size,
                label_smoothing=smoothing,
                num_items_in_batch=num_items,
            )
        return MaskedLMOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )


class TransformerEncoderForSequenceClassification(TransformerEncoderPreTrainedModel):
    """
    A label, several labels or a number for a whole text: the states, pooled by `config.pooling`, and a linear map.
    """

    def __init__(self, config: TransformerEncoderConfig):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.model = TransformerEncoderModel(config)
        self.head_dropout = nn.Dropout(config.head_dropout)
        self.score = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        labels: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> SequenceClassifierOutput:
        """
        Args:
            labels: `(batch_size,)` class ids; `(batch_size, num_labels)` floats for several labels a text; floats for
                regression. `config.problem_type` decides, or else the labels' type and `num_labels`.

        The other arguments are those of [`TransformerEncoderModel.forward`].

        Returns:
            `loss` and `logits` of shape `(batch_size, num_labels)`.
        """
        outputs: BaseModelOutput = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            **kwargs,
        )
        pooled = pool_tokens(self.config.pooling, attention_mask, outputs.last_hidden_state)  # (B, hidden_size)
        logits = self.score(self.head_dropout(pooled))
        loss = None
        if labels is not None:
            loss = self.loss_function(labels=labels, logits=logits, pooled_logits=logits, config=self.config, **kwargs)
            loss = divide_by_items(loss, labels, self.config.problem_type, kwargs.get("num_items_in_batch"))
        return SequenceClassifierOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )


class TransformerEncoderForTokenClassification(TransformerEncoderPreTrainedModel):
    """A label for every token (Devlin et al. 2019, section 5.3): the encoder and a linear map."""

    def __init__(self, config: TransformerEncoderConfig):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.model = TransformerEncoderModel(config)
        self.head_dropout = nn.Dropout(config.head_dropout)
        self.score = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        labels: torch.LongTensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> TokenClassifierOutput:
        """
        Args:
            labels: `(batch_size, sequence_length)` class ids, -100 where no loss is wanted.

        The other arguments are those of [`TransformerEncoderModel.forward`].

        Returns:
            `loss` and `logits` of shape `(batch_size, sequence_length, num_labels)`.
        """
        outputs: BaseModelOutput = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            **kwargs,
        )
        logits = self.score(self.head_dropout(outputs.last_hidden_state))
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, config=self.config, **kwargs)
        return TokenClassifierOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )


__all__ = [
    "TransformerEncoderForMaskedLM",
    "TransformerEncoderForSequenceClassification",
    "TransformerEncoderForTokenClassification",
    "TransformerEncoderModel",
    "TransformerEncoderPreTrainedModel",
]
