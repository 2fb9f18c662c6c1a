"""git's objects: a project's own to read, and new ones in a folder beside, gone when it ends."""

from __future__ import annotations

import hashlib
import os
import stat
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from mlscaffold import git, process
from mlscaffold.errors import MlscaffoldError
from mlscaffold.merge.repository import Repository

FILE, PROGRAM, LINK, FOLDER, SUBMODULE = "100644", "100755", "120000", "40000", "160000"
Changes = Mapping[str, "Entry | None"]


@dataclass(frozen=True)
class Entry:
    """What a tree holds under a name: a mode, and an object."""

    mode: str
    oid: str

    @property
    def is_text_or_binary(self) -> bool:
        return self.mode in (FILE, PROGRAM)


class Objects:
    """Objects of a repository, and those made for an update, which the repository does not get.

    Names are text, with what is not UTF-8 escaped as Python escapes file names.
    """

    def __init__(self, repository: Repository, folder: Path, program: tuple[IO[bytes], IO[bytes]]):
        self.repository = repository
        self.folder = folder
        self._ask, self._answer = program
        self._trees: dict[str, dict[str, Entry]] = {}

    @property
    def variables(self) -> dict[str, str]:
        """What makes git read and write here."""
        return {"GIT_OBJECT_DIRECTORY": str(self.folder)}

    def write(self, kind: str, data: bytes) -> str:
        """Writes one object and returns its id."""
        whole = b"%s %d\x00%s" % (kind.encode(), len(data), data)
        oid = hashlib.new(self.repository.object_format, whole).hexdigest()
        path = self.folder / oid[:2] / oid[2:]
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(zlib.compress(whole, 1))
        return oid

    def read(self, name: str) -> bytes:
        """The content of an object. Raises MlscaffoldError when the repository lacks it."""
        self._ask.write(name.encode() + b"\n")
        self._ask.flush()
        words = self._answer.readline().split()
        if len(words) != 3:
            raise MlscaffoldError(
                f"{self.repository.top} lacks the object {name}. A partial clone has to fetch it: "
                "git fetch --refetch"
            )
        data = self._answer.read(int(words[2]))
        self._answer.read(1)
        return data

    def tree(self, name: str) -> dict[str, Entry]:
        """The entries of a tree."""
        if name not in self._trees:
            data, size = self.read(name), hashlib.new(self.repository.object_format).digest_size
            self._trees[name] = dict(_entries(data, size))
        return self._trees[name]

    def write_tree(self, entries: Mapping[str, Entry]) -> str:
        def key(item: tuple[str, Entry]) -> bytes:
            return os.fsencode(item[0]) + (b"/" if item[1].mode == FOLDER else b"")

        lines = (
            b"%s %s\x00%s" % (entry.mode.encode(), os.fsencode(name), bytes.fromhex(entry.oid))
            for name, entry in sorted(entries.items(), key=key)
        )
        return self.write("tree", b"".join(lines))

    def look_up(self, tree: str, path: str) -> Entry | None:
        """What a path is in a tree, reading no more folders than the path has."""
        *folders, name = path.split("/")
        for folder in folders:
            found = self.tree(tree).get(folder)
            if found is None or found.mode != FOLDER:
                return None
            tree = found.oid
        return self.tree(tree).get(name)

    def splice(self, tree: str, changes: Changes) -> str:
        """The tree with changes made to it: a path's new entry, or None to take it away."""
        return self._splice(dict(self.tree(tree)), changes) or self.write("tree", b"")

    def _splice(self, entries: dict[str, Entry], changes: Changes) -> str | None:
        below: dict[str, dict[str, Entry | None]] = {}
        for path, entry in changes.items():
            name, _, rest = path.partition("/")
            if rest:
                below.setdefault(name, {})[rest] = entry
            elif entry:
                entries[name] = entry
            elif name in entries and entries[name].mode != FOLDER:
                del entries[name]
        for name, inner in below.items():
            known = entries.get(name)
            is_folder = known is not None and known.mode == FOLDER
            if not is_folder and not any(inner.values()):
                continue
            oid = self._splice(dict(self.tree(known.oid)) if known and is_folder else {}, inner)
            if oid:
                entries[name] = Entry(FOLDER, oid)
            else:
                del entries[name]
        return self.write_tree(entries) if entries else None

    def differences(self, one: str, other: str) -> dict[str, tuple[Entry | None, Entry | None]]:
        """Every file that differs between two trees, with what it is in each."""
        return dict(self._differences(one, other, ""))

    def _differences(
        self, one: str | None, other: str | None, prefix: str
    ) -> Iterator[tuple[str, tuple[Entry | None, Entry | None]]]:
        first, second = (self.tree(name) if name else {} for name in (one, other))
        for name in sorted(first.keys() | second.keys()):
            pair = first.get(name), second.get(name)
            if pair[0] == pair[1]:
                continue
            folders = [entry.oid if entry and entry.mode == FOLDER else None for entry in pair]
            files = [None if entry and entry.mode == FOLDER else entry for entry in pair]
            if any(folders):
                yield from self._differences(folders[0], folders[1], f"{prefix}{name}/")
            if any(files):
                yield prefix + name, (files[0], files[1])

    def files(self, tree: str, prefix: str = "") -> Iterator[tuple[str, Entry]]:
        """Every file of a tree, one folder after the other."""
        for name, entry in self.tree(tree).items():
            if entry.mode == FOLDER:
                yield from self.files(entry.oid, f"{prefix}{name}/")
            else:
                yield prefix + name, entry


@contextmanager
def beside(repository: Repository, folder: Path) -> Iterator[Objects]:
    """Objects for an update of the repository, kept below folder."""
    place = folder / "objects"
    (place / "info").mkdir(parents=True)
    alternates = os.fsencode(repository.common_dir / "objects") + b"\n"
    (place / "info" / "alternates").write_bytes(alternates)
    variables = {**git.environment(), "GIT_OBJECT_DIRECTORY": str(place)}
    command = ("git", *git.PINS, "cat-file", "--batch")
    with ExitStack() as stack:
        talk = process.conversation(command, cwd=repository.top, env=variables)
        yield Objects(repository, place, stack.enter_context(talk))


def mode_of(path: Path) -> str:
    """The mode that git gives a file."""
    status = path.lstat().st_mode
    if stat.S_ISLNK(status):
        return LINK
    return PROGRAM if status & 0o100 else FILE


def _entries(data: bytes, size: int) -> Iterator[tuple[str, Entry]]:
    place = 0
    while place < len(data):
        end = data.index(b"\x00", place)
        mode, _, name = data[place:end].partition(b" ")
        place = end + 1 + size
        yield os.fsdecode(name), Entry(mode.decode(), data[end + 1 : place].hex())
