"""The recurrent encoder-decoder, with or without attention: what came before the Transformer.

An encoder reads the source; a decoder starts from where the encoder ended, predicts the target token by token and,
with attention, looks back at every source token before each prediction.

Shapes: `B` rows, `S` source tokens, `T` target tokens, `E` embedding width, `H` hidden width.
"""

from dataclasses import dataclass

import torch
from torch import nn
from transformers import Cache, EncoderDecoderCache, GenerationMixin
from transformers import initialization as init
from transformers.modeling_outputs import (
    BaseModelOutputWithPastAndCrossAttentions,
    ModelOutput,
    Seq2SeqModelOutput,
)
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs, can_return_tuple
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from .beam_search import check_source_mask, rows_per_source
from .cells import CELLS, State
from .configuration_recurrent_seq2seq import RecurrentSeq2SeqConfig
from .heads import ConditionalGeneration
from .modeling_recurrent import RecurrentPreTrainedModel
from .pretrained import takes_past_key_values
from .recurrence import Padding, token_mask
from .recurrent_cache import AttentionCache, RecurrentSeq2SeqCache, num_tokens_read, read_state, write_state
from .recurrent_layer import RecurrentLayer, create_dropout
from .residual_recurrent_layer import ResidualRecurrentLayer
from .single_head_attention import AdditiveAttention, MultiplicativeAttention


@dataclass(frozen=True)
class Source:
    """The source as attention sees it: `(B, S, source_size)` states, `(B, S)` mask, `(B, S, A)` projected keys."""

    hidden_states: torch.Tensor
    mask: torch.Tensor | None
    projected_keys: torch.Tensor


