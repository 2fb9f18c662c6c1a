"""The one error that a user is meant to see: what happened, where, and what to type next."""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import click

from mlscaffold.credentials import mask

_PACKAGE = Path(__file__).parent


class MlscaffoldError(click.ClickException):
    """Bad input or a broken environment: one line on stderr, exit code 2, never a traceback."""

    exit_code = 2

    def __init__(self, message: str) -> None:
        super().__init__(mask(message))

    def format_message(self) -> str:
        return printable(self.message)

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"mlscaffold: {self.format_message()}", file=file, err=file is None)


def is_raised_by_us(error: BaseException) -> bool:
    """Say whether this package raised the error itself, so that it is a bug of ours."""
    innermost = None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        innermost = frame
    return innermost is not None and Path(innermost.f_code.co_filename).is_relative_to(_PACKAGE)


def printable(text: str) -> str:
    """The text, with a sign for each byte of a file name that is not UTF-8."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def unknown(what: str, name: str, valid: Iterable[str]) -> MlscaffoldError:
    """The error for a name that does not exist; it names the closest one, or else all of them."""
    from difflib import get_close_matches

    names = sorted(valid)
    close = get_close_matches(name, names, n=1)
    hint = f"Did you mean {close[0]}?" if close else f"There are: {', '.join(names) or 'none'}."
    return MlscaffoldError(f"Unknown {what} {name!r}. {hint}")
