"""What a Hugging Face model is expected to do, for every Transformer class."""

import re

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from seqnlp import (
    TransformerDecoderForCausalLM,
    TransformerDecoderForSequenceClassification,
    TransformerDecoderModel,
    TransformerEncoderForMaskedLM,
    TransformerEncoderForSequenceClassification,
    TransformerEncoderForTokenClassification,
    TransformerEncoderModel,
    TransformerForConditionalGeneration,
    TransformerModel,
    VisionTransformerForImageClassification,
    VisionTransformerModel,
)


AUTO_CLASSES = {
    TransformerDecoderModel: AutoModel,
    TransformerDecoderForSequenceClassification: AutoModelForSequenceClassification,
    TransformerDecoderForCausalLM: AutoModelForCausalLM,
    TransformerEncoderModel: AutoModel,
    TransformerEncoderForMaskedLM: AutoModelForMaskedLM,
    TransformerEncoderForSequenceClassification: AutoModelForSequenceClassification,
    TransformerEncoderForTokenClassification: AutoModelForTokenClassification,
    TransformerModel: AutoModel,
    TransformerForConditionalGeneration: AutoModelForSeq2SeqLM,
    VisionTransformerModel: AutoModel,
    VisionTransformerForImageClassification: AutoModelForImageClassification,
}
# The last head of each family, where one stands for all.
HEADS = list({model_class.config_class: model_class for model_class in AUTO_CLASSES}.values())
TEXT_CLASSES = [c for c in AUTO_CLASSES if c.main_input_name == "input_ids"]
every_class = pytest.mark.parametrize("model_class", AUTO_CLASSES)


def config_of(model_class, **kwargs):
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "initializer_range": 0.2}
    words = {"vocab_size": 30, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    if model_class.main_input_name == "pixel_values":
        words = {"image_size": (4, 10), "patch_size": 2, "pooling": "class_token"}
    return model_class.config_class(**{**sizes, **words, **kwargs})


def inputs_of(model_class):
    if model_class.main_input_name == "pixel_values":
        return {"pixel_values": torch.randn(3, 3, 4, 10)}
    ids = torch.randint(4, 30, (3, 6))
    mask = torch.ones_like(ids)
    mask[0, :4] = 0
    mask[1, 5:] = 0
    inputs = {"input_ids": ids, "attention_mask": mask}
    if model_class.config_class.is_encoder_decoder:
        inputs |= {"decoder_input_ids": torch.randint(4, 30, (3, 5))}
    return inputs


def gradients_of(model, inputs):
    model.zero_grad()
    torch.manual_seed(0)  # the same dropout each time
    model(**inputs)[0].pow(2).sum().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@every_class
def test_saved_and_loaded_by_the_auto_class_to_the_bit(model_class, tmp_path):
    model = model_class(config_of(model_class)).eval()
    model.save_pretrained(tmp_path)
    loaded = AUTO_CLASSES[model_class].from_pretrained(tmp_path).eval()
    assert type(loaded) is model_class
    assert loaded.config.to_dict() == AutoConfig.from_pretrained(tmp_path).to_dict()
    assert loaded.state_dict().keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name]), name
    inputs = inputs_of(model_class)
    assert torch.equal(model(**inputs)[0], loaded(**inputs)[0])


@every_class
def test_a_partly_loaded_model_keeps_what_it_loads_and_draws_the_rest(model_class, tmp_path):
    base_class = next(
        c for c in AUTO_CLASSES if AUTO_CLASSES[c] is AutoModel and c.config_class is model_class.config_class
    )
    base = base_class(config_of(base_class))
    base.save_pretrained(tmp_path)
    loaded = model_class.from_pretrained(tmp_path)
    for name, tensor in base.state_dict().items():
        assert torch.equal(tensor, loaded.base_model.state_dict()[name]), name
    for name, parameter in loaded.named_parameters():
        assert parameter.isfinite().all(), name
        assert parameter.dim() < 2 or 0.1 < parameter.std() < 0.4, name


@every_class
def test_weights_are_drawn_with_the_initializer_range(model_class):
    for name, parameter in model_class(config_of(model_class, hidden_size=32)).named_parameters():
        if name.endswith("bias"):
            assert (parameter == 0).all(), name
        elif parameter.dim() == 1 and "norm" in name:
            assert (parameter == 1).all(), name
        else:
            assert parameter.std().item() == pytest.approx(0.2, rel=0.2 if parameter.numel() > 200 else 0.5), name


@every_class
@pytest.mark.parametrize("hidden_act", ["gelu", "swiglu"])
def test_tensor_parallel_plans_name_all_and_only_what_there_is(model_class, hidden_act):
    config = config_of(model_class, hidden_act=hidden_act)
    model = model_class(config).base_model
    planned = {name for name in config.base_model_tp_plan if not name.endswith("embed_tokens")}
    used = {re.sub(r"^model\.", "", name) for name in model_class(config).tp_plan}
    assert used - {"embed_tokens", "encoder.embed_tokens", "decoder.embed_tokens", "lm_head"} == planned
    names = {re.sub(r"\.\d+\.", ".*.", name) for name, module in model.named_modules() if name.endswith("_proj")}
    assert planned == names
    assert "base_model_tp_plan" not in config.to_dict()


@every_class
def test_gradient_checkpointing_changes_no_gradient(model_class):
    model = model_class(config_of(model_class, dropout=0.1, attention_dropout=0.1)).train()
    inputs = inputs_of(model_class)
    plain = gradients_of(model, inputs)
    model.activation_checkpointing_enable()
    assert any(getattr(module, "gradient_checkpointing", False) for module in model.modules())
    checkpointed = gradients_of(model, inputs)
    assert plain.keys() == checkpointed.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(gradient, checkpointed[name])


