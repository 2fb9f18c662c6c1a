"""A project of each task, forge and consumption, from its first round to the next one's request."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import forge
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
from pipelines import command, filled, job_steps

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = "data/sample/seattle-weather.csv"
DVC = (UV, "run", "--frozen", "dvc")
SEARCHED = ("learning_rate", "max_iter", "max_depth", "min_samples_leaf")
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
    """A problem is planted for each gate; the champion stays what it was."""
    first = champion(project)
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
    with untouched(project, "docs/intended_use.md", "src/demo/features.py"):
        (project / "docs/intended_use.md").write_text("# Intended use\n", encoding="utf-8")
        edit(project / "src/demo/features.py", "angle = ", SLOW)
        edit(project / "src/demo/features.py", "self.n_features_in_ = ", LARGE)
        assert failed(project) >= {"latency", "size", "model card"}
    if task == "forecasting":
        with untouched(project, "src/demo/forecast.py"):
            edit(project / "src/demo/forecast.py", "y.shift(lag) for", "y.shift(lag - 1) for")
            assert "look-ahead" in failed(project)
    # The same model again is no better.
    assert "champion" in failed(project, "--set", "training.random_state=1")
    assert champion(project) == first


def serve(project: Path, rows: Path, served: Path) -> None:
    """The same rows from a file and over HTTP (many forecasts); what was served is kept."""
    served.mkdir()
    demo(project, "predict", str(rows), str(served.with_name("predicted.csv")))
    question = (
        "import csv, json, sys; from fastapi.testclient import TestClient; "
        "from demo import settings; from demo.serving import app; project = settings.load(); "
        f"rows = list(csv.DictReader(open('{rows}')))[-210:]; "
        "number = lambda v: float(v) if v.replace('.', '').lstrip('-').isdigit() else v; "
        "keep = lambda k: k != sys.argv[1] or project.forecasts; "
        "rows = [{k: number(v) for k, v in row.items() if keep(k)} for row in rows]; "
        "ends = range(60, 211, 3) if project.forecasts else [210]; "
        "client = TestClient(app.create_app(project)); "
        "ask = lambda end: client.post('/predict', json={'rows': rows[end - 60:end]}); "
        "answer = [ask(end) for end in ends][-1]; "
        "print(answer.status_code, json.dumps(answer.json())); "
        "print(client.get('/ready').json()['model'])"
    )
    target = params(project)["data"]["target"]
    command = [UV, "run", "--frozen", "python", "-W", "ignore", "-c", question, target]
    said = run(project, "env", f"SERVED_DIR={served}", *command)
    assert any(line.startswith("200 ") for line in said.splitlines()), said
    assert champion(project) in said


def watch(project: Path, served: Path, source: Path) -> None:
    """Quiet about what was served, and loud when the wind has risen at its source."""
    assert "QUIET" in demo(project, "monitor", str(served), "--in", "prod")
    blow(source)
    said = demo(project, "monitor", str(served), "--format", "json", expect=(1,))
    assert "wind" in [alarm["column"] for alarm in json.loads(said.splitlines()[0])["alarms"]]


def blow(table: Path) -> None:
    """Four metres a second more wind."""
    head, *rows = table.read_text(encoding="utf-8").splitlines()
    place = head.split(",").index("wind")
    moved = [line.split(",") for line in rows]
    for cells in moved:
        cells[place] = str(float(cells[place]) + 4)
    lines = [head, *(",".join(cells) for cells in moved)]
    table.write_text("\n".join(lines), encoding="utf-8")


def weather(until: str) -> str:
    """The sample up to a month."""
    lines = (ROOT / "template" / SAMPLE).read_text(encoding="utf-8").splitlines(keepends=True)
    return lines[0] + "".join(line for line in lines[1:] if line < until)


def insert(database: Path, start: str, end: str) -> None:
    """Those rows of the sample, in a table of a database."""
    rows = [row for row in csv.reader(weather(end).splitlines()[1:]) if start <= row[0]]
    kinds = "date text, precipitation real, temp_max real, temp_min real, wind real, weather text"
    with closing(sqlite3.connect(database)) as shop, shop:
        shop.execute(f"create table if not exists weather ({kinds})")
        shop.executemany("insert into weather values (?, ?, ?, ?, ?, ?)", rows)


def make(render: Render, folder: Path, **answers: Any) -> Path:
    """A project that no other test shares, with a folder beside it for what is put back."""
    (folder / "kept").mkdir()
    return shutil.copytree(render({"project_name": "demo", **answers}), folder / "demo")


def publish(project: Path) -> Path:
    """A place for data and models, and one for the repository."""
    remote = project.with_name("origin.git")
    run(project, *DVC, "remote", "add", "-q", "-d", "team", str(project.with_name("dvc")))
    run(project, *DVC, "push", "-q")
    commit(project, "Share")
    run(project, "git", "init", "--quiet", "--bare", "--initial-branch", "main", str(remote))
    run(project, "git", "remote", "add", "origin", str(remote))
    run(project, "git", "push", "--quiet", "origin", "main")
    return remote


def check_out(project: Path) -> Path:
    """A fresh clone, as a runner has it: of the project's remote, if it has one."""
    remote, clone = project.with_name("origin.git"), project.with_name("clone")
    run(project, "git", "clone", "--quiet", str(remote if remote.exists() else project), str(clone))
    return clone


