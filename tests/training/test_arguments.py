import re
from dataclasses import dataclass

import pytest

from seqnlp import RecurrentConfig
from seqnlp.data import DataArguments, PairArguments
from seqnlp.tasks import TextModelArguments
from seqnlp.tasks.sentiment_analysis import SentimentAnalysis
from seqnlp.training import ArgumentsError, TrainingArguments, build_config, parse_arguments
from seqnlp.training.arguments import ONE_RUN_FLAGS
from seqnlp.training.flags import (
    GROUPS,
    Range,
    check_values,
    command_of,
    fields_of,
    flag,
    flag_as_in,
    flags_with,
    public_value,
    role_of,
)


def parse(*argv):
    return parse_arguments(
        DataArguments, TextModelArguments, TrainingArguments, recipe="sentiment_analysis", argv=[*argv]
    )


@pytest.fixture
def yaml_file(tmp_path):
    def write(text):
        path = tmp_path / "run.yaml"
        path.write_text(text)
        return str(path)

    return write


def test_flags_win_over_yaml_which_wins_over_defaults(yaml_file):
    path = yaml_file(
        "recipe: sentiment_analysis\nlearning_rate: 1e-3\nseed: 7\narchitecture: gru\nlowercase: false\n"
        "max_grad_norm: 0\n"
        "warmup_ratio: null\nconfig_overrides: {hidden_size: 64, pooling: max}\n"
    )
    data, model, training = parse("--seed", "9", "--config", path)
    assert (training.learning_rate, training.seed, training.max_grad_norm) == (1e-3, 9, 0)
    assert training.warmup_ratio == TrainingArguments().warmup_ratio
    assert (model.architecture, model.lowercase) == ("gru", False)
    assert model.config_overrides == "hidden_size=64,pooling=max"
    assert data == DataArguments()
    assert parse(f"--config={path}")[2].seed == 7


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--train_file", "caf\udce9.csv"], r"A word of the command is no text at 'caf\\xe9.csv', which .* in UTF-8"),
        (["--caf\udce9", "1"], r"A word of the command is no text at '--caf\\xe9', which "),
        (["--learnin_rate", "1"], r"There is no flag --learnin_rate .did you mean --learning_rate\?"),
        (["--learn", "1"], "There is no flag --learn"),  # no abbreviations: they change meaning as flags are added
        (["stray"], "'stray' belongs to no flag"),
        (["--learning_rate", "fast"], "argument --learning_rate.*invalid float value: 'fast'"),
        (["--architecture", "lsmt"], "argument --architecture.*invalid choice: 'lsmt'"),
        (["--num_train_epochs", "0"], "--num_train_epochs 0.0 must be at least 1e-06"),
        (["--adam_beta1", "1.5"], "--adam_beta1 1.5 must be at least 0 and below 1"),
        (["--seed", "-1"], "--seed -1 must be at least 0 and below 4294967296"),
        (["--max_grad_norm", "-1"], "--max_grad_norm -1.0 must be at least 0"),
        (["--learning_rate", "nan"], "--learning_rate nan must be above 0"),
        (["--learning_rate", "inf"], "--learning_rate inf must be above 0"),
        (["--num_threads", "0"], "--num_threads 0 must be at least 1 and at most 1024"),
        (["--eval_steps", "0"], "--eval_steps 0 must be at least 1"),
        (["--max_train_steps", "0"], "--max_train_steps 0 must be at least 1"),
        (["--max_length", "0"], "--max_length 0 must be at least 2"),
        (["--vocab_size", "1000000000"], "--vocab_size 1000000000 must be at least 5 and at most 10000000"),
        (["--max_train_samples", "0"], "--max_train_samples 0 must be at least 1"),
        (
            ["--checkpointing_steps", "often"],
            "--checkpointing_steps often must be a number of steps or the word epoch",
        ),
        (["--warmup_ratio", "2"], "--warmup_ratio 2.0 must be at least 0 and below 1"),
        (["--hub_model_id", "a/b"], "does nothing without --push_to_hub"),
        (["--create_pr"], "--create_pr True does nothing without --push_to_hub"),
        (["--push_to_hub", "--hub_model_id", "../x"], "--hub_model_id cannot be the name of a model"),
        (["--push_to_hub", "--create_pr", "--hub_revision", "trial"], "leave out --hub_revision trial"),
        (["--optimizer=--"], "--optimizer --: two dashes are no value of a flag"),
        (["--config"], "--config needs the name of a YAML file"),
        (["--config", "no.yaml"], "--config no.yaml cannot be read: No such file"),
    ],
)
def test_what_does_not_fit_is_named(argv, message):
    with pytest.raises(ArgumentsError, match=message) as raised:
        parse(*argv)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lerning_rate: 1", r"run.yaml: there is no argument 'lerning_rate' .did you mean learning_rate\?"),
        ("seed: many", r"argument --seed: invalid int value: 'many' \(in .*run.yaml\)"),
        ("recipe: translation", r"run.yaml is for recipes/translation.py; this is sentiment_analysis"),
        ("- seed", "must be a list of `key: value` lines, and holds a list"),
        ("seed: [", "is not YAML"),
        ("warmup_ratio: 2", r"run.yaml: --warmup_ratio 2.0 must be at least 0 and below 1"),
        ("requires: [dataset_name]", "requires must map flags to what each asks for"),
    ],
)
def test_what_does_not_fit_in_a_yaml_is_named_with_the_file(yaml_file, text, message):
    with pytest.raises(ArgumentsError, match=message) as raised:
        parse("--config", yaml_file(text))
    assert "\n" not in str(raised.value)


