"""A hunt for secrets in a project: they are planted, then every command is typed."""

from __future__ import annotations

import base64
import csv
import json
import shutil
import socket
import sqlite3
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit

import pytest
from canaries import Canary, Hit, search, search_folder
from generated import ENVIRONMENT, UV, Render, champion, edit, run

pytestmark = pytest.mark.slow

PLACES = ("folder", "query", "wrongquery", "login", "password", "database", "whole", "typed")
MORE = ("netrc", "gitremote", "dvcremote", "storage", "tracking", "forge", "request", "bug")
CANARIES = {place: Canary(place) for place in (*PLACES, *MORE)}
TOKEN = {place: canary.token for place, canary in CANARIES.items()}
VALUE = {place: canary.value for place, canary in CANARIES.items()}
SAMPLE = "data/sample/seattle-weather.csv"
# Runs commands in one process, as imports take longer than most of them; each forgets what the one
# before it put in for ${NAME}, as a process of its own would know nothing of it.
RUNNER = """
import json, os, sys, traceback
from demo import cli, credentials
environment = dict(os.environ)
for number, (arguments, variables) in enumerate(json.load(open(sys.argv[1]))):
    credentials._labels.clear()
    credentials._in_environment.cache_clear()
    os.environ.clear()
    os.environ.update(environment | variables)
    file = os.open(f"{sys.argv[2]}/{number}", os.O_CREAT | os.O_WRONLY)
    os.dup2(file, 1), os.dup2(file, 2)
    try:
        cli.main(arguments)
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
        code = 70
    sys.stdout.flush(), sys.stderr.flush()
    os.write(file, f"\\nexit {code}".encode())
"""
KEYS = """
import base64, pathlib, sys
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.hazmat.primitives.serialization import PublicFormat
key = Ed25519PrivateKey.generate()
public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
pathlib.Path(sys.argv[1]).write_bytes(public)
private = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
print(base64.b64encode(private).decode())
"""
BUG = """
import os
from demo import cli
from demo.data import sources
def fail(settings):
    raise TypeError(sources.expand("db://me:${PASSWORD}@host/x"))
sources.pull = fail
cli.main(["pull"])
"""


