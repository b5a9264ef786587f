"""ROUGE by hand, and against rouge-score's own tokenizer where that knows the letters."""

import pytest
from rouge_score import rouge_scorer

from seqnlp.metrics import ROUGE
from seqnlp.metrics.rouge import UnicodeWords


def rouge(texts, references):
    return ROUGE().compute(predictions=texts, references=references)


def test_by_hand():
    # Text: the cat sat (3 words, 2 pairs); reference: the cat on the mat sat (6 words, 5 pairs).
    # In common: 3 words; 1 pair; the longest common subsequence is the cat sat.
    scores = rouge(["The cat sat!"], ["the cat on the mat, sat"])
    assert scores["rouge1"] == pytest.approx(100 * 2 * 3 / (3 + 6))
    assert scores["rouge2"] == pytest.approx(100 * 2 * 1 / (2 + 5))
    assert scores["rougeL"] == pytest.approx(100 * 2 * 3 / (3 + 6))
    # Backwards the longest common subsequence is one word; and the mean over two texts.
    assert rouge(["c b a", "x"], ["a b c", "x"])["rougeL"] == pytest.approx(100 * (1 / 3 + 1) / 2)
    assert rouge([""], ["a"]) == {"rouge1": 0.0, "rouge2": 0.0, "rougeL": 0.0}


def test_english_is_as_rouge_score_has_it():
    pairs = [("a man rides two horses", "two men ride a horse"), ("the dog, 3 cats", "3 cats and the dog ran")]
    scorer = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"])
    scores = rouge(*zip(*pairs, strict=True))
    for key, value in scores.items():
        assert value == pytest.approx(100 * sum(scorer.score(b, a)[key].fmeasure for a, b in pairs) / 2)


def test_other_letters_are_not_dropped():
    assert UnicodeWords().tokenize("Größe, café 中文ab") == ["größe", "café", "中", "文", "ab"]
    assert rouge(["größe"], ["grüße"])["rouge1"] == 0.0
    assert rouge(["中文"], ["中国"])["rouge1"] == pytest.approx(50)


def test_marks_belong_to_their_letters():
    """Hindi and Thai write vowels as marks; a word of Hindi stands between spaces, of Thai each character counts."""
    assert UnicodeWords().tokenize("हिन्दी भाषा।") == ["हिन्दी", "भाषा"]
    assert UnicodeWords().tokenize("ที่นี่") == ["ที่", "นี่"]
    # One of two words in common: "पानी" and "पीना" have the same consonants and are two words.
    assert rouge(["ठंडा पानी"], ["ठंडा पीना"])["rouge1"] == pytest.approx(50)
