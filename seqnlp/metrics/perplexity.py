"""What a language model is measured by: perplexity and bits per character, each with its denominator stated."""

import lzma
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import datasets
import numpy as np
import torch
from scipy.stats import bootstrap
from tabulate import tabulate

from .score import OfflineMetric, Score
from .spread import NUM_RESAMPLES


STRETCH = 128
"""Scored tokens that are drawn together for an interval: what is easy or hard for a model is so for a while."""
DRAWN_AT_ONCE = 1 << 22  # stretches, so that a large text takes no more memory than a small one

_INPUTS = """
Args:
    predictions: For each piece of text, the sum of the negative log-likelihoods of its tokens, in nats.
    references: For each piece, the number of units to divide by: tokens or words for perplexity, characters for bits
        per character.
"""


class _LikelihoodMetric(OfflineMetric):
    """What divides the negative log-likelihood of a text by the number of its units."""

    inputs = _INPUTS
    columns = datasets.Features({"predictions": datasets.Value("float64"), "references": datasets.Value("int64")})


def _per_unit(nats, units) -> float:
    if sum(units) < 1:
        raise ValueError(f"There is nothing to divide by: {len(units)} pieces of text hold {sum(units)} units.")
    return sum(nats) / sum(units)


class NegativeLogLikelihood(_LikelihoodMetric):
    """The mean negative log-likelihood of a token in nats."""

    scores = (
        Score(
            "loss",
            "Loss",
            "negative log-likelihood in nats, divided by the number of tokens scored",
            greater_is_better=False,
            unit="nats per token",
        ),
    )

    def _compute(self, predictions, references) -> dict[str, float]:
        return {"loss": _per_unit(predictions, references)}


class Perplexity(_LikelihoodMetric):
    """
    The exponential of the mean negative log-likelihood of a token, or of a word (Jelinek et al. 1977).

    Over all pieces together: the sum of the nats is divided by the sum of the units, so that no piece counts more for
    being short. Per word it does not depend on how words are cut into tokens.
    """

    scores = (
        Score(
            "perplexity",
            "Perplexity per token",
            "exp of the negative log-likelihood of the whole split divided by its tokens, those of this model's "
            "tokenizer",
            greater_is_better=False,
        ),
        Score(
            "word_perplexity",
            "Perplexity per word",
            "exp of the negative log-likelihood of the whole split divided by its words between white space",
            greater_is_better=False,
        ),
    )

    def _compute(self, predictions, references) -> dict[str, float]:
        mean = _per_unit(predictions, references)
        return {"perplexity": math.inf if mean >= 700 else math.exp(mean)}


class BitsPerCharacter(_LikelihoodMetric):
    """The mean negative log-likelihood of a character in bits (Graves 2013, arXiv 1308.0850, section 3.1)."""

    scores = (
        Score(
            "bits_per_character",
            "Bits per character",
            "negative log-likelihood of the whole split in bits, divided by its characters",
            greater_is_better=False,
            unit="bits per character",
        ),
        Score(
            "nats_per_character",
            "Nats per character",
            "negative log-likelihood of the whole split in nats, divided by its characters",
            greater_is_better=False,
            unit="nats per character",
        ),
    )

    def _compute(self, predictions, references) -> dict[str, float]:
        return {"bits_per_character": _per_unit(predictions, references) / math.log(2)}


UNKNOWN_SHARE = Score(
    "unknown_share",
    "Unknown tokens",
    "share of the tokens scored that are the unknown token: what it stands for has cost nothing",
    greater_is_better=False,
    is_share=True,
    digits=2,
)
"""How much of a text its tokenizer could not tell."""

LANGUAGE_MODELING_SCORES = (
    *NegativeLogLikelihood.scores,
    *Perplexity.scores,
    *BitsPerCharacter.scores,
    UNKNOWN_SHARE,
)
"""What [`language_modeling_scores`] gives."""


class Stretch(NamedTuple):
    """
    Some tokens of a held-out text in a row.

    Attributes:
        nats: Their summed negative log-likelihood.
        tokens: How many they are.
    """

    nats: float
    tokens: int


def language_modeling_scores(
    stretches: Sequence[Stretch], unknown: int, characters: int | None, words: int | None
) -> dict[str, Any]:
    """
    The scores of a held-out text, whatever its tokens are.

    A loss per character or word is earned only if the tokens tell every character: text that the tokenizer loses, such
    as words out of its vocabulary or white space, would be counted and cost nothing.

    Args:
        stretches: The whole text; where `</s>` is among its tokens, its nats count in all scores.
        unknown: How many of its tokens are the unknown token.
        characters: Characters of the text that the tokens spell; `None` if they do not give it back.
        words: Its words between white space; `None` in that case too.

    Returns:
        `loss` (nats per token), `perplexity` (per token) and `unknown_share`; of a text that the tokens give back also
        `word_perplexity`, `bits_per_character` and `nats_per_character`. Of more than one stretch also `intervals`:
        half the 95 % interval of the loss and of what is per character, see [`loss_interval`].
    """
    total, tokens = [math.fsum(part.nats for part in stretches)], sum(part.tokens for part in stretches)
    scores = {
        **NegativeLogLikelihood().compute(predictions=total, references=[tokens]),
        **Perplexity().compute(predictions=total, references=[tokens]),
    }
    factors = {"loss": 1.0}
    if characters:
        per_word = Perplexity().compute(predictions=total, references=[words])["perplexity"] if words else None
        scores |= {
            "word_perplexity": per_word,
            **BitsPerCharacter().compute(predictions=total, references=[characters]),
            "nats_per_character": total[0] / characters,
        }
        factors |= {
            "bits_per_character": tokens / characters / math.log(2),
            "nats_per_character": tokens / characters,
        }
    scores["unknown_share"] = unknown / tokens
    if len(stretches) > 1:
        interval = loss_interval(stretches)
        scores["intervals"] = {name: factor * interval for name, factor in factors.items()}
    return scores


