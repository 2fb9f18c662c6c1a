"""Projects made from templates, for the tests of updates."""

from __future__ import annotations

from pathlib import Path

import copier
from repositories import Files, commit, git, write

from mlscaffold import answers, versions
from mlscaffold.answers import Answers

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
    commit(folder, {})
    return folder


def edit(folder: Path, files: Files) -> None:
    """Commits what a user does."""
    write(folder, files)
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "Edit")


def step(folder: Path, to: str | None = None) -> versions.Step:
    found: Answers = answers.find(folder)[0]
    return versions.choose(found, to)
