"""A model goes up with its exports; what runs them is on the card."""

import pytest
import torch
from finished_run import write_run
from huggingface_hub import snapshot_download
from transformers import AutoModelForCausalLM, AutoTokenizer
from typer.testing import CliRunner

from seqnlp import TransformerDecoderConfig, TransformerDecoderForCausalLM
from seqnlp.cli.main import app
from seqnlp.export.ctranslate2 import load_ctranslate2
from seqnlp.publishing import PublishingError, build_bundle, publish, verify
from seqnlp.tokenization import train_tokenizer


TASK = {"task": "language_modeling", "metrics": {"test": {"perplexity": 3.5}}}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    tokenizer = train_tokenizer(["a good film", "an awful film"], "bpe", 280)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 64}
    model = TransformerDecoderForCausalLM(TransformerDecoderConfig(vocab_size=280, initializer_range=0.3, **sizes))
    return write_run(tmp_path_factory.mktemp("runs") / "films-lm", model=model.eval(), processor=tokenizer, **TASK)


def test_exports_go_up_in_folders_and_run(hub, in_process, run, tmp_path):
    result = CliRunner().invoke(app, ["publish", str(run), "--with", "ctranslate2, transformers"])
    assert result.exit_code == 0, result.exception
    files = hub.files("alice/films-lm")
    assert {"ctranslate2/model.bin", "ctranslate2/export.json", "transformers/model.safetensors"} <= set(files)
    card = files["README.md"].decode()
    assert 'generator = ctranslate2.Generator("ctranslate2")' in card
    assert '--include "transformers/*" --local-dir .' in card

    folder = snapshot_download("alice/films-lm", local_dir=tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(f"{folder}/transformers")
    ids = tokenizer("a film", return_tensors="pt")
    model = TransformerDecoderForCausalLM.from_pretrained(run)
    written = model.generate(**ids, max_new_tokens=9, do_sample=False).tolist()
    native = AutoModelForCausalLM.from_pretrained(f"{folder}/transformers")
    assert type(native).__name__ == "LlamaForCausalLM"
    assert native.generate(**ids, max_new_tokens=9, do_sample=False).tolist() == written
    generator = load_ctranslate2().Generator(f"{folder}/ctranslate2")
    tokens = tokenizer.convert_ids_to_tokens(ids["input_ids"][0])
    found = generator.generate_batch([tokens], max_length=len(written[0]), end_token=[])[0].sequences_ids[0]
    assert found[: len(written[0])] == written[0]

    formats = next(check for check in verify("alice/films-lm").checks if check.name == "safetensors only")
    assert (formats.outcome, "ctranslate2/, transformers/ not looked at" in formats.detail) == ("passed", True)
    publish(run)  # without them: they do not stay behind as another model's
    assert not [name for name in hub.files("alice/films-lm") if "/" in name]


def test_an_export_that_cannot_be_made_stops_the_upload(hub, run, tmp_path, monkeypatch):
    with pytest.raises(PublishingError, match="--with tpu: There is no target 'tpu'"):
        publish(run, exports=["tpu"])
    model = TransformerDecoderForCausalLM.from_pretrained(run)
    model.config.norm_position = "post"
    tokenizer = AutoTokenizer.from_pretrained(run)
    other = TransformerDecoderForCausalLM(model.config)
    post = write_run(tmp_path / "post", model=other, processor=tokenizer, **TASK)
    with pytest.raises(PublishingError, match=r"--with transformers: No class .* norm_position='post'"):
        publish(post, exports=["transformers"])
    assert "alice/post" not in hub.repos


def test_weights_in_bfloat16_are_exported_in_float32(run, tmp_path):
    model = TransformerDecoderForCausalLM.from_pretrained(run, dtype=torch.bfloat16)
    half = write_run(tmp_path / "half", model=model, processor=AutoTokenizer.from_pretrained(run), **TASK)
    bundle = build_bundle(half, tmp_path / "bundle", "alice/half", exports=["transformers"])
    published = AutoModelForCausalLM.from_pretrained(bundle.folder, dtype="auto")
    native = AutoModelForCausalLM.from_pretrained(bundle.folder / "transformers", dtype="auto")
    assert (published.dtype, native.dtype) == (torch.bfloat16, torch.float32)


def test_the_way_on_names_the_exports(hub, run, naps):
    hub.repos.clear()
    done = publish(run, exports=["gguf"], dry_run=True)
    assert "gguf/model.gguf" in [file.name for file in done.files]
    assert not hub.repos
    hub.fail("/commit/", "status", times=-1, status=503)
    with pytest.raises(PublishingError, match=r"go on by `seqnlp publish .* alice/films-lm --with gguf`"):
        publish(run, exports=["gguf"])
