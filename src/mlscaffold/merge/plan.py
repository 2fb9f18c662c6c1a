"""What an update would do, path by path: decided as a value before anything is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mlscaffold.errors import printable
from mlscaffold.merge.objects import Entry, Objects
from mlscaffold.merge.three_way import Stages

Kind = Literal["create", "update", "merge", "move", "delete", "keep", "conflict"]
SIDE = "the template's side of a conflict"
KINDS: tuple[Kind, ...] = ("create", "update", "merge", "move", "delete", "keep", "conflict")


@dataclass(frozen=True)
class Action:
    """What happens to one path.

    path: in the repository, with "/"
    before, after: what it is and what it will be; None for nothing
    reason: why, where the kind does not say it
    source: what a moved file was called
    stages: what a conflict leaves in the index: old version (1), yours (2), new version (3)
    needs_look: whether a person has to decide something, as with every conflict
    is_tracked: whether git knows the file
    """

    path: str
    kind: Kind
    before: Entry | None = None
    after: Entry | None = None
    reason: str = ""
    source: str | None = None
    stages: Stages = field(default_factory=dict)
    needs_look: bool = False
    is_tracked: bool = True

    @property
    def writes(self) -> bool:
        return self.before != self.after

    @property
    def is_side(self) -> bool:
        """Whether it puts the template's side of a conflict next to yours."""
        return self.reason == SIDE

    def as_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {"path": printable(self.path), "kind": self.kind}
        found["reason"] = printable(self.reason)
        if self.source is not None:
            found["from"] = printable(self.source)
        if self.stages:
            found["stages"] = {str(stage): entry.oid for stage, entry in self.stages.items()}
        return found


@dataclass(frozen=True)
class Plan:
    """An update of one project, by one answers file.

    objects: where the new contents are, as long as the block that made the plan lasts
    ours, result: the trees before and after, where conflicts have their markers
    names: the old and the new version
    defaults: new questions, with the default that each took
    stays: whether the version stays the same
    migrated: paths that a migration has changed in the work tree already
    """

    objects: Objects
    ours: str
    result: str
    answers_file: str
    address: str
    names: tuple[str, str]
    actions: tuple[Action, ...]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    stays: bool = False
    migrated: frozenset[str] = frozenset()

    @property
    def is_empty(self) -> bool:
        return not any(action.writes or action.stages for action in self.actions)

    @property
    def needs_look(self) -> bool:
        return any(action.needs_look for action in self.actions)

    @property
    def conflicts(self) -> tuple[Action, ...]:
        return self.of("conflict")

    def of(self, *kinds: Kind) -> tuple[Action, ...]:
        return tuple(action for action in self.actions if action.kind in kinds)

    def as_json(self) -> dict[str, Any]:
        """The stable form for --format json."""
        return {
            "answers_file": self.answers_file,
            "template": self.address,
            "from": self.names[0],
            "to": self.names[1],
            "needs_look": self.needs_look,
            "actions": [action.as_json() for action in self.actions],
            "defaults": dict(self.defaults),
        }
