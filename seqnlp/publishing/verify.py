"""Does a model, on the Hub or in a folder, keep what its files and its card promise?"""

import json
import math
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from transformers import CONFIG_MAPPING

from ..export import EXPORTS
from . import probe
from .bundle import CARD
from .checks import (
    FAILED,
    LARGEST_JSON,
    NOT_CHECKED,
    OUTCOMES,
    PASSED,
    Check,
    find_link_out,
    printable,
    read_json,
    root_of,
)
from .errors import PublishingError
from .hub import explain, retrying
from .isolation import ANSWER, REQUEST, LimitError, Limits, run_isolated, run_limited, why_not_isolated


# What is fetched: nothing that would be unpickled.
FETCHED = ("*.json", "*.safetensors", "*.txt", "*.model", "*.spm", "*.jinja", "*.py", CARD)
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".npy", ".npz", ".h5", ".msgpack")


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
        self.checks.append(Check(printable(name), outcome, printable(detail)))

    def add_all(self, checks: list[Check]) -> None:
        """Add what another process has found."""
        for check in checks:
            self.add(*check)


def verify(
    name: str,
    revision: str | None = None,
    trust_remote_code: bool = False,
    dataset: str | None = None,
    isolated: bool = True,
    limits: Limits = Limits(),  # noqa: B008 (it cannot be changed)
) -> Verification:
    """
    Load a model as a stranger would, in processes of their own with empty caches, and check what it promises.

    A run's output is checked as it would be published: with its card, and with the code of this seqnlp beside it.

    Args:
        name: A folder, or a name on the Hub.
        revision: Branch, tag or commit on the Hub; `main` by default.
        trust_remote_code: Whether the code that it brings is run, in those processes alone.
        dataset: A local dataset that takes the place of the one that its `run.json` names.
        isolated: Whether those processes are isolated by bubblewrap: no network, no access token, no file of the user,
            nothing written, nothing left behind. Without it the model's code has the rights of the user.
        limits: Of the memory and the time of each process.

    Raises:
        PublishingError: If there is no such model, it cannot be fetched, or its code is to be run and this system
            cannot isolate it.
    """
    isolated = isolated and _can_isolate(trust_remote_code)
    with tempfile.TemporaryDirectory() as scratch:
        steps = _Steps(Path(scratch).resolve(), isolated, limits)
        if Path(name).is_dir():
            folder, commit = Path(name).resolve(), None
            files = sorted(path.name for path in folder.iterdir() if path.is_file())
            if out := find_link_out(folder, files):
                raise PublishingError(f"{name}: {printable(out)} is a link that leads out of the folder.")
        else:
            folder, commit, files = _fetch(name, revision, scratch)
        config = _read_config(folder, name)
        result = Verification(name, commit, [printable(file) for file in files if file.endswith(".py")])
        _check_formats(result, files)
        if commit is None and _is_output(folder, config):
            folder = _as_published(result, folder, steps)
            config = _read_config(folder, name)
        _check_loading(result, folder, config, trust_remote_code or result.is_run, steps)
        _check_claims(result, folder, dataset, steps)
        if commit:
            _check_tag(result, folder)
    return result


def _can_isolate(trust_remote_code: bool) -> bool:
    why_not = why_not_isolated()
    if why_not and trust_remote_code:
        raise PublishingError(
            f"The model's code cannot be isolated here ({why_not}). Isolate it, or run it with your own rights by "
            "--no_isolation."
        )
    return why_not is None


class _Steps:
    """What is done in processes of their own, each with an empty home and with limits."""

    def __init__(self, scratch: Path, isolated: bool, limits: Limits):
        self.scratch = scratch
        self.isolated = isolated
        self.limits = limits

    def probe(self, folder: Path, with_seqnlp: bool, trust_remote_code: bool, checks: bool) -> dict[str, Any]:
        """Run [`probe`]: no network, no access token, no input."""
        home = self._home(
            folder=str(folder), with_seqnlp=with_seqnlp, trust_remote_code=trust_remote_code, checks=checks
        )
        arguments = ["-P", probe.__file__, str(home / REQUEST), str(home / ANSWER)]
        try:
            run_isolated(arguments, home, [root_of(folder)], self.limits, self.isolated)
            return _answer_of_probe(read_json(home / ANSWER))
        except (LimitError, OSError, ValueError) as error:
            return {"loaded": False, "error": str(error), "checks": [], "outputs": None}

    def work(self, step: str, **request: Any) -> dict[str, Any]:
        """Run a step of [`worker`], which may use the network: it runs no code of the model."""
        home = self._home(step=step, **request)
        arguments = ["-P", "-m", "seqnlp.publishing.worker", str(home / REQUEST), str(home / ANSWER)]
        try:
            run_limited(arguments, home, self.limits)
            answer = read_json(home / ANSWER)
        except (LimitError, OSError, ValueError) as error:
            return {"error": str(error)}
        return {**answer, "checks": [Check(*check) for check in answer.get("checks", [])]}

    def _home(self, **request: Any) -> Path:
        home = Path(tempfile.mkdtemp(dir=self.scratch))
        (home / REQUEST).write_text(json.dumps(request), encoding="utf-8")
        return home


