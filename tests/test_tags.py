from __future__ import annotations

from pathlib import Path

import pytest
from projects import LONG, edit, project, template
from repositories import commit, git, tree

from mlscaffold import answers, store, versions
from mlscaffold.errors import MlscaffoldError
from mlscaffold.merge import update
from mlscaffold.merge.update import Request
from mlscaffold.tags import Move, commit_at, find_moves

MOVES = [Move("one", 10, 20), Move("two", 30, 40)]


@pytest.mark.parametrize(
    ("time", "expected"),
    [(5, "one"), (10, "one"), (15, None), (20, "two"), (30, "two"), (35, None), (40, "three")],
)
def test_a_tag_named_what_was_seen_at_the_time(time: float, expected: str | None) -> None:
    assert commit_at(MOVES, "three", time) == expected
    assert commit_at(MOVES[::-1], "three", time) == expected
    assert commit_at([], "three", time) == "three"


def test_a_tag_that_was_missing_named_nobody_knows_what() -> None:
    assert commit_at([Move(None, 10, 20)], "new", 5) is None
    assert commit_at([Move(None, 10, 20)], "new", 25) == "new"


def test_only_tags_that_were_known_or_asked_for_move() -> None:
    before = {"same": "1", "moved": "1", "asked": None, "gone": "1"}
    after = {"same": "1", "moved": "2", "asked": "2", "new": "2"}
    found = find_moves(before, after, dict.fromkeys(before, 3.0), 4.0)
    assert found == {"moved": Move("1", 3.0, 4.0), "asked": Move(None, 3.0, 4.0)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project of v1, of which the store has seen the tag."""
    template(tmp_path / "t", {"copier.yml": "", "a": LONG}, {"a": "top\n" + LONG})
    made = project(tmp_path / "t", tmp_path / "p")
    edit(made, {"a": LONG + "mine\n"})
    versions.choose(answers.find(made)[0])
    git(tmp_path / "t", "tag", "--force", "v1", "v2")
    return made


def test_an_update_starts_from_what_the_tag_was(folder: Path) -> None:
    update.run(Request(folder))
    assert tree(folder)["a"].decode() == "top\n" + LONG + "mine\n"


def test_a_project_made_after_the_move_starts_from_what_the_tag_is(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions.choose(answers.find(folder)[0])  # the store sees the move
    monkeypatch.setenv("GIT_AUTHOR_DATE", "2099-01-01T00:00:00Z")
    late = project(tmp_path / "t", tmp_path / "late")
    found = versions.choose(answers.find(late)[0])
    assert found.old.checkout.commit == git(tmp_path / "t", "rev-parse", "v2")


def test_a_project_made_between_two_looks_is_refused_in_one_line(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = (git(tmp_path / "t", "rev-parse", name) for name in ("v2~1", "v1"))
    versions.choose(answers.find(folder)[0])
    (move,) = store.check_out(str(tmp_path / "t"), "v1").moves
    monkeypatch.setattr(versions, "_time_of", lambda _: (move.last_seen + move.first_seen) / 2)
    both = " or ".join(sorted(name[:12] for name in (old, new)))
    with pytest.raises(MlscaffoldError, match=rf"v1 of .* was moved.*answers\.yml: {both}"):
        update.run(Request(folder))
    file = folder / ".copier-answers.yml"
    edit(folder, {file.name: file.read_text().replace("_commit: v1", f"_commit: {old}")})
    update.run(Request(folder))
    assert tree(folder)["a"].decode() == "top\n" + LONG + "mine\n"


def test_a_tag_that_comes_back_is_not_believed(tmp_path: Path) -> None:
    source = template(tmp_path / "t", {"copier.yml": "", "a": LONG}, {"a": "top\n" + LONG})
    folder = project(source, tmp_path / "p")
    git(source, "tag", "-d", "v1")
    with pytest.raises(MlscaffoldError, match=r"no version v1.*write the commit's id"):
        update.run(Request(folder))
    git(source, "tag", "v1", "v2")
    with pytest.raises(MlscaffoldError, match=r"v1 of .* was moved"):
        update.run(Request(folder))


@pytest.mark.usefixtures("folder")
def test_a_new_release_is_no_move(tmp_path: Path) -> None:
    git(tmp_path / "t", "tag", "--force", "v1", "v2~1")
    commit(tmp_path / "t", {"a": "3\n"}, tag="v3")
    assert store.check_out(str(tmp_path / "t"), "v3").moves == ()
    assert store.check_out(str(tmp_path / "t"), "v1").moves == ()
