"""Runs that start from models that exist: what is taken over, what is new, what is told, and what is refused."""

import hashlib
import json
import re

import given_models
import pytest
import torch
from given_models import DATA, run
from safetensors.torch import load_file
from tokenizers import processors
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertForMaskedLM,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
)

from seqnlp.publishing.bundle import build_bundle
from seqnlp.publishing.recomputation import agrees, evaluate_again
from seqnlp.tasks import TASKS
from seqnlp.tasks.starting.starting_model import give_ends, modules_of, positions_of
from seqnlp.training import ArgumentsError


SHORT = ("--num_train_epochs", 1)


def sha256(folder):
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def task(name, *flags):
    return TASKS[name].from_command_line(argv=[*map(str, flags)])


def start(name, model, folder, *flags):
    """A task that starts from a model, and its model before training."""
    made = task(name, "--model_name_or_path", folder / model, *flags)
    labels = {"id2label": {0: "awful", 1: "good"}, "label2id": {"awful": 0, "good": 1}}
    return made, *made.start_model.load(made.build_config(**labels), made.model_args.config_overrides)


def test_a_base_model_gets_a_fresh_head_and_learns(folder, sentiment):
    _, record = sentiment
    base = record["base_model"]
    assert base["name"] == "<local:bert>"
    assert base["sha256"] == sha256(folder / "bert")
    assert (base["class"], base["model_type"], base["revision"]) == ("BertModel", "bert", None)
    weights = load_file(folder / "bert" / "model.safetensors")
    assert base["weights_taken"] == len(weights)
    assert base["weights_new"] == {"classifier": 2}
    assert base["weights_unused"] == {}
    assert record["model"]["class"] == "BertForSequenceClassification"
    assert record["hyperparameters"]["architecture"] == "bert"
    assert record["hyperparameters"]["model_name_or_path"] == "<local:bert>"
    assert record["hyperparameters"]["max_length"] == 40  # the model's positions, fewer than the flag's default
    assert record["hyperparameters"]["vocab_size"] is None
    assert record["metrics"]["test"]["accuracy"] == 1.0  # one word tells


def test_its_weights_are_those_of_the_file_to_the_bit(folder):
    _, model, _ = start("sentiment_analysis", "bert", folder)
    there = load_file(folder / "bert" / "model.safetensors")
    here = model.state_dict()
    for name, weight in there.items():
        assert torch.equal(here[f"bert.{name}"], weight), name


def test_what_it_leaves_is_verified_published_and_loaded_without_code(folder, sentiment, tmp_path):
    output_dir, record = sentiment
    found = evaluate_again(record, output_dir, str(folder))
    for split, scores in found.items():
        assert scores.keys() >= {"accuracy", "f1", "loss"}
        assert all(agrees(record, split, key, record["metrics"][split][key], score) for key, score in scores.items())
    bundle = build_bundle(output_dir, tmp_path, "alice/sentiment")
    names = {file.name for file in bundle.files}
    assert not [name for name in names if name.endswith(".py")]
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md", "run.json"} <= names
    assert isinstance(AutoModelForSequenceClassification.from_pretrained(tmp_path), BertForSequenceClassification)
    card = (tmp_path / "README.md").read_text()
    assert "fine-tuned with seqnlp" in card
    assert "trust_remote_code" not in card
    assert f"`bert` (SHA-256 of its weights `{sha256(folder / 'bert')[:12]}`...)" in card
    assert "New are `classifier`. The license of that model is not on record" in card
    assert "base_model" not in card.split("---")[1]  # it is not on the Hub
    assert "whatever the model that it started from was trained on" in card
    assert str(folder) not in card


def test_a_hub_name_is_the_base_of_the_card_also_by_way_of_a_local_run():
    from seqnlp.publishing.card import build_card

    base = {
        "name": "<local:lm>",
        "sha256": "ab" * 32,
        "revision": None,
        "task": "language_modeling",
        "weights_taken": 3,
    }
    base |= {"weights_new": {}, "base_model": {"name": "google-bert/bert-base-uncased", "revision": "c0ffee"}}
    record = {"task": "sentiment_analysis", "metrics": {}, "model": {}, "base_model": base}
    card = build_card(record, "alice/x")
    assert "base_model: google-bert/bert-base-uncased" in card
    assert "a run of language modeling, itself fine-tuned from `google-bert/bert-base-uncased`" in card


