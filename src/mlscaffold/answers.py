"""A project's answers files: found, read strictly, and never trusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlscaffold import store, yaml_text
from mlscaffold.credentials import mask
from mlscaffold.errors import MlscaffoldError

NAMES = (".copier-answers*.yml", ".copier-answers*.yaml")
_LARGEST_FILE = 2**20


@dataclass(frozen=True)
class Answers:
    """What one answers file records.

    root, file: the project's folder, and the answers file below it (with "/")
    address, commit: where the template comes from, and its version as `git describe` names it
    values: the answers by question
    """

    root: Path
    file: str
    address: str
    commit: str
    values: Mapping[str, Any]


def find(place: Path, file: str | None = None) -> tuple[Answers, ...]:
    """The answers of the project that place is in, or those of one file in place.

    Raises MlscaffoldError naming the file that is missing or malformed.
    """
    place = place.resolve()
    if not place.is_dir():
        raise MlscaffoldError(f"{place} is not a folder.")
    if file is not None:
        return (read(place, file),)
    for folder in (place, *place.parents):
        if found := files_in(folder):
            return tuple(read(folder, name) for name in found)
        if (folder / ".git").exists():
            break
    raise MlscaffoldError(_nothing_in(place))


def read(root: Path, file: str) -> Answers:
    """One answers file. Raises MlscaffoldError with one line for whatever is wrong with it."""
    path = Path(file)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise MlscaffoldError(f"--answers-file {file}: name a file below {root}.")
    try:
        found = _parse(_text(root / path))
        values = {key: value for key, value in found.items() if not key.startswith("_")}
        address, commit = _line(found, "_src_path"), _line(found, "_commit")
        return Answers(root, path.as_posix(), _checked_address(address), commit, values)
    except MlscaffoldError as error:
        raise MlscaffoldError(f"{root / path}: {error.message}") from None


def files_in(folder: Path) -> list[str]:
    """Return the names of the answers files in a folder."""
    return sorted({path.name for pattern in NAMES for path in folder.glob(pattern)})


def _nothing_in(place: Path) -> str:
    """That there is no project here; below, there may be some."""
    found = {path.parent for pattern in NAMES for path in place.glob(f"*/{pattern}")}
    if found:
        names = ", ".join(sorted(folder.name for folder in found))
        return f"{place} has no answers file, but folders below it have: name one of {names}."
    return (
        f"{place} has no answers file ({NAMES[0]}), so it is no project made from a template. "
        "Name the project's folder, or its file with --answers-file."
    )


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_FILE + 1)
    except FileNotFoundError:
        raise MlscaffoldError("there is no such file.") from None
    except OSError as error:
        raise MlscaffoldError(f"cannot be read: {error.strerror}.") from None
    if len(data) > _LARGEST_FILE:
        raise MlscaffoldError("is larger than 1 MiB, so it is no answers file.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise MlscaffoldError("is not a text file in UTF-8.") from None
    marks = ("<<<<<<< ", ">>>>>>> ")
    if any(line.startswith(marks) for line in text.splitlines()):
        raise MlscaffoldError("holds conflict markers. Resolve the conflict first.")
    return text


def _parse(text: str) -> dict[str, Any]:
    found = yaml_text.parse(text)
    if found is None:
        raise MlscaffoldError("is empty.")
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise MlscaffoldError("has to hold lines of the form question: answer.")
    return found


def _line(found: Mapping[str, Any], key: str) -> str:
    """A setting of Copier's, which is one line and cannot be taken for an option."""
    value = found.get(key)
    if value is None:
        raise MlscaffoldError(f"does not record {key}, so there is no version to update from.")
    if not isinstance(value, str):
        raise MlscaffoldError(f"{key} has to be text, but is {value}. Put it in quotes.")
    text = mask(value)
    if not value.strip() or any(ord(sign) < 32 or ord(sign) == 127 for sign in value):
        raise MlscaffoldError(f"{key} has to be one line of text, but is {text!r}.")
    if value.startswith("-"):
        raise MlscaffoldError(f"{key} is {text!r}, which git would take for an option.")
    return value


def _checked_address(address: str) -> str:
    if "::" in address:
        raise MlscaffoldError(f"_src_path {mask(address)} would run a program: it is refused.")
    if store.has_credential(address):
        raise MlscaffoldError(
            f"_src_path {mask(address)} holds a credential. Take it out of the file, replace it "
            "where it was made, and let git ask its credential helper."
        )
    return address
