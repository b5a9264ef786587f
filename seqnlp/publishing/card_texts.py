"""What a card says that is no result of a run: what a metric is, how an architecture computes, what a task is."""

from typing import NamedTuple


class Metric(NamedTuple):
    """
    A metric as a card shows it.

    Attributes:
        name: Its name for readers.
        definition: Exactly what is computed; `{signature}`, `{classes}`, `{average}` and `{sample}` are filled in.
        share: Whether it lies between 0 and 1, and is shown in percent.
        type: Its name in the model-index; the key of [`METRICS`] by default.
    """

    name: str
    definition: str
    share: bool = False
    type: str | None = None


# By the names in run.json's `metrics`; `TASK.NAME` goes before `NAME`. What is not here is in no card.
METRICS = {
    "accuracy": Metric(
        "Accuracy", "share of the examples whose most probable class is the right one, of {classes} classes", True
    ),
    "f1": Metric("F1", "harmonic mean of precision and recall, {average}", True),
    "token_classification.accuracy": Metric(
        "Accuracy", "share of the labelled tokens whose most probable class is the right one, of {classes}", True
    ),
    "token_classification.loss": Metric("Loss", "mean cross-entropy of a labelled token, in nats"),
    "loss": Metric("Loss", "mean cross-entropy of an example, in nats"),
    "language_modeling.loss": Metric(
        "Loss", "negative log-likelihood in nats, divided by the number of tokens scored"
    ),
    "music_generation.loss": Metric("Loss", "negative log-likelihood in nats, divided by the number of tokens scored"),
    "translation.loss": Metric(
        "Loss", "negative log-likelihood of the reference in nats, divided by its number of tokens"
    ),
    "perplexity": Metric(
        "Perplexity per token",
        "exp of the negative log-likelihood of the whole split divided by its tokens, those of this model's tokenizer",
    ),
    "word_perplexity": Metric(
        "Perplexity per word",
        "exp of the negative log-likelihood of the whole split divided by its words between white space",
    ),
    "bits_per_character": Metric(
        "Bits per character",
        "negative log-likelihood of the whole split in bits, divided by its characters",
    ),
    "nats_per_character": Metric(
        "Nats per character", "negative log-likelihood of the whole split in nats, divided by its characters"
    ),
    "bleu": Metric("BLEU", "sacrebleu, signature {signature}"),
    "bleu_lowercase": Metric("BLEU, lower-cased", "sacrebleu, signature {signature}", type="bleu"),
    "bleu_lowercase_moses": Metric("BLEU, lower-cased Moses tokens", "sacrebleu, signature {signature}", type="bleu"),
    "parsed": Metric("Parsed", "share of the tunes it writes ({sample}) that music21 reads", True),
    "valid": Metric(
        "Valid",
        "share of the tunes it writes ({sample}) that music21 reads and of whose inner bars 95 % fill the metre",
        True,
    ),
    "strictly_valid": Metric("Strictly valid", "the same over all bars but the first and the last of the tune", True),
    "mae": Metric("MAE", "mean absolute error over all observed numbers of the future, in the data's units"),
    "rmse": Metric("RMSE", "root of the mean squared error over all observed numbers, in the data's units"),
    "nrmse": Metric(
        "NRMSE", "the same with each channel's error divided by its standard deviation over the training series"
    ),
    "rmse_last": Metric("RMSE, last step", "root of the mean squared error at the last predicted step"),
    "chrf": Metric("chrF", "sacrebleu, signature {signature}"),
}


class Task(NamedTuple):
    """What a card says of a task."""

    title: str
    pipeline_tag: str
    use: str
    limits: tuple[str, ...]
    widget: tuple[str, ...] = ()


