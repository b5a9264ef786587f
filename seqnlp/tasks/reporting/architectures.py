"""How an architecture computes and who described it, in words: a cell says it of itself, families are put together."""

from typing import Any, NamedTuple

from ...models.cells import CELLS, RecurrentCell
from ...models.series_distributions import DISTRIBUTIONS


class Architecture(NamedTuple):
    """How an architecture computes, and who described it."""

    title: str
    equations: str
    citation: str


_VASWANI = "Vaswani et al. 2017, arXiv 1706.03762"
_TRANSFORMERS = {
    "seqnlp_transformer": ("Transformer encoder-decoder", _VASWANI),
    "seqnlp_transformer_decoder": ("Transformer decoder", _VASWANI),
    "seqnlp_transformer_encoder": ("Transformer encoder", f"{_VASWANI}; Devlin et al. 2019, arXiv 1810.04805"),
    "seqnlp_vision_transformer": ("Vision Transformer", "Dosovitskiy et al. 2021, arXiv 2010.11929"),
}
_SIMILARITY = {
    "additive": ("v . tanh(W h_t + U s_j)", "additive attention, Bahdanau et al. 2015, arXiv 1409.0473"),
    "multiplicative": ("h_t . W s_j", "multiplicative attention, Luong et al. 2015, arXiv 1508.04025"),
}


def describe_architecture(config: dict[str, Any]) -> Architecture | None:
    """The summary for a configuration with all its fields; `None` for one that is not known here."""
    found, distribution = _of_family(config), DISTRIBUTIONS.get(config.get("distribution_output"))
    if found is None or distribution is None:
        return found
    citation = f"{found.citation}; a distribution of each next value, Salinas et al. 2020, arXiv 1704.04110"
    return Architecture(found.title, f"{found.equations}\n{distribution.equations}", citation)


def _of_family(config: dict[str, Any]) -> Architecture | None:
    model_type, cell = config.get("model_type"), CELLS.get(config.get("cell_type"))
    if model_type == "seqnlp_recurrent" and cell is not None:
        layer = _layer_of(cell, config)
        return layer._replace(title="bidirectional " + layer.title) if config.get("bidirectional") else layer
    if model_type == "seqnlp_recurrent_seq2seq" and cell is not None:
        return _recurrent_seq2seq(config, *_layer_of(cell, config))
    if model_type in _TRANSFORMERS:
        title, citation = _TRANSFORMERS[model_type]
        decoder_cell = CELLS.get(config.get("decoder_cell"))
        if decoder_cell is not None:
            title = f"Transformer encoder, {decoder_cell.title} decoder"
            citation += f"; {decoder_cell.citation}"
        return Architecture(title, _transformer_equations(config, decoder_cell), citation)
    return None


def _layer_of(cell: type[RecurrentCell], config: dict[str, Any]) -> Architecture:
    """A cell, and the block around it."""
    if config.get("block") != "residual":
        return Architecture(cell.title, cell.equations, cell.citation)
    updates, width = ["F(x)_t = h_t"], config.get("conv_kernel_size")
    if width is not None:
        updates.insert(0, f"F(x)_t = b + the sum of k_i * x_{{t-i}} over i < {width}")
    if config.get("mlp_ratio") is not None:
        updates.append("F(x) = W_2 gelu(W_1 x + b_1) + b_2")
    equations = f"{cell.equations}\na layer: x <- x + F(Norm(x)), with {', then with '.join(updates)}"
    return Architecture(cell.title, equations, f"{cell.citation}; residual blocks, De et al. 2024, arXiv 2402.19427")


def _recurrent_seq2seq(config: dict, title: str, equations: str, citation: str) -> Architecture:
    title += " encoder-decoder"
    citation += "; encoder-decoder, Sutskever et al. 2014, arXiv 1409.3215"
    equations += "\nfirst state of the decoder = tanh(W h_S + b), h_S the last of the encoder"
    attention = config.get("attention_type")
    if attention in _SIMILARITY:
        similarity, source = _SIMILARITY[attention]
        title, citation = f"{title} with {attention} attention", f"{citation}; {source}"
        equations += f"""
a_tj = softmax_j({similarity})        s_j the encoder's states
output_t = tanh(W_c [sum_j a_tj s_j; h_t])"""
        if config.get("input_feeding"):
            equations += "\nx_t = [embedding of token t; output_{t-1}]"
    return Architecture(title, equations, citation)


def _transformer_equations(config: dict, decoder_cell: type[RecurrentCell] | None) -> str:
    activation = config.get("hidden_act", "relu")
    inner = "silu(W x) * V x" if activation == "swiglu" else f"{activation}(W_1 x + b_1)"
    bias = " + b_2" if config.get("use_bias", True) and activation != "swiglu" else ""
    sublayer = "x + F(Norm(x))" if config.get("norm_position") == "pre" else "Norm(x + F(x))"
    lines = [
        "Attention(Q, K, V) = softmax(Q K^T / sqrt(head_dim)) V",
        "MultiHead(x, y) = W_o [head_1; ...; head_n],  head_i = Attention(W_q x, W_k y, W_v y)",
        f"FFN(x) = W_2 ({inner}){bias}",
        f"a layer: x <- {sublayer}, first with F(x) = MultiHead(x, x), then with F = FFN",
    ]
    if config.get("model_type") == "seqnlp_transformer":
        lines.append("of the decoder: between the two, F(x) = MultiHead(x, encoder's output)")
    if decoder_cell is not None:
        lines.append("and at first, for MultiHead(x, x), F(x_1, ..., x_t) = h_t")
        lines += decoder_cell.equations.split("\n")
    if config.get("model_type") == "seqnlp_vision_transformer":
        lines.insert(0, "x_i = E patch_i + position_i")
    return "\n".join(lines)
