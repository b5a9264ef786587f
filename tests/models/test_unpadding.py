"""Layers that skip padding against layers that do not: the same states at valid tokens, the same gradients."""

import pytest
import torch

from seqnlp import (
    TransformerConfig,
    TransformerEncoderConfig,
    TransformerEncoderForSequenceClassification,
    TransformerEncoderModel,
    TransformerForConditionalGeneration,
)
from seqnlp.models import unpadding
from seqnlp.models.unpadding import Unpadding


SIZES = {"vocab_size": 20, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12}
PLAIN = {**SIZES, "dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0, "pad_token_id": 0}
MODERN = {"position_embedding_type": "rotary", "norm_type": "rms_norm", "norm_position": "pre", "hidden_act": "swiglu"}
MASK = torch.tensor([[1, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1], [1, 0, 1, 0, 0, 0], [1, 0, 0, 0, 0, 0]])
IDS = torch.arange(1, 25).remainder(19).add(1).view(4, 6) * MASK


def gradients_of(model, loss):
    model.zero_grad()
    loss.backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def both_ways(model, run, monkeypatch):
    """Loss and gradients with the padding skipped, and without."""
    taken = []
    remove = Unpadding.remove
    monkeypatch.setattr(Unpadding, "remove", lambda self, states: taken.append(1) or remove(self, states))
    found = run(model)
    ours = found.detach(), gradients_of(model, found)
    assert taken
    taken.clear()
    monkeypatch.setattr(unpadding, "WORTH_SKIPPING", 2.0)
    expected = run(model)
    theirs = expected.detach(), gradients_of(model, expected)
    assert not taken
    return ours, theirs


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("parts", [{}, MODERN], ids=["of_2017", "modern"])
def test_valid_tokens_have_the_states_and_gradients_of_the_rectangle(parts, checkpointing, monkeypatch):
    torch.manual_seed(0)
    model = TransformerEncoderModel(TransformerEncoderConfig(**PLAIN, **parts)).train()
    if checkpointing:
        model.activation_checkpointing_enable()
    weight = torch.randn(4, 6, 8)

    def run(model):
        states = model(IDS, attention_mask=MASK).last_hidden_state
        assert states.shape == (4, 6, 8)
        return (states * weight)[MASK.bool()].sum()

    ours, theirs = both_ways(model, run, monkeypatch)
    torch.testing.assert_close(ours, theirs)


def test_a_translator_learns_the_same(monkeypatch):
    torch.manual_seed(0)
    ends = {"bos_token_id": 2, "eos_token_id": 3}
    model = TransformerForConditionalGeneration(TransformerConfig(**PLAIN, **ends)).train()
    labels = IDS.masked_fill(MASK == 0, -100)
    run = lambda model: model(IDS, attention_mask=MASK, labels=labels).loss  # noqa: E731 (one line)
    torch.testing.assert_close(*both_ways(model, run, monkeypatch))


def test_a_classifier_whose_batch_has_an_empty_text_learns_the_same(monkeypatch):
    torch.manual_seed(0)
    model = TransformerEncoderForSequenceClassification(TransformerEncoderConfig(**PLAIN, head_dropout=0.0)).train()
    mask, labels = torch.cat([MASK, torch.zeros_like(MASK[:1])]), torch.tensor([0, 1, 1, 0, 1])
    ids = torch.cat([IDS, torch.zeros_like(IDS[:1])])
    run = lambda model: model(ids, attention_mask=mask, labels=labels).loss  # noqa: E731 (one line)
    torch.testing.assert_close(*both_ways(model, run, monkeypatch))


def test_the_rectangle_stays_where_it_is_looked_at_or_full():
    model = TransformerEncoderModel(TransformerEncoderConfig(**PLAIN)).train()
    places = Unpadding.of_training(model.layers, MASK)
    assert places.tokens.tolist() == MASK.flatten().nonzero().flatten().tolist()
    states = torch.randn(4, 6, 3)
    assert torch.equal(places.restore(places.remove(states)), states * MASK.unsqueeze(-1))

    assert Unpadding.of_training(model.layers, None) is None
    assert Unpadding.of_training(model.layers, torch.ones_like(MASK)) is None
    assert Unpadding.of_training(model.layers, torch.zeros_like(MASK)) is None
    assert Unpadding.of_training(model.layers, MASK[:, None, None]) is None
    with torch.no_grad():
        assert Unpadding.of_training(model.layers, MASK) is None
    assert Unpadding.of_training(model.eval().layers, MASK) is None
    recorded = model.train()(IDS, attention_mask=MASK, output_hidden_states=True).hidden_states
    assert [states.shape for states in recorded] == [(4, 6, 8)] * 3
    # The hooks of the recording stay, and look at nothing any more.
    assert Unpadding.of_training(model.layers, MASK) is not None
    seen = []
    handle = model.layers[0].register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    model(IDS, attention_mask=MASK)
    handle.remove()
    assert seen == [(4, 6, 8)]
