"""The command as a whole: help, what it imports for it, and errors in one line."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.main import get_command

from seqnlp.cli import main as command
from seqnlp.cli.verbs import GROUPS, home_opened
from seqnlp.data import DataError


TIMED = "import time, transformers; print(time.process_time())"
LIGHT = """
import json, sys, time
from seqnlp.cli.main import main
try:
    main()
except SystemExit:
    pass
print(json.dumps([time.process_time(), sorted(sys.modules)]))
"""
AT_MOST = 2.5  # times the processor time of `import transformers`, without torch; 1.6 on a machine with nothing else


@pytest.mark.parametrize("start", ["from seqnlp.cli.main import main; main()", "import seqnlp.training"])
def test_a_folder_that_is_gone_is_named(tmp_path, start):
    """Of the command and of a recipe, which import transformers before anything of theirs could say it."""
    program = f"import os, sys; os.rmdir(os.getcwd()); sys.path = [p for p in sys.path if p]; {start}"
    (tmp_path / "gone").mkdir()
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path / "gone", timeout=120
    )
    assert result.returncode == 1
    said = "FileNotFoundError: the folder that this was started in is gone. Start it in one that is there."
    assert result.stderr.splitlines()[-1] == said
    assert "transformers" not in result.stderr


def test_the_help_of_every_verb_has_an_example():
    verbs = get_command(command.app).commands
    assert [name for name, verb in verbs.items() if "Example" not in (verb.help or "")] == []


def test_what_a_verb_says_before_it_is_loaded_is_what_it_says():
    for name, verb in get_command(command.app).commands.items():
        assert (verb.load().name, verb.load().help) == (name, verb.help)


@pytest.mark.parametrize(
    ("arguments", "completing", "said"),
    [
        (["--help"], None, "Load a model as someone else would"),
        (["train", "--help"], None, "--num_processes"),
        (["recipes"], None, "language_modeling"),
        ([], "seqnlp tr", "translate"),
        ([], "seqnlp train tra", "trajectory"),
    ],
)
def test_help_and_completion_import_no_more_than_they_need(arguments, completing, said):
    more = {}
    if completing is not None:
        place = str(completing.count(" "))
        more = {"_SEQNLP_COMPLETE": "complete_bash", "COMP_WORDS": completing, "COMP_CWORD": place}
    options = {"capture_output": True, "text": True, "check": True, "env": {**os.environ, **more}}
    alone = float(subprocess.run([sys.executable, "-c", TIMED], **options).stdout)
    done = subprocess.run([sys.executable, "-c", LIGHT, *arguments], **options)
    assert said in done.stdout
    seconds, modules = json.loads(done.stdout.splitlines()[-1])
    assert not {"torch", "datasets", "accelerate", "pandas", "seqnlp.models", "seqnlp.tasks"} & set(modules)
    assert seconds < AT_MOST * alone


def test_help_lists_the_verbs_in_groups_each_with_a_whole_sentence(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["seqnlp", "--help"])
    with pytest.raises(SystemExit) as stopped:
        command.main()
    assert stopped.value.code == 0
    said = capsys.readouterr().out
    assert "sequence models" in said
    assert "..." not in said.split("Options:")[1]
    assert re.findall(r"^(\w[\w ]+):$", said, re.MULTILINE) == ["Options", *GROUPS]
    for name, verb in get_command(command.app).commands.items():
        assert re.search(rf"^  {name} +{verb.short_help.split()[0]} ", said, re.MULTILINE)


def test_options_stand_in_the_groups_they_name_and_examples_as_they_are_written():
    sweep = get_command(command.app).commands["sweep"]
    said = sweep.load().get_help(sweep.make_context("seqnlp sweep", ["x", "--space", "y"]))
    assert re.findall(r"^(\w[\w ]+):$", said, re.MULTILINE)[-4:] == ["Arguments", "Search", "Runs", "Further options"]
    assert said.index("--trials") < said.index("Runs:") < said.index("--output_dir") < said.index("--help")
    assert "\n      seqnlp sweep sentiment_sst2_glue --space space.yaml --trials 20\n" in said


@pytest.mark.parametrize(("error", "is_ours"), [(DataError("no such column"), True), (KeyError("bug"), False)])
def test_only_our_own_errors_lose_their_traceback(monkeypatch, capsys, error, is_ours):
    def fails(prog_name):
        raise error

    monkeypatch.setattr(command, "app", fails)
    with pytest.raises(SystemExit if is_ours else KeyError) as stopped:
        command.main()
    if is_ours:
        assert stopped.value.code == 2
        assert capsys.readouterr().err == "error: no such column\n"


@pytest.mark.parametrize(
    "words",
    [
        ["try", "model", "--text", "zwei caf\udce9 heute"],
        ["nothing", "caf\udce9"],
        ["train", "--output_dir=caf\udce9"],
    ],
)
def test_a_word_of_another_encoding_is_refused_whatever_the_verb(words, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["seqnlp", *words])
    with pytest.raises(SystemExit) as stopped:
        command.main()
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert re.fullmatch(r"error: A word of the command is no text at '.*caf\\xe9.*', which .* in UTF-8, .*\n", error)


@pytest.mark.parametrize(("verb", "said"), [("recipes", "takes the copy."), ("labs", "replaced.")])
def test_a_verb_of_a_verb_is_listed_with_a_whole_sentence(verb, said):
    group = get_command(command.app).commands[verb]
    listed = group.load().get_help(group.make_context(f"seqnlp {verb}", ["copy"])).split("Commands:")[1]
    assert "..." not in listed
    assert " ".join(listed.split()).endswith(said)


@pytest.mark.parametrize("verb", ["compare", "sweep", "scale"])
def test_no_flag_in_a_help_is_broken_behind_its_dashes(verb):
    loaded = get_command(command.app).commands[verb].load()
    said = loaded.get_help(typer.Context(loaded, info_name=verb, terminal_width=80))
    assert not re.findall(r"--$", said, re.MULTILINE)


def test_a_path_that_begins_with_a_tilde_is_below_the_home_folder(seqnlp, tmp_path, monkeypatch):
    """Of verbs and of verbs of verbs; the shell opens no `--folder=~/mine`."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home" / "runs").mkdir(parents=True)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    status, out, error = seqnlp("recipes", "copy", "translation", "--folder=~/mine")
    assert (status, error) == (0, "")
    assert (tmp_path / "home" / "mine" / "translation.py").is_file()
    assert f"{tmp_path}/home/mine/translation.py" in out
    assert seqnlp("list", "~/runs")[0] == 0
    assert f"There is no folder {tmp_path}/home/lost" in seqnlp("list", "~/lost")[2]
    assert f"{tmp_path}/home/none': name" in seqnlp("publish", "~/none", "--dry_run")[2]
    assert os.listdir() == []


def test_every_path_of_a_list_is_opened():
    def verb(files, name, number=3):
        return files, name, number

    files = [Path("~/a"), Path("b")]
    assert home_opened(verb)(files=files, name="~/a") == ([Path.home() / "a", Path("b")], "~/a", 3)
