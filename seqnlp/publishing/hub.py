"""Upload a finished run to the Hub: one commit, then a tag; repeated where that helps, told in one line where not."""

import email.utils
import logging
import re
import shlex
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import tenacity
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import filter_repo_objects, parse_ratelimit_headers, validate_repo_id

from ..training import Run, TrainingArguments
from .bundle import CARD, STALE_PATTERNS, Bundle, BundledFile, build_bundle, read_record
from .card import is_on_the_hub
from .errors import PublishingError
from .privacy import without_tokens


logger = logging.getLogger(__name__)
Result = TypeVar("Result")

MAX_TRIES = 6
MAX_WAIT = 300.0  # seconds between two tries: a Hub that asks for more is told of, not waited for
PASSING_STATUSES = (408, 425, 429, 500, 502, 503, 504)


@dataclass
class Publication:
    """
    What was published, or by a dry run would be.

    Attributes:
        repo_id: The repository.
        files: What goes up.
        tag: The tag's name; not set where the model goes up as a pull request.
        url: The commit or the pull request; `None` after a dry run.
    """

    repo_id: str
    files: list[BundledFile]
    tag: str | None
    url: str | None = None


def push_if_asked(run: Run) -> None:
    """Publish a finished run where `--push_to_hub` asks for it, by its main process, and tell the address."""
    if run.arguments.push_to_hub and run.accelerator.is_main_process:
        run.tell(f"Uploaded: {push_to_hub(run.output_dir, run.arguments)}")


def push_to_hub(output_dir: str | Path, arguments: TrainingArguments) -> str:
    """
    Publish a finished run as its arguments say; call it in one process alone.

    Returns:
        The address of the commit or of the pull request.

    Raises:
        PublishingError: If the Hub cannot be reached or refuses, or something must not be published.
    """
    return publish(
        output_dir,
        arguments.hub_model_id,
        private=arguments.hub_private_repo,
        branch=arguments.hub_revision,
        create_pr=arguments.create_pr,
    ).url


def publish(
    output_dir: str | Path,
    repo_id: str | None = None,
    *,
    private: bool = False,
    branch: str | None = None,
    create_pr: bool = False,
    replace: bool = False,
    dry_run: bool = False,
    max_shard_size: int | str | None = None,
    license: str | None = None,
    exports: Sequence[str] = (),
) -> Publication:
    """
    Put a finished run on the Hub: weights, configuration, tokenizer, code, card, `run.json` and learning curves.

    Everything is written to a folder and checked first. One commit then puts it up and deletes old weights and code,
    so that whoever loads the model meanwhile gets the old one or the new one; last comes a tag named from `run.json`,
    which the card pins. Done twice, it changes nothing.

    Args:
        output_dir: The folder of a finished run.
        repo_id: `NAME` or `ORGANIZATION/NAME`; the folder's name by default.
        private: Whether the repository is made private if it does not exist yet.
        branch: The branch it goes to, made if need be; `main` by default.
        create_pr: Open a pull request instead, for repositories of others.
        replace: Whether a repository that holds something else is taken over.
        dry_run: Only say what would go up; needs no network.
        max_shard_size: Bytes of a file of weights at most.
        license: The license that the card gives the model, by its name on the Hub, e.g. `apache-2.0`.
        exports: Targets that it is exported to; each goes up in a folder of that name, and stands on the card.

    Raises:
        PublishingError: In one line that says why, what is up there now and how to go on.
    """
    output_dir = Path(output_dir)
    repo_id = repo_id or output_dir.resolve().name
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise PublishingError(f"{repo_id!r} cannot be the name of a model: {_reason(error)}") from error
    if create_pr and branch:
        raise PublishingError(f"A pull request goes to the main branch: leave out the branch {branch!r}.")
    record = read_record(output_dir)  # before anything is asked of the Hub
    upload = None
    if not dry_run:
        upload = _Upload(output_dir, repo_id, branch, create_pr, private, replace, license, exports)
    if upload:
        repo_id = upload.identify()
    options = {"pinned": not create_pr, "max_shard_size": max_shard_size, "license": license, "exports": exports}
    options["dataset_license"] = upload.license_of(record) if upload else None
    with tempfile.TemporaryDirectory() as folder:
        bundle = build_bundle(output_dir, folder, repo_id, **options)
        tag = None if create_pr else bundle.tag
        url = upload.send(bundle) if upload else None
    return Publication(repo_id, bundle.files, tag, url)


