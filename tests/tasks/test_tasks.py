"""Every task is complete, and no list names one that does not exist."""

import dataclasses
import importlib
import json
import re
import shlex
from pathlib import Path

import pytest
import yaml
from given_models import bert
from transformers import PreTrainedModel

from seqnlp.data import SAMPLES
from seqnlp.models.cells import CELLS, LinearCell
from seqnlp.models.heads import LanguageModel
from seqnlp.tasks import ARCHITECTURES, TASKS
from seqnlp.tasks.arguments import TextModelArguments
from seqnlp.training import ArgumentsError
from seqnlp.training.flags import ROLES, Range, fields_of, flags_with, role_of


ROOT = Path(__file__).parents[2]
OURS = {name: task for name, task in TASKS.items() if task.__module__.startswith("seqnlp.")}
CONFIGS = sorted((ROOT / "recipes" / "configs").glob("*.yaml"))
RECORDS = sorted((ROOT / "benchmarks" / "results").glob("*.json"))


@pytest.fixture(params=OURS.values(), ids=lambda task: task.name)
def task(request):
    return request.param


def test_a_task_is_one_file_and_one_recipe_and_no_recipe_is_without():
    assert {Path(task.__module__.replace(".", "/")).name for task in OURS.values()} == set(OURS)
    assert {path.stem for path in (ROOT / "recipes").glob("*.py")} == set(OURS)
    for name in OURS:
        assert f"`{name}`" in (ROOT / "README.md").read_text()


def test_what_a_task_says_is_complete(task):
    assert task.title
    assert task.pipeline_tag
    assert task.use
    assert task.limits
    assert task.default_dataset in SAMPLES
    assert all(issubclass(model_class, PreTrainedModel) for model_class in task.model_classes.values())
    keys = [score.key for score in task.scores]
    assert len(set(keys)) == len(keys)
    assert set(task.validated) <= set(keys)
    assert task.processor_name in ("tokenizer", "image_processor", None)


def test_a_model_over_a_vocabulary_computes_its_loss_in_parts_where_that_is_faster(task):
    for kind, model_class in task.model_classes.items():
        if not issubclass(model_class, LanguageModel):
            continue
        given = ["--architecture", "gru" if kind == "recurrent" else kind] if len(task.model_classes) > 1 else []
        for vocab_size, overrides, expected in (
            (64, [], None),
            (8192, [], 512),
            (8192, ["--config_overrides", "loss_chunk_size=7"], 7),
            (8192, ["--config_overrides", "loss_chunk_size=null"], None),
        ):
            config = task.from_command_line(argv=[*given, *overrides]).build_config(vocab_size=vocab_size)
            assert config.loss_chunk_size == expected


def test_a_cell_has_its_frame_unless_a_block_is_given(task):
    if "recurrent" not in task.model_classes:
        return
    known = {field.name for field in dataclasses.fields(task.model_classes["recurrent"].config_class)}
    sizes = {"input_size": 1} if task.name == "trajectory" else {}
    for cell_type, cell in CELLS.items():
        given = ["--architecture", cell_type]
        config = task.from_command_line(argv=given).build_config(**sizes)
        assert {name: getattr(config, name) for name in cell.frame.keys() & known} == {
            name: value for name, value in cell.frame.items() if name in known
        }
        if "block" in known:
            given += ["--config_overrides", "block=plain"]
            config = task.from_command_line(argv=given).build_config(**sizes)
            assert (config.block, config.conv_kernel_size, config.mlp_ratio) == ("plain", None, None)
    framed = {name for name, cell in CELLS.items() if cell.frame}
    assert framed == {name for name, cell in CELLS.items() if issubclass(cell, LinearCell)}


def test_a_field_that_no_configuration_has_is_refused_when_a_recipe_sets_it(task):
    sizes = {"input_size": 1} if task.name == "trajectory" else {}
    with pytest.raises(ArgumentsError, match=r"The recipe sets hiden_size, and .* has no such field"):
        task.from_command_line(argv=[]).build_config(**sizes, hiden_size=8)


def test_the_example_of_its_help_is_a_command(task):
    assert task.example_flags
    assert task.from_command_line(argv=shlex.split(task.example_flags)).name == task.name


def test_every_flag_has_help_a_role_and_a_range_if_it_is_a_number(task):
    for name, field in task.fields().items():
        assert field.metadata["help"].endswith((".", ")")), name
        assert role_of(field) in ROLES
        is_number = str(field.type).replace(" | None", "") in ("<class 'int'>", "<class 'float'>", "int", "float")
        assert ("range" in field.metadata) == is_number, name
        if is_number and field.default is not None:
            assert field.default in Range(field.metadata["range"]), name
        replaced = field.metadata.get("replaces")
        assert replaced is None or replaced in task.fields()


def test_a_flag_that_is_declared_again_keeps_what_others_ask_of_it(task):
    for dataclass_type in task.argument_types():
        for parent in filter(dataclasses.is_dataclass, dataclass_type.__mro__):
            for name, field in fields_of(parent).items():
                again = fields_of(dataclass_type)[name].metadata
                for fact in ("role", "fixed_by", "of_one_run"):
                    assert again.get(fact) == field.metadata.get(fact), (name, fact)


def test_a_given_tokenizer_settles_every_flag_by_which_one_is_trained(task):
    if issubclass(task.model_arguments, TextModelArguments):
        trained_by = task.from_command_line(argv=[]).model_args.tokenizer_settings()
        assert set(trained_by) <= set(flags_with(task.model_arguments, fixed_by="tokenizer"))


