"""What is proposed for a table, and which tables are refused."""

from __future__ import annotations

import json
import random
import sqlite3
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from mlscaffold import address, table
from mlscaffold.errors import MlscaffoldError

ROWS = 400


@pytest.fixture
def customers() -> pa.Table:
    """A table with a time, a key, a leak, a constant, free text and a target."""
    dice = random.Random(0)
    churned = [dice.random() < 0.3 for _ in range(ROWS)]
    return pa.table(
        {
            "customer_id": [f"C-{n:04}" for n in range(ROWS)],
            "signup_month": [f"2024-{1 + n % 12:02}-01" for n in range(ROWS)],
            "monthly charges": [dice.gauss(60, 20) for _ in range(ROWS)],
            "contract": [dice.choice(["month", "year", None]) for _ in range(ROWS)],
            "next_total": [left + dice.random() / 2 for left in churned],
            "country": ["DE"] * ROWS,
            "note": [f"called on day {n}" for n in range(ROWS)],
            "churned": ["yes" if left else "no" for left in churned],
        }
    )


def write_parquet(rows: pa.Table, path: Path) -> str:
    pyarrow.parquet.write_table(rows, path.with_suffix(".parquet"))
    return f"{path.name}.parquet"


def write_csv(rows: pa.Table, path: Path) -> str:
    pyarrow.csv.write_csv(rows, path.with_suffix(".csv"))
    return f"{path.name}.csv"


def write_lines(rows: pa.Table, path: Path) -> str:
    text = "\n".join(json.dumps(row) for row in rows.to_pylist())
    path.with_suffix(".jsonl").write_text(text)
    return f"{path.name}.jsonl"


def write_sqlite(rows: pa.Table, path: Path) -> str:
    database = sqlite3.connect(path.with_suffix(".db"))
    names = ", ".join(f'"{name}"' for name in rows.column_names)
    marks = ", ".join("?" * rows.num_columns)
    database.execute(f'CREATE TABLE "orders" ({names})')
    values = [list(row.values()) for row in rows.to_pylist()]
    database.executemany(f'INSERT INTO "orders" VALUES ({marks})', values)
    database.commit()
    database.close()
    return f"sqlite:///{path.name}.db#orders"


def refusal(where: str, cwd: Path, **options: Any) -> str:
    """The message with which a table is refused: one line, nothing written."""
    before = sorted(cwd.rglob("*"))
    with pytest.raises(MlscaffoldError) as error:
        table.inspect(where, cwd=cwd, **options)
    assert sorted(cwd.rglob("*")) == before
    assert "\n" not in error.value.message
    assert len(error.value.message) < 400
    return error.value.message


@pytest.mark.parametrize("write", [write_parquet, write_csv, write_lines, write_sqlite])
def test_proposal_is_the_same_for_every_kind_of_address(
    write: Callable[[pa.Table, Path], str], customers: pa.Table, tmp_path: Path
) -> None:
    proposal = table.inspect(write(customers, tmp_path / "customers"), cwd=tmp_path)
    assert (proposal.rows, proposal.rows_exact, len(proposal.columns)) == (ROWS, True, 8)
    assert (proposal.target, proposal.task) == ("churned", "classification")
    assert (proposal.time_column, proposal.key_columns) == ("signup_month", ("customer_id",))
    assert proposal.left_out["customer_id"] == "key"
    assert proposal.left_out["next_total"] == "gives churned away: AUC 1.000 alone"
    assert set(proposal.left_out) == {"customer_id", "next_total", "country", "note"}
    assert proposal.candidates == ("monthly charges", "contract", "next_total", "churned")


def test_lines_read_like_the_manual(customers: pa.Table, tmp_path: Path) -> None:
    where = write_parquet(customers.drop(["next_total", "country", "note"]), tmp_path / "customers")
    assert table.inspect(where, target="churned", cwd=tmp_path).lines == [
        "Reading customers.parquet: 400 rows, 5 columns; time column signup_month, key customer_id",
        "  Task            classification (churned: no 73 %, yes 27 %)",
        "  Left out        customer_id (key)",
    ]


def test_number_is_a_regression(customers: pa.Table, tmp_path: Path) -> None:
    where = write_csv(customers, tmp_path / "customers")
    proposal = table.inspect(where, target="monthly charges", cwd=tmp_path)
    assert proposal.task == "regression"
    assert proposal.target_reason == ""
    assert "mean" in proposal.summary


FORECAST = {"task": "forecasting", "target": "sold"}


