"""The recurrent family: every cell of `cells.py`, with heads for language models, classifiers and time series."""

import torch
from torch import nn
from transformers import Cache, GenerationMixin
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutputWithPast
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from .cells import CELLS, GateProjection
from .compiled_generation import writes_compiled
from .configuration_recurrent import RecurrentConfig
from .heads import CausalLanguageModel, SequenceClassifier, TokenClassifier, pool_tokens
from .pretrained import BasePreTrainedModel, takes_past_key_values
from .recurrence import RECURRENCE_FUNCTIONS, Padding, refuse_packed_texts, token_mask
from .recurrent_cache import (
    RecurrentCache,
    RecurrentStates,
    StaticRecurrentCache,
    num_states_kept,
    num_tokens_read,
    read_state,
    write_state,
)
from .recurrent_layer import RecurrentLayer, create_dropout
from .residual_recurrent_layer import ResidualRecurrentLayer
from .time_series import TimeSeriesPredictionMixin


def _draw_tiny_(weight: torch.Tensor) -> torch.Tensor:
    return nn.init.normal_(weight, std=0.001)


# How a gate's matrix starts, by `recurrent_initializer`: that of the input, and that of the hidden state. Glorot &
# Bengio 2010, equation 16; Saxe et al. 2014; Le et al. 2015, section 3. Identity under inputs of the usual size would
# add up all that is read: the first loss of a language model was 50 to 300 nats.
_DRAWS = {
    "orthogonal": (nn.init.xavier_uniform_, nn.init.orthogonal_),
    "identity": (_draw_tiny_, nn.init.eye_),
}


