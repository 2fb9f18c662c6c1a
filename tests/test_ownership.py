from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from mlscaffold import ownership
from mlscaffold.errors import MlscaffoldError
from mlscaffold.ownership import Ownership, Waiver

GOOD = """
[ownership]
managed = ["/src/*.py", "!/src/model.py", "/tests/", "!/tests/model/"]
seeded = ["/src/model.py", "/tests/model/"]
shared = ["/README.md"]

[[waiver]]
path = "/src/a.py"
reason = "our runners have other labels"
until = 2027-01-31
"""


def read(folder: Path, text: str | bytes | None = GOOD) -> Ownership:
    if text is not None:
        data = text if isinstance(text, bytes) else text.encode()
        (folder / ".mlscaffold.toml").write_bytes(data)
    return ownership.read(folder, lambda path: path == "LICENSE")


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("src/a.py", "managed"),
        ("tests/unit/test_a.py", "managed"),
        ("src/model.py", "seeded"),
        ("tests/model/test_m.py", "seeded"),
        ("README.md", "shared"),
        ("named/by/nobody", "shared"),
        ("LICENSE", "shared"),
    ],
)
def test_a_path_is_of_the_kind_that_names_it(tmp_path: Path, path: str, kind: str) -> None:
    assert read(tmp_path).kind_of(path) == kind


def test_a_path_of_two_kinds_is_managed(tmp_path: Path) -> None:
    found = read(tmp_path, '[ownership]\nseeded = ["/a"]\nmanaged = ["a"]\n')
    assert found.kind_of("a") == "managed"


def test_without_the_file_the_template_says_what_is_seeded(tmp_path: Path) -> None:
    found = read(tmp_path, None)
    assert found.kind_of("LICENSE") == "seeded"
    assert found.kind_of("src/a.py") == "shared"
    assert found.waivers == {}


def test_a_waiver_lasts_until_the_end_of_its_day(tmp_path: Path) -> None:
    waiver = read(tmp_path).waivers["src/a.py"]
    assert waiver == Waiver("src/a.py", "our runners have other labels", date(2027, 1, 31))
    assert not waiver.is_expired(date(2027, 1, 31))
    assert waiver.is_expired(date(2027, 2, 1))


def waiver(*lines: str) -> str:
    return "\n".join(["[[waiver]]", *lines])


PATH, REASON, UNTIL = 'path = "a"', 'reason = "b"', "until = 2027-01-31"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[ownership\n", r"not valid TOML: .*line 1"),
        ("[ownership]\nmanaged = [", "at line 2"),
        ("[owner]\n", "Did you mean ownership"),
        ("[ownership]\nmanage = []\n", "Did you mean managed"),
        ("ownership = 1\n", "has to be a table"),
        ("[ownership]\nmanaged = 'a'\n", "managed has to be a list"),
        ("[ownership]\nseeded = [1]\n", "seeded has to be a list"),
        ("[ownership]\nshared = ['!']\n", "'!', which is no pattern"),
        ("waiver = 1\n", "waiver has to be a list"),
        ("waiver = [1]\n", "waiver 1 has to be a table"),
        (waiver(PATH, REASON), "waiver 1 has no until"),
        (waiver(PATH, REASON, UNTIL, "untill = 1"), "key in waiver 1 'untill'. Did you mean until"),
        (waiver("path = 1", REASON, UNTIL), "path has to be text"),
        (waiver(PATH, 'reason = " "', UNTIL), "reason has to be text"),
        (waiver(PATH, REASON, 'until = "soon"'), "until has to be a date"),
        (waiver(PATH, REASON, "until = 2027-01-31T00:00:00"), "until has to be a date"),
        (waiver(PATH, REASON, UNTIL) + "\n" + waiver(PATH, REASON, UNTIL), "waiver 2: a has one"),
        (b"\xff", "not a text file in UTF-8"),
    ],
)
def test_a_wrong_file_is_one_line_with_the_place(
    tmp_path: Path, text: str | bytes, words: str
) -> None:
    with pytest.raises(MlscaffoldError, match=words) as caught:
        read(tmp_path, text)
    assert str(tmp_path / ".mlscaffold.toml") in caught.value.message
    assert "\n" not in caught.value.message


def test_a_folder_in_place_of_the_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / ".mlscaffold.toml").mkdir()
    with pytest.raises(MlscaffoldError, match="cannot be read"):
        read(tmp_path, None)
