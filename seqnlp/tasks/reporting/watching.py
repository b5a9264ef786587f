"""What TensorBoard shows of a model beside numbers and texts: where it looks, and the embeddings of its tokens."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ...diagnostics import AttentionMap, DiagnosticsError, attention_maps
from ...training import Run, TrainingLoop
from ...visualization import plot_attention
from ...visualization.attention import image_of_pixels
from ...visualization.plain import tokens_of


if TYPE_CHECKING:
    from ..base import PreparedData

MOST_TOKENS = 32
"""Of the row of validation that a model is watched on: as many as a picture has room for."""
MOST_EMBEDDINGS = 10_000
"""Tokens that the projector is given: a browser turns more only with effort."""
_SPELLED = {"\n": "\\n", "\t": "\\t", "\r": "\\r", " ": "␣"}


def watch_attention(run: Run, data: "PreparedData") -> None:
    """
    Let `--log_attention` draw where the model looks in a row of validation: before the first step and, with the
    weights that are validated, at each validation. Where it cannot be shown, a line says why. Called by every process.
    """
    if not run.arguments.log_attention or not run.accelerator.is_main_process:
        return

    def begin(loop: TrainingLoop) -> None:
        if run.divides_weights:
            run.tell("--log_attention: nothing is drawn, since no process has all of the weights.")
            return
        try:
            draw(loop)
        except DiagnosticsError as error:
            run.tell(f"--log_attention: nothing is drawn: {error}")
        else:
            run.while_validating.append(draw)

    def draw(loop: TrainingLoop) -> None:
        model = loop.unwrapped_model
        maps, image = _maps(model, data)
        pictures = {found.name.replace(" ", "_"): _drawn(found, image) for found in maps}
        for name, pixels in pictures.items():
            run.trackers.on_tensorboard(
                lambda writer, name=name, pixels=pixels: writer.add_image(
                    f"attention/{name}", pixels, loop.step, dataformats="HWC"
                )
            )

    run.on_train_begin.append(begin)


def show_embeddings(run: Run, model: PreTrainedModel, tokenizer: Any) -> None:
    """
    Let `--log_embeddings` put the embeddings of the trained model into TensorBoard's projector, each with its token.

    Args:
        run: The run; its main process calls this.
        model: What was trained.
        tokenizer: What makes its inputs, of a text or of something else.
    """
    if not run.arguments.log_embeddings:
        return
    if run.divides_weights or not isinstance(tokenizer, PreTrainedTokenizerBase):
        why = "no process has all of the weights" if run.divides_weights else f"{type(model).__name__} reads no tokens"
        run.tell(f"--log_embeddings: nothing is shown, since {why}.")
        return
    count = min(len(tokenizer), MOST_EMBEDDINGS)
    if count < len(tokenizer):
        run.tell(f"--log_embeddings: of {len(tokenizer):,} tokens the first {count:,} are shown.")
    vectors = model.get_input_embeddings().weight.detach().float().cpu()[:count]
    names = [spelled(token) for token in tokens_of(tokenizer, range(count))]
    step = run.record.history[-1]["step"]
    run.trackers.on_tensorboard(lambda writer: writer.add_embedding(vectors, names, None, step, "embeddings"))


def spelled(token: str) -> str:
    """A token in a line of a table: spaces can be seen, line breaks and tabs are spelled."""
    return "".join(_SPELLED.get(character, character) for character in token)


def _maps(model: PreTrainedModel, data: "PreparedData") -> tuple[list[AttentionMap], Image.Image | None]:
    """Where a model looks in the first row of validation that a picture shows well, and the image if it is one."""
    rows = data.examples["validation"]
    if "pixel_values" in rows[0]:
        pixels = rows[0]["pixel_values"][None].to(model.device)
        return attention_maps(model, {"pixel_values": pixels}), image_of_pixels(pixels[0])
    row = next((row for row in map(rows.__getitem__, range(min(50, len(rows)))) if _is_fit(row)), rows[0])
    if "input_ids" not in row:
        raise DiagnosticsError(f"{type(model).__name__} reads no tokens and no image.")
    ids = _cut(row["input_ids"], model)
    if not model.config.is_encoder_decoder:
        return attention_maps(model, {"input_ids": ids}, tokens_of(data.processor, ids[0].tolist())), None
    source, target = data.processor.source, data.processor.target
    labels = _cut(row["labels"], model)
    read = model.prepare_decoder_input_ids_from_labels(labels=labels)
    names = tokens_of(source, ids[0].tolist()), *(tokens_of(target, part[0].tolist()) for part in (read, labels))
    return attention_maps(model, {"input_ids": ids, "decoder_input_ids": read}, *names), None


def _is_fit(row: dict[str, Any]) -> bool:
    return 6 <= len(row.get("input_ids", ())) <= MOST_TOKENS


def _cut(ids: Sequence[int], model: PreTrainedModel) -> torch.Tensor:
    return torch.as_tensor(ids)[None, :MOST_TOKENS].to(model.device)


def _drawn(found: AttentionMap, image: Image.Image | None) -> np.ndarray:
    """`(height, width, 3)` pixels."""
    file = io.BytesIO()
    plot_attention(found, file, image=image)
    return np.asarray(Image.open(file).convert("RGB"))
