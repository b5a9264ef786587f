"""A Space on the Hub: the page of a published model, with everything it runs by."""

import importlib.metadata
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import numpy as np
import yaml
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HFValidationError
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image

from ..extras import install
from .bundle import BundledFile, bundled_files
from .errors import PublishingError
from .hub import Publication, explain, retrying
from .privacy import find_private_in_file, find_token_in_file, refuse_private


PACKAGE = Path(__file__).parents[1]
SOURCES = ("*.py", "*.html", "*.md", "py.typed")
MADE_HERE = ("seqnlp/", "examples/", "app.py", "requirements.txt", "examples.json", "README.md")
"""What a Space holds; nothing else is touched."""
Result = TypeVar("Result")

APP = '''"""The page of {model}: what `seqnlp demo {model}` opens."""

from pathlib import Path

from seqnlp.cli.demo import launch, open_page


page = open_page({model!r}, revision={revision!r}, examples=Path(__file__).with_name("examples.json"))
launch(page)
'''


def build_space(
    folder: Path,
    model: str,
    revision: str | None,
    title: str,
    use: str,
    examples: Sequence[Any],
    extras: Sequence[str] = (),
) -> list[BundledFile]:
    """
    Write a Space to an empty folder: the card with what the Hub reads, the page, its examples, the versions of all
    that it needs as they are installed here, and the code of seqnlp, so that the page runs as it does here.

    Args:
        folder: Where it goes.
        model: The id of the model on the Hub.
        revision: Its tag or branch that the page loads; `None` for the main branch.
        title: What the page does.
        use: What the model is for.
        examples: What a visitor may click: texts, images, or tables of numbers.
        extras: Those of seqnlp that the answers need beside the page's own.

    Raises:
        PublishingError: If gradio is not installed, or something holds a token or a path of the machine.
    """
    try:
        gradio = importlib.metadata.version("gradio")
    except importlib.metadata.PackageNotFoundError as error:
        raise PublishingError(f"A Space runs by gradio, whose version it names: {install('demo')}.") from error
    metadata = {
        "title": f"{title}: {model.split('/')[-1]}"[:60],
        "emoji": "🧵",
        "colorFrom": "yellow",
        "colorTo": "gray",
        "sdk": "gradio",
        "sdk_version": gradio,
        "python_version": "3.11",
        "app_file": "app.py",
        "pinned": False,
        "models": [model],
    }
    card = f"---\n{yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True)}---\n\n# {title}\n\n{use}\n\n"
    card += (
        f"The model is [{model}](https://huggingface.co/{model}). This page was written by `seqnlp publish --space`.\n"
    )
    (folder / "README.md").write_text(card, encoding="utf-8")
    (folder / "app.py").write_text(APP.format(model=model, revision=revision), encoding="utf-8")
    (folder / "requirements.txt").write_text("".join(f"{line}\n" for line in requirements(extras)), encoding="utf-8")
    shown = json.dumps(_written(folder, examples), ensure_ascii=False, indent=1)
    (folder / "examples.json").write_text(f"{shown}\n", encoding="utf-8")
    for path in sorted(path for pattern in SOURCES for path in PACKAGE.rglob(pattern)):
        target = folder / "seqnlp" / path.relative_to(PACKAGE)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    for name in ("README.md", "app.py", "requirements.txt", "examples.json"):
        refuse_private(find_private_in_file(folder / name))
    files = bundled_files(folder)
    for file in files:
        refuse_private(find_token_in_file(folder / file.name))
    return files


def requirements(extras: Sequence[str] = ()) -> list[str]:
    """
    `name==version` of every package that seqnlp, its page and these extras need, and that those need, where they are
    installed here; but gradio, which the Hub adds by the card's `sdk_version`.
    """
    found: dict[str, str] = {}
    waiting = [("seqnlp", extra) for extra in ("", "demo", *extras)]
    seen = set(waiting)
    while waiting:
        name, extra = waiting.pop()
        try:
            package = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # of an extra that is not installed
        # What follows a plus sign is where a build comes from, e.g. of torch for CPUs.
        found[canonicalize_name(name)] = package.version.split("+")[0]
        for needed in map(Requirement, package.requires or []):
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                new = {(canonicalize_name(needed.name), part) for part in ("", *needed.extras)} - seen
                waiting += new
                seen |= new
    return sorted(f"{name}=={version}" for name, version in found.items() if name not in ("gradio", "seqnlp"))


def _written(folder: Path, examples: Sequence[Any]) -> list[Any]:
    """Examples as JSON has them; images go to files of their own."""
    written = []
    for number, example in enumerate(examples, start=1):
        if isinstance(example, Image.Image):
            (folder / "examples").mkdir(exist_ok=True)
            example.save(folder / "examples" / f"{number}.png")
            example = f"examples/{number}.png"
        elif not isinstance(example, str):
            values = np.asarray(example, dtype=np.float64)
            example = [[None if np.isnan(value) else value for value in row] for row in values.tolist()]
        written.append(example)
    return written


def publish_space(
    model: Publication,
    title: str,
    use: str,
    examples: Sequence[Any],
    extras: Sequence[str] = (),
    private: bool = False,
    dry_run: bool = False,
) -> Publication:
    """
    Put the page of a published model on the Hub as a Space of its name, in one commit.

    Args:
        model: What was published.
        title: What the page does.
        use: What the model is for.
        examples: What a visitor may click; public with it.
        extras: Those of seqnlp that the answers need beside the page's own.
        private: Whether the Space is made private if it does not exist yet.
        dry_run: Only say what would go up; needs no network.

    Raises:
        PublishingError: In one line that says why, and what is up there now.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = build_space(folder, model.repo_id, model.tag, title, use, examples, extras)
        url = None if dry_run else _send(folder, files, model.repo_id, private)
    return Publication(model.repo_id, files, None, url)


def _send(folder: Path, files: list[BundledFile], repo_id: str, private: bool) -> str:
    api = HfApi()
    space = {"repo_id": repo_id, "repo_type": "space"}

    def call(function: Callable[[], Result]) -> Result:
        try:
            return retrying(function)
        except (httpx2.HTTPError, HFValidationError, OSError, RuntimeError, ValueError) as error:
            raise PublishingError(
                f"The Space {repo_id}: {explain(error)}. The model is published; the Space is as it was, or not "
                "there. The same command goes on."
            ) from error

    call(lambda: api.create_repo(**space, space_sdk="gradio", private=private, exist_ok=True))
    is_private = call(lambda: api.space_info(repo_id)).private
    if private and not is_private:
        raise PublishingError(f"The Space {repo_id} is there already and is public: make it private in its settings.")
    there = call(lambda: api.list_repo_files(**space))
    others = [name for name in there if name not in (".gitattributes", "README.md") and not name.startswith(MADE_HERE)]
    if others or ("app.py" in there and "seqnlp/__init__.py" not in there):
        other = (others or ["app.py"])[0]
        raise PublishingError(
            f"The Space {repo_id} holds something else ({other}), so it was left alone; the model is published. Move "
            "that Space, or publish under another name."
        )
    new = {file.name for file in files}
    stale = [CommitOperationDelete(name) for name in there if name.startswith(MADE_HERE) and name not in new]

    def commit() -> Any:
        added = [CommitOperationAdd(file.name, folder / file.name) for file in files]
        head = api.space_info(repo_id).sha
        return api.create_commit(**space, operations=[*stale, *added], commit_message="The page", parent_commit=head)

    call(commit)
    return f"{api.endpoint}/spaces/{repo_id}"
