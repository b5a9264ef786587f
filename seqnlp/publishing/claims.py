"""What a model's card and its `run.json` claim: do they agree, and are their numbers those that the model has?"""

from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard

from ..tasks.seeds import contradiction
from ..training.integrity import WEIGHTS, weights_hash
from .bundle import CARD
from .card import eval_results, task_class_of
from .checks import FAILED, LARGEST_JSON, NOT_CHECKED, PASSED, Check, read_json
from .probe import is_out_of_memory, one_line
from .recomputation import UncheckableError, agrees, evaluate_again


def check_claims(folder: Path, dataset: str | None, loaded: bool) -> list[Check]:
    """
    Compare card, `run.json` and model; nothing in any of them is trusted.

    Args:
        folder: A model, with its card and its record.
        dataset: A local dataset that takes the place of the one that the record names.
        loaded: Whether the model can be loaded, and so be evaluated again.
    """
    checks, claimed = _claims_of_card(folder)
    path = folder / "run.json"
    if not path.is_file():
        return [*checks, Check("the card's numbers", NOT_CHECKED, _without_record(claimed))] if claimed else checks
    try:
        record = _mapping(read_json(path))
        recorded = {_key(result): result.metric_value for result in eval_results(record)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return [*checks, Check("run.json", FAILED, one_line(error))]
    if claimed is not None:
        checks.append(_compare_card(record, recorded, claimed))
    if record.get("seeds"):
        checks.append(_check_seeds(record))
    expected = record["model"].get("sha256")
    if expected is not None and (folder / WEIGHTS).is_file() and weights_hash(folder) != expected:
        return [*checks, Check("run.json is of these weights", FAILED, "it is the record of another model")]
    return [*checks, *_compute_again(record, folder, dataset)] if loaded else checks


def _check_seeds(record: dict[str, Any]) -> Check:
    """Whether mean and deviation over the seeds follow from the values that the record has of each."""
    name = "mean and deviation over the seeds"
    try:
        wrong = contradiction(record)
        count = len(record["seeds"]["runs"])
    except (KeyError, TypeError, AttributeError) as error:
        return Check(name, FAILED, one_line(error))
    return (
        Check(name, FAILED, wrong) if wrong else Check(name, PASSED, f"they follow from the values of {count} seeds")
    )


def _without_record(claimed: dict[tuple, Any]) -> str:
    return f"it claims {len(claimed)}, and there is no run.json"


def _compute_again(record: dict[str, Any], folder: Path, dataset: str | None) -> list[Check]:
    try:
        found = evaluate_again(record, folder, dataset)
    except UncheckableError as error:
        return [Check("the card's numbers", NOT_CHECKED, str(error))]
    except Exception as error:  # whatever a foreign record, model or dataset leads to
        outcome = FAILED if is_out_of_memory(error) else NOT_CHECKED
        return [Check("the card's numbers", outcome, one_line(error))]
    return [
        check
        for split, values in record["metrics"].items()
        for check in _compare_numbers(record, split, values, found.get(split))
    ]


def _compare_card(record: dict, recorded: dict[tuple, Any], claimed: dict[tuple, Any]) -> Check:
    # What another version of seqnlp calls otherwise is a number of the split all the same.
    numbers = {split: list(values.values()) for split, values in record["metrics"].items()}
    wrong = [
        (split, name)
        for (split, name), value in claimed.items()
        if (recorded[split, name] != value if (split, name) in recorded else value not in numbers.get(split, []))
    ]
    shown = f"{wrong[0][0]} {wrong[0][1]}" if wrong else f"{len(claimed)} numbers"
    return Check("the card says what run.json says", FAILED if wrong else PASSED, shown)


def _mapping(record: Any) -> dict[str, Any]:
    """A record whose parts are mappings where they ought to be; a stranger may have written anything."""
    dataset = record.get("dataset", {})
    parts = {"metrics": record["metrics"], "dataset": dataset, "splits": dataset.get("splits", {})}
    parts["hyperparameters"] = record.get("hyperparameters") or {}
    parts["model"] = record.setdefault("model", {})
    parts |= {f"split {name}": part for name, part in (*parts["metrics"].items(), *parts["splits"].items())}
    wrong = next((name for name, part in parts.items() if not isinstance(part, dict)), None)
    if wrong:
        raise TypeError(f"its {wrong} is no mapping")
    return record


def _compare_numbers(record: dict, split: str, values: dict, found: dict | None) -> list[Check]:
    task = task_class_of(record)
    if found is None:
        why = task.written.get(split, "they are computed from no split of the data")
        return [Check(f"the card's numbers, {split}", NOT_CHECKED, why)]
    checks = []
    for metric, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or task.score_of(metric) is None:
            continue  # no number of the card
        again = found.get(metric)
        if again is None:
            checks.append(Check(f"{metric}, {split}", NOT_CHECKED, "it is not computed here"))
            continue
        how = "of another sample" if split in task.written else "computed"
        outcome = PASSED if agrees(record, split, metric, value, again) else FAILED
        checks.append(Check(f"{metric}, {split}", outcome, f"claimed {value:.4f}, {how} {again:.4f}"))
    return checks


def _claims_of_card(folder: Path) -> tuple[list[Check], dict[tuple, Any] | None]:
    """What the card's model-index claims, by split and metric; `None` without a card that can be read."""
    path = folder / CARD
    if not path.is_file():
        return [], None
    try:
        if path.stat().st_size > LARGEST_JSON:
            raise ValueError(f"it has more than {LARGEST_JSON:,} bytes")
        found = ModelCard(path.read_text(encoding="utf-8")).data.eval_results or []
    except Exception as error:  # of a foreign card
        return [Check("the card can be read", FAILED, one_line(error))], None
    return [], {_key(claim): claim.metric_value for claim in found}


def _key(claim: EvalResult) -> tuple[str, str]:
    """Split and metric of a claim, without the metric's definition, whose wording another version may have."""
    return str(claim.dataset_split), str(claim.metric_name or claim.metric_type).split(" (")[0]
