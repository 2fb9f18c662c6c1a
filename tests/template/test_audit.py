"""What CI's audit of a project says of its packages, by the commands and the uv of that job."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from generated import ENVIRONMENT, UV, Render, run
from pipelines import pipelines

pytestmark = pytest.mark.slow


class Weaknesses(ThreadingHTTPServer):
    """Answers like osv.dev (https://google.github.io/osv.dev/post-v1-query/), of one package."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.weak, self.status = "", 200
        self.asked: set[str] = set()


class Answer(BaseHTTPRequestHandler):
    server: Weaknesses

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        package = asked["package"]
        self.server.asked.add(package["name"])
        affected = [{"package": package, "versions": [asked["version"]]}]
        known = {"vulns": [{"id": "OSV-2026-1", "details": "It leaks.", "affected": affected}]}
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(json.dumps(known if package["name"] == self.server.weak else {}).encode())

    def log_message(self, *_: Any) -> None:
        """A test prints nothing."""


@pytest.fixture
def osv(monkeypatch: pytest.MonkeyPatch) -> Iterator[Weaknesses]:
    with Weaknesses() as server:
        monkeypatch.setitem(ENVIRONMENT, "PIP_AUDIT_VULNERABILITY_SERVICE", "osv")
        url = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setitem(ENVIRONMENT, "PIP_AUDIT_OSV_URL", url)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def project(render: Render) -> Path:
    project = render({"project_name": "demo", "forge": "gitlab"})
    run(project, UV, "lock", "--quiet")
    return project


@pytest.fixture
def job(project: Path) -> list[list[str]]:
    """The command lines of the job, run by the uv that CI pins."""
    [main, _] = pipelines(project, "gitlab")
    [version] = re.findall(r"/uv:([\d.]+)-", main["default"]["image"])
    pinned = [UV, "tool", "run", f"uv@{version}"]
    return [[*pinned, *line.split()[1:]] for line in main["audit"]["script"]]


def test_packages_without_a_known_weakness_pass(
    project: Path, job: list[list[str]], osv: Weaknesses
) -> None:
    for line in job[:2]:
        said = run(project, *line)
    assert "No known vulnerabilities found" in said
    assert {"scikit-learn", "dvc", "pytest", "ray"} <= osv.asked, "every group is looked up"


@pytest.mark.parametrize("weak", ["pandas", "pytest"])
def test_a_package_with_a_known_weakness_is_red(
    project: Path, job: list[list[str]], osv: Weaknesses, weak: str
) -> None:
    osv.weak = weak
    run(project, *job[0])
    said = run(project, *job[1], expect=(1,))
    assert re.search(rf"{weak} +\S+ +OSV-2026-1", said)


def test_no_answer_is_red(project: Path, job: list[list[str]], osv: Weaknesses) -> None:
    osv.status = 503
    run(project, *job[0])
    done = subprocess.run(job[1], cwd=project, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "503" in done.stderr


def test_list_of_packages_keeps_the_schema_and_has_what_is_deployed(
    project: Path, job: list[list[str]]
) -> None:
    run(project, *job[2])
    text = (project / "build/sbom.json").read_text(encoding="utf-8")
    validator = JsonStrictValidator(SchemaVersion.V1_5)
    assert validator.validate_str(text) is None
    assert validator.validate_str(text.replace('"purl"', '"url"', 1)), "a typo is noticed"
    names = {component["name"] for component in json.loads(text)["components"]}
    assert {"scikit-learn", "fastapi", "skops"} <= names
    assert not names & {"dvc", "mlflow-skinny", "pytest"}
