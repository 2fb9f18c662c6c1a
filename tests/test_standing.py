"""The built-in template: the package's bundle, and its address, which may have newer releases."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from projects import edit
from repositories import Files, commit, git

from mlscaffold import store
from mlscaffold.cli import cli

ADDRESS = "https://github.com/mlscaffold/mlscaffold.git"
ANSWERS = {"{{ _copier_conf.answers_file }}.jinja": "{{ _copier_answers|to_nice_yaml -}}\n"}


def release(folder: Path, version: str, files: Files, tag: str | None = None) -> str:
    """Commit a release as this repository's are: a change of project.version."""
    metadata = f'[project]\nversion = "{version}"\n'
    return commit(folder, {"pyproject.toml": metadata, **files}, tag=tag)


@pytest.fixture
def upstream(tmp_path: Path, isolated: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the address has; mlscaffold's own bundle has its first release."""
    folder = tmp_path / "upstream"
    release(folder, "1.0.0", {"copier.yml": "", "a.txt": "one\n", **ANSWERS}, tag="v1.0.0")
    bundle = tmp_path / "template.bundle"
    git(folder, "bundle", "create", "-q", str(bundle), "HEAD", "--tags")
    monkeypatch.setattr(store, "_BUNDLE", bundle)
    monkeypatch.setattr(store, "_SHALLOW", bundle.with_suffix(".none"))
    with (isolated / ".gitconfig").open("a") as settings:
        settings.write(f'[url "{folder}"]\n\tinsteadOf = {ADDRESS}\n')
    return folder


@pytest.fixture
def project(upstream: Path, tmp_path: Path) -> Path:
    """A project of the first release."""
    assert upstream.is_dir()
    folder = tmp_path / "p"
    folder.mkdir()
    answers = f"_commit: v1.0.0\n_src_path: {ADDRESS}\n"
    (folder / ".copier-answers.yml").write_text(answers)
    (folder / "a.txt").write_text("one\n")
    metadata = '[project]\nversion = "1.0.0"\n'
    (folder / "pyproject.toml").write_text(metadata)
    git(folder, "init", "-q", "-b", "main")
    edit(folder, {})
    return folder


def type_(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


def newest(project: Path) -> tuple[str, str | None]:
    """The newest version by status, and the one that update would go to; their codes agree."""
    status = json.loads(type_("status", str(project), "--format", "json").stdout)
    done = type_("update", str(project), "--dry-run", "--format", "json")
    [update] = json.loads(done.stdout)["updates"]
    return status["templates"][0]["newest"], update["to"]


def cut_off(upstream: Path) -> None:
    upstream.rename(upstream.with_name("gone"))


def test_status_and_update_see_a_release_that_the_package_does_not_have(
    project: Path, upstream: Path
) -> None:
    done = type_("status", str(project))
    assert (done.exit_code, done.stderr) == (0, "")
    release(upstream, "1.1.0", {"a.txt": "two\n"}, tag="v1.1.0")
    done = type_("status", str(project))
    assert (done.exit_code, done.stderr) == (1, "")
    assert "v1.0.0, newest v1.1.0 (1 release" in done.stdout
    assert newest(project) == ("v1.1.0", "v1.1.0")
    assert type_("update", str(project)).exit_code == 0
    assert (project / "a.txt").read_text() == "two\n"
    assert type_("status", str(project)).exit_code == 0


def test_a_release_without_a_tag_is_a_release(project: Path, upstream: Path) -> None:
    release(upstream, "1.1.0", {"a.txt": "two\n"})
    commit(upstream, {"a.txt": "three\n"})
    assert newest(project) == ("v1.1.0", "v1.1.0")


def test_commits_after_the_last_release_are_none(project: Path, upstream: Path) -> None:
    commit(upstream, {"a.txt": "two\n"})
    release(upstream, "1.1.0rc1", {"a.txt": "three\n"}, tag="v1.1.0rc1")
    assert newest(project) == ("v1.0.0", "v1.0.0")


def test_an_address_that_is_behind_the_package_takes_nothing_away(
    project: Path, upstream: Path, tmp_path: Path
) -> None:
    git(tmp_path, "clone", "-q", "--bare", str(upstream), "old.git")
    release(upstream, "2.0.0", {"a.txt": "two\n"})
    git(upstream, "bundle", "create", "-q", str(store._BUNDLE), "HEAD")
    cut_off(upstream)
    (tmp_path / "old.git").rename(upstream)
    assert newest(project) == ("v2.0.0", "v2.0.0")


def test_what_the_package_has_is_not_moved_by_the_address(project: Path, upstream: Path) -> None:
    commit(upstream, {"a.txt": "another one\n"})
    git(upstream, "tag", "-f", "v1.0.0")
    release(upstream, "1.1.0", {"a.txt": "two\n"}, tag="v1.1.0")
    assert newest(project) == ("v1.1.0", "v1.1.0")
    assert type_("diff", str(project)).exit_code == 0


def test_where_the_address_does_not_answer_the_package_does(project: Path, upstream: Path) -> None:
    cut_off(upstream)
    done = type_("status", str(project))
    assert done.exit_code == 0
    assert done.stdout.startswith("  template  v1.0.0, none newer known\n")
    [line] = done.stderr.splitlines()
    assert f"{ADDRESS} cannot be asked for newer releases" in line
    assert "What mlscaffold itself brings along was taken" in line
    told = json.loads(type_("status", str(project), "--format", "json").stdout)
    assert told["is_good"] is True
    assert "cannot be asked" in told["templates"][0]["unreachable"]
    done = type_("update", str(project), "--dry-run")
    assert done.exit_code == 0
    assert "cannot be asked for newer releases" in done.stderr


def test_what_was_seen_once_is_known_without_the_address(project: Path, upstream: Path) -> None:
    release(upstream, "1.1.0", {"a.txt": "two\n"}, tag="v1.1.0")
    assert type_("status", str(project)).exit_code == 1
    cut_off(upstream)
    done = type_("status", str(project))
    assert done.exit_code == 1
    assert "newest known v1.1.0" in done.stdout
    assert newest(project) == ("v1.1.0", "v1.1.0")


def test_update_brings_a_version_by_name_from_the_address(project: Path, upstream: Path) -> None:
    release(upstream, "1.1.0", {"a.txt": "two\n"}, tag="v1.1.0")
    release(upstream, "1.2.0", {"a.txt": "three\n"}, tag="v1.2.0")
    done = type_("update", str(project), "--to", "v1.9.0")
    assert done.exit_code == 2
    assert "v1.9.0" in done.stderr
    assert type_("update", str(project), "--to", "v1.1.0").exit_code == 0
    assert (project / "a.txt").read_text() == "two\n"


def test_a_project_may_be_of_a_newer_version_than_the_package(
    project: Path, upstream: Path
) -> None:
    """A colleague has updated it with a newer mlscaffold."""
    release(upstream, "1.1.0", {"a.txt": "two\n"}, tag="v1.1.0")
    newer = {".copier-answers.yml": f"_commit: v1.1.0\n_src_path: {ADDRESS}\n", "a.txt": "two\n"}
    newer["pyproject.toml"] = '[project]\nversion = "1.1.0"\n'
    edit(project, newer)
    upstream.rename(upstream.with_name("away"))
    done = type_("status", str(project))
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"{ADDRESS} cannot be asked" in done.stderr
    upstream.with_name("away").rename(upstream)
    assert type_("diff", str(project)).exit_code == 0
    assert type_("status", str(project)).exit_code == 0


def test_an_address_that_is_silent_is_not_waited_for(
    project: Path, isolated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """git and the program of git's that waits are ended both."""
    monkeypatch.setattr(store, "_SECONDS_TO_ANSWER", 0.5)
    monkeypatch.setenv("GIT_ALLOW_PROTOCOL", "file:ext")
    settings = (isolated / ".gitconfig").read_text()
    (isolated / ".gitconfig").write_text(
        settings.partition("[url")[0] + f'[url "ext::sleep 30"]\n\tinsteadOf = {ADDRESS}\n'
    )
    before = time.monotonic()
    done = type_("status", str(project))
    assert time.monotonic() - before < 20
    assert done.exit_code == 0
    assert "no answer within 0.5 seconds" in done.stderr
