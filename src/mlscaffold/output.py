"""The terminal: progress to stderr, results to stdout; colour only where a person looks."""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any

import click

from mlscaffold.credentials import mask, mask_all
from mlscaffold.errors import printable

WIDTH = 16
_NEXT = 7  # the columns of `Next:`


class Step:
    """One step of a command; detail is what its line says when it is done."""

    def __init__(self) -> None:
        self.detail = ""


@contextmanager
def step(name: str, doing: str = "") -> Iterator[Step]:
    """Shows that a step runs, on a terminal with a spinner; then one line with what it gave."""
    started, current = time.monotonic(), Step()
    with _spinner(f"{name:<{WIDTH}}{doing}"):
        yield current
    done(name, f"{current.detail:<36}{time.monotonic() - started:>4.0f} s")


def done(name: str, detail: str) -> None:
    """The line of a step that is done."""
    note(f"{click.style('✓', fg='green')} {name:<{WIDTH}} {detail}")


def verdict(word: str) -> str:
    """A verdict, in capitals and in its colour."""
    colour = {"promote": "green", "keep": "yellow"}.get(word, "red")
    return click.style(word.upper(), fg=colour, bold=True)


def is_interactive() -> bool:
    """Whether a person can be asked."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def is_terminal() -> bool:
    """Whether a person looks at the results."""
    return sys.stdout.isatty()


def width() -> int:
    """The columns of the terminal."""
    return shutil.get_terminal_size().columns


def heading(text: str, *, is_coloured: bool) -> str:
    return click.style(text, bold=True) if is_coloured else text


def note(text: str) -> None:
    click.echo(printable(mask(text)), err=True)


def result(text: str = "") -> None:
    click.echo(printable(mask(text)))


def plain(text: str) -> str:
    """Text of a template or a project, without what a terminal would take for a command."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", "�", printable(text))


def raw(data: bytes) -> None:
    """Bytes of another program, as they are."""
    click.echo(data, nl=False)


def as_json(value: Any) -> None:
    text = json.dumps(mask_all(value), indent=2, ensure_ascii=False, default=str)
    click.echo(printable(text))


def next_lines(commands: Sequence[tuple[str, str]]) -> list[str]:
    """What to type next, each with what it is for: beside it, or below it on a narrow terminal.

    A command stays on one line whatever its length, so that it can be copied.
    """
    column = max(len(typed) for typed, _ in commands) + 2
    longest = max(len(why) for _, why in commands)
    has_room = not is_terminal() or _NEXT + column + longest <= width()
    lines: list[str] = []
    for typed, why in commands:
        beside = f"{typed:<{column}}{why}".rstrip() if has_room else typed
        lines.append(f"{'' if lines else 'Next:':<{_NEXT}}{beside}")
        if why and not has_room:
            lines.append(f"{'':<{_NEXT}}  {why}")
    return lines


def tree(root: str, paths: Sequence[str]) -> str:
    """The paths as a tree, as people draw it."""
    lines = [f"{root}/"]
    folders: dict[str, Any] = {}
    for path in paths:
        place = folders
        for part in PurePosixPath(path).parts:
            place = place.setdefault(part, {})
    _branches(folders, "", lines)
    return "\n".join(lines)


def _branches(folder: dict[str, Any], indent: str, lines: list[str]) -> None:
    entries = sorted(folder.items(), key=lambda entry: (not entry[1], entry[0]))
    for number, (name, below) in enumerate(entries, start=1):
        is_last = number == len(entries)
        lines.append(f"{indent}{'└── ' if is_last else '├── '}{name}{'/' if below else ''}")
        _branches(below, indent + ("    " if is_last else "│   "), lines)


@contextmanager
def _spinner(text: str) -> Iterator[None]:
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        progress.add_task(text, total=None)
        yield
