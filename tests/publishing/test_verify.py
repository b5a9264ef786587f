import hashlib
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from finished_run import change, edit_card, write_run
from local_hub import Blob, Repo
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BartConfig,
    BartForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    MarianConfig,
    MarianMTModel,
    PreTrainedTokenizerFast,
    ResNetConfig,
    ResNetForImageClassification,
    T5Config,
    T5ForConditionalGeneration,
)

from seqnlp import (
    RecurrentConfig,
    RecurrentForCausalLM,
    RecurrentForSequenceClassification,
    TransformerDecoderConfig,
    TransformerDecoderForCausalLM,
    TransformerEncoderConfig,
    TransformerEncoderForSequenceClassification,
    VisionTransformerConfig,
    VisionTransformerForImageClassification,
)
from seqnlp.cli import main as command
from seqnlp.data import (
    DataArguments,
    DataError,
    TextArguments,
    load_sample,
    load_text_classification,
    load_texts,
)
from seqnlp.metrics import classification_scores
from seqnlp.publishing import PublishingError, build_bundle, tag_of, verify
from seqnlp.publishing.recomputation import UncheckableError, agrees, evaluate_again, task_of
from seqnlp.tokenization import train_tokenizer


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    for split, count in (("train", 40), ("validation", 12), ("test", 24)):
        rows = [
            {"text": f"{'a good' if n % 3 else 'an awful'} film {n}", "label": int(n % 3 > 0)} for n in range(count)
        ]
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


@pytest.fixture(scope="module")
def published(films, tmp_path_factory):
    """A bundle whose card claims what its model does."""
    folder = tmp_path_factory.mktemp("published")
    loaded = load_text_classification(DataArguments(dataset_name=str(films)))
    splits = loaded.splits
    run = write_run(folder / "run")
    model, tokenizer = AutoModelForSequenceClassification.from_pretrained(run), AutoTokenizer.from_pretrained(run)
    rows = [tokenizer(text, return_tensors="pt") for text in splits["test"]["text"]]
    with torch.no_grad():
        logits = np.concatenate([model(**row).logits.numpy() for row in rows])
    scores = classification_scores(logits, np.array(splits["test"]["label"]))
    write_run(run, metrics={"test": scores}, dataset=loaded.describe())
    (folder / "bundle").mkdir()
    build_bundle(run, folder / "bundle", "alice/films")
    return folder / "bundle"


@pytest.fixture
def folder(published, tmp_path):
    return shutil.copytree(published, tmp_path / "copy")


def put_up(hub, folder, name, **rights):
    files = {path.name: Blob(path.read_bytes(), path.suffix == ".safetensors") for path in folder.iterdir()}
    hub.repos[name] = repo = Repo(name, private=rights.get("private", False))
    repo.gated = rights.get("gated", False)
    return repo, repo.add_commit("refs/heads/main", files, None)


def outcomes(result):
    return {check.name: check.outcome for check in result.checks}


def test_a_good_model_passes_everything(in_process, folder, films):
    result = verify(str(folder), trust_remote_code=True, dataset=str(films))
    assert set(outcomes(result).values()) == {"passed", "-"}
    assert {"accuracy, test", "f1, test", "loss, test", "answers alike with and without seqnlp"} <= set(
        outcomes(result)
    )
    assert result.exit_code == 0


def test_code_is_not_run_unless_it_is_said_and_data_that_is_not_there_is_said(in_process, folder):
    result = verify(str(folder))
    assert outcomes(result)["loads without seqnlp"] == "not checked"
    assert outcomes(result)["loads with seqnlp"] == "passed"
    assert outcomes(result)["the card's numbers"] == "not checked"
    assert result.exit_code == 3


def test_numbers_that_are_not_so(in_process, folder, films):
    record = json.loads((folder / "run.json").read_text())
    claimed = record["metrics"]["test"]["accuracy"]
    record["metrics"]["test"]["accuracy"] = claimed + 0.2
    (folder / "run.json").write_text(json.dumps(record))
    result = verify(str(folder), trust_remote_code=True, dataset=str(films))
    assert outcomes(result)["accuracy, test"] == "failed"
    assert outcomes(result)["the card says what run.json says"] == "failed"
    assert outcomes(result)["f1, test"] == "passed"
    assert result.exit_code == 1


