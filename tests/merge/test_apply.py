from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from projects import LONG, edit, has_journal, planned, project, template
from repositories import Files, commit, git, tree, write

from mlscaffold.errors import MlscaffoldError
from mlscaffold.merge import apply, index, journal, placing, repository

CONFIG = {"copier.yml": "name:\n  default: ann\n"}
OLD: Files = {"a": LONG, "edited": "1\n", "gone": "x\n", "moved": LONG + "m\n", "file": "1\n"}
NEW: Files = {"a": "top\n" + LONG, "edited": "2\n", "new/deep": "n\n", "there/moved": LONG + "m\n"}
EDITS: Files = {"a": LONG + "mine\n", "edited": "mine\n", "own": "o\n"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project that an update changes in every way, with a conflict."""
    template(tmp_path / "t", {**CONFIG, **OLD}, NEW, v2=("gone", "moved"))
    made = project(tmp_path / "t", tmp_path / "p")
    edit(made, EDITS)
    return made


def update(folder: Path) -> None:
    with planned(folder) as plan, journal.locked(plan.objects.repository):
        apply.apply([plan])


def state(folder: Path) -> tuple[Any, ...]:
    modes = {path: (folder / path).stat().st_mode for path in tree(folder)}
    return tree(folder), modes, git(folder, "ls-files", "-s"), git(folder, "status", "--short")


def test_the_result_is_in_the_work_tree_and_conflicts_in_the_index(folder: Path) -> None:
    update(folder)
    files = tree(folder)
    assert files["a"].decode() == "top\n" + LONG + "mine\n"
    assert files["edited"].startswith(b"<<<<<<< yours\nmine\n")
    assert "gone" not in files
    assert git(folder, "diff", "--cached", "--name-only", "--diff-filter=d") == "edited"
    status = git(folder, "status", "--porcelain").splitlines()
    assert "UU edited" in status
    assert " M a" in status
    assert "?? new/" in status
    git(folder, "checkout", "--theirs", "edited")
    assert tree(folder)["edited"] == b"2\n"
    git(folder, "checkout", "--merge", "edited")
    assert b"<<<<<<< ours" in tree(folder)["edited"]


def test_abort_goes_back_to_exactly_before(folder: Path) -> None:
    before = state(folder)
    update(folder)
    assert apply.abort(repository.open_at(folder)) == ()
    assert state(folder) == before
    with pytest.raises(MlscaffoldError, match="no update"):
        apply.abort(repository.open_at(folder))


def test_abort_unstages_what_was_staged_as_the_update_left_it(folder: Path) -> None:
    before = state(folder)
    update(folder)
    git(folder, "add", "-A")
    assert apply.abort(repository.open_at(folder)) == ()
    assert state(folder) == before


def test_abort_keeps_what_was_staged_otherwise(folder: Path) -> None:
    update(folder)
    updated = (folder / "a").read_text()
    write(folder, {"a": "staged by hand\n", "own": "staged too\n"})
    git(folder, "add", "a", "own")
    write(folder, {"a": updated})
    assert apply.abort(repository.open_at(folder)) == ()
    assert tree(folder)["a"].decode() == EDITS["a"]
    assert git(folder, "show", ":a") == "staged by hand"
    assert git(folder, "show", ":own") == "staged too"


def test_abort_keeps_what_was_edited_since(folder: Path) -> None:
    update(folder)
    write(folder, {"a": "edited after\n"})
    assert apply.abort(repository.open_at(folder)) == ("a",)
    assert tree(folder)["a"] == b"edited after\n"
    assert tree(folder)["edited"] == b"mine\n"


def test_a_commit_ends_what_abort_can_take_back(folder: Path) -> None:
    update(folder)
    edit(folder, {"edited": "both\n"})
    with pytest.raises(MlscaffoldError, match="A commit was made"):
        apply.abort(repository.open_at(folder))


@pytest.mark.parametrize(
    "change",
    [
        lambda p: write(p, {"a": "not committed\n"}),
        lambda p: (write(p, {"a": "staged\n"}), git(p, "add", "a")),
        lambda p: (p / "a").unlink(),
        lambda p: git(p, "rm", "-q", "a"),
        lambda p: (git(p, "update-index", "--assume-unchanged", "a"), write(p, {"a": "hidden\n"})),
        lambda p: (git(p, "update-index", "--skip-worktree", "a"), write(p, {"a": "hidden\n"})),
    ],
    ids=["edited", "staged", "deleted", "removed", "assume-unchanged", "skip-worktree"],
)
def test_a_touched_file_that_is_not_committed_is_named(
    folder: Path, change: Callable[[Path], object]
) -> None:
    change(folder)
    before = state(folder)
    with pytest.raises(MlscaffoldError, match=r"Not committed.*: a\. .*Nothing was written"):
        update(folder)
    assert state(folder) == before
    assert not has_journal(folder)


def test_a_file_that_is_not_checked_out_is_named(folder: Path) -> None:
    edit(folder, {"docs/own": "o\n"})
    git(folder, "sparse-checkout", "set", "--no-cone", "/*", "!/a", "!/edited")
    before = state(folder)
    with pytest.raises(MlscaffoldError, match=r"\(sparse checkout\).*: a, edited\. .*--branch"):
        update(folder)
    assert state(folder) == before


def test_a_sparse_checkout_of_what_does_not_change_does_not_matter(folder: Path) -> None:
    git(folder, "sparse-checkout", "set", "--no-cone", "/*", "!/own")
    update(folder)
    assert tree(folder)["a"].decode() == "top\n" + LONG + "mine\n"


@pytest.mark.parametrize("is_moved", [False, True])
def test_a_new_program_is_one_where_git_ignores_modes(tmp_path: Path, is_moved: bool) -> None:
    source = tmp_path / "t"
    template(source, {**CONFIG, "a": LONG, "run": LONG + "r"}, {"a": "top\n" + LONG})
    path = "bin/run" if is_moved else "new.sh"
    write(source, {path: LONG + "r" if is_moved else "#!/bin/sh\n"})
    (source / path).chmod(0o755)
    if is_moved:
        (source / "run").unlink()
    commit(source, {}, tag="v3")
    folder = project(source, tmp_path / "p")
    git(folder, "config", "core.fileMode", "false")
    before = state(folder)
    update(folder)
    git(folder, "diff", "--cached", "--exit-code")  # nothing is staged
    assert apply.abort(repository.open_at(folder)) == ()
    assert state(folder) == before
    update(folder)
    git(folder, "add", "-A")
    assert git(folder, "ls-files", "-s", path).startswith("100755 ")


def test_a_new_program_is_one_on_a_file_system_without_modes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = template(tmp_path / "t", {**CONFIG, "a": LONG})
    write(source, {"new.sh": "#!/bin/sh\n"})
    (source / "new.sh").chmod(0o755)
    commit(source, {}, tag="v2")
    folder = project(source, tmp_path / "p")
    git(folder, "config", "core.fileMode", "false")
    go_on = placing.go_on

    def forget_modes(*arguments: Any) -> None:
        go_on(*arguments)
        (folder / "new.sh").chmod(0o644)

    monkeypatch.setattr(placing, "go_on", forget_modes)
    update(folder)
    git(folder, "add", "-A")
    assert git(folder, "ls-files", "-s", "new.sh").startswith("100755 ")


def test_scratch_files_and_other_changes_do_not_matter(folder: Path) -> None:
    write(folder, {"own": "changed\n", "scratch": "s\n", "new/scratch": "s\n"})
    git(folder, "add", "own")
    update(folder)
    files = tree(folder)
    assert (files["own"], files["scratch"], files["new/scratch"]) == (b"changed\n", b"s\n", b"s\n")
    assert git(folder, "diff", "--cached", "--name-only", "--diff-filter=M") == "own"


def test_a_file_in_the_way_of_a_moved_one_is_refused(tmp_path: Path) -> None:
    old = {f"conf/{n}": LONG + n for n in "abc"}
    template(tmp_path / "t", {**CONFIG, **old}, {f"to/{n}": LONG + n for n in "abc"}, v2=tuple(old))
    folder = project(tmp_path / "t", tmp_path / "p")
    edit(folder, {"conf/mine": "my own\n"})
    write(folder, {"to/mine": "untracked\n"})
    with pytest.raises(MlscaffoldError, match=r"in the way of the template: to/mine\."):
        update(folder)
    assert tree(folder)["to/mine"] == b"untracked\n"


def test_a_commit_made_meanwhile_is_noticed(folder: Path) -> None:
    with planned(folder) as plan:
        edit(folder, {"a": "newer\n"})
        with pytest.raises(MlscaffoldError, match="A commit was made while"):
            apply.apply([plan])
    assert tree(folder)["a"] == b"newer\n"


def test_an_edit_made_meanwhile_is_noticed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, begin = tree(folder), journal.begin

    def edit_first(*arguments: Any) -> None:
        begin(*arguments)
        write(folder, {"new/deep": "an editor was faster\n"})

    monkeypatch.setattr(journal, "begin", edit_first)
    with pytest.raises(MlscaffoldError, match=r"new/deep was changed while.*was taken back"):
        update(folder)
    assert tree(folder) == {**before, "new/deep": b"an editor was faster\n"}


def test_permissions_and_links_are_kept(tmp_path: Path) -> None:
    source = template(tmp_path / "t", {"copier.yml": "_preserve_symlinks: true\n", "s": "1\n"})
    (source / "link").symlink_to("s")
    commit(source, {"run": "1\n"}, tag="v1.1")
    folder = project(source, tmp_path / "p", ref="v1.1")
    (folder / "s").chmod(0o600)
    (source / "link").unlink()
    (source / "link").symlink_to("run")
    (source / "run").chmod(0o755)
    commit(source, {"s": "2\n"}, tag="v2")
    update(folder)
    assert stat.S_IMODE((folder / "s").stat().st_mode) == 0o600
    assert os.readlink(folder / "link") == "run"  # noqa: PTH115
    assert (folder / "run").stat().st_mode & 0o111 == 0o111
    apply.abort(repository.open_at(folder))
    assert os.readlink(folder / "link") == "s"  # noqa: PTH115
    assert git(folder, "status", "--short") == ""


def test_a_file_becomes_a_folder_and_a_folder_a_file(tmp_path: Path) -> None:
    source = template(tmp_path / "t", {**CONFIG, "x": "1\n", "y/z": "1\n"})
    folder = project(source, tmp_path / "p")
    git(source, "rm", "-rq", "x", "y")
    commit(source, {"x/new": "2\n", "y": "2\n"}, tag="v2")
    before = state(folder)
    update(folder)
    assert {"x/new": b"2\n", "y": b"2\n"}.items() <= tree(folder).items()
    apply.abort(repository.open_at(folder))
    assert state(folder) == before


def test_scratch_in_a_folder_that_becomes_a_file_is_left_alone(tmp_path: Path) -> None:
    source = template(tmp_path / "t", {**CONFIG, "y/z": "1\n"})
    folder = project(source, tmp_path / "p")
    git(source, "rm", "-rq", "y")
    commit(source, {"y": "2\n"}, tag="v2")
    write(folder, {"y/scratch": "mine\n"})
    before = state(folder)
    with pytest.raises(MlscaffoldError, match=r"y is a folder that holds files .* taken back\."):
        update(folder)
    assert state(folder) == before


# Killed, interrupted, failing


@pytest.mark.parametrize("after", range(7))
def test_killed_between_two_files_it_is_taken_back_by_the_next_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    before = state(folder)
    _die_in(folder, monkeypatch, placing, "_put", after)
    project_ = repository.open_at(folder)
    with journal.locked(project_):
        assert "taken back" in str(apply.recover(project_))
        assert apply.recover(project_) == ()
    assert state(folder) == before
    update(folder)


def test_killed_before_it_begins_it_was_never_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = state(folder)
    _die_in(folder, monkeypatch, journal, "begin", 0)
    assert state(folder) == before
    project_ = repository.open_at(folder)
    assert apply.recover(project_) == ()
    assert not list(project_.state.glob("next-*"))


@pytest.mark.parametrize("has_links", [True, False])
def test_killed_under_gits_lock_the_lock_is_cleared(
    folder: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool
) -> None:
    before = state(folder)
    if not has_links:
        monkeypatch.setattr(Path, "hardlink_to", _refuse)
    exchange = index.git.exchange

    def die(*arguments: str, **options: Any) -> Any:
        if "GIT_INDEX_FILE" in (options.get("variables") or {}) and "checkout" not in str(options):
            os._exit(9)
        return exchange(*arguments, **options)

    monkeypatch.setattr(index.git, "exchange", die)
    _in_a_child(lambda: update(folder))
    monkeypatch.undo()
    assert (folder / ".git" / "index.lock").exists()
    project_ = repository.open_at(folder)
    assert "taken back" in str(apply.recover(project_))
    assert state(folder) == before


def test_killed_when_all_is_done_it_is_complete(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _die_in(folder, monkeypatch, journal, "finish", 0)
    project_ = repository.open_at(folder)
    assert "is complete" in str(apply.recover(project_))
    assert "UU edited" in git(folder, "status", "--porcelain")
    assert apply.abort(project_) == ()


def test_what_was_edited_after_a_kill_is_kept_with_a_copy(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _die_in(folder, monkeypatch, placing, "_put", 4)
    write(folder, {"a": "edited after the kill\n", "new/deep": "and this\n"})
    project_ = repository.open_at(folder)
    (found,) = apply.recover(project_)
    assert found.edited == ("a",)
    assert "edited since: a." in found.text
    assert tree(folder)["a"] == b"edited after the kill\n"
    assert tree(folder)["new/deep"] == b"and this\n"
    assert (project_.state / "kept" / "a").read_text() == EDITS["a"]
    assert tree(folder)["gone"] == b"x\n"


def test_killed_before_a_file_became_a_folder_it_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    template(tmp_path / "t", {**CONFIG, "x": "1\n"}, {"x/new": "2\n"}, v2=("x",))
    folder = project(tmp_path / "t", tmp_path / "p")
    before = state(folder)
    _die_in(folder, monkeypatch, placing, "_put", 0)
    assert "taken back." in str(apply.recover(repository.open_at(folder)))
    assert state(folder) == before


@pytest.mark.parametrize("after", [0, 1, 4])
def test_killed_on_the_way_back_the_next_run_goes_on_with_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    before = state(folder)
    update(folder)
    abort = lambda: apply.abort(repository.open_at(folder))  # noqa: E731
    _die_in(folder, monkeypatch, placing, "_put", after, doing=abort)
    apply.recover(repository.open_at(folder))
    if after:  # else nothing had been put back, so it is the update that is complete
        assert state(folder) == before
    else:
        abort()
    assert state(folder) == before


def test_interrupted_and_then_killed_it_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    template(tmp_path / "t", {**CONFIG, "a": "1\n", "b": "1\n"}, {"a": "2\n", "b": "2\n"})
    folder = project(tmp_path / "t", tmp_path / "p")
    before, go_on = state(folder), placing.go_on

    def interrupt(*arguments: Any) -> None:
        go_on(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(placing, "go_on", interrupt)
        _die_in(folder, monkeypatch, placing, "_put", 4)  # three files go there, one comes back
    monkeypatch.undo()
    assert "taken back." in str(apply.recover(repository.open_at(folder)))
    assert state(folder) == before


@pytest.mark.parametrize(
    ("module", "name"),
    [(journal, "begin"), (index, "_lock"), (index, "stage"), (journal, "finish")],
)
def test_interrupted_between_two_steps_it_is_taken_back(
    folder: Path, monkeypatch: pytest.MonkeyPatch, module: Any, name: str
) -> None:
    before, step = state(folder), getattr(module, name)

    def interrupt(*arguments: Any) -> None:
        step(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, name, interrupt)
        with pytest.raises(KeyboardInterrupt):
            update(folder)
    assert state(folder) == before
    update(folder)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
@pytest.mark.parametrize("after", [0, 3, 5])
def test_interrupted_or_out_of_space_it_is_taken_back_at_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, after: int, error: BaseException
) -> None:
    before, put, calls = state(folder), placing._put, iter(range(100))

    def fail(*arguments: Any) -> None:
        if next(calls) == after:
            raise error
        put(*arguments)

    monkeypatch.setattr(placing, "_put", fail)
    expected = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else MlscaffoldError
    with pytest.raises(expected):
        update(folder)
    assert state(folder) == before
    assert not has_journal(folder)


def test_another_git_command_at_work_is_waited_for(folder: Path) -> None:
    before = state(folder)
    (folder / ".git" / "index.lock").write_text("")
    with pytest.raises(MlscaffoldError, match=r"Another git command holds .*index\.lock"):
        update(folder)
    assert tree(folder) == before[0]


def test_of_two_updates_at_once_one_waits(folder: Path) -> None:
    project_ = repository.open_at(folder)
    with (
        journal.locked(project_),
        pytest.raises(MlscaffoldError, match="Another update of"),
        journal.locked(project_),
    ):
        pass
    with journal.locked(project_):
        pass


def test_two_answers_files_that_change_one_file_are_refused(folder: Path) -> None:
    with (
        planned(folder) as one,
        planned(folder, "v2", data={"name": "eve"}) as other,
        pytest.raises(MlscaffoldError, match="Two answers files change"),
    ):
        apply.apply([one, other])


def _refuse(*_arguments: Any) -> None:
    raise PermissionError


def _die_in(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    module: Any,
    name: str,
    after: int,
    *,
    doing: Callable[[], object] | None = None,
) -> None:
    """Updates in a process that ends without a word at the call after so many."""
    real, calls = getattr(module, name), iter(range(100))

    def die(*arguments: Any, **options: Any) -> Any:
        if next(calls) == after:
            os._exit(9)
        return real(*arguments, **options)

    monkeypatch.setattr(module, name, die)
    _in_a_child(doing or (lambda: update(folder)))
    monkeypatch.undo()


def _in_a_child(action: Callable[[], object]) -> None:
    child = os.fork()
    if child == 0:
        try:
            action()
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
