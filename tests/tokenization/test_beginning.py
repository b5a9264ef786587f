"""A prompt begins as the texts of a language model's training begin."""

import pytest
from transformers import AutoTokenizer

from seqnlp.tokenization import encode_documents, put_bos_first, train_tokenizer


TEXTS = ["the cat sat on the mat é <s>"] * 3
OWN = [{}, {"add_bos_token": True}, {"add_bos_token": True, "add_eos_token": True}]


@pytest.mark.parametrize("tokenizer_type", ["char", "word", "bpe", "wordpiece", "unigram"])
@pytest.mark.parametrize("own", OWN)
def test_what_stands_before_a_text_is_what_training_reads(tokenizer_type, own, tmp_path):
    tokenizer = train_tokenizer(TEXTS, tokenizer_type, 300, **own)
    put_bos_first(tokenizer)
    tokenizer.save_pretrained(tmp_path)
    for made in (tokenizer, AutoTokenizer.from_pretrained(tmp_path)):
        for text in ["", "the cat", " <s> é"]:
            assert made(text)["input_ids"] == [2, *encode_documents(made, [text])[0].tolist()]
        cat, mat = encode_documents(made, ["the cat", "the mat"])
        assert made("the cat", "the mat")["input_ids"] == [2, *cat.tolist(), *mat.tolist()]
