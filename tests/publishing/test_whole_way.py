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
from families import FAMILIES, inputs_of, outputs_of
from huggingface_hub import ModelCard
from local_hub import card_errors, connect
from PIL import Image
from safetensors.torch import load

import seqnlp
from seqnlp.data import SAMPLES
from seqnlp.publishing import publish, verify
from seqnlp.publishing.bundle import COPIED_FILES, MODEL_FILES
from seqnlp.publishing.card import task_class_of
from seqnlp.publishing.isolation import why_not_isolated


ROOT = Path(__file__).parents[2]
TARGET = ("target_tokenizer/tokenizer.json", "target_tokenizer/tokenizer_config.json")  # of a translator with two


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
    left.remove("report.html")  # its card is the page there
    assert set(content) - code == left | {"README.md", ".gitattributes"}
    can_isolate = why_not_isolated() is None
    result = verify("acme/films", trust_remote_code=True, dataset=str(films), isolated=can_isolate)
    assert result.commit == hub.repos["acme/films"].resolve("main")
    assert {check.outcome for check in result.checks} == {"passed", "-"}, result.checks
    found = {check.name for check in result.checks}
    assert {"loads without seqnlp", "answers alike with and without seqnlp", "accuracy, test"} <= found


every_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.model)


@every_family
def test_one_commit_with_all_it_needs_and_nothing_of_this_machine(published, family):
    name = f"alice/{family.model}"
    content = published.hub.files(name)
    assert len(list(published.hub.repos[name].history())) == 2  # the Hub's own first one, and ours
    assert f"{published.hub.url}/{name}/commit/" in published.printed[family.model]
    code = {file for file in content if file.endswith(".py")}
    assert {"requirements.py"} < code
    assert {"config.json", "model.safetensors", "run.json", "README.md", "learning_curves.png"} <= set(content)
    generates = {"generation_config.json"} if family.model.endswith(("CausalLM", "ConditionalGeneration")) else set()
    assert generates <= set(content)
    assert set(content) - code <= {*MODEL_FILES, *COPIED_FILES, *TARGET, "README.md", ".gitattributes"}
    assert load(content["model.safetensors"])
    auto_map = json.loads(content["config.json"])["auto_map"]
    assert auto_map[family.auto_class].endswith(f".{family.model}")
    modeling = (ROOT / "seqnlp" / "models" / f"{auto_map['AutoModel'].split('.')[0]}.py").read_text()
    heads = re.findall(r"^class (\w+(?:Model|For\w+))\(", modeling, re.MULTILINE)
    heads = [name for name in heads if not name.endswith("PreTrainedModel")]
    assert sorted(name.split(".")[1] for name in auto_map.values() if "Config" not in name) == sorted(heads)
    for found in (str(published.data.parent), str(ROOT), str(Path.home()), "hf_alice"):
        assert not [file for file, data in content.items() if found.encode() in data], found
        assert found not in published.printed[family.model] or found == str(published.data.parent)


@every_family
def test_its_card_is_whole(published, family):
    files = published.hub.files(f"alice/{family.model}")
    text, record = files["README.md"].decode(), json.loads(files["run.json"])
    card = ModelCard(text)
    parts = ["Use and limits", "Results", "Architecture", "Training", "Citation"]
    parts += ["Data"] if family.recipe else []
    for part in parts:
        assert f"\n## {part}\n" in text
    assert card_errors(text) == []
    assert card.data.tags[0] == "seqnlp"
    assert f"{record['model']['parameters']:,} parameters" in text
    assert ("\nseqnlp train " if family.recipe else "\naccelerate launch ") in text
    assert "](learning_curves.png)" in text
    assert re.search(r'revision = "run-[0-9a-f]{12}"', text)
    assert "put `import seqnlp` first" in text
    assert {(r.dataset_split, r.metric_value) for r in card.data.eval_results} == {
        (split, value)
        for split, values in record["metrics"].items()
        for name, value in values.items()
        if task_class_of(record).score_of(name)
    }
    if family.model.endswith(("CausalLM", "SequenceClassification")) and family.recipe:
        assert card.data.widget
    if family.data is None and family.recipe:
        assert SAMPLES[record["dataset"]["name"]].origin in text
    for word in ("None", "nan", "{{", "{%", "not recorded"):
        assert word not in text