class RecurrentPreTrainedModel(BasePreTrainedModel):
    """What the recurrent models share: initialization, the cache and flags."""

    config: RecurrentConfig
    _no_split_modules = ["RecurrentLayer"]
    _is_stateful = True
    _can_record_outputs = {"hidden_states": RecurrentLayer}

    def post_init(self) -> None:
        """As `PreTrainedModel.post_init`; what is never divided among devices is the kind of layer that there is."""
        super().post_init()
        self._no_split_modules = {type(part).__name__ for part in self.modules() if isinstance(part, RecurrentLayer)}

    def _stack(self, config: RecurrentConfig, plain: type[RecurrentLayer], residual: type[RecurrentLayer]) -> None:
        """Create the layers, and around residual blocks the map into their stream and the norm behind it."""
        layer_class = plain if config.block == "plain" else residual
        self.layers = nn.ModuleList([layer_class(config, index) for index in range(config.num_hidden_layers)])
        self.input_proj = self.norm = None
        if config.block == "residual":
            self.norm = nn.LayerNorm(config.output_size)
            if config.embedding_size != config.output_size:
                self.input_proj = nn.Linear(config.embedding_size, config.output_size)

    def _into_stack(self, embedded: torch.Tensor) -> torch.Tensor:
        """Embedded tokens as wide as the layers read them."""
        return embedded if self.input_proj is None else self.input_proj(embedded)

    def _out_of_stack(self, hidden_states: torch.Tensor, padding: Padding | None) -> torch.Tensor:
        """What the last layer gives, normalized behind residual blocks, and zero at padding."""
        if self.norm is None:
            return hidden_states
        hidden_states = self.norm(hidden_states)
        return hidden_states if padding is None else hidden_states.masked_fill(~padding.mask.unsqueeze(-1), 0)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, GateProjection):
            self._init_projection(module)
            return
        super()._init_weights(module)
        if isinstance(module, AttentionPooling):
            init.normal_(module.context, std=self.config.initializer_range)
        is_tied = isinstance(module, nn.Embedding) and self.config.tie_word_embeddings
        if is_tied or module is getattr(self, "lm_head", None):
            self._init_output_matrix(module)

    def _init_projection(self, projection: GateProjection) -> None:
        config, size = self.config, projection.hidden_size
        if config.recurrent_initializer == "uniform":
            init.uniform_(projection.weight, -(size**-0.5), size**-0.5)
        else:
            draw = _DRAWS[config.recurrent_initializer][projection.is_recurrent]
            # Each gate has a matrix of its own in this stack. Drawn apart and copied whole: a slice of a parameter
            # does not know that the parameter has been loaded from a checkpoint, and would be overwritten. In
            # float32, since there is no QR decomposition in half precision.
            drawn = torch.empty_like(projection.weight, dtype=torch.float32)
            for block in drawn.split(size):
                draw(block)
            init.copy_(projection.weight, drawn.to(projection.weight.dtype))
        bias = torch.zeros_like(projection.bias)
        if not projection.is_recurrent:  # of its two biases one is enough
            self._draw_gate_biases(dict(zip(projection.gates, bias.view(-1, size), strict=True)))
        init.copy_(projection.bias, bias)

    def _draw_gate_biases(self, biases: dict[str, torch.Tensor]) -> None:
        config, cell = self.config, CELLS[self.config.cell_type]
        if config.gate_initializer == "constant":
            if "forget_gate" in cell.keeping_gates:  # an open one may forget instead, as the minimal gated unit's does
                biases["forget_gate"].fill_(config.forget_gate_bias)
            return
        # What a gate keeps of the state in each step; the same for a unit's every gate, as what it keeps and what it
        # admits belong together.
        like = next(iter(biases.values()))
        uniform = torch.rand(like.shape, device=like.device, dtype=torch.float32)
        if config.gate_initializer == "chrono":
            logit = torch.log(1 + uniform * (config.max_dependency_length - 2))  # log U([1, T_max - 1])
        else:
            smallest = 1 / config.hidden_size
            logit = torch.logit(smallest + uniform * (1 - 2 * smallest))
        for name in cell.keeping_gates:
            biases[name].copy_(logit)
        for name in cell.admitting_gates:
            biases[name].copy_(-logit)

    def _init_output_matrix(self, module: nn.Linear | nn.Embedding) -> None:
        # The hidden state's components are equally small whatever the width H. Under one deviation for all widths the
        # logits, and with them the gradients of everything below, would shrink like sqrt(H), and narrow nets hardly
        # learn.
        init.normal_(module.weight, std=self.config.output_gain * self.config.hidden_size**-0.5)
        padding_idx = getattr(module, "padding_idx", None)
        if padding_idx is not None and not getattr(module.weight, "_is_hf_initialized", False):
            init.zeros_(module.weight[padding_idx])  # a slice does not know that it has been loaded

    def set_recurrence_implementation(self, name: str) -> None:
        """
        Choose how the cells are run over time from now on, `"eager"` or `"fused"`.

        Raises:
            ValueError: For another name.
        """
        if name not in RECURRENCE_FUNCTIONS:
            raise ValueError(f"recurrence_implementation={name!r} is not one of {', '.join(RECURRENCE_FUNCTIONS)}.")
        self.config.recurrence_implementation = name

    def create_cache(self, is_static: bool = False) -> Cache:
        """An empty cache of the kind that this model goes on from."""
        return (StaticRecurrentCache if is_static else RecurrentCache)(self.config)

    def _prepare_cache_for_generation(self, generation_config, model_kwargs, generation_mode, *args) -> None:
        # transformers would hand over a cache that cannot count tokens, which generation from a state needs, and that
        # has no place for what attention keeps.
        if model_kwargs.get("cache") is not None or generation_config.use_cache is False:
            return super()._prepare_cache_for_generation(generation_config, model_kwargs, generation_mode, *args)
        implementation = generation_config.cache_implementation
        if implementation not in (None, "dynamic", "static", "offloaded"):
            raise ValueError(
                f"cache_implementation={implementation!r} is for keys and values; a recurrent state has a fixed, "
                "small size: leave it out, or use 'static' to compile."
            )
        is_static = implementation == "static" or writes_compiled(self, generation_config, generation_mode)
        model_kwargs["cache"] = self.create_cache(is_static)
        if generation_config.is_assistant:  # what it drafts may be refused
            model_kwargs["cache"].activate_past_recording()


