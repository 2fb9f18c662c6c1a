from __future__ import annotations

from pathlib import Path

import pytest
from projects import edit, planned, project, state, template
from repositories import git, tree, write

from mlscaffold import environment
from mlscaffold.errors import MlscaffoldError
from mlscaffold.merge import apply, branch, journal, repository, update
from mlscaffold.merge.update import Request


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    template(tmp_path / "t", {"copier.yml": "", "a": "1\n"}, {"a": "2\n", "b/c": "new\n"})
    return project(tmp_path / "t", tmp_path / "p")


def test_the_result_is_one_commit_and_nothing_here_is_touched(folder: Path) -> None:
    write(folder, {"a": "not committed\n", "b": "in the way\n"})
    before, index = tree(folder), (folder / ".git" / "index").read_bytes()
    with planned(folder, from_head=True) as plan, journal.locked(plan.objects.repository):
        made = branch.commit(plan, "up/date")
    assert git(folder, "rev-parse", "up/date", "up/date^").split() == [
        made,
        git(folder, "rev-parse", "HEAD"),
    ]
    assert git(folder, "show", "up/date:b/c") == "new"
    assert git(folder, "log", "-1", "--format=%s %an", "up/date") == (
        "Update from template v1 to v2 Ada"
    )
    assert tree(folder) == before
    assert (folder / ".git" / "index").read_bytes() == index
    assert git(folder, "fsck", "--strict") == ""


def test_conflicts_are_a_second_commit(tmp_path: Path) -> None:
    old = {"copier.yml": "", "a": "1\n", "both": "1\n", "x.bin": "\0old"}
    template(tmp_path / "t", old, {"a": "2\n", "both": "2\n", "x.bin": "\0new"})
    folder = project(tmp_path / "t", tmp_path / "p")
    edit(folder, {"both": "mine\n", "x.bin": "\0mine"})
    before = state(folder)
    outcome = update.run(Request(folder, branch="up"))
    assert outcome.needs_look
    assert outcome.commit == git(folder, "rev-parse", "up")
    first = git(folder, "diff", "--name-only", "main", "up~1").split()
    second = git(folder, "diff", "--name-only", "up~1", "up").split()
    assert first == [".copier-answers.yml", "a"]
    assert second == ["both", "x.bin~template-v2"]
    assert git(folder, "show", "up~1:both") == "mine"
    assert git(folder, "show", "up:both").startswith("<<<<<<< yours\nmine\n")
    assert "- both\n- x.bin" in git(folder, "log", "-1", "--format=%B", "up")
    assert state(folder)[:2] == before[:2]
    assert git(folder, "fsck", "--strict") == ""


def test_what_is_ignored_here_is_not_in_the_commit_and_stays_ignored(tmp_path: Path) -> None:
    old = {"copier.yml": "", ".gitignore.jinja": "*.env\n", "x.env": "1\n", "a": "1\n"}
    template(tmp_path / "t", old, {".gitignore.jinja": "# none\n", "x.env": "2\n", "a": "2\n"})
    folder = project(tmp_path / "t", tmp_path / "p")
    write(folder, {"x.env": "SECRET\n", "own.env": "SECRET\n"})
    outcome = update.run(Request(folder, branch="up"))
    assert [action.path for plan in outcome.plans for action in plan.of("keep")] == []
    assert git(folder, "show", "up:.gitignore") == "# none\n/own.env\n/x.env"
    git(folder, "checkout", "-q", "up")
    git(folder, "add", "-A")
    assert git(folder, "ls-files").split() == [".copier-answers.yml", ".gitignore", "a"]
    assert tree(folder)["x.env"] == b"SECRET\n"


def test_programs_are_left_out_and_named(tmp_path: Path) -> None:
    programs = "_tasks: ['touch task']\n_migrations: [{version: v2, after: ['touch migrated']}]\n"
    template(tmp_path / "t", {"copier.yml": ""}, {"copier.yml": programs, "a": "2\n"})
    folder = project(tmp_path / "t", tmp_path / "p")
    outcome = update.run(Request(folder, branch="up"))
    assert outcome.needs_look
    assert outcome.left_out == ("migration: touch migrated", "task: touch task")
    assert "- task: touch task" in git(folder, "log", "-1", "--format=%B", "up")
    assert git(folder, "ls-tree", "-r", "--name-only", "up").split() == [".copier-answers.yml", "a"]
    without = update.run(Request(folder, branch="other", skip_tasks=True))
    assert without.left_out == ("migration: touch migrated",)


@pytest.mark.parametrize("is_sub_project", [False, True])
def test_the_lock_comes_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_sub_project: bool
) -> None:
    text = '[project]\nname = "p"\nversion = "0"\ndependencies = [{}]\n'
    old = {"copier.yml": "", "pyproject.toml": text.format(""), "uv.lock": "old\n"}
    template(tmp_path / "t", {**old, "copier.yml": "_skip_if_exists: [uv.lock]\n"},
             {"pyproject.toml": text.format('"click>=8"')})  # fmt: skip
    top = tmp_path / "top"
    top.mkdir()
    git(top, "init", "-q", "-b", "main")
    folder = project(tmp_path / "t", top / "p" if is_sub_project else top)
    write(folder, {"uv.lock": "not committed\n"})

    def lock(root: Path, *, may_build: bool) -> None:
        assert not may_build
        assert sorted(tree(root)) == ["pyproject.toml", "uv.lock"]
        assert (root / "uv.lock").read_text() == "old\n"
        write(root, {"uv.lock": (root / "pyproject.toml").read_text()})

    monkeypatch.setattr(environment, "lock", lock)
    outcome = update.run(Request(folder, branch="up"))
    place = "p/uv.lock" if is_sub_project else "uv.lock"
    assert "click>=8" in git(top, "show", f"up:{place}")
    assert outcome.notes == ()
    assert tree(folder)["uv.lock"] == b"not committed\n"


@pytest.mark.parametrize("name", ["main", "-x", "a..b", "", "x.lock"])
def test_a_branch_that_cannot_be_made_is_one_line(folder: Path, name: str) -> None:
    with pytest.raises(MlscaffoldError) as caught:
        branch.check_name(repository.open_at(folder), name)
    assert "\n" not in caught.value.message


def test_a_lock_that_a_killed_update_left_is_cleared(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(branch, "_PATIENCE", 0.1)
    project_ = repository.open_at(folder)
    project_.state.mkdir()
    (project_.state / "ref").write_text("refs/heads/up")
    (folder / ".git" / "refs" / "heads" / "up.lock").write_text("")
    assert apply.recover(project_) == ()
    with planned(folder, from_head=True) as plan:
        branch.commit(plan, "up")
    assert git(folder, "rev-parse", "up^") == git(folder, "rev-parse", "HEAD")
    assert not (project_.state / "ref").exists()
