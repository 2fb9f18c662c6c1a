"""A project: made beside its destination, and put there when it is complete."""

from __future__ import annotations

import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlscaffold import files, git, git_paths, naming, template
from mlscaffold.template import Template


@dataclass(frozen=True)
class Project:
    """What was made.

    files: relative, with "/", sorted
    message: what the template says to people, "" if nothing
    commit: the first commit, None without one
    """

    root: Path
    answers: Mapping[str, Any]
    files: tuple[str, ...]
    message: str = ""
    commit: str | None = None


def create(
    source: Template, root: Path, answers: Mapping[str, Any], *, ask: bool, with_git: bool
) -> Project:
    """Renders the template to root and commits it; when anything fails, root is as it was."""
    with files.folder_beside(root) as beside:
        made = _rendered(source, beside / root.name, answers, ask=ask)
        commit = (
            _first_commit(made.root, beside / f"{root.name}.empty", source) if with_git else None
        )
        files.move_into_place(made.root, root)
    return replace(made, root=root, commit=commit)


def preview(source: Template, root: Path, answers: Mapping[str, Any], *, ask: bool) -> Project:
    """What create would make; nothing is written beside root."""
    with tempfile.TemporaryDirectory() as elsewhere:
        made = _rendered(source, Path(elsewhere, root.name), answers, ask=ask)
    return replace(made, root=root)


def command(root: Path) -> str | None:
    """The name of the project's own command: its first script; None if it has none."""
    try:
        data = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return next(iter(data.get("project", {}).get("scripts", {})), None)


def _rendered(source: Template, root: Path, answers: Mapping[str, Any], *, ask: bool) -> Project:
    made = template.render(source, root, answers, ask=ask)
    git_paths.refuse_in_render(root, source.checkout.address)
    naming.check_answers(made.answers)
    paths = sorted(path for path in root.rglob("*") if not path.is_dir() or path.is_symlink())
    files_ = tuple(path.relative_to(root).as_posix() for path in paths)
    return Project(root, made.answers, files_, made.message)


def _first_commit(root: Path, empty: Path, source: Template) -> str:
    """A repository whose first commit holds exactly what was rendered.

    It is made in an empty folder, without hooks of git's template folder: nothing that was
    rendered, and no program, has a part in it.
    """
    empty.mkdir()
    git.run("init", "--quiet", "--template=", "--initial-branch=main", cwd=empty)
    (empty / ".git").rename(root / ".git")
    version = source.checkout.version
    return git.commit_all(
        root, f"Start from template {version}" if version else "Start the project"
    )
