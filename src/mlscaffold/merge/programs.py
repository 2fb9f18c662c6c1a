"""Programs of the template in an update: they run on leave, and all that they do can be undone."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal

from mlscaffold import git
from mlscaffold.errors import MlscaffoldError
from mlscaffold.merge import ignored, index, snapshot
from mlscaffold.merge.repository import Repository
from mlscaffold.merge.snapshot import Snapshot

Change = Literal["created", "changed", "removed"]
_SHOWN = 5


@contextmanager
def guarded(repository: Repository, say: Callable[[str], None]) -> Iterator[Snapshot]:
    """Give a snapshot of the project; an error within makes the project what it was.

    say is told, before anything runs, what could not be brought back.
    """
    taken = snapshot.take(repository)
    try:
        say(_what_stays(repository, taken))
        yield taken
    except BaseException:
        snapshot.restore(repository, taken)
        raise
    snapshot.drop(repository)


def check_committed(repository: Repository) -> None:
    """Raise for tracked files with changes: what a migration makes of them could not be told."""
    if names := snapshot.uncommitted(repository):
        raise MlscaffoldError(
            "A migration of the template has to run, and it may change any file. "
            f"Not committed: {', '.join(names)}. Commit or stash it, then update again. "
            "Nothing was written."
        )


def run(
    repository: Repository, taken: Snapshot, programs: Sequence[Callable[[], None]]
) -> dict[str, Change]:
    """Run programs in the project; return what they did to each file.

    What they stage is unstaged again: of an update nothing is staged but conflicts, and a program
    that stages all would mark those as resolved. A commit that they make stays.
    """
    staged = snapshot.folder(repository) / "staged"
    shutil.copy2(repository.index, staged)
    digest = index.digest(repository)
    before = _states(repository, taken)
    for program in programs:
        program()
    after = _states(repository, taken)
    has_same_head = git.run("rev-parse", "HEAD", cwd=repository.top) == taken.head
    if has_same_head and index.digest(repository) != digest:
        index.put(repository, staged, snapshot.folder(repository))
    return dict(_changes(before, after))


def _what_stays(repository: Repository, taken: Snapshot) -> str:
    """Say what an abort could not bring back."""
    places = ignored.ignored_now(repository)
    shown = f" ({', '.join(places[:_SHOWN])}{', …' if places[_SHOWN:] else ''})" if places else ""
    parts = [f"in files that git ignores{shown}", f"outside of {repository.project}"]
    if taken.too_large:
        parts.insert(0, f"in files too large to copy ({', '.join(taken.too_large)})")
    return (
        "Programs of the template run in the project now. `mlscaffold update --abort` takes back "
        f"what they do, but not {' or '.join(parts)}."
    )


_States = Mapping[str, tuple[str | None, str | None]]


def _states(repository: Repository, taken: Snapshot) -> _States:
    """Return what is not as it was: by path, its signature then and now."""
    with snapshot.differences(repository, taken) as found:
        return {one.path: (one.before, one.now) for one in found}


def _changes(before: _States, after: _States) -> Iterator[tuple[str, Change]]:
    for path in sorted(before.keys() | after.keys()):
        if before.get(path) == after.get(path):
            continue
        known = before.get(path) or after.get(path)
        assert known is not None
        was = before[path][1] if path in before else known[0]
        is_now = after[path][1] if path in after else known[0]
        if is_now is None:
            yield path, "removed"
        elif was is None:
            yield path, "created"
        else:
            yield path, "changed"
