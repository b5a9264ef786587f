import json
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from local_hub import card_errors

from benchmarks import cards as cards_module
from seqnlp.publishing.card import TEMPLATE, build_card, metric_of


ROOT = Path(__file__).parents[2]
RECORDS = sorted((ROOT / "benchmarks" / "results").glob("*.json"))
BEGINNING = {"task": "language_modeling", "command": "recipes/language_modeling.py", "model": {}}


def claims(card):
    return {(r.dataset_split, r.metric_type, r.metric_value) for r in ModelCard(card).data.eval_results or []}


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_the_model_index_holds_every_number_of_the_record_and_no_other(path):
    record = json.loads(path.read_text())
    card = build_card(record, "alice/x", "run-1", {"tokenizer.json", "learning_curves.png"})
    numbers = {
        (split, metric_of(record["task"], name).type or name, value)
        for split, values in record["metrics"].items()
        for name, value in values.items()
        if metric_of(record["task"], name) and value is not None
    }
    assert claims(card) == numbers
    assert card_errors(card) == []
    assert f"{record['model']['parameters']:,} parameters" in card
    assert record["command"] in card
    assert record["dataset"]["splits"]["train"]["fingerprint"] in card


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_every_split_of_a_kept_run_has_a_metric_that_is_defined(path):
    record = json.loads(path.read_text())
    for values in record["metrics"].values():
        assert [name for name in values if metric_of(record["task"], name)]


def test_what_is_not_on_record_is_left_out():
    card = build_card(BEGINNING, "alice/x")
    for word in ("Results", "model-index", "parameters", "learning_curves", "revision", "None", "Data", "{{", "{%"):
        assert word not in card
    assert card_errors(card) == []
    some = build_card({**BEGINNING, "metrics": {"test": {"perplexity": None, "charm": 3.0, "loss": 1.5}}}, "alice/x")
    assert claims(some) == {("test", "loss", 1.5)}
    assert "charm" not in some


def test_definitions_say_what_is_divided_by_what():
    metrics = {"test": {"perplexity": 20.5, "word_perplexity": 90.25, "bits_per_character": 1.5}}
    card = " ".join(build_card({**BEGINNING, "metrics": metrics}, "alice/x").split())
    assert "divided by its tokens, those of this model's tokenizer" in card
    assert "divided by its words between white space" in card
    assert "in bits, divided by its characters" in card
    signature = "nrefs:1|case:lc|eff:no|tok:13a|smooth:exp|version:2.6.0"
    scores = {
        "bleu": 31.5,
        "bleu_lowercase": 32.5,
        "signatures": {"bleu": "nrefs:1|tok:13a", "bleu_lowercase": signature},
    }
    card = build_card({"task": "translation", "metrics": {"test": scores}}, "alice/x")
    assert f"sacrebleu, signature {signature}." in card
    assert claims(card) == {("test", "bleu", 31.5), ("test", "bleu", 32.5)}


def test_the_kept_cards_are_those_of_the_kept_runs_and_configs():
    texts = cards_module.cards()
    kept = {path.name: path.read_text() for path in (ROOT / "model_cards").glob("*.md")}
    assert {name: text for name, text in kept.items() if name not in cards_module.KEPT} == texts, (
        "python -m benchmarks cards"
    )
    assert all("> Not published yet" in text for text in texts.values())
    assert kept["template.md"] == TEMPLATE.read_text()


def test_every_config_has_a_card():
    texts = "".join(cards_module.cards().values())
    for config in (ROOT / "recipes" / "configs").glob("*.yaml"):
        assert f"recipes/configs/{config.name}" in texts
