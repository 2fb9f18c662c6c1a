"""The command line: each command reads the settings, calls one function and prints what it returned."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import click

from . import credentials, variables
from . import settings as project

sets = click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Another value for a key of params.yaml.")
experiment = click.option("--experiment", metavar="NAME", help="An overlay from training/experiments.")
output = click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
file = click.Path(path_type=Path)
WITHOUT_A_MODEL = 40  # an exit code that no verdict has


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """The loop of this project: data, training, gates, champion, predictions."""
    credentials.guard_stderr()
    variables.prepare()


@main.command()
def pull() -> None:
    """Brings new rows from the data's address into data/raw."""
    from .training import loop

    loop.pull(project.load(), _echo)


@main.command()
@click.option("--strict", is_flag=True, help="Exit with 40 where CI gets the warning, which it may show in orange.")
def restore(strict: bool) -> None:
    """Brings data and champion as this commit has them from DVC's remote.

    Where no remote is named, and in CI of a request from a fork, which has no credentials for it, CI gets a warning. In all
    other cases what cannot be restored is an error.
    """
    from .training import versions

    restored = versions.restore(project.load().root)
    if restored.is_whole:
        return _echo(restored.text)
    _echo(variables.as_warning(restored.text))
    if strict:
        sys.exit(WITHOUT_A_MODEL)


@main.group()
def data() -> None:
    """The data contract: infer it, check against it."""


@data.command("infer")
def data_infer() -> None:
    """Writes data/contract.yaml and data/must_fail from the data's address."""
    from .data import contract as contracts
    from .data import infer, must_fail

    settings = project.load()
    contract, rows = infer.infer(settings)
    contracts.save(settings.root, contract)
    bad = must_fail.write(settings)
    _echo(f"data/contract.yaml from {rows:,} rows; {len(bad)} bad batches")
    for name in contracts.columns(contract, "left out"):
        _echo(f"  left out  {name} ({contract['columns'][name]['why']})")


@data.command("check")
@click.argument("path", metavar="[FILE]", required=False, type=file)
@click.option("--must-fail", is_flag=True, help="Check that every bad batch is refused.")
def data_check(path: Path | None, must_fail: bool) -> None:
    """Checks data/raw, or one file, against the contract; exit code 30 if it is broken."""
    from .data import contract as contracts
    from .data import must_fail as bad

    settings = project.load()
    if must_fail:
        if wrong := bad.survivors(settings):
            raise project.ProjectError("The contract lets bad data through. " + "; ".join(wrong))
        _echo("Every batch in data/must_fail is refused for its own reason, and the good one passes.")
    elif path:
        if found := contracts.check_file(path, contracts.load(settings.root)):
            raise project.ContractError("\n  ".join([f"contract ✗ {path}", *map(str, found)]))
        _echo(f"{path} keeps the contract.")
    else:
        rows = sum(len(chunk) for _, chunk in contracts.typed_batches(settings))
        _echo(f"{rows:,} rows keep the contract.")


@main.command()
@sets
@experiment
@click.option("--review", type=file, help="Add the verdict as Markdown to a file; then keep is no failure.")
@output
def train(sets: tuple[str, ...], experiment: str | None, review: Path | None, form: str) -> None:
    """Tries an idea: fits and judges a model on the data at hand, and changes nothing else."""
    from .training import loop

    settings = project.load(sets=sets, experiment=experiment)
    if review and (text := loop.review(settings, _progress)):
        _append(review, text)
        return
    record = loop.run(settings, _progress)
    assert record is not None
    if review:
        _append(review, (settings.root / "reports" / record.id / "report.md").read_text(encoding="utf-8"))
    _show(record, form)
    if record.verdict == "promote" and form == "text":
        _echo(f"  To make it the champion: {settings.package} promote {record.id}")
    sys.exit(0 if review and record.verdict == "keep" else record.exit_code)


@main.command()
@click.option("--pr", "pr", is_flag=True, help="Push the round to the branch `retrain` and open a request for it.")
@output
def retrain(pr: bool, form: str) -> None:
    """One round of the loop: new data, contract, model, gates, champion, report.

    With --pr a champion that is kept is no failure: the exit code is 0 then, as soon as the request stands.
    """
    _go_round(project.load(), pr, form)