@pytest.mark.parametrize("model_class", TEXT_CLASSES)
def test_hidden_states_and_attentions(model_class):
    config = config_of(model_class)
    config._attn_implementation = "eager"
    model = model_class(config).eval()
    inputs = inputs_of(model_class)
    outputs = model(**inputs, output_hidden_states=True, output_attentions=True)
    mask = inputs["attention_mask"].bool()
    states, attentions = outputs.get("hidden_states"), outputs.get("attentions")
    if config.is_encoder_decoder:
        states, attentions = outputs.encoder_hidden_states, outputs.encoder_attentions
        assert [tuple(state.shape) for state in outputs.decoder_hidden_states] == [(3, 5, 16)] * 3
        assert [tuple(weights.shape) for weights in outputs.decoder_attentions] == [(3, 2, 5, 5)] * 2
        assert [tuple(weights.shape) for weights in outputs.cross_attentions] == [(3, 2, 5, 6)] * 2
        for row, valid in enumerate(mask):
            assert all((weights[row, :, :, ~valid] == 0).all() for weights in outputs.cross_attentions)
    assert [tuple(state.shape) for state in states] == [(3, 6, 16)] * 3
    assert [tuple(weights.shape) for weights in attentions] == [(3, 2, 6, 6)] * 2
    for weights in attentions:
        torch.testing.assert_close(weights.sum(-1), torch.ones(3, 2, 6))
        for row, valid in enumerate(mask):
            assert (weights[row][:, valid][:, :, ~valid] == 0).all()


@pytest.mark.parametrize("model_class", TEXT_CLASSES)
def test_resized_embeddings(model_class):
    model = model_class(config_of(model_class)).eval()
    before = model.get_input_embeddings().weight.clone()
    model.resize_token_embeddings(37)
    assert torch.equal(model.get_input_embeddings().weight[:30], before)
    inputs = inputs_of(model_class)
    inputs["input_ids"][0, 5] = 36
    outputs = model(**inputs)
    if model.get_output_embeddings() is not None:
        assert outputs.logits.shape[-1] == model.config.vocab_size == 37
        assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


@pytest.mark.parametrize("model_class", HEADS)
def test_compiled_into_one_graph_with_the_same_numbers(model_class):
    model = model_class(config_of(model_class)).eval()
    inputs = inputs_of(model_class)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(**inputs)[0], model(**inputs)[0])


@every_class
def test_half_precision_comes_close(model_class):
    model = model_class(config_of(model_class)).eval()
    inputs = inputs_of(model_class)
    expected = model(**inputs)[0]
    got = model.to(torch.bfloat16)(**inputs)[0]
    assert got.dtype == torch.bfloat16
    if "attention_mask" in inputs and expected.shape[:2] == (3, 6):
        valid = inputs["attention_mask"].bool()
        expected, got = expected[valid], got[valid]
    torch.testing.assert_close(got.float(), expected, rtol=0.1, atol=0.1)


def test_published_code_loads_where_seqnlp_cannot_be_imported(run_without_seqnlp, tmp_path):
    published = [(model_class, {}) for model_class in HEADS]
    published.append((TransformerForConditionalGeneration, {"decoder_cell": "ssru"}))
    for model_class, fields in published:
        auto_class, config_class = AUTO_CLASSES[model_class], model_class.config_class
        folder = tmp_path / (model_class.__name__ + "".join(fields))
        model = model_class(config_of(model_class, **fields)).eval()
        model_class.register_for_auto_class(auto_class.__name__)
        config_class.register_for_auto_class()
        try:
            model.save_pretrained(folder)
        finally:
            model_class._auto_class = config_class._auto_class = None
        inputs = inputs_of(model_class)
        saved = {"auto_class": auto_class.__name__, "inputs": inputs, "expected": model(**inputs)[0]}
        torch.save(saved, folder / "saved.pt")
    code = f"""
        from pathlib import Path
        import torch, transformers
        torch.set_num_threads({torch.get_num_threads()})  # sums in the same order, to the bit
        for folder in Path({str(tmp_path)!r}).glob("*Transformer*"):
            saved = torch.load(folder / "saved.pt")
            auto_class = getattr(transformers, saved["auto_class"])
            model = auto_class.from_pretrained(folder, trust_remote_code=True).eval()
            assert torch.equal(model(**saved["inputs"])[0], saved["expected"]), folder
            if model.can_generate():
                model.generate(saved["inputs"]["input_ids"], max_new_tokens=3, num_beams=2)
            print(folder.name)
    """
    printed = run_without_seqnlp(code)
    assert set(printed.split()) == {model_class.__name__ + "".join(fields) for model_class, fields in published}


def test_flex_attention_agrees_with_eager():
    """On a CPU flex attention cannot go backward, but forward it shows that masks and scaling reach it."""
    model = TransformerModel(config_of(TransformerModel, hidden_size=32)).eval().requires_grad_(False)
    inputs = inputs_of(TransformerModel)
    expected = model(**inputs)
    model.set_attn_implementation("flex_attention")
    outputs = model(**inputs)
    valid = inputs["attention_mask"].bool()
    for name, mask in (("encoder_last_hidden_state", valid), ("last_hidden_state", slice(None))):
        torch.testing.assert_close(outputs[name][mask], expected[name][mask], atol=1e-5, rtol=1e-4)