def _answer_of_probe(answer: Any) -> dict[str, Any]:
    """
    The answer of a process that ran a stranger's code, which may have written anything.

    Raises:
        ValueError: If it has another shape.
    """
    try:
        found = {"loaded": answer["loaded"] is True, "checks": [], "outputs": answer["outputs"]}
        for name in ("class", "error", "outputs_error"):
            found[name] = printable(answer.get(name) or "")
        for name, outcome, detail in answer["checks"]:
            if name not in probe.CHECKS or outcome not in OUTCOMES:
                raise ValueError(name)
            found["checks"].append(Check(name, outcome, str(detail)))
        if found["outputs"] is not None and not all(type(number) is float for number in found["outputs"]):
            raise ValueError("outputs")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError("its process did not answer what it was asked") from error
    return found


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
        config = read_json(folder / "config.json")
    except (OSError, ValueError) as error:
        raise PublishingError(
            f"{name} holds no config.json that can be read ({printable(error)}): it is no model of transformers."
        ) from error
    return config if isinstance(config, dict) else {}


def _check_formats(result: Verification, files: list[str]) -> None:
    # Whoever loads the model reads nothing in the folders of exports.
    exported = {file.split("/")[0] for file in files if file.split("/")[0] in EXPORTS and "/" in file}
    files = [file for file in files if file.split("/")[0] not in exported]
    pickled = [file for file in files if file.endswith(PICKLES)]
    if pickled:
        result.add("safetensors only", FAILED, f"{pickled[0]} may run code when it is read")
    elif not any(file.endswith(".safetensors") for file in files):
        result.add("safetensors only", FAILED, "there are no weights in safetensors")
    else:
        beside = f"; {', '.join(f'{name}/' for name in sorted(exported))} not looked at" if exported else ""
        result.add("safetensors only", PASSED, f"no file is pickled{beside}")


def _is_ours(config: dict[str, Any]) -> bool:
    return str(config.get("model_type", "")).startswith("seqnlp_")


def _is_output(folder: Path, config: dict[str, Any]) -> bool:
    """Whether a folder is a run's output: what is published has its code, and a card where it is no model of ours."""
    published = config.get("auto_map") or (not _is_ours(config) and (folder / CARD).is_file())
    return (folder / "run.json").is_file() and not published


def _as_published(result: Verification, folder: Path, steps: _Steps) -> Path:
    """What would go up of a run's output; the output itself where it cannot be published."""
    target = steps.scratch / "published"
    answer = steps.work("bundle", folder=str(folder), target=str(target))
    if "error" in answer:
        result.add("can be published", FAILED, answer["error"])
        return folder
    result.add_all(answer["checks"])
    result.is_run = answer["built"]
    return target if result.is_run else folder


def _check_loading(result: Verification, folder: Path, config: dict, trust_remote_code: bool, steps: _Steps) -> None:
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
            answer = steps.probe(folder, with_seqnlp, runs_code, checks=not answers)
            result.loaded &= answer["loaded"]
            result.add(
                check, PASSED if answer["loaded"] else FAILED, answer["class"] if answer["loaded"] else answer["error"]
            )
            if answer["loaded"]:
                answers[with_seqnlp] = answer
                result.add_all(answer["checks"])
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
            content = read_json(folder / file)
        except (OSError, ValueError):
            continue
        names += _auto_map(content) if isinstance(content, dict) else []
    return names


def _compare_outputs(result: Verification, without: dict, with_seqnlp: dict) -> None:
    check = "answers alike with and without seqnlp"
    if without["outputs"] is None or with_seqnlp["outputs"] is None:
        result.add(check, NOT_CHECKED, without["outputs_error"] or with_seqnlp["outputs_error"])
        return
    if len(without["outputs"]) != len(with_seqnlp["outputs"]):
        result.add(check, FAILED, "the outputs have different shapes")
        return
    pairs = list(zip(without["outputs"], with_seqnlp["outputs"], strict=True))
    worst = max((abs(one - other) for one, other in pairs), default=0.0)
    same = all(math.isclose(one, other, rel_tol=1e-4, abs_tol=1e-5) for one, other in pairs)
    result.add(check, PASSED if same else FAILED, f"greatest difference {worst:.1g} of {len(pairs)} numbers")


def _check_claims(result: Verification, folder: Path, dataset: str | None, steps: _Steps) -> None:
    answer = steps.work("claims", folder=str(folder), dataset=dataset, loaded=result.loaded)
    if "error" in answer:
        result.add("the card's numbers", FAILED, answer["error"])
    else:
        result.add_all(answer["checks"])


def _check_tag(result: Verification, folder: Path) -> None:
    """Whether the tag that the card tells its readers to load is there."""
    card = folder / CARD
    if not card.is_file() or card.stat().st_size > LARGEST_JSON:
        return
    pinned = re.search(r'revision = "(run-[0-9a-f]+)"', card.read_text(encoding="utf-8", errors="replace"))
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
