"""Marian's files, written here by the names and shapes of its sources, against its mathematics in plain numpy."""

import numpy as np
import pytest
import sentencepiece
import torch
import yaml
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer
from typer.testing import CliRunner

from seqnlp.cli.main import app
from seqnlp.cli.outputs import OutputError
from seqnlp.conversion import MarianFileError, read_marian
from seqnlp.conversion.marian import read_vocabulary


TEXTS = ["a good film", "an awful film, with no end", "the crew was lovely and the sea was blue", "ein guter Film"]
SIZE, INNER, HEADS, ENCODER_LAYERS, DECODER_LAYERS = 12, 20, 3, 2, 1
STUDENT = {
    "type": "transformer",
    "dim-emb": SIZE,
    "enc-depth": ENCODER_LAYERS,
    "dec-depth": DECODER_LAYERS,
    "transformer-heads": HEADS,
    "transformer-dim-ffn": INNER,
    "transformer-ffn-activation": "relu",
    "transformer-preprocess": "",
    "transformer-postprocess": "dan",
    "transformer-postprocess-emb": "d",
    "transformer-decoder-autoreg": "rnn",
    "dec-cell": "ssru",
    "dim-rnn": 1024,  # of cells that are not there
    "tied-embeddings-all": True,
}


def write_vocabulary(path, texts=TEXTS, **options):
    """As Marian trains one: no start token, `</s>` first and `<unk>` second."""
    with path.open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts * 9),
            model_writer=file,
            **{"vocab_size": 40, "bos_id": -1, "eos_id": 0, "unk_id": 1, "hard_vocab_limit": False, **options},
            minloglevel=2,
        )
    return path


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    return write_vocabulary(tmp_path_factory.mktemp("marian") / "vocab.spm")


def random_arrays(num_tokens, is_tied=True, cell="rnn"):
    """All parameters of such a model under Marian's names."""
    chance = np.random.default_rng(0)
    arrays = {}

    def draw(name, *shape):
        arrays[name] = chance.normal(0, 0.4, shape).astype(np.float32)

    def attention(prefix):
        for part in "qkvo":
            draw(f"{prefix}_W{part}", SIZE, SIZE)
            draw(f"{prefix}_b{part}", 1, SIZE)
        norm(f"{prefix}_Wo")

    def norm(prefix):
        draw(f"{prefix}_ln_scale", 1, SIZE)
        draw(f"{prefix}_ln_bias", 1, SIZE)

    for stack, layers in (("encoder", ENCODER_LAYERS), ("decoder", DECODER_LAYERS)):
        if not is_tied:
            draw(f"{stack}_Wemb", num_tokens, SIZE)
        for layer in (f"{stack}_l{index + 1}" for index in range(layers)):
            if stack == "decoder":
                attention(f"{layer}_context")
            if stack == "encoder" or cell == "self":
                attention(f"{layer}_self")
            else:
                draw(f"{layer}_rnn_W", SIZE, SIZE)
                draw(f"{layer}_rnn_Wf", SIZE, SIZE)
                draw(f"{layer}_rnn_bf", 1, SIZE)
                norm(f"{layer}_rnn_ffn")
            draw(f"{layer}_ffn_W1", SIZE, INNER)
            draw(f"{layer}_ffn_b1", 1, INNER)
            draw(f"{layer}_ffn_W2", INNER, SIZE)
            draw(f"{layer}_ffn_b2", 1, SIZE)
            norm(f"{layer}_ffn_ffn")
    if is_tied:
        draw("Wemb", num_tokens, SIZE)
    draw("decoder_ff_logit_out_b", 1, num_tokens)
    return arrays


def write_model(path, arrays, options=STUDENT):
    text = yaml.safe_dump(options).encode() + b"\0"
    np.savez(path, **{"special:model.yml": np.frombuffer(text, dtype=np.int8)}, **arrays)
    return path