def test_a_language_model_goes_on_with_a_model_that_lacks_a_padding_token(folder, capsys):
    flags = ["--model_name_or_path", folder / "gpt2", *DATA["language_modeling"](folder)]
    record = run("language_modeling", folder / "lm", "--num_train_epochs", 20, "--learning_rate", 0.01, *flags)
    printed = capsys.readouterr().out
    assert "has no padding token: its </s> pads" in printed
    assert re.search(r"Starting from \S+gpt2 \(GPT2LMHeadModel\): \d+ weights taken over\.", printed)
    assert "--max_length is 32, the most that" in printed
    assert record["dataset"]["evaluation"]["carried_state"] is False
    assert record["metrics"]["test"]["loss"] < 3.0  # of 29 tokens, all equally likely: 3.4
    found = evaluate_again(record, folder / "lm", str(folder))
    assert found["test"]["loss"] == pytest.approx(record["metrics"]["test"]["loss"], rel=1e-5)


@pytest.mark.parametrize(
    ("recipe", "name"),
    [
        ("translation", "marian"),
        ("translation", "t5"),
        ("image_classification", "vit"),
        ("image_classification", "deit"),
    ],
)
def test_other_recipes_start_from_models_of_others(recipe, name, folder, tmp_path):
    record = run(recipe, tmp_path, *SHORT, "--model_name_or_path", folder / name, *DATA[recipe](folder))
    assert record["base_model"]["sha256"] == sha256(folder / name)
    assert record["hyperparameters"]["architecture"] == name
    assert record["base_model"]["weights_new"] == ({"classifier": 2} if recipe == "image_classification" else {})
    found = evaluate_again(record, tmp_path, str(folder) if recipe == "translation" else None)
    assert found["test"]["loss"] == pytest.approx(record["metrics"]["test"]["loss"], rel=1e-5)


def test_a_series_is_gone_on_with_by_a_model_of_ours_alone(folder, tmp_path):
    first = run("trajectory", tmp_path / "one", *SHORT, "--architecture", "gru", *DATA["trajectory"](folder))
    flags = ["--model_name_or_path", tmp_path / "one", *DATA["trajectory"](folder)]
    second = run("trajectory", tmp_path / "two", *SHORT, *flags)
    assert second["base_model"]["sha256"] == first["model"]["sha256"] == sha256(tmp_path / "one")
    assert second["base_model"]["task"] == "trajectory"
    assert second["metrics"]["validation"]["rmse"] < first["metrics"]["validation"]["rmse"]


def test_a_classifier_takes_embeddings_and_layers_of_a_language_model_over(folder):
    """Dai & Le 2015; Howard & Ruder 2018."""
    made, model, described = start("sentiment_analysis", "lstm", folder, "--config_overrides", "pooling=max")
    assert (made.architecture, type(model).__name__) == ("lstm", "RecurrentForSequenceClassification")
    assert model.config.pooling == "max"
    there = load_file(folder / "lstm" / "model.safetensors")
    here = model.state_dict()
    taken = [name for name in there if name.startswith(("model.embed_tokens", "model.layers"))]
    assert len(taken) == described["weights_taken"] == 1 + 2 * 4
    for name in taken:
        assert torch.equal(here[name], there[name]), name
    assert described["weights_new"] == {"score": 2}
    assert described["weights_unused"] == {"lm_head": 1}
    own = AutoTokenizer.from_pretrained(folder / "lstm")
    assert made.given_processor.get_vocab() == own.get_vocab()
    assert made.given_processor("a good film")["input_ids"] == own("a good film")["input_ids"]


