"""What a program needs to know of exported graphs to run them, and the script that runs them: written beside them."""

import json
import shutil
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast

from .base import TARGET_TOKENIZER, Export, ExportError
from .graphs import Graph


RUNTIME = "runtime.json"
"""The file with the graphs, the names and shapes of their inputs and outputs, and what the scripts read."""

SCRIPTS = Path(__file__).parent / "scripts"


def kind_of(export: Export) -> str:
    """What a model makes: `text` from text, or an answer to a `text`, an `image` or a `series`."""
    if export.model.can_generate():
        return "generator"
    return {"pixel_values": "image", "past_values": "series"}.get(export.model.main_input_name, "text")


def refuse_processor(export: Export) -> None:
    """
    Refuse what the scripts cannot do by themselves.

    Raises:
        ExportError: For a tokenizer that needs transformers, and an image processor that does other things than
            resize, rescale and normalize.
    """
    reads_text = kind_of(export) in ("generator", "text")
    for processor in filter(None, (export.processor, export.target_processor) if reads_text else ()):
        if not isinstance(processor, PreTrainedTokenizerFast):
            raise ExportError(f"A {type(processor).__name__} is not a tokenizer of the library tokenizers.")
    if kind_of(export) == "image" and export.processor is not None:
        made = export.processor
        does = (made.do_resize, made.do_rescale, made.do_normalize)
        has_size = bool(made.size.height and made.size.width)
        if not all((*does, has_size)) or export.config.num_channels != 3:
            raise ExportError(
                f"image processor with do_resize, do_rescale, do_normalize = {does}, size={dict(made.size)} and "
                f"num_channels={export.config.num_channels}: the script for images resizes RGB to a height and a "
                "width, rescales and normalizes, and nothing else."
            )


def write_runtime(export: Export, graphs: list[Graph], folder: Path, **more: Any) -> None:
    """Write the facts, and beside them the files of the processor."""
    described = {
        graph.name: {
            "inputs": {name: ", ".join(map(str, shape)) for name, shape in graph.inputs.items()},
            "outputs": graph.outputs,
        }
        for graph in graphs
    }
    facts = {**more, "graphs": described, **_facts(export)}
    (folder / RUNTIME).write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    export.save_processors(folder)


def write_script(export: Export, folder: Path) -> None:
    """Write `generate.py` or `predict.py`."""
    kind = kind_of(export)
    if export.processor is None and kind != "series":
        return  # nothing that turns texts or files into inputs
    source, name = ("generate", "generate") if kind == "generator" else (f"predict_{kind}", "predict")
    shutil.copy(SCRIPTS / f"{source}.py", folder / f"{name}.py")


def _facts(export: Export) -> dict[str, Any]:
    config, kind = export.config, kind_of(export)
    if kind == "series":
        facts = {"channels": config.input_size, "prediction_length": config.prediction_length}
        read = {"context_length": export.settings.get("context_length")}  # as many steps as it was trained on
        return {**facts, **read, "logarithm": bool(export.settings.get("logarithm"))}
    facts = {}
    if kind in ("generator", "text"):
        facts |= {
            "tokenizer": "tokenizer.json",
            "split_special_tokens": bool(getattr(export.processor, "split_special_tokens", False)),
            "longest": _longest(export),
            "truncation_side": getattr(export.processor, "truncation_side", "right"),
            "pad_token_id": config.pad_token_id or 0,
        }
    if kind == "generator":
        begin = config.bos_token_id
        two = export.target_processor is not None
        return facts | {
            "target_tokenizer": f"{TARGET_TOKENIZER}/tokenizer.json" if two else "tokenizer.json",
            "begin_with": [] if begin is None else [begin],
            "end_tokens": export.end_tokens,
            "decoder_start_token_id": start_of(export) if config.is_encoder_decoder else None,
        }
    if type(export.model).__name__.endswith("ForMaskedLM"):
        return facts | {"labels": None, "answers": "one"}
    facts |= {"labels": [config.id2label[place] for place in range(config.num_labels)]}
    if kind == "image":
        made = export.processor
        processed = {} if made is None else {
            "size": [made.size["width"], made.size["height"]],
            "resample": int(made.resample),
            "rescale_factor": made.rescale_factor,
            "mean": list(made.image_mean),
            "std": list(made.image_std),
        }  # fmt: skip
        return facts | processed
    several = {"multi_label_classification": "several", "regression": "number"}
    return facts | {"answers": several.get(config.problem_type, "several" if config.num_labels == 1 else "one")}


def start_of(export: Export) -> int:
    """The token that the decoder reads first."""
    generation, config = export.model.generation_config, export.config
    found = (generation.decoder_start_token_id, config.decoder_start_token_id, config.bos_token_id)
    return next(token for token in found if token is not None)


def _longest(export: Export) -> int | None:
    """How many tokens the model can read, where its positions or its tokenizer have an end."""
    config, bounds = export.config, []
    if getattr(config, "position_embedding_type", None) == "learned":
        bounds.append(config.max_position_embeddings)
    if export.processor is not None and not export.model.can_generate() and export.processor.model_max_length < 10**9:
        bounds.append(export.processor.model_max_length)
    return min(bounds, default=None)
