"""The build hook: puts the template and its history into wheel and sdist, as a git bundle."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

BUNDLE = "template.bundle"
SHALLOW = "template.shallow"
PACKAGE = Path("src/mlscaffold")


class CustomBuildHook(BuildHookInterface):
    """Bundles HEAD with its history; an editable install reads the checkout itself."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        root = Path(self.root)
        ready = [
            path for path in (root / PACKAGE / BUNDLE, root / PACKAGE / SHALLOW) if path.exists()
        ]
        is_sdist = (root / "PKG-INFO").exists()
        for path in ready if is_sdist else self._make(root):
            target = (
                PACKAGE / path.name
                if self.target_name == "sdist"
                else Path("mlscaffold") / path.name
            )
            build_data["force_include"][str(path)] = target.as_posix()

    def _make(self, root: Path) -> list[Path]:
        """The bundle, and for a shallow clone the list of the commits that it ends at."""
        if not (root / ".git").exists():
            raise RuntimeError(
                f"{root} is not the root of a git repository: build from a clone or from the sdist."
            )
        changed = git(root, "status", "--porcelain", "--", "template", "copier.yml")
        head = git(root, "rev-parse", "--short", "HEAD")
        if changed:
            self.app.display_warning(
                f"The built-in template is commit {head}. Not in it:\n{changed}"
            )
        self._folder = tempfile.TemporaryDirectory()
        bundle = Path(self._folder.name, BUNDLE)
        git(root, "bundle", "create", "--quiet", str(bundle), "HEAD", "--tags")
        shallow = Path(git(root, "rev-parse", "--path-format=absolute", "--git-path", "shallow"))
        if not shallow.exists():
            return [bundle]
        copy = Path(self._folder.name, SHALLOW)
        copy.write_bytes(shallow.read_bytes())
        return [bundle, copy]

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        if hasattr(self, "_folder"):
            self._folder.cleanup()


def git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise RuntimeError(
            "git is not installed: the wheel cannot get the template's history."
        ) from None
    if done.returncode:
        raise RuntimeError(f"The template's history cannot be bundled: {done.stderr.strip()}")
    return done.stdout.strip()
