"""The three forges, as far as a request goes: those of a branch, a new one, another text for one; and what else is asked.

What a call needs stands in variables that the forge's CI sets; where they are not set nothing is requested.
"""

import base64
import json
import os
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, replace
from email.message import Message
from typing import Any
from urllib.parse import quote, unquote, urljoin, urlsplit

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
    merged: tuple[str, str]  # a field, and its value once a request is merged; "" where any value says so
    head: str = ""  # git's ref of a request's commit, where the API tells the branch's instead
    query: str = ""  # of every other call
    prefix: str = ""  # of a branch's name
    author: tuple[str, str] = ("retrain", "retrain@noreply.localhost")  # of a commit, where git knows nobody
    personal: str = ""  # where a person keeps a token
    token: str = ""
    variable: str = ""  # where the token came from
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
        merged=("merged_at", ""),
        head="refs/pull/{number}/head",
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
        merged=("state", "merged"),
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
        merged=("status", "completed"),
    ),
)


# Azure's list of the runs of one pipeline on one branch; the others tell a job what a push has brought.
RUNS = (
    "{SYSTEM_COLLECTIONURI}{SYSTEM_TEAMPROJECT}/_apis/build/builds?api-version=7.1&$top=1&statusFilter=completed"
    "&resultFilter=succeeded&queryOrder=finishTimeDescending&definitions={SYSTEM_DEFINITIONID}"
    "&branchName={BUILD_SOURCEBRANCH}"
)


# A forge learns of a pushed branch a moment later, and says until then that there is none: 404, GitHub 422, others 400;
# 405 is "try again later".
NOT_YET = {400, 404, 405, 422}
WAITS = (0.5, 1, 2, 4)  # seconds
# Newest first, so that what lies behind so many pages is about no round of today.
PAGES = 40
PAGE = 100
MOVED = {301, 302, 307, 308}


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
    is_merged: bool = False
    commit: str = ""  # where it comes from; on Gitea the branch's, also once the request is merged


class _Stay(urllib.request.HTTPRedirectHandler):
    """The token goes nowhere else: `_open` looks at where a redirect leads."""

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
                return _with_token(replace(forge, variable=name), token)
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
    """The requests that came from a branch of this very repository, the newest first.

    The filter in the address is a wish: Gitea answers with every request, and a fork may have a branch of that name.
    """
    first = _address(forge, forge.requests + forge.listing, branch=branch)
    is_azure = forge.name == "Azure DevOps"
    found: list[dict[str, Any]] = []
    for page in range(PAGES):
        more = f"&$skip={page * PAGE}" if is_azure else f"&page={page + 1}"
        content, headers = _open(forge, "GET", first + (more if page else ""))
        items = content["value"] if isinstance(content, dict) else content
        found += items
        has_next = len(items) == PAGE if is_azure else 'rel="next"' in headers.get("Link", "")
        is_short = int(headers.get("X-Total-Count") or 0) > len(found)  # Gitea may say this alone
        if not (items and (has_next or is_short or headers.get("X-Next-Page"))):
            break
    return [_request(forge, item) for item in found if _is_from(forge, item, branch)]


def save(forge: Forge, known: Request | None, branch: str, base: str, title: str, text: str) -> Request:
    """Gives an open request another title and text, or opens one."""
    content = {"title": title, forge.text: text}
    if known:
        address = f"{forge.requests}/{known.number}{forge.query}"
        return _request(forge, _call(forge, forge.change, address, content))
    content |= {field: forge.prefix + name for field, name in zip(forge.branches, (branch, base), strict=True)}
    for wait in (*WAITS, None):
        try:
            return _request(forge, _call(forge, "POST", forge.requests + forge.query, content))
        except ForgeError as error:
            if wait is None or error.status not in NOT_YET:
                raise
            time.sleep(wait)
    raise AssertionError("the last try returns or raises")


def one_line(text: str) -> str:
    """One short line; masked while it is whole, as half a token would not be known."""
    return " ".join(credentials.mask(text).split())[:300]


def _request(forge: Forge, item: dict[str, Any]) -> Request:
    field, value = forge.state
    page = _address(forge, forge.page, **item)
    merged, how = forge.merged
    is_merged = item.get(merged) == how if how else bool(item.get(merged))
    text = item.get(forge.text) or ""
    return Request(item[forge.number], item[field] == value, text, page, is_merged, _commit(item))


