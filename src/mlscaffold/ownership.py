"""Who owns which file of a project: its .mlscaffold.toml, with the waivers for edits in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from pathspec import GitIgnoreSpec

from mlscaffold import files
from mlscaffold.errors import MlscaffoldError, unknown

FILE = ".mlscaffold.toml"
Kind = Literal["managed", "seeded", "shared"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_WAIVER = ("path", "reason", "until")


@dataclass(frozen=True)
class Waiver:
    """Leave to edit one managed file: why, and until which day, that day included."""

    path: str
    reason: str
    until: date

    def is_expired(self, today: date) -> bool:
        return today > self.until


@dataclass(frozen=True)
class Ownership:
    """Which paths are of a kind, and the waivers by path."""

    kinds: Mapping[Kind, Callable[[str], bool]]
    waivers: Mapping[str, Waiver]

    def kind_of(self, path: str) -> Kind:
        """The first kind that names the path, in the order of KINDS; shared if none does."""
        return next((kind for kind, fits in self.kinds.items() if fits(path)), "shared")


def read(root: Path, is_seeded: Callable[[str], bool]) -> Ownership:
    """What the project in root says; without its file, is_seeded tells and all else is shared.

    Raises MlscaffoldError naming the file and the place in it that is wrong.
    """
    file = root / FILE
    try:
        found = files.read_toml(file)
    except FileNotFoundError:
        return Ownership({"seeded": is_seeded}, {})
    try:
        return _parse(found)
    except MlscaffoldError as error:
        raise MlscaffoldError(f"{file}: {error.message}") from None


def _parse(data: Mapping[str, Any]) -> Ownership:
    _check_keys("key", data, ("ownership", "waiver"))
    kinds = data.get("ownership", {})
    if not isinstance(kinds, dict):
        raise MlscaffoldError("ownership has to be a table: [ownership], then managed = [...].")
    _check_keys("kind of ownership", kinds, KINDS)
    fits = {kind: _patterns(kind, kinds.get(kind, [])).match_file for kind in KINDS}
    entries = data.get("waiver", [])
    if not isinstance(entries, list):
        raise MlscaffoldError("waiver has to be a list of tables: [[waiver]], for each of them.")
    waivers: dict[str, Waiver] = {}
    for number, entry in enumerate(entries, start=1):
        waiver = _waiver(f"waiver {number}", entry)
        if waiver.path in waivers:
            raise MlscaffoldError(f"waiver {number}: {waiver.path} has one already.")
        waivers[waiver.path] = waiver
    return Ownership(fits, waivers)


def _patterns(kind: Kind, lines: Any) -> GitIgnoreSpec:
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise MlscaffoldError(f'{kind} has to be a list of patterns: {kind} = ["/src/"]')
    for line in lines:
        try:
            GitIgnoreSpec.from_lines([line])
        except ValueError:
            raise MlscaffoldError(f"{kind} holds {line!r}, which is no pattern of git's.") from None
    return GitIgnoreSpec.from_lines(lines)


def _waiver(place: str, entry: Any) -> Waiver:
    if not isinstance(entry, dict):
        raise MlscaffoldError(f"{place} has to be a table: [[waiver]], then path = ...")
    _check_keys(f"key in {place}", entry, _WAIVER)
    for key in _WAIVER:
        if key not in entry:
            raise MlscaffoldError(f"{place} has no {key}. A waiver needs {', '.join(_WAIVER)}.")
    path, reason, until = (entry[key] for key in _WAIVER)
    for key, value in (("path", path), ("reason", reason)):
        if not isinstance(value, str) or not value.strip():
            raise MlscaffoldError(f"{place}: {key} has to be text that says something.")
    if not isinstance(until, date) or isinstance(until, datetime):
        raise MlscaffoldError(f"{place}: until has to be a date: until = 2027-01-31")
    return Waiver(path.removeprefix("./").removeprefix("/"), reason.strip(), until)


def _check_keys(what: str, found: Mapping[str, Any], valid: tuple[str, ...]) -> None:
    for key in found:
        if key not in valid:
            raise unknown(what, key, valid)