@pytest.mark.parametrize(
    "content",
    ["[]", '{"metrics": []}', '{"task": [], "metrics": {"test": {"loss": 1}}}', '{"metrics": {"a": 1}}', "no"],
)
def test_a_record_of_any_shape_ends_in_the_table(in_process, folder, content):
    (folder / "run.json").write_text(content)
    assert verify(str(folder)).exit_code in (1, 3)


DEEP = '{"a": ' + "[" * 200_000 + "]" * 200_000 + "}"


@pytest.mark.parametrize(
    ("file", "content", "check"),
    [
        ("run.json", DEEP, "run.json"),
        ("tokenizer.json", DEEP, "loads with seqnlp"),
        ("tokenizer_config.json", DEEP, "loads with seqnlp"),
        ("README.md", "---\na: " + "[" * 200_000 + "\n---\n", "the card can be read"),
        ("README.md", "---\n" + "- " * 200_000 + "\n---\n", "the card can be read"),
        ("run.json", '{"task": "sentiment_analysis", "metrics": {"test": {"loss": 1' + "0" * 400 + "}}}", None),
    ],
    ids=["record", "tokenizer", "settings", "card", "list in card", "number"],
)
def test_files_that_nobody_can_read_are_failed_lines(in_process, folder, file, content, check):
    (folder / file).write_text(content)
    result = verify(str(folder))
    assert result.exit_code in (1, 2, 3)
    if check:
        assert outcomes(result)[check] == "failed", result.checks
    assert not any("\n" in part for line in result.checks for part in line)


def test_a_configuration_nested_without_end_is_told_in_one_line(in_process, folder):
    (folder / "config.json").write_text(DEEP)
    with pytest.raises(PublishingError, match=r"config\.json is nested too deep"):
        verify(str(folder))


def test_classes_of_other_names_are_told(in_process, folder, films):
    """All numbers hold where two names are swapped, and every answer is the opposite."""
    config = json.loads((folder / "config.json").read_text())
    first, second = config["id2label"]["0"], config["id2label"]["1"]
    config["id2label"], config["label2id"] = {"0": second, "1": first}, {second: 0, first: 1}
    (folder / "config.json").write_text(json.dumps(config))
    result = verify(str(folder), trust_remote_code=True, dataset=str(films))
    assert outcomes(result)["accuracy, test"] == "passed"
    told = {check.name: (check.outcome, check.detail) for check in result.checks}["run.json is of these classes"]
    assert told == ("failed", f"class 0 is {second!r} in config.json, {first!r} in run.json")
    assert result.exit_code == 1


def test_a_record_of_another_model_is_told(in_process, folder, run_folder, films):
    record = json.loads((folder / "run.json").read_text())
    tag = tag_of(record)
    for run in (folder, run_folder):
        content = (run / "model.safetensors").read_bytes()
        record["model"]["sha256"] = hashlib.sha256(content if run == folder else b"another").hexdigest()
        (run / "run.json").write_text(json.dumps(record))
    pinned = json.loads((folder / "run.json").read_text())
    edit_card(folder, tag, tag_of(pinned))
    assert verify(str(folder), trust_remote_code=True, dataset=str(films)).exit_code == 0
    told = {check.name: check.detail for check in verify(str(run_folder)).checks}
    assert "the record of another model" in told["can be published"]
    shutil.copy(run_folder / "run.json", folder)
    result = verify(str(folder), trust_remote_code=True, dataset=str(films))
    assert outcomes(result)["run.json is of these weights"] == "failed"
    assert result.exit_code == 1


def test_a_link_out_of_the_folder_is_not_followed(in_process, folder, tmp_path):
    (folder / "chat_template.jinja").symlink_to(tmp_path.parent)
    assert verify(str(folder)).loaded  # no file
    (tmp_path / "token").write_text("secret")
    (folder / "merges.txt").symlink_to(tmp_path / "token")
    with pytest.raises(PublishingError, match=r"merges.txt is a link that leads out"):
        verify(str(folder))


def test_other_rows_are_not_compared(in_process, folder, films, tmp_path):
    other = shutil.copytree(films, tmp_path / "other")
    (other / "test.jsonl").write_text('{"text": "a good film", "label": 1}')
    result = verify(str(folder), trust_remote_code=True, dataset=str(other))
    assert "are not those the model was measured on" in str(result.checks)
    assert result.exit_code == 3


