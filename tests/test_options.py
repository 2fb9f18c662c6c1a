from __future__ import annotations

from pathlib import Path

import click
import pytest

from mlscaffold import options
from mlscaffold.errors import MlscaffoldError

CONTEXT, OPTION = click.Context(click.Command("new")), click.Option(["--data"])


def test_answers_keep_what_follows_the_first_equals_sign() -> None:
    found = options.answers(CONTEXT, OPTION, ("a=1", "b=x=y", "c="))
    assert found == {"a": "1", "b": "x=y", "c": ""}


def test_an_answer_without_a_value_is_refused() -> None:
    with pytest.raises(MlscaffoldError, match="no '='"):
        options.answers(CONTEXT, OPTION, ("a",))


def test_a_file_of_answers_keeps_its_types(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("a: 1\nb: [x]\n")
    assert options.answers_file(CONTEXT, OPTION, str(tmp_path / "a.yml")) == {"a": 1, "b": ["x"]}


@pytest.mark.parametrize("text", [b"a: [", b"- 1", b"\xff", None])
def test_a_wrong_file_of_answers_is_one_line(tmp_path: Path, text: bytes | None) -> None:
    if text is not None:
        (tmp_path / "a.yml").write_bytes(text)
    with pytest.raises(MlscaffoldError, match="--data-file") as caught:
        options.answers_file(CONTEXT, OPTION, str(tmp_path / "a.yml"))
    assert "\n" not in caught.value.message
