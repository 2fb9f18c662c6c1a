"""Whether the work tree is as the plan takes it to be; nothing is written before it is."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence

from mlscaffold import git
from mlscaffold.errors import MlscaffoldError
from mlscaffold.merge import index, trees
from mlscaffold.merge.objects import FOLDER, Objects
from mlscaffold.merge.plan import Action, Plan
from mlscaffold.merge.repository import Repository

_MOST_PATHS = 500
_SHOWN = 5
_SKIPPED = "S"  # the letter of `git ls-files -v` for a path that is not to be in the work tree


def touched(plan: Plan) -> tuple[Action, ...]:
    """The actions that change a file or git's index."""
    return tuple(action for action in plan.actions if action.writes or action.stages)


def check_clean(plan: Plan) -> None:
    """Raises MlscaffoldError naming what the update would change and git could not give back."""
    repository, objects = plan.objects.repository, plan.objects
    actions = touched(plan)
    new = (action.path for action in actions if action.before is None)
    refuse(filter(None, (in_the_way(objects, plan.ours, path) for path in new)))
    paths = [a.path for a in actions if a.is_tracked and a.path not in plan.migrated]
    tags = [pair for part in _parts(paths) for pair in _tags(repository, part)]
    _refuse_sparse(repository, tags)
    changed = {path for part in _parts(paths) for path in _changed(repository, part)}
    unseen = {path for tag, path in tags if tag.islower() or tag == _SKIPPED}
    unseen |= {a.path for a in actions if a.path in plan.migrated or not a.is_tracked}
    now = trees.hash_files(objects, sorted(unseen)) if unseen else {}
    planned = {action.path: action.before for action in actions}
    changed |= {path for path in unseen if now.get(path) != planned[path]}
    if git.run("rev-parse", "HEAD", cwd=repository.top) != repository.head:
        raise MlscaffoldError("A commit was made while the update was computed. Update again.")
    in_conflict = changed & set(index.unresolved(repository))
    if in_conflict:
        raise MlscaffoldError(
            f"Still in conflict: {', '.join(sorted(in_conflict))}. Resolve it and commit, or take "
            "the last update back with mlscaffold update --abort; then update again. "
            "Nothing was written."
        )
    if changed:
        raise MlscaffoldError(
            f"Not committed, and the update changes it too: {', '.join(sorted(changed))}. "
            "Commit or stash it, then update again. Nothing was written."
        )


def is_uncommitted(plan: Plan, path: str) -> bool:
    """Say whether a file is not as in the commit, in the index or in the work tree."""
    return any(_changed(plan.objects.repository, [path]))


def refuse(in_the_way: Iterable[str]) -> None:
    """Raises MlscaffoldError if there are files in the way, naming them."""
    if names := sorted(set(in_the_way)):
        raise MlscaffoldError(
            f"Not tracked by git, and in the way of the template: {', '.join(names)}. "
            "Commit, move or delete it, then update again. Nothing was written."
        )


def _refuse_sparse(repository: Repository, tags: Iterable[tuple[str, str]]) -> None:
    """Raise MlscaffoldError if a sparse checkout leaves out one of the paths."""
    left_out = sorted(
        path
        for tag, path in tags
        if tag.upper() == _SKIPPED and not os.path.lexists(repository.top / path)
    )
    if left_out:
        names = ", ".join(left_out[:_SHOWN]) + (", …" if left_out[_SHOWN:] else "")
        raise MlscaffoldError(
            f"Not checked out (sparse checkout), and the update changes it: {names}. Type: "
            "git sparse-checkout disable, or update on a branch with --branch. "
            "Nothing was written."
        )


def in_the_way(objects: Objects, ours: str, path: str) -> str | None:
    """What the work tree has there that the commit has not: the path, or something it is below."""
    top, parts = objects.repository.top, path.split("/")
    if objects.look_up(ours, path) is not None:
        return None
    for end in range(1, len(parts)):
        folder = "/".join(parts[:end])
        place = top / folder
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            known = objects.look_up(ours, folder)
            return folder if known is None or known.mode == FOLDER else None
    place = top / path
    if place.is_symlink() or place.is_file():
        return path
    is_blocked = place.exists() and (not place.is_dir() or any(place.iterdir()))
    return path + "/" if is_blocked else None


def _changed(repository: Repository, paths: Sequence[str]) -> Iterable[str]:
    """Of the paths, those that differ from the commit in the index or in the work tree."""
    options = ("--porcelain=v2", "-z", "--untracked-files=no", "--ignore-submodules=all")
    done = git.exchange(
        *("--no-optional-locks", "--literal-pathspecs", "status", *options, "--no-renames"),
        *("--", *paths),
        cwd=repository.top,
    )
    for line in filter(None, done.stdout.split(b"\x00")):
        fields = {b"1": 8, b"u": 10}.get(line[:1], 1)
        yield os.fsdecode(line.split(b" ", fields)[-1])


def _tags(repository: Repository, paths: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the paths that the index holds, each with the letter of `git ls-files -v`."""
    done = git.exchange(
        *("--literal-pathspecs", "ls-files", "-v", "-z", "--", *paths), cwd=repository.top
    )
    for line in filter(None, done.stdout.split(b"\x00")):
        tag, _, path = line.partition(b" ")
        yield tag.decode(), os.fsdecode(path)


def _parts(paths: Sequence[str]) -> Iterable[Sequence[str]]:
    """The paths, as many at a time as fit into a command."""
    for start in range(0, len(paths), _MOST_PATHS):
        yield paths[start : start + _MOST_PATHS]
