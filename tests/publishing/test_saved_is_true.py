"""What the files of a saved run say is so, and they say the same."""

import json

import pytest
import torch
from families import FAMILIES, inputs_of
from safetensors.torch import load_file
from transformers import AutoTokenizer

import seqnlp


TRAINED = [family for family in FAMILIES if family.recipe]
NEW = 9
every_recipe = pytest.mark.parametrize("family", TRAINED, ids=lambda family: family.model)


def read(folder, name):
    path = folder / name
    return json.loads(path.read_text()) if path.is_file() else {}


@every_recipe
def test_a_field_kept_in_two_files_is_the_same_in_both(published, family):
    folder = published.folders[family.model]
    record, config = read(folder, "run.json"), read(folder, "config.json")
    generation, images = read(folder, "generation_config.json"), read(folder, "preprocessor_config.json")
    assert config["architectures"] == [record["model"]["class"]]
    assert {name: config[name] for name in record["model"]["config"]} == record["model"]["config"]
    weights = load_file(folder / "model.safetensors")
    parameters = dict(getattr(seqnlp, family.model).from_pretrained(folder).named_parameters())  # the rest are buffers
    assert sum(weights[name].numel() for name in parameters) == record["model"]["parameters"]
    assert {str(weights[name].dtype) for name in parameters} == {f"torch.{config['dtype']}"}

    # Of what decides how a text is written, the caller says what the run did not choose: `max_new_tokens` would go
    # before any `max_length` of his.
    shared = {name: value for name, value in generation.items() if name in config}
    assert shared == {name: config[name] for name in shared}
    chosen = {"num_beams", "length_penalty", "max_length"} if family.recipe == "translation" else set()
    said = {"_from_model_config", "output_attentions", "output_hidden_states"}
    assert set(generation) - set(shared) == (chosen | said if generation else set())
    if chosen:
        flags = record["hyperparameters"]
        assert generation["max_length"] == flags["max_length"] + 1  # with the token that begins it
        assert [generation[name] for name in ("num_beams", "length_penalty")] == [2, 1.0]
    assert config.get("use_cache", True) is True

    if images:
        assert images["size"] == {"height": config["image_size"], "width": config["image_size"]}
        assert len(images["image_mean"]) == len(images["image_std"]) == config["num_channels"]


@every_recipe
def test_the_tokenizer_and_the_model_know_the_same_tokens(published, family):
    folder = published.folders[family.model]
    record, config = read(folder, "run.json"), read(folder, "config.json")
    if not (folder / "tokenizer.json").is_file():
        assert config.get("pad_token_id") is config.get("bos_token_id") is None
        return
    places = [folder, *([folder / config["target_tokenizer"]] if "target_tokenizer" in config else [])]
    tokenizers = [AutoTokenizer.from_pretrained(place) for place in places]
    assert config["vocab_size"] == max(map(len, tokenizers))
    for tokenizer in tokenizers:
        for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
            assert config[name] == getattr(tokenizer, name), name
    if record["tokenizer"]:
        assert record["tokenizer"]["vocab_size"] == len(tokenizers[0])


@every_recipe
def test_it_reads_as_much_as_it_was_trained_on(published, family):
    folder = published.folders[family.model]
    record, config = read(folder, "run.json"), read(folder, "config.json")
    bound = read(folder, "tokenizer_config.json").get("model_max_length", 10**30)
    flags = record["hyperparameters"]
    trained = {
        "sentiment_analysis": flags.get("max_length"),
        "language_modeling": flags.get("max_length"),
        "translation": flags.get("max_length"),  # more than the test sentences have
        "trajectory": flags.get("context_length", 0) + flags.get("prediction_length", 0),
    }
    if "max_position_embeddings" in config and family.recipe in trained:
        assert config["max_position_embeddings"] == trained[family.recipe]
    if bound < 10**9:  # the tokenizer cuts texts; that of a translator, and of a state without places, does not
        assert bound == config.get("max_position_embeddings", flags["max_length"])
    else:
        assert family.recipe in ("translation", "trajectory", "image_classification") or "cell_type" in config


def counted(module, calls):
    """Adds to `calls` how many places a module is shown at each call."""
    name = "input_ids" if module.embed_tokens is not None else "inputs_embeds"

    def count(_, arguments, given):
        shown = given.get(name)
        calls.append((arguments[0] if shown is None else shown).shape[1])

    return module.register_forward_pre_hook(count, with_kwargs=True)


@pytest.mark.parametrize(
    "family",
    [family for family in TRAINED if family.model.endswith(("CausalLM", "Generation", "Prediction"))],
    ids=lambda family: family.model,
)
def test_a_saved_model_reads_each_token_once(published, family):
    """What it wrote is not read again: as many places as the prompt has, then one for each new token but the last."""
    folder = published.folders[family.model]
    model = getattr(seqnlp, family.model).from_pretrained(folder).eval()
    inputs, read_by = inputs_of(folder, model), {"encoder": [], "decoder": []}
    if family.model.endswith("Prediction"):
        counted(model.model, read_by["decoder"])
        with torch.no_grad():
            model(**inputs, prediction_length=NEW)
        assert read_by["decoder"] == [inputs["past_values"].shape[1]] + [1] * (NEW - 1)
        return
    stack = model.get_decoder() if model.config.is_encoder_decoder else model.model
    counted(stack, read_by["decoder"])
    if model.config.is_encoder_decoder:
        counted(model.get_encoder(), read_by["encoder"])
        inputs.pop("decoder_input_ids")
    model.generate(**inputs, min_new_tokens=NEW, max_new_tokens=NEW)
    length = inputs["input_ids"].shape[1]
    prompt = 1 if model.config.is_encoder_decoder else length
    assert read_by["decoder"] == [prompt] + [1] * (NEW - 1)
    assert read_by["encoder"] == ([length] if model.config.is_encoder_decoder else [])
