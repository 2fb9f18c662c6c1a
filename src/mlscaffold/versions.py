"""The versions of a project's template: the recorded one, the one to come, and both as files."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from mlscaffold import external_data, git, git_paths, store, template
from mlscaffold.answers import Answers
from mlscaffold.errors import MlscaffoldError
from mlscaffold.releases import is_older
from mlscaffold.tags import commit_at
from mlscaffold.template import Template
from mlscaffold.worker import (
    Phase,
    VersionWorker,
    can_render_fast,
    known_answers,
    operation,
    stdout_to_stderr,
)

CURRENT = "current"
MORE_MAY_BE = "There may be newer versions than are told."


@dataclass(frozen=True)
class Step:
    """From the version that a project records to the one that it is to have.

    unreachable: why the built-in template's address could not be asked for newer releases; then the
    step is to the newest that is known here
    """

    answers: Answers
    old: Template
    new: Template
    unreachable: str = ""

    @property
    def stays(self) -> bool:
        return self.old.checkout == self.new.checkout

    @property
    def names(self) -> tuple[str, str]:
        """Both versions, as `git describe` names them."""
        return str(self.old.checkout.version), str(self.new.checkout.version)


@dataclass(frozen=True)
class Rendered:
    """A version of the project as files.

    folder: where they are; its name is the project's
    answers_file: the answers file in it
    defaults: the questions that nobody answered yet, with the defaults they took
    skips: whether a path (with "/") is left alone where it exists: _skip_if_exists
    has_seeds: whether there are such paths
    context: what tasks and migrations see of the answers
    message: what the template says to people after an update
    """

    folder: Path
    answers_file: str
    defaults: Mapping[str, Any]
    skips: Callable[[str], bool]
    has_seeds: bool
    context: Any
    message: str


def choose(answers: Answers, to: str | None = None, *, fetch: bool = True) -> Step:
    """The step to the newest release, or to a tag, branch or commit, or to "current".

    A project that is ahead of the newest release stays where it is. Raises MlscaffoldError when
    the template has no such version any more, and for a downgrade that was asked for.
    With fetch=False the newest release is the newest that the last fetch brought.
    """
    if to == CURRENT:
        return stay(answers)
    unreachable = ""
    if to is None:
        new, unreachable = _newest(answers, fetch=fetch)
    else:
        new = _check_out_or_ask(answers, to)
    old = _recorded(answers, fetch=fetch and store.is_bundled(answers.address))
    if is_older(new, old):
        if to is not None:
            raise MlscaffoldError(
                f"{to} is older than {old.version}, which the project has. A project is taken "
                "back with git, not by an update."
            )
        new = old
    earlier = template.read(old)
    later = earlier if new == old else template.read(new)
    return Step(answers, earlier, later, unreachable)


def _newest(answers: Answers, *, fetch: bool) -> tuple[store.Checkout, str]:
    """The newest version, and why the built-in template's address could not be asked for it.

    The package's own version is the newest unless the address has a release that is newer still.
    """
    ours = _check_out(answers, None, fetch=fetch)
    if not store.is_bundled(answers.address):
        return ours, ""
    unreachable = ""
    try:
        if fetch:
            store.ask(answers.address)
    except store.FetchError as error:
        unreachable = f"{error.message} What mlscaffold itself brings along was taken."
    tag = store.newest_release(answers.address)
    if tag is None:
        return ours, unreachable
    released = _check_out(answers, tag, fetch=False)
    return (released if is_older(ours, released) else ours), unreachable


def stay(answers: Answers) -> Step:
    """The step that goes nowhere, which asks no other machine if it can."""
    try:
        recorded = _recorded(answers, fetch=False)
    except MlscaffoldError:
        recorded = _recorded(answers, fetch=True)
    found = template.read(recorded)
    return Step(answers, found, found)


def render(
    step: Step,
    old_folder: Path,
    new_folder: Path,
    *,
    data: Mapping[str, Any] | None = None,
    migrated: Mapping[str, Any] | None = None,
    ask: bool = False,
    trusted: bool = False,
    fresh: Mapping[str, Path] | None = None,
) -> tuple[Rendered, Rendered]:
    """Both versions; the old one with the recorded answers, the new one with those that changed.

    The folders are named like the project. migrated are the answers after a migration, data
    those given now, fresh the other answers files of the project that the same update renders, by
    their names in it. Raises MlscaffoldError naming the question whose answer is not allowed.
    """
    data, recorded = dict(data or {}), step.answers.values
    known = recorded if migrated is None else migrated
    template.check_questions(step.new, data)
    newer = _worker(step, step.new, new_folder, known, data=data, ask=ask, trusted=trusted)
    read_then = external_data.read_then(step.answers.root, step.answers.file)
    newer.reader = external_data.read_now(fresh or {})
    is_the_same = (
        step.stays
        and not data
        and known == recorded
        and not _has_new_external_data(newer, read_then)
    )
    newer.is_written = not is_the_same
    new = _render(newer, step.new)
    if is_the_same:
        return new, new
    with template.plain_errors(step.new.checkout.address):
        exclude = newer.exclusions(recorded)
    older = _worker(step, step.old, old_folder, recorded, exclude=exclude, trusted=trusted)
    older.reader = read_then
    return _render(older, step.old), new


def _has_new_external_data(worker: VersionWorker, read_then: external_data.Reader) -> bool:
    """Say whether the template would read other data of the project than it read last."""
    if not worker.external_paths():
        return False
    with template.plain_errors(worker.src_path or ""):
        names = worker.external_files()
        now = worker._external_data()
        keys = worker.external_paths()
        then = [read_then(name) for name in names]
        return any(
            data is not None and data != now[key] for key, data in zip(keys, then, strict=True)
        )


def render_recorded(step: Step, folder: Path, *, trusted: bool = False) -> Rendered:
    """The pristine render of the version that the project records."""
    recorded = replace(step, new=step.old)
    check_trust(recorded, trusted=trusted, runs_code=False)
    worker = _worker(recorded, step.old, folder, step.answers.values, trusted=trusted)
    worker.reader = external_data.read_then(step.answers.root, step.answers.file)
    worker.is_written = False
    return _render(worker, step.old)


def order(steps: Sequence[Step]) -> list[Step]:
    """Return the steps, such that a template comes after those whose answers it reads."""
    waiting, ordered = list(steps), []
    reads = {step.answers.file: _external_files(step) for step in steps if len(steps) > 1}
    while waiting:
        files = {step.answers.file for step in waiting}
        ready = [
            step
            for step in waiting
            if not reads.get(step.answers.file, set()) & (files - {step.answers.file})
        ]
        step = (ready or waiting)[0]  # two that read each other come in the order of their names
        waiting.remove(step)
        ordered.append(step)
    return ordered


def _external_files(step: Step) -> set[str]:
    worker = _worker(step, step.new, step.answers.root, step.answers.values)
    with template.plain_errors(step.new.checkout.address):
        return {posixpath.normpath(name) for name in worker.external_files()}


def check_trust(step: Step, *, trusted: bool, runs_code: bool, skip_tasks: bool = False) -> None:
    """Raises for a step that would run code of the template, unless it is trusted.

    Extensions run while rendering; tasks and migrations only where runs_code says so.
    """
    if trusted:
        return
    parts = [part for part in ("jinja_extensions",) if part in step.old.unsafe + step.new.unsafe]
    if runs_code and step.new.has_tasks and not skip_tasks:
        parts.append("tasks")
    if runs_code and any(has_migrations(step, stage) for stage in ("before", "after")):
        parts.append("migrations")
    template.check_trust(replace(step.new, unsafe=tuple(parts)), trusted=False)


def has_migrations(step: Step, stage: str) -> bool:
    """Say whether a step has migrations of a stage, whatever their conditions say."""
    return "migrations" in step.new.unsafe and bool(_migrations(step, stage))


def are_migrations_due(step: Step, stage: str, rendered: Rendered | None = None) -> bool:
    """Say whether a migration of a stage would run: its condition is true with the answers."""
    if not has_migrations(step, stage):
        return False
    worker = _program_worker(step, rendered)
    with template.plain_errors(step.new.checkout.address), operation("update"):
        return any(worker.is_due(task) for task in _migrations(step, stage))


def list_programs(step: Step, *, skip_tasks: bool = False) -> Iterator[str]:
    """Yield the commands of the template that an update would run, as its author wrote them."""
    for stage in ("before", "after"):
        if are_migrations_due(step, stage):
            worker = _program_worker(step, None)
            due = (task for task in _migrations(step, stage) if worker.is_due(task))
            yield from (f"migration: {_shown(task.cmd)}" for task in due)
    if step.new.has_tasks and not skip_tasks:
        yield from (f"task: {_shown(task.cmd)}" for task in _tasks(step))


def _shown(command: str | Sequence[str]) -> str:
    return command if isinstance(command, str) else shlex.join(map(str, command))


def run_migrations(step: Step, stage: str, rendered: Rendered | None = None) -> None:
    """Runs a trusted template's migrations of a stage in the project, with Copier's variables."""
    if has_migrations(step, stage):
        _execute(step, Phase.MIGRATE, _migrations(step, stage), rendered)


def run_tasks(step: Step, rendered: Rendered) -> None:
    """Runs a trusted template's tasks in the project, with Copier's variables."""
    if step.new.has_tasks:
        _execute(step, Phase.TASKS, _tasks(step), rendered)


def _tasks(step: Step) -> Sequence[Any]:
    worker = _worker(step, step.new, step.answers.root, {})
    with template.plain_errors(step.new.checkout.address):
        return worker.template.tasks


def _migrations(step: Step, stage: Any) -> Sequence[Any]:
    old, new = (_worker(step, source, step.answers.root, {}) for source in (step.old, step.new))
    with template.plain_errors(step.new.checkout.address):
        return new.template.migration_tasks(stage, old.template)


def _execute(step: Step, phase: Phase, tasks: Sequence[Any], rendered: Rendered | None) -> None:
    worker = _program_worker(step, rendered)
    with (
        template.plain_errors(step.new.checkout.address),
        operation("update"),
        Phase.use(phase),
        stdout_to_stderr(),
    ):
        worker._execute_tasks(tasks)


def _program_worker(step: Step, rendered: Rendered | None) -> VersionWorker:
    """Return what runs the template's programs: with the new answers, or else the recorded."""
    worker = _worker(step, step.new, step.answers.root, step.answers.values, trusted=True)
    worker.answers = rendered.context if rendered else known_answers(worker)
    return worker


