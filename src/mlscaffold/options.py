"""Options that commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mlscaffold import yaml_text
from mlscaffold.errors import MlscaffoldError

output_format = click.option(
    "--format",
    "output_format",
    type=click.Choice(["text", "json"]),
    default="text",
    help="How to print the result.",
)
trust = click.option(
    "--trust", is_flag=True, help="Let the template run code: tasks, migrations, builds and more."
)
project = click.argument("path", metavar="[PATH]", default=".", type=click.Path(path_type=Path))
one_answers_file = click.option(
    "--answers-file", metavar="FILE", help="One answers file of several, below PATH."
)
dry_run = click.option("--dry-run", is_flag=True, help="Print what would be made; write nothing.")


def answers(
    _context: click.Context, _option: click.Parameter, pairs: tuple[str, ...]
) -> dict[str, Any]:
    """A callback that makes a dict of KEY=VALUE options."""
    for pair in pairs:
        if "=" not in pair:
            raise MlscaffoldError(f"--data {pair!r} has no '='. Write --data question=answer.")
        _refuse_bomb(*pair.split("=", 1))
    return dict(pair.split("=", 1) for pair in pairs)


def _refuse_bomb(name: str, text: str) -> None:
    """Raise for an answer that Copier could not read as YAML without all memory."""
    if "&" not in text:
        return
    import yaml

    try:
        yaml_text.check_size(text)
    except MlscaffoldError as error:
        raise MlscaffoldError(f"--data {name}: the answer {error.message}") from None
    except (yaml.YAMLError, RecursionError):  # then it is text, or the question's own error
        return


def answers_file(
    _context: click.Context, _option: click.Parameter, path: str | None
) -> dict[str, Any]:
    """A callback that reads a YAML file of answers."""
    if path is None:
        return {}
    try:
        found = yaml_text.parse(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise MlscaffoldError(f"--data-file {path}: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise MlscaffoldError(f"--data-file {path} is not a text file in UTF-8.") from None
    except MlscaffoldError as error:
        raise MlscaffoldError(f"--data-file {path} {error.message}") from None
    if not isinstance(found or {}, dict):
        raise MlscaffoldError(f"--data-file {path} has to hold lines of the form question: answer.")
    return found or {}


data = click.option(
    "--data",
    multiple=True,
    metavar="KEY=VALUE",
    callback=answers,
    help="Answer to a question; may be repeated.",
)
data_file = click.option(
    "--data-file",
    metavar="FILE",
    callback=answers_file,
    help="YAML file with answers.",
)
