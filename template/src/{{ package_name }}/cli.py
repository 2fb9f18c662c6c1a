"""The command line: each command reads the settings, calls one function and prints what it returned."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from . import settings as project
from .errors import ProjectError

sets = click.option(
    "--set",
    "sets",
    multiple=True,
    metavar="KEY=VALUE",
    help="Another value for a key of params.yaml.",
)
experiment = click.option(
    "--experiment", metavar="NAME", help="An overlay from training/experiments."
)
output = click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """The loop of this project: data, training, gates, champion, predictions."""


@main.command()
def pull() -> None:
    """Brings new rows from the data's address into data/raw."""
    from .training import loop

    settings = project.load()
    loop.pull(settings, click.echo)


@main.group()
def data() -> None:
    """The data contract: infer it, check against it."""


@data.command("infer")
def data_infer() -> None:
    """Writes data/contract.yaml and data/must_fail from the data's address."""
    from .data import prepare

    found = prepare.infer(project.load())
    click.echo(f"data/contract.yaml from {found.rows:,} rows; {len(found.must_fail)} bad batches")
    for name, why in found.left_out.items():
        click.echo(f"  left out  {name} ({why})")


@data.command("check")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--must-fail", is_flag=True, help="Check that every bad batch is refused.")
def data_check(file: Path | None, must_fail: bool) -> None:
    """Checks data/raw, or one file, against the contract; exit code 30 if it is broken."""
    from .data import contract, guard

    settings = project.load()
    if must_fail:
        click.echo(guard.check_must_fail(settings))
    elif file:
        guard.check_file(settings, file)
        click.echo(f"{file} keeps the contract.")
    else:
        click.echo(f"{len(contract.check_batches(settings)):,} rows keep the contract.")


@main.command()
@sets
@experiment
@output
def train(sets: tuple[str, ...], experiment: str | None, form: str) -> None:
    """Tries an idea: fits and judges a model on the data at hand, and changes nothing else."""
    from .training import loop

    settings = project.load(sets=sets, experiment=experiment)
    record = loop.run(settings, _progress)
    assert record is not None
    _show(record, form)
    if record.verdict == "promote" and form == "text":
        click.echo(f"  To make it the champion: {settings.package} promote {record.id}")
    sys.exit(record.exit_code)


@main.command()
@output
def retrain(form: str) -> None:
    """One round of the loop: new data, contract, model, gates, champion, report."""
    from .training import loop

    settings = project.load()
    record = loop.retrain(settings, _progress)
    if record is None:
        last = loop.last_id(settings.root)
        click.echo(
            json.dumps({"id": last, "changed": False})
            if form == "json"
            else f"Nothing changed since {last}."
        )
        return
    _show(record, form)
    sys.exit(record.exit_code)


@main.command()
def fit() -> None:
    """Fits the model of params.yaml without judging it (the stage `train` of dvc.yaml)."""
    from .training import loop

    click.echo(f"fitted {loop.fit(project.load())}")


@main.command()
@click.option(
    "--self-test", is_flag=True, help="How often the gate lets through what is no better."
)
@output
def gate(self_test: bool, form: str) -> None:
    """Judges the model of params.yaml and shows what each gate says."""
    settings = project.load()
    if self_test:
        _self_test(settings, form)
        return
    from .training import loop

    record = loop.gate(settings, _progress)
    if form == "text":
        for item in record.gates:
            mark = {True: "✓", False: "✗", None: "–"}[item["passed"]]
            click.echo(f"  {mark} {item['name']:12} {item['message']}")
    _show(record, form)
    sys.exit(record.exit_code)


@main.command()
@click.argument("id_", metavar="ID")
def reproduce(id_: str) -> None:
    """Makes a round's model again and compares it byte by byte."""
    from .training import loop

    size = loop.reproduce(project.load(), id_)
    click.echo(f"{id_} is the same, byte by byte ({size:,} bytes).")


@main.command()
@click.argument("id_", metavar="ID")
def promote(id_: str) -> None:
    """Makes a round's model the champion, and its parameters those of params.yaml."""
    from .training import card, champion

    settings = project.load()
    record = champion.promote(settings, id_)
    card.write(settings, record)
    click.echo(
        f"{id_} is the champion. Commit deployment/, docs/ and params.yaml to make it so for all."
    )


