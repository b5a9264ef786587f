import hashlib
import json
import re

import pytest
import torch
from finished_run import write_run
from local_hub import DATASET, Blob, Repo
from safetensors.torch import load
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

from seqnlp import RecurrentSeq2SeqConfig, RecurrentSeq2SeqForConditionalGeneration
from seqnlp.cli import main as command
from seqnlp.publishing import PublishingError, publish, push_to_hub, tag_of
from seqnlp.publishing import hub as hub_module
from seqnlp.tokenization import train_tokenizer
from seqnlp.training import ArgumentsError, TrainingArguments, start_run


FILES = {
    "README.md",
    "backpropagation_through_time.py",
    "beam_search.py",
    "cells.py",
    "compiled_generation.py",
    "config.json",
    "configuration_recurrent.py",
    "heads.py",
    "learning_curves.png",
    "losses.py",
    "model.safetensors",
    "modeling_recurrent.py",
    "pretrained.py",
    "processor.py",
    "projections.py",
    "recurrence.py",
    "recurrent_cache.py",
    "recurrent_cell.py",
    "recurrent_layer.py",
    "requirements.py",
    "residual_recurrent_layer.py",
    "run.json",
    "series_distributions.py",
    "time_series.py",
    "tokenizer.json",
    "tokenizer_config.json",
    "word_reader.py",
}
NAME = "alice/sentiment-lstm"


def message_of(function, *arguments, **options):
    with pytest.raises(PublishingError) as raised:
        function(*arguments, **options)
    text = str(raised.value)
    assert "\n" not in text
    assert "hf_" not in text.replace("hf auth", "").replace("hf repos", "")
    return text


def weights(hub, name=NAME, revision="main"):
    return load(hub.files(name, revision)["model.safetensors"])


def test_one_commit_and_a_tag_with_the_code_and_nothing_else(hub, run_folder):
    done = publish(run_folder)
    assert (done.repo_id, {file.name for file in done.files}) == (NAME, FILES)
    assert set(hub.files(NAME)) == FILES | {".gitattributes"}
    commits = list(hub.repos[NAME].history())
    assert len(commits) == 2  # the Hub's own first one, and ours
    assert done.url.endswith(commits[0])
    assert hub.repos[NAME].refs[f"refs/tags/{done.tag}"] == commits[0]
    assert done.tag == tag_of(json.loads((run_folder / "run.json").read_text()))
    assert f'revision = "{done.tag}"' in hub.files(NAME)["README.md"].decode()
    auto_map = json.loads(hub.files(NAME)["config.json"])["auto_map"]
    assert auto_map["AutoModelForSequenceClassification"] == "modeling_recurrent.RecurrentForSequenceClassification"
    assert auto_map["AutoModel"] == "modeling_recurrent.RecurrentModel"
    assert (hub.files(NAME)["run.json"]) == (run_folder / "run.json").read_bytes()


def test_what_is_there_loads_as_on_disk(hub, run_folder, tmp_path):
    publish(run_folder)
    local = AutoModelForSequenceClassification.from_pretrained(run_folder)
    there = AutoModelForSequenceClassification.from_pretrained(NAME, cache_dir=tmp_path / "cache")
    ids = torch.tensor([[1, 2, 3]])
    torch.testing.assert_close(there(ids).logits, local(ids).logits, rtol=0, atol=0)
    base = AutoModel.from_pretrained(NAME, cache_dir=tmp_path / "cache")
    assert type(base).__name__ == "RecurrentModel"


def test_a_later_save_copies_no_code(hub, run_folder, tmp_path):
    publish(run_folder, dry_run=True)
    AutoModelForSequenceClassification.from_pretrained(run_folder).save_pretrained(tmp_path / "again")
    assert not list((tmp_path / "again").glob("*.py"))


def test_done_twice_it_changes_nothing(hub, run_folder):
    first, second = publish(run_folder), publish(run_folder)
    assert first == second
    assert len(list(hub.repos[NAME].history())) == 2


