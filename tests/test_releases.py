from __future__ import annotations

from pathlib import Path

import pytest
from projects import template
from repositories import commit

from mlscaffold import releases, store

LOG = "# Changelog\n\n## [2.0] - today\n- two\n\n## v1.5\n- between\n\n## 1\n- one\n"


def test_what_lies_between_two_versions(tmp_path: Path) -> None:
    source = template(tmp_path / "t", {"a": "1"}, {"a": "2", "CHANGELOG.md": LOG})
    commit(source, {"a": "3"}, tag="v3rc1")
    commit(source, {"a": "4"}, tag="v3")
    old, two, new = (store.check_out(str(source), ref) for ref in ("v1", "v2", "v3"))
    assert [release.tag for release in releases.between(old, new)] == ["v2", "v3"]
    assert releases.changelog(old, two) == "## [2.0] - today\n- two\n\n## v1.5\n- between"
    assert releases.is_older(old, new)
    assert not releases.is_older(new, old)
    assert not releases.is_older(new, new)


def test_without_a_changelog_the_commits_speak(tmp_path: Path) -> None:
    source = template(tmp_path / "t", {"a": "1"}, {"a": "2"})
    old, new = (store.check_out(str(source), ref) for ref in ("v1", "v2"))
    assert releases.changelog(old, new) == "- Change"
    assert releases.changelog(new, new) == ""


def test_a_commit_after_a_tag_is_newer_than_it(tmp_path: Path) -> None:
    source = template(tmp_path / "t", {"a": "1"})
    after = commit(source, {"a": "2"})
    old, new = store.check_out(str(source), "v1"), store.check_out(str(source), after)
    assert releases.is_older(old, new)


def test_a_gap_is_counted_in_releases_commits_and_days(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = template(tmp_path / "t", {"a": "1"})
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2026-01-12T12:00:00Z")
    commit(source, {"a": "2"})
    commit(source, {"a": "3"}, tag="v2")
    old, new = (store.check_out(str(source), ref) for ref in ("v1", "v2"))
    found = releases.gap(old, new)
    assert ([release.tag for release in found.releases], found.commits, found.days) == (
        ["v2"],
        2,
        10,
    )
