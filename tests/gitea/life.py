"""The life of a request on a real Gitea; it is run as one of a rendered project's own tests.

GITEA_URL and GITEA_TOKEN say where it is; each test has a repository of its own there.
"""

import json
import os
import secrets
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from demo.settings import ProjectError, Settings
from demo.training import request, rounds
from test_request import VARIABLES, git, go_round, quiet

URL, TOKEN = os.environ["GITEA_URL"], os.environ["GITEA_TOKEN"]
OWNER = "boss"
FIRST, SECOND = "41e0c2b7", "77aa01bb"


@dataclass(frozen=True)
class Repository:
    """One on the forge, and the project whose origin it is."""

    name: str
    root: Path

    def call(self, method: str, path: str = "", content: Any = None) -> Any:
        body = None if content is None else json.dumps(content).encode()
        headers = {"Authorization": f"token {TOKEN}", "Content-Type": "application/json"}
        address = f"{URL}/api/v1/repos/{OWNER}/{self.name}{path}"
        asked = urllib.request.Request(address, body, headers, method=method)
        with urllib.request.urlopen(asked, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def requests(self) -> dict[int, tuple[str, str, str]]:
        """Of each request: its branch's name, its state and its title."""
        found = self.call("GET", "/pulls?state=all")
        return {
            item["number"]: (item["head"]["label"], item["state"], item["title"]) for item in found
        }

    def merge(self, number: int, how: str, *, delete: bool = False) -> None:
        for _ in range(50):  # it computes for a moment whether a request can be merged
            try:
                self.call(
                    "POST",
                    f"/pulls/{number}/merge",
                    {"Do": how, "delete_branch_after_merge": delete},
                )
                return
            except urllib.error.HTTPError as error:
                if error.code != 405:
                    raise
                time.sleep(0.2)
        raise AssertionError("it could not be merged")

    def push(self, *what: str) -> None:
        git(
            self.root,
            "-c",
            f"http.{URL}/.extraheader=Authorization: token {TOKEN}",
            "push",
            "--quiet",
            *what,
        )

    def commit_on(self, branch: str, name: str) -> str:
        """A person's commit with a new file on top of a branch."""
        content = {"branch": branch, "content": "aGVsbG8K", "message": f"Add {name}"}
        made = self.call("POST", f"/contents/{name}", content)
        return str(made["commit"]["sha"])


@pytest.fixture
def repository(live: Settings, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """A new one, with the project on its main; what Gitea's CI sets is set."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Somebody")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "somebody@example.org")
    name = f"repository-{secrets.token_hex(4)}"
    here = Repository(name, live.root)
    body = json.dumps({"name": name, "default_branch": "main"}).encode()
    headers = {"Authorization": f"token {TOKEN}", "Content-Type": "application/json"}
    urllib.request.urlopen(
        urllib.request.Request(f"{URL}/api/v1/user/repos", body, headers)
    ).close()
    (live.root / ".gitignore").write_text(
        "/reports/\n/remote*\n/.dvc/cache\n/.dvc/tmp\n*.partial\n"
    )
    git(live.root, "remote", "add", "origin", f"{URL}/{OWNER}/{name}.git")
    git(live.root, "add", "--all")
    git(live.root, "commit", "--quiet", "--message", "Start")
    here.push("origin", "main")
    while here.call("GET")["empty"]:  # the forge learns of the push a moment later
        time.sleep(0.1)
    monkeypatch.setenv("GITHUB_SERVER_URL", URL)
    monkeypatch.setenv("GITHUB_API_URL", f"{URL}/api/v1")
    monkeypatch.setenv("GITHUB_REPOSITORY", f"{OWNER}/{name}")
    monkeypatch.setenv("GITHUB_TOKEN", TOKEN)
    return here


def propose(live: Settings, record: rounds.Round, id_: str = FIRST) -> str:
    return request.propose(live, go_round(live, record, id_, "keep"), quiet).state


def test_a_round_has_one_request(
    live: Settings, record: rounds.Round, repository: Repository
) -> None:
    assert propose(live, record) == "opened"
    assert propose(live, record) == "updated"
    assert propose(live, record, SECOND) == "updated"
    assert [
        (branch, state, SECOND in title) for branch, state, title in repository.requests().values()
    ] == [("retrain", "open", True)]


def test_a_person_s_own_request_stays_theirs(
    live: Settings, record: rounds.Round, repository: Repository
) -> None:
    repository.call("POST", "/branches", {"new_branch_name": "idea", "old_branch_name": "main"})
    repository.commit_on("idea", "idea.md")
    mine = {"head": "idea", "base": "main", "title": "My idea", "body": "Mine."}
    repository.call("POST", "/pulls", mine)
    assert propose(live, record) == "opened"
    assert propose(live, record, SECOND) == "updated"
    found = repository.requests()
    assert found[1] == ("idea", "open", "My idea")
    assert repository.call("GET", "/pulls/1")["body"] == "Mine."
    assert found[2][0] == "retrain"


def test_a_request_on_the_second_page_is_found(
    live: Settings, record: rounds.Round, repository: Repository
) -> None:
    assert propose(live, record) == "opened"
    for number in range(4):  # more than a page holds: gitea_server.PAGE
        repository.call(
            "POST", "/branches", {"new_branch_name": f"b{number}", "old_branch_name": "main"}
        )
        repository.commit_on(f"b{number}", f"{number}.md")
        repository.call(
            "POST", "/pulls", {"head": f"b{number}", "base": "main", "title": f"Number {number}"}
        )
    assert propose(live, record, SECOND) == "updated"
    assert SECOND in repository.call("GET", "/pulls/1")["title"]


def test_a_closed_request_is_a_no_to_its_round(
    live: Settings, record: rounds.Round, repository: Repository
) -> None:
    assert propose(live, record) == "opened"
    repository.call("PATCH", "/pulls/1", {"state": "closed"})
    assert propose(live, record) == "closed"
    assert propose(live, record, SECOND) == "opened"
    assert [state for _, state, _ in repository.requests().values()] == ["open", "closed"]


def test_a_reopened_request_goes_on(
    live: Settings, record: rounds.Round, repository: Repository
) -> None:
    assert propose(live, record) == "opened"
    repository.call("PATCH", "/pulls/1", {"state": "closed"})
    repository.call("PATCH", "/pulls/1", {"state": "open"})
    assert propose(live, record) == "updated"
    assert len(repository.requests()) == 1


@pytest.mark.parametrize("how", ["squash", "merge", "rebase"])
def test_a_person_s_commit_ends_nothing_after_the_merge(
    live: Settings, record: rounds.Round, repository: Repository, how: str
) -> None:
    assert propose(live, record) == "opened"
    mine = repository.commit_on("retrain", "mine.md")
    with pytest.raises(ProjectError, match="a person's commit: merge it"):
        propose(live, record, SECOND)
    assert repository.call("GET", "/branches/retrain")["commit"]["id"] == mine
    repository.merge(1, how)
    assert propose(live, record, SECOND) == "opened"
    assert [state for _, state, _ in repository.requests().values()] == ["open", "closed"]


def test_a_commit_after_the_merge_is_nobody_s_to_write_over(
    live: Settings, record: rounds.Round, repository: Repository
) -> None:
    assert propose(live, record) == "opened"
    repository.commit_on("retrain", "mine.md")
    repository.merge(1, "squash")
    later = repository.commit_on("retrain", "later.md")
    with pytest.raises(ProjectError, match="a person's commit"):
        propose(live, record, SECOND)
    assert repository.call("GET", "/branches/retrain")["commit"]["id"] == later


def test_a_branch_that_is_gone_comes_again(
    live: Settings, record: rounds.Round, repository: Repository
) -> None:
    assert propose(live, record) == "opened"
    repository.merge(1, "squash", delete=True)
    assert propose(live, record, SECOND) == "opened"


@pytest.mark.usefixtures("repository")
def test_a_wrong_token_is_named(
    live: Settings, record: rounds.Round, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETRAIN_TOKEN", "0123456789" * 4)
    with pytest.raises(ProjectError, match="RETRAIN_TOKEN") as error:
        propose(live, record)
    assert "0123456789" not in error.value.message
    assert "terminal prompts" not in error.value.message


def test_a_token_that_may_only_read_is_named(
    live: Settings, record: rounds.Round, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETRAIN_TOKEN", os.environ["GITEA_READER"])
    with pytest.raises(ProjectError, match="RETRAIN_TOKEN"):
        propose(live, record)
    assert repository.requests() == {}


def test_a_renamed_repository_is_found(
    live: Settings, record: rounds.Round, repository: Repository
) -> None:
    assert propose(live, record) == "opened"
    renamed = Repository(f"{repository.name}-new", repository.root)
    repository.call("PATCH", content={"name": renamed.name})
    assert propose(live, record, SECOND) == "updated"
    assert SECOND in renamed.call("GET", "/pulls/1")["title"]
