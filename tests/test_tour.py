"""The tour: its pictures are there and small, a command stands before each, and the cheap ones do what they say."""

import contextlib
import io
import os
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import ViTImageProcessorPil
from typer.main import get_command
from typer.testing import CliRunner

from benchmarks.__main__ import app as benchmarks_app
from benchmarks.diagrams import DIAGRAMS
from seqnlp import (
    RecurrentConfig,
    RecurrentForCausalLM,
    RecurrentForSequenceClassification,
    RecurrentSeq2SeqConfig,
    RecurrentSeq2SeqForConditionalGeneration,
    TransformerDecoderConfig,
    TransformerDecoderForCausalLM,
    VisionTransformerConfig,
    VisionTransformerForImageClassification,
)
from seqnlp.cli import main as command
from seqnlp.cli.main import app
from seqnlp.tokenization import train_tokenizer


ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
TOUR = (DOCS / "tour.md").read_text(encoding="utf-8")
PICTURE = r"!\[[^\]]+\]\(([^)]+)\)"
PICTURES = re.findall(PICTURE, TOUR)
COMMANDS = [block.replace("\\\n", " ") for block in re.findall(r"```bash\n(.*?)```", TOUR, re.DOTALL)]
VERBS = [line.strip() for line in "\n".join(COMMANDS).splitlines() if line.strip().startswith("seqnlp ")]
SNIPPETS = re.findall(
    r"```bash\n[^`]*?python (?:- <<'END'|-c \")\n?(.*?)(?:\nEND|\")\n.*?```(?:\n\n```text\n(.*?)```)?", TOUR, re.DOTALL
)


@pytest.mark.parametrize("picture", PICTURES)
def test_every_picture_is_there_and_small_and_a_command_makes_one_like_it(picture):
    path = DOCS / picture
    assert path.stat().st_size < 300_000
    made = "".join(COMMANDS)
    if path.suffix == ".svg":
        assert path.stem in DIAGRAMS
        assert "python -m benchmarks diagrams --output_dir outputs/tour" in made
        return
    assert path.read_bytes()[:4] == b"\x89PNG"
    assert any(f"outputs/tour/{path.stem}.{suffix}" in made for suffix in ("png", "html"))


def test_no_command_writes_over_a_picture_that_is_kept():
    assert "docs/images" not in "".join(COMMANDS)


def test_every_picture_in_the_folder_is_shown():
    """On a page or in the README."""
    pages = [DOCS.parent / "README.md", *DOCS.rglob("*.md")]
    shown = {(page.parent / picture).resolve() for page in pages for picture in re.findall(PICTURE, page.read_text())}
    assert set((DOCS / "images").resolve().iterdir()) <= shown


def test_headings_and_code_stand_on_lines_of_their_own():
    prose = re.sub(r"```.*?```", "", TOUR, flags=re.DOTALL)
    assert not re.search(r"[^\n#]#{2,}\s", prose)
    assert [line for line in prose.splitlines() if line.count("`") % 2] == []
    links = re.findall(r"\]\(#([\w-]+)\)", prose)
    anchors = {
        re.sub(r"[^\w -]", "", line.lstrip("# ").lower()).replace(" ", "-")
        for line in prose.splitlines()
        if line.startswith("#")
    }
    assert set(links) <= anchors


def test_the_flags_of_its_commands_exist():
    verbs = get_command(app).commands
    seen = set()
    for line in VERBS:
        verb = line.split()[1]
        seen.add(verb)
        known = {name for parameter in verbs[verb].load().params for name in parameter.opts}
        line = re.sub(r"--flags \"[^\"]*\"", "--flags", line)
        assert set(re.findall(r"--[a-z_]+", line)) <= known
    assert seen >= {"try", "gradflow", "attention", "states", "dependency", "compare"}


def test_there_are_snippets():
    assert sum(bool(printed) for _, printed in SNIPPETS) >= 4


