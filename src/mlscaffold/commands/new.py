"""mlscaffold new."""

from __future__ import annotations

import click


@click.command("new")
def command() -> None:
    """Make a repository from the template, and train its first model."""
