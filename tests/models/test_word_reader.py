"""Words from their spelling: against a reading of one word after the other, written apart."""

import pytest
import torch
from huggingface_hub.errors import StrictDataclassClassValidationError
from torch import nn

from seqnlp import (
    RecurrentConfig,
    RecurrentForTokenClassification,
    TransformerEncoderConfig,
    TransformerEncoderForTokenClassification,
)
from seqnlp.models.word_reader import WordReader


CONTINUES = 10  # tokens 10 to 19 continue a word, 4 to 9 begin one
SIZES = {"vocab_size": 20, "hidden_size": 6, "pad_token_id": 0, "num_labels": 3}
WORDS = {"first_continuing_id": CONTINUES, "word_vocab_size": 4, "word_dropout": 0.5}
TAGGERS = {
    RecurrentForTokenClassification: RecurrentConfig(**SIZES, **WORDS, bidirectional=True, embedding_size=5),
    TransformerEncoderForTokenClassification: TransformerEncoderConfig(
        **SIZES, **WORDS, num_attention_heads=2, num_hidden_layers=1
    ),
}
TEXT = [[4, 12, 13], [5], [4, 12, 13], [4, 12]]
TOKENS = [token for word in TEXT for token in word]
every_tagger = pytest.mark.parametrize("model_class", TAGGERS)


def reader(num_words=4):
    torch.manual_seed(0)
    made = WordReader(5, CONTINUES, num_words, 0.0).eval()
    return made, nn.Embedding(20, 5)


def by_hand(made, embeddings, word, row):
    """`max_i (V [c_{i-1}; c_i; c_{i+1}] + b) + E_row`, one place after the other."""
    pieces = [torch.zeros(5), *(embeddings.weight[token] for token in word), torch.zeros(5)]
    weight, bias = made.convolution.weight, made.convolution.bias
    places = [sum(weight[:, :, k] @ pieces[place + k] for k in range(3)) + bias for place in range(len(pieces) - 2)]
    return torch.stack(places).amax(0) + made.embed_words.weight[row]


def test_each_word_has_what_its_pieces_and_its_own_vector_say():
    made, embeddings = reader()
    made.know([[4, 12, 13], [9]])
    ids = torch.tensor([TOKENS, [5, 0, 9, 0, 0, 0, 0, 0, 0]])
    mask = torch.tensor([[1] * 9, [1, 0, 1, 0, 0, 0, 0, 0, 0]])
    vectors, words, index = made(embeddings, ids, mask)
    assert words.tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
    assert index[0].tolist() == [0, 0, 0, 1, 2, 2, 2, 3, 3]
    assert (index[1, 0], index[1, 2]) == (0, 1)
    rows = {tuple(word): made._look_up(torch.tensor([hash_of(made, word)])).item() for word in ([4, 12, 13], [9])}
    assert sorted(rows.values()) == [1, 2]
    for place, word in enumerate(TEXT):
        expected = by_hand(made, embeddings, word, rows.get(tuple(word), 0))
        torch.testing.assert_close(vectors[0, place], expected)
    torch.testing.assert_close(vectors[1, 1], by_hand(made, embeddings, [9], rows[9,]))
    assert vectors[1, 2:].abs().sum() == 0


def hash_of(made, word):
    """`sum_i (token_i + 1) BASE^(i + 1)` modulo 2^64, in whole numbers without a bound."""
    total = sum((token + 1) * 6364136223846793005 ** (place + 1) for place, token in enumerate(word)) % 2**64
    return total - 2**64 if total >= 2**63 else total


def test_the_hash_of_a_word_is_that_of_whole_numbers_without_a_bound():
    made, _ = reader()
    words = [[4, 12, 13], [9], [5, 19] * 40]
    made.know(words)
    assert made.known[:3].tolist() == sorted(hash_of(made, word) for word in words)
    with pytest.raises(ValueError, match="There is room for 4 words, and 5 are to be known"):
        made.know([[4]] * 5)


