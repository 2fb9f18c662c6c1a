"""Five projects go the whole way: environment, loop, their own tests, their own hooks."""

from __future__ import annotations

import csv
import json
import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import date, timedelta
from math import pi, sin
from pathlib import Path
from typing import Any

import pytest
import tools
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
from pipelines import ci_steps

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
    lines = (
        (ROOT / "template/data/sample/seattle-weather.csv").read_text(encoding="utf-8").splitlines()
    )
    rows = [row for row in csv.reader(lines[1:]) if start <= row[0] < end]
    kinds = "date text, precipitation real, temp_max real, temp_min real, wind real, weather text"
    with closing(sqlite3.connect(database)) as shop, shop:
        shop.execute(f"create table if not exists weather ({kinds})")
        shop.executemany("insert into weather values (?, ?, ?, ?, ?, ?)", rows)


def weekly_sales(path: Path, weeks: int) -> dict[str, Any]:
    """What two shops sold each week, with gaps, and the answers that go with it."""
    chance = random.Random(0)
    rows = []
    for week in range(weeks):
        day = date(2021, 1, 6) + timedelta(weeks=week)
        for shop, usual in (("Zürich", 400), ("Genf", 150)):
            noise = chance.gauss(0, 12)
            sold = usual + week / 2 + 80 * sin(2 * pi * day.timetuple().tm_yday / 365) + noise
            if shop != "Genf" or week % 40 != 20:
                rows.append([shop, day, round(sold, 1), chance.choice(["rain", "sun"])])
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["shop", "week", "sold", "sky"], *rows])
    answers = {"data_uri": str(path), "target": "sold", "task": "forecasting"}
    return answers | {"time_column": "week", "key_columns": ["shop", "week"]}


def alias(project: Path) -> str:
    """The id of the round that MLflow calls champion."""
    question = (
        "import mlflow; mlflow.set_tracking_uri('sqlite:///mlflow.db'); "
        "client = mlflow.MlflowClient(); "
        "version = client.get_model_version_by_alias('demo', 'champion'); "
        "print(client.get_run(version.run_id).data.tags['id'])"
    )
    return run(project, UV, "run", "--frozen", "python", "-c", question).split()[-1]


def ci(project: Path, clone: Path, forge: str) -> str:
    """Runs the job of the project's CI that tests it, in a fresh clone, command by command.

    GitLab's runs as a job, in a shell, where there is a program for that.
    """
    run(project, "git", "clone", "--quiet", str(project), str(clone))
    if forge == "gitlab" and shutil.which("rsync") and (program := tools.gitlab_ci_local()):
        return run(clone, program, "ci", "--force-shell-executor")
    lines = [line for line in ci_steps(clone, forge) if not line.startswith("pip install uv==")]
    assert len(lines) >= 4
    return "".join(run(clone, UV, *line.removeprefix("uv ").split()) for line in lines)


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
    said = ci(project, tmp_path / "clone", "github")
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
    answers |= {"forge": "gitlab", "consumption": "batch"}
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
    commit(project, "Second round")
    assert "cannot be restored" in ci(project, tmp_path / "clone", "gitlab")


def weather(path: Path, start: str, end: str) -> list[dict[str, str]]:
    """The rows of a table of weather between two days."""
    with path.open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if start <= row["date"] < end]


