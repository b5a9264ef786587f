"""The card of a model, from the record of its run: no number in it comes from anywhere else."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import EvalResult, ModelCard, ModelCardData
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from tabulate import tabulate
from transformers import CONFIG_MAPPING

from ..data import SAMPLES
from .auto import auto_classes
from .card_texts import LENGTHS, METRICS, TASKS, Metric, Task, architecture_of


TEMPLATE = Path(__file__).with_name("model_card.md")


def build_card(
    record: dict[str, Any],
    repo_id: str,
    tag: str | None = None,
    files: frozenset[str] | set[str] = frozenset(),
    unpublished: bool = False,
    license: str | None = None,
    dataset_licence: str | None = None,
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
        license: The licence that the model is given, by its name on the Hub, e.g. `apache-2.0`.
        dataset_licence: That of the dataset, where the record does not say and someone has looked it up.
    """
    task = TASKS.get(record["task"], Task(record["task"].replace("_", " ").capitalize(), "other", "", ()))
    config = _with_defaults({**_planned(record), **record.get("model", {}).get("config", {})})
    architecture = architecture_of(config)
    split = "test" if "test" in record.get("metrics", {}) else "validation"
    best = (record.get("hyperparameters") or {}).get("metric_for_best_model")
    versions = record.get("versions", {})
    card = ModelCard.from_template(
        _metadata(record, repo_id, task, license),
        template_path=str(TEMPLATE),
        name=repo_id.split("/")[-1],
        repo_id=repo_id,
        tag=tag,
        unpublished=unpublished,
        title=task.title,
        architecture=architecture,
        article="an" if architecture and architecture.title[0] in "AEIOULaeiou" else "a",
        parameters=record.get("model", {}).get("parameters"),
        use=task.use,
        limits=[*task.limits, *_measured_limits(record)],
        results=_results_table(record),
        definitions=_definitions(record),
        best=best,
        tested=split == "test",
        curves="learning_curves.png" in files,
        dataset=_dataset(record, dataset_licence),
        rows=_rows(record),
        config=_config_table(config) if record.get("model") else "",
        command=record.get("command"),
        facts=_facts(record),
        version=versions.get("seqnlp"),
        **_loading(record, task, files, tag),
    )
    return re.sub(r"\n{3,}", "\n\n", str(card)).strip() + "\n"


def metric_of(task: str, name: str) -> Metric | None:
    """What is known of a metric of `run.json`."""
    return METRICS.get(f"{task}.{name}") or METRICS.get(name)


def eval_results(record: dict[str, Any]) -> list[EvalResult]:
    """Every metric of the record that has a definition, for the `model-index`."""
    task = TASKS.get(record["task"])
    dataset = record.get("dataset", {})
    found = []
    for split, values in record.get("metrics", {}).items():
        for name, value in values.items():
            metric = metric_of(record["task"], name)
            if metric is None or isinstance(value, bool) or not isinstance(value, int | float):
                continue
            found.append(
                EvalResult(
                    task_type=task.pipeline_tag if task else record["task"],
                    dataset_type=_plain_name(dataset.get("name", "unknown")),
                    dataset_name=_dataset_name(dataset),
                    dataset_config=dataset.get("config"),
                    dataset_revision=dataset.get("revision"),
                    dataset_split=split,
                    metric_type=metric.type or name,
                    metric_name=f"{metric.name} ({_definition(record, split, name, metric)})",
                    metric_value=value,
                )
            )
    return found


def _metadata(record: dict[str, Any], repo_id: str, task: Task, license: str | None) -> ModelCardData:
    dataset = record.get("dataset", {})
    name = dataset.get("name", "")
    language = dataset.get("language") or _languages(record)
    architecture = (record.get("hyperparameters") or {}).get("architecture")
    results = eval_results(record)
    return ModelCardData(
        model_name=repo_id.split("/")[-1],
        library_name="transformers",
        license=license,
        pipeline_tag=task.pipeline_tag if task.pipeline_tag != "other" else None,
        language=language,
        datasets=[name] if is_on_the_hub(name) else None,
        tags=[tag for tag in ("seqnlp", architecture, record["task"]) if tag],
        metrics=list(dict.fromkeys(result.metric_type for result in results)) or None,
        eval_results=results or None,
        widget=[{"text": text} for text in _widget(record, task)] or None,
    )