def test_other_classes_get_a_new_head_and_the_same_ones_keep_it(folder, tmp_path):
    labels = {"id2label": {0: "awful", 1: "good"}, "label2id": {"awful": 0, "good": 1}}
    given_models.bert(tmp_path / "sorted", BertForSequenceClassification, **labels)
    (kept, same), (other, turned) = (
        task("sentiment_analysis", "--model_name_or_path", tmp_path / "sorted").start_model.load(config, None)
        for config in (
            given_models.BertConfig.from_pretrained(tmp_path / "sorted"),
            given_models.BertConfig.from_pretrained(tmp_path / "sorted", id2label={0: "good", 1: "awful"}),
        )
    )
    there = load_file(tmp_path / "sorted" / "model.safetensors")
    assert torch.equal(kept.classifier.weight, there["classifier.weight"])
    assert same["weights_new"] == {}
    assert not torch.equal(other.classifier.weight, there["classifier.weight"])
    assert turned["weights_new"] == {"classifier": 2}
    three = given_models.BertConfig.from_pretrained(tmp_path / "sorted", num_labels=3)
    more, grown = task("sentiment_analysis", "--model_name_or_path", tmp_path / "sorted").start_model.load(three, None)
    assert more.classifier.out_features == 3
    assert grown["weights_new"] == {"classifier": 2}


def test_a_given_tokenizer_serves_a_new_model_too(folder):
    made = task("sentiment_analysis", "--tokenizer_name", folder / "gpt2", "--architecture", "gru")
    assert made.given_processor.pad_token == "<pad>"
    assert (made.architecture, made.model_args.max_length, made.model_args.lowercase) == ("gru", 256, None)
    assert made.given_processor.model_max_length == 256
    assert "<pad> is added" in made.remarks[0] or made.given_processor.pad_token_id == 0


MODEL = "--model_name_or_path"


@pytest.mark.parametrize(
    ("recipe", "flags", "message"),
    [
        ("sentiment_analysis", [MODEL, "{}/nothing"], "there is no such folder"),
        ("sentiment_analysis", [MODEL, "~nobody_of_this_name/run"], "there is no such folder"),
        ("sentiment_analysis", [MODEL, "{}"], "holds no model"),
        ("sentiment_analysis", [MODEL, "bert-base-uncased"], "configuration cannot be loaded"),
        ("sentiment_analysis", [MODEL, "{}/vit"], "of the kind vit, which sentiment_analysis cannot train"),
        ("language_modeling", [MODEL, "{}/vit"], "AutoModelForCausalLM makes no model of it"),
        ("translation", [MODEL, "{}/gpt2"], "of the kind gpt2, which translation cannot train"),
        ("image_classification", [MODEL, "{}/bert"], "of the kind bert, which image_classification cannot"),
        ("trajectory", [MODEL, "{}/gpt2"], "of the kind gpt2, which trajectory cannot train"),
        ("sentiment_analysis", [MODEL, "{}/lstm", "--architecture", "gru"], "is of the kind lstm. Leave the flag out"),
        ("sentiment_analysis", [MODEL, "{}/bert", "--architecture", "lstm"], "is of the kind bert"),
        ("sentiment_analysis", [MODEL, "{}/bert", "--max_length", "50"], "reads 40 tokens at once, so that 40 is"),
        (
            "sentiment_analysis",
            [MODEL, "{}/bert", "--vocab_size", "50"],
            "is for a tokenizer that is yet to be trained",
        ),
        ("image_classification", [MODEL, "{}/vit", "--image_size", "50"], "has a size of its own"),
        ("sentiment_analysis", ["--model_revision", "main"], "does nothing without --model_name_or_path"),
        ("sentiment_analysis", ["--trust_remote_code", "true"], "does nothing without --model_name_or_path"),
        ("sentiment_analysis", ["--tokenizer_name", "{}/vit"], "its tokenizer cannot be loaded"),
        ("sentiment_analysis", [MODEL, "{}/bert", "--tokenizer_name", "{}/more"], "it has 62 tokens and"),
        ("sentiment_analysis", [MODEL, "{}/bert", "--tokenizer_name", "{}/others"], "other tokens are not those of"),
    ],
)
def test_what_cannot_be_is_one_line(recipe, flags, message, folder):
    if not (folder / "more").exists():
        given_models.train_tokenizer(["q w e r t y"], "word", 60, min_frequency=1).save_pretrained(folder / "others")
        many = given_models.tokenizer()
        many.add_tokens([f"new{number}" for number in range(62 - len(many))])
        many.save_pretrained(folder / "more")
    with pytest.raises(ArgumentsError, match=message) as caught:
        task(recipe, *(flag.format(folder) for flag in flags))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("recipe", "model", "overrides", "message"),
    [
        ("sentiment_analysis", "bert", "hidden_size=8", "do not fit"),
        ("sentiment_analysis", "bert", "num_hidden_layers=3", "has no weights for bert.encoder.layer.2"),
        ("sentiment_analysis", "lstm", "bidirectional=true", "(48, 12) there, (48, 24) here"),
        ("sentiment_analysis", "bert", "hidden_sise=8", "BertConfig has no field 'hidden_sise'"),
        ("sentiment_analysis", "bert", "hidden_size=many", "--config_overrides hidden_size=many: "),
    ],
)
def test_fields_that_change_the_weights_are_refused(recipe, model, overrides, message, folder):
    with pytest.raises(ArgumentsError, match=re.escape(message)):
        start(recipe, model, folder, "--config_overrides", overrides)