def job(clone: Path, name: str, place: str, *, expect: tuple[int, ...] = (0,), **given: str) -> str:
    """Runs a job of the project's CI, command by command, as a forge's runner does.

    given are the forge's variables and secrets; a step sees those that the forge sets, and those
    that the step names.
    """
    said, hidden = [], {"SYSTEM_ACCESSTOKEN", "REGISTRY_PASSWORD"}
    given = {"BUILD_SOURCESDIRECTORY": str(clone), **given}
    if place == "github":
        hidden = {key for key in given if not key.startswith("GITHUB_")}
    seen = {key: value for key, value in given.items() if key not in hidden}
    for step in job_steps(clone, place, name):
        line, condition = filled(command(step), given), step.get("if", step.get("condition", ""))
        if line.startswith("pip install uv==") or (
            "SERVED_DIR" in condition and not given.get("SERVED_DIR")
        ):
            continue
        named = {key: filled(value, given) for key, value in step["env"].items()}
        variables = (f"{key}={value}" for key, value in (seen | named).items())
        goes_on = {"continue-on-error", "continueOnError"} & step.keys()
        shell = ("bash", "-eo", "pipefail", "-c", line)
        said.append(run(clone, "env", *variables, *shell, expect=(0, 1, 2) if goes_on else expect))
    return "\n".join(said)


def ci(clone: Path, place: str) -> str:
    """The job that tests the project; GitLab's in a shell of its own, where there is a program."""
    if place == "gitlab" and shutil.which("rsync") and (program := tools.gitlab_ci_local()):
        return run(clone, program, "ci", "--force-shell-executor")
    # GitLab's job ends orange, by an exit code, where there is no model to test.
    expect = (0, 40) if place == "gitlab" else (0,)
    return job(clone, "test" if place == "github" else "ci", place, expect=expect)


def judge_an_idea(clone: Path, place: str) -> None:
    """What a push and a request start: the environments to deploy, the switch, a verdict."""
    output, summary = clone.with_name("output"), clone.with_name("summary.md")
    output.touch()
    run(clone, "git", "pull", "--quiet", "--ff-only")
    files = {"GITHUB_OUTPUT": str(output), "GITHUB_STEP_SUMMARY": str(summary)}
    before = run(clone, "git", "rev-parse", "HEAD^").strip()
    with forge.serving(place) as server:
        server.deployed = before
        given = {**files, **server.variables(), "GITHUB_EVENT_BEFORE": before}
        said = job(clone, "changed", place, **given) + output.read_text(encoding="utf-8")
    assert json.loads(re.findall(r"environments.*?(\[.*\])", said)[-1]) == ["stage", "prod"]
    assert champion(clone) in job(clone, "overdue", place)
    edit(clone / "params.yaml", "random_state: 0", "random_state: 1")
    job(clone, "train", place, expect=(0, 20), **files)
    [verdict] = [path for path in (summary, clone / "verdict.md") if path.exists()]
    assert "### Gates" in verdict.read_text(encoding="utf-8")
    run(clone, "git", "restore", ".")
    run(clone, "git", "clean", "--quiet", "--force", "verdict.md")


