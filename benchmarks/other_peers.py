"""Peers that are no models of transformers, at equal sizes and with random weights: `torch.nn`'s, and JoeyNMT's."""

import math
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.peers import BEGIN, END, PAD, Sizes
from seqnlp.models.heads import shift_right
from seqnlp.models.losses import IGNORE_INDEX
from seqnlp.models.positions import SinusoidalPositions


MOST_TOKENS = 1024
INSTALL_JOEYNMT = "pip install --no-deps joeynmt subword-nmt importlib-metadata seaborn"
"""Its package asks for a protobuf of 2022. A model needs these three, and what `.[dev]` holds."""

causal_mask = nn.Transformer.generate_square_subsequent_mask


class PeerMissingError(RuntimeError):
    """A peer's package is not installed."""


class TorchLanguageModel(nn.Module):
    """`torch.nn.TransformerEncoder` with a causal mask: learned positions, GELU, norms before; tied embeddings."""

    def __init__(self, sizes: Sizes):
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            sizes.width, sizes.heads, sizes.inner, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.tokens = nn.Embedding(sizes.vocab_size, sizes.width)
        self.positions = nn.Embedding(MOST_TOKENS, sizes.width)
        self.layers = nn.TransformerEncoder(layer, sizes.layers, nn.LayerNorm(sizes.width), enable_nested_tensor=False)
        nn.init.normal_(self.tokens.weight, std=sizes.width**-0.5)  # it makes the logits too

    def forward(self, input_ids: torch.Tensor, labels: torch.Tensor) -> SimpleNamespace:
        """The mean loss of the next token, of `(B, T)` ids."""
        length = input_ids.shape[1]
        states = self.tokens(input_ids) + self.positions.weight[:length]
        logits = self.layers(states, causal_mask(length), is_causal=True) @ self.tokens.weight.t()
        return SimpleNamespace(loss=F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten()))


class TorchTranslator(nn.Module):
    """`torch.nn.Transformer`, as in 2017: sinusoids, ReLU, norms behind, one table of embeddings for all."""

    def __init__(self, sizes: Sizes):
        super().__init__()
        self.tokens = nn.Embedding(sizes.vocab_size, sizes.width, PAD)
        self.positions = SinusoidalPositions(sizes.width)
        self.stacks = nn.Transformer(
            sizes.width, sizes.heads, sizes.layers, sizes.layers, sizes.inner, dropout=0.0, batch_first=True
        )
        nn.init.normal_(self.tokens.weight, std=sizes.width**-0.5)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor) -> SimpleNamespace:
        """The mean loss of the target's tokens."""
        ignored = attention_mask == 0
        source, target = (self._read(ids) for ids in (input_ids, shift_right(labels, BEGIN, PAD)))
        states = self.stacks(
            source,
            target,
            tgt_mask=causal_mask(labels.shape[1]),
            src_key_padding_mask=ignored,
            memory_key_padding_mask=ignored,
            tgt_is_causal=True,
        )
        logits = states @ self.tokens.weight.t()
        return SimpleNamespace(loss=F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten()))

    def _read(self, ids: torch.Tensor) -> torch.Tensor:
        scaled = self.tokens(ids) * math.sqrt(self.tokens.embedding_dim)
        return scaled + self.positions(torch.arange(ids.shape[1]).unsqueeze(0)).to(scaled.dtype)


class JoeyNMTTranslator(nn.Module):
    """
    JoeyNMT's own model, from its package: the same parts as [`TorchTranslator`]'s.

    Raises:
        PeerMissingError: If the package is not installed.
    """

    PAD = 1  # its own ids of special tokens: unknown, padding, beginning, end

    def __init__(self, sizes: Sizes):
        super().__init__()
        try:
            from joeynmt.model import build_model
            from joeynmt.vocabulary import Vocabulary
        except ImportError as error:
            raise PeerMissingError(f"JoeyNMT cannot be imported ({error}): {INSTALL_JOEYNMT}") from None
        names = {"unk": 0, "pad": self.PAD, "bos": BEGIN, "eos": END}
        tokens = {f"{name}_token": f"<{name}>" for name in names} | {f"{name}_id": id for name, id in names.items()}
        words = [str(number) for number in range(sizes.vocab_size - len(names))]
        vocabulary = Vocabulary(words, SimpleNamespace(**tokens, lang_tags=[], sep_token=None))
        stack = {
            "type": "transformer",
            "hidden_size": sizes.width,
            "embeddings": {"embedding_dim": sizes.width, "scale": True},
            "num_layers": sizes.layers,
            "num_heads": sizes.heads,
            "ff_size": sizes.inner,
            "dropout": 0.0,
            "layer_norm": "post",
            "activation": "relu",
        }
        ties = {"tied_embeddings": True, "tied_softmax": True}
        self.model = build_model({"encoder": stack, "decoder": stack, **ties}, vocabulary, vocabulary)
        self.model.loss_function = ("crossentropy", 0.0)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor) -> SimpleNamespace:
        """The mean loss of the target's tokens."""
        read, is_scored = attention_mask != 0, labels != IGNORE_INDEX
        loss, *_ = self.model(
            return_type="loss",
            src=input_ids.where(read, self.PAD),
            src_length=read.sum(dim=1),
            src_mask=read.unsqueeze(1),
            trg=labels.where(is_scored, self.PAD),
            trg_input=shift_right(labels, BEGIN, self.PAD),
            trg_mask=is_scored.unsqueeze(1),
        )
        return SimpleNamespace(loss=loss / is_scored.sum())
