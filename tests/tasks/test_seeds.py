"""What several seeds say together: by hand; what is refused; the processes that run them."""

import json
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from seqnlp.metrics import Spread, spread_of
from seqnlp.publishing.card import build_card
from seqnlp.publishing.claims import check_claims
from seqnlp.tasks import TASKS
from seqnlp.tasks import seeds as seeds_module
from seqnlp.tasks.reporting.seeds_page import SeedsTables, write_seeds_page
from seqnlp.tasks.seeds import (
    SETTINGS,
    SeedRuns,
    contradiction,
    described_seeds,
    gather,
    headers_of,
    rows_of,
    run_seeds,
    spread_in,
    tables_of,
)
from seqnlp.training import ArgumentsError, threads
from seqnlp.training.flags import without_flags
from seqnlp.training.run import RunElsewhere
from seqnlp.training.started_runs import Team, finished_record, flags_to_go_on, run_script


SENTIMENT = TASKS["sentiment_analysis"]


def record_of(seed, accuracy, kept, **changes):
    """The record of a finished run."""
    return {
        "task": "sentiment_analysis",
        "seed": seed,
        "command": f"recipes/sentiment_analysis.py --seed={seed}",
        "hyperparameters": {"architecture": "lstm", "seed": seed, "metric_for_best_model": "accuracy"}
        | {"greater_is_better": True},
        "dataset": {"name": "<local:films>", "splits": {"test": {"rows": 40, "fingerprint": "a"}}},
        "model": {
            "class": "RecurrentForSequenceClassification",
            "parameters": 9,
            "config": {},
            "sha256": f"hash{seed}",
        },
        "metrics": {
            "validation": {"accuracy": kept, "loss": 0.5},
            "test": {"accuracy": accuracy, "loss": 0.25 * seed, "signatures": {"accuracy": "x"}, "ok": True},
        },
        "baselines": {"tfidf": {"test": {"accuracy": 0.625}}},
        "history": [{"step": 1, "epoch": 1.0, "validation_accuracy": kept}],
        "kept": {"step": 1, "epoch": 1.0, "metric": "accuracy", "value": kept},
        "seconds": {"training": 10.0 * seed},
        "versions": {"seqnlp": "1"},
        "hardware": {"cpu": "c", "cpu_cores": 2},
        **changes,
    }


@pytest.fixture
def three():
    return {1: record_of(1, 0.8, 0.70), 2: record_of(2, 0.9, 0.75), 3: record_of(3, 0.7, 0.65)}


def test_mean_and_deviation_by_hand():
    # 2, 4, 4, 4, 5, 5, 7, 9: mean 5, squares of the distances 32, divided by 7.
    assert spread_of([2, 4, 4, 4, 5, 5, 7, 9]) == Spread(5, pytest.approx(math.sqrt(32 / 7)))
    assert spread_of([3.5]) == Spread(3.5, None)
    score = SENTIMENT.score_of("accuracy")
    assert score.shown_spread(spread_of([0.8, 0.9])) == "85.0% ± 7.1%"
    assert score.shown_spread(spread_of([0.8])) == "80.0%"


def test_the_best_on_validation_is_chosen_and_every_number_has_mean_and_deviation(three):
    record = gather(SENTIMENT, three, "recipes/sentiment_analysis.py --seeds 1,2,3")
    assert record["seeds"]["chosen"] == 2  # the best on validation; here on the test as well
    assert record["model"]["sha256"] == "hash2"
    assert record["command"].endswith("--seeds 1,2,3")
    # 0.8, 0.9, 0.7: mean 0.8, deviation 0.1; of the loss 0.25, 0.5, 0.75.
    assert record["seeds"]["metrics"]["test"]["accuracy"] == {
        "mean": pytest.approx(0.8),
        "deviation": pytest.approx(0.1),
    }
    assert spread_in(record, "test", "loss") == Spread(pytest.approx(0.5), pytest.approx(0.25))
    assert set(record["seeds"]["metrics"]["test"]) == {"accuracy", "loss"}  # neither a text nor true is a number
    assert contradiction(record) is None
    rows = rows_of(SENTIMENT, record)
    assert ["Accuracy", "test", "80.0% ± 10.0%", "80.0%", "90.0%", "70.0%"] in rows
    assert headers_of(record)[-3:] == ["seed 1", "seed 2", "seed 3"]
    assert described_seeds(SENTIMENT, record) == (
        "3 seeds (1, 2, 3): mean ± standard deviation. The model is that of seed 2, whose validation accuracy is the "
        "highest, 75.0%."
    )


