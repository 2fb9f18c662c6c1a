"""Settings and layouts of git that break other updaters; here nothing may differ."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from projects import LONG, edit, project, template
from repositories import commit, git, tree, write

from mlscaffold.errors import MlscaffoldError
from mlscaffold.merge import repository, update
from mlscaffold.merge.update import Outcome, Request

CONFIG = {"copier.yml": "name:\n  default: ann\n"}
RESULT = {
    "a": ("top  \n" + LONG + "mine\n").encode(),
    "there": (LONG + "mine\n").encode(),
    "new/n": b"new\n",
}


def run(folder: Path) -> Outcome:
    return update.run(Request(folder))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    old = {**CONFIG, "a": LONG, "b": LONG, "c": "1\n"}
    return template(
        tmp_path / "t", old, {"a": "top  \n" + LONG, "there": LONG, "new/n": "new\n", "c": "2\n"},
        v2=("b",),
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, source: Path) -> Path:
    made = project(source, tmp_path / "p")
    edit(made, {"a": LONG + "mine\n", "b": LONG + "mine\n", "c": "mine\n"})
    return made


def check(folder: Path) -> None:
    found = run(folder)
    assert found.needs_look
    assert RESULT.items() <= tree(folder).items()
    assert b"<<<<<<< yours\nmine\n" in tree(folder)["c"]
    assert "UU c" in git(folder, "status", "--porcelain")
    update.abort(folder)
    assert git(folder, "status", "--porcelain") == ""


SETTINGS = {
    "apply.whitespace": "error",
    "core.autocrlf": "input",
    "core.safecrlf": "true",
    "core.untrackedCache": "true",
    "core.splitIndex": "true",
    "core.ignoreStat": "false",
    "core.quotePath": "true",
    "color.ui": "always",
    "diff.noprefix": "true",
    "diff.mnemonicPrefix": "true",
    "diff.renames": "false",
    "diff.external": "false",
    "merge.renames": "false",
    "merge.directoryRenames": "false",
    "merge.conflictStyle": "merge",
    "merge.ff": "only",
    "status.showUntrackedFiles": "no",
    "status.relativePaths": "false",
    "status.branch": "true",
    "commit.gpgSign": "true",
    "index.version": "4",
    "submodule.recurse": "true",
    "advice.detachedHead": "true",
    "safe.bareRepository": "explicit",
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_setting_changes_nothing(folder: Path, setting: str) -> None:
    git(folder, "config", setting, SETTINGS[setting])
    check(folder)


def test_the_base_may_be_shown_in_conflicts(folder: Path) -> None:
    git(folder, "config", "merge.conflictStyle", "zdiff3")
    run(folder)
    assert b"||||||| template v1\n1\n=======" in tree(folder)["c"]


def test_hooks_and_fsmonitor_do_not_run(folder: Path, tmp_path: Path) -> None:
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    for name in ("post-checkout", "post-index-change", "pre-commit", "reference-transaction", "fs"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
        (hooks / name).chmod(0o755)
    git(folder, "config", "core.hooksPath", str(hooks))
    git(folder, "config", "core.fsmonitor", str(hooks / "fs"))
    run(folder)
    update.run(Request(folder, branch="up"))
    assert not (tmp_path / "ran").exists()


def test_line_ends_of_the_work_tree_are_gits(folder: Path) -> None:
    git(folder, "config", "core.autocrlf", "true")
    for path in ("a", "b", "c"):
        (folder / path).unlink()
    git(folder, "checkout", "--", ".")
    assert b"mine\r\n" in tree(folder)["a"]
    run(folder)
    assert tree(folder)["a"] == RESULT["a"].replace(b"\n", b"\r\n")
    assert git(folder, "diff", "--stat", "a").startswith("a | 1 +")


def test_attributes_of_the_project_count(folder: Path) -> None:
    write(folder, {".gitattributes": "a text eol=crlf\nc -text\n"})
    edit(folder, {"a": (LONG + "mine\n").replace("\n", "\r\n")})
    run(folder)
    assert tree(folder)["a"] == RESULT["a"].replace(b"\n", b"\r\n")
    assert tree(folder)["there"] == RESULT["there"]


def test_a_filter_of_the_project_is_used(folder: Path) -> None:
    git(folder, "config", "filter.shout.clean", "tr a-z A-Z")
    git(folder, "config", "filter.shout.smudge", "tr A-Z a-z")
    edit(folder, {".gitattributes": "a filter=shout\n"})
    git(folder, "add", "--renormalize", "a")
    git(folder, "commit", "-q", "--allow-empty", "-m", "Shout")
    assert git(folder, "show", "HEAD:a").startswith("LINE 0")
    run(folder)
    assert tree(folder)["a"] == RESULT["a"]


def test_files_committed_with_other_line_ends_are_taken_as_they_are(tmp_path: Path) -> None:
    text = LONG.replace("\n", "\r\n").encode()
    source = template(tmp_path / "t", CONFIG)
    (source / "a").write_bytes(text)
    commit(source, {}, tag="v1.1")
    folder = project(source, tmp_path / "p", ref="v1.1")
    git(folder, "config", "core.autocrlf", "true")
    (source / "a").write_bytes(b"top\r\n" + text)
    commit(source, {}, tag="v2")
    assert not run(folder).needs_look
    assert tree(folder)["a"] == b"top\r\n" + text


def test_where_modes_are_ignored_the_index_gets_them(tmp_path: Path) -> None:
    source = template(tmp_path / "t", {**CONFIG, "run": "1\n"})
    folder = project(source, tmp_path / "p")
    git(folder, "config", "core.fileMode", "false")
    (source / "run").chmod(0o755)
    commit(source, {"run": "2\n"}, tag="v2")
    before = git(folder, "ls-files", "-s")
    run(folder)
    assert "100755" in git(folder, "ls-files", "-s", "run")
    assert git(folder, "diff", "--stat", "run").startswith("run | 2 +-")
    update.abort(folder)
    assert git(folder, "ls-files", "-s") == before
    assert git(folder, "status", "--porcelain") == ""


def test_what_everybody_ignores_is_still_added(
    source: Path, tmp_path: Path, isolated: Path
) -> None:
    folder = project(source, tmp_path / "p")
    (isolated / "ignore").write_text("new/\nthere\n")
    git(folder, "config", "--global", "core.excludesFile", str(isolated / "ignore"))
    run(folder)
    assert {"new/n", "there"} <= tree(folder).keys()


def test_a_merge_driver_of_the_project_is_used(folder: Path) -> None:
    edit(folder, {".gitattributes": "c merge=mine\n"})
    git(folder, "config", "merge.mine.driver", "echo driven > %A")
    assert not run(folder).needs_look
    assert tree(folder)["c"] == b"driven\n"


def test_a_hook_that_calls_us_does_not_lead_us_elsewhere(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    commit(other, {"x": "1"})
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git" / "index"))
    run(folder)
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name)
    assert RESULT.items() <= tree(folder).items()
    assert git(other, "status", "--porcelain") == ""


def _linked(folder: Path, place: Path) -> Path:
    git(folder, "worktree", "add", "-q", str(place), "-b", "side")
    return place


def _shallow(folder: Path, place: Path) -> Path:
    git(place.parent, "clone", "-q", "--depth=1", folder.as_uri(), str(place))
    return place


def _separate(folder: Path, place: Path) -> Path:
    git(place.parent, "clone", "-q", f"--separate-git-dir={place}.git", str(folder), str(place))
    return place


def _submodule(folder: Path, place: Path) -> Path:
    commit(place, {"x": "1"})
    git(place, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(folder), "sub")
    return place / "sub"


def _borrowed(folder: Path, place: Path) -> Path:
    git(place.parent, "clone", "-q", "--shared", str(folder), str(place))
    return place


def _detached(folder: Path, _place: Path) -> Path:
    git(folder, "checkout", "-q", "--detach")
    return folder


LAYOUTS = [_linked, _shallow, _separate, _submodule, _borrowed, _detached]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__.strip("_"))
def test_a_layout_changes_nothing(
    folder: Path, tmp_path: Path, layout: Callable[[Path, Path], Path]
) -> None:
    place = layout(folder, tmp_path / "place")
    check(place)
    state = repository.open_at(place).state
    assert state.is_dir()
    assert not (place / "mlscaffold").exists()
    outcome = update.run(Request(place, branch="up"))
    assert outcome.needs_look  # there is a conflict
    assert git(place, "rev-parse", "up") == outcome.commit


def test_submodules_beside_are_left_alone(folder: Path, tmp_path: Path) -> None:
    commit(tmp_path / "lib", {"x": "1"})
    allow = ("-c", "protocol.file.allow=always")
    git(folder, *allow, "submodule", "add", "-q", str(tmp_path / "lib"), "vendor/lib")
    edit(folder, {})
    write(folder, {"vendor/lib/x": "dirty"})
    run(folder)
    assert RESULT.items() <= tree(folder).items()
    assert (folder / "vendor/lib/x").read_text() == "dirty"


def test_what_a_template_renders_into_a_submodule_is_put_beside(
    source: Path, tmp_path: Path
) -> None:
    folder = project(source, tmp_path / "p")
    commit(tmp_path / "lib", {"x": "1"})
    git(folder, "-c", "protocol.file.allow=always", "submodule", "add", "-q",
        str(tmp_path / "lib"), "new")  # fmt: skip
    edit(folder, {})
    assert run(folder).needs_look
    assert (folder / "new" / "x").read_text() == "1"
    assert not (folder / "new" / "n").exists()
    assert (folder / "new~template-v2" / "n").read_text() == "new\n"


def test_sha256_repositories_work(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    folder.mkdir()
    git(folder, "init", "-q", "--object-format=sha256", "-b", "main")
    project(source, folder)
    edit(folder, {"a": LONG + "mine\n", "b": LONG + "mine\n", "c": "mine\n"})
    check(folder)


def test_a_project_under_a_link_is_found(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    assert run(tmp_path / "link").needs_look
    assert RESULT.items() <= tree(folder).items()


def test_a_folder_that_became_a_link_is_not_written_through(folder: Path, tmp_path: Path) -> None:
    edit(folder, {"new/own": "1\n"})
    os.rename(folder / "new", tmp_path / "elsewhere")  # noqa: PTH104
    (folder / "new").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(MlscaffoldError, match="new"):
        run(folder)
    assert not (tmp_path / "elsewhere" / "n").exists()
    edit(folder, {})
    run(folder)
    assert not (tmp_path / "elsewhere" / "n").exists()