class FlatState:
    """
    Makes the state of a [`RecurrentLayer`] go in and out tensor by tensor.

    Reentrant gradient checkpointing carries the gradients of tensors, not of tuples of them, and here the loss reaches
    the encoder through its final state: without attention by no other way.
    """

    def forward(
        self, hidden_states: torch.Tensor, padding: Padding | None, return_state: bool, *state: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """The outputs, and behind them the tensors of the final state if `return_state`; no `state` means zeros."""
        outputs, states = super().forward(hidden_states, state or None, padding, num_states=int(return_state))
        return outputs, *(states[-1] if states else ())


class FlatRecurrentLayer(FlatState, RecurrentLayer):
    """A layer of a plain stack."""


class FlatResidualRecurrentLayer(FlatState, ResidualRecurrentLayer):
    """A residual block."""


class LayerStates(nn.Module):
    """Hands on a layer's outputs over the whole target, run at once or step by step: hooks see them here."""

    def forward(self, inputs: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
        return outputs


class Alignment(nn.Module):
    """Hands on the weights over the whole target, `(B, T, S)`, as those of one head, `(B, 1, T, S)`."""

    def forward(self, weights: torch.Tensor) -> torch.Tensor:
        return weights.unsqueeze(1)


class Bridge(nn.Module):
    """
    From where the encoder ended to where the decoder starts: `s_0 = tanh(W h + b)`, layer by layer.

    Bahdanau et al. 2015 (arXiv 1409.0473), appendix A.2.2, from the backward direction alone and for one layer. Here
    the map reads the final states of both directions and each decoder layer starts from the encoder layer of the same
    height, as in Sutskever et al. 2014 (arXiv 1409.3215), section 2. The LSTM's cell, which is not bounded by one, has
    a map of its own without tanh.
    """

    def __init__(self, config: RecurrentSeq2SeqConfig):
        super().__init__()
        sizes = (config.source_size, config.hidden_size)
        self.projs = nn.ModuleList(
            nn.ModuleList(nn.Linear(*sizes) for _ in CELLS[config.cell_type].states)
            for _ in range(config.num_hidden_layers)
        )

    def forward(self, final_state: torch.Tensor) -> list[State]:
        """
        From `(B, num_layers, num_states, source_size)` to one state per layer, its tensors `(B, 1, H)` as a layer
        of one direction reads them.
        """
        states = []
        for layer, projs in enumerate(self.projs):
            hidden, *cell = (proj(final_state[:, layer, index]).unsqueeze(1) for index, proj in enumerate(projs))
            states.append((torch.tanh(hidden), *cell))
        return states


@dataclass
class RecurrentEncoderOutput(ModelOutput):
    """
    What the decoder needs to know of the source.

    Args:
        last_hidden_state: `(B, S, source_size)`, zero at padding.
        final_state: Where each layer ended, `(B, num_hidden_layers, number of state tensors, source_size)`: the hidden
            state and, for an LSTM, the cell, after the last valid token of each direction, the directions side by
            side.
        hidden_states: The embeddings (as wide as residual blocks read them) and each layer's states, with
            `output_hidden_states=True`.
        attentions: Always `None`.
    """

    last_hidden_state: torch.FloatTensor | None = None
    final_state: torch.FloatTensor | None = None
    hidden_states: tuple[torch.FloatTensor, ...] | None = None
    attentions: tuple[torch.FloatTensor, ...] | None = None


class RecurrentSeq2SeqPreTrainedModel(RecurrentPreTrainedModel):
    """What encoder, decoder and the whole share: the initialization of the recurrent models, and flags."""

    config: RecurrentSeq2SeqConfig
    _can_record_outputs = {}

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, AdditiveAttention):
            init.normal_(module.score_vector, std=self.config.initializer_range)

    def set_recurrence_implementation(self, name: str) -> None:
        """
        Choose how the cells are run over time from now on, `"eager"` or `"fused"`.

        Raises:
            ValueError: For another name.
        """
        super().set_recurrence_implementation(name)
        for module in self.modules():
            if isinstance(module, RecurrentLayer):
                module.config.recurrence_implementation = name

    def create_cache(self, is_static: bool = False) -> RecurrentSeq2SeqCache:
        """An empty cache of the kind that this model goes on from."""
        return RecurrentSeq2SeqCache(self.config, is_static)

    def _resize_token_embeddings(self, new_num_tokens, pad_to_multiple_of=None, mean_resizing=True):
        resized = super()._resize_token_embeddings(new_num_tokens, pad_to_multiple_of, mean_resizing)
        decoder = getattr(self.base_model, "decoder", None)
        # There is one vocabulary: the target's matrix, if it has one of its own, follows the source's.
        if decoder is not None and decoder.embed_tokens is not None:
            decoder.embed_tokens = self._get_resized_embeddings(
                decoder.embed_tokens, new_num_tokens, pad_to_multiple_of, mean_resizing
            )
        return resized


class RecurrentSeq2SeqEncoder(RecurrentSeq2SeqPreTrainedModel):
    """Embedded source tokens through recurrent layers, which usually read both ways (Bahdanau et al. 2015, 3.2)."""

    _can_record_outputs = {"hidden_states": RecurrentLayer}

    def __init__(self, config: RecurrentSeq2SeqConfig):
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.embedding_size, config.pad_token_id)
        self.embedding_dropout = create_dropout(config, config.embedding_dropout)
        self._stack(config.recurrent_config(of_decoder=False), FlatRecurrentLayer, FlatResidualRecurrentLayer)
        self.gradient_checkpointing = False
        self.post_init()

    @merge_with_config_defaults
    @capture_outputs
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> RecurrentEncoderOutput:
        """
        Args:
            input_ids: `(batch_size, source_length)`.
            attention_mask: `(batch_size, source_length)`, 0 at padding, which may stand anywhere and changes nothing.
            inputs_embeds: `(batch_size, source_length, embedding_size)`, instead of `input_ids`.

        Returns:
            [`RecurrentEncoderOutput`].

        Raises:
            ValueError: If not exactly one of `input_ids` and `inputs_embeds` is given, or the mask has another shape.
        """
        inputs_embeds = self.embed(input_ids, inputs_embeds)
        mask = token_mask(attention_mask, inputs_embeds, num_read=0)
        padding = Padding.from_mask(mask, 2 if self.config.bidirectional else 1)
        hidden_states = self._into_stack(self.embedding_dropout(inputs_embeds))
        final_states, num_states = [], len(CELLS[self.config.cell_type].states)
        for layer in self.layers:
            hidden_states, *state = layer(hidden_states, padding, True)
            # (B, N, source_size): where the cells ended, not what a convolution has read
            final_states.append(torch.stack([tensor.flatten(1) for tensor in state[:num_states]], dim=1))
        return RecurrentEncoderOutput(
            last_hidden_state=self._out_of_stack(hidden_states, padding),
            # (B, L, N, source_size), in the type that maps read, however exactly a cell keeps it
            final_state=torch.stack(final_states, dim=1).to(hidden_states.dtype),
        )


