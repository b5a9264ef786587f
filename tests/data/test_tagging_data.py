"""Labeled words: files read by hand, labels matched by name, and what is told of the rest."""

import json

import pytest
from datasets import ClassLabel, Dataset, Features, List, Value

from seqnlp.data import DataError, TaggingArguments, labels_of, load_tagging
from seqnlp.data.conll import read_annotated


CONLLU = """# sent_id = 1
# text = I'm Ann_
1-2\tI'm\t_\t_\t_\t_\t_\t_\t_\t_
1\tI\tI\tPRON\tPRP\tCase=Nom\t3\tnsubj\t_\t_
2\t'm\tbe\tAUX\tVBP\t_\t3\tcop\t_\t_
2.1\tsaid\tsay\tVERB\t_\t_\t_\t_\t_\t_
3\tAnn_\tAnn\tPROPN\tNNP\t_\t0\troot\t_\tSpaceAfter=No

1\t_\t_\tPUNCT\t.\t_\t0\troot\t_\t_
2\tZug fahren\t_\t_\t_\t_\t1\tdep\t_\t_

"""
CONLL = """-DOCSTART- -X- -X- O

# a page
EU NNP B-NP B-ORG
rejects VBZ B-VP O

# NN B-NP O
1 CD I-NP O
"""


def test_conllu_by_hand():
    found = read_annotated(CONLLU, "a file")
    assert found.columns["form"] == [["I", "'m", "Ann_"], ["_", "Zug fahren"]]
    assert found.columns["upos"] == [["PRON", "AUX", "PROPN"], ["PUNCT", None]]
    assert found.columns["feats"] == [["Case=Nom", None, None], [None, None]]
    assert found.columns["misc"] == [[None, None, "SpaceAfter=No"], [None, None]]
    assert found.comments == [["sent_id = 1", "text = I'm Ann_"], []]
    assert found.counts == {"ranges of multiword tokens": 1, "empty nodes": 1}


def test_columns_by_hand():
    found = read_annotated(CONLL, "a file")
    assert list(found.columns) == ["column 1", "column 2", "column 3", "column 4"]
    assert found.columns["column 1"] == [["EU", "rejects"], ["#", "1"]]
    assert found.columns["column 4"] == [["B-ORG", "O"], ["O", "O"]]
    assert found.counts == {"lines that begin with -DOCSTART-": 1, "comments": 1}
    with_spaces = read_annotated("New York\tB\n \tO", "a file")  # tabs, so that words may hold spaces
    assert with_spaces.columns["column 1"] == [["New York", " "]]
    unbroken = read_annotated("10\u00a0000  B\n \u2028x\tO \n", "a file")  # other spaces are parts of words
    assert unbroken.columns == {"column 1": [["10\u00a0000", "\u2028x"]], "column 2": [["B", "O"]]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a X\nb\n", r"a file, line 2: expected a word and its labels, 2 cells between spaces, found 'b'\. Mend"),
        ("a\nb\n", "a file, line 1: expected a word and its labels, 2 cells"),
        (CONLLU.replace("\tcop", ""), "a file, line 5: expected ten cells between tabs, the first of them an id"),
        (CONLLU.replace("2\t'm", "x\t'm"), "a file, line 5: expected ten cells"),
        ("\n# only this\n\n", "a file: there are no words in it"),
    ],
)
def test_broken_lines_stop_it_with_their_number(text, message):
    with pytest.raises(DataError, match=message):
        read_annotated(text, "a file")


def load(tmp_path, files, **arguments):
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    return load_tagging(TaggingArguments(dataset_name=str(tmp_path), **arguments))


def lines(*rows):
    return "\n".join(json.dumps({"tokens": tokens.split(), "tags": tags}) for tokens, tags in rows)


def names(rows):
    known = labels_of(rows)
    return [[None if tag is None else known[tag] for tag in tags] for tags in rows["tags"]]


