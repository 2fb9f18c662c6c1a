"""mlscaffold new: from a template, and a table of data, to a repository with a first model."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlscaffold import (
    config,
    environment,
    git,
    naming,
    options,
    output,
    store,
    surroundings,
    yaml_text,
)
from mlscaffold.environment import Environment, Round, StepError
from mlscaffold.errors import MlscaffoldError

if TYPE_CHECKING:
    from mlscaffold.project import Project
    from mlscaffold.table import Proposal
    from mlscaffold.template import Template

# The questions of a template that learns from a table; `new` answers them from the table itself.
ABOUT_DATA = {"project_name", "data_uri", "target", "task"}


@dataclass(frozen=True)
class Request:
    """What was asked for on the command line, with the organisation's answers filled in."""

    root: Path
    answers: Mapping[str, Any]
    address: str | None
    ref: str | None
    trust: bool
    ask: bool
    take_defaults: bool


@click.command("new")
@click.argument("destination", metavar="[DEST]", required=False)
@click.option("--data-uri", help="Address of the table to learn from.")
@click.option("--target", help="Column to predict.")
@click.option("--defaults", is_flag=True, help="Take the default of every question not answered.")
@options.data
@options.data_file
@click.option("--template", "address", help="Any Copier template: URL, gh:, gl:, path or bundle.")
@click.option("--ref", help="Version of the template: a tag, branch or commit.")
@options.trust
@click.option("--no-git", is_flag=True, help="Leave out git init and the first commit.")
@click.option("--no-env", is_flag=True, help="Leave out the environment.")
@click.option("--run", is_flag=True, help="Train, judge and report a first model.")
@options.dry_run
@options.output_format
def command(
    destination: str | None,
    data_uri: str | None,
    target: str | None,
    defaults: bool,
    data: dict[str, Any],
    data_file: dict[str, Any],
    address: str | None,
    ref: str | None,
    trust: bool,
    no_git: bool,
    no_env: bool,
    run: bool,
    dry_run: bool,
    output_format: str,
) -> None:
    """Make a repository from the template; with --run, train and judge its first model.

    DEST is the new folder; its name is the project's name. With --data-uri, task, target, time
    column and keys are read from the table.
    """
    if run and no_env:
        raise click.UsageError("--run needs the environment: leave out --no-env.")
    settings = config.load()
    address = address or settings.template
    given = {**data_file, **data}
    given |= {k: v for k, v in (("data_uri", data_uri), ("target", target)) if v is not None}
    ask = output.is_interactive() and not defaults and output_format == "text"
    request = Request(
        root=_root(destination, given, ask=ask),
        answers={**settings.answers, **given},
        address=store.absolute(address) if address else None,
        ref=ref,
        trust=trust,
        ask=ask,
        take_defaults=defaults,
    )
    git.check_version(git.OLDEST)
    surroundings.check(request.root, makes_repository=not no_git)
    source, answers = _prepare(request, given, settings)
    if run and not source.may_build:
        raise MlscaffoldError(
            f"--run would run code of the template {source.checkout.address}. Read it, and if "
            "you trust it, type: mlscaffold new … --run --trust"
        )
    from mlscaffold import project

    if dry_run:
        plan = project.preview(source, request.root, answers, ask=ask)
        _print_plan(plan, source, output_format)
        return
    made = project.create(source, request.root, answers, ask=ask, with_git=not no_git)
    output.done(f"{made.root.name}/", f"{len(made.files)} files from {_name(source)}")
    if ref is None and store.uncommitted(request.address):
        output.note("  The template has changes that are not committed; they were left out.")
    if made.message:
        output.note(output.plain(made.message))
    if made.commit:
        output.done("git", f"first commit {made.commit}")
    place = shlex.quote(str(destination or made.root.name))
    try:
        if source.has_tasks:
            _run_tasks(source, made)
        made_environment = None if no_env else _make_environment(source, made, place)
        round_ = _run_first_round(made) if run else None
        if made.commit:
            git.commit_all(made.root, _second_message(round_))
    except StepError as error:
        raise MlscaffoldError(
            f"{error.message.rstrip('.')}. The project is kept. "
            f"To go on: cd {place} && {error.again}"
        ) from None
    _print_result(source, made, made_environment, round_, output_format, destination)
    if round_ and round_.verdict != "promote":
        raise SystemExit(1)


