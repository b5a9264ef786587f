"""Checks of lab 4: LSTM and GRU from their equations, counted and started."""

import itertools

import torch

from ..models.cells import CELLS
from .checking import Wrong, call, exercise, gradient_reaches, randn, same, tensor, unpack, with_gradients


def _arguments(num_gates: int):
    x, h = randn(2, 3), randn(2, 4, seed=1)
    W, U = randn(num_gates * 4, 3, seed=2), randn(num_gates * 4, 4, seed=3)
    return x, h, W, U


def _reference(cell_type, W, U, b_w, b_u):
    """The project's own cell, with these weights."""
    cell = CELLS[cell_type](W.shape[1], U.shape[1])
    with torch.no_grad():
        for parameter, value in zip(cell.torch_weights(), (W, U, b_w, b_u), strict=True):
            parameter.copy_(value)
    return lambda x, *state: tuple(part.detach() for part in cell(cell.input_proj(x), state)[0])


@exercise
def lstm_cell(answer):
    """`lstm_cell(x, h, c, W, U, b)`: one step of an LSTM; the gates i, f, g, o are stacked in W, U and b."""
    x, h, W, U = _arguments(4)
    c, b = randn(2, 4, seed=4), randn(16, seed=5)
    leaves = with_gradients(W=W, U=U, b=b)
    got_h, got_c = unpack(call(answer, x, h, c, *leaves.values()), ("h", "c"))
    right_h, right_c = _reference("lstm", W, U, b, torch.zeros(16))(x, h, c)
    if isinstance(got_h, torch.Tensor) and got_h.shape == right_c.shape and torch.allclose(got_h, right_c, atol=1e-5):
        raise Wrong("h and c are returned in the wrong order: first the hidden state, then the cell.")

    total = x @ W.T + h @ U.T + b

    def run(order=(0, 1, 2, 3), total=total, squash=torch.tanh, before=c, shares=lambda f, i: (f, i)):
        i, f, g, o = (total.chunk(4, dim=-1)[index] for index in order)
        kept, written = shares(f.sigmoid(), i.sigmoid())
        new = kept * before + written * squash(g)
        return o.sigmoid() * torch.tanh(new), new

    names = ("i", "f", "g", "o")
    swapped = {}
    for one, other in itertools.combinations(range(4), 2):
        order = list(range(4))
        order[one], order[other] = order[other], order[one]
        swapped[f"the gates {names[one]} and {names[other]} are swapped: the blocks are i, f, g, o."] = run(order)
    mistakes = {
        **swapped,
        "the bias b is missing.": run(total=x @ W.T + h @ U.T),
        "the state before, h, is not used: it goes into all four gates.": run(total=x @ W.T + b),
        "the input x is not used.": run(total=h @ U.T + b),
        "the candidate g goes through a sigmoid; it is to lie between -1 and 1.": run(squash=torch.sigmoid),
        "the candidate g has no activation.": run(squash=lambda value: value),
        "the cell before, c, is forgotten whole: the forget gate is to decide.": run(before=torch.zeros_like(c)),
        "the forget gate multiplies h; it is the cell c that it keeps.": run(before=h),
        "the forget gate keeps what it is to forget: near one it keeps.": run(shares=lambda f, i: (1 - f, i)),
        "the cell is a sum, not a mixture: the input gate has weights of its own.": run(
            shares=lambda f, _: (f, 1 - f)
        ),
    }
    same(got_c, right_c, {sentence: value[1] for sentence, value in mistakes.items()}, "the cell c")
    o = total.chunk(4, dim=-1)[3]
    from_hidden = {
        "the output gate is missing.": torch.tanh(right_c),
        "the cell is to pass through tanh before the output gate lets it out.": o.sigmoid() * right_c,
        "the output gate has no sigmoid.": o * torch.tanh(right_c),
        "the output gate lets out the cell before the step.": o.sigmoid() * torch.tanh(c),
        "the output gate goes through tanh; a gate lies between 0 and 1.": o.tanh() * torch.tanh(right_c),
    }
    same(got_h, right_h, from_hidden, "the hidden state h")
    gradient_reaches(got_h + got_c, leaves)
    return "right: the same numbers as the cell of seqnlp."


