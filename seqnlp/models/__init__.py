"""The architectures, and their registration with transformers' Auto classes.

The other files of this folder travel to the Hub with a published model; this one does not.
"""

# ruff: noqa: F403, F405 - what a file offers stands in its own `__all__`

from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoModelForTimeSeriesPrediction,
    AutoModelForTokenClassification,
    AutoTokenizer,
    PreTrainedTokenizerFast,
    ViTImageProcessorPil,
)

from .. import pipelines  # noqa: F401 - who has the classes has the pipeline, whichever part of seqnlp came first
from .compiled_generation import *
from .configuration_recurrent import *
from .configuration_recurrent_seq2seq import *
from .configuration_transformer import *
from .configuration_transformer_decoder import *
from .configuration_transformer_encoder import *
from .configuration_vision_transformer import *
from .key_value_cache import *
from .modeling_recurrent import *
from .modeling_recurrent_seq2seq import *
from .modeling_transformer import *
from .modeling_transformer_decoder import *
from .modeling_transformer_encoder import *
from .modeling_vision_transformer import *
from .recurrent_cache import *


__all__ = [
    "GrowingCache",
    "RecurrentCache",
    "RecurrentConfig",
    "RecurrentForCausalLM",
    "RecurrentForSequenceClassification",
    "RecurrentForTimeSeriesPrediction",
    "RecurrentForTokenClassification",
    "RecurrentModel",
    "RecurrentSeq2SeqCache",
    "RecurrentSeq2SeqConfig",
    "RecurrentSeq2SeqForConditionalGeneration",
    "RecurrentSeq2SeqModel",
    "StaticRecurrentCache",
    "TransformerCache",
    "TransformerConfig",
    "TransformerDecoderConfig",
    "TransformerDecoderForCausalLM",
    "TransformerDecoderForSequenceClassification",
    "TransformerDecoderForTimeSeriesPrediction",
    "TransformerDecoderModel",
    "TransformerEncoderConfig",
    "TransformerEncoderForMaskedLM",
    "TransformerEncoderForSequenceClassification",
    "TransformerEncoderForTokenClassification",
    "TransformerEncoderModel",
    "TransformerForConditionalGeneration",
    "TransformerModel",
    "VisionTransformerConfig",
    "VisionTransformerForImageClassification",
    "VisionTransformerModel",
    "compile_generation",
]

AUTO_CLASSES = {
    "ForCausalLM": AutoModelForCausalLM,
    "ForConditionalGeneration": AutoModelForSeq2SeqLM,
    "ForMaskedLM": AutoModelForMaskedLM,
    "ForSequenceClassification": AutoModelForSequenceClassification,
    "ForTokenClassification": AutoModelForTokenClassification,
    "ForTimeSeriesPrediction": AutoModelForTimeSeriesPrediction,
    "ForImageClassification": AutoModelForImageClassification,
    "Model": AutoModel,
}
"""
Each kind of head: how the names of its classes end, as in transformers, and the Auto class that makes them. A class of
transformers that two of these make, such as BART's, is of the kind that comes first.
"""


def register() -> None:
    """Make transformers' Auto classes and pipelines know every architecture; calling it again changes nothing."""
    classes = {name: globals()[name] for name in __all__}
    for config_class in (value for name, value in classes.items() if name.endswith("Config")):
        AutoConfig.register(config_class.model_type, config_class, exist_ok=True)
        if config_class is VisionTransformerConfig:
            AutoImageProcessor.register(
                config_class, image_processor_classes={"pil": ViTImageProcessorPil}, exist_ok=True
            )
        else:
            AutoTokenizer.register(config_class, fast_tokenizer_class=PreTrainedTokenizerFast, exist_ok=True)
    for name, model_class in classes.items():
        for ending, auto_class in AUTO_CLASSES.items():
            if name.endswith(ending):
                auto_class.register(model_class.config_class, model_class, exist_ok=True)
                # The names by which Trainer shifts labels for its own losses and its cards know the task: `register`
                # leaves them out, and nothing public enters them for all Auto classes.
                auto_class._model_mapping._model_mapping[model_class.config_class.model_type] = name


register()
