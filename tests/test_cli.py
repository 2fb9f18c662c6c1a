from __future__ import annotations

import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from mlscaffold.cli import COMMANDS, cli


def test_help_lists_every_command() -> None:
    shown = CliRunner().invoke(cli, ["--help"])
    assert shown.exit_code == 0
    assert all(name in shown.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_says_what_a_commands_help_says(name: str) -> None:
    command = cli.get_command(None, name)  # type: ignore[arg-type]
    assert command
    assert command.name == name
    assert command.get_short_help_str(200).rstrip(".") in COMMANDS[name]


def test_help_loads_neither_copier_nor_rich() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from mlscaffold.cli import cli; "
        "CliRunner().invoke(cli, ['--help']); "
        "print({'copier', 'rich', 'pyarrow', 'mlscaffold.commands.new'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_no_command_is_a_request_for_help() -> None:
    bare = [sys.executable, "-m", "mlscaffold"]
    done = subprocess.run(bare, capture_output=True, text=True)
    asked = subprocess.run([*bare, "--help"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == asked.stdout


@pytest.mark.parametrize(
    ("typed", "advice"),
    [
        (["staus"], "Unknown command 'staus'. Did you mean status? See mlscaffold --help."),
        (["upgrade"], "Did you mean update?"),
        (["zzz"], "There are: diff, new, status, update."),
        (["update", "--abrot"], "--abort"),
    ],
)
def test_a_typo_is_answered_with_what_was_meant(typed: list[str], advice: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mlscaffold", *typed], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert advice in done.stderr


@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("mlscaffold st", "status"),
        ("mlscaffold update --ab", "--abort"),
        ("mlscaffold diff --kind man", "managed"),
    ],
)
def test_the_shell_completes_what_is_typed_without_loading_copier(
    line: str, completed: str
) -> None:
    code = (
        "import sys\n"
        "from mlscaffold.__main__ import main\n"
        "try: main()\n"
        "finally: assert not {'copier', 'rich', 'pyarrow'} & set(sys.modules)"
    )
    variables = {
        "_MLSCAFFOLD_COMPLETE": "bash_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": str(line.count(" ")),
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **variables},
    )
    assert (done.stdout, done.stderr) == (f"plain,{completed}\n", "")


def test_version_is_printed() -> None:
    assert CliRunner().invoke(cli, ["--version"]).stdout.startswith("mlscaffold ")


@pytest.mark.parametrize("arguments", [["nwe"], ["new", "--nope"], ["new", "a", "b"]])
def test_wrong_usage_is_one_line_and_exit_code_2(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mlscaffold", *arguments], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "--help" in done.stderr


def test_a_bug_is_a_traceback_without_credentials_and_exit_code_70() -> None:
    code = (
        "from mlscaffold import __main__, cli\n"
        "def fail(**_): raise RuntimeError('https://ann:hunter2-x@host/x')\n"
        "cli.cli.main = fail\n"
        "__main__.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (70, "")
    assert done.stderr.startswith("Traceback (most recent call last):\n")
    assert "RuntimeError: https://***@host/x" in done.stderr
    assert "hunter2" not in done.stderr.replace("ann:hunter2-x@host/x')", "")
