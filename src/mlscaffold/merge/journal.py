"""The journal of an update: what every file was and will be, so that it can always go back.

It is a folder in the repository's git folder, one for each project and its answers files: the last
update's record, the files as they were (`before`) and the files that are still to be put in place
(`ready`). It appears and disappears by one rename, so that it is there wholly or not at all.
"""

from __future__ import annotations

import errno
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mlscaffold import files
from mlscaffold.errors import MlscaffoldError
from mlscaffold.merge.repository import Repository

APPLYING, DONE = "applying", "done"
_RECORD = "journal.json"


@dataclass(frozen=True)
class Change:
    """One path, and what it is before and after: a signature, or None for nothing."""

    path: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class Journal:
    """The record of one update.

    state: whether it is still being applied
    head: the commit that it started from
    names: the old and the new version
    changes: the files, in the order in which they change
    prefix, answers_files: the project, and what of it was updated
    index: what git's index held of the paths in paths_in_index, as `git update-index` reads it
    staged: whether the index changes at all
    index_after: the digest of the index after the update; the whole index of before is next to
        the record then, as `index`
    """

    state: str
    head: str
    names: tuple[str, str]
    changes: tuple[Change, ...]
    prefix: str
    answers_files: tuple[str, ...]
    index: str = ""
    paths_in_index: tuple[str, ...] = ()
    staged: bool = False
    index_after: str = ""


@contextmanager
def locked(repository: Repository) -> Iterator[None]:
    """Holds the project: of two updates at once, one goes on and the other raises.

    The lock is the kernel's, so it goes with its process, however that ends.
    """
    path = repository.state / "lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        try:
            files.lock_at_once(file)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
                raise
            raise MlscaffoldError(
                f"Another update of {repository.top} is running. Wait for it, then try again."
            ) from None
        yield


def folder(repository: Repository) -> Path:
    return repository.state / repository.update_name


def read(repository: Repository) -> Journal | None:
    """The last update's journal, if there is one."""
    return _read(folder(repository))


def all_of(repository: Repository) -> list[tuple[Repository, Journal]]:
    """Return the journals of all projects in the repository, the newest first."""
    places = sorted(repository.state.glob("update-*"), key=lambda place: -place.stat().st_mtime_ns)
    found = []
    for place in places:
        if journal := _read(place):
            of = replace(repository, prefix=journal.prefix, answers_files=journal.answers_files)
            found.append((of, journal))
    return found


def _read(place: Path) -> Journal | None:
    try:
        text = (place / _RECORD).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    data: dict[str, Any] = json.loads(text)
    changes = tuple(Change(**change) for change in data.pop("changes"))
    for name in ("names", "answers_files", "paths_in_index"):
        data[name] = tuple(data[name])
    return Journal(**data, changes=changes)


def write(place: Path, journal: Journal) -> None:
    write_record(place / _RECORD, asdict(journal))


def write_record(path: Path, content: Mapping[str, Any]) -> None:
    files.write_text(path, json.dumps(content))


def finish(repository: Repository, journal: Journal) -> Journal:
    done = replace(journal, state=DONE)
    write(folder(repository), done)
    return done


def new_folder(repository: Repository) -> Path:
    """A folder to prepare a journal in, which no process of a killed update can be writing to."""
    repository.state.mkdir(exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="next-", dir=repository.state))


def remove_unfinished(repository: Repository) -> None:
    """Removes what killed updates had prepared and not begun, or not wholly removed."""
    for left in (*repository.state.glob("next-*"), repository.state / "old"):
        shutil.rmtree(left, ignore_errors=True)
    for left in repository.state.glob(".ref.*"):
        left.unlink()


def begin(repository: Repository, prepared: Path) -> None:
    """Makes a prepared journal the current one; from here on it can be undone."""
    clear(repository)
    prepared.rename(folder(repository))


def clear(repository: Repository) -> None:
    """Forgets the last update."""
    current, old = folder(repository), repository.state / "old"
    if old.exists():
        shutil.rmtree(old)
    if current.exists():
        current.rename(old)
        shutil.rmtree(old)
