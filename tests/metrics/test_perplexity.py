import lzma
import math
import random
import re

import evaluate
import pytest
import torch

from seqnlp import (
    RecurrentConfig,
    RecurrentForCausalLM,
    TransformerDecoderConfig,
    TransformerDecoderForCausalLM,
)
from seqnlp.metrics import (
    BitsPerCharacter,
    Perplexity,
    Stretch,
    language_modeling_report,
    language_modeling_scores,
    nats_of_rows,
    xz_bits_per_character,
)
from seqnlp.metrics.perplexity import loss_interval


@pytest.mark.parametrize("metric", [Perplexity, BitsPerCharacter])
def test_they_are_metrics_of_evaluate(metric):
    assert isinstance(metric(), evaluate.Metric)
    assert metric().description == metric.__doc__


def test_sums_are_divided_by_sums():
    # Two pieces of unlike length: 10 tokens of 1 nat, 30 tokens of 3 nats.
    nats, tokens = [10.0, 90.0], [10, 30]
    assert Perplexity().compute(predictions=nats, references=tokens)["perplexity"] == pytest.approx(math.exp(100 / 40))
    bits = BitsPerCharacter().compute(predictions=nats, references=[20, 60])["bits_per_character"]
    assert bits == pytest.approx(100 / 80 / math.log(2))
    batched = Perplexity()
    for piece in zip(nats, tokens, strict=True):
        batched.add(prediction=piece[0], reference=piece[1])
    assert batched.compute()["perplexity"] == pytest.approx(math.exp(100 / 40))


def test_infinite_and_impossible():
    assert Perplexity().compute(predictions=[1e6], references=[1])["perplexity"] == math.inf
    with pytest.raises(ValueError, match="nothing to divide by: 1 pieces of text hold 0 units"):
        Perplexity().compute(predictions=[1.0], references=[0])


def test_scores_of_a_text():
    scores = language_modeling_scores([Stretch(2.0, 1), Stretch(4.0, 2)], unknown=1, characters=12, words=2)
    del scores["intervals"]
    assert scores == pytest.approx(
        {
            "loss": 2.0,
            "perplexity": math.exp(2),
            "word_perplexity": math.exp(3),
            "bits_per_character": 0.5 / math.log(2),
            "nats_per_character": 0.5,
            "unknown_share": 1 / 3,
        }
    )
    alone = language_modeling_scores([Stretch(2.0, 1)], 0, 2, 0)
    assert alone["word_perplexity"] is None
    assert "intervals" not in alone


def test_a_text_that_its_tokens_do_not_give_back_earns_no_score_per_character():
    scores = language_modeling_scores([Stretch(6.0, 3)], unknown=2, characters=None, words=None)
    assert scores == pytest.approx({"loss": 2.0, "perplexity": math.exp(2), "unknown_share": 2 / 3})
    report = language_modeling_report("test", scores, "at once", {"tokens": 3, "characters": 12, "words": 2})
    assert "per character" not in report.split("unknown tokens")[0]
    assert ["unknown tokens", "66.67%", "of 3"] in [re.split(r" {2,}", line) for line in report.splitlines()]
    assert "--tokenizer_type char and bpe do" in report


def test_the_report_says_what_each_score_is_divided_by():
    counts = {"tokens": 3000, "characters": 12000, "words": 2000}
    scores = language_modeling_scores([Stretch(6000.0, 3000)], unknown=0, characters=12000, words=2000)
    report = language_modeling_report("test", scores, "at once", counts, xz={"bits_per_character": 2.5})
    assert report.startswith("Test: the whole text, read at once\n")
    rows = [re.split(r" {2,}", line) for line in report.splitlines()]
    assert ["perplexity", "7.389", "per token (3,000)"] in rows
    assert ["perplexity", "20.09", "per word between white space (2,000)"] in rows
    assert ["bits", "0.7213", "per character (12,000)"] in rows
    assert ["bits, compressor xz", "2.5", "per character (12,000)"] in rows
    assert "xz" not in language_modeling_report("test", scores, "at once", counts)


def test_the_nats_of_rows_are_the_models_loss():
    torch.manual_seed(0)
    config = TransformerDecoderConfig(vocab_size=20, hidden_size=16, num_attention_heads=2, num_hidden_layers=1)
    model = TransformerDecoderForCausalLM(config).eval()
    labels = torch.randint(20, (3, 7))
    labels[0, :4] = -100
    batch = {"input_ids": torch.randint(20, (3, 7)), "labels": labels}
    nats = nats_of_rows(model, batch)
    loss = model(input_ids=batch["input_ids"], labels=labels, shift_labels=labels).loss
    assert [part.tokens for row in nats for part in row] == [3, 7, 7]
    assert sum(part.nats for row in nats for part in row) / 17 == pytest.approx(loss.item(), rel=1e-5)
    assert nats[0][0].nats < nats[1][0].nats


