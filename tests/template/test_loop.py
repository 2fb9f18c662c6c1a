"""Tables as people have them go round the loop, with the tests that depend on the data."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Callable
from datetime import date, timedelta
from math import pi, sin
from pathlib import Path
from typing import Any

import pytest
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


def own_tests(project: Path, *more: str) -> None:
    """Those of the project's own tests that depend on its data, and its hooks."""
    folders = ("tests/data", "tests/model", "tests/e2e", *more)
    run(project, UV, "run", "--frozen", "pytest", "-q", *folders)
    run(project, "git", "add", "--all")
    run(project, UV, "run", "--frozen", "pre-commit", "run", "--all-files")


def alias(project: Path) -> str:
    """The id of the round that MLflow calls champion."""
    question = (
        "import mlflow; mlflow.set_tracking_uri('sqlite:///mlflow.db'); "
        "client = mlflow.MlflowClient(); "
        "version = client.get_model_version_by_alias('demo', 'champion'); "
        "print(client.get_run(version.run_id).data.tags['id'])"
    )
    return run(project, UV, "run", "--frozen", "python", "-c", question).split()[-1]


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
    """Names as people have them; an idea that wins, and a rollback; a clone without a remote."""
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
    own_tests(project)
    counting = ("pytest", "-q", "tests/gates/test_gates.py", "-k", "code", "--cov")
    said = run(project, UV, "run", "--frozen", *counting)
    counted = [line.split()[0] for line in said.splitlines() if line.endswith("%")]
    assert "src/demo/cli.py" in counted
    assert all(name.startswith(("src/demo/", "TOTAL")) for name in counted)
    clone = tmp_path / "clone"
    run(project, "git", "clone", "--quiet", str(project), str(clone))
    python = ["env", f"PYTHONPATH={clone / 'src'}", str(project / ".venv/bin/python"), "-m"]
    assert "no remote is named" in run(clone, *python, "demo.cli", "restore")
    assert "type uv run demo restore" in run(clone, *python, "pytest", "-q", "tests/model")


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
    own_tests(project, "tests/gates")
    edit(project / "src/demo/forecast.py", "y.shift(lag) for", "y.shift(lag - 1) for")
    blocked = record(project, "train")
    assert blocked["exit_code"] == 20
    assert "look-ahead: " in blocked["reason"]
    assert "sold lag 0" in blocked["reason"]
