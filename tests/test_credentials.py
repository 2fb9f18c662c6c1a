from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from mlscaffold import credentials

ROOT = Path(__file__).resolve().parents[1]
TWIN = ROOT / "template" / "src" / "{{ package_name }}" / "credentials.py"


def chance(prefix: str, length: int = 36) -> str:
    """Something that looks like a token, and stands in no file as one word."""
    return prefix + ("a1B2" * length)[:length]


# What is said, and the part of it that nobody may see.
SHAPES = [
    ("https://me:{}@host/x.csv", "s3cret"),
    ("https://me:{}@host/x.csv", "with/slash"),
    ("postgresql://me:{}@host/shop#orders", "with blank/and slash"),
    ("postgresql://me:{}@host/shop#orders", "two@signs"),
    ("postgresql://me:{}@host:5432/shop", "8080x"),
    ("mysql+pymysql://me:{}@[::1]:3306/shop", "ümläut%2F"),
    ("https://{}@host/x.git", chance("ghx")),
    ("https://host/x.csv?sig={}", "abc"),
    ("https://host/x.csv?sv=1&X-Amz-Signature={}&x=1", "abc"),
    ("https://host/x.csv?X-Amz-Credential={}", "me/2026/eu"),
    ("https://host/x.csv#access_token={}", "abc"),
    ("https://host/x.csv?private_token={}", "abc"),
    ("https://host/x.csv?a=1;credentials={}", "abc"),
    ("s3://key:{}@box/x.csv", "a+b/c1d"),
    ("https://host/x.csv?key={}", "abcdefgh"),
    ("az://box/x.csv?AccountKey={}", "abc=="),
    ("host=db password={} user=me", "abcdefgh"),
    ("mssql+pyodbc:///?odbc_connect=UID%3Dme%3BPWD%3D{}", "geheim12"),
    ("token {}", chance("ghp_")),
    ("token {}", chance("glpat-")),
    ("key {}", "AKIA" + "Q4Z7X2L9T6B3"),
    ("{}", chance("xoxb-")),
    ("{}", chance("AIza")),
    ("{}", chance("hf_")),
    ("{}", "eyJ" + "hbGciOiJIUzI1" + ".eyJ" + "zdWIiOiIxMjM0.abc"),
    ("-----BEGIN EC PRIVATE " + "KEY-----\n{}\n-----END EC PRIVATE " + "KEY-----", "MHcCAQEE\nIIr"),
]


@pytest.mark.parametrize(("text", "secret"), SHAPES)
def test_what_is_refused_is_masked(text: str, secret: str) -> None:
    said = text.format(secret)
    assert credentials.find(said)
    assert secret not in credentials.mask(f"it says {said} and more")


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("cannot reach https://me:s3cret@host/x", "cannot reach https://***@host/x"),
        ("cannot reach https://abc@host/x", "cannot reach https://***@host/x"),
        ("db://me:a b@host/x, db://me:c@host/y", "db://me:***@host/x, db://me:***@host/y"),
        ("{'Authorization': 'Basic bWU6eA=='}", "{'Authorization': 'Basic ***'}"),
        ("PRIVATE-TOKEN: abcd", "PRIVATE-TOKEN: ***"),
    ],
)
def test_the_rest_stays(text: str, masked: str) -> None:
    assert credentials.mask(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "git@host:x and https://host/a@b",
        "http://127.0.0.1:8000 (Press CTRL+C to quit), ask me@host",
        "abfss://box@account.dfs.core.windows.net/x",
        "postgresql://${HOST}:${PORT}/shop#select a from b where c like '%@%'",
        "https://me:${PASSWORD}@host/x?mail=me@host",
        "https://host/x.csv?sig=${SIGNATURE}%3D&country=DE",
        "file://C:/data/a@b.csv",
        "s3://bucket/orders/*.parquet",
        "token_pattern: the tokens of a text, its key and its signature",
    ],
)
def test_harmless_text_is_neither_refused_nor_masked(text: str) -> None:
    assert credentials.find(text) is None
    assert credentials.mask(text) == text


VALUES = ["p4ss/word", "p4ss word", "p4ss@word", "p4ss%2Fword", "pässwörd", "p4\"ss'<word>&"]


