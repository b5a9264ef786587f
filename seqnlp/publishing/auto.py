"""Which Auto class makes which model."""

from transformers import PreTrainedConfig, PreTrainedModel
from transformers.models.auto import modeling_auto


def auto_classes(config_class: type[PreTrainedConfig]) -> list[tuple[str, type[PreTrainedModel]]]:
    """Name of each `AutoModel...` that knows this configuration, with the class that it makes."""
    found = []
    for name, auto_class in vars(modeling_auto).items():
        mapping = getattr(auto_class, "_model_mapping", None)
        if name.startswith("AutoModel") and mapping is not None and config_class in mapping:
            known = mapping[config_class]
            found += [(name, one) for one in (known if isinstance(known, tuple) else (known,))]
    return found
