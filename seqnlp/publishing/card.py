"""The card of a model, from the record of its run: no number in it comes from anywhere else."""

import dataclasses
import importlib.metadata
import json
import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from transformers import CONFIG_MAPPING, PreTrainedConfig

from ..export import Export
from ..tasks import TASKS, Score, Task, describe_architecture, sample_of
from ..tasks.base import OF_ITS_DATA
from ..tasks.reporting.results import plain_name, reported_split
from ..tasks.reporting.unknown import UNKNOWN_SHARE
from ..tasks.seeds import described_seeds, tables_of
from ..training.arguments import ONE_RUN_FLAGS
from ..training.flags import role_of, without_flags
from ..training.yaml_files import read_yaml, value_of
from ..visualization.tables import Table, readable_tables
from .auto import auto_classes
from .markdown import code, escape, fence, one_line, table


TEMPLATE = Path(__file__).with_name("model_card.md")
SHOWN_ROLES = ("model", "training", "after training")
"""Roles of the flags that the table of a card's training shows."""
MACHINE_FLAGS = {*ONE_RUN_FLAGS, "num_threads"} - {"seed", "seeds"}
"""Flags of a command that say where and how it ran, and nothing of what was trained."""
OF_ITS_BASE = (
    "It has seen its training data and whatever the model that it started from was trained on, and repeats the slant "
    "and the errors of both."
)
OF_ITS_TEACHER = (
    "It has seen its training data and learned what another model says of texts, and repeats the slant and the errors "
    "of both."
)
OF_ITS_VECTORS = (
    "It has seen its training data, and its embeddings began as vectors that were trained on other texts; it repeats "
    "the slant and the errors of both."
)


def build_card(
    record: dict[str, Any],
    repo_id: str,
    tag: str | None = None,
    files: frozenset[str] | set[str] = frozenset(),
    unpublished: bool = False,
    license: str | None = None,
    dataset_license: str | None = None,
    exports: Sequence[Export] = (),
    project: str | None = None,
) -> str:
    """
    The text of `README.md`: metadata that the Hub reads, with the results as a `model-index`, and the card itself.

    What the record does not say is left out.

    Args:
        record: The content of `run.json`.
        repo_id: The model's name on the Hub.
        tag: What the card tells readers to load.
        files: Names of the files beside it: whether there is a tokenizer, a picture of the learning curves.
        unpublished: Whether the card says that the model is not on the Hub.
        license: The license that the model is given, by its name on the Hub, e.g. `apache-2.0`.
        dataset_license: That of the dataset, where the record does not say and someone has looked it up.
        exports: What it was exported to, each in a folder of its name beside the card.
        project: The address of seqnlp, where it is known, see [`project_address`]; of an unpublished card it may be a
            path, and is not cited.
    """
    task = task_class_of(record)
    config = _with_defaults({**_planned(record), **record.get("model", {}).get("config", {})})
    architecture = describe_architecture(config)
    command = _command(record)
    versions = record.get("versions", {})
    card = ModelCard.from_template(
        _metadata(record, repo_id, task, license),
        template_path=str(TEMPLATE),
        name=escape(repo_id.split("/")[-1]),
        model_id=json.dumps(repo_id),
        verified=_verified(record, repo_id),
        tag=tag,
        unpublished=unpublished,
        title=task.title_of(record) if record["task"] in TASKS else escape(task.title),
        architecture=architecture,
        article=architecture and article_of(architecture.title),
        parameters=record.get("model", {}).get("parameters"),
        use=task.use,
        limits=[*_limits(task, record), *_measured_limits(record)],
        base=_base(record),
        embeddings=_embeddings(record),
        teacher=_teacher(record),
        brings_code=not _is_of_transformers(record),
        results=_results_table(record),
        seeds=_seeds(record),
        definitions=_definitions(record),
        kept=_kept(record),
        curves="learning_curves.png" in files,
        dataset=_dataset(record, dataset_license),
        rows=_rows(record),
        config=_config_table(config, task.meaningless_fields()) if record.get("model") else "",
        command=command,
        fence=fence(command),
        project=project,
        facts=_facts(record),
        version=one_line(versions.get("seqnlp") or ""),
        exports=[_run_elsewhere(export, repo_id, tag) for export in exports],
        **_loading(record, task, files, tag),
    )
    return re.sub(r"\n{3,}", "\n\n", str(card)).strip() + "\n"


