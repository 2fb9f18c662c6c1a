"""A real Gitea on this machine, with one user and repositories of a test's own."""

from __future__ import annotations

import json
import os
import pwd
import socket
import subprocess
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tools

PAGE = 3  # items that a page of the API holds, whatever is asked for; by itself it is 50
USER, PASSWORD = "boss", "a-password-of-a-test"
SETTINGS = """\
RUN_MODE = prod
RUN_USER = {user}
I_AM_BEING_UNSAFE_RUNNING_AS_ROOT = true
WORK_PATH = {folder}
[server]
HTTP_ADDR = 127.0.0.1
HTTP_PORT = {port}
ROOT_URL = http://127.0.0.1:{port}/
STATIC_ROOT_PATH = {pages}
DISABLE_SSH = true
OFFLINE_MODE = true
[database]
DB_TYPE = sqlite3
PATH = {folder}/data/gitea.db
[security]
INSTALL_LOCK = true
PASSWORD_HASH_ALGO = pbkdf2_v1
[repository]
ROOT = {folder}/repos
DEFAULT_BRANCH = main
[service]
DISABLE_REGISTRATION = true
[actions]
ENABLED = false
[api]
MAX_RESPONSE_ITEMS = {items}
[indexer]
ISSUE_INDEXER_TYPE = db
[cron]
ENABLED = false
[log]
MODE = console
LEVEL = Warn
"""


@dataclass(frozen=True)
class Gitea:
    """Where it answers, and a token that may do everything."""

    url: str
    token: str

    def call(self, method: str, path: str, content: Any = None) -> Any:
        """What the API answers; HTTPError with what it refuses."""
        return _call(f"{self.url}/api/v1{path}", f"token {self.token}", method, content)

    def limited_token(self, *scopes: str) -> str:
        """A token that may do less; its name says what."""
        password = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        content = {"name": "-".join(scopes).replace(":", "-"), "scopes": list(scopes)}
        path = f"{self.url}/api/v1/users/{USER}/tokens"
        return str(_call(path, f"Basic {password}", "POST", content)["sha1"])


@contextmanager
def running(folder: Path) -> Iterator[Gitea]:
    """Starts it in an empty folder, and ends it."""
    program, pages = tools.gitea()
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    user = pwd.getpwuid(os.geteuid()).pw_name
    settings = folder / "app.ini"
    values = {"user": user, "folder": folder, "port": port, "pages": pages, "items": PAGE}
    settings.write_text(SETTINGS.format(**values))
    variables = {"PATH": os.environ["PATH"], "HOME": str(folder), "USER": user}
    command = [program, "--config", str(settings), "--work-path", str(folder)]

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [*command, *arguments], env=variables, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    run("migrate")
    log = (folder / "web.log").open("w")
    server = subprocess.Popen([*command, "web"], env=variables, stdout=log, stderr=log)
    try:
        _wait_for(f"http://127.0.0.1:{port}/api/v1/version")
        admin = ("admin", "user")
        who = ("--username", USER)
        mail = ("--email", "boss@example.org", "--must-change-password=false")
        run(*admin, "create", "--admin", *who, "--password", PASSWORD, *mail)
        token = run(
            *(*admin, "generate-access-token", *who, "--token-name", "t"),
            *("--scopes", "all", "--raw"),
        )
        yield Gitea(f"http://127.0.0.1:{port}", token.split()[-1])
    finally:
        server.terminate()
        server.wait(30)
        log.close()


def _call(url: str, login: str, method: str, content: Any = None) -> Any:
    body = None if content is None else json.dumps(content).encode()
    headers = {"Authorization": login, "Content-Type": "application/json"}
    request = urllib.request.Request(url, body, headers, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def _wait_for(url: str) -> None:
    end = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
