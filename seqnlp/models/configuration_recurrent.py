"""Configuration of the recurrent family: every cell of `cells.py`."""

# First, since it says what is missing before another import fails.
from .requirements import check_fields, check_series, check_tied_sizes, check_words, ranged


# isort: split
from typing import Literal

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from .cells import CELLS


@strict
class RecurrentConfig(PreTrainedConfig):
    r"""
    Sizes, cell and initialization of a [`RecurrentModel`] and of the heads on top of it.

    The names follow `torch.nn.LSTM` where transformers has none: `hidden_size` is the width of one direction, so a
    bidirectional net hands on vectors of `2 * hidden_size` (see [`output_size`][RecurrentConfig.output_size]).

    Args:
        vocab_size: Number of rows of the embedding matrix.
        hidden_size: Width of the hidden state of one direction.
        embedding_size: Width of a token's embedding; `None` means `hidden_size`.
        num_hidden_layers: Number of stacked recurrent layers.
        cell_type: One of `cells.CELLS`, such as `"lstm"` or `"mingru"`: each states its equations and source.
        hidden_act: Activation of the Elman cell, `"tanh"` or `"relu"`. Those of the gated cells are fixed.
        block: `"plain"` stacks the cells, `"residual"` puts each into a pre-norm residual block (see
            [`ResidualRecurrentLayer`]), with one more norm behind the last; then all layers are as wide as
            `output_size`, and embeddings of another width are mapped to it.
        conv_kernel_size: In a residual block, tokens that a causal convolution of each channel in front of the cell
            reads; `None` for none.
        mlp_ratio: In a residual block, width of the MLP behind the cell as a multiple of the block's; `None` for none.
        bidirectional: Whether a second cell reads each row from its end (Schuster & Paliwal 1997).
        recurrence_implementation: How the cells are run over time, `"fused"` (fast) or `"eager"` (the readable loop,
            in which every state and gate can be observed by a forward hook on a cell). Both give the same numbers.
        dropout: Probability of zeroing a component between two layers, never inside the recurrence (Zaremba et al.
            2014, arXiv 1409.2329, section 3.1); in residual blocks a component of what each sublayer adds.
        embedding_dropout: The same for the components of the embedded tokens.
        head_dropout: The same for what a head reads: the pooled vector, or each token's last hidden state.
        variational_dropout: Whether `dropout`, `embedding_dropout` and a language model's `head_dropout` draw one mask
            per row, the same for all of its tokens, instead of one per token (Gal & Ghahramani 2016, arXiv 1512.05287,
            section 4, but for the recurrent maps, which have `weight_drop`).
        weight_drop: Probability of zeroing a weight of a map from the hidden state, the same weights for all rows and
            steps of a forward pass in training, and scaling the others up (Wan et al. 2013; Merity et al. 2018, arXiv
            1708.02182, section 2).
        pooling: What a sequence classifier reads: the `"last"` valid state (in a bidirectional net the last of each
            direction), the `"mean"` or `"max"` of the valid states, or their average under learned `"attention"`
            weights (Yang et al. 2016, NAACL, section 2.2, equations 5 to 7).
        recurrent_initializer: `"orthogonal"` per gate (Saxe et al. 2014, arXiv 1312.6120, section 3), `"identity"`
            for the Elman cell (Le, Jaitly & Hinton 2015, arXiv 1504.00941, section 3; meant for `hidden_act="relu"`;
            input weights then start with the paper's deviation of 0.001), or `"uniform"` in +-1/sqrt(hidden_size) for
            recurrent and input weights alike, as `torch.nn.LSTM` starts.
        gate_initializer: What the gates of a gated cell keep at first. `"constant"`: all units the same, by
            `forget_gate_bias`. `"chrono"`: each unit over a time of its own, from 1 to `max_dependency_length - 1`
            steps (Tallec & Ollivier 2018, arXiv 1804.11188, chrono initialization): the logit of what is kept starts
            as `log U([1, max_dependency_length - 1])`. `"uniform"`: the share that is kept starts uniform in
            `[1/hidden_size, 1 - 1/hidden_size]` (Gu et al. 2020, arXiv 1910.09890, uniform gate initialization). In
            both a gate that admits what is new starts as the mirror of the one that keeps.
        max_dependency_length: The longest time, in tokens, over which a net with `"chrono"` gates is to remember.
        forget_gate_bias: Bias that a `forget_gate` starts with which keeps the old state where it is open, as that of
            LSTM, minLSTM and SSRU does (Gers et al. 2000; Jozefowicz et al. 2015, section 2.3).
        initializer_range: Standard deviation of the embeddings and of the classifiers' heads at the start. A language
            model's output matrix, and with `tie_word_embeddings` the embeddings, start with `output_gain /
            sqrt(hidden_size)` instead: 2 over Elman cells, 4 over GRU, LSTM and SSRU, 1 over minGRU and minLSTM, and
            0.5 behind residual blocks.
        tie_word_embeddings: Whether the language model's output matrix is its embedding matrix (Press & Wolf 2017,
            arXiv 1608.05859). Needs `embedding_size == hidden_size`.
        use_cache: Whether the state after the last token is returned as `cache`.
        input_size: Number of channels of a time series, which is then read instead of tokens: there is no token
            embedding. `None` for text.
        prediction_length: Steps that a model of time series predicts unless told otherwise.
        distribution_output: What a model of time series learns of each next value: `"normal"` or `"student_t"`, a
            distribution that each step's state gives (Salinas et al. 2020, arXiv 1704.04110), from which `draw_paths`
            draws paths; `None` for the value alone.
        num_parallel_samples: Paths that `draw_paths` draws per series unless told otherwise; `None` for 100.
        input_mean: Mean of each channel over the training series, taken off before the model reads it; `None` for 0.
        input_scale: Standard deviation of each channel over the training series, by which it is divided; `None` for 1.
        label_smoothing: Share of each label that the training loss spreads over the vocabulary, or over a classifier's
            classes (Szegedy et al. 2016, arXiv 1512.00567, section 7); evaluation has none.
        loss_chunk_size: Compute a language model's training loss for this many tokens at a time, without ever holding
            all the logits, and return none; `None` for logits as everyone expects.
        first_continuing_id: Where the tokens of a token classifier are pieces of words: those from this one on go on
            with a word, the others begin one. The layers then read words, each made of its pieces (dos Santos &
            Zadrozny 2014), see `word_reader.py`. `None`: they read tokens.
        word_vocab_size: Of how many words the whole word has a vector of its own besides; `None` for none.
        word_dropout: Probability with which, in training, such a word passes for one that has none; `None` for 0.

    Raises:
        ValueError: For numbers out of the range of their field, token ids outside the vocabulary and combinations that
            mean nothing.
    """

    model_type = "seqnlp_recurrent"

    vocab_size: int = ranged(8000, "[1, inf)")
    hidden_size: int = ranged(256, "[1, inf)")
    embedding_size: int | None = ranged(None, "[1, inf)")
    num_hidden_layers: int = ranged(1, "[1, inf)")
    cell_type: str = "lstm"
    hidden_act: Literal["tanh", "relu"] = "tanh"
    block: Literal["plain", "residual"] = "plain"
    conv_kernel_size: int | None = ranged(None, "[2, 1024]")
    mlp_ratio: float | int | None = ranged(None, "(0, 64]")
    bidirectional: bool = False
    recurrence_implementation: Literal["eager", "fused"] = "fused"
    dropout: float | int = ranged(0.0, "[0, 1)")
    embedding_dropout: float | int = ranged(0.0, "[0, 1)")
    head_dropout: float | int = ranged(0.0, "[0, 1)")
    variational_dropout: bool = False
    weight_drop: float | int = ranged(0.0, "[0, 1)")
    pooling: Literal["last", "mean", "max", "attention"] = "last"
    recurrent_initializer: Literal["orthogonal", "identity", "uniform"] = "orthogonal"
    gate_initializer: Literal["constant", "chrono", "uniform"] = "constant"
    max_dependency_length: int | None = ranged(None, "[3, inf)")
    forget_gate_bias: float | int = ranged(1.0, "(-inf, inf)")
    initializer_range: float | int = ranged(0.1, "[0, 100]")
    tie_word_embeddings: bool = False
    use_cache: bool = True
    input_size: int | None = ranged(None, "[1, inf)")
    prediction_length: int = ranged(1, "[1, inf)")
    distribution_output: Literal["normal", "student_t"] | None = None
    num_parallel_samples: int | None = ranged(None, "[1, inf)")
    input_mean: list[float | int] | None = ranged(None, "(-inf, inf)")
    input_scale: list[float | int] | None = ranged(None, "(0, inf)")
    label_smoothing: float | int = ranged(0.0, "[0, 1)")
    loss_chunk_size: int | None = ranged(None, "[1, inf)")
    first_continuing_id: int | None = ranged(None, "[1, inf)")
    word_vocab_size: int | None = ranged(None, "[1, inf)")
    word_dropout: float | int | None = ranged(None, "[0, 1)")
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None

    def __post_init__(self, **kwargs):
        if self.embedding_size is None:
            self.embedding_size = self.hidden_size
        super().__post_init__(**kwargs)

    @property
    def output_size(self) -> int:
        """Width of the vectors the last layer hands on: one `hidden_size` per direction."""
        return self.hidden_size * self.num_directions

    @property
    def output_gain(self) -> float:
        """
        Times `sqrt(hidden_size)` the deviation of a language model's output matrix at the start: the cell's, or one
        for the normalized states behind residual blocks, whose components are near one.
        """
        return CELLS[self.cell_type].output_gain if self.block == "plain" else 0.5

    @property
    def num_directions(self) -> int:
        """1, or 2 for a bidirectional net."""
        return 2 if self.bidirectional else 1

    @property
    def layer_types(self) -> list[str]:
        """What transformers calls layers whose memory has a fixed size; it picks the cache and the masks by this."""
        return ["linear_attention"] * self.num_hidden_layers

    @property
    def number_of_conv_states(self) -> int:
        """
        Number of tensors in a layer's state, under the name by which transformers' caches ask for it: the cell's, and
        what a convolution has read.
        """
        return len(CELLS[self.cell_type].states) + (self.conv_kernel_size is not None)

    def validate_architecture(self):
        """Refuse values that cannot be built, and combinations that mean nothing, with the reason."""
        if self.cell_type not in CELLS:
            raise ValueError(f"cell_type={self.cell_type!r} is not one of {', '.join(CELLS)}.")
        check_fields(self)
        check_series(self)
        check_tied_sizes(self)
        check_words(self)
        cell = CELLS[self.cell_type]
        if self.recurrent_initializer not in cell.initializers:
            raise ValueError(
                f"recurrent_initializer={self.recurrent_initializer!r} is for "
                f"{_cells_with('initializers', self.recurrent_initializer)}; {self.cell_type!r} has "
                f"{' and '.join(map(repr, cell.initializers))}."
            )
        for name in ("conv_kernel_size", "mlp_ratio"):
            value = getattr(self, name)
            if value is not None and self.block != "residual":
                raise ValueError(f"{name}={value} is a part of block='residual': set that, or leave it out.")
        if self.gate_initializer != "constant" and not cell.has_memory_gates():
            raise ValueError(
                f"gate_initializer={self.gate_initializer!r} is for cells with gates, and {self.cell_type!r} has "
                "none: leave it out."
            )
        if (self.gate_initializer == "chrono") != (self.max_dependency_length is not None):
            raise ValueError(
                f"gate_initializer={self.gate_initializer!r} with max_dependency_length={self.max_dependency_length}: "
                "'chrono' needs the longest time in tokens over which to remember, and nothing else does."
            )
        if self.weight_drop and not cell.has_recurrent_map:
            raise ValueError(
                f"weight_drop={self.weight_drop} is for cells with a map from the hidden state, and "
                f"{self.cell_type!r} has none: leave it out."
            )
        if self.hidden_act not in cell.hidden_acts:
            raise ValueError(
                f"hidden_act={self.hidden_act!r} is for {_cells_with('hidden_acts', self.hidden_act)}: "
                f"leave it out for {self.cell_type!r}."
            )


def _cells_with(attribute: str, value: str) -> str:
    names = [repr(name) for name, cell in CELLS.items() if value in getattr(cell, attribute)]
    return f"cell_type={' or '.join(names)}"


__all__ = ["RecurrentConfig"]