def _languages(record: dict[str, Any]) -> str | list[str] | None:
    """Codes of the languages of the data: of a sample, or of both sides of a translator."""
    dataset = record.get("dataset", {})
    if dataset.get("name") in SAMPLES and SAMPLES[dataset["name"]].language:
        return SAMPLES[dataset["name"]].language
    sides = [dataset.get("source"), dataset.get("target")]
    return sides if all(re.fullmatch(r"[a-z]{2,3}", str(side)) for side in sides) else None


def _widget(record: dict[str, Any], task: Task) -> list[str]:
    """What a visitor of the page may try: what the run tried, what fits its data, or else its task."""
    recorded, name = record.get("hyperparameters") or {}, record.get("dataset", {}).get("name")
    if record["task"] == "language_modeling" and recorded.get("prompt"):
        return [str(prompt) for prompt in str(recorded["prompt"]).split("|") if prompt.strip()]
    if name in SAMPLES and SAMPLES[name].widget:
        return list(SAMPLES[name].widget)
    return list(task.widget)


def _definition(record: dict[str, Any], split: str, name: str, metric: Metric) -> str:
    labels = record.get("model", {}).get("config", {}).get("id2label") or {}
    values = record["metrics"][split]
    signature = values.get("signatures", {}).get(name) or values.get(f"{name}_signature") or "not recorded"
    average = f"of the class {labels.get('1', '1')}" if len(labels) == 2 else "its mean over the classes"
    sample = f"{values.get('tunes', 'their number is not recorded')}"
    sample += f", drawn at temperature {values['temperature']}" if "temperature" in values else ""
    return metric.definition.format(signature=signature, classes=len(labels), average=average, sample=sample)


def _definitions(record: dict[str, Any]) -> list[str]:
    lines = {}
    for split, values in record.get("metrics", {}).items():
        for name in values:
            metric = metric_of(record["task"], name)
            if metric:
                lines.setdefault(name, f"{metric.name}: {_definition(record, split, name, metric)}.")
    return list(lines.values())


def _results_table(record: dict[str, Any]) -> str | None:
    """One row a model and split; a baseline has the splits it was measured on."""
    compared = {"this model": record.get("metrics", {})}
    compared |= {name.replace("_", " "): splits for name, splits in record.get("baselines", {}).items()}
    names = [
        name
        for name in dict.fromkeys(name for values in record.get("metrics", {}).values() for name in values)
        if metric_of(record["task"], name)
    ]
    rows = [
        [model, split, *(_shown(record, name, values.get(name)) for name in names)]
        for model, splits in compared.items()
        for split, values in splits.items()
    ]
    headers = ["model", "split", *(metric_of(record["task"], name).name for name in names)]
    return tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True) if names else None


def _shown(record: dict[str, Any], name: str, value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.1%}" if metric_of(record["task"], name).share else f"{value:.3f}"


def _plain_name(name: str) -> str:
    return name.removeprefix("<local:").removesuffix(">")


def is_on_the_hub(name: str) -> bool:
    """Whether a dataset's name in `run.json` is one on the Hub, not a packaged sample nor local files."""
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return bool(name)


def _dataset_name(dataset: dict[str, Any]) -> str:
    return " ".join(filter(None, (_plain_name(dataset.get("name", "unknown")), dataset.get("config"))))


def _dataset(record: dict[str, Any], licence: str | None) -> str | None:
    dataset = record.get("dataset", {})
    name, licence = dataset.get("name"), dataset.get("licence") or licence
    if not name or not (name in SAMPLES or is_on_the_hub(name) or dataset.get("splits")):
        return None  # a run that is only planned has no data yet
    if name in SAMPLES:
        text = f"`{name}`, {SAMPLES[name].origin}."
        if SAMPLES[name].license is None:
            return text
        licence = SAMPLES[name].license
    elif is_on_the_hub(name):
        text = f"[{name}](https://huggingface.co/datasets/{name})"
        text += f", configuration {dataset['config']}" if dataset.get("config") else ""
        text += f", revision {dataset['revision']}." if dataset.get("revision") else "."
    else:
        text = f"`{_plain_name(name)}`, files of whoever trained the model."
    return text + (f" Licence: {licence}." if licence else " Its licence is not on record.")


