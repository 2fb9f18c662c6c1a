from __future__ import annotations

import re
from pathlib import Path

import pytest
from repositories import commit
from repositories import git as real_git

from mlscaffold import git, process
from mlscaffold.errors import MlscaffoldError


def test_run_ignores_a_hooks_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit(tmp_path, {"a": ""})
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert git.run("rev-parse", "--show-prefix", cwd=tmp_path) == ""


def test_a_failure_is_one_line_with_gits_reason(tmp_path: Path) -> None:
    with pytest.raises(git.GitError) as caught:
        git.run("rev-parse", "HEAD", cwd=tmp_path)
    assert caught.value.message.startswith("git rev-parse: not a git repository")
    assert "\n" not in caught.value.message


def test_a_repository_of_another_user_says_what_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git.run("init", "--quiet", ".", cwd=tmp_path)
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    advice = f"type: git config --global --add safe.directory {tmp_path} and then"
    with pytest.raises(git.GitError, match=re.escape(advice)):
        git.run("rev-parse", "--git-dir", cwd=tmp_path)
    with pytest.raises(git.GitError, match=re.escape(advice)):
        git.exchange("status", cwd=tmp_path)


@pytest.mark.parametrize(
    ("written", "advice"),
    [
        (
            "fatal: unsafe repository ('/srv/a b' is owned by someone else)\n",
            "git config --global --add safe.directory '/srv/a b'",
        ),
        (
            "error: gpg failed to sign the data:\ngpg: skipped: No secret key\n\n"
            "fatal: failed to write commit object\n",
            "No secret key: git could not sign the commit. Unlock or name the key",
        ),
        (
            "fatal: Unable to create '/p/.git/index.lock': File exists.\n\n"
            "Another git process seems to be running.\nremove the file manually to continue.\n",
            "File exists. Another git process seems to be running. remove the file manually to",
        ),
        (
            "error: Updates were rejected.\nhint: Integrate the remote changes\nhint: and push.\n",
            "Updates were rejected. Integrate the remote changes and push",
        ),
    ],
)
def test_what_git_says_to_do_is_said(
    written: str, advice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "run", lambda *_, **__: process.Finished(128, "", written))
    with pytest.raises(git.GitError) as caught:
        git.run("commit", cwd=tmp_path)
    assert advice in caught.value.message


def test_missing_git_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MlscaffoldError, match="git is not installed"):
        git.check_version()


@pytest.mark.parametrize(
    ("version", "oldest", "passes"),
    [
        ("2.29.9", git.OLDEST, False),
        ("2.30.2", git.OLDEST, True),
        ("2.37.9", git.OLDEST_THAT_MERGES, False),
        ("2.38.0", git.OLDEST_THAT_MERGES, True),
    ],
)
def test_old_git_is_refused(
    version: str, oldest: tuple[int, int], passes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = process.Finished(0, f"git version {version}\n", "")
    monkeypatch.setattr(process, "run", lambda *_, **__: answer)
    if passes:
        git.check_version(oldest)
        return
    with pytest.raises(MlscaffoldError, match=f"{re.escape(version)} is too old") as caught:
        git.check_version(oldest)
    for way in ("ppa:git-core/ppa", "-backports git", "-c conda-forge git", "brew install git"):
        assert way in caught.value.message


def test_settings_reach_a_git_that_does_not_count_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", "'a.b=first'")
    variables = git.with_settings([("a.b", "it's"), ("a.c", ""), ("filter.d=e.clean", "")])
    del variables["GIT_CONFIG_COUNT"]
    assert git.run("config", "a.b", cwd=tmp_path, variables=variables) == "it's"
    assert git.run("config", "a.c", cwd=tmp_path, variables=variables) == ""


def test_commit_all_works_without_an_identity(isolated: Path, tmp_path: Path) -> None:
    (isolated / ".gitconfig").write_text("[user]\n\tuseConfigOnly = true\n")
    real_git(tmp_path, "init", "-q")
    (tmp_path / "a").write_text("")
    assert git.commit_all(tmp_path, "Start")
    assert real_git(tmp_path, "log", "-1", "--format=%an %s") == "mlscaffold Start"


def test_commit_all_takes_the_persons_identity(tmp_path: Path) -> None:
    real_git(tmp_path, "init", "-q")
    (tmp_path / "a").write_text("")
    git.commit_all(tmp_path, "Start")
    assert real_git(tmp_path, "log", "-1", "--format=%an") == "Ada"


def test_commit_all_does_nothing_when_nothing_changed(tmp_path: Path) -> None:
    head = commit(tmp_path, {"a": ""})
    assert git.commit_all(tmp_path, "Again") == ""
    assert real_git(tmp_path, "rev-parse", "HEAD") == head
