"""Sequence models, trained from scratch, at home in the Hugging Face world.

Importing seqnlp makes transformers' Auto classes know its architectures, and costs as little as importing transformers
does. The classes, torch, and the pipeline `seqnlp-translation` are imported when one of them is asked for: by its name
here, or by an Auto class or a pipeline that reads the configuration of one of our models.
"""

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING


try:
    os.getcwd()
except FileNotFoundError:
    # NumPy, transformers and Python itself ask for it, and say it each in another way.
    message = "the folder that this was started in is gone. Start it in one that is there."
    raise FileNotFoundError(message) from None

from transformers.models.auto import auto_mappings


if TYPE_CHECKING:
    from .models import *  # noqa: F403 - what it offers stands in its `__all__`
    from .pipelines import TranslationPipeline  # noqa: F401


__version__ = "0.2.0"

CONFIGURATIONS = {
    "seqnlp_recurrent": "RecurrentConfig",
    "seqnlp_recurrent_seq2seq": "RecurrentSeq2SeqConfig",
    "seqnlp_transformer": "TransformerConfig",
    "seqnlp_transformer_decoder": "TransformerDecoderConfig",
    "seqnlp_transformer_encoder": "TransformerEncoderConfig",
    "seqnlp_vision_transformer": "VisionTransformerConfig",
}
"""By its `model_type`, the name of each configuration: all that can be known before torch is imported."""


def _announce() -> None:
    """
    Enter the configurations' names where transformers keeps those of its own, which it imports when one is read.

    It looks for them in a module `transformers.models.<model_type>`; that is this one here, and to ask it for a class
    registers all of them (`models.register`). Every way to a model begins with its configuration.
    """
    # With its Auto classes transformers makes a copy of the table, and reads that from then on.
    reader = sys.modules.get("transformers.models.auto.configuration_auto", auto_mappings)
    reader.CONFIG_MAPPING_NAMES.update(CONFIGURATIONS)
    for model_type in CONFIGURATIONS:
        sys.modules[f"transformers.models.{model_type}"] = sys.modules[__name__]


def _offered() -> dict[str, object]:
    """All public names, by importing what they stand for; from then on `models` and `pipelines` are there too."""
    models, pipelines = import_module(".models", __name__), import_module(".pipelines", __name__)
    offered = {name: getattr(part, name) for part in (models, pipelines) for name in part.__all__}
    return offered | {"__version__": __version__}


def __getattr__(name: str) -> object:
    if name.startswith("_") and name != "__all__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    offered = _offered()
    if name == "__all__":
        return list(offered)
    found = globals() | offered
    if name not in found:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return found[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *_offered()})


_announce()
