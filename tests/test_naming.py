"""Names and answers, by the tool and by plain Copier."""

from __future__ import annotations

import re
from pathlib import Path

import copier
import pytest
import yaml

from mlscaffold import credentials, naming
from mlscaffold.errors import MlscaffoldError

ROOT = Path(__file__).parent.parent
GOOD_NAMES = ["churn", "churn-2", "a", "my_model", "x" * 50, "sklearn-model", "comet"]
BAD_NAMES = {
    "empty": "",
    "parent": "../x",
    "absolute": "/etc/x",
    "option": "-rf",
    "device": "NUL",
    "device in lower case": "nul",
    "port": "com1",
    "keyword": "class",
    "soft keyword": "match",
    "soft keyword of a newer Python": "type",
    "import name": "sklearn",
    "install name": "scikit-learn",
    "standard library": "json",
    "folder of the project": "tests",
    "control character": "a\x07b",
    "line end": "churn\n",
    "bidi": "churn\u202emodel",
    "no width": "churn\u200bmodel",
    "long": "x" * 300,
    "template syntax": "{{ 7 * 7 }}",
    "statement": "{% raw %}",
    "upper case": "Churn",
    "accent": "modèle",
    "digit first": "1st",
    "ends in a dash": "churn-",
    "space": "my churn",
    "dot": "a.b",
}
TOKENS = [
    "ghp_" + "a1B2" * 9,
    "github_pat_" + "a1B2" * 9,
    "glpat-" + "a1B2" * 5,
    "AKIA" + "A1B2" * 4,
    "xoxb-" + "1234" * 5,
    "-----BEGIN RSA PRIVATE " + "KEY-----",
    "token=" + "9fK2" * 5,
    "postgresql://me:" + "hunter2@host/shop",
    "https://host/data.csv?sig=" + "9fK2" * 5,
]


@pytest.fixture
def questions_only(tmp_path: Path) -> Path:
    """The template's questions without its files."""
    template = tmp_path / "questions"
    (template / "template").mkdir(parents=True)
    (template / "copier.yml").write_text((ROOT / "copier.yml").read_text("utf-8"), "utf-8")
    (template / "template" / "answers.jinja").write_text("{{ package_name }}: {{ project_name }}")
    return template


def is_accepted_by_copier(template: Path, destination: Path, **answers: object) -> bool:
    try:
        copier.run_copy(str(template), destination, answers, defaults=True, quiet=True)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("name", GOOD_NAMES)
def test_good_name_is_accepted_by_both(name: str, questions_only: Path, tmp_path: Path) -> None:
    naming.check_project_name(name)
    assert is_accepted_by_copier(questions_only, tmp_path / "out", project_name=name)


@pytest.mark.parametrize("name", BAD_NAMES.values(), ids=BAD_NAMES.keys())
def test_bad_name_is_refused_by_both(name: str, questions_only: Path, tmp_path: Path) -> None:
    with pytest.raises(MlscaffoldError) as error:
        naming.check_project_name(name)
    assert error.value.message.isprintable()
    assert len(error.value.message) < 250
    assert not is_accepted_by_copier(questions_only, tmp_path / "out", project_name=name)
    assert not (tmp_path / "out").exists()


def test_reserved_names_are_the_same_for_both() -> None:
    reserved = yaml.safe_load((ROOT / "copier.yml").read_text("utf-8"))["reserved_names"]["default"]
    assert {name for name in reserved if not naming.reserved_by(name)} <= {
        # in the standard library of some Pythons only
        *("annotationlib", "aifc", "asynchat", "asyncore", "audioop", "cgi", "cgitb", "chunk"),
        *("compression", "crypt", "distutils", "imghdr", "imp", "lib2to3", "mailcap", "msilib"),
        *("nis", "nntplib", "ossaudiodev", "pipes", "smtpd", "sndhdr", "spwd", "sunau"),
        *("telnetlib", "uu", "xdrlib"),
    }
    mine = naming.KEYWORDS | naming.WINDOWS | naming.PACKAGES | naming.sys.stdlib_module_names
    assert {name for name in mine if not name.startswith("_") and name.islower()} <= set(reserved)


def test_every_dependency_of_a_project_is_reserved() -> None:
    pyproject = (ROOT / "template" / "pyproject.toml.jinja").read_text("utf-8")
    names = re.findall(r'^  "([a-zA-Z][\w-]*)[[><=]', pyproject, re.MULTILINE)
    assert len(names) > 15
    assert [name for name in names if not naming.reserved_by(name.lower())] == []


