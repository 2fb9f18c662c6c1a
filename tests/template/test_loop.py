"""Three projects go the whole way: environment, loop, their own tests, their own hooks."""

from __future__ import annotations

import csv
import random
import sqlite3
from contextlib import closing
from datetime import date, timedelta
from math import sin
from pathlib import Path
from typing import Any

import pytest
import yaml
from generated import (
    ENVIRONMENT,
    UV,
    Render,
    champion,
    commit,
    demo,
    edit,
    params,
    record,
    run,
    start,
)

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
SEARCHED = ("learning_rate", "max_iter", "max_depth", "min_samples_leaf")


def awkward_table(path: Path) -> dict[str, Any]:
    """A table as people have them, and the answers that go with it."""
    chance = random.Random(0)
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(
            [
                "Kunden-Nr.",
                "Prénom du client",
                "Date d'achat",
                "Betrag (in €)",
                "Größe",
                "pays",
                "Kündigt?",
            ]
        )
        for number in range(1500):
            amount, size = chance.gauss(0, 1.5), chance.choice(["groß", "mittel", "très petit"])
            leaning = 1.8 * sin(2 * amount) * (1 if size == "groß" else 0.6) + chance.gauss(0, 0.7)
            table.writerow(
                [
                    f"K{number:05d}",
                    f"{chance.choice(['Zoë', 'Jörg', 'Inès'])} {chance.randrange(10**6)}",
                    date(2024, 1, 1) + timedelta(days=number // 3),
                    "" if chance.random() < 0.1 else round(200 + 50 * amount, 2),
                    "" if chance.random() < 0.1 else size,
                    "CH",
                    "ja" if leaning > 0 else "nein",
                ]
            )
    return {
        "data_uri": str(path),
        "target": "Kündigt?",
        "time_column": "Date d'achat",
        "key_columns": ["Kunden-Nr."],
        "task": "classification",
    }


def insert_weather(database: Path, start: str, end: str) -> None:
    """The sample's rows of some months, in a table of a database."""
    lines = (ROOT / "template/data/sample/seattle-weather.csv").read_text(encoding="utf-8").splitlines()
    rows = [row for row in csv.reader(lines[1:]) if start <= row[0] < end]
    kinds = "date text, precipitation real, temp_max real, temp_min real, wind real, weather text"
    with closing(sqlite3.connect(database)) as shop, shop:
        shop.execute(f"create table if not exists weather ({kinds})")
        shop.executemany("insert into weather values (?, ?, ?, ?, ?, ?)", rows)


def alias(project: Path) -> str:
    """The id of the round that MLflow calls champion."""
    question = (
        "import mlflow; mlflow.set_tracking_uri('sqlite:///mlflow.db'); client = mlflow.MlflowClient(); "
        "version = client.get_model_version_by_alias('demo', 'champion'); "
        "print(client.get_run(version.run_id).data.tags['id'])"
    )
    return run(project, UV, "run", "--frozen", "python", "-c", question).split()[-1]


def ci(project: Path, clone: Path) -> str:
    """Runs the steps of the project's workflow in a fresh clone, in their order."""
    run(project, "git", "clone", "--quiet", str(project), str(clone))
    workflow = yaml.safe_load((clone / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    steps = [step["run"] for step in workflow["jobs"]["test"]["steps"] if "run" in step]
    assert len(steps) >= 4
    return "".join(run(clone, UV, *step.removeprefix("uv ").split()) for step in steps)


def share(project: Path, remote: Path) -> None:
    """Names a place for data and models, and brings them there."""
    run(project, UV, "run", "--frozen", "dvc", "remote", "add", "-q", "-d", "team", str(remote))
    run(project, UV, "run", "--frozen", "dvc", "push", "-q")
    commit(project, "Share")


def test_sample_goes_round_the_loop(render: Render, tmp_path: Path) -> None:
    """The first project of whoever tries it: each command, DVC's own, and CI with a remote."""
    project = render({"project_name": "demo", "task": "classification"})
    start(project)
    assert "PROMOTE" in demo(project, "retrain")
    first = champion(project)
    commit(project, "First round")
    assert f"Nothing changed since {first}" in demo(project, "retrain")
    assert "up to date" in run(project, UV, "run", "--frozen", "dvc", "repro")
    assert first in demo(project, "reproduce", first)
    demo(project, "train", "--set", "model.learning_rate=0.05", expect=(0, 10, 20))
    assert first in demo(project, "leaderboard")
    assert champion(project) == first

    demo(project, "data", "check", "--must-fail")
    demo(project, "gate", "--self-test")
    demo(project, "doctor")
    batch = min((project / "data/raw").glob("*.parquet"))
    demo(project, "predict", str(batch), "predictions.csv")
    assert (project / "predictions.csv").read_text(encoding="utf-8").count("\n") > 1
    (project / "predictions.csv").unlink()

    share(project, tmp_path / "remote")
    said = ci(project, tmp_path / "clone")
    assert "as this commit has them" in said
    assert "SKIPPED" not in said

    edit(project / "params.yaml", "learning_rate: 0.1", "learning_rate: 0.02")
    said = run(project, UV, "run", "--frozen", "dvc", "repro")
    assert "Running stage 'train'" in said
    assert "Running stage 'judge'" in said
    assert "up to date" in run(project, UV, "run", "--frozen", "dvc", "repro")


def test_database_that_grows_goes_round_the_loop(render: Render, tmp_path: Path) -> None:
    """Rows from SQL; those that come after the holdout was frozen make a newest window."""
    database = tmp_path / "shop.db"
    insert_weather(database, "2012", "2015-10")
    answers = {"data_uri": f"sqlite:///{database}#weather", "target": "temp_max"}
    answers |= {"task": "regression", "time_column": "date", "key_columns": ["date"]}
    project = render({"project_name": "demo", **answers})
    start(project)
    assert record(project, "retrain")["verdict"] == "promote"
    commit(project, "First round")
    insert_weather(database, "2015-10", "2016")
    second = record(project, "retrain")
    assert second["rows"]["window"] >= 60
    assert second["comparison"]["window"] is not None
    report = project / "reports" / second["id"]
    assert "newest" in (report / "report.html").read_text(encoding="utf-8")
    assert ", window |" in (report / "report.md").read_text(encoding="utf-8")
    assert "train --experiment best" in demo(project, "search")
    best = record(project, "train", "--experiment", "best")
    assert best["overrides"].keys() <= {f"model.{name}" for name in SEARCHED}
    run(project, UV, "run", "--frozen", "pytest", "-q")
    run(project, "git", "add", "--all")
    run(project, UV, "run", "--frozen", "pre-commit", "run", "--all-files")


def test_awkward_table_goes_round_the_loop(
    render: Render, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names and values as people have them; an idea that wins, and a rollback; CI without a remote."""
    project = render({"project_name": "demo", **awkward_table(tmp_path / "Clients été.csv")})
    monkeypatch.setitem(ENVIRONMENT, "TRACKING_WAIT", "1")
    edit(project / "params.yaml", "min_samples_leaf: 20", "min_samples_leaf: 400")
    start(project)
    assert "PROMOTE" in demo(project, "retrain")
    first, before = champion(project), params(project)
    commit(project, "First round")

    idea = record(project, "train", "--set", "model.min_samples_leaf=20")
    assert idea["verdict"] == "promote"
    assert alias(project) == first
    demo(project, "promote", idea["id"])
    assert champion(project) == alias(project) == idea["id"]
    assert params(project)["model"]["min_samples_leaf"] == 20
    assert f"Nothing changed since {idea['id']}" in demo(project, "retrain")
    demo(project, "rollback")
    assert champion(project) == alias(project) == first
    assert params(project) == before

    commit(project, "Back")
    said = ci(project, tmp_path / "clone")
    assert "no remote is named" in said
    assert "type uv run demo restore" in said
