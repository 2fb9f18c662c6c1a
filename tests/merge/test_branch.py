from __future__ import annotations

from pathlib import Path

import pytest
from projects import planned, project, template
from repositories import git, tree, write

from mlscaffold.errors import MlscaffoldError
from mlscaffold.merge import apply, branch, journal, repository


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
