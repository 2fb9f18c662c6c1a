"""Writes the reference pages in docs/ from the code: commands, questions and gates.

`--check` writes nothing, and fails when a page is not what the code says.
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import yaml

from mlscaffold.cli import cli

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
GENERATED = "<!-- Written by scripts/docs.py from {source}; do not edit. -->"

ABOUT_COMMANDS = """\
Results go to stdout, progress and errors to stderr. Exit codes: 0 done or yes; 1 no (also when the
verdict on a first model is not promote); 2 could not tell (usage, environment, bad input: one line
says what to type next); 130 after Ctrl-C."""

ABOUT_QUESTIONS = """\
What the built-in template asks. Answer ahead with `--data NAME=ANSWER`, with `--data-file`, or for
the whole organisation in the [config file](config.md). With `--data-uri`, the answers about the
table are read from the table itself."""

ABOUT_GATES = """\
What a new model has to pass, in this order, before it becomes champion; the first model too. The
thresholds stand in the project's own `training/gates.yaml`. A round ends with one of four verdicts,
which are exit codes: 0 promote, 10 keep the champion, 20 block, 30 the data broke its contract.
`gate --self-test` measures how often equal models would be promoted (at most 5 %), and the smallest
gain that the holdout can show.
"""


def commands_page() -> str:
    context = click.Context(cli, info_name="mlscaffold")
    lines = ["# Commands", GENERATED.format(source="src/mlscaffold/commands"), ""]
    lines += [ABOUT_COMMANDS]
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        lines += ["", *_command_section(command, click.Context(command, context, name))]
    return "\n".join(lines) + "\n"


def _command_section(command: click.Command, context: click.Context) -> Iterator[str]:
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"## `{context.command_path}`"
    yield f"```\n{context.command_path} {usage}\n```"
    yield inspect.cleandoc(command.help or "")
    yield ""
    yield "| option | what it does |"
    yield "|---|---|"
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record and isinstance(parameter, click.Option):
            option, text = (part.replace("|", "\\|") for part in record)
            yield f"| `{option}` | {text} |"


def questions_page() -> str:
    questions = {
        name: details
        for name, details in yaml.safe_load((ROOT / "copier.yml").read_text("utf-8")).items()
        if not name.startswith("_")
    }
    lines = ["# Questions", GENERATED.format(source="copier.yml"), ""]
    lines += [
        ABOUT_QUESTIONS,
        "",
        "| name | question | default | what is allowed |",
        "|---|---|---|---|",
    ]
    for name, question in questions.items():
        if question.get("when") is not False:
            cells = [f"`{name}`", question["help"], _default(question), _allowed(question)]
            lines.append(f"| {' | '.join(cells)} |".replace("  |", " |"))
    computed = [
        f"`{name}`" for name, question in questions.items() if question.get("when") is False
    ]
    reserved = questions["reserved_names"]["default"]
    lines += ["", f"Computed, never asked: {', '.join(computed)}.", ""]
    lines += [
        f"<details><summary>The {len(reserved)} names that no project can have, because Python,",
        "Windows or the project's environment use them</summary>",
        "",
        f"{', '.join(reserved)}",
        "</details>",
    ]
    return "\n".join(lines) + "\n"


def _default(question: dict[str, Any]) -> str:
    default = question.get("default")
    if isinstance(default, str) and "{" in default:
        return "from the folder's name" if "dst_path" in default else "from the answers above"
    return f"`{default}`" if default else "empty"


def _allowed(question: dict[str, Any]) -> str:
    if choices := question.get("choices"):
        if isinstance(choices, dict):
            return "; ".join(f"`{value}` ({text})" for text, value in choices.items())
        return "; ".join(f"`{value}`" for value in choices)
    rules = re.split(r"\{%.*?%\}", question.get("validator", ""))
    found = [" ".join(rule.split()) for rule in rules if rule.strip()]
    example = question.get("placeholder")
    found += [f"for example `{example}`"] if example else []
    return "; ".join(re.sub(r"\{\{.*?\}\}", "…", rule) for rule in found)


def gates_page() -> str:
    source = ROOT / "template" / "training" / "gates.yaml"
    lines = ["# Gates", GENERATED.format(source="template/training/gates.yaml"), ""]
    lines += [ABOUT_GATES, *_yaml_page(source.read_text("utf-8"))]
    return "\n".join(lines) + "\n"


def _yaml_page(text: str) -> Iterator[str]:
    """A YAML file's comments as text, its sections as headings and its keys as list entries."""
    for line in text.splitlines():
        indent, key, value, comment = _parsed(line)
        if not key:
            yield comment
        elif not indent and not value:
            yield f"\n## {key}" + (f"\n{comment}" if comment else "")
        else:
            yield f"- `{key}: {value}`" + (f": {comment}" if comment else "")


def _parsed(line: str) -> tuple[str, str, str, str]:
    content, _, comment = line.partition("#")
    match = re.match(r"( *)([\w-]+):\s*(.*?)\s*$", content)
    indent, key, value = match.groups() if match else ("", "", "")
    return indent, key, value, comment.strip()


PAGES = {"commands.md": commands_page, "questions.md": questions_page, "gates.md": gates_page}


def stale_pages() -> list[str]:
    """The pages that differ from what the code says."""
    found = []
    for name, page in PAGES.items():
        path = DOCS / name
        if not path.exists() or path.read_text("utf-8") != page():
            found.append(name)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="fail if a page is not current")
    if parser.parse_args().check:
        if stale := stale_pages():
            sys.exit(f"Not current: docs/{', docs/'.join(stale)}. Type: python scripts/docs.py")
        return
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
