"""The recipe as a user starts it, on tunes so alike that little training is enough."""

import json

import pytest


RECIPE = "music_generation"


@pytest.fixture(scope="module")
def tunes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tunes")
    letters = "ABcdefg"
    header = "X:1\nT:Jig\nM:6/8\nL:1/8\nK:G\n"
    notes = [f"{a}GA GAG|{b}GA GAG|{c}GA GAG|GAG AGA|\n" for a in letters for b in letters for c in letters[:3]]
    for split, part in (("train", notes[:123]), ("validation", notes[123:135]), ("test", notes[135:])):
        (folder / f"{split}.abc").write_text("\n".join(header + tune for tune in part))
    return folder


def test_tunes_to_read_to_hear_and_to_see(launch, tunes, tmp_path):
    files = [word for split in ("train", "validation", "test") for word in (f"--{split}_file", tunes / f"{split}.abc")]
    size = ["--config_overrides", "hidden_size=64,embedding_size=16,head_dropout=0", "--max_length", 120]
    short = ["--num_train_epochs", 25, "--learning_rate", 0.02, "--num_tunes", 6, "--num_files", 1, "--num_threads", 1]
    asked = ["--metre", "6/8", "--key", "G major", "--temperature", 0.3]
    result = launch.run(RECIPE, *files, *size, *short, *asked, "--output_dir", tmp_path)
    assert result.returncode == 0, result.stderr
    record = json.loads((tmp_path / "run.json").read_text())
    assert set(record["metrics"]["test"]) == {"loss", "bits_per_character"}
    generated = record["metrics"]["generated"]
    assert set(generated) == {"tunes", "parsed", "valid", "strictly_valid", "copied", "temperature"}
    assert (generated["tunes"], generated["temperature"]) == (6, 0.3)
    assert generated["valid"] > 0.5
    assert record["baselines"]["training_tunes"]["generated"]["valid"] == 1.0
    written = (tmp_path / "tunes.abc").read_text().split("X:")[1:]
    assert len(written) == 6
    assert all("M:6/8\nL:1/8\nK:Gmaj\n" in tune for tune in written)
    names = {path.name for path in tmp_path.iterdir()}
    assert names >= {"tune-1.abc", "tune-1.mid", "tune-1.wav", "tune-1.png", "learning_curves.png", "run.json"}
    for word in ("warning", "deprecated", "error:", "traceback"):
        assert word not in result.stderr.lower()


def test_a_tune_that_does_not_parse_is_one_line(launch, tmp_path):
    (tmp_path / "a.abc").write_text("X:1\nT:No key\nABc|")
    arguments = ["--train_file", tmp_path / "a.abc", "--validation_file", tmp_path / "a.abc"]
    result = launch.run(RECIPE, *arguments, "--output_dir", tmp_path / "out", launcher=("-q", *launch.one_process))
    assert result.returncode == 1
    assert "is no tune in ABC notation, it has no line K: with a key." in result.stderr
    assert result.stderr.count("\n") == 1, result.stderr
