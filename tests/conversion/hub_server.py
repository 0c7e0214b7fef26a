"""A Hub on this machine that takes uploads: the calls of the real one's protocol that an upload and a download make.

Accounts, creating a repository, pre-upload, large files (in one piece or in parts), commits, trees and downloads.  What
arrives is kept as it came (`hub_state.py`), so that a test can compare bytes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

from .hub_state import LARGE, OWNER, TOKEN, HubState, Repository, git_digest


@contextmanager
def upload_hub() -> Iterator[tuple[str, HubState]]:
    """A Hub without repositories: its address, and its state, which a test may change."""
    state = HubState()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"state": state}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", state
    finally:
        state.released.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    state: HubState

    def do_GET(self) -> None:
        self._serve()

    def do_HEAD(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def _serve(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.state.requests.append(f"{self.command} {path}")
        parts = path.strip("/").split("/")
        if parts[0] == "storage":
            self._storage(parts[1:])
        elif parts == ["api", "whoami-v2"]:
            self._whoami()
        elif parts == ["api", "repos", "create"]:
            self._create()
        elif parts == ["api", "validate-yaml"]:
            self._validate()
        elif parts[:2] == ["api", "models"]:
            self._model("/".join(parts[2:4]), parts[4:])
        elif path.endswith(".git/info/lfs/objects/batch"):
            self._batch(path.strip("/").partition(".git/")[0])
        elif "resolve" in parts:
            self._resolve("/".join(parts[:2]), "/".join(parts[4:]))
        else:
            self._send(404, {"error": f"no such call: {path}"})

    # ---- who

    @property
    def _is_known(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _may_write(self, repo_id: str) -> bool:
        namespace = repo_id.partition("/")[0]
        return self._is_known and self.state.role == "write" and namespace not in self.state.closed

    def _whoami(self) -> None:
        if not self._is_known:
            self._send(401, {"error": "Invalid username or password."})
            return
        token = {"type": "access_token", "accessToken": {"displayName": "test", "role": self.state.role}}
        self._send(200, {"type": "user", "name": OWNER, "orgs": [], "auth": token})

    # ---- repositories

    def _create(self) -> None:
        asked = json.loads(self._body())
        repo_id = f"{asked.get('organization') or OWNER}/{asked['name']}"
        if not self._may_write(repo_id):
            self._send(403, {"error": f"You don't have the rights to create a model under {repo_id}"})
        elif repo_id in self.state.repositories:
            self._send(409, {"error": "You already created this model repo", "url": f"{self._address}/{repo_id}"})
        else:
            # Older clients say `private`, newer ones `visibility`.
            private = bool(asked.get("private")) or asked.get("visibility") == "private"
            self.state.repositories[repo_id] = Repository(private)
            self._send(200, {"url": f"{self._address}/{repo_id}", "name": repo_id})

    def _model(self, repo_id: str, call: list[str]) -> None:
        repository = self.state.repositories.get(repo_id)
        if repository is None or (repository.private and not self._is_known):
            self._body()
            self._send(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        elif call[:1] == ["preupload"]:
            self._preupload(repo_id, repository)
        elif call[:1] == ["commit"]:
            self._commit(repo_id, repository)
        elif call[:1] == ["tree"]:
            self._send(200, [self._entry(repository, path) for path in sorted(repository.files)])
        elif call[:1] == ["xet-write-token"]:
            url = f"local://{self.state.xet}"  # a folder in place of a server, as Xet's own tests have it
            self._send(200, {"casUrl": url, "exp": int(time.time()) + 3600, "accessToken": "xet"})
        else:
            siblings = [{"rfilename": path} for path in sorted(repository.files)]
            known = {"id": repo_id, "sha": repository.head, "private": repository.private, "tags": repository.tags}
            self._send(200, {**known, "siblings": siblings})

    @staticmethod
    def _entry(repository: Repository, path: str) -> dict[str, Any]:
        content = repository.files[path]
        entry: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": git_digest(content)}
        if path in repository.large:
            entry["lfs"] = {"oid": repository.large_digest(path), "size": len(content), "pointerSize": 134}
        return entry

    def _validate(self) -> None:
        """The Hub refuses metadata that is no YAML mapping; what else it checks is its own."""
        content = json.loads(self._body())["content"]
        self.state.validated.append(content)
        try:
            metadata = yaml.safe_load(content.split("---\n", 2)[1])
        except (IndexError, yaml.YAMLError):
            metadata = None
        if isinstance(metadata, dict):
            self._send(200, {"errors": [], "warnings": []})
        else:
            self._send(400, {"errors": [{"message": "metadata is not a mapping"}], "warnings": []})

    def _preupload(self, repo_id: str, repository: Repository) -> None:
        files = json.loads(self._body())["files"]
        if not self._may_write(repo_id):
            self._send(403, {"error": "Forbidden"})
            return
        found = []
        for file in files:
            path = file["path"]
            large = path.endswith(LARGE)
            known: dict[str, Any] = {"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}
            if path in repository.files:
                known["oid"] = repository.large_digest(path) if large else git_digest(repository.files[path])
            found.append(known)
        self._send(200, {"files": found})

    def _commit(self, repo_id: str, repository: Repository) -> None:
        lines = [json.loads(line) for line in self._body().splitlines()]
        with self.state.lock:
            if self.state.cut_commits > 0:
                self.state.cut_commits -= 1
                self.close_connection = True
                return
        if not self._may_write(repo_id):
            self._send(403, {"error": "Forbidden"})
            return
        new: dict[str, bytes] = {}
        removed: list[str] = []
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                new[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                if self.state.xet is not None:
                    self.state.store[value["oid"]] = f"xet {value['oid']}".encode()
                if value["oid"] not in self.state.store:
                    self._send(400, {"error": f"{value['path']}: its content was not uploaded"})
                    return
                new[value["path"]] = self.state.store[value["oid"]]
                repository.large.add(value["path"])
            elif line["key"] == "deletedFile":
                removed.append(value["path"])
        for path in removed:
            del repository.files[path]
        repository.files.update(new)
        repository.commits.append((sorted(new), removed))
        self._send(
            200, {"commitUrl": f"{self._address}/{repo_id}/commit/{repository.head}", "commitOid": repository.head}
        )

    def _resolve(self, repo_id: str, path: str) -> None:
        repository = self.state.repositories.get(repo_id)
        if repository is None or (repository.private and not self._is_known):
            self._send(404, {}, {"X-Error-Code": "RepoNotFound"})
        elif path not in repository.files:
            self._send(404, {}, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": repository.head})
        else:
            content = repository.files[path]
            etag = f'"{hashlib.sha256(content).hexdigest()}"'
            self._send(200, content, {"ETag": etag, "X-Repo-Commit": repository.head})

    # ---- large files

    def _batch(self, repo_id: str) -> None:
        asked = json.loads(self._body())
        if not self._may_write(repo_id):
            self._send(403, {"error": "Forbidden"})
            return
        objects = []
        for one in asked["objects"]:
            if one["oid"] not in self.state.store:
                verify = {"href": f"{self._address}/storage/{one['oid']}/verify"}
                one = {**one, "actions": {"upload": self._upload_action(one), "verify": verify}}
            objects.append(one)
        self._send(200, {"transfer": "basic", "objects": objects}, {"Content-Type": "application/vnd.git-lfs+json"})

    def _upload_action(self, one: dict[str, Any]) -> dict[str, Any]:
        url = f"{self._address}/storage/{one['oid']}"
        size = self.state.part_size
        if size is None:
            return {"href": url}
        header = {str(number + 1): f"{url}/{number + 1}" for number in range(-(-one["size"] // size))}
        return {"href": f"{url}/complete", "header": {**header, "chunk_size": str(size)}}

    def _storage(self, where: list[str]) -> None:
        oid, *rest = where
        if rest == ["verify"]:
            body = json.loads(self._body())
            whole = len(self.state.store.get(oid, b"")) == body["size"]
            self._send(200 if whole else 404, {})
        elif rest == ["complete"]:
            wanted = [part["partNumber"] for part in json.loads(self._body())["parts"]]
            self._keep(oid, b"".join(self.state.parts[oid][number] for number in wanted))
        elif (content := self._large_body()) is None:
            self.close_connection = True
        elif self.state.storage_status != 200:
            self._send(self.state.storage_status, {"error": "the store refuses"})
        elif rest:
            self.state.parts.setdefault(oid, {})[int(rest[0])] = content
            self._send(200, {}, {"ETag": f'"{rest[0]}"'})
        else:
            self._keep(oid, content)

    def _keep(self, oid: str, content: bytes) -> None:
        if hashlib.sha256(content).hexdigest() != oid:
            self._send(400, {"error": "another content than was announced"})
            return
        self.state.received.append(oid)
        self.state.store[oid] = content
        self._send(200, {})

    def _large_body(self) -> bytes | None:
        """The body, or None where the connection broke in the middle."""
        length = int(self.headers["Content-Length"])
        half = self.rfile.read(length // 2)
        with self.state.lock:
            if self.state.cut > 0:
                self.state.cut -= 1
                return None
        if self.state.held:
            self.state.half.set()
            self.state.released.wait()
        content = half + self.rfile.read(length - len(half))
        return content if len(content) == length else None

    # ---- answers

    @property
    def _address(self) -> str:
        return f"http://{self.headers['Host']}"

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _send(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Nothing: standard error is what the tests look at."""