def test_pickles_are_found_and_not_read(in_process, folder, films):
    (folder / "pytorch_model.bin").write_bytes(b"")
    result = verify(str(folder), trust_remote_code=True, dataset=str(films))
    assert outcomes(result)["safetensors only"] == "failed"
    assert result.exit_code == 1


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_model_of_pickles_alone_is_not_loaded(in_process, hub, run_folder, tmp_path):
    torch.save(Bomb(tmp_path / "went_off"), run_folder / "pytorch_model.bin")
    content = {name: (run_folder / name).read_bytes() for name in ("config.json", "pytorch_model.bin")}
    hub.repos["bob/bomb"] = repo = Repo("bob/bomb", private=False)
    repo.add_commit("refs/heads/main", {name: Blob(data, False) for name, data in content.items()}, None)
    result = verify("bob/bomb")
    assert result.exit_code == 2
    assert not hub.asked("resolve/.*pytorch_model")
    (run_folder / "model.safetensors").unlink()
    with pytest.raises(PublishingError, match="cannot be read"):
        build_bundle(run_folder, tmp_path, "alice/x")
    assert not (tmp_path / "went_off").exists()
    with pytest.raises(pickle.UnpicklingError):
        torch.load(run_folder / "pytorch_model.bin")  # torch's own guard


@pytest.mark.parametrize("damage", ["weights", "missing weight"])
def test_what_cannot_be_loaded_is_2_or_a_failure(in_process, folder, damage):
    if damage == "weights":
        (folder / "model.safetensors").write_bytes(b"no")
        assert verify(str(folder)).exit_code == 2
    else:
        change(folder / "config.json", num_hidden_layers=2)
        result = verify(str(folder))
        assert outcomes(result)["weights fit the configuration"] == "failed"
        assert result.exit_code == 1


def test_a_tokenizer_with_more_tokens_than_the_model_knows(in_process, folder):
    train_tokenizer(["one two three four five six seven eight nine ten eleven"], "word", 99).save_pretrained(folder)
    assert outcomes(verify(str(folder)))["configuration and tokenizer agree"] == "failed"


def test_a_model_that_reads_its_padding(in_process, folder, monkeypatch):
    forward = RecurrentForSequenceClassification.forward

    def blind(self, input_ids, attention_mask=None, **kwargs):
        return forward(self, input_ids, **kwargs)

    monkeypatch.setattr(RecurrentForSequenceClassification, "forward", blind)
    assert outcomes(verify(str(folder)))["batch and padding change nothing"] == "failed"


def test_a_model_that_answers_with_no_numbers(in_process, folder):
    weights = load_file(folder / "model.safetensors")
    spoiled = {name: torch.full_like(weight, torch.nan) for name, weight in weights.items()}
    save_file(spoiled, folder / "model.safetensors", {"format": "pt"})
    assert outcomes(verify(str(folder)))["batch and padding change nothing"] == "failed"