@every_family
def test_verify_finds_every_number_of_its_card(published, family, in_process, monkeypatch, tmp_path):
    connect(published.hub, monkeypatch, tmp_path)
    dataset = published.data / family.data if family.data else None
    result = verify(f"alice/{family.model}", trust_remote_code=True, dataset=dataset and str(dataset))
    found = {check.name: check for check in result.checks}
    if family.recipe is None:
        assert found.pop("the card's numbers").outcome == "not checked"
        assert result.exit_code == 3
    else:
        record = json.loads((published.folders[family.model] / "run.json").read_text())
        for split in record["metrics"]:
            assert [name for name in found if name.endswith(f", {split}")], split
        assert result.exit_code == 0, result.checks
    assert {check.outcome for check in found.values()} <= {"passed", "-"}, result.checks
    assert found["batch and padding change nothing"].outcome == "passed"
    generates = {"CausalLM", "ConditionalGeneration", "TimeSeriesPrediction"}
    if any(family.model.endswith(kind) for kind in generates):
        assert found["cached generation is uncached generation"].outcome == "passed"


FAULTS = [
    {"kind": "status", "status": 500},
    {"kind": "status", "status": 429, "retry_after": 2},
    {"kind": "drop"},
    {"kind": "drop_response"},
]
CALLS = ("whoami", "repos/create", "/preupload/", "objects/batch", "PUT /_lfs", "/commit/", "/tag/")


@every_family
def test_under_every_fault_the_same_is_published(published, family, hub, naps):
    """Each call fails in each of these ways before it is answered."""
    for fault in FAULTS:
        for call in CALLS:
            hub.fail(call, **fault)
    done = publish(published.folders[family.model], f"alice/{family.model}")
    assert all(fault["hits"] == 1 for fault in hub.faults)
    assert hub.files(done.repo_id) == published.hub.files(done.repo_id)
    assert hub.files(done.repo_id, done.tag) == hub.files(done.repo_id)
    assert len(list(hub.repos[done.repo_id].history())) == 2


def test_every_family_loads_where_seqnlp_is_not(published, tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "picture.png")  # what the card's example looks at
    for family in FAMILIES:
        model = getattr(seqnlp, family.model).from_pretrained(published.folders[family.model]).eval()
        inputs = inputs_of(published.folders[family.model], model)
        card = published.hub.files(f"alice/{family.model}")["README.md"].decode()
        example = re.search(r"```python\n(.*?)```", card, re.DOTALL).group(1)
        saved = {**family._asdict(), "inputs": inputs, "outputs": outputs_of(model, inputs), "example": example}
        torch.save(saved, kept / f"{family.model}.pt")
    code = f"""
        import sys
        sys.modules["seqnlp"] = None  # importing it fails
        import re
        from pathlib import Path
        import torch, transformers
        torch.set_num_threads(1)
        version, transformers.__version__ = transformers.__version__, "5.1.0"
        try:
            transformers.AutoModel.from_pretrained("alice/RecurrentForCausalLM", trust_remote_code=True)
        except ImportError as error:
            print(error)
        transformers.__version__ = version
        for path in sorted(Path({str(kept)!r}).iterdir()):
            saved = torch.load(path)
            name = "alice/" + saved["model"]
            scope = {{}}
            exec(saved["example"], scope)  # the card's own lines, of the revision that it pins
            options = dict(trust_remote_code=True)
            model = getattr(transformers, saved["auto_class"]).from_pretrained(name, **options)
            assert type(model) is type(scope["model"]) and type(model).__name__ == saved["model"]
            for loaded in (model, scope["model"]):
                with torch.no_grad():
                    outputs = loaded.eval()(**saved["inputs"])
                found = outputs.prediction_outputs if "past_values" in saved["inputs"] else outputs.logits
                torch.testing.assert_close(found, saved["outputs"], rtol=1e-5, atol=1e-6)
            base = transformers.AutoModel.from_pretrained(name, **options)
            assert type(base).__name__ == re.sub("For[A-Z].*", "Model", saved["model"]), type(base)
            whole, part = dict(model.named_parameters()), dict(base.named_parameters())
            for key, value in part.items():
                assert torch.equal(whole[model.base_model_prefix + "." + key], value), key
            for other in model.config.auto_map:  # every other head, with new weights on the trained ones
                is_series = getattr(model.config, "input_size", None) is not None
                if other in ("AutoConfig", "AutoModel") or is_series != ("TimeSeries" in other):
                    continue
                if other == "AutoModelForCausalLM" and getattr(model.config, "bidirectional", False):
                    continue  # it would read what it is to predict, and says so
                head = getattr(transformers, other).from_pretrained(name, **options)
                weights = dict(head.named_parameters())
                for key, value in part.items():
                    assert torch.equal(weights[head.base_model_prefix + "." + key], value), key
                assert type(head).__name__ == model.config.auto_map[other].split(".")[1]
            print("loaded", name)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=environment(published.hub, tmp_path / "stranger"),
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("This model needs transformers 5.24 or newer, and 5.1.0 is installed: pip install")
    assert {line for line in lines if line.startswith("loaded ")} == {f"loaded alice/{f.model}" for f in FAMILIES}
    assert "[{'generated_text': 'The" in done.stdout  # by the example of a card
