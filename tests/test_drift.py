from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from projects import edit, project, step, template
from repositories import commit, git, tree, write

from mlscaffold import answers, drift, pristine, versions
from mlscaffold.drift import Difference
from mlscaffold.errors import MlscaffoldError

FILES = {"copier.yml": "", "a.txt": "one\ntwo\n", "b/c.py": "x = 1\n", "run.sh": "#!/bin/sh\n"}
OWNERS = '[ownership]\nmanaged = ["/a.txt", "/b/"]\nseeded = ["/run.sh"]\n'
WAIVER = '[[waiver]]\npath = "a.txt"\nreason = "labels"\nuntil = 2027-01-31\n'


def differences(folder: Path, today: date | None = None) -> tuple[Difference, ...]:
    found = versions.stay(answers.find(folder)[0])
    with pristine.rendered(found) as render:
        return drift.find(render, today)


def changes(folder: Path) -> dict[str, str]:
    return {difference.path: difference.change for difference in differences(folder)}


@pytest.fixture
def made(tmp_path: Path) -> Path:
    return project(template(tmp_path / "t", FILES), tmp_path / "p")


def test_an_untouched_project_has_not_drifted(made: Path) -> None:
    assert changes(made) == {}


def _edit(folder: Path) -> None:
    (folder / "a.txt").write_text("one\n2\n3\n")


def _link(folder: Path) -> None:
    (folder / "a.txt").unlink()
    (folder / "a.txt").symlink_to("run.sh")


def _folder_for_a_file(folder: Path) -> None:
    (folder / "a.txt").unlink()
    write(folder, {"a.txt/inner": ""})


def _link_for_a_folder(folder: Path) -> None:
    (folder / "b").rename(folder / "elsewhere")
    (folder / "b").symlink_to("elsewhere")


def _edit_and_allow(folder: Path) -> None:
    _edit(folder)
    (folder / "a.txt").chmod(0o755)


@pytest.mark.parametrize(
    ("act", "expected"),
    [
        (_edit, {"a.txt": "edited"}),
        (lambda folder: (folder / "b/c.py").unlink(), {"b/c.py": "deleted"}),
        (lambda folder: shutil.rmtree(folder / "b"), {"b/c.py": "deleted"}),
        (lambda folder: (folder / "run.sh").chmod(0o755), {"run.sh": "mode"}),
        (_edit_and_allow, {"a.txt": "edited"}),
        (_link, {"a.txt": "type"}),
        (_folder_for_a_file, {"a.txt": "type"}),
        (_link_for_a_folder, {"b/c.py": "deleted"}),
        (lambda folder: write(folder, {"mine": "", "b/mine.py": ""}), {}),
        (lambda folder: write(folder, {".copier-answers.yml": "#\n" + _answers(folder)}), {}),
    ],
)
def test_what_happened_to_a_file_is_told(
    made: Path, act: Callable[[Path], object], expected: dict[str, str]
) -> None:
    act(made)
    assert changes(made) == expected


def _answers(folder: Path) -> str:
    return (folder / ".copier-answers.yml").read_text()


@pytest.mark.parametrize("is_committed", [True, False])
def test_committed_and_uncommitted_edits_count_alike(made: Path, is_committed: bool) -> None:
    (edit if is_committed else write)(made, {"a.txt": "one\n2\n"})
    (found,) = differences(made)
    assert (found.path, found.added, found.removed) == ("a.txt", 1, 1)


def test_binary_files_have_no_lines_and_their_modes_are_told(tmp_path: Path) -> None:
    for name in "xyz":
        (write(tmp_path / "t", {name: ""}) / name).write_bytes(b"\x00\x01" + name.encode())
    folder = project(template(tmp_path / "t", {"copier.yml": ""}), tmp_path / "p")
    (folder / "x").write_bytes(b"\x00\x02")
    (folder / "y").chmod(0o755)
    (folder / "z").write_bytes(b"\x00\x02")
    (folder / "z").chmod(0o755)
    assert changes(folder) == {"x": "edited", "y": "mode", "z": "edited"}
    assert {found.added for found in differences(folder)} == {None}


