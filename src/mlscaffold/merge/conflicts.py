"""What git could not decide, decided by what each side is: yours is never the one that goes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from mlscaffold.merge import three_way
from mlscaffold.merge.facts import GONE, Changed, Facts, place_beside
from mlscaffold.merge.objects import FOLDER, LINK, Entry
from mlscaffold.merge.plan import SIDE, Action
from mlscaffold.merge.three_way import Merged, Stages

DELETED = "you deleted it, so it stays deleted; the template changed it"


def conflicts(facts: Facts, changed: Changed) -> Iterator[Action]:
    """What git could not decide, by what the path is on each side; takes it out of changed."""
    found: dict[str, Stages] = {}
    remarks: dict[str, dict[str, str]] = {}
    for path, stages in facts.merged.stages.items():
        origin = _origin(path, facts.merged)
        found[origin] = {**stages, **found.get(origin, {})}
        for name in (path, origin):
            remarks.setdefault(origin, {}).update(facts.merged.remarks.get(name, {}))
        if origin != path:
            changed.pop(path, None)
    found.pop(facts.answers_file, None)
    for path, stages in found.items():
        kinds = " ".join(remarks[path])
        if "file/directory" in kinds or _is_folder_on_one_side(facts, path):
            yield from _file_against_folder(facts, path, stages, changed)
        elif "rename/rename" not in kinds and not (2 in stages and 3 in stages):
            yield from _delete_against_change(facts, path, stages, changed)
        elif "rename/rename" in kinds and not (2 in stages and 3 in stages):
            yield _renamed_twice(facts, path, stages, kinds, changed)
        elif _cannot_be_marked(stages, kinds):
            yield from _ours_with_theirs_beside(facts, path, stages, changed)
        else:
            yield _marked(facts, path, stages, changed)


def _origin(path: str, merged: Merged) -> str:
    """A path without what git adds to the side that had to make room."""
    return re.sub(rf"~({merged.commits[1]}|{merged.commits[2]})(_\d+)?$", "", path)


def _is_folder_on_one_side(facts: Facts, path: str) -> bool:
    sides = (facts.objects.look_up(tree, path) for tree in (facts.ours, facts.theirs))
    return any(entry is not None and entry.mode == FOLDER for entry in sides)


def _delete_against_change(
    facts: Facts, path: str, stages: Stages, changed: Changed
) -> Iterator[Action]:
    if 2 in stages:
        before, after = changed.pop(path, (stages[2], stages[2]))
        yield Action(path, "keep", before, after, GONE, needs_look=True)
    else:
        changed.pop(path, None)
        reason = DELETED
        if source := facts.renames.get(path):
            reason = f"you deleted {source}, so it stays away; the template moved it here"
        yield Action(path, "keep", reason=reason)


def _cannot_be_marked(stages: Stages, kinds: str) -> bool:
    modes = {stages[stage].mode for stage in (2, 3) if stage in stages}
    is_odd = any(not entry.is_text_or_binary for entry in stages.values() if entry)
    return "binary" in kinds or LINK in modes or is_odd


def _renamed_twice(facts: Facts, path: str, stages: Stages, kinds: str, changed: Changed) -> Action:
    """One of the names of a file that both sides renamed, each to another name."""
    action = _marked(facts, path, stages, changed)
    reason = "you and the template gave this file different names"
    if action.after is None or not _cannot_be_marked(stages, kinds):
        return replace(action, reason=reason)
    side = facts.ours_at(path) if 2 in stages else facts.new.get(path)
    return replace(action, reason=reason, after=side or action.after)


def _ours_with_theirs_beside(
    facts: Facts, path: str, stages: Stages, changed: Changed
) -> Iterator[Action]:
    changed.pop(path, None)
    ours = facts.ours_at(path)
    beside = place_beside(path, facts)
    reason = f"yours stays; the template's is {beside}"
    after = ours or stages.get(2)
    yield Action(path, "conflict", ours, after, reason, stages=stages, needs_look=True)
    yield Action(beside, "create", None, stages[3], SIDE)


def _file_against_folder(
    facts: Facts, path: str, stages: Stages, changed: Changed
) -> Iterator[Action]:
    ours, beside = facts.ours_at(path), place_beside(path, facts)
    reason = f"a file here and a folder in the other version; the template's is {beside}"
    if ours is None or ours.mode == FOLDER:
        changed.pop(path, None)
        yield Action(path, "conflict", reason=reason, needs_look=True)
        if 3 in stages:
            yield Action(beside, "create", None, stages[3], SIDE)
        return
    kept = {stage: entry for stage, entry in stages.items() if stage != 3}
    changed.pop(path, None)
    yield Action(path, "conflict", ours, ours, reason, stages=kept or {2: ours}, needs_look=True)
    for name in [name for name in changed if name.startswith(f"{path}/")]:
        after = changed.pop(name)[1]
        place = beside + name[len(path) :]
        yield Action(place, "create", None, after, SIDE)


def _marked(facts: Facts, path: str, stages: Stages, changed: Changed) -> Action:
    ours = facts.ours_at(path)
    after = facts.objects.look_up(facts.merged.tree, path)
    changed.pop(path, None)
    reason = ""
    if after is not None and after.is_text_or_binary:
        data = three_way.relabel(facts.objects.read(after.oid), facts.merged, facts.names)
        after = Entry(after.mode, facts.objects.write("blob", data))
        places = len(re.findall(rb"(?m)^<{7,} yours", data))
        reason = f"{places} place{'s' * (places != 1)}" if places else ""
    return Action(path, "conflict", ours, after, reason, stages=stages, needs_look=True)
