"""RMSNorm by hand against torch's: values, first and second derivatives, and where it is chosen."""

import pytest
import torch
from torch import nn

from seqnlp.models import rms_norm
from seqnlp.models.rms_norm import RMSNorm, RootMeanSquareNorm, is_faster_by_hand


def by_hand(states, weight):
    return RootMeanSquareNorm.apply(states, weight, 1e-5)[0]


def by_torch(states, weight):
    return nn.functional.rms_norm(states, weight.shape, weight, 1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_and_gradients_are_those_of_torch(dtype):
    torch.manual_seed(0)
    states = (3 + 2 * torch.randn(4, 9, 33, dtype=dtype)).requires_grad_()  # a mean that is far from zero
    weight = torch.randn(33, dtype=dtype, requires_grad=True)
    sent_back = torch.randn(4, 9, 33, dtype=dtype)
    found, expected = by_hand(states, weight), by_torch(states, weight)
    torch.testing.assert_close(found, expected)
    for ours, theirs in zip(
        torch.autograd.grad(found, (states, weight), sent_back),
        torch.autograd.grad(expected, (states, weight), sent_back),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def test_first_and_second_derivatives_by_finite_differences():
    states = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(by_hand, (states, weight))
    assert torch.autograd.gradgradcheck(by_hand, (states, weight))


def test_gradients_per_example():
    states, weight = torch.randn(4, 3, 8), torch.randn(8)

    def of_each(norm):
        return torch.func.vmap(torch.func.grad(lambda w, x: norm(x, w).sin().sum()), (None, 0))(weight, states)

    torch.testing.assert_close(of_each(by_hand), of_each(by_torch))


def test_it_is_chosen_for_training_many_tokens_on_a_cpu(monkeypatch):
    norm = RMSNorm(64, eps=1e-5)
    many, few = torch.randn(2, 512, 64), torch.randn(2, 4, 64)
    assert is_faster_by_hand(many, norm.weight)
    assert not is_faster_by_hand(few, norm.weight)
    assert not is_faster_by_hand(many.bfloat16(), norm.weight)
    assert not is_faster_by_hand(many.to("meta"), norm.weight)
    with torch.no_grad():
        assert not is_faster_by_hand(many, norm.weight)

    expected = norm(many)
    monkeypatch.setattr(rms_norm, "is_faster_by_hand", lambda *args: False)
    torch.testing.assert_close(norm(many), expected)
    monkeypatch.undo()
    compiled = torch.compile(norm, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(many), expected)
