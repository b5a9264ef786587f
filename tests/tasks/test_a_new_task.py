"""A new task is one class: with it a recipe trains and reports, `verify` computes it again and a card shows it."""

import json

import pytest
from toy_tagging import TAGS, WORDS, ToyTagging

from benchmarks.results import results
from seqnlp.cli.list_runs import row_of
from seqnlp.cli.models import load_model
from seqnlp.data import LengthGroupedBatchSampler
from seqnlp.demo import answerer_for
from seqnlp.publishing.card import build_card
from seqnlp.publishing.recomputation import agrees, evaluate_again
from seqnlp.tasks import TASKS
from seqnlp.tokenization import train_tokenizer
from seqnlp.training import ArgumentsError, Run, TrainingLoop


pytestmark = pytest.mark.goes_on_without("The baselines")  # the toy's fail: a run goes on

del TASKS[ToyTagging.name]  # other tests in this process look for what each task of the library has


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    """What defining its class does."""
    monkeypatch.setitem(TASKS, ToyTagging.name, ToyTagging)


def recipe(*argv):
    """What the recipe of a new task comes to."""
    task = ToyTagging.from_command_line(argv=[*map(str, argv)], learning_rate=0.05)
    run = task.start()
    words = task.load_data(run)
    tokenizer = train_tokenizer([" ".join(WORDS)], "word", 20)
    data = task.prepare_data(run, words, tokenizer)
    config = task.build_config(
        hidden_size=8, vocab_size=len(tokenizer), pad_token_id=0, id2label=dict(enumerate(TAGS)), num_hidden_layers=1
    )
    args, train = task.training_args, data.examples["train"]
    sampler = LengthGroupedBatchSampler([4] * len(train), 8, args.seed)
    model = task.model_class(config)
    loop = TrainingLoop(run, args, model, train, sampler, data.collator, lambda loop: task.validate(loop, data))
    loop.train()
    task.conclude(run, loop, data)
    return run


@pytest.mark.parametrize("architecture", ["gru", "transformer"])
def test_the_whole_way(architecture, tmp_path, capsys, caplog):
    heads = ["--config_overrides", "num_attention_heads=2"] if architecture == "transformer" else []
    run = recipe(
        "--architecture",
        architecture,
        "--output_dir",
        tmp_path,
        "--report_to",
        "none",
        "--num_train_epochs",
        5,
        *heads,
    )
    record = json.loads((tmp_path / "run.json").read_text())
    # A word has one tag, so all can be right.
    assert record["metrics"]["test"]["accuracy"] == 1.0
    assert "test: 100.0% right" in capsys.readouterr().out
    # What fails after training fails alone.
    assert record["baselines"] == {}
    assert (tmp_path / "learning_curves.png").is_file()

    found = evaluate_again(record, tmp_path)
    assert found == {split: record["metrics"][split] for split in ("validation", "test")}
    assert agrees(record, "test", "accuracy", 1.0, 1.0)
    assert not agrees(record, "test", "accuracy", 1.0, 0.9)
    card = build_card(record, "alice/tags")
    assert "share of the words whose tag is right" in card
    assert "pipeline_tag: token-classification" in card
    assert "100.0%" in results([record], lambda record, text: text)
    assert run.record.metrics["validation"]["accuracy"] == 1.0
    assert row_of(record, tmp_path)[1:5] == ["toy_tagging", "simulated:ball", architecture, "Accuracy 100.0% (test)"]
    page = (tmp_path / "report.html").read_text()
    assert "Accuracy" in page
    assert "100.0%" in page
    answer = answerer_for(load_model(str(tmp_path))).answer("the dog sleeps")
    assert [tag.label for tag in answer.tags] == ["DET", "NOUN", "VERB"]


def test_the_best_model_is_kept_by_the_first_number_where_validations_give_no_loss():
    assert ToyTagging.from_command_line(argv=[]).training_args.metric_for_best_model == "accuracy"
    assert ToyTagging.from_command_line(argv=[]).training_args.greater_is_better
    with pytest.raises(ArgumentsError, match="--metric_for_best_model loss: each validation of toy_tagging gives"):
        ToyTagging.from_command_line(argv=["--metric_for_best_model", "loss"])
    for name in ("sentiment_analysis", "tagging", "translation"):
        field = TASKS[name].fields()["metric_for_best_model"]
        assert field.default in (None, *TASKS[name].validated)


def test_processes_part_when_nothing_but_python_holds_them_together(tmp_path, monkeypatch):
    called = []
    monkeypatch.setattr(TrainingLoop, "let_go", lambda loop: called.append("let_go"))
    monkeypatch.setattr(Run, "finish", lambda run: called.append("finish"))
    recipe("--output_dir", tmp_path, "--report_to", "none", "--max_train_steps", 1)
    assert called == ["let_go", "finish"]


def test_a_run_that_time_stopped_does_not_look_at_the_test(tmp_path):
    recipe("--output_dir", tmp_path, "--report_to", "none", "--max_train_minutes", 1e-9)
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["stopped"]["reason"] == "max_train_minutes"
    assert set(record["metrics"]) == {"validation"}
