"""A round as one pull request: its files in one commit on the branch `retrain`, which a person merges or not.

The commit is made beside the checkout, in an index of its own: HEAD, index and files stay as they are. It stands on
HEAD, for that is the code which the round ran on.
"""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from ..settings import COMMAND, ProjectError, Settings
from . import champion, forge, loop, records, rounds, versions

BRANCH = "retrain"
REF = f"refs/heads/{BRANCH}"
PARAMS = "params.yaml"
READ = ("src", "data/contract.yaml", "uv.lock")
FILES = (
    *("data/.gitignore", "data/holdout.parquet.dvc", "data/raw.dvc", "deployment/.gitignore"),
    *("deployment/champion.json", "deployment/code", "deployment/model.skops.dvc", "deployment/rounds"),
    *("docs/model_card.md", "docs/round.md", "dvc.lock", PARAMS, "training/metrics.json", "training/model.json"),
)


@dataclass(frozen=True)
class Proposal:
    """What became of a round's request, and the page where it stands, if there is a forge."""

    state: str
    page: str = ""


@dataclass(frozen=True)
class Remote:
    """origin's default branch, the commit that the branch `retrain` is at, and the round and parent of that commit."""

    base: str
    tip: str = ""
    round: str = ""
    parent: str = ""


def retrain(settings: Settings, say: loop.Say) -> tuple[rounds.Round | None, Proposal | None]:
    """`loop.retrain` and the request for its round, or for one made here before; (None, None) with nothing new."""
    there = forge.here()
    if message := versions.missing_driver(settings.root):
        raise ProjectError(message)
    _look(settings.root, there)
    _check(settings)
    record = loop.retrain(settings, say)
    if not record and loop.METRICS.as_posix() in _changed(settings.root):
        record = rounds.load(settings, str(loop.last(settings.root)["id"]))
    return (record, propose(settings, record, say)) if record else (None, None)


def propose(settings: Settings, record: rounds.Round, say: loop.Say) -> Proposal:
    """Commits and pushes the files of a round, and opens the request for it or changes the one that is open.

    What a person closed is not opened again, and what a person committed is not written over.
    """
    root, there = settings.root, forge.here()
    _check(settings, record)
    remote = _look(root, there)
    known = forge.listed(there, BRANCH) if there else []
    now = next((request for request in known if request.is_open), None)
    # One that was closed and opened again is open; else a person has said no to this round.
    if not (now and _is_about(now, record)):
        for request in known:
            if _is_about(request, record) and not request.is_open:
                return Proposal("closed", request.page)
    if (remote.round, remote.parent) != (record.id, versions.commit(root)):
        _publish(root, record, remote, there, say)
    if not there:
        say(f"Open a request from {BRANCH} to {remote.base}, its text is {loop.REPORT}; after its merge: git restore .")
        return Proposal("pushed")
    saved = forge.save(there, now, BRANCH, remote.base, title(record), text(settings, record, there.most))
    return Proposal("updated" if now else "opened", saved.page)


def title(record: rounds.Round) -> str:
    score = record.scores[record.metric]["value"]
    return f"Retrain: {record.verdict}, {rounds.metric_name(record.metric)} {score:.3f} ({record.id})"


def text(settings: Settings, record: rounds.Round, most: int) -> str:
    """The Markdown report, shortened to what the forge takes, and what a merge and a revert do."""
    report = (settings.root / loop.REPORT).read_text(encoding="utf-8")
    gain = f"and makes `{record.id}` the champion of dev" if record.verdict == "promote" else "and leaves the champion"
    end = f"""
---
Merging this takes the new data in {gain}. Reverting the merge brings back what was there before, and
`{COMMAND} restore` the files. Closing it leaves all as it is; this round is then not proposed again.
"""
    if len(report) + len(end) > most:
        report = re.sub(r"<details>.*?</details>", "", report, flags=re.DOTALL)
        report = report[: most - len(end) - 60].rpartition("\n")[0] + f"\n\nThe whole report is {loop.REPORT}.\n"
    return report + end


def _is_about(request: forge.Request, record: rounds.Round) -> bool:
    """Its text begins with the report's heading, which names the round."""
    return f"`{record.id}`" in request.text.partition("\n")[0]


def _check(settings: Settings, record: rounds.Round | None = None) -> None:
    """ProjectError when the work tree holds what no round made: a request could not carry it, or would not say so."""
    root, changed = settings.root, _changed(settings.root)
    moved = champion.POINTER.as_posix() in changed
    for name in changed:
        is_carried = name in FILES and (moved or name != PARAMS)
        is_forgotten = moved and _is_of_a_champion(name) and not (root / name).exists()
        if not (is_carried or is_forgotten):
            raise ProjectError(f"{name} is not committed, and a request carries a round alone: commit it first.")
    now = champion.load(root) if moved else None
    if now:
        champion.verified(root, now)
    if record and (now or record.verdict == "promote") and (now or {}).get("id") != record.id:
        raise ProjectError(f"The champion here is not that of round {record.id}: commit it first, or git restore it.")


