"""mlscaffold update: a project on another version of its template, without losing a line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlscaffold import config, git, options, output
from mlscaffold.errors import MlscaffoldError

if TYPE_CHECKING:
    from mlscaffold.merge.plan import Plan
    from mlscaffold.merge.update import Aborted, Outcome

_SHOWN = 6
_WORDS = {"create": "created", "update": "updated", "merge": "merged", "delete": "deleted"}


@click.command("update")
@options.project
@click.option("--to", metavar="REF", help="Version to go to: a tag, branch, commit, or current.")
@options.data
@options.data_file
@click.option("--defaults", is_flag=True, help="Take the default of every new question.")
@options.one_answers_file
@options.trust
@click.option("--skip-tasks", is_flag=True, help="Leave out the template's tasks.")
@click.option("--dry-run", is_flag=True, help="Print what would be done; write nothing.")
@click.option("--diff", "with_diff", is_flag=True, help="Show the changes, line by line.")
@click.option("--branch", metavar="NAME", help="Commit on a new branch; touch no file here.")
@click.option("--abort", is_flag=True, help="Go back to before the last update.")
@options.output_format
def command(
    path: Path,
    to: str | None,
    data: dict[str, Any],
    data_file: dict[str, Any],
    defaults: bool,
    answers_file: str | None,
    trust: bool,
    skip_tasks: bool,
    dry_run: bool,
    with_diff: bool,
    branch: str | None,
    abort: bool,
    output_format: str,
) -> None:
    """Bring a project to another version of its template, without losing a line.

    PATH is the project, by default the one you are in. The template's change since the recorded
    version is merged into your files by git; what both sides changed becomes a conflict, as after
    any merge. It is done wholly or not at all, and --abort takes it back.
    """
    git.check_version()
    from mlscaffold import template
    from mlscaffold.merge import update

    if abort:
        _print_aborted(update.abort(path, answers_file), output_format)
        return
    settings = config.load()
    outcome = update.run(
        update.Request(
            place=path,
            answers_file=answers_file,
            to=to,
            data={**data_file, **data},
            trusts=lambda address: trust or template.trusts(settings, address),
            ask=output.is_interactive() and not defaults and output_format == "text",
            skip_tasks=skip_tasks,
            say=output.note,
            dry_run=dry_run,
            with_diff=with_diff,
            branch=branch,
        )
    )
    is_written = not (dry_run or outcome.is_empty or (branch and not outcome.commit))
    if output_format == "json":
        output.as_json(_describe(outcome, is_written))
    else:
        _print(outcome, is_written, branch)
    if outcome.obstacle:
        raise MlscaffoldError(f"The update would be refused: {outcome.obstacle}")
    if outcome.needs_look:
        raise SystemExit(1)


def _print_aborted(aborted: Aborted, output_format: str) -> None:
    if output_format == "json":
        copies = list(aborted.kept)
        output.as_json({"aborted": True, "kept": list(aborted.edited), "copies": copies})
        return
    if aborted.edited:
        names = ", ".join(aborted.edited)
        raise MlscaffoldError(f"Taken back, but for what was edited since: {names}.")
    output.result("The project is as it was before the update.")
    if aborted.kept:
        names = ", ".join(aborted.kept)
        output.note(f"What these files held until now is in .git/mlscaffold/kept: {names}")


def _describe(outcome: Outcome, is_written: bool) -> dict[str, Any]:
    found = {
        "path": str(outcome.root),
        "written": is_written,
        "needs_look": outcome.needs_look,
        "updates": [plan.as_json() for plan in outcome.plans],
        "programs": dict(outcome.programs),
        "commit": outcome.commit,
        "left_out": list(outcome.left_out),
        "obstacle": outcome.obstacle or None,
        "notes": list(outcome.notes),
        "unresolved": list(outcome.unresolved),
    }
    return {**found, "diff": outcome.diff} if outcome.diff else found


def _print(outcome: Outcome, is_written: bool, branch: str | None) -> None:
    from mlscaffold.merge.update import GO_BACK

    for plan in outcome.plans:
        output.result(_headline(plan))
        for line in _lines(plan):
            output.result(f"  {line}")
    if outcome.programs:
        output.result(f"  {'programs':<10}{_what_programs_did(outcome)}")
    if outcome.not_committed:
        names = ", ".join(outcome.not_committed)
        output.note(f"Programs of the template changed what you had not committed: {names}")
    if outcome.diff:
        output.result(outcome.diff)
    for note in outcome.notes:
        output.note(output.plain(note))
    if outcome.unresolved:
        output.note(f"Still in conflict: {', '.join(outcome.unresolved)}")
    for program in outcome.left_out if outcome.commit else ():
        output.result(f"  {'left out':<10}{output.plain(program)}")
    if outcome.commit:
        output.result(f"Commit {outcome.commit[:7]} on branch {branch}; nothing here was touched.")
        if any(plan.conflicts for plan in outcome.plans):
            output.result("The conflicts are in that commit: resolve them on the branch.")
        if outcome.left_out:
            output.result("Run what was left out on the branch, or do what it does by hand.")
    elif any(plan.conflicts for plan in outcome.plans) and is_written:
        output.result("Resolve it as after any git merge, then commit.")
    if is_written and not outcome.commit:
        output.result(GO_BACK)
    elif not outcome.is_empty and not outcome.commit:
        output.result("Nothing was written.")


def _what_programs_did(outcome: Outcome) -> str:
    parts = []
    for word in ("created", "changed", "removed"):
        paths = [path for path, change in outcome.programs.items() if change == word]
        if paths:
            more = f", … {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
            parts.append(f"{word} {', '.join(paths[:_SHOWN])}{more}")
    return "; ".join(parts)


def _headline(plan: Plan) -> str:
    old, new = plan.names
    if plan.is_empty:
        return f"The project is on template {new}; there is nothing to do."
    return f"template {new}" if plan.stays else f"template {old} → {new}"


def _lines(plan: Plan) -> Iterator[str]:
    """What happened, one line for each kind, and for each file that a person has to look at."""
    for kind, word in _WORDS.items():
        paths = [
            a.path
            for a in plan.actions
            if a.kind == kind and a.reason != "moved" and not a.needs_look
        ]
        if paths:
            rest = f"  … {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
            yield f"{word:<10}{'  '.join(paths[:_SHOWN])}{rest}"
        for action in plan.actions:
            if action.kind == kind and action.needs_look:
                yield f"{word:<10}{action.path}: {action.reason}"
    for action in plan.of("move"):
        note = f"   ({action.reason})" if action.reason else ""
        yield f"{'moved':<10}{action.source} → {action.path}{note}"
    for name, value in plan.defaults.items():
        yield f"{'answered':<10}{name}: {value!r}, the default of a new question"
    for action in plan.of("keep"):
        yield f"{'kept':<10}{action.path}: {action.reason}"
    for action in plan.conflicts:
        yield f"{'conflict':<10}{action.path}  {action.reason}".rstrip()