def sales(shops: int) -> pa.Table:
    """What each shop sells every day of a month."""
    days = [f"2024-01-{day:02}" for day in range(1, 31)]
    rows = [
        (day, f"Shop {n}", n + len(day) * 1.5 + i)
        for n in range(shops)
        for i, day in enumerate(days)
    ]
    return pa.table(
        dict(zip(("day", "shop", "sold"), map(list, zip(*rows, strict=True)), strict=True))
    )


@pytest.mark.parametrize(("shops", "key"), [(1, ("day",)), (3, ("shop", "day"))])
def test_forecast_is_of_series_and_only_on_request(
    shops: int, key: tuple[str, ...], tmp_path: Path
) -> None:
    where = write_csv(sales(shops), tmp_path / "sales")
    assert table.inspect(where, target="sold", cwd=tmp_path).task == "regression"
    proposal = table.inspect(where, cwd=tmp_path, **FORECAST)
    assert (proposal.task, proposal.time_column, proposal.key_columns) == (
        "forecasting",
        "day",
        key,
    )


@pytest.mark.parametrize(
    ("drop", "options", "words"),
    [
        ("day", {}, "needs a time column"),
        ("shop", {}, "no column names the series"),
        ("", {"key_columns": ["shop"]}, "key_columns=[shop, day]"),
        ("", {"target": "shop", "key_columns": ["day"]}, "forecasting needs a number"),
    ],
)
def test_forecast_without_time_series_or_number_is_refused(
    drop: str, options: dict[str, Any], words: str, tmp_path: Path
) -> None:
    rows = sales(3).drop([drop] if drop else [])
    assert words in refusal(
        write_csv(rows, tmp_path / "sales"), tmp_path, **{**FORECAST, **options}
    )


