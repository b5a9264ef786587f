"""A Space: what goes up, what is left alone, and that the page runs from what was uploaded."""

import ast
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
import yaml
from huggingface_hub import snapshot_download
from PIL import Image
from test_hub import command

from seqnlp import RecurrentConfig, RecurrentForSequenceClassification
from seqnlp.demo import TuneWriter
from seqnlp.publishing import PublishingError, publish, publish_space
from seqnlp.publishing.space import requirements


pytest.importorskip("gradio", reason="a Space names the version of gradio: pip install 'seqnlp[demo]'")

NAME = "alice/tweets"
SPACE = f"spaces/{NAME}"


def test_what_goes_up(hub, run_folder):
    done = publish(run_folder, NAME)
    page = publish_space(
        done, "Sort a text", "Sorting.", ["a good film", Image.new("L", (8, 8)), [[1.0, float("nan")]]]
    )
    files = hub.files(SPACE)
    assert page.url == f"{hub.url}/spaces/{NAME}"
    assert {file.name for file in page.files} == set(files) - {".gitattributes"}
    front = yaml.safe_load(files["README.md"].decode().split("---")[1])
    assert front["models"] == [NAME]
    assert front["app_file"] == "app.py"
    assert front["sdk_version"].startswith("6.")
    assert json.loads(files["examples.json"]) == ["a good film", "examples/2.png", [[1.0, None]]]
    assert files["examples/2.png"].startswith(b"\x89PNG")
    called = next(node for node in ast.walk(ast.parse(files["app.py"])) if isinstance(node, ast.Call))
    assert [ast.literal_eval(part) for part in (called.args[0], called.keywords[0].value)] == [NAME, done.tag]
    assert (
        files["seqnlp/cli/demo.py"]
        == (run_folder.__class__(sys.modules["seqnlp"].__file__).parent / "cli" / "demo.py").read_bytes()
    )
    assert "seqnlp/visualization/attention_page.html" in files
    assert hub.files(NAME).keys().isdisjoint({"app.py"})


def test_requirements_are_whole_and_pinned():
    found = dict(line.split("==") for line in requirements())
    assert found["torch"] == sys.modules["torch"].__version__.split("+")[0]
    assert found["numpy"] == sys.modules["numpy"].__version__  # which others need
    assert "fastapi" in found  # which gradio needs
    assert found.keys().isdisjoint({"gradio", "seqnlp", "pytest", "peft", "verovio"})


def test_a_page_of_tunes_needs_what_plays_them():
    version = pytest.importorskip("music21").__version__
    assert TuneWriter.extras == ("music",)
    assert set(requirements(TuneWriter.extras)) - set(requirements()) >= {f"music21=={version}"}


def test_done_twice_it_changes_nothing_and_what_is_stale_goes(hub, run_folder):
    done = publish(run_folder, NAME)
    publish_space(done, "Sort", "Sorting.", [Image.new("L", (8, 8))])
    first = hub.files(SPACE)
    publish_space(done, "Sort", "Sorting.", [Image.new("L", (8, 8))])
    assert hub.files(SPACE) == first
    publish_space(done, "Sort", "Sorting.", ["a text"])
    assert set(first) - set(hub.files(SPACE)) == {"examples/1.png"}


def test_another_space_is_left_alone(hub, run_folder):
    done = publish(run_folder, NAME)
    publish_space(done, "Sort", "Sorting.", ["a text"])
    hub.repos[SPACE].commits[hub.repos[SPACE].resolve("main")]["notes.txt"] = next(
        iter(hub.repos[NAME].commits[hub.repos[NAME].resolve("main")].values())
    )
    before = hub.files(SPACE)
    with pytest.raises(PublishingError, match=r"holds something else \(notes.txt\)"):
        publish_space(done, "Sort", "Sorting.", ["another text"])
    assert hub.files(SPACE) == before


def test_a_call_may_fail_once_and_one_that_keeps_failing_ends_in_one_line(hub, run_folder, naps):
    done = publish(run_folder, NAME)
    hub.fail("POST .*spaces.*/commit", "drop_response")
    publish_space(done, "Sort", "Sorting.", ["a text"])
    before = hub.files(SPACE)
    hub.fail("POST .*spaces.*/commit", "status", times=-1, status=503)
    with pytest.raises(PublishingError, match="The Space alice/tweets: the Hub failed with status 503") as raised:
        publish_space(done, "Sort", "Sorting.", ["another text"])
    assert "\n" not in str(raised.value)
    assert hub.files(SPACE) == before


def test_tokens_and_private_rows_do_not_go_up(hub, run_folder, monkeypatch, capsys):
    done = publish(run_folder, NAME)
    with pytest.raises(PublishingError, match=r"examples.json.*access token"):
        publish_space(done, "Sort", "Sorting.", ["my token is hf_abcdefghijklmnopqrstuvwxyz"])
    with pytest.raises(PublishingError, match="the path /home/alice"):
        publish_space(done, "Sort", "Sorting.", ["see /home/alice"])
    assert SPACE not in hub.repos or "app.py" not in hub.files(SPACE)
    monkeypatch.setattr(sys, "argv", ["seqnlp", "publish", str(run_folder), NAME, "--space"])
    with pytest.raises(SystemExit):
        command.main()
    assert "the run's data is not public" in capsys.readouterr().out
    assert "Two hours late and nobody told us why." in json.loads(hub.files(SPACE)["examples.json"])


@pytest.mark.long
def test_the_page_starts_from_what_was_uploaded(hub, run_folder, tmp_path, monkeypatch):
    client = pytest.importorskip("gradio_client")
    done = publish(run_folder, NAME)
    publish_space(done, "Sort a text", "Sorting.", ["a good film"])
    folder = snapshot_download(NAME, repo_type="space", local_dir=tmp_path / "space")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if name not in ("HF_HUB_OFFLINE", "PYTHONPATH")}
    environment |= {"HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(tmp_path / "cache")}
    environment |= {"GRADIO_SERVER_PORT": str(port)}
    process = subprocess.Popen(
        [sys.executable, "app.py"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        answer, deadline = None, time.monotonic() + 120
        while answer is None and process.poll() is None and time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/config", timeout=5).close()
                answer = client.Client(f"http://127.0.0.1:{port}", verbose=False).predict(
                    "a good film", api_name="/answer"
                )
            except OSError:
                time.sleep(1)
    finally:
        process.kill()
        printed = process.communicate()[0]
    assert answer is not None, printed
    model = RecurrentForSequenceClassification.from_pretrained(run_folder)
    assert isinstance(model.config, RecurrentConfig)
    from transformers import AutoTokenizer, pipeline

    classify = pipeline(
        "text-classification", model=model, tokenizer=AutoTokenizer.from_pretrained(run_folder), top_k=None
    )
    wanted = {one["label"]: one["score"] for one in classify("a good film")[0]}
    assert {one["label"]: one["confidence"] for one in answer[0]["confidences"]} == pytest.approx(wanted, abs=1e-5)
    assert hub.asked(f"GET /{NAME}/resolve") > 0  # the model came from the Hub
