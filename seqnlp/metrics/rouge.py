"""ROUGE, computed by rouge-score: how much of a reference, such as a summary, a text has, and how little else."""

import statistics
from typing import Any

import datasets

from .score import ONE_SENTENCE, OfflineMetric, Score
from .words import words_of


_TYPES = {"rouge1": "words", "rouge2": "pairs of words", "rougeL": "words of the longest common subsequence"}


class UnicodeWords:
    """
    Words of any language, lower-cased; of scripts that put no spaces between words each character.

    rouge-score's own tokenizer knows the letters from a to z alone, and would drop all others.
    """

    def tokenize(self, text: str) -> list[str]:
        """The words of a text."""
        return words_of(text.lower())


class ROUGE(OfflineMetric):
    """
    ROUGE-1, ROUGE-2 and ROUGE-L (Lin 2004, W04-1013): F1 of what a text and its reference have in common, in percent,
    the mean over the texts; without stemming. Computed by rouge-score, over words of any language.
    """

    scores = tuple(
        Score(
            key,
            f"ROUGE-{key[-1]}",
            f"mean over the texts of the F1 of the {what} in common with the reference (rouge-score, lower-cased, not "
            "stemmed)",
            greater_is_better=True,
            unit="%",
            digits=2,
            weight_of_an_example=ONE_SENTENCE,
            is_of_texts=True,
            type="rouge",
        )
        for key, what in _TYPES.items()
    )

    inputs = "\nArgs:\n    predictions: The texts.\n    references: The right one for each.\n"
    columns = datasets.Features({"predictions": datasets.Value("string"), "references": datasets.Value("string")})

    def _compute(self, predictions, references) -> dict[str, Any]:
        from rouge_score import rouge_scorer  # slow to import, and needed where ROUGE is asked for alone

        scorer = rouge_scorer.RougeScorer(list(_TYPES), tokenizer=UnicodeWords())
        found = [scorer.score(right, text) for text, right in zip(predictions, references, strict=True)]
        return {key: 100 * statistics.fmean(scores[key].fmeasure for scores in found) for key in _TYPES}
