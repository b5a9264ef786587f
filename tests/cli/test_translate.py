"""`seqnlp translate`: one line in, one line out, whatever happens in between."""

import errno
import io
import json
import os
import re
from importlib.util import find_spec

import pytest
import torch

from seqnlp import (
    RecurrentConfig,
    RecurrentForCausalLM,
    RecurrentSeq2SeqConfig,
    RecurrentSeq2SeqForConditionalGeneration,
    TransformerConfig,
    TransformerForConditionalGeneration,
    TranslationPipeline,
)
from seqnlp.cli.models import load_model
from seqnlp.export import export
from seqnlp.tasks import file_translation
from seqnlp.tasks.file_translation import TorchEngine, TranslationError, translate_lines
from seqnlp.tasks.translation import Tokenizers
from seqnlp.tokenization import train_tokenizer


WORDS = ["the", "cat", "sat", "on", "mat", "and", "dog", "looked", "at"]
LINES = [" ".join(WORDS[: 1 + (7 * number) % 9]) for number in range(20)] + ["", "  ", "the cat\u2028sat \x85 on"]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("models")
    source = train_tokenizer([" ".join(WORDS)] * 3, "word", 40, min_frequency=1, add_eos_token=True)
    target = train_tokenizer(["le chat dort sur un tapis"] * 3, "word", 40, min_frequency=1, add_eos_token=True)
    size, sizes = max(len(source), len(target)), {"hidden_size": 8, "initializer_range": 0.8}
    ids = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "decoder_start_token_id": 2}
    heads = {"num_attention_heads": 2, "num_hidden_layers": 1}
    models = {
        "recurrent": RecurrentSeq2SeqForConditionalGeneration(
            RecurrentSeq2SeqConfig(vocab_size=size, **sizes, **ids, target_tokenizer="target_tokenizer")
        ),
        "transformer": TransformerForConditionalGeneration(
            TransformerConfig(
                vocab_size=size, **sizes, **ids, **heads, position_embedding_type="learned", max_position_embeddings=24
            )
        ),
        "lm": RecurrentForCausalLM(RecurrentConfig(vocab_size=size, hidden_size=8)),
    }
    for name, model in models.items():
        model.save_pretrained(root / name)
        source.save_pretrained(root / name)
    target.save_pretrained(root / "recurrent" / "target_tokenizer")
    (root / "in.txt").write_text("".join(f"{line}\n" for line in LINES), encoding="utf-8")
    return root


@pytest.fixture
def seqnlp(seqnlp):
    """Run `seqnlp translate`; gives its exit status, what it printed and its error."""
    return lambda *arguments, given="": seqnlp(
        "translate", *arguments, stdin=io.StringIO(given) if isinstance(given, str) else given
    )


@pytest.mark.parametrize(("name", "beams"), [("recurrent", 1), ("transformer", 3)])
def test_each_line_is_what_the_pipeline_says_of_it_alone(name, beams, root, seqnlp, tmp_path):
    named = load_model(str(root / name))
    pipeline = TranslationPipeline(named.model, tokenizer=named.tokenizer(), target_tokenizer=named.target_tokenizer())
    wanted = [one["translation_text"] for one in pipeline(LINES, num_beams=beams, max_new_tokens=9)]
    flags = [
        "--file",
        root / "in.txt",
        "--output",
        tmp_path / "new" / "out.txt",
        "--num_beams",
        beams,
        "--max_new_tokens",
        9,
    ]
    status, out, error = seqnlp(root / name, *flags, "--batch_size", 4)
    assert (status, out) == (0, "")
    assert re.fullmatch(r"23 lines, of which 2 are empty(; \d+ the model did not end.*)?: \S+/new/out.txt\n", error)
    assert (tmp_path / "new" / "out.txt").read_text(encoding="utf-8").split("\n") == [*wanted, ""]
    assert wanted[20:22] == ["", ""]
    assert len(set(wanted)) > 3
    assert sorted(file.name for file in (tmp_path / "new").iterdir()) == ["out.txt"]


def test_a_compiled_step_translates_the_same(root, seqnlp, compiled):
    given = [root / "transformer", "--file", root / "in.txt", "--num_beams", 1, "--max_new_tokens", 9]
    wanted = seqnlp(*given)
    assert len(set(wanted[1].splitlines())) > 3
    assert seqnlp(*given, "--compile_generation") == wanted
    assert compiled == ["asked"]


def test_a_line_that_never_ends_is_cut_where_it_would_be_alone_and_counted(root):
    named = load_model(str(root / "recurrent"))
    tokenizer = named.tokenizer()
    wanted = [len(tokenizer(line).input_ids) * 2 + 20 for line in LINES[:5]]
    never = TorchEngine(named.model, Tokenizers(tokenizer, tokenizer), suppress_tokens=[0, 1, 2, 3])
    found = translate_lines(LINES[:5], never, 5)
    assert [len(line.split()) for line in found.lines] == wanted
    assert found.cut == 5


