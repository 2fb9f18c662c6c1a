"""The program: runs the command line; every error is one line, an interruption exit code 130."""

from __future__ import annotations

import signal
import sys

import click

from mlscaffold.cli import cli
from mlscaffold.errors import mask


def main() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(cli.main(prog_name="mlscaffold", standalone_mode=False))
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "mlscaffold"
        _stop(f"{error.format_message()} See {command} --help.", error.exit_code)
    except click.ClickException as error:
        _stop(error.format_message(), error.exit_code)
    except OSError as error:
        _stop(f"{error.filename or 'Input or output'}: {error.strerror or error}.", 2)
    except (click.Abort, KeyboardInterrupt):
        _stop("Interrupted.", 130)


def _stop(message: str, code: int) -> None:
    click.echo(f"mlscaffold: {mask(message)}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
