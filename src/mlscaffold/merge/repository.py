"""The repository that a project is in: where its parts are, and whether it can be updated."""

from __future__ import annotations

import os
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from mlscaffold import git
from mlscaffold.errors import MlscaffoldError


@dataclass(frozen=True)
class Repository:
    """A repository with a work tree and a commit.

    top, git_dir, common_dir: the work tree, its own git folder and the one of all work trees
    prefix: the project's folder below top, "" or with "/" at its end
    head: the commit that is checked out
    object_format: sha1 or sha256
    answers_files: those that the update at hand is of, below the project's folder
    """

    top: Path
    git_dir: Path
    common_dir: Path
    prefix: str
    head: str
    object_format: str
    answers_files: tuple[str, ...] = ()

    @property
    def index(self) -> Path:
        return self.git_dir / "index"

    @property
    def project(self) -> Path:
        """The folder of the project at hand."""
        return self.top / self.prefix

    @property
    def state(self) -> Path:
        """Where updates keep their journals: in the git folder of this work tree."""
        return self.git_dir / "mlscaffold"

    @property
    def update_name(self) -> str:
        """What the update of this project and these answers files is called in that folder."""
        key = "\0".join((self.prefix, *self.answers_files))
        return f"update-{sha256(os.fsencode(key)).hexdigest()[:12]}"


def open_at(root: Path) -> Repository:
    """The repository of a project. Raises MlscaffoldError where there is none to update."""
    questions = (
        *("--path-format=absolute", "--show-toplevel", "--git-dir", "--git-common-dir"),
        *("--show-object-format", "--show-prefix"),
    )
    try:
        lines = git.run("rev-parse", *questions, cwd=root).split("\n")
    except git.GitError as error:
        raise MlscaffoldError(_no_repository(root, error)) from None
    try:
        head = git.run("rev-parse", "--verify", "--quiet", "HEAD^{commit}", cwd=root)
    except git.GitError:
        raise MlscaffoldError(
            f"{root} has no commit yet, so an update could not be told from your work. Type: "
            "git add -A && git commit"
        ) from None
    top, git_dir, common_dir, object_format = lines[:4]
    prefix = lines[4] if len(lines) > 4 else ""
    return Repository(Path(top), Path(git_dir), Path(common_dir), prefix, head, object_format)


def _no_repository(root: Path, error: git.GitError) -> str:
    if "not a git repository" in error.message or "work tree" in error.message:
        return (
            f"{root} is not in the work tree of a git repository, which an update needs. Type: "
            "git init && git add -A && git commit"
        )
    return f"{root}: {error.message}."