def test_sql_query_and_environment_are_read(
    customers: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_sqlite(customers, tmp_path / "shop")
    monkeypatch.setenv("SHOP", "shop")
    query = 'select contract, churned, "monthly charges" from "orders" where country = \'DE\';'
    proposal = table.inspect(f"sqlite:///${{SHOP}}.db#{query}", cwd=tmp_path)
    assert (proposal.rows, proposal.target) == (ROWS, "churned")


@pytest.mark.parametrize("pattern", ["months", "months/*.csv", "months/2024-*.csv"])
def test_folder_and_pattern_are_one_table(
    pattern: str, customers: pa.Table, tmp_path: Path
) -> None:
    (tmp_path / "months").mkdir()
    for n in (1, 2):
        part = customers.slice((n - 1) * 200, 200)
        write_csv(part, tmp_path / "months" / f"2024-0{n}")
    assert table.inspect(pattern, cwd=tmp_path).rows == ROWS


def test_long_file_is_read_in_part(
    customers: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quoted = customers.set_column(6, "note", pa.array([f"line\n{n}" for n in range(ROWS)]))
    where = write_csv(quoted, tmp_path / "customers")
    monkeypatch.setattr(address, "MOST_BYTES", (tmp_path / where).stat().st_size // 2)
    proposal = table.inspect(where, cwd=tmp_path)
    assert not proposal.rows_exact
    assert 380 <= proposal.rows <= 420
    assert "about " in proposal.lines[0]


def test_hundred_thousand_rows_take_half_a_second(tmp_path: Path) -> None:
    dice = random.Random(0)
    numbers = pa.array([dice.gauss(0, 1) for _ in range(100_000)])
    letters = pa.array([dice.choice("abc") for _ in range(100_000)])
    wide = {f"x{n}": numbers for n in range(20)} | {f"c{n}": letters for n in range(9)}
    target = pa.array([dice.choice("no") for _ in range(100_000)])
    where = write_csv(pa.table({**wide, "y": target}), tmp_path / "wide")
    table.inspect(where, cwd=tmp_path)
    started = time.process_time()
    assert table.inspect(where, cwd=tmp_path).rows == 100_000
    assert time.process_time() - started < 6  # on all cores, while others work


@pytest.mark.parametrize("form", ["%Y-%m-%d %H:%M:%S", "%d.%m.%Y", "%d/%m/%Y", "%Y-%m"])
def test_date_as_text_is_a_time_column(form: str, tmp_path: Path) -> None:
    from datetime import datetime, timedelta

    days = [datetime(2023, 1, 1) + timedelta(days=n) for n in range(ROWS)]
    rows = pa.table(
        {"day": [d.strftime(form) for d in days], "x": [1.5, 2.5] * 200, "y": [0, 0, 1, 1] * 100}
    )
    assert table.inspect(write_parquet(rows, tmp_path / "t"), cwd=tmp_path).time_column == "day"


def test_date_of_birth_and_future_date_are_no_time_column(tmp_path: Path) -> None:
    born = [f"19{n % 90 + 10}-01-01" for n in range(ROWS)]
    later = [f"29{n % 90 + 10}-01-01" for n in range(ROWS)]
    rows = pa.table({"birth_date": born, "renewal": later, "x": [1, 2] * 200, "y": [0, 1] * 200})
    assert table.inspect(write_csv(rows, tmp_path / "t"), cwd=tmp_path).time_column == ""


def test_id_at_a_time_is_a_key(tmp_path: Path) -> None:
    shop = [n // 10 for n in range(ROWS)]
    day = [f"2024-01-{n % 10 + 1:02}" for n in range(ROWS)]
    rows = pa.table({"shop_id": shop, "day": day, "x": [1.5, 2.5] * 200, "y": [0, 0, 1, 1] * 100})
    proposal = table.inspect(write_csv(rows, tmp_path / "t"), cwd=tmp_path)
    assert proposal.key_columns == ("shop_id", "day")


def test_pandas_index_is_left_out(tmp_path: Path) -> None:
    lines = [",x,y", *(f"{n},{n % 7},{n % 2}" for n in range(ROWS))]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    assert table.inspect("t.csv", cwd=tmp_path).left_out == {"Unnamed: 0": "like a key"}
    rows = pa.table({"__index_level_0__": range(ROWS), "x": [1, 2] * 200, "y": [0, 0, 1, 1] * 100})
    assert table.inspect(write_parquet(rows, tmp_path / "t"), cwd=tmp_path).columns == ("x", "y")


def test_list_is_read_as_text(tmp_path: Path) -> None:
    tags = [["a"], ["a", "b"], None, []] * 100
    rows = pa.table({"tags": tags, "x": [1, 2] * 200, "y": [0, 0, 0, 0, 1] * 80})
    assert table.inspect(write_parquet(rows, tmp_path / "t"), cwd=tmp_path).left_out == {}


def test_copy_of_the_target_is_left_out(tmp_path: Path) -> None:
    celsius = [n % 37 + 0.5 for n in range(ROWS)]
    rows = pa.table({"c": celsius, "f": [t * 1.8 + 32 for t in celsius], "x": [1, 2] * 200})
    where = write_csv(rows, tmp_path / "t")
    proposal = table.inspect(where, target="c", cwd=tmp_path)
    assert proposal.left_out == {"f": "gives c away: R² 1.000 alone"}
    codes = pa.table({"code": [0, 1] * 200, "x": [1, 2, 3, 4] * 100, "y": ["a", "b"] * 200})
    proposal = table.inspect(
        write_csv(codes, tmp_path / "t"), target="y", time_column="", cwd=tmp_path
    )
    assert "code" in proposal.left_out


def test_missing_target_is_counted(tmp_path: Path) -> None:
    rows = pa.table({"x": [1, 2] * 200, "y": ["a", "b", None, "a"] * 100})
    proposal = table.inspect(write_csv(rows, tmp_path / "t"), cwd=tmp_path)
    assert proposal.summary == "a 67 %, b 33 %, missing in 25 %"


def test_given_columns_are_taken(customers: pa.Table, tmp_path: Path) -> None:
    where = write_csv(customers, tmp_path / "customers")
    proposal = table.inspect(where, time_column="", key_columns=[], cwd=tmp_path)
    assert (proposal.time_column, proposal.key_columns) == ("", ())


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("empty.csv", "", "empty file"),
        ("header.csv", "a,b\n", "no rows"),
        ("one.csv", "x,y\n1,a\n2,a\n", "one value only (a)"),
        ("lonely.csv", "y\na\nb\na\n", "no column is left"),
        ("constant.csv", "x,y\n1,a\n1,b\n1,a\n", "x: constant"),
        ("nothing.csv", "x,y\n1,\n2,\n", "no values"),
        ("ragged.csv", "x,y\n1,a\n2\n3,b\n", "Row #3"),
        ("twice.csv", "x,x,y\n1,1,a\n2,3,b\n", "'x' twice"),
        ("semicolon.csv", "x;y\n1;a\n2;b\n", "commas"),
        ("latin.csv", b"x,y\nM\xfcller,a\nM\xfcller,b\n", "UTF-8"),
        ("binary.csv", b"\x80\x04\x95\0\0\0", "not a CSV file"),
        ("broken.parquet", "PAR1 no", "does not open"),
        ("array.jsonl", '[{"a": 1}]', "one object on each line"),
        ("broken.jsonl", '{"a": 1\n', "does not open"),
        ("table.xlsx", "PK", "not '.xlsx'"),
        ("noname", "x,y", "not 'nothing'"),
    ],
)
def test_unusable_file_is_refused(name: str, text: str | bytes, words: str, tmp_path: Path) -> None:
    content = text if isinstance(text, bytes) else text.encode()
    (tmp_path / name).write_bytes(content)
    message = refusal(name, tmp_path, target="y" if name in ("one.csv", "nothing.csv") else None)
    assert message.startswith(name)
    assert words in message


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("missing.csv", "no such file"),
        ("folder", "holds no"),
        ("sqlite:///missing.db#orders", "no such file"),
        ("sqlite:///shop.db#order", "Did you mean orders?"),
        ("sqlite:///shop.db", "There are: orders"),
        ("sqlite:///shop.db#select x from nowhere", "no such table"),
        ("nonsense://host/shop#orders", "nonsense"),
        ("${NOT_SET}/a.csv", "NOT_SET is not set"),
        ("", "empty"),
        ("a\nb.csv", "control character"),
    ],
)
def test_address_that_does_not_open_is_refused(
    where: str, words: str, customers: pa.Table, tmp_path: Path
) -> None:
    write_sqlite(customers, tmp_path / "shop")
    (tmp_path / "folder").mkdir()
    assert words in refusal(where, tmp_path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"target": "churn"}, "Unknown column 'churn'. Did you mean churned?"),
        ({"target": "zzz"}, "There are: churned, contract"),
        ({"target": "country"}, "one value only (DE)"),
        ({"target": "note"}, "no categories"),
        ({"target": "signup_month"}, "dates"),
        ({"target": "churned", "task": "regression"}, "holds text"),
        ({"target": "monthly charges", "task": "classification"}, "task=regression"),
        ({"time_column": "signup"}, "Did you mean signup_month?"),
        ({"time_column": "contract"}, "holds no dates"),
        ({"key_columns": ["id"]}, "Unknown column 'id'"),
    ],
)
def test_unusable_choice_is_refused(
    options: dict[str, Any], words: str, customers: pa.Table, tmp_path: Path
) -> None:
    assert words in refusal(write_csv(customers, tmp_path / "c"), tmp_path, **options)