def test_a_treebank_in_files_of_a_folder(tmp_path):
    files = {f"en-ud-{split}.conllu": CONLLU for split in ("train", "dev", "test")}
    loaded = load(tmp_path, files)
    assert set(loaded.splits) == {"train", "validation", "test"}
    assert labels_of(loaded.splits["train"]) == ["AUX", "PRON", "PROPN", "PUNCT"]
    assert names(loaded.splits["test"]) == [["PRON", "AUX", "PROPN"], ["PUNCT", None]]
    said = " ".join(loaded.remarks)
    assert "split 'train': ranges of multiword tokens, left out: 1" in said
    assert "1 of 5 words have no label; they are read, and not scored" in said
    other = load(tmp_path, {}, label_column="xpos")
    assert labels_of(other.splits["train"]) == [".", "NNP", "PRP", "VBP"]


def test_of_columns_the_last_one_is_taken_or_another_by_its_name(tmp_path):
    files = {f"{split}.txt": CONLL for split in ("train", "valid", "test")}
    loaded = load(tmp_path, files)
    assert names(loaded.splits["train"]) == [["B-ORG", "O"], ["O", "O"]]
    assert "The labels are those of the column 'column 4'; others, by --label_column: column 3, column 2." in (
        loaded.remarks
    )
    loaded = load(tmp_path, {}, label_column="column 2")
    assert names(loaded.splits["train"]) == [["NNP", "VBZ"], ["NN", "CD"]]


def test_labels_are_matched_by_their_names_never_by_a_splits_numbers(tmp_path):
    for split, order in (("train", ["O", "B-X"]), ("validation", ["B-X", "O"]), ("test", ["B-X", "O"])):
        features = Features({"tokens": List(Value("string")), "ner_tags": List(ClassLabel(names=order))})
        tags = [[order.index("O"), order.index("B-X")]]
        Dataset.from_dict({"tokens": [["a", "Bob"]], "ner_tags": tags}, features).to_parquet(
            tmp_path / f"{split}.parquet"
        )
    loaded = load(tmp_path, {})
    assert labels_of(loaded.splits["test"]) == ["O", "B-X"]
    assert {split: names(rows) for split, rows in loaded.splits.items()} == {
        split: [["O", "B-X"]] for split in ("train", "validation", "test")
    }


def test_numbers_and_words_as_labels_and_what_held_out_words_alone_have(tmp_path):
    train, held_out = lines(("a b c", [10, 9, 2]), ("d", [9])), lines(("a z", [10, 77]), ("b", None))
    loaded = load(tmp_path, {"train.jsonl": train, "validation.jsonl": held_out})
    assert labels_of(loaded.splits["train"]) == ["2", "9", "10", "77"]
    assert names(loaded.splits["validation"]) == [["10", "77"]]
    said = " ".join(loaded.remarks)
    assert "'validation': words with labels that no training word has (77): 1. No model can find them" in said
    assert "1 of 2 sentences have no labels and are left out" in said


def test_a_test_split_without_labels_is_passed_over_and_validation_is_set_apart(tmp_path):
    train = lines(*((f"word {number}", ["X", "Y"]) for number in range(200)))
    loaded = load(tmp_path, {"train.jsonl": train, "test.jsonl": lines(("a b", [None, None]))}, max_train_samples=50)
    sizes = {split: len(rows) for split, rows in loaded.splits.items()}
    assert sizes["train"] == 50
    assert 10 <= sizes["validation"] <= 30
    assert set(sizes) == {"train", "validation"}
    assert "The split 'test' has no labels: it is passed over." in loaded.remarks


@pytest.mark.parametrize(
    ("rows", "arguments", "message"),
    [
        ([("a b", ["X"])], {}, r"row 0: it has 2 words and 1 labels \('a b'\)"),
        ([("", [])], {}, "row 0: it has no words. Leave such rows out by --drop_empty_texts"),
        ([("a b", ["X", "X"])], {}, "all training words have the label 'X'. A tagger needs at least two"),
        ([("a b", [None, None])], {}, "none of its words has a label"),
        ([("a b", [[1], [2]])], {}, "expected names of labels, found a list"),
        ([("a b", ["X", "Y"])], {"label_column": "pos"}, "no label column 'pos'; the columns are tokens, tags"),
        ([("a b", ["X", "Y"])], {"test_split": "gold"}, "has no split 'gold'"),
        ([("a b", ["X", "Y"])], {}, "its 1 training sentences are too few to set some apart"),
    ],
)
def test_what_does_not_fit_is_one_line(tmp_path, rows, arguments, message):
    with pytest.raises(DataError, match=message) as caught:
        load(tmp_path, {"train.jsonl": lines(*rows)}, **arguments)
    assert "\n" not in str(caught.value)


