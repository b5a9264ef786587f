"""Sentence pairs, translated and scored by models to which every token is equally likely."""

import math
from types import SimpleNamespace

import pytest
from transformers import MarianConfig
from uniform_models import begin, outcome_of, uniform

from seqnlp import RecurrentSeq2SeqConfig, TransformerConfig
from seqnlp.data import train_pair_tokenizers
from seqnlp.tasks.translation import BeamArguments, Tokenizers, Translation, Translations, longest_translation, speed
from seqnlp.training import ArgumentsError


PAIRS = {
    "train": [("ab ab", "x y x"), ("ba", "y")] * 3,
    "validation": [("ab", "x y"), ("ba ab ab", "y")],
    "test": [("ab", "x"), ("q ab", "y x")],  # q is unknown
}
SIZES = {
    "lstm": {"hidden_size": 4, "embedding_size": 4, "share_embeddings": True},
    "transformer": {"hidden_size": 4, "num_attention_heads": 2, "num_hidden_layers": 1},
}


@pytest.fixture
def prepare(tmp_path):
    def make(*argv):
        files = []
        for split, pairs in PAIRS.items():
            for side, suffix in enumerate(("", "_target")):
                path = tmp_path / f"{split}{suffix}.txt"
                path.write_text("".join(f"{pair[side]}\n" for pair in pairs))
                files += [f"--{split}{suffix}_file", path]
        task, run = begin(Translation, tmp_path, *files, "--tokenizer_type", "word", *argv)
        loaded = task.load_data(run)
        settings = task.model_args.tokenizer_settings()
        tokenizers = Tokenizers(*train_pair_tokenizers(loaded.splits["train"], **settings, joint=True))
        return task, run, task.prepare_data(run, loaded, tokenizers)

    return make


def evaluator_of(task, data):
    target = data.processor.target
    special = {f"{name}_token_id": getattr(target, f"{name}_token_id") for name in ("pad", "bos", "eos")}
    sizes = {**SIZES[task.architecture], **special, "decoder_start_token_id": target.bos_token_id}
    return uniform(task, vocab_size=len(target), **sizes)


@pytest.mark.parametrize("architecture", list(SIZES))
def test_a_translation_costs_ln_v_per_token(architecture, prepare):
    task, run, data = prepare("--architecture", architecture)
    # <pad>, <unk>, <s>, </s>, ab, ba, x, y; equal however long the rows of a batch are.
    assert task.loss(evaluator_of(task, data), data, "validation") == pytest.approx(math.log(8))
    # Of the source's tokens, </s> included: none of 2 + 4, one of 2 + 3.
    assert run.record.dataset["unknown_share"] == {"validation": 0.0, "test": 0.2}