def test_the_next_run_deletes_stale_weights_and_code(hub, run_folder, tmp_path):
    other = write_run(tmp_path / "other", seed=1)
    before = publish(other, NAME, max_shard_size=500)
    names = set(hub.files(NAME))
    assert len([name for name in names if name.startswith("model-")]) > 1
    repo = hub.repos[NAME]
    stale = {
        "old_code.py": b"1",
        "pytorch_model.bin": b"pickle",
        "training_args.pt": b"pickle",
        "CITATION.cff": b"mine",
    }
    repo.add_commit("refs/heads/main", {**repo.commits[repo.refs["refs/heads/main"]], **stale_blobs(stale)}, None)
    done = publish(run_folder, NAME)
    assert set(hub.files(NAME)) == FILES | {".gitattributes", "CITATION.cff"}
    assert hub.files(NAME, before.tag)["model.safetensors.index.json"]
    assert done.tag != before.tag
    expected = load((run_folder / "model.safetensors").read_bytes())
    assert all(torch.equal(value, expected[name]) for name, value in weights(hub).items())


def stale_blobs(files):
    return {name: Blob(content, False) for name, content in files.items()}


def test_private_organization_and_branch(hub, run_folder):
    arguments = {"push_to_hub": True, "hub_private_repo": True, "hub_revision": "trial", "hub_model_id": "acme/x"}
    assert push_to_hub(run_folder, TrainingArguments(**arguments)).startswith(f"{hub.url}/acme/x/commit/")
    assert hub.repos["acme/x"].private
    assert set(hub.files("acme/x")) == {".gitattributes"}
    assert set(hub.files("acme/x", "trial")) == FILES | {".gitattributes"}


def test_a_pull_request_is_opened_once_even_if_its_answer_is_lost(hub, run_folder, monkeypatch, naps):
    publish(run_folder)
    monkeypatch.setenv("HF_TOKEN", "hf_bob_write")
    (run_folder / "learning_curves.png").write_bytes(b"\x89PNG another")
    hub.fail("POST .*/commit/", "drop_response")
    done = publish(run_folder, NAME, create_pr=True)
    assert done.url.endswith("/discussions/1")
    assert done.tag is None
    assert publish(run_folder, NAME, create_pr=True).url == done.url
    assert len(hub.repos[NAME].discussions) == 1
    assert hub.files(NAME, "refs/pr/1")["learning_curves.png"] != hub.files(NAME)["learning_curves.png"]
    assert "revision=" not in hub.files(NAME, "refs/pr/1")["README.md"].decode()


def test_licenses_of_model_and_data(hub, run_folder):
    record = json.loads((run_folder / "run.json").read_text())
    (run_folder / "run.json").write_text(json.dumps({**record, "dataset": {"name": DATASET, "splits": {}}}))
    publish(run_folder, license="apache-2.0")
    card = hub.files(NAME)["README.md"].decode()
    assert "\nlicense: apache-2.0\n" in card
    assert f"datasets:\n- {DATASET}\n" in card
    assert "License: cc0-1.0." in card


def test_a_dry_run_asks_the_hub_for_nothing(hub, run_folder):
    done = publish(run_folder, dry_run=True)
    assert {file.name for file in done.files} == FILES
    assert all(file.size > 0 for file in done.files)
    assert done.url is None
    assert hub.log == []


CALLS = [
    "GET /api/whoami",
    "POST /api/repos/create",
    "GET /api/models/alice/sentiment-lstm$",
    "GET /api/models/.*/refs",
    "POST /api/validate-yaml",
    "POST .*/preupload/",
    "POST .*/objects/batch",
    "PUT /_lfs/",
    "POST .*/commit/",
    "POST .*/tag/",
]


