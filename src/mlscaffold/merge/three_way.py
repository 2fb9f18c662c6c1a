"""git merge-tree: three trees merged without a work tree, and what git says about the result."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from mlscaffold import git
from mlscaffold.merge.objects import Entry, Objects

Stages = dict[int, Entry]


@dataclass(frozen=True)
class Merged:
    """The result of a merge.

    tree: with conflict markers where git could not decide
    stages: for each path in conflict what it is in the old version (1), here (2), in the new (3)
    remarks: for each path what git says of it, by kind
    """

    tree: str
    stages: Mapping[str, Stages]
    remarks: Mapping[str, Mapping[str, str]]
    commits: tuple[str, str, str]


def merge(objects: Objects, old: str, ours: str, new: str) -> Merged:
    """Merges the change from old to new into ours."""
    base = _commit(objects, old)
    sides = _commit(objects, ours, base), _commit(objects, new, base)
    done = git.exchange(
        *("merge-tree", "--write-tree", "-z", "--messages", *sides),
        cwd=objects.repository.top,
        variables=objects.variables,
        codes=(0, 1),
    )
    tree, stages, remarks = _parse(done.stdout)
    return Merged(tree, stages, remarks, (base, *sides))


def relabel(data: bytes, merged: Merged, names: tuple[str, str]) -> bytes:
    """A file with conflict markers that name the versions, not git's commits."""
    base, ours, theirs = (commit.encode() for commit in merged.commits)
    old, new = (f"template {name}".encode() for name in names)
    data = re.sub(rb"(?m)^(<{7,}) " + ours, rb"\1 yours", data)
    data = re.sub(rb"(?m)^(>{7,}) " + theirs, rb"\1 " + new.replace(b"\\", b"\\\\"), data)
    short = base[:7] + b"[0-9a-f]*"
    return re.sub(rb"(?m)^(\|{7,}) " + short, rb"\1 " + old.replace(b"\\", b"\\\\"), data)


def renames(objects: Objects, one: str, other: str) -> dict[str, str]:
    """The files that have another name in the other tree: old names by new ones."""
    options = ("-r", "-z", "-M", "--no-rename-empty", "--diff-filter=R", "--name-status")
    done = git.exchange(
        *("diff-tree", *options, one, other),
        cwd=objects.repository.top,
        variables=objects.variables,
    )
    words = [os.fsdecode(word) for word in done.stdout.split(b"\x00")]
    return {words[place + 2]: words[place + 1] for place in range(0, len(words) - 2, 3)}


def _commit(objects: Objects, tree: str, *parents: str) -> str:
    who = "mlscaffold <mlscaffold@localhost> 0 +0000"
    lines = [f"tree {tree}", *(f"parent {parent}" for parent in parents)]
    text = "\n".join([*lines, f"author {who}", f"committer {who}", "", "An update", ""])
    return objects.write("commit", text.encode())


def _parse(data: bytes) -> tuple[str, dict[str, Stages], dict[str, dict[str, str]]]:
    tree, *fields = (os.fsdecode(field) for field in data.split(b"\x00"))
    stages: dict[str, Stages] = {}
    remarks: dict[str, dict[str, str]] = {}
    words = iter(fields)
    for field in words:
        if not field:
            break
        facts, _, path = field.partition("\t")
        mode, oid, stage = facts.split()
        stages.setdefault(path, {})[int(stage)] = Entry(mode, oid)
    for count in words:
        if not count:
            break
        paths = [next(words) for _ in range(int(count))]
        kind, text = next(words), next(words)
        for path in paths:
            remarks.setdefault(path, {})[kind] = text.strip()
    return tree, stages, remarks
