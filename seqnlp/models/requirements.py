"""What a configuration requires, of the installed transformers and of its own fields, and what it derives.

Every configuration imports this before anything else: its import fails, in one line, where transformers is too old,
and a configuration is the first file that is loaded with a published model.
"""

import re

import transformers


TRANSFORMERS = "5.23"
SIZES = (
    "vocab_size",
    "hidden_size",
    "embedding_size",
    "intermediate_size",
    "num_hidden_layers",
    "decoder_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "max_position_embeddings",
    "loss_chunk_size",
    "num_channels",
    "input_size",
    "prediction_length",
)
PROBABILITIES = (
    "dropout",
    "embedding_dropout",
    "attention_dropout",
    "activation_dropout",
    "head_dropout",
    "label_smoothing",
)
# How the maps of a layer are divided among devices, and what a stage of a pipeline hands to the next.
LAYER_PLAN = {
    "layers.*.self_attn.q_proj": "colwise",
    "layers.*.self_attn.k_proj": "colwise",
    "layers.*.self_attn.v_proj": "colwise",
    "layers.*.self_attn.o_proj": "rowwise",
    "layers.*.mlp.gate_proj": "colwise",
    "layers.*.mlp.up_proj": "colwise",
    "layers.*.mlp.down_proj": "rowwise",
}
PIPELINE_PLAN = {
    "embed_tokens": (["input_ids"], ["inputs_embeds"]),
    "layers": (["hidden_states", "attention_mask"], ["hidden_states"]),
    "norm": (["hidden_states"], ["hidden_states"]),
}


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])


if _numbers(transformers.__version__) < _numbers(TRANSFORMERS):
    raise ImportError(
        f"This model needs transformers {TRANSFORMERS} or newer, and {transformers.__version__} is installed: "
        f'pip install -U "transformers>={TRANSFORMERS}"'
    )


def check_numbers(config: transformers.PreTrainedConfig) -> None:
    """
    Refuse sizes that are not positive and probabilities outside [0, 1), of those that a configuration has.

    Raises:
        ValueError: With the field and its value.
    """
    for name in SIZES:
        value = getattr(config, name, None)
        if value is not None and value < 1:
            raise ValueError(f"{name}={value} must be at least 1.")
    for name in PROBABILITIES:
        value = getattr(config, name, 0)
        if not 0 <= value < 1:
            raise ValueError(f"{name}={value} is a probability: it must be at least 0 and below 1.")


def check_tied_sizes(config: transformers.PreTrainedConfig) -> None:
    """
    Refuse one matrix for embeddings and output of different widths.

    Raises:
        ValueError: With both widths.
    """
    if config.tie_word_embeddings and config.embedding_size not in (None, config.hidden_size):
        raise ValueError(
            f"tie_word_embeddings=True needs embedding_size == hidden_size, got {config.embedding_size} and "
            f"{config.hidden_size}: set them equal or tie_word_embeddings=False."
        )


def check_series(config: transformers.PreTrainedConfig) -> None:
    """
    Refuse means and deviations that do not fit the channels of the series that a model reads instead of tokens.

    Raises:
        ValueError: With the field, its value and the way out.
    """
    for name in ("input_mean", "input_scale"):
        values = getattr(config, name)
        if values is not None and len(values) != config.input_size:
            raise ValueError(
                f"{name}={values} has {len(values)} numbers, and input_size={config.input_size}: give one per channel."
            )
    if config.input_scale is not None and min(config.input_scale) <= 0:
        raise ValueError(f"input_scale={config.input_scale} must be above 0: give 1 for a channel that never changes.")


def derive_sizes(config: transformers.PreTrainedConfig) -> None:
    """
    Fill in a Transformer's sizes left to `None`: as many key and value heads as query heads, which share the hidden
    size; and a feed-forward four times as wide as the model (Vaswani et al. 2017), or of as many weights (Shazeer
    2020, section 3).

    Raises:
        ValueError: If the heads cannot share the hidden size.
    """
    if config.num_key_value_heads is None:
        config.num_key_value_heads = config.num_attention_heads
    heads = config.num_attention_heads
    if config.head_dim is None and heads > 0:
        if config.hidden_size % heads:
            raise ValueError(
                f"hidden_size={config.hidden_size} cannot be split into num_attention_heads={heads} equal parts: "
                "choose a multiple, or set head_dim."
            )
        config.head_dim = config.hidden_size // heads
    if config.intermediate_size is None:
        # SwiGLU has three matrices where the others have two; rounded up to a multiple of 8, which hardware likes.
        third = -(-config.hidden_size * 8 // 24) * 8
        config.intermediate_size = third if config.hidden_act == "swiglu" else 4 * config.hidden_size


def fit_plans(config: transformers.PreTrainedConfig) -> None:
    """Take out of the class's plans for several devices what this configuration does not have or allow."""
    if config.hidden_act != "swiglu":
        plan = config.base_model_tp_plan
        config.base_model_tp_plan = {name: how for name, how in plan.items() if not name.endswith("gate_proj")}
    if config.base_model_pp_plan is not None and (
        config.position_embedding_type in ("sinusoidal", "learned") or config.scale_embedding or config.embedding_norm
    ):
        # A pipeline stage is handed states instead of embeddings, and would prepare them once more.
        config.base_model_pp_plan = None


def check_architecture(config: transformers.PreTrainedConfig) -> None:
    """
    Refuse Transformers that cannot be built or mean nothing.

    Raises:
        ValueError: With the field, its value and the way out.
    """
    check_numbers(config)
    kind = config.position_embedding_type
    if kind == "rotary" and config.head_dim % 2:
        raise ValueError(f"head_dim={config.head_dim} must be even: rotary positions turn pairs of components.")
    if kind == "sinusoidal" and config.hidden_size % 2:
        raise ValueError(f"hidden_size={config.hidden_size} must be even: sinusoidal positions pair sine and cosine.")
    if kind != "rotary" and getattr(config, "rope_theta", 10000.0) != 10000.0:
        raise ValueError(
            f"rope_theta={config.rope_theta} is for position_embedding_type='rotary', not {kind!r}: leave it out."
        )
    heads, shared = config.num_attention_heads, config.num_key_value_heads
    if heads % shared:
        raise ValueError(
            f"num_attention_heads={heads} is no multiple of num_key_value_heads={shared}: each key and value head "
            "serves the same number of query heads (grouped-query attention)."
        )
