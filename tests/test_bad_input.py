"""Bad input to `mlscaffold new`: one line on stderr, exit code 2, nothing written, no traceback."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from mlscaffold import __main__

CUSTOMERS = "age,contract,churned\n" + "".join(
    f"{20 + n % 50},{'month' if n % 3 else 'year'},{'yes' if n % 7 < 2 else 'no'}\n"
    for n in range(300)
)


@dataclass(frozen=True)
class Ended:
    """How a run of the program ended."""

    code: int
    stdout: str
    stderr: str


Run = Callable[..., Ended]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for all runs, so that the template is looked up once."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def run(
    store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Run:
    """The program itself, in an empty folder and without a terminal."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("MLSCAFFOLD_HOME", str(store))

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr("sys.argv", ["mlscaffold", "new", *arguments])
        with pytest.raises(SystemExit) as end:
            __main__.main()
        code = end.value.code
        return Ended(code if isinstance(code, int) else int(bool(code)), *capfd.readouterr())

    return run


@pytest.fixture
def refused(run: Run) -> Run:
    """A run that must be refused; gives how it ended."""

    def refused(*arguments: str) -> Ended:
        before = {path: path.stat().st_mtime_ns for path in Path().absolute().rglob("*")}
        ended = run(*arguments)
        assert ended.code == 2
        assert ended.stdout == ""
        assert ended.stderr.startswith("mlscaffold: ")
        assert ended.stderr.count("\n") == 1
        assert ended.stderr.removesuffix("\n").isprintable()
        assert "Traceback" not in ended.stderr
        after = {path: path.stat().st_mtime_ns for path in Path().absolute().rglob("*")}
        assert after == before
        return ended

    return refused


def test_good_input_is_accepted(run: Run) -> None:
    Path("customers.csv").write_text(CUSTOMERS)
    ended = run("churn", "--defaults", "--no-env", "--data-uri", "customers.csv")
    assert ended.code == 0, ended.stderr
    assert 'uri: "../customers.csv"' in Path("churn/params.yaml").read_text("utf-8")


@pytest.mark.parametrize(
    ("destination", "words"),
    [
        ("", "empty"),
        ("../x", ".."),
        ("-rf", "-r"),
        ("NUL", "Windows"),
        ("class", "language"),
        ("sklearn", "sklearn-model"),
        ("json", "standard library"),
        ("a\x1b[31mb", "control character"),
        ("churn\u202emodel", "cannot be seen"),
        ("x" * 300, "300 characters"),
        ("{{ 7 }}", "template syntax"),
        ("{% raw %}", "template syntax"),
        ("1st", "starts with a letter"),
        ("modèle", "lower-case"),
    ],
)
def test_bad_destination_is_refused(destination: str, words: str, refused: Run) -> None:
    assert words in refused(destination, "--defaults", "--no-env").stderr


@pytest.mark.parametrize(
    "name",
    [
        "",
        "../x",
        "/etc/x",
        "-rf",
        "NUL",
        "class",
        "sklearn",
        "a\x07b",
        "a\u202eb",
        "x" * 300,
        "{{ 7 }}",
    ],
)
def test_bad_project_name_is_refused(name: str, refused: Run) -> None:
    arguments = ("churn", "--defaults", "--no-env", "--data", f"project_name={name}")
    assert "project_name" in refused(*arguments).stderr


def test_full_destination_is_refused(refused: Run) -> None:
    Path("churn").mkdir()
    Path("churn/mine.txt").write_text("mine")
    assert "not empty" in refused("churn", "--defaults").stderr


def test_file_as_destination_is_refused(refused: Run) -> None:
    Path("churn").write_text("mine")
    assert "is a file" in refused("churn", "--defaults").stderr


def test_missing_destination_is_refused(refused: Run) -> None:
    assert "mlscaffold new churn" in refused("--defaults").stderr


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("ownr=@me", "Did you mean owner?"),
        ("owner=me", "owner"),
        ("owner", "--data question=answer"),
        ("task=ranking", "task"),
        ("license=GPL", "license"),
        ("forge=gerrit", "forge"),
        ("consumption=stream", "consumption"),
        ("description={{ 7 * 7 }}", "template syntax"),
        ("description=two\nlines", "description"),
        ("target=", "target"),
    ],
)
def test_bad_answer_is_refused(answer: str, words: str, refused: Run) -> None:
    assert words in refused("churn", "--defaults", "--no-env", "--data", answer).stderr


@pytest.mark.parametrize("where", ["--data", "--data-file", "config"])
@pytest.mark.parametrize(
    "token",
    ["ghp_" + "a1B2" * 9, "glpat-" + "a1B2" * 5, "AKIA" + "A1B2" * 4, "token=" + "9fK2" * 5],
)
def test_token_as_an_answer_is_refused_and_not_printed(
    where: str, token: str, refused: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "answers.yaml").write_text(f"description: {token}\n")
    (tmp_path / "config.toml").write_text(f'[answers]\ndescription = "{token}"\n')
    arguments = {
        "--data": ["--data", f"description={token}"],
        "--data-file": ["--data-file", str(tmp_path / "answers.yaml")],
        "config": [],
    }
    if where == "config":
        monkeypatch.setenv("MLSCAFFOLD_CONFIG", str(tmp_path / "config.toml"))
    ended = refused("churn", "--defaults", "--no-env", *arguments[where])
    assert "description" in ended.stderr
    assert token[-8:] not in ended.stderr


