"""What holds for every target: what does not pass is not written, and nothing but an export is replaced."""

import ast
import json
import re
import shlex

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from safetensors import SafetensorError
from typer.testing import CliRunner

from seqnlp import TransformerDecoderConfig, TransformerDecoderForCausalLM
from seqnlp.cli.main import app
from seqnlp.export import EXPORTS, MANIFEST, Check, Export, ExportError, create_export, export
from seqnlp.export.inputs import largest_difference, padded, random_texts
from seqnlp.extras import install
from seqnlp.tokenization import train_tokenizer


class WeightSum(Export):
    """A target of one number: the sum of the weights."""

    name = "weight_sum"
    title = "the sum of the weights"

    def refuse(self):
        if self.config.num_hidden_layers > 1:
            raise ExportError(f"num_hidden_layers={self.config.num_hidden_layers}: one layer is summed.")

    def write(self, folder):
        total = sum(float(weight.sum()) for weight in self.model.parameters())
        (folder / "sum.txt").write_text(str(total + (self.quantization == "wrong")))

    def verify(self, folder):
        found = float((folder / "sum.txt").read_text())
        expected = float(torch.cat([weight.flatten() for weight in self.model.parameters()]).sum())
        return [Check("sum", abs(found - expected) < 1e-2, f"{found:.3f}", f"{expected:.3f}")]

    def usage(self, folder):
        return f"print(open('{folder}/sum.txt').read())"


@pytest.fixture(autouse=True)
def target(monkeypatch):
    monkeypatch.setattr(WeightSum, "quantizations", ("wrong",))
    yield
    EXPORTS["weight_sum"] = WeightSum


@pytest.fixture(scope="module", autouse=True)
def _forget():
    yield
    del EXPORTS["weight_sum"]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return TransformerDecoderForCausalLM(
        TransformerDecoderConfig(vocab_size=300, hidden_size=16, num_hidden_layers=1, max_position_embeddings=16)
    )


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_passes_is_written_and_what_fails_is_not(model, tmp_path):
    checks = export(model, None, "weight_sum", tmp_path / "deep" / "sum")
    assert [check.passed for check in checks] == [True]
    assert names(tmp_path / "deep" / "sum") == [MANIFEST, "sum.txt"]
    manifest = json.loads((tmp_path / "deep" / "sum" / MANIFEST).read_text())
    assert manifest["target"] == "weight_sum"
    assert manifest["files"] == ["sum.txt"]
    assert manifest["model"] == "TransformerDecoderForCausalLM"
    checks = export(model, None, "weight_sum", tmp_path / "deep" / "wrong", quantization="wrong")
    assert [check.passed for check in checks] == [False]
    assert names(tmp_path / "deep") == ["sum"]


def test_only_an_export_is_replaced(model, tmp_path):
    folder = tmp_path / "sum"
    folder.mkdir()
    assert export(model, None, "weight_sum", folder)[0].passed  # an empty folder is nobody's
    (folder / "sum.txt").write_text("0")
    assert export(model, None, "weight_sum", folder)[0].passed
    assert float((folder / "sum.txt").read_text()) != 0
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(ExportError, match=r"sum holds notes\.txt, which no export has made"):
        export(model, None, "weight_sum", folder)
    assert (folder / "notes.txt").read_text() == "mine"
    (tmp_path / "file").write_text("mine")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text("{}")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("file", "other", "link"):
        with pytest.raises(ExportError, match="no export has made it"):
            export(model, None, "weight_sum", tmp_path / name)
    with pytest.raises(ExportError, match="cannot be made: "):
        export(model, None, "weight_sum", tmp_path / "file" / "below")
    assert names(tmp_path) == ["file", "link", "other", "sum"]


@pytest.mark.parametrize("failed", [OSError(28, "No space left on device"), SafetensorError("No space left")])
def test_a_disk_that_is_full_is_told_in_one_line_and_leaves_nothing(failed, model, tmp_path, monkeypatch):
    assert export(model, None, "weight_sum", tmp_path / "sum")[0].passed
    before = (tmp_path / "sum" / MANIFEST).read_text()

    def write(self, folder):
        (folder / "half.txt").write_text("half")
        raise failed

    monkeypatch.setattr(WeightSum, "write", write)
    with pytest.raises(ExportError, match=r"sum cannot be written: No space left( on device)?\. Nothing of"):
        export(model, None, "weight_sum", tmp_path / "sum")
    assert names(tmp_path) == ["sum"]
    assert (tmp_path / "sum" / MANIFEST).read_text() == before


