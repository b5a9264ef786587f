"""The architectures, and their registration with transformers' Auto classes.

The other files of this folder travel to the Hub with a published model; this one does not.
"""

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
from transformers.models.auto import modeling_auto

from .configuration_recurrent import RecurrentConfig
from .configuration_recurrent_seq2seq import RecurrentSeq2SeqConfig
from .configuration_transformer import TransformerConfig
from .configuration_transformer_decoder import TransformerDecoderConfig
from .configuration_transformer_encoder import TransformerEncoderConfig
from .configuration_vision_transformer import VisionTransformerConfig
from .modeling_recurrent import (
    RecurrentForCausalLM,
    RecurrentForSequenceClassification,
    RecurrentForTokenClassification,
    RecurrentModel,
)
from .modeling_recurrent_seq2seq import RecurrentSeq2SeqForConditionalGeneration, RecurrentSeq2SeqModel
from .modeling_recurrent_time_series import RecurrentForTimeSeriesPrediction
from .modeling_transformer import TransformerForConditionalGeneration, TransformerModel
from .modeling_transformer_decoder import (
    TransformerDecoderForCausalLM,
    TransformerDecoderForSequenceClassification,
    TransformerDecoderModel,
)
from .modeling_transformer_decoder_time_series import TransformerDecoderForTimeSeriesPrediction
from .modeling_transformer_encoder import (
    TransformerEncoderForMaskedLM,
    TransformerEncoderForSequenceClassification,
    TransformerEncoderForTokenClassification,
    TransformerEncoderModel,
)
from .modeling_vision_transformer import VisionTransformerForImageClassification, VisionTransformerModel
from .recurrent_cache import RecurrentCache, StaticRecurrentCache
from .recurrent_seq2seq_cache import RecurrentSeq2SeqCache


# For each Auto class the table of names beside it: pipelines and losses look there for what a model can do.
_NAMES = {
    AutoModel: modeling_auto.MODEL_MAPPING_NAMES,
    AutoModelForCausalLM: modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    AutoModelForImageClassification: modeling_auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES,
    AutoModelForMaskedLM: modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    AutoModelForSeq2SeqLM: modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
    AutoModelForSequenceClassification: modeling_auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
    AutoModelForTimeSeriesPrediction: modeling_auto.MODEL_FOR_TIME_SERIES_PREDICTION_MAPPING_NAMES,
    AutoModelForTokenClassification: modeling_auto.MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES,
}

_MODELS = {
    RecurrentConfig: {
        AutoModel: RecurrentModel,
        AutoModelForCausalLM: RecurrentForCausalLM,
        AutoModelForSequenceClassification: RecurrentForSequenceClassification,
        AutoModelForTimeSeriesPrediction: RecurrentForTimeSeriesPrediction,
        AutoModelForTokenClassification: RecurrentForTokenClassification,
    },
    RecurrentSeq2SeqConfig: {
        AutoModel: RecurrentSeq2SeqModel,
        AutoModelForSeq2SeqLM: RecurrentSeq2SeqForConditionalGeneration,
    },
    TransformerConfig: {
        AutoModel: TransformerModel,
        AutoModelForSeq2SeqLM: TransformerForConditionalGeneration,
    },
    TransformerDecoderConfig: {
        AutoModel: TransformerDecoderModel,
        AutoModelForCausalLM: TransformerDecoderForCausalLM,
        AutoModelForSequenceClassification: TransformerDecoderForSequenceClassification,
        AutoModelForTimeSeriesPrediction: TransformerDecoderForTimeSeriesPrediction,
    },
    TransformerEncoderConfig: {
        AutoModel: TransformerEncoderModel,
        AutoModelForMaskedLM: TransformerEncoderForMaskedLM,
        AutoModelForSequenceClassification: TransformerEncoderForSequenceClassification,
        AutoModelForTokenClassification: TransformerEncoderForTokenClassification,
    },
    VisionTransformerConfig: {
        AutoModel: VisionTransformerModel,
        AutoModelForImageClassification: VisionTransformerForImageClassification,
    },
}


def register() -> None:
    """Make transformers' Auto classes and pipelines know every architecture; calling it again changes nothing."""
    for config_class, models in _MODELS.items():
        AutoConfig.register(config_class.model_type, config_class, exist_ok=True)
        if config_class is VisionTransformerConfig:
            AutoImageProcessor.register(
                config_class, image_processor_classes={"pil": ViTImageProcessorPil}, exist_ok=True
            )
        else:
            AutoTokenizer.register(config_class, fast_tokenizer_class=PreTrainedTokenizerFast, exist_ok=True)
        for auto_class, model_class in models.items():
            auto_class.register(config_class, model_class, exist_ok=True)
            _NAMES[auto_class][config_class.model_type] = model_class.__name__


register()

__all__ = [
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
]
