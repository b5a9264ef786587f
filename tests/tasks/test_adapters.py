"""Adapters: what LoRA adds and how it is merged, by hand; runs that resume, are verified and load again."""

import json
import shutil

import given_models
import pytest
import torch
from given_models import DATA, run
from peft import AutoPeftModelForCausalLM, AutoPeftModelForSequenceClassification
from safetensors.torch import load_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
)

from seqnlp import RecurrentConfig, RecurrentForSequenceClassification
from seqnlp.publishing.card import build_card
from seqnlp.publishing.recomputation import evaluate_again
from seqnlp.tasks import TASKS
from seqnlp.tasks.starting.adapters import Adapter, read_adapter_config
from seqnlp.training import ArgumentsError
from seqnlp.training.parameters import freeze


IDS = torch.tensor([[5, 6, 7, 8], [9, 8, 5, 4]])


def tiny_bert():
    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    return BertForSequenceClassification(BertConfig(vocab_size=20, **sizes)).eval()


def test_a_merged_weight_is_the_old_one_and_b_times_a_times_alpha_by_r():
    """Hu et al. 2021, section 4.1: h = W x + (alpha / r) B A x."""
    model = tiny_bert()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    config = read_adapter_config("lora", "r=2,lora_alpha=6,target_modules=[query]", AutoModelForSequenceClassification)
    adapter = Adapter(model, config, ["classifier"], ("x", None))
    layer = model.bert.encoder.layer[0].attention.self.query
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    assert (a.shape, b.shape) == ((2, 8), (8, 2))
    torch.nn.init.normal_(b)
    a, b = a.detach().clone(), b.detach().clone()
    trained = 2 * 8 + 8 * 2 + 8 * 2 + 2  # A, B, and the head with its bias
    assert adapter.described == {"method": "lora", "trained_parameters": trained}
    adapted = model(input_ids=IDS).logits
    adapter.merge()
    after = model.state_dict()
    assert after.keys() == before.keys()
    name = "bert.encoder.layer.0.attention.self.query.weight"
    torch.testing.assert_close(after[name], before[name] + b @ a * 6 / 2)
    assert all(torch.equal(after[other], before[other]) for other in before if other != name)
    torch.testing.assert_close(model(input_ids=IDS).logits, adapted)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_what_is_frozen_in_an_adapter_is_not_counted_as_trained():
    model = tiny_bert()
    config = read_adapter_config("lora", "r=2,target_modules=[query]", AutoModelForSequenceClassification)
    adapter = Adapter(model, config, ["classifier"], ("x", None))
    freeze(model, ["*lora_A*"])
    adapter.merge()
    assert adapter.described["trained_parameters"] == 8 * 2 + 8 * 2 + 2  # B, and the head with its bias


@pytest.mark.parametrize("method", ["lora", "ia3", "adalora", "loha", "lokr", "oft", "vera", "hra"])
def test_other_methods_train_and_merge_too(method):
    text = {"ia3": "target_modules=[query,output.dense],feedforward_modules=[output.dense]", "adalora": "total_step=9"}
    text |= {"oft": "oft_block_size=4", "hra": "r=2"}
    model = tiny_bert()
    config = read_adapter_config(method, text.get(method), AutoModelForSequenceClassification)
    adapter = Adapter(model, config, ["classifier"], ("x", None))
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        if parameter.requires_grad:
            with torch.no_grad():
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    adapted = model(input_ids=IDS).logits
    adapter.merge()
    assert model.state_dict().keys() == tiny_bert().state_dict().keys()
    torch.testing.assert_close(model(input_ids=IDS).logits, adapted, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("method", "text", "message"),
    [
        ("lorra", None, "PEFT has no such method; there is "),
        ("lora", "rank=8", "LoraConfig has no field 'rank'"),
        ("lora", "r", "--peft_config 'r' must be name=value, e.g. r=8"),
        ("prompt_tuning", "num_virtual_tokens=3", "leaves nothing to merge into the weights"),
        ("lora", "r=0", "should be a positive integer"),
        ("lora", "target_modules=[nothing]", "No modules were targeted"),
        ("ln_tuning", "target_modules=[LayerNorm]", "cannot be merged into the weights of this model"),
    ],
)
def test_what_cannot_be_is_one_line(method, text, message):
    def adapt():
        config = read_adapter_config(method, text, AutoModelForSequenceClassification)
        Adapter(tiny_bert(), config, ["classifier"], ("x", None))

    with pytest.raises(ArgumentsError, match=message) as caught:
        adapt()
    assert "\n" not in str(caught.value)


def test_dropped_weights_and_adapters_around_them_are_one_line():
    def adapt(**fields):
        config = RecurrentConfig(vocab_size=9, hidden_size=4, weight_drop=0.3)
        lora = read_adapter_config("lora", "r=2", AutoModelForSequenceClassification)
        lora.target_modules = fields.pop("target_modules")
        model = RecurrentForSequenceClassification(config).train()
        Adapter(model, lora, [], ("x", None))
        return model

    with pytest.raises(ArgumentsError, match=r"weight_drop=0\.3 would drop: add --config_overrides weight_drop=0"):
        adapt(target_modules=["recurrent_proj"])
    assert torch.isfinite(adapt(target_modules=["input_proj"])(input_ids=IDS.clamp(max=8)).logits).all()