class Source(ThreadingHTTPServer):
    """Gives a table to who knows the token, or logs in; what it is asked for it says again."""

    def __init__(self, table: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.table = table


class Answer(BaseHTTPRequestHandler):
    server: Source

    def answer(self) -> None:
        login = base64.b64encode(f"me:{TOKEN['login']}".encode()).decode()
        is_known = f"sig={TOKEN['query']}" in self.path
        is_known |= self.headers["Authorization"] == f"Basic {login}"
        is_known &= urlsplit(self.path).path.endswith("weather.csv")
        said = f"{self.path} {self.headers['Authorization']}".encode()
        content = self.server.table if is_known else said
        has_no_login = "Authorization" not in self.headers
        self.send_response(200 if is_known else 401 if has_no_login else 403)
        self.send_header("WWW-Authenticate", 'Basic realm="source"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_HEAD = do_POST = do_PUT = answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@dataclass
class Hunt:
    """What was typed so far, and all that it printed."""

    project: Path
    scratch: Path
    variables: dict[str, str]
    said: list[tuple[str, bytes]] = field(default_factory=list)

    def type_(self, *commands: tuple[object, ...], **variables: str) -> list[str]:
        """Types commands, each with the exit codes that it may have; returns what they printed."""
        typed = [[list(map(str, arguments)), variables] for _, *arguments in commands]
        folder = self.scratch / f"said{len(self.said)}"
        folder.mkdir()
        script = folder / "typed.json"
        script.write_text(json.dumps(typed))
        self.python(RUNNER, str(script), str(folder))
        script.unlink()
        printed = [(folder / str(number)).read_bytes() for number in range(len(typed))]
        shutil.rmtree(folder)
        texts = [text.decode() for text in printed]
        for (codes, *arguments), data, text in zip(commands, printed, texts, strict=True):
            self.said.append((" ".join(map(str, arguments)), data))
            code = int(text.rpartition("exit ")[2])
            assert code in (codes if isinstance(codes, tuple) else (codes,)), f"{arguments}\n{text}"
        return texts

    def python(self, *arguments: str) -> bytes:
        done = subprocess.run(
            [self.project / ".venv/bin/python", "-c", *arguments],
            cwd=self.project,
            env=self.variables,
            capture_output=True,
            check=False,
        )
        self.said.append(("python", done.stdout + done.stderr))
        return done.stdout

    def hits(self, allowed: set[Path]) -> Iterator[Hit]:
        for command, text in self.said:
            yield from search(text, command.split()[0], CANARIES.values())
        yield from search_folder(self.scratch, CANARIES.values(), allowed)
        yield from search_folder(self.project, CANARIES.values(), allowed)


@pytest.fixture
def source() -> Iterator[str]:
    """The address of a server that has the sample's table."""
    table = (Path(__file__).resolve().parents[2] / "template" / SAMPLE).read_bytes()
    with Source(table) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def make_database(path: Path, table: Path) -> None:
    with table.open(encoding="utf-8") as file:
        names, *rows = csv.reader(file)
    columns = ", ".join(
        f"{name} {'text' if name in ('date', 'weather') else 'real'}" for name in names
    )
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(f"create table weather ({columns})")
        database.executemany(f"insert into weather values ({', '.join('?' * len(names))})", rows)


def serve(hunt: Hunt) -> None:
    """Asks a server, with secrets of the one who asks, for a prediction and for nothing."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [hunt.project / ".venv/bin/demo", "serve", "--port", str(port)]
    server = subprocess.Popen(
        command,
        cwd=hunt.project,
        env=hunt.variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        wait_for(server, port)
        row = {"date": "2016-01-01", "precipitation": 1.0, "temp_max": 9.0, "temp_min": 1.0}
        body = json.dumps({"rows": [row | {"wind": 2.0}]}).encode()
        headers = {
            "Authorization": f"Bearer {TOKEN['request']}",
            "Content-Type": "application/json",
        }
        codes = []
        for path, data in (("predict", body), ("predict", b"{"), (TOKEN["request"][:3], None)):
            address = f"http://127.0.0.1:{port}/{path}?token={TOKEN['request']}"
            request = urllib.request.Request(address, data, headers)
            try:
                codes.append(urllib.request.urlopen(request, timeout=30).status)
            except HTTPError as error:
                codes.append(error.code)
        assert codes == [200, 400, 404]
    finally:
        server.terminate()
        hunt.said.append(("serve", server.communicate(timeout=60)[0]))


def wait_for(server: subprocess.Popen[bytes], port: int) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until and server.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=5)
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise AssertionError("the server does not answer")


def test_no_command_of_a_project_lets_a_secret_out(
    render: Render, tmp_path: Path, source: str
) -> None:
    project = render({"project_name": "demo", "description": "Is hunted through"})
    home, folder = tmp_path / "home", tmp_path / TOKEN["folder"]
    home.mkdir()
    folder.mkdir()
    make_database(folder / "weather.db", project / SAMPLE)
    (home / ".netrc").write_text(f"machine 127.0.0.1 login me password {TOKEN['netrc']}\n")
    variables = {
        **ENVIRONMENT,
        "HOME": str(home),
        "DVC_SITE_CACHE_DIR": str(tmp_path / "dvc"),
        "TRACKING_WAIT": "1",
        "CONTAINER_TOOL": "docker",
        "FOLDER": str(folder),
        "SIG": TOKEN["query"],
        "LOGIN": TOKEN["login"],
        "PASSWORD": VALUE["password"],
        "SERVED_DIR": str(tmp_path / "served"),
        "WHOLE": f"postgresql://me:{VALUE['whole']}@localhost:1/shop#orders",
        "AWS_SECRET_ACCESS_KEY": TOKEN["storage"],
    }
    (tmp_path / "served").mkdir()
    hunt = Hunt(project, tmp_path, variables)
    address = f"http://{source}/weather.csv?sig=${{SIG}}"
    logged_in = f"http://me:${{LOGIN}}@{source}/weather.csv"
    database = "sqlite:///${FOLDER}/weather.db#weather"
    edit(project / "params.yaml", SAMPLE, address)
    edit(project / "training/search.yaml", "candidates: 12", "candidates: 2")
    run(project, "git", "init", "--quiet", "--initial-branch", "main")
    run(project, UV, "sync", "--quiet")
    remote = f"http://me:{quote(VALUE['gitremote'], safe='')}@{source}/acme/demo.git"
    run(project, "git", "remote", "add", "origin", remote)
    run(project, "git", "add", "--all")
    run(project, "git", "commit", "--quiet", "--message", "Start")

    # What succeeds.
    out = tmp_path / "out"
    hunt.type_(
        (0, "pull"),
        (0, "data", "infer"),
        (0, "data", "check"),
        (0, "retrain"),
    )
    run(project, "git", "add", "--all")
    run(project, "git", "commit", "--quiet", "--message", "Record the first round")
    id_ = champion(project)
    hunt.type_(
        (0, "retrain"),
        ((0, 10, 20), "train", "--set", "model.max_iter=20"),
        ((0, 10, 20), "train", "--format", "json", "--set", f"data.uri={database}"),
        (0, "leaderboard"),
        (0, "report"),
        (0, "search"),
        (0, "reproduce", id_),
        (0, "predict", address, out / "one.csv"),
        (0, "predict", logged_in, out / "two.parquet", "--format", "json"),
        (0, "predict", address, out / "folder"),
        (0, "predict", database, "sqlite:///${FOLDER}/out.db?timeout=5#predicted"),
        ((0, 1, 2), "monitor", database),
        ((0, 1, 2), "monitor", address, "--format", "json"),
        ((0, 1, 2), "monitor", f"sqlite:///{out}/none.db#t"),
        (0, "overdue"),
        ((0, 1), "doctor"),
        (0, "promote", "--to", "stage"),
        ((0, 2), "deploy", "stage", "--dry-run"),
        (0, "restore"),
        (2, "rollback"),
    )
    serve(hunt)

    # What fails, in each place where an address can be wrong.
    wrong = {"SIG": TOKEN["wrongquery"]}
    hunt.type_(
        (2, "pull"),
        (2, "data", "infer"),
        (2, "retrain"),
        (1, "doctor"),
        (2, "monitor", address),
        (2, "predict", address, out / "none.csv"),
        (2, "predict", address, out / "none"),
        **wrong,
    )
    typed = f"postgresql://me:{VALUE['typed']}@localhost:1/shop#orders"
    bad = (
        "sqlite:///${FOLDER}/weather.db#none",
        "sqlite:///${FOLDER}/weather.db#select '${PASSWORD}' from nothing",
        "sqlite:///${PASSWORD}/weather.db#weather",
        "postgresql://me:${PASSWORD}@localhost:1/shop#orders",
        "${WHOLE}",
        "${PASSWORD}://host/weather.csv",
        f"http://me:${{PASSWORD}}@{source}/weather.csv",
        f"http://{source}/weather.csv?sig=${{PASSWORD}}",
        "/dev/null/${PASSWORD}/weather.csv",
        "s3://box/${PASSWORD}/weather.csv",
        typed,
        f"http://{source}/weather.csv?token={TOKEN['typed']}",
    )
    hunt.type_(
        *(
            command
            for address in bad
            for command in (
                (2, "predict", address, out / "none.csv"),
                (2, "monitor", address, "--html", out / "page.html"),
                ((0, 2), "predict", database, address),
            )
        ),
        (2, "train", "--set", f"data.uri={typed}"),
        (2, "promote", "none"),
        (2, "retrain", "--pr"),
    )
    hunt.python(BUG)
    assert b"TypeError: db://me:${PASSWORD}@host/x" in hunt.said[-1][1]

    # What others are told: MLflow, git's remote, the forge, DVC's remote.
    tracking = f"http://me:{TOKEN['tracking']}@{source}"
    forge = {
        "GITHUB_API_URL": f"http://{source}/api",
        "GITHUB_REPOSITORY": "acme/demo",
        "GITHUB_SERVER_URL": f"http://{source}",
        "RETRAIN_TOKEN": TOKEN["forge"],
    }
    hunt.type_(((0, 10, 20), "train", "--set", "model.max_iter=21"), MLFLOW_TRACKING_URI=tracking)
    hunt.type_((2, "retrain", "--pr"), **forge)
    settings = project / ".dvc/config.local"
    for url, secret in (
        (
            f"http://{source}/dvc",
            f"auth = basic\n    user = me\n    password = {TOKEN['dvcremote']}",
        ),
        (f"http://me:{TOKEN['dvcremote']}@{source}/dvc", ""),
        ("s3://box/dvc", f"secret_access_key = {TOKEN['storage']}"),
    ):
        text = f"[core]\n    remote = team\n['remote \"team\"']\n    url = {url}\n    {secret}\n"
        settings.write_text(text)
        shutil.rmtree(project / ".dvc/cache", ignore_errors=True)
        (project / "deployment/model.skops").unlink(missing_ok=True)
        hunt.type_((2, "restore"))

    # A champion that is signed, with a key that is not trusted and one that is.
    public = project / "deployment/trusted_keys.pem"
    private = hunt.python(KEYS, str(public)).strip()
    del hunt.said[-1]
    hunt.type_((2, "promote", id_), CHAMPION_KEY=TOKEN["bug"])
    hunt.type_(((0, 2), "promote", id_), CHAMPION_KEY=private.decode())

    assert not [command for command, text in hunt.said if private in text]
    kept = (path for path in project.rglob("*") if path.is_file() and ".venv" not in path.parts)
    assert not [path for path in kept if private in path.read_bytes()]
    allowed = {home / ".netrc", settings, project / ".git/config", project / ".venv"}
    own = f"the name {TOKEN['folder']}"
    assert [hit for hit in hunt.hits(allowed) if not hit.where.startswith(own)] == []
