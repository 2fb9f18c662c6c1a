"""A project as it was before programs of the template ran in it, so that it can become so again.

What such a program does nobody can foresee: it may edit, move, delete, stage and commit. So the
whole project is noted before: git's index and HEAD as they are, and a copy of each file that git
could not give back. What git ignores is not in it, nor what is outside of the project's folder.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mlscaffold import git
from mlscaffold.merge import index, journal, placing
from mlscaffold.merge.journal import DONE, Change, Journal
from mlscaffold.merge.repository import Repository

_RECORD = "snapshot.json"
_LARGEST = 100 * 2**20  # bytes of a file that is copied
_TWICE = 2  # a restored .gitignore can show files that a new one had hidden


@dataclass(frozen=True)
class Snapshot:
    """What a project was.

    prefix, answers_files: the project, and what of it is updated
    head, head_file: the commit, and what git's file HEAD said
    had_journal: whether there was a journal of an earlier update, which is set aside
    saved: the files with a copy, by path: the number of the copy
    untracked: those of them that git did not track
    signatures: what each file was that was not as in the index, None for one that was missing
    modes: the permissions of files as in the index, where they are not those that git would give
    too_large: files that have no copy
    """

    prefix: str
    answers_files: tuple[str, ...]
    head: str
    head_file: str
    had_journal: bool
    saved: Mapping[str, int]
    untracked: tuple[str, ...]
    signatures: Mapping[str, str | None]
    modes: Mapping[str, int]
    too_large: tuple[str, ...]


@dataclass(frozen=True)
class Difference:
    """A file that is not what it was: signatures before and now, and where its old content is."""

    path: str
    before: str | None
    now: str | None
    copy: Path | None


def folder(repository: Repository) -> Path:
    return repository.state / "snapshot"


def take(repository: Repository) -> Snapshot:
    """Note the project as it is, on the disk.

    The journal of an earlier update is set aside, and comes back if this one does not end well.
    """
    prepared = journal.new_folder(repository)
    copies = prepared / "copies"
    copies.mkdir()
    saved: dict[str, int] = {}
    signatures: dict[str, str | None] = {}
    too_large = []
    changed = _changed(repository, repository.index)
    tracked = _tracked(repository)
    hidden = {path for tag, path in tracked if tag.islower() or tag == "S"}
    for path in sorted({*changed, *hidden}):
        place = repository.top / path
        if place.is_symlink() or place.is_file():
            if place.lstat().st_size > _LARGEST:
                too_large.append(path)
                continue
            saved[path] = len(saved)
            shutil.copy2(place, copies / str(saved[path]), follow_symlinks=False)
        signatures[path] = _file_signature(repository, path)
    if repository.index.exists():
        shutil.copy2(repository.index, prepared / "index")
    earlier = journal.folder(repository)
    snapshot = Snapshot(
        prefix=repository.prefix,
        answers_files=repository.answers_files,
        head=repository.head,
        head_file=(repository.git_dir / "HEAD").read_text(encoding="utf-8"),
        had_journal=earlier.exists(),
        saved=saved,
        untracked=tuple(path for path, is_tracked in changed.items() if not is_tracked),
        signatures=signatures,
        modes=_odd_modes(repository, copies, [path for _, path in tracked]),
        too_large=tuple(too_large),
    )
    journal.write_record(prepared / _RECORD, asdict(snapshot))
    prepared.rename(folder(repository))
    if snapshot.had_journal:
        earlier.rename(folder(repository) / "journal")
    return snapshot


def uncommitted(repository: Repository) -> list[str]:
    """Return the tracked files of the project that are not as in the commit."""
    options = ("--porcelain=v2", "-z", "--untracked-files=no", "--ignore-submodules=all")
    found = _status(repository, repository.index, *options)
    return sorted(path for _, path in found)


def read(repository: Repository) -> Snapshot | None:
    """Return the snapshot of an update that did not end, if there is one."""
    try:
        text = (folder(repository) / _RECORD).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    data: dict[str, Any] = json.loads(text)
    for name in ("answers_files", "untracked", "too_large"):
        data[name] = tuple(data[name])
    return Snapshot(**data)


def drop(repository: Repository) -> None:
    """Remove the snapshot of an update that had nothing to do; the earlier journal comes back."""
    earlier = folder(repository) / "journal"
    if earlier.exists():
        earlier.rename(journal.folder(repository))
    forget(repository)


def repository_of(repository: Repository, snapshot: Snapshot) -> Repository:
    """Return the repository as the update saw it that the snapshot is of."""
    return replace(repository, prefix=snapshot.prefix, answers_files=snapshot.answers_files)


def forget(repository: Repository) -> None:
    """Remove the snapshot; the rename makes it gone at once."""
    current = folder(repository)
    if current.exists():
        gone = Path(tempfile.mkdtemp(prefix="next-", dir=repository.state))
        current.rename(gone / "snapshot")
        shutil.rmtree(gone, ignore_errors=True)


@contextmanager
def differences(repository: Repository, snapshot: Snapshot) -> Iterator[list[Difference]]:
    """Give what is not as it was, with the old contents as files until the block ends."""
    with tempfile.TemporaryDirectory(prefix="mlscaffold-") as name:
        checked_out = Path(name).resolve()
        saved_index = folder(repository) / "index"
        paths = sorted({*snapshot.signatures, *_changed(repository, saved_index)})
        paths = [path for path in paths if path not in snapshot.too_large]
        from_git = [path for path in paths if path not in snapshot.signatures]
        _check_out(repository, saved_index, from_git, checked_out)
        found = []
        for path in paths:
            now = _file_signature(repository, path)
            if path in snapshot.signatures:
                before, number = snapshot.signatures[path], snapshot.saved.get(path)
                copy = None if number is None else folder(repository) / "copies" / str(number)
            else:
                copy = checked_out / path
                before = placing.file_signature(copy)
                if before and path in snapshot.modes:
                    copy.chmod(snapshot.modes[path])
            if before != now:
                found.append(Difference(path, before, now, copy if before else None))
        yield found


def restore(repository: Repository, snapshot: Snapshot, *, keep: bool = False) -> tuple[str, ...]:
    """Make the project what it was; return the paths of files whose content now was kept.

    With keep, a file that is replaced or removed is copied to `kept` in the state's folder before:
    after a kill nobody can tell what a program wrote from what a person did.
    """
    kept: list[str] = []
    earlier = folder(repository) / "journal"
    is_ours = earlier.exists() or not snapshot.had_journal
    applied = journal.read(repository) if is_ours else None
    if applied:  # it knows the files that git ignores and the update changed
        placing.go_back(repository, applied)
    for _ in range(_TWICE):
        with differences(repository, snapshot) as found:
            if keep:
                kept += _keep(repository, found)
            _put_back(repository, found)
    _restore_head(repository, snapshot)
    index.put(repository, folder(repository) / "index", folder(repository))
    if is_ours:
        journal.clear(repository)
    if earlier.exists():
        earlier.rename(journal.folder(repository))
    forget(repository)
    return tuple(sorted(set(kept)))


def record(repository: Repository, snapshot: Snapshot, names: tuple[str, str]) -> None:
    """Make the journal of an update that has ended: all that is not as it was, and the index."""
    prepared = journal.new_folder(repository)
    (prepared / "before").mkdir()
    with differences(repository, snapshot) as found:
        ordered = sorted(
            [*found, *_of_ignored_files(repository, {one.path for one in found})],
            key=lambda one: (one.now is not None, one.path.count("/"), one.path),
        )
        for number, one in enumerate(ordered):
            if one.copy:
                shutil.copy2(one.copy, prepared / "before" / str(number), follow_symlinks=False)
        changes = [Change(one.path, one.before, one.now) for one in ordered]
    saved_index = folder(repository) / "index"
    lines, paths = index.difference(repository, saved_index)
    if saved_index.exists():
        shutil.copy2(saved_index, prepared / "index")
    journal.write(
        prepared,
        Journal(
            state=DONE,
            head=repository.head,
            names=names,
            changes=tuple(changes),
            prefix=repository.prefix,
            answers_files=repository.answers_files,
            index=lines,
            paths_in_index=paths,
            staged=bool(paths),
            index_after=index.digest(repository),
        ),
    )
    journal.begin(repository, prepared)
    forget(repository)


def _of_ignored_files(repository: Repository, known: Container[str]) -> Iterator[Difference]:
    """Yield the files that the update itself has changed and the snapshot does not know."""
    applied = journal.read(repository)
    for number, change in enumerate(applied.changes if applied else ()):
        now = _file_signature(repository, change.path)
        if change.path not in known and now != change.before:
            copy = journal.folder(repository) / "before" / str(number)
            yield Difference(change.path, change.before, now, copy if change.before else None)


def _file_signature(repository: Repository, path: str) -> str | None:
    """Return the signature of a file of the project; None for one that is behind a link.

    A program may have put a link in place of a folder: what is behind it is not the project's.
    """
    place = repository.top
    for part in path.split("/")[:-1]:
        place = place / part
        if place.is_symlink():
            return None
    return placing.file_signature(repository.top / path)


def _odd_modes(repository: Repository, folder: Path, paths: Sequence[str]) -> dict[str, int]:
    """Return the permissions of files that have others than git gives; folder is for a trial."""
    trial = folder / "trial"
    trial.touch(0o666)
    usual = trial.stat().st_mode & 0o777
    trial.unlink()
    program = usual | (usual & 0o444) >> 2
    found = {}
    for path in paths:
        place = repository.top / path
        if place.is_symlink() or not place.is_file():
            continue
        mode = place.stat().st_mode & 0o777
        if mode not in (usual, program):
            found[path] = mode
    return found


def _changed(repository: Repository, index_file: Path) -> dict[str, bool]:
    """Return what differs from an index in the project, by path: whether git tracks it."""
    options = ("--porcelain=v2", "-z", "--untracked-files=all", "--ignore-submodules=all")
    found: dict[str, bool] = {}
    for letters, path in _status(repository, index_file, *options):
        is_changed = letters[1] != "."  # the second letter is the work tree's
        if is_changed and not path.endswith("/"):  # a repository within is not ours to note
            found[path] = letters != "??"
    return found


def _status(repository: Repository, index_file: Path, *options: str) -> Iterator[tuple[str, str]]:
    """Yield each path that `git status` shows for an index, with its two letters."""
    done = git.exchange(
        *("--no-optional-locks", "--literal-pathspecs", "status", *options, "--no-renames"),
        *("--", repository.prefix or "."),
        cwd=repository.top,
        variables={"GIT_INDEX_FILE": str(index_file)},
    )
    for line in filter(None, done.stdout.split(b"\x00")):
        fields = {b"1": 8, b"u": 10}.get(line[:1], 1)
        letters = "??" if line[:1] == b"?" else line[2:4].decode()
        yield letters, os.fsdecode(line.split(b" ", fields)[-1])


def _tracked(repository: Repository) -> list[tuple[str, str]]:
    """Return the files that the index holds, each with the letter of `git ls-files -v`."""
    done = git.exchange(
        *("ls-files", "-v", "-z", "--", repository.prefix or "."), cwd=repository.top
    )
    lines = (line.partition(b" ") for line in done.stdout.split(b"\x00") if line)
    return [(tag.decode(), os.fsdecode(path)) for tag, _, path in lines]


def _check_out(
    repository: Repository, index_file: Path, paths: Sequence[str], target: Path
) -> None:
    """Write files as an index has them, with the project's filters; others are left out."""
    if not paths:
        return
    given = b"".join(os.fsencode(path) + b"\x00" for path in paths)
    options = ("--quiet", "--force", "-z", "--stdin", f"--prefix={target}/")
    git.exchange(
        *("checkout-index", *options),
        cwd=repository.top,
        given=given,
        variables={"GIT_INDEX_FILE": str(index_file)},
        codes=(0, 1),
    )