class RecurrentModel(RecurrentPreTrainedModel):
    """Embedded tokens through a stack of recurrent layers. No padding changes a valid output or the final state."""

    def __init__(self, config: RecurrentConfig):
        super().__init__(config)
        self.embed_tokens = None
        if config.input_size is None:
            self.embed_tokens = nn.Embedding(config.vocab_size, config.embedding_size, config.pad_token_id)
        self.embedding_dropout = create_dropout(config, config.embedding_dropout)
        self._stack(config, RecurrentLayer, ResidualRecurrentLayer)
        self.gradient_checkpointing = False
        self.post_init()

    @takes_past_key_values
    @merge_with_config_defaults
    @capture_outputs
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        cache: Cache | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        use_cache: bool | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaseModelOutputWithPast:
        """
        Args:
            input_ids: `(batch_size, sequence_length)`.
            attention_mask: `(batch_size, sequence_length)`, or longer by the tokens already read; 0 at padding, which
                may stand anywhere. `None` means that every token is valid.
            cache: The state to start from, e.g. a [`RecurrentCache`]; it is updated in place.
            inputs_embeds: `(batch_size, sequence_length, embedding_size)`, instead of `input_ids`.
            use_cache: Whether to return the final state.

        Returns:
            `last_hidden_state`, `(batch_size, sequence_length, output_size)`, zero at padding, and `cache`.

        Raises:
            ValueError: If not exactly one of `input_ids` and `inputs_embeds` is given, if the mask has another shape,
                if `position_ids` say that several texts share a row, or if a bidirectional net is asked to go on from
                a state.
        """
        inputs_embeds = self.embed(input_ids, inputs_embeds)
        if use_cache and cache is None:
            cache = self.create_cache()

        mask = token_mask(attention_mask, inputs_embeds, num_tokens_read(cache))
        refuse_packed_texts(kwargs.get("position_ids"), mask)
        padding = Padding.from_mask(mask, self.config.num_directions)
        hidden_states = self._into_stack(self.embedding_dropout(inputs_embeds))
        for layer in self.layers:
            state = None if cache is None else read_state(cache, layer.layer_idx)
            if state is not None and self.config.bidirectional:
                raise ValueError(
                    "A bidirectional net cannot go on from a state: its backward direction starts at the end of the "
                    "text."
                )
            num_states = 0 if cache is None else num_states_kept(cache)
            hidden_states, states = layer(hidden_states, state, padding, num_states)
            for state in states:
                write_state(cache, layer.layer_idx, state)
        if isinstance(cache, RecurrentStates):
            cache.count(inputs_embeds.shape[1])
        hidden_states = self._out_of_stack(hidden_states, padding)
        return BaseModelOutputWithPast(last_hidden_state=hidden_states, cache=cache)

    @classmethod
    def from_torch(
        cls, module: nn.RNNBase, embeddings: nn.Embedding | None = None, **config_kwargs
    ) -> "RecurrentModel":
        """
        A model with the weights of a `torch.nn.RNN`, `GRU` or `LSTM`, and of an embedding if one is given.

        Args:
            module: The recurrent layers. Where it has no biases, the model's are zero.
            embeddings: What turns token ids into the module's inputs; without it the model's embeddings are drawn
                anew.
            **config_kwargs: Further fields of [`RecurrentConfig`].

        Raises:
            ValueError: For an LSTM with projections, and for embeddings of another width than the module's input.
        """
        if getattr(module, "proj_size", 0):
            raise ValueError(f"An LSTM with proj_size={module.proj_size} has no counterpart here.")
        if embeddings is not None:
            if embeddings.embedding_dim != module.input_size:
                raise ValueError(
                    f"The embeddings are {embeddings.embedding_dim} wide, but the module reads {module.input_size}."
                )
            config_kwargs.setdefault("vocab_size", embeddings.num_embeddings)
            config_kwargs.setdefault("pad_token_id", embeddings.padding_idx)
        twins = {name: cell.torch_class for name, cell in CELLS.items() if cell.torch_class is not None}
        cell_type = next(name for name, torch_class in twins.items() if isinstance(module, torch_class))
        config = RecurrentConfig(
            cell_type=cell_type,
            hidden_act=getattr(module, "nonlinearity", "tanh"),
            embedding_size=module.input_size,
            hidden_size=module.hidden_size,
            num_hidden_layers=module.num_layers,
            bidirectional=module.bidirectional,
            dropout=module.dropout,
            **config_kwargs,
        )
        weight = module.weight_ih_l0
        model = cls(config).to(device=weight.device, dtype=weight.dtype)
        with torch.no_grad():
            if embeddings is not None:
                model.embed_tokens.weight.copy_(embeddings.weight)
            for ours, theirs in model._paired_weights(module):
                ours.copy_(theirs) if theirs is not None else ours.zero_()
        return model.train(module.training)

    def to_torch(self) -> nn.RNNBase:
        """
        The recurrent layers as a `torch.nn.RNN`, `GRU` or `LSTM` with `batch_first=True` and a copy of the weights.

        Raises:
            ValueError: For a cell that torch does not have, and for residual blocks.
        """
        config, cell = self.config, self.layers[0].forward_cell
        if config.block != "plain":
            raise ValueError(f"torch.nn has no recurrent layers in blocks: block={config.block!r} stays here.")
        if cell.torch_class is None:
            raise ValueError(f"torch.nn has no recurrent layer of cell_type={config.cell_type!r}.")
        module = cell.torch_class(
            config.embedding_size,
            config.hidden_size,
            config.num_hidden_layers,
            batch_first=True,
            dropout=config.dropout,
            bidirectional=config.bidirectional,
            **cell.torch_options,
        ).to(device=self.device, dtype=self.dtype)
        with torch.no_grad():
            for ours, theirs in self._paired_weights(module):
                theirs.copy_(ours)
        return module.train(self.training)

    def _paired_weights(self, module: nn.RNNBase):
        for layer in self.layers:
            for cell, suffix in zip(layer.cells, ("", "_reverse"), strict=False):
                names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
                for name, ours in zip(names, cell.torch_weights(), strict=True):
                    yield ours, getattr(module, f"{name}_l{layer.layer_idx}{suffix}", None)


