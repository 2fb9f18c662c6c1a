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
from jinja2 import Template

from mlscaffold.cli import cli

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PACKAGE = ROOT / "template" / "src" / "{{ package_name }}"
GENERATED = "<!-- Written by scripts/docs.py from {source}; do not edit. -->"

ABOUT_COMMANDS = """\
Results go to stdout, progress and errors to stderr. Exit codes: 0 done or yes; 1 no (also when the
verdict on a first model is not promote); 2 could not tell (usage, environment, bad input: one line
says what to type next); 130 after Ctrl-C."""

ABOUT_COMPLETION = """
## Tab completion
The tab key completes commands, options and their choices. Type the line of your shell once:

| shell | line |
|---|---|
| bash 4.4 or newer | `_MLSCAFFOLD_COMPLETE=bash_source mlscaffold >> ~/.bashrc` |
| zsh | `_MLSCAFFOLD_COMPLETE=zsh_source mlscaffold >> ~/.zshrc` |
| fish | `_MLSCAFFOLD_COMPLETE=fish_source mlscaffold >> ~/.config/fish/config.fish` |

Then open a new terminal. In zsh, `autoload -Uz compinit && compinit` has to stand further up in
`~/.zshrc`."""

ABOUT_QUESTIONS = """\
What the built-in template asks. Answer ahead with `--data NAME=ANSWER`, with `--data-file`, or for
the whole organisation in the [config file](config.md). With `--data-uri`, the answers about the
table are read from the table itself."""

ABOUT_GATES = """\
What a new model has to pass, in this order, before it becomes champion; the first model too. A
round ends with one of four verdicts, which are exit codes too: 0 promote, 10 keep the champion,
20 block, 30 the data broke its contract. Each gate has been seen to fail: `data/must_fail/` and
`tests/gates/` of every project hold the bad batches and the bad models that it must stop.
"""

ABOUT_THRESHOLDS = """\
They stand in the project's own `training/gates.yaml`; an unknown key is an error.
`gate --self-test` measures how often equal models would be promoted, and the smallest gain that the
holdout can show.
"""

GATES = {
    "contract": ("Does every batch keep `data/contract.yaml`?", "30, nothing is trained"),
    "leakage": (
        "Does no column or pair of columns give the target away, but for `accepted_leaks`?",
        "block",
    ),
    "look-ahead": (
        "Only of a forecast: is every feature the same when all that is later than its origin is "
        "altered, or left out together with what is older than `needed` in `forecast.py`?",
        "block",
    ),
    "floor": ("Does the metric on the frozen holdout reach `floor`?", "block"),
    "dummy": ("Is it better than a constant, beyond doubt?", "block"),
    "seasonal naive": ("Only of a forecast: is it better than last season, beyond doubt?", "block"),
    "linear": ("Is it not clearly worse than a linear model?", "block"),
    "champion": (
        "Is it better than the champion on the holdout or on the newest window, and worse on "
        "neither? A paired bootstrap on the same rows; ties do not count. Of a forecast, dates "
        "within a horizon are drawn together.",
        "keep",
    ),
    "slices": (
        "Is no slice, of a forecast no horizon either, further than `slice_gap` below the whole, "
        "beyond chance?",
        "block",
    ),
    "calibration": ("Is the mean error of what was predicted small enough?", "block"),
    "latency": ("Is one row answered within `latency_ms`?", "block"),
    "size": ("Is the model's file smaller than `size_mb`?", "block"),
    "model card": ("Is it written down what the model is for?", "block"),
}


def commands_page() -> str:
    context = click.Context(cli, info_name="mlscaffold")
    lines = ["# Commands", GENERATED.format(source="src/mlscaffold/commands"), ""]
    lines += [ABOUT_COMMANDS]
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        lines += ["", *_command_section(command, click.Context(command, context, name))]
    lines += [ABOUT_COMPLETION]
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
    code = (PACKAGE / "training" / "gates.py").read_text("utf-8")
    if (found := set(re.findall(r'(?:Gate|_at_most)\("([\w -]+)"', code))) != GATES.keys():
        sys.exit(f"GATES in scripts/docs.py is not what gates.py has: {found ^ GATES.keys()}")
    lines = ["# Gates", GENERATED.format(source="template/training/gates.yaml.jinja"), ""]
    lines += [ABOUT_GATES, "| gate | what it asks | if not |", "|---|---|---|"]
    lines += [f"| {name} | {asks} | {otherwise} |" for name, (asks, otherwise) in GATES.items()]
    lines += ["", "## Thresholds", ABOUT_THRESHOLDS]
    lines += ["| key | classification | regression, forecasting | meaning |", "|---|---|---|---|"]
    lines += [f"| {' | '.join(cells)} |" for cells in _thresholds()]
    return "\n".join(lines) + "\n"


def _thresholds() -> Iterator[list[str]]:
    """Each key of gates.yaml: its value for both tasks, and its comment."""
    source = (ROOT / "template" / "training" / "gates.yaml.jinja").read_text("utf-8")
    texts = [Template(source).render(task=task) for task in ("classification", "regression")]
    for lines in zip(*(text.splitlines() for text in texts), strict=True):
        parsed = [re.fullmatch(r"(\w+): *(\S+) *# *(.*)", line) for line in lines]
        if parsed[0] and parsed[1]:
            key, value, meaning = parsed[0].groups()
            _, other, longer = parsed[1].groups()
            added = longer.removeprefix(meaning).lstrip(", ")
            yield [f"`{key}`", value, other, meaning + (f" ({added}, of a number)" * bool(added))]


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