class _Upload:
    """The calls of one publication, in their order, and what to say when one of them fails for good."""

    def __init__(
        self,
        output_dir: Path,
        repo_id: str,
        branch: str | None,
        create_pr: bool,
        private: bool,
        replace: bool,
        license: str | None,
        exports: Sequence[str],
    ):
        self.api = HfApi()
        self.output_dir = output_dir
        self.repo_id, self.branch, self.create_pr = repo_id, branch, create_pr
        self.private, self.replace, self.license, self.exports = private, replace, license, exports
        self.user: str | None = None
        self.head: str | None = None  # of the branch before our commit
        self.committed: str | None = None

    def identify(self) -> str:
        """Who publishes, and so the whole name of the repository."""
        if get_token() is None:
            raise PublishingError(
                f"{self.repo_id}: there is no access token, so nothing was uploaded. Log in by `hf auth login`, or "
                "set HF_TOKEN to a token that may write."
            )
        user = self._call(self.api.whoami)
        role = user.get("auth", {}).get("accessToken", {}).get("role")
        if role == "read":
            raise PublishingError(
                f"{self.repo_id}: the access token of {user['name']} may only read, so nothing was uploaded. Take one "
                "that may write, by `hf auth login` or HF_TOKEN."
            )
        if "/" not in self.repo_id:
            self.repo_id = f"{user['name']}/{self.repo_id}"
        self.user = user["name"]
        return self.repo_id

    def license_of(self, record: dict[str, Any]) -> str | None:
        """What the Hub says of the license of the run's dataset; nothing where it is not there or not told."""
        name = record.get("dataset", {}).get("name") or ""
        if not is_on_the_hub(name):
            return None
        try:
            card = self.api.dataset_info(name, revision=record["dataset"].get("revision")).card_data
        except (httpx2.HTTPError, OSError, ValueError):
            return None  # a card can do without
        license = card.get("license") if card else None
        return ", ".join(license) if isinstance(license, list) else license

    def send(self, bundle: Bundle) -> str:
        """Make the repository if need be, commit, tag; gives the address."""
        self._make_repository()
        names = self._files_there()
        if not self.replace:
            self._refuse_other_content(names)
        self._refuse_other_weights(bundle)
        title = f"Publish {bundle.tag}"
        commit = self._call(lambda: self._commit(bundle, title))
        self.committed = commit.oid
        if self.create_pr:
            return commit.pr_url or f"{self.api.endpoint}/{self.repo_id}/discussions/{self._open_pull_request(title)}"
        self._call(
            lambda: self.api.create_tag(self.repo_id, tag=bundle.tag, revision=commit.oid, exist_ok=True),
        )
        return commit.commit_url

    def _make_repository(self) -> None:
        try:
            info = self._call(lambda: self.api.model_info(self.repo_id), passes=RepositoryNotFoundError)
        except RepositoryNotFoundError:
            self._call(lambda: self.api.create_repo(self.repo_id, private=self.private, exist_ok=True))
            info = self._call(lambda: self.api.model_info(self.repo_id))
        if self.private and not info.private:
            raise PublishingError(
                f"{self.repo_id} is there already and is public, so nothing was uploaded. Make it private in its "
                "settings, or choose another name."
            )
        if self.branch:
            self._call(lambda: self.api.create_branch(self.repo_id, branch=self.branch, exist_ok=True))
        self.head = self._call(self._head)

    def _head(self) -> str:
        return self.api.model_info(self.repo_id, revision=self.branch).sha

    def _files_there(self) -> list[str]:
        return self._call(lambda: self.api.list_repo_files(self.repo_id, revision=self.branch))

    def _refuse_other_content(self, names: list[str]) -> None:
        # A repository that has a run.json is one that seqnlp made; what people have added to it stays.
        others = [name for name in names if name not in (CARD, ".gitattributes", "LICENSE")]
        if others and "run.json" not in names:
            raise PublishingError(
                f"{self.repo_id} holds something else ({others[0]}), so nothing was uploaded. "
                "Choose another name, or take the repository over by `seqnlp publish --replace`."
            )

    def _refuse_other_weights(self, bundle: Bundle) -> None:
        """The tag of this run.json may be there, and then people rely on the weights it names."""
        if self.create_pr:
            return
        refs = self._call(lambda: self.api.list_repo_refs(self.repo_id))
        if bundle.tag not in [tag.name for tag in refs.tags]:
            return
        wanted = bundle.weights()
        entries = self._call(lambda: self.api.get_paths_info(self.repo_id, list(wanted), revision=bundle.tag))
        there = {entry.path: entry.lfs.sha256 for entry in entries if entry.lfs}
        if there != wanted:
            raise PublishingError(
                f"{self.repo_id} has the tag {bundle.tag} of the same run.json, but with other weights, so nothing "
                f"was uploaded. Delete it by `hf repos tag delete {self.repo_id} {bundle.tag}` if it is wrong."
            )

    def _commit(self, bundle: Bundle, title: str) -> Any:
        # All of it anew at each try: the answer to the one before may have been lost, its commit made. Not by
        # upload_folder, which makes several commits where hf_xet is installed.
        additions = [CommitOperationAdd(file.name, bundle.folder / file.name) for file in bundle.files]
        pull_request = self._open_pull_request(title) if self.create_pr else None
        revision = f"refs/pr/{pull_request}" if pull_request else self.branch
        there = self.api.list_repo_files(self.repo_id, revision=revision)
        new = {file.name for file in bundle.files}
        stale = [name for name in filter_repo_objects(there, allow_patterns=list(STALE_PATTERNS)) if name not in new]
        opens = self.create_pr and not pull_request
        return self.api.create_commit(
            self.repo_id,
            [*(CommitOperationDelete(name) for name in stale), *additions],
            commit_message=title,
            revision=revision,
            create_pr=opens,
            # Someone else's commit in between must not be overwritten unseen.
            parent_commit=None if self.create_pr else self._head(),
        )

    def _open_pull_request(self, title: str) -> int | None:
        """Number of the pull request of this run that a try before, or an earlier command, has opened."""
        for discussion in self.api.get_repo_discussions(
            self.repo_id, author=self.user, discussion_type="pull_request"
        ):
            if discussion.title == title and discussion.status in ("open", "draft"):
                return discussion.num
        return None

    def _call(self, function: Callable[[], Result], passes: type[Exception] | tuple = ()) -> Result:
        """Call the Hub, again where that may help; errors of the kinds `passes` go to the caller."""
        try:
            return retrying(function)
        except passes:
            raise
        except (
            httpx2.HTTPError,
            HFValidationError,
            LocalTokenNotFoundError,
            OSError,
            RuntimeError,
            ValueError,
        ) as error:
            raise PublishingError(
                f"{self.repo_id}: {explain(error)}. {self._what_is_up()} {self._how_to_go_on()}"
            ) from error

    def _how_to_go_on(self) -> str:
        command = ["seqnlp", "publish", str(self.output_dir), self.repo_id]
        command += ["--branch", self.branch] if self.branch else []
        named = {"--create_pr": self.create_pr, "--private": self.private, "--replace": self.replace}
        command += [flag for flag, is_given in named.items() if is_given]
        command += ["--license", self.license] if self.license else []
        command += ["--with", ",".join(self.exports)] if self.exports else []
        return f"What was trained is on disk; go on by `{shlex.join(command)}`."

    def _what_is_up(self) -> str:
        if self.user is None:
            return "Nothing was uploaded."
        where = f"{self.repo_id}" + (f" (branch {self.branch})" if self.branch else "")
        if self.create_pr:
            return "Nothing that is published there has changed."
        if self.committed:
            return f"{where} holds the new model, whole, as commit {self.committed[:8]}; only its tag is missing."
        try:
            now = self._head()
        except (RepositoryNotFoundError, RevisionNotFoundError):
            return f"{where} does not exist, or may not be seen."
        except (httpx2.HTTPError, OSError, ValueError):
            return f"What {where} holds now cannot be told, but never half of a model: it changes by whole commits."
        if self.head is None or now == self.head:
            return f"{where} is unchanged, at commit {now[:8]}."
        return f"{where} has moved on from commit {self.head[:8]} to {now[:8]}."


