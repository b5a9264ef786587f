"""The cards of the models that the recipes make.

One card per model, `model_cards/TASK-DATASET-ARCHITECTURE.md`: for each dataset and architecture of the runs kept in
`benchmarks/results/` that of the run that was best on validation, and for each file of `recipes/configs/` that has no
such run a card without numbers. All say that they are not published; `seqnlp publish` writes the card that goes up.
"""

from collections import defaultdict
from pathlib import Path

import yaml

from benchmarks.records import ROOT, joined, kept_records
from seqnlp.publishing.card import build_card
from seqnlp.tasks import TASKS
from seqnlp.tasks.reporting.results import architecture_of, config_file_of, dataset_of, variant_of


CONFIGS, CARDS = ROOT / "recipes" / "configs", ROOT / "model_cards"
OWNER = "seqnlp"
HOME = "../README.md"
"""Where the cards of model_cards/ say that seqnlp is to be found."""


def card_name(record: dict) -> str:
    """The name of a model: task, dataset and architecture, and what tells it from others of the same."""
    model = "_".join(filter(None, (architecture_of(record), variant_of(record))))
    return joined(filter(None, (record["task"], dataset_of(record), model)))


def merit(record: dict, key: str | None = None) -> float:
    """How good a run is on validation, by its own criterion or by a score's key; the more the better."""
    task = TASKS[record["task"]]
    score = task.score_of(task.reported_key(record, key)) if key else task.chosen_score(record, "validation")
    value = record["metrics"]["validation"][score.key]
    return value if score.greater_is_better else -value


def best(records: list[dict]) -> dict:
    """The run that its own criterion prefers on validation; the first seed where two are equal."""
    return max(sorted(records, key=lambda record: record["seed"]), key=merit)


def planned(path: Path) -> dict:
    """What a config says of a model that nobody has kept a run of."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    task = content.pop("recipe")
    base = {"name": content["model_name_or_path"]} if "model_name_or_path" in content else {}
    if not base:  # what exists has an architecture of its own, which is known once it is loaded
        content.setdefault("architecture", TASKS[task].model_arguments().architecture)
    # What a config leaves to the user has the name of its file.
    named = f"<local:{path.stem.split('_', 1)[-1]}>" if content.pop("requires", None) else TASKS[task].default_dataset
    overrides = content.get("config_overrides")
    if isinstance(overrides, dict):
        content["config_overrides"] = ",".join(f"{name}={value}" for name, value in overrides.items())
    return {
        "task": task,
        "command": f"recipes/{task}.py --config recipes/configs/{path.name}",
        "hyperparameters": content,
        "base_model": base,
        "dataset": {
            "name": content.get("dataset_name") or named,
            "config": content.get("dataset_config_name"),
            "revision": content.get("dataset_revision"),
        },
    }


def cards() -> dict[str, str]:
    """Text of each card by the name of its file."""
    records = kept_records()
    groups = defaultdict(list)
    for record in records:
        groups[card_name(record)].append(record)
    chosen = {name: best(group) for name, group in groups.items()}
    run = {config_file_of(record) for record in records}
    for path in sorted(CONFIGS.glob("*.yaml")):
        if path.name not in run:
            record = planned(path)
            name = card_name(record)
            # A smaller model of the same kind on the same data is told apart by its config.
            chosen[f"{name}-{path.stem}" if name in chosen else name] = record
    return {
        f"{name}.md": build_card(record, f"{OWNER}/{name}", unpublished=True, project=HOME)
        for name, record in sorted(chosen.items())
    }


def main() -> None:
    """Write every card anew, and delete those of models that are no more."""
    texts = cards()
    for path in CARDS.glob("*.md"):
        if path.name not in ("README.md", *texts):
            path.unlink()
    for name, text in texts.items():
        (CARDS / name).write_text(text, encoding="utf-8")
