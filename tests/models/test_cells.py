"""Every cell is complete, computes what its printed equations say, and a new one takes a class and nothing else."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, AutoModelForCausalLM

import seqnlp
from seqnlp import (
    RecurrentConfig,
    RecurrentForCausalLM,
    RecurrentForSequenceClassification,
    RecurrentForTimeSeriesPrediction,
    RecurrentForTokenClassification,
    RecurrentModel,
    RecurrentSeq2SeqConfig,
    RecurrentSeq2SeqForConditionalGeneration,
    TransformerConfig,
    TransformerForConditionalGeneration,
)
from seqnlp.diagnostics.recurrent_layers import _TORCH_GATES, find_cells, watch_cells
from seqnlp.models import recurrence
from seqnlp.models.cells import CELLS, LinearCell, RecurrentCell
from seqnlp.models.recurrence import Padding, eager_recurrence, fused_recurrence, scan_recurrence


WORDS = {"vocab_size": 30, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
MASK = torch.tensor([[0, 0, 1, 1, 1, 1], [1, 1, 0, 1, 1, 0], [1, 1, 1, 1, 1, 1]])
every_cell = pytest.mark.parametrize("cell_class", CELLS.values(), ids=CELLS)


def sigmoid(values):
    return 1 / (1 + (-values).exp())


@every_cell
def test_a_cell_is_complete(cell_class):
    assert CELLS[cell_class.cell_type] is cell_class
    assert all(isinstance(getattr(cell_class, name), str) for name in ("title", "equations", "citation"))
    assert re.search(r"\d{4}", cell_class.citation)
    assert cell_class.states[0] in ("hidden", "cell")
    assert (cell_class.forward_packed is None) == (cell_class.backward_packed is None)
    cell = cell_class(3, 5)
    state, gates = cell(torch.randn(2, 5 * len(cell.gates)), (torch.randn(2, 5),) * cell.num_states)
    assert [tuple(tensor.shape) for tensor in state] == [(2, 5)] * len(cell.states)
    assert set(gates) <= set(cell.gates)
    for hidden_act in cell.hidden_acts if cell_class.torch_class else ():
        twin = cell_class.torch_class(3, 5, **cell_class(3, 5, hidden_act).torch_options)
        assert [weight.shape for weight in twin.parameters()] == [weight.shape for weight in cell.torch_weights()]
        assert _TORCH_GATES[twin.mode] == cell.gates


def by_the_printed_equations(cell, inputs, state):
    """One step for one row, from the text that a card shows: `W_i x_t` is a product, and so is `U_i h_{t-1}`."""
    letters = re.findall(r"W_(\w) x_t", cell.equations) or [""]
    names = {"act": torch.tanh, "tanh": torch.tanh, "sigmoid": sigmoid, "sqrt": torch.sqrt, "x_t": inputs}
    names |= dict(cell.named_parameters(recurse=False))
    names["relu"] = lambda values: values.clamp(min=0)
    lines = cell.equations.splitlines()
    if lines[-1].startswith("g(x) = "):  # said of one number
        of_one = lines.pop().removeprefix("g(x) = ")
        names["g"] = lambda values: torch.stack([eval(of_one, {}, {"x": x, "sigmoid": sigmoid}) for x in values])
    symbols = [name[0] for name in cell.states]  # h for the hidden state, c for a cell
    names |= {f"{symbol}_before": tensor for symbol, tensor in zip(symbols, state, strict=True)}
    blocks = [tensor.split(cell.hidden_size) for tensor in cell.torch_weights()]
    if cell.recurrent_proj is None:
        blocks = [blocks[0], ["no U"] * len(letters), blocks[1], [0] * len(letters)]
    for letter, w, u, b, b_u in zip(letters, *blocks, strict=True):
        end = f"_{letter}" if letter else ""
        names |= {f"W{end}": w, f"U{end}": u, f"b{end}": b + b_u}
        if f"c{end} " in cell.equations or f"c{end})" in cell.equations:  # a second bias by itself
            names |= {f"b{end}": b, f"c{end}": b_u}
    for line in lines:
        line = re.sub(r"([hc])_\{t-1\}", r"\1_before", re.split(r"\s{2,}", line)[0])
        line = re.sub(r"([WU]\w*) (x_t|h_before)", r"(\1 @ \2)", line).replace("^", "**")
        name, formula = line.split(" = ")
        names[name] = eval(formula, {}, names)
    return [names[f"{symbol}_t"] for symbol in symbols], names["h_t"]


@every_cell
def test_a_cell_computes_what_its_printed_equations_say(cell_class):
    cell = cell_class(3, 5).double()
    inputs = torch.randn(3, dtype=torch.double)
    state = [torch.randn(5, dtype=torch.double) for _ in cell.states]
    computed, _ = cell(cell.input_proj(inputs).unsqueeze(0), tuple(tensor.unsqueeze(0) for tensor in state))
    expected, seen = by_the_printed_equations(cell, inputs, state)
    torch.testing.assert_close([tensor.squeeze(0) for tensor in computed], expected)
    torch.testing.assert_close(cell.output(computed[0]).squeeze(0), seen)


# Marian's format has the SSRU, exercises are about certain cells, some cells have drawings and looks of their own; the
# architecture of the recipes by default is a cell.
OF_CERTAIN_CELLS = ("conversion/marian.py", "labs", "visualization/cell_diagrams.py", "visualization/colors.py")
OF_CERTAIN_CELLS += ("models/cells.py", "tasks/arguments.py")


def test_nothing_else_names_a_cell():
    package = Path(seqnlp.__file__).parent
    for path in package.rglob("*.py"):
        if path.relative_to(package).as_posix().startswith(OF_CERTAIN_CELLS):
            continue
        tree = ast.parse(path.read_text())
        defaults = [node.value for node in ast.walk(tree) if isinstance(node, ast.AnnAssign)]
        named = [
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and node.value in CELLS and node not in defaults
        ]
        assert not named, f"{path.name} names {named}"


def test_a_cell_that_does_not_exist_is_refused_with_those_that_do():
    for config_class in (RecurrentConfig, RecurrentSeq2SeqConfig):
        with pytest.raises(Exception, match="cell_type='lsmt' is not one of elman, gru, lstm, mingru, minlstm"):
            config_class(cell_type="lsmt")


# What follows is a new cell: its class, and how its steps are computed by a plain loop.


def define_minimal_gated_unit():
    class MinimalGatedUnit(RecurrentCell):
        """Zhou et al. 2016 (arXiv 1603.09420), equations 4 to 6, the forget gate behind `U h` as the GRU's reset."""

        cell_type = "minimal_gated_unit"
        title = "minimal gated unit"
        equations = "h_t = (1 - f_t) * h_{t-1} + f_t * tanh(W x_t + f_t * (U h_{t-1}))"
        citation = "Zhou et al. 2016"
        gates = ("forget_gate", "hidden_candidate")

        def forward(self, projected_input, state):
            from_input, from_hidden = projected_input.chunk(2, -1), self.recurrent_proj(state[0]).chunk(2, -1)
            forget_gate = torch.sigmoid(from_input[0] + from_hidden[0])
            candidate = torch.tanh(from_input[1] + forget_gate * from_hidden[1])
            return ((1 - forget_gate) * state[0] + forget_gate * candidate,), {"forget_gate": forget_gate}

    def step(x, state, w, u, b, b_u):
        w_f, w_h, u_f, u_h = *w.split(len(w) // 2), *u.split(len(u) // 2)
        b_f, b_h, bu_f, bu_h = *b.split(len(b) // 2), *b_u.split(len(b_u) // 2)
        f = sigmoid(w_f @ x + b_f + u_f @ state[0] + bu_f)
        return [state[0] - f * state[0] + f * torch.tanh(w_h @ x + b_h + f * (u_h @ state[0] + bu_h))]

    return MinimalGatedUnit, step


def define_leaky_integrator():
    class LeakyIntegrator(RecurrentCell):
        """A potential that leaks, and its tanh as the hidden state: two tensors, as an LSTM has."""

        cell_type = "leaky_integrator"
        title = "leaky integrator"
        equations = "p_t = 0.8 p_{t-1} + 0.2 (W x_t + U h_{t-1} + b); h_t = tanh(p_t)"
        citation = "made up"
        gates = ("current",)
        states = ("hidden", "potential")

        def forward(self, projected_input, state):
            current = projected_input + self.recurrent_proj(state[0])
            potential = 0.8 * state[1] + 0.2 * current
            return (potential.tanh(), potential), {"current": current}

    def step(x, state, w, u, b, b_u):
        potential = 0.8 * state[1] + 0.2 * (w @ x + b + u @ state[0] + b_u)
        return [torch.tanh(potential), potential]

    return LeakyIntegrator, step


def define_decaying_memory():
    class DecayingMemory(LinearCell):
        """The simplest one that is linear in its state, with no map from it."""

        cell_type = "decaying_memory"
        title = "decaying memory"
        equations = "h_t = sigmoid(W_f x_t + b_f) * h_{t-1} + W_n x_t + b_n"
        citation = "made up"
        gates = ("forget_gate", "hidden_candidate")

        def coefficients(self, projected_input):
            forget_gate, update = torch.sigmoid(projected_input.chunk(2, -1)[0]), projected_input.chunk(2, -1)[1]
            return forget_gate, update, {"forget_gate": forget_gate, "hidden_candidate": update}

    def step(x, state, w, b):
        (w_f, w_n), (b_f, b_n) = w.split(len(w) // 2), b.split(len(b) // 2)
        return [sigmoid(w_f @ x + b_f) * state[0] + w_n @ x + b_n]

    return DecayingMemory, step


def define_independent_units():
    class IndependentUnits(RecurrentCell):
        """Li et al. 2018 (arXiv 1803.04831), equation 2: a vector of its own in place of the map from the state."""

        cell_type = "independent_units"
        title = "IndRNN"
        equations = "h_t = act(W x_t + u * h_{t-1} + b)"
        citation = "Li et al. 2018"
        gates = ("hidden_candidate",)
        has_recurrent_map = False

        def __init__(self, input_size, hidden_size, hidden_act="tanh"):
            super().__init__(input_size, hidden_size, hidden_act)
            self.u = torch.nn.Parameter(torch.linspace(0.5, 1.0, hidden_size))

        def forward(self, projected_input, state):
            return (torch.tanh(projected_input + self.u * state[0]),), {}

    def step(x, state, w, b, u):
        return [torch.tanh(w @ x + u * state[0] + b)]

    return IndependentUnits, step


def define_gated_decay():
    class GatedDecay(LinearCell):
        """De et al. 2024 (arXiv 2402.19427), section 2.4, over a map of the input; with a vector of its own."""

        cell_type = "gated_decay"
        title = "RG-LRU"
        equations = """r_t = sigmoid(W_r x_t + b_r)                               recurrence gate
i_t = sigmoid(W_i x_t + b_i)                               input gate
a_t = sigmoid(l)^(8 * r_t)
h_t = a_t * h_{t-1} + sqrt(1 - a_t^2) * (i_t * (W_n x_t + b_n))"""
        citation = "De et al. 2024"
        gates = ("recurrence_gate", "input_gate", "hidden_candidate")
        candidate_act = "linear"

        def __init__(self, input_size, hidden_size, hidden_act="tanh"):
            super().__init__(input_size, hidden_size, hidden_act)
            self.l = torch.nn.Parameter(torch.linspace(2.0, 4.0, hidden_size))

        def coefficients(self, projected_input):
            from_input = projected_input.chunk(3, -1)
            recurrence_gate, input_gate = torch.sigmoid(from_input[0]), torch.sigmoid(from_input[1])
            decay = torch.exp(8 * recurrence_gate * torch.nn.functional.logsigmoid(self.l))
            gates = {"recurrence_gate": recurrence_gate, "input_gate": input_gate}
            return decay, torch.sqrt(1 - decay**2) * input_gate * from_input[2], gates

    def step(x, state, w, b, decay):
        (w_r, w_i, w_n), (b_r, b_i, b_n) = w.split(len(w) // 3), b.split(len(b) // 3)
        a = sigmoid(decay) ** (8 * sigmoid(w_r @ x + b_r))
        return [a * state[0] + (1 - a * a) ** 0.5 * sigmoid(w_i @ x + b_i) * (w_n @ x + b_n)]

    return GatedDecay, step


OWN_PARAMETERS = (define_independent_units, define_gated_decay)


def shipped(cell_type):
    """The plain loop of a cell of ours, from the equations of Feng et al. 2024 (3.1, 3.2) and Kim et al. 2019 (3)."""

    def g(values):
        return torch.stack([x + 0.5 if x >= 0 else sigmoid(x) for x in values])

    def step_of_mingru(x, state, w, b):
        (w_z, w_h), (b_z, b_h) = w.split(len(w) // 2), b.split(len(b) // 2)
        z = sigmoid(w_z @ x + b_z)
        return [(1 - z) * state[0] + z * g(w_h @ x + b_h)]

    def step_of_minlstm(x, state, w, b):
        (w_i, w_f, w_h), (b_i, b_f, b_h) = w.split(len(w) // 3), b.split(len(b) // 3)
        i, f = sigmoid(w_i @ x + b_i), sigmoid(w_f @ x + b_f)
        return [f / (f + i) * state[0] + i / (f + i) * g(w_h @ x + b_h)]

    def step_of_ssru(x, state, w, b):
        (w_f, w_c), (b_f, b_c) = w.split(len(w) // 2), b.split(len(b) // 2)
        f = sigmoid(w_f @ x + b_f)
        return [f * state[0] + (1 - f) * (w_c @ x + b_c)]

    steps = {"mingru": step_of_mingru, "minlstm": step_of_minlstm, "ssru": step_of_ssru}
    return CELLS[cell_type], steps[cell_type]


@pytest.fixture(
    params=[
        define_minimal_gated_unit,
        define_leaky_integrator,
        define_decaying_memory,
        *OWN_PARAMETERS,
        "mingru",
        "minlstm",
        "ssru",
    ],
    ids=lambda param: getattr(param, "__name__", param),
)
def new_cell(request, monkeypatch):
    """The class, known for as long as the test runs, and its step; a warning of any kind is a failure."""
    cell_class, step = shipped(request.param) if isinstance(request.param, str) else request.param()

    def fail(message):
        raise AssertionError(message)

    monkeypatch.setattr(recurrence.logger, "warning_once", fail)
    yield cell_class, step
    if not isinstance(request.param, str):
        del CELLS[cell_class.cell_type]


def run_plainly(step, cell, rows, masks, reverse=False):
    """Each row alone, token by token, without its padding: the states at the tokens (0 at padding), and the last."""
    outputs, finals = [], []
    for row, mask in zip(rows, masks, strict=True):
        state = [torch.zeros(cell.hidden_size, dtype=row.dtype) for _ in cell.states]
        hidden = [torch.zeros(cell.hidden_size, dtype=row.dtype)] * len(row)
        for index in reversed(range(len(row))) if reverse else range(len(row)):
            if mask[index]:
                state = step(row[index], state, *cell.torch_weights(), *cell.parameters(recurse=False))
                hidden[index] = state[0].clamp(min=0) if cell.cell_type == "ssru" else state[0]
        outputs.append(torch.stack(hidden))
        finals.append(state)
    return torch.stack(outputs), [torch.stack(tensors) for tensors in zip(*finals, strict=True)]


@pytest.mark.parametrize("run", [eager_recurrence, fused_recurrence, scan_recurrence])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_new_cell_runs_over_time_as_a_plain_loop_does(new_cell, run, reverse):
    cell = new_cell[0](4, 5).double()
    rows = torch.randn(3, 6, 4, dtype=torch.double, requires_grad=True)
    expected, expected_final = run_plainly(new_cell[1], cell, rows, MASK, reverse)
    state = (torch.zeros(3, 5, dtype=torch.double),) * cell.num_states
    padding = Padding.from_mask(MASK, num_directions=2)
    outputs, final = run(cell, rows, state, padding, reverse)
    torch.testing.assert_close((outputs, *final), (expected, *expected_final))
    if run is not scan_recurrence:  # exported alone, never trained
        weights = torch.randn_like(expected)
        theirs = torch.autograd.grad((expected * weights).sum(), [rows, *cell.parameters()])
        ours = torch.autograd.grad((outputs * weights).sum(), [rows, *cell.parameters()])
        torch.testing.assert_close(ours, theirs)


def config_of(cell_class, **kwargs):
    sizes = {"hidden_size": 8, "num_hidden_layers": 2, "initializer_range": 1.0}
    return RecurrentConfig(cell_type=cell_class.cell_type, **{**sizes, **WORDS, **kwargs})


def test_a_stack_of_a_new_cell_reads_both_ways_and_gives_its_states(new_cell, tmp_path):
    model = RecurrentModel(config_of(new_cell[0], bidirectional=True)).double()
    ids = torch.randint(4, 30, (3, 6))
    states, finals = model.embed_tokens(ids), []
    for layer in model.layers:
        ways = [run_plainly(new_cell[1], cell, states, MASK, way == 1) for way, cell in enumerate(layer.cells)]
        states = torch.cat([outputs for outputs, _ in ways], dim=-1)
        finals += [final for _, final in ways]
    outputs = model(ids, attention_mask=MASK)
    torch.testing.assert_close(outputs.last_hidden_state, states)
    expected = [torch.stack(tensors) for tensors in zip(*finals, strict=True)]  # as torch gives them
    torch.testing.assert_close(list(outputs.cache.to_torch()), expected)
    with pytest.raises(ValueError, match=f"no recurrent layer of cell_type='{new_cell[0].cell_type}'"):
        model.to_torch()

    model.float().save_pretrained(tmp_path)
    loaded = AutoModel.from_pretrained(tmp_path)
    assert all(torch.equal(weight, loaded.state_dict()[name]) for name, weight in model.state_dict().items())
    assert torch.equal(loaded(ids)[0], model(ids)[0])


def test_a_language_model_of_a_new_cell_writes_the_same_whichever_way(new_cell, tmp_path):
    model = RecurrentForCausalLM(config_of(new_cell[0], eos_token_id=None)).eval()
    ids = torch.randint(4, 30, (2, 5))
    prompts = torch.tensor([[0, 0, 0, *ids[0, :2]], ids[1].tolist()])
    mask = (prompts != 0).long()
    for beams in (1, 3):
        settings = {"max_new_tokens": 6, "do_sample": False, "num_beams": beams}
        written = model.generate(prompts, attention_mask=mask, **settings)
        for others in ({"use_cache": False}, {"cache_implementation": "static", "disable_compile": True}):
            assert torch.equal(written, model.generate(prompts, attention_mask=mask, **settings, **others))
        assert torch.equal(written[:1, 3:], model.generate(ids[:1, :2], **settings))
    whole = written[0, 3:]
    hidden = model.model.embed_tokens(whole).unsqueeze(0)
    for layer in model.model.layers:
        hidden, _ = run_plainly(new_cell[1], layer.forward_cell, hidden, torch.ones(1, len(whole)))
    torch.testing.assert_close(model(whole.unsqueeze(0)).logits, model.lm_head(hidden))
    model.save_pretrained(tmp_path)
    assert torch.equal(AutoModelForCausalLM.from_pretrained(tmp_path)(whole[None]).logits, model(whole[None]).logits)


@pytest.mark.parametrize("pooling", ["last", "mean", "max", "attention"])
def test_classifiers_of_a_new_cell_do_not_see_padding(new_cell, pooling):
    ids = torch.randint(4, 30, (3, 6))
    config = config_of(new_cell[0], bidirectional=True, pooling=pooling)
    for model_class in (RecurrentForSequenceClassification, RecurrentForTokenClassification):
        model = model_class(config).eval()
        logits = model(ids, attention_mask=MASK).logits
        for row, valid in enumerate(MASK.bool()):
            alone = model(ids[row : row + 1, valid]).logits[0]
            torch.testing.assert_close(logits[row] if logits.dim() == 2 else logits[row, valid], alone)


def test_a_series_is_predicted_by_a_new_cell(new_cell):
    model = RecurrentForTimeSeriesPrediction(config_of(new_cell[0], input_size=1, prediction_length=3)).eval()
    past = torch.randn(1, 4, 1)
    expected = past
    for _ in range(3):  # each prediction is the next input
        features = torch.cat([expected, torch.ones_like(expected)], dim=-1)
        hidden = model.input_projection(features)
        for layer in model.model.layers:
            hidden, _ = run_plainly(new_cell[1], layer.forward_cell, hidden, torch.ones(1, expected.shape[1]))
        expected = torch.cat([expected, expected[:, -1:] + model.score(hidden[:, -1:])], dim=1)
    torch.testing.assert_close(model(past).prediction_outputs, expected[:, 4:])


@pytest.mark.parametrize("attention", [{"attention_type": "none"}, {"input_feeding": True}])
def test_a_translator_of_a_new_cell_writes_the_same_whichever_way(new_cell, attention):
    config = RecurrentSeq2SeqConfig(
        cell_type=new_cell[0].cell_type,
        hidden_size=8,
        num_hidden_layers=2,
        initializer_range=1.0,
        **WORDS,
        **attention,
    )
    model = RecurrentSeq2SeqForConditionalGeneration(config).eval()
    ids = torch.randint(4, 30, (3, 6)).masked_fill(MASK == 0, 0)
    for beams in (1, 3):
        settings = {"max_new_tokens": 6, "min_new_tokens": 6, "do_sample": False, "num_beams": beams}
        written = model.generate(ids, attention_mask=MASK, **settings)
        assert torch.equal(written, model.generate(ids, attention_mask=MASK, use_cache=False, **settings))
        for row, valid in enumerate(MASK.bool()):
            assert torch.equal(written[row : row + 1], model.generate(ids[row : row + 1, valid], **settings))
    outputs = model(ids, attention_mask=MASK, labels=written[:, 1:])
    outputs.loss.backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.model.encoder.layers.parameters())


def test_the_steps_of_a_new_cell_can_be_watched(new_cell):
    model = RecurrentModel(config_of(new_cell[0]))
    cells = find_cells(model)
    with watch_cells(model, cells):
        outputs = model(torch.randint(4, 30, (2, 5)))
    assert [len(cell.states) for cell in cells] == [5, 5]
    seen = cells[1].module.output(torch.stack(cells[1].states_in_time(0), dim=1))
    assert torch.equal(seen, outputs.last_hidden_state)
    assert len(cells[0].states[0]) == len(new_cell[0].states)


@pytest.fixture(params=OWN_PARAMETERS, ids=lambda param: param.__name__)
def cell_with_own(request):
    """The class of a cell with a parameter beside those of its maps, known for as long as the test runs."""
    cell_class, _ = request.param()
    yield cell_class
    del CELLS[cell_class.cell_type]


def test_equations_may_name_what_a_cell_has_of_its_own(cell_with_own):
    test_a_cell_computes_what_its_printed_equations_say(cell_with_own)


def test_what_a_cell_has_of_its_own_starts_as_in_a_new_cell_where_a_checkpoint_lacks_it(cell_with_own, tmp_path):
    name = cell_with_own.cell_type
    sizes = {"hidden_size": 8, **WORDS}
    models = [
        RecurrentModel(config_of(cell_with_own, bidirectional=True)),
        RecurrentSeq2SeqForConditionalGeneration(RecurrentSeq2SeqConfig(cell_type=name, **sizes)),
    ]
    if issubclass(cell_with_own, LinearCell):
        config = TransformerConfig(decoder_cell=name, num_attention_heads=2, **sizes)
        models.append(TransformerForConditionalGeneration(config))
    (own,) = (key for key, _ in cell_with_own(2, 8).named_parameters(recurse=False))
    start = getattr(cell_with_own(2, 8), own)
    for model in models:
        cells = [part for part in model.modules() if isinstance(part, RecurrentCell)]
        assert all(torch.equal(getattr(cell, own), start) for cell in cells)
        for cell in cells:
            getattr(cell, own).data += 1  # as training would
        model.save_pretrained(tmp_path)
        loaded = type(model).from_pretrained(tmp_path)
        assert all(torch.equal(value, model.state_dict()[key]) for key, value in loaded.state_dict().items())

        kept = {key: value for key, value in model.state_dict().items() if not key.endswith(f".{own}")}
        model.save_pretrained(tmp_path, state_dict=kept)
        loaded = type(model).from_pretrained(tmp_path)
        found = [part for part in loaded.modules() if isinstance(part, RecurrentCell)]
        assert len(found) == len(cells)
        assert all(torch.equal(getattr(cell, own), start) for cell in found)


def test_a_forget_gate_that_admits_what_is_new_starts_with_no_bias():
    """The gates of a minimal gated unit forget where they are open: a bias of one would shorten its memory."""
    cell_class, _ = define_minimal_gated_unit()
    try:
        cell = RecurrentModel(config_of(cell_class)).layers[0].forward_cell
        assert not cell.input_proj.bias.any()
        cell_class.keeping_gates = ("forget_gate",)
        cell = RecurrentModel(config_of(cell_class)).layers[0].forward_cell
        assert cell.input_proj.bias.tolist() == [1.0] * 8 + [0.0] * 8
    finally:
        del CELLS[cell_class.cell_type]


def test_an_initializer_that_a_cell_lacks_is_refused_with_those_that_it_has(cell_with_own):
    with pytest.raises(Exception, match=r"is for cell_type='elman'; '\w+' has 'orthogonal' and 'uniform'"):
        config_of(cell_with_own, recurrent_initializer="identity")


def test_nobody_is_told_of_a_remedy_that_our_cells_do_not_have():
    told = "RNN module weights are not part of single contiguous chunk of memory. To compact weights again call ..."
    lines = [
        "import warnings, seqnlp.models.cells as cells",
        f"for text in ({told!r}, 'something else'):",
        "    warnings.warn_explicit(text, UserWarning, cells.__file__, 1, cells.__name__)",
    ]
    found = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True).stderr
    assert "something else" in found
    assert "contiguous" not in found
