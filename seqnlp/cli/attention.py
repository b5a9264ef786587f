"""`seqnlp attention`: where a model looks, head by head, as a page and as pictures."""

from pathlib import Path
from typing import Annotated

import torch
import typer
from PIL import Image, UnidentifiedImageError
from transformers import BatchEncoding, PreTrainedTokenizerBase

from ..diagnostics import AttentionMap, DiagnosticsError, attention_maps
from ..training.bar import counted
from ..visualization import plot_attention, write_attention_page
from ..visualization.attention import image_of_pixels
from ..visualization.plain import tokens_of
from .models import ModelName, NamedModel, TrustRemoteCode, load_model
from .outputs import Overwrite, check_ending, check_outputs, make_folder
from .saying import answer_to
from .texts import MaxTokens, OneText


def attention(
    model: ModelName,
    text: OneText = None,
    target: Annotated[
        str | None,
        typer.Option("--target", help="For an encoder-decoder: the text it writes; by default the one it generates."),
    ] = None,
    image: Annotated[Path | None, typer.Option("--image", help="For a model of images: the image to read.")] = None,
    max_tokens: MaxTokens = 128,
    output: Annotated[
        Path, typer.Option("--output", help="The page; the pictures get its name, ending in .png.")
    ] = Path("attention.html"),
    overwrite: Overwrite = False,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """
    Show where a model looks: every attention weight, heads by layer, on a page that opens offline, and as PNG.

    Self-attention of encoders and decoders, cross-attention, the alignment of recurrent encoder-decoders, the
    attention pooling of recurrent classifiers, and the attention of Vision Transformers over an image.

    Examples:

        seqnlp attention outputs/translation-lstm --text "A cat sleeps." --output alignment.html

        seqnlp attention outputs/image_classification-transformer --image digit.png
    """
    check_ending(output, ".html", "the page is HTML")
    if (text is None) == (image is None):
        raise DiagnosticsError("Give either --text or --image: one of them, as the model reads.")
    inputs = [image] if image else []
    check_outputs([output], f"--output {output}", inputs, overwrite)
    named = load_model(model, trust_remote_code)
    reads_images = named.model.main_input_name == "pixel_values"
    if reads_images != (image is not None):
        what = ("images", "--image") if reads_images else ("text", "--text")
        raise DiagnosticsError(f"{model}: {type(named.model).__name__} reads {what[0]}: give {what[1]}.")
    picture = None
    try:
        if image is not None:
            picture = _open(image)
            answer, remarks = answer_to(named, picture), []
            maps, picture = _over_image(named, picture)
        else:
            maps, answer, remarks = _over_text(named, text, target, max_tokens)
    except DiagnosticsError as error:
        raise DiagnosticsError(f"{model}: {error}") from error
    suffixes = [""] if len(maps) == 1 else [f"-{found.name.replace(' ', '_')}" for found in maps]
    pictures = [output.with_name(f"{output.stem}{suffix}.png") for suffix in suffixes]
    check_outputs(pictures, f"--output {output}", inputs, overwrite)
    make_folder(output.parent, f"--output {output}")
    write_attention_page(maps, output, f"Where {named.name} looks", picture, answer)
    for found, file in zip(maps, pictures, strict=True):
        plot_attention(found, file, named.name, picture)
    if answer:
        typer.echo(answer)
    for found in maps:
        heads = sorted({len(layer) for layer in found.layers})
        typer.echo(
            f"{found.name}: {counted(len(found.layers), 'layer')} of "
            f"{' or '.join(counted(count, 'head') for count in heads)}, "
            f"{len(found.queries)} x {len(found.keys)} weights each"
        )
    for remark in remarks:
        typer.echo(remark)
    typer.echo(f"Page: {output}. Pictures: {', '.join(map(str, pictures))}.")


def _over_text(
    named: NamedModel, text: str, target: str | None, max_tokens: int
) -> tuple[list[AttentionMap], str, list[str]]:
    """The maps; what the model answers, in one line; and what was cut off."""
    tokenizer = named.tokenizer()
    limit = min(max_tokens, named.num_positions or max_tokens)
    encoded = tokenizer(text, truncation=True, max_length=limit, return_tensors="pt")
    input_ids = encoded.input_ids
    remarks = _cut_remarks("text", input_ids, tokenizer(text, verbose=False).input_ids, max_tokens)
    if input_ids.shape[1] < 2:
        raise DiagnosticsError(
            f"the text {text!r} is {counted(input_ids.shape[1], 'token')} to this model: there is nothing to choose "
            "between. Give at least two."
        )
    tokens = tokens_of(tokenizer, input_ids[0].tolist())
    if not named.model.config.is_encoder_decoder:
        if target is not None:
            raise DiagnosticsError(f"--target is for encoder-decoders, and {type(named.model).__name__} is none.")
        read = _part_read(encoded, text, tokenizer) if remarks else text
        return attention_maps(named.model, {"input_ids": input_ids}, tokens), answer_to(named, read), remarks
    writer = named.target_tokenizer()
    if target is not None:
        labels = writer(text_target=target, truncation=True, max_length=limit, return_tensors="pt").input_ids
        remarks += _cut_remarks("target", labels, writer(text_target=target, verbose=False).input_ids, max_tokens)
        read = named.model.prepare_decoder_input_ids_from_labels(labels=labels)
    else:
        with torch.no_grad():
            written = named.model.generate(input_ids, num_beams=1, do_sample=False, max_new_tokens=limit)
        read, labels = written[:, :-1], written[:, 1:]
    maps = attention_maps(
        named.model,
        {"input_ids": input_ids, "decoder_input_ids": read},
        tokens,
        tokens_of(writer, read[0].tolist()),
        tokens_of(writer, labels[0].tolist()),
    )
    written = writer.decode(labels[0], skip_special_tokens=True)
    said = "It was made to write" if target is not None else "It wrote"
    return maps, f"{said}: {written}" if written.strip() else f"{said} nothing.", remarks


def _cut_remarks(what: str, read: torch.Tensor, whole: list[int], max_tokens: int) -> list[str]:
    """A line where not all tokens are read, `(1, length)` of them."""
    length = read.shape[1]
    if length == len(whole):
        return []
    why = f"--max_tokens {max_tokens}" if length == max_tokens else "more than the model has positions for"
    return [f"{len(whole) - length} of {len(whole)} tokens of the {what} are cut off ({why})."]


def _part_read(encoded: BatchEncoding, text: str, tokenizer: PreTrainedTokenizerBase) -> str:
    """The part of a text that was not cut off."""
    if not encoded.is_fast:
        return tokenizer.decode(encoded.input_ids[0], skip_special_tokens=True)
    spans = [encoded.token_to_chars(place) for place in range(encoded.input_ids.shape[1])]
    spans = [span for span in spans if span is not None]
    return text[spans[0].start : spans[-1].end] if spans else ""


def _open(path: Path) -> Image.Image:
    try:
        return Image.open(path).convert("RGB")
    except FileNotFoundError as error:
        raise DiagnosticsError(f"there is no image {str(path)!r}.") from error
    except (UnidentifiedImageError, OSError) as error:
        raise DiagnosticsError(
            f"the image {str(path)!r} cannot be read: it is damaged or of no known type."
        ) from error


def _over_image(named: NamedModel, picture: Image.Image) -> tuple[list[AttentionMap], Image.Image]:
    """The maps, and the image as the model sees it, resized or cropped: its patches are where they are drawn."""
    processor = named.image_processor()
    channels = getattr(named.model.config, "num_channels", 3)
    pixels = processor(picture.convert("L") if channels == 1 else picture, return_tensors="pt").pixel_values
    return attention_maps(named.model, {"pixel_values": pixels}), image_of_pixels(pixels[0])
