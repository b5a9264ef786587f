"""Our models and those of transformers at equal sizes, with random weights."""

from dataclasses import dataclass

import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MarianConfig,
    MarianMTModel,
    PreTrainedModel,
)

from seqnlp import (
    RecurrentConfig,
    RecurrentForCausalLM,
    TransformerConfig,
    TransformerDecoderConfig,
    TransformerDecoderForCausalLM,
    TransformerEncoderConfig,
    TransformerEncoderForSequenceClassification,
    TransformerForConditionalGeneration,
)
from seqnlp.models.losses import labels_per_chunk


PAD, BEGIN, END = 0, 2, 3
SPECIAL = {"pad_token_id": PAD, "bos_token_id": BEGIN, "eos_token_id": END}
LOSS_CHUNK = labels_per_chunk(8192)  # labels at a time in our losses, as recipes set it for this vocabulary


@dataclass(frozen=True)
class Sizes:
    """Of a Transformer; SwiGLU has three matrices, so it is made narrower until the weights are as many."""

    vocab_size: int = 8192
    width: int = 256
    layers: int = 4
    heads: int = 4

    @property
    def inner(self) -> int:
        """Width of a feed-forward with two matrices."""
        return 4 * self.width

    @property
    def gated_inner(self) -> int:
        """Width of one with three, ours by default."""
        return -(-self.width * 8 // 24) * 8


def our_decoder(sizes: Sizes, loss_chunk_size: int | None = LOSS_CHUNK) -> PreTrainedModel:
    """Rotary positions, RMSNorm, SwiGLU, no biases; tied embeddings."""
    config = TransformerDecoderConfig(
        vocab_size=sizes.vocab_size,
        hidden_size=sizes.width,
        intermediate_size=sizes.gated_inner,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        loss_chunk_size=loss_chunk_size,
        **SPECIAL,
    )
    return TransformerDecoderForCausalLM(config)


def llama(sizes: Sizes) -> PreTrainedModel:
    """The same parts."""
    config = LlamaConfig(
        vocab_size=sizes.vocab_size,
        hidden_size=sizes.width,
        intermediate_size=sizes.gated_inner,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        num_key_value_heads=sizes.heads,
        tie_word_embeddings=True,
        **SPECIAL,
    )
    return LlamaForCausalLM(config)


def gpt2(sizes: Sizes) -> PreTrainedModel:
    """Learned positions, LayerNorm, GELU, biases; tied embeddings; without dropout, as ours."""
    config = GPT2Config(
        vocab_size=sizes.vocab_size,
        n_embd=sizes.width,
        n_inner=sizes.inner,
        n_layer=sizes.layers,
        n_head=sizes.heads,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        loss_type="ForCausalLM",
        **SPECIAL,
    )
    return GPT2LMHeadModel(config)


def our_translator(
    sizes: Sizes, loss_chunk_size: int | None = LOSS_CHUNK, decoder_cell: str | None = None
) -> PreTrainedModel:
    """The Transformer of 2017, norms behind the sublayers as Marian's; with a cell in its decoder, if asked for."""
    config = TransformerConfig(
        vocab_size=sizes.vocab_size,
        hidden_size=sizes.width,
        intermediate_size=sizes.inner,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        dropout=0.0,
        loss_chunk_size=loss_chunk_size,
        decoder_cell=decoder_cell,
        **SPECIAL,
    )
    return TransformerForConditionalGeneration(config)


def marian(sizes: Sizes) -> PreTrainedModel:
    """The same parts, and a bias over the vocabulary that is not trained."""
    config = MarianConfig(
        vocab_size=sizes.vocab_size,
        d_model=sizes.width,
        encoder_layers=sizes.layers,
        decoder_layers=sizes.layers,
        encoder_attention_heads=sizes.heads,
        decoder_attention_heads=sizes.heads,
        encoder_ffn_dim=sizes.inner,
        decoder_ffn_dim=sizes.inner,
        activation_function="relu",
        dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
        scale_embedding=True,
        decoder_start_token_id=BEGIN,
        forced_eos_token_id=None,
        **SPECIAL,
    )
    return MarianMTModel(config)


def our_encoder(sizes: Sizes) -> PreTrainedModel:
    """A classifier of texts with BERT's parts."""
    config = TransformerEncoderConfig(
        vocab_size=sizes.vocab_size,
        hidden_size=sizes.width,
        intermediate_size=sizes.inner,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
        head_dropout=0.0,
        **SPECIAL,
    )
    return TransformerEncoderForSequenceClassification(config)


def bert(sizes: Sizes) -> PreTrainedModel:
    """A classifier of texts, without dropout, as ours."""
    config = BertConfig(
        vocab_size=sizes.vocab_size,
        hidden_size=sizes.width,
        intermediate_size=sizes.inner,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        **SPECIAL,
    )
    return BertForSequenceClassification(config)


def our_lstm(sizes: Sizes, width: int = 376, layers: int = 2) -> PreTrainedModel:
    """A language model of as many weights as the decoder with the default sizes: 5.4 million to its 5.3."""
    return our_recurrent(sizes, "lstm", width, layers)


def our_recurrent(sizes: Sizes, cell_type: str, width: int = 376, layers: int = 2) -> PreTrainedModel:
    """A language model of another cell at the LSTM's width."""
    config = RecurrentConfig(
        vocab_size=sizes.vocab_size,
        hidden_size=width,
        num_hidden_layers=layers,
        cell_type=cell_type,
        tie_word_embeddings=True,
        **SPECIAL,
    )
    return RecurrentForCausalLM(config)


def random_tokens(rows: int, length: int, vocab_size: int) -> torch.Tensor:
    """`(rows, length)` ids without special ones."""
    return torch.randint(END + 1, vocab_size, (rows, length))


def ragged_lengths(rows: int, length: int) -> torch.Tensor:
    """Lengths from 1 to `length` whose mean leaves half of the batch as padding; one text is as long as can be."""
    lengths = torch.linspace(1, length, rows).round().long()
    return lengths[torch.randperm(rows)]


def ragged_texts(rows: int, length: int, vocab_size: int) -> dict[str, torch.Tensor]:
    """Texts of [`ragged_lengths`] tokens, padded behind: `input_ids` and `attention_mask`, each `(rows, length)`."""
    mask = torch.arange(length) < ragged_lengths(rows, length).unsqueeze(1)
    return {
        "input_ids": random_tokens(rows, length, vocab_size).masked_fill(~mask, PAD),
        "attention_mask": mask.long(),
    }
