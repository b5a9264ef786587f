"""Sequence models, trained from scratch, at home in the Hugging Face world.

Importing seqnlp registers its architectures with transformers' Auto classes, and the pipeline `seqnlp-translation`.
"""

from . import models
from .models import *  # noqa: F403 - what it offers stands in its `__all__`
from .pipelines import TranslationPipeline


__version__ = "0.2.0"

__all__ = ["TranslationPipeline", "__version__"]
__all__ += models.__all__