FAULTS = {
    "500": {"kind": "status", "status": 500},
    "429": {"kind": "status", "status": 429, "retry_after": 7},
    "drop": {"kind": "drop"},
    "lost answer": {"kind": "drop_response"},
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("where", [{}, {"branch": "trial"}, {"create_pr": True}], ids=["main", "branch", "pr"])
def test_every_call_may_fail_once(hub, run_folder, naps, caplog, capfd, fault, where):
    """Whatever a publication asks of the Hub: the same one, asked again, must come to the same end."""

    def begin():
        hub.reset()
        if where.get("create_pr"):  # into a repository that is there
            repo = hub.repos[NAME] = Repo(NAME, private=False)
            repo.add_commit("refs/heads/main", stale_blobs({"run.json": b"{}"}), repo.refs["refs/heads/main"])

    begin()
    publish(run_folder, NAME, **where)
    # The client asks for the list of coding agents once a process, and does without.
    calls = [call for call in dict.fromkeys(hub.log) if "agent-harnesses" not in call]
    expected = hub.repos[NAME]
    begin()
    for call in calls:
        hub.fail(f"^{re.escape(call)}$", **FAULTS[fault])
    publish(run_folder, NAME, **where)
    assert all(fault["hits"] == 1 for fault in hub.faults), hub.faults
    found = hub.repos[NAME]
    assert found.refs == expected.refs  # commits are named by their content
    assert len(found.discussions) == len(expected.discussions)
    assert "trying again" in caplog.text
    assert "hf_alice" not in caplog.text + "".join(capfd.readouterr())
    if fault == "429":
        assert sum(nap >= 7 for nap in naps) == len(calls)  # as long as the Hub asks, each time


def test_a_token_that_the_hub_repeats_is_not_told_on(hub, run_folder, naps):
    other = "hf_" + "a1B2" * 9
    hub.fail("/commit/", "status", status=400, message=f"hf_alice_write and {other} may not")
    text = message_of(publish, run_folder, NAME)
    assert "<token> and <token> may not" in text


def test_an_upload_cut_in_the_middle_goes_on(hub, run_folder, naps):
    hub.fail("PUT /_lfs/", "drop", after_bytes=500)
    publish(run_folder)
    assert hub.faults[0]["hits"] == 1
    assert weights(hub)


@pytest.mark.parametrize("call", [call for call in CALLS if "validate" not in call])
def test_a_call_that_keeps_failing_ends_in_one_line_and_leaves_all_or_nothing(hub, run_folder, naps, tmp_path, call):
    old = publish(write_run(tmp_path / "old", seed=1), NAME)
    if "repos/create" in call:
        hub.reset()
    hub.fail(call, "status", times=-1, status=503)
    text = message_of(publish, run_folder)
    assert hub.asked(call) < 50
    if "repos/create" in call:
        assert f"{NAME} does not exist" in text
        return
    if "tag" in call:
        assert "holds the new model, whole" in text
        assert set(hub.files(NAME)) == FILES | {".gitattributes"}
        head = hub.files(NAME)
    else:
        head = hub.files(NAME, old.tag)
        assert hub.files(NAME) == head
    if "whoami" in call:
        assert "Nothing was uploaded. What was trained is on disk; go on by" in text
    else:
        assert f"go on by `seqnlp publish {run_folder} {NAME}`" in text
    hub.faults.clear()
    done = publish(run_folder)
    assert hub.files(NAME, done.tag)["model.safetensors"] == (run_folder / "model.safetensors").read_bytes()


def test_the_way_on_repeats_what_was_asked_for(hub, run_folder, naps):
    hub.fail("/commit/", "status", times=-1, status=503)
    text = message_of(publish, run_folder, private=True, replace=True, license="apache-2.0")
    words = f"seqnlp publish {run_folder} {NAME} --private --replace --license apache-2.0"
    assert f"go on by `{words}`." in text


def test_a_hub_that_asks_to_wait_too_long_is_not_waited_for(hub, run_folder, naps):
    hub.fail("/commit/", "status", times=-1, status=429, retry_after=3600)
    assert "asks to wait 3600 seconds" in message_of(publish, run_folder)
    assert hub.faults[0]["hits"] == 1
    assert sum(naps) == 0


def test_a_hub_out_of_reach(hub, run_folder, naps, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    assert "the connection to the Hub was lost each time" in message_of(publish, run_folder)
    assert 0 < len(naps) < hub_module.MAX_TRIES


def test_offline_it_is_said(hub, run_folder, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in message_of(publish, run_folder, NAME)


def test_the_verb_publishes_or_lists(hub, run_folder, monkeypatch, capsys):
    for more, expected in (["--dry-run"], "model.safetensors"), ([], f"Published: {hub.url}/{NAME}/commit/"):
        monkeypatch.setattr("sys.argv", ["seqnlp", "publish", str(run_folder), NAME, *more])
        with pytest.raises(SystemExit) as stopped:
            command.main()
        printed = capsys.readouterr().out
        assert stopped.value.code == 0
        assert expected in printed
        assert "run-" in printed
        assert (NAME in hub.repos) == (not more)
    assert "optimizer" not in printed
    monkeypatch.setattr("sys.argv", ["seqnlp", "publish", str(run_folder / "no")])
    with pytest.raises(SystemExit) as stopped:
        command.main()
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("error: There is no folder")


@pytest.mark.parametrize(
    ("token", "name", "message"),
    [
        ("", "alice/x", "there is no access token"),
        ("hf_alice_read", "alice/x", "the access token of alice may only read"),
        ("hf_stranger_secret", "alice/x", "the Hub does not accept the access token"),
        ("hf_alice_write", "bob/x", "the access token has no right to do this"),
        ("hf_bob_write", "acme/x", "the access token has no right to do this"),
        ("hf_alice_write", "a//b", "'a//b' cannot be the name of a model"),
        ("hf_alice_write", "../../etc", "'../../etc' cannot be the name of a model"),
        ("hf_alice_write", "alice/..", "'alice/..' cannot be the name of a model"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_there(hub, run_folder, monkeypatch, token, name, message):
    monkeypatch.setenv("HF_TOKEN", token)
    assert message in message_of(publish, run_folder, name)
    assert hub.repos == {}


def test_a_run_that_cannot_be_published_does_not_begin(hub, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_TOKEN", "")
    with pytest.raises(ArgumentsError, match="--push_to_hub needs an access token"):
        start_run("anything", "lstm", TrainingArguments(output_dir=str(tmp_path / "run"), push_to_hub=True))
    assert not (tmp_path / "run").exists()


def test_others_may_not_commit(hub, run_folder, monkeypatch):
    publish(run_folder)
    before = hub.files(NAME)
    monkeypatch.setenv("HF_TOKEN", "hf_bob_write")
    (run_folder / "learning_curves.png").write_bytes(b"\x89PNG another")
    text = message_of(publish, run_folder, NAME)
    assert "no right to do this" in text
    assert f"{NAME} is unchanged" in text
    assert hub.files(NAME) == before


def test_a_repository_with_other_content_is_left_alone(hub, run_folder):
    hub.repos[NAME] = Repo(NAME, private=False)
    first = hub.repos[NAME].refs["refs/heads/main"]
    hub.repos[NAME].add_commit("refs/heads/main", stale_blobs({"data.csv": b"1,2"}), first)
    text = message_of(publish, run_folder)
    assert f"{NAME} holds something else (data.csv), so nothing was uploaded" in text
    assert set(hub.files(NAME)) == {"data.csv"}
    publish(run_folder, replace=True)
    assert set(hub.files(NAME)) == FILES | {"data.csv"}


def test_a_public_repository_does_not_take_what_was_meant_to_be_private(hub, run_folder):
    publish(run_folder)
    assert "is public, so nothing was uploaded" in message_of(publish, run_folder, NAME, private=True)


def test_the_weights_behind_a_tag_do_not_change(hub, run_folder):
    publish(run_folder)
    before = hub.files(NAME)
    record = (run_folder / "run.json").read_text()
    write_run(run_folder, seed=5)
    (run_folder / "run.json").write_text(record)
    assert "but with other weights" in message_of(publish, run_folder)
    assert hub.files(NAME) == before


def test_someone_elses_commit_in_between_is_not_overwritten(hub, run_folder, naps, monkeypatch):
    publish(run_folder)
    (run_folder / "learning_curves.png").write_bytes(b"\x89PNG another")
    repo, whole = hub.repos[NAME], hub_module._Upload._commit

    def commit(self, bundle, title):
        real_head = self._head

        def head():
            sha = real_head()
            repo.add_commit("refs/heads/main", repo.commits[sha], sha)
            return sha

        monkeypatch.setattr(self, "_head", head)
        return whole(self, bundle, title)

    monkeypatch.setattr(hub_module._Upload, "_commit", commit)
    assert "someone else has committed to it meanwhile" in message_of(publish, run_folder)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (
            "run.json",
            {"hyperparameters": {"note": "/home/me/data"}},
            "run.json, hyperparameters.note: the path /home/me",
        ),
        ("run.json", {"command": "x.py --token hf_alice_write"}, "run.json, command: an access token"),
        ("run.json", {"command": "x.py hf_" + "a1B2" * 9}, "run.json, command: an access token"),
        ("config.json", {"id2label": {"0": "a", "1": "C:\\Users\\me"}}, "config.json, id2label.1: the path C:"),
        ("tokenizer_config.json", {"origin": "~/models/x"}, "tokenizer_config.json, origin: the path ~/models"),
    ],
)
def test_tokens_and_paths_of_the_machine_do_not_go_up(hub, run_folder, file, content, message):
    path = run_folder / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **content}))
    text = message_of(publish, run_folder)
    assert message in text
    assert "must not be published" in text
    assert hub.repos == {}


def test_a_path_of_this_very_machine_is_found_wherever_it_lies(hub, run_folder, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    path = run_folder / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "command": f"x.py {tmp_path}/y"}))
    assert "run.json, command: the path" in message_of(publish, run_folder)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "run.json").unlink(), "holds no run.json"),
        (lambda folder: (folder / "run.json").write_text("{}"), "run.json lacks 'task'"),
        (lambda folder: (folder / "run.json").write_text("half"), "run.json is not JSON"),
        (lambda folder: (folder / "run.json").write_text("[1]"), "run.json lacks 'task'"),
        (lambda folder: (folder / "run.json").write_text("[" * 200_000), "nested too deep"),
        (lambda folder: (folder / "config.json").unlink(), "holds no model that can be read"),
        (lambda folder: (folder / "model.safetensors").unlink(), "cannot be read"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"no"), "cannot be read"),
        (
            lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"),
            "cannot be read",
        ),
        (
            lambda folder: (folder / "config.json").write_text(
                re.sub('"num_hidden_layers": 1', '"num_hidden_layers": 2', (folder / "config.json").read_text())
            ),
            "do not fit its config.json (missing keys",
        ),
    ],
)
def test_a_run_that_is_not_whole_does_not_go_up(hub, run_folder, spoil, message):
    spoil(run_folder)
    assert message in message_of(publish, run_folder)
    assert hub.repos == {}