def test_a_line_may_have_as_many_tokens_as_the_model_has_learned_positions(root):
    named = load_model(str(root / "transformer"))
    engine = TorchEngine(named.model, Tokenizers(named.tokenizer(), named.target_tokenizer()), max_new_tokens=9)
    longest = " ".join(["cat"] * 23)  # and </s>
    assert engine.lengths([longest]) == [24]
    assert translate_lines([longest], engine).lines != [""]


@pytest.mark.parametrize("beams", [1, 3])
def test_an_export_for_ctranslate2_translates_as_its_model_does(beams, seqnlp, tmp_path):
    if find_spec("ctranslate2") is None:
        pytest.skip("ctranslate2 is not installed")
    torch.manual_seed(1)
    tokenizer = train_tokenizer([" ".join(WORDS)] * 3, "word", 40, min_frequency=1, add_eos_token=True)
    ids = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "decoder_start_token_id": 2}
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1, "initializer_range": 0.4}
    TransformerForConditionalGeneration(
        TransformerConfig(vocab_size=len(tokenizer), **sizes, **ids, norm_position="pre")
    ).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    named = load_model(str(tmp_path / "model"))
    lines = [line for line in LINES if "\u2028" not in line]
    (tmp_path / "in.txt").write_text("".join(f"{line}\n" for line in lines))
    checks = export(named.model, named.tokenizer(), "ctranslate2", tmp_path / "fast")
    assert all(check.passed for check in checks), checks
    flags = ["--file", tmp_path / "in.txt", "--num_beams", beams, "--max_new_tokens", 9, "--batch_size", 4]
    found = [seqnlp(model, *flags) for model in (tmp_path / "model", tmp_path / "fast")]
    assert [status for status, _, _ in found] == [0, 0], found
    assert found[0][1] == found[1][1]
    assert len(set(found[1][1].splitlines())) == 3


def test_an_export_that_translates_no_files_is_refused(seqnlp, tmp_path):
    (tmp_path / "export.json").write_text('{"target": "onnx"}')
    status, _, error = seqnlp(tmp_path, given="a\n")
    assert status == 2
    assert "is an export for onnx: files are translated by a model, or by an export for ctranslate2." in error


def test_pipes(root, seqnlp, tmp_path):
    seqnlp(root / "recurrent", "--file", root / "in.txt", "--output", tmp_path / "out.txt")
    status, out, _ = seqnlp(root / "recurrent", given="\n".join(LINES))  # the last line without its end
    assert status == 0
    assert out == (tmp_path / "out.txt").read_text(encoding="utf-8")


def piped(content):
    return io.TextIOWrapper(io.BytesIO(content), encoding="latin-1")  # as a locale may have it


def test_a_pipe_is_read_as_every_file_is(root, seqnlp):
    wanted = seqnlp(root / "recurrent", given=piped(b"the cat\n\nsat on\n"))
    assert (wanted[0], wanted[1].count("\n")) == (0, 3)
    assert wanted[1] == seqnlp(root / "recurrent", given=piped(b"\xef\xbb\xbfthe cat\r\n\r\nsat on"))[1]
    for content, told in (
        (b"the cat\nthe caf\xe9\n", "cannot be read as UTF-8: line 2 holds the byte 0xe9"),
        (b"the cat\nt\0h\0e\0\n", "holds NUL characters (first in line 2)"),
    ):
        status, out, error = seqnlp(root / "recurrent", given=piped(content))
        assert (status, out) == (2, "")
        assert error.startswith("error: The standard input ")
        assert error.count("\n") == 1
        assert told in error


@pytest.mark.parametrize(("number", "status"), [(errno.EPIPE, 0), (errno.ENOSPC, 2)])
def test_where_the_standard_output_ends_or_is_full(number, status, root, seqnlp, monkeypatch):
    class Ended(io.StringIO):
        def flush(self):
            raise OSError(number, os.strerror(number))

    told = io.StringIO()
    monkeypatch.setattr("sys.stderr", told)
    told.close = lambda: None
    monkeypatch.setattr("sys.stdout", Ended())
    assert seqnlp(root / "recurrent", given="the cat\n")[0] == status
    wanted = "error: The standard output cannot be written: No space left on device.\n" if status else ""
    assert told.getvalue() == wanted


class Recorded(TorchEngine):
    """Tells which lines it was given, and is killed after some batches."""

    def __init__(self, named, batches=None):
        super().__init__(named.model, Tokenizers(named.tokenizer(), named.target_tokenizer()))
        self.batches, self.seen = batches, []

    def translate(self, texts):
        if self.batches is not None and len(self.seen) == self.batches:
            raise KeyboardInterrupt
        self.seen.append(texts)
        return super().translate(texts)

    @classmethod
    def seen_by(cls, named):
        """The batches of an undisturbed run."""
        engine = cls(named)
        translate_lines(LINES, engine, 4)
        return engine.seen