def _go_round(settings: project.Settings, pr: bool, form: str) -> NoReturn:
    """What `retrain` does, and `monitor --retrain` on an alarm."""
    from .training import loop, request

    record, proposal = request.retrain(settings, _progress) if pr else (loop.retrain(settings, _progress), None)
    if record:
        _show(record, form, proposal)
        if advice := loop.waits_for(settings, record):
            raise project.ProjectError(advice)
        if record.verdict == "promote" and not pr and form == "text":
            _say_what_to_commit(settings.root, f"  {record.id} is the champion", f"Promote {record.id}")
        sys.exit(0 if proposal and (record.verdict == "keep" or proposal.state == "closed") else record.exit_code)
    last = loop.last(settings.root)["id"]
    _say({"id": last, "changed": False}, form, f"Nothing changed since {last}.")
    sys.exit(0)


@main.command()
@output
def overdue(form: str) -> None:
    """Exits with 1 when the last round on record is older than deployment/monitoring.yaml allows.

    On record is what this commit has in training/metrics.json. On the main branch it ages when the schedule is dead,
    when no new data come, and when nobody merges the requests; it cannot tell which. It cannot see that the place
    where it runs itself is dead, so that should not be the schedule's; nor a dead schedule younger than the limit.
    """
    from datetime import UTC, datetime

    from .training import loop

    age = loop.age(project.load(), datetime.now(UTC))
    if age is None:
        raise project.ProjectError(f"There is no round on record: type {project.COMMAND} retrain")
    found = f"The last round, {age.id}, is {age.days:.1f} days old; allowed are {age.limit:g}."
    why = " Does the schedule run, do new data come, does a request wait?" if age.is_overdue else ""
    _say(asdict(age) | {"overdue": age.is_overdue}, form, found + why)
    sys.exit(1 if age.is_overdue else 0)


@main.command()
def fit() -> None:
    """Fits the model of params.yaml without judging it (the stage `train` of dvc.yaml)."""
    from .training import loop

    _echo(f"fitted {loop.fit(project.load())}")


@main.command()
@click.option("--self-test", is_flag=True, help="How often the gate lets through what is no better.")
@click.option("--exit-zero", is_flag=True, help="Exit with 0 whatever the verdict (for dvc.yaml).")
@output
def gate(self_test: bool, exit_zero: bool, form: str) -> None:
    """Judges the model of params.yaml and shows what each gate says."""
    settings = project.load()
    if self_test:
        from .training import judging

        result = judging.self_test(settings)
        promoted = f"Of {result.repetitions} pairs of equal models the gate promoted {result.false_promotion_rate:.1%}"
        gain = f"This holdout can show gains of {result.smallest_gain:.3f} or more."
        _say(asdict(result), form, f"{promoted}; allowed are {result.limit:.0%}.\n{gain}")
        sys.exit(0 if result.passed else 1)
    from .training import loop

    record = loop.gate(settings, _progress)
    for item in record.gates if form == "text" else []:
        mark = {True: "✓", False: "✗", None: "–"}[item["passed"]]
        _echo(f"  {mark} {item['name']:12} {item['message']}")
    _show(record, form)
    sys.exit(0 if exit_zero else record.exit_code)


@main.command()
@click.argument("id_", metavar="ID")
def reproduce(id_: str) -> None:
    """Makes a round's model again and compares it byte by byte."""
    from .training import loop

    _echo(f"{id_} is the same, byte by byte ({loop.reproduce(project.load(), id_):,} bytes).")


@main.command()
@click.argument("id_", metavar="[ID]", required=False)
@click.option("--to", "environment", type=click.Choice(["stage", "prod"]), help="From the environment before.")
def promote(id_: str | None, environment: str | None) -> None:
    """Makes a round's model the champion of dev, or dev's that of stage, or stage's that of prod."""
    from .training import champion, loop

    settings = project.load()
    if bool(id_) == bool(environment):
        raise project.ProjectError("Say what to promote: the ID of a round, or --to stage, or --to prod.")
    if id_:
        loop.promote(settings, id_)
        _say_what_to_commit(settings.root, f"{id_} is the champion", f"Promote {id_}")
    elif environment:
        id_ = champion.advance(settings.root, environment)["id"]
        _say_what_to_commit(settings.root, f"{id_} is the champion of {environment}", f"Promote {id_} to {environment}")


