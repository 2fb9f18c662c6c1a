"""Programs that run in the project during an update, and what they change, for the journal."""

from __future__ import annotations

import os
import shutil
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlscaffold import environment, git
from mlscaffold.environment import StepError
from mlscaffold.errors import MlscaffoldError
from mlscaffold.merge import journal, placing
from mlscaffold.merge.journal import DONE, Change, Journal
from mlscaffold.merge.plan import Plan
from mlscaffold.merge.repository import Repository

Seen = dict[str, bool]


def seen(repository: Repository, paths: tuple[str, ...] = ()) -> Seen:
    """What differs from the commit in the project, by path: whether git tracks it."""
    options = ("--porcelain=v2", "-z", "--untracked-files=all", "--ignore-submodules=all")
    done = git.exchange(
        *("--no-optional-locks", "--literal-pathspecs", "status", *options, "--no-renames"),
        *("--", *(paths or (repository.prefix or ".",))),
        cwd=repository.top,
    )
    found: Seen = {}
    for line in filter(None, done.stdout.split(b"\x00")):
        fields = {b"1": 8, b"u": 10}.get(line[:1], 1)
        found[os.fsdecode(line.split(b" ", fields)[-1])] = line[:1] != b"?"
    return found


def check_untouched(repository: Repository) -> Seen:
    """What git does not track. Raises for changes that are not committed: a program may edit."""
    found = seen(repository)
    if changed := sorted(path for path, is_tracked in found.items() if is_tracked):
        raise MlscaffoldError(
            "A migration of the template has to run, which may change any file, and not committed "
            f"is: {', '.join(changed)}. Commit or stash it, then update again."
        )
    return found


@contextmanager
def noted(
    repository: Repository, names: tuple[str, str], paths: tuple[str, ...] = ()
) -> Iterator[None]:
    """Adds to the journal what changes within, so that going back takes it back too."""
    before = seen(repository, paths)
    try:
        yield
    finally:
        note(repository, names, before, paths)


def note(
    repository: Repository,
    names: tuple[str, str],
    before: Seen,
    paths: tuple[str, ...] = (),
    *,
    migrated: frozenset[str] = frozenset(),
) -> None:
    """Adds to the journal what differs from the commit now and did not before.

    migrated are files that the journal may know already, as a migration left them; going back
    means the commit.
    """
    found = {k: v for k, v in seen(repository, paths).items() if k not in before}
    record = journal.read(repository)
    if record is None or record.head != repository.head:
        if not found:
            return
        record = _start(repository, names)
    numbers = {change.path: number for number, change in enumerate(record.changes)}
    changes = {change.path: change for change in record.changes}
    new = {k: v for k, v in found.items() if k in migrated or k not in changes}
    for path, kept in _as_committed(repository, new):
        number = numbers.setdefault(path, len(numbers))
        target = journal.folder(repository) / "before" / str(number)
        target.unlink(missing_ok=True)
        if kept:
            shutil.copy2(kept, target, follow_symlinks=False)
        changes[path] = Change(path, placing.signature(target), None)
    updated = (
        replace(change, after=placing.signature(repository.top / path))
        for path, change in changes.items()
    )
    journal.write(journal.folder(repository), replace(record, changes=tuple(updated)))


def _start(repository: Repository, names: tuple[str, str]) -> Journal:
    prepared = journal.new_folder(repository)
    (prepared / "before").mkdir()
    record = Journal(DONE, repository.head, names, ())
    journal.write(prepared, record)
    journal.begin(repository, prepared)
    return record


def _as_committed(repository: Repository, paths: Seen) -> Iterator[tuple[str, Path | None]]:
    """Each path, and a file with what git has of it; None for one that git does not track."""
    with tempfile.TemporaryDirectory() as folder:
        tracked = [path for path, is_tracked in paths.items() if is_tracked]
        given = b"".join(os.fsencode(path) + b"\x00" for path in tracked)
        target = f"--prefix={folder}/"
        options = ("checkout-index", "--quiet", "--force", "-z", "--stdin", target)
        git.exchange(*options, cwd=repository.top, given=given, codes=(0, 1))
        for path in sorted(paths):
            kept = Path(folder, path)
            yield path, kept if kept.is_symlink() or kept.is_file() else None


def lock_again(plan: Plan, root: Path, *, may_build: bool) -> str | None:
    """Brings uv.lock along if the update changed what it locks; what is left to type, if any."""
    repository = plan.objects.repository
    path, lock = f"{repository.prefix}pyproject.toml", f"{repository.prefix}uv.lock"
    action = next((action for action in plan.actions if action.path == path), None)
    if action is None or not action.writes or not (root / "uv.lock").is_file():
        return None
    if action.kind == "conflict":
        return "When pyproject.toml is resolved, bring uv.lock along: uv lock"
    if _locked_parts(root / "pyproject.toml") == _parts(plan, action.before):
        return None
    if seen(repository, (lock,)) or plan.objects.look_up(plan.ours, lock) is None:
        return "uv.lock has changes of its own, or git does not track it. Type: uv lock"
    try:
        with noted(repository, plan.names, (lock,)):
            environment.lock(root, may_build=may_build)
    except StepError as error:
        return f"uv.lock is as it was: {error.message.rstrip('.')}. Type: uv lock"
    return None


def _parts(plan: Plan, entry: Any) -> Any:
    return _what_is_locked(plan.objects.read(entry.oid)) if entry else None


def _locked_parts(path: Path) -> Any:
    return _what_is_locked(path.read_bytes())


def _what_is_locked(data: bytes) -> Any:
    try:
        found = tomllib.loads(data.decode("utf-8"))
    except ValueError:
        return None
    project = found.get("project", {})
    names = ("name", "dependencies", "optional-dependencies", "requires-python")
    uv = found.get("tool", {}).get("uv")
    return [*(project.get(name) for name in names), found.get("dependency-groups"), uv]
