"""What a configuration requires, of the installed transformers and of its own fields, and what it derives.

Every configuration imports this before anything else: its import fails, in one line, where transformers is too old,
and a configuration is the first file that is loaded with a published model.
"""

import dataclasses
import re
from difflib import get_close_matches
from typing import Any

import transformers
from transformers.utils import logging


logger = logging.get_logger(__name__)


TRANSFORMERS = "5.24"
_INTERVAL = re.compile(r"([\[(])\s*(\S+)\s*,\s*(\S+)\s*([\])])")
# Settings of transformers' own models; the layers here would ignore it.
_NOT_HERE = {
    "rope_parameters": "neither it nor rope_scaling is read, since rope_theta is the one setting of rotary positions",
    "partial_rotary_factor": "rotary positions turn whole heads",
    "sliding_window": "attention sees all tokens",
}
# What others read of a configuration or put there, not a model: its code, the weights' format, a translator's second
# tokenizer, and what transformers' Trainer says of the cache to every model.
_CARRIED = {"auto_map", "custom_pipelines", "quantization_config", "target_tokenizer", "use_cache"}
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


class Range:
    """
    An interval of numbers in the usual notation: `[0, 1)` holds 0 and not 1, `(0, inf)` every number above 0.

    Raises:
        ValueError: If `text` is no interval.
    """

    def __init__(self, text: str):
        found = _INTERVAL.fullmatch(text.strip())
        if found is None:
            raise ValueError(f"{text!r} is no interval; write one such as [0, 1) or (0, inf).")
        self.has_low, self.has_high = found.group(1) == "[", found.group(4) == "]"
        self.low, self.high = float(found.group(2)), float(found.group(3))

    def __contains__(self, value: float) -> bool:  # what is not a number is in none
        above = value >= self.low if self.has_low else value > self.low
        return above and (value <= self.high if self.has_high else value < self.high)

    def __str__(self) -> str:
        parts = []
        if self.low != float("-inf"):
            parts.append(f"{'at least' if self.has_low else 'above'} {self.low:.10g}")
        if self.high != float("inf"):
            parts.append(f"{'at most' if self.has_high else 'below'} {self.high:.10g}")
        return " and ".join(parts) or "a finite number"


def ranged(default: Any, interval: str) -> Any:
    """
    A configuration's field that is a number, or several, of an interval in the usual notation: `[0, 1)` holds 0 and
    not 1. A field may always be `None` where its type says so.
    """
    return dataclasses.field(default=default, metadata={"range": interval})


def check_fields(config: transformers.PreTrainedConfig) -> None:
    """
    Refuse numbers out of the range of their field, token ids that are no rows of the embeddings, no labels at all, and
    settings of transformers' own models that would be saved and ignored; and warn of any other name that is no field,
    which transformers accepts and saves.

    Raises:
        ValueError: With the field and its value.
    """
    for field in dataclasses.fields(config):
        if "range" in field.metadata:
            _check_range(field.name, getattr(config, field.name), field.metadata["range"])
    if hasattr(config, "vocab_size"):
        for name, value in vars(config).items():
            if name.endswith("_token_id"):
                _check_range(name, value, f"[0, {config.vocab_size})", f", since vocab_size={config.vocab_size}")
    if config.num_labels < 1:
        raise ValueError(f"num_labels={config.num_labels} must be at least 1.")
    if config.label_smoothing and config.problem_type == "regression":
        raise ValueError(
            f"label_smoothing={config.label_smoothing} is for classes, and numbers have none: leave it out."
        )
    for name, reason in _NOT_HERE.items():
        value = vars(config).get(name)
        if value is not None:
            raise ValueError(f"{name}={value} is no setting of {type(config).__name__}: {reason}. Leave it out.")
    fields = {field.name for field in dataclasses.fields(config)}
    for name, value in vars(config).items():
        if name[0] != "_" and name not in fields | _CARRIED and not hasattr(transformers.PreTrainedConfig, name):
            near = get_close_matches(name, sorted(fields), 1, cutoff=0.8)
            meant = f"; did you mean {near[0]}?" if near else "."
            shown = repr(value)[:60]
            logger.warning_once(
                f"{type(config).__name__} has no setting {name}: {name}={shown} is saved and changes nothing{meant}"
            )


def _check_range(name: str, value: Any, interval: str, reason: str = "") -> None:
    allowed = Range(interval)
    for number in value if isinstance(value, list | tuple) else [value]:
        if number is not None and number not in allowed:
            raise ValueError(f"{name}={value} must be {allowed}{reason}.")


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


def check_words(config: transformers.PreTrainedConfig) -> None:
    """
    Refuse settings of words where no token continues one, since tokens are read then.

    Raises:
        ValueError: With the field and its value.
    """
    for name in ("word_vocab_size", "word_dropout"):
        value = getattr(config, name)
        if value is not None and config.first_continuing_id is None:
            raise ValueError(f"{name}={value} is of words: set first_continuing_id, or leave it out.")


def check_series(config: transformers.PreTrainedConfig) -> None:
    """
    Refuse means and deviations that do not fit the channels of the series that a model reads instead of tokens, and a
    distribution of values for a model that reads tokens.

    Raises:
        ValueError: With the field, its value and the way out.
    """
    for name in ("input_mean", "input_scale"):
        values = getattr(config, name)
        if values is not None and len(values) != config.input_size:
            raise ValueError(
                f"{name}={values} has {len(values)} numbers, and input_size={config.input_size}: give one per channel."
            )
    if config.distribution_output is not None and config.input_size is None:
        raise ValueError(
            f"distribution_output={config.distribution_output!r} is for models of time series, which have an "
            "input_size: set that, or leave it out."
        )


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
    check_fields(config)
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
