"""A translator that Marian has trained (Junczys-Dowmunt et al. 2018, arXiv 1804.00344) as a model of ours.

Read are the Transformer of its `model.npz` in the usual layout, norms behind the sublayers, and the students of Kim et
al. 2019 with an SSRU in the decoder, whose names and shapes are those of Marian's `transformer.h` and `cells.h`.
"""

import math
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import import_protobuf
from transformers.utils import is_protobuf_available

from ..extras import install
from ..models import TransformerConfig, TransformerForConditionalGeneration


PAD = "<pad>"
CONFIG = "special:model.yml"
EPSILON = 1e-9
"""Of the norms in `expression_operators.h`."""
NEVER = -100.0
"""The logit of padding, which Marian has no token for: beside any other its exponential is lost in rounding, and the
share of a smoothed label that falls on it costs nearly nothing."""
_CONTROL = (2, 3)  # `SentencePiece.Type`: UNKNOWN and CONTROL

# What the layout read here needs of Marian's options: the values allowed, the first Marian's default.
OPTIONS: dict[str, tuple[Any, ...]] = {
    "type": ("transformer",),
    "transformer-decoder-autoreg": ("self-attention", "rnn"),
    "transformer-preprocess": ("",),
    "transformer-postprocess": ("dan", "an"),
    "transformer-postprocess-emb": ("d", ""),
    "transformer-postprocess-top": ("",),
    "transformer-ffn-activation": ("relu",),
    "transformer-ffn-depth": (2,),
    "transformer-decoder-ffn-depth": (0, 2),
    "transformer-train-positions": (False,),
    "transformer-train-position-embeddings": (False,),
    "transformer-no-projection": (False,),
    "transformer-rnn-projection": (False,),
    "transformer-pool": (False,),
    "transformer-tied-layers": ([],),
    "layer-normalization": (False,),
    "right-left": (False,),
    "lemma-dim-emb": (0,),
    "ulr": (False,),
}


class MarianFileError(ValueError):
    """A file of Marian's that cannot be read here; the message says in one line why and what would do."""


class MarianTranslator(NamedTuple):
    """What the files hold: the model, the tokenizer of the source and that of the target, and what was read."""

    model: TransformerForConditionalGeneration
    tokenizer: PreTrainedTokenizerFast
    target_tokenizer: PreTrainedTokenizerFast
    summary: str


class Weights:
    """
    The arrays of a file, in float32 and as torch lays matrices out, and which of them were not asked for.

    Args:
        path: A `.npz` of Marian's.

    Raises:
        MarianFileError: If it is none.
    """

    def __init__(self, path: Path):
        self.path = path
        try:
            with np.load(path) as arrays:
                self.arrays = {name: array for name, array in arrays.items() if isinstance(array, np.ndarray)}
        except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:  # an .npy: a TypeError
            reason = getattr(error, "strerror", None) or "it is no archive of arrays"
            raise MarianFileError(f"{path} cannot be read: {reason}. Give Marian's model.npz.") from None
        if CONFIG not in self.arrays:
            raise MarianFileError(f"{path} holds no {CONFIG}, in which Marian says what a model is built of.")
        try:
            self.options: dict[str, Any] = yaml.safe_load(self.arrays.pop(CONFIG).tobytes().split(b"\0")[0])
        except (yaml.YAMLError, UnicodeDecodeError):
            self.options = {}
        if not isinstance(self.options, dict) or not self.options:
            raise MarianFileError(f"{CONFIG} in {path} is damaged: it is no YAML of options, as Marian writes it.")
        self.left = {name for name in self.arrays if not name.startswith("special:")}
        self.count = len(self.left)

    def __contains__(self, name: str) -> bool:
        return name in self.arrays

    def array(self, name: str) -> torch.Tensor:
        """An array as it lies in the file."""
        if name not in self.arrays:
            raise MarianFileError(f"{self.path} holds no {name}: it is of another layout than {CONFIG} says.")
        array = self.arrays[name]
        if array.dtype.kind != "f":
            raise MarianFileError(
                f"{name} in {self.path} is of type {array.dtype}: quantized models are not read, give the float32 one."
            )
        if array.ndim != 2:
            raise MarianFileError(f"{name} in {self.path} has {array.ndim} dimensions, and Marian's arrays have two.")
        with np.errstate(over="ignore"):  # beyond float32 it is infinite
            array = array.astype(np.float32)
        if not array.size:
            raise MarianFileError(f"{name} in {self.path} has the shape {array.shape} and no numbers: it is damaged.")
        if not np.isfinite(array).all():
            raise MarianFileError(f"{name} in {self.path} holds what is no number: the model has diverged.")
        self.left.discard(name)
        return torch.from_numpy(array)

    def whole_number(self, option: str) -> int:
        """An option that counts something."""
        value = self.options.get(option)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise MarianFileError(f"{option}: {value!r} in {CONFIG} of {self.path} is no number of at least 1.")
        return value

    def vector(self, name: str) -> torch.Tensor:
        """`(1, size)` there, `(size,)` here."""
        return self.array(name).flatten()

    def matrix(self, name: str) -> torch.Tensor:
        """`(inputs, outputs)` there, `(outputs, inputs)` here."""
        return self.array(name).t().contiguous()


