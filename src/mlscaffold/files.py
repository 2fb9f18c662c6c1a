"""Reading files, and writing files and folders whole: everything is there, or nothing is."""

from __future__ import annotations

import os
import shutil
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from mlscaffold.errors import MlscaffoldError


def write_text(path: Path, text: str) -> None:
    """Replaces path by text, in UTF-8 with LF line ends, in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read_toml(path: Path) -> dict[str, Any]:
    """What a TOML file holds.

    Raises FileNotFoundError, and MlscaffoldError naming the file and the line that is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise
    except OSError as error:
        raise MlscaffoldError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise MlscaffoldError(f"{path} is not a text file in UTF-8.") from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        reason = str(error).replace("at end of document", f"at line {text.count(chr(10)) + 1}")
        raise MlscaffoldError(f"{path} is not valid TOML: {reason}.") from None


@contextmanager
def folder_beside(destination: Path) -> Iterator[Path]:
    """A temporary folder on destination's file system, gone with all it holds at the end.

    Missing folders above destination are made, and removed again if they stay empty.
    """
    made = [folder for folder in destination.parents if not folder.exists()]
    destination.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=destination.parent, prefix=".mlscaffold-"))
    try:
        yield temporary
    finally:
        remove(temporary)
        for folder in made:
            if any(folder.iterdir()):
                break
            folder.rmdir()


def move_into_place(folder: Path, destination: Path) -> None:
    """Renames folder to destination, which must not exist or be an empty folder.

    An empty folder stays the one it was, as a shell may stand in it.
    """
    if not destination.is_dir():
        folder.replace(destination)
        return
    for entry in sorted(folder.iterdir()):
        entry.replace(destination / entry.name)


def make_whole(folder: Path, fill: Callable[[Path], object]) -> None:
    """Replaces folder by one that fill has filled: it is there wholly or not at all."""
    with folder_beside(folder) as temporary:
        fresh = temporary / "fresh"
        fresh.mkdir()
        fill(fresh)
        if folder.exists():
            folder.replace(temporary / "old")
        fresh.replace(folder)


def remove(folder: Path) -> None:
    """Removes a folder with all its files, also those that git made read-only."""

    def make_writable(function: object, path: str, _error: object) -> None:
        os.chmod(path, 0o700)  # noqa: PTH101 - rmtree hands over text
        if callable(function):
            function(path)

    shutil.rmtree(folder, onerror=make_writable)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock file path: of all processes that ask for it, one at a time goes on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)  # type: ignore[attr-defined]
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def lock_at_once(file: IO[bytes]) -> None:
    """Locks an open file until it is closed. Raises OSError when another process holds it."""
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