def test_fields_that_do_not_are_taken(folder):
    _, model, described = start(
        "sentiment_analysis", "bert", folder, "--config_overrides", "hidden_dropout_prob=0.4,num_hidden_layers=1"
    )
    assert model.config.hidden_dropout_prob == 0.4
    assert described["weights_unused"] == {"encoder.layer.1": 16}


@pytest.mark.parametrize("recipe", ["language_modeling", "sentiment_analysis"])
def test_two_readings_are_compared_in_the_parts_of_a_given_models_loss(recipe, tmp_path):
    given_models.lstm(tmp_path / "lm", loss_chunk_size=8)
    flags = ("--model_name_or_path", tmp_path / "lm", "--r_drop", 1)
    assert task(recipe, *flags).build_config().loss_chunk_size == 8
    asked = task(recipe, *flags, "--config_overrides", "loss_chunk_size=4")
    assert asked.build_config().loss_chunk_size == 4


def test_what_pads_is_what_the_configuration_names(tmp_path):
    """A classifier of Llama's kind answers at the last token that its configuration does not call padding."""
    fields = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=len(given_models.tokenizer()), **fields, bos_token_id=3, eos_token_id=3)
    for number, token in ((0, "<pad>"), (None, "</s>"), (-1, "</s>")):
        config.pad_token_id = None
        folder = given_models.save(tmp_path / str(number), LlamaForCausalLM, config, given_models.without_padding())
        told = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**told, "pad_token_id": number}))
        assert task("sentiment_analysis", "--model_name_or_path", folder).given_processor.pad_token == token


