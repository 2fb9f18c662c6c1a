"""The program: runs the command line and turns every way to end into an exit code.

Bad input is one line and exit code 2, an interruption 130, a bug of ours its traceback and 70.
"""

from __future__ import annotations

import signal
import sys
import traceback

import click

from mlscaffold.cli import cli
from mlscaffold.credentials import guard_stderr, mask

BUG = 70  # EX_SOFTWARE of sysexits.h


def main() -> None:
    guard_stderr()
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
    except Exception:
        click.echo(mask(traceback.format_exc()), err=True, nl=False)
        _stop("This is a bug. Report it with the lines above, and with what you typed.", BUG)


def _stop(message: str, code: int) -> None:
    click.echo(f"mlscaffold: {mask(message)}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
