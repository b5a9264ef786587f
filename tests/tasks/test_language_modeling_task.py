"""Whole texts, scored by a model to which every token is equally likely: ln V nats each."""

import lzma
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from datasets import Dataset, IterableDataset
from transformers import AutoModelForCausalLM, CompileConfig
from uniform_models import begin, outcome_of, uniform

from seqnlp.tasks.language_modeling import LanguageModeling, count_spelled
from seqnlp.tokenization import train_tokenizer
from seqnlp.training import ArgumentsError


TEXTS = {"train": "abba cab bac\n" * 20 + "z", "validation": "abc cab", "test": "cafe\u0301 z"}  # é as two characters


@pytest.fixture
def prepare(tmp_path):
    def make(*argv):
        files = []
        for split, text in TEXTS.items():
            (tmp_path / f"{split}.txt").write_text(text, encoding="utf-8")
            files += [f"--{split}_file", tmp_path / f"{split}.txt"]
        task, run = begin(LanguageModeling, tmp_path, *files, "--tokenizer_type", "char", "--max_length", 6, *argv)
        loaded = task.load_data(run)
        texts, settings = loaded.splits["train"]["text"], task.model_args.tokenizer_settings()
        tokenizer = train_tokenizer(texts, **settings)
        return task, run, task.prepare_data(run, loaded, tokenizer)

    return make


@pytest.mark.parametrize("architecture", ["gru", "transformer"])
def test_a_text_costs_ln_v_per_token(architecture, prepare):
    task, run, data = prepare("--architecture", architecture)
    sizes = {"hidden_size": 4, "num_hidden_layers": 1}
    sizes |= {"num_attention_heads": 2} if architecture == "transformer" else {}
    evaluator = uniform(task, **sizes, **task.special_tokens(data.processor))
    found = task.evaluate(evaluator, data, ["validation", "test"])
    # <pad>, <unk>, <s>, </s>, and a, b, c, z, the space and the line break; z occurs once.
    nats = math.log(10)
    assert found["validation"]["loss"] == pytest.approx(nats)
    assert found["validation"]["nats_per_character"] == pytest.approx(nats)
    assert found["validation"]["bits_per_character"] == pytest.approx(math.log2(10))
    assert found["validation"]["word_perplexity"] == pytest.approx(math.exp(7 / 2 * nats))
    assert found["validation"]["unknown_share"] == 0
    # c, a, the unknown f and é, the space and z.
    assert data.counts["test"] == {"characters": 6, "words": 2, "unknown": 2, "is_whole": False, "tokens": 6}
    assert found["test"]["unknown_share"] == pytest.approx(1 / 3)
    assert "nats_per_character" not in found["test"]
    read = {"context": 512, "stride": 4096} if architecture == "gru" else {"context": 3, "stride": 3}
    evaluation = {**read, "carried_state": architecture == "gru", "tokens": {"validation": 7, "test": 6}}
    assert run.record.dataset["evaluation"] == evaluation
    loop = SimpleNamespace(train_dataset=range(11))
    assert task.count_tokens(loop, data) == {"train": 11, "validation": 7, "test": 6}
    loop.train_dataset = IterableDataset.from_generator(lambda: iter([]))
    assert task.count_tokens(loop, data) == {"validation": 7, "test": 6}


@pytest.mark.parametrize(
    ("architecture", "told"),
    [
        ("gru", "with the state carried from window to window"),
        ("transformer", "in windows of 6 tokens, of which the last 3 are scored"),
    ],
)
def test_a_report_says_how_the_text_was_read(architecture, told, prepare):
    task, run, data = prepare("--architecture", architecture)
    run.record.metrics["test"] = {"loss": 1.0, "perplexity": math.e, "unknown_share": 0.0}
    assert told in task.report(outcome_of(run, data, "test", test=None))


def test_there_is_no_perplexity_per_word_where_white_space_parts_none():
    tokenizer = train_tokenizer(["我们今天去看电影。 好", "a b"], "char", 50)
    for text, words in (("我们今天去看电影。 好", 0), ("a b 好", 3)):
        counts = count_spelled(tokenizer, [text], [np.array(tokenizer(text)["input_ids"])])
        assert counts == {"characters": len(text), "words": words, "unknown": 0, "is_whole": True}


def test_the_compressor_stands_beside_scores_that_are_earned_alone(prepare):
    task, _, data = prepare()
    sizes = [len(lzma.compress(text.encode())) for text in (TEXTS["train"], TEXTS["train"] + TEXTS["validation"])]
    bits = 8 * (sizes[1] - sizes[0]) / 7
    assert task.baselines(data, "validation") == {"xz": {"validation": {"bits_per_character": bits}}}
    assert task.baselines(data, "test") == {}  # whose tokens do not give it back


def test_samples_begin_with_their_prompts_and_are_shown_as_they_are_kept(prepare, capsys):
    task, run, data = prepare("--prompt", "ab|c", "--sample_length", 4)
    evaluator = uniform(task, hidden_size=4, **task.special_tokens(data.processor))
    capsys.readouterr()
    task.use_model(evaluator, outcome_of(run, data, "test"))
    samples = (run.output_dir / "samples.txt").read_text()
    assert samples.startswith("ab")
    assert "\n\nc" in samples
    assert capsys.readouterr().out.split() == samples.split()


