import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from seqnlp import RecurrentConfig
from seqnlp.tokenization import TokenizationError, train_tokenizer


TEXTS = ["The cat sat on the mat.", "A dog; two dogs!", "naïve café — 42 €", "the   end\n"] * 3
TYPES = ["char", "word", "bpe", "wordpiece", "unigram"]

every_type = pytest.mark.parametrize("tokenizer_type", TYPES)


@every_type
def test_the_special_tokens_have_the_first_ids(tokenizer_type):
    tokenizer = train_tokenizer(TEXTS, tokenizer_type, 400)
    assert tokenizer.convert_ids_to_tokens([0, 1, 2, 3]) == ["<pad>", "<unk>", "<s>", "</s>"]
    assert (tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id) == (
        0,
        1,
        2,
        3,
    )
    assert len(tokenizer) <= 400


@every_type
def test_it_loads_without_custom_code_and_silently(tokenizer_type, tmp_path, caplog):
    tokenizer = train_tokenizer(TEXTS, tokenizer_type, 400, extra_tokens=["<url>"])
    tokenizer.save_pretrained(tmp_path)
    RecurrentConfig(vocab_size=len(tokenizer)).save_pretrained(tmp_path)  # as beside a model
    with caplog.at_level("WARNING", logger="transformers"):
        loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert caplog.text == ""
    assert isinstance(loaded, PreTrainedTokenizerFast)
    assert not list(tmp_path.glob("*.py"))
    for text in [*TEXTS, "unseen zebra <url>"]:
        assert loaded(text)["input_ids"] == tokenizer(text)["input_ids"]
        assert set(loaded(text)) == {"input_ids", "attention_mask"}
    assert "<url>" in loaded.tokenize("see <url>now")


CONTROL = ["a <unk> b", "</s>", "<s>", "<pad><pad>", "x</s>y <s> z", "= Title =\n\n the <unk> of <unk> \n"]


@every_type
def test_the_words_of_a_text_never_become_control_tokens(tokenizer_type, tmp_path):
    texts = [*TEXTS, *CONTROL * 10]
    tokenizer = train_tokenizer(texts, tokenizer_type, 400)
    assert sorted(tokenizer.get_vocab().values()) == list(range(len(tokenizer)))  # no holes
    assert tokenizer.convert_ids_to_tokens([0, 1, 2, 3]) == ["<pad>", "<unk>", "<s>", "</s>"]
    tokenizer.save_pretrained(tmp_path)
    for each in (tokenizer, AutoTokenizer.from_pretrained(tmp_path)):
        for text in CONTROL:
            ids = each(text)["input_ids"]
            assert not set(ids) & {0, 1, 2, 3}
            decoded = each.decode(ids, skip_special_tokens=True)
            assert "".join(decoded.split()) == "".join(text.split())


@every_type
def test_control_tokens_that_no_training_text_held(tokenizer_type):
    tokenizer = train_tokenizer(TEXTS, tokenizer_type, 400)
    assert not set(tokenizer("</s> <s> <pad>")["input_ids"]) & {0, 2, 3}  # unknown characters may be <unk>


@pytest.mark.parametrize(
    ("tokenizer_type", "exact"),
    [("char", True), ("bpe", True), ("word", False), ("wordpiece", False), ("unigram", False)],
)
def test_decoding_gives_the_text_back(tokenizer_type, exact):
    tokenizer = train_tokenizer(TEXTS, tokenizer_type, 500)
    text = "The cat; the   dogs sat.\n" if exact else "the cat sat on the mat"
    decoded = tokenizer.decode(tokenizer(text)["input_ids"])
    assert decoded.strip(" ") == text if not exact else decoded == text


