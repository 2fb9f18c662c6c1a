"""The three trees of a merge: what was rendered, hashed as the project's git would hash it."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Set
from itertools import islice
from pathlib import Path, PurePosixPath

from mlscaffold import git
from mlscaffold.merge.objects import FOLDER, LINK, SUBMODULE, Changes, Entry, Objects, mode_of

Files = dict[str, Entry]
_ATTRIBUTES = ".gitattributes"
_ASIDE = ".gitattributes~rendered"
_MOST_CANDIDATES = 60
_MOST_FILES = 20_000


def place_for(folder: Path, prefix: str, name: str) -> Path:
    """Where to render a project, so that its paths below folder are those in its repository."""
    return folder / prefix if prefix else folder / name


def hash_render(objects: Objects, place: Path, ours: str) -> Files:
    """The files below place by their paths in the repository, written to objects.

    The project's own attributes count, and a file that it has with other line ends than its
    attributes ask for is taken as it is.
    """
    prefix = objects.repository.prefix
    paths = sorted(_relative_paths(place))
    base = place
    for _ in PurePosixPath(prefix).parts:
        base = base.parent
    links = {path: Entry(LINK, objects.write("blob", os.fsencode(os.readlink(place / path))))  # noqa: PTH115
             for path in paths if (place / path).is_symlink()}  # fmt: skip
    plain = [path for path in paths if path not in links]
    modes = {path: mode_of(place / path) for path in plain}
    with_project_attributes = _lay_attributes(objects, place, base, plain)
    oids = _hash(objects, base, [prefix + path for path in with_project_attributes])
    files = {path: Entry(modes[path], oid) for path, oid in zip(plain, oids, strict=True)}
    for path, entry in files.items():
        files[path] = _as_committed(objects, place / path, entry, ours, prefix + path)
    return {prefix + path: entry for path, entry in {**files, **links}.items()}


def _relative_paths(place: Path) -> Iterator[str]:
    for folder, folders, names in os.walk(place):
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]  # noqa: PTH114, PTH118
        for name in (*names, *links):
            yield Path(folder, name).relative_to(place).as_posix()


def _lay_attributes(objects: Objects, place: Path, base: Path, paths: list[str]) -> list[str]:
    """Puts the project's attributes where the render's were; the paths to hash now."""
    folders = {PurePosixPath(objects.repository.prefix + path).parent for path in paths}
    every = {parent for folder in folders for parent in (folder, *folder.parents)}
    moved = {path: str(PurePosixPath(path).with_name(_ASIDE)) for path in paths
             if PurePosixPath(path).name == _ATTRIBUTES}  # fmt: skip
    for path, aside in moved.items():
        (place / path).rename(place / aside)
    for folder in every:
        source = objects.repository.top / folder / _ATTRIBUTES
        if source.is_file() and not source.is_symlink():
            (base / folder / _ATTRIBUTES).write_bytes(source.read_bytes())
    return [moved.get(path, path) for path in paths]


def _hash(objects: Objects, base: Path, paths: list[str]) -> list[str]:
    """The ids of files, written as the project's filters make them."""
    if not paths:
        return []
    given = b"".join(_quoted(path) + b"\n" for path in paths)
    places = (f"--git-dir={objects.repository.git_dir}", f"--work-tree={base}")
    command = ("hash-object", "-w", "--stdin-paths")
    done = git.exchange(*places, *command, cwd=base, given=given, variables=objects.variables)
    return done.stdout.decode().split()


def _quoted(path: str) -> bytes:
    """A path as a line for git, which reads a quoted one as C does."""
    name = os.fsencode(path)
    if not (name.startswith(b'"') or b"\n" in name):
        return name
    return b'"' + b"".join(b"\\%03o" % byte for byte in name) + b'"'


def _as_committed(objects: Objects, file: Path, entry: Entry, ours: str, path: str) -> Entry:
    """The entry, or the file without filters where the project has just that."""
    known = objects.look_up(ours, path)
    if known is None or known.oid == entry.oid or file.name == _ATTRIBUTES:
        return entry
    data = file.read_bytes()
    whole = b"blob %d\x00%s" % (len(data), data)
    if hashlib.new(objects.repository.object_format, whole).hexdigest() != known.oid:
        return entry
    return Entry(entry.mode, objects.write("blob", data))