@pytest.mark.parametrize("name", ["learning_curves.png", "tokenizer.json", "model.safetensors"])
def test_what_a_link_points_to_does_not_go_up(hub, run_folder, tmp_path, name):
    (run_folder / name).rename(tmp_path / "elsewhere")
    (run_folder / name).symlink_to(tmp_path / "elsewhere")
    assert f"{name} is a link that leads out of the folder" in message_of(publish, run_folder)
    assert hub.repos == {}
    (run_folder / name).unlink()
    (tmp_path / "elsewhere").rename(run_folder / "kept")
    (run_folder / name).symlink_to("kept")  # within the folder a link is a file
    (tmp_path / "by_another_name").symlink_to(run_folder)
    assert name in {file.name for file in publish(tmp_path / "by_another_name", NAME).files}


def test_a_record_of_another_model_than_the_weights_does_not_go_up(hub, run_folder, tmp_path):
    path = run_folder / "run.json"
    record = json.loads(path.read_text())
    record["model"]["sha256"] = hashlib.sha256((run_folder / "model.safetensors").read_bytes()).hexdigest()
    path.write_text(json.dumps(record))
    assert publish(run_folder, dry_run=True)
    other = write_run(tmp_path / "other", seed=1)
    (other / "model.safetensors").rename(run_folder / "model.safetensors")
    text = message_of(publish, run_folder)
    assert "run.json is the record of another model than the weights beside it" in text
    assert hub.repos == {}


