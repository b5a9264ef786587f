"""The losses against torch's, and the chunked one against the plain one: loss, gradients, memory."""

import statistics
import time

import pytest
import torch
from torch import nn

from seqnlp import TransformerDecoderConfig, TransformerDecoderForCausalLM
from seqnlp.models import losses
from seqnlp.models.losses import (
    ChunkedCrossEntropy,
    causal_language_model_loss,
    chunked_cross_entropy,
    cross_entropy,
    divide_by_items,
    labels_per_chunk,
    symmetric_divergence,
)


def labeled_states(num_ignored=4):
    states = torch.randn(3, 5, 8, requires_grad=True)
    labels = torch.randint(0, 11, (3, 5))
    labels.view(-1)[torch.randperm(15)[:num_ignored]] = -100
    return states, labels


def test_cross_entropy_is_the_formula():
    logits, labels = torch.randn(4, 7), torch.tensor([1, 0, -100, 6])
    log_probabilities = logits.log_softmax(-1)
    smoothed = [-0.9 * log_probabilities[i, labels[i]] - 0.1 * log_probabilities[i].mean() for i in (0, 1, 3)]
    torch.testing.assert_close(cross_entropy(logits, labels, label_smoothing=0.1), sum(smoothed) / 3)
    torch.testing.assert_close(cross_entropy(logits, labels, 0.1, num_items_in_batch=12), sum(smoothed) / 12)


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("num_items", [None, 40, torch.tensor(40)])
@pytest.mark.parametrize(("smoothing", "bias", "chunk_size"), [(0.0, False, 4), (0.1, True, 4), (0.2, False, 1000)])
def test_chunked_equals_plain_loss_and_gradients(wrapped, num_items, smoothing, bias, chunk_size):
    states, labels = labeled_states()
    head = nn.Linear(8, 11, bias=bias)
    lm_head = nn.Sequential(head) if wrapped else head
    plain = cross_entropy(head(states), labels, smoothing, num_items)
    chunked = chunked_cross_entropy(states, lm_head, labels, chunk_size, smoothing, num_items)
    torch.testing.assert_close(chunked, plain)
    inputs = (states, *head.parameters())
    # A factor, such as that of gradient accumulation, must reach the gradients.
    expected = torch.autograd.grad(3 * plain, inputs)
    for ours, theirs in zip(torch.autograd.grad(3 * chunked, inputs), expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def read_twice(num_ignored=4):
    """States of two readings of the same labels."""
    first, labels = labeled_states(num_ignored)
    states = torch.cat([first.detach(), first.detach() + torch.randn(3, 5, 8)])
    return states.requires_grad_(), torch.cat([labels, labels])


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("num_items", [None, torch.tensor(40)])
@pytest.mark.parametrize(("smoothing", "bias", "chunk_size"), [(0.0, False, 3), (0.1, True, 4), (0.2, False, 1000)])
def test_chunks_hold_both_readings_of_a_label(wrapped, num_items, smoothing, bias, chunk_size):
    """Equation 2 of Liang et al. 2021 by torch's own divergence, of logits that are all there."""
    states, labels = read_twice()
    head = nn.Linear(8, 11, bias=bias)
    lm_head = nn.Sequential(head) if wrapped else head
    counts = labels[:3] != -100
    p, q = (logits[counts].log_softmax(-1) for logits in head(states).chunk(2))
    ways = [nn.functional.kl_div(a, b, log_target=True, reduction="sum") for a, b in ((p, q), (q, p))]
    plain = cross_entropy(head(states), labels, smoothing, num_items) + 0.7 * sum(ways) / 2 / (num_items or 22)

    chunked = chunked_cross_entropy(states, lm_head, labels, chunk_size, smoothing, num_items, divergence_weight=0.7)
    torch.testing.assert_close(chunked, plain)
    inputs = (states, *head.parameters())
    expected = torch.autograd.grad(3 * plain, inputs)
    torch.testing.assert_close(torch.autograd.grad(3 * chunked, inputs), expected)


def test_parts_of_a_chunk_hold_both_readings_of_a_label(monkeypatch):
    """A CPU turns a megabyte of logits into gradients at a time, here those of three labels and a half."""
    states, labels = read_twice(num_ignored=0)
    head = nn.Linear(8, 11)
    whole = chunked_cross_entropy(states, head, labels, 1000, divergence_weight=2.0)
    monkeypatch.setattr(losses, "LOGITS_PER_PART", 7 * 11)
    torch.testing.assert_close(chunked_cross_entropy(states, head, labels, 1000, divergence_weight=2.0), whole)


def test_two_readings_under_autocast():
    states, labels = read_twice()
    head = nn.Linear(8, 11, bias=False)
    exact = chunked_cross_entropy(states, head, labels, 4, divergence_weight=2.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        narrow = chunked_cross_entropy(states, head, labels, 4, divergence_weight=2.0)
    torch.testing.assert_close(narrow, exact, rtol=2e-2, atol=2e-2)
    inputs = (states, head.weight)
    expected = torch.autograd.grad(exact, inputs)
    torch.testing.assert_close(torch.autograd.grad(narrow, inputs), expected, rtol=5e-2, atol=1e-2)


def test_a_frozen_head_and_frozen_states():
    states, labels = labeled_states()
    head = nn.Linear(8, 11)
    expected = torch.autograd.grad(cross_entropy(head(states), labels), (states, head.weight))
    frozen = nn.Linear(8, 11)
    frozen.load_state_dict(head.state_dict())
    frozen.requires_grad_(False)
    (gradient,) = torch.autograd.grad(chunked_cross_entropy(states, frozen, labels, 4), states)
    torch.testing.assert_close(gradient, expected[0])
    (gradient,) = torch.autograd.grad(chunked_cross_entropy(states.detach(), head, labels, 4), head.weight)
    torch.testing.assert_close(gradient, expected[1])
    assert not chunked_cross_entropy(states.detach(), frozen, labels, 4).requires_grad


def test_all_ignored_is_zero_items_as_in_torch():
    states, labels = labeled_states(num_ignored=15)
    head = nn.Linear(8, 11)
    assert chunked_cross_entropy(states, head, labels, 4).isnan()
    assert cross_entropy(head(states), labels).isnan()
    loss = chunked_cross_entropy(states, head, labels, 4, num_items_in_batch=3)
    loss.backward()
    assert loss == 0
    assert (states.grad == 0).all()


def test_gradients_by_finite_differences():
    states = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(6, 4, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 5, 2, 2, 1])
    # The loss is kept in float32, which bounds the precision of the differences.
    assert torch.autograd.gradcheck(
        lambda s, w: ChunkedCrossEntropy.apply(s, w, None, labels, 2, 0.1, 0.0), (states, weight), eps=1e-2, atol=1e-2
    )


def test_under_autocast_and_in_half_precision():
    states, labels = labeled_states()
    head = nn.Linear(8, 11, bias=False)
    for dtype, model_dtype in ((torch.bfloat16, torch.float32), (torch.bfloat16, torch.bfloat16)):
        head, narrow = head.to(model_dtype), states.detach().to(model_dtype).requires_grad_()
        with torch.autocast("cpu", dtype=dtype, enabled=model_dtype == torch.float32):
            plain = cross_entropy(head(narrow), labels)
            chunked = chunked_cross_entropy(narrow, head, labels, 4)
        torch.testing.assert_close(chunked, plain, rtol=2e-2, atol=2e-2)
        for ours, theirs in zip(
            torch.autograd.grad(chunked, (narrow, head.weight)),
            torch.autograd.grad(plain, (narrow, head.weight)),
            strict=True,
        ):
            assert ours.dtype == model_dtype
            torch.testing.assert_close(ours, theirs, rtol=5e-2, atol=5e-3)


def test_what_many_chunks_add_is_not_lost_in_half_precision():
    # With equal logits of two classes a label of class 0 adds 1/2 to the gradient for class 1, and bfloat16 has no
    # number between 256 and 258.
    head, states = nn.Linear(1, 2).to(torch.bfloat16), torch.ones(1024, 1, dtype=torch.bfloat16)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    labels = torch.zeros(1024, dtype=torch.long)
    chunked_cross_entropy(states, head, labels, chunk_size=1, num_items_in_batch=1).backward()

    assert head.bias.grad.tolist() == [-512, 512]
    assert head.weight.grad.tolist() == [[-512], [512]]


class Largest(torch.utils._python_dispatch.TorchDispatchMode):
    """Tells how many numbers the largest tensor has, of one type if it is given."""

    def __init__(self, dtype=None):
        super().__init__()
        self.dtype, self.size = dtype, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(tensor, torch.Tensor) and self.dtype in (None, tensor.dtype):
                self.size = max(self.size, tensor.numel())
        return result


def test_no_tensor_is_as_large_as_the_logits():
    states = torch.randn(512, 8, requires_grad=True)
    head, labels = nn.Linear(8, 300), torch.randint(0, 300, (512,))
    with Largest() as largest:
        chunked_cross_entropy(states, head, labels, 32).backward()
    assert largest.size == 32 * 300
    with Largest() as largest:
        cross_entropy(head(states), labels).backward()
    assert largest.size == 512 * 300


def test_half_precision_is_turned_into_gradients_a_megabyte_of_float32_at_a_time():
    states, head, labels = words(num_labels=600, size=8, vocab_size=1000)
    states, head = states.detach().bfloat16().requires_grad_(), head.bfloat16()
    with Largest(torch.float32) as largest:
        chunked = chunked_cross_entropy(states, head, labels, 600)
    assert largest.size == 262 * 1000  # of whole labels, at most 2^18
    plain = cross_entropy(head(states), labels)
    torch.testing.assert_close(chunked, plain)
    inputs = (states, head.weight)
    expected = torch.autograd.grad(plain, inputs)
    torch.testing.assert_close(torch.autograd.grad(chunked, inputs), expected, rtol=5e-2, atol=1e-5)


def words(num_labels=512, size=64, vocab_size=32_000):
    states = torch.randn(num_labels, size, requires_grad=True)
    return states, nn.Linear(size, vocab_size, bias=False), torch.randint(0, vocab_size, (num_labels,))


def peak_memory(step) -> int:
    """The most bytes that a step held at once beyond those it found."""
    settings = {"activities": [torch.profiler.ProfilerActivity.CPU], "profile_memory": True}
    with torch.profiler.profile(**settings) as profiler:
        step()
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = torch.tensor([event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())])
    return held.cumsum(0).max().item()


