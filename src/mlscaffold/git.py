"""git: every call has an explicit folder, plain messages and none of a hook's variables."""

from __future__ import annotations

import os
import re
import shlex
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mlscaffold import process
from mlscaffold.errors import MlscaffoldError

OLDEST = (2, 30)  # renders and commits
OLDEST_THAT_MERGES = (2, 38)  # has `git merge-tree --write-tree`
# What brings the newest git onto the systems whose own one may be too old.
_HOW_TO_GET_IT = (
    "Ubuntu: sudo add-apt-repository ppa:git-core/ppa && sudo apt install git; "
    "Debian: sudo apt install -t $(lsb_release -cs)-backports git; "
    "conda: conda install -c conda-forge git; Homebrew: brew install git."
)
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


# What no git of ours starts, whatever the settings of the folder say that it runs in. A bare
# repository counts only where we name it: one that lies in a clone has settings of its own.
NO_PROGRAMS = {
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "safe.bareRepository": "explicit",
}
# What a merge must not depend on: a user's settings that change results.
_SAME_RESULTS = {
    "core.quotePath": "false",
    "core.safecrlf": "false",
    "merge.directoryRenames": "true",
    "merge.renameLimit": "1000",
    "merge.renames": "true",
}


def _as_options(settings: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(part for key, value in settings.items() for part in ("-c", f"{key}={value}"))


_SAFE = _as_options(NO_PROGRAMS)
PINS = _as_options({**NO_PROGRAMS, **_SAME_RESULTS})


class GitError(MlscaffoldError):
    """A git command failed; the message is what git gave as its reason."""


def environment() -> dict[str, str]:
    """This process's variables, without a hook's, and such that git never waits for an answer."""
    kept = {key: value for key, value in os.environ.items() if key not in _REPOSITORY_VARIABLES}
    return {**kept, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}


def with_settings(settings: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the variables that give git, and what it starts, these settings.

    They come after the settings that the environment has already, and so win over them.
    git 2.30 does not read GIT_CONFIG_COUNT: for it they stand in the variable of `git -c` too, but
    for names with "=", which that cannot hold.
    """
    settings = tuple(settings)
    plain = [f"{key}={value}" for key, value in settings if "=" not in key]
    quoted = [_quoted(text) for text in plain]
    earlier = os.environ.get("GIT_CONFIG_PARAMETERS", "")
    given = os.environ.get("GIT_CONFIG_COUNT", "")
    first = int(given) if given.isdecimal() else 0
    variables = {}
    for number, (key, value) in enumerate(settings, start=first):
        variables[f"GIT_CONFIG_KEY_{number}"] = key
        variables[f"GIT_CONFIG_VALUE_{number}"] = value
    return {
        **variables,
        "GIT_CONFIG_COUNT": str(first + len(settings)),
        "GIT_CONFIG_PARAMETERS": " ".join([*filter(None, [earlier]), *quoted]),
    }


def _quoted(text: str) -> str:
    """Return text in single quotes, as git reads them: always, unlike shlex.quote."""
    return "'" + text.replace("'", "'\\''") + "'"


def no_filters(cwd: Path) -> list[tuple[str, str]]:
    """Return the settings that switch off each filter that git would use in cwd.

    git runs nothing for a filter whose commands are empty.
    """
    query = ("config", "--null", "--name-only", "--get-regexp", r"^filter\.")
    names = exchange(*query, cwd=cwd, codes=(0, 1)).stdout.split(b"\0")
    keys = (os.fsdecode(name) for name in names if name)
    drivers = {key.removeprefix("filter.").rpartition(".")[0] for key in keys}
    off = {"clean": "", "smudge": "", "process": "", "required": "false"}
    return [
        (f"filter.{driver}.{key}", value)
        for driver in sorted(drivers)
        for key, value in off.items()
    ]


def run(
    *arguments: str,
    cwd: Path,
    variables: Mapping[str, str] | None = None,
    seconds: float | None = None,
) -> str:
    """What git writes, without the last line end.

    Raises GitError when it fails, or has not ended after so many seconds.
    """
    command = ("git", *_SAFE, *arguments)
    env = {**environment(), **(variables or {})}
    try:
        if seconds is None:
            done = process.run(command, cwd=cwd, env=env)
        else:
            done = process.run_within(seconds, command, cwd=cwd, env=env)
    except TimeoutError:
        name = _command_name(arguments)
        raise GitError(f"git {name}: no answer within {seconds:g} seconds") from None
    except FileNotFoundError:
        raise MlscaffoldError(f"git is not installed. {_how_to_get(OLDEST_THAT_MERGES)}") from None
    if done.returncode:
        raise GitError(f"git {_command_name(arguments)}: {_with_advice(done.reason, done.stderr)}")
    return done.stdout.rstrip("\n")


def run_bare(*arguments: str, repository: Path, seconds: float | None = None) -> str:
    """As run, in a bare repository."""
    return run(f"--git-dir={repository}", *arguments, cwd=repository, seconds=seconds)


def run_foreign(*arguments: str, cwd: Path) -> str:
    """As run, in a work tree whose settings are somebody else's: no filter, no fetch on demand."""
    variables = {**with_settings(no_filters(cwd)), "GIT_NO_LAZY_FETCH": "1"}
    return run(*arguments, cwd=cwd, variables=variables)


def _command_name(arguments: Sequence[str]) -> str:
    """Return git's own word for the command, which comes after its options."""
    before = ("", *arguments)
    words = (word for word, last in zip(arguments, before, strict=False) if last != "-c")
    return next(word for word in words if not word.startswith("-"))


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
        raise GitError(f"git {_command_name(arguments)}: {_with_advice(reason, done.stderr)}")
    return done


def _with_advice(reason: str, stderr: str) -> str:
    """Return git's reason with what to do about it, which git writes on lines of their own."""
    reason = reason.removeprefix("fatal: ")
    if owner := re.search(
        r"dubious ownership in repository at '(.+)'|unsafe repository \('(.+)' is owned", reason
    ):
        folder = shlex.quote(owner[1] or owner[2])
        return (
            f"{reason}: it belongs to another user. If you trust what is in it, type: "
            f"git config --global --add safe.directory {folder} and then this again"
        )
    if re.search(r"failed to sign|cannot run gpg|Load key|signingkey|sign the data", stderr):
        details = [line for line in stderr.splitlines() if line.startswith("gpg: ")]
        return (
            f"{' '.join([reason, *details])}: git could not sign the commit. Unlock or name the "
            "key (git config user.signingKey KEY), or type: git config --global "
            "commit.gpgSign false and then this again"
        )
    return " ".join([reason, *_hints(stderr)]).rstrip(".")


def _hints(stderr: str) -> list[str]:
    """Return the lines that begin with "hint:", and those below the blank line after the error."""
    lines = stderr.strip().splitlines()
    hints = [line.removeprefix("hint:").strip() for line in lines if line.startswith("hint:")]
    if hints:
        return [hint for hint in hints if hint]
    _, _, below = stderr.partition("fatal: ")[2].partition("\n\n")
    return below.split()


def is_coloured(cwd: Path) -> bool:
    """Whether the user wants git's differences in colour on a terminal."""
    if os.environ.get("NO_COLOR"):
        return False
    return run("config", "--get-colorbool", "color.diff", "true", cwd=cwd) == "true"


def page(text: bytes, *, cwd: Path) -> None:
    """Shows text on the terminal as git shows a difference there: in the user's pager."""
    with tempfile.TemporaryDirectory(prefix="mlscaffold-") as folder:
        run("init", "--quiet", "--bare", "--template=", folder, cwd=cwd)
        pager = _pager(Path(folder))
        place = f"--git-dir={folder}"
        oid = exchange(place, "hash-object", "-w", "--stdin", cwd=cwd, given=text).stdout.decode()
        # git starts a pager for what it prints itself only, so it is made to print this.
        command = ("git", *_SAFE, place, "--paginate", "cat-file", "blob", oid.strip())
        variables = {**environment(), "GIT_PAGER": pager}
        variables["LC_ALL"] = os.environ.get("LC_ALL", "")  # the pager's letters are the user's
        process.attached(command, cwd=cwd, env=variables)


def _pager(empty: Path) -> str:
    """Return the pager that the user has set up for git.

    It is read in an empty repository: what the project's own settings name could be anything.
    """
    try:
        pager = run_bare("config", "--get", "pager.diff", repository=empty)
    except GitError:  # not set
        pager = "true"
    if pager.lower() in ("true", "yes", "on", "1"):
        return run_bare("var", "GIT_PAGER", repository=empty)
    return "cat" if pager.lower() in ("false", "no", "off", "0", "") else pager


def check_version(oldest: tuple[int, int] = OLDEST_THAT_MERGES) -> None:
    """Raises MlscaffoldError when git is missing or too old."""
    text = run("--version", cwd=Path())
    found = re.search(r"(\d+)\.(\d+)", text)
    if not found or (int(found[1]), int(found[2])) < oldest:
        version = text.removeprefix("git version ")
        raise MlscaffoldError(f"git {version} is too old for this. {_how_to_get(oldest)}")


def _how_to_get(oldest: tuple[int, int]) -> str:
    major, minor = oldest
    return f"Install git {major}.{minor} or newer: {_HOW_TO_GET_IT}"


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
