"""The drawings of the models, each of a small model that is built for it."""

from collections.abc import Callable
from pathlib import Path

from seqnlp import (
    RecurrentConfig,
    RecurrentForCausalLM,
    RecurrentForSequenceClassification,
    RecurrentForTokenClassification,
    RecurrentSeq2SeqConfig,
    RecurrentSeq2SeqForConditionalGeneration,
    TransformerConfig,
    TransformerDecoderConfig,
    TransformerDecoderForCausalLM,
    TransformerForConditionalGeneration,
)
from seqnlp.models.cells import CELLS
from seqnlp.visualization.cell_diagrams import draw_gru, draw_lstm
from seqnlp.visualization.model_diagrams import (
    draw_encoder_decoder,
    draw_kinds_of_task,
    draw_transformers,
    draw_unrolled,
)


SIZES = {"vocab_size": 2000, "hidden_size": 64}


def _unrolled(path: Path) -> None:
    config = RecurrentConfig(**SIZES, embedding_size=32, cell_type="elman")
    draw_unrolled(RecurrentForCausalLM(config), path)


def _encoder_decoder(path: Path) -> None:
    config = RecurrentSeq2SeqConfig(**SIZES, cell_type="gru", decoder_start_token_id=1)
    draw_encoder_decoder(RecurrentSeq2SeqForConditionalGeneration(config), path)


def _transformer(path: Path) -> None:
    sizes = {**SIZES, "num_hidden_layers": 1, "num_attention_heads": 4}
    translator = TransformerConfig(**sizes, decoder_start_token_id=1, pad_token_id=0)
    draw_transformers(
        TransformerForConditionalGeneration(translator).eval(),
        TransformerDecoderForCausalLM(TransformerDecoderConfig(**sizes)).eval(),
        path,
    )


def _kinds_of_task(path: Path) -> None:
    classes = {
        "many to one": RecurrentForSequenceClassification,
        "one to many": RecurrentForCausalLM,
        "many to many, aligned": RecurrentForTokenClassification,
        "many to many, not aligned": RecurrentSeq2SeqForConditionalGeneration,
    }
    draw_kinds_of_task(classes, path)


DIAGRAMS: dict[str, Callable[[Path], None]] = {
    "kinds_of_task": _kinds_of_task,
    "unrolled": _unrolled,
    "lstm": lambda path: draw_lstm(CELLS["lstm"](8, 8), path),
    "gru": lambda path: draw_gru(CELLS["gru"](8, 8), path),
    "encoder_decoder": _encoder_decoder,
    "transformer": _transformer,
}
"""Each drawing by the name of its file."""


def draw_all(folder: Path) -> list[Path]:
    """Draw each into a folder; gives the files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.svg" for name in DIAGRAMS]
    for path, draw in zip(paths, DIAGRAMS.values(), strict=True):
        draw(path)
    return paths
