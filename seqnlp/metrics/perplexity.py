"""What a language model is measured by: perplexity and bits per character, each with its denominator stated."""

import lzma
import math
from collections.abc import Iterable

import datasets
import torch
from tabulate import tabulate

from .score import OfflineMetric, Score


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


def language_modeling_scores(
    nats: list[float], tokens: int, unknown: int, characters: int | None, words: int | None
) -> dict[str, float | None]:
    """
    The scores of a held-out text, whatever its tokens are.

    A loss per character or word is earned only if the tokens tell every character: text that the tokenizer loses, such
    as words out of its vocabulary or white space, would be counted and cost nothing.

    Args:
        nats: Summed negative log-likelihood of each piece of the text.
        tokens: Tokens scored, all pieces together; where `</s>` is among them, its nats count in all scores.
        unknown: How many of them are the unknown token.
        characters: Characters of the text that the tokens spell; `None` if they do not give it back.
        words: Its words between white space; `None` in that case too.

    Returns:
        `loss` (nats per token), `perplexity` (per token) and `unknown_share`; of a text that the tokens give back also
        `word_perplexity`, `bits_per_character` and `nats_per_character`.
    """
    total = [math.fsum(nats)]
    scores = {
        **NegativeLogLikelihood().compute(predictions=total, references=[tokens]),
        **Perplexity().compute(predictions=total, references=[tokens]),
    }
    if characters:
        per_word = Perplexity().compute(predictions=total, references=[words])["perplexity"] if words else None
        scores |= {
            "word_perplexity": per_word,
            **BitsPerCharacter().compute(predictions=total, references=[characters]),
            "nats_per_character": total[0] / characters,
        }
    return {**scores, "unknown_share": unknown / tokens}


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
        ["loss, nats", scores["loss"], per_token],
        ["perplexity", scores["perplexity"], per_token],
        ["perplexity", scores.get("word_perplexity"), f"per word between white space ({counts['words']:,})"],
        ["nats", scores.get("nats_per_character"), per_character],
        ["bits", scores.get("bits_per_character"), per_character],
    ]
    if xz is not None:
        rows.append(["bits, compressor xz", xz["bits_per_character"], per_character])
    shown = [[name, f"{value:.4g}", unit] for name, value, unit in rows if value is not None]
    shown.append(["unknown tokens", f"{scores['unknown_share']:.2%}", f"of {counts['tokens']:,}"])
    table = tabulate(shown, headers=["score", "", "divided by"], disable_numparse=True)
    parts = [f"{split.capitalize()}: the whole text, read {read}", table]
    if "bits_per_character" not in scores:
        parts.append(
            "The tokens do not give the text back, so no score per word or character is shown: --tokenizer_type char "
            "and bpe do."
        )
    return "\n\n".join(parts)


@torch.no_grad()
def nats_of_rows(model, batch: dict[str, torch.Tensor], window: int | None = None) -> list[float]:
    """
    The summed negative log-likelihood of each row of a batch.

    Args:
        model: A causal language model.
        batch: `input_ids` and `labels`, both `(batch_size, sequence_length)`; a label is the token after the one at
            its place, or -100.
        window: Read this many tokens at a time and carry the state from one to the next, for recurrent models; by
            default everything at once, without a cache.
    """
    width = batch["input_ids"].shape[1]
    state, nats = None, 0.0
    pieces = (batch[name].split(window or width, dim=1) for name in ("input_ids", "labels"))
    for input_ids, labels in zip(*pieces, strict=True):
        outputs = model(input_ids=input_ids, past_key_values=state, use_cache=window is not None)
        state = outputs.past_key_values if window is not None else None
        losses = torch.nn.functional.cross_entropy(
            outputs.logits.float().flatten(0, 1), labels.flatten(), ignore_index=-100, reduction="none"
        )
        nats = nats + losses.view_as(labels).double().sum(dim=1)
    return nats.tolist()


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