@pytest.mark.parametrize(
    ("folder", "name"),
    [("churn", "churn"), ("My Churn", "my-churn"), ("NUL", "nul-model"), ("_", "demo")],
)
def test_copier_makes_a_good_default_name(
    folder: str, name: str, questions_only: Path, tmp_path: Path
) -> None:
    assert is_accepted_by_copier(questions_only, tmp_path / folder)
    answers = (tmp_path / folder / "answers").read_text("utf-8")
    assert answers == f"{name.replace('-', '_')}: {name}"


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("owner", "me"),
        ("owner", "@a b"),
        ("description", "{{ 7 * 7 }}"),
        ("description", 'say "hi"'),
        ("description", "two\nlines"),
        ("description", "a\u202eb"),
        ("description", "x" * 201),
        ("target", ""),
        ("target", "{{ 7 }}"),
        ("data_uri", "postgresql://me:hunter2@host/shop"),
        ("task", "ranking"),
        ("license", "MIT\n"),
    ],
)
def test_copier_refuses_bad_answer(
    question: str, answer: str, questions_only: Path, tmp_path: Path
) -> None:
    assert not is_accepted_by_copier(questions_only, tmp_path / "out", **{question: answer})


def test_copier_accepts_awkward_but_good_answers(questions_only: Path, tmp_path: Path) -> None:
    assert is_accepted_by_copier(
        questions_only,
        tmp_path / "out",
        description="Qui part ? It's 100 % for {people}",
        owner="@acme/data-science",
        data_uri="postgresql://me:${DB_PASSWORD}@host/shop#orders",
        target="Ist gekündigt",
        time_column="",
        key_columns=["Kunde Nr."],
    )


@pytest.mark.parametrize("token", TOKENS)
def test_token_is_refused_and_not_printed(token: str) -> None:
    with pytest.raises(MlscaffoldError) as error:
        naming.check_answers({"description": f"about {token}"})
    assert token[-8:] not in error.value.message
    assert error.value.message.startswith("description: ")


@pytest.mark.parametrize(
    "text",
    [
        "Who leaves in the next 30 days",
        "s3://bucket/orders/*.parquet",
        "postgresql://me:${DB_PASSWORD}@host/shop#orders",
        "postgresql://me@host/shop#orders",
        "predicts the token count: a number",
        "https://host/a.csv?sig=${SIGNATURE}",
    ],
)
def test_harmless_text_is_no_credential(text: str) -> None:
    assert credentials.find(text) is None


@pytest.mark.parametrize("answer", ["a\x00b", "a\u202eb", "{{ 7 }}", ["ok", "{% x %}"], "x" * 2001])
def test_answer_with_hidden_or_live_text_is_refused(answer: object) -> None:
    with pytest.raises(MlscaffoldError, match="owner"):
        naming.check_answers({"owner": answer})


def test_plain_answers_are_accepted() -> None:
    naming.check_answers({"a": "text", "b": 3, "c": True, "d": ["x", "é"], "e": {"k": None}})


@pytest.mark.parametrize("name", ["churn", "My Churn", "a.b", "x" * 100])
def test_new_or_empty_folder_is_a_destination(name: str, tmp_path: Path) -> None:
    naming.check_destination(tmp_path / name)
    (tmp_path / name).mkdir()
    naming.check_destination(tmp_path / name)


@pytest.mark.parametrize(
    "name",
    ["-rf", "NUL", "aux.txt", "COM1", "a:b", "a\x1bb", "a\u202eb", "x" * 101, "{{ x }}", "a."],
)
def test_bad_folder_name_is_no_destination(name: str, tmp_path: Path) -> None:
    with pytest.raises(MlscaffoldError) as error:
        naming.check_destination(tmp_path / name)
    assert error.value.message.isprintable()


def test_parent_folder_is_no_destination() -> None:
    with pytest.raises(MlscaffoldError, match=r"leave out '\.\.'"):
        naming.check_destination(Path("../x"))


def test_full_folder_is_no_destination(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(MlscaffoldError, match="exists and is not empty"):
        naming.check_destination(tmp_path)


@pytest.mark.parametrize("make", [Path.touch, lambda path: path.symlink_to("nowhere")])
def test_file_is_no_destination(make: object, tmp_path: Path) -> None:
    assert callable(make)
    make(tmp_path / "there")
    with pytest.raises(MlscaffoldError, match="is a file"):
        naming.check_destination(tmp_path / "there")
