"""An update from beginning to end: which versions, what it would do, doing it, taking it back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mlscaffold import answers, git, store, versions
from mlscaffold.answers import Answers
from mlscaffold.errors import MlscaffoldError, unknown
from mlscaffold.merge import apply, branch, index, journal, programs, repository
from mlscaffold.merge.plan import Plan
from mlscaffold.merge.planning import planned
from mlscaffold.merge.repository import Repository
from mlscaffold.versions import Rendered, Step

GO_BACK = "To go back:  mlscaffold update --abort"


@dataclass(frozen=True)
class Request:
    """What was asked for.

    trusts: whether the template of an address may run code
    ask: whether there is a person to answer new questions
    """

    place: Path
    answers_file: str | None = None
    to: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    trusts: Callable[[str], bool] = lambda _address: False
    ask: bool = False
    skip_tasks: bool = False
    dry_run: bool = False
    with_diff: bool = False
    branch: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What an update did, or would do.

    notes: what the user has to know besides
    unresolved: conflicts of an earlier merge
    commit: the commit on the branch that was asked for
    """

    root: Path
    plans: tuple[Plan, ...] = ()
    notes: tuple[str, ...] = ()
    diff: str = ""
    commit: str | None = None
    unresolved: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        return all(plan.is_empty for plan in self.plans)

    @property
    def needs_look(self) -> bool:
        return bool(self.unresolved) or any(plan.needs_look for plan in self.plans)


def run(request: Request) -> Outcome:
    """Updates a project. Raises MlscaffoldError, and changes nothing, when it cannot."""
    found = answers.find(request.place, request.answers_file)
    project = repository.open_at(found[0].root)
    if request.dry_run:
        apply.check_not_interrupted(project)
        return _update(request, project, found, ())
    if request.branch:
        branch.check_name(project, request.branch)
    with journal.locked(project):
        repaired = apply.recover(project)
        if repaired:  # the answers may be others now
            found = answers.find(request.place, request.answers_file)
        return _update(request, project, found, (repaired.text,) if repaired else ())


def abort(place: Path) -> tuple[str, ...]:
    """Takes the last update back; the paths of files that were edited since, and so stay."""
    project = repository.open_at(_root(place))
    with journal.locked(project):
        repaired = apply.recover(project)
        if repaired and journal.read(project) is None:
            return repaired.edited
        return apply.abort(project)


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
    with ExitStack() as stack:
        with _migrated(project, steps, runs_code=runs_code) as migrated:
            pairs = [
                stack.enter_context(_planned(request, project, step, given, migrated.changed))
                for step, given in zip(steps, data, strict=True)
            ]
            plans = tuple(plan for plan, _ in pairs)
            diff = "\n".join(map(diff_of, plans)) if request.with_diff else ""
            outcome = Outcome(found[0].root, plans, notes, diff)
            if outcome.is_empty and all(step.stays for step in steps):
                return replace(outcome, unresolved=index.unresolved(project))
            if request.dry_run:
                return outcome
            if request.branch:
                made, more = _commit(plans, request.branch)
                return replace(outcome, notes=(*notes, *more), commit=made)
            apply.apply(plans)
            migrated.note(project, steps[0].names)
        try:
            more = tuple(_afterwards(request, project, steps, pairs))
        except MlscaffoldError as error:
            reason = error.message.rstrip(".")
            raise MlscaffoldError(f"{reason}. The files are updated. {GO_BACK}") from None
        return replace(outcome, notes=(*notes, *more))


def _planned(
    request: Request,
    project: Repository,
    step: Step,
    data: Mapping[str, Any],
    changed: frozenset[str],
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


def _shared_out(data: Mapping[str, Any], steps: Sequence[Step]) -> list[dict[str, Any]]:
    """The given answers for each of several templates: those to its own questions."""
    if len(steps) == 1:
        return [dict(data)]
    every = {name for step in steps for name in step.new.questions}
    for name in data:
        if name not in every:
            raise unknown("question", name, every)
    return [{k: v for k, v in data.items() if k in step.new.questions} for step in steps]


@dataclass(frozen=True)
class _Migrated:
    """What migrations changed of the files that git tracks, and what was untracked before."""

    changed: frozenset[str] = frozenset()
    before: programs.Seen | None = None

    def note(self, project: Repository, names: tuple[str, str]) -> None:
        if self.before is not None:
            programs.note(project, names, self.before, migrated=self.changed)


@contextmanager
def _migrated(
    project: Repository, steps: Sequence[Step], *, runs_code: bool
) -> Iterator[_Migrated]:
    """Runs the migrations that come before; what they changed is taken back on an error."""
    waiting = [step for step in steps if runs_code and versions.has_migrations(step, "before")]
    if not waiting:
        yield _Migrated()
        return
    before = programs.check_untouched(project)
    try:
        for step in waiting:
            versions.run_migrations(step, "before")
        changed = programs.seen(project)
        tracked = frozenset(path for path, is_tracked in changed.items() if is_tracked)
        yield _Migrated(tracked, before)
    except BaseException:
        journal.clear(project)
        programs.note(project, steps[0].names, before)
        if journal.read(project):
            apply.abort(project)
        raise


def _answers_now(step: Step) -> Mapping[str, Any]:
    """The answers as a migration has left them."""
    return answers.read(step.answers.root, step.answers.file).values


def _commit(plans: Sequence[Plan], name: str) -> tuple[str | None, tuple[str, ...]]:
    if len(plans) > 1:
        raise MlscaffoldError("--branch takes one answers file: name it with --answers-file")
    (plan,) = plans
    if plan.is_empty:
        return None, ()
    if plan.conflicts:
        return None, ("There are conflicts, so no branch was made: update without --branch.",)
    return branch.commit(plan, name), ()


def _afterwards(
    request: Request,
    project: Repository,
    steps: Sequence[Step],
    pairs: Sequence[tuple[Plan, Rendered]],
) -> Iterator[str]:
    """Tasks, the migrations that come after, and uv.lock; what is left for the user to know."""
    for step, (plan, rendered) in zip(steps, pairs, strict=True):
        tasks = step.new.has_tasks and not request.skip_tasks
        migrations = versions.has_migrations(step, "after")
        is_done = step.stays and plan.is_empty
        if not is_done and (tasks or migrations):
            with programs.noted(project, plan.names):
                if tasks:
                    versions.run_tasks(step, rendered)
                versions.run_migrations(step, "after", rendered)
        address = step.answers.address
        may_build = request.trusts(address) or store.is_builtin(address)
        if left := programs.lock_again(plan, step.answers.root, may_build=may_build):
            yield left
        if rendered.message and not is_done:
            yield rendered.message
