"""A masked language model's layers, and a tagger's, are gone on with by other tasks; and BERT's by ours."""

import json

import given_models
import pytest
import torch
from given_models import files, run
from safetensors.torch import load_file
from transformers import AutoModelForTokenClassification, AutoTokenizer, pipeline

from seqnlp.publishing.recomputation import evaluate_again
from seqnlp.tasks import TASKS
from seqnlp.training import ArgumentsError


SMALL = "hidden_size=16,num_hidden_layers=1,num_attention_heads=2"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("words")
    given_models.write_data(folder)
    for name in ("bert", "masked_bert"):
        getattr(given_models, name)(folder / name)
    (folder / "tags").mkdir()
    for split, count in (("train", 40), ("validation", 10), ("test", 10)):
        kinds = [("a good film", "D A N"), ("an awful <mask> film", "D A X N")]
        rows = [
            {"tokens": words.split(), "tags": tags.split()} for words, tags in (kinds[n % 2] for n in range(count))
        ]
        (folder / "tags" / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


@pytest.fixture(scope="module")
def masked(folder):
    """A masked language model of reviews, as the texts of jsonl files."""
    size = ["--tokenizer_type", "word", "--min_frequency", 1, "--max_length", 24, "--config_overrides", SMALL]
    size += ["--per_device_train_batch_size", 4]
    flags = [*files(folder, "jsonl"), *size, "--num_train_epochs", 3]
    return folder / "masked", run("masked_language_modeling", folder / "masked", *flags)


def layers_of(folder):
    return {name: weight for name, weight in load_file(folder / "model.safetensors").items() if ".layers." in name}


def test_a_masked_language_model_fills_gaps(folder, tmp_path):
    size = (
        "hidden_size=32,num_hidden_layers=2,num_attention_heads=2,dropout=0,attention_dropout=0,initializer_range=0.1"
    )
    flags = [
        "--tokenizer_type",
        "word",
        "--max_length",
        14,
        "--per_device_train_batch_size",
        8,
        "--learning_rate",
        0.005,
    ]
    flags += [*files(folder, "txt"), "--config_overrides", size, "--num_train_epochs", 80]
    record = run("masked_language_modeling", tmp_path, *flags)
    ours, baseline = record["metrics"]["test"], record["baselines"]["unigram"]["test"]
    assert ours.keys() == baseline.keys() == {"loss", "perplexity", "accuracy"}
    assert ours["loss"] < 0.75 * baseline["loss"]
    fill = pipeline("fill-mask", model=str(tmp_path), tokenizer=AutoTokenizer.from_pretrained(tmp_path))
    found = fill("the cat <mask> on a mat the cat sat", top_k=2)
    assert "sat" in [answer["token_str"] for answer in found]


@pytest.mark.parametrize("recipe", ["sentiment_analysis", "tagging"])
def test_it_is_gone_on_with(recipe, folder, masked):
    source, output_dir = masked[0], folder / f"from_masked-{recipe}"
    data = files(folder, "jsonl") if recipe == "sentiment_analysis" else ["--dataset_name", folder / "tags"]
    flags = ["--model_name_or_path", source, *data, "--max_train_steps", 1, "--learning_rate", 1e-30]
    record = run(recipe, output_dir, *flags)
    base = record["base_model"]
    assert (base["class"], base["task"]) == ("TransformerEncoderForMaskedLM", "masked_language_modeling")
    assert base["weights_new"] == {"score": 2}
    assert {name.split(".")[0] for name in base["weights_unused"]} == {"head_dense", "head_norm", "lm_head"}
    assert record["hyperparameters"]["max_length"] == 24
    there, here = layers_of(source), layers_of(output_dir)
    assert there.keys() == here.keys()
    assert all(torch.equal(here[name], there[name]) for name in there)
    # A <mask> in the words of a text is no question here.
    tokenizer = AutoTokenizer.from_pretrained(output_dir)
    assert tokenizer.mask_token_id not in tokenizer("an awful <mask> film")["input_ids"]
    again = evaluate_again(record, output_dir, str(folder / "tags" if recipe == "tagging" else folder))
    assert again["test"] == pytest.approx(record["metrics"]["test"])


def test_a_tagger_is_gone_on_with_other_labels_and_the_words_that_it_knows(folder, tmp_path):
    flags = ["--config_overrides", "hidden_size=8,embedding_size=8", "--min_frequency", 1, "--num_train_epochs", 1]
    first = run("tagging", tmp_path / "one", "--dataset_name", folder / "tags", *flags)
    (tmp_path / "other").mkdir()
    for split in ("train", "validation"):
        row = {"tokens": ["a", "film"], "tags": ["B-X", "O"]}
        (tmp_path / "other" / f"{split}.jsonl").write_text(f"{json.dumps(row)}\n{json.dumps(row)}\n")
    given = ["--model_name_or_path", tmp_path / "one", "--dataset_name", tmp_path / "other", "--max_train_steps", 1]
    second = run("tagging", tmp_path / "two", *given, "--learning_rate", 1e-30)
    assert second["base_model"]["weights_new"] == {"score": 2}
    assert second["metrics"]["validation"].keys() >= {"f1", "accuracy"}
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    assert torch.equal(one["word_reader.known"], two["word_reader.known"])
    assert torch.equal(one["word_reader.embed_words.weight"], two["word_reader.embed_words.weight"])
    assert (
        first["model"]["config"]["word_vocab_size"] == second["model"]["config"]["word_vocab_size"] == 8
    )  # <, mask and > among them
    model = AutoModelForTokenClassification.from_pretrained(tmp_path / "two")
    assert list(model.config.id2label.values()) == ["B-X", "O"]


def test_models_of_others(folder, tmp_path):
    tagged = run(
        "tagging",
        tmp_path / "tags",
        "--model_name_or_path",
        folder / "bert",
        "--dataset_name",
        folder / "tags",
        "--max_train_steps",
        2,
    )
    assert tagged["model"]["class"] == "BertForTokenClassification"
    assert tagged["base_model"]["weights_new"] == {"classifier": 2}
    found = evaluate_again(tagged, tmp_path / "tags", str(folder / "tags"))
    assert found["test"]["loss"] == pytest.approx(tagged["metrics"]["test"]["loss"], rel=1e-5)
    with pytest.raises(ArgumentsError, match="its tokenizer has no mask token, so nothing can be hidden"):
        TASKS["masked_language_modeling"].from_command_line(argv=["--model_name_or_path", str(folder / "masked_bert")])
    tokenizer = AutoTokenizer.from_pretrained(folder / "masked_bert")
    tokenizer.mask_token = "</s>"
    tokenizer.save_pretrained(folder / "masked_bert")
    flags = ["--model_name_or_path", folder / "masked_bert", *files(folder, "jsonl"), "--max_train_steps", 2]
    masked = run("masked_language_modeling", tmp_path / "masked", *flags)
    assert masked["model"]["class"] == "BertForMaskedLM"
    assert masked["base_model"]["weights_new"] == {}
