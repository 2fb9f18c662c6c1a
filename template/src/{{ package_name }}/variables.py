"""The environment's variables as a forge's CI hands them on: those that nobody has set, and a key that is to be a file."""

import atexit
import json
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
# What opens a cloud's storage; a region or an endpoint opens nothing.
OPENS_A_CLOUD = re.compile(r"(AWS|AZURE|GOOGLE)_.*(KEY|SECRET|TOKEN|CREDENTIALS|CONNECTION_STRING)")


def is_of_the_runner(name: str) -> bool:
    """Tell whether a runner sets a variable itself, so that no workflow hands it on."""
    return OF_THE_RUNNER.fullmatch(name) is not None


def is_set(name: str) -> bool:
    """Tell whether a variable has a value.

    A workflow names every variable that a project may need. GitHub hands on those that nobody has set as "", Azure as the
    text $(NAME).
    """
    return os.environ.get(name, "").casefold() not in {"", f"$({name})".casefold()}


def is_request_without_credentials() -> bool:
    """Tell whether this is CI of a request that the forge gives no secrets: one from a fork, or from Dependabot.

    Where its maintainers do hand credentials to forks, it is a request like any other.
    """
    has_credentials = any(OPENS_A_CLOUD.match(name) and is_set(name) for name in os.environ)
    return not has_credentials and (_is_from_a_fork() or os.environ.get("GITHUB_ACTOR") == "dependabot[bot]")


def _is_from_a_fork() -> bool:
    """Tell whether this is CI of a request whose branch is in another repository than the one it goes to."""
    if os.environ.get("SYSTEM_PULLREQUEST_ISFORK", "").casefold() == "true":  # Azure
        return True
    source = os.environ.get("CI_MERGE_REQUEST_SOURCE_PROJECT_ID")  # GitLab
    if source:
        return source != os.environ.get("CI_MERGE_REQUEST_PROJECT_ID")
    return _is_from_a_fork_on_github()


def _is_from_a_fork_on_github() -> bool:
    """Tell it from what GitHub, Gitea and Forgejo write of the event into a file."""
    path = os.environ.get("GITHUB_EVENT_PATH")
    if not path:
        return False
    try:
        event = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    request = event.get("pull_request") if isinstance(event, dict) else None
    if not isinstance(request, dict):
        return False
    # A fork that was deleted is null.
    repositories = [((request.get(side) or {}).get("repo") or {}).get("full_name") for side in ("head", "base")]
    return repositories[0] != repositories[1]


def as_warning(text: str) -> str:
    """Return a line of output that CI shows where people look: among the annotations of the run.

    GitLab has none, and elsewhere there is no CI: there it is the text.
    """
    if os.environ.get("GITHUB_ACTIONS") == "true":
        escaped = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
        return f"::warning::{escaped}"
    if os.environ.get("TF_BUILD", "").casefold() == "true":
        return f"##vso[task.logissue type=warning]{' '.join(text.split())}"
    return text


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
