"""From the recipe to a stranger: trained by two processes, published once, loaded where seqnlp cannot be imported."""

import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from finished_run import write_run
from transformers import ViTImageProcessorPil

from seqnlp import (
    RecurrentConfig,
    RecurrentForCausalLM,
    RecurrentForTokenClassification,
    RecurrentSeq2SeqConfig,
    RecurrentSeq2SeqForConditionalGeneration,
    TransformerConfig,
    TransformerDecoderConfig,
    TransformerDecoderForCausalLM,
    TransformerEncoderConfig,
    TransformerEncoderForMaskedLM,
    TransformerForConditionalGeneration,
    VisionTransformerConfig,
    VisionTransformerForImageClassification,
)
from seqnlp.publishing import publish, verify
from seqnlp.tokenization import train_tokenizer


ROOT = Path(__file__).parents[2]
WORDS = {"vocab_size": 20, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
RECURRENT = {**WORDS, "hidden_size": 16}
ATTENTION = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
FAMILIES = {
    "AutoModelForCausalLM": [
        (RecurrentForCausalLM, RecurrentConfig(**RECURRENT)),
        (TransformerDecoderForCausalLM, TransformerDecoderConfig(**WORDS, **ATTENTION)),
    ],
    "AutoModelForTokenClassification": [(RecurrentForTokenClassification, RecurrentConfig(**RECURRENT))],
    "AutoModelForSeq2SeqLM": [
        (RecurrentSeq2SeqForConditionalGeneration, RecurrentSeq2SeqConfig(**RECURRENT)),
        (TransformerForConditionalGeneration, TransformerConfig(**WORDS, **ATTENTION)),
    ],
    "AutoModelForMaskedLM": [(TransformerEncoderForMaskedLM, TransformerEncoderConfig(**WORDS, **ATTENTION))],
    "AutoModelForImageClassification": [
        (
            VisionTransformerForImageClassification,
            VisionTransformerConfig(**ATTENTION, image_size=(4, 6), patch_size=2),
        )
    ],
}


def environment(hub, home, **more):
    """Of a process that talks to the Hub of the test, with a cache of its own."""
    network = {"HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0", "HF_HOME": str(home)}
    return {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", **network, **more}


def run(arguments, **options):
    done = subprocess.run(
        arguments, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=400, **options
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def films(tmp_path):
    folder = tmp_path / "films"
    folder.mkdir()
    for split, count in (("train", 60), ("validation", 12), ("test", 24)):
        texts = [f"{'a good' if number % 3 else 'an awful'} film {number}" for number in range(count)]
        rows = [{"text": text, "label": int("good" in text)} for text in texts]
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def test_two_processes_train_and_publish_once_and_a_stranger_verifies_it(hub, films, tmp_path):
    launch = [Path(sys.executable).with_name("accelerate"), "launch", "--multi_gpu", "--mixed_precision", "no"]
    launch += ["--num_processes", "2", "--num_machines", "1", "recipes/sentiment_analysis.py"]
    small = ["--num_train_epochs", "3", "--per_device_train_batch_size", "8", "--config_overrides", "hidden_size=8"]
    where = ["--output_dir", str(tmp_path / "run"), "--push_to_hub", "--hub_model_id", "acme/films"]
    hub.fail("POST .*/commit/", "drop_response")
    printed = run(
        [*launch, "--dataset_name", str(films), *small, *where],
        env=environment(hub, tmp_path, HF_TOKEN="hf_alice_write", ACCELERATE_USE_CPU="true", PYTHONPATH=str(ROOT)),
    )
    assert printed.count("Uploaded: ") == 1
    assert "hf_alice_write" not in printed
    assert len(list(hub.repos["acme/films"].history())) == 2
    content = hub.files("acme/films")
    for path in (str(tmp_path), str(ROOT), "hf_alice_write"):
        assert not [name for name, data in content.items() if path.encode() in data]
    code = {name for name in content if name.endswith(".py")}
    assert {"configuration_recurrent.py", "modeling_recurrent.py", "requirements.py"} <= code
    left = {path.name for path in (tmp_path / "run").iterdir() if path.is_file()}
    assert set(content) - code == left | {"README.md", ".gitattributes"}
    result = verify("acme/films", trust_remote_code=True, dataset=str(films))
    assert result.commit == hub.repos["acme/films"].resolve("main")
    assert {check.outcome for check in result.checks} == {"passed", "-"}, result.checks
    found = {check.name for check in result.checks}
    assert {"loads without seqnlp", "answers alike with and without seqnlp", "accuracy, test"} <= found


def test_every_family_loads_where_seqnlp_is_not(hub, tmp_path):
    tokenizer = train_tokenizer(["a b c"], "word", 20)
    kept = tmp_path / "kept"
    for auto_class, members in FAMILIES.items():
        for model_class, config in members:
            torch.manual_seed(0)
            model, name = model_class(config).eval(), model_class.__name__
            is_image = model.main_input_name == "pixel_values"
            processor = ViTImageProcessorPil(size={"height": 4, "width": 6}) if is_image else tokenizer
            task = "language_modeling" if auto_class == "AutoModelForCausalLM" else "anything"
            folder = write_run(tmp_path / name, model=model, processor=processor, task=task)
            done = publish(folder, f"alice/{name}")
            inputs = {"pixel_values": torch.rand(2, 3, 4, 6)} if is_image else {"input_ids": torch.tensor([[4, 5, 6]])}
            if config.is_encoder_decoder:
                inputs["decoder_input_ids"] = torch.tensor([[2, 4]])
            kept.mkdir(exist_ok=True)
            saved = {"auto_class": auto_class, "inputs": inputs, "logits": model(**inputs).logits.detach()}
            torch.save({**saved, "name": done.repo_id, "revision": done.tag}, kept / f"{name}.pt")
    code = f"""
        import sys
        sys.modules["seqnlp"] = None  # importing it fails
        from pathlib import Path
        import torch, transformers
        torch.set_num_threads(1)
        version, transformers.__version__ = transformers.__version__, "5.1.0"
        try:
            transformers.AutoModel.from_pretrained("alice/RecurrentForCausalLM", trust_remote_code=True)
        except ImportError as error:
            print(error)
        transformers.__version__ = version
        exec(Path({str(tmp_path / "snippet.py")!r}).read_text(), {{}})
        for path in sorted(Path({str(kept)!r}).iterdir()):
            saved = torch.load(path)
            options = dict(revision=saved["revision"], trust_remote_code=True)
            model = getattr(transformers, saved["auto_class"]).from_pretrained(saved["name"], **options)
            torch.testing.assert_close(model(**saved["inputs"]).logits, saved["logits"], rtol=1e-5, atol=1e-6)
            base = transformers.AutoModel.from_pretrained(saved["name"], **options)
            assert type(base).__name__ + "For" == saved["name"].split("/")[1].split("For")[0] + "ModelFor", type(base)
            if "pixel_values" in saved["inputs"]:
                transformers.AutoImageProcessor.from_pretrained(saved["name"], **options)
            else:
                assert len(transformers.AutoTokenizer.from_pretrained(saved["name"], **options)) > 3
            print(saved["name"])
    """
    card = hub.files("alice/RecurrentForCausalLM")["README.md"].decode()
    (tmp_path / "snippet.py").write_text(re.search(r"```python\n(.*?)```", card, re.DOTALL).group(1))
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=environment(hub, tmp_path / "stranger"),
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=400,
    )
    published = {f"alice/{model_class.__name__}" for members in FAMILIES.values() for model_class, _ in members}
    assert done.returncode == 0, done.stderr
    older, generated, *loaded = done.stdout.splitlines()
    assert generated.startswith("[{'generated_text': 'The")
    assert older.startswith("This model needs transformers 5.23 or newer, and 5.1.0 is installed: pip install")
    assert set(loaded) == published
