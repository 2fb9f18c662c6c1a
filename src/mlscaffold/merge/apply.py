"""Doing what plans say: all of it or nothing, and back again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from mlscaffold import git
from mlscaffold.errors import MlscaffoldError
from mlscaffold.merge import branch, check, index, journal, placing, snapshot
from mlscaffold.merge.journal import APPLYING, Change, Journal
from mlscaffold.merge.objects import PROGRAM
from mlscaffold.merge.plan import Action, Plan
from mlscaffold.merge.repository import Repository
from mlscaffold.merge.snapshot import Snapshot

_SHOWN = 5


def apply(plans: Sequence[Plan]) -> None:
    """Applies plans of one repository, whose lock is held.

    Raises MlscaffoldError, and leaves everything as it was, when a file is in the way.
    """
    repository = plans[0].objects.repository
    actions = ordered(plans)
    if not actions:
        return
    before = {action.path: placing.signature(repository.top / action.path) for action in actions}
    for plan in plans:
        check.check_clean(plan)
    index.check_unlocked(repository)
    prepared = journal.new_folder(repository)
    try:
        record = _prepare(plans, actions, before, prepared)
    except BaseException:
        shutil.rmtree(prepared, ignore_errors=True)
        raise
    try:
        _go_on(repository, record, actions, prepared)
    finally:
        shutil.rmtree(prepared, ignore_errors=True)  # it is still there if it did not begin
    for leftover in ("ready", "checkout"):
        shutil.rmtree(journal.folder(repository) / leftover, ignore_errors=True)


def _go_on(
    repository: Repository, record: Journal, actions: Sequence[Action], prepared: Path
) -> None:
    try:
        journal.begin(repository, prepared)
        placing.go_on(repository, record)
        if record.staged:
            index.stage(repository, actions, journal.folder(repository))
        journal.finish(repository, record)
    except BaseException as error:
        edited = placing.go_back(repository, record)
        if record.staged and index.is_staged(repository, record.paths_in_index):
            index.restore(repository, record)
        _settle(repository, record, edited)
        if isinstance(error, MlscaffoldError):
            message = f"{error.message} The update was taken back{_kept(edited)}"
            raise MlscaffoldError(message) from None
        if isinstance(error, OSError):
            reason = f"{error.filename or repository.top}: {error.strerror or error}."
            raise MlscaffoldError(f"{reason} The update was taken back{_kept(edited)}") from None
        raise


class Recovered(NamedTuple):
    """What was done about an update that was killed, and the files edited since, which stay."""

    text: str
    edited: tuple[str, ...] = ()


def recover(repository: Repository) -> tuple[Recovered, ...]:
    """End every update of the repository that was killed, forwards or back.

    The lock is held, so no other process is at it. Raises MlscaffoldError where programs of the
    template ran meanwhile: then a person has to say that all is to go back.
    """
    journal.remove_unfinished(repository)
    branch.clear_stale_lock(repository)
    _refuse_an_open_snapshot(repository)
    interrupted = [pair for pair in journal.all_of(repository) if pair[1].state == APPLYING]
    return tuple(_recover(of, record) for of, record in interrupted)


def _recover(repository: Repository, record: Journal) -> Recovered:
    index.clear_stale_lock(repository, journal.folder(repository))
    is_staged = not record.staged or index.is_staged(repository, record.paths_in_index)
    if is_staged and placing.is_in_place(repository, record):
        journal.finish(repository, record)
        return Recovered("An update that had been interrupted is complete.")
    edited = placing.go_back(repository, record)
    if record.staged:
        index.restore(repository, record)
    _settle(repository, record, edited)
    return Recovered(f"An update that had been interrupted was taken back{_kept(edited)}", edited)


def check_not_interrupted(repository: Repository) -> None:
    """Raises for a project that is between two versions, as an update of it was killed."""
    _refuse_an_open_snapshot(repository)
    for of, record in journal.all_of(repository):
        if record.state == APPLYING:
            raise MlscaffoldError(
                f"An update of {of.project} is running or was interrupted. To go back: "
                "mlscaffold update --abort"
            )


def _refuse_an_open_snapshot(repository: Repository) -> None:
    """Raise where an update was killed while programs of the template could run."""
    opened = snapshot.read(repository)
    if opened is None:
        return
    of = snapshot.repository_of(repository, opened)
    if opened.head != repository.head:  # somebody went on from there, so it is theirs
        snapshot.forget(repository)
        return
    with snapshot.differences(of, opened) as found:
        names = ", ".join(one.path for one in found[:_SHOWN]) + (", …" if found[_SHOWN:] else "")
    raise MlscaffoldError(
        f"An update of {of.project} was interrupted while programs of its template could run. "
        f"Not as before: {names or 'nothing'}. To go back:  mlscaffold update --abort"
    )


def abort_interrupted(repository: Repository, taken: Snapshot) -> tuple[str, ...]:
    """Make a project what it was before an update that was killed while programs could run.

    What differs is kept, as it may be a person's; return its paths. Raises MlscaffoldError when a
    commit was made since.
    """
    of = snapshot.repository_of(repository, taken)
    branch.clear_stale_lock(repository)
    for place in (journal.folder(of), snapshot.folder(of)):
        index.clear_stale_lock(of, place)
    if taken.head != repository.head:
        snapshot.forget(of)
        raise MlscaffoldError(
            "A commit was made since the update was interrupted, so it is git's to take back. "
            "Type: git revert, or git reset"
        )
    index.check_unlocked(of)
    kept = snapshot.restore(of, taken, keep=True)
    journal.remove_unfinished(repository)
    return kept


def abort(repository: Repository) -> tuple[str, ...]:
    """Take the last update of these answers files back; return the files edited since, which stay.

    Raises MlscaffoldError when there is none, or when a commit was made since.
    """
    record = journal.read(repository)
    if record is None:
        raise MlscaffoldError(f"There is no update of {repository.project} to go back from.")
    if record.head != repository.head:
        raise MlscaffoldError(
            "A commit was made since the last update, so it is git's to take back. Type: "
            "git revert, or git reset"
        )
    index.clear_stale_lock(repository, journal.folder(repository))
    index.check_unlocked(repository)
    with suppress(OSError):  # on a full disk files can still be renamed back
        journal.write(journal.folder(repository), replace(record, state=APPLYING))
    staged = index.lines_of_staged(repository, record)
    edited = placing.go_back(repository, record)
    if record.staged or staged:
        index.restore(repository, record, staged)
    journal.clear(repository)
    return edited


def _settle(repository: Repository, record: Journal, edited: tuple[str, ...]) -> None:
    """Forgets an update that is undone; of files that could not be put back, a copy stays."""
    if not edited:
        journal.clear(repository)
        return
    numbers = [n for n, change in enumerate(record.changes) if change.path in edited]
    for number in numbers:
        source = journal.folder(repository) / "before" / str(number)
        if source.exists():
            target = repository.state / "kept" / record.changes[number].path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    journal.clear(repository)


def _kept(edited: tuple[str, ...]) -> str:
    if not edited:
        return "."
    return (
        f", except what was edited since: {', '.join(edited)}. As before the update, "
        "these files are in .git/mlscaffold/kept."
    )


def ordered(plans: Sequence[Plan]) -> list[Action]:
    """Return the actions that change something, each path once.

    Deletions come first, as a folder may come where a file was. Raises MlscaffoldError where two
    plans make different things of a path.
    """
    actions = (action for plan in plans for action in check.touched(plan))
    found: dict[str, Action] = {}
    for action in actions:
        if action.path in found and found[action.path] != action:
            raise MlscaffoldError(
                f"Two answers files change {action.path}. Update one at a time: --answers-file"
            )
        found[action.path] = action
    return sorted(found.values(), key=lambda a: (a.after is not None, a.path.count("/"), a.path))


def _prepare(
    plans: Sequence[Plan],
    actions: list[Action],
    before: Mapping[str, str | None],
    prepared: Path,
) -> Journal:
    """Everything that is needed to go on, and to go back: below prepared, on the disk."""
    repository = plans[0].objects.repository
    writing = [action for action in actions if action.writes]
    placing.keep_before(repository, prepared, [action.path for action in writing])
    (prepared / "ready").mkdir()
    for plan in plans:
        _check_out(plan, [action for action in writing if action in plan.actions], prepared)
    changes = []
    for number, action in enumerate(writing):
        known = before[action.path] if action.before else None
        after = _make_ready(repository, prepared, number, action)
        changes.append(Change(action.path, known, after))
    staged = [action for action in actions if index.concerns(repository, action)]
    for plan in plans:
        index.copy_objects(plan, [action for action in staged if action in plan.actions])
    record = Journal(
        state=APPLYING,
        head=repository.head,
        names=plans[0].names,
        changes=tuple(changes),
        prefix=repository.prefix,
        answers_files=repository.answers_files,
        index=index.entries(repository, [action.path for action in staged]),
        paths_in_index=tuple(action.path for action in staged),
        staged=bool(staged),
    )
    journal.write(prepared, record)
    return record


def _check_out(plan: Plan, actions: list[Action], prepared: Path) -> None:
    """Writes the new contents as git would check them out, with its filters and line ends."""
    repository = plan.objects.repository
    lines = [
        b"%s %s 0\t%s" % (action.after.mode.encode(), action.after.oid.encode(), name)
        for action in actions
        if action.after and (name := os.fsencode(action.path))
    ]
    if not lines:
        return
    variables = {**plan.objects.variables, "GIT_INDEX_FILE": str(prepared / "checkout.index")}
    given = b"\x00".join([*lines, b""])
    run = {"cwd": repository.top, "variables": variables}
    git.exchange("update-index", "-z", "--index-info", given=given, **run)  # type: ignore[arg-type]
    target = f"--prefix={prepared / 'checkout'}/"
    git.exchange("checkout-index", "--all", "--force", target, **run)  # type: ignore[arg-type]
    with suppress(FileNotFoundError):
        (prepared / "checkout.index").unlink()


def _make_ready(repository: Repository, prepared: Path, number: int, action: Action) -> str | None:
    """Gives a new content its number and its permissions; its signature."""
    if action.after is None:
        return None
    ready, place = prepared / "ready" / str(number), repository.top / action.path
    (prepared / "checkout" / action.path).replace(ready)
    if action.after.is_text_or_binary:
        known = place.is_file() and not place.is_symlink()
        mode = (place if known else ready).stat().st_mode & 0o777
        may_run = (mode & 0o444) >> 2 if action.after.mode == PROGRAM else 0
        ready.chmod((mode & ~0o111) | may_run)
    return placing.signature(ready)
