"""Long texts in pieces: the same tokens, and little memory."""

import random
import subprocess
import sys

import numpy as np
import pytest
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from seqnlp.tokenization import (
    encode,
    encode_documents,
    train_tokenizer,
    unknown_pieces,
    unknown_remark,
    unknown_share,
)


def rough_text(length, seed=0):
    chance = random.Random(seed)
    parts = [
        "word",
        "naïve",
        "e\u0301",
        "猫",
        "12",
        "don't",
        "<s>",
        "...",
        " ",
        " ",
        " ",
        "\n",
        "  ",
        "\n\n",
        "\t",
        "\r\n",
    ]
    return "".join(chance.choices(parts, k=length))


@pytest.mark.parametrize("tokenizer_type", ["char", "word", "bpe", "wordpiece", "unigram"])
def test_the_tokens_are_those_of_the_whole_text(tokenizer_type, monkeypatch):
    tokenizer = train_tokenizer([rough_text(2000)], tokenizer_type, 400)
    monkeypatch.setattr(encode, "PIECE", 7)
    texts = [rough_text(500, seed) for seed in range(1, 20)] + ["", "no", "  two  spaces  "]
    pieces = [list(encode.pieces_of([text], tokenizer.backend_tokenizer.model)) for text in texts]
    assert sum(len(part) > 10 for part in pieces) == 19
    assert ["".join(part) for part in pieces] == texts
    found = encode_documents(tokenizer, texts)
    assert all(ids.dtype == np.int32 for ids in found)
    assert [ids.tolist() for ids in found] == tokenizer(texts, add_special_tokens=False)["input_ids"]


LINES_WITH_MARKS = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


@pytest.mark.parametrize(
    ("normalizer", "divider"),
    [
        (None, pre_tokenizers.ByteLevel(add_prefix_space=True)),  # as RoBERTa may have it
        (None, pre_tokenizers.Split(Regex(LINES_WITH_MARKS), "isolated")),  # as Llama 3 and Qwen
        (normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]), None),  # as Llama 2
        (None, pre_tokenizers.Metaspace(prepend_scheme="always")),
    ],
)
def test_the_tokens_of_other_tokenizers_are_those_of_the_whole_text(normalizer, divider, monkeypatch):
    backend = Tokenizer(models.BPE())
    if normalizer is not None:
        backend.normalizer = normalizer
    if divider is not None:
        backend.pre_tokenizer = divider
    text = "Words, words.\nAnd more of them!\nOr not?\n" * 30
    backend.train_from_iterator([text], trainers.BpeTrainer(vocab_size=200, show_progress=False))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    monkeypatch.setattr(encode, "PIECE", 7)
    expected = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert encode_documents(tokenizer, [text])[0].tolist() == expected


def test_characters_of_a_long_text_take_little_memory():
    code = """
import resource
from seqnlp.tokenization import encode_documents, train_tokenizer
text = "some words in a row, \\n" * 200_000  # 4.4 MB
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
ids = encode_documents(train_tokenizer([text], "char", 100), [text])
assert len(ids[0]) == len(text)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(result.stdout) < 400  # MB; as a whole it took some 380 per MB of text


@pytest.mark.parametrize(
    ("tokenizer_type", "unknown"),
    [("char", ["Ω", "7"]), ("word", ["Ω7", "tea"]), ("wordpiece", ["Ω7", "tea"]), ("bpe", [])],
)
def test_the_parts_of_a_prompt_that_are_unknown(tokenizer_type, unknown):
    """A word tokenizer knows words: that it knows no single letters of `the` is nothing to tell."""
    tokenizer = train_tokenizer(["the teeth are the best there are"] * 5, tokenizer_type, 400)
    assert unknown_pieces(tokenizer, "the Ω7 tea the Ω7") == unknown


def test_the_share_of_unknown_tokens():
    tokenizer = train_tokenizer(["one two three"], "word", 50)
    assert unknown_share(tokenizer, ["one two", "four five two"]) == 2 / 5
    assert unknown_share(tokenizer, [""]) == 0
    # Tibetan parts syllables by a mark, and words by nothing.
    share = unknown_share(train_tokenizer(["one two"], "word", 50), ["བོད་སྐད་"])
    assert share == 1
    remark = unknown_remark(share, "word", "the test texts")
    assert remark.startswith("100% of the tokens of the test texts are unknown to the word tokenizer (words are")
    assert remark.endswith("use --tokenizer_type bpe or --tokenizer_type char, or a larger --vocab_size.")
    given = unknown_remark(share, None, "the test texts")
    assert given.startswith(
        "100% of the tokens of the test texts are unknown to the given tokenizer: take a tokenizer, or"
    )
    assert unknown_remark(0.05, "word", "the test texts") is None