def deploy(clone: Path, place: str) -> None:
    """The job that brings a champion to stage, by programs that write down what they are told."""
    folder = clone.with_name("programs")
    folder.mkdir()
    for name in ("docker", "kubectl"):
        program = folder / name
        stored = f'[ "$1" = login ] && cat > "{folder}/password"'
        program.write_text(f'#!/bin/sh\necho "{name} $*" >> "{folder}/log"\n{stored}\nexit 0\n')
        program.chmod(0o755)
    variables = {
        "IMAGE": "registry.example.org/acme/demo",
        "REGISTRY_USER": "robot",
        "REGISTRY_PASSWORD": "secret-password",
        "GITHUB_WORKSPACE": str(clone),
        "KUBECONFIG": "the cluster's address",
        "CLUSTER_SECUREFILEPATH": str(clone.with_name("kubeconfig")),
        "MATRIX_ENVIRONMENT": "stage",
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ENVIRONMENT, "PATH", f"{folder}{os.pathsep}{ENVIRONMENT['PATH']}")
        said = job(clone, "deploy" if place == "github" else "stage", place, **variables)
    image = rf"registry\.example\.org/acme/demo:{champion(clone)}-\w+"
    wanted = (
        "docker login --username robot --password-stdin registry.example.org",
        "kubectl get -k deployment/k8s/overlays/stage --ignore-not-found -o json",
        rf"docker build -f deployment/Dockerfile .*CHAMPION=deployment/stage -t {image} \.",
        f"docker push {image}",
        r"kubectl apply -k \S+",
    )
    told = (folder / "log").read_text(encoding="utf-8").splitlines()
    assert all(map(re.fullmatch, wanted, told)), told
    assert len(told) == len(wanted)
    assert (folder / "password").read_text(encoding="utf-8") == "secret-password\n"
    assert "secret-password" not in said
    if place == "github":
        assert (clone / ".kubeconfig").read_text(encoding="utf-8") == "the cluster's address\n"


def retrain_on_schedule(clone: Path, place: str, remote: Path, served: Path) -> None:
    """The daily job looks at what was served, and asks the forge for one request."""
    run(clone, "git", "pull", "--quiet", "--ff-only")
    first = champion(clone)
    with forge.serving(place) as server:
        job(clone, "retrain", place, SERVED_DIR=str(served), **server.variables())
    assert [method for method, *_ in server.calls] == ["GET", "POST"]
    second = requested(clone, remote, first)
    assert second["id"] in server.calls[1][2]["title"]


def try_every_command(project: Path) -> None:
    """What a person types between two rounds; none of it changes the champion."""
    first = champion(project)
    assert f"Nothing changed since {first}" in demo(project, "retrain")
    assert first in demo(project, "reproduce", first)
    demo(project, "data", "check", "--must-fail")
    demo(project, "doctor")
    assert champion(project) == first


def go_live(project: Path) -> None:
    """From dev to prod."""
    first = champion(project)
    for environment in ("stage", "prod"):
        assert first in demo(project, "promote", "--to", environment)
    assert f"dev {first}, stage {first}, prod {first}" in demo(project, "leaderboard")
    commit(project, "Live")
    run(project, *DVC, "push", "-q")
    run(project, "git", "push", "--quiet", "origin", "main")


def requested(project: Path, remote: Path, first: str) -> dict[str, Any]:
    """The record of a round on new rows, of which a request tells."""
    metrics = json.loads((project / "training/metrics.json").read_text(encoding="utf-8"))
    second = str(metrics["id"])
    assert second != first
    assert second in run(remote, "git", "log", "-1", "--format=%B", "retrain")
    assert "overdue" not in demo(project, "overdue")
    return dict(json.loads((project / "reports" / second / "round.json").read_text("utf-8")))


@pytest.fixture
def uncounted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Coverage, which takes as long as the tests, is counted on GitHub alone."""
    monkeypatch.setitem(ENVIRONMENT, "PYTEST_ADDOPTS", "--no-cov")


def test_classification_on_github_for_both(render: Render, tmp_path: Path) -> None:
    """The first project of whoever tries it: each command, DVC's own, and CI with a remote."""
    answers = {"task": "classification", "forge": "github", "consumption": "both"}
    project = make(render, tmp_path, **answers)
    (project / SAMPLE).write_text(weather("2015-10"), encoding="utf-8")
    start(project)
    assert "PROMOTE" in demo(project, "retrain")
    commit(project, "First round")
    try_every_command(project)
    demo(project, "gate", "--self-test")
    assert "up to date" in run(project, *DVC, "repro")
    remote = publish(project)
    clone = check_out(project)
    said = ci(clone, "github")
    assert "as this commit has them" in said
    assert "SKIPPED" not in said

    stop_at_each_gate(project, "classification")
    edit(project / "params.yaml", "learning_rate: 0.1", "learning_rate: 0.02")
    said = run(project, *DVC, "repro")
    assert "Running stage 'train'" in said
    assert "Running stage 'judge'" in said
    assert "up to date" in run(project, *DVC, "repro")
    run(project, "git", "restore", ".")
    run(project, *DVC, "checkout", "-q", "--force")

    go_live(project)
    serve(project, project / SAMPLE, tmp_path / "served")
    watch(project, tmp_path / "predicted.csv", tmp_path / "predicted.csv")
    judge_an_idea(clone, "github")
    deploy(clone, "github")
    (project / SAMPLE).write_text(weather("2016"), encoding="utf-8")
    commit(project, "New rows at the source")
    run(project, "git", "push", "--quiet", "origin", "main")
    retrain_on_schedule(clone, "github", remote, tmp_path / "served")


