"""How a project differs from the pristine render of its own version, file by file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Literal

from mlscaffold import ownership
from mlscaffold.ownership import Kind, Waiver
from mlscaffold.pristine import Pristine

Change = Literal["edited", "deleted", "mode", "type"]


@dataclass(frozen=True)
class Difference:
    """One file of the template that is not as it was rendered.

    change: what happened to it; "type" is for a link or a folder in place of a file
    added, removed: lines; None for a file that is not text
    is_waived: whether it is managed, and its waiver lasts
    """

    path: str
    kind: Kind
    change: Change
    added: int | None
    removed: int | None
    waiver: Waiver | None = None
    is_waived: bool = False

    @property
    def is_drift(self) -> bool:
        """Whether it should not be: the template manages the file, and nobody waived the edit."""
        return self.kind == "managed" and not self.is_waived

    def as_json(self) -> dict[str, Any]:
        """The stable form for --format json."""
        return {**asdict(self), "is_drift": self.is_drift}


def find(pristine: Pristine, today: date | None = None) -> tuple[Difference, ...]:
    """What was edited, deleted or given another mode or type, by path.

    Files that only the project has are its own, and are not looked at.
    """
    owners = ownership.read(pristine.root, pristine.is_seeded)
    day = today or date.today()
    found = []
    for path, change, added, removed in _changes(pristine):
        kind = owners.kind_of(path)
        waiver = owners.waivers.get(path) if kind == "managed" else None
        is_waived = waiver is not None and not waiver.is_expired(day)
        found.append(Difference(path, kind, change, added, removed, waiver, is_waived))
    return tuple(sorted(found, key=lambda difference: difference.path))


def _changes(pristine: Pristine) -> Iterator[tuple[str, Change, int | None, int | None]]:
    """Each path with what happened to it and its lines added and removed.

    git's raw lines come first, then one line of numbers for each path.
    """
    data = pristine.diff("--raw", "--numstat", "-z", "--no-abbrev")
    words = iter([os.fsdecode(word) for word in data.split(b"\x00") if word])
    raw: dict[str, list[str]] = {}
    for word in words:
        if word.startswith(":"):
            raw[next(words)] = word.removeprefix(":").split()
            continue
        added, removed, path = word.split("\t", 2)
        lines = (None, None) if added == "-" else (int(added), int(removed))
        yield path, _change(pristine, path, raw.pop(path), lines), *lines


def _change(
    pristine: Pristine, path: str, raw: list[str], lines: tuple[int | None, int | None]
) -> Change:
    old_mode, new_mode, old_id, _, letter = raw
    if letter == "T" or (letter == "D" and (pristine.root / path).is_dir()):
        return "type"
    if letter == "D":
        return "deleted"
    if old_mode == new_mode:
        return "edited"
    is_same = lines == (0, 0) or (lines[0] is None and pristine.id_of(path) == old_id)
    return "mode" if is_same else "edited"