_OF_ITS_DATA = "It has seen nothing but its training data, and repeats the slant and the errors of that data."
TASKS = {
    "sentiment_analysis": Task(
        "Sentiment classification of texts",
        "text-classification",
        "Sorting texts like those it was trained on; a baseline; teaching and study of sequence models.",
        (
            _OF_ITS_DATA,
            "Irony, other topics, other kinds of text and other languages are beyond what was measured here.",
            "Not for decisions about people.",
        ),
        ("What a wonderful evening, thank you all!", "Two hours late and nobody told us why."),
    ),
    "token_classification": Task(
        "Classification of the tokens of texts",
        "token-classification",
        "Labelling tokens of texts like those it was trained on; teaching and study of sequence models.",
        (_OF_ITS_DATA, "Other kinds of text and other languages are beyond what was measured here."),
    ),
    "language_modeling": Task(
        "Language modelling",
        "text-generation",
        "Continuing text like its training text; a baseline; teaching and study of sequence models.",
        (_OF_ITS_DATA, "What it writes may be false, senseless or offensive; it follows no instructions."),
    ),
    "music_generation": Task(
        "Music generation",
        "text-generation",
        "Writing tunes in the notation of its training data; teaching and study of sequence models.",
        (_OF_ITS_DATA, "A tune may resemble one of the training data closely."),
        ("M:6/8\nL:1/8\nK:Gmaj\n", "M:4/4\nL:1/8\nK:Dmaj\n"),
    ),
    "translation": Task(
        "Translation",
        "translation",
        "Translating sentences like those it was trained on; a baseline; teaching and study of sequence models.",
        (_OF_ITS_DATA, "It translates sentence by sentence, and may leave out or invent things without a sign of it."),
    ),
    "image_classification": Task(
        "Image classification",
        "image-classification",
        "Sorting images like those it was trained on; a baseline; teaching and study of sequence models.",
        (_OF_ITS_DATA, "Images of another size, colour or subject are beyond what was measured here."),
    ),
    "trajectory": Task(
        "Time-series prediction",
        "time-series-forecasting",
        "Predicting series like those it was trained on; teaching and study of sequence models.",
        (_OF_ITS_DATA, "Errors grow with every step that is predicted from predictions."),
    ),
}


# What the flag --max_length means where a text is longer.
LENGTHS = {
    "language_modeling": "It was trained on windows of {} tokens.",
    "music_generation": "It was trained on tunes of up to {} tokens, and on longer ones in pieces.",
    "sentiment_analysis": "It was trained on the first {} tokens of a text.",
    "translation": "It was trained on sentences of up to {} tokens.",
}


class Architecture(NamedTuple):
    """How an architecture computes, and who described it."""

    title: str
    equations: str
    citation: str


_ELMAN = """h_t = act(W x_t + U h_{t-1} + b)"""
_GRU = """r_t = sigmoid(W_r x_t + U_r h_{t-1} + b_r)                 reset gate
z_t = sigmoid(W_z x_t + U_z h_{t-1} + b_z)                 update gate
n_t = tanh(W_n x_t + b_n + r_t * (U_n h_{t-1} + c_n))      candidate
h_t = (1 - z_t) * n_t + z_t * h_{t-1}"""
_LSTM = """i_t = sigmoid(W_i x_t + U_i h_{t-1} + b_i)                 input gate
f_t = sigmoid(W_f x_t + U_f h_{t-1} + b_f)                 forget gate
g_t = tanh(W_g x_t + U_g h_{t-1} + b_g)                    cell candidate
o_t = sigmoid(W_o x_t + U_o h_{t-1} + b_o)                 output gate
c_t = f_t * c_{t-1} + i_t * g_t
h_t = o_t * tanh(c_t)"""
_CELLS = {
    "elman": ("Elman network", _ELMAN, "Elman 1990, Finding Structure in Time"),
    "gru": ("GRU", _GRU, "Cho et al. 2014, arXiv 1406.1078, section 2.3, with the reset of nn.GRU"),
    "lstm": ("LSTM", _LSTM, "Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000"),
}
_TRANSFORMER = "Vaswani et al. 2017, arXiv 1706.03762"
_SIMILARITY = {
    "additive": ("v . tanh(W h_t + U s_j)", "additive attention, Bahdanau et al. 2015, arXiv 1409.0473"),
    "multiplicative": ("h_t . W s_j", "multiplicative attention, Luong et al. 2015, arXiv 1508.04025"),
}


def architecture_of(config: dict) -> Architecture | None:
    """The summary for a configuration with all its fields; `None` for one that is not known here."""
    model_type, cell = config.get("model_type"), config.get("cell_type", "lstm")
    if model_type == "seqnlp_recurrent" and cell in _CELLS:
        title, equations, citation = _CELLS[cell]
        return Architecture(("bidirectional " if config.get("bidirectional") else "") + title, equations, citation)
    if model_type == "seqnlp_recurrent_seq2seq" and cell in _CELLS:
        return _recurrent_seq2seq(config, *_CELLS[cell])
    kinds = {
        "seqnlp_transformer": ("Transformer encoder-decoder", _TRANSFORMER),
        "seqnlp_transformer_decoder": ("Transformer decoder", _TRANSFORMER),
        "seqnlp_transformer_encoder": ("Transformer encoder", f"{_TRANSFORMER}; Devlin et al. 2019, arXiv 1810.04805"),
        "seqnlp_vision_transformer": ("Vision Transformer", "Dosovitskiy et al. 2021, arXiv 2010.11929"),
    }
    if model_type in kinds:
        title, citation = kinds[model_type]
        return Architecture(title, _transformer_equations(config), citation)
    return None


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


def _transformer_equations(config: dict) -> str:
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
    if config.get("model_type") == "seqnlp_vision_transformer":
        lines.insert(0, "x_i = E patch_i + position_i")
    return "\n".join(lines)
