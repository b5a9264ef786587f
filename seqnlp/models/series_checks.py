"""What the configurations refuse in the fields of models that read numbers instead of tokens."""

from transformers import PreTrainedConfig


def check_series(config: PreTrainedConfig) -> None:
    """
    Refuse what cannot be built.

    Raises:
        ValueError: With the field, its value and the way out.
    """
    for name in ("input_size", "prediction_length"):
        value = getattr(config, name)
        if value is not None and value < 1:
            raise ValueError(f"{name}={value} must be at least 1.")
    for name in ("input_mean", "input_scale"):
        values = getattr(config, name)
        if values is not None and len(values) != config.input_size:
            raise ValueError(
                f"{name}={values} has {len(values)} numbers, and input_size={config.input_size}: give one a channel."
            )
    if config.input_scale is not None and min(config.input_scale) <= 0:
        raise ValueError(f"input_scale={config.input_scale} must be above 0: give 1 for a channel that never changes.")


def require_input_size(config: PreTrainedConfig) -> None:
    """
    Refuse a model of numbers without their count.

    Raises:
        ValueError: If `config.input_size` is not set.
    """
    if config.input_size is None:
        raise ValueError("A model of time series needs input_size, the number of channels of a series.")