def test_after_a_kill_only_the_rest_is_translated(root, tmp_path):
    named, journal = load_model(str(root / "recurrent")), tmp_path / "out.part"
    whole = translate_lines(LINES, Recorded(named), 4)
    assert (whole.empty, whole.resumed) == (2, 0)
    killed = Recorded(named, batches=3)
    with pytest.raises(KeyboardInterrupt):
        translate_lines(LINES, killed, 4, journal)
    lengths = [max(len(line.split()) for line in batch) for batch in killed.seen]
    assert lengths == sorted(lengths, reverse=True)
    content = journal.read_bytes()
    journal.write_bytes(content[:-7])  # killed in the middle of a line
    rest, counts = Recorded(named), []
    again = translate_lines(LINES, rest, 4, journal, counts.append)
    assert again.lines == whole.lines
    assert again.resumed == sum(map(len, killed.seen[:2]))
    assert rest.seen == Recorded.seen_by(named)[2:]  # the batch of the torn line again, and those after it
    assert sum(counts) == len(LINES)
    assert translate_lines(LINES, Recorded(named, batches=0), 4, journal).lines == whole.lines  # nothing is left


def test_work_of_others_is_not_gone_on_with(root, tmp_path):
    named, journal = load_model(str(root / "recurrent")), tmp_path / "out.part"
    translate_lines(LINES, Recorded(named), 4, journal)
    with pytest.raises(TranslationError, match="holds work on other lines"):
        translate_lines(LINES[1:], Recorded(named), 4, journal)
    with pytest.raises(TranslationError, match="by another model"):
        translate_lines(LINES, Recorded(load_model(str(root / "transformer"))), 4, journal)
    other = Recorded(named)
    other.beams = {"num_beams": 2}
    with pytest.raises(TranslationError, match="with other flags"):
        translate_lines(LINES, other, 4, journal)
    journal.write_text("my notes\n")
    with pytest.raises(TranslationError, match="finish that, or remove it"):
        translate_lines(LINES, Recorded(named), 4, journal)
    assert journal.read_text() == "my notes\n"


def test_ctrl_c_keeps_what_is_done(root, seqnlp, tmp_path, monkeypatch):
    ready = TorchEngine.translate

    def stops(self, texts):
        if len(self.tokenizers.source(texts[0]).input_ids) < 6:
            raise KeyboardInterrupt
        return ready(self, texts)

    flags = [root / "recurrent", "--file", root / "in.txt", "--output", tmp_path / "out.txt", "--batch_size", 2]
    monkeypatch.setattr(file_translation.TorchEngine, "translate", stops)
    status, _, error = seqnlp(*flags)
    assert status == 130
    assert "the same command goes on" in error
    assert not (tmp_path / "out.txt").exists()
    monkeypatch.setattr(file_translation.TorchEngine, "translate", ready)
    status, _, error = seqnlp(*flags)
    assert "of them were done before" in error
    assert len((tmp_path / "out.txt").read_text(encoding="utf-8").split("\n")) == 24


REFUSED = {
    "{root}/lm --file {root}/in.txt": "which translates nothing: name an encoder-decoder",
    "{root}/recurrent --file {root}/none.txt": "none.txt' cannot be read",
    "{root}/recurrent --file {root}/in.txt --output {root}/in.txt --overwrite": "would write over",
    "{root}/recurrent --file {root}/in.txt --output {root}/there.txt": "is there already. Give another name, or",
    "{root}/recurrent --file {root}/in.txt --output {root}/in.txt/out.txt": "cannot be made",
    "{root}/recurrent --file {root}/in.txt --length_penalty 2": "so give --num_beams 2 or more",
    "{root}/recurrent --file {root}/in.txt --num_beams 2 --compile_generation": "does nothing for 2 beams",
    "{root}/transformer --file {root}/long.txt": "has 25 tokens, and the model has learned max_position_embeddings=24",
}


@pytest.mark.parametrize("line", REFUSED, ids=range(len(REFUSED)))
def test_refusals_take_one_line(line, root, seqnlp):
    (root / "there.txt").write_text("mine")
    (root / "long.txt").write_text("cat " * 24)
    status, out, error = seqnlp(*line.format(root=root).split())
    assert (status, out) == (2, "")
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert REFUSED[line] in error
    assert (root / "there.txt").read_text() == "mine"


def test_a_journal_is_readable(root, tmp_path):
    journal = tmp_path / "out.part"
    translate_lines(["the cat"], Recorded(load_model(str(root / "recurrent"))), 4, journal)
    head, entry = (json.loads(line) for line in journal.read_text().splitlines())
    assert entry[0] == 0
    assert head.keys() == {"batch_size", "lines", "weights", "generation", "beams"}
