from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from repositories import git

from mlscaffold import environment, process
from mlscaffold.environment import StepError

RECORD = {
    "id": "8c21f0aa",
    "verdict": "promote",
    "reason": "first champion",
    "metric": "roc_auc",
    "scores": {"roc_auc": {"value": 0.8, "low": 0.7, "high": 0.9}},
    "baselines": {"dummy": 0.5},
    "smallest_gain": 0.01,
}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Every program that would have been started; none is."""
    made: list[list[str]] = []

    def run(command: tuple[str, ...], **_: object) -> process.Finished:
        made.append(list(command[1:]))
        return process.Finished(0, "", "")

    monkeypatch.setattr(process, "run", run)
    return made


def answer(monkeypatch: pytest.MonkeyPatch, code: int, stderr: str = "") -> None:
    monkeypatch.setattr(process, "run", lambda *_, **__: process.Finished(code, "", stderr))


def test_a_failing_uv_says_why_and_what_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, 1, "error: no solution\n")
    with pytest.raises(StepError, match="uv sync failed: error: no solution") as caught:
        environment.synchronise(tmp_path)
    assert caught.value.again == "uv sync"


def test_uv_is_not_led_to_another_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIRTUAL_ENV", "/elsewhere")
    monkeypatch.setenv("GIT_DIR", "/elsewhere")
    seen: dict[str, str] = {}

    def run(_command: object, *, env: dict[str, str], **_: object) -> process.Finished:
        seen.update(env)
        return process.Finished(1, "", "")

    monkeypatch.setattr(process, "run", run)
    with pytest.raises(StepError):
        environment.synchronise(tmp_path)
    assert seen
    assert not {"VIRTUAL_ENV", "GIT_DIR"} & seen.keys()


def test_hooks_are_installed_where_there_are_some(tmp_path: Path, calls: list[list[str]]) -> None:
    (tmp_path / ".git").mkdir()
    assert not environment.install_hooks(tmp_path)
    (tmp_path / ".pre-commit-config.yaml").write_text("repos: []\n")
    assert environment.install_hooks(tmp_path)
    assert calls == [["run", "--no-sync", "pre-commit", "install"]]


def test_first_round_reads_the_newest_record(tmp_path: Path, calls: list[list[str]]) -> None:
    record = tmp_path / "reports" / "8c21f0aa" / "round.json"
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps(RECORD))
    found = environment.first_round(tmp_path, "churn")
    assert (found.verdict, found.report) == ("promote", "reports/8c21f0aa/report.html")
    assert [call[2:] for call in calls] == [["churn", "data", "infer"], ["churn", "retrain"]]


def test_first_round_runs_on_a_committed_lock_and_contract(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The project's own loop makes no champion of what no commit has."""
    git(tmp_path, "init", "-q")
    (tmp_path / "uv.lock").write_text("")
    before_each: dict[str, str] = {}

    def run(command: tuple[str, ...], **_: object) -> process.Finished:
        before_each[command[-1]] = git(tmp_path, "status", "--porcelain")
        (tmp_path / f"{command[-1]}.json").write_text("")
        return process.Finished(0, "", "")

    real = process.run
    monkeypatch.setattr(
        process,
        "run",
        lambda command, **rest: (real if command[0] == "git" else run)(command, **rest),
    )
    with pytest.raises(StepError, match="no record"):
        environment.first_round(tmp_path, "churn")
    assert before_each == {"infer": "?? uv.lock", "retrain": ""}
    assert git(tmp_path, "ls-files").split() == ["infer.json", "uv.lock"]


@pytest.mark.parametrize("code", [30, 1])
def test_a_round_without_a_verdict_is_a_failed_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    answer(monkeypatch, code, "contract broken\n")
    with pytest.raises(StepError, match="contract broken"):
        environment.first_round(tmp_path, "churn")


def test_a_round_without_a_record_is_a_failed_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, 0)
    with pytest.raises(StepError, match="no record"):
        environment.first_round(tmp_path, "churn")


@pytest.mark.slow
def test_synchronise_makes_lock_and_environment(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "p"\nversion = "0"\nrequires-python = ">=3.11"\n'
        '[tool.uv]\npython-downloads = "never"\npackage = false\n'
    )
    git(tmp_path, "init", "-q")
    assert environment.synchronise(tmp_path).python.startswith("3.")
    assert (tmp_path / "uv.lock").exists()


def test_uv_that_is_not_on_the_path_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert environment.path_to_uv() == ""
    monkeypatch.setenv("PATH", str(tmp_path))
    typed = environment.path_to_uv()
    found = subprocess.run(
        ["/bin/sh", "-c", f"{typed}; uv --version"],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.startswith("uv ")