def test_a_folder_with_spaces_and_quotes_is_named_so_that_it_can_be_copied():
    folder = 'my "best" models'
    small = TransformerDecoderConfig(vocab_size=300, hidden_size=8, num_hidden_layers=1, num_attention_heads=1)
    writer = TransformerDecoderForCausalLM(small)
    for target in ("onnx", "gguf", "torch", "ctranslate2", "transformers"):
        usage = EXPORTS[target](writer, train_tokenizer(["a good film"], "bpe", 300)).usage(folder)
        if EXPORTS[target].language == "bash":
            assert any(word.startswith(f"{folder}/") for word in shlex.split(usage)), usage
        else:
            strings = [node.value for node in ast.walk(ast.parse(usage)) if isinstance(node, ast.Constant)]
            assert any(str(value).startswith(folder) for value in strings), usage


def test_what_cannot_be_exported_is_told_in_one_line(model, monkeypatch):
    with pytest.raises(ExportError, match="no target 'tpu': choose from "):
        create_export(model, "tpu")
    with pytest.raises(ExportError, match="quantization 'int1': the target weight_sum has wrong"):
        create_export(model, "weight_sum", quantization="int1")
    deep = TransformerDecoderForCausalLM(TransformerDecoderConfig(vocab_size=9, hidden_size=8, num_hidden_layers=2))
    with pytest.raises(ExportError, match="num_hidden_layers=2"):
        create_export(deep, "weight_sum")
    adapted = TransformerDecoderForCausalLM(TransformerDecoderConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1))
    inject_adapter_in_model(LoraConfig(r=2, target_modules="all-linear"), adapted)
    with pytest.raises(ExportError, match=r"has adapters of PEFT .* export what merge_and_unload\(\) gives"):
        create_export(adapted, "weight_sum")
    with pytest.raises(ExportError, match=r"torch\.bfloat16: load it"):
        create_export(deep.bfloat16(), "weight_sum")
    monkeypatch.setattr(WeightSum, "packages", ("json", "no_such_runtime"))
    monkeypatch.setattr(WeightSum, "extra", "export")
    with pytest.raises(ExportError, match=f"needs no_such_runtime: {re.escape(install('export'))}"):
        create_export(model, "weight_sum")


def test_the_verb_shows_checks_sizes_and_how_to_run_it(model, tmp_path):
    tokenizer = train_tokenizer(["a good film", "an awful film"], "bpe", 300)
    model.save_pretrained(tmp_path / "lm")
    tokenizer.save_pretrained(tmp_path / "lm")
    command = ["export", str(tmp_path / "lm"), "--to", "weight_sum"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.exception
    assert "passed" in result.output
    assert "  sum.txt\n" in result.output
    assert f"print(open('{tmp_path}/lm-weight_sum/sum.txt').read())" in result.output
    result = CliRunner().invoke(app, [*command, "--quantization", "wrong", "--output", str(tmp_path / "wrong")])
    assert result.exit_code == 1
    assert "failed" in result.output
    assert "Nothing was written" in result.output
    assert names(tmp_path) == ["lm", "lm-weight_sum"]
    result = CliRunner().invoke(app, [*command, "--output", str(tmp_path / "lm")])
    assert isinstance(result.exception, ExportError)


def test_every_target_says_what_it_is():
    for name, target in EXPORTS.items():
        assert name == target.name
        assert target.title
        assert bool(target.packages) == bool(target.extra)


def test_random_texts_keep_to_the_model():
    config = TransformerDecoderConfig(vocab_size=5, pad_token_id=3, max_position_embeddings=8, hidden_size=8)
    texts = random_texts(config, (1, 6, 40))
    assert [text.shape for text in texts] == [(1, 1), (1, 6), (1, 8)]
    assert set(torch.cat(texts, 1).unique().tolist()) == {0, 1, 2, 4}
    *alone, right, left = padded(texts, 3)
    assert [batch.input_ids.shape for batch in alone] == [(1, 1), (1, 6), (1, 8)]
    assert right.input_ids[0].tolist() == [texts[0][0, 0], *[3] * 7]
    assert left.attention_mask[1].tolist() == [0, 0, 1, 1, 1, 1, 1, 1]
    assert largest_difference(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.5, 9.0]]), torch.tensor([[1, 0]])) == 0.5
    assert largest_difference(torch.tensor([float("nan")]), torch.zeros(1)) == float("inf")
