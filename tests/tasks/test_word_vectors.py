"""Vectors of words in every usual format, as the first embeddings of a model."""

import gzip
import hashlib
import json

import given_models
import numpy as np
import pytest
import torch
from given_models import DATA, run

from seqnlp.publishing.card import build_card
from seqnlp.tasks import TASKS
from seqnlp.tasks.starting.word_vectors import begin_with_vectors, read_vectors, words_of
from seqnlp.tokenization import train_tokenizer
from seqnlp.training import ArgumentsError


VECTORS = {"good": [0.25, -1.5, 3.0, 0.1], "film": [1.0, 2.0, -0.3, 4.0], "Ärger": [0.0, 1.0, 0.5, 7.0]}


def lines():
    return [f"{word} {' '.join(map(str, vector))}\n" for word, vector in VECTORS.items()]


def word2vec_text(path):
    path.write_text("3 4\n" + "".join(lines()), encoding="utf-8")


def glove(path):
    path.write_text("".join(lines()), encoding="utf-8")


def compressed(path):
    with gzip.open(path.with_suffix(".gz"), "wt", encoding="utf-8") as file:
        file.write("".join(lines()))
    return path.with_suffix(".gz")


def word2vec_binary(path):
    """As word2vec.c writes it: a header, then each word, a space and its numbers as they are in memory."""
    parts = [word.encode() + b" " + np.array(vector, "<f4").tobytes() + b"\n" for word, vector in VECTORS.items()]
    path.write_bytes(b"3 4\n" + b"".join(parts))


@pytest.mark.parametrize("write", [word2vec_text, glove, compressed, word2vec_binary])
def test_every_format_gives_the_numbers_that_were_written(write, tmp_path):
    path = tmp_path / "vectors"
    path = write(path) or path
    vectors = read_vectors(str(path))
    assert vectors.vector_size == 4
    assert {word: vectors[word].tolist() for word in VECTORS} == {
        word: np.array(vector, np.float32).tolist() for word, vector in VECTORS.items()
    }


def test_a_model_of_fasttext_knows_words_that_it_has_not_seen(tmp_path):
    from gensim.models.fasttext import FastText, save_facebook_model

    model = FastText(
        [["good", "film"], ["awful", "film"]] * 5, vector_size=4, min_count=1, epochs=1, bucket=50, seed=1
    )
    save_facebook_model(model, str(tmp_path / "model.bin"))
    vectors = read_vectors(str(tmp_path / "model.bin"))
    np.testing.assert_allclose(vectors["film"], model.wv["film"], rtol=1e-5)
    np.testing.assert_allclose(vectors["films"], model.wv["films"], rtol=1e-5)


def test_words_get_their_vectors_to_the_bit_and_other_tokens_keep_theirs(tmp_path):
    glove(tmp_path / "glove.txt")
    tokenizer = train_tokenizer(["good Film Ärger bad"], "word", 20, lowercase=False, min_frequency=1)
    embeddings = torch.nn.Embedding(len(tokenizer), 4)
    before = embeddings.weight.detach().clone()
    described = begin_with_vectors(embeddings, tokenizer, str(tmp_path / "glove.txt"))
    ids = {word: tokenizer.convert_tokens_to_ids(word) for word in ("good", "Film", "Ärger", "bad")}
    for word, known in (("good", "good"), ("Film", "film"), ("Ärger", "Ärger")):
        assert embeddings.weight[ids[word]].tolist() == np.array(VECTORS[known], np.float32).tolist()
    rest = [index for index in range(len(tokenizer)) if index not in (ids["good"], ids["Film"], ids["Ärger"])]
    assert torch.equal(embeddings.weight[rest], before[rest])
    digest = hashlib.sha256((tmp_path / "glove.txt").read_bytes()).hexdigest()
    expected = {"sha256": digest, "dimensions": 4, "tokens": 4, "tokens_found": 3, "found_in_lower_case": 1}
    assert described == expected


def test_pieces_of_words_are_no_words():
    texts = ["low lower lowest newer newest wide wider widest"] * 20
    bpe = train_tokenizer(texts, "bpe", 290, lowercase=False, min_frequency=1)
    words = words_of(bpe)
    tokens = {token_id: bpe.convert_ids_to_tokens(token_id) for token_id in words}
    assert {"wide", "newest"} <= set(words.values())
    assert all(token.startswith("Ġ") or token in "abcdefghijklmnopqrstuvwxyz" for token in tokens.values()), tokens
    wordpiece = train_tokenizer(texts, "wordpiece", 60, lowercase=False, min_frequency=1)
    assert not [word for word in words_of(wordpiece).values() if "#" in word and word != "#"]


@pytest.mark.parametrize(
    ("content", "flags", "message"),
    [
        ("good 1 2 3\nfilm 1 2 3\n", [], "its vectors have 3 dimensions, and the embeddings have 4"),
        ("gut 1 2 3 4\nschlecht 1 2 3 4\n", [], "none is one of its 2 words"),
        ("no vectors at all\n", [], "it begins neither with"),
        ("", [], "it begins neither with"),
        ("3 4\ngood 1 2\n", [], "these vectors cannot be read"),
        ("good 1 2 3 4\n", ["--model_name_or_path", "x"], "x brings embeddings"),
        (None, [], "there is no such file"),
    ],
)
def test_what_cannot_be_is_one_line(content, flags, message, tmp_path):
    path = tmp_path / "vectors.txt"
    if content is not None:
        path.write_text(content)

    def begin():
        TASKS["sentiment_analysis"].from_command_line(argv=["--init_embeddings", str(path), *flags])
        begin_with_vectors(torch.nn.Embedding(40, 4), given_models.tokenizer(), str(path))

    with pytest.raises(ArgumentsError, match=message) as caught:
        begin()
    assert "\n" not in str(caught.value)


def test_a_recipe_begins_with_them_and_says_so(tmp_path, capsys):
    glove(tmp_path / "glove.txt")
    given_models.write_data(tmp_path)
    flags = ["--init_embeddings", tmp_path / "glove.txt", "--freeze", "model.embed_tokens", "--num_train_epochs", 1]
    size = ["--config_overrides", "hidden_size=4,embedding_size=4", *DATA["sentiment_analysis"](tmp_path)]
    record = run("sentiment_analysis", tmp_path / "out", *flags, *size)
    printed = capsys.readouterr().out
    tokens = record["embeddings"]["tokens"]
    assert f"glove.txt: 2 of {tokens} tokens ({2 / tokens:.1%})." in printed
    assert record["embeddings"]["name"] == "<local:glove.txt>"
    assert record["hyperparameters"]["init_embeddings"] == "<local:glove.txt>"
    assert str(tmp_path) not in json.dumps(record)
    saved = TASKS["sentiment_analysis"].auto_class.from_pretrained(tmp_path / "out")
    tokenizer = given_models.PreTrainedTokenizerFast.from_pretrained(tmp_path / "out")
    row = saved.get_input_embeddings().weight[tokenizer.convert_tokens_to_ids("film")]
    assert row.tolist() == np.array(VECTORS["film"], np.float32).tolist()  # frozen
    assert (
        record["model"]["trained_parameters"]
        == record["model"]["parameters"] - saved.model.embed_tokens.weight.numel()
    )
    card = build_card(record, "alice/films")
    assert "trained from word vectors with seqnlp" in card
    assert f"The embeddings of 2 of {tokens} tokens began as the vectors of `glove.txt`" in card