def _rows(record: dict[str, Any]) -> str:
    splits = record.get("dataset", {}).get("splits", {})
    rows = [[split, f"{part['rows']:,}", f"`{part['fingerprint']}`"] for split, part in splits.items()]
    headers = ["split", "rows", "hash of its rows"]
    return tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True) if rows else ""


def _measured_limits(record: dict[str, Any]) -> list[str]:
    hyperparameters = record.get("hyperparameters") or {}
    limits = []
    length = LENGTHS.get(record["task"])
    if length and hyperparameters.get("max_length"):
        limits.append(length.format(hyperparameters["max_length"]))
    if hyperparameters.get("lowercase"):
        limits.append("It does not tell upper from lower case.")
    return limits


SHOWN_FIELDS = (
    "hidden_size",
    "embedding_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_encoder_layers",
    "num_decoder_layers",
    "num_attention_heads",
    "vocab_size",
    "bidirectional",
    "pooling",
    "attention_type",
    "position_embedding_type",
    "dropout",
    "embedding_dropout",
    "head_dropout",
    "tie_word_embeddings",
)


def _config_table(config: dict[str, Any]) -> str:
    rows = [[f"`{name}`", config[name]] for name in SHOWN_FIELDS if config.get(name) is not None]
    return tabulate(rows, headers=["field", "value"], tablefmt="github", disable_numparse=True) if rows else ""


TRAINING_FIELDS = (
    "num_train_epochs",
    "max_train_steps",
    "per_device_train_batch_size",
    "max_tokens",
    "gradient_accumulation_steps",
    "learning_rate",
    "lr_scheduler_type",
    "warmup_ratio",
    "num_warmup_steps",
    "weight_decay",
    "max_grad_norm",
    "tokenizer_type",
    "bpe_dropout",
    "config_overrides",
    "average_checkpoints",
    "num_beams",
    "length_penalty",
    "mixed_precision",
)


def _facts(record: dict[str, Any]) -> str:
    hyperparameters = record.get("hyperparameters") or {}
    # Each of these takes the place of another.
    replaced = {"max_tokens": "per_device_train_batch_size", "num_warmup_steps": "warmup_ratio"}
    unused = {other for name, other in replaced.items() if hyperparameters.get(name) is not None}
    used = [name for name in TRAINING_FIELDS if name not in unused and hyperparameters.get(name) is not None]
    rows = [[f"`{name}`", hyperparameters[name]] for name in used]
    rows += [["seed", record["seed"]]] if "seed" in record else []
    rows += [["processes", record["num_processes"]]] if "num_processes" in record else []
    rows += [[f"seconds, {name}", value] for name, value in record.get("seconds", {}).items()]
    hardware = record.get("hardware", {})
    rows += [
        [name.replace("_", " ").replace("gib", "GiB"), value]
        for name, value in hardware.items()
        if not isinstance(value, list)
    ]
    rows += [["GPUs", ", ".join(hardware["gpus"])]] if hardware.get("gpus") else []
    rows += [[library, version] for library, version in record.get("versions", {}).items()]
    return tabulate(rows, headers=["", ""], tablefmt="github", disable_numparse=True) if rows else ""


PLANNED = {
    "image_classification": ("seqnlp_vision_transformer", None),
    "language_modeling": ("seqnlp_transformer_decoder", "seqnlp_recurrent"),
    "music_generation": ("seqnlp_transformer_decoder", "seqnlp_recurrent"),
    "sentiment_analysis": ("seqnlp_transformer_encoder", "seqnlp_recurrent"),
    "trajectory": ("seqnlp_transformer_decoder", "seqnlp_recurrent"),
    "translation": ("seqnlp_transformer", "seqnlp_recurrent_seq2seq"),
}


