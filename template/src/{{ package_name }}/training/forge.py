"""The three forges, as far as a request goes: those of a branch, a new one, another text for one.

What a call needs stands in variables that the forge's CI sets; where they are not set there is no forge.
"""

import base64
import json
import os
import urllib.error
import urllib.request
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from .. import credentials
from ..settings import ProjectError


@dataclass(frozen=True)
class Forge:
    """How one forge calls what all of them have; {NAME} in an address is a variable of its CI."""

    name: str
    tokens: tuple[str, ...]  # the first that is set is used
    server: str  # what git talks to
    user: str  # whose password the token is for git; "" where git sends it as it is
    requests: str
    listing: str  # the query for those of a branch in every state, the newest first
    change: str  # the method that changes one
    number: str
    state: tuple[str, str]  # a field, and its value as long as a request is open
    text: str
    page: str
    branches: tuple[str, str]  # the fields for where it comes from and where it goes
    most: int  # characters in a text
    query: str = ""  # of every other call
    prefix: str = ""  # of a branch's name
    author: tuple[str, str] = ("retrain", "retrain@noreply.localhost")  # of a commit, where git knows nobody
    token: str = ""

    @property
    def login(self) -> str:
        if not self.user:
            return f"bearer {self.token}"
        return f"basic {base64.b64encode(f'{self.user}:{self.token}'.encode()).decode()}"


FORGES = (
    Forge(
        name="GitHub",
        tokens=("RETRAIN_TOKEN", "GITHUB_TOKEN"),
        server="{GITHUB_SERVER_URL}",
        user="x-access-token",
        requests="{GITHUB_API_URL}/repos/{GITHUB_REPOSITORY}/pulls",
        listing="?state=all&per_page=100&head={owner}:{branch}",
        change="PATCH",
        number="number",
        state=("state", "open"),
        text="body",
        page="{html_url}",
        branches=("head", "base"),
        most=65_000,
        author=("github-actions[bot]", "41898282+github-actions[bot]@users.noreply.github.com"),
    ),
    Forge(
        name="GitLab",
        tokens=("RETRAIN_TOKEN",),
        server="{CI_SERVER_URL}",
        user="oauth2",
        requests="{CI_API_V4_URL}/projects/{CI_PROJECT_ID}/merge_requests",
        listing="?state=all&scope=all&per_page=100&source_branch={branch}",
        change="PUT",
        number="iid",
        state=("state", "opened"),
        text="description",
        page="{web_url}",
        branches=("source_branch", "target_branch"),
        most=1_000_000,
    ),
    Forge(
        name="Azure DevOps",
        tokens=("SYSTEM_ACCESSTOKEN",),
        server="{SYSTEM_COLLECTIONURI}",
        user="",
        requests="{SYSTEM_COLLECTIONURI}{SYSTEM_TEAMPROJECT}/_apis/git/repositories/{BUILD_REPOSITORY_ID}/pullrequests",
        listing="?api-version=7.1&$top=100&searchCriteria.status=all&searchCriteria.sourceRefName=refs/heads/{branch}",
        query="?api-version=7.1",
        change="PATCH",
        number="pullRequestId",
        state=("status", "active"),
        text="description",
        page="{SYSTEM_COLLECTIONURI}{SYSTEM_TEAMPROJECT}/_git/{BUILD_REPOSITORY_ID}/pullrequest/{pullRequestId}",
        branches=("sourceRefName", "targetRefName"),
        prefix="refs/heads/",
        most=4_000,
    ),
)


# Azure's list of the runs of one pipeline on one branch; the others tell a job what a push has brought.
RUNS = (
    "{SYSTEM_COLLECTIONURI}{SYSTEM_TEAMPROJECT}/_apis/build/builds?api-version=7.1&$top=1&statusFilter=completed"
    "&resultFilter=succeeded&queryOrder=finishTimeDescending&definitions={SYSTEM_DEFINITIONID}"
    "&branchName={BUILD_SOURCEBRANCH}"
)


@dataclass(frozen=True)
class Request:
    """A pull or merge request; of a long `text` a listing may hold the first 400 characters."""

    number: int
    is_open: bool
    text: str
    page: str


class _Stay(urllib.request.HTTPRedirectHandler):
    """The token goes nowhere else: a redirect is an error."""

    def redirect_request(self, *_: Any) -> None:
        return None


