"""A Hub on loopback for tests: the HTTP calls by which models are published and loaded, kept in memory.

It knows users and organizations, private and gated repositories, branches, tags, pull requests, large files, commits
with a parent and downloads of a part, and it fails on request (`Hub.fail`). Set `HF_ENDPOINT` to its `url` and
`HF_HUB_DISABLE_XET=1`.
"""

import base64
import fnmatch
import hashlib
import json
import re
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import yaml
from huggingface_hub import constants


TOKENS = {
    "hf_alice_write": {"user": "alice", "role": "write"},
    "hf_alice_read": {"user": "alice", "role": "read"},
    "hf_bob_write": {"user": "bob", "role": "write"},
}
ORGANISATIONS = {"acme": {"alice": "admin", "bob": "read"}}
DATASET = "films/reviews"
SPACES = "spaces/"  # what the names of Spaces begin with here, so that a model may have the same name
LARGE = ("*.safetensors", "*.bin", "*.png", "*.pt", "*.pkl")


class HubError(Exception):
    """An answer that is an error, with the code that the client tells errors by."""

    def __init__(self, status, message, code=None, headers=None):
        self.status, self.message, self.code, self.headers = status, message, code, headers or {}


class DroppedError(Exception):
    """The connection is cut."""


class Blob:
    """The content of a file, with its name as git or as large-file storage knows it."""

    def __init__(self, data, large):
        self.data, self.large = data, large
        self.sha256 = hashlib.sha256(data).hexdigest()
        self.oid = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()

    def entry(self, path):
        """As the listing of files gives it."""
        found = {"type": "file", "path": path, "oid": self.oid, "size": len(self.data)}
        if self.large:
            found["lfs"] = {"oid": self.sha256, "sha256": self.sha256, "size": len(self.data), "pointerSize": 130}
        return found


class Repo:
    """A repository: commits as whole listings of files, and the names that point to them."""

    def __init__(self, name, private):
        self.name, self.private, self.gated = name, private, False
        self.commits, self.parents, self.refs = {}, {}, {}
        self.large, self.discussions = {}, []
        self.add_commit("refs/heads/main", {".gitattributes": Blob(b"", False)}, None)

    def add_commit(self, ref, files, parent):
        """Point `ref` to a new commit."""
        told = json.dumps([parent, len(self.commits), sorted((path, blob.oid) for path, blob in files.items())])
        sha = hashlib.sha1(told.encode()).hexdigest()
        self.commits[sha], self.parents[sha], self.refs[ref] = files, parent, sha
        return sha

    def resolve(self, revision):
        """The commit that a branch, a tag, a pull request or a commit names."""
        for ref in (f"refs/heads/{revision}", f"refs/tags/{revision}", revision):
            if ref in self.refs:
                return self.refs[ref]
        if revision in self.commits:
            return revision
        raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")

    def history(self, revision="main"):
        """Commits from `revision` to the first."""
        sha = self.resolve(revision)
        while sha:
            yield sha
            sha = self.parents[sha]