class Marian:
    """What Marian computes for one text, from the sources: `transformer.h`, `cells.h`, `node_initializers.cpp`."""

    def __init__(self, arrays):
        self.arrays = {name: array.astype(np.float64) for name, array in arrays.items()}

    def affine(self, states, name, end):
        return states @ self.arrays[f"{name}_W{end}"] + self.arrays[f"{name}_b{end}"]

    def add_and_norm(self, update, states, name):
        sums = update + states
        centered = sums - sums.mean(-1, keepdims=True)
        normed = centered / np.sqrt((centered**2).mean(-1, keepdims=True) + 1e-9)
        return normed * self.arrays[f"{name}_ln_scale"] + self.arrays[f"{name}_ln_bias"]

    def attend(self, states, source, name, is_causal=False):
        query, key, value = (
            self.affine(given, name, part) for given, part in ((states, "q"), (source, "k"), (source, "v"))
        )
        heads = []
        for part in np.split(np.arange(SIZE), HEADS):
            scores = query[:, part] @ key[:, part].T / np.sqrt(SIZE // HEADS)
            if is_causal:
                scores[np.triu_indices(len(scores), 1)] = -np.inf
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            heads.append(weights / weights.sum(-1, keepdims=True) @ value[:, part])
        return self.add_and_norm(self.affine(np.concatenate(heads, -1), name, "o"), states, f"{name}_Wo")

    def feed(self, states, name):
        inner = np.maximum(self.affine(states, name, "1"), 0)
        return self.add_and_norm(self.affine(inner, name, "2"), states, f"{name}_ffn")

    def positions(self, length):
        half = SIZE // 2
        angles = np.outer(np.arange(length), 10000.0 ** (-np.arange(half) / (half - 1)))
        return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)

    def embed(self, ids, stack):
        matrix = self.arrays["Wemb"] if "Wemb" in self.arrays else self.arrays[f"{stack}_Wemb"]
        rows = np.stack([np.zeros(SIZE) if token is None else matrix[token] for token in ids])
        return np.sqrt(SIZE) * rows + self.positions(len(ids)), matrix

    def ssru(self, states, name):
        cell, seen = np.zeros(SIZE), []
        for x in states:
            forget = 1 / (1 + np.exp(-(x @ self.arrays[f"{name}_Wf"] + self.arrays[f"{name}_bf"][0])))
            cell = forget * cell + (1 - forget) * (x @ self.arrays[f"{name}_W"])
            seen.append(np.maximum(cell, 0))
        return self.add_and_norm(np.stack(seen), states, f"{name}_ffn")

    def logits(self, source_ids, target_ids):
        """Of each token behind the start and `target_ids`."""
        source, _ = self.embed(source_ids, "encoder")
        for layer in (f"encoder_l{index + 1}" for index in range(ENCODER_LAYERS)):
            source = self.feed(self.attend(source, source, f"{layer}_self"), f"{layer}_ffn")
        states, matrix = self.embed([None, *target_ids], "decoder")  # it starts from a vector of zeros
        for layer in (f"decoder_l{index + 1}" for index in range(DECODER_LAYERS)):
            if f"{layer}_rnn_W" in self.arrays:
                states = self.ssru(states, f"{layer}_rnn")
            else:
                states = self.attend(states, states, f"{layer}_self", is_causal=True)
            states = self.feed(self.attend(states, source, f"{layer}_context"), f"{layer}_ffn")
        return states @ matrix.T + self.arrays["decoder_ff_logit_out_b"]

    def greedy(self, source_ids, length):
        written = []
        while len(written) < length and written[-1:] != [0]:
            written.append(int(self.logits(source_ids, written)[-1].argmax()))
        return written


def num_pieces(vocabulary):
    return sentencepiece.SentencePieceProcessor(model_file=str(vocabulary)).get_piece_size()


