"""The environment's variables as a forge's CI hands them on: those that nobody has set, and a key that is to be a file."""

import atexit
import os
import re
import tempfile
from pathlib import Path

# Of the libraries that read a cloud: they take an empty variable for a value.
CLOUDS = ("AWS_", "AZURE_", "GOOGLE_")
# Google's libraries want the path of a key; a secret of a forge holds the key itself.
KEY_FILE = "GOOGLE_APPLICATION_CREDENTIALS"
# What a runner sets itself: no secret or variable of a forge may have these names.
OF_THE_RUNNER = re.compile(r"HOME|PATH|USER|GITHUB_(?!TOKEN$).*|RUNNER_.*")


def is_of_the_runner(name: str) -> bool:
    """Tell whether a runner sets a variable itself, so that no workflow hands it on."""
    return OF_THE_RUNNER.fullmatch(name) is not None


def is_set(name: str) -> bool:
    """Tell whether a variable has a value.

    A workflow names every variable that a project may need. GitHub hands on those that nobody has set as "", Azure as the
    text $(NAME).
    """
    return os.environ.get(name, "").casefold() not in {"", f"$({name})".casefold()}


def prepare() -> None:
    """Take away what nobody has set and libraries would take for a value, and bring a key to a file."""
    for name in list(os.environ):
        is_misread = name.startswith(CLOUDS) or os.environ[name]
        if is_misread and not is_set(name):
            del os.environ[name]
    if os.environ.get(KEY_FILE, "").lstrip().startswith("{"):
        os.environ[KEY_FILE] = _write_key(os.environ[KEY_FILE])


def _write_key(content: str) -> str:
    """Write a key where only this user reads it, for as long as the command runs, and return the path."""
    handle, path = tempfile.mkstemp(prefix="key-", suffix=".json")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(content)
    atexit.register(Path(path).unlink, missing_ok=True)
    return path
