"""The store: one bare mirror per template address, one checkout per template commit.

It is one folder (`MLSCAFFOLD_HOME`, else the platform's cache folder) that can be deleted any time.
"""

from __future__ import annotations

import json
import os
import re
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache, partial
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

from mlscaffold import credentials, files, git
from mlscaffold.errors import MlscaffoldError, unknown
from mlscaffold.tags import Move, find_moves

_HEAD = "refs/mlscaffold/head"
_HEAD_THERE = "refs/mlscaffold/head-there"  # of the address of the built-in template
_NOTE = "mlscaffold.json"
_KEPT_DAYS = 30  # a checkout that no command has used for so long is removed
_PATIENCE = 2.0  # seconds that git may live on, and hold a lock, when its mlscaffold was killed
_SECONDS_TO_ANSWER = 15.0  # that the address of the built-in template has
_SECONDS_TO_BRING = 120.0
_SHORTCUTS = {"gh:": "https://github.com/", "gl:": "https://gitlab.com/"}
_PACKAGE = Path(__file__).parent
_BUNDLE = _PACKAGE / "template.bundle"
_SHALLOW = _PACKAGE / "template.shallow"


class RefError(MlscaffoldError):
    """The template has no such tag, branch or commit."""


class FetchError(MlscaffoldError):
    """The template's address does not answer."""


