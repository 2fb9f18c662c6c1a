"""All that the rules of a merge look at."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from mlscaffold.merge import three_way
from mlscaffold.merge.objects import Entry, Objects
from mlscaffold.merge.three_way import Merged
from mlscaffold.merge.trees import Files

GONE = "is gone from the template; you had edited it, so it stays"
Changed = dict[str, tuple[Entry | None, Entry | None]]


@dataclass(frozen=True)
class Facts:
    """All that the rules look at.

    base, ours, theirs: the trees that were merged
    old, new: the files of both versions
    untracked: files of the work tree that the template manages and git does not
    is_seeded: whether the template made a path once, for the project to keep
    """

    objects: Objects
    base: str
    ours: str
    theirs: str
    old: Files
    new: Files
    merged: Merged
    untracked: Files
    answers_file: str
    names: tuple[str, str]
    is_seeded: Callable[[str], bool]

    @cached_property
    def renames(self) -> Mapping[str, str]:
        """The files that the template renamed: new names to old ones."""
        return three_way.renames(self.objects, self.base, self.theirs)

    @cached_property
    def our_renames(self) -> Mapping[str, str]:
        """The files that the project renamed: new names to old ones."""
        return three_way.renames(self.objects, self.base, self.ours)

    def ours_at(self, path: str) -> Entry | None:
        return self.objects.look_up(self.ours, path)


def place_beside(path: str, facts: Facts) -> str:
    """The name for the template's version of a file that cannot hold both."""
    return name_beside(path, facts.objects, facts.ours, facts.names[1])


def name_beside(path: str, objects: Objects, ours: str, version: str) -> str:
    """Return the name of a file next to path for what the template's version has there."""
    place = f"{path}~template-{re.sub(r'[^A-Za-z0-9.+_-]', '-', version)}"
    while objects.look_up(ours, place) or os.path.lexists(objects.repository.top / place):
        place += "_"
    return place
