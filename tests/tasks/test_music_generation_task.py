"""Tunes as rows, and what a model writes, judged."""

import math
import os
import re
import struct

import pytest
from uniform_models import begin, outcome_of, uniform

from seqnlp.data import DataError
from seqnlp.metrics.tune_statistics import STATISTICS
from seqnlp.tasks import music_generation
from seqnlp.tasks.music_generation import MusicGeneration
from seqnlp.tokenization import train_tokenizer


HEAD = "X:1\nT:Réel\nM:6/8\nL:1/8\nK:G\n"
NOTES = "BGG ADD|BdB BAG|BGG ADD|"
TUNE = f"M:6/8\nL:1/8\nK:Gmaj\n{NOTES}\nT:Réel"  # as a model reads and writes it
BROKEN = "M:6/8\nL:1/8\nK:Gmaj\n[[[\nT:No"


@pytest.fixture
def prepared(tmp_path):
    # The test holds the training tune's runs of notes, but not its notes alone; validation has others.
    parts = {"train": NOTES, "validation": "cAF cAF|GAG GED|", "test": NOTES[:-1] + ":|"}
    files = []
    for split, notes in parts.items():
        (tmp_path / f"{split}.abc").write_text(HEAD + notes, encoding="utf-8")
        files += [f"--{split}_file", tmp_path / f"{split}.abc"]
    task, run = begin(MusicGeneration, tmp_path, *files, "--num_tunes", 2, "--num_files", 1, "--max_length", 40)
    loaded = task.load_data(run)
    tokenizer = train_tokenizer(loaded.splits["train"]["text"], **task.model_args.tokenizer_settings())
    return task, run, task.prepare_data(run, loaded, tokenizer)


def test_a_tune_is_a_row_and_its_end_is_told(prepared):
    task, run, data = prepared
    characters = len("M:6/8\nL:1/8\nK:Gmaj\ncAF cAF|GAG GED|\nT:Réel")
    assert data.counts["validation"]["characters"] == characters
    assert data.counts["validation"]["tokens"] == characters + 1  # with </s>
    assert run.record.dataset["training_tunes"] == 1
    evaluator = uniform(task, hidden_size=4, **task.special_tokens(data.processor))
    (found,) = task.evaluate(evaluator, data, ["validation"]).values()
    assert found["loss"] == pytest.approx(math.log(len(data.processor)))


def test_what_is_written_is_kept_and_judged(prepared, monkeypatch):
    task, run, data = prepared
    shown = []
    monkeypatch.setattr(task, "write", lambda evaluator, data: [BROKEN, TUNE] if data.processor else None)
    monkeypatch.setattr(music_generation, "save_tune", lambda tune, path: shown.append((tune.abc, path.name)))
    task.use_model(None, outcome_of(run, data, "test"))
    first = "X:1\nT:No\nM:6/8\nL:1/8\nK:Gmaj\n[[[\n"
    second = f"X:2\nT:Réel\nM:6/8\nL:1/8\nK:Gmaj\n{NOTES}\n"
    assert (run.output_dir / "tunes.abc").read_text(encoding="utf-8") == f"{first}\n{second}"
    assert shown == [(second, "tune-1")]
    assert (run.output_dir / "tune-1.svg").read_text().startswith("<svg")
    scores = run.record.metrics["generated"]
    assert (scores["tunes"], scores["parsed"], scores["valid"]) == (2, 0.5, 0.5)
    assert scores["copied"] == 1.0
    # The one tune that parses is held against the one of the test, which sounds the same.
    assert (scores["compared"], scores["melody"], scores["rhythm"]) == (1, pytest.approx(1), pytest.approx(1))
    assert scores["overlaps"]["intervals"] == pytest.approx(1)
    assert (scores["in_scale"], scores["in_key"]) == (1.0, 1.0)
    assert "in_form" not in scores  # no training tune says its form
    again = task.evaluate(None, data, ["generated"])["generated"]  # beside the tunes of validation
    alike = {"melody", "rhythm", "phrases", "overlaps"}
    assert {key: value for key, value in again.items() if key not in alike} == {
        key: value for key, value in scores.items() if key not in alike
    }
    assert 0 < again["melody"] < 1
    baselines = task.baselines(data, "test")
    known = baselines["training_tunes"]
    assert (known["generated"]["valid"], known["generated"]["melody"]) == (1.0, pytest.approx(1))
    assert known["test"] == {"copied": pytest.approx(12 / 14)}  # two of its 14 runs hold the colon
    assert baselines["held_out_tunes"] == {"generated": {"in_scale": 1.0, "in_key": 1.0}}


