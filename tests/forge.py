"""A forge that has no request of a branch yet, opens one, and knows what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "secret-token"
# What each says to a listing, and of a request that it has opened.
ANSWERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "github": ([], {"number": 1, "state": "open", "html_url": "https://forge/1"}),
    "gitlab": ([], {"iid": 1, "state": "opened", "web_url": "https://forge/1"}),
    "azure": ({"value": [], "count": 0}, {"pullRequestId": 1, "status": "active"}),
}


class Server(ThreadingHTTPServer):
    """calls are what it was asked: method, path and body."""

    def __init__(self, forge: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.forge = forge
        self.deployed = ""  # the commit of the last run of the deployment that succeeded
        self.calls: list[tuple[str, str, Any]] = []

    def variables(self) -> dict[str, str]:
        """Those that the forge's CI sets, by which a job finds it; and a token."""
        url = f"http://127.0.0.1:{self.server_port}"
        named = {
            "github": {
                "GITHUB_SERVER_URL": url,
                "GITHUB_API_URL": url,
                "GITHUB_REPOSITORY": "acme/demo",
                "RETRAIN_TOKEN": TOKEN,
            },
            "gitlab": {
                "CI_SERVER_URL": url,
                "CI_API_V4_URL": f"{url}/api/v4",
                "CI_PROJECT_ID": "7",
                "RETRAIN_TOKEN": TOKEN,
            },
            "azure": {
                "SYSTEM_COLLECTIONURI": f"{url}/acme/",
                "SYSTEM_TEAMPROJECT": "weather",
                "BUILD_REPOSITORY_ID": "7",
                "SYSTEM_ACCESSTOKEN": TOKEN,
                "SYSTEM_DEFINITIONID": "7",
                "BUILD_SOURCEBRANCH": "refs/heads/main",
            },
        }
        return named[self.forge]


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def answer(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"] or 0)) or "{}")
        self.server.calls.append((self.command, self.path.partition("?")[0], body))
        listing, opened = ANSWERS[self.server.forge]
        if "/_apis/build/builds?" in self.path:
            listing = {"value": [{"sourceVersion": self.server.deployed}]}
        self.send_response(200 if self.headers["Authorization"] == f"Bearer {TOKEN}" else 401)
        self.end_headers()
        self.wfile.write(json.dumps(listing if self.command == "GET" else opened).encode())

    def log_message(self, *_: Any) -> None:
        """A test prints nothing."""

    do_GET = do_POST = answer  # noqa: N815


@contextmanager
def serving(forge: str) -> Iterator[Server]:
    with Server(forge) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()