def project_address() -> str | None:
    """Where seqnlp is developed, if the distribution that is installed says it."""
    urls = importlib.metadata.metadata("seqnlp").get_all("Project-URL") or []
    named = dict(url.split(", ", 1) for url in urls)
    return named.get("Repository")


def article_of(title: str) -> str:
    """What stands before a title that is read aloud: `a GRU`, `an LSTM`, `an Elman network`."""
    is_spelled_out = title[:2].isupper()
    return "an" if title[0] in ("AEFHILMNORSX" if is_spelled_out else "AEIOUaeiou") else "a"


def _command(record: dict[str, Any]) -> str:
    """The command that trains such a model anew, without a clone; that of a script of one's own as it was."""
    command = record.get("command") or ""
    try:
        script, *words = shlex.split(command)
    except ValueError:
        return command and f"accelerate launch {command}"
    if record["task"] not in TASKS or Path(script).parts != ("recipes", f"{record['task']}.py"):
        return f"accelerate launch {command}"
    return shlex.join(["seqnlp", "train", record["task"], *without_flags(words, MACHINE_FLAGS)])


def _run_elsewhere(export: Export, repo_id: str, tag: str | None) -> dict[str, str]:
    """How a reader gets an export and runs it."""
    revision = f" --revision {tag}" if tag else ""
    return {
        "name": export.name,
        "title": export.title,
        "language": export.language,
        "download": f'hf download {one_line(repo_id)}{revision} --include "{export.name}/*" --local-dir .',
        "usage": export.usage(export.name),
    }


def task_class_of(record: dict[str, Any]) -> type[Task]:
    """The task of a record; where it is not known here, one that shows the record's numbers as they are."""
    if record["task"] in TASKS:
        return TASKS[record["task"]]
    title = record["task"].replace("_", " ").capitalize()
    every = (pair for values in record.get("metrics", {}).values() for pair in values.items())
    keys = dict.fromkeys(key for key, value in every if isinstance(value, int | float))
    scores = tuple(Score(key, key.replace("_", " "), "as the run has it", greater_is_better=False) for key in keys)
    words = {"title": title, "pipeline_tag": "other", "use": "", "limits": (), "scores": scores, "model_classes": {}}
    return type("UnknownTask", (Task,), words)


def eval_results(record: dict[str, Any]) -> list[EvalResult]:
    """Every metric of the record that has a definition, for the `model-index`."""
    task, dataset = task_class_of(record), record.get("dataset", {})
    found = []
    for split, values in record.get("metrics", {}).items():
        for score in task.scores_of(record):
            value = values.get(score.key)
            if isinstance(value, bool) or not isinstance(value, int | float):
                continue
            found.append(
                EvalResult(
                    task_type=task.pipeline_tag if record["task"] in TASKS else record["task"],
                    dataset_type=plain_name(dataset.get("name", "unknown")),
                    dataset_name=_dataset_name(dataset),
                    dataset_config=dataset.get("config"),
                    dataset_revision=dataset.get("revision"),
                    dataset_split=split,
                    metric_type=score.type or score.key,
                    metric_name=f"{score.name} ({_definition(record, split, score)})",
                    metric_value=value,
                )
            )
    return found


