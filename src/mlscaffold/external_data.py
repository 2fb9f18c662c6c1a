"""What a template reads of its project besides its own answers (`_external_data`), now and then.

The old version has to be rendered with what it read when the project was last rendered, or what
changed there since would count as the user's edit.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mlscaffold import git, yaml_text

# Returns what a file of the project holds, by its path; None where the file itself has to tell.
Reader = Callable[[str], Mapping[str, Any] | None]


def read_now(fresh: Mapping[str, Path]) -> Reader:
    """Return a reader that knows the answers files which the same update has rendered anew."""

    def read(name: str) -> Mapping[str, Any] | None:
        path = fresh.get(posixpath.normpath(name))
        return _parse(path.read_bytes()) if path else None

    return read


def read_then(root: Path, answers_file: str) -> Reader:
    """Return a reader of files as they were in the commit that last changed an answers file.

    While that file has changes that are not committed, the files are as they are now.
    """
    commit: list[str] = []

    def read(name: str) -> Mapping[str, Any] | None:
        if not commit:
            commit.append(_commit_of(root, answers_file))
        if not commit[0] or posixpath.normpath(name).startswith(("/", "../")):
            return None
        try:
            blob = f"{commit[0]}:./{posixpath.normpath(name)}"
            done = git.exchange("show", "--no-textconv", blob, cwd=root)
        except git.GitError:  # git did not track it then
            return None
        return _parse(done.stdout)

    return read


def _commit_of(root: Path, answers_file: str) -> str:
    try:
        changed = git.run("status", "--porcelain", "--", answers_file, cwd=root)
        if changed:
            return ""
        return git.run("log", "-1", "--format=%H", "--", answers_file, cwd=root)
    except git.GitError:  # no repository, or none with a commit
        return ""


def _parse(data: bytes) -> Mapping[str, Any] | None:
    import yaml

    try:
        yaml_text.check_size(data)
        found = yaml.safe_load(data)
    except (yaml.YAMLError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
