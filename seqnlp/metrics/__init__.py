"""Metrics as `evaluate.Metric` classes that need no network; each knows all that is known of its scores."""

from .bleu import (
    BLEU,
    BLEU_TOKENIZERS,
    ChrF,
    bleu_by_source_length,
    bleu_tokenizer,
    lacking_package,
    moses_tokens,
    translation_report,
    translation_scores,
)
from .classification import (
    CLASSIFICATION_SCORES,
    F1,
    Accuracy,
    CrossEntropy,
    MatthewsCorrelation,
    classification_report,
    classification_scores,
)
from .forecast import (
    DATA_UNIT,
    FORECAST_SCORES,
    forecast_report,
    forecast_scores,
    last_value_forecast,
    straight_line_forecast,
)
from .masking import MASKED_LANGUAGE_MODELING_SCORES, masked_language_modeling_scores, nats_and_hits
from .perplexity import (
    LANGUAGE_MODELING_SCORES,
    BitsPerCharacter,
    NegativeLogLikelihood,
    Perplexity,
    language_modeling_report,
    language_modeling_scores,
    nats_of_rows,
    xz_bits_per_character,
)
from .rouge import ROUGE
from .score import OfflineMetric, Score
from .tagging import TAGGING_SCORES, EntityF1, WordAccuracy, entities_of, entity_scheme, tagging_report, tagging_scores


__all__ = [
    "BLEU",
    "BLEU_TOKENIZERS",
    "CLASSIFICATION_SCORES",
    "DATA_UNIT",
    "F1",
    "FORECAST_SCORES",
    "LANGUAGE_MODELING_SCORES",
    "MASKED_LANGUAGE_MODELING_SCORES",
    "ROUGE",
    "TAGGING_SCORES",
    "Accuracy",
    "BitsPerCharacter",
    "ChrF",
    "CrossEntropy",
    "EntityF1",
    "MatthewsCorrelation",
    "NegativeLogLikelihood",
    "OfflineMetric",
    "Perplexity",
    "Score",
    "WordAccuracy",
    "bleu_by_source_length",
    "bleu_tokenizer",
    "classification_report",
    "classification_scores",
    "entities_of",
    "entity_scheme",
    "forecast_report",
    "forecast_scores",
    "lacking_package",
    "language_modeling_report",
    "language_modeling_scores",
    "last_value_forecast",
    "masked_language_modeling_scores",
    "moses_tokens",
    "nats_and_hits",
    "nats_of_rows",
    "straight_line_forecast",
    "tagging_report",
    "tagging_scores",
    "translation_report",
    "translation_scores",
    "xz_bits_per_character",
]