@pytest.mark.parametrize(("divergence_weight", "share_of_memory", "share_of_time"), [(0, 1 / 3, 1.1), (1, 1 / 4, 1)])
def test_peak_memory_is_at_most_a_third_and_it_is_no_slower(divergence_weight, share_of_memory, share_of_time):
    states, head, labels = words()
    labels = labels[:256].repeat(2)

    def step(loss):
        states.grad = head.weight.grad = None
        loss().backward()

    def plain_loss():
        logits = head(states)
        loss = cross_entropy(logits, labels)
        if divergence_weight:
            loss = loss + divergence_weight * symmetric_divergence(*logits.chunk(2)).sum() / len(labels)
        return loss

    def plain():
        step(plain_loss)

    def chunked():
        step(lambda: chunked_cross_entropy(states, head, labels, 64, divergence_weight=divergence_weight))

    logits = len(labels) * head.out_features * 4
    assert peak_memory(plain) > 2 * logits  # what is measured is what it is about: the logits and their gradient
    assert peak_memory(chunked) < share_of_memory * peak_memory(plain)

    seconds = {plain: [], chunked: []}
    for _ in range(5):
        for way, taken in seconds.items():  # by turns: whatever else the machine does slows both
            started = time.process_time()
            way()
            taken.append(time.process_time() - started)
    # It takes four fifths of the plain way's time, and of two readings' half; the margin is for noise.
    assert statistics.median(seconds[chunked]) < share_of_time * statistics.median(seconds[plain])


