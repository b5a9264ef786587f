"""The recurrent family: Elman RNN, GRU and LSTM, with heads for language models and classifiers."""

import torch
from torch import nn
from transformers import Cache, GenerationMixin, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import (
    BaseModelOutputWithPast,
    CausalLMOutputWithPast,
    SequenceClassifierOutputWithPast,
    TokenClassifierOutput,
)
from transformers.modeling_utils import slice_logits_to_keep
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs, can_return_tuple
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from .aligned_weights import AlignedWeights
from .configuration_recurrent import RecurrentConfig
from .losses import causal_language_model_loss, chunked_cross_entropy, divide_by_items, next_token_labels
from .recurrence import CELL_CLASSES, RECURRENCE_FUNCTIONS, GateProjection, Padding, RecurrentCell, State
from .recurrent_cache import RecurrentCache, RecurrentStates, StaticRecurrentCache, read_state, write_state


TORCH_CLASSES = {"elman": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


class RecurrentLayer(GradientCheckpointingLayer):
    """One recurrent layer: a cell that reads forward and, if bidirectional, one that reads backward."""

    def __init__(self, config: RecurrentConfig, layer_idx: int):
        super().__init__()
        self.config = config
        self.layer_idx = layer_idx
        input_size = config.embedding_size if layer_idx == 0 else config.output_size
        cell_class = CELL_CLASSES[config.cell_type]
        # Between layers, not before the first: what is dropped there is `embedding_dropout`'s to say.
        self.dropout = nn.Dropout(config.dropout if layer_idx > 0 else 0.0)
        self.forward_cell = cell_class(input_size, config.hidden_size, config.hidden_act)
        self.backward_cell = (
            cell_class(input_size, config.hidden_size, config.hidden_act) if config.bidirectional else None
        )

    @property
    def cells(self) -> list[RecurrentCell]:
        """The forward cell and, if there is one, the backward cell."""
        return [self.forward_cell] if self.backward_cell is None else [self.forward_cell, self.backward_cell]

    def forward(
        self,
        hidden_states: torch.Tensor,
        state: State | None = None,
        padding: Padding | None = None,
        return_state: bool = True,
    ) -> tuple[torch.Tensor, State | None]:
        """
        Args:
            hidden_states: `(batch_size, sequence_length, input_size)`.
            state: The state to start from, tensors of shape `(batch_size, num_directions, hidden_size)`; `None` for
                zeros.
            padding: Which tokens are padding.
            return_state: Whether the final state is wanted.

        Returns:
            `(batch_size, sequence_length, num_directions * hidden_size)`, zero at padding; and the final state.
        """
        recurrence = RECURRENCE_FUNCTIONS[self.config.recurrence_implementation]
        hidden_states = self.dropout(hidden_states)
        if state is None:
            shape = (hidden_states.shape[0], self.config.num_directions, self.config.hidden_size)
            state = (hidden_states.new_zeros(shape),) * self.forward_cell.num_states

        outputs, final_states = [], []
        for direction, cell in enumerate(self.cells):
            start = tuple(tensor[:, direction] for tensor in state)
            output, final = recurrence(cell, hidden_states, start, padding, direction == 1, return_state)
            outputs.append(output)
            final_states.append(final)
        outputs = torch.cat(outputs, dim=-1) if len(outputs) > 1 else outputs[0]
        if not return_state:
            return outputs, None
        return outputs, tuple(torch.stack(tensors, dim=1) for tensors in zip(*final_states, strict=True))


class RecurrentPreTrainedModel(AlignedWeights, PreTrainedModel):
    """What the recurrent models share: initialisation and flags."""

    config: RecurrentConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ["RecurrentLayer"]
    _skip_keys_device_placement = ["past_key_values"]
    _is_stateful = True
    _can_record_outputs = {"hidden_states": RecurrentLayer}

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
            if not projection.is_recurrent:
                draw = nn.init.xavier_uniform_  # Glorot & Bengio 2010, equation 16
            else:
                draw = nn.init.eye_ if config.recurrent_initializer == "identity" else nn.init.orthogonal_
            # Each gate has a matrix of its own in this stack. Drawn apart and copied whole: a slice of a parameter
            # does not know that the parameter has been loaded from a checkpoint, and would be overwritten. In
            # float32, since there is no QR decomposition in half precision.
            drawn = torch.empty_like(projection.weight, dtype=torch.float32)
            for block in drawn.split(size):
                draw(block)
            init.copy_(projection.weight, drawn.to(projection.weight.dtype))
        bias = torch.zeros_like(projection.bias)
        if "forget_gate" in projection.gates and not projection.is_recurrent:  # of its two biases one is enough
            bias.view(-1, size)[projection.gates.index("forget_gate")] = config.forget_gate_bias
        init.copy_(projection.bias, bias)

    def _init_output_matrix(self, module: nn.Linear | nn.Embedding) -> None:
        # The components of a new cell's hidden state are small, a few hundredths under gates and a few tenths without,
        # and equally small whatever the width H. Under one deviation for all widths the logits, and with them the
        # gradients of everything below, would shrink like sqrt(H), and narrow nets hardly learn.
        gain = 2.0 if self.config.cell_type == "elman" else 4.0
        init.normal_(module.weight, std=gain * self.config.hidden_size**-0.5)
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


class RecurrentModel(RecurrentPreTrainedModel):
    """Embedded tokens through a stack of recurrent layers. No padding changes a valid output or the final state."""

    def __init__(self, config: RecurrentConfig):
        super().__init__(config)
        self.embed_tokens = None
        if config.input_size is None:
            self.embed_tokens = nn.Embedding(config.vocab_size, config.embedding_size, config.pad_token_id)
        self.embedding_dropout = nn.Dropout(config.embedding_dropout)
        self.layers = nn.ModuleList([RecurrentLayer(config, index) for index in range(config.num_hidden_layers)])
        self.gradient_checkpointing = False
        self.post_init()

    @merge_with_config_defaults
    @capture_outputs
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        use_cache: bool | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaseModelOutputWithPast:
        """
        Args:
            input_ids: `(batch_size, sequence_length)`.
            attention_mask: `(batch_size, sequence_length)`, or longer by the tokens already read; 0 at padding, which
                may stand anywhere. `None` means that every token is valid.
            past_key_values: The state to start from, e.g. a [`RecurrentCache`]; it is updated in place.
            inputs_embeds: `(batch_size, sequence_length, embedding_size)`, instead of `input_ids`.
            use_cache: Whether to return the final state.

        Returns:
            `last_hidden_state`, `(batch_size, sequence_length, output_size)`, zero at padding, and `past_key_values`.

        Raises:
            ValueError: If not exactly one of `input_ids` and `inputs_embeds` is given, if the mask has another shape,
                or if a bidirectional net is asked to go on from a state.
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
            past_key_values = RecurrentCache(self.config)

        padding = Padding.from_mask(self._token_mask(attention_mask, inputs_embeds), self.config.num_directions)
        hidden_states = self.embedding_dropout(inputs_embeds)
        for layer in self.layers:
            state = None if past_key_values is None else read_state(past_key_values, layer.layer_idx)
            if state is not None and self.config.bidirectional:
                raise ValueError(
                    "A bidirectional net cannot go on from a state: its backward direction starts at the end of the "
                    "text."
                )
            hidden_states, state = layer(hidden_states, state, padding, past_key_values is not None)
            if past_key_values is not None:
                write_state(past_key_values, layer.layer_idx, state)
        if isinstance(past_key_values, RecurrentStates):
            past_key_values.count(inputs_embeds.shape[1])

        return BaseModelOutputWithPast(last_hidden_state=hidden_states, past_key_values=past_key_values)

    @staticmethod
    def _token_mask(attention_mask, inputs_embeds: torch.Tensor) -> torch.Tensor | None:
        if isinstance(
            attention_mask, dict
        ):  # what generation with a compiled cache hands over: a mask for each layer type
            attention_mask = attention_mask["linear_attention"]
        if attention_mask is None:
            return None
        batch_size, num_tokens = inputs_embeds.shape[:2]
        if attention_mask.dim() != 2 or attention_mask.shape[0] != batch_size or attention_mask.shape[1] < num_tokens:
            raise ValueError(
                f"attention_mask of shape {tuple(attention_mask.shape)} does not fit {num_tokens} tokens in "
                f"{batch_size} rows: it must be (batch_size, sequence_length), 0 at padding."
            )
        return attention_mask[:, -num_tokens:]

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
        cell_type = next(name for name, torch_class in TORCH_CLASSES.items() if isinstance(module, torch_class))
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
        """
        config = self.config
        nonlinearity = {"nonlinearity": config.hidden_act} if config.cell_type == "elman" else {}
        module = TORCH_CLASSES[config.cell_type](
            config.embedding_size,
            config.hidden_size,
            config.num_hidden_layers,
            batch_first=True,
            dropout=config.dropout,
            bidirectional=config.bidirectional,
            **nonlinearity,
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


class RecurrentForCausalLM(RecurrentPreTrainedModel, GenerationMixin):
    """
    A recurrent language model (Mikolov et al. 2010): the next token from the hidden state, at constant cost a token.
    """

    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}
    _can_compile_fullgraph = True  # a step of generation, with a static cache
    loss_function = staticmethod(causal_language_model_loss)

    def __init__(self, config: RecurrentConfig):
        if config.bidirectional:
            raise ValueError(
                "A causal language model cannot be bidirectional: the backward direction would read the tokens it is "
                "to predict. Set bidirectional=False."
            )
        super().__init__(config)
        self.model = RecurrentModel(config)
        self.head_dropout = nn.Dropout(config.head_dropout)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
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

        The other arguments are those of [`RecurrentModel.forward`].

        Returns:
            `loss` (nats a token), `logits` of shape `(batch_size, sequence_length, vocab_size)` and `past_key_values`.
            Without labels, padding behind a row's last token has that token's logits. In training with
            `config.loss_chunk_size` and labels there are no logits.
        """
        outputs: BaseModelOutputWithPast = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            **kwargs,
        )
        hidden_states = outputs.last_hidden_state
        if labels is None:
            hidden_states = self._carry_to_the_end(hidden_states, attention_mask)
        hidden_states = self.head_dropout(slice_logits_to_keep(hidden_states, logits_to_keep))
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
        )

    def _carry_to_the_end(self, hidden_states: torch.Tensor, attention_mask) -> torch.Tensor:
        # Behind a row's last token its state stays as it is: so a prompt that ends in padding can be gone on from.
        mask = self.model._token_mask(attention_mask, hidden_states)
        if mask is None:
            return hidden_states
        positions = torch.arange(hidden_states.shape[1], device=hidden_states.device)
        last = torch.where(mask.bool(), positions, 0).amax(dim=1, keepdim=True)  # (B, 1)
        index = torch.minimum(positions, last).unsqueeze(-1)  # (B, T, 1)
        return hidden_states.gather(1, index.expand_as(hidden_states))

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

    def _prepare_cache_for_generation(self, generation_config, model_kwargs, *args, **kwargs) -> None:
        # transformers would hand over a cache that cannot count tokens, which generation from a state needs.
        if model_kwargs.get("past_key_values") is not None or generation_config.use_cache is False:
            return super()._prepare_cache_for_generation(generation_config, model_kwargs, *args, **kwargs)
        implementation = generation_config.cache_implementation
        if implementation not in (None, "dynamic", "static", "offloaded"):
            raise ValueError(
                f"cache_implementation={implementation!r} is for keys and values; a recurrent state has a fixed, "
                "small size: leave it out, or use 'static' to compile."
            )
        cache_class = StaticRecurrentCache if implementation == "static" else RecurrentCache
        model_kwargs["past_key_values"] = cache_class(self.config)


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


class RecurrentForSequenceClassification(RecurrentPreTrainedModel):
    """
    A label, several labels or a number for a whole text: a recurrent net, pooled by `config.pooling`, and a linear
    map.
    """

    def __init__(self, config: RecurrentConfig):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.model = RecurrentModel(config)
        self.attention_pooling = AttentionPooling(config.output_size) if config.pooling == "attention" else None
        self.head_dropout = nn.Dropout(config.head_dropout)
        self.score = nn.Linear(config.output_size, config.num_labels)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
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

        The other arguments are those of [`RecurrentModel.forward`]; the state is returned only if `use_cache` asks
        for it.

        Returns:
            `loss` and `logits` of shape `(batch_size, num_labels)`.
        """
        outputs: BaseModelOutputWithPast = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=bool(use_cache),
            **kwargs,
        )
        states = outputs.last_hidden_state
        mask = states.new_ones(states.shape[:2], dtype=torch.bool)
        if attention_mask is not None:
            mask = attention_mask[:, -states.shape[1] :].bool()
        logits = self.score(self.head_dropout(self._pool(states, mask)))
        loss = None
        if labels is not None:
            loss = self.loss_function(labels=labels, logits=logits, pooled_logits=logits, config=self.config, **kwargs)
            loss = divide_by_items(loss, labels, self.config.problem_type, kwargs.get("num_items_in_batch"))
        return SequenceClassifierOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
        )

    def _pool(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """From `(B, T, output_size)` states, zero at padding, and a `(B, T)` mask to `(B, output_size)`."""
        if self.config.pooling == "attention":
            return self.attention_pooling(states, mask)
        if self.config.pooling == "mean":
            return states.sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp(min=1)
        if self.config.pooling == "max":
            lowest = torch.finfo(states.dtype).min
            pooled = states.masked_fill(~mask.unsqueeze(-1), lowest).amax(dim=1)
            return pooled.masked_fill(
                ~mask.any(dim=1, keepdim=True), 0
            )  # a row without a valid token: the initial state
        positions = torch.arange(states.shape[1], device=states.device)
        # Where a row has no valid token both indices are 0, and the state there is zero: the initial one.
        last = torch.where(mask, positions, 0).amax(dim=1)
        first = (states.shape[1] - 1) - torch.where(mask, positions.flip(0), 0).amax(dim=1)
        first = torch.where(mask.any(dim=1), first, 0)
        halves = states.split(self.config.hidden_size, dim=-1)
        ends = [
            half.gather(1, end.view(-1, 1, 1).expand(-1, 1, half.shape[-1]))  # (B, 1, hidden_size)
            for half, end in zip(halves, (last, first), strict=False)
        ]
        return torch.cat(ends, dim=-1).squeeze(1)


class RecurrentForTokenClassification(RecurrentPreTrainedModel):
    """A label for every token: a recurrent net, usually bidirectional, and a linear map."""

    def __init__(self, config: RecurrentConfig):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.model = RecurrentModel(config)
        self.head_dropout = nn.Dropout(config.head_dropout)
        self.score = nn.Linear(config.output_size, config.num_labels)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        labels: torch.LongTensor | None = None,
        use_cache: bool | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> TokenClassifierOutput:
        """
        Args:
            labels: `(batch_size, sequence_length)` class ids, -100 where no loss is wanted.

        The other arguments are those of [`RecurrentModel.forward`].

        Returns:
            `loss` and `logits` of shape `(batch_size, sequence_length, num_labels)`.
        """
        outputs: BaseModelOutputWithPast = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=bool(use_cache),
            **kwargs,
        )
        logits = self.score(self.head_dropout(outputs.last_hidden_state))
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, config=self.config, **kwargs)
        return TokenClassifierOutput(loss=loss, logits=logits, hidden_states=outputs.hidden_states)


__all__ = [
    "RecurrentForCausalLM",
    "RecurrentForSequenceClassification",
    "RecurrentForTokenClassification",
    "RecurrentModel",
    "RecurrentPreTrainedModel",
]