def _metadata(record: dict[str, Any], repo_id: str, task: type[Task], license: str | None) -> ModelCardData:
    dataset = record.get("dataset", {})
    name = dataset.get("name", "")
    language = dataset.get("language") or _languages(record)
    architecture = (record.get("hyperparameters") or {}).get("architecture")
    results = eval_results(record)
    return ModelCardData(
        model_name=repo_id.split("/")[-1],
        library_name="transformers",
        license=license,
        base_model=_base_on_the_hub(record),
        pipeline_tag=task.pipeline_tag if task.pipeline_tag != "other" else None,
        language=language,
        datasets=[name] if is_on_the_hub(name) else None,
        tags=[tag for tag in ("seqnlp", architecture, record["task"]) if tag],
        metrics=list(dict.fromkeys(result.metric_type for result in results)) or None,
        eval_results=results or None,
        widget=[{"text": text} for text in task.widget_of(record)] or None,
    )


def _is_of_transformers(record: dict[str, Any]) -> bool:
    """Whether the model's class is one of transformers, so that no code stands beside it."""
    model_type = record.get("model", {}).get("config", {}).get("model_type")
    return model_type in CONFIG_MAPPING and not str(model_type).startswith("seqnlp_")


def _base_on_the_hub(record: dict[str, Any]) -> str | None:
    """The model on the Hub that a run started from, itself or by way of another run."""
    base = record.get("base_model")
    while base and not is_on_the_hub(str(base.get("name"))):
        base = base.get("base_model")
    return base["name"] if base else None


def _base(record: dict[str, Any]) -> str | None:
    """What the card says of the model that a run started from."""
    base = record.get("base_model")
    if not base:
        return None
    shown = _other_model(base)
    shown += f", a run of {escape(base['task'].replace('_', ' '))}" if isinstance(base.get("task"), str) else ""
    origin = (base.get("base_model") or {}).get("name")
    shown += f", itself fine-tuned from {code(plain_name(str(origin)))}" if origin else ""
    if "sha256" not in base:  # not trained yet
        return f"{shown}. The license of that model is not on record: it may bind this one."
    digest = _digest(base["sha256"])
    new = ", ".join(code(name) for name in base.get("weights_new") or {})
    drawn = f"New are {new}." if new else "None of them are new."
    if adapter := base.get("adapter"):
        count = format(adapter.get("trained_parameters"), ",")
        method = escape(adapter.get("method"))
        trained = f"adapters by {method} of {count} parameters"
        if new:
            trained = f"adapters by {method} and what is new, {count} parameters in all"
        drawn += f" Trained were {trained}; the adapters are merged into the weights."
    return (
        f"{shown} (SHA-256 of its weights {digest}). Taken over: {escape(base.get('weights_taken'))} weights. "
        f"{drawn} The license of that model is not on record: it may bind this one."
    )


def _embeddings(record: dict[str, Any]) -> str | None:
    """What the card says of the word vectors with which embeddings began."""
    vectors = record.get("embeddings")
    if not vectors:
        return None
    name, digest = code(plain_name(str(vectors["name"]))), _digest(vectors["sha256"])
    return (
        f"The embeddings of {escape(vectors['tokens_found'])} of {escape(vectors['tokens'])} tokens began as the "
        f"vectors of {name} (SHA-256 {digest}), whose license is not on record."
    )


def _teacher(record: dict[str, Any]) -> str | None:
    """What the card says of the model that this one learned from."""
    teacher = record.get("teacher")
    if not teacher:
        return None
    judged = teacher.get("rows_judged") or teacher.get("words_judged")
    of = f"{escape(judged)} {task_class_of(record).targets}" if judged else "its training texts"
    if tagger := teacher.get("augment_tagger"):
        of += ", among them variants with words replaced by others of the part of speech that "
        of += f"{_other_model(tagger)} finds"
    is_alone = (record.get("hyperparameters") or {}).get("distillation_weight") == 1
    return (
        f"{'In the place of' if is_alone else 'Beside'} the labels it learned what "
        f"{_other_model(teacher)} ({escape(teacher.get('class'))}, "
        f"{format(teacher.get('parameters') or 0, ',')} parameters, SHA-256 of its weights "
        f"{_digest(teacher.get('sha256'))}) said of {of}. What that "
        "model has seen, and its slant, is in this one too; its license is not on record."
    )