class RecurrentSeq2SeqDecoder(RecurrentSeq2SeqPreTrainedModel):
    """
    Embedded target tokens through recurrent layers, and from their states back to the source.

    The order is that of Luong et al. 2015 (arXiv 1508.04025), section 3, for either attention: the recurrent state
    `h_t`, which has read token `t`, asks; the context `c_t` answers; the prediction is made from the attentional
    vector `tanh(W [c_t; h_t])`. In Bahdanau et al. 2015 the state before token `t` asks and the context enters the
    recurrence. The departure is deliberate: the recurrence then does not wait for attention, so that training runs
    the layers over the whole target in the fused kernels and attends afterwards, all positions at once. With input
    feeding (section 3.3) the attentional vector does enter the recurrence, one token later, and the decoder has to
    step.
    """

    _can_record_outputs = {"hidden_states": LayerStates, "cross_attentions": Alignment}

    def __init__(self, config: RecurrentSeq2SeqConfig):
        super().__init__(config)
        size, source_size = config.hidden_size, config.source_size
        # Where source and target share a matrix the encoder holds it, and the model embeds for both.
        self.embed_tokens = None
        if not config.share_embeddings:
            self.embed_tokens = nn.Embedding(config.vocab_size, config.embedding_size, config.pad_token_id)
        self.embedding_dropout = create_dropout(config, config.embedding_dropout)
        self.bridge = Bridge(config)
        self._stack(config.recurrent_config(of_decoder=True), FlatRecurrentLayer, FlatResidualRecurrentLayer)
        self.layer_states = LayerStates()
        self.attention = None
        if config.attention_type != "none":
            if config.attention_type == "additive":
                self.attention = AdditiveAttention(size, source_size, config.attention_size or size)
            else:
                self.attention = MultiplicativeAttention(size, source_size)
            self.attentional_proj = nn.Linear(source_size + size, size, bias=False)
            self.alignment = Alignment()
        self.gradient_checkpointing = False
        self.post_init()

    @takes_past_key_values
    @merge_with_config_defaults
    @capture_outputs
    def forward(
        self,
        inputs_embeds: torch.FloatTensor,
        attention_mask: torch.Tensor | None = None,
        encoder_hidden_states: torch.FloatTensor | None = None,
        encoder_attention_mask: torch.Tensor | None = None,
        encoder_final_state: torch.FloatTensor | None = None,
        cache: Cache | None = None,
        use_cache: bool | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaseModelOutputWithPastAndCrossAttentions:
        """
        Args:
            inputs_embeds: `(batch_size, target_length, embedding_size)`.
            attention_mask: `(batch_size, target_length)`, or longer by the tokens already read; 0 at padding.
            encoder_hidden_states: `(num_sources, source_length, source_size)`; as many sources as rows, or fewer, each
                read by equally many neighboring rows.
            encoder_attention_mask: `(num_sources, source_length)`, 0 at padding.
            encoder_final_state: As in [`RecurrentEncoderOutput`]; not read where `cache` holds a state.
            cache: The state to go on from, a [`RecurrentSeq2SeqCache`]; it is updated in place.
            use_cache: Whether to return the final state.

        Returns:
            `last_hidden_state`, `(batch_size, target_length, hidden_size)`, zero at padding: the attentional vectors,
            or without attention the top layer's states. `hidden_states` end with it too.

        Raises:
            ValueError: If there is neither a state nor an encoder's final state to start from, if attention has
                nothing to look at, or if the cache is of another kind.
        """
        if use_cache and cache is None:
            cache = self.create_cache()
        states = self._first_states(cache, encoder_final_state, inputs_embeds.shape[0])
        source, feed = self._look_up(cache, encoder_hidden_states, encoder_attention_mask)
        own_cache = None if cache is None else cache.self_attention_cache
        padding = Padding.from_mask(token_mask(attention_mask, inputs_embeds, num_tokens_read(own_cache)), 1)
        hidden_states = self.embedding_dropout(inputs_embeds)

        if self.config.input_feeding:
            if feed is None:
                feed = hidden_states.new_zeros(hidden_states.shape[0], self.config.hidden_size)
            outputs, states, vectors, weights, feed = self._step(hidden_states, feed, states, padding, source)
        else:
            outputs, states, vectors, weights = self._read(hidden_states, states, padding, source, cache is not None)
        for output in outputs:
            hidden_states = self.layer_states(hidden_states, output)
        if weights is not None:
            self.alignment(weights)
        if cache is not None:
            self._keep(cache, states, source, feed, inputs_embeds.shape[1])
        return BaseModelOutputWithPastAndCrossAttentions(last_hidden_state=vectors, cache=cache)

    def _read(self, hidden_states, states: list[State], padding: Padding | None, source: Source | None, return_state):
        """
        Read target tokens: up through the layers, all tokens at once, and then from their states to the source.

        Returns the layers' outputs, their final states, and `(B, T, H)` attentional vectors with `(B, T, S)` weights,
        or without attention the top layer's states and `None`.
        """
        outputs, final_states = [], []
        hidden_states = self._into_stack(hidden_states)
        for layer, state in zip(self.layers, states, strict=True):
            hidden_states, *state = layer(hidden_states, padding, return_state, *state)
            outputs.append(hidden_states)
            final_states.append(tuple(state))
        hidden_states = self._out_of_stack(hidden_states, padding)
        if self.attention is None:
            return outputs, final_states, hidden_states, None

        context, weights = self.attention(
            hidden_states, source.hidden_states, source.hidden_states, source.mask, source.projected_keys
        )
        # Luong et al. 2015, equation 5
        vectors = torch.tanh(self.attentional_proj(torch.cat([context, hidden_states], dim=-1)))  # (B, T, H)
        if padding is not None:
            vectors = vectors.masked_fill(~padding.mask.unsqueeze(-1), 0)
        return outputs, final_states, vectors, weights

    def _step(self, hidden_states, feed: torch.Tensor, states: list[State], padding: Padding | None, source: Source):
        """
        Read target tokens one by one, each beside the attentional vector of the one before it.

        Luong et al. 2015, section 3.3. Returns what [`_read`][RecurrentSeq2SeqDecoder._read] does, and the last
        attentional vector, `(B, H)`; at padding it stays what it was.
        """
        seen = []
        for step in range(hidden_states.shape[1]):
            here = None
            if padding is not None:
                valid = padding.mask[:, step : step + 1]
                here = Padding(valid, valid.sum(dim=1), (None,))
            inputs = torch.cat([hidden_states[:, step : step + 1], feed.unsqueeze(1)], dim=-1)  # (B, 1, E + H)
            outputs, states, vector, weights = self._read(inputs, states, here, source, True)
            seen.append((*outputs, vector, weights))
            vector = vector.squeeze(1)  # (B, H)
            feed = vector if here is None else torch.where(here.mask, vector, feed)
        *outputs, vectors, weights = (torch.cat(pieces, dim=1) for pieces in zip(*seen, strict=True))
        return outputs, states, vectors, weights, feed

    def _first_states(self, cache: Cache | None, final_state: torch.Tensor | None, num_rows: int) -> list[State]:
        """The states in the cache, or before the first token those that the bridge makes, one for each row."""
        if cache is not None:
            if not (
                isinstance(cache, EncoderDecoderCache) and isinstance(cache.cross_attention_cache, AttentionCache)
            ):
                raise ValueError(
                    f"cache is a {type(cache).__name__}, without a place for a recurrent decoder's state: "
                    "use RecurrentSeq2SeqCache(model.config), or leave it out."
                )
            states = [read_state(cache.self_attention_cache, index) for index in range(len(self.layers))]
            if states[0] is not None:
                return states
        if final_state is None:
            raise ValueError(
                "The decoder starts from where the encoder ended, and encoder_outputs has no final_state: give "
                "input_ids, or encoder_outputs as model.get_encoder() returns them."
            )
        repeats = rows_per_source(num_rows, final_state.shape[0])
        states = self.states_from(final_state)
        if repeats == 1:
            return states
        return [tuple(tensor.repeat_interleave(repeats, dim=0) for tensor in state) for state in states]

    def states_from(self, final_state: torch.Tensor) -> list[State]:
        """
        The state of each layer before the first token, from where the encoder ended: what the bridge makes, and for a
        convolution that no target token has been read.
        """
        states, kernel_size = self.bridge(final_state), self.config.conv_kernel_size
        if kernel_size is None:
            return states
        nothing = final_state.new_zeros(final_state.shape[0], kernel_size - 1, self.config.hidden_size)
        return [(*state, nothing) for state in states]

    def _look_up(
        self, cache: Cache | None, hidden_states: torch.Tensor | None, mask: torch.Tensor | None
    ) -> tuple[Source | None, torch.Tensor | None]:
        """The source, its keys projected once a text, and the last attentional vector if the cache holds one."""
        if self.attention is None:
            return None, None
        if hidden_states is None:
            raise ValueError("Attention has no source to look at: give input_ids or encoder_outputs.")
        check_source_mask(mask, hidden_states)
        kept = None if cache is None else read_state(cache.cross_attention_cache, 0)
        projected_keys, *feed = (self.attention.project_keys(hidden_states),) if kept is None else kept
        repeats = rows_per_source(projected_keys.shape[0], hidden_states.shape[0])
        if repeats > 1:  # a cache whose rows were repeated
            hidden_states = hidden_states.repeat_interleave(repeats, dim=0)
            mask = None if mask is None else mask.repeat_interleave(repeats, dim=0)
        return Source(hidden_states, mask, projected_keys), feed[0] if feed else None

    def _keep(self, cache: Cache, states: list[State], source: Source | None, feed, num_tokens: int) -> None:
        """Write the state after `num_tokens` more target tokens to the cache."""
        for index, state in enumerate(states):
            write_state(cache.self_attention_cache, index, state)
        cache.self_attention_cache.count(num_tokens)
        if source is not None:
            kept = (source.projected_keys,) if feed is None else (source.projected_keys, feed)
            write_state(cache.cross_attention_cache, 0, kept)
            if not cache.is_updated[0]:
                cache.cross_attention_cache.count(source.projected_keys.shape[1])
            cache.is_updated[0] = True


class RecurrentSeq2SeqModel(RecurrentSeq2SeqPreTrainedModel):
    """Encoder and decoder. No padding, of the source or of the target, changes a valid output or the final state."""

    def __init__(self, config: RecurrentSeq2SeqConfig):
        super().__init__(config)
        self.encoder = RecurrentSeq2SeqEncoder(config)
        self.decoder = RecurrentSeq2SeqDecoder(config)
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        """The source's embedding, which is the target's too with `share_embeddings`."""
        return self.encoder.embed_tokens

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replace what [`get_input_embeddings`][RecurrentSeq2SeqModel.get_input_embeddings] gives."""
        self.encoder.embed_tokens = value

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
        use_cache: bool | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> Seq2SeqModelOutput:
        """
        Args:
            input_ids: `(batch_size, source_length)`.
            attention_mask: `(batch_size, source_length)`, 0 at padding of the source.
            decoder_input_ids: `(batch_size, target_length)`: the start token and the target but for its last token.
            decoder_attention_mask: `(batch_size, target_length)`, 0 at padding of the target.
            encoder_outputs: What the encoder returned, instead of `input_ids`; as a tuple, `(last_hidden_state,
                final_state)`.
            cache: The state to go on from, a [`RecurrentSeq2SeqCache`]; it is updated in place.
            inputs_embeds: `(batch_size, source_length, embedding_size)`, instead of `input_ids`.
            decoder_inputs_embeds: `(batch_size, target_length, embedding_size)`, instead of `decoder_input_ids`.
            use_cache: Whether to return the final state.

        Returns:
            `last_hidden_state`, `(batch_size, target_length, hidden_size)`, zero at padding, and `cache`;
            with `output_attentions=True` the alignment as `cross_attentions`, one tensor `(batch_size, 1,
            target_length, source_length)`, and no other attentions, since there are none.

        Raises:
            ValueError: If not exactly one of `decoder_input_ids` and `decoder_inputs_embeds` is given, or if there is
                no token in them; see also the encoder and the decoder.
        """
        embedder = self.encoder if self.decoder.embed_tokens is None else self.decoder
        decoder_inputs_embeds = embedder.embed(decoder_input_ids, decoder_inputs_embeds, prefix="decoder_")
        if encoder_outputs is None:
            encoder_outputs = self.encoder(input_ids, attention_mask, inputs_embeds, **kwargs)
        elif not isinstance(encoder_outputs, ModelOutput):
            encoder_outputs = RecurrentEncoderOutput(*encoder_outputs)

        decoder_outputs: BaseModelOutputWithPastAndCrossAttentions = self.decoder(
            decoder_inputs_embeds,
            attention_mask=decoder_attention_mask,
            encoder_hidden_states=encoder_outputs.last_hidden_state,
            encoder_attention_mask=attention_mask,
            encoder_final_state=encoder_outputs.get("final_state"),
            cache=cache,
            use_cache=use_cache,
            **kwargs,
        )
        return Seq2SeqModelOutput(
            last_hidden_state=decoder_outputs.last_hidden_state,
            cache=decoder_outputs.cache,
            decoder_hidden_states=decoder_outputs.hidden_states,
            cross_attentions=decoder_outputs.cross_attentions,
            encoder_last_hidden_state=encoder_outputs.last_hidden_state,
            encoder_hidden_states=encoder_outputs.get("hidden_states"),
        )


class RecurrentSeq2SeqForConditionalGeneration(
    ConditionalGeneration, RecurrentSeq2SeqPreTrainedModel, GenerationMixin
):
    """
    A recurrent encoder-decoder that writes: translation, summaries, any text from a text.

    Sutskever et al. 2014 (arXiv 1409.3215) without attention, Bahdanau et al. 2015 and Luong et al. 2015 with it.
    """

    def __init__(self, config: RecurrentSeq2SeqConfig):
        super().__init__(config)
        self.model = RecurrentSeq2SeqModel(config)
        self.head_dropout = create_dropout(config, config.head_dropout)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        side = "encoder" if config.share_embeddings else "decoder"
        self._tied_weights_keys = {"lm_head.weight": f"model.{side}.embed_tokens.weight"}
        self.post_init()

    def _reorder_cache(self, cache: RecurrentSeq2SeqCache, beam_idx: torch.Tensor) -> RecurrentSeq2SeqCache:
        cache.reorder_beams(beam_idx)
        return cache

    def transform(self, hidden_states):
        """Dropout."""
        return self.head_dropout(hidden_states)


__all__ = ["RecurrentSeq2SeqForConditionalGeneration", "RecurrentSeq2SeqModel"]
