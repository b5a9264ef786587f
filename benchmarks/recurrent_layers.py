"""
One recurrent layer, forward and backward, against `torch.nn`: batch 32, length 64, width 256, half padding. And the
cells whose steps are computed all at once against the LSTM, over texts of several lengths.
"""

from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from benchmarks.peers import ragged_lengths
from benchmarks.timing import Action, Contest
from seqnlp import RecurrentConfig, RecurrentModel
from seqnlp.models.cells import CELLS


ROWS, LENGTH, WIDTH = 32, 64, 256
MODULES = {"elman": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
PACKED, PADDED = "torch.nn packed float32", "torch.nn padded"
# Of the ratio to packed float32 by the type of ours, and to the padded layer of the same type.
TARGETS = {
    ("elman", "float32", PACKED): 1.5,
    ("gru", "float32", PACKED): 1.5,
    ("lstm", "float32", PACKED): 1.5,
    ("elman", "float32", PADDED): 1.0,
    ("gru", "float32", PADDED): 1.2,
    ("lstm", "float32", PADDED): 1.0,
    ("elman", "bfloat16", PACKED): 1.5,
    ("gru", "bfloat16", PACKED): 2.0,
    ("lstm", "bfloat16", PACKED): 4.0,
    ("elman", "bfloat16", PADDED): 1.0,
    ("gru", "bfloat16", PADDED): 1.2,
    ("lstm", "bfloat16", PADDED): 1.0,
}


PARALLEL_CELLS = ("mingru", "minlstm")
# Of the ratio to our LSTM by the length of the texts; those of minGRU.
PARALLEL_TARGETS = {128: 1.5, 1024: 3.0, 4096: 4.0}
PARALLEL_ROWS, PARALLEL_LAYERS = 8, 2


def recurrent_layer() -> Iterator[Contest]:
    """Each cell in each type against torch's packed layer, which skips padding, and its padded one, which does not."""
    lengths = ragged_lengths(ROWS, LENGTH)
    mask = torch.arange(LENGTH) < lengths.unsqueeze(1)
    inputs = torch.randn(ROWS, LENGTH, WIDTH)
    for (cell_type, dtype, peer_name), target in TARGETS.items():
        module = MODULES[cell_type](WIDTH, WIDTH, batch_first=True)
        model = RecurrentModel.from_torch(module)
        as_bfloat16 = dtype == "bfloat16"
        yield Contest(
            name=f"{cell_type} {dtype}",
            peer_name=peer_name if peer_name == PACKED else f"{peer_name} {dtype}",
            ours=our_layer(model, inputs, mask, as_bfloat16),
            peer=packed(module, inputs, lengths) if peer_name == PACKED else padded(module, inputs, as_bfloat16),
            target=target,
            product_type=dtype,
            calls=2,
        )
        if dtype == "bfloat16" and peer_name == PACKED:
            yield Contest(
                name=f"the products of {cell_type} {dtype} alone",
                peer_name=PACKED,
                ours=products_alone(module.weight_ih_l0.shape[0], lengths),
                peer=packed(module, inputs, lengths),
                product_type=dtype,
                calls=2,
                remarks="step by step, as many rows as there are texts left",
            )


def our_layer(model: RecurrentModel, inputs: torch.Tensor, mask: torch.Tensor, as_bfloat16: bool) -> Action:
    """A model of one layer with its weights in float32, in bfloat16 by autocast, as the training loop runs it."""

    def run():
        model.zero_grad()
        own = inputs.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=as_bfloat16):
            outputs = model(inputs_embeds=own, attention_mask=mask, use_cache=False).last_hidden_state
        outputs.sum().backward()

    return run


def packed(module: nn.RNNBase, inputs: torch.Tensor, lengths: torch.Tensor) -> Action:
    """torch's layer over a PackedSequence."""

    def run():
        module.zero_grad()
        own = inputs.clone().requires_grad_()
        sequence = pack_padded_sequence(own, lengths, batch_first=True, enforce_sorted=False)
        outputs, _ = pad_packed_sequence(module(sequence)[0], batch_first=True, total_length=inputs.shape[1])
        outputs.sum().backward()

    return run


def padded(module: nn.RNNBase, inputs: torch.Tensor, as_bfloat16: bool) -> Action:
    """torch's layer over all of the rectangle: its states are wrong behind padding, and its kernel is the fastest."""

    def run():
        module.zero_grad()
        own = inputs.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=as_bfloat16):
            outputs = module(own)[0]
        outputs.float().sum().backward()

    return run


def products_alone(gates_width: int, lengths: torch.Tensor) -> Action:
    """
    What a packed layer multiplies in bfloat16, and nothing else: over all tokens the map from the inputs and its three
    gradients, and at each step in time the map from the state, there and back.
    """
    sizes = [int((lengths > step).sum()) for step in range(LENGTH)]
    states, deltas = torch.randn(sum(sizes), WIDTH).bfloat16(), torch.randn(sum(sizes), gates_width).bfloat16()
    weight = torch.randn(gates_width, WIDTH).bfloat16()

    def run():
        for size in sizes:
            states[:size] @ weight.t()
            deltas[:size] @ weight
        states @ weight.t()
        deltas @ weight
        for _ in range(2):  # the gradients of both matrices
            deltas.t() @ states

    return run


def parallel_cells() -> Iterator[Contest]:
    """A training step of 2 layers, 256 wide, 8 texts, without embeddings or a head: minGRU and minLSTM by our LSTM."""
    for length, target in PARALLEL_TARGETS.items():
        inputs = torch.randn(PARALLEL_ROWS, length, WIDTH)
        for cell_type in PARALLEL_CELLS:
            yield Contest(
                name=f"{cell_type}, {length:,} tokens",
                peer_name="our LSTM",
                ours=stacked_step(cell_type, inputs),
                peer=stacked_step("lstm", inputs),
                target=target if cell_type == "mingru" else None,
                product_type="float32",
                items=("tokens", PARALLEL_ROWS * length),
                remarks=f"products of the LSTM: {stacked_products('lstm', length) / 1e9:.2f} gflop",
            )


def stacked_step(cell_type: str, inputs: torch.Tensor) -> Action:
    """Forward, backward and the fused AdamW of layers of one cell."""
    config = RecurrentConfig(
        vocab_size=1, hidden_size=WIDTH, num_hidden_layers=PARALLEL_LAYERS, cell_type=cell_type, use_cache=False
    )
    model = RecurrentModel(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def run():
        model(inputs_embeds=inputs).last_hidden_state.sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    return run


def stacked_products(cell_type: str, length: int) -> int:
    """
    Multiplications and additions of such a step by the sizes of its maps, since torch's kernels hide theirs: each map
    is multiplied by its inputs, and the deltas by it and by its inputs, but for the inputs of the lowest layer.
    """
    cell = CELLS[cell_type]
    map_size = len(cell.gates) * WIDTH * WIDTH
    maps = PARALLEL_LAYERS * (2 if cell.has_recurrent_map else 1)
    return 2 * PARALLEL_ROWS * length * map_size * (3 * maps - 1)