def _planned(record: dict[str, Any]) -> dict[str, Any]:
    """What the flags say of the configuration of a model that nobody has trained yet."""
    hyperparameters = record.get("hyperparameters") or {}
    architecture = hyperparameters.get("architecture")
    if record.get("model") or architecture is None or record["task"] not in PLANNED:
        return {}
    transformer, recurrent = PLANNED[record["task"]]
    pairs = (pair.partition("=") for pair in (hyperparameters.get("config_overrides") or "").split(","))
    overrides = {name.strip(): yaml.safe_load(value) for name, _, value in pairs if value}
    if architecture == "transformer":
        return {**overrides, "model_type": transformer}
    return {**overrides, "model_type": recurrent, "cell_type": architecture}


def _with_defaults(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration of a record, which holds what differs from the defaults, with those."""
    model_type = config.get("model_type")
    if not str(model_type).startswith("seqnlp_") or model_type not in CONFIG_MAPPING:
        return config
    fields = dataclasses.fields(CONFIG_MAPPING[model_type])
    defaults = {one.name: one.default for one in fields if one.default is not dataclasses.MISSING}
    return {**defaults, **config}


PIPELINES = {"text-classification", "text-generation", "image-classification"}


def _loading(record: dict[str, Any], task: Task, files, tag: str | None) -> dict[str, Any]:
    """The lines that load the model."""
    model = record.get("model", {})
    model_type = model.get("config", {}).get("model_type")
    if model_type not in CONFIG_MAPPING:
        return {"auto_class": None}
    known = auto_classes(CONFIG_MAPPING[model_type])
    auto_class = next((name for name, made in known if made.__name__ == model["class"]), "AutoModel")
    processor = processor_name = None
    # Beside a kept card there are no files; what reads images has its processor all the same.
    if "preprocessor_config.json" in files or (not files and model_type == "seqnlp_vision_transformer"):
        processor, processor_name = "AutoImageProcessor", "image_processor"
    elif "tokenizer.json" in files or record.get("tokenizer"):
        processor, processor_name = "AutoTokenizer", "tokenizer"
    example = _example(record, task, processor, tag)
    return {
        "auto_class": auto_class,
        "processor": processor,
        "processor_name": processor_name,
        "example": example,
        "imports": ", ".join(filter(None, (auto_class, processor, "pipeline" if "pipeline(" in example else None))),
        "revision": ", revision=revision" if tag else "",
    }


def _example(record: dict[str, Any], task: Task, processor: str | None, tag: str | None) -> str:
    """Lines that use the model once it is loaded."""
    config, dataset = record["model"].get("config", {}), record.get("dataset", {})
    texts = _widget(record, task)
    if processor == "AutoImageProcessor" and task.pipeline_tag in PIPELINES:
        return f'print(pipeline("{task.pipeline_tag}", model=model, image_processor=image_processor)("picture.png"))'
    if processor and task.pipeline_tag in PIPELINES:
        text = json.dumps(texts[0] if texts else "The", ensure_ascii=False)
        return f'print(pipeline("{task.pipeline_tag}", model=model, tokenizer=tokenizer)({text}))'
    if processor and task.pipeline_tag == "translation":
        lines, target = [], config.get("target_tokenizer")
        if target:
            revision = ", revision=revision" if tag else ""
            options = f'subfolder="{target}"{revision}, trust_remote_code=True'
            lines.append(f"target_tokenizer = AutoTokenizer.from_pretrained(model_id, {options})")
        text = json.dumps(texts[0] if texts else "Hello!", ensure_ascii=False)
        lines.append(f'outputs = model.generate(**tokenizer({text}, return_tensors="pt"))')
        decoder = "target_tokenizer" if target else "tokenizer"
        lines.append(f"print({decoder}.decode(outputs[0], skip_special_tokens=True))")
        return "\n".join(lines)
    if config.get("input_size"):
        steps = (record.get("hyperparameters") or {}).get("context_length", 20)
        channels = ", ".join(dataset.get("channels", [])) or f"{config['input_size']} of them"
        mean = config.get("input_mean") or [0.0] * config["input_size"]
        past = [float(f"{value:.4g}") for value in mean]
        return (
            f"past_values = torch.tensor([[{past}] * {steps}])  # series, steps, channels: {channels}\n"
            "print(model(past_values).prediction_outputs)  # the steps after them"
        )
    return ""