def test_read_in_windows_a_row_costs_what_it_costs_at_once():
    torch.manual_seed(0)
    config = RecurrentConfig(vocab_size=20, hidden_size=16, initializer_range=1.0, cell_type="gru")
    model = RecurrentForCausalLM(config).eval()
    batch = {name: torch.randint(20, (2, 8)) for name in ("input_ids", "labels")}
    at_once, in_windows = (nats_of_rows(model, batch, window) for window in (None, 3))
    for whole, parts in zip(at_once, in_windows, strict=True):
        assert parts[0].nats == pytest.approx(whole[0].nats, rel=1e-5)


def test_a_row_is_told_in_stretches_of_scored_tokens():
    torch.manual_seed(0)
    config = TransformerDecoderConfig(vocab_size=20, hidden_size=16, num_attention_heads=2, num_hidden_layers=1)
    model = TransformerDecoderForCausalLM(config).eval()
    labels = torch.randint(20, (2, 300))
    labels[0, :50], labels[1] = -100, -100
    batch = {"input_ids": torch.randint(20, (2, 300)), "labels": labels}
    row, nothing = nats_of_rows(model, batch)
    assert [part.tokens for part in row] == [128, 122]
    assert nothing == []
    with torch.no_grad():
        told = model(input_ids=batch["input_ids"]).logits[0].log_softmax(-1)
    second = -told[178:].gather(1, labels[0, 178:, None]).sum()
    assert row[1].nats == pytest.approx(second.item(), rel=1e-5)


def test_the_ends_of_an_interval_are_percentiles():
    # One of ten tokens costs 1: of ten drawn again the cost is binomial, at most 3 with 0.987, at most 2 with 0.930.
    assert loss_interval([Stretch(1.0, 1), *[Stretch(0.0, 1)] * 9]) == pytest.approx((0.3 - 0.0) / 2)


def test_the_interval_of_a_loss_is_that_of_the_delta_method():
    # The variance of a ratio of sums to first order: Cochran 1977, Sampling Techniques, section 6.4.
    chance = random.Random(0)
    lengths = chance.choices([128, 128, 128, 40], k=400)
    stretches = [Stretch(chance.gauss(2, 0.5) * length, length) for length in lengths]
    tokens = sum(lengths)
    mean = sum(part.nats for part in stretches) / tokens
    error = math.sqrt(sum((part.nats - mean * part.tokens) ** 2 for part in stretches)) / tokens
    scores = language_modeling_scores(stretches, 0, characters=3 * tokens, words=tokens // 2)
    assert scores["intervals"]["loss"] == pytest.approx(1.96 * error, rel=0.1)
    assert scores["intervals"]["nats_per_character"] == pytest.approx(scores["intervals"]["loss"] / 3)
    bits = scores["intervals"]["nats_per_character"] / math.log(2)
    assert scores["intervals"]["bits_per_character"] == pytest.approx(bits)
    assert set(scores["intervals"]) == {"loss", "nats_per_character", "bits_per_character"}
    counts = {"tokens": tokens, "characters": 3 * tokens, "words": tokens // 2}
    report = language_modeling_report("test", scores, "at once", counts)
    loss = next(line for line in report.splitlines() if line.startswith("loss"))
    assert loss.split()[2:5] == [f"{scores['loss']:.4g}", "±", f"{scores['intervals']['loss']:.2g}"]
    assert "half the 95 % interval over 1,000 samples of stretches of 128 tokens" in report


@pytest.mark.parametrize("length", [0, 1, 5000])
def test_xz_reads_pieces_as_the_whole(length):
    chance = random.Random(0)
    train = ["".join(chance.choices("abcd é猫😀\n", k=length)) for _ in range(7)]
    held_out = ["".join(chance.choices("abcd é猫😀\n", k=3000)) for _ in range(2)]
    sizes = [len(lzma.compress("".join(texts).encode())) for texts in (train, train + held_out)]
    found = xz_bits_per_character(iter(train), iter(held_out))
    assert found == {"bits_per_character": 8 * (sizes[1] - sizes[0]) / 6000}


def test_xz_profits_from_what_it_has_read():
    text = "the quick brown fox jumps over the lazy dog, and " * 3 + "then it rests"
    known = xz_bits_per_character([text], [text])["bits_per_character"]
    unknown = xz_bits_per_character(["x"], [text])["bits_per_character"]
    assert 0 <= known < unknown < 8


def test_a_loss_that_is_no_number_has_a_perplexity_that_is_none():
    assert math.isnan(Perplexity().compute(predictions=[math.nan], references=[1])["perplexity"])
    assert Perplexity().compute(predictions=[701.0], references=[1])["perplexity"] == math.inf