@pytest.mark.parametrize(("cell", "is_tied"), [("rnn", True), ("rnn", False), ("self", True)])
def test_it_computes_what_marian_computes(cell, is_tied, vocabulary, tmp_path):
    arrays = random_arrays(num_pieces(vocabulary), is_tied, cell)
    options = STUDENT | ({} if cell == "rnn" else {"transformer-decoder-autoreg": "self-attention"})
    path = write_model(tmp_path / "model.npz", arrays, options)
    read = read_marian(path, [vocabulary])
    assert read.model.config.decoder_cell == ("ssru" if cell == "rnn" else None)
    marian = Marian(arrays)
    sources = [[5, 9, 7, 12, 0], [8, 0]]
    targets = [[6, 11, 4, 4, 20], [13, 4, 15, 9, 2]]
    pad = read.model.config.pad_token_id
    ids = torch.tensor([source + [pad] * (5 - len(source)) for source in sources])
    mask = (ids != pad).long()
    begun = torch.tensor([[pad, *target] for target in targets])
    with torch.no_grad():
        logits = read.model(ids, attention_mask=mask, decoder_input_ids=begun).logits
    assert (logits[..., pad] == -100).all()
    for row in range(2):
        expected = torch.from_numpy(marian.logits(sources[row], targets[row]))
        torch.testing.assert_close(logits[row, :, :-1].double(), expected, rtol=1e-4, atol=1e-4)
        written = read.model.generate(ids[row : row + 1], attention_mask=mask[row : row + 1], max_new_tokens=12)
        expected = marian.greedy(sources[row], 12)
        assert written[0, 1 : 1 + len(expected)].tolist() == expected
    assert f"{len(arrays)} arrays" in read.summary


SEVERAL = ["", " ", "  two   spaces ", "Größe und Käse", "ﬁne ½ ① \uff21", "漢字 и 🙂", "a\tb\nc", "<pad> x < y"]


@pytest.mark.parametrize(
    "options", [{}, {"byte_fallback": True, "vocab_size": 320}, {"normalization_rule_name": "identity"}]
)
def test_the_tokenizer_is_that_of_sentencepiece(options, tmp_path):
    path = write_vocabulary(tmp_path / "vocab.spm", **options)
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(path))
    ours = read_vocabulary(path)
    assert (ours.eos_token_id, ours.unk_token_id, ours.pad_token_id) == (0, 1, theirs.get_piece_size())
    for text in [*TEXTS, *SEVERAL]:
        ids = ours(text)["input_ids"]
        assert ids == [*theirs.encode(text), 0], text
        if 1 not in ids:  # theirs writes an unknown piece as a sign of its own
            assert ours.decode(ids, skip_special_tokens=True) == theirs.decode(ids[:-1]), text
    spelled = ours("a good film.</s> <pad> </s>")["input_ids"]
    assert (spelled.count(0), spelled.count(ours.pad_token_id)) == (1, 0)


def test_two_vocabularies_from_the_command_line(tmp_path):
    def seqnlp(*arguments):
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    paths = [write_vocabulary(tmp_path / name, texts) for name, texts in (("s.spm", TEXTS), ("t.spm", TEXTS[::-1]))]
    model = write_model(tmp_path / "model.npz", random_arrays(num_pieces(paths[0]), is_tied=False))
    output = tmp_path / "student"
    vocabularies = [part for path in paths for part in ("--vocabulary", path)]
    ran = seqnlp("convert", model, *vocabularies, "--output", output)
    assert ran.exit_code == 0, ran.exception
    assert "Transformer of 2 + 1 layers, 12 wide, decoder with ssru" in ran.output
    loaded = AutoModelForSeq2SeqLM.from_pretrained(output)
    tokenizer = AutoTokenizer.from_pretrained(output)
    read = read_marian(model, paths)
    ids = tokenizer(TEXTS[1], return_tensors="pt")["input_ids"]
    assert torch.equal(loaded.generate(ids, max_new_tokens=9), read.model.generate(ids, max_new_tokens=9))
    assert loaded.config.target_tokenizer == "target_tokenizer"
    assert isinstance(seqnlp("convert", model, *vocabularies, "--output", output).exception, OutputError)