@pytest.mark.parametrize(
    "where",
    [
        "postgresql://me:hunter2-secret@host/shop#orders",
        "https://host/a.csv?sig=hunter2-secret",
        "s3://AKIAIOSFODNN7hunter2:hunter2-secret@bucket/a.csv",
    ],
)
def test_password_in_an_address_is_refused_and_not_printed(where: str, tmp_path: Path) -> None:
    message = refusal(where, tmp_path)
    assert "hunter2" not in message
    assert "${NAME}" in message


def test_password_from_the_environment_is_not_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "hunter2")
    message = refusal("nonsense${SECRET}://me:${SECRET}@host/${SECRET}#orders", tmp_path)
    assert "hunter2" not in message
    assert "hunter2" not in refusal("${SECRET}/hunter2.csv", tmp_path).replace("/hunter2.csv", "")


@pytest.mark.parametrize(
    ("given", "recorded"),
    [
        ("customers.csv", "../customers.csv"),
        ("data/*.csv", "../data/*.csv"),
        ("churn/own.csv", "own.csv"),
        ("../far/customers.csv", "{root}/far/customers.csv"),
        ("{root}/desk/customers.csv", "../customers.csv"),
        ("sqlite:///shop.db#select '../x' from t", "sqlite:///../shop.db#select '../x' from t"),
        ("sqlite:///../shop.db?mode=ro#t", "sqlite:///{root}/shop.db?mode=ro#t"),
        ("s3://bucket/a.csv", "s3://bucket/a.csv"),
        ("postgresql://me:${P}@host/shop#orders", "postgresql://me:${P}@host/shop#orders"),
        ("${DATA}/a.csv", "${DATA}/a.csv"),
        ("file:///data/a.csv", "file:///data/a.csv"),
    ],
)
def test_recorded_address_is_read_from_the_project(
    given: str, recorded: str, tmp_path: Path
) -> None:
    desk = tmp_path / "desk"
    result = table.recorded_address(given.replace("{root}", str(tmp_path)), desk / "churn", desk)
    assert result == recorded.replace("{root}", str(tmp_path))