def _root(destination: str | None, given: Mapping[str, Any], *, ask: bool) -> Path:
    """The new folder, checked."""
    if destination is None and (name := given.get("project_name")):
        destination = str(name)
    if destination is None and ask:
        destination = click.prompt("? Name of the project", type=str)
    if destination is None:
        raise MlscaffoldError("Name the folder to make, for example: mlscaffold new churn")
    naming.check_destination(Path(destination) if destination != "." else Path.cwd())
    return Path.cwd() / destination


def _prepare(
    request: Request, given: Mapping[str, Any], settings: config.Config
) -> tuple[Template, dict[str, Any]]:
    """The template, and all answers that need no asking; everything wrong is found here."""
    checkout = store.check_out(request.address, request.ref)
    from mlscaffold import template

    is_trusted = request.trust or template.trusts(settings, checkout.address)
    source = replace(template.read(checkout), is_trusted=is_trusted)
    template.check_trust(source, trusted=is_trusted)
    template.check_questions(source, given)
    naming.check_answers(request.answers)
    known = {k: v for k, v in request.answers.items() if k in source.questions}
    if source.questions.keys() >= ABOUT_DATA:
        known.setdefault("project_name", naming.project_name(request.root))
        naming.check_project_name(str(known["project_name"]))
        known = _answer_from_data(request, known)
    if not (request.ask or request.take_defaults):
        _refuse_unanswered(template.unanswered(source, request.root.name, known))
    return source, known


def _answer_from_data(request: Request, answers: dict[str, Any]) -> dict[str, Any]:
    """The answers, with those about the data read from the table."""
    is_asked = request.ask and "data_uri" not in answers
    if is_asked:
        answers["data_uri"] = _ask_for_address()
    if not answers.get("data_uri"):
        return answers
    inspect = _inspector(answers)
    proposal = None
    while proposal is None:
        try:
            proposal = inspect(target=answers.get("target"))
        except MlscaffoldError as error:
            if not is_asked:
                raise
            output.note(f"  {error.format_message()}")
            answers["data_uri"] = _ask_for_address()
            if not answers["data_uri"]:
                return answers
            inspect = _inspector(answers)
    while request.ask and "target" not in answers:
        chosen = click.prompt("? Column to predict", default=proposal.target)
        try:
            proposal = inspect(target=chosen)
        except MlscaffoldError as error:
            output.note(f"  {error.format_message()}")
        else:
            answers["target"] = chosen
    for line in proposal.lines:
        output.note(line)
    found = {
        "target": proposal.target,
        "task": proposal.task,
        "time_column": proposal.time_column,
        "key_columns": list(proposal.key_columns),
    }
    if not (request.ask or request.take_defaults) and "target" not in answers:
        del found["target"]
    from mlscaffold import table

    recorded = table.recorded_address(proposal.address, request.root, Path.cwd())
    return {**answers, **found, "data_uri": recorded}


def _ask_for_address() -> str:
    text = "? Address of the table to learn from (empty for the sample data)"
    return str(click.prompt(text, default="", show_default=False))


def _inspector(answers: Mapping[str, Any]) -> Callable[..., Proposal]:
    """Return table.inspect, which still needs a target, for the table that the answers name."""
    from mlscaffold import table

    keys = answers.get("key_columns")
    return partial(
        table.inspect,
        str(answers["data_uri"]),
        task=answers.get("task"),
        time_column=answers.get("time_column"),
        key_columns=_as_list(keys) if isinstance(keys, str) else keys,
        cwd=Path.cwd(),
    )


def _as_list(text: str) -> list[str]:
    try:
        found = yaml_text.parse(text)
    except MlscaffoldError as error:
        raise MlscaffoldError(f"key_columns: the answer {error.message}") from None
    return [str(entry) for entry in found] if isinstance(found, list) else [text]


def _refuse_unanswered(questions: Mapping[str, str]) -> None:
    if questions:
        listed = "; ".join(f"{name}: {text}" for name, text in questions.items())
        raise MlscaffoldError(
            f"There is no terminal to ask on. Not answered: {listed}. "
            "Give answers with --data NAME=ANSWER, or take the defaults with --defaults."
        )


def _run_tasks(source: Template, made: Project) -> None:
    from mlscaffold import template

    with output.step("tasks", "the template's own"):
        template.run_tasks(source, made.root, made.answers)