def _worker(
    step: Step,
    source: Template,
    folder: Path,
    recorded: Mapping[str, Any],
    *,
    data: Mapping[str, Any] | None = None,
    ask: bool = False,
    trusted: bool = False,
    exclude: Sequence[str] = (),
) -> VersionWorker:
    if not can_render_fast():
        raise MlscaffoldError(
            "This release of Copier is one that mlscaffold does not know. Install copier 9.19.1, "
            "or update with copier update."
        )
    worker = template.worker(
        VersionWorker,
        source,
        folder,
        answers_file=Path(step.answers.file),
        data=dict(data or {}),
        defaults=not ask,
        skip_answered=ask,
        exclude=exclude,
        overwrite=True,
        unsafe=trusted,
    )
    worker.recorded, worker.project, worker.is_written = recorded, step.answers.root, False
    worker.reader = None
    return worker


def _render(worker: VersionWorker, source: Template) -> Rendered:
    with template.plain_errors(source.checkout.address), operation("update"):
        worker.run_copy()
        git_paths.refuse_in_render(worker.dst_path, source.checkout.address)
        matches, message = worker.match_skip, worker.message_after("update")
    return Rendered(
        folder=worker.dst_path,
        answers_file=worker.answers_relpath.as_posix(),
        defaults=worker.defaults_taken(),
        skips=lambda path: matches(Path(path)),
        has_seeds=bool(worker.all_skip_if_exists),
        context=worker.answers,
        message=message,
    )


