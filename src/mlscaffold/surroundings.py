"""What stands around the folder of a new project, and would take it for its own."""

from __future__ import annotations

from pathlib import Path

from pathspec import GitIgnoreSpec

from mlscaffold import files, git
from mlscaffold.errors import MlscaffoldError


def check(root: Path, *, makes_repository: bool) -> None:
    """Refuse a new project in a repository of its own inside another one, or in a uv workspace."""
    if makes_repository and (outer := outer_repository(root)):
        raise MlscaffoldError(
            f"{root.name} would be a git repository inside another one, {outer}. Make it "
            f"elsewhere, for example {outer.parent / root.name}, or let its files be "
            f"{outer.name}'s: --no-git."
        )
    if workspace := uv_workspace(root):
        inside = root.relative_to(workspace).as_posix()
        raise MlscaffoldError(
            f"{workspace / 'pyproject.toml'} takes {inside} for a member of its uv workspace, so "
            "the project would have no lock and no environment of its own. Add under "
            f'[tool.uv.workspace] there: exclude = ["{inside}"]'
        )


def outer_repository(root: Path) -> Path | None:
    """The top of the work tree that root is to stand in; None where it is ignored there too."""
    folder = _nearest_folder(root)
    try:
        top = Path(git.run("rev-parse", "--show-toplevel", cwd=folder).strip())
    except MlscaffoldError:
        return None
    try:
        git.run("check-ignore", "--quiet", "--", str(root), cwd=folder)
    except MlscaffoldError:
        return top
    return None


def uv_workspace(root: Path) -> Path | None:
    """The folder whose uv workspace has root as a member; None where there is none.

    As uv looks for it: the nearest pyproject.toml above with [tool.uv.workspace] counts.
    """
    for folder in root.parents:
        path = folder / "pyproject.toml"
        if path.is_file() and (settings := _workspace_settings(path)) is not None:
            inside = root.relative_to(folder).as_posix()
            is_member = _covers(settings.get("members"), inside)
            return folder if is_member and not _covers(settings.get("exclude"), inside) else None
    return None


def _nearest_folder(root: Path) -> Path:
    return next(folder for folder in (root, *root.parents) if folder.is_dir())


def _workspace_settings(pyproject: Path) -> dict[str, object] | None:
    """What [tool.uv.workspace] says; None where it is not there, or the file is not TOML."""
    try:
        found: object = files.read_toml(pyproject)
    except MlscaffoldError:
        return None
    for name in ("tool", "uv", "workspace"):
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else None


def _covers(patterns: object, inside: str) -> bool:
    """Whether one of the patterns stands for the folder itself; * is within one name, ** is not."""
    if not isinstance(patterns, list):
        return False
    spec = GitIgnoreSpec.from_lines(f"/{str(pattern).strip('/')}" for pattern in patterns)
    parent = inside.rpartition("/")[0]
    return spec.match_file(inside) and not (parent and spec.match_file(parent))
