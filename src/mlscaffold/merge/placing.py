"""Putting the files of an update in place, one rename each, and back again."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from mlscaffold.errors import MlscaffoldError
from mlscaffold.merge.journal import Journal, folder
from mlscaffold.merge.repository import Repository


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


def file_signature(path: Path) -> str | None:
    """Return the signature of a file or link; None also for a folder, whose files count alone."""
    found = signature(path)
    return None if found == "folder" else found


def go_on(repository: Repository, journal: Journal) -> None:
    """Puts every file in place. Raises when one is no longer what it was."""
    for number, change in enumerate(journal.changes):
        place = repository.top / change.path
        now = signature(place)
        if now == "folder" and change.before is None and not any(place.iterdir()):
            now = None
        if now == "folder":
            raise MlscaffoldError(
                f"{change.path} is a folder that holds files which git does not track. Move them."
            )
        if now != change.before:
            raise MlscaffoldError(f"{change.path} was changed while the update ran.")
        _put(repository, number, change.path, "ready" if change.after else None)


def go_back(repository: Repository, journal: Journal) -> tuple[str, ...]:
    """Puts every file back that is as the update left it; the paths of those that are not."""
    edited = []
    for number, change in reversed(list(enumerate(journal.changes))):
        place = repository.top / change.path
        beside = place.parent / _temporary(number)
        if os.path.lexists(beside):  # where one may not write, unlinking nothing fails too
            beside.unlink()
        now = signature(place)
        is_waiting = os.path.lexists(folder(repository) / "ready" / str(number))
        if now == change.before or (is_waiting and now != change.after):
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
    """Whether every file was put in place, and none back, whatever came of it since."""
    ready = folder(repository) / "ready"
    return not any(
        os.path.lexists(ready / str(number))
        or (
            change.before != change.after
            and signature(repository.top / change.path) == change.before
        )
        for number, change in enumerate(journal.changes)
    )


def _put(repository: Repository, number: int, path: str, source: str | None) -> None:
    place = repository.top / path
    if source is None:
        place.unlink()
        prune(place.parent, repository.top)
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


def prune(empty: Path, top: Path) -> None:
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
