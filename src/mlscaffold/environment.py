"""A new project's environment and its first round, made by the project's own programs."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlscaffold import files, git, process
from mlscaffold.errors import MlscaffoldError

# All that uv reads to lock a project whose metadata are not dynamic. Where they are alone, there is
# no .python-version and no .venv, whose program uv would start to ask for its version.
_FILES_OF_A_LOCK = ("pyproject.toml", "uv.lock", "uv.toml")
_NOTHING = re.compile(r"(?!)")
# uv sends them to the index of that name, wherever the project says that it is.
_CREDENTIALS_OF_UV = re.compile(r"UV_INDEX_.+_(USERNAME|PASSWORD)")


class StepError(MlscaffoldError):
    """A step after the project stood failed; `again` is what a person types to repeat it."""

    def __init__(self, message: str, again: str) -> None:
        super().__init__(message)
        self.again = again


@dataclass(frozen=True)
class Environment:
    """What uv made: the version of Python and the number of packages."""

    python: str
    packages: int


@dataclass(frozen=True)
class Round:
    """The first round as the project recorded it, in reports/<id>/round.json."""

    id: str
    verdict: str
    reason: str
    metric: str
    scores: Mapping[str, Mapping[str, float]]
    baselines: Mapping[str, float]
    smallest_gain: float | None
    report: str


def synchronise(root: Path) -> Environment:
    """Makes the lock and the environment of the project. Raises StepError with uv's reason."""
    _run(root, _uv(), "sync", again="uv sync")
    python = _run(root, _uv(), "run", "--no-sync", "python", "-V", again="uv sync")
    installed = _run(root, _uv(), "pip", "list", "--format", "json", again="uv sync")
    return Environment(python.strip().removeprefix("Python "), len(json.loads(installed)))


def lock(root: Path, *, may_build: bool = True) -> None:
    """Brings the project's uv.lock along. Raises StepError with uv's reason.

    Without may_build nothing of the project runs, and the user's credentials go to no index that
    the project names.
    """
    if may_build:
        _run(root, _uv(), "lock", again="uv lock")
        return
    if reason := _why_uv_builds(root / "pyproject.toml"):
        raise StepError(
            f"uv would run code of the project, because {reason}, and its template is not trusted",
            "uv lock",
        )
    with tempfile.TemporaryDirectory(prefix="mlscaffold-") as name:
        folder = Path(name)
        cache = _run(folder, _uv(), "cache", "dir", again="uv cache dir").strip()
        for file in _FILES_OF_A_LOCK:
            if (root / file).is_file():
                (folder / file).write_bytes((root / file).read_bytes())
        # The project's own settings could name a Python to fetch, and another folder to write to.
        options = ("--no-build", "--no-python-downloads", "--cache-dir", cache)
        _run(folder, _uv(), "lock", *options, again="uv lock", without=_CREDENTIALS_OF_UV)
        files.write_text(root / "uv.lock", (folder / "uv.lock").read_text(encoding="utf-8"))


def _why_uv_builds(pyproject: Path) -> str | None:
    """Return why uv runs a build backend to lock a project, which --no-build does not stop."""
    try:
        data = files.read_toml(pyproject)
    except MlscaffoldError as error:
        raise StepError(error.message, "uv lock") from None
    project, tool = data.get("project"), data.get("tool")
    if not isinstance(project, dict):
        return "it has no table [project]"
    if project.get("dynamic"):
        return "its metadata are dynamic"
    settings = tool.get("uv") if isinstance(tool, dict) else None
    is_workspace = isinstance(settings, dict) and "workspace" in settings
    return "it is a workspace" if is_workspace else None


def install_hooks(root: Path) -> bool:
    """Installs pre-commit's hooks; False where the project has no use for them."""
    if not (root / ".git").exists() or not (root / ".pre-commit-config.yaml").exists():
        return False
    again = "uv run pre-commit install"
    _run(root, _uv(), "run", "--no-sync", "pre-commit", "install", again=again)
    return True


def first_round(root: Path, command: str) -> Round:
    """Infers the contract, trains and judges. Raises StepError when there is no verdict.

    Lock and contract are committed in between: what no commit has may not become champion.
    """
    project = (_uv(), "run", "--no-sync", command)
    _run(root, *project, "data", "infer", again=f"uv run {command} data infer")
    if (root / ".git").exists():
        git.commit_all(root, "Lock the environment and infer the data's contract")
    _run(root, *project, "retrain", again=f"uv run {command} retrain", verdicts=(10, 20))
    records = sorted((root / "reports").glob("*/round.json"), key=lambda path: path.stat().st_mtime)
    if not records:
        raise StepError("The first round left no record.", f"uv run {command} retrain")
    return _read(records[-1], root)


def _read(record: Path, root: Path) -> Round:
    data: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
    return Round(
        id=data["id"],
        verdict=data["verdict"],
        reason=data.get("reason", ""),
        metric=data["metric"],
        scores=data["scores"],
        baselines=data["baselines"],
        smallest_gain=data.get("smallest_gain"),
        report=(record.parent / "report.html").relative_to(root).as_posix(),
    )


def path_to_uv() -> str:
    """Return what a person types to have uv on the PATH; "" where it is there."""
    if shutil.which("uv"):
        return ""
    folder = str(Path(_uv()).parent)
    if os.name == "nt":
        return f'$env:PATH = "{folder};$env:PATH"'
    return f'export PATH={shlex.quote(folder)}:"$PATH"'


def _uv() -> str:
    """The binary of the uv package, so that it is always there."""
    from uv import find_uv_bin

    return os.fsdecode(find_uv_bin())


def _run(
    root: Path,
    *arguments: str,
    again: str,
    verdicts: tuple[int, ...] = (),
    without: re.Pattern[str] = _NOTHING,
) -> str:
    """What a program of the project's environment writes; again is what a person types for it."""
    variables = {k: v for k, v in git.environment().items() if not without.fullmatch(k)}
    variables.pop("VIRTUAL_ENV", None)
    done = process.run(arguments, cwd=root, env=variables)
    if done.returncode not in (0, *verdicts):
        raise StepError(f"{again} failed: {done.reason}", again)
    return done.stdout
