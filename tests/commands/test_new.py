from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from repositories import TEMPLATE, git, tree

from mlscaffold import environment, output
from mlscaffold.cli import cli
from mlscaffold.environment import Environment, Round, StepError

Make = Callable[..., Path]
SHOP = {
    **TEMPLATE,
    "copier.yml": "project_name:\n  type: str\ndata_uri:\n  type: str\n  default: ''\n"
    "task:\n  type: str\n  default: classification\ntarget:\n  type: str\n"
    "time_column:\n  type: str\n  default: ''\nkey_columns:\n  type: yaml\n  default: []\n"
    "name:\n  type: str\n  default: demo\n"
    "colour:\n  type: str\n  default: red\n",
    "pyproject.toml.jinja": '[project]\nname = "{{ project_name }}"\nversion = "0"\n'
    '[project.scripts]\n{{ project_name }} = "x:y"\n',
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "work"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


def new(*arguments: object, answers: str = "") -> Result:
    return CliRunner().invoke(cli, ["new", *map(str, arguments)], input=answers)


@pytest.fixture
def customers(tmp_path: Path) -> Path:
    lines = ["customer_id,seen,plan,charge,churned"]
    for n in range(60):
        plan, churned = ("basic", "pro", "max")[n % 3], ("yes", "no")[n % 4 == 0]
        lines.append(f"c{n:04d},2026-01-{n % 28 + 1:02d},{plan},{20 + n * 7 % 13}.5,{churned}")
    (tmp_path / "work" / "customers.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "work" / "customers.csv"


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stands for uv and for the loop; what was asked of them."""
    asked: list[str] = []
    round_ = Round(
        id="8c21f0aa",
        verdict="promote",
        reason="first champion 8c21f0aa",
        metric="roc_auc",
        scores={"roc_auc": {"value": 0.846, "low": 0.827, "high": 0.865}},
        baselines={"dummy": 0.5, "linear": 0.838},
        smallest_gain=0.009,
        report="reports/8c21f0aa/report.html",
    )

    def synchronise(root: Path) -> Environment:
        (root / "uv.lock").write_text("")
        asked.append("environment")
        return Environment("3.12.1", 118)

    def first_round(_root: Path, command: str) -> Round:
        asked.append(command)
        return round_

    monkeypatch.setattr(environment, "synchronise", synchronise)
    monkeypatch.setattr(environment, "first_round", first_round)
    return asked


def test_new_makes_a_committed_project(repository: Make, folder: Path) -> None:
    made = new("churn", "--template", repository(), "--defaults", "--no-env")
    assert made.exit_code == 0, made.stderr
    assert "3 files from template v1.0.0" in made.stderr
    assert git(folder / "churn", "status", "--porcelain") == ""
    assert [path.name for path in folder.iterdir()] == ["churn"]


def test_new_ends_with_three_commands(repository: Make) -> None:
    made = new("churn", "--template", repository(SHOP), "--data=target=y", "--defaults", "--no-env")
    lines = made.stdout.strip().splitlines()
    assert lines[0] == "Next:  cd churn"
    assert len(lines) == 3


def test_what_a_template_says_at_the_end_is_told(repository: Make) -> None:
    says = "_message_after_copy: Welcome to {{ name }}\n_message_before_copy: Hello\n"
    folder = repository({**TEMPLATE, "copier.yml": says + TEMPLATE["copier.yml"]})
    made = new("churn", "--template", folder, "--data=name=ann", "--defaults", "--no-env")
    assert "Welcome to ann\n" in made.stderr
    assert "Hello" not in made.output


def test_new_takes_the_folder_it_stands_in(repository: Make, folder: Path) -> None:
    assert new(".", "--template", repository(), "--defaults", "--no-env").exit_code == 0
    assert (folder / "hello.txt").exists()
    assert (folder / ".git").exists()


def test_answers_come_from_file_option_and_config(
    repository: Make, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = (
        f'template = "{repository()}"\n[answers]\nname = "config"\ncolour = "blue"\nother = 1\n'
    )
    (tmp_path / "config.toml").write_text(config)
    (tmp_path / "answers.yml").write_text("name: file\n")
    monkeypatch.setenv("MLSCAFFOLD_CONFIG", str(tmp_path / "config.toml"))
    assert new("a", "--no-env").exit_code == 0  # nothing is left to ask
    assert new("b", "--no-env", "--data-file", tmp_path / "answers.yml").exit_code == 0
    assert new("c", "--no-env", "--data", "name=option").exit_code == 0
    texts = [(folder / place / "hello.txt").read_text() for place in "abc"]
    assert texts == ["hello config, blue\n", "hello file, blue\n", "hello option, blue\n"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Name the folder"),
        (["churn"], "Not answered: name: What is it called"),
        (["churn", "--defaults", "--data", "color=red"], "Did you mean colour"),
        (["churn", "--defaults", "--data", "colour=green"], "colour"),
        (["churn", "--defaults", "--data", "name"], "has no '='"),
        (["churn", "--defaults", "--data", "name=ghp_" + "a1B2" * 9], "token"),
        (["churn", "--defaults", "--data-uri", "x.csv"], "Unknown question 'data_uri'"),
        (["churn", "--defaults", "--ref", "v1.0.1"], "Did you mean v1.0.0"),
        (["churn", "--defaults", "--no-env", "--run"], "--run needs the environment"),
        (["", "--defaults"], "empty"),
        (["../churn", "--defaults"], "leave out"),
        (["--defaults", "--", "-rf"], "starts with '-'"),
        (["NUL", "--defaults"], "Windows"),
        (["x" * 300, "--defaults"], "300 characters"),
        (["{{ name }}", "--defaults"], "template syntax"),
        (["a\u202eb", "--defaults"], "cannot be seen"),
        (["churn", "--data-file", "nope.yml"], "No such file"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    repository: Make, folder: Path, arguments: Sequence[str], words: str
) -> None:
    failed = new("--template", repository(), *arguments)
    assert failed.exit_code == 2
    assert words in failed.stderr
    assert failed.stderr.strip().count("\n") == (3 if "Usage:" in failed.stderr else 0)
    assert failed.stdout == ""
    assert not list(folder.iterdir())


def test_a_folder_that_is_not_empty_is_left_alone(repository: Make, folder: Path) -> None:
    (folder / "churn").mkdir()
    (folder / "churn" / "mine").write_text("")
    failed = new("churn", "--template", repository(), "--defaults")
    assert failed.exit_code == 2
    assert list(tree(folder)) == ["churn/mine"]


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://me:s3cret@example.com/t.git", "https://***@example.com/t.git"),
        ("https://example.com/t.git?private_token=s3cret", "t.git?private_token=***"),
        ("git+ssh://me:s3cret/a b@example.com/t.git", "ssh://me:***@example.com/t.git"),
    ],
)
@pytest.mark.parametrize("way", ["option", "config"])
def test_a_credential_in_the_address_is_refused_and_masked(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    address: str,
    shown: str,
    way: str,
) -> None:
    (tmp_path / "config.toml").write_text(f"template = '{address}'\n")
    if way == "config":
        monkeypatch.setenv("MLSCAFFOLD_CONFIG", str(tmp_path / "config.toml"))
    failed = new("churn", "--defaults", *(["--template", address] if way == "option" else []))
    assert failed.exit_code == 2
    assert "s3cret" not in failed.output
    assert shown in failed.stderr
    assert not list(folder.iterdir())


TASKS = {**TEMPLATE, "copier.yml": '_tasks: ["pwd > where"]\n' + TEMPLATE["copier.yml"]}


def test_a_template_with_tasks_needs_trust(repository: Make, folder: Path) -> None:
    failed = new("churn", "--template", repository(TASKS), "--defaults")
    assert failed.exit_code == 2
    assert "runs code of its own (tasks)" in failed.stderr
    assert not list(folder.iterdir())


def test_a_trusted_templates_tasks_run_in_the_project(repository: Make, folder: Path) -> None:
    made = new("churn", "--template", repository(TASKS), "--defaults", "--no-env", "--trust")
    assert made.exit_code == 0, made.stderr
    assert (folder / "churn" / "where").read_text().strip() == str(folder / "churn")


def test_trust_can_come_from_the_config(
    repository: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.toml").write_text(f'trust = ["{tmp_path}/"]\n')
    monkeypatch.setenv("MLSCAFFOLD_CONFIG", str(tmp_path / "config.toml"))
    made = new("churn", "--template", repository(TASKS), "--defaults", "--no-env")
    assert made.exit_code == 0, made.stderr


def test_dry_run_prints_the_tree_and_writes_nothing(repository: Make, folder: Path) -> None:
    shown = new("churn", "--template", repository(), "--defaults", "--dry-run")
    assert shown.exit_code == 0
    assert "├── hello.txt" in shown.stdout or "└── hello.txt" in shown.stdout
    assert "nothing was written" in shown.stdout
    assert not list(folder.iterdir())


def test_json_is_all_that_stdout_holds(repository: Make, folder: Path) -> None:
    made = new("churn", "--template", repository(), "--defaults", "--no-env", "--format=json")
    found = json.loads(made.stdout)
    assert found["path"] == str(folder / "churn")
    assert found["template"]["version"] == "v1.0.0"
    assert found["answers"] == {"name": "demo", "colour": "red"}
    assert all(found[key] for key in ("commit", "files", "next"))
    assert (found["environment"], found["round"]) == (None, None)


def test_no_git_makes_no_repository(repository: Make, folder: Path) -> None:
    new("churn", "--template", repository(), "--defaults", "--no-env", "--no-git")
    assert (folder / "churn" / "hello.txt").exists()
    assert not (folder / "churn" / ".git").exists()


def test_a_table_answers_what_is_asked_about_it(
    repository: Make, folder: Path, customers: Path
) -> None:
    made = new(
        "churn", "--template", repository(SHOP), "--data-uri", customers.name,
        "--target", "churned", "--defaults", "--no-env",
    )  # fmt: skip
    assert made.exit_code == 0, made.stderr
    assert "60 rows, 5 columns" in made.stderr
    answers = (folder / "churn" / ".copier-answers.yml").read_text()
    assert "data_uri: ../customers.csv\n" in answers
    assert "target: churned\n" in answers
    assert "time_column: seen\n" in answers
    assert "- customer_id\n" in answers
    assert "project_name: churn\n" in answers


def test_without_a_terminal_the_target_is_not_guessed(repository: Make, customers: Path) -> None:
    failed = new("churn", "--template", repository(SHOP), "--data-uri", customers.name)
    assert failed.exit_code == 2
    assert "target" in failed.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("target", "words"), [("chruned", "Did you mean churned"), ("constant", "Unknown column")]
)
def test_a_target_that_is_no_column_is_refused(
    repository: Make, folder: Path, customers: Path, target: str, words: str
) -> None:
    failed = new(
        "churn", "--template", repository(SHOP), "--defaults",
        "--data-uri", customers.name, "--target", target,
    )  # fmt: skip
    assert failed.exit_code == 2
    assert words in failed.stderr
    assert [path.name for path in folder.iterdir()] == ["customers.csv"]


def test_the_environment_and_the_round_are_a_second_commit(
    repository: Make, folder: Path, installed: list[str]
) -> None:
    made = new(
        "churn", "--template", repository(SHOP), "--data=target=y", "--defaults", "--run", "--trust"
    )
    assert made.exit_code == 0, made.stderr
    assert installed == ["environment", "churn"]
    assert "uv, Python 3.12.1, 118 packages" in made.stderr
    assert "PROMOTE   first champion 8c21f0aa" in made.stdout
    assert "roc_auc 0.846 [0.827, 0.865]   baselines: dummy 0.500, linear 0.838" in made.stdout
    assert "churn/reports/8c21f0aa/report.html" in made.stdout
    subjects = git(folder / "churn", "log", "--format=%s").splitlines()
    assert subjects == ["Record the first round: promote 8c21f0aa", "Start from template v1.0.0"]


def test_a_first_model_that_is_blocked_is_exit_code_1(
    repository: Make, installed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = Round("8c21f0aa", "block", "no better than a dummy", "r2", {}, {}, None, "r")
    monkeypatch.setattr(environment, "first_round", lambda *_: blocked)
    made = new(
        "churn", "--template", repository(SHOP), "--data=target=y", "--defaults", "--run", "--trust"
    )
    assert made.exit_code == 1
    assert "BLOCK   no better than a dummy" in made.stdout
    assert installed == ["environment"]


def test_a_failed_step_keeps_the_project_and_says_how_to_go_on(
    repository: Make, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_root: Path) -> Environment:
        raise StepError("uv sync failed: no network", "uv sync")

    monkeypatch.setattr(environment, "synchronise", fail)
    failed = new(
        "churn", "--template", repository(SHOP), "--data=target=y", "--defaults", "--trust"
    )
    assert failed.exit_code == 2
    assert failed.stderr.strip().endswith("To go on: cd churn && uv sync")
    assert (folder / "churn" / "hello.txt").exists()


def test_questions_are_asked_on_a_terminal(
    repository: Make, folder: Path, customers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "is_interactive", lambda: True)
    asked: list[str] = []

    def prompt(questions: list[dict[str, Any]], answers: dict[str, Any]) -> dict[str, Any]:
        asked.append(questions[0]["name"])
        return answers

    monkeypatch.setattr("copier._main.unsafe_prompt", prompt)
    typed = f"no-such.csv\n{customers.name}\nchruned\nchurned\n"
    made = new("churn", "--template", repository(SHOP), "--no-env", answers=typed)
    assert made.exit_code == 0, made.output
    assert "no-such.csv" in made.stderr
    assert "Did you mean churned" in made.stderr
    assert asked == ["name", "colour"]
    assert "target: churned\n" in (folder / "churn" / ".copier-answers.yml").read_text()


def test_a_place_that_cannot_be_written_is_one_line(repository: Make, folder: Path) -> None:
    (folder / "file").write_text("")
    command = [sys.executable, "-m", "mlscaffold", "new", "file/churn", "--defaults"]
    done = subprocess.run(
        [*command, "--template", str(repository())], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "file" in done.stderr


def test_ctrl_c_leaves_nothing_and_is_exit_code_130(repository: Make, folder: Path) -> None:
    slow = {**TEMPLATE, "z.txt.jinja": "{% for i in range(99999) %}" * 2 + "{% endfor %}" * 2}
    command = [sys.executable, "-m", "mlscaffold", "new", "churn", "--defaults", "--no-env"]
    running = subprocess.Popen(
        [*command, "--template", str(repository(slow))], cwd=folder, stderr=subprocess.PIPE
    )
    try:
        deadline = time.monotonic() + 20
        while not list(folder.glob(".mlscaffold-*/churn")):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        running.send_signal(signal.SIGINT)
        _, stderr = running.communicate(timeout=20)
    finally:
        running.kill()
    assert running.returncode == 130
    assert stderr.strip() == b"mlscaffold: Interrupted."
    assert not list(folder.iterdir())