def retrying(function: Callable[[], Result]) -> Result:
    """
    Call `function`, which asks something of the Hub, up to six times, waiting as long as the Hub asks for.

    Only what may pass is repeated: lost connections, and the statuses 408, 425, 429 and 5xx.
    """
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(_may_pass),
        stop=tenacity.stop_after_attempt(MAX_TRIES) | tenacity.stop_before_delay(2 * MAX_WAIT),
        wait=_wait,
        sleep=time.sleep,
        before_sleep=_say,
        reraise=True,
    )(function)


def explain(error: BaseException) -> str:
    """What went wrong with a call to the Hub, without its tokens and its several lines."""
    error = _behind(error)
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set, so the Hub was not asked; unset it"
    if isinstance(error, RevisionNotFoundError):
        return "there is no such branch, tag or commit"
    if isinstance(error, GatedRepoError):  # a kind of RepositoryNotFoundError
        return "its owner grants access one by one: ask for it on its page, then use an access token of yours"
    if isinstance(error, RepositoryNotFoundError):
        return "there is no such repository, or the access token may not see it"
    if status == 401:
        return "the Hub does not accept the access token; log in anew by `hf auth login`, or set HF_TOKEN"
    if status == 403:
        return f"the access token has no right to do this ({_reason(error)}); take one that may write there"
    if status == 412:
        return "someone else has committed to it meanwhile"
    if status == 429:
        wait = _asked_for(error)
        return "the Hub has had too many requests" + (f" and asks to wait {wait:.0f} seconds" if wait else "")
    if status is not None and status >= 500:
        return f"the Hub failed with status {status} each time"
    if isinstance(error, httpx2.TransportError):
        return f"the connection to the Hub was lost each time ({_reason(error)})"
    return _reason(error)


