"""Writing files and folders whole: everything is there, or nothing is."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
    """Renames folder to destination, which must not exist or be an empty folder."""
    if os.name == "nt" and destination.is_dir():
        destination.rmdir()
    folder.replace(destination)


def remove(folder: Path) -> None:
    """Removes a folder with all its files, also those that git made read-only."""

    def make_writable(function: object, path: str, _error: object) -> None:
        os.chmod(path, 0o700)  # noqa: PTH101 - rmtree hands over text
        if callable(function):
            function(path)

    shutil.rmtree(folder, onerror=make_writable)
