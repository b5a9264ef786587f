"""What only a card can tell; `python -m benchmarks gpu` runs these tests first."""

import copy

import pytest
import torch

from seqnlp import (
    RecurrentConfig,
    RecurrentForCausalLM,
    RecurrentModel,
    TransformerDecoderConfig,
    TransformerDecoderForCausalLM,
)
from seqnlp.models.cells import CELLS


pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU that torch can use"),
]


@pytest.mark.parametrize("cell_type", CELLS)
def test_a_card_computes_what_a_processor_computes(cell_type, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)  # else products are of 11 bits
    model = RecurrentModel(RecurrentConfig(vocab_size=50, hidden_size=32, num_hidden_layers=2, cell_type=cell_type))
    ids = torch.randint(50, (4, 30))
    mask = (torch.arange(30) < torch.tensor([30, 20, 7, 1]).unsqueeze(1)).long()
    expected = model(ids, attention_mask=mask, use_cache=True)
    found = copy.deepcopy(model).cuda()(ids.cuda(), attention_mask=mask.cuda(), use_cache=True)
    torch.testing.assert_close(found.last_hidden_state.cpu(), expected.last_hidden_state, rtol=1e-3, atol=1e-4)
    for ours, theirs in zip(found.cache.to_torch(), expected.cache.to_torch(), strict=True):
        torch.testing.assert_close(ours.cpu(), theirs, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("chunk", [None, 7])
def test_losses_and_gradients_are_those_of_a_processor(chunk):
    config = TransformerDecoderConfig(
        vocab_size=50, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, loss_chunk_size=chunk
    )
    model = TransformerDecoderForCausalLM(config)
    ids = torch.randint(50, (3, 20))
    other = copy.deepcopy(model).cuda()
    expected, found = model(ids, labels=ids).loss, other(ids.cuda(), labels=ids.cuda()).loss
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-4, atol=1e-5)
    expected.backward()
    found.backward()
    for ours, theirs in zip(other.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours.grad.cpu(), theirs.grad, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("cell_type", CELLS)
def test_a_compiled_step_writes_the_same_tokens(cell_type):
    config = RecurrentConfig(vocab_size=50, hidden_size=32, cell_type=cell_type, eos_token_id=None)
    model = RecurrentForCausalLM(config).cuda().eval()
    ids = torch.randint(1, 50, (2, 5), device="cuda")
    plain = model.generate(ids, max_new_tokens=20)
    assert torch.equal(model.generate(ids, max_new_tokens=20, cache_implementation="static"), plain)


def test_a_recurrent_net_trains_in_half_precision():
    model = RecurrentForCausalLM(RecurrentConfig(vocab_size=30, hidden_size=64)).cuda().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, fused=True)
    ids = torch.randint(30, (8, 20), device="cuda")
    losses = []
    for _ in range(60):
        with torch.autocast("cuda", torch.bfloat16):
            loss = model(ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
