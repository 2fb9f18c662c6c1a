"""A project's image, built and run without a daemon: buildah, on a base made by debootstrap.

Needs root and Debian's buildah and debootstrap. The base takes the place of the public images that
the Dockerfile names, so that nothing is fetched from a registry of images.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

UV = Path(sys.executable).with_name("uv")
CERTIFICATES = Path("etc/ssl/certs/ca-certificates.crt")
# Layers are kept while several images are built, so that they are built upon the same ones.
BUILDAH = {"STORAGE_DRIVER": "vfs", "BUILDAH_ISOLATION": "chroot", "BUILDAH_LAYERS": "true"}
ENVIRONMENT = {**os.environ, **BUILDAH}
# The image's root as a read-only mount, a volume at /tmp, then its own user, variables and folder.
RUN = """
mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && mount -t proc proc "$1/proc" || exit 1
mount --bind "$2" "$1/tmp" && chown "$3" "$2" || exit 1
root=$1 user=$3; shift 3
exec chroot --userspec="$user:$user" "$root" /usr/bin/env -i "$@"
"""


def missing() -> str:
    """What this machine lacks to build an image, "" if nothing."""
    if platform.system() != "Linux" or os.geteuid() != 0:
        return "root on Linux"
    tools = ("buildah", "debootstrap", "unshare", "chroot")
    return ", ".join(tool for tool in tools if not shutil.which(tool))


def make_bases(project: Path) -> None:
    """Makes what the project's Dockerfile builds upon, unless it is there."""
    dockerfile = project / "deployment/Dockerfile"
    named = dict(re.findall(r"^ARG (\w+)=(\S+)", dockerfile.read_text("utf-8"), re.MULTILINE))
    if not _exists(named["BASE"]):
        _make_base(named["BASE"])
    if not _exists(named["UV"]):
        _commit(named["UV"], [UV, "/uv"])


def build(project: Path, name: str) -> None:
    """Builds as the Dockerfile's head says."""
    dockerfile = project / "deployment/Dockerfile"
    _buildah("build", "--quiet", "-f", dockerfile, "-t", name, project)


def configuration(name: str) -> dict[str, Any]:
    """An image's configuration."""
    config: dict[str, Any] = json.loads(_buildah("inspect", "--type", "image", name))
    return dict(config["Docker"]["config"])


@contextmanager
def mounted(name: str) -> Iterator[Path]:
    """An image's root."""
    container = _buildah("from", "--pull-never", name).strip()
    try:
        yield Path(_buildah("mount", container).strip())
    finally:
        _buildah("rm", container)


@contextmanager
def layers() -> Iterator[None]:
    """Removes the images and layers that were built meanwhile."""
    before = _images()
    try:
        yield
    finally:
        # One that is gone takes those below it along; newer ones stand before.
        while made := [name for name in _images() if name not in before]:
            _buildah("rmi", made[0])


def programs(root: Path) -> set[str]:
    """The names of what may be run in an image."""
    folders = [root / "app/.venv/bin", *root.glob("usr/*bin"), *root.glob("usr/local/*bin")]
    return {path.name for folder in folders for path in folder.iterdir()}


def run(root: Path, config: dict[str, Any], volume: Path, *command: str, expect: int = 0) -> str:
    """Runs a command in an image, as its own user on a read-only root with a volume at /tmp."""
    return _run(*_isolated(root, config, volume, command), expect=expect)


@contextmanager
def served(name: str, config: dict[str, Any]) -> Iterator[str]:
    """Runs the image, as its own user on a read-only root; the address that it answers on."""
    with mounted(name) as root, tempfile.TemporaryDirectory() as volume:
        command = _isolated(root, config, Path(volume), config["Cmd"])
        with tempfile.TemporaryFile("w+") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd="/")
            try:
                yield _when_ready("http://127.0.0.1:8000", process, log)
            finally:
                process.terminate()
                process.wait(20)


def _isolated(
    root: Path, config: dict[str, Any], volume: Path, command: Sequence[str]
) -> list[str]:
    start = ["unshare", "--mount", "sh", "-c", RUN, "sh", str(root), str(volume), config["User"]]
    return [*start, f"--chdir={config['WorkingDir']}", *config["Env"], *command]


def _when_ready(address: str, process: subprocess.Popen[bytes], log: Any) -> str:
    for _ in range(120):
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=2):
                return address
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(0.5)
    log.seek(0)
    raise AssertionError(f"The image does not answer:\n{log.read()}")


def _make_base(name: str) -> None:
    """Debian with its Python, under the name of the public image."""
    release = platform.freedesktop_os_release()["VERSION_CODENAME"]
    with tempfile.TemporaryDirectory() as folder:
        packages = "--include=python3,python3-venv,ca-certificates"
        _run("debootstrap", "--variant=minbase", packages, release, folder)
        Path(folder, "usr/bin/python").symlink_to("python3")
        # What this machine trusts, the image has to trust too: there may be a proxy between.
        shutil.copyfile("/" / CERTIFICATES, folder / CERTIFICATES)
        _commit(name, [folder, "/"], "--env", f"SSL_CERT_FILE=/{CERTIFICATES}")


def _commit(name: str, copied: list[Path | str], *config: str) -> None:
    container = _buildah("from", "scratch").strip()
    _buildah("copy", "--quiet", container, *copied)
    if config:
        _buildah("config", *config, container)
    _buildah("commit", "--quiet", "--rm", container, name)


def _images() -> list[str]:
    return _buildah("images", "--all", "--quiet", "--no-trunc").split()


def _exists(name: str) -> bool:
    return bool(_buildah("images", "--quiet", "--filter", f"reference={name}").strip())


def _buildah(*arguments: Path | str) -> str:
    return _run("buildah", *arguments)


def _run(*command: Path | str, expect: int = 0) -> str:
    done = subprocess.run(
        [str(part) for part in command], env=ENVIRONMENT, capture_output=True, text=True
    )
    said = done.stdout + done.stderr
    assert done.returncode == expect, f"{' '.join(map(str, command))}\n{said}"
    return said if expect else done.stdout
