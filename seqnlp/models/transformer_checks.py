"""What the configurations of all Transformers refuse, with the reason."""

from transformers import PreTrainedConfig


SIZES = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "decoder_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "max_position_embeddings",
    "loss_chunk_size",
    "num_channels",
)
PROBABILITIES = ("dropout", "attention_dropout", "activation_dropout", "head_dropout", "label_smoothing")


def derive_sizes(config: PreTrainedConfig) -> None:
    """
    Fill in the sizes left to `None`: as many key and value heads as query heads, which share the hidden size; and a
    feed-forward four times as wide as the model (Vaswani et al. 2017), or of as many weights (Shazeer 2020, section
    3).

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


def fit_plans(config: PreTrainedConfig) -> None:
    """Take out of the class's plans for several devices what this configuration does not have or allow."""
    if config.hidden_act != "swiglu":
        plan = config.base_model_tp_plan
        config.base_model_tp_plan = {name: how for name, how in plan.items() if not name.endswith("gate_proj")}
    if config.base_model_pp_plan is not None and (
        config.position_embedding_type in ("sinusoidal", "learned") or config.scale_embedding or config.embedding_norm
    ):
        # A pipeline stage is handed states instead of embeddings, and would prepare them once more.
        config.base_model_pp_plan = None


def check_architecture(config: PreTrainedConfig) -> None:
    """
    Refuse what cannot be built and what means nothing.

    Raises:
        ValueError: With the field, its value and the way out.
    """
    for name in SIZES:
        value = getattr(config, name, None)
        if value is not None and value < 1:
            raise ValueError(f"{name}={value} must be at least 1.")
    for name in PROBABILITIES:
        value = getattr(config, name, 0)
        if not 0 <= value < 1:
            raise ValueError(f"{name}={value} is a probability: it must be at least 0 and below 1.")
    _check_positions(config)
    heads, shared = config.num_attention_heads, config.num_key_value_heads
    if heads % shared:
        raise ValueError(
            f"num_attention_heads={heads} is no multiple of num_key_value_heads={shared}: each key and value head "
            "serves the same number of query heads (grouped-query attention)."
        )


def _check_positions(config: PreTrainedConfig) -> None:
    kind = config.position_embedding_type
    if kind == "rotary" and config.head_dim % 2:
        raise ValueError(f"head_dim={config.head_dim} must be even: rotary positions turn pairs of components.")
    if kind == "sinusoidal" and config.hidden_size % 2:
        raise ValueError(f"hidden_size={config.hidden_size} must be even: sinusoidal positions pair sine and cosine.")
    if kind != "rotary" and getattr(config, "rope_theta", 10000.0) != 10000.0:
        raise ValueError(
            f"rope_theta={config.rope_theta} is for position_embedding_type='rotary', not {kind!r}: leave it out."
        )