WORDS = {"vocab_size": 20, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
MARIAN = {"layers": 2, "attention_heads": 2, "ffn_dim": 16}
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
GENERATES = ("cached generation is uncached generation", "a batch generates as each row alone")


def test_generation_that_forgets(in_process, monkeypatch, tmp_path):
    TransformerDecoderForCausalLM(TransformerDecoderConfig(**WORDS, **SIZES)).save_pretrained(tmp_path)
    found = outcomes(verify(str(tmp_path)))
    assert [found[name] for name in GENERATES] == ["passed", "passed"]
    forward = TransformerDecoderForCausalLM.forward

    def forgetful(self, *args, **kwargs):
        outputs = forward(self, *args, **kwargs)
        if kwargs.get("use_cache") and outputs.logits.shape[1] == 1:
            outputs.logits = outputs.logits * 0.5
        return outputs

    monkeypatch.setattr(TransformerDecoderForCausalLM, "forward", forgetful)
    assert outcomes(verify(str(tmp_path)))[GENERATES[0]] == "failed"


@pytest.mark.parametrize("wrong", [torch.nan, -torch.inf])
def test_generation_that_rules_tokens_out_by_its_state_alone(in_process, monkeypatch, tmp_path, wrong):
    TransformerDecoderForCausalLM(TransformerDecoderConfig(**WORDS, **SIZES)).save_pretrained(tmp_path)
    forward = TransformerDecoderForCausalLM.forward

    def spoiled(self, *args, **kwargs):
        outputs = forward(self, *args, **kwargs)
        if kwargs.get("use_cache") and outputs.logits.shape[1] == 1:
            outputs.logits[..., 4:] = wrong  # another token follows, and all scores that are numbers are alike
        return outputs

    monkeypatch.setattr(TransformerDecoderForCausalLM, "forward", spoiled)
    found = {check.name: check for check in verify(str(tmp_path)).checks}[GENERATES[0]]
    assert (found.outcome, found.detail[:35]) == ("failed", "the scores of new token 2 differ by")


@pytest.mark.parametrize(("positions", "outcome"), [("learned", "failed"), ("sinusoidal", "passed")])
def test_a_text_may_be_longer_than_positions_that_are_computed(in_process, tmp_path, positions, outcome):
    tokenizer = train_tokenizer(["a good film", "an awful film"], "word", 30, model_max_length=16)
    special = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    config = TransformerEncoderConfig(
        **SIZES, **special, max_position_embeddings=8, position_embedding_type=positions, num_labels=2
    )
    model = TransformerEncoderForSequenceClassification(config).eval()
    if positions == "sinusoidal":
        assert model(torch.ones(1, 16, dtype=torch.long)).logits.isfinite().all()
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert outcomes(verify(str(tmp_path)))["configuration and tokenizer agree"] == outcome


def test_numbers_are_computed_again_in_the_run_s_precision_where_the_processor_has_it(films, tmp_path, monkeypatch):
    loaded = load_text_classification(DataArguments(dataset_name=str(films)))
    run = write_run(tmp_path / "run")
    model, tokenizer = AutoModelForSequenceClassification.from_pretrained(run), AutoTokenizer.from_pretrained(run)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4)
    model.save_pretrained(run)
    rows = tokenizer(loaded.splits["test"]["text"][:], padding=True, return_tensors="pt")
    losses = {}
    for precision in ("no", "bf16"):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            logits = model(**rows).logits.float().numpy()
        losses[precision] = classification_scores(logits, np.array(loaded.splits["test"]["label"]))["loss"]
    assert abs(losses["no"] - losses["bf16"]) > 1e-4
    for precision, loss in losses.items():
        told = {"architecture": "lstm", "dataset_name": "<local:films>", "mixed_precision": precision}
        write_run(run, model=model, metrics={"test": {"loss": loss}}, dataset=loaded.describe(), hyperparameters=told)
        for has_bf16 in (True, False):
            can = {"avx512_bf16": has_bf16}
            monkeypatch.setattr(torch.cpu, "get_capabilities", lambda can=can: can)
            again = evaluate_again(json.loads((run / "run.json").read_text()), run, str(films))
            in_its_own = loss if has_bf16 else losses["no"]  # emulated bfloat16 would take far longer
            assert again["test"]["loss"] == pytest.approx(in_its_own, abs=1e-6)


