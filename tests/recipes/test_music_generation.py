"""The recipe as a user starts it, on tunes so alike that little training is enough."""

import json

import pytest


RECIPE = "music_generation"


@pytest.fixture(scope="module")
def tunes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tunes")
    letters = "ABcdefg"
    header = "X:1\nT:Jig\nR:jig\nM:6/8\nL:1/8\nK:G\n"
    notes = [f"{a}GA GAG|{b}GA GAG|{c}GA GAG|GAG AGA|\n" for a in letters for b in letters for c in letters[:3]]
    for split, part in (("train", notes[:123]), ("validation", notes[123:135]), ("test", notes[135:])):
        (folder / f"{split}.abc").write_text("\n".join(header + tune for tune in part))
    return folder


def test_tunes_to_read_to_hear_and_to_see(launch, tunes, tmp_path):
    files = [word for split in ("train", "validation", "test") for word in (f"--{split}_file", tunes / f"{split}.abc")]
    size = ["--config_overrides", "hidden_size=64,embedding_size=16,head_dropout=0", "--max_length", 120]
    short = ["--num_train_epochs", 25, "--learning_rate", 0.02, "--num_tunes", 6, "--num_files", 1, "--num_threads", 1]
    asked = ["--metre", "6/8", "--key", "G major", "--form", "jig", "--temperature", 0.3]
    result = launch.run(RECIPE, *files, *size, *short, *asked, "--output_dir", tmp_path)
    assert result.returncode == 0, result.stderr
    record = json.loads((tmp_path / "run.json").read_text())
    assert set(record["metrics"]["test"]) >= {"loss", "bits_per_character", "unknown_share"}
    generated = record["metrics"]["generated"]
    shares = {"parsed", "valid", "strictly_valid", "copied", "in_scale", "in_key"}
    alike = {"melody", "rhythm", "phrases", "distances"}
    assert set(generated) == shares | alike | {"tunes", "temperature", "compared", "overlaps"}
    assert all(0 <= generated[key] <= 1 for key in shares | alike)
    assert generated["overlaps"]["sections"] == pytest.approx(1)  # of four bars each
    assert (generated["tunes"], generated["temperature"]) == (6, 0.3)
    assert generated["valid"] > 0.5
    baselines = record["baselines"]
    assert baselines["training_tunes"]["generated"]["valid"] == 1.0
    assert set(baselines["training_tunes"]["generated"]["overlaps"]) == set(generated["overlaps"])
    assert set(baselines["held_out_tunes"]["generated"]) == {"in_scale", "in_key"}
    written = (tmp_path / "tunes.abc").read_text().split("X:")[1:]
    assert len(written) == 6
    assert all("R:jig\nM:6/8\nL:1/8\nK:Gmaj\n" in tune for tune in written)
    names = {path.name for path in tmp_path.iterdir()}
    assert names >= {
        "tune-1.abc",
        "tune-1.mid",
        "tune-1.wav",
        "tune-1.png",
        "tune-1.svg",
        "tune_statistics.png",
        "learning_curves.png",
        "run.json",
    }
    page = (tmp_path / "report.html").read_text()
    assert page.count("Sheet music of tune-1") == page.count("<audio") == 1
    assert "rhythms of a bar" in result.stdout + result.stderr
    assert "Intervals, rhythms and phrases" in page
    for word in ("warning", "deprecated", "error:", "traceback"):
        assert word not in result.stderr.lower()


def test_two_processes_stopped_by_time_and_resumed(fork, tunes, tmp_path):
    """Every tune is read and written once; the record of the second stretch has the first one's curve and seconds."""
    files = [word for split in ("train", "validation", "test") for word in (f"--{split}_file", tunes / f"{split}.abc")]
    arguments = [*files, "--architecture", "transformer", "--transpositions", 1, "--num_threads", 1, "--seed", 5]
    arguments += ["--config_overrides", "hidden_size=32,num_attention_heads=2,num_hidden_layers=1"]
    arguments += ["--max_length", 90, "--num_train_epochs", 2, "--num_tunes", 5, "--output_dir", tmp_path / "out"]
    stopped = fork(RECIPE, *arguments, "--max_train_minutes", 0.001, processes=2)
    assert stopped.returncode == 0, stopped.stderr
    first = json.loads((tmp_path / "out" / "run.json").read_text())
    assert first["stopped"]["reason"] == "max_train_minutes"
    assert set(first["metrics"]) == {"validation", "generated"}  # the test is not looked at before training is over
    resumed = fork(RECIPE, *arguments, "--resume_from_checkpoint", "latest", processes=2)
    assert resumed.returncode == 0, resumed.stderr
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["stopped"] is None
    assert record["num_processes"] == 2
    assert record["dataset"]["splits"]["train"]["rows"] == 123
    assert record["dataset"]["training_tunes"] == 3 * 123
    assert record["seconds"]["training"] > first["seconds"]["training"]
    assert [entry["step"] for entry in record["history"] if "validation_loss" in entry] == [12, 24]
    written = (tmp_path / "out" / "tunes.abc").read_text().split("X:")[1:]
    assert [tune.split("\n")[0] for tune in written] == ["1", "2", "3", "4", "5"]
    assert len({tune.split("\n", 1)[1] for tune in written}) == 5  # each process has its own stream of chance


def test_a_tune_that_does_not_parse_is_one_line(fork, tmp_path):
    (tmp_path / "a.abc").write_text("X:1\nT:No key\nABc|")
    arguments = ["--train_file", tmp_path / "a.abc", "--validation_file", tmp_path / "a.abc"]
    result = fork(RECIPE, *arguments, "--output_dir", tmp_path / "out")
    assert result.returncode == 1
    assert "is no tune in ABC notation, it has no line K: with a key." in result.stderr
    assert result.stderr.count("\n") == 1, result.stderr
