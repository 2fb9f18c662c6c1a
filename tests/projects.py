"""Projects made from templates, for the tests of updates."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import copier
from repositories import Files, commit, git, tree, write

from mlscaffold import answers, versions
from mlscaffold.answers import Answers
from mlscaffold.merge import planning, repository
from mlscaffold.merge.plan import Plan

State = tuple[tuple[tuple[str, int, bytes], ...], str, str]
LONG = "".join(f"line {number}\n" for number in range(12))
ANSWERS = {"{{ _copier_conf.answers_file }}.jinja": "{{ _copier_answers|to_nice_yaml -}}\n"}


def template(folder: Path, *states: Files, **removed: tuple[str, ...]) -> Path:
    """A template repository with a release for each state: v1, v2 and so on.

    A file that a state leaves out stays as it was; `v2=("path",)` removes it.
    """
    for number, state in enumerate(states, start=1):
        for path in removed.get(f"v{number}", ()):
            git(folder, "rm", "-q", path)
        commit(folder, {**(ANSWERS if number == 1 else {}), **state}, tag=f"v{number}")
    return folder


def project(source: Path, folder: Path, *, ref: str = "v1", **data: object) -> Path:
    """A committed project, made by Copier itself."""
    copier.run_copy(
        str(source), folder, data=data, vcs_ref=ref, defaults=True, quiet=True, unsafe=True
    )
    if not any((parent / ".git").exists() for parent in (folder, *folder.parents)):
        git(folder, "init", "-q", "-b", "main")
    edit(folder, {})
    return folder


def edit(folder: Path, files: Files) -> None:
    """Commits what a user does."""
    write(folder, files)
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "Edit")


def state(folder: Path) -> State:
    """All that an update may change: files with their modes, git's index, and branches."""
    files = tuple(
        (name, (folder / name).lstat().st_mode, data) for name, data in tree(folder).items()
    )
    return tuple(sorted(files)), git(folder, "ls-files", "-s"), git(folder, "for-each-ref")


def has_journal(folder: Path) -> bool:
    """Say whether there is an update of the project's repository to go back from."""
    return any((folder / ".git" / "mlscaffold").glob("update-*"))


def step(folder: Path, to: str | None = None) -> versions.Step:
    found: Answers = answers.find(folder)[0]
    return versions.choose(found, to)


@contextmanager
def planned(folder: Path, to: str | None = None, **options: Any) -> Iterator[Plan]:
    """The plan of an update of the project in folder."""
    with planning.planned(step(folder, to), repository.open_at(folder), **options) as (plan, _):
        yield plan


def kinds(plan: Plan) -> dict[str, str]:
    """What happens to each path; the answers file, which changes always, is left out."""
    return {a.path: a.kind for a in plan.actions if ".copier-answers" not in a.path}


def content(plan: Plan, path: str) -> bytes:
    """What a path is after the plan."""
    (action,) = (action for action in plan.actions if action.path == path)
    assert action.after
    return plan.objects.read(action.after.oid)
