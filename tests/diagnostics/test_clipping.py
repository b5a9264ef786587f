"""Training with and without clipping: against torch's optimizer and its clipping, and to the end of numbers."""

import math

import pytest
import torch

from seqnlp import RecurrentConfig, RecurrentForCausalLM, RecurrentForSequenceClassification
from seqnlp.diagnostics import DiagnosticsError, compare_clipping


IDS = torch.arange(60) * 7 % 11


def small(head=RecurrentForCausalLM):
    torch.manual_seed(0)
    return head(RecurrentConfig(vocab_size=11, hidden_size=8, cell_type="elman"))


@pytest.mark.parametrize("limit", [0.05, None])
def test_both_are_what_torch_computes(limit):
    clipped, plain = compare_clipping(small(), IDS, 0.5, steps=3, max_grad_norm=limit or 1e9, length=20, batch_size=4)
    curve = plain if limit is None else clipped
    model, draws = small(), torch.Generator().manual_seed(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    places = [torch.randint(40, (4,), generator=draws).tolist() for _ in range(3)]
    for step in range(3):
        pieces = torch.stack([IDS[place : place + 21] for place in places[step]])
        loss = model(pieces[:, :-1], labels=pieces[:, :-1], shift_labels=pieces[:, 1:]).loss
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), limit or math.inf)
        assert curve.losses[step] == pytest.approx(loss.item(), rel=1e-5)
        assert curve.norms[step] == pytest.approx(norm.item(), rel=1e-4)
        optimizer.step()
        optimizer.zero_grad()
    assert not curve.ended
    assert clipped.max_grad_norm == (limit or 1e9)
    assert plain.max_grad_norm is None


def test_what_is_no_number_ends_a_training_and_the_model_stays_as_it_was():
    model = small()
    before = {name: values.clone() for name, values in model.state_dict().items()}
    with torch.no_grad():
        model.lm_head.weight[0, 0] = math.inf
    clipped, plain = compare_clipping(model, IDS, 1.0, steps=5)
    assert (clipped.ended, len(clipped.losses)) == (plain.ended, len(plain.losses)) == (True, 1)
    assert not math.isfinite(plain.losses[0])
    assert all(
        torch.equal(model.state_dict()[name], values) for name, values in before.items() if "lm_head" not in name
    )


def test_what_cannot_be_trained_is_refused():
    with pytest.raises(
        DiagnosticsError, match="RecurrentForSequenceClassification: clipping is compared in the train"
    ):
        compare_clipping(small(RecurrentForSequenceClassification), IDS, 1.0, 1)
    with pytest.raises(DiagnosticsError, match="A text of 2 tokens is too short to train on: give at least 3"):
        compare_clipping(small(), IDS[:2], 1.0, 1)
