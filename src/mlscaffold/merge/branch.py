"""The result of an update as commits on a new branch; work tree and index are not touched."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path

from mlscaffold import files, git
from mlscaffold.errors import MlscaffoldError, printable
from mlscaffold.merge.plan import Plan
from mlscaffold.merge.repository import Repository

_PATIENCE = 2.0


def commit(plan: Plan, name: str, left_out: Sequence[str] = ()) -> str:
    """Commit the plan's result on a new branch; return the id of the last commit.

    Conflicts are a second commit: the first is whole without them, and what there is to resolve
    is that second one's change. left_out is told in the first one's message.
    The repository's lock is held. Raises MlscaffoldError for a branch that exists already.
    """
    repository = plan.objects.repository
    ref = check_name(repository, name)
    old, new = plan.names
    subject = f"Update from template {old} to {new}" if old != new else "Update the answers"
    tree = _without_conflicts(plan)
    made = repository.head
    if tree != plan.ours:
        made = _commit_tree(plan, tree, made, _message(subject, "Left out:", left_out))
    if tree != plan.result:
        paths = [action.path for action in plan.conflicts]
        message = _message(f"Conflicts with template {new}, to be resolved", "In:", paths)
        made = _commit_tree(plan, plan.result, made, message)
    _copy_objects(plan, made)
    files.write_text(repository.state / "ref", ref)
    git.run("update-ref", "-m", subject, ref, made, "0" * len(made), cwd=repository.top)
    (repository.state / "ref").unlink()
    return made


def _without_conflicts(plan: Plan) -> str:
    """Return the tree of the result, but for the files in conflict, which are as before."""
    conflicts = {action.path for action in plan.conflicts}
    changes = {
        action.path: action.after
        for action in plan.actions
        if action.writes and action.path not in conflicts and not action.is_side
    }
    return plan.objects.splice(plan.ours, changes) if changes else plan.ours


def _message(subject: str, heading: str, lines: Sequence[str]) -> str:
    listed = [printable(f"- {line}") for line in lines]
    return "\n".join([subject, *(["", heading, *listed] if listed else [])])


def check_name(repository: Repository, name: str) -> str:
    """The full name of a branch that can be made."""
    try:
        git.run("check-ref-format", "--branch", name, cwd=repository.top)
    except git.GitError:
        raise MlscaffoldError(f"--branch {name!r}: git has no branches of that name.") from None
    ref = f"refs/heads/{name}"
    if git.run("for-each-ref", "--count=1", ref, cwd=repository.top):
        raise MlscaffoldError(f"There is a branch {name} already. Name another one.")
    return ref


def _commit_tree(plan: Plan, tree: str, parent: str, message: str) -> str:
    repository = plan.objects.repository
    command = ("commit-tree", "-p", parent, "-m", message, tree)
    variables = plan.objects.variables
    try:
        done = git.exchange(*command, cwd=repository.top, variables=variables)
    except git.GitError as error:
        if not re.search(r"identity|empty ident|auto-detect|tell me who", error.message):
            raise
        done = git.exchange(*git.NOBODY, *command, cwd=repository.top, variables=variables)
    return done.stdout.decode().strip()


def _copy_objects(plan: Plan, made: str) -> None:
    """Gives the repository the commit and all that it has not got of it."""
    repository = plan.objects.repository
    pack = git.exchange(
        *("pack-objects", "--stdout", "--quiet", "--revs"),
        cwd=repository.top,
        given=f"{made}\n^{repository.head}\n".encode(),
        variables=plan.objects.variables,
    )
    git.exchange("unpack-objects", "-q", cwd=repository.top, given=pack.stdout)


def clear_stale_lock(repository: Repository) -> None:
    """Removes the lock of a ref that an update was about to make when it was killed.

    That update is over, as we hold the project; its git may live on for a moment.
    """
    noted = repository.state / "ref"
    if not noted.exists():
        return
    lock = Path(f"{repository.common_dir / noted.read_text(encoding='utf-8')}.lock")
    until = time.monotonic() + _PATIENCE
    while lock.exists() and time.monotonic() < until:
        time.sleep(0.05)
    lock.unlink(missing_ok=True)
    noted.unlink()