def test_valid_tunes_are_kept_first_and_each_score_is_reported_by_its_name(prepared, monkeypatch):
    task, run, data = prepared
    shown = []
    short = "M:6/8\nL:1/8\nK:Gmaj\n" + "cAF|cAF|cAF|cAF|" + "\nT:Short"  # it parses, and no bar fills the metre
    monkeypatch.setattr(task, "write", lambda evaluator, data: [short, TUNE])
    monkeypatch.setattr(
        music_generation, "save_tune", lambda tune, path: shown.append((tune.abc.split("\n")[1], path.name))
    )
    outcome = outcome_of(run, data, "test")
    task.use_model(None, outcome)
    assert shown == [("T:Réel", "tune-1")]
    scores = run.record.metrics["generated"]
    assert (scores["parsed"], scores["valid"]) == (1.0, 0.5)
    line = next(line for line in task.report(outcome).splitlines() if line.startswith("generated: "))
    assert f"{task.score_of('parsed').name} 100.0%" in line
    assert f"{task.score_of('valid').name} 50.0%" in line


def test_the_page_shows_the_tunes_that_this_run_has_kept(prepared):
    task, run, data = prepared
    outcome = outcome_of(run, data, "test")
    assert task.page_parts(outcome) == []
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sI", 13, b"IHDR", 640)
    for number, title in ((1, "old"), (2, "Réel & jig"), (10, "")):
        for suffix, content in (("abc", f"X:1\nT:{title}\n".encode()), ("wav", b"sound"), ("png", png)):
            outcome.file(f"tune-{number}.{suffix}").write_bytes(content)
    outcome.file("tune-10.svg").write_text("<svg/>")
    os.utime(outcome.file("tune-1.abc"), (0, 0))
    head, *parts = task.page_parts(outcome)
    assert head == "<h2>Tunes</h2>"
    page = "".join(parts)
    assert re.findall("<h3>(.*?)</h3>", page) == ["tune-2: Réel &amp; jig", "tune-10"]
    assert re.findall('<img alt="(.*?)"', page) == [
        "Piano roll of tune-2",
        "Sheet music of tune-10",
        "Piano roll of tune-10",
    ]
    assert page.count("data:audio/wav;base64,c291bmQ=") == 2


def test_training_tunes_that_cannot_be_read_are_not_counted_as_compared(prepared):
    task, _, data = prepared
    data.loaded.splits["train"] = data.loaded.splits["train"].add_item({"text": BROKEN})
    known = task.baselines(data, "test")["training_tunes"]["generated"]
    assert (known["tunes"], known["valid"], known["compared"]) == (2, 0.5, 1)


def test_tunes_to_compare_with_come_from_all_over():
    task = MusicGeneration.from_command_line(argv=["--num_tunes", "3"])
    assert task._some(map(str, range(9))) == ["0", "3", "6"]
    assert task._some(["a", "b"]) == ["a", "b"]
    assert len(task._some(map(str, range(250)), at_least=100)) == 100


def test_a_key_without_a_metre_is_refused_before_anything_is_read():
    with pytest.raises(DataError, match="--key D: give --metre too"):
        MusicGeneration.from_command_line(argv=["--key", "D"])
    with pytest.raises(DataError, match="round"):
        MusicGeneration.from_command_line(argv=["--metre", "round"])
    with pytest.raises(DataError, match="'6' is no form of a tune"):
        MusicGeneration.from_command_line(argv=["--form", "6"])
    assert MusicGeneration.from_command_line(argv=["--key", "D", "--metre", "6/8"])
    assert MusicGeneration.from_command_line(argv=["--key", "D", "--form", "reel"])


def test_forms_are_asked_for_and_found(tmp_path):
    jig, reel = "R:Jig\nM:6/8\nK:G\n", "R:Reel\nM:4/4\nK:D\n"
    bars = {jig: "BGG ADD|BdB BAG|", reel: "BGGB ADDA|BdBd BAGF|"}
    files = []
    for split, turns in (("train", "ABCD"), ("validation", "EF"), ("test", "GA")):
        tunes = [f"X:1\nT:{turn}\n{head}{bars[head]}{turn}6|" for head in bars for turn in turns]
        (tmp_path / f"{split}.abc").write_text("\n".join(tunes))
        files += [f"--{split}_file", tmp_path / f"{split}.abc"]
    task, run = begin(MusicGeneration, tmp_path, *files, "--num_tunes", 2, "--form", "reel")
    loaded = task.load_data(run)
    tokenizer = train_tokenizer(loaded.splits["train"]["text"], **task.model_args.tokenizer_settings())
    data = task.prepare_data(run, loaded, tokenizer)
    assert task.prompt(loaded) == "M:4/4\nL:1/8\nK:Dmaj\nR:reel\n"
    written = [f"{task.prompt(loaded)}BGGB ADDA|c8|\nT:A", "M:6/8\nL:1/8\nK:Gmaj\nR:reel\nBGG ADD|c6|\nT:B", TUNE]
    scores, _ = task.judge(written, data, "test")
    assert scores["in_form"] == 0.5  # of the two that say their form, one is a jig
    assert task.baselines(data, "test")["held_out_tunes"]["generated"]["in_form"] == 1.0
    task.generation_args.form = "waltz"
    with pytest.raises(DataError, match="--form waltz: no training tune is one; their forms are "):
        task.prepare_data(run, loaded, tokenizer)
    task.generation_args.num_tunes = 0
    task.prepare_data(run, loaded, tokenizer)


