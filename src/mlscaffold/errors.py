"""The one error that a user is meant to see: what happened, where, and what to type next."""

from __future__ import annotations

from typing import IO, Any

import click


class MlscaffoldError(click.ClickException):
    """Bad input or a broken environment: one line on stderr, exit code 2, never a traceback."""

    exit_code = 2

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"mlscaffold: {self.format_message()}", file=file, err=file is None)
