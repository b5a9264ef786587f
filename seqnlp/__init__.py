"""Sequence models, trained from scratch, at home in the Hugging Face world.

Importing seqnlp registers its architectures with transformers' Auto classes, and the pipeline `seqnlp-translation`.
"""

from .models import (
    RecurrentCache,
    RecurrentConfig,
    RecurrentForCausalLM,
    RecurrentForSequenceClassification,
    RecurrentForTimeSeriesPrediction,
    RecurrentForTokenClassification,
    RecurrentModel,
    RecurrentSeq2SeqCache,
    RecurrentSeq2SeqConfig,
    RecurrentSeq2SeqForConditionalGeneration,
    RecurrentSeq2SeqModel,
    StaticRecurrentCache,
    TransformerConfig,
    TransformerDecoderConfig,
    TransformerDecoderForCausalLM,
    TransformerDecoderForSequenceClassification,
    TransformerDecoderForTimeSeriesPrediction,
    TransformerDecoderModel,
    TransformerEncoderConfig,
    TransformerEncoderForMaskedLM,
    TransformerEncoderForSequenceClassification,
    TransformerEncoderForTokenClassification,
    TransformerEncoderModel,
    TransformerForConditionalGeneration,
    TransformerModel,
    VisionTransformerConfig,
    VisionTransformerForImageClassification,
    VisionTransformerModel,
)
from .pipelines import TranslationPipeline


__version__ = "0.1.0"

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
    "TranslationPipeline",
    "VisionTransformerConfig",
    "VisionTransformerForImageClassification",
    "VisionTransformerModel",
    "__version__",
]
