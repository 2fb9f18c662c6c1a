"""Jobs of GitLab's pipeline, run for real in a shell: of a push, a request and a schedule."""

from __future__ import annotations

import shutil
from pathlib import Path

import forge
import pytest
import tools
from generated import ENVIRONMENT, UV, Render, champion, commit, demo, edit, run, start

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = tools.gitlab_ci_local() if shutil.which("rsync") else ""
ADDRESS = "https://github.com/mlscaffold/mlscaffold"
MERGES = "/api/v4/projects/7/merge_requests"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PROGRAM, reason="running a pipeline needs npm, node and rsync"),
]


def keep(clone: Path, message: str) -> None:
    """Commits what was edited, and not the files that the program which runs the jobs leaves."""
    run(clone, "git", "commit", "--quiet", "--all", "--message", message)


def job(clone: Path, name: str, source: str, expect: int = 0, **variables: str) -> str:
    """Runs a job as the pipeline of that source would; fails when the pipeline has no such job."""
    given = {"CI_PIPELINE_SOURCE": source, **variables}
    options = [f"--variable={key}={value}" for key, value in given.items()]
    said = run(clone, PROGRAM, name, "--force-shell-executor", *options, expect=(expect,))
    run(clone, "git", "checkout", "--quiet", "--force", "HEAD")
    return said


def test_a_request_is_judged_and_a_schedule_opens_one(render: Render, tmp_path: Path) -> None:
    project = render({"project_name": "demo", "forge": "gitlab", "consumption": "batch"})
    start(project)
    assert "PROMOTE" in demo(project, "retrain")
    remote = tmp_path / "origin.git"
    dvc = (UV, "run", "--frozen", "dvc")
    run(project, *dvc, "remote", "add", "--quiet", "--default", "team", str(tmp_path / "dvc"))
    run(project, *dvc, "push", "--quiet")
    commit(project, "First round")
    run(project, "git", "clone", "--quiet", "--bare", str(project), str(remote))
    clone = tmp_path / "clone"
    run(tmp_path, "git", "clone", "--quiet", str(remote), str(clone))

    assert champion(project) in job(clone, "overdue", "push")
    edit(clone / "deployment/monitoring.yaml", "max_age_days: 45", "max_age_days: 0")
    keep(clone, "No patience")
    job(clone, "overdue", "push", expect=1)
    run(clone, "git", "reset", "--quiet", "--hard", "origin/main")

    edit(clone / "params.yaml", "learning_rate: 0.1", "learning_rate: 0.02")
    keep(clone, "An idea")
    assert "PASS" in job(clone, "train", "merge_request_event")
    assert "Keep `" in (clone / "verdict.md").read_text(encoding="utf-8")

    run(clone, "git", "switch", "--quiet", "--create", "not-main")
    job(clone, "retrain", "schedule", expect=1)
    run(clone, "git", "switch", "--quiet", "main")

    run(clone, "git", "push", "--quiet", "origin", "main")
    with forge.serving("gitlab") as server:
        job(clone, "retrain", "schedule", **server.variables())
    assert [call[:2] for call in server.calls] == [("GET", MERGES), ("POST", MERGES)]
    asked = server.calls[1][2]
    assert (asked["source_branch"], asked["target_branch"]) == ("retrain", "main")
    message = run(remote, "git", "log", "-1", "--format=%B", "retrain")
    assert message.startswith(asked["title"])
    assert run(remote, "git", "show", "retrain:docs/round.md") in asked["description"]


def test_a_schedule_says_whether_the_template_has_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job installs the tool from its repository, which here is this one."""
    source = tmp_path / "source"
    run(tmp_path, "git", "clone", "--quiet", str(ROOT), str(source))
    monkeypatch.setitem(ENVIRONMENT, "GIT_CONFIG_COUNT", "1")
    monkeypatch.setitem(ENVIRONMENT, "GIT_CONFIG_KEY_0", f"url.file://{source}.insteadOf")
    monkeypatch.setitem(ENVIRONMENT, "GIT_CONFIG_VALUE_0", ADDRESS)
    monkeypatch.setitem(ENVIRONMENT, "MLSCAFFOLD_HOME", str(tmp_path / "home"))
    new = [UV, "tool", "run", "--from", f"git+{ADDRESS}", "mlscaffold", "new", "demo"]
    run(tmp_path, *new, "--defaults", "--no-env", "--data", "forge=gitlab")
    clone = tmp_path / "clone"
    run(tmp_path, "git", "clone", "--quiet", str(tmp_path / "demo"), str(clone))
    assert "PASS" in job(clone, "template", "schedule")
    edit(clone / ".gitlab/retrain.yml", "allow_failure: true", "allow_failure: false")
    keep(clone, "An edit of what the template manages")
    said = job(clone, "template", "schedule", expect=1)
    assert ".gitlab/retrain.yml" in said
