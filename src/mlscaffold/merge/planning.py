"""From two renders and a repository to a plan: nothing is written to work tree, index or refs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlscaffold import versions
from mlscaffold.errors import MlscaffoldError
from mlscaffold.merge import check, ignored, rules, three_way, trees
from mlscaffold.merge import objects as stored
from mlscaffold.merge.facts import Facts, name_beside
from mlscaffold.merge.objects import Objects
from mlscaffold.merge.plan import Action, Plan
from mlscaffold.merge.repository import Repository
from mlscaffold.merge.trees import Files
from mlscaffold.versions import Rendered, Step


@contextmanager
def planned(
    step: Step,
    repository: Repository,
    *,
    data: Mapping[str, Any] | None = None,
    migrated: Mapping[str, Any] | None = None,
    ask: bool = False,
    trusted: bool = False,
    from_head: bool = False,
    changed: frozenset[str] = frozenset(),
    fresh: Mapping[str, Path] | None = None,
) -> Iterator[tuple[Plan, Rendered]]:
    """The plan of an update, and the new version as files, until the block ends.

    The project's side is its commit, with those files that the template manages and git does not
    track; from_head leaves them out, and so is for commits that are made without a work tree.
    changed are paths that count as they are in the work tree, as a migration has changed them.
    fresh are other answers files of the project that the same update renders.
    """
    with tempfile.TemporaryDirectory(prefix="mlscaffold-") as name:
        folder = Path(name).resolve()
        places = [
            trees.place_for(folder / side, repository.prefix, step.answers.root.name)
            for side in ("old", "new")
        ]
        old, new = versions.render(
            step, *places, data=data, migrated=migrated, ask=ask, trusted=trusted, fresh=fresh
        )
        with stored.beside(repository, folder) as objects:
            head = objects.read(repository.head).split(maxsplit=2)[1].decode()
            ours = trees.with_changes(objects, head, changed) if changed else head
            plan = _plan(step, objects, ours, old, new, from_head=from_head)
            yield replace(plan, migrated=changed), new


def _plan(
    step: Step, objects: Objects, ours: str, old: Rendered, new: Rendered, *, from_head: bool
) -> Plan:
    repository = objects.repository
    answers_file = repository.prefix + new.answers_file
    if new is old:
        missing = () if from_head else tuple(_missing_seeds(objects, ours, new))
        return _described(step, objects, ours, answers_file, missing, new)
    _refuse_a_render_without_answers(step, new)
    before = dict(trees.hash_render(objects, old.folder, ours))
    after = dict(trees.hash_render(objects, new.folder, ours))
    start = len(repository.prefix)

    def is_seeded(path: str) -> bool:
        return old.skips(path[start:]) or is_left_alone(path)

    def is_left_alone(path: str) -> bool:
        return new.skips(path[start:])

    untracked: Files = {}
    apart: list[Action] = []
    if from_head:
        _forget_ignored(objects, ours, before, after)
    else:
        found = _look_for_untracked(objects, ours, before, after, answers_file, is_left_alone)
        apart = list(_set_apart(step, objects, ours, before, after, found, is_left_alone))
        ours, untracked = trees.with_work_tree(objects, ours, found.untracked)
    _leave_alone(objects, ours, before, after, is_left_alone)
    base, theirs = trees.merge_trees(objects, ours, before, after)
    merged = (
        three_way.Merged(ours, {}, {}, ("", "", ""))
        if base == theirs
        else three_way.merge(objects, base, ours, theirs)
    )
    facts = Facts(
        objects=objects,
        base=base,
        ours=ours,
        theirs=theirs,
        old=before,
        new=after,
        merged=merged,
        untracked=untracked,
        answers_file=answers_file,
        names=step.names,
        is_seeded=is_seeded,
    )
    actions = ignored.keep_ignoring(objects, ours, (*rules.decide(facts), *apart))
    actions = tuple(sorted(actions, key=lambda action: action.path))
    return _described(step, objects, ours, answers_file, actions, new)


def _refuse_a_render_without_answers(step: Step, new: Rendered) -> None:
    """Raise for a version that renders no answers file: the project would lose its version."""
    if not (new.folder / new.answers_file).is_file():
        raise MlscaffoldError(
            f"Template {step.names[1]} renders no answers file ({new.answers_file}), so the "
            "project could never be updated again. Where an answer makes it so, give another "
            "with --data NAME=ANSWER; else the template has to be fixed. Nothing was written."
        )


def _missing_seeds(objects: Objects, ours: str, new: Rendered) -> Iterator[Action]:
    """Files of _skip_if_exists that are not there; Copier makes them again at every update."""
    start = len(objects.repository.prefix)
    if not new.has_seeds:
        return
    for path, entry in trees.hash_render(objects, new.folder, ours).items():
        place = objects.repository.top / path
        is_missing = objects.look_up(ours, path) is None and not os.path.lexists(place)
        if is_missing and new.skips(path[start:]):
            yield Action(path, "create", None, entry)


def _described(
    step: Step,
    objects: Objects,
    ours: str,
    answers_file: str,
    actions: tuple[Action, ...],
    new: Rendered,
) -> Plan:
    changes = {
        action.path: action.after
        for action in actions
        if action.writes and not _is_private(objects, ours, action)
    }
    return Plan(
        objects=objects,
        ours=ours,
        result=objects.splice(ours, changes) if changes else ours,
        answers_file=answers_file,
        address=step.answers.address,
        names=step.names,
        actions=actions,
        defaults=new.defaults,
        stays=step.stays,
    )


def _is_private(objects: Objects, ours: str, action: Action) -> bool:
    """Say whether git ignores the file: what is in it is not shown as a difference."""
    is_new = action.before is None
    return not action.is_tracked and not is_new and objects.look_up(ours, action.path) is None


def _forget_ignored(objects: Objects, ours: str, old: Files, new: Files) -> None:
    """Take the files that git ignores here out of both versions, for a commit without them."""
    paths = [
        path for path in old.keys() | new.keys() if check.in_the_way(objects, ours, path) == path
    ]
    for path in ignored.ignored_of(objects.repository, paths) if paths else ():
        old.pop(path, None)
        new.pop(path, None)


@dataclass(frozen=True)
class _Untracked:
    """What is in the work tree where the template has its files, and git does not track.

    untracked: files that are merged as if git knew them
    ignored: files that git ignores, and the template manages
    blocked: files of the template, by what git ignores and is in their way
    """

    untracked: list[str]
    ignored: list[str]
    blocked: Mapping[str, list[str]]


def _look_for_untracked(
    objects: Objects,
    ours: str,
    old: Files,
    new: Files,
    answers_file: str,
    is_left_alone: Callable[[str], bool],
) -> _Untracked:
    """Return what the work tree has at the template's paths and git does not track.

    Raises MlscaffoldError naming what is in the way of a new file of the template and neither the
    same nor ignored.
    """
    occupied = {
        path: other
        for path in sorted(old.keys() | new.keys())
        if (other := check.in_the_way(objects, ours, path)) is not None
    }
    names = ignored.ignored_of(objects.repository, occupied.values()) if occupied else frozenset()
    names -= {answers_file}
    untracked = [path for path, other in occupied.items() if other == path and path not in names]
    files = trees.hash_files(objects, untracked) if untracked else {}
    blocked: dict[str, list[str]] = {}
    refused = set()
    for path, other in occupied.items():
        if other == path:
            is_settled = path in old or files.get(path) == new[path] or is_left_alone(path)
            if path not in names and not is_settled:
                refused.add(other)
        elif other not in names:
            refused.add(other)
        elif path in new:
            blocked.setdefault(other.rstrip("/"), []).append(path)
    check.refuse(refused)
    apart = [path for path, other in occupied.items() if other == path and path in names]
    return _Untracked(untracked, apart, blocked)


def _set_apart(
    step: Step,
    objects: Objects,
    ours: str,
    old: Files,
    new: Files,
    found: _Untracked,
    is_left_alone: Callable[[str], bool],
) -> Iterator[Action]:
    """Yield what happens where git ignores something; those paths leave old and new."""

    def beside(path: str) -> str:
        return name_beside(path, objects, ours, step.names[1])

    if found.ignored:
        mine = dict(trees.hash_files(objects, found.ignored))
        yield from ignored.merge_apart(
            objects, mine, old, new, is_left_alone=is_left_alone, beside=beside
        )
    for blocker, paths in found.blocked.items():
        yield from ignored.put_beside(blocker, {path: new[path] for path in paths}, beside(blocker))
    for path in [*found.ignored, *(path for paths in found.blocked.values() for path in paths)]:
        old.pop(path, None)
        new.pop(path, None)


def _leave_alone(
    objects: Objects, ours: str, old: Files, new: Files, is_left_alone: Callable[[str], bool]
) -> None:
    """Take what _skip_if_exists names out of the merge; a file that is missing is made again.

    The new version's list counts: a file that it no longer names is merged as any other.
    """
    for path in filter(is_left_alone, sorted(new)):
        old.pop(path, None)
        if objects.look_up(ours, path) is not None:
            new.pop(path)
