"""Classifiers: beside transformers' pipelines, and weights computed a second time."""

import copy

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import pipeline

from seqnlp.data import DataError
from seqnlp.demo import DemoError, Options
from seqnlp.demo.answers import Tag
from seqnlp.demo.classifiers import MOST_WORDS, spans_of


def pipeline_of(task, named, **options):
    return pipeline(task, model=named.model, tokenizer=named.tokenizer(), **options)


@pytest.mark.parametrize("name", ["pooling", "last", "several"])
def test_probabilities_of_a_text(name, named, ask):
    found = ask(name).answer("the cat looked at the mat")
    function = "sigmoid" if name == "several" else "softmax"
    theirs = pipeline_of("text-classification", named(name), top_k=None, function_to_apply=function)
    known = {one["label"]: one["score"] for one in theirs("the cat looked at the mat")[0]}
    assert {one.text: one.probability for one in found.scores} == pytest.approx(known, abs=1e-6)
    assert [one.probability for one in found.scores] == pytest.approx(sorted(known.values(), reverse=True))
    likely = [label for label, score in sorted(known.items(), key=lambda pair: -pair[1]) if score > 0.5]
    assert found.label == (", ".join(likely) if name == "several" else found.scores[0].text)
    assert found.value is None


def test_weights_of_attention_pooling_are_those_of_the_tokens_of_each_word(named, ask):
    text = "the  cat looked"
    found = ask("pooling").answer(text)
    model, tokenizer = named("pooling").model, named("pooling").tokenizer()
    pieces = [tokenizer.decode([token]) for token in tokenizer(text).input_ids]
    assert "".join(pieces) == text
    with torch.no_grad():
        states = model.model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]  # (T, 8)
    shares = torch.stack([model.attention_pooling.context @ model.attention_pooling.proj(s).tanh() for s in states])
    shares = shares.softmax(0).tolist()
    wanted, at = {"the": 0.0, "cat": 0.0, "looked": 0.0}, 0
    for piece, share in zip(pieces, shares, strict=True):
        at += len(piece)
        word = next((w for w in wanted if text.index(w) < at <= text.index(w) + len(w)), None)
        if word:
            wanted[word] += share
    assert found.weights == "attention pooling"
    assert {word.text: word.weight for word in found.words} == pytest.approx(wanted, abs=1e-6)
    assert [text[word.start : word.end] for word in found.words] == list(wanted)


@pytest.mark.parametrize("name", ["last", "several", "number"])
def test_weights_by_occlusion_are_what_is_lost_without_the_word(name, named, ask):
    found = ask(name).answer("cat sat mat")
    function = {"last": "softmax", "several": "sigmoid", "number": "none"}[name]
    theirs = pipeline_of("text-classification", named(name), top_k=None, function_to_apply=function)

    def value(text):
        scores = {one["label"]: one["score"] for one in theirs(text)[0]}
        return scores[found.scores[0].text] if found.scores else scores["LABEL_0"]

    whole = value("cat sat mat")
    without = [value(text) for text in (" sat mat", "cat  mat", "cat sat ")]
    assert found.weights == "occlusion"
    assert [word.weight for word in found.words] == pytest.approx([whole - one for one in without], abs=1e-6)
    if name == "number":
        assert (found.value, found.label, found.scores) == (pytest.approx(whole, abs=1e-6), "", [])


def test_what_is_cut_unknown_or_not_weighed_is_told(ask):
    found = ask("last").answer(" ".join(["cat"] * 20))
    assert found.remarks == ["The last 4 of 20 tokens are cut off."]
    assert [word.weight is None for word in found.words] == [False] * 20
    # RoBERTa's: of ten positions two stand before the first token; its tokenizer says no length.
    found = ask("unbounded").answer(" ".join(["cat"] * 20))
    assert found.remarks == ["The last 12 of 20 tokens are cut off."]
    assert ask("last").answer("the unicorn sat").remarks == ["The tokenizer does not know unicorn."]
    found = ask("number").answer(" ".join(["cat"] * (MOST_WORDS + 3)))
    assert found.remarks == [f"3 words after the first {MOST_WORDS} are not weighed."]
    assert [word.weight is None for word in found.words[-4:]] == [False, True, True, True]


def test_an_empty_text_has_a_class_and_no_words(ask):
    for name in ("pooling", "last"):
        found = ask(name).answer("")
        assert sum(one.probability for one in found.scores) == pytest.approx(1)
        assert found.words == []


@pytest.mark.parametrize("name", ["tagger", "bert_tagger"])
def test_tags_are_those_of_each_words_token(name, named, ask):
    text = "the cat, sat"
    found = ask(name).answer(text)
    theirs = pipeline_of("token-classification", named(name), aggregation_strategy="none", ignore_labels=[])(text)
    assert [(tag.label, tag.start, tag.end) for tag in found.tags] == [
        (one["entity"], one["start"], one["end"]) for one in theirs
    ]
    assert [tag.probability for tag in found.tags] == pytest.approx([float(one["score"]) for one in theirs], abs=1e-6)
    assert [tag.text for tag in found.tags] == ["the", "cat", ",", "sat"]
    assert ask(name).answer("").tags == []


