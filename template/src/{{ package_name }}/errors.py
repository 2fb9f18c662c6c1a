"""The two errors that a user is meant to see, each one message without a traceback."""

from __future__ import annotations

import click


class ProjectError(click.ClickException):
    """Bad input or a broken set-up: what happened, where, and what to type next."""

    exit_code = 2


class ContractError(ProjectError):
    """The data breaks its contract: nothing is trained, the champion stays."""

    exit_code = 30