class RecurrentForCausalLM(CausalLanguageModel, RecurrentPreTrainedModel, GenerationMixin):
    """
    A recurrent language model (Mikolov et al. 2010): the next token from the hidden state, at constant cost per token.
    Without labels, padding behind a row's last token has that token's logits.
    """

    _can_compile_fullgraph = True  # a step of generation, with a static cache
    _is_stateful = False  # in transformers' sense: the cache takes its states back, so drafts can be refused

    def __init__(self, config: RecurrentConfig):
        if config.bidirectional:
            raise ValueError(
                "A causal language model cannot be bidirectional: the backward direction would read the tokens it is "
                "to predict. Set bidirectional=False."
            )
        super().__init__(config)
        self.model = RecurrentModel(config)
        self.head_dropout = create_dropout(config, config.head_dropout)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def _prepare_cache_for_generation(self, generation_config, model_kwargs, *args) -> None:
        mask, chunk_size = model_kwargs.get("attention_mask"), generation_config.prefill_chunk_size
        if chunk_size is not None and isinstance(mask, torch.Tensor) and not bool(mask[:, -1].all()):
            raise ValueError(
                f"prefill_chunk_size={chunk_size} with a prompt that ends in padding: the state before it is in a "
                "chunk that has been read. Pad on the left, or leave prefill_chunk_size out."
            )
        super()._prepare_cache_for_generation(generation_config, model_kwargs, *args)

    def transform(self, hidden_states):
        """Dropout."""
        return self.head_dropout(hidden_states)

    def states_to_write_from(self, hidden_states, attention_mask):
        """
        At padding the state of the last token before it in this call: so a prompt that ends in padding can be gone on
        from, also by what a draft says.
        """
        mask = token_mask(attention_mask, hidden_states)
        if mask is None:
            return hidden_states
        positions = torch.arange(hidden_states.shape[1], device=hidden_states.device)
        valid = torch.where(mask.bool(), positions, 0)  # (B, T)
        if torch.compiler.is_exporting():  # ONNX has no running maximum
            is_later = positions > positions.unsqueeze(1)  # (T, T)
            index = valid.unsqueeze(1).masked_fill(is_later, 0).amax(dim=2)
        else:
            index = valid.cummax(dim=1).values
        index = index.unsqueeze(-1)  # (B, T, 1)
        return hidden_states.gather(1, index.expand_as(hidden_states))