def test_a_translator_of_two_vocabularies_brings_both_tokenizers(hub, run_folder, tmp_path):
    config = RecurrentSeq2SeqConfig(vocab_size=20, hidden_size=8, target_tokenizer="target_tokenizer")
    folder = write_run(run_folder, model=RecurrentSeq2SeqForConditionalGeneration(config), task="translation")
    assert "holds no tokenizer" in message_of(publish, folder)
    train_tokenizer(["ein guter Film"], "word", 30).save_pretrained(folder / "target_tokenizer")
    (folder / "target_tokenizer" / "notes.txt").write_text("mine")
    publish(folder)
    own = {f"target_tokenizer/{name}" for name in ("tokenizer.json", "tokenizer_config.json")}
    assert {name for name in hub.files(NAME) if "/" in name} == own
    there = AutoTokenizer.from_pretrained(NAME, subfolder="target_tokenizer", cache_dir=tmp_path / "cache")
    assert "Film" in there.get_vocab()
    assert 'subfolder="target_tokenizer"' in hub.files(NAME)["README.md"].decode()
    publish(write_run(tmp_path / "one", seed=2), NAME)
    assert not [name for name in hub.files(NAME) if "/" in name]
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "target_tokenizer": "../checkpoints"}))
    assert "is no name of a folder beside it" in message_of(publish, folder, NAME)