def test_training_takes_known_words_for_unknown_ones_as_often_as_it_is_told():
    made, embeddings = reader()
    made.know([[4]])
    assert made._look_up(torch.tensor([hash_of(made, [4]), hash_of(made, [5])])).tolist() == [1, 0]
    made.word_dropout = 0.25
    with torch.no_grad():
        made.embed_words.weight[1] = 1e6
    torch.manual_seed(0)
    vectors, _, _ = made.train()(embeddings, torch.full((1, 4000), 4), None)
    assert 0.22 < (vectors[0, :, 0] < 1e5).float().mean() < 0.28
    vectors, _, _ = made.eval()(embeddings, torch.full((1, 4000), 4), None)
    assert (vectors > 1e5).all()


@every_tagger
def test_every_token_has_the_labels_of_its_word_and_padding_changes_nothing(model_class):
    torch.manual_seed(0)
    model = model_class(TAGGERS[model_class]).eval()
    model.word_reader.know([[4, 12, 13], [5]])
    alone = model(torch.tensor([TOKENS])).logits[0]
    for start in (0, 3, 4, 7):
        end = next((place for place in range(start + 1, 9) if TOKENS[place] < CONTINUES), 9)
        assert (alone[start:end] == alone[start]).all()
    assert not torch.equal(alone[0], alone[3])
    ids = torch.tensor([[0, *TOKENS, 0, 0], [4, 12, 13, 5, 0, 4, 12, 13, 0, 4, 12, 0]])
    mask = (ids != 0).long()
    logits = model(ids, attention_mask=mask).logits
    torch.testing.assert_close(logits[0, 1:10], alone)
    torch.testing.assert_close(logits[1, mask[1] == 1], alone)  # gaps within a text


@every_tagger
def test_known_words_are_saved_and_a_backbone_of_other_heads_gets_a_reader_that_knows_none(model_class, tmp_path):
    torch.manual_seed(0)
    model = model_class(TAGGERS[model_class]).eval()
    model.word_reader.know([[4, 12, 13]])
    inputs = torch.tensor([TOKENS])
    model.save_pretrained(tmp_path / "tagger")
    again = model_class.from_pretrained(tmp_path / "tagger").eval()
    assert torch.equal(again(inputs).logits, model(inputs).logits)
    model.model.save_pretrained(tmp_path / "backbone")
    fresh = model_class.from_pretrained(tmp_path / "backbone")
    assert (fresh.word_reader.known == torch.iinfo(torch.int64).max).all()
    with pytest.raises(ValueError, match="give input_ids, not inputs_embeds"):
        fresh(inputs_embeds=torch.zeros(1, 2, 6))


@every_tagger
def test_a_row_without_tokens_and_a_text_that_begins_within_a_word(model_class):
    model = model_class(TAGGERS[model_class]).eval()
    logits = model(torch.tensor([[12, 13, 5], [0, 0, 0]]), attention_mask=torch.tensor([[1, 1, 1], [0, 0, 0]])).logits
    assert torch.isfinite(logits).all()
    assert torch.equal(logits[0, 0], logits[0, 1])
    assert torch.isfinite(model(torch.zeros(1, 2, dtype=torch.long), attention_mask=torch.zeros(1, 2)).logits).all()
    with pytest.raises(ValueError, match=r"attention_mask of shape \(1, 1\) does not fit input_ids of shape \(1, 2\)"):
        model(torch.zeros(1, 2, dtype=torch.long), attention_mask=torch.ones(1, 1))


@pytest.mark.parametrize("config_class", [RecurrentConfig, TransformerEncoderConfig])
def test_settings_of_words_without_words_are_refused(config_class):
    with pytest.raises(StrictDataclassClassValidationError, match=r"word_dropout=0\.5 is of words"):
        config_class(word_dropout=0.5)


def test_no_rows_have_no_words():
    model = RecurrentForTokenClassification(TAGGERS[RecurrentForTokenClassification]).eval()
    assert model(torch.zeros(0, 4, dtype=torch.long)).logits.shape == (0, 4, 3)