def test_other_tokens_stand_in_for_those_that_begin_and_end_a_text():
    backend = given_models.tokenizer().backend_tokenizer
    for roles, ends, lacking in (
        ({"bos_token": "<s>", "eos_token": "</s>", "cls_token": "<unk>"}, ("<s>", "</s>"), 0),
        ({"cls_token": "<s>", "sep_token": "</s>"}, ("<s>", "</s>"), 2),
        ({"bos_token": "<s>"}, ("<s>", "<s>"), 1),
        ({"eos_token": "</s>"}, ("</s>", "</s>"), 1),
    ):
        tokenizer, remarks = PreTrainedTokenizerFast(tokenizer_object=backend, **roles), []
        give_ends(tokenizer, remarks)
        assert (tokenizer.bos_token, tokenizer.eos_token, len(remarks)) == (*ends, lacking)
    with pytest.raises(ArgumentsError, match="has no token that begins or ends a text"):
        give_ends(PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>"), [])


@pytest.mark.parametrize(
    ("divider", "puts", "ends"),
    [
        (None, None, True),
        (processors.ByteLevel(trim_offsets=False), None, True),
        (None, "<s> $A", True),
        (None, "$A </s>", False),
    ],
)
def test_a_new_translator_learns_to_end_by_a_given_tokenizer(tmp_path, divider, puts, ends):
    backend = given_models.tokenizer().backend_tokenizer
    special = [(token, backend.token_to_id(token)) for token in ("<s>", "</s>")]
    templates = [processors.TemplateProcessing(single=puts, special_tokens=special)] if puts else []
    backend.post_processor = processors.Sequence([*([divider] if divider else []), *templates])
    given = PreTrainedTokenizerFast(tokenizer_object=backend, cls_token="<s>", sep_token="</s>", pad_token="<pad>")
    before = given("one text").input_ids
    given.save_pretrained(tmp_path / "given")
    made = task("translation", "--tokenizer_name", tmp_path / "given")
    tokenizer = made.given_processor.target
    assert (tokenizer.bos_token, tokenizer.eos_token) == ("<s>", "</s>")  # a translation begins with the first
    assert any(line.endswith("puts no end token behind a text: </s> is put there.") for line in made.remarks) == ends
    tokenizer.save_pretrained(tmp_path / "saved")
    for known in (tokenizer, AutoTokenizer.from_pretrained(tmp_path / "saved")):
        assert known("one text").input_ids == [*before, *([known.eos_token_id] * ends)]


def test_a_tokenizer_that_ends_texts_by_another_token_is_refused(tmp_path):
    backend = given_models.tokenizer().backend_tokenizer
    backend.post_processor = processors.TemplateProcessing(single="$A <s>", special_tokens=[("<s>", 2)])
    given = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    given.save_pretrained(tmp_path)
    with pytest.raises(ArgumentsError, match="it does not put its end token </s> behind a text, and cannot be told"):
        task("translation", "--tokenizer_name", tmp_path)


def test_the_folder_of_the_given_model_is_never_written_over(folder):
    made = task("sentiment_analysis", MODEL, folder / "bert", "--output_dir", folder / "bert")
    with pytest.raises(ArgumentsError, match="is the folder of the model that the run starts from"):
        made.start()


def test_weights_that_are_pickled_are_not_read(folder, tmp_path):
    given_models.bert(tmp_path)
    torch.save({}, tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ArgumentsError, match="there are no weights in safetensors"):
        start("sentiment_analysis", tmp_path, folder)


def test_code_of_others_is_run_only_if_told_so_and_that_is_said(folder, tmp_path):
    given_models.bert(tmp_path)
    (tmp_path / "own.py").write_text(
        "from transformers import BertConfig, BertForSequenceClassification\n"
        "class OwnConfig(BertConfig):\n    model_type = 'own'\n"
        "class Own(BertForSequenceClassification):\n    config_class = OwnConfig\n"
    )
    config = (tmp_path / "config.json").read_text().replace('"model_type": "bert"', '"model_type": "own"')
    names = '"auto_map": {"AutoConfig": "own.OwnConfig", "AutoModelForSequenceClassification": "own.Own"},'
    (tmp_path / "config.json").write_text(config.replace("{", "{" + names, 1))
    with pytest.raises(ArgumentsError, match="it brings code of its own"):
        task("sentiment_analysis", MODEL, tmp_path)
    made, model, _ = start("sentiment_analysis", tmp_path, folder, "--trust_remote_code", "true")
    assert type(model).__name__ == "Own"
    assert [remark for remark in made.remarks if "runs with your rights" in remark]


def test_modules_are_named_by_the_highest_that_are_theirs_alone():
    others = {"bert.embeddings.word.weight", "bert.encoder.0.weight"}
    assert modules_of({"cls.a.weight", "cls.b.bias", "bert.pooler.bias", "bert.encoder.1.weight"}, others) == {
        "bert.encoder.1": 1,
        "bert.pooler": 1,
        "cls": 2,
    }


def test_a_table_of_positions_may_begin_behind_the_padding():
    sizes = {"vocab_size": 9, "hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = RobertaConfig(max_position_embeddings=12, pad_token_id=1, **sizes)
    model, most = RobertaModel(config), positions_of(config)
    assert most == 10
    model(torch.full((1, most), 5))
    with pytest.raises((IndexError, RuntimeError)):
        model(torch.full((1, most + 1), 5))


def test_positions_of_ours_are_bounded_where_they_are_learned(folder):
    assert positions_of(BertForMaskedLM.config_class(max_position_embeddings=7)) == 7
    assert positions_of(given_models.GPT2Config(n_positions=9)) == 9
    assert positions_of(given_models.RecurrentConfig()) is None


def test_a_record_of_a_model_that_nobody_knows_is_told():
    record = {"base_model": {"name": "a/b"}, "hyperparameters": {"architecture": "nothing"}}
    with pytest.raises(ArgumentsError, match=r"transformers knows no models of the kind 'nothing'\."):
        TASKS["sentiment_analysis"].foreign_architecture(record)
    assert (
        TASKS["sentiment_analysis"].foreign_architecture({**record, "hyperparameters": {"architecture": "bert"}})
        == "bert"
    )
    assert TASKS["sentiment_analysis"].foreign_architecture({**record, "base_model": {}}) is None
