"""What is done with each path after git has merged; safety first, then git's word."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from mlscaffold.merge import syntax, three_way
from mlscaffold.merge.objects import FOLDER, LINK, Entry, Objects
from mlscaffold.merge.plan import Action
from mlscaffold.merge.three_way import Merged, Stages
from mlscaffold.merge.trees import Files

GONE = "is gone from the template; you had edited it, so it stays"
DELETED = "you deleted it, so it stays deleted; the template changed it"
SEEDED = "is gone from the template; it was made for you to keep, so it stays"
UNTRACKED = "is gone from the template; git does not track it, so it stays"


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


def decide(facts: Facts) -> tuple[Action, ...]:
    """One action for each path that changes or that somebody has to know of."""
    changed = facts.objects.differences(facts.ours, facts.merged.tree)
    actions = {action.path: action for action in _conflicts(facts, changed)}
    actions |= {a.path: a for a in _changes(facts, changed, actions) if a.path not in actions}
    actions |= {action.path: action for action in _answers(facts)}
    every = (part for action in actions.values() for part in _out_of_band(action, facts))
    worth = (part for part in every if part.writes or part.kind in ("keep", "conflict"))
    return tuple(sorted(worth, key=lambda action: action.path))


Changed = dict[str, tuple[Entry | None, Entry | None]]


def _conflicts(facts: Facts, changed: Changed) -> Iterator[Action]:
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
    beside = _beside(path, facts)
    reason = f"yours stays; the template's is {beside}"
    after = ours or stages.get(2)
    yield Action(path, "conflict", ours, after, reason, stages=stages, needs_look=True)
    yield Action(beside, "create", None, stages[3], "the template's side of a conflict")


def _file_against_folder(
    facts: Facts, path: str, stages: Stages, changed: Changed
) -> Iterator[Action]:
    ours, beside = facts.ours_at(path), _beside(path, facts)
    reason = f"a file here and a folder in the other version; the template's is {beside}"
    if ours is None or ours.mode == FOLDER:
        changed.pop(path, None)
        yield Action(path, "conflict", reason=reason, needs_look=True)
        if 3 in stages:
            yield Action(beside, "create", None, stages[3], "the template's side of a conflict")
        return
    kept = {stage: entry for stage, entry in stages.items() if stage != 3}
    changed.pop(path, None)
    yield Action(path, "conflict", ours, ours, reason, stages=kept or {2: ours}, needs_look=True)
    for name in [name for name in changed if name.startswith(f"{path}/")]:
        after = changed.pop(name)[1]
        place = beside + name[len(path) :]
        yield Action(place, "create", None, after, "the template's side of a conflict")


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


def _beside(path: str, facts: Facts) -> str:
    """The name for the template's version of a file that cannot hold both."""
    place = f"{path}~template-{re.sub(r'[^A-Za-z0-9.+_-]', '-', facts.names[1])}"
    while facts.ours_at(place) or (facts.objects.repository.top / place).exists():
        place += "_"
    return place


def _changes(facts: Facts, changed: Changed, decided: Mapping[str, Action]) -> Iterator[Action]:
    gone = {path for path, (_, after) in changed.items() if after is None}
    come = {path for path, (before, _) in changed.items() if before is None}
    sources = _moves(facts, changed, gone, come, decided) if gone else {}
    for path, (before, after) in changed.items():
        if after is None:
            yield from _deletion(facts, path, before, sources, changed)
            continue
        source = sources.get(path)
        ours = facts.ours_at(source) if source else before
        kind = _kind(facts, path, before, after, source)
        reason = "with your edits" if source and ours != facts.old.get(source) else ""
        action = Action(path, kind, before, after, reason, source)  # type: ignore[arg-type]
        yield _unless_broken(facts, action, ours)


def _kind(facts: Facts, path: str, before: Entry | None, after: Entry, source: str | None) -> str:
    if source is not None:
        return "move"
    if before is None:
        return "create"
    return "update" if after == facts.new.get(path) else "merge"


def _moves(
    facts: Facts, changed: Changed, gone: set[str], come: set[str], decided: Mapping[str, Action]
) -> dict[str, str]:
    """New names to old names, of the files that go on living elsewhere."""
    come = come | {path for path, action in decided.items() if action.before is None}
    found = {new: old for new, old in facts.renames.items() if new in come and old in gone}
    by_content = {changed[path][0]: path for path in sorted(gone - set(found.values()))}
    for path in sorted(come - found.keys()):
        after = changed[path][1] if path in changed else None
        if after in by_content and path not in facts.new:
            found[path] = by_content.pop(after)
    return found