def _make_environment(source: Template, made: Project, place: str) -> Environment | None:
    if not (made.root / "pyproject.toml").exists():
        output.note("The template has no pyproject.toml, so there is no environment to make.")
        return None
    if not source.may_build:
        output.note(
            f"No environment and no hooks: they run code of {source.checkout.address}. Read it, "
            f"then type: cd {place} && uv sync; or trust it: mlscaffold new … --trust"
        )
        return None
    with output.step("environment", "uv sync") as step:
        found = environment.synchronise(made.root)
        environment.install_hooks(made.root)
        step.detail = f"uv, Python {found.python}, {found.packages} packages"
    return found


def _run_first_round(made: Project) -> Round:
    from mlscaffold import project

    command = project.command(made.root)
    if command is None:
        raise StepError("The template's projects have no command to run", "ls")
    with output.step("first round", "contract → train → gates → report") as step:
        round_ = environment.first_round(made.root, command)
        step.detail = "contract → train → gates → report"
    return round_


def _second_message(round_: Round | None) -> str:
    if round_ is None:
        return "Lock the environment"
    return f"Record the first round: {round_.verdict} {round_.id}"


def _name(source: Template) -> str:
    version = source.checkout.version
    return f"template {version or source.checkout.address}"


def _print_plan(plan: Project, source: Template, output_format: str) -> None:
    if output_format == "json":
        output.as_json(_describe(source, plan))
        return
    output.result(output.tree(plan.root.name, plan.files))
    output.result(f"{len(plan.files)} files from {_name(source)}; nothing was written.")


def _describe(source: Template, made: Project) -> dict[str, Any]:
    checkout = source.checkout
    return {
        "path": str(made.root),
        "template": {
            "address": checkout.address,
            "version": checkout.version,
            "commit": checkout.commit,
        },
        "answers": dict(made.answers),
        "files": list(made.files),
        "message": made.message,
        "commit": made.commit,
    }


def _print_result(
    source: Template,
    made: Project,
    made_environment: Environment | None,
    round_: Round | None,
    output_format: str,
    destination: str | None,
) -> None:
    from mlscaffold import project

    place = shlex.quote(destination or made.root.name)
    following = _next(place, project.command(made.root), made_environment, round_)
    if output_format == "json":
        output.as_json(
            {
                **_describe(source, made),
                "environment": asdict(made_environment) if made_environment else None,
                "round": asdict(round_) if round_ else None,
                "next": [typed for typed, _ in following],
            }
        )
        return
    if round_:
        _print_round(round_, place)
    output.result()
    for line in output.next_lines(following):
        output.result(line)


def _next(
    place: str, command: str | None, made: Environment | None, round_: Round | None
) -> list[tuple[str, str]]:
    """What to type next, and what it is for."""
    find_uv = environment.path_to_uv()
    uv = [(find_uv, "uv came with mlscaffold, and is not on the PATH")] if find_uv else []
    return [*uv, *_next_in(place, command, made, round_)]


def _next_in(
    place: str, command: str | None, made: Environment | None, round_: Round | None
) -> list[tuple[str, str]]:
    enter = (f"cd {place}", "")
    if command is None:
        return [enter, ("git log --stat", "see what was made"), ("ls", "look around")]
    if round_:
        idea = (f"uv run {command} train --set model.learning_rate=0.05", "try an idea")
        board = (f"uv run {command} leaderboard", "what helped so far")
        serve = (f"uv run {command} serve", "ask the champion over HTTP")
        return [enter, idea, board, *([serve] if round_.verdict == "promote" else [])]
    first = (f"uv run {command} data infer", "infer the data's contract")
    train = (f"uv run {command} retrain", "train and judge a first model")
    return [enter, first, train] if made else [enter, ("uv sync", "make the environment"), first]


def _print_round(round_: Round, place: str) -> None:
    output.result()
    output.result(f"  Verdict  {output.verdict(round_.verdict)}   {round_.reason}")
    if score := round_.scores.get(round_.metric):
        interval = f"[{score['low']:.3f}, {score['high']:.3f}]"
        baselines = ", ".join(f"{name} {value:.3f}" for name, value in round_.baselines.items())
        output.result(f"  {round_.metric} {score['value']:.3f} {interval}   baselines: {baselines}")
    if round_.smallest_gain is not None:
        output.result(f"  This holdout can show gains of {round_.smallest_gain:.3f} or more.")
    output.result(f"  Report   {place}/{round_.report}")
