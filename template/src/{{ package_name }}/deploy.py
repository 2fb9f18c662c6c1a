"""Brings an environment's champion to its cluster: an image that holds it, and the overlay that runs this image."""

import json
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from .settings import ProjectError, Settings
from .training import champion

TOOLS = ("docker", "podman", "buildah")
OVERLAYS = Path("deployment/k8s/overlays")


def changed(root: Path) -> list[str]:
    """The environments whose champion differs from that of the commit before HEAD, of a merge its first parent."""
    files = {name: f"{folder.as_posix()}/champion.json" for name, folder in champion.FOLDERS.items()}
    done = _git(root, "diff", "--name-only", "HEAD^", "HEAD", "--", *files.values()).split()
    return [name for name, file in files.items() if file in done and champion.load(root, name)]


def deploy(settings: Settings, environment: str, say: Callable[[str], None], *, dry_run: bool = False) -> str:
    """Builds the image, pushes it if IMAGE names a registry, applies the overlay; returns the image's name.

    ProjectError when there is no champion, no round made it as it stands here, or a command fails.
    """
    root, pointer = settings.root, champion.required(settings.root, environment)
    champion.verified(root, pointer, environment)
    name, tool = os.environ.get("IMAGE") or root.name, _tool()
    tag = f"{pointer['id']}-{_git(root, 'describe', '--always', '--dirty', '--exclude=*').strip()}"
    image, folder = f"{name}:{tag}", champion.FOLDERS[environment].as_posix()
    dockerfile = ("-f", "deployment/Dockerfile", "--build-arg", f"CHAMPION={folder}")
    _run(root, say, dry_run, tool, "build", *dockerfile, "-t", image, ".")
    if "/" in name:
        _run(root, say, dry_run, tool, "push", image)
    with tempfile.TemporaryDirectory() as scratch:
        _write_overlay(Path(scratch), root / OVERLAYS / environment, name, tag)
        _run(root, say, dry_run, "kubectl", "apply", "-k", scratch)
    return image


def _write_overlay(folder: Path, overlay: Path, name: str, tag: str) -> None:
    """An overlay's overlay that names the image, so that no file in git has to."""
    base = os.path.relpath(overlay.resolve(), folder.resolve())
    content = {"resources": [Path(base).as_posix()], "images": [{"name": "app", "newName": name, "newTag": tag}]}
    (folder / "kustomization.yaml").write_text(json.dumps(content), encoding="utf-8")


def _tool() -> str:
    if tool := os.environ.get("CONTAINER_TOOL") or next(filter(shutil.which, TOOLS), None):
        return tool
    raise ProjectError(f"No {', '.join(TOOLS)} here: install one, or name yours in CONTAINER_TOOL.")


def _run(root: Path, say: Callable[[str], None], dry_run: bool, *command: str) -> None:
    say(shlex.join(command))
    if dry_run:
        return
    # Without Docker's own format the image would lose its health check.
    environment = {**os.environ, "BUILDAH_FORMAT": "docker"}
    try:
        done = subprocess.run(command, cwd=root, env=environment, check=False)
    except FileNotFoundError:
        raise ProjectError(f"{command[0]} is not installed.") from None
    if done.returncode:
        raise ProjectError(f"{shlex.join(command[:2])} failed; what it said stands above.")


def _git(root: Path, *command: str) -> str:
    done = subprocess.run(["git", *command], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1]
        raise ProjectError(f"git {command[0]}: {said}. Deploy from a clone, CI from one with two commits.")
    return done.stdout