@dataclass(frozen=True)
class Checkout:
    """One version of a template, as files.

    address: what projects record, understood by plain Copier
    folder: the files
    commit, version: the full id, and what `git describe` says; None for a folder without git
    mirror: the bare repository that answers for address; None for a folder without git
    moves: what the tag that was asked for has named before
    """

    address: str
    folder: Path
    commit: str | None = None
    version: str | None = None
    mirror: Path | None = None
    moves: tuple[Move, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class _Mirror:
    """A mirror, and what is noted of it.

    stamp: what changes when its source does
    seen: when it was last fetched, in seconds since the epoch
    moves: the tags that came to name another commit
    missing: the refs that were asked for and were not there, and when
    """

    path: Path
    head: str
    version: str
    stamp: str = ""
    seen: float = 0.0
    moves: Mapping[str, tuple[Move, ...]] = field(default_factory=dict)
    missing: Mapping[str, float] = field(default_factory=dict)


def home() -> Path:
    """The store's folder."""
    if given := os.environ.get("MLSCAFFOLD_HOME"):
        return Path(given).absolute()
    from platformdirs import user_cache_path

    return user_cache_path("mlscaffold", appauthor=False)


@cache
def builtin_address() -> str:
    """The address of the repository that mlscaffold was installed from.

    Where pip noted none (PEP 610), or only a path of this machine, the package's metadata name it.
    """
    from importlib.metadata import distribution

    package = distribution("mlscaffold")
    origin = json.loads(package.read_text("direct_url.json") or "{}")
    url = str(origin.get("url", ""))
    if "vcs_info" not in origin or url.startswith("file:") or has_credential(url):
        links = (link.partition(", ") for link in package.metadata.get_all("Project-URL") or [])
        url = {label: target for label, _, target in links}["Repository"] + ".git"
    return url if url.endswith(".git") else f"git+{url}"


def is_builtin(address: str) -> bool:
    """Say whether the template at address is ours: it comes out of mlscaffold's own package."""
    return address == builtin_address()


def is_bundled(address: str) -> bool:
    """Say whether the template at address comes out of a bundle, which may be behind the address.

    A checkout on this machine, of an editable install, is what its developer has made it.
    """
    return is_builtin(address) and _BUNDLE.exists()


def has_credential(address: str) -> bool:
    """Whether an address holds a password, a token or, where git would send it as one, a user."""
    if credentials.find(address):
        return True
    try:
        parts = urlsplit(address.removeprefix("git+"))
        return bool(parts.password or (parts.username and parts.scheme in {"http", "https"}))
    except ValueError:
        return False


def check_out(address: str | None, ref: str | None, *, fetch: bool = True) -> Checkout:
    """The template at address (None: the built-in one) and ref, fetched and as files.

    Without a ref: the built-in template as it was built in; of others the newest release, or HEAD
    where there is none. Raises MlscaffoldError when there is no such address or ref, and for an
    address that holds a credential, as every project would record it.
    With fetch=False the mirror answers as the last fetch left it.
    """
    if address and has_credential(address):
        raise MlscaffoldError(
            f"The template's address {address} holds a credential. Leave it out: git asks its "
            "credential helper."
        )
    address = address or builtin_address()
    source = _source(address)
    if not _is_git(source):
        if ref:
            raise MlscaffoldError(f"{address} is a folder without git and has no ref {ref!r}.")
        return Checkout(address, Path(source))
    with files.locked(home() / "lock"):
        mirror = _mirror(address, source, fetch=fetch)
        try:
            commit, tag = _commit(mirror, ref, is_builtin=is_builtin(address))
        except RefError:
            _note(replace(mirror, missing={**mirror.missing, str(ref): time.time()}))
            raise
        folder = _folder(mirror.path, commit)
    version = mirror.version if commit == mirror.head else None
    return Checkout(
        address,
        folder,
        commit,
        tag or version or _describe(mirror.path, commit),
        mirror.path,
        mirror.moves.get(tag, ()) if tag else (),
    )


def ask(address: str) -> None:
    """Bring what the address of the built-in template has beyond the bundle.

    What the bundle has stays as it is. Raises FetchError where the address does not answer in time.
    """
    with files.locked(home() / "lock"):
        mirror = _mirror(address, _source(address), fetch=True)
        try:
            _bring_newer(_expanded(address), mirror.path)
        except git.GitError as error:
            reason = error.message.partition(": ")[2]
            raise FetchError(f"{address} cannot be asked for newer releases: {reason}.") from None


def newest_release(address: str) -> str | None:
    """The tag of the newest release of the built-in template that is known here, None without."""
    with files.locked(home() / "lock"):
        return _newest_release(_mirror(address, _source(address), fetch=False).path)


def _bring_newer(source: str, mirror: Path) -> None:
    """Fetch the tags that the mirror does not have, and the branch that holds untagged releases."""
    listed = git.run_bare(
        *("ls-remote", "--end-of-options", source, "HEAD", "refs/tags/*"),
        repository=mirror,
        seconds=_SECONDS_TO_ANSWER,
    )
    there = {ref: commit for commit, ref in map(str.split, listed.splitlines())}
    head = there.pop("HEAD", None)
    known = _tags(mirror)
    names = (ref for ref in there if not ref.endswith("^{}"))
    refs = [f"{ref}:{ref}" for ref in names if ref.removeprefix("refs/tags/") not in known]
    if head and not _has(mirror, head):
        refs.append(f"+HEAD:{_HEAD_THERE}")
    if not refs:
        return
    options = ("--quiet", "--no-write-fetch-head", "--no-tags", "--update-shallow", "--no-auto-gc")
    git.run_bare(
        *("fetch", *options, "--end-of-options", source, *refs),
        repository=mirror,
        seconds=_SECONDS_TO_BRING,
    )
    if head and _has(mirror, head):
        _tag_releases(mirror, head)


def _has(mirror: Path, commit: str) -> bool:
    try:
        git.run_bare("cat-file", "-e", f"{commit}^{{commit}}", repository=mirror)
    except git.GitError:
        return False
    return True


def uncommitted(address: str | None) -> bool:
    """Whether the template is a checkout on this machine with changes that git has not got."""
    source = _source(address or builtin_address())
    folder = Path(source)
    if not folder.is_dir() or not (folder / ".git").exists():
        return False
    options = ("--porcelain", "--ignore-submodules=all")
    parts = ("copier.y*ml", "template")
    return bool(git.run_foreign("status", *options, "--", *parts, cwd=folder))


def absolute(address: str) -> str:
    """The address, with a path on this machine made absolute; others as they are."""
    if "://" in address or address.startswith((*_SHORTCUTS, "git@", "git+")):
        return address
    path = Path(address).expanduser()
    return str(path.absolute()) if path.exists() else address


def redirection(checkout: Checkout, settings: Sequence[tuple[str, str]] = ()) -> dict[str, str]:
    """The variables that make git, and Copier with it, take the address from the mirror.

    settings are more of git's settings to go with them.
    """
    if checkout.mirror is None:
        return git.with_settings(settings) if settings else {}
    instead = (f"url.{checkout.mirror}.insteadOf", _expanded(checkout.address))
    return {
        "COPIER_CACHE_DIR": str(home() / "copier"),
        **git.with_settings([instead, *settings]),
    }


def _expanded(address: str) -> str:
    """The address as git takes it: without Copier's shortcuts."""
    for shortcut, host in _SHORTCUTS.items():
        if address.startswith(shortcut):
            path = address.removeprefix(shortcut).lstrip("/")
            return host + path.removesuffix(".git") + ".git"
    return address.removeprefix("git+")


def _source(address: str) -> str:
    """Where the template is fetched from."""
    if is_builtin(address):
        return str(_BUNDLE if _BUNDLE.exists() else _PACKAGE.parents[1])
    return _expanded(address)


def _is_git(source: str) -> bool:
    path = Path(source)
    return not path.is_dir() or git.is_root(path)


def _mirror(address: str, source: str, *, fetch: bool) -> _Mirror:
    """The mirror of source, brought up to date unless fetch is False."""
    name = re.sub(r"[^A-Za-z0-9.]+", "-", address.rpartition(":")[2])[-40:].strip("-.")
    path = home() / "mirrors" / f"{name}-{sha256(address.encode()).hexdigest()[:12]}.git"
    stamp = _stamp(Path(source)) if fetch else ""
    known = _read_note(path)
    if known is None:
        files.make_whole(path, _init_bare)
    elif not fetch or (stamp and known.stamp == stamp):
        return known
    before = _tags(path) if known else {}
    _fetch(address, source, path)
    if is_builtin(address):
        _tag_releases(path, _HEAD)
    head = git.run_bare("rev-parse", f"{_HEAD}^{{commit}}", repository=path)
    mirror = _Mirror(path, head, _describe(path, head), stamp, seen=time.time())
    if known:
        mirror = _with_moves(mirror, known, before)
    _note(mirror)
    return mirror


def _with_moves(mirror: _Mirror, known: _Mirror, before: Mapping[str, str]) -> _Mirror:
    """Return the mirror with what became of its tags since it was known."""
    after = _tags(mirror.path)
    missing = {ref: when for ref, when in known.missing.items() if ref not in before}
    seen = {**dict.fromkeys(before, known.seen), **missing}
    found = find_moves({**before, **dict.fromkeys(missing)}, after, seen, mirror.seen)
    moves = {**known.moves, **{tag: (*known.moves.get(tag, ()), found[tag]) for tag in found}}
    still = {ref: when for ref, when in missing.items() if ref not in after}
    return replace(mirror, moves=moves, missing=still)


def _tags(mirror: Path) -> dict[str, str]:
    """Return the commit that each tag names."""
    form = "--format=%(refname:lstrip=2) %(if)%(*objectname)%(then)%(*objectname)%(else)"
    lines = git.run_bare("for-each-ref", f"{form}%(objectname)%(end)", "refs/tags",
                         repository=mirror).splitlines()  # fmt: skip
    return {tag: commit for tag, _, commit in (line.rpartition(" ") for line in lines)}


def _read_note(path: Path) -> _Mirror | None:
    """Return what is noted of the mirror at path; None if there is none, or it cannot be read."""
    try:
        known = json.loads((path / _NOTE).read_text(encoding="utf-8"))
        moves = {
            tag: tuple(Move(**move) for move in some) for tag, some in known.pop("moves").items()
        }
        return _Mirror(path, moves=moves, **known)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _note(mirror: _Mirror) -> None:
    content = asdict(mirror)
    del content["path"]
    files.write_text(mirror.path / _NOTE, json.dumps(content))


def _init_bare(folder: Path) -> None:
    git.run("init", "--bare", "-q", "--template=", ".", cwd=folder)


def _stamp(source: Path) -> str:
    """What changes when a source on this machine does; "" for one that has to be asked."""
    if source.is_file():
        status = source.stat()
        return f"{source} {status.st_size} {status.st_mtime_ns}"
    if source.is_dir():
        run = partial(git.run, cwd=source)
        if not (source / ".git").exists():
            run = partial(git.run_bare, repository=source)
        refs = run("for-each-ref", "--format=%(objectname) %(refname)")
        head = run("rev-parse", "HEAD")
        return sha256(f"{source}\n{head}\n{refs}".encode()).hexdigest()
    return ""


def _fetch(address: str, source: str, mirror: Path) -> None:
    if source == str(_BUNDLE) and _SHALLOW.exists():
        (mirror / "shallow").write_bytes(_SHALLOW.read_bytes())
    _clear_stale_locks(mirror)
    refs = (f"+HEAD:{_HEAD}", "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
    options = ("--quiet", "--no-write-fetch-head", "--update-shallow", "--no-auto-gc")
    try:
        git.run_bare("fetch", *options, "--end-of-options", source, *refs, repository=mirror)
    except git.GitError as error:
        reason = error.message.partition(": ")[2]
        raise FetchError(f"The template {address} cannot be fetched: {reason}.") from None


def _clear_stale_locks(mirror: Path) -> None:
    """Removes git's locks of a fetch that was killed: of those that run, we are the only one."""
    until = time.monotonic() + _PATIENCE
    for lock in (*mirror.glob("*.lock"), *(mirror / "refs").rglob("*.lock")):
        while lock.exists() and time.monotonic() < until:
            time.sleep(0.05)
        lock.unlink(missing_ok=True)


def _tag_releases(mirror: Path, head: str) -> None:
    """Tags every commit up to head that changed project.version, for clones without tags."""
    pickaxe = ("--no-textconv", "-G", r'^version = "', "--format=%H", "--reverse")
    commits = git.run_bare("log", *pickaxe, head, "--", "pyproject.toml", repository=mirror).split()
    tags = set(git.run_bare("tag", "--list", repository=mirror).split())
    last = None
    for commit in commits:
        text = git.run_bare("show", "--no-textconv", f"{commit}:pyproject.toml", repository=mirror)
        version = tomllib.loads(text).get("project", {}).get("version")
        if version and version != last and "dev" not in version and f"v{version}" not in tags:
            git.run_bare("update-ref", f"refs/tags/v{version}", commit, repository=mirror)
        last = version


def _describe(mirror: Path, commit: str) -> str:
    return git.run_bare("describe", "--tags", "--always", commit, repository=mirror)


def _commit(mirror: _Mirror, ref: str | None, *, is_builtin: bool) -> tuple[str, str | None]:
    """The commit that ref names, and the tag if it is one: a commit can have several."""
    if ref is None:
        ref = None if is_builtin else _newest_release(mirror.path)
    if ref is None or ref == "HEAD":
        return mirror.head, None
    for candidate in (f"refs/tags/{ref}", f"refs/heads/{ref}", ref):
        try:
            pattern = f"{candidate}^{{commit}}"
            found = git.run_bare(
                "rev-parse", "--verify", "--end-of-options", pattern, repository=mirror.path
            )
        except git.GitError:
            continue
        return found, ref if candidate.startswith("refs/tags/") else None
    names = git.run_bare("for-each-ref", "--format=%(refname:lstrip=2)", "refs/tags", "refs/heads",
                    repository=mirror.path)  # fmt: skip
    raise RefError(unknown("ref", ref, names.split()).message)


def _newest_release(mirror: Path) -> str | None:
    """The highest tag that is a version and no pre-release, as Copier chooses it."""
    from packaging.version import InvalidVersion, Version

    def version(tag: str) -> Version | None:
        try:
            return Version(tag)
        except InvalidVersion:
            return None

    tags = git.run_bare("tag", "--list", repository=mirror).split()
    releases = [(found, tag) for tag in tags if (found := version(tag)) and not found.is_prerelease]
    return max(releases)[1] if releases else None


def _folder(mirror: Path, commit: str) -> Path:
    """The files of a commit, in a repository of their own that borrows the mirror's objects.

    `clone --shared` would do, if it did not refuse to share with a shallow mirror.
    """
    folder = home() / "checkouts" / mirror.stem / commit
    if folder.exists():
        os.utime(folder)
        return folder
    _remove_unused(folder.parent)

    def fill(clone: Path) -> None:
        git.run("init", "-q", "--template=", ".", cwd=clone)
        objects = clone / ".git" / "objects"
        files.write_text(objects / "info" / "alternates", f"{mirror / 'objects'}\n")
        if (mirror / "shallow").exists():
            (clone / ".git" / "shallow").write_bytes((mirror / "shallow").read_bytes())
        tags = "+refs/tags/*:refs/tags/*"
        git.run("fetch", "-q", "--no-write-fetch-head", str(mirror), tags, cwd=clone)
        git.run_foreign("checkout", "-q", "--detach", commit, cwd=clone)
        if (clone / ".gitmodules").exists():
            git.run_foreign("submodule", "update", "--init", "--recursive", cwd=clone)

    files.make_whole(folder, fill)
    return folder


def _remove_unused(checkouts: Path) -> None:
    oldest = time.time() - _KEPT_DAYS * 24 * 3600
    for folder in checkouts.glob("*"):
        if folder.stat().st_mtime < oldest:
            files.remove(folder)
