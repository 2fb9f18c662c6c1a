"""What the project needs to go round the loop, and what to type when it is missing."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from .data import contract as contracts
from .data import sources, split
from .persistence import TRUSTED
from .serving import predict
from .settings import COMMAND, ProjectError, Settings
from .training import champion, versions


@dataclass(frozen=True)
class Finding:
    """One thing that is as it should be, or not, and then what to type."""

    ok: bool
    what: str
    fix: str


def findings(settings: Settings) -> list[Finding]:
    """Everything that was looked at, the groundwork first."""
    root, uri = settings.root, settings.params.data.uri
    frozen = (root / split.HOLDOUT).is_file()
    thaw = "restore" if (root / f"{split.HOLDOUT}.dvc").exists() else "retrain"
    synced = _runs(root, os.environ.get("UV", "uv"), "sync", "--check")
    return [
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
    ]


def _has_driver(root: Path) -> Finding:
    message = versions.missing_driver(root)
    return Finding(not message, "DVC's remote, if any, has its driver", message)


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