@main.command()
def rollback() -> None:
    """Puts the champion before this one back."""
    from .training import champion

    pointer = champion.rollback(project.load())
    click.echo(f"{pointer['id']} is the champion again. Commit deployment/ to make it so for all.")


@main.command()
@output
def leaderboard(form: str) -> None:
    """What helped so far: every round, its score and its verdict."""
    from .training import leaderboard, rounds

    settings = project.load()
    if form == "json":
        click.echo(json.dumps([asdict(record) for record in rounds.all_rounds(settings)]))
    else:
        click.echo(leaderboard.table(settings))


@main.command()
@click.argument("id_", metavar="ID", required=False)
def report(id_: str | None) -> None:
    """Writes a round's report again, of the newest without an id, and says where it is."""
    from .training import report, rounds

    settings = project.load()
    if id_ is None:
        newest = rounds.all_rounds(settings)[:1]
        if not newest:
            raise ProjectError(f"There is no round yet: type {settings.package} retrain")
        id_ = newest[0].id
    click.echo(report.write(settings, rounds.load(settings, id_)))


@main.command()
def search() -> None:
    """Looks for better parameters (training/search.yaml) and keeps them as an experiment."""
    from .training import judging, search

    settings = project.load()
    for name, value in search.search(settings, judging.prepare(settings)[0]).items():
        click.echo(f"  model.{name}: {value}")
    click.echo(f"Try them: {settings.package} train --experiment {search.RESULT}")


@main.command()
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
@click.argument("destination", metavar="OUT", type=click.Path(path_type=Path))
def predict(source: Path, destination: Path) -> None:
    """Predicts every row of a file with the champion."""
    from .serving import predict

    rows = predict.predict_file(project.load(), source, destination)
    click.echo(f"{destination}: {rows:,} rows")


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8000, show_default=True)
def serve(host: str, port: int) -> None:
    """Answers over HTTP with the champion."""
    import uvicorn

    from .serving import app

    uvicorn.run(app.create_app(project.load()), host=host, port=port)


@main.command()
@output
def doctor(form: str) -> None:
    """Says what is missing, and what to type."""
    from . import doctor

    findings = doctor.findings(project.load())
    if form == "json":
        click.echo(json.dumps([asdict(finding) for finding in findings]))
    else:
        for finding in findings:
            click.echo(
                f"  {'✓' if finding.ok else '✗'} {finding.what}"
                + ("" if finding.ok else f": {finding.fix}")
            )
    sys.exit(0 if all(finding.ok for finding in findings) else 1)


def _progress(line: str) -> None:
    click.echo(line, err=True)


def _show(record: Any, form: str) -> None:
    """The round in a few lines, or its whole record as JSON."""
    if form == "json":
        click.echo(json.dumps(asdict(record)))
        return
    score = record.scores[record.metric]
    baselines = ", ".join(f"{name} {value:.3f}" for name, value in record.baselines.items())
    click.echo(f"  Verdict  {record.verdict.upper():8} {record.id} {record.reason}")
    click.echo(
        f"  {record.metric} {score['value']:.3f} [{score['low']:.3f}, {score['high']:.3f}]   baselines: {baselines}"
    )
    click.echo(f"  This holdout can show gains of {record.smallest_gain:.3f} or more.")
    click.echo(f"  Report   reports/{record.id}/report.html")


def _self_test(settings: project.Settings, form: str) -> None:
    from .training import judging, selftest

    parts = judging.prepare(settings)[0]
    result = selftest.run(settings, parts, judging.fit(settings, parts))
    if form == "json":
        click.echo(json.dumps(asdict(result) | {"passed": result.passed}))
    else:
        click.echo(
            f"Of {result.repetitions} pairs of equal models the gate promoted {result.false_promotion_rate:.1%}; "
            f"allowed are {result.limit:.0%}.\nThis holdout can show gains of {result.smallest_gain:.3f} or more."
        )
    sys.exit(0 if result.passed else 1)