@pytest.mark.parametrize(("vocab_size", "size"), [(999, None), (1000, 4194), (8192, 512), (2**20, 64)])
def test_four_million_logits_at_a_time_from_a_vocabulary_of_a_thousand_on(vocab_size, size):
    assert labels_per_chunk(vocab_size) == size
    assert labels_per_chunk(vocab_size, at_least=512) == (size and max(size, 512))


def test_all_logits_lie_in_the_same_memory_chunk_by_chunk():
    states, head, labels = words(num_labels=65, size=8, vocab_size=1000)

    def step(chunk_size):
        return lambda: chunked_cross_entropy(states, head, labels, chunk_size)

    logits = 4 * head.out_features  # of a label, in bytes
    assert peak_memory(step(16)) - peak_memory(step(4)) == pytest.approx(12 * logits, rel=0.2)
    for chunk_size in (4, 60):  # the last chunk is shorter, and leaves no trace of the one before
        head.weight.grad = states.grad = None
        step(chunk_size)().backward()
        expected = torch.autograd.grad(cross_entropy(head(states), labels), (states, head.weight))
        torch.testing.assert_close((states.grad, head.weight.grad), expected)


def test_the_causal_loss_shifts_unless_it_is_done():
    logits, labels = torch.randn(2, 6, 11), torch.randint(0, 11, (2, 6))
    expected = nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
    torch.testing.assert_close(causal_language_model_loss(logits, labels, vocab_size=11), expected)
    shifted = labels.roll(-1, dims=1)
    shifted[:, -1] = -100
    torch.testing.assert_close(causal_language_model_loss(logits, None, shift_labels=shifted), expected)
    labels[:, 2:4] = 3
    expected = causal_language_model_loss(logits, labels.masked_fill(labels == 3, -100))
    torch.testing.assert_close(causal_language_model_loss(logits, labels, ignore_index=3), expected)