def test_links_are_compared_and_not_followed(tmp_path: Path) -> None:
    source = write(tmp_path / "t", {"copier.yml": "_preserve_symlinks: true\n", "a": "1"})
    (source / "link").symlink_to("a")
    folder = project(template(source, {}), tmp_path / "p")
    assert changes(folder) == {}
    (folder / "link").unlink()
    (folder / "link").symlink_to("/etc/passwd")
    assert changes(folder) == {"link": "edited"}


@pytest.mark.parametrize("name", ["ü ö.txt", 'quo"te', "new\nline", "-x", "*", ":a", " b "])
def test_odd_names_are_names(tmp_path: Path, name: str) -> None:
    folder = project(template(tmp_path / "t", {"copier.yml": "", name: "1\n"}), tmp_path / "p")
    assert changes(folder) == {}
    (folder / name).write_text("2\n")
    assert changes(folder) == {name: "edited"}


def test_ownership_and_waivers(tmp_path: Path) -> None:
    files = {**FILES, ".mlscaffold.toml": OWNERS + WAIVER}
    folder = project(template(tmp_path / "t", files), tmp_path / "p")
    write(folder, {"a.txt": "", "b/c.py": "", "run.sh": ""})
    before, after = (differences(folder, date(2027, month, 28)) for month in (1, 2))
    assert [(d.path, d.kind, d.is_waived, d.is_drift) for d in before] == [
        ("a.txt", "managed", True, False),
        ("b/c.py", "managed", False, True),
        ("run.sh", "seeded", False, False),
    ]
    assert [d.is_drift for d in after] == [True, True, False]
    assert after[0].waiver == before[0].waiver is not None


def test_without_ownership_skipped_files_are_seeded(tmp_path: Path) -> None:
    files = {"copier.yml": "_skip_if_exists: [a.txt]\n", "a.txt": "1", "b": "1"}
    folder = project(template(tmp_path / "t", files), tmp_path / "p")
    write(folder, {"a.txt": "2", "b": "2"})
    assert [(d.path, d.kind) for d in differences(folder)] == [("a.txt", "seeded"), ("b", "shared")]


def test_line_ends_follow_the_projects_attributes(made: Path) -> None:
    edit(made, {".gitattributes": "*.txt text eol=crlf\n"})
    (made / "a.txt").write_bytes(b"one\r\ntwo\r\n")
    (made / "b/c.py").write_bytes(b"x = 1\r\n")
    assert changes(made) == {"b/c.py": "edited"}


def test_a_checkout_with_autocrlf_is_no_drift(made: Path) -> None:
    git(made, "config", "core.autocrlf", "true")
    (made / "a.txt").unlink()
    git(made, "checkout", "-q", "a.txt")
    assert (made / "a.txt").read_bytes() == b"one\r\ntwo\r\n"
    assert changes(made) == {}


def test_modes_count_only_where_git_trusts_them(made: Path) -> None:
    git(made, "config", "core.fileMode", "false")
    (made / "run.sh").chmod(0o755)
    assert changes(made) == {}


def test_filters_of_the_project_are_applied_to_both(made: Path) -> None:
    git(made, "config", "filter.up.clean", "tr a-z A-Z")
    edit(made, {".gitattributes": "*.txt filter=up\n", "a.txt": "ONE\nTwo\n"})
    assert changes(made) == {}
    write(made, {"a.txt": "ONE\nThree\n"})
    assert changes(made) == {"a.txt": "edited"}


def test_a_separate_git_folder_is_found(made: Path, tmp_path: Path) -> None:
    git(made, "init", "-q", "--separate-git-dir", str(tmp_path / "elsewhere.git"))
    assert (made / ".git").is_file()
    _edit(made)
    assert changes(made) == {"a.txt": "edited"}


def test_a_template_with_crlf_is_no_drift(tmp_path: Path) -> None:
    source = write(tmp_path / "t", {"copier.yml": ""})
    (source / "a.bat").write_bytes(b"@echo off\r\n")
    (source / "b.txt").write_bytes(b"1\r\n")
    attributes = {".gitattributes": "*.bat text eol=crlf\n"}
    folder = project(template(source, attributes), tmp_path / "p")
    assert changes(folder) == {}
    git(folder, "config", "core.autocrlf", "input")
    assert changes(folder) == {}


