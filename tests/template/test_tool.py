"""What the scheduled look at the template runs: the tool of the project's own commit."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import copier
import pytest
from click.testing import CliRunner
from generated import Render
from pipelines import FILES
from repositories import commit, git, tree

from mlscaffold import store, template
from mlscaffold.cli import cli

ADDRESS = "https://git.acme.dev/ml/scaffold.git"
OURS = "https://github.com/mlscaffold/mlscaffold"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def source(tmp_path: Path, isolated: Path) -> Path:
    """The working tree's template as a repository with two releases, which ADDRESS leads to."""
    folder = tmp_path / "source"
    folder.mkdir()
    shutil.copy(ROOT / "copier.yml", folder)
    ignore = shutil.ignore_patterns("__pycache__", ".*_cache")
    shutil.copytree(ROOT / "template", folder / "template", ignore=ignore)
    commit(folder, {}, tag="v1.0.0")
    commit(folder, {"README.md": "Two.\n"}, tag="v2.0.0")
    with (isolated / ".gitconfig").open("a") as settings:
        settings.write(f'[url "{folder}"]\n\tinsteadOf = {ADDRESS}\n')
    return folder


def runs(project: Path) -> str:
    """What the scheduled job installs the tool from."""
    paths = [project / name for names in FILES.values() for name in names]
    text = "".join(path.read_text(encoding="utf-8") for path in paths if path.exists())
    [line] = re.findall(r"uvx --from (.*) mlscaffold status$", text, re.MULTILINE)
    return str(line)


def copied(address: str, folder: Path, **data: Any) -> Path:
    """A project in git that plain Copier has made of the first release."""
    given = {"project_name": "demo", **data}
    copier.run_copy(address, folder, data=given, vcs_ref="v1.0.0", defaults=True, quiet=True)
    commit(folder, {})
    return folder


@pytest.mark.parametrize(
    ("address", "runs_from"),
    [
        ("https://git.acme.dev/ml/scaffold.git", "https://git.acme.dev/ml/scaffold.git"),
        ("git+https://git.acme.dev/ml/scaffold", "https://git.acme.dev/ml/scaffold"),
        ("gh:acme/scaffold", "https://github.com/acme/scaffold.git"),
        ("gl:acme/ml/scaffold.git", "https://gitlab.com/acme/ml/scaffold.git"),
        ("git@git.acme.dev:ml/scaffold.git", "ssh://git@git.acme.dev/ml/scaffold.git"),
        ("git+ssh://git@git.acme.dev/ml/scaffold", "ssh://git@git.acme.dev/ml/scaffold"),
        ("/home/me/scaffold", OURS),
        ("https://git.acme.dev/$(id)/x.git", OURS),
        ("https://git.acme.dev/x.git; id", OURS),
        ("http://git.acme.dev/x.git", OURS),
    ],
)
def test_the_tool_comes_from_the_recorded_address(
    source: Path, tmp_path: Path, address: str, runs_from: str
) -> None:
    checkout = store.check_out(str(source), "v1.0.0")
    made = template.read(replace(checkout, address=address))
    template.render(made, tmp_path / "demo", {"project_name": "demo"}, ask=False)
    assert runs(tmp_path / "demo") == f"git+{runs_from}@{checkout.commit}"


@pytest.mark.parametrize("forge", FILES)
def test_a_schedule_runs_the_commit_that_rendered_the_project(
    source: Path, tmp_path: Path, forge: str
) -> None:
    """Plain Copier and mlscaffold agree on it byte by byte, and an update by either moves it."""
    first, second = (git(source, "rev-parse", tag) for tag in ("v1.0.0", "v2.0.0"))
    project = copied(ADDRESS, tmp_path / "demo", forge=forge)
    assert runs(project) == f"git+{ADDRESS}@{first}"
    assert CliRunner().invoke(cli, ["diff", str(project)]).exit_code == 0
    other = tmp_path / "other" / "demo"
    git(tmp_path, "clone", "-q", str(project), str(other))
    assert CliRunner().invoke(cli, ["update", str(project), "--defaults"]).exit_code == 0
    copier.run_update(other, defaults=True, overwrite=True, quiet=True)
    assert tree(project) == tree(other)
    assert runs(project) == f"git+{ADDRESS}@{second}"


def test_a_path_of_this_machine_stands_in_no_pipeline(source: Path, tmp_path: Path) -> None:
    """Changes that nobody has committed are in no commit: Copier takes them along, we do not."""
    first = git(source, "rev-parse", "v1.0.0")
    project = copied(str(source), tmp_path / "demo")
    assert runs(project) == f"git+{OURS}@{first}"
    (source / "template" / "README.md.jinja").write_text("mine\n")
    assert CliRunner().invoke(cli, ["diff", str(project)]).exit_code == 0


def test_a_folder_without_git_has_no_commit(render: Render) -> None:
    assert runs(render({"project_name": "demo"})) == f"git+{OURS}"