def read_marian(
    path: str | Path, vocabularies: Iterable[str | Path], max_position_embeddings: int = 1024
) -> MarianTranslator:
    """
    A translator from Marian's files. It computes what Marian computes, but for rounding.

    Three things differ in form: positions are a table, since Marian divides the frequencies of its sinusoids otherwise
    than Vaswani et al. 2017; padding, which Marian has no token for, is one more row, of zeros; and this row is what
    the decoder reads first, where Marian reads a vector of zeros.

    Args:
        path: `model.npz`.
        vocabularies: `vocab.spm`, or that of the source and that of the target.
        max_position_embeddings: For how many positions there is a table; longer texts are refused.

    Raises:
        MarianFileError: For files of another layout, with the name of what differs.
    """
    weights = Weights(Path(path))
    files = [Path(file) for file in vocabularies]
    if len(files) not in (1, 2):
        raise MarianFileError(f"{len(files)} vocabularies: give one, or that of the source and that of the target.")
    refuse_options(weights)
    tokenizers = [read_vocabulary(file) for file in files]
    config = _config(weights, tokenizers[-1], max_position_embeddings)
    state = _state_dict(weights, config)  # first: a file that lacks layers is told before they are made
    model = TransformerForConditionalGeneration(config).eval()
    for file, tokenizer in zip(files, tokenizers, strict=True):
        if len(tokenizer) != model.config.vocab_size:
            raise MarianFileError(
                f"{file} has {len(tokenizer) - 1} pieces and {path} embeddings of {model.config.vocab_size - 1}: they "
                "belong to different models."
            )
    for name, parameter in model.state_dict().items():
        if state[name].shape != parameter.shape:
            raise MarianFileError(
                f"{path}: what is to be {name} has the shape {tuple(state[name].shape)}, and by {CONFIG} it has "
                f"{tuple(parameter.shape)}: the file is damaged, or of another layout."
            )
    model.load_state_dict(state)
    if weights.left:
        shown = ", ".join(sorted(weights.left)[:5])
        raise MarianFileError(f"{len(weights.left)} arrays of {path} have no place here, such as {shown}.")
    model.generation_config.update(max_length=max_position_embeddings)
    options = weights.options
    cell = f", decoder with {options['dec-cell']}" if config.decoder_cell else ""
    summary = (
        f"{weights.count} arrays: Transformer of {config.num_hidden_layers} + {config.decoder_layers} layers, "
        f"{config.hidden_size} wide{cell}, {config.vocab_size - 1} tokens and one for padding; "
        f"{model.num_parameters():,} weights, positions included"
    )
    return MarianTranslator(model, tokenizers[0], tokenizers[-1], summary)


def refuse_options(weights: Weights) -> None:
    """
    Refuse what is not built as read here.

    Raises:
        MarianFileError: With the option and its value.
    """
    for name, allowed in OPTIONS.items():
        value = weights.options.get(name, allowed[0])
        if value not in allowed:
            said = " or ".join(repr(one) for one in allowed)
            raise MarianFileError(f"{name}: {value!r} in {CONFIG} of {weights.path} is not read here, only {said}.")
    cell = weights.options.get("dec-cell")
    if weights.options.get("transformer-decoder-autoreg") == "rnn" and cell != "ssru":
        raise MarianFileError(f"dec-cell: {cell!r} in {CONFIG} of {weights.path} is not read here, only 'ssru'.")


