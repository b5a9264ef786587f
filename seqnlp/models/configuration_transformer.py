"""Configuration of the encoder-decoder Transformer: translation and everything else from text to text."""

# First, since it says what is missing before another import fails.
from .requirements import LAYER_PLAN, check_architecture, derive_sizes, fit_plans, ranged


# isort: split
from typing import Literal

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from .cells import CELLS, LinearCell
from .configuration_recurrent import RecurrentConfig


@strict
class TransformerConfig(PreTrainedConfig):
    r"""
    Sizes and parts of a [`TransformerModel`] and of the [`TransformerForConditionalGeneration`] on top of it.

    The defaults are the base model of Vaswani et al. 2017, "Attention Is All You Need" (arXiv 1706.03762), table 3.
    Its label smoothing of 0.1 belongs to the training and is left to it.

    Args:
        vocab_size: Number of rows of the embedding matrix, for source and target alike.
        hidden_size: Width of a token's vector from layer to layer, `d_model`.
        intermediate_size: Width inside the feed-forward, `d_ff`; `None` means four times `hidden_size`, or 8/3 times
            for SwiGLU, which has three matrices where the others have two.
        num_hidden_layers: Number of layers of the encoder.
        decoder_layers: Number of layers of the decoder; `None` means as many.
        decoder_cell: What stands for self-attention in the decoder: a cell of `cells.CELLS` that is linear in its
            state, such as `"ssru"` (Kim et al. 2019, "From Research to Production and Back", section 3), whose state
            has one size however long the text; `None` for self-attention.
        recurrence_implementation: How these cells are run over time, `"fused"` or `"eager"`.
        num_attention_heads: Number of heads that ask.
        num_key_value_heads: Number of heads that answer, each shared by neighboring query heads (Ainslie et al. 2023,
            arXiv 2305.13245); `None` for one per query head.
        head_dim: Width of a head; `None` means `hidden_size / num_attention_heads`.
        hidden_act: The feed-forward: `"relu"`, `"gelu"` or `"swiglu"` (Shazeer 2020, arXiv 2002.05202).
        position_embedding_type: `"sinusoidal"` (section 3.5), `"learned"` (table 3, row E), `"rotary"` (Su et al.
            2021, arXiv 2104.09864; in self-attention alone) or `"none"`.
        rope_theta: The base of the rotary angles.
        max_position_embeddings: Number of learned positions; with the others, the longest text meant to be read.
        norm_type: `"layer_norm"` (Ba et al. 2016) or `"rms_norm"` (Zhang & Sennrich 2019, arXiv 1910.07467).
        norm_position: `"post"`, behind each residual connection, or `"pre"`, before each sublayer (Xiong et al. 2020,
            arXiv 2002.04745), which trains without warm-up.
        layer_norm_eps: What is added to the variance in a norm of either type.
        use_bias: Whether the linear maps of attention and feed-forward, and LayerNorm, add a bias.
        scale_embedding: Whether embeddings are multiplied by `sqrt(hidden_size)` (section 3.4).
        embedding_norm: Whether the embedded tokens go through a norm before the first layer.
        dropout: Probability of zeroing a component of the embeddings and of each sublayer's output (section 5.4).
        attention_dropout: The same for an attention weight.
        activation_dropout: The same inside the feed-forward.
        initializer_range: Standard deviation of all weights at the start.
        tie_word_embeddings: Whether source, target and output share one matrix (section 3.4; Press & Wolf 2017), or
            have one each.
        output_bias: Whether the output matrix adds a bias for each token, as Marian's models do.
        use_cache: Whether keys, values and states are returned as `cache`.
        label_smoothing: Share of each label that the training loss spreads over the vocabulary (section 5.4);
            evaluation has none.
        loss_chunk_size: Compute the training loss for this many tokens at a time, without ever holding all the logits,
            and return none; `None` for logits as everyone expects.
        decoder_start_token_id: What the decoder reads first; `None` means `bos_token_id`, or else `pad_token_id`.

    Raises:
        ValueError: For numbers out of the range of their field, token ids outside the vocabulary and combinations that
            mean nothing.
    """

    model_type = "seqnlp_transformer"
    keys_to_ignore_at_inference = ["cache"]
    base_model_tp_plan = (
        {f"{part}.embed_tokens": "embedding_rowwise" for part in ("encoder", "decoder")}
        | {f"{part}.{name}": how for part in ("encoder", "decoder") for name, how in LAYER_PLAN.items()}
        | {f"decoder.{name.replace('self', 'cross')}": how for name, how in LAYER_PLAN.items() if "self_attn" in name}
    )

    vocab_size: int = ranged(37000, "[1, inf)")
    hidden_size: int = ranged(512, "[1, inf)")
    intermediate_size: int | None = ranged(None, "[1, inf)")
    num_hidden_layers: int = ranged(6, "[1, inf)")
    decoder_layers: int | None = ranged(None, "[1, inf)")
    decoder_cell: str | None = None
    recurrence_implementation: Literal["eager", "fused"] | None = None
    num_attention_heads: int = ranged(8, "[1, inf)")
    num_key_value_heads: int | None = ranged(None, "[1, inf)")
    head_dim: int | None = ranged(None, "[1, inf)")
    hidden_act: Literal["relu", "gelu", "swiglu"] = "relu"
    position_embedding_type: Literal["sinusoidal", "learned", "rotary", "none"] = "sinusoidal"
    rope_theta: float | int = ranged(10000.0, "[1, inf)")
    max_position_embeddings: int = ranged(1024, "[1, inf)")
    norm_type: Literal["layer_norm", "rms_norm"] = "layer_norm"
    norm_position: Literal["pre", "post"] = "post"
    layer_norm_eps: float | int = ranged(1e-6, "(0, inf)")
    use_bias: bool = True
    scale_embedding: bool = True
    embedding_norm: bool = False
    dropout: float | int = ranged(0.1, "[0, 1)")
    attention_dropout: float | int = ranged(0.0, "[0, 1)")
    activation_dropout: float | int = ranged(0.0, "[0, 1)")
    initializer_range: float | int = ranged(0.02, "[0, 100]")
    tie_word_embeddings: bool = True
    output_bias: bool = False
    use_cache: bool = True
    label_smoothing: float | int = ranged(0.0, "[0, 1)")
    loss_chunk_size: int | None = ranged(None, "[1, inf)")
    is_encoder_decoder: bool = True
    pad_token_id: int | None = 0
    bos_token_id: int | None = 2
    eos_token_id: int | list[int] | None = 3
    decoder_start_token_id: int | None = None

    def __post_init__(self, **kwargs):
        derive_sizes(self)
        fit_plans(self)
        if self.decoder_layers is None:
            self.decoder_layers = self.num_hidden_layers
        if self.decoder_cell is not None:
            self.recurrence_implementation = self.recurrence_implementation or "fused"
            plan = self.base_model_tp_plan
            self.base_model_tp_plan = {name: how for name, how in plan.items() if "decoder.layers.*.self" not in name}
        if self.decoder_start_token_id is None:
            self.decoder_start_token_id = self.pad_token_id if self.bos_token_id is None else self.bos_token_id
        super().__post_init__(**kwargs)

    def recurrent_config(self) -> RecurrentConfig:
        """What the decoder's cells are built from."""
        return RecurrentConfig(
            hidden_size=self.hidden_size,
            num_hidden_layers=self.decoder_layers,
            cell_type=self.decoder_cell,
            recurrence_implementation=self.recurrence_implementation,
            dropout=0.0,
        )

    def validate_architecture(self):
        """Refuse values that cannot be built, and combinations that mean nothing, with the reason."""
        check_architecture(self)
        linear = [name for name, cell in CELLS.items() if issubclass(cell, LinearCell)]
        if self.decoder_cell not in (None, *linear):
            raise ValueError(
                f"decoder_cell={self.decoder_cell!r} is not one of {', '.join(linear)}: it has to read a whole text "
                "at once, as self-attention does."
            )
        if self.decoder_cell is None and self.recurrence_implementation is not None:
            raise ValueError(
                f"recurrence_implementation={self.recurrence_implementation!r} is for a decoder_cell: leave it out."
            )


__all__ = ["TransformerConfig"]