@pytest.mark.parametrize("kind", ["gpt2", "t5", "marian", "bert", "vision", "bart classifier", "convolution"])
def test_models_of_others(in_process, kind, tmp_path):
    if kind == "gpt2":
        model = GPT2LMHeadModel(
            GPT2Config(vocab_size=20, n_embd=16, n_layer=2, n_head=2, bos_token_id=2, eos_token_id=3)
        )
    elif kind == "t5":
        sizes = {"d_model": 16, "d_ff": 16, "d_kv": 8, "num_layers": 2, "num_heads": 2}
        model = T5ForConditionalGeneration(T5Config(vocab_size=20, decoder_start_token_id=0, **sizes))
    elif kind == "marian":
        sides = {f"{side}_{name}": size for side in ("encoder", "decoder") for name, size in MARIAN.items()}
        config = MarianConfig(**WORDS, **sides, d_model=16, decoder_start_token_id=0, forced_eos_token_id=None)
        model = MarianMTModel(config)
    elif kind == "bert":
        model = BertForSequenceClassification(BertConfig(**WORDS, **SIZES, intermediate_size=16))
    elif kind == "bart classifier":  # it answers at the end token of a text, of which its decoder reads the same
        sides = {f"{side}_{name}": size for side in ("encoder", "decoder") for name, size in MARIAN.items()}
        model = BartForSequenceClassification(BartConfig(**WORDS, **sides, d_model=16))
    elif kind == "convolution":  # it reads images of any size, and its configuration names none
        sizes = {"embedding_size": 8, "hidden_sizes": [8, 8], "depths": [1, 1]}
        model = ResNetForImageClassification(ResNetConfig(**sizes))
    else:
        config = VisionTransformerConfig(**SIZES, image_size=(4, 6), patch_size=2)
        model = VisionTransformerForImageClassification(config)
    model.save_pretrained(tmp_path)
    result = verify(str(tmp_path))
    found = outcomes(result)
    assert found["batch and padding change nothing"] == "passed", result.checks
    assert [found[name] for name in GENERATES] == ["passed" if kind in ("gpt2", "t5", "marian") else "-"] * 2, (
        result.checks
    )
    # Of a text's model without a tokenizer, and of ours without code, something stays open.
    assert result.exit_code == (0 if kind == "convolution" else 3)
    if kind == "bert":
        tokenizer = train_tokenizer(["a b"], "word", 20)
        assert isinstance(tokenizer, PreTrainedTokenizerFast)
        tokenizer.save_pretrained(tmp_path)
        change(tmp_path / "config.json", pad_token_id=tokenizer.pad_token_id, bos_token_id=None, eos_token_id=None)
        assert verify(str(tmp_path)).exit_code == 0


def test_a_strangers_code_and_dataset_are_left_alone(in_process, tmp_path, run_folder):
    (run_folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    auto_map = {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}
    change(run_folder / "config.json", model_type="evil", auto_map=auto_map)
    change(run_folder / "run.json", hyperparameters={"dataset_name": "../../etc"})
    result = verify(str(run_folder))
    assert result.exit_code == 2
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["../../etc", "/etc", "~/x", "a/../../b", "a/b/c", "..", "sample:../x", "x\0y", ""])
def test_names_that_climb_out_of_a_folder_are_refused(name, hub):
    with pytest.raises((UncheckableError, DataError, ValueError)):
        task_of({"task": "sentiment_analysis", "hyperparameters": {"dataset_name": name}}).load()
    with pytest.raises(DataError):
        load_sample(f"sample:{name}")
    if name not in ("/etc", ".."):  # folders that a user may well mean
        with pytest.raises((PublishingError, ValueError)):
            verify(name)
    assert hub.log == []


def test_files_that_a_strangers_record_names_are_not_read(tmp_path, monkeypatch):
    with pytest.raises(UncheckableError, match="local files"):
        task_of({"task": "sentiment_analysis", "hyperparameters": {"train_file": "/etc/passwd", "dataset_name": None}})
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.csv").write_text("text,label")
    with pytest.raises(UncheckableError, match="lies here too"):
        task_of({"task": "sentiment_analysis", "hyperparameters": {"dataset_name": "own.csv"}})


def test_the_users_folder_takes_the_place_of_the_runs_files(tmp_path):
    (tmp_path / "train.en").write_text("one")
    files = {"train_file": "<local:train.en>", "train_target_file": "../corpus/train.de"}
    record = {"task": "translation", "hyperparameters": {**files, "dataset_name": None, "source_column": "en"}}
    with pytest.raises(UncheckableError, match="the run's --train_target_file"):
        task_of(record, str(tmp_path))
    (tmp_path / "train.de").write_text("eins")
    found = task_of(record, str(tmp_path)).data_args
    assert (found.train_file, found.train_target_file) == (str(tmp_path / "train.en"), str(tmp_path / "train.de"))
    assert (found.source_column, found.dataset_name) == ("en", None)


def test_a_number_is_compared_by_the_rows_or_samples_it_was_computed_over():
    record = {"task": "music_generation", "dataset": {"splits": {"test": {"rows": 1000}}}}
    record["metrics"] = {"generated": {"tunes": 100}}
    assert agrees(record, "generated", "valid", 0.9, 0.8)  # by chance, of 100 tunes
    assert not agrees(record, "generated", "valid", 0.9, 0.6)
    record["task"] = "sentiment_analysis"
    assert agrees(record, "test", "accuracy", 0.872, 0.873)  # one of 1,000 examples
    assert not agrees(record, "test", "accuracy", 0.872, 0.874)
    assert not agrees(record, "test", "loss", 0.500, 0.504)
    assert agrees({**record, "hyperparameters": {"mixed_precision": "bf16"}}, "test", "loss", 0.500, 0.504)
    record |= {"task": "masked_language_modeling", "dataset": {"splits": {"test": {"rows": 3}}}}
    assert not agrees(record, "test", "accuracy", 0.872, 0.873)  # a document is no example of its tokens
    record["dataset"]["hidden_tokens"] = {"test": 1000}
    assert agrees(record, "test", "accuracy", 0.872, 0.873)  # one of 1,000 hidden tokens
    assert not agrees(record, "test", "accuracy", 0.872, 0.874)