@pytest.mark.parametrize("value", VALUES)
def test_a_value_that_was_put_in_is_masked_however_it_is_quoted(value: str) -> None:
    address = credentials.expand("db://me:${PW}@host/x", {"PW": value})
    assert address == f"db://me:{value}@host/x"
    for form in (value, quote(value), quote(value, safe=""), quote_plus(value), repr(value)[1:-1]):
        assert credentials.mask(f"<{form}>") == "<${PW}>"


def test_parts_of_a_password_are_masked() -> None:
    """A library that cuts an address at the wrong sign names what it takes for the host."""
    credentials.expand("db://me:${PW}@host/x", {"PW": "p4ssw@rd99/x"})
    assert credentials.mask("no host 'rd99'") == "no host '${PW}'"


def test_the_password_in_a_whole_address_is_masked() -> None:
    credentials.expand("${URL}", {"URL": "db://me:geheim99@host/x"})
    assert credentials.mask("wrong password geheim99 for me") == "wrong password *** for me"


def test_a_password_typed_into_an_address_is_masked() -> None:
    credentials.expand("db://me:geheim99@host/x", {})
    assert credentials.mask("wrong password geheim99") == "wrong password ***"


def test_short_values_do_not_take_other_words_with_them() -> None:
    credentials.expand("${A}/${B}/${C}/${D}", {"A": "", "B": "eu", "C": "5432", "D": "shop"})
    text = "the european shops have 5432 rows"
    assert credentials.mask(text) == text
    assert credentials.mask("the shop has rows") == "the ${D} has rows"


def test_a_short_value_that_is_no_word_is_masked_in_a_word_too() -> None:
    credentials.expand("${A}", {"A": "pw12"})
    assert credentials.mask("nonsensepw12") == "nonsense${A}"


def test_a_variable_that_is_not_set_is_an_error() -> None:
    with pytest.raises(KeyError, match="NOT_SET"):
        credentials.expand("${NOT_SET}/x", {})


def test_secrets_of_the_environment_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAMPION_KEY", chance("MC4", 40))
    monkeypatch.setenv("SORT_KEY", "customer_number")
    credentials._in_environment.cache_clear()
    text = f"key {os.environ['CHAMPION_KEY']} by customer_number"
    assert credentials.mask(text) == "key ${CHAMPION_KEY} by customer_number"
    monkeypatch.undo()
    credentials._in_environment.cache_clear()


def test_every_text_of_a_result_is_masked() -> None:
    value = {"a": ["db://me:pw@host/x", 1], "b": ("db://me:pw@host/x", None)}
    masked = {"a": ["db://me:***@host/x", 1], "b": ["db://me:***@host/x", None]}
    assert credentials.mask_all(value) == masked


def test_a_traceback_is_masked() -> None:
    code = (
        "from mlscaffold import credentials\n"
        "credentials.guard_stderr()\n"
        "address = credentials.expand('x://${SECRET}', {'SECRET': 'p4ss' + 'word'})\n"
        "import warnings; warnings.warn(address)\n"
        "raise ValueError(address)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "p4ssword" not in done.stderr
    assert done.stderr.count("x://${SECRET}") == 2


def test_stderr_is_guarded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    credentials.guard_stderr()
    guarded = sys.stderr
    credentials.guard_stderr()
    assert sys.stderr is guarded
    sys.stderr.writelines(["db://me:pw@host/x\n"])
    assert stream.getvalue() == "db://me:***@host/x\n"


def test_tool_and_projects_have_the_same_rule() -> None:
    assert TWIN.read_bytes() == Path(credentials.__file__).read_bytes()


def test_every_line_of_a_project_goes_through_the_mask() -> None:
    """`_echo` masks a text, `_say` each text of a result; nothing else prints."""
    text = (TWIN.parent / "cli.py").read_text(encoding="utf-8")
    printed = [line.strip() for line in text.splitlines() if "click.echo" in line]
    assert printed == [
        "click.echo(credentials.mask(str(text)), err=err)",
        "click.echo(json.dumps(credentials.mask_all(result)))",
    ]
