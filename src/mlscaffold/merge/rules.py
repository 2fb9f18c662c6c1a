"""What is done with each path after git has merged; safety first, then git's word."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from mlscaffold.merge import answers_file, conflicts, syntax
from mlscaffold.merge.facts import GONE, Changed, Facts, place_beside
from mlscaffold.merge.objects import Entry
from mlscaffold.merge.plan import SIDE, Action

SEEDED = "is gone from the template; it was made for you to keep, so it stays"
UNTRACKED = "is gone from the template; git does not track it, so it stays"


def decide(facts: Facts) -> tuple[Action, ...]:
    """One action for each path that changes or that somebody has to know of."""
    changed = facts.objects.differences(facts.ours, facts.merged.tree)
    actions = {action.path: action for action in conflicts.conflicts(facts, changed)}
    actions |= {a.path: a for a in _changes(facts, changed, actions) if a.path not in actions}
    actions |= {action.path: action for action in answers_file.decide_answers_file(facts)}
    every = (part for action in actions.values() for part in _out_of_band(action, facts))
    worth = (part for part in every if part.writes or part.kind in ("keep", "conflict"))
    return tuple(sorted(worth, key=lambda action: action.path))


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


def _out_of_band(action: Action, facts: Facts) -> Iterator[Action]:
    """What git does not track never gets into the index, nor conflict markers."""
    if action.path not in facts.untracked:
        yield action
    elif action.kind != "conflict" or 3 not in action.stages:
        yield replace(action, is_tracked=False, stages={})
    else:
        beside = place_beside(action.path, facts)
        reason = f"git does not track it, so yours stays; the template's is {beside}"
        yield replace(action, reason=reason, after=action.before, stages={}, is_tracked=False)
        yield Action(beside, "create", None, action.stages[3], SIDE)