def test_spans_follow_the_scheme_of_the_labels():
    def spans(*labels, known=()):
        text = " ".join("abcdefgh"[: len(labels)])
        tags = [Tag(text[2 * i], 2 * i, 2 * i + 1, label, 1.0) for i, label in enumerate(labels)]
        return [(span.text, span.label) for span in spans_of(text, tags, [*labels, *known])]

    found = spans("B-PER", "I-PER", "O", "I-LOC", "I-LOC", "B-LOC", "I-PER", "O")
    assert found == [("a b", "PER"), ("d e", "LOC"), ("f", "LOC"), ("g", "PER")]
    assert spans("U-PER", "O", "B-LOC", "L-LOC", known=["I-LOC"]) == [("a", "PER"), ("c d", "LOC")]
    assert spans("NOUN", "B-VERB") == []


def test_gaps_are_filled_as_the_pipeline_fills_them(named, ask):
    found = ask("masked").answer("the ___ sat on the ___ mat")
    pipe = pipeline_of("fill-mask", named("masked"))
    pipe.tokenizer.split_special_tokens = False  # it has no other way to tell a gap
    theirs = pipe("the [MASK] sat on the [MASK] mat")
    for gap, known in zip(found.gaps, theirs, strict=True):
        assert [one.probability for one in gap] == pytest.approx([one["score"] for one in known], abs=1e-6)
        assert [one.text for one in gap] == [one["token_str"] for one in known]
    first = [gap[0].text for gap in found.gaps]
    assert found.filled.split() == ["the", first[0], "sat", "on", "the", first[1], "mat"]
    with pytest.raises(DemoError, match="There is no gap in 'the cat'"):
        ask("masked").answer("the cat")


def test_a_row_that_no_token_has_is_named(ask):
    answerer = ask("masked")
    size = len(answerer.tokenizer)
    answerer.model = copy.deepcopy(answerer.model)
    answerer.model.resize_token_embeddings(size + 3)
    with torch.no_grad():
        answerer.model.get_output_embeddings().bias[-1] = 99
    found = answerer.answer("the ___ sat")
    assert found.gaps[0][0].text == f"[no token {size + 2}]"
    assert f"[no token {size + 2}] (100.0%)" in found.in_words()


def test_an_image_and_where_the_class_token_looks(named, ask):
    image = Image.effect_noise((8, 8), 90)
    found = ask("images").answer(image)
    processor, model = named("images").image_processor(), named("images").model
    theirs = pipeline("image-classification", model=model, image_processor=processor, top_k=3)(image.convert("RGB"))
    assert [(one.text, pytest.approx(one.probability, abs=1e-6)) for one in found.scores] == [
        (one["label"], one["score"]) for one in theirs
    ]
    model.set_attn_implementation("eager")
    pixels = processor(image.convert("RGB"), return_tensors="pt").pixel_values
    with torch.no_grad():
        weights = model(pixels, output_attentions=True).attentions[-1][0].mean(0)[0, 1:]  # the class token's, of 4
    wanted = (weights / weights.sum()).tolist()
    assert [share for row in found.attention for share in row] == pytest.approx(wanted, abs=1e-6)


def test_an_option_that_changes_nothing_is_refused(ask):
    with pytest.raises(DemoError, match="--num_beams 3: RecurrentForSequenceClassification does not follow it"):
        ask("last").answer("cat", Options(num_beams=3))


def test_a_model_without_a_head_answers_nothing(ask):
    with pytest.raises(DemoError, match="RecurrentModel, of 'states', has no head that answers"):
        ask("states")


def test_a_long_unknown_word_is_told_in_a_short_line(ask):
    (remark,) = ask("last").answer("the " + 3000 * "x").remarks
    assert remark == f"The tokenizer does not know {60 * 'x'}...."
    (remark,) = ask("last").answer("the " + " ".join(f"un{letter}" for letter in "abcdefg")).remarks
    assert remark == "The tokenizer does not know una, unb, unc, und, une and 2 more."


@pytest.mark.parametrize("name", ["last", "tagger", "masked", "lm", "translator", "music"])
def test_half_a_character_is_no_text(name, ask):
    with pytest.raises(DemoError, match=r"'cat \\udcff' is no text: its character 5, '\\udcff', is half of one"):
        ask(name).answer("cat \udcff")


def test_words_that_a_gap_filler_does_not_know_keep_their_places(ask):
    found = ask("masked").answer("the ___ unicorn sat")
    assert found.filled.split() == ["the", found.gaps[0][0].text, "<unk>", "sat"]


def test_an_image_is_brought_to_8_bits_as_those_of_training_are(ask):
    gray = np.linspace(0, 255, 64).round().astype(np.uint8).reshape(8, 8)
    wanted = ask("images").answer(Image.fromarray(gray)).scores
    deep = ask("images").answer(Image.fromarray(gray.astype(np.uint16) * 257))
    assert deep.scores == wanted
    assert deep.remarks == ["It has deep grays, from 0 to 65535: it is brought to 8 bits, with white at 65535."]
    clear = np.stack([gray] * 3 + [np.full_like(gray, 200)], axis=-1)
    found = ask("images").answer(Image.fromarray(clear))
    assert found.scores == wanted
    assert found.remarks == ["It is transparent in part: the colors below are read, as pipelines do."]
    drawn = np.stack([np.zeros_like(gray)] * 3 + [gray], axis=-1)
    with pytest.raises(DataError, match="drawn by its transparency alone"):
        ask("images").answer(Image.fromarray(drawn))
    with pytest.raises(DataError, match="its pixels go from -1 to 1"):
        ask("images").answer(Image.fromarray(np.linspace(-1, 1, 64, dtype=np.float32).reshape(8, 8)))
