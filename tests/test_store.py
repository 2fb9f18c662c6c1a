from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from repositories import TEMPLATE, commit, git, tree, write

from mlscaffold import store
from mlscaffold.errors import MlscaffoldError

Make = Callable[..., Path]


@pytest.fixture(autouse=True)
def _forget() -> None:
    store.builtin_address.cache_clear()


def builtin(monkeypatch: pytest.MonkeyPatch, bundle: Path, shallow: Path | None = None) -> None:
    monkeypatch.setattr(store, "_BUNDLE", bundle)
    monkeypatch.setattr(store, "_SHALLOW", shallow or bundle.with_suffix(".none"))


def test_check_out_takes_the_newest_release(repository: Make) -> None:
    folder = repository()
    commit(folder, {"new.txt": ""}, tag="v1.1.0")
    commit(folder, {"rc.txt": ""}, tag="v2.0.0rc1")
    found = store.check_out(str(folder), None)
    assert (found.version, found.address) == ("v1.1.0", str(folder))
    assert (found.folder / "new.txt").exists()
    assert not (found.folder / "rc.txt").exists()


def test_check_out_without_releases_takes_head(tmp_path: Path) -> None:
    head = commit(tmp_path / "t", TEMPLATE)
    found = store.check_out(str(tmp_path / "t"), None)
    assert found.commit == head
    assert head.startswith(str(found.version))


@pytest.mark.parametrize("ref", ["v1.0.0", "main", "HEAD"])
def test_check_out_takes_a_tag_a_branch_or_head(repository: Make, ref: str) -> None:
    assert store.check_out(str(repository()), ref).version == "v1.0.0"


def test_of_several_tags_on_a_commit_the_one_asked_for_is_the_version(repository: Make) -> None:
    folder = repository()
    git(folder, "tag", "v1.5.0")
    found = [store.check_out(str(folder), ref).version for ref in ("v1.0.0", "v1.5.0", None)]
    assert found == ["v1.0.0", "v1.5.0", "v1.5.0"]


@pytest.mark.parametrize("ref", ["v1.0.1", "--upload-pack=touch x", "a..b", ""])
def test_an_unknown_ref_names_the_closest(repository: Make, ref: str) -> None:
    with pytest.raises(MlscaffoldError, match="Unknown ref"):
        store.check_out(str(repository()), ref)


def test_check_out_sees_what_came_since(repository: Make) -> None:
    folder = repository()
    store.check_out(str(folder), None)
    commit(folder, {"new.txt": ""}, tag="v1.1.0")
    assert store.check_out(str(folder), None).version == "v1.1.0"


def test_a_second_check_out_runs_no_clone(repository: Make) -> None:
    first = store.check_out(str(repository()), None)
    (first.folder / "mark").write_text("")
    second = store.check_out(first.address, None)
    assert second == first
    assert (second.folder / "mark").exists()


def test_checkouts_that_nobody_uses_are_removed(repository: Make) -> None:
    folder = repository()
    unused = store.check_out(str(folder), None)
    commit(folder, {"new.txt": ""}, tag="v1.1.0")
    used = store.check_out(str(folder), None)
    for found in (unused, used):
        os.utime(found.folder, (0, 0))
    assert store.check_out(used.address, "v1.1.0") == used
    commit(folder, {"newer.txt": ""}, tag="v1.2.0")
    store.check_out(str(folder), None)
    assert not unused.folder.exists()
    assert used.folder.exists()


def test_a_broken_mirror_is_made_again(repository: Make) -> None:
    found = store.check_out(str(repository()), None)
    assert found.mirror
    (found.mirror / "HEAD").unlink()
    (found.mirror / "mlscaffold.json").write_text("{")
    assert store.check_out(found.address, None) == found


@pytest.mark.parametrize("lock", ["packed-refs.lock", "refs/tags/v2.lock"])
def test_a_lock_that_a_killed_fetch_left_is_cleared(
    repository: Make, monkeypatch: pytest.MonkeyPatch, lock: str
) -> None:
    monkeypatch.setattr(store, "_PATIENCE", 0.1)
    folder = repository()
    mirror = store.check_out(str(folder), None).mirror
    assert mirror
    (mirror / lock).write_text("")
    git(folder, "tag", "-d", "v1.0.0")
    commit(folder, {"new.txt": ""}, tag="v2")
    assert store.check_out(str(folder), None).version == "v2"
    assert not list(mirror.rglob("*.lock"))


def test_an_address_that_does_not_exist_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(MlscaffoldError, match="cannot be fetched") as caught:
        store.check_out(str(tmp_path / "nope"), None)
    assert "\n" not in caught.value.message
    assert not list(tmp_path.glob("*"))


