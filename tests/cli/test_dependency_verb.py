"""The verb: equal parameters, what it writes, refusals; and the search for sizes by itself."""

import json

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from seqnlp.cli.dependency import TaskModel, dependency_table, follow_gradients, sizes_for, sizes_of_state, state_size
from seqnlp.cli.main import app
from seqnlp.cli.sizes import SizesError, count_parameters, match_sizes
from seqnlp.diagnostics import DEPENDENCY_TASKS
from seqnlp.tasks import ARCHITECTURES


def test_counting_needs_no_memory_and_is_exact():
    sizes = {"hidden_size": 24, "intermediate_size": 50}
    real = TaskModel("transformer", DEPENDENCY_TASKS["copy"], sizes)
    counted = count_parameters(lambda: TaskModel("transformer", DEPENDENCY_TASKS["copy"], sizes))
    assert counted == sum(parameter.numel() for parameter in real.parameters())
    assert count_parameters(lambda: TaskModel("lstm", DEPENDENCY_TASKS["copy"], {"hidden_size": 100_000})) > 10**11


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_is_matched_within_two_percent(architecture):
    for task, target in (("adding", 5000), ("recall", 20_000)):
        sizes = sizes_for(architecture, DEPENDENCY_TASKS[task], target)
        model = TaskModel(architecture, DEPENDENCY_TASKS[task], sizes.fields)
        counted = sum(parameter.numel() for parameter in model.parameters())
        assert counted == sizes.count
        assert counted == pytest.approx(target, rel=0.02)


def test_what_cannot_be_matched_is_refused_with_the_nearest():
    with pytest.raises(
        SizesError, match=r"No gru has within 2% of 1,100 parameters; the nearest has 1,000 with hidden"
    ):
        match_sizes("gru", lambda sizes: 1000.0 * (sizes["hidden_size"] - 9), 1100, is_tied=True)


