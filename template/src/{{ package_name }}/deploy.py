"""Brings an environment's champion to its cluster: an image that holds it, and the overlay that runs this image.

What is applied says which commit it came from, so that a later run can ask the cluster what is live.
"""

import json
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from . import protection
from .settings import ProjectError, Settings
from .training import champion, forge

TOOLS = ("docker", "podman", "buildah")
OVERLAYS = Path("deployment/k8s/overlays")
COMMIT = "commit"  # the annotation of pods that names the commit they came from
LAST_RUN = "last"
ASK_SECONDS = 60


def changed(root: Path) -> list[str]:
    """The environments whose champion is not the one that is live; also those whose cluster cannot tell."""
    return [name for name in _environments(root) if not is_live(root, name)]


def changed_since(root: Path, since: str) -> list[str]:
    """The environments whose champion the commits since a commit have changed; all of them where that commit is not here.

    `last` stands for the commit of the last run of this pipeline that succeeded, where the forge can tell.
    """
    commit = forge.last_run() if since == LAST_RUN else since
    return [name for name in _environments(root) if not _is_same_champion(root, name, commit)]


def is_live(root: Path, environment: str) -> bool:
    """Whether the cluster runs the champion of an environment, or that of a later commit."""
    commit = live_commit(root, environment)
    return _is_same_champion(root, environment, commit) or _is_older_than(root, commit)


def live_commit(root: Path, environment: str) -> str | None:
    """The commit that all that an environment's cluster runs came from; None where it cannot be asked or has no answer."""
    overlay = (OVERLAYS / environment).as_posix()
    command = ["kubectl", "get", "-k", overlay, "--ignore-not-found", "-o", "json"]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=ASK_SECONDS)
        found = json.loads(done.stdout) if done.returncode == 0 and done.stdout.strip() else {}
    except (OSError, subprocess.TimeoutExpired, ValueError):
        return None
    commits = {pods.get("metadata", {}).get("annotations", {}).get(COMMIT) for pods in _pod_templates(found)}
    return commits.pop() if len(commits) == 1 else None


def _environments(root: Path) -> list[str]:
    """Those that have a champion."""
    return [name for name in champion.FOLDERS if champion.load(root, name)]


def _is_same_champion(root: Path, environment: str, commit: str | None) -> bool:
    """Whether HEAD has the pointer that another commit has; False where that commit is not here."""
    file = f"{champion.FOLDERS[environment].as_posix()}/{champion.POINTER.name}"
    there = _id_of(root, commit)
    return there is not None and _answer(root, "diff", "--quiet", there, "HEAD", "--", file) is not None


def _is_older_than(root: Path, commit: str | None) -> bool:
    """Whether HEAD is an ancestor of a commit: what waited for its approval may not replace what came after it."""
    there = _id_of(root, commit)
    return there is not None and _answer(root, "merge-base", "--is-ancestor", "HEAD", there) is not None


def _id_of(root: Path, commit: str | None) -> str | None:
    """A commit's id, None when it is not here; what a cluster says may be anything, an option of git's for one."""
    return _answer(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{commit}^0")


def _answer(root: Path, *command: str) -> str | None:
    """What git prints, None when it says no."""
    done = subprocess.run(["git", *command], cwd=root, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def _pod_templates(found: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The templates of the pods in what kubectl lists."""
    for item in found.get("items", [found]):
        spec = item.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if "template" in spec:
            yield spec["template"]


def deploy(settings: Settings, environment: str, say: Callable[[str], None], *, dry_run: bool = False) -> str:
    """Builds the image, pushes it if IMAGE names a registry, applies the overlay; returns the image's name.

    ProjectError when there is no champion, no round made it as it stands here, or a command fails.
    """
    root, pointer = settings.root, champion.required(settings.root, environment)
    champion.verified(root, pointer, environment)
    if environment == "prod" and (line := protection.advice(root, environment)):
        say(line)
    name, tool = os.environ.get("IMAGE") or root.name, _tool()
    described = _git(root, "describe", "--always", "--dirty", "--exclude=*").strip()
    tag = f"{pointer['id']}-{described}"
    image, folder = f"{name}:{tag}", champion.FOLDERS[environment].as_posix()
    dockerfile = ("-f", "deployment/Dockerfile", "--build-arg", f"CHAMPION={folder}")
    _run(root, say, dry_run, tool, "build", *dockerfile, "-t", image, ".")
    if "/" in name:
        _run(root, say, dry_run, tool, "push", image)
    # What no commit has is nobody's to compare with: the next run then deploys again.
    commit = "" if described.endswith("-dirty") else _git(root, "rev-parse", "HEAD").strip()
    with tempfile.TemporaryDirectory() as scratch:
        _write_overlay(Path(scratch), root / OVERLAYS / environment, name, tag, commit)
        _run(root, say, dry_run, "kubectl", "apply", "-k", scratch)
    return image


def _write_overlay(folder: Path, overlay: Path, name: str, tag: str, commit: str) -> None:
    """An overlay's overlay that names image and commit, so that no file in git has to."""
    base = os.path.relpath(overlay.resolve(), folder.resolve())
    content = {
        "resources": [Path(base).as_posix()],
        "images": [{"name": "app", "newName": name, "newTag": tag}],
        "commonAnnotations": {COMMIT: commit},
    }
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
        raise ProjectError(f"git {command[0]}: {said}. Deploy from a clone.")
    return done.stdout
