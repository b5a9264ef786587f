"""Does a model, on the Hub or in a folder, keep what its files and its card promise?"""

import json
import math
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
from huggingface_hub import EvalResult, HfApi, ModelCard, snapshot_download
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from transformers import CONFIG_MAPPING

from . import probe
from .bundle import CARD, build_bundle
from .card import eval_results, task_of
from .errors import PublishingError
from .hub import explain, retrying
from .recomputation import UncheckableError, agrees, evaluate_again


PASSED, FAILED, NOT_CHECKED, DOES_NOT_APPLY = "passed", "failed", "not checked", "-"
# What is fetched: nothing that would be unpickled.
FETCHED = ("*.json", "*.safetensors", "*.txt", "*.model", "*.spm", "*.jinja", "*.py", CARD)
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".npy", ".npz", ".h5", ".msgpack")
TIMEOUT = 1800  # seconds that a process with the model may take


class Check(NamedTuple):
    """One line of the table."""

    name: str
    outcome: str
    detail: str


@dataclass
class Verification:
    """
    What was found.

    Attributes:
        name: The model.
        commit: Its commit on the Hub; `None` for a folder.
        code: The files of code that it brings.
        is_run: Whether it is a run's output, which is checked as it would be published, with the code of this seqnlp.
        checks: Every check with its outcome.
        loaded: Whether everything that was tried to load did load.
    """

    name: str
    commit: str | None
    code: list[str]
    is_run: bool = False
    checks: list[Check] = field(default_factory=list)
    loaded: bool = True

    @property
    def exit_code(self) -> int:
        """0: all passed; 1: a check failed; 2: could not load; 3: something could not be checked."""
        outcomes = {check.outcome for check in self.checks}
        if not self.loaded:
            return 2
        return 1 if FAILED in outcomes else 3 if NOT_CHECKED in outcomes else 0

    def add(self, name: str, outcome: str, detail: str = "") -> None:
        """Add a line."""
        self.checks.append(Check(name, outcome, detail))


def verify(
    name: str, revision: str | None = None, trust_remote_code: bool = False, dataset: str | None = None
) -> Verification:
    """
    Load a model as a stranger would, in processes of their own with empty caches, and check what it promises.

    A run's output is checked as it would be published: with its card, and with the code of this seqnlp beside it.

    Args:
        name: A folder, or a name on the Hub.
        revision: Branch, tag or commit on the Hub; `main` by default.
        trust_remote_code: Whether the code that it brings is run. It is run in those processes alone, without network
            and without access tokens in their environment, but with the rights of the user.
        dataset: A local dataset that takes the place of the one that its `run.json` names.

    Raises:
        PublishingError: If there is no such model, or it cannot be fetched.
    """
    with tempfile.TemporaryDirectory() as scratch:
        if Path(name).is_dir():
            folder, commit = Path(name).resolve(), None
            files = sorted(path.name for path in folder.iterdir() if path.is_file())
        else:
            folder, commit, files = _fetch(name, revision, scratch)
        config = _read_config(folder, name)
        result = Verification(name, commit, [file for file in files if file.endswith(".py")])
        _check_formats(result, files)
        if commit is None and _is_ours(config) and not config.get("auto_map") and (folder / "run.json").is_file():
            folder = _as_published(result, folder, Path(scratch))
            config = _read_config(folder, name)
        _check_loading(result, folder, config, trust_remote_code or result.is_run, Path(scratch))
        _check_claims(result, folder, dataset)
        if commit:
            _check_tag(result, folder)
    return result


def _fetch(name: str, revision: str | None, scratch: str) -> tuple[Path, str, list[str]]:
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise PublishingError(f"{name!r} is neither a folder nor the name of a model on the Hub.") from error
    try:
        info = retrying(lambda: HfApi().model_info(name, revision=revision))
        options = {"revision": info.sha, "cache_dir": f"{scratch}/fetched", "allow_patterns": list(FETCHED)}
        folder = retrying(lambda: snapshot_download(name, **options))
    except (httpx2.HTTPError, OSError, RuntimeError, ValueError) as error:
        where = name + (f" at {revision}" if revision else "")
        raise PublishingError(f"{where} could not be fetched: {explain(error)}.") from error
    return Path(folder), info.sha, sorted(sibling.rfilename for sibling in info.siblings)