def test_attributes_that_the_user_changed_count_and_are_told(tmp_path: Path) -> None:
    files = {**FILES, ".gitattributes": "* text=auto\n", "b/.gitattributes": "*.py -text\n"}
    folder = project(template(tmp_path / "t", files), tmp_path / "p")
    assert changes(folder) == {}
    write(folder, {".gitattributes": "*.txt -text\n"})
    (folder / "a.txt").write_bytes(b"one\r\ntwo\r\n")
    assert changes(folder) == {".gitattributes": "edited", "a.txt": "edited"}


def test_a_project_in_a_folder_of_a_repository(tmp_path: Path) -> None:
    top = tmp_path / "mono"
    commit(top, {".gitattributes": "*.txt text eol=crlf\n", "a.txt": "other"})
    folder = project(template(tmp_path / "t", FILES), top / "apps" / "p")
    (folder / "a.txt").write_bytes(b"one\r\ntwo\r\n")
    assert changes(folder) == {}
    write(folder, {"b/c.py": "x = 2\n"})
    assert changes(folder) == {"b/c.py": "edited"}


def test_a_project_without_git_is_compared_too(made: Path) -> None:
    shutil.rmtree(made / ".git")
    assert changes(made) == {}
    _edit(made)
    assert changes(made) == {"a.txt": "edited"}


def test_a_broken_repository_is_one_line(made: Path) -> None:
    write(made, {".git/config": "["})
    with pytest.raises(MlscaffoldError, match="bad config"):
        changes(made)


def test_a_linked_work_tree_is_compared(made: Path, tmp_path: Path) -> None:
    git(made, "worktree", "add", "-q", str(tmp_path / "linked" / "p"))
    _edit(tmp_path / "linked" / "p")
    assert changes(tmp_path / "linked" / "p") == {"a.txt": "edited"}
    assert changes(made) == {}


def test_nothing_is_written_to_the_project(made: Path) -> None:
    _edit(made)
    before = _states(made)
    assert changes(made)
    assert _states(made) == before


def _states(folder: Path) -> dict[Path, tuple[int, int]]:
    """Sizes and times; git notes the time at which it last needed an object."""
    return {
        path: (path.stat().st_size, 0 if "objects" in path.parts else path.stat().st_mtime_ns)
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize(
    "setting",
    [
        "diff.external=false",
        "diff.renames=copies",
        "diff.noprefix=true",
        "diff.relative=false",
        "core.fsmonitor=false-program",
        "core.quotePath=true",
        "color.ui=always",
        "index.version=4",
        "core.splitIndex=true",
        "core.untrackedCache=true",
        "status.showUntrackedFiles=no",
    ],
)
def test_settings_of_the_user_change_nothing(made: Path, setting: str) -> None:
    git(made, "config", *setting.split("=", 1))
    _edit(made)
    assert changes(made) == {"a.txt": "edited"}


def test_a_hooks_variables_change_nothing(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _edit(made)
    monkeypatch.setenv("GIT_DIR", str(made / "nowhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(made / ".git" / "index"))
    monkeypatch.chdir(os.sep)
    assert changes(made) == {"a.txt": "edited"}


def test_extensions_need_trust(tmp_path: Path) -> None:
    files = {"copier.yml": "_jinja_extensions: [jinja2.ext.do]\n", "a": "1"}
    folder = project(template(tmp_path / "t", files), tmp_path / "p")
    with pytest.raises(MlscaffoldError, match="--trust"):
        changes(folder)
    with pristine.rendered(step(folder), trusted=True) as render:
        assert drift.find(render) == ()


def test_an_old_version_is_compared_with_itself(tmp_path: Path) -> None:
    folder = project(template(tmp_path / "t", FILES, {"a.txt": "new\n"}), tmp_path / "p")
    with pristine.rendered(step(folder)) as render:
        assert drift.find(render) == ()
    assert b"new" not in tree(folder)["a.txt"]
