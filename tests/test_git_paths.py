from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from repositories import git, write

from mlscaffold import git_paths

GITS_OWN = [
    ".git",
    ".GIT/hooks/pre-commit",
    "a/.git/config",
    ".git.",
    ".git ",
    ".git. . ",
    "git~1",
    "GIT~1/hooks",
    ".git::$INDEX_ALLOCATION/hooks",
    ".git:x",
    "git~1 .:x",
    "a\\.git\\hooks",
    ".git\\config",
    ".g\u200cit",
    "\ufeff.git/config",
    ".git\u206f",
    ".\u202egIt.",
]
NOT_GITS = [
    ".gitignore",
    ".gitattributes",
    ".github/workflows/ci.yml",
    ".gitlab-ci.yml",
    "git",
    "a.git",
    "git~2",
    ".gité",
    ".g\u0131t",
    ".git-blame-ignore-revs",
    "hooks/pre-commit",
    ".git x",
    ".git\u200bx",
]


@pytest.mark.parametrize("path", GITS_OWN)
def test_what_git_takes_for_its_own_folder_is_known(path: str) -> None:
    assert git_paths.is_gits_own(path)


@pytest.mark.parametrize("path", NOT_GITS)
def test_other_names_are_the_templates(path: str) -> None:
    assert not git_paths.is_gits_own(path)


@pytest.mark.parametrize("path", [*GITS_OWN, *NOT_GITS])
def test_git_refuses_the_same(path: str, tmp_path: Path) -> None:
    if "\\" in path or path == ".\u202egIt.":
        pytest.skip("git takes a backslash for a separator on Windows alone, and mixes no rules")
    git(tmp_path, "init", "-q")
    blob = git(write(tmp_path, {"f": ""}), "hash-object", "-w", "f")
    protection = ("-c", "core.protectHFS=true", "-c", "core.protectNTFS=true")
    entry = f"100644,{blob},{path}"
    done = subprocess.run(
        ["git", *protection, "update-index", "--add", "--cacheinfo", entry], cwd=tmp_path
    )
    assert git_paths.is_gits_own(path) is bool(done.returncode)


def test_settings_of_submodules_may_not_be_a_link() -> None:
    assert git_paths.is_gitmodules("a/.GitModules .")
    assert git_paths.is_gitmodules("gitmod~1")
    assert not git_paths.is_gitmodules(".gitmodules.txt")
