"""`<mask>`: a place to fill where a user writes it, six characters where a text to learn from has it."""

import pytest
from transformers import AutoTokenizer

from seqnlp.tokenization import MASK_TYPES, TokenizationError, read_literally, train_tokenizer


TEXT = "The cat sat on the <mask> mat, <s> again (mask)."
ASKED = "The (<mask>) <s> cat<mask>. <pad>"


@pytest.mark.parametrize("kind", MASK_TYPES)
def test_it_is_found_where_it_marks_a_place_to_fill_and_no_other_control_token_is(kind, tmp_path):
    made = train_tokenizer([TEXT] * 3, kind, 60, add_mask_token=True)
    made.save_pretrained(tmp_path)
    for tokenizer in (made, AutoTokenizer.from_pretrained(tmp_path)):
        assert tokenizer.convert_ids_to_tokens([0, 1, 2, 3, 4]) == ["<pad>", "<unk>", "<s>", "</s>", "<mask>"]
        assert (tokenizer.mask_token, tokenizer.mask_token_id) == ("<mask>", 4)
        ids = tokenizer(ASKED)["input_ids"]
        assert ids.count(4) == 2
        assert not {0, 2, 3} & set(ids)
        offsets = tokenizer(ASKED, return_offsets_mapping=True)["offset_mapping"]
        places = [ASKED[start:end] for token, (start, end) in zip(ids, offsets, strict=True) if token == 4]
        assert places == ["<mask>", "<mask>"]


@pytest.mark.parametrize("kind", MASK_TYPES)
def test_a_text_to_learn_from_is_read_as_by_a_tokenizer_without_it(kind, tmp_path):
    made = train_tokenizer([TEXT] * 3, kind, 61, add_mask_token=True)
    plain = train_tokenizer([TEXT] * 3, kind, 60)
    made.save_pretrained(tmp_path)
    for tokenizer in (read_literally(made), read_literally(AutoTokenizer.from_pretrained(tmp_path))):
        for text in (TEXT, ASKED, "don't 3.5 $x", "日本 _a-b_ …«q»"):
            assert tokenizer.tokenize(text) == plain.tokenize(text)
            assert tokenizer.mask_token_id not in tokenizer(text)["input_ids"]
    for text in (TEXT.replace("<mask>", ""), "don't 3.5 $x", "日本 _a-b_ …«q» 2^3 €5"):
        assert made.tokenize(text) == plain.tokenize(text)


def test_not_every_type_has_one():
    with pytest.raises(TokenizationError, match="tokenizer_type='bpe' has no <mask>; word and wordpiece have"):
        train_tokenizer([TEXT], "bpe", 400, add_mask_token=True)