def _put_back(repository: Repository, found: Sequence[Difference]) -> None:
    """Remove what was not there, the deepest first, then put back what was."""
    for one in sorted(found, key=lambda each: -each.path.count("/")):
        place = repository.top / one.path
        if one.now:
            place.unlink()
            placing.prune(place.parent, repository.top)
    for one in sorted(found, key=lambda each: each.path.count("/")):
        if one.copy:
            place = repository.top / one.path
            place.parent.mkdir(parents=True, exist_ok=True)
            if place.is_dir() and not place.is_symlink():
                place.rmdir()
            shutil.copy2(one.copy, place, follow_symlinks=False)


def _keep(repository: Repository, found: Sequence[Difference]) -> Iterator[str]:
    for one in found:
        if one.now:
            target = repository.state / "kept" / one.path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(repository.top / one.path, target, follow_symlinks=False)
            yield one.path


def _restore_head(repository: Repository, snapshot: Snapshot) -> None:
    """Take back commits that a program made, and a branch that it changed to."""
    head_file = repository.git_dir / "HEAD"
    if head_file.read_text(encoding="utf-8") != snapshot.head_file:
        name = snapshot.head_file.strip().removeprefix("ref: ")
        if name != snapshot.head_file.strip():
            git.exchange("symbolic-ref", "HEAD", name, cwd=repository.top)
        else:
            git.exchange("update-ref", "--no-deref", "HEAD", name, cwd=repository.top)
    if git.run("rev-parse", "HEAD", cwd=repository.top) != snapshot.head:
        git.exchange("update-ref", "HEAD", snapshot.head, cwd=repository.top)