def test_unanswered_questions_are_listed_at_once(refused: Run) -> None:
    ended = refused("churn", "--no-env")
    assert all(name in ended.stderr for name in ("task", "target", "owner", "--defaults"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("owner: [", "answers.yaml"),
        ("- a list\n", "question: answer"),
        ("ownr: '@me'\n", "Did you mean owner?"),
    ],
)
def test_bad_answers_file_is_refused(
    content: str, words: str, refused: Run, tmp_path: Path
) -> None:
    (tmp_path / "answers.yaml").write_text(content)
    ended = refused("churn", "--defaults", "--data-file", str(tmp_path / "answers.yaml"))
    assert words in ended.stderr


def test_missing_answers_file_is_refused(refused: Run) -> None:
    assert "nowhere.yaml" in refused("churn", "--defaults", "--data-file", "nowhere.yaml").stderr


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("trust = [\n\nowner = 3\n", "line"),
        ('tempate = "x"\n', "Did you mean template?"),
        ("template = 3\n", "template has to be text"),
        ("answers = 3\n", "[answers]"),
        ('trust = "x"\n', "trust has to be a list"),
    ],
)
def test_broken_config_file_is_refused(
    content: str, words: str, refused: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.toml").write_text(content)
    monkeypatch.setenv("MLSCAFFOLD_CONFIG", str(tmp_path / "config.toml"))
    ended = refused("churn", "--defaults")
    assert words in ended.stderr
    assert "config.toml" in ended.stderr


def test_missing_config_file_is_refused(refused: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLSCAFFOLD_CONFIG", "/nowhere/config.toml")
    assert "/nowhere/config.toml" in refused("churn", "--defaults").stderr


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("/nowhere", "/nowhere"),
        ("file:///nowhere.git", "/nowhere"),
        ("https://ada:hunter2@host.invalid/template.git", "***"),
        ("https://hunter2@host.invalid/template.git", "***"),
    ],
)
def test_bad_template_address_is_refused(template: str, words: str, refused: Run) -> None:
    ended = refused("churn", "--defaults", "--template", template)
    assert words in ended.stderr
    assert "hunter2" not in ended.stderr


def test_unknown_version_is_refused(refused: Run) -> None:
    assert "v99" in refused("churn", "--defaults", "--ref", "v99").stderr


def test_missing_git_is_refused(refused: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert "git" in refused("churn", "--defaults").stderr


@pytest.mark.skipif(os.name == "nt", reason="a shell script stands for git")
def test_old_git_is_refused(refused: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "bin" / "git"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\necho git version 2.29.1\n")
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{fake.parent}{os.pathsep}/usr/bin{os.pathsep}/bin")
    ended = refused("churn", "--defaults")
    assert "2.29" in ended.stderr
    assert "2.30" in ended.stderr


@pytest.mark.parametrize(
    ("content", "target", "words"),
    [
        (CUSTOMERS, "churn", "Did you mean churned?"),
        ("", None, "empty"),
        ("age,churned\n", None, "no rows"),
        ("age,churned\n1,yes\n2,yes\n", "churned", "one value only"),
        ("churned\nyes\nno\nyes\n", "churned", "no column is left"),
        ("age,churned\n1,yes\n1,no\n", "churned", "age: constant"),
        ("age,churned\n1,yes\n2\n", None, "Row #3"),
    ],
)
def test_unusable_table_is_refused(
    content: str, target: str | None, words: str, refused: Run
) -> None:
    Path("customers.csv").write_text(content)
    options = ["--target", target] if target else []
    ended = refused("churn", "--defaults", "--data-uri", "customers.csv", *options)
    assert "customers.csv" in ended.stderr
    assert words in ended.stderr


def test_text_as_a_regression_target_is_refused(refused: Run) -> None:
    Path("customers.csv").write_text(CUSTOMERS)
    given = ("--data-uri", "customers.csv", "--target", "churned", "--data", "task=regression")
    assert "task=classification" in refused("churn", "--defaults", *given).stderr


@pytest.mark.parametrize(
    "where",
    [
        "nowhere.csv",
        "sqlite:///nowhere.db#orders",
        "nonsense://host/a.csv",
        "nowhere/*.csv",
        "${NOT_SET}",
    ],
)
def test_address_that_does_not_open_is_refused(where: str, refused: Run) -> None:
    refused("churn", "--defaults", "--data-uri", where)


def test_password_in_the_data_address_is_refused_and_not_printed(refused: Run) -> None:
    where = "postgresql://ada:" + "hunter2-secret@host.invalid/shop#orders"
    ended = refused("churn", "--defaults", "--data-uri", where)
    assert "hunter2" not in ended.stderr
    assert "${NAME}" in ended.stderr


@pytest.mark.parametrize("option", ["--nonsense", "--format=xml"])
def test_unknown_option_is_refused(option: str, refused: Run) -> None:
    assert "--help" in refused("churn", option).stderr