@pytest.mark.parametrize("more", [(), ("f1", "macro_f1")])
def test_people_read_at_most_seven_columns_however_many_seeds_there_are(more, tmp_path):
    records = {}
    for seed in range(1, 9):
        records[seed] = record_of(seed, 0.8 + seed / 100, 0.7)
        for values in records[seed]["metrics"].values():
            values.update(dict.fromkeys(more, 0.8 + seed / 100))
    record = gather(SENTIMENT, records, "recipes/sentiment_analysis.py --seeds 1,2,3,4,5,6,7,8")
    tables = tables_of(SENTIMENT, record)
    for table in tables:
        assert {len(row) for row in table.rows} == {len(table.headers)}
        assert len(table.headers) <= 7
    if not more:  # four rows, which fit beside each other
        (table,) = tables
        assert [row[0] for row in table.rows] == ["mean ± deviation", *(f"seed {seed}" for seed in range(1, 9))]
        assert table.rows[8][table.headers.index("Accuracy, test")] == "88.0%"
    else:
        assert [table.headers[:2] for table in tables] == [["score", "split"]] * 2
        seeds = [f"seed {seed}" for seed in range(1, 9)]
        assert [name for table in tables for name in table.headers[2:]] == ["mean ± deviation", *seeds]
    card = [line for line in build_card(record, "alice/films").splitlines() if line.startswith("|")]
    assert sum("mean ± deviation" in line for line in card) == 1
    assert all(line.count("|") <= 8 for line in card)
    write_seeds_page(SENTIMENT, record, records, tmp_path, SeedsTables("", tables), "")
    page = (tmp_path / "report.html").read_text()
    assert max(row.count('scope="col"') for row in page.split("<tr>")) <= 7
    assert page.count(">seed 8<") == 2  # in the table, and as a link


def test_where_weights_were_averaged_the_validation_of_those_that_were_kept_counts(three):
    three[1]["kept"] |= {"value": 0.99, "average_of": 5}  # of one step; the mean of five has 0.70 after training
    record = gather(SENTIMENT, three, "command")
    assert record["seeds"]["chosen"] == 2
    assert [run["kept"] for run in record["seeds"]["runs"]] == [0.70, 0.75, 0.65]
    assert "seed 2, whose validation accuracy is the highest, 75.0%" in described_seeds(SENTIMENT, record)


def test_less_may_be_better_and_what_a_run_lacks_is_told(three):
    for seed, value in ((1, 0.3), (2, 0.2), (3, 0.4)):
        three[seed]["kept"] = {"metric": "loss", "value": value, "step": 1, "epoch": 1.0}
        three[seed]["metrics"]["validation"]["loss"] = value
        three[seed]["hyperparameters"]["greater_is_better"] = False
    three[3]["metrics"]["test"]["loss"] = None  # as JSON has what is no number
    record = gather(SENTIMENT, three, "c")
    assert record["seeds"]["chosen"] == 2
    assert record["seeds"]["left_out"] == ["test loss"]
    assert described_seeds(SENTIMENT, record).endswith(
        "the lowest, 0.200. Not every seed has a number of test loss: left out."
    )
    for one in three.values():
        one["kept"] = {}
    assert "No validation could choose: the model is that of the first seed, 1." in described_seeds(
        SENTIMENT, gather(SENTIMENT, three, "c")
    )


