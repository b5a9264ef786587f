import random

import pytest

from seqnlp.tokenization import BPEDropout, TokenizationError, train_tokenizer


TEXTS = ["the lower the newer the wider", "wider and newer, lower and slower!", "ein Löwe"] * 3


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS, "bpe", 320, lowercase=True, add_prefix_space=True)


def test_without_dropout_it_is_the_tokenizer(tokenizer):
    segmenter = BPEDropout(tokenizer, TEXTS, dropout=0.0)
    assert [segmenter.ids(row) for row in range(3)] == tokenizer(TEXTS[:3])["input_ids"]


def test_with_dropout_the_pieces_vary_and_the_text_does_not(tokenizer):
    segmenter = BPEDropout(tokenizer, TEXTS, dropout=0.3)
    drawn = [segmenter.ids(1) for _ in range(20)]
    assert len({tuple(ids) for ids in drawn}) > 5
    assert {tokenizer.decode(ids) for ids in drawn} == {" " + TEXTS[1]}
    assert sum(map(len, drawn)) > 20 * len(tokenizer(TEXTS[1])["input_ids"])


def test_the_draws_follow_the_seed_and_the_state_of_random_alone(tokenizer):
    def draws(seed):
        random.seed(3)
        segmenter = BPEDropout(tokenizer, TEXTS, 0.3, seed=seed)
        return [segmenter.ids(row) for row in range(3)]

    assert draws(0) == draws(0)
    assert draws(0) != draws(1)


def test_the_tokenizer_is_left_as_it_was(tokenizer):
    before = tokenizer.backend_tokenizer.to_str()
    BPEDropout(tokenizer, TEXTS, 0.3).ids(0)
    assert tokenizer.backend_tokenizer.to_str() == before


def test_what_cannot_drop_merges(tokenizer):
    with pytest.raises(TokenizationError, match="a WordLevel tokenizer has none: use tokenizer_type=bpe"):
        BPEDropout(train_tokenizer(TEXTS, "word", 50), TEXTS, 0.1)
    with pytest.raises(TokenizationError, match=r"BPE dropout of 1.0 is a probability"):
        BPEDropout(tokenizer, TEXTS, 1.0)