def _other_model(described: dict[str, Any]) -> str:
    """Another model by its name, a link where it is on the Hub, and its revision."""
    name = str(described.get("name"))
    shown = f"[{name}](https://huggingface.co/{name})" if is_on_the_hub(name) else code(plain_name(name))
    return shown + (f", revision {escape(described['revision'])}" if described.get("revision") else "")


def _digest(sha256: object) -> str:
    """The beginning of a hash."""
    return f"{code(str(sha256)[:12])}..."


def _limits(task: type[Task], record: dict[str, Any]) -> list[str]:
    """Those of the task; with weights or vectors to begin with, or a teacher, it has seen more than its data."""
    others = {"base_model": OF_ITS_BASE, "embeddings": OF_ITS_VECTORS, "teacher": OF_ITS_TEACHER}
    more = [line for name, line in others.items() if record.get(name)]
    return [line for limit in task.limits for line in (more if more and limit == OF_ITS_DATA else [limit])]


def _languages(record: dict[str, Any]) -> str | list[str] | None:
    """Codes of the languages of the data: of a sample, or of both sides of a translator."""
    dataset = record.get("dataset", {})
    sample = sample_of(record)
    if sample and sample.language:
        return sample.language
    sides = [dataset.get("source"), dataset.get("target")]
    return sides if all(re.fullmatch(r"[a-z]{2,3}", str(side)) for side in sides) else None


def _definition(record: dict[str, Any], split: str, score: Score, shown: Callable[[Any], str] = str) -> str:
    terms = task_class_of(record).terms_of(record, split, score.key)
    return score.definition.format(**{name: shown(term) for name, term in terms.items()})


def _definitions(record: dict[str, Any]) -> list[str]:
    lines = {}
    for score in task_class_of(record).scores_of(record):
        for split, values in record.get("metrics", {}).items():
            if score.key in values:
                lines.setdefault(score.key, f"{score.name}: {_definition(record, split, score, escape)}.")
    return list(lines.values())


def _results_table(record: dict[str, Any]) -> str | None:
    """By model and split; a baseline has the splits it was measured on."""
    metrics = record.get("metrics", {})
    compared = {"this model": metrics}
    compared |= {name.replace("_", " "): splits for name, splits in record.get("baselines", {}).items()}
    scores = [
        score for score in task_class_of(record).scores_of(record) if any(score.key in v for v in metrics.values())
    ]
    rows = [
        [escape(model), escape(split), *(score.shown(values.get(score.key)) for score in scores)]
        for model, splits in compared.items()
        for split, values in splits.items()
    ]
    headers = ["model", "split", *(score.name for score in scores)]
    return _written(readable_tables(headers, rows, named_by=2, across="score")) if scores else None


def _kept(record: dict[str, Any]) -> str:
    """Which weights the model has, and by what they were chosen; records of before that was kept had the best ones."""
    best, kept = (record.get("hyperparameters") or {}).get("metric_for_best_model"), record.get("kept")
    if not best:
        return ""
    is_last = kept is not None and "metric" not in kept  # no validation could choose
    chosen = "those of the last step" if is_last else f"those with the best {escape(best)} on validation"
    if kept and "average_of" in kept:
        mean = f"the mean of those at the last {escape(kept['average_of'])} validations"
        chosen = f"{mean}, which translates validation better than {chosen}"
    tested = "; the test split was evaluated once, after training" if reported_split(record) != "validation" else ""
    return f"The weights kept are {chosen}{tested}."


