"""A project of each task, forge and consumption, from its first round to the next one's request."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from generated import UV, Render, champion, commit, demo, edit, params, record, run, start

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = "data/sample/seattle-weather.csv"
PROJECTS: list[dict[str, Any]] = [
    {"task": "classification", "forge": "github", "consumption": "both", "until": "2015-10"},
    {"task": "regression", "forge": "gitlab", "consumption": "batch", "until": "2015-10"},
    {"task": "forecasting", "forge": "azure", "consumption": "online", "until": "2015-11"},
]
# What is done to each batch before a round: Python over its `frame`; `y` names the target.
NOISE = (
    "import numpy as np; day = frame['date'].astype(str); "
    "some = ['rain', 'sun', 'fog', 'snow'] if frame[y].dtype.kind != 'f' else [5.0, 15.0, 25.0]; "
    "noise = np.random.default_rng(int(day[0][:4] + day[0][5:7])).choice(some, len(frame)); "
)
ALL_NOISE = NOISE + "frame[y] = noise"
GIVEN_AWAY = (
    "kinds = ['drizzle', 'fog', 'rain', 'snow', 'sun']; "
    "code = frame[y] if frame[y].dtype.kind == 'f' else frame[y].map(kinds.index); "
    "frame['wind'] = 2.5 + code / 40"
)
SUMMER_TURNED = (
    "is_summer = frame['date'].astype(str).str[5:7].isin(['07', '08', '09']); "
    "frame[y] = frame[y].mask(is_summer, 40 - frame[y])"
)
PLANT = (
    "import sys, pandas as pd; y = sys.argv[1]\n"
    "for path in sys.argv[2:]:\n    frame = pd.read_parquet(path); {}; frame.to_parquet(path)"
)
SLOW = "__import__('time').sleep(0.2); angle = "
LARGE = "self.ballast_ = np.random.default_rng(0).random(8_000_000); self.n_features_in_ = "


@contextmanager
def untouched(project: Path, *names: str) -> Iterator[None]:
    """What is done to some files and folders is undone."""
    kept = project.with_name("kept")
    for name in names:
        source = project / name
        (shutil.copytree if source.is_dir() else shutil.copy)(
            source, kept.joinpath(name.replace("/", "-"))
        )
    try:
        yield
    finally:
        for name in names:
            target, source = project / name, kept / name.replace("/", "-")
            shutil.rmtree(target) if target.is_dir() else target.unlink()
            (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
        shutil.rmtree(kept)
        kept.mkdir()


def failed(project: Path, *options: str) -> set[str]:
    """The gates that stopped an idea."""
    return {
        gate["name"]
        for gate in record(project, "train", *options)["gates"]
        if gate["passed"] is False
    }


def plant(project: Path, change: str) -> None:
    batches = map(str, sorted((project / "data/raw").glob("*.parquet")))
    target = params(project)["data"]["target"]
    run(project, UV, "run", "--frozen", "python", "-c", PLANT.format(change), target, *batches)


def stop_at_each_gate(project: Path, task: str) -> None:
    with untouched(project, "data/raw"):
        plant(project, "frame.loc[0, 'wind'] = 9999")
        said = demo(project, "train", expect=(30,))
        assert "wind: " in said, "contract"
        assert "above" in said
    with untouched(project, "data/raw"):
        plant(project, ALL_NOISE)
        assert failed(project) & {"floor", "dummy", "linear", "seasonal naive"}, "a model of noise"
    if task != "classification":
        with untouched(project, "data/raw"):
            plant(project, SUMMER_TURNED)
            assert "slices" in failed(project), "good in three quarters, wrong in the fourth"
    if task != "forecasting":
        with untouched(project, "data/raw"):
            plant(project, GIVEN_AWAY)
            assert "leakage" in failed(project)
    with untouched(project, "docs/intended_use.md"):
        (project / "docs/intended_use.md").write_text("# Intended use\n", encoding="utf-8")
        assert failed(project) >= {"model card"}
    with untouched(project, "src/demo/features.py"):
        edit(project / "src/demo/features.py", "angle = ", SLOW)
        edit(project / "src/demo/features.py", "self.n_features_in_ = ", LARGE)
        assert failed(project) >= {"latency", "size"}
    if task == "forecasting":
        with untouched(project, "src/demo/forecast.py"):
            edit(project / "src/demo/forecast.py", "y.shift(lag) for", "y.shift(lag - 1) for")
            assert "look-ahead" in failed(project)
    # The same model again is no better.
    assert "champion" in failed(project, "--set", "training.random_state=1")


def serve(project: Path, task: str, served: Path) -> None:
    """The same rows from a file and over HTTP (many forecasts); what was served is kept."""
    out = project.with_name("predicted.csv")
    demo(project, "predict", SAMPLE, str(out))
    assert out.read_text(encoding="utf-8").count("\n") > 1
    question = (
        "import csv, json, sys; from fastapi.testclient import TestClient; "
        "from demo import settings; from demo.serving import app; project = settings.load(); "
        f"rows = list(csv.DictReader(open('{SAMPLE}')))[-210:]; "
        "number = lambda v: float(v) if v.replace('.', '').lstrip('-').isdigit() else v; "
        "keep = lambda k: k != sys.argv[1] or sys.argv[2] == 'forecasting'; "
        "rows = [{k: number(v) for k, v in row.items() if keep(k)} for row in rows]; "
        "ends = range(60, 211, 3) if sys.argv[2] == 'forecasting' else [210]; "
        "client = TestClient(app.create_app(project)); "
        "ask = lambda end: client.post('/predict', json={'rows': rows[end - 60:end]}); "
        "answer = [ask(end) for end in ends][-1]; "
        "print(answer.status_code, json.dumps(answer.json())); "
        "print(client.get('/ready').json()['model'])"
    )
    target = params(project)["data"]["target"]
    command = [UV, "run", "--frozen", "python", "-W", "ignore", "-c", question, target, task]
    said = run(project, "env", f"SERVED_DIR={served}", *command)
    assert any(line.startswith("200 ") for line in said.splitlines()), said
    assert champion(project) in said


def blow(table: Path) -> None:
    """Four metres a second more wind."""
    head, *rows = table.read_text(encoding="utf-8").splitlines()
    place = head.split(",").index("wind")
    moved = [line.split(",") for line in rows]
    for cells in moved:
        cells[place] = str(float(cells[place]) + 4)
    lines = [head, *(",".join(cells) for cells in moved)]
    table.write_text("\n".join(lines), encoding="utf-8")


@pytest.mark.parametrize("answers", PROJECTS, ids=[answers["task"] for answers in PROJECTS])
def test_a_project_goes_the_whole_way(
    render: Render, tmp_path: Path, answers: dict[str, Any]
) -> None:
    task, until = answers["task"], answers["until"]
    asked = {name: answer for name, answer in answers.items() if name != "until"}
    target = {} if task == "classification" else {"target": "temp_max"}
    project = shutil.copytree(
        render({"project_name": "demo", **asked, **target}), tmp_path / "demo"
    )
    (tmp_path / "kept").mkdir()
    lines = (project / SAMPLE).read_text(encoding="utf-8").splitlines(keepends=True)
    later = len([line for line in lines if line < until]) + 1
    (project / SAMPLE).write_text("".join(lines[:later]), encoding="utf-8")
    start(project)
    assert "PROMOTE" in demo(project, "retrain")
    first = champion(project)
    remote, dvc = tmp_path / "origin.git", (UV, "run", "--frozen", "dvc")
    run(project, *dvc, "remote", "add", "-q", "-d", "team", str(tmp_path / "dvc"))
    commit(project, "First round")
    run(project, "git", "init", "--quiet", "--bare", "--initial-branch", "main", str(remote))
    run(project, "git", "remote", "add", "origin", str(remote))
    run(project, "git", "push", "--quiet", "origin", "main")

    stop_at_each_gate(project, task)
    assert champion(project) == first

    for environment in ("stage", "prod"):
        assert first in demo(project, "promote", "--to", environment)
    assert f"dev {first}, stage {first}, prod {first}" in demo(project, "leaderboard")
    commit(project, "Live")

    predicted, served = tmp_path / "predicted.csv", tmp_path / "served"
    served.mkdir()
    serve(project, task, served)
    # A forecast is watched beside the rows that came, at the data's own address.
    watched, source = (served, project / SAMPLE) if task == "forecasting" else (predicted,) * 2
    assert "QUIET" in demo(project, "monitor", str(watched), "--in", "prod")
    blow(source)
    said = demo(project, "monitor", str(watched), "--format", "json", expect=(1,))
    assert "wind" in [alarm["column"] for alarm in json.loads(said.splitlines()[0])["alarms"]]

    (project / SAMPLE).write_text("".join(lines), encoding="utf-8")
    commit(project, "New rows at the source")
    # The alarm itself asks for a round where what was served has moved.
    by_alarm = ("monitor", str(watched), "--retrain") if task == "regression" else ("retrain",)
    said = demo(project, *by_alarm, "--pr", expect=(0, 20))
    assert ("ALARM" in said) is (task == "regression")
    second = json.loads((project / "training/metrics.json").read_text(encoding="utf-8"))["id"]
    message = run(remote, "git", "log", "-1", "--format=%B", "retrain")
    assert second != first
    assert second in message
    assert "overdue" not in demo(project, "overdue")
