"""Configuration of the Transformer decoder: language models."""

# First, since it says what is missing before another import fails.
from .requirements import LAYER_PLAN, PIPELINE_PLAN, check_architecture, check_series, derive_sizes, fit_plans, ranged


# isort: split
from typing import Literal

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig


@strict
class TransformerDecoderConfig(PreTrainedConfig):
    r"""
    Sizes and parts of a [`TransformerDecoderModel`] and of the heads on top of it.

    The defaults are today's: rotary positions, RMSNorm before each sublayer, SwiGLU, no biases (Touvron et al. 2023,
    arXiv 2302.13971, section 2.2). With learned positions, `"layer_norm"`, `"gelu"` and biases it is GPT-2 (Radford et
    al. 2019).

    Args:
        vocab_size: Number of rows of the embedding matrix.
        hidden_size: Width of a token's vector from layer to layer.
        intermediate_size: Width inside the feed-forward; `None` means four times `hidden_size`, or 8/3 times for
            SwiGLU, which has three matrices where the others have two.
        num_hidden_layers: Number of layers.
        num_attention_heads: Number of heads that ask.
        num_key_value_heads: Number of heads that answer, each shared by neighboring query heads (Ainslie et al. 2023,
            arXiv 2305.13245); `None` for one per query head.
        head_dim: Width of a head; `None` means `hidden_size / num_attention_heads`.
        hidden_act: The feed-forward: `"relu"`, `"gelu"` or `"swiglu"` (Shazeer 2020, arXiv 2002.05202).
        position_embedding_type: `"rotary"` (Su et al. 2021, arXiv 2104.09864), `"sinusoidal"` (Vaswani et al. 2017),
            `"learned"`, or `"none"`: behind a causal mask the order can be learned without (Kazemnejad et al. 2023,
            arXiv 2305.19466).
        rope_theta: The base of the rotary angles.
        max_position_embeddings: Number of learned positions; with the others, the longest text meant to be read.
        norm_type: `"rms_norm"` (Zhang & Sennrich 2019, arXiv 1910.07467) or `"layer_norm"` (Ba et al. 2016).
        norm_position: `"pre"`, before each sublayer, or `"post"`, behind its residual connection (Xiong et al. 2020,
            arXiv 2002.04745).
        layer_norm_eps: What is added to the variance in a norm of either type.
        use_bias: Whether the linear maps of attention and feed-forward, and LayerNorm, add a bias.
        scale_embedding: Whether embeddings are multiplied by `sqrt(hidden_size)` (Vaswani et al. 2017, section 3.4).
        embedding_norm: Whether the embedded tokens go through a norm before the first layer.
        dropout: Probability of zeroing a component of the embeddings and of each sublayer's output.
        attention_dropout: The same for an attention weight.
        activation_dropout: The same inside the feed-forward.
        head_dropout: The same for what a classifier reads.
        initializer_range: Standard deviation of all weights at the start.
        tie_word_embeddings: Whether the output matrix is the embedding matrix (Press & Wolf 2017, arXiv 1608.05859).
        use_cache: Whether keys and values are returned as `cache`.
        label_smoothing: Share of each label that the training loss spreads over the vocabulary, or over a classifier's
            classes; evaluation has none.
        loss_chunk_size: Compute the training loss for this many tokens at a time, without ever holding all the logits,
            and return none; `None` for logits as everyone expects.
        input_size: Number of channels of a time series, which is then read instead of tokens: there is no token
            embedding. `None` for text.
        prediction_length: Steps that a model of time series predicts unless told otherwise.
        distribution_output: What a model of time series learns of each next value: `"normal"` or `"student_t"`, a
            distribution that each step's state gives (Salinas et al. 2020, arXiv 1704.04110), from which `draw_paths`
            draws paths; `None` for the value alone.
        num_parallel_samples: Paths that `draw_paths` draws per series unless told otherwise; `None` for 100.
        input_mean: Mean of each channel over the training series, taken off before the model reads it; `None` for 0.
        input_scale: Standard deviation of each channel over the training series, by which it is divided; `None` for 1.

    Raises:
        ValueError: For numbers out of the range of their field, token ids outside the vocabulary and combinations that
            mean nothing.
    """

    model_type = "seqnlp_transformer_decoder"
    keys_to_ignore_at_inference = ["cache"]
    base_model_tp_plan = LAYER_PLAN
    base_model_pp_plan = PIPELINE_PLAN

    vocab_size: int = ranged(8000, "[1, inf)")
    hidden_size: int = ranged(256, "[1, inf)")
    intermediate_size: int | None = ranged(None, "[1, inf)")
    num_hidden_layers: int = ranged(4, "[1, inf)")
    num_attention_heads: int = ranged(4, "[1, inf)")
    num_key_value_heads: int | None = ranged(None, "[1, inf)")
    head_dim: int | None = ranged(None, "[1, inf)")
    hidden_act: Literal["relu", "gelu", "swiglu"] = "swiglu"
    position_embedding_type: Literal["sinusoidal", "learned", "rotary", "none"] = "rotary"
    rope_theta: float | int = ranged(10000.0, "[1, inf)")
    max_position_embeddings: int = ranged(1024, "[1, inf)")
    norm_type: Literal["layer_norm", "rms_norm"] = "rms_norm"
    norm_position: Literal["pre", "post"] = "pre"
    layer_norm_eps: float | int = ranged(1e-6, "(0, inf)")
    use_bias: bool = False
    scale_embedding: bool = False
    embedding_norm: bool = False
    dropout: float | int = ranged(0.0, "[0, 1)")
    attention_dropout: float | int = ranged(0.0, "[0, 1)")
    activation_dropout: float | int = ranged(0.0, "[0, 1)")
    head_dropout: float | int = ranged(0.0, "[0, 1)")
    initializer_range: float | int = ranged(0.02, "[0, 100]")
    tie_word_embeddings: bool = True
    use_cache: bool = True
    label_smoothing: float | int = ranged(0.0, "[0, 1)")
    loss_chunk_size: int | None = ranged(None, "[1, inf)")
    input_size: int | None = ranged(None, "[1, inf)")
    prediction_length: int = ranged(1, "[1, inf)")
    distribution_output: Literal["normal", "student_t"] | None = None
    num_parallel_samples: int | None = ranged(None, "[1, inf)")
    input_mean: list[float | int] | None = ranged(None, "(-inf, inf)")
    input_scale: list[float | int] | None = ranged(None, "(0, inf)")
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None

    def __post_init__(self, **kwargs):
        derive_sizes(self)
        fit_plans(self)
        super().__post_init__(**kwargs)

    def validate_architecture(self):
        """Refuse values that cannot be built, and combinations that mean nothing, with the reason."""
        check_architecture(self)
        check_series(self)


__all__ = ["TransformerDecoderConfig"]