def test_runs_of_other_data_are_not_gathered(three):
    three[3]["dataset"] = {"name": "<local:films>", "splits": {"test": {"rows": 41, "fingerprint": "b"}}}
    with pytest.raises(ArgumentsError, match="--seeds 1,2,3: their runs have read different data"):
        gather(SENTIMENT, three, "c")


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("base_model", "weights to start from"),
        ("embeddings", "word vectors"),
        ("teacher", "answers of a teacher"),
    ],
)
def test_nor_are_those_that_began_with_something_else_of_the_same_name(three, name, what):
    for seed, record in three.items():
        record[name] = {"name": "<local:m>", "sha256": "ab"[seed == 3]}
    with pytest.raises(ArgumentsError, match=f"--seeds 1,2,3: their runs have read different {what}"):
        gather(SENTIMENT, three, "c")
    three[3][name]["sha256"] = "a"
    assert gather(SENTIMENT, three, "c")["seeds"]["chosen"] == 2


def test_the_card_shows_them_and_verify_does_the_sum_again(three, tmp_path):
    record = gather(SENTIMENT, three, "recipes/sentiment_analysis.py --seeds 1,2,3")
    card = build_card(record, "alice/films")
    assert "### Over the seeds" in card
    assert "80.0% ± 10.0%" in card
    assert "seqnlp train sentiment_analysis --seeds 1,2,3" in card
    (tmp_path / "README.md").write_text(card)
    (tmp_path / "run.json").write_text(json.dumps(record))
    name = "mean and deviation over the seeds"
    outcomes = {check.name: check.outcome for check in check_claims(tmp_path, None, loaded=False)}
    assert outcomes[name] == "passed"
    assert outcomes["the card says what run.json says"] == "passed"
    for change in ({"mean": 0.9, "deviation": 0.1}, {"mean": 0.8, "deviation": 0.01}):
        wrong = json.loads(json.dumps(record))
        wrong["seeds"]["metrics"]["test"]["accuracy"] = change
        (tmp_path / "run.json").write_text(json.dumps(wrong))
        assert {check.name: check.outcome for check in check_claims(tmp_path, None, loaded=False)}[name] == "failed"
    other = {**three[1], "seeds": {**record["seeds"], "chosen": 1}}
    assert contradiction(other) == "another seed has a better validation than 1, which was chosen"
    least = {**three[3], "hyperparameters": {"greater_is_better": False}}
    assert contradiction({**least, "seeds": {**record["seeds"], "chosen": 3}}) is None
    record["metrics"]["test"]["accuracy"] = 0.95
    assert "not those of the seed 2" in contradiction(record)
    record["seeds"]["chosen"] = 4
    assert "not those of the seed 4" in contradiction(record)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--seeds", "1,2", "--seed", "3"], "--seeds and --seed exclude each other: give one of them"),
        (["--seeds", "1"], "--seeds 1: list at least two, each once"),
        (["--seeds", "1,1"], "--seeds 1,1: list at least two, each once"),
        (["--seeds", ""], "--seeds is empty: give it a value, or leave it out"),
        (["--seeds", "1,,2"], "'' is no seed"),
        (["--seeds", "1,x"], "--seeds 1,x: 'x' is no seed; each must be a number at least 0 and below 4294967296"),
        (["--seeds", "1,4294967296"], "'4294967296' is no seed"),
        (["--seeds", "1,2", "--push_to_hub"], "--push_to_hub publishes one run, and --seeds makes several"),
        (["--seeds", "1,2", "--resume_from_checkpoint", "x"], "with --seeds each run goes on from its own"),
        (["--seeds", "1,2", "--validation_log", "x"], "--validation_log x is one run's, and --seeds makes several"),
    ],
)
def test_what_does_not_fit_is_one_line(argv, message):
    with pytest.raises(ArgumentsError, match=message) as raised:
        SENTIMENT.from_command_line(argv=argv)
    assert "\n" not in str(raised.value)