def merge_trees(objects: Objects, ours: str, old: Files, new: Files) -> tuple[str, str]:
    """The trees of the old and of the new version, each within the project's other files.

    Those other files are alike on all sides and so cost nothing, but for the ones that a rename
    can concern: they are only on the project's side, as the merge has to see them come.
    """
    managed = old.keys() | new.keys()
    away: Changes = dict.fromkeys(
        (
            *managed,
            *_in_place_of_folders(objects, ours, managed),
            *_concerned_by_renames(objects, ours, old, new),
        )
    )
    return objects.splice(ours, {**away, **old}), objects.splice(ours, {**away, **new})


def _in_place_of_folders(objects: Objects, ours: str, managed: Set[str]) -> Iterator[str]:
    """Files of the project where the template has a folder, and below where it has a file."""
    folders = {str(parent) for path in managed for parent in PurePosixPath(path).parents}
    for folder in folders - managed - {"."}:
        entry = objects.look_up(ours, folder)
        if entry and entry.mode != FOLDER:
            yield folder
    for path in managed:
        entry = objects.look_up(ours, path)
        if entry and entry.mode == FOLDER:
            yield from (name for name, _ in objects.files(entry.oid, path + "/"))


def _concerned_by_renames(objects: Objects, ours: str, old: Files, new: Files) -> Iterator[str]:
    managed = old.keys() | new.keys()
    for folder in _emptied_folders(old, new):
        entry = objects.look_up(ours, folder)
        if entry and entry.mode == FOLDER:
            for path, file in objects.files(entry.oid, folder + "/"):
                if path not in managed and file.mode != SUBMODULE:
                    yield path
    missing = {path: old[path] for path in old if objects.look_up(ours, path) is None}
    if missing:
        yield from _candidates(objects, ours, missing, managed)


def _emptied_folders(old: Files, new: Files) -> set[str]:
    """Folders that the new version has no file in any more: what is in them may move along."""
    before, after = ({str(PurePosixPath(path).parent) for path in side} for side in (old, new))
    return {folder for folder in before - after if folder != "."}


def _candidates(objects: Objects, ours: str, missing: Files, managed: Set[str]) -> list[str]:
    """Files of the project that may be files of the template under another name."""
    contents = {entry.oid for entry in missing.values()}
    names = {path.rpartition("/")[2] for path in missing}
    ends = tuple({os.path.splitext(name)[1] or name for name in names})  # noqa: PTH122
    plain = any("." not in name for name in names)
    found = [
        (entry.oid not in contents, path.rpartition("/")[2] not in names, path.count("/"), path)
        for path, entry in islice(objects.files(ours), _MOST_FILES)
        if (
            path.endswith(ends)
            or (plain and "." not in path.rpartition("/")[2])
            or entry.oid in contents
        )
        and path.startswith(objects.repository.prefix)
        and path not in managed
        and entry.mode != SUBMODULE
    ]
    return [path for *_, path in sorted(found)[:_MOST_CANDIDATES]]


def with_work_tree(objects: Objects, tree: str, paths: Iterable[str]) -> tuple[str, Files]:
    """The tree with files of the work tree that git does not track, and those files."""
    top = objects.repository.top
    found = [path for path in paths if _is_file(top / path)]
    links = [path for path in found if (top / path).is_symlink()]
    plain = [path for path in found if path not in links]
    files = {path: Entry(LINK, objects.write("blob", os.fsencode(os.readlink(top / path))))  # noqa: PTH115
             for path in links}  # fmt: skip
    for path, oid in zip(plain, _hash(objects, top, plain), strict=True):
        files[path] = Entry(mode_of(top / path), oid)
    return (objects.splice(tree, files) if files else tree), files


def with_changes(objects: Objects, tree: str, paths: Iterable[str]) -> str:
    """The tree with paths as they are in the work tree; those that are gone are left out."""
    paths = sorted(paths)
    files = with_work_tree(objects, tree, paths)[1]
    return objects.splice(tree, {path: files.get(path) for path in paths})


def hash_files(objects: Objects, paths: list[str]) -> Mapping[str, Entry]:
    """What git would record of files of the work tree now."""
    return with_work_tree(objects, f"{objects.repository.head}^{{tree}}", paths)[1]


def _is_file(path: Path) -> bool:
    try:
        mode = path.lstat().st_mode
    except OSError:
        return False
    return stat.S_ISREG(mode) or stat.S_ISLNK(mode)
