"""What the project needs to go round the loop, and what to type when it is missing."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from . import protection, variables
from .data import contract as contracts
from .data import sources, split
from .persistence import TRUSTED
from .serving import predict
from .settings import COMMAND, ProjectError, Settings
from .training import champion, versions

CI_FILES = (".github/workflows/*.yml", ".gitlab-ci.yml", ".gitlab/*.yml", "azure-pipelines.yml", ".azure/*.yml")


@dataclass(frozen=True)
class Finding:
    """One thing that is as it should be, or not, and then what to type; `ok` is None where that is unknown."""

    ok: bool | None
    what: str
    fix: str


def findings(settings: Settings) -> list[Finding]:
    """Everything that was looked at, the groundwork first."""
    root, uri = settings.root, settings.params.data.uri
    frozen = (root / split.HOLDOUT).is_file()
    thaw = "restore" if (root / f"{split.HOLDOUT}.dvc").exists() else "retrain"
    uv = os.environ.get("UV") or shutil.which("uv")
    synced = bool(uv) and _runs(root, str(uv), "sync", "--check")
    how = "activate the environment in which mlscaffold is, which has it, or pip install uv"
    return [
        Finding(bool(uv), "uv is on the PATH", how),
        Finding(sys.version_info >= (3, 11), "Python 3.11 or newer", "uv venv --python 3.11"),
        Finding((root / "uv.lock").is_file(), "uv.lock is there", "uv lock"),
        Finding(synced, "the environment is as uv.lock", "uv sync"),
        Finding(_runs(root, "git", "rev-parse", "--git-dir"), "a git repository", "git init"),
        Finding((root / ".dvc/config").is_file(), "DVC's settings are there", "uv run dvc init"),
        _has_driver(root),
        _holds("the data's address opens", "set data.uri in params.yaml", lambda: next(sources.chunks(uri, root=root))),
        _holds("data/contract.yaml is there", f"{COMMAND} data infer", lambda: contracts.load(root)),
        Finding(frozen, "the holdout is frozen", f"{COMMAND} {thaw}"),
        Finding((root / TRUSTED).is_file(), f"{TRUSTED} is there", "git restore it"),
        *(
            _holds(f"the champion of {name} loads", f"{COMMAND} retrain", partial(predict.load, root, name))
            for name, folder in champion.FOLDERS.items()
            if name == "dev" or (root / folder / champion.POINTER.name).exists()
        ),
        *_reach_ci(root, uri),
        *map(_is_safe, protection.look(root)),
    ]


def _has_driver(root: Path) -> Finding:
    message = versions.missing_driver(root)
    return Finding(not message, "DVC's remote, if any, has its driver", message)


def _reach_ci(root: Path, uri: str) -> list[Finding]:
    """Whether CI hands on each variable that the data's address names; nothing is said of a project without CI."""
    text = "".join(path.read_text(encoding="utf-8") for pattern in CI_FILES for path in root.glob(pattern))
    names = [name for name in dict.fromkeys(sources.named(uri)) if not variables.is_of_the_runner(name)]
    missing = [name for name in names if not re.search(rf"\b{name}\b", text)]
    command = f"mlscaffold update --to current --data {shlex.quote(f'data_uri={uri}')}"
    fix = f"params.yaml names {', '.join(missing)}, CI does not: {command}"
    return [Finding(not missing, "CI knows the variables of the data's address", fix)] if text and names else []


def _is_safe(found: protection.Protection) -> Finding:
    if found.is_protected is None:
        return Finding(None, f"{found.what}: unknown ({found.reason})", found.fix)
    if found.is_protected:
        return Finding(True, f"{found.what}: {found.reason}" if found.reason else found.what, "")
    return Finding(False, found.what, f"{found.reason}. {found.fix}")


def _holds(what: str, fix: str, look: Callable[[], object]) -> Finding:
    try:
        look()
    except ProjectError as error:
        return Finding(False, what, f"{error.message} Else: {fix}")
    return Finding(True, what, "")


def _runs(root: Path, *command: str) -> bool:
    try:
        return subprocess.run(command, cwd=root, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False