def test_lists_of_flags_name_none_that_does_not_exist():
    flags, lists = {name for task in OURS.values() for name in task.fields()}, {}
    for path in sorted((ROOT / "seqnlp").rglob("*.py")):
        for name in re.findall(r"^(\w+_FLAGS)\b.* = ", path.read_text(), re.MULTILINE):
            module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
            lists[f"{module.__name__}.{name}"] = set(getattr(module, name))
    assert len(lists) >= 7
    for name, listed in lists.items():
        assert listed - {"config"} <= flags, name  # which is no flag of a task, and names the YAML of all others


def test_the_architectures_are_the_cells_and_the_transformer(task):
    assert (*CELLS, "transformer") == ARCHITECTURES
    choices = task.fields()["architecture"].metadata["choices"]
    assert choices == (ARCHITECTURES if "recurrent" in task.model_classes else ("transformer",))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_configs_of_the_repository_are_valid_and_say_what_they_need(path, tmp_path):
    content = yaml.safe_load(path.read_text())
    task, needed = TASKS[content["recipe"]], ["--dataset_name", "x"]
    argv = ["--config", str(path)]
    if "model_name_or_path" in content:  # a small one in the place of one of the Hub
        argv += ["--model_name_or_path", str(bert(tmp_path))]
    if "teacher" in content.get("requires", {}):
        needed += ["--teacher", "x"]
    if "dataset_name" in content or task.default_dataset == "simulated:ball":
        assert task.from_command_line(argv=argv)
        return
    with pytest.raises(ArgumentsError, match="leaves a flag to you: add --dataset_name"):
        task.from_command_line(argv=argv)
    assert task.from_command_line(argv=[*argv, *needed]).data_args.dataset_name == "x"


@pytest.mark.parametrize(
    ("name", "metric", "greater"),
    [
        ("language_modeling", "bits_per_character", False),
        ("language_modeling", "validation_loss", False),
        ("sentiment_analysis", "accuracy", True),
        ("sentiment_analysis", "f1", True),
        ("translation", "bleu", True),
        ("trajectory", "loss", False),
    ],
)
def test_a_metric_knows_its_direction(name, metric, greater):
    chosen = ["--metric_for_best_model", metric, *(["--bleu_every", "1"] if metric == "bleu" else [])]
    task = TASKS[name].from_command_line(argv=chosen)
    assert task.training_args.greater_is_better is greater
    other = TASKS[name].from_command_line(argv=[*chosen, "--greater_is_better", "true"])
    assert other.training_args.greater_is_better is True


def test_a_metric_that_no_validation_gives_is_refused_before_training():
    with pytest.raises(ArgumentsError, match="each validation of translation gives loss, bleu"):
        TASKS["translation"].from_command_line(argv=["--metric_for_best_model", "chrf"])


def test_the_test_is_looked_at_once_and_not_after_a_run_that_time_stopped(task):
    task = task.from_command_line(argv=[])
    assert task.held_out(["train", "validation", "test"]) == ["validation", "test"]
    assert task.held_out(["train", "validation", "test_2016", "test_2017"]) == ["validation", "test_2016", "test_2017"]
    assert task.held_out(["train", "validation", "test"], {"reason": "max_train_minutes"}) == ["validation"]
    assert task.held_out(["train", "validation"]) == ["validation"]


def test_a_recipes_defaults_stand_under_its_flags():
    task = TASKS["sentiment_analysis"].from_command_line(argv=["--seed", "3"], learning_rate=0.5, seed=7)
    assert (task.training_args.learning_rate, task.training_args.seed) == (0.5, 3)


def test_a_task_comes_back_from_its_record(task):
    argv = ["--seed", "5", "--max_train_steps", "3", "--config_overrides", "hidden_size=8"]
    made = task.from_command_line(argv=argv)
    parts = made.data_args, made.model_args, made.training_args, made.generation_args
    values = {name: value for part in parts for name, value in vars(part).items()}
    again = task.from_record({"hyperparameters": {**values, "a_flag_of_old": 1, "push_to_hub": True}})
    assert vars(again.data_args) == vars(made.data_args)
    assert vars(again.model_args) == vars(made.model_args)
    assert vars(again.generation_args) == vars(made.generation_args)
    assert again.training_args == made.training_args


def test_a_recorded_text_may_look_like_a_flag():
    task = TASKS["language_modeling"].from_record({"hyperparameters": {"prompt": "--seed", "seed": 5}})
    assert (task.generation_args.prompt, task.training_args.seed) == ("--seed", 5)


@pytest.mark.parametrize(
    "values",
    [
        {"columns": ["a", "--config", "/etc/passwd"]},
        {"context_length": -3},
        {"context_length": "many"},
        {"prediction_length": {"a": 1}},
    ],
)
def test_a_strangers_record_is_checked_as_flags_are(values):
    with pytest.raises(ArgumentsError):
        TASKS["trajectory"].from_record({"hyperparameters": values})


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_every_kept_record_is_one_of_its_task_as_it_is_today(path):
    record = json.loads(path.read_text())
    task = TASKS[record["task"]].from_record(record)
    if not task.foreign_architecture(record):  # a model of others is known once it is loaded
        assert task.model_class.__name__ == record["model"]["class"]
    assert task.training_args.seed == record["seed"]
    assert set(record["metrics"]) - set(task.written) <= set(record["dataset"]["splits"])
