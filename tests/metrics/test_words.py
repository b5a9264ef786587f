"""Words of scripts with and without spaces; scores that need words, where there are none between spaces."""

import pytest
import torch

from seqnlp.metrics import ChrF, bleu_by_source_length, classification_report, count_words, puts_no_spaces
from seqnlp.metrics.words import WITHOUT_SPACES, words_of
from seqnlp.tokenization import train


@pytest.mark.parametrize(
    ("text", "count", "none"),
    [
        ("It's a well-known film - no?", 6, False),  # as `split` counts them
        ("我们今天去看电影", 8, True),
        ("映画を見た", 5, True),
        ("ที่นี่", 2, True),
        ("영화를 보았다", 2, False),
        ("हिन्दी भाषा", 2, False),
        ("the word 中文 means Chinese", 6, False),
        ("", 0, False),
        ("12 34", 2, False),
    ],
)
def test_words(text, count, none):
    assert count_words(text) == count
    assert puts_no_spaces([text]) is none
    assert puts_no_spaces([text[:3], text[3:]]) is none


def test_a_word_is_what_the_tokenizer_of_words_takes_for_one():
    assert WITHOUT_SPACES == train.WITHOUT_SPACES
    text = "हिन्दी ที่นี่ 中文 café 12"
    tokenizer = train.train_tokenizer([text] * 2, "word", 50)
    assert tokenizer.tokenize(text) == words_of(text)


def test_sources_without_spaces_have_lengths_in_characters():
    sources = ["我们去", "我们去看", "我们今天去看电影"] * 20
    bins = bleu_by_source_length(sources, ["a b c d"] * 60, ["a b c d"] * 60)
    assert [(item["from"], item["to"], item["sentences"]) for item in bins] == [(1, 5, 40), (6, 10, 20)]


def test_chrf_of_chinese_by_hand():
    """chrF2 over n-grams of up to six characters, those that both have: 3 characters each, 2 in common."""
    # 1-grams 2 of 3, 2-grams 1 of 2, 3-grams 0 of 1: precision and recall alike, and the mean of them.
    score = ChrF().compute(predictions=["看电影"], references=["看电视"])["chrf"]
    assert score == pytest.approx(100 * (2 / 3 + 1 / 2 + 0) / 3)


def test_a_class_without_examples_has_no_shares():
    logits = torch.eye(3)[[0, 0, 1]].numpy()
    report = classification_report(["no", "yes", "rare"], ["a", "b", "c"], logits, torch.tensor([0, 0, 0]).numpy(), {})
    lines = [line.split() for line in report.splitlines()]
    assert ["no", "100.0%", "66.7%", "80.0%", "3"] in lines
    assert ["yes", "-", "-", "-", "0"] in lines
    assert ["rare", "-", "-", "-", "0"] in lines
    assert "The one error it was surest of" in report
    right = classification_report(["no", "yes"], ["a"], logits[:1, :2], torch.tensor([0]).numpy(), {})
    assert "surest" not in right
