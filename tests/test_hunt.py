"""A hunt for secrets: they are planted wherever people have them, then every command is typed."""

from __future__ import annotations

import base64
import json
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import pytest
from canaries import Canary, Hit, search, search_folder
from projects import edit, project, template
from repositories import git

from mlscaffold import __main__ as program
from mlscaffold import credentials, store

PLACES = (
    *("environment", "envtoken", "envaddress", "answer", "configanswer", "configtemplate"),
    *("templateaddress", "srcpath", "installed", "netrc", "remote", "insteadof", "champion"),
)
CANARIES = {place: Canary(place) for place in PLACES}
QUESTION = "address:\n  type: str\n  default: a.csv\n"
MORE = QUESTION + "size:\n  type: int\n  default: 3\n"
FIRST = {"copier.yml": QUESTION, "a.jinja": "{{ address }}\n", "b": "one\n"}


class Closed(BaseHTTPRequestHandler):
    """Wants a login, and refuses each."""

    def do_GET(self) -> None:
        self.send_response(403 if self.headers["Authorization"] else 401)
        self.send_header("WWW-Authenticate", 'Basic realm="closed"')
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def closed() -> Iterator[int]:
    """The port of a server that lets nobody in."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Closed) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture
def type_(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str]]:
    """Types a command; returns its exit code and all that it printed, its children's too."""

    def type_(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["mlscaffold", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            program.main()
        return int(ended.value.code or 0), "".join(capfd.readouterr())

    return type_


def hits(found: Iterator[Hit]) -> list[Hit]:
    return list(found)


def test_no_command_lets_a_secret_out(
    tmp_path: Path,
    isolated: Path,
    closed: int,
    type_: Callable[..., tuple[int, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    secret = {place: canary.value for place, canary in CANARIES.items()}
    token = {place: canary.token for place, canary in CANARIES.items()}
    said: dict[str, str] = {}

    def expect(code: int, *arguments: object) -> None:
        ended, text = type_(*arguments)
        assert ended == code, f"{arguments}: {ended}\n{text}"
        said[" ".join(map(str, arguments))] = text

    # Where people have them.
    folder = tmp_path / token["environment"]
    folder.mkdir(parents=True)
    with closing(sqlite3.connect(folder / "shop.db")) as database, database:
        database.execute("create table orders (id integer, size real, is_paid text)")
        rows = [(n, n % 7 / 2, "yes" if n % 3 else "no") for n in range(120)]
        database.executemany("insert into orders values (?, ?, ?)", rows)
    (tmp_path / "table.txt").write_text("no table\n")
    for name, value in {
        "FOLDER": str(folder),
        "PASSWORD": secret["environment"],
        "TOKEN": token["envtoken"],
        "ADDRESS": f"postgresql://me:{secret['envaddress']}@localhost/shop#orders",
        "CHAMPION_KEY": token["champion"],
        "GIT_ALLOW_PROTOCOL": "file:http",
    }.items():
        monkeypatch.setenv(name, value)
    netrc = isolated / ".netrc"
    netrc.write_text(f"machine 127.0.0.1 login me password {token['netrc']}\n")
    with (isolated / ".gitconfig").open("a") as file:
        rewritten = f"http://me:{quote(secret['insteadof'], safe='')}@127.0.0.1:{closed}/"
        file.write(f'[url "{rewritten}"]\n\tinsteadOf = http://rewritten.test/\n')
    config = tmp_path / "config.toml"
    monkeypatch.setenv("MLSCAFFOLD_CONFIG", str(config))
    config.write_text("")
    source = template(tmp_path / "t", FIRST, {"copier.yml": MORE, "b": "two\n"})
    remote = f"https://me:{quote(secret['remote'], safe='')}@127.0.0.1:{closed}/p.git"

    # A template's address.
    new = ("new", "--no-env", "--defaults")
    place = tmp_path / "made"
    literal = secret["templateaddress"]
    for address in (
        f"https://me:{literal}@127.0.0.1:{closed}/t.git",
        f"https://{token['templateaddress']}@127.0.0.1:{closed}/t.git",
        f"git+https://127.0.0.1:{closed}/t.git?private_token={token['templateaddress']}",
        f"https://127.0.0.1:{closed}/t.git#access_token={token['templateaddress']}",
    ):
        expect(2, *new, place, "--template", address)
        config.write_text(f"template = {json.dumps(address.replace('template', 'config'))}\n")
        expect(2, *new, place)
    config.write_text(f"[answers]\naddress = 'https://h/a.csv?sig={token['configanswer']}'\n")
    expect(2, *new, place, "--template", source)
    config.write_text(f"[answers\naddress = '{secret['configanswer']}'\n")
    expect(2, *new, place, "--template", source)
    config.write_text("")
    for address in (f"http://127.0.0.1:{closed}/t.git", "http://rewritten.test/t.git"):
        expect(2, *new, place, "--template", address)

    # The address of data, and what a template asks.
    for number, address in enumerate(
        (
            "sqlite:///${FOLDER}/shop.db#none",
            "sqlite:///${FOLDER}/none.db#orders",
            "postgresql://me:${PASSWORD}@localhost:1/shop#orders",
            "${ADDRESS}",
            "${PASSWORD}://host/a.csv",
            f"http://127.0.0.1:{closed}/a.csv?sig=${{TOKEN}}",
            f"http://me:${{PASSWORD}}@127.0.0.1:{closed}/a.csv",
            f"postgresql://me:{secret['answer']}@localhost/shop#orders",
            f"https://127.0.0.1:{closed}/a.csv?sig={token['answer']}",
        )
    ):
        expect(2, *new, tmp_path / f"made{number}", "--data-uri", address)
    address = "sqlite:///${FOLDER}/shop.db#orders"
    paid = ("--target", "is_paid", "--format", "json")
    expect(0, *new, tmp_path / "built-in", "--data-uri", address, *paid)
    for word in ("status", "diff"):
        expect(0, word, tmp_path / "built-in")

    # A project whose remote has a password.
    folder = project(source, tmp_path / "p")
    git(folder, "remote", "add", "origin", remote)
    answers = tmp_path / "answers.yml"
    for answer in (
        f"postgresql://me:{secret['answer']}@localhost/shop",
        f"https://h/a.csv?sig={token['answer']}",
    ):
        expect(2, "update", folder, "--data", f"address={answer}")
        expect(2, "update", folder, "--data", f"none={answer}")
        expect(2, "update", folder, "--branch", "next", "--data", f"address={answer}")
        answers.write_text(json.dumps({"address": answer}))
        expect(2, "update", folder, "--data-file", answers)
        answers.write_text(f"address: '{answer}\n")
        expect(2, "update", folder, "--data-file", answers)
        expect(2, *new, tmp_path / "q", "--template", source, "--data", f"address={answer}")
    answers.unlink()
    for arguments in (("status",), ("status", "--format", "json"), ("update", "--dry-run")):
        expect(1 if arguments[0] == "status" else 0, *arguments, folder)
    expect(0, "update", folder, "--branch", "next")
    expect(0, "update", folder, "--data", "address=postgresql://me:${PASSWORD}@localhost/shop")
    expect(0, "update", folder, "--abort")
    edit(folder, {"b": "three\n"})
    expect(1, "update", folder)
    expect(1, "diff", folder)
    expect(0, "update", folder, "--abort")

    # A project that records a credential, as another tool let it in.
    recorded = folder / ".copier-answers.yml"
    text = recorded.read_text()
    for address in (
        f"https://me:{secret['srcpath']}@127.0.0.1:{closed}/t.git",
        f"https://127.0.0.1:{closed}/t.git?token={token['srcpath']}",
    ):
        recorded.write_text(text.replace(str(source), address))
        for word in ("status", "diff", "update"):
            expect(2, word, folder)
    recorded.write_text(text)

    # A fork that was installed with a token.
    _install(monkeypatch, f"https://127.0.0.1:{closed}/fork.git?token={token['installed']}")
    assert "127.0.0.1" not in store.builtin_address()

    allowed = {config, netrc, isolated / ".gitconfig", folder / ".git" / "config"}
    found = [hit for line, text in said.items() for hit in search(
        text.encode(), line.split()[0], CANARIES.values())]  # fmt: skip
    for tree in (tmp_path, isolated):
        found += search_folder(tree, CANARIES.values(), allowed)
    own = f"the name {token['environment']}"  # the folder that was made above
    assert [hit for hit in found if not hit.where.startswith(own)] == []


def _install(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    from importlib.metadata import PathDistribution

    real = PathDistribution.read_text
    origin = json.dumps({"url": url, "vcs_info": {"vcs": "git", "commit_id": "0"}})

    def read_text(self: PathDistribution, filename: str) -> str | None:
        return origin if filename == "direct_url.json" else real(self, filename)  # type: ignore[arg-type]

    monkeypatch.setattr(PathDistribution, "read_text", read_text)
    store.builtin_address.cache_clear()
    monkeypatch.setattr(credentials, "_labels", {})


CANARY = CANARIES["answer"]


@pytest.mark.parametrize(
    "text",
    [
        CANARY.value,
        quote(CANARY.value, safe=""),
        CANARY.value.upper(),
        CANARY.part("d"),
        json.dumps({"address": CANARY.value}),
        base64.b64encode(f"me:{CANARY.token}".encode()).decode(),
        base64.b64encode(f"you:{CANARY.token}".encode()).decode(),
        base64.b64encode(f"them:{CANARY.token}".encode()).decode(),
    ],
)
def test_the_hunt_sees_a_secret_in_a_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.log").write_text(f"some {text} here")
    assert [hit.canary for hit in search_folder(tmp_path, CANARIES.values())] == ["answer"]
    assert not hits(search_folder(tmp_path, CANARIES.values(), {tmp_path / "a.log"}))


def test_the_hunt_sees_a_secret_in_a_name_and_in_git(tmp_path: Path) -> None:
    """In git also where no commit names it any more."""
    git(tmp_path, "init", "-q")
    (tmp_path / CANARY.part("a")).write_text("nothing")
    (tmp_path / "file").write_text(CANARY.value)
    git(tmp_path, "add", "file")
    git(tmp_path, "rm", "-q", "--cached", "file")
    (tmp_path / "file").unlink()
    places = {hit.where for hit in search_folder(tmp_path, CANARIES.values())}
    objects = tmp_path / ".git" / "objects"
    assert f"the name {CANARY.part('a')}" in places
    assert f"objects of {objects}" in places
