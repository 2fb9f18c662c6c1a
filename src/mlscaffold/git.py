"""git: every call has an explicit folder, plain messages and none of a hook's variables."""

from __future__ import annotations

import os
import re
import shlex
import tempfile
from collections.abc import Mapping
from pathlib import Path

from mlscaffold import process
from mlscaffold.errors import MlscaffoldError

OLDEST = (2, 38)
# `git rev-parse --local-env-vars` without GIT_CONFIG_*: what points git at another repository.
_REPOSITORY_VARIABLES = {
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_NAMESPACE",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_QUARANTINE_PATH",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
}
# For machines on which nobody has told git who commits.
NOBODY = ("-c", "user.name=mlscaffold", "-c", "user.email=mlscaffold@localhost")


# What a merge must not depend on: a user's settings that change results, and programs of theirs.
_PINNED = {
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "core.quotePath": "false",
    "core.safecrlf": "false",
    "merge.directoryRenames": "true",
    "merge.renameLimit": "1000",
    "merge.renames": "true",
}
PINS = tuple(part for key, value in _PINNED.items() for part in ("-c", f"{key}={value}"))


class GitError(MlscaffoldError):
    """A git command failed; the message is what git gave as its reason."""


def environment() -> dict[str, str]:
    """This process's variables, without a hook's, and such that git never waits for an answer."""
    kept = {key: value for key, value in os.environ.items() if key not in _REPOSITORY_VARIABLES}
    return {**kept, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}


def run(*arguments: str, cwd: Path) -> str:
    """What git writes, without the last line end. Raises GitError when it fails."""
    try:
        done = process.run(("git", *arguments), cwd=cwd, env=environment())
    except FileNotFoundError:
        raise MlscaffoldError("git is not installed. Install git 2.38 or newer.") from None
    if done.returncode:
        raise GitError(f"git {arguments[0]}: {_with_advice(done.reason)}")
    return done.stdout.rstrip("\n")


def exchange(
    *arguments: str,
    cwd: Path,
    given: bytes = b"",
    variables: Mapping[str, str] | None = None,
    codes: tuple[int, ...] = (0,),
) -> process.Exchanged:
    """Runs git with pinned settings on bytes. Raises GitError for another exit code."""
    env = {**environment(), **(variables or {})}
    done = process.exchange(("git", *PINS, *arguments), given, cwd=cwd, env=env)
    if done.returncode not in codes:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        reason = next((line for line in lines if line.startswith(("fatal", "error"))), lines[-1])
        name = next(word for word in arguments if not word.startswith("-"))
        raise GitError(f"git {name}: {_with_advice(reason)}")
    return done


def _with_advice(reason: str) -> str:
    """Return git's reason, with what it advises on lines of their own that are not shown."""
    reason = reason.removeprefix("fatal: ")
    if owner := re.search(r"dubious ownership in repository at '(.+)'", reason):
        folder = shlex.quote(owner[1])
        return (
            f"{reason}: it belongs to another user. If you trust what is in it, type: "
            f"git config --global --add safe.directory {folder} and then this again"
        )
    return reason


def is_coloured(cwd: Path) -> bool:
    """Whether the user wants git's differences in colour on a terminal."""
    if os.environ.get("NO_COLOR"):
        return False
    return run("config", "--get-colorbool", "color.diff", "true", cwd=cwd) == "true"


def page(text: bytes, *, cwd: Path) -> None:
    """Shows text on the terminal as git shows a difference there: in the pager that is set up."""
    try:
        pager = run("config", "--get", "pager.diff", cwd=cwd)
    except GitError:  # not set
        pager = "true"
    if pager.lower() in ("true", "yes", "on", "1"):
        pager = run("var", "GIT_PAGER", cwd=cwd)
    elif pager.lower() in ("false", "no", "off", "0", ""):
        pager = "cat"
    with tempfile.TemporaryDirectory(prefix="mlscaffold-") as folder:
        run("init", "--quiet", "--bare", folder, cwd=cwd)
        place = f"--git-dir={folder}"
        oid = exchange(place, "hash-object", "-w", "--stdin", cwd=cwd, given=text).stdout.decode()
        # git starts a pager for what it prints itself only, so it is made to print this.
        command = ("git", place, "--paginate", "cat-file", "blob", oid.strip())
        variables = {**environment(), "GIT_PAGER": pager}
        variables["LC_ALL"] = os.environ.get("LC_ALL", "")  # the pager's letters are the user's
        process.attached(command, cwd=cwd, env=variables)


def check_version() -> None:
    """Raises MlscaffoldError when git is missing or too old."""
    text = run("--version", cwd=Path())
    found = re.search(r"(\d+)\.(\d+)", text)
    if not found or (int(found[1]), int(found[2])) < OLDEST:
        version = text.removeprefix("git version ")
        raise MlscaffoldError(f"git {version} is too old. Install git 2.38 or newer.")


def is_root(folder: Path) -> bool:
    """Whether folder is the root of a work tree, or a bare repository."""
    return (folder / ".git").exists() or (
        (folder / "HEAD").is_file() and (folder / "objects").is_dir()
    )


def commit_all(root: Path, message: str) -> str:
    """Commits everything that git does not ignore; the commit's short id, "" if nothing changed.

    The project's hooks do not run: these commits hold what programs wrote, not people.
    """
    run("add", "--all", cwd=root)
    if not run("status", "--porcelain", cwd=root):
        return ""
    commit = ("commit", "--quiet", "--no-verify", "--message", message)
    try:
        run(*commit, cwd=root)
    except GitError as error:
        if not re.search(r"identity|empty ident|auto-detect|tell me who", error.message):
            raise
        run(*NOBODY, *commit, cwd=root)
    return run("rev-parse", "--short=7", "HEAD", cwd=root)