def write_rows(path: Path, rows: list[dict[str, str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, rows[0].keys())
        table.writeheader()
        table.writerows(rows)
    return path


# What may happen to a row of the served weather, and the column that has to ring.
PLANTED: dict[str, Callable[[int, dict[str, str]], dict[str, str]]] = {
    "temp_min": lambda _, row: {"temp_min": str(float(row["temp_min"]) * 100)},
    "temp_min ": lambda _, row: {
        "temp_min": str(float(row["temp_min"]) + 5)
    },  # one standard deviation
    "wind": lambda number, row: {"wind": row["wind"] if number % 10 > 2 else ""},
    "weather": lambda _, row: {"weather": row["weather"].replace("sun", "rain")},
    "prediction": lambda *_: {"prediction": "20.0"},
}


def test_monitoring_is_quiet_in_an_unseen_summer_and_rings_for_what_moved(
    render: Render, tmp_path: Path
) -> None:
    """The champion knows three years; the fourth was the warmest that Seattle had seen."""
    sample = ROOT / "template/data/sample/seattle-weather.csv"
    source = write_rows(tmp_path / "known.csv", weather(sample, "2012", "2015"))
    answers = {"data_uri": str(source), "target": "temp_max", "task": "regression"}
    project = render(
        {"project_name": "demo", **answers, "time_column": "date", "key_columns": ["date"]}
    )
    start(project)
    assert record(project, "retrain")["verdict"] == "promote"
    summer = write_rows(tmp_path / "summer.csv", weather(sample, "2015-05", "2015-10"))
    demo(project, "predict", str(summer), str(tmp_path / "served.csv"))
    rows = weather(tmp_path / "served.csv", "2015", "2016")
    limits = project / "deployment/monitoring.yaml"
    edit(limits, "min_rows: 20", "min_rows: 5")
    assert "QUIET" in demo(project, "monitor", str(tmp_path / "served.csv"))
    edit(limits, "window: week", "window: month")
    assert "QUIET" in demo(project, "monitor", str(tmp_path / "served.csv"))
    for column, change in PLANTED.items():
        moved = [row | change(number, row) for number, row in enumerate(rows)]
        path = write_rows(tmp_path / "moved.csv", moved)
        said = demo(project, "monitor", str(path), "--format", "json", expect=(1,))
        assert column.strip() in [alarm["column"] for alarm in json.loads(said)["alarms"]]


def test_awkward_table_goes_round_the_loop(
    render: Render, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names as people have them; an idea that wins, and a rollback; CI without a remote."""
    answers = {
        "forge": "azure",
        "consumption": "online",
        **awkward_table(tmp_path / "Clients été.csv"),
    }
    project = render({"project_name": "demo", **answers})
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
    said = ci(project, tmp_path / "clone", "azure")
    assert "no remote is named" in said
    assert "type uv run demo restore" in said


def test_forecast_of_the_sample_goes_round_the_loop(render: Render) -> None:
    project = render({"project_name": "demo", "task": "forecasting"})
    start(project)
    first = record(project, "retrain")
    assert first["verdict"] == "promote"
    gates = [gate["name"] for gate in first["gates"]]
    assert {"look-ahead", "seasonal naive"} <= set(gates)
    horizons = {item["value"] for item in first["slices"] if item["column"] == "horizon"}
    assert horizons == {str(step) for step in range(1, 8)}
    commit(project, "First round")
    assert f"Nothing changed since {first['id']}" in demo(project, "retrain")
    assert first["id"] in demo(project, "reproduce", first["id"])
    short = record(project, "train", "--set", "forecast.horizon=3")
    assert short["overrides"] == {"forecast.horizon": 3}
    assert short["comparison"]["holdout"] is not None
    demo(project, "gate", "--self-test")
    demo(project, "data", "check", "--must-fail")
    demo(project, "predict", "data/sample/seattle-weather.csv", "next.csv")
    lines = (project / "next.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "date,horizon,prediction"
    assert [line[:12] for line in lines[1:]] == [f"2016-01-0{n},{n}" for n in range(1, 8)]
    run(project, UV, "run", "--frozen", "pytest", "-q", "tests/data", "tests/model", "tests/e2e")


def test_forecast_of_weekly_series_goes_round_the_loop(render: Render, tmp_path: Path) -> None:
    """Two series with gaps; later weeks make a newest window; looking ahead is stopped."""
    answers = weekly_sales(tmp_path / "sales.csv", 200)
    project = render({"project_name": "demo", **answers})
    edit(project / "params.yaml", "window: 60", "window: 30")
    start(project)
    assert "spacing: 7 days" in (project / "data/contract.yaml").read_text(encoding="utf-8")
    first = record(project, "retrain")
    assert first["verdict"] == "promote"
    assert {("shop", "Genf"), ("shop", "Zürich")} <= {
        (item["column"], item["value"]) for item in first["slices"]
    }
    commit(project, "First round")
    weekly_sales(tmp_path / "sales.csv", 220)
    second = record(project, "retrain")
    assert second["rows"]["window"] >= 30
    assert second["comparison"]["window"] is not None
    demo(project, "gate", "--self-test")
    assert "train --experiment best" in demo(project, "search")
    run(project, UV, "run", "--frozen", "pytest", "-q")
    run(project, "git", "add", "--all")
    run(project, UV, "run", "--frozen", "pre-commit", "run", "--all-files")
    edit(project / "src/demo/forecast.py", "y.shift(lag) for", "y.shift(lag - 1) for")
    blocked = record(project, "train")
    assert blocked["exit_code"] == 20
    assert "look-ahead: " in blocked["reason"]
    assert "sold lag 0" in blocked["reason"]
