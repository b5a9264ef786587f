"""States and gates over a text: against the cells' equations, a net set by hand, and correlations by numpy."""

import numpy as np
import pytest
import torch

from seqnlp import (
    RecurrentConfig,
    RecurrentForCausalLM,
    RecurrentForSequenceClassification,
    RecurrentForTimeSeriesPrediction,
    RecurrentForTokenClassification,
    RecurrentModel,
    RecurrentSeq2SeqConfig,
    RecurrentSeq2SeqForConditionalGeneration,
    TransformerDecoderConfig,
    TransformerDecoderForCausalLM,
)
from seqnlp.diagnostics import DiagnosticsError, find_responses, read_states
from seqnlp.diagnostics.states import _standardized, shifted_correlations
from seqnlp.models.cells import CELLS


TEXT = 'def f(a, b=(1, 2)):\n    return g(a[0], "x (y)") + h(b)\n\nprint(f((1,), [2]))\n' * 3
SIZES = {"vocab_size": 128, "hidden_size": 6, "embedding_size": 5}


def characters(text):
    """Ids and spans with a character a token."""
    return torch.tensor([[ord(c) for c in text]]), [(i, i + 1) for i in range(len(text))]


def read(model, text=TEXT):
    ids, spans = characters(text)
    return read_states(model, ids, text, spans)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def positive(x):
    return np.where(x >= 0, x + 0.5, sigmoid(x))


def elman(x, u, h):
    h = np.tanh(x(0) + u(0, h[0]))
    return (h,), {}


def gru(x, u, h):
    r, z = sigmoid(x(0) + u(0, h[0])), sigmoid(x(1) + u(1, h[0]))
    n = np.tanh(x(2) + r * u(2, h[0]))
    return ((1 - z) * n + z * h[0],), {"reset_gate": r, "update_gate": z, "hidden_candidate": n}


def lstm(x, u, h):
    i, f, o = (sigmoid(x(k) + u(k, h[0])) for k in (0, 1, 3))
    g = np.tanh(x(2) + u(2, h[0]))
    c = f * h[1] + i * g
    gates = {"input_gate": i, "forget_gate": f, "cell_candidate": g, "output_gate": o}
    return (o * np.tanh(c), c), gates


def mingru(x, u, h):
    z, n = sigmoid(x(0)), positive(x(1))
    return ((1 - z) * h[0] + z * n,), {"update_gate": z, "hidden_candidate": n}


def minlstm(x, u, h):
    i, f, n = sigmoid(x(0)), sigmoid(x(1)), positive(x(2))
    i, f = i / (f + i), f / (f + i)  # those that are observed add up to one
    return (f * h[0] + i * n,), {"input_gate": i, "forget_gate": f, "hidden_candidate": n}