@main.command()
@click.option("--in", "environment", type=click.Choice(["dev", "stage", "prod"]), default="dev", show_default=True)
def rollback(environment: str) -> None:
    """Puts the champion before this one back, in dev also the parameters that it had."""
    from .training import loop

    settings = project.load()
    id_ = loop.rollback(settings, environment)
    _say_what_to_commit(
        settings.root, f"{id_} is the champion of {environment} again", f"Roll {environment} back to {id_}"
    )


@main.command()
@output
def leaderboard(form: str) -> None:
    """What helped so far: every round, its score and its verdict."""
    from .training import champion, rounds

    settings = project.load()
    board = rounds.leaderboard(settings, (champion.load(settings.root) or {}).get("id"))
    text = f"{board}\nChampions: {champion.overview(settings.root)}"
    _say([asdict(record) for record in rounds.all_rounds(settings)], form, text)


@main.command()
@click.argument("id_", metavar="ID", required=False)
def report(id_: str | None) -> None:
    """Writes a round's report again, of the newest without an id, and says where it is."""
    from .training import report, rounds

    settings = project.load()
    newest = None if id_ else next(iter(rounds.all_rounds(settings)), None)
    if not id_ and not newest:
        raise project.ProjectError(f"There is no round yet: type {settings.package} retrain")
    _echo(report.write(settings, newest or rounds.load(settings, str(id_))))


@main.command()
def search() -> None:
    """Looks for better parameters (training/search.yaml) and keeps them as an experiment."""
    from .training import loop

    settings = project.load()
    for name, value in loop.search(settings).items():
        _echo(f"  model.{name}: {value}")
    _echo(f"Try them: {settings.package} train --experiment {loop.BEST}")


@main.command()
@click.argument("source", metavar="IN")
@click.argument("destination", metavar="OUT")
@output
def predict(source: str, destination: str, form: str) -> None:
    """Predicts every row of files or a database's table with the champion: a folder in, a folder out.

    Of a forecast: what follows the rows, in one file or table.
    """
    from .serving import batch

    settings = project.load()
    done = (settings.forecasts or batch).predict(settings, source, destination, _progress)
    lines = [f"{item.destination}: " + ("as it was" if item.rows is None else f"{item.rows:,} rows") for item in done]
    _say([asdict(item) for item in done], form, "\n".join(lines))


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8000, show_default=True)
def serve(host: str, port: int) -> None:
    """Answers over HTTP with the champion.

    On SIGTERM it goes on for seven seconds, in which /ready says no and each answer closes its connection.
    """
    from .serving import app, server

    server.run(app.create_app(project.load()), host, port)


@main.command()
@click.argument("address", required=False)
@click.option("--format", "form", type=click.Choice(["text", "json", "prometheus"]), default="text")
@click.option("--in", "environment", type=click.Choice(["dev", "stage", "prod"]), default="dev", show_default=True)
@click.option("--html", type=file, help="Where the page goes, else reports/monitor/index.html.")
@click.option(
    "--retrain", "may_retrain", is_flag=True, help="On an alarm go round the loop; the exit code is the round's."
)
@click.option("--pr", "pr", is_flag=True, help="That round as a request, as `retrain --pr` makes it.")
@click.option("--self-test", is_flag=True, help="How often the alarm rings on the past, where nothing is wrong.")
def monitor(
    address: str | None, form: str, environment: str, html: Path | None, may_retrain: bool, pr: bool, self_test: bool
) -> None:
    """Compares what was served with what the champion knows: exit code 0 quiet, 1 alarm, 2 could not tell."""
    from .monitoring import monitor, page
    from .persistence import write

    settings = project.load()
    if self_test:
        result = monitor.self_test(settings)
        rang = ", ".join(f"{column} {count}" for column, count in result.columns.items())
        said = f"Of {result.runs} runs of past windows the alarm rang in {result.rung}"
        said += f", in spells: {result.spells} ({rang})" if rang else ""
        return _say(asdict(result), form, f"{said}. {result.apart} runs share no window.")
    watch, scenes = monitor.watch(settings, address, environment)
    path = html or settings.root / "reports/monitor/index.html"
    write(path, page.html(watch, scenes, settings.package))
    said = page.prometheus(watch) if form == "prometheus" else page.text(watch, settings.package)
    _say(page.record(watch), form, said + (f"\n  Report   {path}" if form == "text" else ""))
    if may_retrain and watch.verdict == "alarm":
        _go_round(settings, pr, form if form == "json" else "text")
    sys.exit(watch.exit_code)