def _read_config(folder: Path, name: str) -> dict[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PublishingError(
            f"{name} holds no config.json that can be read: it is no model of transformers."
        ) from error
    return config if isinstance(config, dict) else {}


def _check_formats(result: Verification, files: list[str]) -> None:
    pickled = [file for file in files if file.endswith(PICKLES)]
    if pickled:
        result.add("safetensors only", FAILED, f"{pickled[0]} may run code when it is read")
    elif not any(file.endswith(".safetensors") for file in files):
        result.add("safetensors only", FAILED, "there are no weights in safetensors")
    else:
        result.add("safetensors only", PASSED, "no file is pickled")


def _is_ours(config: dict[str, Any]) -> bool:
    return str(config.get("model_type", "")).startswith("seqnlp_")


def _as_published(result: Verification, folder: Path, scratch: Path) -> Path:
    """What would go up of a run's output; the output itself where it cannot be published."""
    try:
        bundle = build_bundle(folder, scratch / "published", folder.name)
    except PublishingError as error:
        result.add("can be published", FAILED, str(error))
        return folder
    size = sum(file.size for file in bundle.files)
    result.add("can be published", PASSED, f"{len(bundle.files)} files, {size:,} bytes")
    result.is_run = True
    return bundle.folder


def _check_loading(result: Verification, folder: Path, config: dict, trust_remote_code: bool, scratch: Path) -> None:
    ours, model_type = _is_ours(config), str(config.get("model_type", ""))
    model_code, processor_code = _auto_map(config), _processor_code(folder)
    elsewhere = [name.split("--")[0] for name in (*model_code, *processor_code) if "--" in name]
    answers = {}
    for with_seqnlp in (False, True):
        check = f"loads {'with' if with_seqnlp else 'without'} seqnlp"
        known = model_type in CONFIG_MAPPING and (with_seqnlp or not ours)
        # Where seqnlp is imported its own classes win; those of transformers only as long as no code is trusted.
        runs_code = bool(processor_code or (model_code and not (known and (ours or not trust_remote_code))))
        if runs_code and elsewhere:
            result.add(check, NOT_CHECKED, f"its code lies in another repository, {elsewhere[0]}, at no fixed commit")
        elif runs_code and not trust_remote_code:
            which = f" (commit {result.commit})" if result.commit else ""
            result.add(check, NOT_CHECKED, f"it brings code: read it{which}, then say --trust_remote_code")
        elif ours and not model_code and not with_seqnlp:
            result.add(check, NOT_CHECKED, "its code is not beside it: `seqnlp publish` adds it")
        else:
            answer = _probe(folder, with_seqnlp, runs_code, checks=not answers, scratch=scratch)
            result.loaded &= answer["loaded"]
            result.add(check, PASSED if answer["loaded"] else FAILED, answer.get("class") or answer["error"])
            if answer["loaded"]:
                answers[with_seqnlp] = answer
                result.checks += [Check(*found) for found in answer["checks"]]
    result.loaded &= bool(answers)
    if len(answers) == 2:
        _compare_outputs(result, answers[False], answers[True])


def _auto_map(config: dict[str, Any]) -> list[str]:
    """The names of code in a configuration: `file.Class`, or `repository--file.Class`."""
    found = config.get("auto_map")
    values = found.values() if isinstance(found, dict) else [found]
    return [str(name) for value in values for name in (value if isinstance(value, list) else [value]) if name]


def _processor_code(folder: Path) -> list[str]:
    names = []
    for file in ("tokenizer_config.json", "preprocessor_config.json", "processor_config.json"):
        try:
            content = json.loads((folder / file).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        names += _auto_map(content) if isinstance(content, dict) else []
    return names


def _compare_outputs(result: Verification, without: dict, with_seqnlp: dict) -> None:
    check = "answers alike with and without seqnlp"
    if without["outputs"] is None or with_seqnlp["outputs"] is None:
        reason = without.get("outputs_error") or with_seqnlp.get("outputs_error")
        result.add(check, NOT_CHECKED, str(reason))
        return
    pairs = list(zip(without["outputs"], with_seqnlp["outputs"], strict=True))
    worst = max(abs(one - other) for one, other in pairs)
    same = all(math.isclose(one, other, rel_tol=1e-4, abs_tol=1e-5) for one, other in pairs)
    result.add(check, PASSED if same else FAILED, f"greatest difference {worst:.1g} of {len(pairs)} numbers")


def _probe(folder: Path, with_seqnlp: bool, trust_remote_code: bool, checks: bool, scratch: Path) -> dict[str, Any]:
    """Run [`probe`] in a process of its own: an empty cache, no network, no access token, no input."""
    home = Path(tempfile.mkdtemp(dir=scratch))
    request = {
        "folder": str(folder),
        "with_seqnlp": with_seqnlp,
        "trust_remote_code": trust_remote_code,
        "checks": checks,
    }
    (home / "request.json").write_text(json.dumps(request))
    kept = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "SYSTEMROOT", "OMP_NUM_THREADS", "VIRTUAL_ENV")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    environment |= {"HOME": str(home), "HF_HOME": str(home / "cache"), "HF_HUB_OFFLINE": "1", "TMPDIR": str(home)}
    if with_seqnlp:
        environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    try:
        done = subprocess.run(
            [sys.executable, "-P", probe.__file__, home / "request.json", home / "answer.json"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=home,
            env=environment,
            timeout=TIMEOUT,
        )
        return json.loads((home / "answer.json").read_text())
    except subprocess.TimeoutExpired:
        error = f"it took more than {TIMEOUT} seconds"
    except (OSError, ValueError):
        error = " ".join(done.stderr.split())[-300:] or f"its process ended with {done.returncode}"
    return {"loaded": False, "error": error, "checks": [], "outputs": None}


def _check_claims(result: Verification, folder: Path, dataset: str | None) -> None:
    claimed = _claims_of_card(result, folder)
    path = folder / "run.json"
    if not path.is_file():
        if claimed:
            result.add("the card's numbers", NOT_CHECKED, f"it claims {len(claimed)}, and there is no run.json")
        return
    try:
        record = _mapping(json.loads(path.read_text(encoding="utf-8")))
        recorded = {_key(result): result.metric_value for result in eval_results(record)}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        result.add("run.json", FAILED, probe.one_line(error))
        return
    if claimed is not None:
        # What another version of seqnlp calls otherwise is a number of the split all the same.
        numbers = {split: list(values.values()) for split, values in record["metrics"].items()}
        wrong = [
            (split, name)
            for (split, name), value in claimed.items()
            if (recorded[split, name] != value if (split, name) in recorded else value not in numbers.get(split, []))
        ]
        shown = f"{wrong[0][0]} {wrong[0][1]}" if wrong else f"{len(claimed)} numbers"
        result.add("the card says what run.json says", FAILED if wrong else PASSED, shown)
    if not result.loaded:
        return
    try:
        found = evaluate_again(record, folder, dataset)
    except UncheckableError as error:
        result.add("the card's numbers", NOT_CHECKED, str(error))
        return
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:  # of a foreign record
        result.add("the card's numbers", NOT_CHECKED, probe.one_line(error))
        return
    for split, values in record["metrics"].items():
        _compare_numbers(result, record, split, values, found.get(split))


def _mapping(record: Any) -> dict[str, Any]:
    """A record whose parts are mappings where they ought to be; a stranger may have written anything."""
    dataset = record.get("dataset", {})
    parts = {"metrics": record["metrics"], "dataset": dataset, "splits": dataset.get("splits", {})}
    parts["hyperparameters"] = record.get("hyperparameters") or {}
    parts |= {f"split {name}": part for name, part in (*parts["metrics"].items(), *parts["splits"].items())}
    wrong = next((name for name, part in parts.items() if not isinstance(part, dict)), None)
    if wrong:
        raise TypeError(f"its {wrong} is no mapping")
    return record


def _compare_numbers(result: Verification, record: dict, split: str, values: dict, found: dict | None) -> None:
    task = task_of(record)
    if found is None:
        why = task.written.get(split, "they are computed from no split of the data")
        result.add(f"the card's numbers, {split}", NOT_CHECKED, why)
        return
    for metric, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or task.score_of(metric) is None:
            continue  # no number of the card
        again = found.get(metric)
        if again is None:
            result.add(f"{metric}, {split}", NOT_CHECKED, "it is not computed here")
            continue
        how = "of another sample" if split in task.written else "computed"
        outcome = PASSED if agrees(record, split, metric, value, again) else FAILED
        result.add(f"{metric}, {split}", outcome, f"claimed {value:.4f}, {how} {again:.4f}")


def _check_tag(result: Verification, folder: Path) -> None:
    """Whether the tag that the card tells its readers to load is there."""
    card = folder / CARD
    pinned = re.search(r'revision = "(run-[0-9a-f]+)"', card.read_text(encoding="utf-8")) if card.is_file() else None
    if pinned is None:
        return
    tag = pinned.group(1)
    try:
        refs = retrying(lambda: HfApi().list_repo_refs(result.name))
    except (httpx2.HTTPError, OSError, RuntimeError, ValueError) as error:
        result.add("the tag that the card pins", NOT_CHECKED, explain(error))
        return
    there = {ref.name: ref.target_commit for ref in refs.tags}
    result.add(
        "the tag that the card pins", PASSED if tag in there else FAILED, f"{tag}: {there.get(tag, 'not there')}"
    )


def _claims_of_card(result: Verification, folder: Path) -> dict[tuple, Any] | None:
    """What the card's model-index claims, by split and metric; `None` without a card that can be read."""
    path = folder / CARD
    if not path.is_file():
        return None
    try:
        found = ModelCard(path.read_text(encoding="utf-8")).data.eval_results or []
    except (ValueError, KeyError, TypeError) as error:
        result.add("the card can be read", FAILED, probe.one_line(error))
        return None
    return {_key(claim): claim.metric_value for claim in found}


def _key(claim: EvalResult) -> tuple[str, str]:
    """Split and metric of a claim, without the metric's definition, whose wording another version may have."""
    return str(claim.dataset_split), str(claim.metric_name or claim.metric_type).split(" (")[0]
