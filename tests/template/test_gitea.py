"""A project's requests on a real Gitea: the tests of tests/gitea/life.py, in its environment."""

from __future__ import annotations

import shutil
from pathlib import Path

import gitea_server
import pytest
from generated import ENVIRONMENT, UV, Render, run

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not shutil.which("go"), reason="a real Gitea is built by Go, which is missing"
    ),
]


def test_the_life_of_a_request(
    render: Render, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "demo"
    shutil.copytree(render({"project_name": "demo", "forge": "github"}), project)
    run(project, UV, "sync", "--quiet")
    shutil.copy(ROOT / "tests/gitea/life.py", project / "tests/unit/test_life.py")
    place = tmp_path / "gitea"
    place.mkdir()
    with gitea_server.running(place) as gitea:
        monkeypatch.setitem(ENVIRONMENT, "GITEA_URL", gitea.url)
        monkeypatch.setitem(ENVIRONMENT, "GITEA_TOKEN", gitea.token)
        reader = gitea.limited_token("read:repository")
        monkeypatch.setitem(ENVIRONMENT, "GITEA_READER", reader)
        life = ("tests/unit/test_life.py", "--quiet", "-o", "pythonpath=tests/unit")
        said = run(project, UV, "run", "--frozen", "pytest", *life)
    assert " passed" in said
    assert "skipped" not in said
