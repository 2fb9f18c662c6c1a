"""A new project is no part of what stands around it, unless that was asked for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from repositories import git, write

from mlscaffold import surroundings
from mlscaffold.cli import cli

UV = str(Path(sys.executable).with_name("uv"))


@pytest.fixture
def outer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository that someone stands in."""
    folder = tmp_path / "outer"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    monkeypatch.chdir(folder)
    return folder


def new(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli, ["new", *arguments, "--defaults", "--no-env"])
    assert "Traceback" not in done.output
    return done.exit_code, done.stderr


def test_no_repository_inside_a_repository(outer: Path) -> None:
    code, said = new("models/churn")
    assert code == 2
    assert "inside another one" in said
    assert "--no-git" in said
    assert sorted(outer.iterdir()) == [outer / ".git"]


def test_it_may_become_a_part_of_the_repository(outer: Path) -> None:
    code, said = new("models/churn", "--no-git")
    assert code == 0, said
    git(outer, "add", "models")
    assert "models/churn/params.yaml" in git(outer, "ls-files").splitlines()


def test_a_folder_that_the_repository_ignores_is_free(outer: Path) -> None:
    write(outer, {".gitignore": "/scratch/\n"})
    code, said = new("scratch/churn")
    assert code == 0, said
    assert (outer / "scratch/churn/.git").is_dir()


def test_gits_own_folder_is_no_work_tree(outer: Path) -> None:
    assert surroundings.outer_repository(outer / ".git/churn") is None
    assert surroundings.outer_repository(outer.parent / "churn") is None


@pytest.mark.parametrize(
    ("workspace", "name"),
    [
        ({"members": ["models/*"]}, "models/churn"),
        ({"members": ["models/*"]}, "models/a/churn"),
        ({"members": ["models/**"]}, "models/churn"),
        ({"members": ["models/churn"]}, "models/churn"),
        ({"members": ["models/*"], "exclude": ["models/churn"]}, "models/churn"),
        ({"members": ["models/*"], "exclude": ["models/c*"]}, "models/churn"),
        ({"members": ["libs/*"]}, "models/churn"),
        ({"members": ["models/*"]}, "churn"),
        ({}, "models/churn"),
    ],
)
def test_uv_agrees_on_whose_member_it_is(
    workspace: dict[str, list[str]], name: str, tmp_path: Path
) -> None:
    """uv itself makes the lock: in the workspace's folder, or in the project's."""
    project = '[project]\nname = "{}"\nversion = "0.1.0"\nrequires-python = ">=3.11"\n'
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in workspace.items())
    top = f"{project.format('platform')}[tool.uv.workspace]\n{lines}"
    write(tmp_path, {"pyproject.toml": top, f"{name}/pyproject.toml": project.format("churn")})
    environment = {**os.environ, "UV_OFFLINE": "1", "UV_PYTHON": sys.executable}
    command = [UV, "lock", "--quiet"]
    done = subprocess.run(command, cwd=tmp_path / name, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr
    is_member = (tmp_path / "uv.lock").exists()
    assert (surroundings.uv_workspace(tmp_path / name) is not None) == is_member


def test_a_member_of_a_workspace_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {"pyproject.toml": '[tool.uv.workspace]\nmembers = ["models/*"]\n'})
    monkeypatch.chdir(tmp_path)
    code, said = new("models/churn")
    assert code == 2
    assert 'exclude = ["models/churn"]' in said
    assert [path.name for path in tmp_path.iterdir()] == ["pyproject.toml"]