def test_a_record_that_counts_fewer_examples_than_there_are_is_not_believed(in_process, folder, films):
    record = json.loads((folder / "run.json").read_text())
    record["dataset"]["splits"]["test"]["rows"] = 2
    (folder / "run.json").write_text(json.dumps(record))
    result = verify(str(folder), trust_remote_code=True, dataset=str(films))
    (told,) = (check for check in result.checks if check.name == "the card's numbers")
    assert (told.outcome, told.detail) == ("not checked", "its split 'test' has 24 examples, and run.json says 2")


def test_the_verb_shows_the_commit_and_exits_with_what_it_found(in_process, hub, folder, films, monkeypatch, capsys):
    repo, sha = put_up(hub, folder, "alice/films", private=True)
    arguments = ["seqnlp", "verify", "alice/films", "--dataset-name", str(films)]
    tag = tag_of(json.loads((folder / "run.json").read_text()))
    for more, code in (([], 1), (["--trust-remote-code"], 0)):
        repo.refs |= {f"refs/tags/{tag}": sha} if more else {}
        monkeypatch.setattr("sys.argv", arguments + more)
        with pytest.raises(SystemExit) as stopped:
            command.main()
        printed = capsys.readouterr().out
        assert stopped.value.code == code, printed
        assert f"alice/films at commit {sha}" in printed
        assert ("its code was run" in printed.lower()) == bool(more)
        assert ("not there" in printed) == (not more)  # the tag that the card pins
        assert ("Not checked: loads without seqnlp (it brings code" in printed) == (not more)
    monkeypatch.setattr("sys.argv", ["seqnlp", "verify", "alice/nothing"])
    with pytest.raises(SystemExit) as stopped:
        command.main()
    assert stopped.value.code == 2
    assert capsys.readouterr().err == (
        "error: alice/nothing could not be fetched: there is no such repository, or the access token may not see it.\n"
    )


def test_private_and_gated_models_are_read_by_those_who_may(in_process, hub, folder, monkeypatch):
    put_up(hub, folder, "alice/own", private=True)
    put_up(hub, folder, "alice/gated", gated=True)
    for name in ("alice/own", "alice/gated"):
        assert verify(name).loaded
    for token, asked in (("hf_bob_write", "there is no such repository, or"), ("", "there is no such repository, or")):
        monkeypatch.setenv("HF_TOKEN", token)
        with pytest.raises(PublishingError, match=f"alice/own could not be fetched: {asked}"):
            verify("alice/own")
        with pytest.raises(PublishingError, match="alice/gated could not be fetched: its owner grants access one by"):
            verify("alice/gated")


def test_a_file_of_the_hub_that_climbs_out_of_its_folder_is_not_written(in_process, hub, folder, tmp_path):
    repo, sha = put_up(hub, folder, "bob/evil")
    repo.commits[sha]["../../../climbed.json"] = Blob(b"{}", False)
    with pytest.raises(PublishingError, match="bob/evil could not be fetched"):
        verify("bob/evil")
    assert not list(tmp_path.rglob("climbed.json"))


FETCHING = ["GET /api/models/alice/films", "HEAD .*/resolve/", "GET .*/resolve/.*/model.safetensors"]


@pytest.mark.parametrize("call", FETCHING)
def test_a_model_is_fetched_under_faults_or_it_is_said(in_process, hub, folder, naps, call):
    put_up(hub, folder, "alice/films")
    for fault in ({"status": 500}, {"status": 429, "retry_after": 3}):
        hub.fail(call, "status", **fault)
    hub.fail(call, "drop")
    if "GET" in call:
        hub.fail(call, "truncate", after_bytes=200)
    assert verify("alice/films").loaded
    assert all(fault["hits"] for fault in hub.faults)
    hub.fail(call, "status", status=503, times=-1)
    with pytest.raises(PublishingError, match="alice/films could not be fetched: ") as raised:
        verify("alice/films")
    assert "\n" not in str(raised.value)


