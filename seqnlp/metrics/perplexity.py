"""What a language model is measured by: perplexity and bits per character, each with its denominator stated."""

import lzma
import math

import datasets
import evaluate
import torch
from tabulate import tabulate

from .classification import OfflineMetric


_INPUTS = """
Args:
    predictions: For each piece of text, the sum of the negative log-likelihoods of its tokens, in nats.
    references: For each piece, the number of units to divide by: tokens or words for perplexity, characters for bits
        per character.
"""


def _info(description: str, citation: str) -> evaluate.MetricInfo:
    return evaluate.MetricInfo(
        description=description,
        citation=citation,
        inputs_description=_INPUTS,
        features=datasets.Features({"predictions": datasets.Value("float64"), "references": datasets.Value("int64")}),
    )


def _per_unit(nats, units) -> float:
    if sum(units) < 1:
        raise ValueError(f"There is nothing to divide by: {len(units)} pieces of text hold {sum(units)} units.")
    return sum(nats) / sum(units)


class Perplexity(OfflineMetric):
    """
    The exponential of the mean negative log-likelihood of a token, or of a word (Jelinek et al. 1977).

    Over all pieces together: the sum of the nats is divided by the sum of the units, so that no piece counts more for
    being short. Per word it does not depend on how words are cut into tokens.
    """

    def _info(self) -> evaluate.MetricInfo:
        return _info(type(self).__doc__, "")

    def _compute(self, predictions, references) -> dict[str, float]:
        mean = _per_unit(predictions, references)
        return {"perplexity": math.exp(mean) if mean < 700 else math.inf}


class BitsPerCharacter(OfflineMetric):
    """The mean negative log-likelihood of a character in bits (Graves 2013, arXiv 1308.0850, section 3.1)."""

    def _info(self) -> evaluate.MetricInfo:
        return _info(type(self).__doc__, "")

    def _compute(self, predictions, references) -> dict[str, float]:
        return {"bits_per_character": _per_unit(predictions, references) / math.log(2)}


def language_modeling_scores(nats: list[float], tokens: int, characters: int, words: int) -> dict[str, float]:
    """
    The scores of a held-out text, whatever its tokens are.

    Args:
        nats: Summed negative log-likelihood of each piece of the text.
        tokens: Tokens scored, all pieces together; where `</s>` is among them, its nats count in all scores.
        characters: Characters of the text.
        words: Its words between white space.

    Returns:
        `loss` (nats a token), `perplexity` (a token), `word_perplexity`, `bits_per_character` and
        `nats_per_character`.
    """
    total = [math.fsum(nats)]
    per_word = Perplexity().compute(predictions=total, references=[words])["perplexity"] if words else None
    return {
        "loss": total[0] / tokens,
        **Perplexity().compute(predictions=total, references=[tokens]),
        "word_perplexity": per_word,
        **BitsPerCharacter().compute(predictions=total, references=[characters]),
        "nats_per_character": total[0] / characters,
    }


def language_modeling_report(
    split: str, scores: dict[str, float], evaluation: dict, counts: dict[str, int], xz: dict[str, float] | None = None
) -> str:
    """
    The scores of a held-out text, each with what it is divided by, as text to print.

    Args:
        split: Its name.
        scores: What [`language_modeling_scores`] gave.
        evaluation: How it was read: `carried_state`, `context`, `stride` (see [`seqnlp.data.HeldOutSegments`]) and
            `tokens`, the number scored, by split.
        counts: Its `characters` and `words`.
        xz: What [`xz_bits_per_character`] gave, if anything.
    """
    tokens, words, characters = evaluation["tokens"][split], counts["words"], counts["characters"]
    window = evaluation["context"] + evaluation["stride"]
    strided = f"in windows of {window} tokens, of which the last {evaluation['stride']} are scored"
    read = "with the state carried from window to window" if evaluation["carried_state"] else strided
    rows = [
        ["loss, nats", scores["loss"], f"a token ({tokens:,})"],
        ["perplexity", scores["perplexity"], f"a token ({tokens:,})"],
        ["perplexity", scores["word_perplexity"], f"a word between white space ({words:,})"],
        ["nats", scores["nats_per_character"], f"a character ({characters:,})"],
        ["bits", scores["bits_per_character"], f"a character ({characters:,})"],
    ]
    if xz is not None:
        rows.append(["bits, compressor xz", xz["bits_per_character"], f"a character ({characters:,})"])
    shown = [[name, "" if value is None else f"{value:.4g}", unit] for name, value, unit in rows]
    table = tabulate(shown, headers=["score", "", "divided by"], disable_numparse=True)
    return f"{split.capitalize()}: the whole text, read {read}\n\n{table}"


@torch.no_grad()
def nats_of_rows(model, batch: dict[str, torch.Tensor], window: int | None = None) -> list[float]:
    """
    The summed negative log-likelihood of each row of a batch.

    Args:
        model: A causal language model.
        batch: `input_ids` and `labels`, both `(batch_size, sequence_length)`; a label is the token after the one at
            its place, or -100.
        window: Read so many tokens at a time and carry the state from one to the next, for recurrent models; by
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


def xz_bits_per_character(train: list[str], held_out: list[str]) -> dict[str, float]:
    """Bits that the compressor xz, having read the training texts, needs for a character of the held-out ones."""
    sizes = [len(lzma.compress("".join(texts).encode())) for texts in (train, [*train, *held_out])]
    return {"bits_per_character": 8 * (sizes[1] - sizes[0]) / sum(map(len, held_out))}
