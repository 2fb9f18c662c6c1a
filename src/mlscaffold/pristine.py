"""A project's version as it was rendered, in an index of git's own beside the repository."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mlscaffold import git, versions
from mlscaffold.versions import Step

_ATTRIBUTES = ".gitattributes"
# As they are on disk: what the project's git makes of modes and links is said by its own settings.
_AS_RENDERED = ("-c", "core.fileMode=true", "-c", "core.symlinks=true")


@dataclass(frozen=True)
class _Place:
    """A repository with an index beside it, in folder, so that neither knows of the other.

    objects: what the repository has already, and the index need not get again
    """

    git_dir: Path
    top: Path
    objects: Path
    folder: Path

    def git(self, *arguments: str, work_tree: Path, cwd: Path, given: bytes = b"") -> bytes:
        variables = {
            "GIT_INDEX_FILE": str(self.folder / "index"),
            "GIT_OBJECT_DIRECTORY": str(self.folder / "objects"),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(self.objects),
        }
        places = (f"--git-dir={self.git_dir}", f"--work-tree={work_tree}")
        return git.exchange(*places, *arguments, cwd=cwd, given=given, variables=variables).stdout


@dataclass(frozen=True)
class Pristine:
    """The pristine render, without its answers file, for git to compare a project with.

    step: the version, and the project's answers
    is_seeded: whether a path (with "/") is in _skip_if_exists
    place: where the project's repository is, and the index beside it
    """

    step: Step
    is_seeded: Callable[[str], bool]
    place: _Place

    @property
    def root(self) -> Path:
        return self.step.answers.root

    def diff(self, *options: str, paths: Sequence[str] = ()) -> bytes:
        """What git finds between the render, as the old side, and the project's work tree."""
        # The repository may be somebody else's, and so may the programs that its settings name.
        no_programs = ("--no-ext-diff", "--no-textconv")
        command = ("diff", "--relative", *no_programs, "--no-renames", *options, "--", *paths)
        return self._git("--literal-pathspecs", *command)

    def id_of(self, path: str) -> str:
        """The id that git would give a file of the project now."""
        return self._git("hash-object", "--", path).decode().strip()

    def _git(self, *arguments: str) -> bytes:
        return self.place.git(*arguments, work_tree=self.place.top, cwd=self.root)


@contextmanager
def rendered(step: Step, *, trusted: bool = False) -> Iterator[Pristine]:
    """The recorded version of the project, until the block ends; the project gets nothing of it."""
    root = step.answers.root
    with tempfile.TemporaryDirectory(prefix="mlscaffold-") as name:
        folder = Path(name).resolve()
        place = _place(root, folder)
        prefix = root.relative_to(place.top)
        base = folder / "render" if prefix.parts else folder / "render" / root.name
        found = versions.render_recorded(step, base / prefix, trusted=trusted)
        paths = [path for path in _files(base / prefix) if path != found.answers_file]
        _fill_index(place, base, [(prefix / path).as_posix() for path in paths])
        yield Pristine(step, found.skips, place)


def _place(root: Path, folder: Path) -> _Place:
    """The repository that root is in; a project in none gets a passing one."""
    (folder / "objects").mkdir()
    questions = ("--git-dir", "--show-toplevel", "--git-path", "objects")
    try:
        found = git.run("rev-parse", "--path-format=absolute", *questions, cwd=root).split("\n")
    except git.GitError as error:
        if "not a git repository" not in error.message and "work tree" not in error.message:
            raise
        git.run("init", "--quiet", "--template=", str(folder / "git"), cwd=folder)
        git_dir = folder / "git" / ".git"
        return _Place(git_dir, root, git_dir / "objects", folder)
    git_dir, top, objects = map(Path, found)
    return _Place(git_dir, top, objects, folder)


def _files(place: Path) -> Iterator[str]:
    for folder, folders, names in os.walk(place):
        links = [name for name in folders if Path(folder, name).is_symlink()]
        for name in (*names, *links):
            yield Path(folder, name).relative_to(place).as_posix()


def _fill_index(place: _Place, base: Path, paths: list[str]) -> None:
    """Adds the files below base as the project's git would: with its attributes, not their own."""

    def add(some: Iterable[str]) -> None:
        if given := b"".join(os.fsencode(path) + b"\x00" for path in some):
            command = (*_AS_RENDERED, "update-index", "--add", "-z", "--stdin")
            place.git(*command, work_tree=base, cwd=base, given=given)

    def is_attributes(path: str) -> bool:
        return PurePosixPath(path).name == _ATTRIBUTES

    attributes = list(filter(is_attributes, paths))
    add(attributes)
    for path in attributes:
        (base / path).unlink()
    for folder in {parent for path in paths for parent in PurePosixPath(path).parents}:
        theirs = place.top / folder / _ATTRIBUTES
        if theirs.is_file() and not theirs.is_symlink():
            (base / folder / _ATTRIBUTES).write_bytes(theirs.read_bytes())
    add(path for path in paths if not is_attributes(path))