def test_of_a_yaml_and_the_command_line_the_latter_counts(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("seeds: [1, 2]\n")
    config = ["--config", str(file)]
    assert SENTIMENT.from_command_line(argv=config).training_args.each_seed == [1, 2]
    single = SENTIMENT.from_command_line(argv=[*config, "--seed=7"]).training_args
    assert (single.seed, single.each_seed) == (7, [])
    file.write_text("seed: 5\n")
    assert SENTIMENT.from_command_line(argv=[*config, "--seeds", "3, 4"]).training_args.each_seed == [3, 4]
    file.write_text("seed: 5\nseeds: 1,2\n")
    with pytest.raises(ArgumentsError, match=r"--seeds and --seed exclude each other \(in .*a.yaml\)"):
        SENTIMENT.from_command_line(argv=config)


def test_flags_are_left_out_of_a_command_however_they_are_spelled():
    words = [
        "--seeds",
        "1,2",
        "--lr=1",
        "--output-dir",
        "x",
        "--columns",
        "a",
        "b",
        "--overwrite_output_dir",
        "--y",
        "-1",
    ]
    names = ("seeds", "output_dir", "overwrite_output_dir")
    assert without_flags(words, names) == ["--lr=1", "--columns", "a", "b", "--y", "-1"]


class Started:
    """Stands in the place of the processes: writes what a run leaves."""

    def __init__(self, fails_at=None, stopped=()):
        self.words, self.fails_at, self.stopped = [], fails_at, stopped

    def __call__(self, words, environment, name):
        self.words.append(words)
        given = dict(word.lstrip("-").split("=", 1) for word in words if "=" in word)
        seed, folder = int(given["seed"]), given["output_dir"]
        if seed == self.fails_at:
            raise KeyboardInterrupt
        os.makedirs(folder)
        stopped = {"reason": "max_train_minutes"} if seed in self.stopped else None
        record = record_of(seed, 0.5 + seed / 10, 0.5 + seed / 10, stopped=stopped)
        task = SENTIMENT.from_command_line(argv=["--learning_rate", given.get("learning_rate", "0.5")])
        record["hyperparameters"] |= SeedRuns(task, None)._settings()
        with open(f"{folder}/run.json", "w") as file:
            json.dump(record, file)
        for name in ("model.safetensors", "report.html"):
            with open(f"{folder}/{name}", "w") as file:
                file.write(f"of seed {seed}")


@pytest.fixture
def seeds(tmp_path, monkeypatch):
    """Ask for seeds; gives what was started."""

    def ask(*flags, **ends):
        argv = ["--output_dir", str(tmp_path / "out"), "--learning_rate", "0.5", *flags]
        monkeypatch.setattr("sys.argv", ["recipes/sentiment_analysis.py", *argv])
        started = Started(**ends)
        monkeypatch.setattr("seqnlp.tasks.seeds.run_script", started)
        task = SENTIMENT.from_command_line()
        SeedRuns(task, tmp_path / "out").run()
        return started.words

    return ask


def test_seeds_lie_in_the_folder_that_is_given_or_in_that_of_recipe_and_architecture(monkeypatch):
    asked = []
    monkeypatch.setattr(
        seeds_module, "SeedRuns", lambda task, folder: SimpleNamespace(run=lambda: asked.append((task, folder)))
    )
    argv = ["--seeds", "1,2"]
    tasks = [SENTIMENT.from_command_line(argv=[*argv, *more]) for more in ((), ("--output_dir", "elsewhere"))]
    for task in tasks:
        with pytest.raises(RunElsewhere):
            run_seeds(task, "gru")
    folders = [Path("outputs/sentiment_analysis-gru"), Path("elsewhere")]
    assert asked == list(zip(tasks, folders, strict=True))


def test_resuming_runs_the_missing_seeds_alone_and_the_folder_becomes_that_of_the_chosen(seeds, tmp_path, capsys):
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        seeds("--seeds", "4,2,3", fails_at=2)
    assert not (out / "run.json").exists()
    with pytest.raises(ArgumentsError, match="holds runs of several seeds: continue them by --resume_from_checkpoint"):
        seeds("--seeds", "4,2,3")
    words = seeds("--seeds", "4,2,3", "--resume_from_checkpoint", "latest")
    assert [[word for word in line if word.startswith("--seed")] for line in words] == [["--seed=2"], ["--seed=3"]]
    assert "Seed 4 is finished" in capsys.readouterr().out
    record = json.loads((out / "run.json").read_text())
    assert record["seeds"]["chosen"] == 4
    # 0.9, 0.7 and 0.8
    assert record["seeds"]["metrics"]["test"]["accuracy"]["mean"] == pytest.approx(0.8)
    assert record["seeds"]["metrics"]["test"]["accuracy"]["deviation"] == pytest.approx(0.1)
    assert (out / "model.safetensors").read_text() == "of seed 4"
    page = (out / "report.html").read_text()
    assert "<h1>Sentiment classification of texts, lstm: Accuracy 80.0% ± 10.0% on test, 3 seeds</h1>" in page
    assert 'href="seed-2/report.html"' in page
    assert "<td>tfidf</td><td>test</td><td>62.5%</td>" in page
    # One more is trained alone, and the model is chosen anew.
    assert len(seeds("--seeds", "4,2,3,5", "--resume_from_checkpoint", "latest")) == 1
    assert (out / "model.safetensors").read_text() == "of seed 5"
    with pytest.raises(ArgumentsError, match=r"--learning_rate 0.25: what lies in .*out was begun with 0.5. Give the"):
        seeds("--seeds", "4,2", "--resume_from_checkpoint", "latest", "--learning_rate", "0.25")


def test_what_an_overwritten_choice_left_does_not_lie_beside_the_next_one(seeds, tmp_path):
    out = tmp_path / "out"
    seeds("--seeds", "4,2")
    for folder in (out, out / "seed-4"):
        (folder / "vocab.txt").write_text("of a tokenizer that is no more")
        (folder / "adapter").mkdir()
    (out / "notes.txt").write_text("mine")
    seeds("--seeds", "1,3", "--overwrite_output_dir")
    assert not (out / "vocab.txt").exists()
    assert not (out / "adapter").exists()
    assert (out / "notes.txt").read_text() == "mine"
    assert (out / "model.safetensors").read_text() == "of seed 3"


def test_a_folder_may_be_overwritten_that_is_not_there_yet(seeds, tmp_path):
    assert len(seeds("--seeds", "4,2", "--overwrite_output_dir")) == 2
    assert json.loads((tmp_path / "out" / "run.json").read_text())["seeds"]["chosen"] == 4


@pytest.mark.parametrize(("stopped", "named"), [([2], "Seed 2 came"), ([4, 3], "Seeds 4, 3 came")])
def test_nothing_is_gathered_before_each_seed_has_come_to_its_end(stopped, named, seeds, tmp_path, capsys):
    assert len(seeds("--seeds", "4,2,3", stopped=stopped)) == 3
    assert f"{named} to no planned end, so nothing is gathered. Next: the same command" in capsys.readouterr().out
    assert not (tmp_path / "out" / "run.json").exists()


def test_a_folder_that_holds_something_else_is_not_taken(seeds, tmp_path):
    with pytest.raises(ArgumentsError, match=r"holds no runs of several seeds\. Leave the flag out"):
        seeds("--seeds", "1,2", "--resume_from_checkpoint", "latest")
    (tmp_path / "out" / "run.json").write_text("{}")
    with pytest.raises(ArgumentsError, match="holds a finished model"):
        seeds("--seeds", "1,2")
    assert not (tmp_path / "out" / SETTINGS).exists()


def test_what_lies_in_a_folder_says_how_to_go_on(tmp_path):
    assert flags_to_go_on(tmp_path) == ["--overwrite_output_dir=true"]
    (tmp_path / "run.json").write_text(json.dumps({"stopped": {"reason": "max_train_minutes"}}))
    assert finished_record(tmp_path) is None
    (tmp_path / "run.json").write_text(json.dumps({"stopped": None}))
    assert finished_record(tmp_path) == {"stopped": None}


def test_several_processes_do_what_the_first_decides_each_run_at_a_port_of_its_own():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "HOME": "/"}
    seen = {0: [], 1: []}

    def work(rank):
        team = Team({**common, "RANK": str(rank)})
        for number in range(2):
            seen[rank].append(team.agree(lambda number=number: {"seed": number, "by": rank}))
            seen[rank].append(team.environment()["MASTER_PORT"])
        team.part()

    both = [threading.Thread(target=work, args=(rank,)) for rank in (0, 1)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join(60)
    assert seen[0] == seen[1]
    assert seen[0][0::2] == [{"seed": 0, "by": 0}, {"seed": 1, "by": 0}]
    assert str(port) not in seen[0]
    assert "MASTER_PORT" not in Team({}).environment()


@pytest.fixture
def script(tmp_path, monkeypatch):
    """Start a script of these lines as the run of a seed."""

    def start(*lines):
        (tmp_path / "script.py").write_text("\n".join(["import os, signal, sys, time", *lines]))
        monkeypatch.setattr("sys.argv", [str(tmp_path / "script.py"), "--seeds", "1,2"])
        run_script(["--seed=1"], Team({**os.environ}).environment(), "the run of seed 1")

    return start


def test_a_run_that_fails_ends_all_with_its_code_and_one_that_is_killed_is_named(script, tmp_path, capfd):
    script(f"open({str(tmp_path / 'words')!r}, 'w').write(' '.join(sys.argv[1:]))")
    assert (tmp_path / "words").read_text() == "--seed=1"
    with pytest.raises(RunElsewhere) as failed:
        script("sys.exit(3)")
    assert failed.value.code == 3
    with pytest.raises(RunElsewhere) as killed:
        script("os.kill(os.getpid(), signal.SIGKILL)")
    assert killed.value.code == 128 + signal.SIGKILL
    assert capfd.readouterr().err == (
        "error: the run of seed 1 was ended by SIGKILL; perhaps by the system, for lack of memory. Go on by the same "
        "command and --resume_from_checkpoint latest.\n"
    )


def test_a_signal_is_handed_on_and_the_end_of_the_run_is_waited_for(script, tmp_path):
    def tell():
        while not (tmp_path / "ready").exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=tell, daemon=True).start()
    with pytest.raises(RunElsewhere) as ended:
        script(
            "def end(number, frame):",
            "    time.sleep(0.3)",
            f"    open({str(tmp_path / 'written')!r}, 'w').close()",
            "    sys.exit(128 + number)",
            "signal.signal(signal.SIGTERM, end)",
            f"open({str(tmp_path / 'ready')!r}, 'w').close()",
            "time.sleep(60)",
        )
    assert ended.value.code == 128 + signal.SIGTERM
    assert (tmp_path / "written").exists()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_threads_are_those_that_the_user_has_exported_to_the_launcher_of_all(monkeypatch):
    """A launcher sets OMP_NUM_THREADS for its processes where nobody has: its own environment tells."""
    lines = [
        "import os, subprocess, sys",
        "from seqnlp.training.threads import STARTER, exported_threads",
        "depth = int(sys.argv[1])",
        "environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'ACCELERATE_MIXED_PRECISION': 'no'}",
        "environment |= {STARTER: str(os.getpid())} if depth == 1 else {}",
        "sys.exit(print(exported_threads())) if depth == 0 else subprocess.run([sys.executable, '-c', "
        "sys.argv[2], str(depth - 1), sys.argv[2]], env=environment)",
    ]
    code = "\n".join(lines)
    # Launcher, process of the launch that runs several seeds, run of one.
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    code = code.replace("from seqnlp.training.threads import STARTER, exported_threads", LOADED)
    result = subprocess.run([sys.executable, "-c", code, "2", code], capture_output=True, text=True)
    assert result.stdout == "7\n", result.stderr


LOADED = f"""
import importlib.util
spec = importlib.util.spec_from_file_location("threads", {threads.__file__!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
STARTER, exported_threads = module.STARTER, module.exported_threads
""".strip()
"""Without the seconds that importing all of seqnlp takes."""