def _recorded(answers: Answers, *, fetch: bool) -> store.Checkout:
    check_out = _check_out_or_ask if fetch else partial(_check_out, fetch=False)
    try:
        recorded = check_out(answers, answers.commit)
    except store.RefError:
        raise MlscaffoldError(
            f"The template {answers.address} has no version {answers.commit}, which "
            f"{answers.root / answers.file} records: its history was rewritten or is not "
            "complete. Bring that tag or commit back there, or write the commit's id for _commit."
        ) from None
    return _as_it_was(answers, recorded) if recorded.moves else recorded


def _as_it_was(answers: Answers, recorded: store.Checkout) -> store.Checkout:
    """Return the version that a tag named when the project was made from it.

    The tag has been moved since. Raises MlscaffoldError where that cannot be known.
    """
    file = answers.root / answers.file
    made = _time_of(answers)
    commit = commit_at(recorded.moves, str(recorded.commit), made)
    if commit is None:
        known = {move.old for move in recorded.moves if move.old} | {str(recorded.commit)}
        commits = " or ".join(sorted(name[:12] for name in known))
        raise MlscaffoldError(
            f"The tag {answers.commit} of the template {answers.address} was moved, and nobody "
            f"can tell which commit the project was made from. Write it for _commit into {file}: "
            f"{commits}"
        )
    if commit == recorded.commit:
        return recorded
    return replace(_check_out(answers, commit, fetch=False), version=answers.commit)


def _time_of(answers: Answers) -> float:
    """Return when the answers file was written, in seconds since the epoch."""
    file = ("--", answers.file)
    try:
        if not git.run("status", "--porcelain", *file, cwd=answers.root):
            committed = git.run("log", "-1", "--format=%at", *file, cwd=answers.root)
            if committed:
                return float(committed)
    except git.GitError:  # no repository, or one without a commit
        pass
    return (answers.root / answers.file).stat().st_mtime


def _check_out_or_ask(answers: Answers, ref: str | None) -> store.Checkout:
    """As _check_out; what the bundle does not have, the built-in template's address may have."""
    try:
        return _check_out(answers, ref)
    except store.RefError:
        if not store.is_bundled(answers.address):
            raise
    store.ask(answers.address)
    return _check_out(answers, ref, fetch=False)


def _check_out(answers: Answers, ref: str | None, *, fetch: bool = True) -> store.Checkout:
    found = store.check_out(_located(answers), ref, fetch=fetch)
    if found.commit is None:
        raise MlscaffoldError(
            f"The template {answers.address} is a folder without git, so it has no versions."
        )
    return replace(found, address=answers.address)


def _located(answers: Answers) -> str:
    """The template's address; a path that is relative is looked for where it can be meant."""
    path = Path(answers.address)
    if "://" in answers.address or path.is_absolute() or answers.address.startswith("~"):
        return store.absolute(answers.address)
    for place in (answers.root, answers.root.parent, Path.cwd()):
        if (place / path).is_file() or git.is_root(place / path):
            return str((place / path).resolve())
    return answers.address