@pytest.mark.parametrize("tied", [False, True])
def test_a_language_model_trains_the_same_with_chunks_but_returns_no_logits(tied):
    sizes = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = TransformerDecoderConfig(**sizes, label_smoothing=0.1, tie_word_embeddings=tied)
    model = TransformerDecoderForCausalLM(config).train()
    ids = torch.randint(0, 40, (3, 9))
    labels = ids.masked_fill(torch.rand(3, 9) < 0.2, -100)

    def step(**kwargs):
        model.zero_grad()
        outputs = model(ids, labels=labels, **kwargs)
        outputs.loss.backward()
        return outputs, {name: p.grad.clone() for name, p in model.named_parameters()}

    for kwargs in ({}, {"num_items_in_batch": 100}, {"shift_labels": labels}):
        model.config.loss_chunk_size = None
        plain, expected = step(**kwargs)
        model.config.loss_chunk_size = 7
        chunked, gradients = step(**kwargs)
        assert plain.logits is not None
        assert chunked.logits is None
        torch.testing.assert_close(chunked.loss, plain.loss)
        for name, gradient in gradients.items():
            torch.testing.assert_close(gradient, expected[name], msg=name)
    # Evaluation gives logits, and a loss that is not smoothed.
    evaluated = model.eval()(ids, labels=labels)
    expected = causal_language_model_loss(evaluated.logits, labels)
    torch.testing.assert_close(evaluated.loss, expected)


def test_losses_of_a_classifier_divide_by_items():
    loss, labels = torch.tensor(2.0), torch.zeros(4, 3)
    assert divide_by_items(loss, labels, "regression", None) == 2
    assert divide_by_items(loss, labels, "single_label_classification", 24) == 2
    assert divide_by_items(loss, labels, "multi_label_classification", torch.tensor(24)) == 1


def test_compiled_layers_are_one_graph_and_the_loss_in_parts_is_in_none():
    counts = {"graphs": 0, "operations": set()}

    def note(graph, inputs):
        counts["graphs"] += 1
        counts["operations"] |= {str(node.target) for node in graph.graph.nodes}
        return graph

    config = TransformerDecoderConfig(
        vocab_size=11,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=3,
        num_attention_heads=2,
        loss_chunk_size=4,
    )
    model, tokens = TransformerDecoderForCausalLM(config).train(), torch.randint(0, 11, (2, 6))
    plain = model(tokens, labels=tokens).loss
    compiled = torch.compile(model, backend=note)(tokens, labels=tokens).loss

    torch.testing.assert_close(compiled, plain)
    assert counts["graphs"] <= 2  # the three layers, and what shifts the labels
    assert not any("nonzero" in operation for operation in counts["operations"])
