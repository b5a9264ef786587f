import random

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

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


@pytest.mark.parametrize("divider", [None, pre_tokenizers.Metaspace(split=False), pre_tokenizers.Whitespace()])
def test_a_tokenizer_may_have_no_normalizer_and_divide_texts_in_its_own_way(divider):
    backend = Tokenizer(models.BPE())
    if divider is not None:
        backend.pre_tokenizer = divider
    backend.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=60, show_progress=False))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    segmenter = BPEDropout(tokenizer, TEXTS, dropout=0.0)
    assert [segmenter.ids(row) for row in range(3)] == tokenizer(TEXTS[:3])["input_ids"]


@pytest.mark.parametrize(
    "mark", [{"end_of_word_suffix": "</w>"}, {"continuing_subword_prefix": "##"}, {"extra": "the l"}, {"text": "zzz"}]
)
def test_pieces_that_are_not_of_merges_alone_are_refused(mark):
    marks = {name: value for name, value in mark.items() if "_" in name}
    backend = Tokenizer(models.BPE(unk_token="<unk>", **marks))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(vocab_size=90, special_tokens=["<unk>"], show_progress=False, **marks)
    backend.train_from_iterator(TEXTS, trainer)
    backend.add_tokens([mark["extra"]] if "extra" in mark else [])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")
    with pytest.raises(TokenizationError, match="are not those of this tokenizer's merges alone"):
        BPEDropout(tokenizer, [*TEXTS, mark.get("text", "ein")], dropout=0.1)


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
