"""Configuration of the Transformer encoder: classifiers, taggers and masked language models."""

# First, since it says what is missing before another import fails.
from .requirements import LAYER_PLAN, PIPELINE_PLAN, check_architecture, check_words, derive_sizes, fit_plans, ranged


# isort: split
from typing import Literal

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig


@strict
class TransformerEncoderConfig(PreTrainedConfig):
    r"""
    Sizes and parts of a [`TransformerEncoderModel`] and of the heads on top of it.

    The defaults are those of BERT (Devlin et al. 2019, arXiv 1810.04805, section 3) in a small size, without its
    embeddings of sentence A and B: learned positions, LayerNorm behind each residual connection and on the embeddings,
    GELU, biases, dropout. With rotary positions, `"pre"` norms, SwiGLU and no biases it is what encoders are today.

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
        position_embedding_type: `"learned"`, `"sinusoidal"` (Vaswani et al. 2017), `"rotary"` (Su et al. 2021, arXiv
            2104.09864), or `"none"`: then a text is a bag of words.
        rope_theta: The base of the rotary angles.
        max_position_embeddings: Number of learned positions; with the others, the longest text meant to be read.
        norm_type: `"layer_norm"` (Ba et al. 2016) or `"rms_norm"` (Zhang & Sennrich 2019, arXiv 1910.07467).
        norm_position: `"post"`, behind each residual connection, or `"pre"`, before each sublayer (Xiong et al. 2020,
            arXiv 2002.04745), which trains without warm-up.
        layer_norm_eps: What is added to the variance in a norm of either type.
        use_bias: Whether the linear maps of attention and feed-forward, and LayerNorm, add a bias.
        scale_embedding: Whether embeddings are multiplied by `sqrt(hidden_size)` (Vaswani et al. 2017, section 3.4).
        embedding_norm: Whether the embedded tokens go through a norm before the first layer.
        dropout: Probability of zeroing a component of the embeddings and of each sublayer's output.
        attention_dropout: The same for an attention weight.
        activation_dropout: The same inside the feed-forward.
        head_dropout: The same for what a classifier reads.
        pooling: What a sequence classifier reads: the `"first"` valid token's state (with a tokenizer that puts a
            token there for it, as BERT's does), or the `"mean"` or `"max"` of the valid tokens' states.
        initializer_range: Standard deviation of all weights at the start.
        tie_word_embeddings: Whether the output matrix is the embedding matrix (Press & Wolf 2017, arXiv 1608.05859).
        label_smoothing: Share of each label that the training loss spreads over the vocabulary, or over a classifier's
            classes; evaluation has none.
        loss_chunk_size: Compute the training loss for this many tokens at a time, without ever holding all the logits,
            and return none; `None` for logits as everyone expects.
        first_continuing_id: Where the tokens of a token classifier are pieces of words: those from this one on go on
            with a word, the others begin one. The layers then read words, each made of its pieces (dos Santos &
            Zadrozny 2014), see `word_reader.py`. `None`: they read tokens.
        word_vocab_size: Of how many words the whole word has a vector of its own besides; `None` for none.
        word_dropout: Probability with which, in training, such a word passes for one that has none; `None` for 0.

    Raises:
        ValueError: For numbers out of the range of their field, token ids outside the vocabulary and combinations that
            mean nothing.
    """

    model_type = "seqnlp_transformer_encoder"
    base_model_tp_plan = LAYER_PLAN
    base_model_pp_plan = PIPELINE_PLAN

    vocab_size: int = ranged(8000, "[1, inf)")
    hidden_size: int = ranged(256, "[1, inf)")
    intermediate_size: int | None = ranged(None, "[1, inf)")
    num_hidden_layers: int = ranged(4, "[1, inf)")
    num_attention_heads: int = ranged(4, "[1, inf)")
    num_key_value_heads: int | None = ranged(None, "[1, inf)")
    head_dim: int | None = ranged(None, "[1, inf)")
    hidden_act: Literal["relu", "gelu", "swiglu"] = "gelu"
    position_embedding_type: Literal["sinusoidal", "learned", "rotary", "none"] = "learned"
    rope_theta: float | int = ranged(10000.0, "[1, inf)")
    max_position_embeddings: int = ranged(512, "[1, inf)")
    norm_type: Literal["layer_norm", "rms_norm"] = "layer_norm"
    norm_position: Literal["pre", "post"] = "post"
    layer_norm_eps: float | int = ranged(1e-12, "(0, inf)")
    use_bias: bool = True
    scale_embedding: bool = False
    embedding_norm: bool = True
    dropout: float | int = ranged(0.1, "[0, 1)")
    attention_dropout: float | int = ranged(0.1, "[0, 1)")
    activation_dropout: float | int = ranged(0.0, "[0, 1)")
    head_dropout: float | int = ranged(0.1, "[0, 1)")
    pooling: Literal["first", "mean", "max"] = "mean"
    initializer_range: float | int = ranged(0.02, "[0, 100]")
    tie_word_embeddings: bool = True
    label_smoothing: float | int = ranged(0.0, "[0, 1)")
    loss_chunk_size: int | None = ranged(None, "[1, inf)")
    first_continuing_id: int | None = ranged(None, "[1, inf)")
    word_vocab_size: int | None = ranged(None, "[1, inf)")
    word_dropout: float | int | None = ranged(None, "[0, 1)")
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
        check_words(self)


__all__ = ["TransformerEncoderConfig"]
