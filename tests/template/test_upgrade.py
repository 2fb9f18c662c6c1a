"""Projects of every release come to the template in the working tree, with all their edits."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

import copier
import pytest
from click.testing import CliRunner
from pathspec import GitIgnoreSpec
from repositories import git, tree

from mlscaffold import store
from mlscaffold.cli import cli

NEXT = "v999.0.0"
OWN_TABLE = {
    "data_uri": "/data/Été 2026/clients & co.csv",
    "target": "Kündigt?",
    "time_column": "Date d'achat",
    "key_columns": ["Kunden Nr."],
}
# What people do to their projects: a line at the end of files of each kind. So what a release adds
# to such a file goes before its last line, else git shows a conflict.
EDITS = {
    "README.md": "Ask the churn team before you merge.",
    "pyproject.toml": "# we also need lightgbm",
    ".github/workflows/ci.yml": "      - run: echo our own step",
    "params.yaml": "# our knobs",
    "src/demo/features.py": "# our features",
    "src/demo/training/gates.py": "# our gate",
    "dvc.yaml": "# our stages",
}


@pytest.fixture(scope="module")
def releases(template: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A repository with every release and, as the newest, the working tree; and their tags."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLSCAFFOLD_HOME", str(tmp_path_factory.mktemp("home")))
        mirror = store.check_out(None, "HEAD").mirror
    assert mirror
    repository = tmp_path_factory.mktemp("releases") / "template"
    git(mirror, "clone", "-q", "--no-checkout", str(mirror), str(repository))
    tags = git(repository, "tag", "--list", "v*").split()
    for name in ("template", "copier.yml"):
        source = template / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, repository / name)
    git(repository, "add", "--all", "--force")
    git(repository, "commit", "-q", "-m", "The working tree")
    git(repository, "tag", NEXT)
    return repository, tags


def render(repository: Path, folder: Path, tag: str, answers: dict[str, object]) -> Path:
    options = {"defaults": True, "quiet": True, "data": {"project_name": "demo", **answers}}
    copier.run_copy(str(repository), folder, vcs_ref=tag, **options)
    return folder


def start(project: Path) -> None:
    git(project, "init", "-q", "-b", "main")
    git(project, "add", "--all")
    git(project, "commit", "-q", "-m", "Start")


def update(project: Path) -> str:
    done = CliRunner().invoke(cli, ["update", str(project), "--defaults", "--to", NEXT])
    assert done.exit_code == 0, done.output
    return done.output


def test_there_are_releases(releases: tuple[Path, list[str]]) -> None:
    assert "v0.1.0" in releases[1]


@pytest.mark.parametrize("answers", [{}, {"task": "regression"}, OWN_TABLE])
def test_an_untouched_project_becomes_a_fresh_render(
    answers: dict[str, object], releases: tuple[Path, list[str]], tmp_path: Path
) -> None:
    """All but the seeded files, which are the project's own from the first day."""
    repository, tags = releases
    fresh = tree(render(repository, tmp_path / "fresh/demo", NEXT, answers))
    for tag in tags:
        project = render(repository, tmp_path / tag / "demo", tag, answers)
        before = tree(project)
        start(project)
        update(project)
        kinds = tomllib.loads((project / ".mlscaffold.toml").read_text("utf-8"))["ownership"]
        seeded = GitIgnoreSpec.from_lines(kinds["seeded"])
        kept = {path for path in before if seeded.match_file(path)}
        after = tree(project)
        assert {path: after.get(path) for path in kept} == {path: before[path] for path in kept}
        ours = {path: data for path, data in after.items() if path not in kept}
        assert ours == {path: data for path, data in fresh.items() if path not in kept}


def test_typical_edits_stay(releases: tuple[Path, list[str]], tmp_path: Path) -> None:
    repository, tags = releases
    for tag in tags:
        project = render(repository, tmp_path / tag / "demo", tag, {})
        for name, line in EDITS.items():
            with (project / name).open("a", encoding="utf-8", newline="\n") as file:
                file.write(f"{line}\n")
        (project / "notes.md").write_text("ours\n", encoding="utf-8")
        start(project)
        update(project)
        for name, line in EDITS.items():
            assert line in (project / name).read_text("utf-8").splitlines(), name
        assert (project / "notes.md").read_text("utf-8") == "ours\n"
