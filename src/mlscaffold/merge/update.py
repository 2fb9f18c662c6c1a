"""An update from beginning to end: which versions, what it would do, doing it, taking it back."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from mlscaffold import answers, git, store, versions
from mlscaffold.answers import Answers
from mlscaffold.errors import MlscaffoldError, unknown
from mlscaffold.merge import (
    apply,
    branch,
    index,
    journal,
    locking,
    obstacles,
    programs,
    repository,
    snapshot,
)
from mlscaffold.merge.plan import Plan
from mlscaffold.merge.planning import planned
from mlscaffold.merge.repository import Repository
from mlscaffold.merge.snapshot import Snapshot
from mlscaffold.versions import Rendered, Step

GO_BACK = "To go back:  mlscaffold update --abort"


@dataclass(frozen=True)
class Request:
    """What was asked for.

    trusts: whether the template of an address may run code
    ask: whether there is a person to answer new questions
    say: is told what a person has to know before it happens
    """

    place: Path
    answers_file: str | None = None
    to: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    trusts: Callable[[str], bool] = lambda _address: False
    ask: bool = False
    skip_tasks: bool = False
    say: Callable[[str], None] = lambda _text: None
    dry_run: bool = False
    with_diff: bool = False
    branch: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What an update did, or would do.

    notes: what the user has to know besides
    programs: what programs of the template did to files, by path
    not_committed: those of these files that had been edited and not committed
    unresolved: conflicts of an earlier merge
    obstacle: why the update would be refused that was tried without writing
    left_out: programs of the template that a commit on a branch does without
    commit: the commit on the branch that was asked for
    """

    root: Path
    plans: tuple[Plan, ...] = ()
    notes: tuple[str, ...] = ()
    programs: Mapping[str, programs.Change] = field(default_factory=dict)
    not_committed: tuple[str, ...] = ()
    diff: str = ""
    commit: str | None = None
    unresolved: tuple[str, ...] = ()
    obstacle: str = ""
    left_out: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not self.programs and all(plan.is_empty for plan in self.plans)

    @property
    def needs_look(self) -> bool:
        is_incomplete = bool(self.unresolved or self.left_out)
        return is_incomplete or any(plan.needs_look for plan in self.plans)


def run(request: Request) -> Outcome:
    """Updates a project. Raises MlscaffoldError, and changes nothing, when it cannot."""
    found = answers.find(request.place, request.answers_file)
    project = _open(found)
    if request.dry_run:
        apply.check_not_interrupted(project)
        return _update(request, project, found, ())
    if request.branch:
        branch.check_name(project, request.branch)
    with journal.locked(project):
        recovered = apply.recover(project)
        if recovered:  # the answers may be others now
            found = answers.find(request.place, request.answers_file)
            project = _open(found)
        return _update(request, project, found, tuple(one.text for one in recovered))


@dataclass(frozen=True)
class Aborted:
    """What going back left for a person to look at.

    edited: files that were edited since the update, and stay as they are
    kept: files that were taken back, and whose content until then is in .git/mlscaffold/kept,
        as a program of the template or a person may have written it
    """

    edited: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()


def abort(place: Path, answers_file: str | None = None) -> Aborted:
    """Take the last update of a project back. Raises MlscaffoldError where there is none."""
    project = repository.open_at(_root(place))
    with journal.locked(project):
        if taken := snapshot.read(project):
            interrupted = snapshot.repository_of(project, taken)
            _check_named(project, interrupted)
            return Aborted(kept=apply.abort_interrupted(project, taken))
        recovered = apply.recover(project)
        updates = _updates_of(_named(project, journal.all_of(project)), answers_file)
        if recovered and not updates:
            return Aborted(tuple(path for one in recovered for path in one.edited))
        return Aborted(apply.abort(_last_update(project, updates, answers_file)))


def _open(found: Sequence[Answers]) -> Repository:
    """Return the repository, for an update of these answers files."""
    files = tuple(one.file for one in found)
    return replace(repository.open_at(found[0].root), answers_files=files)


def _named(project: Repository, every: Sequence[tuple[Repository, Any]]) -> list[Repository]:
    """Return the updates of the project that the folder is in, the newest first.

    That is the nearest folder above with an update or with an answers file: a project within
    another one is not the other one.
    """
    folder = Path(project.prefix)
    for part in (folder, *folder.parents):
        prefix = "" if part == Path() else f"{part.as_posix()}/"
        found = [of for of, _ in every if of.prefix == prefix]
        if found or answers.files_in(project.top / part):
            return found
    return []


def _updates_of(updates: Sequence[Repository], answers_file: str | None) -> list[Repository]:
    return [of for of in updates if answers_file is None or answers_file in of.answers_files]