class AttentionPooling(nn.Module):
    """
    The average of the valid states under learned weights (Yang et al. 2016, NAACL, section 2.2, equations 5 to 7).
    """

    def __init__(self, size: int):
        super().__init__()
        self.proj = nn.Linear(size, size)
        self.context = nn.Parameter(torch.empty(size))

    def forward(self, hidden_states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """From `(B, T, size)` states and a `(B, T)` bool mask, true at valid tokens, to `(B, size)`."""
        scores = torch.tanh(self.proj(hidden_states)) @ self.context  # (B, T)
        # A finite minimum: a row without a valid token gets equal weights over zeros rather than NaN.
        weights = scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(dim=-1)
        return (weights.unsqueeze(1) @ hidden_states).squeeze(1)


class RecurrentForSequenceClassification(SequenceClassifier, RecurrentPreTrainedModel):
    """
    A label, several labels or a number for a whole text: a recurrent net, pooled by `config.pooling`, and a linear
    map.
    """

    def __init__(self, config: RecurrentConfig):
        super().__init__(config)
        self.model = RecurrentModel(config)
        self.attention_pooling = AttentionPooling(config.output_size) if config.pooling == "attention" else None
        self.add_classifier(config.output_size)
        self.post_init()

    def pool(self, hidden_states, attention_mask):
        """By `config.pooling`; `"last"` is where each direction ends, and the backward one ends at the first token."""
        if self.config.pooling == "attention":
            mask = token_mask(attention_mask, hidden_states)
            mask = hidden_states.new_ones(hidden_states.shape[:2]) if mask is None else mask
            return self.attention_pooling(hidden_states, mask.bool())
        if self.config.pooling != "last":
            return pool_tokens(hidden_states, attention_mask, self.config.pooling)
        halves = hidden_states.split(self.config.hidden_size, dim=-1)
        ends = [pool_tokens(half, attention_mask, end) for half, end in zip(halves, ("last", "first"), strict=False)]
        return torch.cat(ends, dim=-1)


class RecurrentForTokenClassification(TokenClassifier, RecurrentPreTrainedModel):
    """A label for every token: a recurrent net, usually bidirectional, and a linear map."""

    def __init__(self, config: RecurrentConfig):
        super().__init__(config)
        self.model = RecurrentModel(config)
        self.add_word_reader(config.embedding_size)
        self.add_classifier(config.output_size)
        self.post_init()


class RecurrentForTimeSeriesPrediction(TimeSeriesPredictionMixin, RecurrentPreTrainedModel):
    """
    The next values of a series from the hidden state (Elman 1990; Graves 2013, arXiv 1308.0850), at constant cost per
    step.
    """

    def __init__(self, config: RecurrentConfig):
        if config.bidirectional:
            raise ValueError(
                "A model that predicts a series cannot be bidirectional: the backward direction would read the values "
                "it is to predict. Set bidirectional=False."
            )
        super().__init__(config)
        self.model = RecurrentModel(config)
        self.add_series_layers(config.embedding_size)
        self.post_init()


__all__ = [
    "RecurrentForCausalLM",
    "RecurrentForSequenceClassification",
    "RecurrentForTimeSeriesPrediction",
    "RecurrentForTokenClassification",
    "RecurrentModel",
]