def test_a_wrong_flag_is_not_blamed_on_the_yaml(yaml_file):
    with pytest.raises(ArgumentsError) as raised:
        parse("--config", yaml_file("seed: 1"), "--seed", "x")
    assert "run.yaml" not in str(raised.value)


def test_parsing_leaves_what_is_known_of_a_flag():
    before = {name: (field.type, dict(field.metadata)) for name, field in fields_of(DataArguments).items()}
    parse("--max_train_samples", "3")
    after = {name: (field.type, dict(field.metadata)) for name, field in fields_of(DataArguments).items()}
    assert after == before
    assert after["max_train_samples"][1]["range"] == "[1, inf)"


def test_a_flag_once_more_is_as_it_was_but_for_what_is_changed():
    @dataclass
    class First:
        size: int = flag(3, "How large.", "model", "[1, 9]", fixed_by="model")
        name: str | None = flag(None, "Its name.", "upload", of_one_run=True)

    @dataclass
    class Second(First):
        size: int = flag_as_in(First, "size", default=5, help="How wide.")

    fields = fields_of(Second)
    assert fields["size"].default == Second().size == 5
    assert fields["size"].metadata == {"help": "How wide.", "role": "model", "range": "[1, 9]", "fixed_by": "model"}
    assert fields_of(First)["size"].metadata["help"] == "How large."
    assert flags_with(Second, role="model") == ("size",)
    assert flags_with(Second, role="upload", of_one_run=True) == ("name",)
    assert flags_with(Second, role="upload", fixed_by="model") == ()


def test_what_each_of_several_runs_has_of_its_own():
    assert set(ONE_RUN_FLAGS) == {"output_dir", "overwrite_output_dir", "seed", "seeds", "resume_from_checkpoint"}


def test_seeds_are_whole_numbers_however_they_are_written():
    assert TrainingArguments(seeds=" 1, 02,3").seeds == "1,2,3"


def test_help_lists_every_flag_with_its_default(capsys):
    with pytest.raises(SystemExit) as raised:
        parse("--help")
    assert raised.value.code == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "Highest learning rate. adamw: about how far each weight moves in a step; " in printed
    assert "10 % of the training data" in printed
    assert "--config FILE.yaml" in printed


def test_help_groups_the_flags_by_their_roles(capsys):
    with pytest.raises(SystemExit):
        parse("--help")
    printed = capsys.readouterr().out
    assert printed.startswith("usage:")
    assert printed.count("[--") == 2  # no list of all flags in the first line
    fields = fields_of(DataArguments, TextModelArguments, TrainingArguments)
    used = {field.metadata["role"] for field in fields.values()}
    groups = {heading: roles for heading, roles in GROUPS.items() if used & set(roles)}
    headings = [f"\n{heading}:\n" for heading in groups]
    assert sorted(map(printed.index, headings)) == list(map(printed.index, headings))
    parts = dict(zip(groups, re.split("|".join(map(re.escape, headings)), printed)[1:], strict=True))
    for heading, roles in groups.items():
        listed = re.findall(r"^  --(\w+)", parts[heading], re.MULTILINE)
        assert set(listed) - set(fields) <= {"no_lowercase", "no_evaluate_test"}
        assert {name for name in fields if fields[name].metadata["role"] in roles} == set(listed) & set(fields)


