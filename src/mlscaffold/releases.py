"""Which version of a template is older, and what came between two of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from packaging.version import InvalidVersion, Version

from mlscaffold import git
from mlscaffold.store import Checkout

_HEADING = re.compile(r"^##\s+\[?v?(\d[^\]\s]*)", re.MULTILINE)


@dataclass(frozen=True)
class Release:
    """A tag that is a version, and when it was made."""

    tag: str
    date: datetime


@dataclass(frozen=True)
class Gap:
    """What lies between two versions.

    releases, commits: those after the old one, up to the new one; releases the oldest first
    days: from the day of the old one to that of the new one
    """

    releases: tuple[Release, ...]
    commits: int
    days: int
    changelog: str


def is_older(one: Checkout, other: Checkout) -> bool:
    """Whether one is older than other: by their versions, or else by the template's history."""
    if one.commit == other.commit:
        return False
    first, second = version_of(str(one.version)), version_of(str(other.version))
    if first and second and first != second:
        return first < second
    assert one.mirror
    revisions = (str(one.commit), f"^{other.commit}")
    return not git.run_bare("rev-list", "--max-count=1", *revisions, repository=one.mirror)


def gap(old: Checkout, new: Checkout) -> Gap:
    """What lies between two versions of one template."""
    assert new.mirror
    commits = git.run_bare(
        "rev-list", "--count", f"{old.commit}..{new.commit}", repository=new.mirror
    )
    each = ("log", "--no-walk=unsorted", "--format=%ct", str(old.commit), str(new.commit))
    first, last = map(int, git.run_bare(*each, repository=new.mirror).split())
    days = max(0, round((last - first) / 86_400))
    return Gap(between(old, new), int(commits), days, changelog(old, new))


def between(old: Checkout, new: Checkout) -> tuple[Release, ...]:
    """The releases after old, up to new, the oldest first."""
    first, last = version_of(str(old.version)), version_of(str(new.version))
    if new.mirror is None or first is None or last is None:
        return ()
    form = "--format=%(creatordate:unix) %(refname:lstrip=2)"
    lines = git.run_bare("for-each-ref", form, "refs/tags", repository=new.mirror).splitlines()
    found = []
    for line in lines:
        seconds, _, tag = line.partition(" ")
        version = version_of(tag)
        if version and first < version <= last and not version.is_prerelease:
            found.append((version, Release(tag, datetime.fromtimestamp(int(seconds), UTC))))
    return tuple(release for _, release in sorted(found, key=lambda pair: pair[0]))


def changelog(old: Checkout, new: Checkout) -> str:
    """What the template's changelog says about the versions after old, up to new.

    Without a changelog, the subjects of the commits between the two.
    """
    text = _read(new.folder, "CHANGELOG.md")
    if sections := list(_sections(text, old, new)):
        return "\n\n".join(sections)
    if new.mirror is None or old.commit == new.commit:
        return ""
    subjects = ("log", "--no-merges", "--format=- %s", f"{old.commit}..{new.commit}")
    return git.run_bare(*subjects, repository=new.mirror)


def _sections(text: str, old: Checkout, new: Checkout) -> Iterator[str]:
    first, last = version_of(str(old.version)), version_of(str(new.version))
    starts = list(_HEADING.finditer(text))
    ends = [*(start.start() for start in starts), len(text)]
    for start, end in zip(starts, ends[1:], strict=True):
        version = version_of(start[1])
        if first and last and version and first < version <= last:
            yield text[start.start() : end].strip()


def version_of(described: str) -> Version | None:
    """The version that `git describe` names; commits after a tag come after its version."""
    if found := re.fullmatch(r"(.+)-(\d+)-g([0-9a-f]+)", described):
        described = f"{found[1]}.post{found[2]}+{found[3]}"
    try:
        return Version(described)
    except InvalidVersion:
        return None


def _read(folder: Path, name: str) -> str:
    """Return the text of a file in a folder; "" where there is none, or a link that leaves it."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        return ""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