def _last_update(
    project: Repository, updates: Sequence[Repository], answers_file: str | None
) -> Repository:
    """Return the newest of the updates; raise where there is none."""
    if not updates:
        others = sorted({of.prefix.rstrip("/") or "." for of, _ in journal.all_of(project)})
        more = f" There are updates of other projects here: {', '.join(others)}." if others else ""
        which = f"{answers_file} in {project.project}" if answers_file else str(project.project)
        raise MlscaffoldError(f"There is no update of {which} to go back from.{more}")
    newest = updates[0]
    if answers_file and len(newest.answers_files) > 1:
        names = " and ".join(newest.answers_files)
        raise MlscaffoldError(
            f"The last update was one of {names} together. To take it back, leave out "
            "--answers-file"
        )
    return newest


def _check_named(project: Repository, interrupted: Repository) -> None:
    """Raise if the update that was interrupted is of another project than the one named."""
    if not _named(project, [(interrupted, None)]):
        raise MlscaffoldError(
            f"An update of {interrupted.project} was interrupted. Take that back first: "
            f"mlscaffold update --abort {shlex.quote(str(interrupted.project))}"
        )


def _root(place: Path) -> Path:
    if not place.is_dir():
        raise MlscaffoldError(f"{place} is not a folder.")
    return place.resolve()


def _update(
    request: Request, project: Repository, found: Sequence[Answers], notes: tuple[str, ...]
) -> Outcome:
    steps = [versions.choose(one, request.to) for one in found]
    runs_code = not (request.dry_run or request.branch)
    for step in steps:
        trusted = request.trusts(step.answers.address)
        skip = request.skip_tasks
        versions.check_trust(step, trusted=trusted, runs_code=runs_code, skip_tasks=skip)
    data = _shared_out(request.data, steps)
    unreachable = dict.fromkeys(step.unreachable for step in steps if step.unreachable)
    notes = (*notes, *(f"{reason} {versions.MORE_MAY_BE}" for reason in unreachable))
    with ExitStack() as stack:
        guard = _Guard(project, request.say, stack)
        if runs_code and (migrations := _migrations_before(steps)):
            programs.check_committed(project)
            guard.run(migrations)
        pairs = _plan_each(stack, request, project, steps, data, guard.changed_files())
        plans = tuple(plan for plan, _ in pairs)
        diff = "\n".join(map(diff_of, plans)) if request.with_diff else ""
        outcome = Outcome(found[0].root, plans, notes, guard.changes, diff=diff)
        if outcome.is_empty and all(step.stays for step in steps):
            return replace(outcome, unresolved=index.unresolved(project))
        if request.dry_run:
            return replace(outcome, obstacle=_obstacle(request, project, steps, plans))
        outcome = _with_locks(request, outcome)
        if request.branch:
            return _onto_branch(request, request.branch, steps, outcome)
        return _into_project(request, guard, steps, pairs, outcome)


class _Guard:
    """Runs programs in a project, which an error within the stack makes what it was.

    It changes as it runs them: it notes the project before the first one, and what they did.
    """

    def __init__(self, project: Repository, say: Callable[[str], None], stack: ExitStack) -> None:
        self._project = project
        self._say = say
        self._stack = stack
        self.taken: Snapshot | None = None
        self.changes: dict[str, programs.Change] = {}

    def start(self) -> Snapshot:
        """Note the project, unless that was done."""
        if self.taken is None:
            self.taken = self._stack.enter_context(programs.guarded(self._project, self._say))
        return self.taken

    def run(self, some: Sequence[Callable[[], None]]) -> None:
        """Run some programs and note what they did."""
        self.changes = self.changes | programs.run(self._project, self.start(), some)

    def changed_files(self) -> frozenset[str]:
        """Return what programs changed, but for files that git did not track before."""
        untracked = self.taken.untracked if self.taken else ()
        return frozenset(self.changes.keys() - set(untracked))

    def changed_uncommitted(self) -> tuple[str, ...]:
        """Return the files among them that had been edited and not committed."""
        edited = self.taken.signatures if self.taken else {}
        return tuple(path for path in self.changes if path in edited)


def _plan_each(
    stack: ExitStack,
    request: Request,
    project: Repository,
    steps: Sequence[Step],
    data: Mapping[str, Mapping[str, Any]],
    changed: frozenset[str],
) -> list[tuple[Plan, Rendered]]:
    """Return a plan for each step; a template sees the new answers of those that it reads."""
    fresh: dict[str, Path] = {}
    pairs = {}
    for step in versions.order(steps):
        file = step.answers.file
        pair = _planned(request, project, step, data[file], changed, dict(fresh))
        pairs[file] = stack.enter_context(pair)
        rendered = pairs[file][1]
        fresh[file] = rendered.folder / rendered.answers_file
    return [pairs[step.answers.file] for step in steps]


def _with_locks(request: Request, outcome: Outcome) -> Outcome:
    """Return the outcome with plans that bring uv.lock along, and what is left to type."""
    from_head = bool(request.branch)
    relocked = [
        locking.lock_again(plan, may_build=_may_build(request, plan), from_head=from_head)
        for plan in outcome.plans
    ]
    plans = tuple(plan for plan, _ in relocked)
    left = tuple(text for _, text in relocked if text)
    return replace(outcome, plans=plans, notes=(*outcome.notes, *left))