@pytest.mark.parametrize(("beams", "penalty"), [(3, 0.5), (1, 1.0)])
def test_beams_are_those_of_the_flags(beams, penalty, prepare, monkeypatch):
    task, _, data = prepare("--num_beams", beams, "--length_penalty", 0.5, "--architecture", "transformer")
    evaluator, asked = evaluator_of(task, data), []
    generate = evaluator.unwrapped_model.generate
    monkeypatch.setattr(
        evaluator.unwrapped_model, "generate", lambda **given: [asked.append(given), generate(**given)][1]
    )
    found = task.predict(evaluator, data, "validation")
    assert found.loss == pytest.approx(math.log(8))
    assert len(found.texts) == 2
    (given,) = asked  # one batch, the longer source first
    assert (given["num_beams"], given["length_penalty"], given["do_sample"]) == (beams, penalty, False)
    assert given["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
    assert given["max_length"] == 2 * 4 + 20 + 1  # and the token that begins it


def test_sentences_are_translated_by_five_beams_unless_flags_say_otherwise(prepare):
    assert prepare()[0].beams == {"num_beams": 5, "length_penalty": 1.0}


def test_one_tokenizer_is_both_where_the_folder_has_no_other(prepare, tmp_path):
    task, _, data = prepare()
    data.processor.source.save_pretrained(tmp_path / "joint")
    found = task.load_processor(tmp_path / "joint")
    assert found.source is found.target
    assert found.target.get_vocab() == data.processor.target.get_vocab()
    Tokenizers(data.processor.source, found.target).save_pretrained(tmp_path / "apart")
    found = task.load_processor(tmp_path / "apart")
    assert found.source is not found.target


@pytest.mark.parametrize(
    ("architecture", "config", "expected"),
    [
        ("gru", RecurrentSeq2SeqConfig(attention_type="none"), False),
        ("gru", RecurrentSeq2SeqConfig(attention_type="additive"), True),
        ("transformer", TransformerConfig(), True),
    ],
)
def test_all_but_recurrent_models_of_one_vector_attend(architecture, config, expected, prepare):
    assert prepare("--architecture", architecture)[0].has_attention(config) is expected


def test_there_is_a_position_for_each_token_that_is_trained_on_or_scored(prepare):
    task, _, _ = prepare(
        "--architecture", "transformer", "--max_length", 3, "--config_overrides", "position_embedding_type=learned"
    )
    assert task.build_config(hidden_size=4, num_attention_heads=2).max_position_embeddings == 4  # ba ab ab </s>
    task, _, _ = prepare("--architecture", "transformer", "--max_length", 9)
    assert task.build_config(hidden_size=4, num_attention_heads=2).max_position_embeddings == 9
    few = "position_embedding_type=learned,max_position_embeddings=3"
    task, _, _ = prepare("--architecture", "transformer", "--max_length", 3, "--config_overrides", few)
    with pytest.raises(ArgumentsError, match="=3 are fewer than the 4 positions that a scored sentence of 4 tokens"):
        task.build_config(hidden_size=4, num_attention_heads=2)


def test_long_texts_are_cut_where_that_is_asked_for_and_references_stay_whole(prepare):
    task, run, data = prepare("--max_length", 3, "--truncate", "true", "--rouge", "true")
    tokenizer = data.processor.target
    # ba ab ab </s> has four tokens, x y x </s> too; each keeps its end.
    cut = data.examples["validation"][1]["input_ids"]
    assert tokenizer.convert_ids_to_tokens(cut) == ["ba", "ab", "</s>"]
    assert tokenizer.convert_ids_to_tokens(data.examples["train"][0]["labels"]) == ["x", "y", "</s>"]
    assert data.examples["train"]["row"][:] == list(range(6))
    assert data.remarks[:2] == [
        "The split 'train': of 6 pairs 3 targets have more than the 3 tokens of --max_length and are cut there.",
        "The split 'validation': of 2 pairs 1 sources have more than the 3 tokens of --max_length and are cut there.",
    ]
    assert task.longest == 3
    scores = task.score(Translations(1.0, ["x", "x y"]), data, "test")
    # x is x; of x y both words of y x, in the other order, no pair, and one word in order.
    assert scores["rouge1"] == pytest.approx(100)
    assert scores["rouge2"] == pytest.approx(0)
    assert scores["rougeL"] == pytest.approx(100 * (1 + 1 / 2) / 2)
    run.record.metrics["test"] = scores
    report = task.report(outcome_of(run, data, "test", test=Translations(1.0, ["x", "x y"])))
    assert "ROUGE-1 100.00 %, ROUGE-2 0.00 %, ROUGE-L 75.00 %" in report
    assert "rouge1" not in prepare("--max_length", 3)[0].score(Translations(1.0, ["x", "x y"]), data, "test")
    with pytest.raises(ArgumentsError, match=r"with --bpe_dropout 0\.1 a text has others each time"):
        prepare("--truncate", "true", "--bpe_dropout", 0.1)


def test_the_best_model_is_kept_by_bleu_where_each_validation_gives_it():
    flags = ["--metric_for_best_model", "bleu", "--bleu_every"]
    assert Translation.from_command_line(argv=[*flags, "1"]).training_args.greater_is_better
    with pytest.raises(ArgumentsError, match="bleu: by --bleu_every 2 one validation of 2 gives it, and each must"):
        Translation.from_command_line(argv=[*flags, "2"])


def test_bleu_is_validated_now_and_then(prepare, monkeypatch):
    task, _, data = prepare("--bleu_every", 2)
    asked = []
    monkeypatch.setattr(task, "loss", lambda _, data, split: {"validation": 1.5}[split])
    texts = {"validation": ["x y", "y"]}
    monkeypatch.setattr(task, "translate", lambda _, data, split, **beams: asked.append(beams) or texts[split])
    loop = SimpleNamespace(record=SimpleNamespace(history=[]), seconds=7.0, run=SimpleNamespace(sample=""))
    assert task.validate(loop, data) == {"loss": 1.5}
    pair = data.loaded.splits["validation"][0]  # no source of them is as long as it is to be
    assert loop.run.sample == f"{pair['source']!r} became 'x y'; the reference is {pair['target']!r}."
    loop.record.history = [{"validation_loss": 2.0}, {"train_loss": 3.0}]
    assert task.validate(loop, data) == {"loss": 1.5, "bleu": 0.0, "seconds": 7.0}  # no four words are in a row
    assert asked == [{}] * 3  # greedy, a sentence at each validation and all of them at one


def test_the_report_and_the_files_hold_the_translations(prepare):
    task, run, data = prepare()
    texts = ["x", "y\nx"]
    outcome = outcome_of(run, data, "test", test=Translations(1.5, texts))
    scores = task.score(outcome.predictions["test"], data, "test")
    assert (scores["loss"], scores["chrf"]) == (1.5, pytest.approx(100))
    run.record.metrics["test"] = scores
    assert task.report(outcome).endswith("Unknown tokens: 20.0% of those of test.")
    task.use_model(SimpleNamespace(is_main_process=True), outcome)
    assert (run.output_dir / "translations.test.txt").read_text() == "x\ny x\n"


def test_a_card_shows_how_to_translate(monkeypatch):
    record = {"model": {"config": {}}, "dataset": {"name": "acme/pairs"}}
    assert Translation.example(record, "") == (
        'outputs = model.generate(**tokenizer("Hello!", return_tensors="pt"))\n'
        "print(tokenizer.decode(outputs[0], skip_special_tokens=True))"
    )
    record["model"]["config"]["target_tokenizer"] = "target_tokenizer"
    first, _, last = Translation.example(record, ', revision="v1"').split("\n")
    assert first == (
        "target_tokenizer = AutoTokenizer.from_pretrained("
        'model_id, subfolder="target_tokenizer", revision="v1", trust_remote_code=True)'
    )
    monkeypatch.setattr(Translation, "widget", ("Süß",))
    assert '(**tokenizer("Süß", ' in Translation.example(record, "")
    assert last == "print(target_tokenizer.decode(outputs[0], skip_special_tokens=True))"


def test_how_long_a_translation_may_be():
    learned = TransformerConfig(position_embedding_type="learned", max_position_embeddings=25)
    assert [longest_translation(learned, length) for length in (2, 3)] == [24, 25]
    rotary = TransformerConfig(position_embedding_type="rotary", max_position_embeddings=9)
    assert longest_translation(rotary, 3) == 26
    assert longest_translation(RecurrentSeq2SeqConfig(), 3) == 26  # a recurrent model has no positions
    # The first token of another's decoder takes one of its positions.
    assert longest_translation(MarianConfig(max_position_embeddings=25, decoder_vocab_size=9), 3) == 24


def test_how_fast_training_was():
    history = [
        {"targets_per_second": 10.0},
        {"validation_bleu": 4.9, "validation_seconds": 1.0},
        {"targets_per_second": 30.0, "validation_bleu": 10.0, "validation_seconds": 2.0},
        {"targets_per_second": 20.0, "validation_bleu": 12.0, "validation_seconds": 3.0},
    ]
    assert speed(history) == {"seconds_to_bleu": {"5": 2.0, "10": 2.0}, "target_tokens_per_second": 20.0}
    assert speed([]) == {"seconds_to_bleu": {}, "target_tokens_per_second": 0.0}


def test_a_tokenizer_of_bleu_that_is_not_installed_is_refused_before_training(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ArgumentsError, match=r'^--bleu_tokenizer ko-mecab needs pip install "sacrebleu\[ko\]"\.$'):
        BeamArguments(bleu_tokenizer="ko-mecab")
    assert BeamArguments(bleu_tokenizer="char").bleu_tokenizer == "char"