class Hub:
    """The server: `url`, its repositories by name, what was asked of it in `log`, and its faults."""

    def __init__(self):
        self.repos, self.log, self.faults, self.lock = {}, [], [], threading.RLock()
        handler = type("Handler", (_Handler,), {"hub": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        """Close it."""
        self.server.shutdown()
        self.server.server_close()

    def reset(self):
        """Forget everything."""
        for kept in (self.repos, self.log, self.faults):
            kept.clear()

    def fail(self, match, kind, times=1, **options):
        """
        Fail the next `times` calls (-1: all) whose "METHOD /path" matches, but for the first `skip`.

        `kind` is `status` (with `status`, `retry_after`, `message`), `drop` (the connection is cut, after
        `after_bytes` of the body), `drop_response` (it is done, and nobody is told) or `truncate` (the answer ends
        after `after_bytes`).
        """
        self.faults.append({"match": match, "kind": kind, "times": times, "hits": 0, **options})

    def files(self, name, revision="main"):
        """Content of each file at a revision."""
        repo = self.repos[name]
        return {path: blob.data for path, blob in repo.commits[repo.resolve(revision)].items()}

    def asked(self, match):
        """How often something was asked."""
        return sum(bool(re.search(match, line)) for line in self.log)

    def role(self, user, namespace):
        """`None`, `read` or `write`."""
        if user is None:
            return None
        role = "write" if namespace == user["user"] else ORGANISATIONS.get(namespace, {}).get(user["user"])
        return role and ("write" if role in ("write", "admin") else "read")

    def find(self, name, user, need="read"):
        """A repository that `user` may `read`, `write` or open a pull request in (`pr`)."""
        repo = self.repos.get(name)
        role = self.role(user, name.removeprefix(SPACES).split("/")[0])
        if repo is None or (repo.private and not role):
            raise HubError(404 if user else 401, "Repository not found", "RepoNotFound")
        if need != "read":
            if user is None:
                raise HubError(401, "Invalid username or password.")
            if user["role"] != "write":
                raise HubError(403, "Forbidden: you must use a write token to upload to a repository.")
            if need == "write" and role != "write":
                raise HubError(403, "Forbidden: pass `create_pr=1` as a query parameter to create a Pull Request")
        return repo


def card_errors(text):
    """What the Hub refuses in the metadata of a card; the rules of the model-index."""
    match = re.match(r"---\s*\n(.*?)\n---", text, re.DOTALL)
    data = yaml.safe_load(match[1]) if match else {}
    errors = []
    for model in data.get("model-index") or []:
        errors += [] if isinstance(model.get("name"), str) else ['"model-index.name" is required']
        for result in model.get("results") or []:
            for part, keys in (("task", ["type"]), ("dataset", ["name", "type"])):
                errors += [f'"{part}.{key}" is required' for key in keys if not (result.get(part) or {}).get(key)]
            for metric in result.get("metrics") or [{}]:
                errors += [f'"metrics.{key}" is required' for key in ("type", "value") if metric.get(key) is None]
    return errors


def space_errors(files):
    """What the Hub refuses in a Space: colors it does not know, and an app that is not there."""
    match = re.match(r"---\s*\n(.*?)\n---", files["README.md"].data.decode(), re.DOTALL)
    data = yaml.safe_load(match[1]) if match else {}
    colors = ("red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray")
    errors = [f'"{side}" must be one of {colors}' for side in ("colorFrom", "colorTo") if data.get(side) not in colors]
    errors += [] if data.get("sdk") == "gradio" else ['"sdk" must be gradio']
    return errors + ([] if data.get("app_file") in files else ['"app_file" is not there'])


def connect(server, monkeypatch, home):
    """Let this process talk to `server` as alice, as the environment variables would have before any import."""
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "no_token"))
    monkeypatch.setattr("transformers.utils.hub._hf_api", None)  # it keeps the address of its first use
    monkeypatch.setenv("HF_TOKEN", "hf_alice_write")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub = None

    def log_message(self, *_):
        pass

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except (ValueError, OSError):  # the connection was cut
            self.close_connection = True

    def serve(self):
        hub, address = self.hub, urlsplit(self.path)
        path, self.query = unquote(address.path), {k: v[0] for k, v in parse_qs(address.query).items()}
        told = f"{self.command} {path}"
        self.fault, self.read_body = {}, None
        with hub.lock:
            hub.log.append(told)
            for fault in hub.faults:
                if fault["times"] != 0 and re.search(fault["match"], told):
                    if fault.get("skip"):
                        fault["skip"] -= 1
                        continue
                    fault["times"] -= 1
                    fault["hits"] += 1
                    self.fault = fault
                    break
        try:
            self.reply(*self.answer([unquote(part) for part in address.path.strip("/").split("/")]))
        except DroppedError:
            self.close_connection = True
            # A reset, not a clean end.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            self.connection.close()

    def answer(self, parts):
        try:
            if self.fault.get("kind") == "status":
                wait = self.fault.get("retry_after")
                headers = {} if wait is None else {"Retry-After": str(wait)}
                raise HubError(self.fault.get("status", 500), self.fault.get("message", "injected"), headers=headers)
            if self.fault.get("kind") == "drop" and "after_bytes" not in self.fault:
                raise DroppedError
            body = self.body()
            self.user = self.who()
            with self.hub.lock:
                return self.route(parts, body)
        except HubError as error:
            self.body()
            headers = {"X-Error-Message": error.message, **error.headers}
            headers |= {"X-Error-Code": error.code} if error.code else {}
            return error.status, {"error": error.message}, headers

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = serve

    def who(self):
        header = self.headers.get("Authorization")
        if not header:
            return None
        if header.removeprefix("Bearer ") not in TOKENS:
            raise HubError(401, "Invalid credentials in Authorization header")
        return TOKENS[header.removeprefix("Bearer ")]

    def body(self):
        if self.read_body is None:
            pieces = []
            for piece in self.pieces():
                pieces.append(piece)
                cut = self.fault.get("after_bytes") if self.fault.get("kind") == "drop" else None
                if cut is not None and sum(map(len, pieces)) > cut:
                    raise DroppedError
            self.read_body = b"".join(pieces)
        return self.read_body

    def pieces(self):
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            while size := int(self.rfile.readline(), 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            left = int(self.headers.get("Content-Length") or 0)
            while left:
                yield (piece := self.rfile.read(min(left, 4096)))
                left -= len(piece)

    def reply(self, status, answer, headers=None):
        if self.fault.get("kind") == "drop_response":
            raise DroppedError
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.fault.get("kind") == "truncate":
            self.wfile.write(data[: self.fault["after_bytes"]])
            self.wfile.flush()
            raise DroppedError
        if self.command != "HEAD":
            self.wfile.write(data)

    def route(self, parts, body):
        if parts[0] == "_lfs":  # what the answer to `objects/batch` told the client to do
            name, oid = "/".join(parts[1:-1]), parts[-1]
            if hashlib.sha256(body).hexdigest() != oid:
                raise HubError(400, f"the bytes received are not {oid}")
            self.hub.repos[name].large[oid] = body
            return 200, b"", {"ETag": f'"{oid}"'}
        if parts[-3:] == ["lfs", "objects", "batch"]:
            name = "/".join(parts[: 3 if parts[0] == "spaces" else 2])
            return self.large_files(name.removesuffix(".git"), json.loads(body))
        if parts[0] == "spaces":
            return self.download("/".join(parts[:3]), parts[4], "/".join(parts[5:]))
        if parts[0] != "api":
            return self.download("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        if parts[1] == "whoami-v2":
            if self.user is None:
                raise HubError(401, "Invalid username or password.")
            auth = {"type": "access_token", "accessToken": {"displayName": "test", "role": self.user["role"]}}
            return 200, {"type": "user", "id": "1", "name": self.user["user"], "orgs": [], "auth": auth}, {}
        if parts[1] == "validate-yaml":
            errors = [{"message": message} for message in card_errors(json.loads(body)["content"])]
            return 400 if errors else 200, {"errors": errors, "warnings": []}, {}
        if parts[1:] == ["repos", "create"]:
            return self.create(json.loads(body))
        if parts[1] == "datasets":
            if "/".join(parts[2:4]) != DATASET:
                raise HubError(404, "Repository not found", "RepoNotFound")
            return (
                200,
                {"_id": "1", "id": DATASET, "sha": "0" * 40, "tags": [], "cardData": {"license": "cc0-1.0"}},
                {},
            )
        name, verb, rest = "/".join(parts[2:4]), (parts[4:5] or [""])[0], parts[5:]
        name = f"{SPACES}{name}" if parts[1] == "spaces" else name
        if parts[1] not in ("models", "spaces") or not hasattr(self, f"api_{verb.replace('-', '_') or 'revision'}"):
            raise HubError(404, f"no such call: {self.command} {self.path}")
        return getattr(self, f"api_{verb.replace('-', '_') or 'revision'}")(name, rest, body)

    def create(self, body):
        namespace = body.get("organization") or (self.user or {}).get("user")
        name = f"{namespace}/{body['name']}"
        is_space = body.get("type") == "space"
        if is_space and body.get("sdk") not in ("gradio", "docker", "static"):
            raise HubError(400, '"sdk" must be one of gradio, docker, static')
        key = f"{SPACES}{name}" if is_space else name
        if self.user is None:
            raise HubError(401, "Invalid username or password.")
        if self.user["role"] != "write" or self.hub.role(self.user, namespace) != "write":
            raise HubError(403, f"You don't have the rights to create a model under the namespace {namespace}")
        if key in self.hub.repos:
            return (
                409,
                {"error": "You already created this model repo", "url": f"{self.hub.url}/{name}", "name": name},
                {},
            )
        private = body.get("visibility") == "private" or bool(body.get("private"))
        self.hub.repos[key] = Repo(key, private)
        return 200, {"url": f"{self.hub.url}/{name}", "name": name, "id": name}, {}

    def api_revision(self, name, rest, _):
        repo = self.hub.find(name, self.user)
        sha = repo.resolve((rest or ["main"])[0])
        files = [{"rfilename": path} for path in sorted(repo.commits[sha])]
        return 200, {"_id": "1", "id": name, "sha": sha, "private": repo.private, "tags": [], "siblings": files}, {}

    def api_tree(self, name, rest, _):
        repo = self.hub.find(name, self.user)
        sha = repo.resolve(rest[0])
        if rest[1:]:  # all files are at the top
            raise HubError(404, f"{rest[1]} does not exist", "EntryNotFound")
        entries = [blob.entry(path) for path, blob in sorted(repo.commits[sha].items())]
        return 200, entries, {"X-Repo-Commit": sha}

    def api_paths_info(self, name, rest, body):
        repo = self.hub.find(name, self.user)
        files = repo.commits[repo.resolve(rest[0])]
        form = json.loads(body) if body[:1] == b"{" else parse_qs(body.decode())
        return 200, [files[path].entry(path) for path in form["paths"] if path in files], {}

    def api_refs(self, name, _, __):
        repo = self.hub.find(name, self.user)

        def listed(prefix):
            found = ((ref, sha) for ref, sha in repo.refs.items() if ref.startswith(prefix))
            return [{"name": ref.removeprefix(prefix), "ref": ref, "targetCommit": sha} for ref, sha in found]

        return 200, {"branches": listed("refs/heads/"), "tags": listed("refs/tags/"), "converts": []}, {}

    def api_branch(self, name, rest, _):
        return self.point(name, f"refs/heads/{rest[0]}", "main")

    def api_tag(self, name, rest, body):
        return self.point(name, f"refs/tags/{json.loads(body)['tag']}", rest[0])

    def point(self, name, ref, revision):
        repo = self.hub.find(name, self.user, "write")
        if ref in repo.refs:
            raise HubError(409, f"Reference already exists: {ref}")
        repo.refs[ref] = repo.resolve(revision)
        return 200, {"ref": ref}, {}

    def api_discussions(self, name, _, __):
        repo = self.hub.find(name, self.user)
        return 200, {"discussions": repo.discussions, "count": len(repo.discussions), "start": 0}, {}

    def api_preupload(self, name, rest, body):
        opens = "create_pr" in self.query or rest[0].startswith("refs/pr/")
        repo = self.hub.find(name, self.user, "pr" if opens else "write")
        files, found = repo.commits[repo.resolve(rest[0])], []
        for file in json.loads(body)["files"]:
            path = file["path"]
            large = any(fnmatch.fnmatch(path, pattern) for pattern in LARGE)
            old = files.get(path)
            oid = old and (old.sha256 if old.large else old.oid)
            mode = "lfs" if large else "regular"
            found.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        return 200, {"files": found}, {}

    def api_commit(self, name, rest, body):
        revision, opens = rest[0], "create_pr" in self.query
        repo = self.hub.find(name, self.user, "pr" if opens or revision.startswith("refs/pr/") else "write")
        head = repo.resolve(revision)
        files, header = dict(repo.commits[head]), {}
        for line in map(json.loads, body.splitlines()):
            kind, value = line["key"], line["value"]
            if kind == "header":
                header = value
                if not opens and not head.startswith(value.get("parentCommit") or head):
                    raise HubError(412, "A commit has happened since. Please refresh and try again.")
            elif kind == "file":
                files[value["path"]] = Blob(base64.b64decode(value["content"]), False)
            elif kind == "lfsFile":
                if value["oid"] not in repo.large:
                    raise HubError(400, f"{value['path']} was not uploaded")
                files[value["path"]] = Blob(repo.large[value["oid"]], True)
            elif files.pop(value["path"], None) is None:
                raise HubError(404, "A file with this name doesn't exist", "EntryNotFound")
        errors = card_errors(files["README.md"].data.decode()) if "README.md" in files else []
        if name.startswith(SPACES):
            errors += space_errors(files)
        if errors:
            raise HubError(400, f"Invalid metadata in README.md: {errors}")
        ref = f"refs/heads/{revision}" if f"refs/heads/{revision}" in repo.refs else revision
        answer = {"success": True, "hookOutput": ""}
        if opens:
            number = len(repo.discussions) + 1
            ref, url = f"refs/pr/{number}", f"{self.hub.url}/{name}/discussions/{number}"
            repo.discussions.append(
                {
                    "num": number,
                    "title": header["summary"],
                    "author": {"name": self.user["user"]},
                    "createdAt": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()),
                    "isPullRequest": True,
                    "status": "open",
                    "repo": {"name": name, "type": "model"},
                }
            )
            answer["pullRequestUrl"] = url
        sha = repo.add_commit(ref, files, head)
        return 200, {**answer, "commitOid": sha, "commitUrl": f"{self.hub.url}/{name}/commit/{sha}"}, {}

    def large_files(self, name, body):
        repo = self.hub.find(name, self.user, "pr")
        objects = []
        for one in body["objects"]:
            found = {"oid": one["oid"], "size": one["size"]}
            if one["oid"] not in repo.large:
                found["actions"] = {"upload": {"href": f"{self.hub.url}/_lfs/{name}/{one['oid']}", "header": {}}}
            objects.append(found)
        return 200, {"transfer": "basic", "objects": objects}, {}

    def download(self, name, revision, path):
        repo = self.hub.find(name, self.user)
        sha = repo.resolve(revision)
        blob = repo.commits[sha].get(path)
        headers = {"X-Repo-Commit": sha}
        if blob is None:
            raise HubError(404, "Entry not found", "EntryNotFound", headers)
        if repo.gated and not self.hub.role(self.user, name.removeprefix(SPACES).split("/")[0]):
            raise HubError(403, f"Access to model {name} is restricted.", "GatedRepo", headers)
        etag = blob.sha256 if blob.large else blob.oid
        headers |= {"ETag": f'"{etag}"', "X-Linked-Size": str(len(blob.data)), "Accept-Ranges": "bytes"}
        if part := re.match(r"bytes=(\d+)-", self.headers.get("Range", "")):
            start = int(part[1])
            headers["Content-Range"] = f"bytes {start}-{len(blob.data) - 1}/{len(blob.data)}"
            return 206, blob.data[start:], headers
        return 200, blob.data, headers
