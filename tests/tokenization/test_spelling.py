import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from seqnlp.tokenization import TokenizationError, first_continuing_id, train_spelling_tokenizer


TEXT = "The cat's e-mail of U.S. origin isn't 5:30 ... # (b) <s> x, 日本 ##"


@pytest.fixture(scope="module")
def tokenizer():
    return train_spelling_tokenizer([TEXT])


def words(tokenizer, text):
    found = []
    for token in tokenizer.tokenize(text):
        if tokenizer.convert_tokens_to_ids(token) >= first_continuing_id(tokenizer):
            found[-1] += token[2:]
        else:
            found.append(token)
    return found


def test_words_are_divided_by_a_rule_and_spelled(tokenizer):
    assert tokenizer.tokenize("cat s") == ["c", "##a", "##t", "s"]
    divided = "The cat's e-mail of U.S. origin isn't 5:30 ... # ( b ) < s > x , 日 本 ##"
    assert " ".join(words(tokenizer, TEXT)) == divided
    assert words(tokenizer, "n't 's ((b)") == ["n't", "'s", "((", "b", ")"]


def test_given_words_stay_whole_and_offsets_are_those_of_the_text(tokenizer):
    given = ["n't", "'s", "e-mail", "..."]
    encoded = tokenizer([given], is_split_into_words=True)
    assert encoded.word_ids(0) == [place for place, word in enumerate(given) for _ in word]
    text = "the cat's e-mail"
    encoded = tokenizer(text, return_offsets_mapping=True)
    assert "".join(text[start:end] for start, end in encoded["offset_mapping"]) == text.replace(" ", "")


def test_what_training_has_not_is_unknown_as_a_word(tokenizer):
    assert tokenizer.tokenize("cat zebra cat") == ["c", "##a", "##t", "<unk>", "c", "##a", "##t"]
    assert tokenizer.tokenize("t" * 101) == ["<unk>"]
    assert train_spelling_tokenizer(["aab"], min_frequency=2).tokenize("aa b") == ["a", "##a", "<unk>"]


def test_ids_of_control_tokens_and_of_tokens_that_continue(tokenizer):
    assert tokenizer.convert_ids_to_tokens([0, 1, 2, 3]) == ["<pad>", "<unk>", "<s>", "</s>"]
    assert tokenizer.tokenize("<s>") == ["<", "s", ">"]
    start = first_continuing_id(tokenizer)
    every = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    assert [token for token in every if len(token) == 3 and token.startswith("##")] == every[start:]
    assert tokenizer.decode(tokenizer("The cat (b)")["input_ids"]) == "The cat ( b )"


def test_it_loads_without_seqnlp_and_accents_are_written_one_way(tmp_path):
    made = train_spelling_tokenizer(["Caf\u00e9"], lowercase=True, model_max_length=9)
    made.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert isinstance(loaded, PreTrainedTokenizerFast)
    assert loaded.tokenize("CAFE\u0301") == ["c", "##a", "##f", "##\u00e9"]
    assert loaded.model_max_length == 9
    with pytest.raises(TokenizationError, match="there is no character in these texts"):
        train_spelling_tokenizer([" "])
