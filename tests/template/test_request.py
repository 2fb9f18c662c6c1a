"""A new batch becomes a request, its merge the model that answers, its revert the one before."""

from __future__ import annotations

import csv
import json
import random
import re
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from datetime import date, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import sin
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import jsonschema
import pytest
from generated import ENVIRONMENT, UV, Render, champion, commit, demo, edit, run, start

pytestmark = pytest.mark.slow

PULLS = "/repos/{owner}/{repo}/pulls"
Call = tuple[str, str, dict[str, str], dict[str, Any]]  # method, path, query, body
NOTHING_NEW = "Nothing changed since"


class GitHub(ThreadingHTTPServer):
    """Holds pull requests, and what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.calls: list[Call] = []
        self.pulls: list[dict[str, Any]] = []


class Answer(BaseHTTPRequestHandler):
    server: GitHub

    def answer(self) -> None:
        address = urlsplit(self.path)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"] or 0)) or "{}")
        self.server.calls.append((self.command, address.path, dict(parse_qsl(address.query)), body))
        content = json.dumps(self.change(address.path, body)).encode()
        self.send_response(200 if self.headers["Authorization"] == "Bearer secret-token" else 401)
        self.end_headers()
        self.wfile.write(content)

    def change(self, path: str, body: dict[str, Any]) -> Any:
        pulls = self.server.pulls
        if self.command == "GET":
            return [self.listed(pull) for pull in pulls[::-1]]
        if self.command == "POST":
            number = len(pulls) + 1
            pulls.append({"number": number, "state": "open", "html_url": f"https://forge/{number}"})
        pull = pulls[-1] if self.command == "POST" else pulls[int(path.rsplit("/", 1)[1]) - 1]
        pull.update(body)
        return pull

    def listed(self, pull: dict[str, Any]) -> dict[str, Any]:
        """As GitHub lists it: the branches with their repository."""
        sides = {side: {"ref": pull[side], "repo": {"id": 7}} for side in ("head", "base")}
        return {**pull, **sides}

    def log_message(self, *_: Any) -> None:
        """A test prints nothing."""

    do_GET = do_POST = do_PATCH = answer  # noqa: N815


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[GitHub]:
    """GitHub, in whose CI the project's commands then run: nobody is known to git there."""
    with GitHub() as server:
        url = f"http://127.0.0.1:{server.server_port}"
        variables = {
            "GITHUB_API_URL": url,
            "GITHUB_SERVER_URL": url,
            "GITHUB_REPOSITORY": "acme/demo",
            "GITHUB_TOKEN": "secret-token",
            "HOME": str(tmp_path),
            "GIT_CONFIG_NOSYSTEM": "1",
            "UV_CACHE_DIR": subprocess.check_output([UV, "cache", "dir"], text=True).strip(),
            "TRACKING_WAIT": "1",
        }
        for name, value in variables.items():
            monkeypatch.setitem(ENVIRONMENT, name, value)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def rows(path: Path, first: int, last: int) -> None:
    """One batch: a number decides, by a curve that a line cannot follow."""
    chance = random.Random(first)
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "seen", "amount", "size", "left"])
        for number in range(first, last):
            amount = round(chance.gauss(0, 1.5), 3)
            left = 1.8 * sin(2 * amount) + chance.gauss(0, 0.7) > 0
            seen = date(2024, 1, 1) + timedelta(days=number // 3)
            table.writerow(
                [f"K{number:05d}", seen, amount, chance.choice("SML"), "yes" if left else "no"]
            )


def checkout(clone: Path) -> None:
    """origin's main as a forge's runner has it: a detached HEAD, nothing from the run before."""
    run(clone, "git", "fetch", "--quiet", "--depth", "1", "origin", "main")
    run(clone, "git", "checkout", "--quiet", "--force", "--detach", "FETCH_HEAD")
    run(clone, "git", "clean", "-ffdxq", "--exclude", ".venv")
    shutil.rmtree(clone / ".dvc/cache", ignore_errors=True)
    demo(clone, "restore")


def served(project: Path) -> str:
    """The id of the model that answers over HTTP."""
    question = (
        "from fastapi.testclient import TestClient; from demo.serving.app import create_app; "
        "print('answers:', TestClient(create_app()).get('/ready').json()['model'])"
    )
    said = run(project, UV, "run", "--frozen", "python", "-W", "ignore", "-c", question)
    return re.findall(r"^answers: (\w+)$", said, re.MULTILINE)[0]


def refs(remote: Path) -> str:
    return run(remote, "git", "for-each-ref")


def test_a_batch_is_requested_merged_served_and_reverted(
    render: Render, tmp_path: Path, github: GitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, remote, clone = tmp_path / "batches", tmp_path / "origin.git", tmp_path / "clone"
    source.mkdir()
    rows(source / "0.csv", 0, 500)
    rows(source / "1.csv", 500, 1000)
    answers = {"data_uri": str(source), "target": "left", "time_column": "seen"}
    project = render({"project_name": "demo", "key_columns": ["id"], **answers})
    edit(project / "params.yaml", "min_samples_leaf: 20", "min_samples_leaf: 300")
    start(project)
    dvc = (UV, "run", "--frozen", "dvc")
    run(project, *dvc, "remote", "add", "-q", "-d", "team", str(tmp_path / "dvc"))
    assert "PROMOTE" in demo(project, "retrain")
    first = champion(project)
    run(project, *dvc, "push", "-q")
    # A person found better parameters: the round after it has a model that wins.
    edit(project / "params.yaml", "min_samples_leaf: 300", "min_samples_leaf: 20")
    commit(project, "First round, and a better idea")
    run(project, "git", "init", "--quiet", "--bare", "--initial-branch", "main", str(remote))
    run(project, "git", "remote", "add", "origin", str(remote))
    run(project, "git", "push", "--quiet", "origin", "main")

    for name in [name for name in ENVIRONMENT if re.match("GIT_(AUTHOR|COMMITTER)_", name)]:
        monkeypatch.delitem(ENVIRONMENT, name)
    run(tmp_path, "git", "clone", "--quiet", "--depth", "1", f"file://{remote}", str(clone))
    run(clone, UV, "sync", "--quiet", "--locked")

    # A batch that breaks the contract: nothing is pushed, nobody is asked.
    before = refs(remote)
    (source / "2.csv").write_text("id,seen,amount\nK1,2024-12-01,1.0\n", encoding="utf-8")
    checkout(clone)
    demo(clone, "retrain", "--pr", expect=(30,))
    assert (refs(remote), github.pulls) == (before, [])

    rows(source / "2.csv", 1000, 1250)
    checkout(clone)
    said = json.loads(demo_json(clone, "retrain", "--pr"))
    assert said["verdict"] == "promote"
    assert said["request"] == {"state": "opened", "page": "https://forge/1"}
    [pull] = github.pulls
    assert (
        pull["title"]
        == f"Retrain: promote, AUC {said['scores']['roc_auc']['value']:.3f} ({said['id']})"
    )
    assert "### Gates" in pull["body"]
    who = run(remote, "git", "log", "-1", "--format=%an <%ae>", "retrain")
    assert who.startswith("github-actions[bot] <")
    assert run(clone, "git", "symbolic-ref", "-q", "HEAD", expect=(1,)) == ""

    # The next day: another batch, the same request.
    rows(source / "3.csv", 1250, 1500)
    checkout(clone)
    second = json.loads(demo_json(clone, "retrain", "--pr"))
    assert second["request"] == {"state": "updated", "page": "https://forge/1"}
    assert second["id"] in pull["title"]
    assert second["id"] != said["id"]
    assert run(remote, "git", "rev-list", "--count", "main..retrain").strip() == "1"
    # And once more, with nothing new since.
    before = refs(remote)
    checkout(clone)
    assert json.loads(demo_json(clone, "retrain", "--pr"))["id"] == second["id"]
    assert refs(remote) == before

    run(project, "git", "fetch", "--quiet", "origin")
    run(project, *merge("merge", "--no-ff", "-m", "Merge", "origin/retrain"))
    run(project, "git", "push", "--quiet", "origin", "main")
    pull["state"] = "closed"
    checkout(clone)
    assert served(clone) == second["id"] != first
    demo(clone, "overdue")
    calls, before = len(github.calls), refs(remote)
    assert f"{NOTHING_NEW} {second['id']}" in demo(clone, "retrain", "--pr")
    assert (len(github.calls), refs(remote)) == (calls, before)

    run(project, *merge("revert", "--no-edit", "-m", "1", "HEAD"))
    run(project, "git", "push", "--quiet", "origin", "main")
    checkout(clone)
    assert served(clone) == first
    # The schedule makes the same round again; a person has decided on it, so it stays with that.
    before = refs(remote)
    assert json.loads(demo_json(clone, "retrain", "--pr"))["request"]["state"] == "closed"
    assert (refs(remote), len(github.pulls)) == (before, 1)

    if shutil.which("npm"):
        agree(github.calls, description(tmp_path))


def demo_json(project: Path, *command: str) -> str:
    """What a command prints as JSON."""
    said = demo(project, *command, "--format", "json")
    return next(line for line in said.splitlines() if line.startswith("{"))


def merge(*command: str) -> list[str]:
    """What a person does on the forge."""
    return ["git", "-c", "user.name=Reviewer", "-c", "user.email=reviewer@example.org", *command]


def description(folder: Path) -> dict[str, Any]:
    """GitHub's own description of its calls, by their paths."""
    npm = ["npm", "pack", "--silent", "@octokit/openapi"]
    name = subprocess.check_output(npm, cwd=folder, text=True).split()[-1]
    with tarfile.open(folder / name) as archive:
        file = archive.extractfile("package/generated/api.github.com.deref.json")
        assert file is not None
        return dict(json.load(file)["paths"])


def agree(calls: list[Call], paths: dict[str, Any]) -> None:
    """Every call is one that GitHub describes, and its answer has what is read from it."""
    assert {method for method, *_ in calls} == {"GET", "POST", "PATCH"}
    for method, path, query, body in calls:
        known = re.fullmatch(r"/repos/acme/demo/pulls(/\d+)?", path)
        assert known, path
        call = paths[f"{PULLS}/{{pull_number}}" if known[1] else PULLS][method.lower()]
        rules = {item["name"]: item["schema"] for item in call["parameters"]}
        for name, value in query.items():
            jsonschema.validate(int(value) if value.isdigit() else value, rules[name])
        if body:
            schema = call["requestBody"]["content"]["application/json"]["schema"]
            jsonschema.validate(body, schema | {"additionalProperties": False})
        [answer] = [call["responses"][code] for code in ("200", "201") if code in call["responses"]]
        schema = answer["content"]["application/json"]["schema"]
        read = {"number", "state", "body", "html_url", "head", "base", "merged_at"}
        assert read <= schema.get("items", schema)["properties"].keys()
