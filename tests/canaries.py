"""Secrets that were planted, and whatever shows where one of them has got to."""

from __future__ import annotations

import base64
import gzip
import subprocess
import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator, Set
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Canary:
    """A secret by the place where it was planted.

    Its parts are told apart by the signs at which addresses are cut, and each has a letter and the
    place in it: half a secret is found too, however it is quoted.
    """

    place: str

    def part(self, sign: str) -> str:
        return f"c4nary{self.place}{sign}"

    @property
    def value(self) -> str:
        """With a slash, an at sign, a blank, a percent escape and a letter beyond ASCII."""
        a, b, c, d, e = map(self.part, "abcde")
        return f"{a}/{b}@{c} {d}%2F{e}é"

    @property
    def token(self) -> str:
        """As a token is: letters and digits alone."""
        return self.part("token")


@dataclass(frozen=True)
class Hit:
    """Where a canary is, and what stands around it."""

    where: str
    canary: str
    around: str


def search(text: bytes, where: str, canaries: Iterable[Canary]) -> Iterator[Hit]:
    """Find each canary in some bytes, also in capitals and in base64."""
    lowered = text.lower()
    for canary in canaries:
        core = canary.part("").encode()
        places = [lowered.find(core.lower()), *(text.find(form) for form in _in_base64(core))]
        for place in places:
            if place >= 0:
                around = text[max(0, place - 60) : place + 60]
                yield Hit(where, canary.place, repr(around))


def search_folder(
    folder: Path, canaries: Collection[Canary], allowed: Set[Path] = frozenset()
) -> Iterator[Hit]:
    """Find canaries in the names and the content of files below folder, and in git's objects.

    allowed: files, by their exact paths, in which the user has put them, and folders of others
    """
    for path in sorted(folder.rglob("*")):
        if not allowed.isdisjoint(path.parents):
            continue
        name = path.relative_to(folder).as_posix()
        yield from search(name.encode("utf-8", "surrogateescape"), f"the name {name}", canaries)
        if path in allowed or path.is_symlink() or not path.is_file():
            continue
        for content in _contents(path):
            yield from search(content, str(path), canaries)
    for objects in folder.rglob("objects"):
        if (objects / "pack").is_dir():
            yield from search(_git_objects(objects.parent), f"objects of {objects}", canaries)


def _in_base64(core: bytes) -> Iterator[bytes]:
    """Yield what base64 makes of a word, wherever it begins: the signs that depend on it alone."""
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + core)
        yield encoded[4 if before else 0 : (before + len(core)) // 3 * 4]


def _contents(path: Path) -> Iterator[bytes]:
    """Yield a file as it is, and what is packed in it."""
    data = path.read_bytes()
    yield data
    if data[:2] == b"PK" and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                yield archive.read(name)
    if data[:2] == b"\x1f\x8b":
        yield gzip.decompress(data)
    if data[:1] == b"\x78":
        try:
            yield zlib.decompress(data)
        except zlib.error:  # it only begins like it
            return


def _git_objects(git_dir: Path) -> bytes:
    """Return all of git's objects, those that nothing names any more too."""
    command = ["git", "cat-file", "--batch-all-objects", "--batch", "--unordered"]
    place = [f"--git-dir={git_dir}"]
    done = subprocess.run([command[0], *place, *command[1:]], capture_output=True, check=False)
    return done.stdout