def test_the_verb_writes_table_picture_and_numbers(tmp_path):
    flags = ["--tasks", "copy,parity", "--architectures", "gru,transformer", "--distances", "8,10", "--steps", "3"]
    flags += ["--unseen_distances", "16", "--parameters", "5000", "--seeds", "2", "--output-dir", str(tmp_path)]
    result = CliRunner().invoke(app, ["dependency", *flags])
    assert result.exit_code == 0, result.output
    results = json.loads((tmp_path / "dependency.json").read_text())
    assert len(results) == 2 * 2 * 2 * 3
    assert all(entry["parameters"] == pytest.approx(5000, rel=0.02) for entry in results)
    text = (tmp_path / "dependency.md").read_text()
    assert "16 (unseen)" in text
    assert "arXiv 1511.06464" in text
    assert (tmp_path / "dependency.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(("number_of_models", "matched"), [(2, None), (7, None), (2, 64), (7, 64)])
def test_people_read_at_most_seven_columns_however_many_distances_there_are(number_of_models, matched):
    results = [
        {"task": "copy", "architecture": architecture, "start": "default", "matched_state_size": matched}
        | {"distance": 2**power, "trained": power < 9, "accuracy": power / 100 + place / 10, "chance": 0.125}
        for place, architecture in enumerate(ARCHITECTURES[:number_of_models])
        for power in range(3, 11)
    ]
    text = dependency_table(results)
    tables = [part.splitlines() for part in text.split("\n\n") if part.startswith("|")]
    assert all(line.count("|") <= 8 for table in tables for line in table)
    assert len(tables) == (1 if number_of_models == 2 else 2)
    cells = [cell.strip() for table in tables for line in table for cell in line.split("|")]
    for entry in results:
        assert f"{100 * entry['accuracy']:.0f}" in cells
    distances = [cell for cell in cells if cell.removesuffix(" (unseen)").isdigit() and int(cell.split()[0]) >= 128]
    assert distances == ["128", "256", "512 (unseen)", "1024 (unseen)"]
    assert cells.count("12") == 8  # chance at each distance


def test_each_architecture_is_tried_with_each_way_to_start_that_it_has(tmp_path):
    flags = ["--tasks", "copy", "--architectures", "elman,lstm,transformer", "--starts", "default,chrono,identity"]
    flags += ["--distances", "8", "--unseen_distances", "", "--steps", "1", "--parameters", "5000", "--gradients"]
    result = CliRunner().invoke(app, ["dependency", *flags, "--output_dir", str(tmp_path)])
    assert result.exit_code == 0, result.output
    results = json.loads((tmp_path / "dependency.json").read_text())
    tried = [(entry["architecture"], entry["start"]) for entry in results]
    assert tried == [
        ("elman", "default"),
        ("elman", "identity"),
        ("lstm", "default"),
        ("lstm", "chrono"),
        ("transformer", "default"),
    ]
    assert "| lstm, chrono" in (tmp_path / "dependency.md").read_text()
    assert (tmp_path / "gradients-copy.png").read_bytes()[:4] == b"\x89PNG"


def test_parts_are_put_together_and_only_what_is_missing_is_trained(tmp_path, monkeypatch):
    common = ["dependency", "--tasks", "copy", "--distances", "8", "--unseen_distances", "", "--parameters", "5000"]
    common += ["--gradients", "--steps", "2"]

    def run(folder, *flags):
        return CliRunner().invoke(app, [*common, "--output_dir", str(tmp_path / folder), *flags])

    assert run("a", "--architectures", "elman", "--seeds", "2").exit_code == 0
    assert run("b", "--architectures", "lstm").exit_code == 0
    both = ["--architectures", "elman,lstm", "--records", f"{tmp_path / 'a'},{tmp_path / 'b'}"]
    kept = {name: json.loads((tmp_path / name / "dependency.json").read_text()) for name in ("a", "b")}

    trained = []
    monkeypatch.setattr("seqnlp.cli.dependency._train", lambda run, *_: trained.append(run))
    merged = run("c", *both)
    assert merged.exit_code == 0, merged.output
    assert "2 of 2 runs are kept in" in merged.output
    assert "; 1 more there are not asked for." in merged.output  # elman's second seed
    assert trained == []
    assert json.loads((tmp_path / "c" / "dependency.json").read_text()) == [kept["a"][0], *kept["b"]]
    flows = json.loads((tmp_path / "c" / "gradients.json").read_text())
    assert [entry["architecture"] for entry in flows] == ["elman", "lstm"]
    assert flows[1] == json.loads((tmp_path / "b" / "gradients.json").read_text())[0]
    assert (tmp_path / "c" / "gradients-copy.png").exists()

    partly = run("e", *both, "--seeds", "3", "--starts", "default,chrono", "--kept_only")
    assert partly.exit_code == 0, partly.output
    assert "3 of 9 runs are kept in" in partly.output
    assert json.loads((tmp_path / "e" / "dependency.json").read_text()) == [*kept["a"], *kept["b"]]
    assert "| lstm (1 of 2 seeds)" in (tmp_path / "e" / "dependency.md").read_text()
    assert "--kept_only: none of the runs" in str(run("f", "--architectures", "gru", "--kept_only").exception)
    assert trained == []

    again = run("c", "--architectures", "lstm", "--resume")
    assert again.exit_code == 0, again.output
    assert "is there already" in str(run("c", "--architectures", "lstm").exception)
    other = run("d", *both, "--learning_rate", "0.003,lstm=0.01")
    assert "copy, lstm, seed 1 was trained with learning_rate 0.003, and here it is 0.01" in str(other.exception)
    other = run("d", *both, "--batch_size", "16")
    assert "copy, elman, seed 1 was trained with batch_size 32, and here it is 16. Ask for" in str(other.exception)


def test_an_interrupted_run_keeps_what_it_had_and_what_others_left_there(tmp_path, monkeypatch):
    flags = ["dependency", "--tasks", "parity", "--distances", "8", "--unseen_distances", "", "--parameters", "5000"]
    flags += ["--architectures", "elman", "--steps", "1", "--output_dir", str(tmp_path)]
    assert CliRunner().invoke(app, [*flags, "--first_seed", "3"]).exit_code == 0
    seeds = [*flags, "--first_seed", "1", "--seeds", "3", "--resume"]
    trained = []

    def stop_at_the_second(run, *arguments):
        trained.append(run.seed)
        if run.seed == 2:
            raise KeyboardInterrupt
        return train(run, *arguments)

    from seqnlp.cli.dependency import _train as train

    with monkeypatch.context() as patched:
        patched.setattr("seqnlp.cli.dependency._train", stop_at_the_second)
        CliRunner().invoke(app, seeds)
    assert trained == [1, 2]
    assert [entry["seed"] for entry in json.loads((tmp_path / "dependency.json").read_text())] == [1, 3]
    assert CliRunner().invoke(app, seeds).exit_code == 0
    assert [entry["seed"] for entry in json.loads((tmp_path / "dependency.json").read_text())] == [1, 2, 3]


def test_going_on_with_other_runs_leaves_those_that_are_there(tmp_path):
    flags = ["dependency", "--tasks", "copy", "--distances", "8", "--unseen_distances", "", "--parameters", "5000"]
    flags += ["--steps", "1", "--gradients", "--output_dir", str(tmp_path)]
    assert CliRunner().invoke(app, [*flags, "--architectures", "elman"]).exit_code == 0
    files = ("dependency.json", "gradients.json")
    (elman,), (flow,) = (json.loads((tmp_path / name).read_text()) for name in files)
    result = CliRunner().invoke(app, [*flags, "--architectures", "gru", "--resume"])
    assert result.exit_code == 0, result.output
    entries, flows = (json.loads((tmp_path / name).read_text()) for name in files)
    assert [entry["architecture"] for entry in entries] == ["gru", "elman"]
    assert entries[1] == elman
    assert flow in flows
    assert {one["architecture"] for one in flows} == {"elman", "gru"}
    assert "elman" not in (tmp_path / "dependency.md").read_text()  # of what is asked for alone


@pytest.mark.parametrize("content", [None, "[{}]", "{", '[{"task": "copy"}]'])
def test_what_is_no_record_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "dependency.json").write_text(content)
    flags = ["--records", str(tmp_path), "--output_dir", str(tmp_path / "out"), "--architectures", "elman"]
    result = CliRunner().invoke(app, ["dependency", *flags])
    assert "dependency.json: this is no record of seqnlp dependency: " in str(result.exception)
    assert type(result.exception).__module__.startswith("seqnlp.")