def _verified(record: dict[str, Any], repo_id: str) -> str:
    """How a reader computes the numbers again; empty where nobody can."""
    dataset = record.get("dataset", {})
    measured = [part for split, part in dataset.get("splits", {}).items() if split in record.get("metrics", {})]
    if record["task"] not in TASKS or any(part.get("streamed") for part in measured):
        return ""
    verify = f"seqnlp verify {one_line(repo_id)}"
    if sample_of(record) or is_on_the_hub(dataset.get("name", "")):
        return f"{code(verify)} computes them again."
    return f"{code(f'{verify} --dataset_name FOLDER')} computes them again, where FOLDER holds the data."


def _seeds(record: dict[str, Any]) -> str | None:
    """What the card says of the runs that differ from this one by their seed alone."""
    if not record.get("seeds"):
        return None
    task = task_class_of(record)
    return f"{escape(described_seeds(task, record))}\n\n{_written(tables_of(task, record, escape))}"


def _written(tables: Sequence[Table]) -> str:
    """Tables one below the other."""
    return "\n\n".join(table(one.rows, one.headers) for one in tables)


def is_on_the_hub(name: str) -> bool:
    """Whether a dataset's name in `run.json` is one on the Hub, not a packaged sample nor local files."""
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return bool(name)


def _dataset_name(dataset: dict[str, Any]) -> str:
    return " ".join(filter(None, (plain_name(dataset.get("name", "unknown")), dataset.get("config"))))


def _dataset(record: dict[str, Any], license: str | None) -> str | None:
    dataset, sample = record.get("dataset", {}), sample_of(record)
    name, license = dataset.get("name"), dataset.get("license") or license
    if not name or not (sample or is_on_the_hub(name) or dataset.get("splits")):
        return None  # a run that is only planned has no data yet
    if sample:
        text = f"{code(name)}, {sample.origin}."
        return text + (f" License: {sample.license}." if sample.license else "")
    if is_on_the_hub(name):
        text = f"[{name}](https://huggingface.co/datasets/{name})"
        text += f", configuration {escape(dataset['config'])}" if dataset.get("config") else ""
        text += f", revision {escape(dataset['revision'])}." if dataset.get("revision") else "."
    else:
        text = f"{code(plain_name(name))}, files of whoever trained the model."
    return text + (f" License: {escape(license)}." if license else " Its license is not on record.")


def _rows(record: dict[str, Any]) -> str:
    splits = record.get("dataset", {}).get("splits", {})
    rows = [
        [escape(split), f"{part['rows']:,}", code(part["fingerprint"])]
        if "rows" in part
        else [escape(split), "streamed", ""]
        for split, part in splits.items()
    ]
    return table(rows, ["split", "rows", "hash of its rows"])


def _measured_limits(record: dict[str, Any]) -> list[str]:
    hyperparameters = record.get("hyperparameters") or {}
    limits = []
    length = task_class_of(record).longest_input
    if length and hyperparameters.get("max_length"):
        limits.append(length.format(escape(hyperparameters["max_length"])))
    for split, share in record.get("dataset", {}).get(UNKNOWN_SHARE, {}).items():
        limits.append(f"{share:.1%} of the tokens of {escape(split)} were unknown to its tokenizer.")
    if hyperparameters.get("lowercase"):
        limits.append("It does not tell upper from lower case.")
    return limits


def _config_table(config: dict[str, Any], meaningless: Sequence[str]) -> str:
    """
    The fields of the model's configuration that are its own: sizes, kinds and dropouts; no ids of tokens, and nothing
    that is meaningless to the task.
    """
    if config.get("model_type") not in CONFIG_MAPPING:
        return ""
    shared = {one.name for one in dataclasses.fields(PreTrainedConfig)}
    own = [one.name for one in dataclasses.fields(CONFIG_MAPPING[config["model_type"]]) if one.name not in shared]
    shown = [
        name
        for name in own
        if not name.endswith("_token_id")
        and name not in meaningless
        and isinstance(config.get(name), str | int | float)
    ]
    rows = [[code(name), escape(config[name])] for name in shown]
    return table(rows, ["field", "value"])


