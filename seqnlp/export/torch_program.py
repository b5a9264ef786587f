"""The target `torch`: programs of `torch.export`, which run without the model's code and without transformers."""

import importlib
import io
import shutil
from pathlib import Path

import torch

from .base import Check, Export, in_python
from .graph_checks import check_outputs, compare, examples_of, shares_heads
from .graphs import Graph, graphs_of, has_cells, quiet, ready_to_trace, refuse_head
from .runtime import SCRIPTS, write_runtime


LIMIT = 1e-5
"""By how much outputs may differ from the model's, relative to the largest where that is above 1."""


class TorchExport(Export):
    """A program for each part of the model."""

    name = "torch"
    title = "torch.export, for PyTorch without transformers"

    def refuse(self) -> None:
        """Models without a head."""
        refuse_head(self.model)

    def write(self, folder: Path) -> None:
        """The programs, what is to know of them, the processor's files and what loads them."""
        with ready_to_trace(self.model) as model:
            graphs = graphs_of(model)
            for graph in graphs:
                with quiet():
                    saved = io.BytesIO()  # torch ends the whole process where a disk is full
                    torch.export.save(graph.trace(), saved)
                (folder / f"{graph.name}.pt2").write_bytes(saved.getbuffer())
        write_runtime(self, graphs, folder)
        shutil.copy(SCRIPTS / "load.py", folder)

    def verify(self, folder: Path) -> list[Check]:
        """
        Outputs to the bit with the same operations, and nearly so as the model is called: recurrent nets have faster
        kernels there, which add in another order.
        """
        programs = importlib.import_module(".scripts.load", __package__).load(folder)
        graphs = graphs_of(self.model)
        runners = {graph.name: _runner(programs[graph.name], graph) for graph in graphs}
        outputs = check_outputs(self.model, compare(self.model, graphs, runners), LIMIT)
        return [outputs] if self._rolls_out_attention else [self._check_bits(programs, graphs), outputs]

    @property
    def _rolls_out_attention(self) -> bool:
        """
        Whether attention reads a series and its own predictions: where these lie in memory differs in a trace, and so
        may the order in which a product adds.
        """
        return self.model.main_input_name == "past_values" and not has_cells(self.config)

    def _check_bits(self, programs, graphs: list[Graph]) -> Check:
        with ready_to_trace(self.model, "eager"):
            examples = [(graph, inputs) for graph in graphs for inputs in examples_of(graph, self.config)]
            same = sum(
                all(map(torch.equal, programs[graph.name](*inputs), graph.module(*inputs)))
                for graph, inputs in examples
            )
        name = "outputs to the bit" + (", cells step by step" if has_cells(self.config) else "")
        name += ", two tokens and more" if shares_heads(self.config) else ""
        return Check(name, same == len(examples), f"{same} of {len(examples)} batches", "all of them")

    def usage(self, folder: str) -> str:
        """Load and call."""
        lines = [f"import sys\n\nsys.path.insert(0, {in_python(folder)})\nfrom load import load\n\nprograms = load()"]
        for graph in graphs_of(self.model):
            names = f"{', '.join(graph.inputs)} -> {', '.join(graph.outputs)}"
            lines.append(f'# {names}\noutputs = programs["{graph.name}"](*inputs)')
        return "\n".join(lines)


def _runner(program, graph):
    def run(inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return dict(zip(graph.outputs, program(*(inputs[name] for name in graph.inputs)), strict=True))

    return run