def _deletion(
    facts: Facts,
    path: str,
    before: Entry | None,
    sources: Mapping[str, str],
    changed: Changed,
) -> Iterator[Action]:
    """A file goes only if it is the template's as it was, or if all of it lives on elsewhere."""
    if path in facts.untracked:
        yield Action(path, "keep", before, before, UNTRACKED)
    elif path in sources.values():
        yield Action(path, "delete", before, None, "moved")
    elif facts.is_seeded(path):
        yield Action(path, "keep", before, before, SEEDED)
    elif before == facts.old.get(path) or _lives_on(facts, path, before, changed):
        yield Action(path, "delete", before, None)
    else:
        yield Action(path, "keep", before, before, GONE, needs_look=True)


def _lives_on(facts: Facts, path: str, before: Entry | None, changed: Changed) -> bool:
    if before is None or not before.is_text_or_binary:
        return False
    base = facts.old.get(path)
    known = set(facts.objects.read(base.oid).splitlines()) if base else set()
    mine = {line for line in facts.objects.read(before.oid).splitlines() if line not in known}
    for _, after in changed.values():
        if after and after.is_text_or_binary:
            mine -= set(facts.objects.read(after.oid).splitlines())
    return not mine


def _unless_broken(facts: Facts, action: Action, ours: Entry | None) -> Action:
    """The action; a conflict if git merged the file by itself into one that does not parse."""
    source = facts.our_renames.get(action.path) if action.path not in facts.new and ours else None
    theirs = facts.new.get(source or action.path)
    after = action.after
    if ours is None or theirs is None or after is None or after in (ours, theirs):
        return action
    if not all(entry.is_text_or_binary for entry in (ours, theirs, after)):
        return action
    read = facts.objects.read
    sides = read(ours.oid), read(theirs.oid)
    if not syntax.is_broken(action.path, read(after.oid), *sides):
        return action
    data = syntax.whole_conflict(*sides, facts.names[1])
    base = facts.old.get(action.source or source or action.path)
    return replace(
        action,
        kind="conflict",
        after=Entry(after.mode, facts.objects.write("blob", data)),
        reason="both changes together do not parse",
        stages={**({1: base} if base else {}), 2: ours, 3: theirs},
        needs_look=True,
    )


def _answers(facts: Facts) -> Iterator[Action]:
    """The new version's answers file; with your comments where they are in nobody's way."""
    path = facts.answers_file
    ours, theirs = facts.ours_at(path), facts.new.get(path)
    if theirs is None:
        return
    merged = facts.objects.look_up(facts.merged.tree, path)
    is_clean = path not in facts.merged.stages and merged is not None
    if not (is_clean and _says_the_same(facts, merged, theirs)):
        merged = _with_comments(facts, ours, theirs)
    yield Action(path, "update" if ours else "create", ours, merged)


def _with_comments(facts: Facts, ours: Entry | None, theirs: Entry) -> Entry:
    """The new answers file, below the comments that somebody wrote into the old one."""
    if ours is None or not ours.is_text_or_binary:
        return theirs
    base, text = facts.old.get(facts.answers_file), facts.objects.read(theirs.oid)
    known = text + (facts.objects.read(base.oid) if base else b"")
    lines = facts.objects.read(ours.oid).splitlines(keepends=True)
    mine = [line for line in lines if line.lstrip()[:1] == b"#" and line.strip() not in known]
    return Entry(theirs.mode, facts.objects.write("blob", b"".join([*mine, text])))


def _says_the_same(facts: Facts, one: Entry | None, other: Entry) -> bool:
    import yaml

    if one is None or one.mode != other.mode:
        return False
    try:
        first, second = (yaml.safe_load(facts.objects.read(entry.oid)) for entry in (one, other))
    except (yaml.YAMLError, ValueError):
        return False
    return bool(first == second)


def _out_of_band(action: Action, facts: Facts) -> Iterator[Action]:
    """What git does not track never gets into the index, nor conflict markers."""
    if action.path not in facts.untracked:
        yield action
    elif action.kind != "conflict" or 3 not in action.stages:
        yield replace(action, is_tracked=False, stages={})
    else:
        beside = _beside(action.path, facts)
        reason = f"git does not track it, so yours stays; the template's is {beside}"
        yield replace(action, reason=reason, after=action.before, stages={}, is_tracked=False)
        yield Action(beside, "create", None, action.stages[3], "the template's side of a conflict")
