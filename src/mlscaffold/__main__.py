"""The program: runs the command line and turns an interruption into exit code 130."""

from __future__ import annotations

from mlscaffold.cli import cli


def main() -> None:
    cli(prog_name="mlscaffold")


if __name__ == "__main__":
    main()