def loss_interval(stretches: Sequence[Stretch]) -> float:
    """
    Half the 95 % interval of the mean loss of a token, in nats: how far another text of the same kind and length would
    move it, the model being the same.

    The percentile bootstrap (Efron and Tibshirani 1993, section 13.3) over stretches as blocks that do not overlap
    (Carlstein 1986), since neighboring tokens are not told independently.

    Args:
        stretches: At least two.
    """
    nats, tokens = np.array(stretches, dtype=np.float64).T
    found = bootstrap(
        (nats, tokens),
        lambda nats, tokens, axis: nats.sum(axis) / tokens.sum(axis),
        paired=True,
        n_resamples=NUM_RESAMPLES,
        batch=max(1, DRAWN_AT_ONCE // len(nats)),
        method="percentile",
        rng=0,
    )
    low, high = found.confidence_interval
    return float(high - low) / 2


def language_modeling_report(
    split: str, scores: dict[str, float], read: str, counts: dict[str, int], xz: dict[str, float] | None = None
) -> str:
    """
    The scores of a held-out text, each with what it is divided by, as text to print.

    Args:
        split: Its name.
        scores: What [`language_modeling_scores`] gave.
        read: How it was read, after "the whole text, read".
        counts: What it holds: `tokens` that were scored, `words` and `characters`.
        xz: What [`xz_bits_per_character`] gave, if anything.
    """
    per_token, per_character = f"per token ({counts['tokens']:,})", f"per character ({counts['characters']:,})"
    rows = [
        ["loss, nats", "loss", per_token],
        ["perplexity", "perplexity", per_token],
        ["perplexity", "word_perplexity", f"per word between white space ({counts['words']:,})"],
        ["nats", "nats_per_character", per_character],
        ["bits", "bits_per_character", per_character],
    ]
    intervals = scores.get("intervals", {})
    around = {key: f" ± {interval:.2g}" for key, interval in intervals.items()}
    shown = [
        [name, f"{scores[key]:.4g}{around.get(key, '')}", unit]
        for name, key, unit in rows
        if scores.get(key) is not None
    ]
    if xz is not None:
        shown.append(["bits, compressor xz", f"{xz['bits_per_character']:.4g}", per_character])
    shown.append(["unknown tokens", f"{scores['unknown_share']:.2%}", f"of {counts['tokens']:,}"])
    table = tabulate(shown, headers=["score", "", "divided by"], disable_numparse=True)
    parts = [f"{split.capitalize()}: the whole text, read {read}", table]
    if intervals:
        parts.append(f"±: half the 95 % interval over {NUM_RESAMPLES:,} samples of stretches of {STRETCH} tokens.")
    if "bits_per_character" not in scores:
        parts.append(
            "The tokens do not give the text back, so no score per word or character is shown: --tokenizer_type char "
            "and bpe do."
        )
    return "\n\n".join(parts)


@torch.no_grad()
def nats_of_rows(model, batch: dict[str, torch.Tensor], window: int | None = None) -> list[list[Stretch]]:
    """
    The negative log-likelihood of each row of a batch, in stretches of [`STRETCH`] scored tokens and a rest.

    Args:
        model: A causal language model.
        batch: `input_ids` and `labels`, both `(batch_size, sequence_length)`; a label is the token after the one at
            its place, or -100.
        window: Read this many tokens at a time and carry the state from one to the next, for recurrent models; by
            default everything at once, without a cache.
    """
    width = batch["input_ids"].shape[1]
    state, losses = None, []
    pieces = (batch[name].split(window or width, dim=1) for name in ("input_ids", "labels"))
    for input_ids, labels in zip(*pieces, strict=True):
        outputs = model(input_ids=input_ids, cache=state, use_cache=window is not None)
        state = outputs.cache if window is not None else None
        told = torch.nn.functional.cross_entropy(
            outputs.logits.float().flatten(0, 1), labels.flatten(), ignore_index=-100, reduction="none"
        )
        losses.append(told.view_as(labels).double())
    rows = zip(torch.cat(losses, dim=1), batch["labels"] != -100, strict=True)
    return [
        [Stretch(part.sum().item(), len(part)) for part in row[is_scored].split(STRETCH) if len(part)]
        for row, is_scored in rows
    ]


def xz_bits_per_character(train: Iterable[str], held_out: Iterable[str]) -> dict[str, float]:
    """
    Bits that the compressor xz, having read the training texts, needs for a character of the held-out ones.

    Args:
        train: The texts, or pieces of them, which are read one after the other.
        held_out: Likewise.
    """
    alone, together = lzma.LZMACompressor(), lzma.LZMACompressor()
    size = characters = 0
    for text in train:
        content = text.encode()
        size += len(together.compress(content)) - len(alone.compress(content))
    size -= len(alone.flush())
    for text in held_out:
        size += len(together.compress(text.encode()))
        characters += len(text)
    return {"bits_per_character": 8 * (size + len(together.flush())) / characters}
