"""The target `onnx`: graphs for onnxruntime in Python, a browser or anywhere else, and a script that runs them."""

import importlib
import re
import shlex
from pathlib import Path

import torch

from .base import Check, Export
from .graph_checks import check_agreement, check_greedy, check_outputs, compare
from .graphs import Graph, graphs_of, quiet, ready_to_trace, refuse_head
from .runtime import kind_of, refuse_processor, write_runtime, write_script


OPSET = 18
"""Of ONNX's operators: runtimes have it since 2023."""

LIMIT = 1e-4
"""By how much outputs may differ, relative to the largest of them where that is above 1."""

AGREEMENT = 0.75
"""The share of answers that a quantized model must have in common with the model, on texts of random tokens."""


class OnnxExport(Export):
    """A graph for each part of the model."""

    name = "onnx"
    title = f"onnxruntime, opset {OPSET}"
    packages = ("onnx", "onnxscript", "onnxruntime")
    extra = "export"
    quantizations = ("int8",)
    language = "bash"
    texts = 20
    """How many texts are written greedily to compare them."""
    full_size: int
    """Bytes of the graphs before they were quantized."""

    def refuse(self) -> None:
        """Models without a head, and processors that need transformers."""
        refuse_head(self.model)
        refuse_processor(self)

    def write(self, folder: Path) -> None:
        """The graphs, what is to know of them, the processor's files and the script."""
        with ready_to_trace(self.model) as model:
            graphs = graphs_of(model)
            for graph in graphs:
                write_graph(graph, folder / f"{graph.name}.onnx")
        if self.quantization is not None:
            self.full_size = sum(path.stat().st_size for path in folder.glob("*.onnx"))
            for graph in graphs:
                quantize(folder / f"{graph.name}.onnx")
        write_runtime(self, graphs, folder, opset=OPSET)
        write_script(self, folder)

    def verify(self, folder: Path) -> list[Check]:
        """Outputs of onnxruntime, and what the script writes; of quantized weights size and agreement."""
        import onnx
        import onnxruntime

        graphs = graphs_of(self.model)
        paths = [folder / f"{graph.name}.onnx" for graph in graphs]
        for path in paths:
            onnx.checker.check_model(path)
        sessions = [onnxruntime.InferenceSession(str(path)) for path in paths]
        names = {graph.name: session for graph, session in zip(graphs, sessions, strict=True)}
        comparisons = compare(self.model, graphs, {name: _runner(session) for name, session in names.items()})
        if self.quantization is not None:
            size = sum(path.stat().st_size for path in paths)
            found = f"{size:,} bytes, {size / self.full_size:.0%} of those in float32"
            return [Check("size", True, found, "told"), check_agreement(comparisons, AGREEMENT)]
        checks = [check_outputs(self.model, comparisons, LIMIT)]
        if kind_of(self) == "generator":
            script = importlib.import_module(".scripts.generate", __package__)
            _, facts = script.load(folder)

            def write(ids: list[int], max_new_tokens: int) -> list[int]:
                return list(script.write(sessions, facts, ids, max_new_tokens))

            checks.append(check_greedy(self.model, write, facts["decoder_start_token_id"], self.texts, LIMIT))
        return checks

    def usage(self, folder: str) -> str:
        """The script's command line."""
        kind = kind_of(self)
        what = {"generator": '"The text"', "text": '"The text"', "image": "image.png", "series": "series.csv"}[kind]
        script = "generate" if kind == "generator" else "predict"
        needs = {"image": "pillow", "series": ""}.get(kind, "tokenizers")
        path = shlex.quote(f"{folder}/{script}.py")
        return f"pip install onnxruntime numpy {needs}".rstrip() + f"\npython {path} {what}"


def write_graph(graph: Graph, path: Path) -> None:
    """Write one graph as a file of its own, its open dimensions called as in `graph.inputs`."""
    import onnx

    with quiet():
        program = torch.onnx.export(
            graph.trace(),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            custom_translation_table={torch.ops.aten.cummax.default: _cummax},
            input_names=list(graph.inputs),
            output_names=graph.outputs,
        )
    made = program.model_proto
    names: dict[str, str] = {}
    for value, shape in zip(made.graph.input, graph.inputs.values(), strict=True):
        for dimension, size in zip(value.type.tensor_type.shape.dim, shape, strict=True):
            if isinstance(size, str):
                names.setdefault(dimension.dim_param, size)
                dimension.dim_param = size
    for value in made.graph.output:
        for dimension in value.type.tensor_type.shape.dim:
            found = re.sub(r"\w+", lambda match: names.get(match[0], match[0]), dimension.dim_param)
            if found:
                dimension.dim_param = found
    _forget_origin(made.graph)
    for function in made.functions:
        _forget_origin(function)
    del made.metadata_props[:]
    onnx.save(made, path)


def _forget_origin(graph) -> None:
    """Take out where in whose files each node was made: half of a small file, and nobody else's business."""
    graph.doc_string = ""
    values = (*graph.value_info, *getattr(graph, "input", ()), *getattr(graph, "output", ()))
    for part in (graph, *graph.node, *(value for value in values if not isinstance(value, str))):
        del part.metadata_props[:]
        part.doc_string = ""
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _forget_origin(attribute.g)


def _cummax(values, dim: int):
    """`torch.cummax` over the second axis, which ONNX lacks: of each step, the maximum of it and those before it."""
    from onnxscript.onnx_opset import opset18 as op

    length = op.Squeeze(op.Shape(values, start=1, end=2))
    steps = op.Range(op.Constant(value_int=0), length, op.Constant(value_int=1))
    after = op.Less(op.Unsqueeze(steps, [1]), op.Unsqueeze(steps, [0]))  # (T, S), true where S is later than T
    after = op.Unsqueeze(after, [0, *range(3, len(values.shape) + 1)])
    smallest = op.CastLike(op.Constant(value_int=-(2**31)), values)
    found = op.ReduceMax(op.Where(after, smallest, op.Unsqueeze(values, [1])), [2], keepdims=0)
    return found, found  # the second are places, which no model here asks for


def quantize(path: Path) -> None:
    """Weights as int8, and what is multiplied with them as it comes: onnxruntime's dynamic quantization."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    full = path.with_suffix(".full.onnx")
    path.rename(full)
    with quiet():
        quantize_dynamic(full, path, weight_type=QuantType.QInt8, extra_options={"EnableSubgraph": True})
    full.unlink()


def _runner(session):
    outputs = [value.name for value in session.get_outputs()]

    def run(inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        given = {name: tensor.numpy() for name, tensor in inputs.items()}
        return dict(zip(outputs, map(torch.from_numpy, session.run(None, given)), strict=True))

    return run
