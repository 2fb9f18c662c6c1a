from __future__ import annotations

from pathlib import Path

import pytest

from mlscaffold import answers
from mlscaffold.errors import MlscaffoldError

GOOD = "# by Copier\n_commit: v1.0.0\n_src_path: gh:acme/t\nname: ann\nmany: [1, 2]\n"


def project(folder: Path, text: str | bytes = GOOD, file: str = ".copier-answers.yml") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / file).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def test_answers_are_read(tmp_path: Path) -> None:
    (found,) = answers.find(project(tmp_path))
    assert (found.root, found.file) == (tmp_path.resolve(), ".copier-answers.yml")
    assert (found.address, found.commit) == ("gh:acme/t", "v1.0.0")
    assert found.values == {"name": "ann", "many": [1, 2]}


def test_every_answers_file_of_a_project_is_found(tmp_path: Path) -> None:
    project(tmp_path)
    project(tmp_path, file=".copier-answers.ci.yml")
    assert [found.file for found in answers.find(tmp_path)] == [
        ".copier-answers.ci.yml",
        ".copier-answers.yml",
    ]
    (one,) = answers.find(tmp_path, ".copier-answers.ci.yml")
    assert one.file == ".copier-answers.ci.yml"


def test_the_project_is_found_from_a_folder_in_it(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert answers.find(project(tmp_path) / "a" / "b")[0].root == tmp_path.resolve()


def test_the_search_ends_at_the_repository(tmp_path: Path) -> None:
    (project(tmp_path) / "inner" / ".git").mkdir(parents=True)
    with pytest.raises(MlscaffoldError, match="no answers file"):
        answers.find(tmp_path / "inner")


def test_projects_below_are_named(tmp_path: Path) -> None:
    project(tmp_path / "one")
    project(tmp_path / "two")
    with pytest.raises(MlscaffoldError, match="name one of one, two"):
        answers.find(tmp_path)


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
SECRET = "hunter" + "2hunter2"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("# only a comment\n", "is empty"),
        ("- a\n- b\n", "lines of the form"),
        ("just words\n", "lines of the form"),
        ("1: a\n", "lines of the form"),
        ("a: [\n", "not valid YAML"),
        ("a: b: c\n", "not valid YAML"),
        ("<<<<<<< HEAD\n" + GOOD + "=======\n>>>>>>> other\n", "conflict markers"),
        ("_commit: !!python/object/apply:os.system ['touch x']\n", "refused: could not determine"),
        (BOMB + GOOD, "aliases"),
        ("a: &a [*a]\n" + GOOD, "aliases"),
        (GOOD.encode("utf-16"), "not a text file in UTF-8"),
        (GOOD.replace("v1.0.0", "--upload-pack=touch x"), "take for an option"),
        (GOOD.replace("v1.0.0", "2026-01-02"), "has to be text, but is 2026-01-02"),
        (GOOD.replace("v1.0.0", "1.0"), "has to be text"),
        (GOOD.replace("v1.0.0", '"v1\\nv2"'), "one line"),
        (GOOD.replace("v1.0.0", "''"), "one line"),
        (GOOD.replace("gh:acme/t", "ext::sh -c touch% x"), "would run a program"),
        (GOOD.replace("gh:acme/t", "-x"), "take for an option"),
        (GOOD.replace("gh:acme/t", f"https://me:{SECRET}@host/t.git"), "holds a credential"),
        ("_src_path: gh:acme/t\n", "does not record _commit"),
        ("_commit: v1\n", "does not record _src_path"),
        (b"a: \xff\n", "not a text file"),
        ("a: " + "x" * 2**20, "larger than 1 MiB"),
    ],
)
def test_a_malformed_file_is_one_line(tmp_path: Path, text: str | bytes, words: str) -> None:
    with pytest.raises(MlscaffoldError, match=words) as caught:
        answers.find(project(tmp_path, text))
    message = caught.value.format_message()
    assert "\n" not in message
    assert str(tmp_path / ".copier-answers.yml") in message
    assert SECRET not in message
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("file", ["nope.yml", "../x.yml", "/etc/x.yml", "", "."])
def test_a_file_that_is_not_there_is_named(tmp_path: Path, file: str) -> None:
    with pytest.raises(MlscaffoldError) as caught:
        answers.find(project(tmp_path), file)
    assert "\n" not in caught.value.format_message()


def test_a_folder_in_place_of_the_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / ".copier-answers.yml").mkdir()
    with pytest.raises(MlscaffoldError, match="cannot be read"):
        answers.find(tmp_path)


def test_a_byte_order_mark_is_read_over(tmp_path: Path) -> None:
    assert answers.find(project(tmp_path, b"\xef\xbb\xbf" + GOOD.encode()))[0].commit == "v1.0.0"
