"""Configuration of the recurrent encoder-decoder, with or without attention."""

# First, since it says what is missing before another import fails.
from .requirements import check_fields, check_tied_sizes, ranged


# isort: split
from typing import Literal

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from .cells import CELLS
from .configuration_recurrent import RecurrentConfig


@strict
class RecurrentSeq2SeqConfig(PreTrainedConfig):
    r"""
    Sizes, cell, attention and initialization of a [`RecurrentSeq2SeqModel`].

    Encoder and decoder have the same cell, depth and width; `hidden_size` is the width of one direction. The defaults
    are close to Bahdanau et al. 2015 (arXiv 1409.0473); Luong et al. 2015 (arXiv 1508.04025) is
    `bidirectional=False, attention_type="multiplicative", input_feeding=True`; Sutskever et al. 2014 (arXiv 1409.3215)
    is `bidirectional=False, attention_type="none"`.

    Args:
        vocab_size: Number of rows of the embedding matrices; source and target have one vocabulary.
        hidden_size: Width of the decoder's hidden state, and of one direction of the encoder's.
        embedding_size: Width of a token's embedding; `None` means `hidden_size`.
        num_hidden_layers: Number of stacked recurrent layers, in the encoder and again in the decoder.
        cell_type: The cell, as in [`RecurrentConfig`].
        hidden_act: Activation of the Elman cell, `"tanh"` or `"relu"`. Those of the gated cells are fixed.
        block, conv_kernel_size, mlp_ratio: The residual blocks of `block="residual"`, in encoder and decoder, as in
            [`RecurrentConfig`].
        bidirectional: Whether the encoder also reads each source from its end. The decoder never does.
        attention_type: How the decoder looks back at the source: `"additive"` (Bahdanau et al. 2015, appendix A.1.2),
            `"multiplicative"` (Luong et al. 2015, section 3.1, "general"), or not at all, `"none"`: then what it knows
            of the source is the state that it starts from.
        attention_size: Width in which additive attention compares; `None` means `hidden_size`.
        input_feeding: Whether the decoder's first layer also reads the attentional vector of the token before (Luong
            et al. 2015, section 3.3). Then training has to step through the target token by token; without it the
            fused kernels read the whole target at once and attention follows for all its tokens, which is faster.
        recurrence_implementation: How the cells are run over time, `"fused"` (fast) or `"eager"` (the readable loop).
        dropout: Probability of zeroing a component between two layers, never inside the recurrence.
        embedding_dropout: The same for the components of the embedded tokens.
        head_dropout: The same for what the output layer reads.
        variational_dropout, weight_drop: One mask per row and dropped recurrent weights, in encoder and decoder, as in
            [`RecurrentConfig`]; not with `input_feeding`, which would draw them anew for each token.
        recurrent_initializer: `"orthogonal"`, `"identity"` or `"uniform"`, as in [`RecurrentConfig`].
        gate_initializer, max_dependency_length: What gates keep at first, as in [`RecurrentConfig`].
        forget_gate_bias: Bias that a `forget_gate` starts with which keeps the old state where it is open.
        initializer_range: Standard deviation of the embeddings and of every map outside the cells at the start. The
            output matrix, and with `tie_word_embeddings` all embeddings, start as those of a [`RecurrentForCausalLM`]
            do.
        share_embeddings: Whether source and target tokens are embedded by one matrix.
        tie_word_embeddings: Whether the output matrix is the target's embedding matrix (Press & Wolf 2017, arXiv
            1608.05859; with `share_embeddings` their three-way tying, section 3). Needs
            `embedding_size == hidden_size`.
        label_smoothing: Share of the target's probability that is spread evenly over the vocabulary while training
            (Szegedy et al. 2016, arXiv 1512.00567, section 7).
        loss_chunk_size: Compute the training loss for this many tokens at a time, without ever holding all the logits,
            and return none; `None` for logits as everyone expects.
        use_cache: Whether the state after the last token is returned as `cache`.
        decoder_start_token_id: The token that the decoder reads first; `None` means `bos_token_id`.

    Raises:
        ValueError: For numbers out of the range of their field, token ids outside the vocabulary and combinations that
            mean nothing.
    """

    model_type = "seqnlp_recurrent_seq2seq"

    vocab_size: int = ranged(8000, "[1, inf)")
    hidden_size: int = ranged(256, "[1, inf)")
    embedding_size: int | None = ranged(None, "[1, inf)")
    num_hidden_layers: int = ranged(1, "[1, inf)")
    cell_type: str = "lstm"
    hidden_act: Literal["tanh", "relu"] = "tanh"
    block: Literal["plain", "residual"] = "plain"
    conv_kernel_size: int | None = ranged(None, "[2, 1024]")
    mlp_ratio: float | int | None = ranged(None, "(0, 64]")
    bidirectional: bool = True
    attention_type: Literal["none", "additive", "multiplicative"] = "additive"
    attention_size: int | None = ranged(None, "[1, inf)")
    input_feeding: bool = False
    recurrence_implementation: Literal["eager", "fused"] = "fused"
    dropout: float | int = ranged(0.0, "[0, 1)")
    embedding_dropout: float | int = ranged(0.0, "[0, 1)")
    head_dropout: float | int = ranged(0.0, "[0, 1)")
    variational_dropout: bool = False
    weight_drop: float | int = ranged(0.0, "[0, 1)")
    recurrent_initializer: Literal["orthogonal", "identity", "uniform"] = "orthogonal"
    gate_initializer: Literal["constant", "chrono", "uniform"] = "constant"
    max_dependency_length: int | None = ranged(None, "[3, inf)")
    forget_gate_bias: float | int = ranged(1.0, "(-inf, inf)")
    initializer_range: float | int = ranged(0.1, "[0, 100]")
    share_embeddings: bool = True
    tie_word_embeddings: bool = False
    label_smoothing: float | int = ranged(0.0, "[0, 1)")
    loss_chunk_size: int | None = ranged(None, "[1, inf)")
    use_cache: bool = True
    is_encoder_decoder: bool = True
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    decoder_start_token_id: int | None = None

    def __post_init__(self, **kwargs):
        if self.embedding_size is None:
            self.embedding_size = self.hidden_size
        super().__post_init__(**kwargs)

    def recurrent_config(self, of_decoder: bool) -> RecurrentConfig:
        """What the recurrent layers of one side are built from."""
        input_size = self.hidden_size if self.embedding_size is None else self.embedding_size
        return RecurrentConfig(
            vocab_size=self.vocab_size,
            embedding_size=input_size + self.hidden_size if of_decoder and self.input_feeding else input_size,
            hidden_size=self.hidden_size,
            num_hidden_layers=self.num_hidden_layers,
            cell_type=self.cell_type,
            hidden_act=self.hidden_act,
            block=self.block,
            conv_kernel_size=self.conv_kernel_size,
            mlp_ratio=self.mlp_ratio,
            bidirectional=self.bidirectional and not of_decoder,
            recurrence_implementation=self.recurrence_implementation,
            dropout=self.dropout,
            embedding_dropout=self.embedding_dropout,
            head_dropout=self.head_dropout,
            variational_dropout=self.variational_dropout,
            weight_drop=self.weight_drop,
            recurrent_initializer=self.recurrent_initializer,
            gate_initializer=self.gate_initializer,
            max_dependency_length=self.max_dependency_length,
            forget_gate_bias=self.forget_gate_bias,
            label_smoothing=self.label_smoothing,
            loss_chunk_size=self.loss_chunk_size,
        )

    @property
    def output_gain(self) -> float:
        """Times `sqrt(hidden_size)` the deviation of the output matrix at the start."""
        return self.recurrent_config(of_decoder=True).output_gain

    @property
    def source_size(self) -> int:
        """Width of the vectors the encoder hands on: one `hidden_size` per direction."""
        return self.hidden_size * (2 if self.bidirectional else 1)

    @property
    def layer_types(self) -> list[str]:
        """What transformers calls layers whose memory has a fixed size; it picks the masks by this."""
        return ["linear_attention"] * self.num_hidden_layers

    @property
    def number_of_conv_states(self) -> int:
        """As in [`RecurrentConfig`]: the tensors of the cell's state, and what a convolution has read."""
        return len(CELLS[self.cell_type].states) + (self.conv_kernel_size is not None)

    def validate_architecture(self):
        """Refuse values that cannot be built, and combinations that mean nothing, with the reason."""
        check_fields(self)
        self.recurrent_config(of_decoder=False)  # cell and initialization: checks of its own
        if self.attention_size is not None and self.attention_type != "additive":
            raise ValueError(
                f"attention_size={self.attention_size} is for attention_type='additive', not "
                f"{self.attention_type!r}: leave it out."
            )
        if self.input_feeding and self.attention_type == "none":
            raise ValueError(
                "input_feeding=True feeds back what attention found, and attention_type='none' finds nothing: choose "
                "'additive' or 'multiplicative', or input_feeding=False."
            )
        per_pass = {"variational_dropout": self.variational_dropout, "weight_drop": self.weight_drop}
        for name, value in per_pass.items():
            if value and self.input_feeding:
                raise ValueError(
                    f"{name}={value} is drawn once per pass, and input_feeding=True reads the target in a pass per "
                    "token: leave one of them out."
                )
        check_tied_sizes(self)


__all__ = ["RecurrentSeq2SeqConfig"]