def _reason(error: BaseException) -> str:
    message = getattr(error, "server_message", None) or str(error)
    # The number of a request says nothing to a reader.
    message = re.sub(r"\(?Request ID: ?[^)\s]*\)?", "", message)
    return without_tokens(" ".join(message.split())[:300]).rstrip(".")


def _behind(error: BaseException) -> BaseException:
    # The client wraps whatever goes wrong with a large file in a RuntimeError.
    return error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ else error


def _may_pass(error: BaseException) -> bool:
    error = _behind(error)
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in PASSING_STATUSES
    return isinstance(error, httpx2.TransportError)


def _asked_for(error: BaseException | None) -> float | None:
    """Seconds that the Hub asks to wait: `Retry-After` in seconds or as a date, or its own header of rate limits."""
    error = _behind(error) if error else None
    if not isinstance(error, HfHubHTTPError):
        return None
    headers = error.response.headers
    value = headers.get("Retry-After")
    if value and value.strip().isdigit():
        return float(value)
    if value:
        try:
            return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
        except ValueError:
            pass
    limit = parse_ratelimit_headers(headers)
    return float(limit.reset_in_seconds) if limit and limit.remaining == 0 else None


_backoff = tenacity.wait_exponential_jitter(initial=1, max=30)


def _wait(state: tenacity.RetryCallState) -> float:
    asked = _asked_for(state.outcome.exception())
    if asked is None:
        return _backoff(state)
    # More than the bound makes `stop_before_delay` give up at once.
    return asked + 1 if asked <= MAX_WAIT else float("inf")


def _say(state: tenacity.RetryCallState) -> None:
    reason = explain(state.outcome.exception()).removesuffix(" each time")
    logger.warning("%s; trying again in %.0f s", reason, state.upcoming_sleep)