def test_samples_are_written_by_a_compiled_step_if_asked(prepare):
    task, run, _ = prepare("--compile_generation", "true")
    config = task.build_config(hidden_size=4, vocab_size=12)
    model = task.create_model(run, config)
    assert isinstance(model.generation_config.compile_config, CompileConfig)
    run.accelerator.state._mixed_precision = "bf16"
    with pytest.raises(ArgumentsError, match="does nothing under --mixed_precision bf16"):
        task.create_model(run, config)


def start(folder, *flags):
    """A task that starts from the model in a folder, and that model."""
    task = LanguageModeling.from_command_line(argv=["--model_name_or_path", str(folder), *flags])
    model, _ = task.start_model.load(task.build_config(), task.model_args.config_overrides)
    return task, model


def test_an_encoder_is_no_language_model_unless_it_is_told_to_look_back_alone(folder):
    task, model = start(folder / "masked_bert")
    with pytest.raises(ArgumentsError, match="this BertLMHeadModel reads the tokens that it is to predict"):
        task.check_model(model)
    task, model = start(folder / "masked_bert", "--config_overrides", "is_decoder=true")
    task.check_model(model)


def test_a_model_that_would_shift_shifted_labels_is_refused(folder):
    for name in ("lstm", "gpt2"):
        task, model = start(folder / name)
        task.check_model(model)
    forward = model.forward
    model.forward = lambda *args, shift_labels=None, **kwargs: forward(*args, **kwargs)
    with pytest.raises(ArgumentsError, match="GPT2LMHeadModel shifts labels by itself"):
        task.check_model(model)


def test_a_record_tells_how_its_text_was_read_and_what_a_visitor_may_try():
    record = {"hyperparameters": {"prompt": "Once|| upon"}, "dataset": {"evaluation": {"context": 7, "stride": "9"}}}
    assert LanguageModeling.from_record(record).segments == {"context": 7, "stride": 9}
    assert LanguageModeling.widget_of(record) == ["Once", " upon"]
    line = 'print(pipeline("text-generation", model=model, tokenizer=tokenizer)("é"))'
    assert LanguageModeling.example({"hyperparameters": {"prompt": "é"}}, "") == line


def test_a_row_of_the_readme():
    def record(validation, test):
        return {
            "dataset": {
                "name": "<local:tiny_shakespeare>",
                "config": "three_way",
                "splits": {"validation": {"characters": 100}, "test": {"characters": 300}},
            },
            "metrics": {"validation": {"nats_per_character": validation}, "test": {"nats_per_character": test}},
            "baselines": {"xz": {"test": {"bits_per_character": 2.0}}},
        }

    row = LanguageModeling.results_row([record(1.5, 1.7)], "test")
    assert list(row.values())[:3] == ["1.500", "1.700 (test)", "1.650"]  # (100 * 1.5 + 300 * 1.7) / 400
    assert row["others"].startswith("1.39 (xz), 1.47 (nanoGPT")  # 2 ln 2
    several = LanguageModeling.results_row([record(1.4, 1.6), record(1.6, 1.8)], "test")
    assert several["nats per character"] == "1.700 ± 0.141 (test)"


@pytest.mark.parametrize("architecture", ["gru", "transformer"])
def test_a_saved_model_reads_each_token_once_and_its_files_agree(architecture, prepare, tmp_path):
    task, run, data = prepare("--architecture", architecture)
    sizes = {"hidden_size": 4, "num_hidden_layers": 1}
    sizes |= {"num_attention_heads": 2} if architecture == "transformer" else {}
    evaluator = uniform(task, **sizes, **task.special_tokens(data.processor))
    evaluator.model = evaluator.unwrapped_model  # as a loop has both
    task.save(run, evaluator, data)
    model = AutoModelForCausalLM.from_pretrained(run.output_dir)
    read = []
    model.model.register_forward_pre_hook(
        lambda module, args, kwargs: read.append((kwargs.get("input_ids") if not args else args[0]).shape[1]),
        with_kwargs=True,
    )
    model.generate(torch.tensor([[2, 5, 6]]), max_new_tokens=3, min_new_tokens=3, do_sample=False)
    assert read == [3, 1, 1]  # the prompt, then each new token but the last
    config, generation = model.config, model.generation_config
    assert config.use_cache
    assert generation.use_cache
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        assert getattr(config, name) == getattr(generation, name) == getattr(data.processor, name)
    if architecture == "transformer":
        assert config.max_position_embeddings == 6


def test_a_beginning_that_a_given_tokenizer_finds_within_a_text_is_said(prepare):
    task, _, data = prepare()
    data.loaded.splits["validation"] = Dataset.from_dict({"text": ["ab<s>ab<s>ab", "ab"]})
    told = "The split 'validation' holds <s> 2 times, which the given tokenizer takes for the beginning of a document"
    for are_characters in (True, False):  # as they are for ours
        data.processor.split_special_tokens = are_characters
        said = task.prepare(data.loaded, data.processor, ["validation"]).remarks
        assert any(line.startswith(told) for line in said) != are_characters
