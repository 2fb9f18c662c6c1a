"""The journal of an update: what every file was and will be, so that it can always go back.

It is a folder in the project's git folder. `update` holds the last one: its record, the files as
they were (`before`) and the files that are still to be put in place (`ready`). It appears and
disappears by one rename, so that it is there wholly or not at all.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
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
    """Removes what killed updates had prepared and not begun."""
    for left in repository.state.glob("next-*"):
        shutil.rmtree(left, ignore_errors=True)


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


def signature(path: Path) -> str | None:
    """What tells whether a file is still the one it was; None if there is none."""
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stat.S_ISLNK(status.st_mode):
        return f"link {os.readlink(path)}"  # noqa: PTH115
    if not stat.S_ISREG(status.st_mode):
        return "folder"
    kind = "program" if status.st_mode & 0o100 else "file"
    return f"{kind} {sha256(path.read_bytes()).hexdigest()}"


def go_on(repository: Repository, journal: Journal) -> None:
    """Puts every file in place. Raises when one is no longer what it was."""
    for number, change in enumerate(journal.changes):
        place = repository.top / change.path
        now = signature(place)
        if now == "folder" and change.before is None and not any(place.iterdir()):
            now = None
        if now != change.before:
            raise MlscaffoldError(f"{change.path} was changed while the update ran.")
        _put(repository, number, change.path, "ready" if change.after else None)


def go_back(repository: Repository, journal: Journal) -> tuple[str, ...]:
    """Puts every file back that is as the update left it; the paths of those that are not."""
    edited = []
    for number, change in reversed(list(enumerate(journal.changes))):
        place = repository.top / change.path
        (place.parent / _temporary(number)).unlink(missing_ok=True)
        now = signature(place)
        if now == change.before:
            continue
        if now == "folder" and change.after is None:
            with suppress(OSError):  # what is still in it was not made by the update
                place.rmdir()
                now = None
        if now != change.after:
            edited.append(change.path)
        else:
            _put(repository, number, change.path, "before" if change.before else None)
    return tuple(reversed(edited))


def is_in_place(repository: Repository, journal: Journal) -> bool:
    """Whether every file was put in place, whatever came of it since."""
    ready = folder(repository) / "ready"
    return not any(
        os.path.lexists(ready / str(number))
        if change.after
        else signature(repository.top / change.path) == change.before
        for number, change in enumerate(journal.changes)
    )


def _put(repository: Repository, number: int, path: str, source: str | None) -> None:
    place = repository.top / path
    if source is None:
        place.unlink()
        _prune(place.parent, repository.top)
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_dir() and not place.is_symlink():
        place.rmdir()
    kept = folder(repository) / source / str(number)
    try:
        kept.replace(place)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        beside = place.parent / _temporary(number)
        shutil.copy2(kept, beside, follow_symlinks=False)
        beside.replace(place)
        kept.unlink()


def _temporary(number: int) -> str:
    return f".mlscaffold-{number}.tmp"


def _prune(empty: Path, top: Path) -> None:
    """Removes folders that hold nothing any more, as git does; never the one we stand in."""
    with suppress(OSError):
        while empty != top and not Path.cwd().is_relative_to(empty):
            empty.rmdir()
            empty = empty.parent


def keep_before(repository: Repository, place: Path, paths: Iterable[str]) -> None:
    """Copies the files as they are into a journal that is being prepared."""
    (place / "before").mkdir()
    for number, path in enumerate(paths):
        source = repository.top / path
        if source.is_file() or source.is_symlink():
            shutil.copy2(source, place / "before" / str(number), follow_symlinks=False)