def test_what_is_not_read_is_refused_with_its_name(vocabulary, tmp_path):
    arrays, path = random_arrays(num_pieces(vocabulary)), tmp_path / "model.npz"

    def refused(match, vocabularies=(vocabulary,), arrays=arrays, **options):
        write_model(path, arrays, STUDENT | options)
        with pytest.raises(MarianFileError, match=match) as error:
            read_marian(path, vocabularies)
        assert "\n" not in str(error.value)

    refused("transformer-preprocess: 'n' in special:model.yml", **{"transformer-preprocess": "n"})
    refused("transformer-ffn-activation: 'swish'", **{"transformer-ffn-activation": "swish"})
    refused("dec-cell: 'gru'", **{"dec-cell": "gru"})
    refused("0 vocabularies", vocabularies=[])
    refused("holds no encoder_l3_self_Wo_ln_scale", **{"enc-depth": 3})
    refused("holds no encoder_l3_self_Wo_ln_scale", **{"enc-depth": 10**9})  # before that many layers are made
    narrow = arrays | {"decoder_l1_rnn_W": arrays["decoder_l1_rnn_W"][:5]}
    refused(r"decoder_l1_rnn_Wf and _W in .* have the shapes \(12, 12\) and \(5, 12\)", arrays=narrow)
    refused(r"Wemb in .* has the shape \(\d+, 0\) and no numbers", arrays=arrays | {"Wemb": arrays["Wemb"][:, :0]})
    large = arrays | {"Wemb": arrays["Wemb"].astype(np.float64) * 1e300}
    refused("Wemb in .* holds what is no number", arrays=large)
    refused("22 arrays of .* have no place here, such as ", **{"dec-cell": "ssru"}, arrays=arrays | more_arrays())
    quantized = arrays | {"Wemb": arrays["Wemb"].astype(np.int8)}
    refused("Wemb in .* is of type int8: quantized models are not read", arrays=quantized)
    for option in ("enc-depth", "dec-depth", "transformer-heads"):
        for value in (None, "2x", 0, True):
            refused(f"{option}: {value!r} in special:model.yml of .* is no number of at least 1", **{option: value})
    refused("transformer-heads: 5 in .* do not divide embeddings of 12", **{"transformer-heads": 5})
    narrow = arrays | {"encoder_l2_self_Wq": arrays["encoder_l2_self_Wq"][:, :5]}
    refused(r"layers.1.self_attn.q_proj.weight has the shape \(5, 12\), and by .* \(12, 12\)", arrays=narrow)
    refused("Wemb in .* has 1 dimensions", arrays=arrays | {"Wemb": arrays["Wemb"][0]})
    for number in (np.nan, np.inf):
        broken = arrays["Wemb"].copy()
        broken[1, 2] = number
        refused("Wemb in .* holds what is no number", arrays=arrays | {"Wemb": broken})
    other = write_vocabulary(tmp_path / "other.spm", vocab_size=30)
    refused(r"other.spm has \d+ pieces and .* embeddings of \d+", vocabularies=[other])
    refused("model.npz is no SentencePiece model", vocabularies=[path])
    np.savez(path, **arrays)
    with pytest.raises(MarianFileError, match=r"holds no special:model.yml"):
        read_marian(path, [vocabulary])
    for text in (b"enc-depth: [1\0", b"- 6\0", b"type: \xe9\0", b""):
        np.savez(path, **{"special:model.yml": np.frombuffer(text, dtype=np.uint8)}, **arrays)
        with pytest.raises(MarianFileError, match=r"special:model.yml in .*model.npz is damaged") as error:
            read_marian(path, [vocabulary])
        assert "\n" not in str(error.value)
    with pytest.raises(MarianFileError, match=r"vocab.spm cannot be read: it is no archive of arrays"):
        read_marian(vocabulary, [vocabulary])
    path.write_bytes(b"")
    with pytest.raises(MarianFileError, match=r"model.npz cannot be read: it is no archive of arrays"):
        read_marian(path, [vocabulary])
    bpe = write_vocabulary(tmp_path / "bpe.spm", model_type="bpe")
    with pytest.raises(MarianFileError, match=r"of type bpe, without <pad> and with </s>"):
        read_vocabulary(bpe)


def more_arrays():
    return {f"factor_{index}": np.zeros((1, 1), np.float32) for index in range(22)}