def test_a_folder_without_git_is_taken_as_it_is(tmp_path: Path) -> None:
    write(tmp_path / "plain", TEMPLATE)
    assert store.check_out(str(tmp_path / "plain"), None).commit is None
    with pytest.raises(MlscaffoldError, match="has no ref"):
        store.check_out(str(tmp_path / "plain"), "v1")


def test_a_bundle_is_a_template(repository: Make, tmp_path: Path) -> None:
    folder = repository()
    git(folder, "bundle", "create", "-q", str(tmp_path / "t.bundle"), "HEAD", "--tags")
    assert store.check_out(str(tmp_path / "t.bundle"), None).version == "v1.0.0"


def test_the_builtin_address_comes_from_the_metadata() -> None:
    assert store.builtin_address() == "https://github.com/mlscaffold/mlscaffold.git"


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://git.acme.dev/ml/scaffold.git", "https://git.acme.dev/ml/scaffold.git"),
        ("ssh://git@git.acme.dev/ml/scaffold", "git+ssh://git@git.acme.dev/ml/scaffold"),
        ("https://me:pw@git.acme.dev/x.git", "https://github.com/mlscaffold/mlscaffold.git"),
        ("https://git.acme.dev/x.git?token=a", "https://github.com/mlscaffold/mlscaffold.git"),
        ("file:///home/me/mlscaffold", "https://github.com/mlscaffold/mlscaffold.git"),
    ],
)
def test_a_fork_that_was_installed_is_the_address(
    url: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib.metadata import PathDistribution

    origin = json.dumps({"url": url, "vcs_info": {"vcs": "git", "commit_id": "0"}})
    monkeypatch.setattr(PathDistribution, "read_text", _instead(origin))
    assert store.builtin_address() == address


def _instead(origin: str) -> Callable[..., str | None]:
    from importlib.metadata import PathDistribution

    real = PathDistribution.read_text
    return lambda self, name: origin if name == "direct_url.json" else real(self, name)


def test_the_builtin_template_comes_from_the_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "source"
    version = '[project]\nversion = "{}"\n'
    commit(folder, {**TEMPLATE, "pyproject.toml": version.format("0.1.0.dev0")})
    first = commit(folder, {"pyproject.toml": version.format("0.1.0")})
    commit(folder, {"pyproject.toml": version.format("0.1.0") + "# the same\n"})
    commit(folder, {"pyproject.toml": version.format("0.2.0")})
    git(folder, "bundle", "create", "-q", str(tmp_path / "t.bundle"), "HEAD")
    builtin(monkeypatch, tmp_path / "t.bundle")
    newest, old = store.check_out(None, None), store.check_out(None, "v0.1.0")
    assert newest.address == "https://github.com/mlscaffold/mlscaffold.git"
    assert (newest.version, old.version, old.commit) == ("v0.2.0", "v0.1.0", first)


def test_a_shallow_clones_bundle_can_be_checked_out(
    repository: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = repository()
    head = commit(folder, {"pyproject.toml": '[project]\nversion = "0.2.0"\n'})
    git(tmp_path, "clone", "-q", "--depth", "1", folder.as_uri(), "shallow")
    shallow = tmp_path / "shallow"
    git(shallow, "bundle", "create", "-q", str(tmp_path / "t.bundle"), "HEAD")
    builtin(monkeypatch, tmp_path / "t.bundle", shallow / ".git" / "shallow")
    found = store.check_out(None, None)
    assert found.commit == head
    assert tree(found.folder)["hello.txt.jinja"] == TEMPLATE["hello.txt.jinja"].encode()


@pytest.mark.parametrize(
    ("address", "refused"),
    [
        ("https://me:pw@host/x", True),
        ("https://token@host/x.git", True),
        ("https://host/x.git?private_token=abc", True),
        ("https://host/x.git#access_token=abc", True),
        ("https://host/x.git?ref=main", False),
        ("git+ssh://me:two/parts and blanks@host/x.git", True),
        ("git+https://token@host/x.git", True),
        ("ssh://git@host/x", False),
        ("git@host:x.git", False),
        ("gh:acme/t", False),
        ("https://[broken", False),
    ],
)
def test_credentials_in_an_address_are_seen(address: str, refused: bool) -> None:
    assert store.has_credential(address) is refused


def test_shortcuts_are_expanded_for_git_alone(tmp_path: Path) -> None:
    found = store.Checkout("gh:acme/t", tmp_path, mirror=tmp_path)
    assert store.redirection(found)["GIT_CONFIG_VALUE_0"] == "https://github.com/acme/t.git"


def test_uncommitted_changes_are_seen(repository: Make) -> None:
    folder = repository()
    assert not store.uncommitted(str(folder))
    (folder / "copier.yml").write_text("")
    assert store.uncommitted(str(folder))