def test_as_many_tunes_are_written_anew_as_the_record_has_shares_of():
    def written_anew(tunes):
        return MusicGeneration.from_record({"metrics": {"generated": {"tunes": tunes}}}).generation_args.num_tunes

    assert [written_anew(tunes) for tunes in (0, 7, 12345)] == [1, 7, 1000]
    default = MusicGeneration.from_command_line(argv=[]).generation_args.num_tunes
    assert MusicGeneration.from_record({}).generation_args.num_tunes == default


def test_a_row_of_the_readme():
    def record(bits, valid):
        return {
            "metrics": {
                "validation": {"bits_per_character": bits},
                "test": {"bits_per_character": bits + 0.1},
                "generated": {"tunes": 100, "valid": valid, "copied": 0.25},
            },
            "baselines": {"training_tunes": {"generated": {"valid": 0.92}, "test": {"copied": 0.3}}},
        }

    row = MusicGeneration.results_row([record(1.5, 0.8)], "test")
    assert list(row.values()) == ["1.500", "1.600 (test)", "80.0 of 100 (92.0)", "25.0 (30.0)"]
    several = MusicGeneration.results_row([record(1.5, 0.8), record(1.7, 0.6)], "test")
    assert several["bits per character"] == "1.700 ± 0.141 (test)"
    assert MusicGeneration.in_short([record(1.5, 0.8), record(1.7, 0.6)], "test") == (
        "valid tunes, %: 70.0 ± 14.1 of 100",
        "92.0 (training tunes)",
    )
    without = {**record(1.5, 0.8), "baselines": {}}
    assert list(MusicGeneration.results_row([without], "test").values())[2:] == ["80.0 of 100", "25.0"]
    assert MusicGeneration.in_short([without], "test") == ("valid tunes, %: 80.0 of 100", "")


def test_what_is_tried_first_is_the_metre_that_tunes_begin_with(prepared):
    task, _, data = prepared
    assert task.trial(data, None) == ["--text", "M:6/8"]


def test_a_report_lists_each_overlap_beside_that_of_training_tunes(prepared):
    task, run, data = prepared
    run.record.metrics = {"generated": {"valid": 0.5, "overlaps": {"intervals": 0.25, "range": 0.5}}}
    run.record.baselines = {"training_tunes": {"generated": {"overlaps": {"intervals": 0.75}}}}
    lines = task.report(outcome_of(run, data, "test")).splitlines()
    rows = [re.split(r" {2,}", line.strip()) for line in lines[lines.index("") + 1 :]]
    assert rows[0] == ["overlap with held-out tunes in", "written", "training tunes"]
    names = {one.key: one.name for one in STATISTICS}
    assert rows[1:] == [[names["intervals"], "25.0%", "75.0%"], [names["range"], "50.0%"]]


def test_histograms_are_drawn_of_the_statistics_that_both_were_compared_by(prepared, monkeypatch):
    task, run, data = prepared
    drawn = []
    monkeypatch.setattr(music_generation, "plot_tune_histograms", lambda *arguments: drawn.append(arguments))
    outcome = outcome_of(run, data, "test")
    melodies = task._held_out(data, "test")
    task._melodies = {"generated": melodies * 2, "test": melodies}
    task.draw(outcome)
    assert drawn == []  # none of the training tunes
    task._melodies["train"] = melodies * 3
    run.record.metrics = {"generated": {"overlaps": {"intervals": 0.25, "range": 0.5}}}
    run.record.baselines = {"training_tunes": {"generated": {"overlaps": {"intervals": 0.75}}}}
    task.draw(outcome)
    ((panels, labels, path, _),) = drawn
    assert [panel.remark for panel in panels] == ["overlap 25%, training 75%"]
    assert labels == ["written (2)", "held out (1)", "training (3)"]
    assert path.parent == run.output_dir
