"""BPE dropout: the same text in other pieces each epoch, for training."""

import json
import random
from collections.abc import Sequence
from itertools import pairwise

from transformers import PreTrainedTokenizerFast

from .train import TokenizationError


class BPEDropout:
    """
    Segmentations of texts in which each merge is left out at random (Provilkov et al. 2020, arXiv 1910.13267, section
    3.1): a model that has seen a word in many pieces knows better what the pieces mean.

    For each distinct word `variants` segmentations are drawn in advance, as `seed` fixes them; each of its occurrences
    draws one of those, a departure that saves segmenting anew. That draw is from Python's `random`, which training
    seeds for every batch, so that a resumed run reads what an uninterrupted one would have read. (`tokenizers` has a
    dropout too, whose randomness cannot be fixed.)

    The tokenizer itself is not touched: evaluation, and whoever loads the model, segments without dropout.

    Args:
        tokenizer: A BPE tokenizer as [`train_tokenizer`] makes it.
        texts: The training texts.
        dropout: Probability of leaving out a merge.
        seed: Fixes the segmentations.
        variants: Segmentations drawn of a word.

    Raises:
        TokenizationError: For a tokenizer that is not BPE, or whose pieces are not those of its merges alone (since it
            marks the ends of words, or finds further tokens in a text), and a probability outside [0, 1).
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        texts: Sequence[str],
        dropout: float,
        seed: int = 0,
        variants: int = 16,
    ):
        model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
        if model["type"] != "BPE":
            raise TokenizationError(
                f"BPE dropout leaves out merges, and a {model['type']} tokenizer has none: use tokenizer_type=bpe."
            )
        if not 0 <= dropout < 1:
            raise TokenizationError(f"BPE dropout of {dropout} is a probability: at least 0 and below 1.")
        self.dropout = dropout
        self.vocabulary: dict[str, int] = model["vocab"]
        self.ranks = {tuple(pair): rank for rank, pair in enumerate(model["merges"])}
        known: dict[str, int] = {}
        normalizer, divider = tokenizer.backend_tokenizer.normalizer, tokenizer.backend_tokenizer.pre_tokenizer
        self.texts = []  # each text as the numbers of its words
        for text in texts:
            normal = text if normalizer is None else normalizer.normalize_str(text)
            words = [normal] if divider is None else [word for word, _ in divider.pre_tokenize_str(normal)]
            self.texts.append([known.setdefault(word, len(known)) for word in words])
        self._refuse_other_pieces(tokenizer, texts, known)
        chance = random.Random(seed)
        self.segmentations = [[self._segment(word, chance) for _ in range(variants)] for word in known]

    def ids(self, row: int) -> list[int]:
        """The token ids of text `row`, without special tokens, in pieces drawn anew."""
        return [token for word in self.texts[row] for token in random.choice(self.segmentations[word])]

    def _refuse_other_pieces(
        self, tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], known: dict[str, int]
    ) -> None:
        """See that without dropout a text has the pieces of its tokenizer."""
        segmentations = [self._segment(word) for word in known]
        encoded = tokenizer(list(texts), add_special_tokens=False, verbose=False).input_ids if texts else []
        for text, words, ids in zip(texts, self.texts, encoded, strict=True):
            if [token for word in words for token in segmentations[word]] != ids:
                raise TokenizationError(
                    f"BPE dropout: the pieces of {text[:40]!r} are not those of this tokenizer's merges alone, which "
                    "a tokenizer trained here has. Leave the dropout out, or train a tokenizer."
                )

    def _segment(self, word: str, chance: random.Random | None = None) -> list[int | None]:
        """BPE (Sennrich et al. 2016, arXiv 1508.07909, section 3.2), merges skipped at random if there is `chance`."""
        pieces = list(word)
        while len(pieces) > 1:
            merges = [
                (self.ranks[pair], place)
                for place, pair in enumerate(pairwise(pieces))
                if pair in self.ranks and (chance is None or not self.dropout or chance.random() >= self.dropout)
            ]
            if not merges:
                break
            place = min(merges)[1]
            pieces[place : place + 2] = [pieces[place] + pieces[place + 1]]
        return [self.vocabulary.get(piece) for piece in pieces]
