"""One recurrent layer: a cell, or one for each direction, over time."""

import copy

import torch
from torch import nn
from transformers import PreTrainedConfig
from transformers.modeling_layers import GradientCheckpointingLayer

from .backpropagation_through_time import exact_dtype
from .cells import CELLS, GateProjection, LinearCell, RecurrentCell, State
from .configuration_recurrent import RecurrentConfig
from .projections import autocast_dtype
from .recurrence import RECURRENCE_FUNCTIONS, Padding


class SequenceDropout(nn.Dropout):
    """Dropout of `(B, T, size)` vectors by one mask per row (Gal & Ghahramani 2016, arXiv 1512.05287, section 4)."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """The vectors, each row's times a mask of its own, `(B, 1, size)`; as they are outside of training."""
        if not self.training or not self.p:
            return inputs
        return inputs * nn.functional.dropout(inputs.new_ones(inputs.shape[0], 1, inputs.shape[2]), self.p)


def create_dropout(config: PreTrainedConfig, probability: float) -> nn.Dropout:
    """Dropout by one mask per token, or per row, as the configuration says."""
    return (SequenceDropout if config.variational_dropout else nn.Dropout)(probability)


@torch.compiler.disable  # a module that is made while it runs
def drop_weights(cell: RecurrentCell, probability: float) -> RecurrentCell:
    """
    The same cell with some weights of its recurrent map at zero and the others scaled up (Merity et al. 2018, arXiv
    1708.02182, section 2), through which gradients flow to the cell's own. It is plain if the cell is, so that kernels
    run it.

    Raises:
        ValueError: For a map that is wrapped, whose weight is not all that it computes with.
    """
    if not isinstance(cell.recurrent_proj, GateProjection):
        raise ValueError(
            f"weight_drop={probability}: a {type(cell.recurrent_proj).__name__} is wrapped around the recurrent map, "
            "so that its weights cannot be dropped. Set it to 0."
        )
    dropped, projection = copy.copy(cell), copy.copy(cell.recurrent_proj)
    projection._parameters = {"bias": cell.recurrent_proj.bias}
    projection.__dict__["weight"] = nn.functional.dropout(cell.recurrent_proj.weight, probability)
    dropped._modules = {**cell._modules, "recurrent_proj": projection}
    return dropped


class RecurrentLayer(GradientCheckpointingLayer):
    """One recurrent layer: a cell that reads forward and, if bidirectional, one that reads backward."""

    def __init__(self, config: RecurrentConfig, layer_idx: int):
        super().__init__()
        self.config = config
        self.layer_idx = layer_idx
        reads_embeddings = layer_idx == 0 and config.block == "plain"
        input_size = config.embedding_size if reads_embeddings else config.output_size
        cell_class = CELLS[config.cell_type]
        # Between layers, not before the first: what is dropped there is `embedding_dropout`'s to say.
        self.dropout = create_dropout(config, config.dropout if layer_idx > 0 else 0.0)
        self.forward_cell = cell_class(input_size, config.hidden_size, config.hidden_act)
        self.backward_cell = (
            cell_class(input_size, config.hidden_size, config.hidden_act) if config.bidirectional else None
        )

    @property
    def cells(self) -> list[RecurrentCell]:
        """The forward cell and, if there is one, the backward cell."""
        return [self.forward_cell] if self.backward_cell is None else [self.forward_cell, self.backward_cell]

    def forward(
        self,
        hidden_states: torch.Tensor,
        state: State | None = None,
        padding: Padding | None = None,
        num_states: int = 1,
    ) -> tuple[torch.Tensor, list[State]]:
        """
        Args:
            hidden_states: `(batch_size, sequence_length, input_size)`.
            state: The state to start from, tensors of shape `(batch_size, num_directions, hidden_size)`; `None` for
                zeros.
            padding: Which tokens are padding.
            num_states: How many states are wanted: those after the last tokens, 0 for none. All of them but one cost
                a step by itself.

        Returns:
            `(batch_size, sequence_length, num_directions * hidden_size)`, zero at padding; and `num_states` states, or
            one for each token if there are fewer, the final state last.
        """
        if self.training:  # the call of a module that does nothing would show in the time of a generated token
            hidden_states = self.dropout(hidden_states)
        length = hidden_states.shape[1]
        first = max(length - num_states, 0) + 1  # from here on each token is read by itself
        # What reads from the end has no state after a token in the middle.
        if num_states < 2 or first == length or self.backward_cell is not None:
            outputs, state = self._read(hidden_states, state, padding, num_states > 0)
            return outputs, [] if state is None else [state]
        outputs, states = [], []
        for start, end in [(0, first), *((step, step + 1) for step in range(first, length))]:
            here = None if padding is None else Padding.from_mask(padding.mask[:, start:end], 1)
            output, state = self._read(hidden_states[:, start:end], state, here, True)
            outputs.append(output)
            states.append(state)
        return torch.cat(outputs, dim=1), states

    def _read(self, hidden_states, state, padding, return_state) -> tuple[torch.Tensor, State | None]:
        recurrence = RECURRENCE_FUNCTIONS[self.config.recurrence_implementation]
        # Read token by token, a state of a narrower type would be rounded at each of them. Under autocast the stream
        # through blocks is of that type; states of plain layers are of the type in which torch's kernels leave them.
        in_block = self.config.block == "residual" and autocast_dtype(hidden_states.device) is not None
        is_exact = isinstance(self.forward_cell, LinearCell) or in_block
        if state is None:
            shape = (hidden_states.shape[0], self.config.num_directions, self.config.hidden_size)
            state = (hidden_states.new_zeros(shape),) * self.forward_cell.num_states
        if is_exact:
            state = tuple(tensor.to(exact_dtype(tensor.dtype)) for tensor in state)

        outputs, final_states = [], []
        for direction, cell in enumerate(self.cells):
            if self.training and self.config.weight_drop:
                cell = drop_weights(cell, self.config.weight_drop)
            start = tuple(tensor[:, direction] for tensor in state)
            output, final = recurrence(cell, hidden_states, start, padding, direction == 1, return_state)
            outputs.append(output.to(hidden_states.dtype) if is_exact else output)
            if is_exact and final is not None:
                final = tuple(tensor.to(exact_dtype(tensor.dtype)) for tensor in final)
            final_states.append(final)
        outputs = torch.cat(outputs, dim=-1) if len(outputs) > 1 else outputs[0]
        if not return_state:
            return outputs, None
        if len(final_states) == 1:
            return outputs, tuple(tensor.unsqueeze(1) for tensor in final_states[0])
        return outputs, tuple(torch.stack(tensors, dim=1) for tensors in zip(*final_states, strict=True))


__all__ = []