@pytest.mark.parametrize(
    ("tokenizer_type", "has_unknown"),
    [("char", True), ("word", True), ("wordpiece", True), ("unigram", True), ("bpe", False)],
)
def test_unseen_characters(tokenizer_type, has_unknown):
    tokenizer = train_tokenizer(TEXTS, tokenizer_type, 400)
    ids = tokenizer("the 猫")["input_ids"]
    assert (tokenizer.unk_token_id in ids) is has_unknown
    if not has_unknown:
        assert tokenizer.decode(ids) == "the 猫"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("这部电影 good 很好!", ["这", "部", "电", "影", "good", "很", "好", "!"]),
        ("テレビを見る", ["テ", "レ", "ビ", "を", "見", "る"]),
        ("ที่นี่", ["ที่", "นี่"]),  # a base and its marks are one
        ("한국어 책", ["한국어", "책"]),  # Korean writes spaces
    ],
)
def test_words_of_scripts_without_spaces_are_their_characters(text, words):
    assert train_tokenizer([text], "word", 50).tokenize(text) == words


def test_one_way_to_write_an_accent():
    tokenizer = train_tokenizer(TEXTS, "char", 100)
    assert tokenizer("caf\u00e9")["input_ids"] == tokenizer("cafe\u0301")["input_ids"]


def test_lower_case_and_minimum_frequency():
    tokenizer = train_tokenizer(["Once twice TWICE"], "word", 50, lowercase=True, min_frequency=2)
    assert tokenizer("Twice once")["input_ids"] == [4, 1]


@every_type
def test_begin_and_end_tokens(tokenizer_type):
    tokenizer = train_tokenizer(TEXTS, tokenizer_type, 400, add_bos_token=True, add_eos_token=True)
    ids = tokenizer("the cat")["input_ids"]
    assert (ids[0], ids[-1]) == (2, 3)
    plain = train_tokenizer(TEXTS, tokenizer_type, 400)("the cat")["input_ids"]
    assert ids[1:-1] == plain
    assert tokenizer("the", "cat")["input_ids"].count(2) == 2


def test_truncation():
    tokenizer = train_tokenizer(TEXTS, "char", 100, model_max_length=5)
    assert len(tokenizer("the cat sat", truncation=True)["input_ids"]) == 5


@every_type
@pytest.mark.parametrize("texts", [[], [""], ["", "  \n"]])
def test_empty_corpora_are_refused(tokenizer_type, texts):
    with pytest.raises(TokenizationError, match=f"the {len(texts)} texts given are empty"):
        train_tokenizer(texts, tokenizer_type, 300)


@pytest.mark.parametrize(("tokenizer_type", "vocab_size"), [("bpe", 259), ("wordpiece", 20), ("unigram", 20)])
def test_a_vocabulary_smaller_than_the_alphabet_is_refused_with_the_size_needed(tokenizer_type, vocab_size):
    with pytest.raises(TokenizationError, match=f"vocab_size={vocab_size} is smaller than the alphabet") as raised:
        train_tokenizer(TEXTS, tokenizer_type, vocab_size)
    needed = int(str(raised.value).split(" needs ")[1].split()[0])
    tokenizer = train_tokenizer(TEXTS, tokenizer_type, needed)
    ids = [token for text in TEXTS for token in tokenizer(text)["input_ids"]]
    assert tokenizer.unk_token_id not in ids


@pytest.mark.parametrize("tokenizer_type", ["char", "word"])
def test_small_character_and_word_vocabularies_keep_the_most_frequent(tokenizer_type):
    tokenizer = train_tokenizer(["b a a c a b"], tokenizer_type, 6 if tokenizer_type == "word" else 7)
    assert tokenizer.unk_token_id not in tokenizer("a b")["input_ids"]
    assert tokenizer.unk_token_id in tokenizer("c")["input_ids"]


def test_other_nonsense_is_refused():
    with pytest.raises(TokenizationError, match="tokenizer_type='sentence' is not one of char, word"):
        train_tokenizer(TEXTS, "sentence")
    with pytest.raises(TokenizationError, match="vocab_size=4 holds only the 4 special tokens"):
        train_tokenizer(TEXTS, "char", 4)
    for kind in ("char", "word"):
        with pytest.raises(
            TokenizationError, match=f"min_frequency=99: no unit of a {kind} tokenizer occurs so often"
        ):
            train_tokenizer(["a b"], kind, 100, min_frequency=99)
    with pytest.raises(TokenizationError, match="one of the texts is a NoneType"):
        train_tokenizer([*TEXTS, None], "char", 100)
