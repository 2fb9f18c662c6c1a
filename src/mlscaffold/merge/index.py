"""git's index: conflicts become its stages 1 to 3, and nothing else is staged."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from mlscaffold import git
from mlscaffold.errors import MlscaffoldError
from mlscaffold.merge.journal import Journal, folder
from mlscaffold.merge.objects import PROGRAM, SUBMODULE, mode_of
from mlscaffold.merge.plan import Action, Plan
from mlscaffold.merge.repository import Repository


def concerns(repository: Repository, action: Action) -> bool:
    """Whether an action changes the index: a conflict does, and a mode that only it can hold."""
    if action.stages:
        return True
    before, after = action.before, action.after
    if after is None or not after.is_text_or_binary or not action.is_tracked:
        return False
    if before is None:
        is_mode_change = after.mode == PROGRAM
    else:
        is_mode_change = before.is_text_or_binary and before.mode != after.mode
    return is_mode_change and _ignores_modes(repository)


def entries(repository: Repository, paths: Sequence[str]) -> str:
    """What the index holds of paths, as `git update-index -z --index-info` reads it."""
    if not paths:
        return ""
    done = git.exchange(
        *("--literal-pathspecs", "ls-files", "--stage", "-z", "--", *paths), cwd=repository.top
    )
    wanted = set(paths)
    lines = (line for line in os.fsdecode(done.stdout).split("\x00") if line)
    return "".join(f"{line}\x00" for line in lines if line.partition("\t")[2] in wanted)


def copy_objects(plan: Plan, actions: Iterable[Action]) -> None:
    """Gives the repository the contents that its index is going to name."""
    staged = [entry for action in actions for entry in action.stages.values()]
    found = {entry.oid for entry in staged if entry.mode != SUBMODULE}
    if found:
        repository = plan.objects.repository
        given = "".join(f"{oid}\n" for oid in sorted(found)).encode()
        pack = git.exchange(
            *("pack-objects", "--stdout", "--quiet"),
            cwd=repository.top,
            given=given,
            variables=plan.objects.variables,
        )
        git.exchange("unpack-objects", "-q", cwd=repository.top, given=pack.stdout)


def stage(repository: Repository, actions: Iterable[Action], journal: Path) -> None:
    """Replaces the index by one with the conflicts, under git's own lock."""
    lines, programs = [], []
    for action in actions:
        if action.stages:
            lines.append(_nothing(repository, action.path))
            lines += [
                f"{entry.mode} {entry.oid} {number}\t{action.path}"
                for number, entry in sorted(action.stages.items())
            ]
        elif concerns(repository, action) and action.before and action.after:
            lines.append(f"{action.after.mode} {action.before.oid} 0\t{action.path}")
        elif concerns(repository, action):
            programs.append(action.path)
    _replace(repository, journal, "".join(f"{line}\x00" for line in lines), programs)


def restore(repository: Repository, record: Journal, staged: Iterable[str] = ()) -> None:
    """Give the paths back what the index held of them before the update.

    staged are lines for paths that somebody has staged since, from `lines_of_staged`. Where the
    whole index of before was kept and nobody has staged anything, it comes back with its flags.
    """
    place = folder(repository)
    if record.index_after and record.index_after == digest(repository):
        put(repository, place / "index", place)
        return
    gone = (f"{_nothing(repository, path)}\x00" for path in record.paths_in_index)
    _replace(repository, place, "".join([*gone, record.index, *staged]))


def lines_of_staged(repository: Repository, record: Journal) -> list[str]:
    """Return what brings the index back for files that were staged as the update left them.

    Of other files that were staged since, the index keeps what it holds.
    """
    paths = [change.path for change in record.changes if change.path not in record.paths_in_index]
    if not paths:
        return []
    now, before = _staged_ids(repository, paths), _committed(repository, paths)
    changed = [path for path in paths if now.get(path) != before.get(path, (None, None))[1]]
    left = _ids_in_work_tree(repository, changed)
    lines = []
    for path in changed:
        if now.get(path) == left.get(path):
            lines.append(f"{_nothing(repository, path)}\x00")
            if path in before:
                mode, oid = before[path]
                lines.append(f"{mode} {oid} 0\t{path}\x00")
    return lines


def _staged_ids(repository: Repository, paths: Sequence[str]) -> dict[str, str]:
    """Return the object that the index holds of each path."""
    lines = filter(None, entries(repository, paths).split("\x00"))
    return {path: facts.split()[1] for facts, _, path in (line.partition("\t") for line in lines)}