def here() -> Forge | None:
    """The forge whose CI this is, with its token; ProjectError when no token is set, None elsewhere."""
    for forge in FORGES:
        try:
            _address(forge, forge.server + forge.requests)
        except KeyError:
            continue
        for name in forge.tokens:
            if token := os.environ.get(name):
                found = replace(forge, token=token)
                credentials.remember(token)
                credentials.remember(found.login.partition(" ")[2])
                return found
        raise ProjectError(f"{forge.name} opens no request without a token: set {' or '.join(forge.tokens)}.")
    return None


def last_run() -> str | None:
    """The commit of the last run of this pipeline on Azure that succeeded; None where there is none or nobody tells."""
    azure = FORGES[-1]
    try:
        runs = _call(replace(azure, token=os.environ[azure.tokens[0]]), "GET", RUNS)["value"]
        return str(runs[0]["sourceVersion"]) if runs else None
    except (KeyError, TypeError, ProjectError):
        return None


def git_settings(forge: Forge) -> dict[str, str]:
    """The variables by which git logs in to the forge's server, and to no other; nothing is written anywhere.

    The empty value takes away the header that a checkout may have left: a server refuses two.
    """
    key = f"http.{_address(forge, forge.server).rstrip('/')}/.extraheader"
    first = int(os.environ.get("GIT_CONFIG_COUNT") or 0)
    found = {"GIT_CONFIG_COUNT": str(first + 2), "GIT_TERMINAL_PROMPT": "0"}
    for place, value in enumerate(["", f"Authorization: {forge.login}"], first):
        found |= {f"GIT_CONFIG_KEY_{place}": key, f"GIT_CONFIG_VALUE_{place}": value}
    return found


def listed(forge: Forge, branch: str) -> list[Request]:
    """The requests that came from a branch, the newest first."""
    found = _call(forge, "GET", forge.requests + forge.listing, branch=branch)
    items = found["value"] if isinstance(found, dict) else found
    return [_request(forge, item) for item in items]


def save(forge: Forge, known: Request | None, branch: str, base: str, title: str, text: str) -> Request:
    """Gives an open request another title and text, or opens one."""
    content = {"title": title, forge.text: text}
    if known:
        address = f"{forge.requests}/{known.number}{forge.query}"
        return _request(forge, _call(forge, forge.change, address, content))
    content |= {field: forge.prefix + name for field, name in zip(forge.branches, (branch, base), strict=True)}
    return _request(forge, _call(forge, "POST", forge.requests + forge.query, content))


def one_line(text: str) -> str:
    """One short line; masked while it is whole, as half a token would not be known."""
    return " ".join(credentials.mask(text).split())[:300]


def _request(forge: Forge, item: dict[str, Any]) -> Request:
    field, value = forge.state
    page = _address(forge, forge.page, **item)
    return Request(item[forge.number], item[field] == value, item.get(forge.text) or "", page)


def _address(forge: Forge, address: str, **values: Any) -> str:
    """The address with the variables' values; KeyError when one is not set."""
    owner = os.environ.get("GITHUB_REPOSITORY", "").partition("/")[0]
    return quote(address.format_map(os.environ | {"owner": owner} | values), safe=":/?&=$.")


def _call(forge: Forge, method: str, address: str, content: Any = None, **values: str) -> Any:
    url = _address(forge, address, **values)
    headers = {"Authorization": f"Bearer {forge.token}", "Accept": "application/json"}
    body = None if content is None else json.dumps(content).encode()
    request = urllib.request.Request(url, body, headers | {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.build_opener(_Stay).open(request, timeout=30) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        said = f"{error.code}: {_message(error.read())}"
    except ValueError:
        said = "no JSON: is the token right?"
    except OSError as error:
        said = str(error)
    raise ProjectError(one_line(f"{forge.name} answered {method} {url.partition('?')[0]} with {said}"))


def _message(body: bytes) -> str:
    """What the forge says of its refusal, in any of the shapes that they give it."""
    try:
        content = json.loads(body)
        errors = [error.get("message", error) for error in content.get("errors", []) if isinstance(error, dict)]
        return "; ".join(map(str, [content.get("message") or content.get("error") or content, *errors]))
    except (ValueError, AttributeError):
        return body.decode("utf-8", "replace")
