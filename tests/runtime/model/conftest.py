"""A Hugging Face Hub on this machine, with the answers of its few endpoints."""

import json
import re
import socket
import threading
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class Hub:
    """A repository `owner/name` as the Hub serves it: of each commit the files, and which commit `main` is."""

    first = "1" * 40  # the commit that it begins with

    def __init__(self):
        self.commits, self.main, self.asked, self.agents = {}, self.first, [], set()
        self.failing = None  # a status, and the error code of the Hub
        self.sizes, self.body = {}, None

    def answer(self, method, path):
        """Status, headers and body of an answer."""
        if self.failing is not None:
            status, code = self.failing
            return status, {"X-Error-Code": code} if code else {}, b"{}"
        if self.body is not None:
            return 200, {}, self.body
        path = path.partition("?")[0]
        if found := re.fullmatch(r"/api/models/owner/name(?:/revision/(.+))?", path):
            if (commit := self._commit(found[1] or "main")) is None:
                return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
            files = [
                {"rfilename": name, "size": self.sizes.get(name, len(data)), "blobId": "b"}
                for name, data in self.commits[commit].items()
            ]
            return 200, {}, json.dumps({"id": "owner/name", "sha": commit, "siblings": files}).encode()
        if found := re.fullmatch(r"/owner/name/resolve/([^/]+)/(.+)", path):
            if (commit := self._commit(found[1])) is None:
                return 404, {"X-Error-Code": "RevisionNotFound"}, b""
            if (data := self.commits[commit].get(found[2])) is None:
                return 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit}, b""
            return 200, {"ETag": f'"{sha256(data).hexdigest()}"', "X-Repo-Commit": commit}, data
        return 404, {"X-Error-Code": "RepoNotFound"}, b"{}"

    def _commit(self, revision):
        commit = {"main": self.main, "v1": self.first}.get(revision.replace("%2F", "/"), revision)
        return commit if commit in self.commits else None


@contextmanager
def serving(hub):
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            status, headers, body = hub.answer(self.command, self.path)
            hub.asked.append(f"{self.command} {self.path.removesuffix('?blobs=true').removesuffix('?blobs=True')}")
            hub.agents.add(self.headers["User-Agent"])
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_GET = do_HEAD  # noqa: N815

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def hub(tmp_path, monkeypatch, tiny_model):
    """A Hub with one model, asked by huggingface_hub, whose cache is empty."""
    pytest.importorskip("huggingface_hub", reason='models on the Hub need huggingface_hub: pip install "clf-edge[hub]"')
    from huggingface_hub import constants

    hub = Hub()
    hub.commits[hub.first] = {"README.md": b"# A model", "model.onnx": tiny_model(), "run.py": b"raise SystemExit"}
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)  # as in a process that nothing else imported it in
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving(hub) as endpoint:
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)
        template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield hub


@pytest.fixture
def unreachable(hub, monkeypatch):
    """From now on nobody listens where the Hub was."""
    from huggingface_hub import constants

    def cut():
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            endpoint = f"http://127.0.0.1:{free.getsockname()[1]}"
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)

    return cut
