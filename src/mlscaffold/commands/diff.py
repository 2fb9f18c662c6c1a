"""mlscaffold diff: how a project differs from the pristine render of its own version."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlscaffold import answers, config, git, options, output
from mlscaffold.ownership import KINDS

if TYPE_CHECKING:
    from mlscaffold.drift import Difference
    from mlscaffold.pristine import Pristine

Found = tuple["Pristine", list["Difference"]]


@click.command("diff")
@options.project
@click.option(
    "--kind", "kinds", multiple=True, type=click.Choice(KINDS), help="Only files of this kind."
)
@click.option("--stat", is_flag=True, help="Show how many lines differ in each file.")
@click.option("--name-only", is_flag=True, help="Show paths only.")
@options.one_answers_file
@options.trust
@options.output_format
def command(
    path: Path,
    kinds: tuple[str, ...],
    stat: bool,
    name_only: bool,
    answers_file: str | None,
    trust: bool,
    output_format: str,
) -> None:
    """Show how a project differs from a pristine render of its own version.

    Lines with "-" are the template's, lines with "+" the project's. Files that only the project
    has are its own and not shown. Exit code 0 without a difference, 1 with one.
    """
    if stat and name_only:
        raise click.UsageError("--stat and --name-only exclude each other.")
    git.check_version()
    projects, settings = answers.find(path, answers_file), config.load()
    from mlscaffold import drift, pristine, template, versions

    with ExitStack() as stack:
        found: list[Found] = []
        for project in projects:
            trusted = trust or template.trusts(settings, project.address)
            render = stack.enter_context(pristine.rendered(versions.stay(project), trusted=trusted))
            found.append((render, [d for d in drift.find(render) if d.kind in (kinds or KINDS)]))
        if output_format == "json":
            output.as_json(_describe(found))
        else:
            _print(found, stat=stat, name_only=name_only)
    if any(differences for _, differences in found):
        raise SystemExit(1)


def _print(found: Sequence[Found], *, stat: bool, name_only: bool) -> None:
    if not any(differences for _, differences in found):
        for render, _ in found:
            output.note(f"No difference from template {render.step.names[0]}.")
        return
    root = found[0][0].root
    is_terminal = output.is_terminal()
    is_coloured = is_terminal and git.is_coloured(root)
    shape = ["--color=always" if is_coloured else "--color=never"]
    if stat:
        shape.append(f"--stat={output.width()}" if is_terminal else "--stat")
    elif name_only:
        shape.append("--name-only")
    else:
        # As git has it, from the repository's root, which is what git apply takes paths for.
        shape += ["--patch", "--no-relative", "--src-prefix=a/", "--dst-prefix=b/"]
    parts = [part for one in found for part in _parts(one, shape, with_headings=not name_only)]
    text = (b"" if name_only else b"\n").join(parts)
    if is_terminal:
        git.page(text, cwd=root)
    else:
        output.raw(text)


def _parts(found: Found, shape: Sequence[str], *, with_headings: bool) -> Iterator[bytes]:
    """What git prints for each kind of file, below a heading that says which kind it is."""
    render, differences = found
    for kind in KINDS:
        paths = [difference.path for difference in differences if difference.kind == kind]
        if not paths:
            continue
        text = render.diff(*shape, paths=paths)
        if with_headings:
            words = f"{len(paths)} file{'s' * (len(paths) > 1)} not as in template"
            line = f"{kind}: {words} {render.step.names[0]}"
            is_coloured = "--color=always" in shape
            text = output.heading(line, is_coloured=is_coloured).encode() + b"\n" + text
        yield text


def _describe(found: Sequence[Found]) -> dict[str, Any]:
    return {
        "path": str(found[0][0].root),
        "templates": [
            {
                "answers_file": render.step.answers.file,
                "address": render.step.answers.address,
                "version": render.step.names[0],
                "differences": [difference.as_json() for difference in differences],
            }
            for render, differences in found
        ],
    }
