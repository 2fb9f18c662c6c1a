"""Workflows of GitHub, run for real in a shell each: of a push, a request and a schedule.

The actions that the workflows use are stand-ins: what is tested are our steps, their order, their
variables and what they leave.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import forge
import pytest
import tools
from generated import UV, Render, champion, commit, demo, edit, run, start

DVC = (UV, "run", "--frozen", "dvc")
# A step's own command is run: of the project's tests those that need the model, and of its hooks,
# after the first run, all but the slowest.
NARROW = "--no-cov --color=no -rs tests/model"
QUICK = {"SKIP": "mypy"}
STAND_IN = """\
name: stand-in
description: what this action sets up is on this machine already
inputs:
  version:
    description: of uv
runs:
  using: composite
  steps:
    - run: git --version && python3 --version && uv --version
      shell: bash
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("go"), reason="running a workflow needs Go, to build act"),
]


@pytest.fixture(scope="session")
def project(render: Render, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a champion, in a repository that its origin has whole; DVC has no remote."""
    project = render({"project_name": "demo", "forge": "github", "consumption": "batch"})
    start(project)
    assert "PROMOTE" in demo(project, "retrain")
    commit(project, "First round")
    remote = tmp_path_factory.mktemp("origin") / "origin.git"
    run(project, "git", "clone", "--quiet", "--bare", str(project), str(remote))
    run(project, "git", "remote", "add", "origin", str(remote))
    return project


@pytest.fixture
def clone(project: Path, tmp_path: Path) -> Path:
    """What a runner has of it: the last commit, and nothing that git does not keep."""
    folder = tmp_path / "clone"
    remote = run(project, "git", "remote", "get-url", "origin").strip()
    run(tmp_path, "git", "clone", "--quiet", remote, str(folder))
    return folder


def share(clone: Path, project: Path, place: Path) -> None:
    """A remote of DVC's that has the project's files, and is named in the clone's last commit."""
    for folder in (project, clone):
        run(folder, *DVC, "remote", "add", "--quiet", "--force", "--default", "team", str(place))
    run(project, *DVC, "push", "--quiet")
    run(project, "git", "restore", ".dvc/config")
    commit(clone, "A remote")


def stand_ins(clone: Path) -> list[str]:
    """Options that put a stand-in in the place of each action that the workflows use."""
    folder = clone.with_name("stand-in")
    if not folder.exists():
        folder.mkdir()
        (folder / "action.yml").write_text(STAND_IN, encoding="utf-8")
        run(folder, "git", "init", "--quiet")
        commit(folder, "Stand in")
    files = (clone / ".github/workflows").glob("*.yml")
    text = "".join(path.read_text(encoding="utf-8") for path in files)
    used = sorted(set(re.findall(r"uses: (\S+@[0-9a-f]{40})", text)))
    return [f"--local-repository={action}={folder}" for action in used]


def workflow(
    clone: Path,
    name: str,
    event: str,
    told: dict[str, Any] | None = None,
    expect: tuple[int, ...] = (0,),
    job: str = "",
    secrets: dict[str, str] | None = None,
    **variables: str,
) -> str:
    """Runs a workflow as an event starts it; told is what the event's file holds."""
    file = clone.with_name("event.json")
    file.write_text(json.dumps(told or {}), encoding="utf-8")
    given = {"PYTEST_ADDOPTS": NARROW, **variables}
    options = [
        *("--workflows", f".github/workflows/{name}.yml", "--eventpath", str(file)),
        *("--platform", "ubuntu-24.04=-self-hosted", "--pull=false", "--action-offline-mode"),
        *("--action-cache-path", str(clone.with_name("act")), "--no-cache-server"),
        *(["--job", job] if job else []),
        *(f"--env={key}={value}" for key, value in given.items()),
        *(f"--secret={key}={value}" for key, value in (secrets or {}).items()),
        *stand_ins(clone),
    ]
    return run(clone, tools.act(), event, *options, expect=expect)


def request(head: str) -> dict[str, Any]:
    """What GitHub tells of a request that comes from a repository."""
    repositories = {"head": {"repo": {"full_name": head}}, "base": {"repo": {"full_name": "a/b"}}}
    return {"pull_request": repositories}


def test_ci_is_green_without_a_model_and_says_so(clone: Path) -> None:
    said = workflow(clone, "ci", "push", job="test")
    assert "::warning::" in said
    assert "tests of the model are skipped: no remote is named" in said
    assert re.search(r"SKIPPED \[\d+\] tests/model", said)
    assert "Job succeeded" in said


def test_ci_with_a_remote_tests_the_model_or_fails(
    clone: Path, project: Path, tmp_path: Path
) -> None:
    share(clone, project, tmp_path / "dvc")
    said = workflow(clone, "ci", "push", job="test", **QUICK)
    assert "as this commit has them" in said
    assert "SKIPPED" not in said
    (tmp_path / "dvc").rename(tmp_path / "gone")
    said = workflow(clone, "ci", "pull_request", request("a/b"), (1,), "test", **QUICK)
    assert "::warning::" not in said
    said = workflow(clone, "ci", "pull_request", request("eve/b"), job="test", **QUICK)
    assert "a request from a fork has no credentials" in said
    assert re.search(r"SKIPPED \[\d+\] tests/model", said)


def test_the_switch_rings_when_rounds_are_old(clone: Path) -> None:
    assert champion(clone) in workflow(clone, "ci", "push", job="overdue")
    edit(clone / "deployment/monitoring.yaml", "max_age_days: 45", "max_age_days: 0")
    commit(clone, "No patience")
    workflow(clone, "ci", "push", job="overdue", expect=(1,))


def test_a_request_is_judged_and_a_schedule_opens_one(
    clone: Path, project: Path, tmp_path: Path
) -> None:
    share(clone, project, tmp_path / "dvc")
    run(clone, "git", "push", "--quiet", "origin", "main")
    edit(clone / "params.yaml", "learning_rate: 0.1", "learning_rate: 0.02")
    commit(clone, "An idea")
    said = workflow(clone, "train", "pull_request", request("a/b"))
    assert re.search(r"(?i)verdict +(keep|block|promote)", said)
    assert "Job succeeded" in said
    with forge.serving("github") as server:
        given = server.variables()
        secrets = {"RETRAIN_TOKEN": given.pop("RETRAIN_TOKEN")}
        workflow(clone, "retrain", "schedule", secrets=secrets, **given)
    assert [call[0] for call in server.calls] == ["GET", "POST"]
    asked = server.calls[1][2]
    assert (asked["head"], asked["base"]) == ("retrain", "main")
    message = run(clone, "git", "ls-remote", "origin", "retrain")
    assert "refs/heads/retrain" in message
