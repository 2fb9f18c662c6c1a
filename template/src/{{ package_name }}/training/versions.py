"""DVC and git, as far as the loop needs them: what is versioned, and which stages have changed."""

import importlib.util
import logging
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .. import credentials, variables
from ..data import drivers
from ..settings import ProjectError

TRACKED = (
    *("data/raw", "data/holdout.parquet", "deployment/model.skops"),
    *("deployment/stage/model.skops", "deployment/prod/model.skops"),
)
HOW = (
    "Who has the files types: uv run dvc remote add -d team ADDRESS, then uv run dvc push, and commits .dvc/config;"
    " for s3:// also uv add --group train dvc-s3, and its like for others"
)


@contextmanager
def repository(root: Path) -> Iterator[Any]:
    """DVC's view of the project, quiet and without telling anyone of its use."""
    os.environ.setdefault("DVC_NO_ANALYTICS", "1")
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    for name in ("dvc", "dvc_data", "dvc_objects"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        with Repo(str(root)) as repo:
            for remote in repo.config["remote"].values():
                credentials.remember_settings(remote)
            yield repo
    except DvcException as error:
        raise ProjectError(f"DVC: {' '.join(str(error).split())}") from None


def missing_driver(root: Path) -> str:
    """Say what to type when DVC's remote needs a package that is not there; "" when it needs none."""
    if not (root / ".dvc").is_dir():
        return ""
    from dvc.config import Config, ConfigError
    from dvc_objects.fs import known_implementations

    try:
        config = Config(str(root / ".dvc"), validate=False)
    except ConfigError:
        return ""  # every command of DVC says so itself
    name = config["core"].get("remote")
    scheme = urlsplit(str(config["remote"].get(name, {}).get("url", ""))).scheme
    module = known_implementations.get(scheme, {}).get("class", "dvc").partition(".")[0]
    if importlib.util.find_spec(module):
        return ""
    package = module.replace("_", "-")
    return f"DVC's remote {name} ({scheme}://) needs {package}: type uv add --group train {package}, and commit it."


@contextmanager
def remote_of(repo: Any) -> Iterator[str]:
    """Yield the name of DVC's remote, "" where none is named; ProjectError when it refuses what is asked of it."""
    from dvc.exceptions import DownloadError, DvcException, UploadError

    if message := missing_driver(Path(repo.root_dir)):
        raise ProjectError(message)
    name = str(repo.config["core"].get("remote") or "")
    try:
        yield name
    except Exception as error:
        is_about_files = isinstance(error, DvcException) and not isinstance(error, DownloadError | UploadError)
        if not name or is_about_files or not drivers.is_outside(error):
            raise
        reason = drivers.reason(error)
        hint = "Does the environment have its credentials? README, Data, names them."
        raise ProjectError(f"DVC's remote {name} does not answer: {reason}. {hint}") from None


def add(root: Path, *paths: Path) -> None:
    """Puts files or folders under DVC, or takes their new content into its cache."""
    with repository(root) as repo:
        repo.add([str(root / path) for path in paths])


def fetch(root: Path, md5: str) -> bytes:
    """The bytes that DVC knows by a digest, from its cache or its remote."""
    with repository(root) as repo:
        if (content := _content(repo.cache.local, md5)) is not None:
            return content
        with remote_of(repo) as remote:
            if remote and (content := _content(repo.cloud.get_remote_odb(), md5)) is not None:
                return content
    raise ProjectError(f"DVC's cache and remote have no file {md5}. {HOW}")


def _content(store: Any, md5: str) -> bytes | None:
    """The bytes of a file in DVC's cache or remote; None when it is not there."""
    if not store.exists(md5):
        return None
    with store.fs.open(store.oid_to_path(md5), "rb") as file:
        return bytes(file.read())


@dataclass(frozen=True)
class Restored:
    """What there is to say of it, and whether all files are there that this commit names."""

    text: str
    is_whole: bool


def restore(root: Path) -> Restored:
    """Bring the files that this commit names from DVC's remote, or its cache.

    Without a remote nothing can be expected of it, and CI is green without a model. Once a remote is named, a file that it
    does not give is a ProjectError, but for CI of a request that has no credentials: nobody could mend it there.
    """
    known = [name for name in TRACKED if (root / f"{name}.dvc").exists()]
    if not known:
        return Restored("This commit has no data and no champion yet: retrain makes them.", True)
    try:
        remote = _bring(root, known)
    except ProjectError as error:
        if not variables.is_request_without_credentials():
            raise
        reason = f"a request from a fork has no credentials. {error.message}"
        return Restored(_without([name for name in known if not _is_there(root / name)] or known, reason), False)
    missing = [name for name in known if not _is_there(root / name)]
    if not missing:
        return Restored(f"{', '.join(known)}: as this commit has them.", True)
    if remote:
        raise ProjectError(f"DVC's remote {remote} does not have {', '.join(missing)}. {HOW}")
    return Restored(_without(missing, f"no remote is named. {HOW}"), False)


def _bring(root: Path, names: list[str]) -> str:
    """Bring files from DVC's remote, or else what its cache has of them; return the remote's name, "" without one."""
    with repository(root) as repo, remote_of(repo) as remote:
        for name in names:
            targets, force = [str(root / name)], name != "data/raw"  # new batches may be there
            if remote:
                repo.pull(targets, force=force)
            else:
                repo.checkout(targets, force=force, allow_missing=True)
    return remote


def _without(names: list[str], reason: str) -> str:
    return f"{', '.join(names)} cannot be restored, and tests of the model are skipped: {reason}"


def _is_there(path: Path) -> bool:
    return any(path.iterdir()) if path.is_dir() else path.exists()


def push(root: Path) -> bool:
    """Brings data and models to DVC's remote; False when none is named."""
    with repository(root) as repo, remote_of(repo) as remote:
        if not remote:
            return False
        repo.push([str(root / f"{name}.dvc") for name in TRACKED if (root / f"{name}.dvc").exists()])
    return True


def changed_stages(root: Path) -> list[str]:
    """The stages of dvc.yaml whose inputs or outputs are not those of dvc.lock, in their order."""
    with repository(root) as repo, repo.lock:
        stages = [stage for stage in repo.index.stages if getattr(stage, "name", None)]
        return [stage.name for stage in stages if stage.changed()]


def commit_stages(root: Path) -> None:
    """Notes in dvc.lock that every stage ran on what is there now."""
    with repository(root) as repo:
        repo.commit(force=True)


def commit(root: Path) -> str | None:
    """The git commit that the round ran on, None outside a repository and before its first commit."""
    return (_git(root, "rev-parse", "--verify", "--quiet", "HEAD^{commit}") or "").strip() or None


def is_repository(root: Path) -> bool:
    """Whether the project is in a git repository."""
    return _git(root, "rev-parse", "--git-dir") is not None


def changed(root: Path, *paths: str) -> list[str]:
    """The files under the paths, all without one, that git tracks and that are not as in HEAD."""
    if commit(root):
        return _names(_git(root, "diff", "--name-only", "-z", "--relative", "HEAD", "--", *paths))
    return _names(_git(root, "ls-files", "-z", "--", *paths))


def untracked(root: Path, *paths: str) -> list[str]:
    """The files under the paths that git does not track, those aside that it ignores."""
    return _names(_git(root, "ls-files", "--others", "--exclude-standard", "-z", "--", *paths))


def content_in_head(root: Path, name: str) -> str | None:
    """The text of a file as HEAD has it, None when it does not."""
    return _git(root, "show", f"HEAD:./{name}")


def _names(output: str | None) -> list[str]:
    return [name for name in (output or "").split("\0") if name]


def _git(root: Path, *command: str) -> str | None:
    """What git prints, None when it fails or is not installed."""
    try:
        done = subprocess.run(["git", *command], cwd=root, capture_output=True, encoding="utf-8", check=False)
    except FileNotFoundError:
        return None
    return done.stdout if done.returncode == 0 else None