def test_texts_instead_of_words_and_blank_words_are_refused(tmp_path):
    (tmp_path / "train.csv").write_text("tokens,tags\na b,X Y\n")
    with pytest.raises(DataError, match=r"column 'tokens': expected a list per sentence.*ends in \.conllu"):
        load_tagging(TaggingArguments(train_file=str(tmp_path / "train.csv")))
    (tmp_path / "train.json").write_text(json.dumps([{"tokens": ["a", " "], "tags": ["X", "Y"]}]))
    with pytest.raises(DataError, match="row 0: one of its words is blank"):
        load_tagging(TaggingArguments(train_file=str(tmp_path / "train.json")))


def test_empty_sentences_are_left_out_where_that_is_asked_for(tmp_path):
    files = {split + ".jsonl": lines(("", []), ("a b", ["X", "Y"])) for split in ("train", "validation")}
    loaded = load(tmp_path, files, drop_empty_texts=True)
    assert loaded.splits["train"]["tokens"][:] == [["a", "b"]]
    assert "1 of 2 sentences have no words and are left out" in " ".join(loaded.remarks)


def test_the_turkish_sample_joins_the_parts_of_a_word():
    loaded = load_tagging(TaggingArguments(dataset_name="sample:turkish"))
    sentences = {
        " ".join(tokens): tags
        for part in loaded.splits.values()
        for tokens, tags in zip(part["tokens"], names(part), strict=True)
    }
    # Its words are Elde et+tigi renk resimde+ki gibi, each part but the last of a word tied by `ig`.
    assert sentences["Elde ettigi renk resimdeki gibi ."] == ["NOUN", "ADJ", "NOUN", "ADJ", "VERB", "PUNCT"]
    assert {split: len(rows) for split, rows in loaded.splits.items()} == {
        "train": 3932,
        "validation": 411,
        "test": 508,
    }
    assert len(sentences) == 4851  # no sentence in two splits


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([["1", "Ann"], ["2", "runs"], ["3", "."]], r"counts the words of each sentence \(1, 2, 3\)"),
        ([["0", "Ann"], ["1", "runs"]], r"counts the words of each sentence \(0, 1\)"),
        ([["wsj/00", "Ann"], ["wsj/00", "runs"]], r"holds one thing for all words of a sentence \(wsj/00\)"),
    ],
)
def test_a_first_column_of_no_words_is_not_taken_for_them(tmp_path, rows, why):
    tagged = "\n".join("\t".join([*row, "BO"[place % 2]]) for place, row in enumerate(rows))
    files = dict.fromkeys(("train.txt", "dev.txt"), f"#\thttps://example.org [2005-02-26]\n{tagged}\n\n{tagged}\n")
    with pytest.raises(DataError, match=rf"its first column {why}, .*by --text_column which of column 2, column 3"):
        load(tmp_path, files)
    loaded = load(tmp_path, {}, text_column="column 2")
    assert loaded.splits["train"]["tokens"] == [[word for _, word in rows]] * 2
    assert names(loaded.splits["train"])[0][:2] == ["B", "O"]


def test_labels_that_look_alike_and_sentences_that_were_trained_on_are_said(tmp_path):
    rows = [(f"a{n} b", ["NOUN", "Noun"]) for n in range(6)]
    remarks = load(tmp_path, {"train.jsonl": lines(*rows), "dev.jsonl": lines(*rows[4:], ("c", ["NOUN"]))}).remarks
    assert "The classes 'NOUN' and 'Noun' differ only in case" in remarks[0]
    assert remarks[1:] == ["2 of the 3 sentences of 'validation' are among the training sentences too."]
