"""Pipelines of transformers for what seqnlp trains; importing them registers them."""

from .translation import TranslationPipeline, register


register()

__all__ = ["TranslationPipeline"]
