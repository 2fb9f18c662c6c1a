"""Jobs of GitLab's pipeline, run for real in a shell: of a push, a request and a schedule."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

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


class GitLab(ThreadingHTTPServer):
    """Has no merge request yet, opens one, and knows what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.calls: list[tuple[str, str, Any]] = []


class Answer(BaseHTTPRequestHandler):
    server: GitLab

    def answer(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"] or 0)) or "{}")
        self.server.calls.append((self.command, self.path.partition("?")[0], body))
        opened = {"iid": 1, "state": "opened", "web_url": "https://forge/1"}
        self.send_response(200 if self.headers["Authorization"] == "Bearer secret-token" else 401)
        self.end_headers()
        self.wfile.write(json.dumps([] if self.command == "GET" else opened).encode())

    def log_message(self, *_: Any) -> None:
        """A test prints nothing."""

    do_GET = do_POST = answer  # noqa: N815


def keep(clone: Path, message: str) -> None:
    """Commits what was edited, and not the files that the program which runs the jobs leaves."""
    run(clone, "git", "commit", "--quiet", "--all", "--message", message)


@pytest.fixture
def gitlab() -> Iterator[GitLab]:
    with GitLab() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def job(clone: Path, name: str, source: str, expect: int = 0, **variables: str) -> str:
    """Runs a job as the pipeline of that source would; fails when the pipeline has no such job."""
    given = {"CI_PIPELINE_SOURCE": source, **variables}
    options = [f"--variable={key}={value}" for key, value in given.items()]
    said = run(clone, PROGRAM, name, "--force-shell-executor", *options, expect=(expect,))
    run(clone, "git", "checkout", "--quiet", "--force", "HEAD")
    return said


def test_a_request_is_judged_and_a_schedule_opens_one(
    render: Render, tmp_path: Path, gitlab: GitLab
) -> None:
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

    run(clone, "git", "push", "--quiet", "origin", "main")
    url = f"http://127.0.0.1:{gitlab.server_port}"
    address = {"CI_SERVER_URL": url, "CI_API_V4_URL": f"{url}/api/v4", "CI_PROJECT_ID": "7"}
    job(clone, "retrain", "schedule", RETRAIN_TOKEN="secret-token", **address)
    assert [call[:2] for call in gitlab.calls] == [("GET", MERGES), ("POST", MERGES)]
    asked = gitlab.calls[1][2]
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