@exercise
def gru_cell(answer):
    """`gru_cell(x, h, W, U, b, c)`: one step of a GRU; r, z, n are stacked, and c is the bias beside U."""
    x, h, W, U = _arguments(3)
    b, c = randn(12, seed=5), randn(12, seed=6)
    leaves = with_gradients(W=W, U=U, b=b, c=c)
    got = tensor(call(answer, x, h, *leaves.values()))
    (right,) = _reference("gru", W, U, b, c)(x, h)

    def run(order=(0, 1, 2), b=b, c=c, reset="after", keep=True, squash=torch.tanh):
        wr, wz, wn = ((x @ W.T + b).chunk(3, dim=-1)[index] for index in order)
        ur, uz, un = ((h @ U.T + c).chunk(3, dim=-1)[index] for index in order)
        r, z = (wr + ur).sigmoid(), (wz + uz).sigmoid()
        c_n = c.chunk(3)[order[2]]
        inner = {
            "after": r * un,
            "none": un,
            "state": (r * h) @ U.chunk(3)[order[2]].T + c_n,
            "outside": r * (un - c_n) + c_n,
        }
        n = squash(wn + inner[reset])
        return z * h + (1 - z) * n if keep else (1 - z) * h + z * n

    zero = torch.zeros(12)
    same(
        got,
        right,
        {
            "the update gate is turned round: near one it keeps the old state.": run(keep=False),
            "the gates r and z are swapped: the blocks are r, z, n.": run((1, 0, 2)),
            "the gate z and the candidate n are swapped: the blocks are r, z, n.": run((0, 2, 1)),
            "the reset gate is not used.": run(reset="none"),
            "the reset gate multiplies h before U; here it multiplies the product U h + c.": run(reset="state"),
            "the bias c of the candidate stands outside the reset gate; it is inside.": run(reset="outside"),
            "the bias b is missing.": run(b=zero),
            "the bias c is missing.": run(c=zero),
            "the candidate goes through a sigmoid; it is to lie between -1 and 1.": run(squash=torch.sigmoid),
        },
        "the new state",
    )
    gradient_reaches(got, leaves)
    return "right: the same numbers as the cell of seqnlp."


@exercise
def lstm_parameters(answer):
    """`lstm_parameters(input_size, hidden_size)`: how many numbers W, U and b have in all."""
    for inputs, width in ((3, 5), (10, 64)):
        one = width * (inputs + width + 1)
        got = tensor(call(answer, inputs, width), "the count")
        same(
            got,
            torch.tensor(4 * one),
            {
                "that is one gate: there are four blocks.": torch.tensor(one),
                "that is three blocks, a GRU: an LSTM has four.": torch.tensor(3 * one),
                "the bias is missing.": torch.tensor(4 * width * (inputs + width)),
                "U is missing.": torch.tensor(4 * width * (inputs + 1)),
                "W is missing.": torch.tensor(4 * width * (width + 1)),
                "there is one bias too many: W and U share b here.": torch.tensor(4 * width * (inputs + width + 2)),
            },
            "the count",
        )


@exercise
def open_forget_gate(answer):
    """`open_forget_gate(b, value)`: the bias of an LSTM with that of the forget gate set to `value`."""
    b = randn(20)

    def filled(block):
        changed = b.clone()
        if block is None:
            changed[:] = 2.0
        else:
            changed[5 * block : 5 * block + 5] = 2.0
        return changed

    added = b.clone()
    added[5:10] += 2.0
    same(
        call(answer, b, 2.0),
        filled(1),
        {
            "that is the input gate's block: the blocks are i, f, g, o.": filled(0),
            "that is the candidate's block: the blocks are i, f, g, o.": filled(2),
            "that is the output gate's block: the blocks are i, f, g, o.": filled(3),
            "all gates are set: only the forget gate is to be.": filled(None),
            "the value is added to the old bias; it is to replace it.": added,
            "nothing is changed.": b,
        },
        "the bias",
    )