def _flags(record: dict[str, Any]) -> list[list[Any]]:
    """What the run was told of its model and its training, without what another flag took the place of."""
    recorded, fields = record.get("hyperparameters") or {}, task_class_of(record).fields()
    given = {name for name in fields if recorded.get(name) not in (None, "")}
    replaced = {fields[name].metadata.get("replaces") for name in given}
    used = [name for name in fields if name in given - replaced and role_of(fields[name]) in SHOWN_ROLES]
    return [[code(name), escape(recorded[name])] for name in used if name != "architecture"]


def _facts(record: dict[str, Any]) -> str:
    rows = [["processes", record["num_processes"]]] if "num_processes" in record else []
    rows += [[f"seconds, {name}", value] for name, value in record.get("seconds", {}).items()]
    if stopped := record.get("stopped"):
        rows += [["stopped by time", f"after step {stopped['step']} of {stopped['planned_steps']}"]]
    hardware = record.get("hardware", {})
    rows += [
        [name.replace("_", " ").replace("gib", "GiB"), value]
        for name, value in hardware.items()
        if not isinstance(value, list)
    ]
    rows += [["GPUs", ", ".join(hardware["gpus"])]] if hardware.get("gpus") else []
    rows += [[library, version] for library, version in record.get("versions", {}).items()]
    return table([*_flags(record), *([escape(name), escape(value)] for name, value in rows)], ["setting", "value"])


def _planned(record: dict[str, Any]) -> dict[str, Any]:
    """What the flags say of the configuration of a model that nobody has trained yet."""
    hyperparameters = record.get("hyperparameters") or {}
    architecture, classes = hyperparameters.get("architecture"), task_class_of(record).model_classes
    if record.get("model") or architecture is None or not classes:
        return {}
    pairs = (pair.partition("=") for pair in (hyperparameters.get("config_overrides") or "").split(","))
    overrides = {name.strip(): value_of(read_yaml(value)) for name, _, value in pairs if value}
    if architecture in classes:
        return {**overrides, "model_type": classes[architecture].config_class.model_type}
    return {**overrides, "model_type": classes["recurrent"].config_class.model_type, "cell_type": architecture}


def _with_defaults(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration of a record, which holds what differs from the defaults, with those."""
    model_type = config.get("model_type")
    if not str(model_type).startswith("seqnlp_") or model_type not in CONFIG_MAPPING:
        return config
    fields = dataclasses.fields(CONFIG_MAPPING[model_type])
    defaults = {one.name: one.default for one in fields if one.default is not dataclasses.MISSING}
    return {**defaults, **config}


def _loading(record: dict[str, Any], task: type[Task], files, tag: str | None) -> dict[str, Any]:
    """The lines that load the model."""
    model = record.get("model", {})
    model_type = model.get("config", {}).get("model_type")
    if model_type not in CONFIG_MAPPING:
        return {"auto_class": None}
    known = auto_classes(CONFIG_MAPPING[model_type])
    auto_class = next((name for name, made in known if made.__name__ == model["class"]), "AutoModel")
    # Beside a kept card there are no files; what the task reads has its processor all the same.
    is_there = not files or any(name in files for name in ("preprocessor_config.json", "tokenizer.json"))
    processor_name = task.processor_name if is_there else None
    processor = {"tokenizer": "AutoTokenizer", "image_processor": "AutoImageProcessor"}.get(processor_name)
    revision = ", revision=revision" if tag else ""
    is_known = record["task"] in TASKS
    example = task.example(record, revision) if is_known and (processor or not task.processor_name) else ""
    return {
        "auto_class": auto_class,
        "processor": processor,
        "processor_name": processor_name,
        "example": example,
        "imports": ", ".join(filter(None, (auto_class, processor, "pipeline" if "pipeline(" in example else None))),
        "revision": revision,
        "trust": "" if _is_of_transformers(record) else ", trust_remote_code=True",
    }