def _is_of_a_champion(name: str) -> bool:
    """Whether a file is code or record of a champion, which go when no pointer names it any more."""
    return any(Path(name).is_relative_to(folder) for folder in (champion.CODE, records.FOLDER))


def _changed(root: Path) -> list[str]:
    """The files that are not as in HEAD, and those that a round reads and git does not know."""
    return versions.changed(root) + versions.untracked(root, *READ)


def _look(root: Path, there: forge.Forge | None) -> Remote:
    """What origin has; ProjectError when the branch is at a commit that is not as a round made it."""
    lines = _git(root, "ls-remote", "--symref", "origin", "HEAD", REF, there=there).splitlines()
    found = {name: value for value, _, name in (line.partition("\t") for line in lines if "\t" in line)}
    heads = [line.split()[1] for line in lines if line.startswith("ref:")]
    if not heads:
        raise ProjectError("origin has no branch yet that a request could go to: git push it first.")
    base = heads[0].removeprefix("refs/heads/")
    if not (tip := found.get(REF)):
        return Remote(base)
    _git(root, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "origin", REF, there=there)
    shown = _git(root, "log", "-1", "--format=%T%n%P%n%(trailers:key=Round,valueonly)", tip).split()
    # The mark names the files too: a person who amends the commit leaves the mark, but not the files.
    if len(shown) != 4 or shown[3] != shown[0]:
        if there and _is_merged(root, there, tip):
            return Remote(base, tip)
        raise ProjectError(f"origin's branch {BRANCH} has a person's commit: merge it, or delete the branch first.")
    return Remote(base, tip, shown[2], shown[1])


def _is_merged(root: Path, there: forge.Forge, tip: str) -> bool:
    """Whether a request of that very commit was merged, squashed or not: nothing is lost when the branch goes on.

    A commit that a person pushed after the merge is none of the request's; Gitea's API says it is, git's refs do not.
    """
    for request in forge.listed(there, BRANCH):
        if not (request.is_merged and request.commit == tip):
            continue
        if not there.head:
            return True
        head = there.head.format(number=request.number)
        if _git(root, "ls-remote", "origin", head, there=there).split()[:1] == [tip]:
            return True
    return False


def _publish(root: Path, record: rounds.Round, remote: Remote, there: forge.Forge | None, say: loop.Say) -> None:
    is_shared = versions.push(root)
    say("dvc push ✓" if is_shared else f"DVC has no remote, so nobody can restore what is requested. {versions.HOW}")
    commit = _commit(root, record, there)
    lease = f"--force-with-lease={REF}:{remote.tip}"
    _git(root, "push", "--quiet", lease, "origin", f"{commit}:{REF}", there=there)
    say(f"push ✓ {commit[:8]} to {BRANCH}")


def _commit(root: Path, record: rounds.Round, there: forge.Forge | None) -> str:
    """Makes the commit and returns its id; where git knows nobody, as in CI, its author is the forge's robot."""
    with TemporaryDirectory() as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder, "index"))}
        _git(root, "read-tree", "HEAD", variables=index)
        _git(root, "add", "--", *(name for name in FILES if (root / name).exists()), variables=index)
        tree = _git(root, "write-tree", variables=index).strip()
    who: dict[str, str] = {}
    if there and not _git(root, "config", "--get", "user.email", okay=(0, 1)):
        for role in ("AUTHOR", "COMMITTER"):
            who |= {f"GIT_{role}_NAME": there.author[0], f"GIT_{role}_EMAIL": there.author[1]}
    # No words of the data here: a forge tells those whom a commit's message mentions.
    message = f"{title(record)}\n\nThe report is {loop.REPORT}.\n\nRound: {record.id} {tree}"
    return _git(root, "commit-tree", tree, "-p", "HEAD", "-m", message, variables={**who, **os.environ}).strip()


def _git(
    root: Path,
    *command: str,
    variables: dict[str, str] | None = None,
    there: forge.Forge | None = None,
    okay: tuple[int, ...] = (0,),
) -> str:
    """What git prints; with a forge it is logged in there. ProjectError with git's own line when it fails."""
    environment = {**os.environ, **(variables or {}), **(forge.git_settings(there) if there else {})}
    done = subprocess.run(
        ["git", *command], cwd=root, env=environment, capture_output=True, encoding="utf-8", check=False
    )
    if done.returncode not in okay:
        meaning = forge.why(there, done.stderr) if there else ""
        # That git may not ask for a name says nothing to those who gave a token.
        is_said = meaning and "could not read Username" in done.stderr
        raise ProjectError(forge.one_line(meaning if is_said else f"{meaning}git {command[0]}: {done.stderr}"))
    return done.stdout