def test_addresses_are_the_same_for_the_tool_and_its_projects() -> None:
    package = Path(__file__).parent.parent / "template" / "src" / "{{ package_name }}"
    sources = (package / "data" / "sources.py").read_text("utf-8")
    assert all(f'"{ending}"' in sources for ending in address.FORMATS)
    assert all(f'"{dialect}"' in sources for dialect in address.DIALECTS)


@pytest.mark.parametrize("name", ["order lines", "order", "a-b", 'with "quotes"', "main.plain"])
def test_a_table_of_a_database_may_have_any_name(name: str, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "t.db") as database:
        quoted = name.removeprefix("main.").replace('"', '""')
        database.execute(f'CREATE TABLE "{quoted}" (x, y)')
        database.executemany(
            f'INSERT INTO "{quoted}" VALUES (?, ?)', [(n, n % 2) for n in range(9)]
        )
    assert table.inspect(f"sqlite:///t.db#{name}", cwd=tmp_path).rows == 9
    assert table.inspect("sqlite:///t.db#select 1 x, 1 y union select 2, 0", cwd=tmp_path).rows == 2
    assert "Unknown table 'nothing'" in refusal("sqlite:///t.db#nothing", tmp_path)


@pytest.mark.parametrize(
    ("numbers", "task"),
    [
        ([60_000 + n * n for n in range(16)], "regression"),
        ([n % 3 for n in range(30)], "classification"),
        ([n % 20 for n in range(60)], "regression"),
        ([n % 20 for n in range(100)], "classification"),
        ([0, 1, 0], "classification"),
    ],
)
def test_few_whole_numbers_are_classes_if_each_is_in_several_rows(
    numbers: list[int], task: str, tmp_path: Path
) -> None:
    rows = pa.table({"x": [n * 0.5 for n in range(len(numbers))], "y": numbers})
    assert table.inspect(write_csv(rows, tmp_path / "t"), cwd=tmp_path).task == task


@pytest.mark.parametrize(
    ("days", "words"),
    [
        ([20240101 + n for n in range(20)], "'day' holds no dates, but '20240101' for example"),
        (["2024-01-01", "2024-02-30"] * 10, "'day' holds no dates, but '2024-02-30' for example"),
        (["2024-01-01", None, "2024-01-02", None] * 5, "'day' is missing in some rows"),
        ([f"2999-01-{1 + n}" for n in range(20)], "'day' goes up to 2999-01-20"),
    ],
)
def test_a_forecast_without_a_time_says_why(days: list[Any], words: str, tmp_path: Path) -> None:
    rows = pa.table({"day": days, "y": [n * 1.5 for n in range(20)]})
    where = write_csv(rows, tmp_path / "t")
    assert words in refusal(where, tmp_path, task="forecasting", target="y")


def test_a_name_with_blanks_that_is_no_table_is_told_with_the_tables(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "t.db") as database:
        database.execute('CREATE TABLE "order lines" (x, y)')
    assert "Did you mean order lines?" in refusal("sqlite:///t.db#order line", tmp_path)
    assert "There are: order lines." in refusal("sqlite:///t.db#no such thing", tmp_path)


@pytest.mark.parametrize("start", [2**63, -(2**64), 10**25])
def test_a_key_of_more_than_64_bits_keeps_its_digits(start: int, tmp_path: Path) -> None:
    rows = "".join(f"{start + n},{n % 7},{n % 2}\n" for n in range(60))
    (tmp_path / "t.csv").write_text("id,x,y\n" + rows)
    assert table.inspect("t.csv", cwd=tmp_path).key_columns == ("id",)


@pytest.mark.parametrize(
    "values",
    [
        pa.array([n * 10**9 + 1 for n in range(60)]).cast(pa.time64("ns")),
        pa.array([[("a", n)] for n in range(60)], pa.map_(pa.string(), pa.int64())),
        pa.array([Decimal(10**25 + n) for n in range(60)], pa.decimal128(38, 0)),
    ],
    ids=["time in nanoseconds", "map", "whole decimal"],
)
def test_rare_types_of_parquet_are_no_error(values: pa.Array, tmp_path: Path) -> None:
    columns = {"rare": values, "x": [n % 7 for n in range(60)], "y": [n % 2 for n in range(60)]}
    pa.parquet.write_table(pa.table(columns), tmp_path / "t.parquet")
    assert table.inspect("t.parquet", cwd=tmp_path).left_out == {"rare": "like a key"}