def test_flags_that_say_nothing_are_refused_before_anything_begins(folder, tmp_path):
    for flags, message in (
        (["--peft", "lora"], "name it by --model_name_or_path"),
        (["--peft_config", "r=8"], "does nothing without --peft"),
        (["--model_name_or_path", folder / "bert", "--peft", "lora", "--peft_config", "rank=8"], "no field 'rank'"),
    ):
        task = TASKS["sentiment_analysis"].from_command_line(argv=[*map(str, flags), "--output_dir", str(tmp_path)])
        with pytest.raises(ArgumentsError, match=message):
            task.start()


@pytest.fixture(scope="module")
def lora(folder):
    """A recurrent classifier by LoRA, from a language model; with its checkpoints."""
    flags = ["--model_name_or_path", folder / "lstm", "--peft", "lora", "--peft_config", "r=4,lora_alpha=8"]
    flags += ["--num_train_epochs", 8, "--learning_rate", 0.02, "--per_device_train_batch_size", 8]
    flags += ["--checkpointing_steps", 10, "--save_total_limit", 9, *DATA["sentiment_analysis"](folder)]
    return flags, run("sentiment_analysis", folder / "lora", *flags)


def test_a_recurrent_model_learns_by_lora(folder, lora):
    _, record = lora
    trained = record["base_model"]["adapter"]["trained_parameters"]
    # Of each layer's two maps, (8 | 12) -> 48 and 12 -> 48, r (inputs + outputs); the head, 2 x 12 + 2.
    assert trained == 4 * (8 + 48) + 3 * 4 * (12 + 48) + 26
    assert record["metrics"]["test"]["accuracy"] == 1.0
    assert "trained_parameters" not in record["model"]
    there, here = (load_file(folder / name / "model.safetensors") for name in ("lstm", "lora"))
    assert torch.equal(there["model.embed_tokens.weight"], here["model.embed_tokens.weight"])
    name = "model.layers.0.forward_cell.input_proj.weight"
    assert not torch.equal(there[name], here[name])
    assert not [name for name in here if "lora" in name]
    found = evaluate_again(record, folder / "lora", str(folder))
    assert found["test"]["loss"] == pytest.approx(record["metrics"]["test"]["loss"], rel=1e-5)
    card = build_card(record, "alice/x")
    assert f"Trained were adapters by lora and what is new, {trained:,} parameters in all; the adapters are" in card


def test_merged_model_and_adapter_alone_say_the_same(folder):
    merged = AutoModelForSequenceClassification.from_pretrained(folder / "lora").eval()
    adapted = AutoPeftModelForSequenceClassification.from_pretrained(folder / "lora" / "adapter").eval()
    expected = merged(input_ids=IDS).logits
    torch.testing.assert_close(adapted(input_ids=IDS).logits, expected)
    config = json.loads((folder / "lora" / "adapter" / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["task_type"]) == (4, 8, "SEQ_CLS")


def test_it_resumes_to_the_bit_wherever_the_given_model_lies(folder, lora, tmp_path):
    flags, _ = lora
    shutil.copytree(folder / "lstm", tmp_path / "moved")
    flags = [tmp_path / "moved" if flag == folder / "lstm" else flag for flag in flags]
    checkpoint = folder / "lora" / "checkpoints" / "step-00000020"
    run("sentiment_analysis", tmp_path / "again", *flags, "--resume_from_checkpoint", checkpoint)
    one, other = (load_file(path / "model.safetensors") for path in (folder / "lora", tmp_path / "again"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    adapters = [
        load_file(path / "adapter" / "adapter_model.safetensors") for path in (folder / "lora", tmp_path / "again")
    ]
    assert adapters[0].keys() == adapters[1].keys()
    assert all(torch.equal(adapters[0][name], adapters[1][name]) for name in adapters[0])


def test_a_language_model_and_images_go_by_lora_too(folder, tmp_path):
    given_models.gpt2(tmp_path / "gpt2")
    flags = ["--num_train_epochs", 1, "--peft", "lora"]
    given = ["--model_name_or_path", tmp_path / "gpt2", *DATA["language_modeling"](folder)]
    run("language_modeling", tmp_path / "lm", *flags, *given)
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "lm").eval()
    adapted = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "lm" / "adapter").eval()
    torch.testing.assert_close(adapted(input_ids=IDS).logits, merged(input_ids=IDS).logits, rtol=1e-4, atol=1e-5)
    given_models.vit(tmp_path / "vit")
    given = ["--model_name_or_path", tmp_path / "vit", *DATA["image_classification"](folder)]
    record = run("image_classification", tmp_path / "images", *flags, *given)
    assert AutoModelForImageClassification.from_pretrained(tmp_path / "images")
    assert record["base_model"]["weights_new"] == {"classifier": 2}
    adapter = load_file(tmp_path / "images" / "adapter" / "adapter_model.safetensors")
    assert [name for name in adapter if "classifier" in name]  # PEFT knows no such task; the new head is in it