def _untrained(name):
    """A small model of the kind that a recipe leaves in this folder, with a tokenizer or image processor."""
    torch.manual_seed(0)
    if name.startswith("image_classification"):
        sizes = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
        config = VisionTransformerConfig(image_size=8, patch_size=2, num_channels=1, **sizes)
        gray = {"image_mean": [0.5], "image_std": [0.5]}
        processor = ViTImageProcessorPil(size={"height": 8, "width": 8}, **gray)
        return VisionTransformerForImageClassification(config), processor
    texts = [(ROOT / "LICENSE").read_text(), *re.findall(r'--text "([^"]+)"', TOUR)]
    kind = "word" if name.startswith(("sentiment", "reverse")) else "char"
    tokenizer = train_tokenizer(texts, kind, 400, min_frequency=1)
    sizes = {"vocab_size": len(tokenizer), "hidden_size": 8, "pad_token_id": tokenizer.pad_token_id}
    if name.startswith("sentiment"):
        return RecurrentForSequenceClassification(RecurrentConfig(**sizes, pooling="attention")), tokenizer
    if name.startswith("reverse"):
        ends = {"decoder_start_token_id": 1, "eos_token_id": 2}
        return RecurrentSeq2SeqForConditionalGeneration(RecurrentSeq2SeqConfig(**sizes, **ends)), tokenizer
    if name.endswith("transformer"):
        config = TransformerDecoderConfig(**sizes, num_hidden_layers=2, num_attention_heads=2)
        return TransformerDecoderForCausalLM(config), tokenizer
    return RecurrentForCausalLM(RecurrentConfig(**sizes, cell_type=name.rpartition("-")[2])), tokenizer


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A folder like a clone in which the recipes of the tour have run, with models that have learned nothing."""
    root = tmp_path_factory.mktemp("clone")
    shutil.copy(ROOT / "LICENSE", root)
    (root / "seqnlp" / "models").mkdir(parents=True)
    shutil.copy(ROOT / "seqnlp" / "models" / "recurrence.py", root / "seqnlp" / "models")
    Image.new("L", (8, 8), 200).save(root / "digit.png")
    for line in VERBS:
        for name in re.findall(r"outputs/(?!tour)([\w-]+)", line) if line.split()[1] in CHEAP else ():
            if not (root / "outputs" / name).exists():
                for part in _untrained(name):
                    part.save_pretrained(root / "outputs" / name)
    return root


CHEAP = {"gradflow", "attention", "states"}


@pytest.mark.parametrize(("code", "printed"), SNIPPETS, ids=range(len(SNIPPETS)))
def test_a_snippet_prints_what_stands_below_it(code, printed, clone, monkeypatch):
    """Those that ask a trained model run too, on one that has learned nothing."""
    monkeypatch.chdir(clone)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(code, "tour.md", "exec"), {})
    if "outputs/" not in code:
        assert out.getvalue() == printed
    else:
        assert out.getvalue().count("\n") == printed.count("\n")


@pytest.mark.parametrize("line", [line for line in VERBS if line.split()[1] in CHEAP])
def test_a_cheap_command_makes_its_picture_beside_the_kept_ones(line, clone, monkeypatch, capsys):
    monkeypatch.chdir(clone)
    monkeypatch.setattr(sys, "argv", shlex.split(line))
    with pytest.raises(SystemExit) as stopped:
        command.main()
    assert not stopped.value.code, capsys.readouterr().err
    made = clone / re.search(r"outputs/tour/(\w+)", line)[0]
    assert made.with_suffix(".png").stat().st_size > 5_000


def test_the_drawings_are_made_beside_the_kept_ones(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = next(line for block in COMMANDS for line in block.splitlines() if "benchmarks diagrams" in line)
    result = CliRunner().invoke(benchmarks_app, shlex.split(line)[3:])
    assert result.exit_code == 0, result.output
    assert sorted(os.listdir(tmp_path / "outputs" / "tour")) == sorted(f"{name}.svg" for name in DIAGRAMS)