def _committed(repository: Repository, paths: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return mode and object of each path in the commit."""
    command = ("--literal-pathspecs", "ls-tree", "-z", "--full-tree", repository.head, "--")
    done = git.exchange(*command, *paths, cwd=repository.top)
    found = {}
    for line in filter(None, os.fsdecode(done.stdout).split("\x00")):
        facts, _, path = line.partition("\t")
        mode, _, oid = facts.split()
        found[path] = (mode, oid)
    return found


def _ids_in_work_tree(repository: Repository, paths: Sequence[str]) -> dict[str, str]:
    """Return the object that git would make of each path that is a file."""
    found = {}
    for path in paths:
        place = repository.top / path
        if place.is_symlink():
            target = os.fsencode(os.readlink(place))  # noqa: PTH115
            done = git.exchange("hash-object", "--stdin", cwd=repository.top, given=target)
        elif place.is_file():
            done = git.exchange("hash-object", "--", path, cwd=repository.top)
        else:
            continue
        found[path] = done.stdout.decode().strip()
    return found


def put(repository: Repository, source: Path, place: Path) -> None:
    """Replace the index by a copy of source, under git's own lock; place is for our own files."""
    fresh = Path(tempfile.mkdtemp(dir=place)) / "index"
    try:
        _lock(repository, repository.git_dir / "index.lock", place / "lock")
        if source.exists():
            shutil.copy2(source, fresh)
            fresh.replace(repository.index)
        else:
            repository.index.unlink(missing_ok=True)
    finally:
        clear_stale_lock(repository, place)


def digest(repository: Repository) -> str:
    """Return what changes when somebody stages something."""
    done = git.exchange("ls-files", "-v", "--stage", "-z", cwd=repository.top)
    return sha256(done.stdout).hexdigest()


def difference(repository: Repository, earlier: Path) -> tuple[str, tuple[str, ...]]:
    """Return the paths that an earlier index held otherwise, and what it held of them."""
    before, now = _stages(repository, earlier), _stages(repository, repository.index)
    paths = sorted(path for path in before.keys() | now if before.get(path) != now.get(path))
    lines = (line for path in paths for line in before.get(path, ()))
    return "".join(f"{line}\x00" for line in lines), tuple(paths)


def _stages(repository: Repository, index_file: Path) -> dict[str, list[str]]:
    variables = {"GIT_INDEX_FILE": str(index_file)}
    done = git.exchange("ls-files", "--stage", "-z", cwd=repository.top, variables=variables)
    found: dict[str, list[str]] = {}
    for line in filter(None, os.fsdecode(done.stdout).split("\x00")):
        found.setdefault(line.partition("\t")[2], []).append(line)
    return found


def is_staged(repository: Repository, paths: Sequence[str]) -> bool:
    """Whether the index has the stages of a conflict in one of the paths."""
    found = entries(repository, paths).split("\x00")
    return any(line.partition("\t")[0].split()[-1:] in (["1"], ["2"], ["3"]) for line in found)


def unresolved(repository: Repository) -> tuple[str, ...]:
    """The paths in conflict, of this or of any merge."""
    done = git.exchange("ls-files", "--unmerged", "-z", cwd=repository.top)
    lines = filter(None, os.fsdecode(done.stdout).split("\x00"))
    return tuple(sorted({line.partition("\t")[2] for line in lines}))


def check_unlocked(repository: Repository) -> None:
    lock = repository.git_dir / "index.lock"
    if lock.exists():
        raise MlscaffoldError(
            f"Another git command holds {lock}. Wait for it; if there is none, remove that file."
        )


def clear_stale_lock(repository: Repository, journal: Path) -> None:
    """Removes git's lock if it is ours: of a process that was killed, as ours is not locked."""
    lock, ours = repository.git_dir / "index.lock", journal / "lock"
    with suppress(FileNotFoundError):
        if lock.samefile(ours) or lock.read_bytes() == os.fsencode(ours):
            lock.unlink()


def _replace(
    repository: Repository, journal: Path, lines: str, programs: Sequence[str] = ()
) -> None:
    lock, ours = repository.git_dir / "index.lock", journal / "lock"
    # A folder of its own: the git of a killed update may still be at work on another one.
    fresh = Path(tempfile.mkdtemp(dir=journal)) / "index"
    try:
        _lock(repository, lock, ours)
        if repository.index.exists():
            shutil.copy2(repository.index, fresh)
        git.exchange(
            *("update-index", "-z", "--index-info"),
            cwd=repository.top,
            given=os.fsencode(lines),
            variables={"GIT_INDEX_FILE": str(fresh)},
        )
        if programs:
            _announce_programs(repository, fresh, programs)
        fresh.replace(repository.index)
    finally:
        clear_stale_lock(repository, journal)


def _announce_programs(repository: Repository, fresh: Path, paths: Sequence[str]) -> None:
    """Tell the index of new files that are programs, where git does not look at modes.

    With core.fileMode=false `git add` takes the mode of a file from the index, which has to know
    the file for that: an entry of `git add --intent-to-add` stages no content.
    """
    run = {"cwd": repository.top, "variables": {"GIT_INDEX_FILE": str(fresh)}}
    add = ("-c", "core.fileMode=true", "--literal-pathspecs", "add", "--intent-to-add", "--force")
    git.exchange(*add, "--", *paths, **run)  # type: ignore[arg-type]
    # A file system without modes, as on Windows: there the mode can only come with the content.
    without = [path for path in paths if mode_of(repository.top / path) != PROGRAM]
    if without:
        git.exchange("update-index", "--chmod=+x", "--", *without, **run)  # type: ignore[arg-type]


def _lock(repository: Repository, lock: Path, ours: Path) -> None:
    """Takes git's lock, as a second name of a file of ours, so that we know it again."""
    ours.touch()
    try:
        lock.hardlink_to(ours)
    except FileExistsError:
        check_unlocked(repository)
        raise
    except OSError:  # a file system without hard links
        with lock.open("xb") as file:
            file.write(os.fsencode(ours))


def _nothing(repository: Repository, path: str) -> str:
    return f"0 {'0' * len(repository.head)} 0\t{path}"


def _ignores_modes(repository: Repository) -> bool:
    command = ("config", "--type=bool", "--default=true", "core.fileMode")
    return git.run(*command, cwd=repository.top) == "false"
