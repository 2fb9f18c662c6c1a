"""The journal of an update: what every file was and will be, so that it can always go back.

It is a folder in the project's git folder. `update` holds the last one: its record, the files as
they were (`before`) and the files that are still to be put in place (`ready`). It appears and
disappears by one rename, so that it is there wholly or not at all.
"""

from __future__ import annotations

import errno
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
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
    index: what git's index held of the paths in conflict, as `git update-index` reads it
    staged: whether the index changes at all
    """

    state: str
    head: str
    names: tuple[str, str]
    changes: tuple[Change, ...]
    index: str = ""
    paths_in_index: tuple[str, ...] = field(default_factory=tuple)
    staged: bool = False


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
    return repository.state / "update"


def read(repository: Repository) -> Journal | None:
    """The last update's journal, if there is one."""
    try:
        text = (folder(repository) / _RECORD).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    data: dict[str, Any] = json.loads(text)
    changes = tuple(Change(**change) for change in data.pop("changes"))
    data["names"], data["paths_in_index"] = tuple(data["names"]), tuple(data["paths_in_index"])
    return Journal(**data, changes=changes)


def write(place: Path, journal: Journal) -> None:
    files.write_text(place / _RECORD, json.dumps(asdict(journal)))


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