def test_help_says_what_a_recipe_sets_and_what_turns_a_flag_off(capsys):
    with pytest.raises(SystemExit):
        SentimentAnalysis.from_command_line(argv=["--help"], learning_rate=0.125, architecture="gru")
    printed = " ".join(capsys.readouterr().out.split())
    assert re.search(r"Highest learning rate\. [^()]*\(default: 0\.125\)", printed)
    assert "The kind of model. (default: gru, or as a given model has it)" in printed
    assert "--lowercase [true|false] Lower-case the text. (default: True, or as a given tokenizer has it)" in printed
    assert "--no_lowercase The same as --lowercase false." in printed
    assert "--greater_is_better true|false" in printed
    assert printed.endswith(f"Example: seqnlp train sentiment_analysis {SentimentAnalysis.example_flags}")


def test_config_overrides():
    config = build_config(
        RecurrentConfig,
        "hidden_size=64, dropout=1e-1,tie_word_embeddings=true,pooling=max",
        hidden_size=8,
        vocab_size=9,
    )
    assert (config.hidden_size, config.dropout, config.tie_word_embeddings, config.pooling) == (64, 0.1, True, "max")
    assert config.vocab_size == 9


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("hiden_size=3", r"RecurrentConfig has no field 'hiden_size' \(did you mean hidden_size\?\)"),
        ("hidden_size", "'hidden_size' must be name=value"),
        ("hidden_size=3=4", "^(?!.*has no field)"),  # the name ends at the first sign
        ("hidden_size=big", "hidden_size"),
        ("cell_type=rnn", "cell_type"),
        ("dropout=1.5", "dropout=1.5 must be at least 0 and below 1"),
    ],
)
def test_wrong_config_overrides(overrides, message):
    with pytest.raises(ArgumentsError, match=message) as raised:
        build_config(RecurrentConfig, overrides)
    assert "\n" not in str(raised.value)
    assert overrides in str(raised.value)