def test_a_runs_output_is_checked_as_it_would_be_published(hub, in_process, run_folder, monkeypatch, capsys):
    result = verify(str(run_folder))
    found = outcomes(result)
    assert result.is_run
    assert found["can be published"] == found["loads without seqnlp"] == found["the card says what run.json says"]
    assert found["can be published"] == "passed"
    assert found["the card's numbers"] == "not checked"  # measured on nothing
    change(run_folder / "run.json", command="x.py --note /home/me/notes")
    result = verify(str(run_folder))
    assert outcomes(result)["can be published"] == "failed"
    assert "run.json, command: the path /home/me" in str(result.checks)
    assert result.exit_code == 1
    monkeypatch.setattr("sys.argv", ["seqnlp", "verify", str(run_folder)])
    with pytest.raises(SystemExit) as stopped:
        command.main()
    assert stopped.value.code == 1
    assert hub.log == []


def test_code_in_a_tokenizer_or_in_another_repository_is_not_run_silently(in_process, folder):
    change(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.Tokenizer", None]})
    result = verify(str(folder))
    assert [outcomes(result)[f"loads {how} seqnlp"] for how in ("with", "without")] == ["not checked"] * 2
    assert result.exit_code == 2
    change(folder / "tokenizer_config.json", auto_map=None)
    change(folder / "config.json", auto_map={"AutoModel": "bob/evil--evil.Model"})
    result = verify(str(folder), trust_remote_code=True)
    assert "its code lies in another repository, bob/evil" in str(result.checks)


@pytest.mark.parametrize("carried", [True, False])
def test_a_language_models_numbers_are_computed_again(in_process, tmp_path, carried):
    (tmp_path / "texts").mkdir()
    for split in ("train", "validation", "test"):
        (tmp_path / "texts" / f"{split}.jsonl").write_text(json.dumps({"text": "a good film and an awful film " * 9}))
    loaded = load_texts(TextArguments(dataset_name=str(tmp_path / "texts")))
    splits = loaded.splits
    tokenizer = train_tokenizer(splits["train"]["text"], "char", 40)
    special = {"pad_token_id": tokenizer.pad_token_id, "bos_token_id": tokenizer.bos_token_id}
    if carried:
        model = RecurrentForCausalLM(RecurrentConfig(vocab_size=len(tokenizer), hidden_size=8, **special))
    else:
        model = TransformerDecoderForCausalLM(TransformerDecoderConfig(vocab_size=len(tokenizer), **SIZES, **special))
    sizes = {"stride": 50, "context": 20}
    # Each character from all that the segment shows of the text before it, one forward pass a segment.
    text, nats = splits["test"]["text"][0], 0.0
    ids = [tokenizer.bos_token_id, *tokenizer(text, add_special_tokens=False)["input_ids"]]
    starts = [0, *range(70, len(ids) - 1, 50)]
    for start, stop in zip(starts, [*starts[1:], len(ids) - 1], strict=True):
        begin = max(0, start - 20)
        with torch.no_grad():
            logits = model.eval()(torch.tensor([ids[begin:stop]])).logits[0, start - begin :]
        nats += torch.nn.functional.cross_entropy(logits, torch.tensor(ids[start + 1 : stop + 1]), reduction="sum")
    claimed = {"loss": float(nats) / (len(ids) - 1), "bits_per_character": float(nats) / len(text) / np.log(2)}
    run = write_run(
        tmp_path / "run",
        model=model,
        processor=tokenizer,
        task="language_modeling",
        hyperparameters={"architecture": "lstm" if carried else "transformer", "dataset_name": "<local:texts>"},
        metrics={"test": claimed, "sampled": {"loss": 1.0}},
        dataset={**loaded.describe(), "evaluation": {**sizes, "carried_state": carried}},
    )
    found = outcomes(verify(str(run), dataset=str(tmp_path / "texts")))
    assert found["loss, test"] == found["bits_per_character, test"] == "passed", found
    assert found["the card's numbers, sampled"] == "not checked"