def test_equal_states_are_as_large_as_asked_for():
    """Against the caches that the models make."""
    for architecture in ARCHITECTURES:
        model = TaskModel(architecture, DEPENDENCY_TASKS["recall"], sizes_of_state(architecture, 64)).base
        cache = model(torch.zeros(1, 9, dtype=torch.long), use_cache=True).cache
        if architecture == "transformer":
            kept = sum(layer.keys.numel() + layer.values.numel() for layer in cache.layers)
            assert kept == 64 * 9
        else:
            kept = sum(state.numel() for layer in cache.layers for state in layer.recurrent_states.values())
            assert kept == 64
        assert state_size(model.config, 9) == kept


def test_accuracy_by_what_is_kept_of_a_text(tmp_path):
    flags = ["--tasks", "recall,mqar", "--architectures", "lstm,transformer", "--state_sizes", "32,64"]
    flags += ["--distances", "16", "--unseen_distances", "", "--steps", "1", "--batch_size", "2"]
    result = CliRunner().invoke(app, ["dependency", *flags, "--output_dir", str(tmp_path)])
    assert result.exit_code == 0, result.output
    results = json.loads((tmp_path / "dependency.json").read_text())
    found = [(entry["task"], entry["architecture"], entry["state_size"]) for entry in results]
    ours = [("lstm", 32), ("lstm", 64), ("transformer", 32 * 16), ("transformer", 64 * 16)]
    assert found == [(task, *one) for task in ("recall", "mqar") for one in ours]
    assert "| transformer        | 64 per token | " in (tmp_path / "dependency.md").read_text()
    with Image.open(tmp_path / "dependency.png") as picture:
        assert picture.width >= 900  # two panels


def test_gradients_are_followed_through_the_trained_net_itself():
    """Against a gradient by hand: of the last answer's least likely class by the embedded tokens, through the net."""
    torch.manual_seed(0)
    model = TaskModel("gru", DEPENDENCY_TASKS["copy"], {"hidden_size": 8, "embedding_size": 8})
    flow = follow_gradients(model, DEPENDENCY_TASKS["copy"], 9)
    rows = DEPENDENCY_TASKS["copy"].make(16, 9, torch.Generator().manual_seed(0)).inputs
    states = model.base(inputs_embeds=model.base.embed_tokens(rows)).last_hidden_state
    states.retain_grad()
    logits = model.head(states)[:, -1]
    torch.nn.functional.cross_entropy(logits, logits.argmin(dim=-1), reduction="sum").backward()
    top = next(series for series in flow.series if series.name == "layer 2")
    assert top.norms[0] == pytest.approx(states.grad[:, -1].norm(dim=-1).mean().item(), rel=1e-4)
    assert len(flow.lowest.norms) == 5 + 9 + 5


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--tasks", "copy,juggling"], "there is no 'juggling'; choose among copy, adding, recall, mqar, parity"),
        (["--state_sizes", "32,33", "--architectures", "lstm"], "keeps exactly 33 numbers; give multiples of 4."),
        (["--state_sizes", "32", "--gradients"], "gradients are drawn at equal parameters; leave one out"),
        (["--learning_rate", "fast"], "--learning_rate fast: give a number above 0, e.g. 0.01 or 0.01,elman=0.003."),
        (["--learning_rate", "0.01,lstm=0"], "--learning_rate 0.01,lstm=0: give a number above 0"),
        (["--learning_rate", "0.01,rnn=0.1"], "'rnn' is not one of elman, gru"),
        (["--device", "cuda:7"], "--device cuda:7: not one of cpu, cuda"),
        (["--thorough"], "--thorough sets --steps itself: leave out one of the two."),
        (["--starts", "orthogonal"], "there is no 'orthogonal'; choose among default, torch, chrono, uniform, id"),
        (["--architectures", "gru,gru"], "name at least one, each once"),
        (["--distances", "8,x"], "--distances 8,x: give whole numbers above 0"),
        (["--distances", "4"], "each at least 8"),
        (["--output_dir", f"{__file__}/results"], "test_dependency_verb.py/results cannot be made: Not a directory"),
    ],
)
def test_refusals(flags, message):
    result = CliRunner().invoke(app, ["dependency", *flags, "--steps", "1"])
    assert message in str(result.exception)
    assert type(result.exception).__module__.startswith("seqnlp.")


def test_help_has_an_example():
    assert "\n      seqnlp dependency --tasks copy,recall" in CliRunner().invoke(app, ["dependency", "--help"]).output
