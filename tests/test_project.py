from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from repositories import TEMPLATE, git

from mlscaffold import files, project, store, template
from mlscaffold.errors import MlscaffoldError

Make = Callable[..., Path]


def source(folder: Path) -> template.Template:
    return template.read(store.check_out(str(folder), None))


def test_create_commits_the_pristine_render(repository: Make, tmp_path: Path) -> None:
    root = tmp_path / "made" / "p"
    made = project.create(source(repository()), root, {"name": "a"}, ask=False, with_git=True)
    assert made.files == (".copier-answers.yml", "a/as-it-is.txt", "hello.txt")
    assert git(root, "status", "--porcelain") == ""
    assert git(root, "log", "--format=%h %s") == f"{made.commit} Start from template v1.0.0"
    assert [path.name for path in root.parent.iterdir()] == ["p"]


def test_create_without_git_makes_no_repository(repository: Make, tmp_path: Path) -> None:
    made = project.create(source(repository()), tmp_path / "p", {}, ask=False, with_git=False)
    assert made.commit is None
    assert not (tmp_path / "p" / ".git").exists()


def test_an_error_leaves_nothing(repository: Make, tmp_path: Path) -> None:
    found = source(repository({**TEMPLATE, "z.txt.jinja": "{{ 1 / 0 }}"}))
    with pytest.raises(MlscaffoldError):
        project.create(found, tmp_path / "made" / "p", {}, ask=False, with_git=True)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_an_interruption_leaves_nothing(
    repository: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: BaseException
) -> None:
    def fail(*_: object) -> None:
        raise stop

    monkeypatch.setattr(files, "move_into_place", fail)
    with pytest.raises((KeyboardInterrupt, OSError)):
        project.create(source(repository()), tmp_path / "x" / "p", {}, ask=False, with_git=True)
    assert not (tmp_path / "x").exists()


def test_a_full_disk_leaves_nothing_and_is_one_line(
    repository: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> int:
        raise OSError(28, "No space left on device", "hello.txt")

    found = source(repository())
    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(MlscaffoldError, match=r"No space left on device: hello\.txt"):
        project.create(found, tmp_path / "x" / "p", {}, ask=False, with_git=True)
    assert not (tmp_path / "x").exists()


def test_an_answer_with_a_credential_leaves_nothing(repository: Make, tmp_path: Path) -> None:
    answers = {"name": "ghp_" + "a1B2" * 9}
    with pytest.raises(MlscaffoldError, match="token"):
        project.create(
            source(repository()), tmp_path / "x" / "p", answers, ask=False, with_git=True
        )
    assert not (tmp_path / "x").exists()


def test_preview_equals_create_and_writes_nothing(repository: Make, tmp_path: Path) -> None:
    found = source(repository())
    before = set(tmp_path.iterdir())
    plan = project.preview(found, tmp_path / "p", {}, ask=False)
    assert set(tmp_path.iterdir()) == before
    assert plan.files == project.create(found, tmp_path / "p", {}, ask=False, with_git=False).files


def test_a_project_is_a_plain_copier_project(repository: Make, tmp_path: Path) -> None:
    folder, root = repository(), tmp_path / "p"
    project.create(source(folder), root, {}, ask=False, with_git=True)
    done = subprocess.run(
        ["copier", "check-update", "--output-format", "json"],
        cwd=root, capture_output=True, text=True,
    )  # fmt: skip
    assert '"update_available": false' in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ('[project.scripts]\nchurn = "churn.cli:main"\n', "churn"),
        ("[project]\n", None),
        ("not toml", None),
        (None, None),
    ],
)
def test_command_is_the_first_script(tmp_path: Path, text: str | None, command: str | None) -> None:
    if text is not None:
        (tmp_path / "pyproject.toml").write_text(text)
    assert project.command(tmp_path) == command
