"""The pipeline on saved models, which copy numbers: trained for a second, so that what it says can be judged."""

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import Dataset
from transformers import pipeline

from seqnlp import (
    RecurrentSeq2SeqConfig,
    RecurrentSeq2SeqForConditionalGeneration,
    TransformerConfig,
    TransformerForConditionalGeneration,
    TranslationPipeline,
)
from seqnlp.tokenization import train_tokenizer


SENTENCES = ["one two three", "five one", "", "four two two one three five", "  "]
WORDS = ["one", "two", "three", "four", "five"]
GERMAN = ["eins", "zwei", "drei", "vier", "fünf"]
IDS = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "decoder_start_token_id": 2}
SIZES = {"vocab_size": 14, "hidden_size": 32}


def teach(model, learning_rate):
    """Learn to write token n + 5 for token n, in batches of one length and of random order."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate)
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1.0, end_factor=0.05, total_iters=260)
    generator = torch.Generator().manual_seed(0)
    for step in range(260):
        source = torch.randint(4, 9, (40, 1 + step % 6), generator=generator)
        source, target = (torch.nn.functional.pad(ids, (0, 1), value=3) for ids in (source, source + 5))
        loss = model(input_ids=source, attention_mask=torch.ones_like(source), labels=target).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
    return model.eval()


@pytest.fixture(scope="module")
def tokenizer():
    # Most frequent first: WORDS are tokens 4 to 8, GERMAN 9 to 13.
    texts = [" ".join([word] * (20 - rank)) for rank, word in enumerate([*WORDS, *GERMAN])]
    trained = train_tokenizer(texts, "word", 14, add_eos_token=True)
    assert trained.convert_tokens_to_ids(["one", "eins", "fünf"]) == [4, 9, 13]
    return trained


@pytest.fixture(scope="module")
def models():
    torch.manual_seed(0)
    transformer = TransformerConfig(
        num_hidden_layers=1, num_attention_heads=2, initializer_range=0.1, dropout=0.0, **SIZES, **IDS
    )
    recurrent = RecurrentSeq2SeqConfig(
        cell_type="gru", attention_type="additive", share_embeddings=False, **SIZES, **IDS
    )
    return {
        "transformer": teach(TransformerForConditionalGeneration(transformer), 5e-3),
        "recurrent": teach(RecurrentSeq2SeqForConditionalGeneration(recurrent), 1e-2),
    }


@pytest.fixture(params=["transformer", "recurrent"])
def folder(request, models, tokenizer, tmp_path):
    models[request.param].save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    return tmp_path


def test_one_sentence_or_many_and_in_batches(folder):
    translate = pipeline("seqnlp-translation", model=folder, device="cpu")
    assert type(translate) is TranslationPipeline
    assert translate("one two three") == {"translation_text": "eins zwei drei"}
    translate = pipeline("seqnlp-translation", model=folder, device="cpu", return_score=True)
    answer = translate("one two three")
    assert set(answer) == {"translation_text", "score"}
    assert answer["translation_text"] == "eins zwei drei"
    assert -0.7 < answer["score"] < 0

    alone = [translate(sentence) for sentence in SENTENCES]
    assert [row["translation_text"] for row in alone] == [
        "eins zwei drei",
        "fünf eins",
        "",
        alone[3]["translation_text"],
        "",
    ]
    assert [row["score"] for row in alone if not row["translation_text"]] == [0.0, 0.0]
    for settings in ({}, {"batch_size": 2}, {"batch_size": 5, "num_beams": 1}):
        together = translate(SENTENCES, **settings)
        assert [row["translation_text"] for row in together] == [row["translation_text"] for row in alone]
        assert [row["score"] for row in together] == pytest.approx([row["score"] for row in alone], abs=1e-4)
    assert translate([]) == []
    assert [row["translation_text"] for row in translate(s for s in SENTENCES[:2])] == ["eins zwei drei", "fünf eins"]


def test_beams_find_what_is_at_least_as_likely(folder):
    greedy = pipeline("seqnlp-translation", model=folder, device="cpu", return_score=True, num_beams=1)
    beams = pipeline("seqnlp-translation", model=folder, device="cpu", num_beams=4, length_penalty=1.0)
    sentences = [sentence for sentence in SENTENCES if sentence.strip()]
    for one, several in zip(greedy(sentences), beams(sentences, batch_size=3, return_score=True), strict=True):
        assert several["score"] >= one["score"] - 1e-4


def test_a_translation_is_read_again_only_where_that_is_asked_for(folder):
    """The decoder sees each token once, and all of them once more for a score, an alignment or both."""
    translate, seen = pipeline("seqnlp-translation", model=folder, device="cpu", num_beams=1), []

    def count(_, arguments, given):
        tokens = next(given[name] for name in ("decoder_input_ids", "input_ids") if given.get(name) is not None)
        seen.append(tokens.shape[1])

    translate.model.register_forward_pre_hook(count, with_kwargs=True)
    expected = [1] * 4  # eins zwei drei </s>
    for asked, again in (
        ({}, []),
        ({"return_score": True}, [4]),
        ({"return_alignment": True}, [4]),
        ({"return_score": True, "return_alignment": True}, [4]),
    ):
        seen.clear()
        answer = translate("one two three", **asked)
        assert seen == expected + again
        assert ("score" in answer) == ("return_score" in asked)
        assert ("alignment" in answer) == ("return_alignment" in asked)


def test_the_alignment_of_a_batch_is_that_of_each_sentence(folder):
    translate = pipeline("seqnlp-translation", model=folder, device="cpu", return_alignment=True)
    before = translate.model.config._attn_implementation
    for answer, sentence in zip(translate(SENTENCES, batch_size=5), SENTENCES, strict=True):
        alone = translate(sentence)
        assert answer["source_tokens"] == [*sentence.split(), "</s>"]
        assert [*answer["target_tokens"]] == (
            [*answer["translation_text"].split(), "</s>"] if sentence.strip() else []
        )
        weights = torch.tensor(answer["alignment"])
        if sentence.strip():
            assert weights.shape == (len(answer["target_tokens"]), len(answer["source_tokens"]))
            torch.testing.assert_close(weights.sum(dim=1), torch.ones(len(weights)))
            torch.testing.assert_close(weights, torch.tensor(alone["alignment"]), atol=1e-5, rtol=1e-4)
    assert translate.model.config._attn_implementation == before


def test_a_sentence_far_longer_than_any_seen_is_read_to_its_end(folder):
    translate = pipeline("seqnlp-translation", model=folder, device="cpu")
    answer = translate(" ".join(WORDS * 400), return_alignment=True, max_new_tokens=5)
    assert len(answer["source_tokens"]) == 2001
    assert len(answer["alignment"][0]) == 2001


def test_learned_positions_have_an_end_and_it_is_said(tokenizer, tmp_path):
    config = TransformerConfig(
        num_hidden_layers=1,
        num_attention_heads=2,
        position_embedding_type="learned",
        max_position_embeddings=8,
        **SIZES,
    )
    TransformerForConditionalGeneration(config).save_pretrained(tmp_path)
    translate = pipeline("seqnlp-translation", model=str(tmp_path), tokenizer=tokenizer, device="cpu")
    with pytest.raises(ValueError, match="has 11 tokens, and the model has learned max_position_embeddings=8"):
        translate("one two " * 5)
    assert translate("one " * 7)["translation_text"] is not None  # and no position is asked for that there is not


def test_what_cannot_be_translated_or_aligned_is_said_in_one_line(tokenizer):
    config = RecurrentSeq2SeqConfig(cell_type="gru", attention_type="none", **SIZES, **IDS)
    model = RecurrentSeq2SeqForConditionalGeneration(config)
    translate = pipeline("seqnlp-translation", model=model, tokenizer=tokenizer, device="cpu", max_new_tokens=3)
    assert set(translate("one", return_score=True)) == {"translation_text", "score"}
    with pytest.raises(ValueError, match="attention_type='none' does not align anything"):
        translate("one", return_alignment=True)
    with pytest.raises(ValueError, match="translates strings, and was given a int"):
        translate(["one", 2])
    with pytest.raises(ValueError, match="translates strings, and was given a dict"):
        list(translate(row for row in [{"text": "one"}]))
    for given in (None, {"text": "one"}, {"one"}, b"one", Dataset.from_dict({"text": ["one"]})):
        with pytest.raises(ValueError, match=f"translates strings, and was given a {type(given).__name__}"):
            translate(given)
    with pytest.raises(ValueError, match="leave num_return_sequences out"):
        translate("one", num_beams=2, num_return_sequences=2)


def test_separate_vocabularies(models, tokenizer, tmp_path):
    model = models["transformer"]
    model.config.target_tokenizer = "target_tokenizer"
    try:
        model.save_pretrained(tmp_path)
    finally:
        del model.config.target_tokenizer
    tokenizer.save_pretrained(tmp_path)
    texts = [" ".join([word] * (20 - rank)) for rank, word in enumerate([*"abcde", *"vwxyz"])]
    target_tokenizer = train_tokenizer(texts, "word", 14, add_eos_token=True)
    target_tokenizer.save_pretrained(tmp_path / "target_tokenizer")
    assert pipeline("seqnlp-translation", model=tmp_path, device="cpu")("one two")["translation_text"] == "v w"
    given = pipeline("seqnlp-translation", model=tmp_path, target_tokenizer=tokenizer, device="cpu")
    assert given("one two")["translation_text"] == "eins zwei"


def test_a_tuple_and_a_column_are_lists_and_the_caller_decides_the_length(folder):
    translate = pipeline("seqnlp-translation", model=folder)
    expected = [answer["translation_text"] for answer in translate(SENTENCES[:2])]
    column = Dataset.from_dict({"text": SENTENCES[:2]})["text"]
    for given in (tuple(SENTENCES[:2]), column, pd.Series(SENTENCES[:2], index=[7, 3]), np.array(SENTENCES[:2])):
        assert [answer["translation_text"] for answer in translate(given)] == expected
    assert translate(SENTENCES[0], return_dict_in_generate=True)["translation_text"] == expected[0]
    translate.model.generation_config.update(max_length=None, max_new_tokens=100)
    # The first token, which starts the decoder, and one more.
    assert translate(SENTENCES[0], max_length=2)["translation_text"] == expected[0].split()[0]
