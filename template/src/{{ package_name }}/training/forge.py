"""The three forges, as far as a request goes: those of a branch, a new one, another text for one; and what else is asked.

What a call needs stands in variables that the forge's CI sets; where they are not set nothing is requested.
"""

import base64
import json
import os
import urllib.error
import urllib.request
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from .. import credentials
from ..settings import ProjectError


@dataclass(frozen=True)
class Forge:
    """How one forge calls what all of them have; {NAME} in an address is a variable of its CI."""

    name: str
    tokens: tuple[str, ...]  # the first that is set is used
    server: str  # what git talks to
    user: str  # whose password the token is for git; "" where git sends it as it is
    api: str  # the repository in the API, Azure's project
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
    personal: str = ""  # where a person keeps a token
    token: str = ""
    scheme: str = "Bearer"  # how the API takes the token

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
        personal="GH_TOKEN",
        api="{GITHUB_API_URL}/repos/{GITHUB_REPOSITORY}",
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
        personal="GITLAB_TOKEN",
        api="{CI_API_V4_URL}/projects/{CI_PROJECT_ID}",
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
        personal="AZURE_DEVOPS_EXT_PAT",
        api="{SYSTEM_COLLECTIONURI}{SYSTEM_TEAMPROJECT}/_apis",
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


class ForgeError(ProjectError):
    """What a forge refuses; `status` is HTTP's, 0 where there was no answer."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


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
                return _with_token(forge, token)
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


def find(name: str, origin: str) -> Forge | None:
    """Return a forge with the repository's own address, by the variables of its CI, else by origin's address.

    Its token is "" where there is none. A token goes where it belongs alone: to the server that a variable names, else to
    the public one.
    """
    forge = next(forge for forge in FORGES if forge.name == name)
    try:
        api = _address(forge, forge.api)
    except KeyError:
        api = _api_of(name, *_split(origin))
    if not api:
        return None
    forge = replace(forge, api=api)
    token = next(filter(None, map(os.environ.get, forge.tokens)), "")
    personal = os.environ.get(forge.personal, "")
    if not token and personal and name == "Azure DevOps":
        password = base64.b64encode(f":{personal}".encode()).decode()
        return _with_token(replace(forge, scheme="Basic"), password)
    return _with_token(forge, token or personal)


def ask(forge: Forge, path: str) -> Any:
    """Return what the API says about the repository of a forge that was found."""
    return _send(forge, "GET", forge.api + path, timeout=10)


def _split(origin: str) -> tuple[str, str]:
    """The host and the path of a remote's address: https://host/path.git, ssh://git@host/path or git@host:path."""
    if "://" in origin:
        parts = urlsplit(origin)
        host, path = parts.hostname or "", parts.path
    else:
        host, _, path = origin.rpartition("@")[2].partition(":")
    return host, unquote(path).strip("/").removesuffix(".git")


def _api_of(name: str, host: str, path: str) -> str:
    """The repository's address in the API; "" where the host is neither public nor named by a variable."""
    if name == "GitHub":
        api = os.environ.get("GITHUB_API_URL") or "https://api.github.com"
        is_server = host == str(urlsplit(api).hostname).removeprefix("api.")
        return f"{api}/repos/{quote(path)}" if is_server else ""
    if name == "GitLab":
        server = os.environ.get("GITLAB_HOST") or "gitlab.com"
        api = f"{server if '://' in server else f'https://{server}'}/api/v4"
        return f"{api}/projects/{quote(path, safe='')}" if host == urlsplit(api).hostname else ""
    if host == "ssh.dev.azure.com":
        path = path.removeprefix("v3/")
    elif host.endswith(".visualstudio.com"):
        path = f"{host.partition('.')[0]}/{path.removeprefix('DefaultCollection/')}"
    elif host != "dev.azure.com":
        return ""
    return f"https://dev.azure.com/{quote('/'.join(path.split('/')[:2]))}/_apis"


def _with_token(forge: Forge, token: str) -> Forge:
    """The forge with a token, which is masked from then on in all that is said."""
    found = replace(forge, token=token)
    if token:
        credentials.remember(token)
        credentials.remember(found.login.partition(" ")[2])
    return found


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
    return _send(forge, method, _address(forge, address, **values), content)


def _send(forge: Forge, method: str, url: str, content: Any = None, timeout: int = 30) -> Any:
    headers = {"Authorization": f"{forge.scheme} {forge.token}", "Accept": "application/json"}
    body = None if content is None else json.dumps(content).encode()
    request = urllib.request.Request(url, body, headers | {"Content-Type": "application/json"}, method=method)
    status = 0
    try:
        with urllib.request.build_opener(_Stay).open(request, timeout=timeout) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        status = error.code
        said = f"{error.code}: {_message(error.read())}"
    except ValueError:
        said = "no JSON: is the token right?"
    except OSError as error:
        said = str(error)
    message = f"{forge.name} answered {method} {url.partition('?')[0]} with {said}"
    raise ForgeError(one_line(message), status)


def _message(body: bytes) -> str:
    """What the forge says of its refusal, in any of the shapes that they give it."""
    try:
        content = json.loads(body)
        errors = [error.get("message", error) for error in content.get("errors", []) if isinstance(error, dict)]
        return "; ".join(map(str, [content.get("message") or content.get("error") or content, *errors]))
    except (ValueError, AttributeError):
        return body.decode("utf-8", "replace")
