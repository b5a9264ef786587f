"""The verb: equal parameters, what it writes, refusals; and the search for sizes by itself."""

import json

import pytest
import torch
from typer.testing import CliRunner

from seqnlp.cli.dependency import TaskModel, follow_gradients, sizes_for
from seqnlp.cli.main import app
from seqnlp.cli.sizes import SizesError, count_parameters, match_sizes
from seqnlp.diagnostics import TASKS
from seqnlp.tasks import ARCHITECTURES


def test_counting_needs_no_memory_and_is_exact():
    sizes = {"hidden_size": 24, "intermediate_size": 50}
    real = TaskModel("transformer", TASKS["copy"], sizes)
    counted = count_parameters(lambda: TaskModel("transformer", TASKS["copy"], sizes))
    assert counted == sum(parameter.numel() for parameter in real.parameters())
    assert count_parameters(lambda: TaskModel("lstm", TASKS["copy"], {"hidden_size": 100_000})) > 10**11


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_is_matched_within_two_percent(architecture):
    for task, target in (("adding", 5000), ("recall", 20_000)):
        sizes = sizes_for(architecture, TASKS[task], target)
        model = TaskModel(architecture, TASKS[task], sizes.fields)
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


def test_gradients_are_followed_through_the_trained_net_itself():
    """Against a gradient by hand: of the last answer's least likely class by the embedded tokens, through the net."""
    torch.manual_seed(0)
    model = TaskModel("gru", TASKS["copy"], {"hidden_size": 8, "embedding_size": 8})
    flow = follow_gradients(model, TASKS["copy"], 9)
    rows = TASKS["copy"].make(16, 9, torch.Generator().manual_seed(0)).inputs
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
        (["--tasks", "copy,juggling"], "there is no 'juggling'; choose among copy, adding, recall, parity"),
        (["--starts", "orthogonal"], "there is no 'orthogonal'; choose among default, chrono, uniform, identity"),
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
    assert "Example: seqnlp dependency" in CliRunner().invoke(app, ["dependency", "--help"]).output
