"""The answers file: always the new version's, with the comments that somebody wrote into it."""

from __future__ import annotations

from collections.abc import Iterator

from mlscaffold.merge.facts import Facts
from mlscaffold.merge.objects import Entry
from mlscaffold.merge.plan import Action


def answers(facts: Facts) -> Iterator[Action]:
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
