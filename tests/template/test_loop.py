"""Three projects go the whole way: environment, loop, their own tests, their own hooks."""

from __future__ import annotations

import csv
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from datetime import date, timedelta
from math import sin
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

UV = Path(sys.executable).with_name("uv")
# As it was at the start: the projects share the user's uv cache, but not this environment.
ENVIRONMENT = {
    **{key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"},
    **{
        f"GIT_{who}_{what}": "test@example.org"
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    },
    "UV_PYTHON": sys.executable,
    "COLUMNS": "200",
}
Render = Callable[[dict[str, Any]], Path]


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


def run(project: Path, *command: str, expect: tuple[int, ...] = (0,)) -> str:
    """Runs a command in the project; another exit code than expected fails with all it printed."""
    done = subprocess.run(
        command, cwd=project, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    said = f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert done.returncode in expect, said
    assert "Traceback" not in said, said
    return done.stdout + done.stderr


def champion(project: Path) -> str:
    pointer = json.loads((project / "deployment/champion.json").read_text(encoding="utf-8"))
    return str(pointer["id"])


@pytest.mark.parametrize("name", ["classification", "regression", "awkward"])
def test_project_goes_round_the_loop(name: str, render: Render, tmp_path: Path) -> None:
    answers = {"task": name} if name != "awkward" else awkward_table(tmp_path / "Clients été.csv")
    project = render({"project_name": "demo", **answers})
    demo = (str(UV), "run", "--frozen", "demo")

    run(project, "git", "init", "--quiet", "--initial-branch", "main")
    run(project, "git", "add", "--all")
    run(project, "git", "commit", "--quiet", "--message", "Start")
    run(project, str(UV), "sync", "--quiet")

    run(project, *demo, "data", "infer")
    assert "PROMOTE" in run(project, *demo, "retrain")
    first = champion(project)
    run(project, "git", "add", "--all")
    run(project, "git", "commit", "--quiet", "--message", "First round")
    assert f"Nothing changed since {first}" in run(project, *demo, "retrain")
    assert first in run(project, *demo, "reproduce", first)
    run(project, *demo, "train", "--set", "model.learning_rate=0.05", expect=(0, 10, 20))
    assert first in run(project, *demo, "leaderboard")
    assert champion(project) == first

    run(project, *demo, "data", "check", "--must-fail")
    run(project, *demo, "gate", "--self-test")
    run(project, *demo, "doctor")
    batch = min((project / "data/raw").glob("*.parquet"))
    run(project, *demo, "predict", str(batch), "predictions.csv")
    assert (project / "predictions.csv").read_text(encoding="utf-8").count("\n") > 1
    (project / "predictions.csv").unlink()

    run(project, str(UV), "run", "--frozen", "pytest", "-q")
    run(project, "git", "add", "--all")
    run(project, str(UV), "run", "--frozen", "pre-commit", "run", "--all-files")
    assert not run(project, "git", "status", "--porcelain", "--untracked-files=no", "--", "src")
