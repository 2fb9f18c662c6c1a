"""mlscaffold status: whether a project is behind its template or has drifted from it."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlscaffold import answers, config, git, options, output
from mlscaffold.ownership import KINDS

if TYPE_CHECKING:
    from mlscaffold.drift import Difference
    from mlscaffold.merge.plan import Kind as Doing
    from mlscaffold.merge.plan import Plan
    from mlscaffold.releases import Gap
    from mlscaffold.standing import Standing

_MOST_FILES = 5
_MOST_LINES = 12
# What an update does to a file, as it is said after "would".
_DOINGS: tuple[Doing, ...] = ("create", "update", "merge", "move", "delete")
_WORDS = {"edited": "edited", "deleted": "deleted", "mode": "mode changed", "type": "type changed"}


@click.command("status")
@options.project
@options.one_answers_file
@options.trust
@options.output_format
def command(path: Path, answers_file: str | None, trust: bool, output_format: str) -> None:
    """Say whether a project is behind its template or has drifted from it.

    Tells the version and the newest, what changed between them, which files of the template
    differ from how they were rendered, and what an update would do. A managed file that differs
    without a waiver has drifted. The template's address is asked for newer versions. Exit code 0 if
    the project is current and undrifted, 1 if not, 2 also if it is as good as is known but the
    template could not be asked; where the address of the built-in template does not answer, the
    releases that mlscaffold brings along do.
    """
    git.check_version()
    projects, settings = answers.find(path, answers_file), config.load()
    from mlscaffold import standing, template, versions

    found = [
        standing.look(project, trusted=trust or template.trusts(settings, project.address))
        for project in projects
    ]
    is_good = standing.is_good(found)
    if output_format == "json":
        templates = [one.as_json() for one in found]
        root = str(found[0].answers.root)
        output.as_json({"path": root, "is_good": is_good, "templates": templates})
    else:
        _print(found, path)
    for one in found:
        if one.unreachable:
            output.note(f"mlscaffold: {one.unreachable} {versions.MORE_MAY_BE}")
    if not is_good:
        raise SystemExit(1 if is_good is False else 2)


def _print(found: Sequence[Standing], path: Path) -> None:
    for one in found:
        if len(found) > 1:
            output.result(one.answers.file)
        for name, lines in _sections(one):
            for number, line in enumerate(lines):
                output.result(f"  {name if number == 0 else '':<10}{output.plain(line)}".rstrip())
    place = "" if path == Path() else f" {shlex.quote(str(path))}"
    if any(one.plan for one in found):
        output.result(f"Next:  mlscaffold update{place}")
    elif any(one.is_drifted for one in found):
        output.result(f"Next:  mlscaffold diff --kind managed{place}")


def _sections(one: Standing) -> Iterator[tuple[str, list[str]]]:
    """What is told of one template: a name, and its lines."""
    yield "template", [_version(one)]
    yield "drift", list(_drift(one.differences))
    outlook = [_outlook(one.plan)] if one.plan else []
    refusal = [f"would be refused: {one.obstacle}"] if one.obstacle else []
    if outlook or refusal:
        yield "update", [*outlook, *refusal]
    if one.gap and one.gap.changelog:
        yield "changes", _shortened(one.gap.changelog.splitlines())


def _version(one: Standing) -> str:
    if one.unreachable:
        newest = f"newest known {one.newest}" if one.gap else "none newer known"
    else:
        newest = f"newest {one.newest}" if one.gap else "the newest"
    return f"{one.version}, {newest}{_distance(one.gap)}"


def _distance(gap: Gap | None) -> str:
    if gap is None:
        return ""
    number, what = (len(gap.releases), "release") if gap.releases else (gap.commits, "commit")
    return f" ({_count(number, what)}, {_count(gap.days, 'day')})"


def _drift(differences: Sequence[Difference]) -> Iterator[str]:
    """A line of numbers by kind of file, then the managed files by name."""
    if not differences:
        yield "none"
        return
    parts = []
    for kind in KINDS:
        changes = Counter(_WORDS[d.change] for d in differences if d.kind == kind)
        if changes and kind == "managed":
            parts.append(f"{kind}: " + ", ".join(f"{n} {word}" for word, n in changes.items()))
        elif changes:
            parts.append(f"{kind}: {changes.total()}")
    yield "   ".join(parts)
    managed = [difference for difference in differences if difference.kind == "managed"]
    for difference in managed[:_MOST_FILES]:
        how = "" if difference.change == "edited" else f"   {_WORDS[difference.change]}"
        yield f"  {difference.path}{how}{_waiver(difference)}"
    if len(managed) > _MOST_FILES:
        yield f"  … {len(managed) - _MOST_FILES} more"


def _waiver(difference: Difference) -> str:
    if difference.waiver is None:
        return ""
    until = "waived until" if difference.is_waived else "waiver expired on"
    return f"   {until} {difference.waiver.until}: {difference.waiver.reason}"


def _outlook(plan: Plan) -> str:
    """What the update would do; the answers file and what moves away are not counted."""
    numbers = Counter(
        action.kind
        for action in plan.actions
        if action.path != plan.answers_file and action.reason != "moved"
    )
    parts = [f"{kind} {_count(numbers[kind], 'file')}" for kind in _DOINGS if numbers[kind]]
    parts[1:] = [part.rsplit(" ", 1)[0] for part in parts[1:]]
    asked = ", ".join(plan.defaults)
    parts.append(f"take the default of {asked}" if asked else "ask nothing")
    told = f"would {', '.join(parts)}"
    if conflicts := [action.path for action in plan.conflicts]:
        told += f"; {_count(len(conflicts), 'conflict')}: {_listed(conflicts)}"
    if kept := [action.path for action in plan.of("keep") if action.needs_look]:
        told += f"; to look at: {_listed(kept)}"
    return told if plan.needs_look else f"{told}; no conflict"


def _listed(paths: Sequence[str]) -> str:
    rest = f" … {len(paths) - _MOST_FILES} more" if len(paths) > _MOST_FILES else ""
    return ", ".join(paths[:_MOST_FILES]) + rest


def _shortened(lines: list[str]) -> list[str]:
    """The first lines where a person reads, or all."""
    if not output.is_terminal() or len(lines) <= _MOST_LINES + 1:
        return lines
    return [*lines[:_MOST_LINES], f"… {len(lines) - _MOST_LINES} more lines: --format json"]


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
