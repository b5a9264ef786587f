"""The Vision Transformer: parity with transformers' ViT, pooling, learning, pipeline."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, ViTConfig, ViTForImageClassification, ViTImageProcessorPil, pipeline

from seqnlp import VisionTransformerConfig, VisionTransformerForImageClassification, VisionTransformerModel


def config_of(**kwargs):
    sizes = {"image_size": 8, "patch_size": 4, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    return VisionTransformerConfig(**{**sizes, "initializer_range": 0.2, "dropout": 0.0, **kwargs})


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_outputs_and_gradients_are_those_of_vit(implementation):
    sizes = {
        "image_size": [8, 12],
        "patch_size": 4,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "layer_norm_eps": 1e-6,
        "initializer_range": 0.1,
        "num_labels": 5,
        "attn_implementation": implementation,
    }
    theirs = ViTForImageClassification(ViTConfig(**sizes))
    ours = VisionTransformerForImageClassification(VisionTransformerConfig(**sizes, dropout=0.0))

    def renamed(tensors):
        result = {}
        for name, tensor in tensors:
            for old, new in (
                ("vit.embeddings.cls_token", "model.patch_embeddings.class_token"),
                ("vit.embeddings.position_embeddings", "model.positions.embed_positions.weight"),
                ("vit.embeddings.patch_embeddings.", "model.patch_embeddings."),
                ("vit.layers.", "model.layers."),
                (".attention.", ".self_attn."),
                ("layernorm_before", "self_attn_norm"),
                ("layernorm_after", "mlp_norm"),
                ("vit.layernorm", "model.norm"),
                ("fc1", "up_proj"),
                ("fc2", "down_proj"),
                ("classifier", "score"),
            ):
                name = name.replace(old, new)
            result[name] = tensor.flatten() if "class_token" in name else tensor.squeeze(0)
        return result

    ours.load_state_dict(renamed(theirs.state_dict().items()))
    pixels, labels = torch.randn(3, 3, 8, 12), torch.tensor([0, 4, 2])
    expected, got = (model.train()(pixels, labels=labels) for model in (theirs, ours))
    torch.testing.assert_close(got.logits, expected.logits, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(got.loss, expected.loss, rtol=1e-5, atol=1e-5)
    got.loss.backward()
    expected.loss.backward()
    gradients = renamed((name, parameter.grad) for name, parameter in theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-5, atol=1e-5, msg=name)


def test_patches_are_read_row_by_row():
    model = VisionTransformerModel(config_of(pooling="mean", num_channels=1))
    pixels = torch.randn(2, 1, 8, 8)
    patches = model.patch_embeddings(pixels)
    weight, bias = model.patch_embeddings.projection.weight.flatten(1), model.patch_embeddings.projection.bias
    torch.testing.assert_close(patches[:, 1], pixels[:, :, :4, 4:].flatten(1) @ weight.T + bias)
    torch.testing.assert_close(patches[:, 2], pixels[:, :, 4:, :4].flatten(1) @ weight.T + bias)


def test_mean_pooling_has_no_class_token_and_reads_all_patches():
    model = VisionTransformerForImageClassification(config_of(pooling="mean")).eval()
    assert not any("class_token" in name for name in model.state_dict())
    outputs = model.model(torch.randn(2, 3, 8, 8))
    assert outputs.last_hidden_state.shape == (2, 4, 16)
    with_token = VisionTransformerModel(config_of()).eval()(torch.randn(2, 3, 8, 8))
    assert with_token.last_hidden_state.shape == (2, 5, 16)


def test_without_positions_an_image_is_a_bag_of_patches():
    pixels = torch.randn(1, 3, 8, 8)
    upside_down = torch.cat([pixels[:, :, 4:], pixels[:, :, :4]], dim=2)
    for kind, same in (("none", True), ("sinusoidal", False), ("learned", False)):
        model = VisionTransformerForImageClassification(config_of(position_embedding_type=kind)).eval()
        assert torch.allclose(model(pixels).logits, model(upside_down).logits, atol=1e-4) == same


def test_hidden_states_and_attentions():
    model = VisionTransformerForImageClassification(config_of(attn_implementation="eager")).eval()
    outputs = model(torch.randn(2, 3, 8, 8), output_hidden_states=True, output_attentions=True)
    assert [tuple(state.shape) for state in outputs.hidden_states] == [(2, 5, 16)] * 3
    assert [tuple(weights.shape) for weights in outputs.attentions] == [(2, 2, 5, 5)] * 2


@pytest.mark.parametrize("pooling", ["class_token", "mean"])
def test_learns_where_the_light_is(pooling):
    torch.manual_seed(1)
    labels = torch.randint(0, 4, (64,))
    pixels = 0.3 * torch.randn(64, 3, 8, 8)
    for row, label in enumerate(labels.tolist()):
        pixels[row, :, 4 * (label // 2) :, 4 * (label % 2) :][:, :4, :4] += 1
    model = VisionTransformerForImageClassification(config_of(pooling=pooling, num_labels=4)).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(60):
        optimizer.zero_grad()
        model(pixels, labels=labels).loss.backward()
        optimizer.step()
    assert (model.eval()(pixels).logits.argmax(-1) == labels).float().mean() > 0.95


def test_image_classification_pipeline(tmp_path, caplog):
    names = {"id2label": {0: "dark", 1: "light"}, "label2id": {"dark": 0, "light": 1}}
    model = VisionTransformerForImageClassification(config_of(**names)).eval()
    model.save_pretrained(tmp_path)
    processor = ViTImageProcessorPil(size={"height": 8, "width": 8})
    processor.save_pretrained(tmp_path)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8))
    with caplog.at_level("WARNING", logger="transformers"):
        classify = pipeline("image-classification", model=str(tmp_path), device="cpu")
        answers = classify([image, image], batch_size=2)
    assert "not supported" not in caplog.text
    pixels = AutoImageProcessor.from_pretrained(tmp_path)(image, return_tensors="pt").pixel_values
    expected = model(pixels).logits.softmax(-1)[0]
    for answer in answers[0]:
        assert answer["score"] == pytest.approx(expected[model.config.label2id[answer["label"]]].item(), abs=1e-5)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"patch_size": 3}, "Patches of patch_size=3 do not tile an image of image_size=8"),
        ({"image_size": [8, 8, 8]}, r"image_size=\[8, 8, 8\] must be one or two numbers"),
        ({"patch_size": 0}, "patch_size=0 must be one or two numbers of at least 1"),
        ({"num_channels": 0}, "num_channels=0 must be at least 1"),
        ({"pooling": "max"}, "max"),
        ({"position_embedding_type": "rotary"}, "rotary"),
    ],
)
def test_configurations_that_mean_nothing_are_refused(fields, message):
    with pytest.raises(Exception, match=message):
        config_of(**fields)


def test_wrong_calls_are_refused_with_the_reason():
    model = VisionTransformerModel(config_of())
    with pytest.raises(ValueError, match="Give pixel_values"):
        model()
    with pytest.raises(ValueError, match=r"pixel_values of shape \(1, 3, 8, 9\) are not"):
        model(torch.randn(1, 3, 8, 9))
