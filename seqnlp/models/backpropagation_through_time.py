"""Backpropagation through time, written out: how a cell with a hand-written backward runs on a CPU.

torch has a fused CPU kernel for the LSTM alone, and none that skips padding. What makes this one fast:

- Tokens are *packed*: one row a valid token, step by step, the longest texts first. Padding costs nothing.
- All that does not wait for the step before is one product over all tokens: the map from the inputs, their
  gradient, and the gradient of each weight (`dW = delta^T x`, `dU = delta^T h_before`).
- The loop over time keeps what is left, in place: forward one product and the gates; backward one product and the
  deltas, since the derivative of every gate at its own place is computed beforehand, for all tokens at once.

Notation: `x` the input, `h` the hidden state, `c` the LSTM's cell, `W`, `U`, `b`, `b_u` the parameters as in
`torch.nn`; `d...` the gradient of the loss by `...`; `delta` the gradient by what goes into the gates' nonlinearities
(Werbos 1990, "Backpropagation Through Time", section III). Shapes: `B` rows, `T` steps, `N` packed tokens, `D` input
width, `H` hidden width, `G` gates.
"""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Packing:
    """
    Which token is read when: the tokens of step 0, longest text first, then those of step 1, and so on.

    What happens to a state over time is kept in one buffer of `B + N` rows: the `B` initial states, then the state
    after each token. A step reads the first rows of the step before, since the texts that end drop off the end.

    Attributes:
        tokens: `(N,)`, where each packed token stands in the flattened `(B * T)` batch.
        sizes: For each step, the number of texts that have a token left; it never grows.
        rows: `(B,)`, the rows of the batch, longest first.
        before: `(N,)`, for each token the row of the buffer with the state before it; `None` where it is the first
            `N` rows in order.
        last: `(B,)`, for each row of the batch the row of the buffer with its final state.
    """

    tokens: torch.Tensor
    sizes: list[int]
    rows: torch.Tensor
    before: torch.Tensor | None
    last: torch.Tensor

    @classmethod
    def of_lengths(cls, order: torch.Tensor, lengths: torch.Tensor) -> "Packing":
        """
        Args:
            order: `(B, T)` positions in the order in which each row is read, padding last.
            lengths: `(B,)`, how many of them are tokens.
        """
        batch_size, length = order.shape
        device = order.device
        lengths, rows = lengths.sort(descending=True, stable=True)
        has_token = lengths > torch.arange(length, device=device).unsqueeze(1)  # (T, B)
        sizes = has_token.sum(dim=1)
        tokens = (order[rows] + length * rows.unsqueeze(1)).t()[has_token]  # (N,)

        places = (sizes.cumsum(0) - sizes + batch_size).unsqueeze(1) + torch.arange(batch_size, device=device)
        states = torch.cat([torch.arange(batch_size, device=device).unsqueeze(0), places])  # (T + 1, B)
        last = torch.empty_like(rows)
        last[rows] = states.gather(0, lengths.unsqueeze(0)).squeeze(0)
        is_full = bool(has_token.all())
        sizes = [size for size in sizes.tolist() if size]
        return cls(tokens, sizes, rows, None if is_full else states[:-1][has_token], last)

    def pack(self, batch: torch.Tensor) -> torch.Tensor:
        """From `(B, T, ...)` to `(N, ...)`."""
        return batch.flatten(0, 1).index_select(0, self.tokens)

    def unpack(self, packed: torch.Tensor, length: int) -> torch.Tensor:
        """From `(N, ...)` to `(B, T, ...)`, zero at padding."""
        batch = packed.new_zeros(len(self.rows) * length, *packed.shape[1:])
        return batch.index_copy_(0, self.tokens, packed).unflatten(0, (-1, length))

    def start(self, state: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """The `(B + N, H)` buffer, begun with the `(B, H)` initial states."""
        buffer = state.new_empty(len(self.rows) + len(self.tokens), state.shape[1], dtype=dtype)
        buffer[: len(self.rows)] = state[self.rows]
        return buffer

    def start_gradient(self, state: torch.Tensor, final: torch.Tensor, outputs: torch.Tensor | None) -> torch.Tensor:
        """The buffer of the gradients by a `state`, as they are before any step is taken back."""
        buffer = torch.zeros_like(state, dtype=exact_dtype(state.dtype))
        if outputs is not None:
            buffer[len(self.rows) :] = self.pack(outputs)
        return buffer.index_add_(0, self.last, final.to(buffer.dtype))

    def initial(self, buffer: torch.Tensor) -> torch.Tensor:
        """The `(B, H)` first rows of a buffer in the order of the batch."""
        return torch.empty_like(buffer[: len(self.rows)]).index_copy_(0, self.rows, buffer[: len(self.rows)])

    def split(self, packed: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """A view of each step's tokens."""
        return packed.split(self.sizes)

    def split_states(self, buffer: torch.Tensor) -> tuple[list[torch.Tensor], tuple[torch.Tensor, ...]]:
        """Views of a buffer for each step: the states before it and the states after it."""
        first, *after = buffer.split([len(self.rows), *self.sizes])
        return [state[:size] for state, size in zip([first, *after], self.sizes, strict=False)], after

    def states_before(self, buffer: torch.Tensor) -> torch.Tensor:
        """For each token the state before it, `(N, H)`."""
        return buffer[: len(self.tokens)] if self.before is None else buffer.index_select(0, self.before)


class BackpropagationThroughTime(torch.autograd.Function):
    """
    A recurrent layer over packed tokens, one direction, by the cell's `forward_packed` and `backward_packed`.

    `apply(cell, packing, inputs, W, U, b, b_u, *state)` gives the `(B, T, H)` outputs, zero at padding, and the final
    state. The parameters and the inputs are of one type. Where that is bfloat16, the products are, while gates and
    what accumulates over time (the LSTM's cell, the GRU's hidden state, the gradients by the states) is float32.

    It can be differentiated once, backward.

    Raises:
        RuntimeError: For second derivatives; torch itself raises one for forward mode and `torch.func`.
    """

    @staticmethod
    def forward(ctx, cell, packing, inputs, weight, recurrent_weight, bias, recurrent_bias, *initial):
        x = packing.pack(inputs)
        projected = torch.addmm(bias, x, weight.t())  # (N, G * H)
        hidden, states, saved = cell.forward_packed(packing, projected, recurrent_weight, recurrent_bias, initial)
        ctx.save_for_backward(x, weight, recurrent_weight, hidden, *states, *saved)
        ctx.cell, ctx.packing, ctx.num_states, ctx.length = cell, packing, len(states), inputs.shape[1]
        outputs = packing.unpack(hidden[len(packing.rows) :], ctx.length)
        return outputs, *(state[packing.last] for state in states)

    @staticmethod
    def backward(ctx, d_outputs, *d_final):
        if torch.is_grad_enabled():  # create_graph=True; silence would leave terms of the second derivative out
            raise RuntimeError(
                "The fused recurrence has no second derivative (create_graph=True): "
                "model.set_recurrence_implementation('eager') has."
            )
        x, weight, recurrent_weight, hidden, *saved = ctx.saved_tensors
        packing, states = ctx.packing, saved[: ctx.num_states]
        d_states = [
            packing.start_gradient(state, final, None if index else d_outputs)
            for index, (state, final) in enumerate(zip(states, d_final, strict=True))
        ]
        delta, delta_u = ctx.cell.backward_packed(packing, saved, recurrent_weight, d_states)
        needs = dict(zip(("x", "W", "U", "b", "b_u"), ctx.needs_input_grad[2:], strict=False))
        return (
            None,
            None,
            packing.unpack(delta @ weight, ctx.length) if needs["x"] else None,  # dx = W^T delta
            delta.t() @ x if needs["W"] else None,  # dW = sum of delta x^T
            delta_u.t() @ packing.states_before(hidden) if needs["U"] else None,  # dU = sum of delta h_before^T
            delta.sum(dim=0) if needs["b"] else None,
            delta_u.sum(dim=0) if needs["b_u"] else None,
            *(packing.initial(d_state) for d_state in d_states),
        )


def exact_dtype(dtype: torch.dtype) -> torch.dtype:
    """The type in which what is multiplied in `dtype` accumulates over time."""
    return torch.promote_types(dtype, torch.float32)


def is_rounded(weight: torch.Tensor) -> bool:
    """Whether products with `weight` are of a smaller type than what accumulates over time."""
    return weight.dtype != exact_dtype(weight.dtype)


def sigmoid_backward(gradient: torch.Tensor, gate: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    """`gradient * gate * (1 - gate)`: back through the sigmoid that gave `gate`, in one pass over memory."""
    return torch.ops.aten.sigmoid_backward(gradient, gate, grad_input=out)


def tanh_backward(gradient: torch.Tensor, gate: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
    """`gradient * (1 - gate^2)`: back through the tanh that gave `gate`, in one pass over memory."""
    out = torch.empty_like(gradient) if out is None else out
    return torch.ops.aten.tanh_backward(gradient, gate, grad_input=out)


def add_product(target: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> None:
    """`target += left @ right`, whatever the types."""
    if target.dtype == left.dtype:
        target.addmm_(left, right)
    else:
        target += left @ right