@main.command()
@click.argument("environment", type=click.Choice(["dev", "stage", "prod"]), required=False)
@click.option("--changed", is_flag=True, help="Only if another champion is live; alone: say, as JSON, where.")
@click.option("--since", metavar="COMMIT", help="With --changed: look at all commits since, and ask no cluster.")
@click.option("--dry-run", is_flag=True, help="Print the commands, run none.")
def deploy(environment: str | None, changed: bool, since: str | None, dry_run: bool) -> None:
    """Builds the image of an environment's champion, pushes it if $IMAGE names a registry, applies the overlay.

    What is applied names its commit. With --changed the cluster is asked for it: nothing is done where the same champion,
    or that of a later commit, is live. Where it cannot be asked, or says nothing, the environment counts as changed.
    --since takes a commit, or `last` for that of the last run of this pipeline that succeeded (Azure DevOps).
    """
    from . import deploy

    settings = project.load()
    if not environment and not changed:
        raise project.ProjectError("Say what to deploy, dev, stage or prod; or --changed.")
    if since is not None and (environment or not changed):
        raise project.ProjectError("--since goes with --changed, and without an environment.")
    if not environment:
        names = deploy.changed(settings.root) if since is None else deploy.changed_since(settings.root, since)
        return _echo(json.dumps(names))
    if changed and deploy.is_live(settings.root, environment):
        return _echo(f"{environment} runs this champion, or that of a later commit, already: nothing to do.")
    image = deploy.deploy(settings, environment, _progress, dry_run=dry_run)
    _echo(f"{environment} {'would run' if dry_run else 'runs'} {image}")


@main.command()
@output
def doctor(form: str) -> None:
    """Says what is missing, and what to type."""
    from . import doctor

    found = doctor.findings(project.load())
    marks = {True: "✓", False: "✗", None: "?"}
    lines = [f"  {marks[item.ok]} {item.what}" + (f": {item.fix}" if item.ok is False else "") for item in found]
    _say([asdict(item) for item in found], form, "\n".join(lines))
    sys.exit(1 if any(item.ok is False for item in found) else 0)


def _echo(text: object, *, err: bool = False) -> None:
    """Prints; no password and no token of an address is in it."""
    click.echo(credentials.mask(str(text)), err=err)


def _progress(line: str) -> None:
    _echo(line, err=True)


def _say_what_to_commit(root: Path, what: str, message: str) -> None:
    """What has changed, and what to type to make it so for all who use the repository."""
    from .training import committed

    line = committed.to_commit(root, message)
    _echo(f"{what}. To make it so for all:\n  {line}" if line else f"{what}.")


def _append(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


def _say(result: Any, form: str, text: str) -> None:
    if form == "json":
        click.echo(json.dumps(credentials.mask_all(result)))
    else:
        _echo(text)


def _show(record: Any, form: str, proposal: Any = None) -> None:
    """The round in a few lines, or its whole record as JSON."""
    score = record.scores[record.metric]
    baselines = ", ".join(f"{name} {value:.3f}" for name, value in record.baselines.items())
    lines = [
        f"Verdict  {record.verdict.upper():8} {record.id} {record.reason}",
        f"{record.metric} {score['value']:.3f} [{score['low']:.3f}, {score['high']:.3f}]   baselines: {baselines}",
        f"This holdout can show gains of {record.smallest_gain:.3f} or more.",
        f"Report   reports/{record.id}/report.html",
    ]
    more = {"request": asdict(proposal)} if proposal else {}
    if proposal:
        lines.append(f"Request  {proposal.state} {proposal.page}")
    _say(asdict(record) | more, form, "\n".join(f"  {line}" for line in lines))


if __name__ == "__main__":
    main()