@pytest.mark.parametrize("step", [elman, gru, lstm, mingru, minlstm], ids=lambda step: step.__name__)
@pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "both ways"])
def test_states_and_gates_are_those_of_the_equations(step, bidirectional):
    torch.manual_seed(0)
    model = RecurrentModel(RecurrentConfig(**SIZES, cell_type=step.__name__, bidirectional=bidirectional)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(-1, 1)
    text = "ab(c)"
    reading = read(model, text)
    embedded = model.embed_tokens(characters(text)[0])[0].detach().numpy()
    for cell in model.layers[0].cells:
        weight, bias = (t.detach().numpy() for t in (cell.input_proj.weight, cell.input_proj.bias))
        matrix, offset = np.zeros((len(bias), 6)), np.zeros(len(bias))
        if cell.recurrent_proj is not None:
            matrix, offset = cell.recurrent_proj.weight.detach().numpy(), cell.recurrent_proj.bias.detach().numpy()
        is_backward = cell is model.layers[0].backward_cell
        state, expected = tuple(np.zeros(6) for _ in cell.states), {}
        for place in range(len(text))[:: -1 if is_backward else 1]:
            rows = [slice(6 * k, 6 * k + 6) for k in range(len(cell.gates))]
            at = embedded[place]
            state, gates = step(
                lambda k: weight[rows[k]] @ at + bias[rows[k]],  # noqa: B023, called in this step alone
                lambda k, h: matrix[rows[k]] @ h + offset[rows[k]],  # noqa: B023
                state,
            )
            for name, values in [*zip(cell.states, state, strict=True), *gates.items()]:
                expected[name, place] = values
        traces = [trace for trace in reading.traces if trace.is_backward == is_backward]
        assert {trace.part for trace in traces} == {name for name, _ in expected}
        for trace in traces:
            by_hand = np.stack([expected[trace.part, place] for place in range(len(text))])
            np.testing.assert_allclose(trace.values, by_hand, atol=1e-6)


@pytest.mark.parametrize("cell_type", CELLS)
def test_every_cell_shows_its_states_and_gates(cell_type):
    """Whatever cells there are: what is shown is what the cell itself names."""
    model = RecurrentForCausalLM(RecurrentConfig(**SIZES, cell_type=cell_type, num_hidden_layers=2))
    reading = read(model)
    for layer in (1, 2):
        traces = {trace.part: trace for trace in reading.traces if trace.layer == layer}
        assert [part for part, trace in traces.items() if trace.is_state] == list(CELLS[cell_type].states)
        assert {part for part, trace in traces.items() if not trace.is_state} <= set(CELLS[cell_type].gates)
        assert all(len(trace.values) == len(TEXT) for trace in traces.values())
    outputs = model.model(characters(TEXT)[0]).last_hidden_state[0]
    seen = model.model.layers[1].forward_cell.output(traces[CELLS[cell_type].states[0]].values)
    torch.testing.assert_close(seen, outputs.detach(), atol=1e-5, rtol=1e-4)
    assert model.config.recurrence_implementation == "fused"


def counting_lstm(unit=3):
    """
    An LSTM with random weights, but for one unit that adds tanh(1) for each opening bracket and takes it off for each
    closing one: input and forget gate are open whatever comes, and its candidate sees component 0 of the embedding.
    """
    torch.manual_seed(1)
    model = RecurrentForCausalLM(RecurrentConfig(**SIZES))
    cell = model.model.layers[0].forward_cell
    gates = {name: 6 * index + unit for index, name in enumerate(cell.gates)}
    with torch.no_grad():
        embeddings = model.model.embed_tokens.weight
        embeddings[:, 0] = 0
        embeddings[[ord(c) for c in "([{"], 0] = 1
        embeddings[[ord(c) for c in ")]}"], 0] = -1
        for row in gates.values():
            cell.input_proj.weight[row] = cell.recurrent_proj.weight[row] = cell.input_proj.bias[row] = 0
        cell.input_proj.weight[gates["cell_candidate"], 0] = 1
        cell.input_proj.bias[[gates["input_gate"], gates["forget_gate"]]] = 40
    return model


def test_the_unit_that_counts_brackets_is_found():
    reading = read(counting_lstm())
    traces = [trace for trace in reading.traces if trace.part == "cell"]
    depth = [0]
    for character in TEXT:
        depth.append(depth[-1] + (character in "([{") - (character in ")]}"))
    torch.testing.assert_close(traces[0].values[:, 3], np.tanh(1) * torch.tensor(depth[1:]).float(), atol=1e-4, rtol=0)
    responses, remarks = find_responses(reading, traces)
    found = next(response for response in responses if response.property.name == "bracket depth")
    trace, unit, correlation = found.best()[0]
    assert (trace.name, unit) == ("layer 1, cell state", 3)
    assert correlation == pytest.approx(1, abs=1e-5)
    assert found.is_beyond_chance
    assert found.luck == pytest.approx(3 / len(TEXT))  # the text is thrice the same: two more shifts do as well
    assert found.chance < 0.95
    assert not remarks


def test_correlations_and_chance_are_those_of_a_loop_over_all_shifts():
    reading = read(RecurrentForCausalLM(RecurrentConfig(**SIZES, cell_type="gru")))
    traces = [trace for trace in reading.traces if trace.is_state]
    responses, _ = find_responses(reading, traces)
    steps = len(TEXT)
    values = traces[0].values.double().numpy()
    for response in responses:
        target = response.property.values[1:].numpy()  # behind each character
        by_shift = [
            [np.corrcoef(values[:, unit], np.roll(target, shift))[0, 1] for unit in range(6)] for shift in range(steps)
        ]
        np.testing.assert_allclose(response.correlations[0], by_shift[0], atol=1e-5)
        strongest = np.abs(by_shift).max(axis=1)
        assert response.chance == pytest.approx(np.quantile(strongest, 0.95), abs=1e-5)
        assert response.luck == pytest.approx((strongest > strongest[0] - 1e-7).mean())


def test_chance_is_exceeded_as_seldom_as_it_says():
    """Slow walks look alike though they know nothing of each other; counted step by step, nearly all would pass."""
    generator = torch.Generator().manual_seed(0)
    beyond = 0
    for _ in range(200):
        walks = torch.randn(300, 5, generator=generator).cumsum(0).double()
        walks = walks - torch.linspace(0, 1, 300).double()[:, None] * (walks[-1] - walks[0])  # they close the circle
        moved = shifted_correlations(_standardized(walks[:, 1:]), _standardized(walks[:, :1])[:, 0]).abs().amax(1)
        beyond += bool(moved[0] > moved.quantile(0.95))
    assert 3 <= beyond <= 20  # 10 expected of 200


def test_what_reads_backward_is_held_against_what_stands_before_its_token():
    """Read from the right, a bracket that closes is the one that opens: the mirror of the forward unit finds it."""
    torch.manual_seed(2)
    model = RecurrentForSequenceClassification(RecurrentConfig(**SIZES, bidirectional=True))
    forward = counting_lstm().model
    with torch.no_grad():
        model.model.embed_tokens.weight.copy_(forward.embed_tokens.weight)
        for ours, theirs in zip(
            model.model.layers[0].backward_cell.parameters(), forward.layers[0].forward_cell.parameters(), strict=True
        ):
            ours.copy_(theirs)
        row = 6 * 2 + 3  # of the unit's candidate
        model.model.layers[0].backward_cell.input_proj.weight[row, 0] = -1
    reading = read(model)
    traces = [trace for trace in reading.traces if trace.part == "cell" and trace.is_backward]
    assert traces[0].name == "layer 1, backward, cell state"
    responses, _ = find_responses(reading, traces)
    found = next(response for response in responses if response.property.name == "bracket depth")
    assert found.best()[0][1] == 3
    assert found.best()[0][2] == pytest.approx(1, abs=1e-5)


def test_tokens_that_are_no_part_of_the_text_do_not_count():
    model = counting_lstm()
    ids, spans = characters(TEXT)
    with_marks = torch.cat([torch.tensor([[1]]), ids, torch.tensor([[2]])], dim=1)
    reading = read_states(model, with_marks, TEXT, [(0, 0), *spans, (0, 0)])
    assert len(reading.traces[0].values) == len(TEXT) + 2
    responses, _ = find_responses(reading, [trace for trace in reading.traces if trace.part == "cell"])
    assert max(float(one.correlations[0].abs().max()) for one in responses) == pytest.approx(1, abs=1e-5)


def test_a_model_that_reads_words_takes_a_step_per_word():
    config = RecurrentConfig(**SIZES, first_continuing_id=64, word_vocab_size=3, num_labels=2)
    model = RecurrentForTokenClassification(config)
    ids = torch.tensor([[5, 70, 71, 6, 7, 70]])  # three words of 3, 1 and 2 pieces
    spans = [(0, 1), (1, 2), (2, 3), (4, 5), (6, 7), (7, 8)]
    reading = read_states(model, ids, "abc d ef", spans)
    assert reading.spans == [(0, 3), (4, 5), (6, 8)]
    assert all(len(trace.values) == 3 for trace in reading.traces)


def test_of_an_encoder_decoder_the_encoder_is_shown():
    model = RecurrentSeq2SeqForConditionalGeneration(RecurrentSeq2SeqConfig(**SIZES, decoder_start_token_id=1))
    reading = read(model)
    assert reading.part_read == "encoder"
    assert {trace.is_backward for trace in reading.traces} == {False, True}
    outputs = model.get_encoder()(characters(TEXT)[0]).last_hidden_state[0].detach()
    hidden = [trace.values for trace in reading.traces if trace.part == "hidden"]
    torch.testing.assert_close(torch.cat(hidden, dim=1)[:, : outputs.shape[1]], outputs, atol=1e-5, rtol=1e-4)


def test_what_never_changes_in_a_text_and_what_is_too_short_is_said():
    model = RecurrentForCausalLM(RecurrentConfig(**SIZES))
    reading = read(model, "a plain line of text\nand one more of them\n")
    responses, remarks = find_responses(reading, reading.traces[:1])
    assert [one.property.name for one in responses] == ["position in line"]
    assert [line.split(":")[0] for line in remarks[:3]] == ["inside quotes", "inside brackets", "bracket depth"]
    responses, remarks = find_responses(read(model, "short (one)"), reading.traces[:1])
    assert responses == []
    assert "takes 20 steps, and the text has 11" in remarks[0]


def test_models_without_a_recurrent_state_are_refused():
    config = TransformerDecoderConfig(vocab_size=128, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
    with pytest.raises(DiagnosticsError, match="has no recurrent state"):
        read(TransformerDecoderForCausalLM(config))
    series = RecurrentForTimeSeriesPrediction(RecurrentConfig(input_size=1, hidden_size=4))
    with pytest.raises(DiagnosticsError, match="reads no text"):
        read(series)
