"""The click group; a command's module is loaded when that command is called."""

from __future__ import annotations

import importlib
from typing import Any

import click

from mlscaffold.errors import unknown

COMMANDS = {
    "new": "Make a repository from the template; with --run, train and judge its first model.",
    "update": "Bring a project to another version of its template, without losing a line.",
    "status": "Say whether a project is behind its template or has drifted from it.",
    "diff": "Show how a project differs from a pristine render of its own version.",
}


class LazyGroup(click.Group):
    """A group that knows its commands' names and first lines without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"mlscaffold.commands.{name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        is_option = name.startswith("-")  # which Click has a better error for
        if name not in COMMANDS and not is_option and not ctx.resilient_parsing:
            raise click.UsageError(unknown("command", name, COMMANDS).message, ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _print_version(ctx: click.Context, _param: click.Parameter, value: Any) -> None:
    if value and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"mlscaffold {version('mlscaffold')}")
        ctx.exit()


@click.command(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_version,
    help="Show the version and exit.",
)
@click.pass_context
def cli(context: click.Context) -> None:
    """Repositories for machine-learning solutions, made from a template and kept on it."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