def _config(weights: Weights, writer: PreTrainedTokenizerFast, max_position_embeddings: int) -> TransformerConfig:
    options, is_tied = weights.options, "Wemb" in weights
    embeddings = weights.array("Wemb" if is_tied else "decoder_Wemb")  # (V, H)
    inner = weights.array("encoder_l1_ffn_W1").shape[1]
    if weights.array("decoder_l1_ffn_W1").shape[1] != inner:
        raise MarianFileError(
            f"transformer-decoder-dim-ffn: {options.get('transformer-decoder-dim-ffn')} in {CONFIG} of {weights.path} "
            "differs from transformer-dim-ffn, and here both stacks have feed-forwards of one width."
        )
    heads = weights.whole_number("transformer-heads")
    if embeddings.shape[1] % heads:
        raise MarianFileError(
            f"transformer-heads: {heads} in {CONFIG} of {weights.path} do not divide embeddings of "
            f"{embeddings.shape[1]} into equal parts."
        )
    return TransformerConfig(
        vocab_size=len(embeddings) + 1,
        hidden_size=embeddings.shape[1],
        intermediate_size=inner,
        num_hidden_layers=weights.whole_number("enc-depth"),
        decoder_layers=weights.whole_number("dec-depth"),
        num_attention_heads=heads,
        decoder_cell="ssru" if options.get("transformer-decoder-autoreg") == "rnn" else None,
        position_embedding_type="learned",
        max_position_embeddings=max_position_embeddings,
        layer_norm_eps=EPSILON,
        tie_word_embeddings=is_tied,
        output_bias=True,
        pad_token_id=len(embeddings),
        bos_token_id=None,
        eos_token_id=writer.eos_token_id,
        decoder_start_token_id=len(embeddings),
    )


def _state_dict(weights: Weights, config: TransformerConfig) -> dict[str, torch.Tensor]:
    state = {}
    for stack in ("encoder", "decoder"):
        name = "Wemb" if config.tie_word_embeddings else f"{stack}_Wemb"
        rows = weights.array(name)
        state[f"model.{stack}.embed_tokens.weight"] = torch.cat([rows, torch.zeros_like(rows[:1])])
        table = sinusoids(config.max_position_embeddings, config.hidden_size)
        state[f"model.{stack}.positions.embed_positions.weight"] = table
        layers = config.num_hidden_layers if stack == "encoder" else config.decoder_layers
        for index in range(layers):
            of = _decoder_layer if stack == "decoder" else _encoder_layer
            layer = of(weights, f"{stack}_l{index + 1}")
            state |= {f"model.{stack}.layers.{index}.{name}": tensor for name, tensor in layer.items()}
    output = state["model.decoder.embed_tokens.weight"]
    if "decoder_ff_logit_out_W" in weights:  # a matrix of its own
        rows = weights.matrix("decoder_ff_logit_out_W")
        output = torch.cat([rows, torch.zeros_like(rows[:1])])
    bias = weights.vector("decoder_ff_logit_out_b")
    return state | {"lm_head.weight": output, "lm_head.bias": torch.cat([bias, bias.new_tensor([NEVER])])}


def _encoder_layer(weights: Weights, prefix: str) -> dict[str, torch.Tensor]:
    return {**_attention(weights, f"{prefix}_self", "self_attn"), **_feed_forward(weights, prefix)}


def _decoder_layer(weights: Weights, prefix: str) -> dict[str, torch.Tensor]:
    reads = _attention(weights, f"{prefix}_context", "cross_attn") | _feed_forward(weights, prefix)
    if weights.options.get("transformer-decoder-autoreg") != "rnn":
        return reads | _attention(weights, f"{prefix}_self", "self_attn")
    gate = weights.vector(f"{prefix}_rnn_bf")
    maps = [weights.matrix(f"{prefix}_rnn_{name}") for name in ("Wf", "W")]
    if maps[0].shape != maps[1].shape:
        shapes = " and ".join(str(tuple(one.t().shape)) for one in maps)
        raise MarianFileError(f"{prefix}_rnn_Wf and _W in {weights.path} have the shapes {shapes}: it is damaged.")
    reads["recurrence.forward_cell.input_proj.weight"] = torch.cat(maps)
    reads["recurrence.forward_cell.input_proj.bias"] = torch.cat([gate, torch.zeros_like(gate)])  # W has none
    return reads | _norm(weights, f"{prefix}_rnn_ffn", "recurrence_norm")


def _attention(weights: Weights, prefix: str, into: str) -> dict[str, torch.Tensor]:
    found = _norm(weights, f"{prefix}_Wo", f"{into}_norm")
    for part in "qkvo":
        found[f"{into}.{part}_proj.weight"] = weights.matrix(f"{prefix}_W{part}")
        found[f"{into}.{part}_proj.bias"] = weights.vector(f"{prefix}_b{part}")
    return found


