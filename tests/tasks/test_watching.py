"""What a run shows on TensorBoard of a model in training: where it looks, and its embeddings."""

import io

import numpy as np
import pytest
import torch
from given_models import DATA, run, write_data
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from seqnlp.tasks.reporting import watching
from seqnlp.tasks.reporting.watching import MOST_TOKENS, _is_fit, spelled
from seqnlp.training import ArgumentsError, TrainingArguments, start_run


SHOWN = ("--report_to", "tensorboard", "--log_attention", "true", "--log_embeddings", "true")
SMALL = "hidden_size=16,num_hidden_layers=2,num_attention_heads=2"
SHORT = ("--num_train_epochs", "2", "--max_train_steps", "2", "--eval_steps", "1", "--seed", "3")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("watched"))


@pytest.fixture(scope="module")
def translator(folder):
    """The flags, the folder and the record of a run that shows all."""
    flags = [*DATA["translation"](folder), "--config_overrides", SMALL, *SHORT, "--tokenizer_type", "word"]
    flags += ["--architecture", "transformer", "--min_frequency", "1"]
    return flags, folder / "translator", run("translation", folder / "translator", *flags, *SHOWN)


def images_of(folder):
    events = EventAccumulator(str(folder / "logs"), size_guidance={"images": 0})
    events.Reload()
    return {tag: events.Images(tag) for tag in events.Tags()["images"]}


def test_each_kind_of_attention_is_drawn_before_training_and_at_each_validation(translator):
    images = images_of(translator[1])
    kinds = {"encoder_self-attention", "decoder_self-attention", "cross-attention"}
    assert set(images) == {f"attention/{kind}" for kind in kinds}
    for pictures in images.values():
        assert [picture.step for picture in pictures] == [0, 1, 2]
        assert len({picture.encoded_image_string for picture in pictures}) == 3  # it learns
        pixels = np.asarray(Image.open(io.BytesIO(pictures[0].encoded_image_string)))
        assert pixels.shape == (pictures[0].height, pictures[0].width, 3)
        assert pixels.std() > 10


def test_the_projector_has_the_embeddings_that_were_saved_with_their_tokens(translator):
    place = translator[1] / "logs" / "00002" / "embeddings"
    vectors = np.loadtxt(place / "tensors.tsv", delimiter="\t")
    names = (place / "metadata.tsv").read_text(encoding="utf-8").splitlines()
    saved = AutoModelForSeq2SeqLM.from_pretrained(translator[1]).get_input_embeddings().weight.detach()
    torch.testing.assert_close(torch.tensor(vectors, dtype=torch.float32), saved, rtol=1e-5, atol=1e-6)
    tokenizer = AutoTokenizer.from_pretrained(translator[1])
    assert len(names) == len(tokenizer)
    assert names[tokenizer.convert_tokens_to_ids("<pad>")] == "<pad>"
    assert "embeddings" in (translator[1] / "logs" / "projector_config.pbtxt").read_text()


def test_who_is_watched_learns_the_same(translator, folder):
    flags, _, watched = translator
    assert run("translation", folder / "unseen", *flags)["model"]["sha256"] == watched["model"]["sha256"]
    assert not (folder / "unseen" / "logs").exists()


def test_an_image_lies_under_the_weights_and_has_no_embeddings(folder, capsys):
    flags = [*DATA["image_classification"](folder), "--config_overrides", SMALL, *SHORT]
    run("image_classification", folder / "digits", *flags, *SHOWN)
    (name,) = images_of(folder / "digits")
    assert name == "attention/self-attention"
    said = capsys.readouterr().out
    told = "--log_embeddings: nothing is shown, since VisionTransformerForImageClassification reads no tokens."
    assert said.count(told) == said.count("--log_embeddings") == 1


def test_a_model_without_attention_is_told_of_once_and_a_large_vocabulary_is_cut(folder, capsys, monkeypatch):
    monkeypatch.setattr(watching, "MOST_EMBEDDINGS", 7)
    flags = [*DATA["language_modeling"](folder), "--architecture", "gru", "--tokenizer_type", "char", *SHORT]
    run("language_modeling", folder / "gru", *flags, "--config_overrides", "hidden_size=8,embedding_size=4", *SHOWN)
    said = capsys.readouterr().out
    told = "--log_attention: nothing is drawn: RecurrentForCausalLM has no attention to look at."
    assert said.count(told) == said.count("--log_attention") == 1
    assert "tokens the first 7 are shown." in said
    (place,) = (folder / "gru" / "logs").glob("*/embeddings")
    assert len((place / "metadata.tsv").read_text(encoding="utf-8").splitlines()) == 7


@pytest.mark.parametrize("name", ["log_attention", "log_embeddings"])
def test_what_nobody_would_see_is_refused(name, tmp_path):
    with pytest.raises(ArgumentsError, match=f"^--{name} is shown on TensorBoard, and --report_to none leaves it out"):
        start_run("test", "gru", TrainingArguments(output_dir=str(tmp_path), report_to="none", **{name: True}))


def test_what_is_drawn_is_neither_short_nor_long():
    lengths = [length for length in range(MOST_TOKENS + 3) if _is_fit({"input_ids": [1] * length})]
    assert lengths == list(range(6, MOST_TOKENS + 1))
    assert not _is_fit({"pixel_values": [1] * 8})


def test_tokens_are_lines_of_a_table():
    assert spelled(" a\tb\n") == "␣a\\tb\\n"


def test_what_was_not_asked_for_is_not_watched(tmp_path):
    run = start_run("test", "gru", TrainingArguments(output_dir=str(tmp_path), report_to="none"))
    watching.watch_attention(run, None)
    watching.show_embeddings(run, None, None)
    assert (run.on_train_begin, run.while_validating) == ([], [])