@pytest.mark.usefixtures("uncounted")
def test_regression_on_gitlab_in_batches(render: Render, tmp_path: Path) -> None:
    """Rows from SQL; those that come after the holdout was frozen make a newest window."""
    database = tmp_path / "shop.db"
    insert(database, "2012", "2015-10")
    answers = {"data_uri": f"sqlite:///{database}#weather", "target": "temp_max"}
    answers |= {"task": "regression", "forge": "gitlab", "consumption": "batch"}
    project = make(render, tmp_path, **answers, time_column="date", key_columns=["date"])
    edit(project / "deployment/monitoring.yaml", "window: week", "window: month")
    start(project)
    assert record(project, "retrain")["verdict"] == "promote"
    commit(project, "First round")
    assert "skipped: no remote is named" in ci(check_out(project), "gitlab")
    remote = publish(project)

    stop_at_each_gate(project, "regression")
    assert "train --experiment best" in demo(project, "search")
    best = record(project, "train", "--experiment", "best")
    assert best["overrides"].keys() <= {f"model.{name}" for name in SEARCHED}

    go_live(project)
    (tmp_path / "rows.csv").write_text(weather("2015-10"), encoding="utf-8")
    serve(project, tmp_path / "rows.csv", tmp_path / "served")
    watch(project, tmp_path / "predicted.csv", tmp_path / "predicted.csv")
    insert(database, "2015-10", "2016")
    # The alarm itself asks for the round.
    asked = ("monitor", str(tmp_path / "predicted.csv"), "--retrain", "--pr")
    first = champion(project)
    demo(project, *asked, expect=(0, 20))
    second = requested(project, remote, first)
    assert second["rows"]["window"] >= 60
    assert second["comparison"]["window"] is not None
    report = project / "reports" / second["id"]
    assert "newest" in (report / "report.html").read_text(encoding="utf-8")
    assert ", window |" in (report / "report.md").read_text(encoding="utf-8")


@pytest.mark.usefixtures("uncounted")
def test_forecasting_on_azure_online(render: Render, tmp_path: Path) -> None:
    """One series, judged at every horizon; its newest rows ask for the next days."""
    answers = {"task": "forecasting", "forge": "azure", "consumption": "online"}
    project = make(render, tmp_path, **answers, target="temp_max")
    (project / SAMPLE).write_text(weather("2015-11"), encoding="utf-8")
    start(project)
    first = record(project, "retrain")
    assert first["verdict"] == "promote"
    assert {"look-ahead", "seasonal naive"} <= {gate["name"] for gate in first["gates"]}
    horizons = {item["value"] for item in first["slices"] if item["column"] == "horizon"}
    assert horizons == {str(step) for step in range(1, 8)}
    commit(project, "First round")
    try_every_command(project)
    remote = publish(project)
    clone = check_out(project)
    assert "SKIPPED" not in ci(clone, "azure")

    stop_at_each_gate(project, "forecasting")
    short = record(project, "train", "--set", "forecast.horizon=3")
    assert short["overrides"] == {"forecast.horizon": 3}
    assert short["comparison"]["holdout"] is not None

    go_live(project)
    serve(project, project / SAMPLE, tmp_path / "served")
    head, *lines = (tmp_path / "predicted.csv").read_text(encoding="utf-8").splitlines()
    assert head == "date,horizon,prediction"
    assert [line[:12] for line in lines] == [f"2015-11-0{n},{n}" for n in range(1, 8)]
    # A forecast is watched beside the rows that came, at the data's own address.
    watch(project, tmp_path / "served", project / SAMPLE)
    judge_an_idea(clone, "azure")
    deploy(clone, "azure")
    (project / SAMPLE).write_text(weather("2016"), encoding="utf-8")
    commit(project, "New rows at the source")
    run(project, "git", "push", "--quiet", "origin", "main")
    retrain_on_schedule(clone, "azure", remote, tmp_path / "served")