def test_no_path_of_the_machine_is_published(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reviews").mkdir()
    (tmp_path / "clients").mkdir()
    (tmp_path / "clients" / "train.de").touch()
    fields = fields_of(PairArguments, TrainingArguments)
    assert public_value(f"{tmp_path.parent}/elsewhere/data") == "<local:data>"
    assert public_value("../data") == "<local:data>"
    assert public_value("~/data") == "<local:data>"
    assert public_value("~ once upon a time") == "~ once upon a time"  # a prompt, and nobody's home
    assert public_value(f"{tmp_path}/recipes/x.yaml") == "recipes/x.yaml"
    assert public_value("stanfordnlp/sst2", fields["dataset_name"]) == "stanfordnlp/sst2"
    assert public_value("reviews", fields["dataset_name"]) == "<local:reviews>"
    assert public_value("clients/train.de", fields["train_target_file"]) == "<local:train.de>"
    assert public_value(3) == 3
    argv = [f"{tmp_path}/recipes/r.py", "--dataset_name", "reviews", "--output_dir=/somewhere/out", "--seed", "1"]
    expected = "recipes/r.py --dataset_name '<local:reviews>' '--output_dir=<local:out>' --seed 1"
    assert command_of(argv, fields) == expected
    assert command_of(["r.py", "--train-target-file=clients/train.de"], fields) == (
        "r.py '--train-target-file=<local:train.de>'"
    )


def test_a_path_that_begins_with_a_tilde_is_below_the_home_folder(tmp_path, monkeypatch):
    """Which no shell says of a YAML, nor of `--output_dir=~/x`: a folder of the name ~ would be made."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "run.yaml").write_text("output_dir: ~/runs/a\ninit_embeddings: ~/words.vec\ntext_column: ~/no path\n")
    data, model, training = parse("--config=~/run.yaml", "--validation_log", "~/log.jsonl")
    assert (training.output_dir, training.validation_log) == (f"{tmp_path}/runs/a", f"{tmp_path}/log.jsonl")
    assert (model.init_embeddings, data.text_column) == (f"{tmp_path}/words.vec", "~/no path")
    assert parse("--config", "~/run.yaml", "--output_dir=~")[2].output_dir == str(tmp_path)
    assert parse("--resume_from_checkpoint=~/c")[2].resume_from_checkpoint == f"{tmp_path}/c"
    assert parse("--output_dir", "~nobody-of-this-name/a")[2].output_dir == "~nobody-of-this-name/a"
    assert TrainingArguments(output_dir="~/runs/b").output_dir == f"{tmp_path}/runs/b"


def test_a_config_stops_where_a_flag_that_it_leaves_to_the_user_is_missing(yaml_file):
    path = yaml_file("recipe: sentiment_analysis\nrequires: {dataset_name or train_file: a folder with two columns}\n")
    with pytest.raises(ArgumentsError, match="leaves a flag to you: add --dataset_name a folder with two columns"):
        parse("--config", path)
    assert parse("--config", path, "--dataset_name", "a")[0].dataset_name == "a"
    assert parse("--config", path, "--train_file=a.csv")[0].train_file == "a.csv"


def test_a_value_of_a_yaml_is_what_it_says(yaml_file):
    data, model, training = parse(
        "--config",
        yaml_file("dataset_name: no\ntext_column: 5.10\nlabel_column: 2021-01-01\nseed: 010\nlowercase: off\n"),
    )
    assert (data.dataset_name, data.text_column, data.label_column) == ("no", "5.10", "2021-01-01")
    assert (training.seed, model.lowercase) == (10, False)
    with pytest.raises(ArgumentsError, match="is not YAML: 'seed' stands there twice"):
        parse("--config", yaml_file("seed: 1\nlearning_rate: 0.1\nseed: 2\n"))
    # Of a list in a list each line would be nine times as long as the one before.
    nested = ["a: &a [x, x]"] + [
        f"{here}: &{here} [{', '.join([f'*{before}'] * 9)}]"
        for before, here in zip("abcdefgh", "bcdefghi", strict=True)
    ]
    with pytest.raises(ArgumentsError, match="is not YAML: it holds more than 100,000 values"):
        parse("--config", yaml_file("\n".join([*nested, "seed: *i"])))
    with pytest.raises(ArgumentsError, match=r"run\.yaml: the list seed holds something else than words"):
        parse("--config", yaml_file("seed: [[1]]"))


def test_nothing_given_is_no_value_of_a_flag(yaml_file):
    """Such as of a variable of the shell that is not set."""
    for name in ("text_column", "train_file", "resume_from_checkpoint", "output_dir", "tokenizer_name"):
        for argv in ((f"--{name}=",), (f"--{name}", ""), ("--config", yaml_file(f"{name}: ''"))):
            with pytest.raises(ArgumentsError, match=f"--{name} is empty: give it a value, or leave it out"):
                parse(*argv)
    for argv in (("--config=",), ("--config", "")):
        with pytest.raises(ArgumentsError, match="--config needs the name of a YAML file"):
            parse(*argv)
    assert parse("--config_overrides", "")[1].config_overrides == ""
    with pytest.raises(ArgumentsError, match="hidden_size stands there twice"):
        build_config(RecurrentConfig, "hidden_size=8, hidden_size=9", vocab_size=9)


def test_a_list_in_a_yaml_is_one_for_a_flag_that_takes_several_values(yaml_file):
    @dataclass
    class Columns:
        columns: list[str] | None = flag(None, "Columns.", "data source")
        prompt: str = flag("", "Prompts.", "after training")

    path = yaml_file("columns: [a, b]\nprompt: [x, y]\n")
    (found,) = parse_arguments(Columns, recipe="r", argv=["--config", path])
    assert (found.columns, found.prompt) == (["a", "b"], "x,y")


@pytest.mark.parametrize(
    ("interval", "inside", "outside", "words"),
    [
        ("[0, 1)", (0, 0.999), (-1e-9, 1, float("nan")), "at least 0 and below 1"),
        ("(0, inf)", (1e-300, 1e300), (0, float("inf"), -1), "above 0"),
        ("[2, 8]", (2, 8), (1, 9), "at least 2 and at most 8"),
        ("(-inf, inf)", (-5, 5), (float("inf"),), "a finite number"),
    ],
)
def test_a_range_is_an_interval(interval, inside, outside, words):
    found = Range(interval)
    assert all(value in found for value in inside)
    assert not any(value in found for value in outside)
    assert str(found) == words
    with pytest.raises(ValueError, match="is no interval"):
        Range("0 to 1")


def test_a_flag_without_a_role_is_no_flag():
    @dataclass
    class Bad:
        name: str = flag("", "A name.", "furniture")
        count: int = flag(3, "A count.", "data", "[0, 2]")

    with pytest.raises(ValueError, match="The flag --name has the role 'furniture'; the roles are data source, data,"):
        role_of(fields_of(Bad)["name"])
    with pytest.raises(ArgumentsError, match="--count 3 must be at least 0 and at most 2"):
        check_values(Bad())


def test_an_error_is_one_line_whatever_the_value():
    assert str(ArgumentsError("--a\n\x1b[31m \udc80 ü")) == r"--a\n\x1b[31m \udc80 ü"