def _commit(item: dict[str, Any]) -> str:
    """The commit that a request comes from; "" where the forge does not say it."""
    for name, field in (("head", "sha"), ("lastMergeSourceCommit", "commitId")):
        if isinstance(item.get(name), dict):
            return str(item[name].get(field) or "")
    return str(item.get("sha") or "")


def _is_from(forge: Forge, item: dict[str, Any], branch: str) -> bool:
    """Whether a request came from a branch of the repository that it goes to, by what the request itself says."""
    source, target = (item.get(field) for field in forge.branches)
    if isinstance(source, dict) and isinstance(target, dict):
        # Gitea keeps the name of a branch that is gone in `label`; GitHub puts the owner before it there.
        is_named = branch in (source.get("ref"), source.get("label"))
        ids = [(side.get("repo") or {}).get("id") for side in (source, target)]
        return is_named and ids[0] is not None and ids[0] == ids[1]
    is_fork = "forkSource" in item or item.get("source_project_id") != item.get("target_project_id")
    return source == forge.prefix + branch and not is_fork


def _address(forge: Forge, address: str, **values: Any) -> str:
    """The address with the variables' values; KeyError when one is not set."""
    owner = os.environ.get("GITHUB_REPOSITORY", "").partition("/")[0]
    return quote(address.format_map(os.environ | {"owner": owner} | values), safe=":/?&=$.")


def _call(forge: Forge, method: str, address: str, content: Any = None, **values: str) -> Any:
    return _send(forge, method, _address(forge, address, **values), content)


def _send(forge: Forge, method: str, url: str, content: Any = None, timeout: int = 30) -> Any:
    return _open(forge, method, url, content, timeout)[0]


def _open(
    forge: Forge, method: str, url: str, content: Any = None, timeout: int = 30, moves: int = 3
) -> tuple[Any, Message]:
    """The JSON of an answer and its headers; a renamed repository is followed to, on the same server alone."""
    headers = {"Authorization": f"{forge.scheme} {forge.token}", "Accept": "application/json"}
    body = None if content is None else json.dumps(content).encode()
    request = urllib.request.Request(url, body, headers | {"Content-Type": "application/json"}, method=method)
    status = 0
    try:
        with urllib.request.build_opener(_Stay).open(request, timeout=timeout) as answer:
            return json.load(answer), answer.headers
    except urllib.error.HTTPError as error:
        status = error.code
        to = urljoin(url, error.headers.get("Location") or "")
        if status in MOVED and moves and urlsplit(to)[:2] == urlsplit(url)[:2]:
            return _open(forge, method, to, content, timeout, moves - 1)
        said = f"{error.code}: {_message(error.read())}"
    except ValueError:
        said = "no JSON: is the token right?"
    except OSError as error:
        said = str(error)
    message = f"{forge.name} answered {method} {url.partition('?')[0]} with {said}"
    if forge.variable and status == 401:
        message = f"{forge.name} refused the token in {forge.variable}: set one that is valid. {message}"
    elif forge.variable and status == 403:
        message = f"The token in {forge.variable} may not do this (a scope is missing?). {message}"
    raise ForgeError(one_line(message), status)


def why(forge: Forge, said: str) -> str:
    """What git's words about a refusal mean; "" where they say it themselves."""
    if any(words in said for words in ("could not read Username", "Authentication failed", "returned error: 401")):
        return f"{forge.name} refused the token in {forge.variable}: set one that is valid. "
    if "returned error: 403" in said:
        return (
            f"The token in {forge.variable} may not write here: it only reads, lacks a scope, or the repository is "
            "archived. "
        )
    if "hook declined" in said or "protected branch" in said:
        return f"The branch is protected: let the owner of the token in {forge.variable} push to it. "
    return ""


def _message(body: bytes) -> str:
    """What the forge says of its refusal, in any of the shapes that they give it."""
    try:
        content = json.loads(body)
        errors = [error.get("message", error) for error in content.get("errors") or [] if isinstance(error, dict)]
        return "; ".join(map(str, [content.get("message") or content.get("error") or content, *errors]))
    except (ValueError, AttributeError):
        return body.decode("utf-8", "replace")
