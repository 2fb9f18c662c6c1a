"""Which texts are dates, and which day they name; the same in the tool and in its projects."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pytest

from mlscaffold import dates

ROOT = Path(__file__).resolve().parents[1]
TWIN = ROOT / "template" / "src" / "{{ package_name }}" / "data" / "dates.py"


def read(*texts: str | None) -> list[datetime | None]:
    """The texts in the first form that fits all of them; none where no form does."""
    column = pa.array(texts, pa.string())
    forms = dates.fitting(column)
    return dates.read(column, forms[0]).to_pylist() if forms else []


def test_tool_and_project_share_one_parser() -> None:
    assert TWIN.read_bytes() == Path(dates.__file__).read_bytes()


@pytest.mark.parametrize("form", dates.FORMS)
def test_the_example_of_each_form_reads_in_it(form: str) -> None:
    day = 1 if form == "Dec 2024" else 31
    assert dates.read(pa.array([form]), form).to_pylist() == [datetime(2024, 12, day)]


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("03.02.95", datetime(1995, 2, 3)),
        ("3/2/95", datetime(1995, 2, 3)),
        ("12/31/68", datetime(2068, 12, 31)),
        ("12/31/69", datetime(1969, 12, 31)),
        ("5-Jan-95", datetime(1995, 1, 5)),
        ("5 january 2024", datetime(2024, 1, 5)),
        ("Sept. 3, 2021", datetime(2021, 9, 3)),
        ("2024-02", datetime(2024, 2, 1)),
        ("16/12/2006 17:24", datetime(2006, 12, 16, 17, 24)),
        ("1/31/2011 3:04 PM", datetime(2011, 1, 31, 15, 4)),
        ("1/31/2011 12:00 am", datetime(2011, 1, 31)),
        ("2024-01-01T10:00:00Z", datetime(2024, 1, 1, 10)),
        ("2024-01-01 01:30+02:00", datetime(2023, 12, 31, 23, 30)),
        ("2024-01-01 01:30:00-0530", datetime(2024, 1, 1, 7)),
        ("2024-01-01 10:00:00.25", datetime(2024, 1, 1, 10, 0, 0, 250_000)),
        ("0095-01-01", datetime(95, 1, 1)),
        (" 2024-01-01 ", datetime(2024, 1, 1)),
    ],
)
def test_a_text_is_this_day(text: str, day: datetime) -> None:
    assert read(text) == [day]


@pytest.mark.parametrize(
    "text",
    [
        *("2024-02-30", "31.04.2024", "2024-13-01", "2024-01-01 24:00", "2024-01-01 10:60"),
        *("1/31/2011 13:04 PM", "1.2.10", "2019.3.1", "12-34-56", "10:30", "10:30:00"),
        *("2024", "20240131", "1700000000", "Marble 2024", "tomorrow", "192.168.1.1", ""),
    ],
)
def test_a_text_is_no_day(text: str) -> None:
    assert read(text) == []


def test_one_form_has_to_fit_all() -> None:
    assert read("01/02/2024", "31/01/2024") == [datetime(2024, 2, 1), datetime(2024, 1, 31)]
    assert read("01/02/2024", "01/31/2024") == [datetime(2024, 1, 2), datetime(2024, 1, 31)]
    assert read("13/01/2024", "01/31/2024") == []
    assert read("2024-01-01", None, "2024-01-02") == [
        datetime(2024, 1, 1),
        None,
        datetime(2024, 1, 2),
    ]
    assert read(None) == []
