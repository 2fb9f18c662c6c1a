"""Files that git ignores: they are merged apart from all others, so that git never gets them.

A person puts into them what nobody else is to see. So nothing of them becomes an object of the
repository, gets into the index, moves to where the template renamed its own file, or stops being
ignored because the template changed its .gitignore.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mlscaffold import git
from mlscaffold.merge import syntax, three_way
from mlscaffold.merge.objects import FILE, Entry, Objects
from mlscaffold.merge.plan import SIDE, Action
from mlscaffold.merge.repository import Repository
from mlscaffold.merge.trees import Files

_IGNORE_FILE = ".gitignore"
_IGNORED = ("--others", "--ignored", "--exclude-standard", "-z")
_MOST_FILES = 1000  # of a folder, to look at each of them
_DROPPED = "is gone from the template; git ignores it, so it stays"


def ignored_of(repository: Repository, paths: Iterable[str]) -> frozenset[str]:
    """Return the paths that git ignores; one that ends in "/" is a folder with all in it."""
    names = sorted(set(paths))
    found = set(_check_ignore(repository, names))
    for folder in names:
        if folder.endswith("/") and folder not in found and not _others(repository, folder):
            found.add(folder)
    return frozenset(found)


def merge_apart(
    objects: Objects,
    mine: Files,
    old: Files,
    new: Files,
    *,
    is_left_alone: Callable[[str], bool],
    beside: Callable[[str], str],
) -> Iterator[Action]:
    """Yield what happens to ignored files that the template manages.

    mine are the files as they are in the work tree; beside names a place for the template's.
    """
    both = {path for path in mine if path in old and path in new and not is_left_alone(path)}
    merged = _merge(objects, mine, old, new, both) if both else None
    moved = _moved(objects, mine, old, new)
    for path, entry in mine.items():
        if path not in new:
            yield _dropped(path, entry, old[path], moved.get(path))
        elif is_left_alone(path) or entry == new[path] or old.get(path) == new[path]:
            continue
        elif merged is None or path not in old or path in merged.stages:
            yield from _kept(path, entry, new[path], beside(path))
        else:
            after = objects.look_up(merged.tree, path)
            assert after is not None
            sides = [objects.read(each.oid) for each in (after, entry, new[path])]
            if after != new[path] and syntax.is_broken(path, *sides):
                yield from _kept(path, entry, new[path], beside(path))
            else:
                kind = "update" if after == new[path] else "merge"
                yield Action(path, kind, entry, after, is_tracked=False)  # type: ignore[arg-type]


def put_beside(blocker: str, entries: Mapping[str, Entry], place: str) -> Iterator[Action]:
    """Yield what happens where something that git ignores is in the way of the template's files.

    blocker is what is in the way, without "/" at its end; entries are the files at or below it.
    """
    reason = f"git ignores what is there, so it stays; the template's is {place}"
    yield Action(blocker, "conflict", reason=reason, needs_look=True, is_tracked=False)
    for path, entry in entries.items():
        yield Action(place + path[len(blocker) :], "create", None, entry, SIDE)


def keep_ignoring(objects: Objects, ours: str, actions: Sequence[Action]) -> tuple[Action, ...]:
    """Return the actions, such that git goes on ignoring what it ignores now.

    Where the new .gitignore would let go of a file that is there, it gets a line for that file.
    """
    repository = objects.repository
    if not any(_is_ignore_file(action.path) and action.writes for action in actions):
        return tuple(actions)
    let_go = list(_let_go(objects, ours, actions, ignored_now(repository)))
    if not let_go:
        return tuple(actions)
    path = repository.prefix + _IGNORE_FILE
    known = next((action for action in actions if action.path == path), None)
    before = known.before if known else objects.look_up(ours, path)
    after = known.after if known else before
    mode = after.mode if after else FILE
    text = objects.read(after.oid) if after else b""
    lines = [_pattern(name.removeprefix(repository.prefix)) for name in let_go]
    text = b"\n".join([text.rstrip(b"\n"), *lines, b""]).lstrip(b"\n")
    entry = Entry(mode, objects.write("blob", text))
    names = ", ".join(let_go[:3]) + (", …" if let_go[3:] else "")
    reason = f"the template no longer ignores {names}, so lines were added that do"
    action = known or Action(path, "merge", before)
    if action.kind != "conflict":
        action = replace(action, kind="merge")
    kept = replace(action, after=entry, reason=reason, needs_look=True)
    return (*(each for each in actions if each.path != path), kept)


def _merge(
    objects: Objects, mine: Files, old: Files, new: Files, paths: Iterable[str]
) -> three_way.Merged:
    sides = ({path: side[path] for path in paths} for side in (old, mine, new))
    empty = objects.write("tree", b"")
    return three_way.merge(objects, *(objects.splice(empty, side) for side in sides))


def _moved(objects: Objects, mine: Files, old: Files, new: Files) -> Mapping[str, str]:
    """Return where the template has moved files that it no longer has under their old names."""
    if all(path in new for path in mine):
        return {}
    empty = objects.write("tree", b"")
    trees = objects.splice(empty, old), objects.splice(empty, new)
    return {source: target for target, source in three_way.renames(objects, *trees).items()}


def _dropped(path: str, mine: Entry, old: Entry, target: str | None) -> Action:
    reason = _DROPPED
    if target:
        reason = f"git ignores it, so it stays; the template has moved its own to {target}"
    is_edited = mine != old
    needs_look = is_edited and target is not None
    return Action(path, "keep", mine, mine, reason, needs_look=needs_look, is_tracked=False)


def _kept(path: str, mine: Entry, theirs: Entry, place: str) -> Iterator[Action]:
    reason = f"git ignores it, so yours stays; the template's is {place}"
    yield Action(path, "conflict", mine, mine, reason, needs_look=True, is_tracked=False)
    yield Action(place, "create", None, theirs, SIDE)


def ignored_now(repository: Repository) -> list[str]:
    """Return what git ignores in the project; a folder that is ignored as a whole ends in "/"."""
    entries = _list(repository, *_IGNORED, "--directory", repository.prefix or ".")
    by_name = set(_check_ignore(repository, entries))
    found = []
    for entry in entries:
        if entry in by_name or not entry.endswith("/"):
            found.append(entry)
        else:  # a folder all of whose files are ignored, each for itself
            found += _list(repository, *_IGNORED, entry)
    return found


def _let_go(
    objects: Objects, ours: str, actions: Sequence[Action], names: Sequence[str]
) -> Iterator[str]:
    """Yield those of the names that git would no longer ignore after the actions.

    Of a folder that is no longer ignored as a whole, all or some files still may be.
    """
    for name in _not_ignored_after(objects, ours, actions, names):
        if not name.endswith("/"):
            yield name
            continue
        files = _list(objects.repository, *_IGNORED, name)
        if len(files) > _MOST_FILES:
            yield name
            continue
        some = _not_ignored_after(objects, ours, actions, files)
        yield from [name] if len(some) == len(files) else some


def _not_ignored_after(
    objects: Objects, ours: str, actions: Sequence[Action], names: Sequence[str]
) -> list[str]:
    """Return the names that the ignore lists, as the actions leave them, do not cover."""
    after = {action.path: action.after for action in actions}
    with tempfile.TemporaryDirectory(prefix="mlscaffold-") as folder:
        top = Path(folder)
        for directory in sorted({parent for name in names for parent in _parents(name)}):
            (top / directory).mkdir(parents=True, exist_ok=True)
            path = f"{directory}/{_IGNORE_FILE}".removeprefix("/")
            entry = after[path] if path in after else objects.look_up(ours, path)
            if entry and entry.is_text_or_binary:
                (top / path).write_bytes(objects.read(entry.oid))
            elif path not in after and (objects.repository.top / path).is_file():
                (top / path).write_bytes((objects.repository.top / path).read_bytes())
        for name in names:
            place = top / name
            if name.endswith("/"):
                place.mkdir(exist_ok=True)
            elif not place.exists():
                place.touch()
        still = set(_check_ignore(objects.repository, names, work_tree=top))
    return sorted(set(names) - still)


def _parents(name: str) -> Iterator[str]:
    parts = name.rstrip("/").split("/")[:-1]
    for end in range(len(parts) + 1):
        yield "/".join(parts[:end])


def _check_ignore(
    repository: Repository, names: Sequence[str], *, work_tree: Path | None = None
) -> list[str]:
    if not names:
        return []
    top = work_tree or repository.top
    where = (f"--git-dir={repository.git_dir}", f"--work-tree={top}")
    # In another work tree nothing is tracked: an index that is not there.
    variables = {"GIT_INDEX_FILE": str(top / ".git-no-index")} if work_tree else {}
    given = b"".join(os.fsencode(name) + b"\x00" for name in names)
    command = ("check-ignore", "-z", "--stdin")
    done = git.exchange(*where, *command, cwd=top, given=given, variables=variables, codes=(0, 1))
    return [os.fsdecode(name) for name in done.stdout.split(b"\x00") if name]


def _others(repository: Repository, folder: str) -> list[str]:
    """Return the files in a folder that git neither tracks nor ignores."""
    return _list(repository, "--others", "--exclude-standard", "-z", folder)


def _list(repository: Repository, *arguments: str) -> list[str]:
    *options, path = arguments
    command = ("--literal-pathspecs", "ls-files", *options, "--", path)
    done = git.exchange(*command, cwd=repository.top)
    return [os.fsdecode(name) for name in done.stdout.split(b"\x00") if name]


def _is_ignore_file(path: str) -> bool:
    return path.rpartition("/")[2] == _IGNORE_FILE


def _pattern(path: str) -> bytes:
    """Return a line of .gitignore that stands for one path alone."""
    escaped = re.sub(r"([\\*?\[\]!#])", r"\\\1", path)
    trailing = len(escaped) - len(escaped.rstrip(" "))
    text = escaped.rstrip(" ") + "\\ " * trailing
    return os.fsencode(f"/{text}")