def _onto_branch(request: Request, name: str, steps: Sequence[Step], outcome: Outcome) -> Outcome:
    """Commit the plan on a new branch, without the template's programs."""
    if len(outcome.plans) > 1:
        raise MlscaffoldError("--branch takes one answers file: name it with --answers-file")
    (plan,) = outcome.plans
    if plan.is_empty:
        return outcome
    left_out = tuple(
        text
        for step in steps
        for text in versions.list_programs(step, skip_tasks=request.skip_tasks)
    )
    return replace(outcome, left_out=left_out, commit=branch.commit(plan, name, left_out))


def _into_project(
    request: Request,
    guard: _Guard,
    steps: Sequence[Step],
    pairs: Sequence[tuple[Plan, Rendered]],
    outcome: Outcome,
) -> Outcome:
    """Apply the plans and run the programs that come after."""
    after = list(_programs_after(request, steps, pairs))
    if after:
        guard.start()
    apply.apply(outcome.plans)
    if guard.taken:
        _run_after(guard, after)
        project = outcome.plans[0].objects.repository
        snapshot.record(project, guard.taken, steps[0].names)
    return replace(
        outcome,
        programs=guard.changes,
        not_committed=guard.changed_uncommitted(),
        notes=(*outcome.notes, *_messages(steps, pairs)),
    )


def _may_build(request: Request, plan: Plan) -> bool:
    """Say whether uv may run the project's build backend, which its template wrote."""
    return request.trusts(plan.address) or store.is_builtin(plan.address)


def _migrations_before(steps: Sequence[Step]) -> list[Callable[[], None]]:
    return [
        partial(versions.run_migrations, step, "before")
        for step in steps
        if versions.are_migrations_due(step, "before")
    ]


def _programs_after(
    request: Request, steps: Sequence[Step], pairs: Sequence[tuple[Plan, Rendered]]
) -> Iterator[Callable[[], None]]:
    """Yield the tasks and the migrations that come after."""
    for step, (plan, rendered) in zip(steps, pairs, strict=True):
        if step.stays and plan.is_empty:
            continue
        if step.new.has_tasks and not request.skip_tasks:
            yield partial(versions.run_tasks, step, rendered)
        if versions.are_migrations_due(step, "after", rendered):
            yield partial(versions.run_migrations, step, "after", rendered)


def _run_after(guard: _Guard, after: Sequence[Callable[[], None]]) -> None:
    try:
        guard.run(after)
    except MlscaffoldError as error:
        reason = error.message.rstrip(".")
        raise MlscaffoldError(f"{reason}. The update was taken back.") from None


def _messages(steps: Sequence[Step], pairs: Sequence[tuple[Plan, Rendered]]) -> Iterator[str]:
    """Yield what the templates say to people after an update."""
    for step, (plan, rendered) in zip(steps, pairs, strict=True):
        if rendered.message and not (step.stays and plan.is_empty):
            yield rendered.message


def _planned(
    request: Request,
    project: Repository,
    step: Step,
    data: Mapping[str, Any],
    changed: frozenset[str],
    fresh: Mapping[str, Path],
) -> AbstractContextManager[tuple[Plan, Rendered]]:
    return planned(
        step,
        project,
        data=data,
        migrated=_answers_now(step) if changed else None,
        ask=request.ask,
        trusted=request.trusts(step.answers.address),
        from_head=bool(request.branch),
        changed=changed,
        fresh=fresh,
    )


def diff_of(plan: Plan, *, colour: bool = False) -> str:
    """What the plan changes, as git shows it."""
    options = ("-r", "--patch", "--no-ext-diff", f"--color={'always' if colour else 'never'}")
    done = git.exchange(
        *("diff-tree", *options, plan.ours, plan.result),
        cwd=plan.objects.repository.top,
        variables=plan.objects.variables,
    )
    return done.stdout.decode("utf-8", "replace")


def _shared_out(data: Mapping[str, Any], steps: Sequence[Step]) -> dict[str, dict[str, Any]]:
    """Return the given answers by answers file: of several, each gets those to its questions."""
    if len(steps) == 1:
        return {steps[0].answers.file: dict(data)}
    every = {name for step in steps for name in step.new.questions}
    for name in data:
        if name not in every:
            raise unknown("question", name, every)
    return {
        step.answers.file: {k: v for k, v in data.items() if k in step.new.questions}
        for step in steps
    }


def _answers_now(step: Step) -> Mapping[str, Any]:
    """The answers as a migration has left them."""
    return answers.read(step.answers.root, step.answers.file).values


def _obstacle(
    request: Request, project: Repository, steps: Sequence[Step], plans: Sequence[Plan]
) -> str:
    """Return why the update would be refused; on a branch it only needs a name for that."""
    if request.branch:
        try:
            branch.check_name(project, request.branch)
        except MlscaffoldError as error:
            return error.format_message()
        return ""
    return obstacles.find(
        project, steps, plans, trusts=request.trusts, skip_tasks=request.skip_tasks
    )