def _feed_forward(weights: Weights, prefix: str) -> dict[str, torch.Tensor]:
    found = _norm(weights, f"{prefix}_ffn_ffn", "mlp_norm")
    for number, into in (("1", "up_proj"), ("2", "down_proj")):
        found[f"mlp.{into}.weight"] = weights.matrix(f"{prefix}_ffn_W{number}")
        found[f"mlp.{into}.bias"] = weights.vector(f"{prefix}_ffn_b{number}")
    return found


def _norm(weights: Weights, prefix: str, into: str) -> dict[str, torch.Tensor]:
    return {
        f"{into}.weight": weights.vector(f"{prefix}_ln_scale"),
        f"{into}.bias": weights.vector(f"{prefix}_ln_bias"),
    }


def sinusoids(length: int, size: int) -> torch.Tensor:
    """
    Marian's positions, `(length, size)`: all sines and then all cosines, of frequencies from 1 to 1/10000 with the
    last one counted (`i / (size / 2 - 1)`, in Vaswani et al. 2017 `i / (size / 2)`).
    """
    steps = torch.arange(size // 2, dtype=torch.float64) / (size // 2 - 1)
    angles = torch.arange(length, dtype=torch.float64).unsqueeze(1) * torch.exp(-math.log(10000.0) * steps)
    return torch.cat([angles.sin(), angles.cos()], dim=1).float()


def read_vocabulary(path: Path) -> PreTrainedTokenizerFast:
    """
    A SentencePiece vocabulary (Kudo & Richardson 2018, arXiv 1808.06226) as a fast tokenizer, which puts `</s>` behind
    a text as Marian does, and has one more token for padding.

    Raises:
        MarianFileError: For a file of another kind, and for pieces that are not of a unigram model.
    """
    if not is_protobuf_available():
        raise MarianFileError(f"A SentencePiece vocabulary needs the package protobuf: {install('export')}")
    proto = import_protobuf().ModelProto()
    try:
        proto.ParseFromString(path.read_bytes())
    except OSError as error:
        raise MarianFileError(f"{path} cannot be read: {error.strerror}.") from None
    except Exception:  # of protobuf, whose errors have no class that stays
        proto.Clear()
    if not proto.pieces:
        raise MarianFileError(f"{path} is no SentencePiece model: give Marian's vocabulary that ends in .spm.")
    trainer, rules = proto.trainer_spec, proto.normalizer_spec
    pieces = [piece.piece for piece in proto.pieces]
    if trainer.model_type != trainer.UNIGRAM or trainer.eos_piece not in pieces or PAD in pieces:
        kind = trainer.ModelType.Name(trainer.model_type).lower()
        raise MarianFileError(
            f"{path} is a SentencePiece model of type {kind}, {'with' if PAD in pieces else 'without'} {PAD} and "
            f"{'with' if trainer.eos_piece in pieces else 'without'} {trainer.eos_piece}: read here are unigram "
            f"models without {PAD} and with {trainer.eos_piece}, as Marian trains them."
        )
    kinds = [piece.type for piece in proto.pieces]
    unknown = kinds.index(proto.SentencePiece.UNKNOWN)
    scores = [(piece.piece, piece.score) for piece in proto.pieces]
    tokenizer = Tokenizer(models.Unigram(scores, unk_id=unknown, byte_fallback=trainer.byte_fallback))
    steps = [normalizers.Precompiled(rules.precompiled_charsmap)] if rules.precompiled_charsmap else []
    if rules.remove_extra_whitespaces:
        steps += [normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")]
    tokenizer.normalizer = normalizers.Sequence(steps)
    scheme = "always" if rules.add_dummy_prefix else "never"
    # A piece of control is a string like any other to the model: where a text spells one, it is cut.
    control = [pieces[place] for place, kind in enumerate(kinds) if kind in _CONTROL]
    spelled = "|".join(f"{re.escape(piece[0])}(?={re.escape(piece[1:])})" for piece in control)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False),
            pre_tokenizers.Split(Regex(spelled), behavior="isolated"),
        ]
    )
    last = [decoders.Strip(" ", int(rules.add_dummy_prefix), 0)]
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *last]
    )
    end = (trainer.eos_piece, pieces.index(trainer.eos_piece))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {end[0]}", pair=f"$A {end[0]} $B {end[0]}", special_tokens=[end]
    )
    ours = [piece for piece, kind in zip(pieces, kinds, strict=True) if kind == proto.SentencePiece.USER_DEFINED]
    tokenizer.add_tokens([AddedToken(piece, special=False, normalized=False) for piece in ours])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        unk_token=pieces[unknown],
        eos_token=end[0],
        model_input_names=["input_ids", "attention_mask"],
        clean_up_tokenization_spaces=False,
        split_special_tokens=True,  # the words of a text never become control tokens
    )
