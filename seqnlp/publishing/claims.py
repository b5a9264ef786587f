"""What a model's card and its `run.json` claim: do they agree, and are their numbers those that the model has?"""

import html
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import EvalResult, ModelCard

from .. import __version__
from ..tasks.seeds import contradiction
from .bundle import CARD, is_of_other_weights, tag_of
from .card import build_card, eval_results, task_class_of
from .checks import FAILED, LARGEST_JSON, NOT_CHECKED, PASSED, Check, read_json
from .errors import PublishingError
from .probe import is_out_of_memory, one_line
from .recomputation import UncheckableError, agrees, evaluate_again


AGREEMENT = "the card says what run.json says"


class _Card(NamedTuple):
    """
    What a card says.

    Attributes:
        claims: Split, metric and value of each number in its model-index.
        text: What stands below its metadata.
    """

    claims: list[tuple[str, str, Any]]
    text: str


def check_claims(folder: Path, dataset: str | None, loaded: bool) -> list[Check]:
    """
    Compare card, `run.json` and model; nothing in any of them is trusted.

    Args:
        folder: A model, with its card and its record.
        dataset: A local dataset that takes the place of the one that the record names.
        loaded: Whether the model can be loaded, and so be evaluated again.
    """
    checks, card = _read_card(folder)
    path = folder / "run.json"
    if not path.is_file():
        told = f"it claims {len(card.claims)}, and there is no run.json" if card and card.claims else None
        return [*checks, Check("the card's numbers", NOT_CHECKED, told)] if told else checks
    try:
        record = _mapping(read_json(path))
        recorded = {_key(result): result.metric_value for result in eval_results(record)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return [*checks, Check("run.json", FAILED, one_line(error))]
    if card is not None:
        checks.append(_compare_claims(record, recorded, card) or _compare_text(record, folder, card))
    if record.get("seeds"):
        checks.append(_check_seeds(record))
    try:
        wrong = "it is the record of another model" if is_of_other_weights(record, folder) else None
    except PublishingError as error:
        wrong = str(error)
    if wrong:
        return [*checks, Check("run.json is of these weights", FAILED, wrong)]
    if wrong := _other_class(record, folder):
        checks.append(Check("run.json is of these classes", FAILED, wrong))
    return [*checks, *_compute_again(record, folder, dataset)] if loaded else checks


def _other_class(record: dict[str, Any], folder: Path) -> str | None:
    """The first class that `config.json` calls otherwise than the record: a number of the card holds all the same."""
    config = record["model"].get("config")
    then = config.get("id2label") if isinstance(config, dict) else None
    if not isinstance(then, dict):
        return None
    try:
        now = dict(read_json(folder / "config.json").get("id2label") or {})
    except (OSError, ValueError, TypeError, AttributeError):
        return None  # such a model is not loaded
    if now == then:
        return None
    number = next(number for number in (*then, *now) if then.get(number) != now.get(number))
    return f"class {number} is {now.get(number)!r} in config.json, {then.get(number)!r} in run.json"


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


def _compare_claims(record: dict, recorded: dict[tuple, Any], card: _Card) -> Check | None:
    """Whether a number in the model-index is another than that of the record."""
    # What another version of seqnlp calls otherwise is a number of the split all the same.
    numbers = {split: list(values.values()) for split, values in record["metrics"].items()}
    for split, name, value in card.claims:
        if recorded[split, name] != value if (split, name) in recorded else value not in numbers.get(split, []):
            return Check(AGREEMENT, FAILED, f"{split} {name}")
    return None


def _compare_text(record: dict, folder: Path, card: _Card) -> Check:
    """
    Whether every paragraph, list and table with a number that follows from the record stands in the card as it was
    written. What an owner has put between them, or has worded anew, is named.
    """
    try:
        expected = _paragraphs(ModelCard(_build_again(record, folder, card.text)).text)
    except Exception as error:  # whatever a foreign record leads to
        return Check(AGREEMENT, FAILED, one_line(error))
    found = _paragraphs(card.text)
    changed = [part for part in expected if re.search(r"\d", part) and part not in found]
    if changed:
        told = f"missing or changed: {_first_changed(changed[0], found)}"
        version = (record.get("versions") or {}).get("seqnlp")
        if version in (None, __version__):
            return Check(AGREEMENT, FAILED, told)
        return Check(AGREEMENT, NOT_CHECKED, f"seqnlp {version} may word it otherwise than {__version__}; {told}")
    others = [part for part in found if part not in expected]
    beside = f"; paragraphs that do not follow from it: {len(others)}, the first: {others[0][:80]}" if others else ""
    return Check(AGREEMENT, PASSED, f"{len(card.claims)} numbers, and the text{beside}")


def _build_again(record: dict[str, Any], folder: Path, text: str) -> str:
    """The card that follows from a record, with what a card says that no record can know."""
    named = re.search(r'^model_id = (".*")$', text, re.MULTILINE)
    asked = re.search(r"`seqnlp verify ([^`\s]+)", text)
    project = re.search(r"\[seqnlp\]\(([^)\s]+)\)", text)
    license = re.search(r"^[\[`].* License: (.+)\.$", text, re.MULTILINE)
    return build_card(
        record,
        json.loads(named[1]) if named else asked[1] if asked else folder.name,
        tag_of(record) if re.search('^revision = "', text, re.MULTILINE) else None,
        {path.name for path in folder.iterdir()} | {"learning_curves.png"},
        dataset_license=html.unescape(re.sub(r"\\(.)", r"\1", license[1])) if license else None,
        project=project[1] if project else None,
    )


def _paragraphs(text: str) -> list[str]:
    """The parts of a text between empty lines, whatever ends their lines."""
    lines = "\n".join(line.rstrip() for line in text.splitlines())
    return [part.strip("\n") for part in re.split(r"\n{2,}", lines) if part.strip()]


def _first_changed(part: str, found: list[str]) -> str:
    """The first line of a paragraph that the card does not have."""
    lines = {line for other in found for line in other.splitlines()}
    return next((line for line in part.splitlines() if line not in lines), part)[:160]


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


def _read_card(folder: Path) -> tuple[list[Check], _Card | None]:
    """What the card says; `None` without one that can be read."""
    path = folder / CARD
    if not path.is_file():
        return [], None
    try:
        if path.stat().st_size > LARGEST_JSON:
            raise ValueError(f"it has more than {LARGEST_JSON:,} bytes")
        card = ModelCard(path.read_text(encoding="utf-8"))
        claims = [(*_key(claim), claim.metric_value) for claim in card.data.eval_results or []]
    except Exception as error:  # of a foreign card
        return [Check("the card can be read", FAILED, one_line(error))], None
    return [], _Card(claims, card.text)


def _key(claim: EvalResult) -> tuple[str, str]:
    """Split and metric of a claim, without the metric's definition, whose wording another version may have."""
    return str(claim.dataset_split), str(claim.metric_name or claim.metric_type).split(" (")[0]
