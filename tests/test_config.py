from __future__ import annotations

from pathlib import Path

import pytest

from mlscaffold import config
from mlscaffold.config import Config
from mlscaffold.errors import MlscaffoldError


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MLSCAFFOLD_CONFIG", str(tmp_path / "config.toml"))
    return tmp_path / "config.toml"


def test_without_a_file_there_are_no_settings() -> None:
    assert config.load() == Config()


def test_load_reads_every_key(file: Path) -> None:
    file.write_text(
        'template = "gh:acme/t"\ntrust = ["gh:acme/"]\n[answers]\nowner = "@acme/ds"\nn = 3\n'
    )
    assert config.load() == Config("gh:acme/t", {"owner": "@acme/ds", "n": 3}, ("gh:acme/",))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('tempate = "x"', "Did you mean template"),
        ("a = 1\nb = [", "line 2"),
        ("a = 1\nb = = 2\n", "line 2"),
        ("template = 3", "has to be text"),
        ("answers = 3", "has to be a table"),
        ('trust = "x"', "has to be a list"),
    ],
)
def test_a_wrong_file_is_one_line_that_names_the_place(file: Path, text: str, words: str) -> None:
    file.write_text(text)
    with pytest.raises(MlscaffoldError, match=words) as caught:
        config.load()
    assert str(file) in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.usefixtures("file")
def test_a_file_that_is_named_has_to_exist() -> None:
    with pytest.raises(MlscaffoldError, match="does not exist"):
        config.load()
