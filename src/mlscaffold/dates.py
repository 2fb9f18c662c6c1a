"""Which texts are dates: the tool and its projects share this file, so both read a table alike.

What a column holds is told by a form in which all its texts read, the first of FORMS that fits. A
day comes before its month where both would do. A year of two digits is of the 20th century from 69
on, as POSIX has it.
"""

from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")

_CLOCK = r"(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<fraction>\d{1,9}))?)?"
_ZONE = r"(?P<zone>Z|UTC|GMT|[+-]\d{2}:?(?:\d{2})?)"
_TIME = rf"(?:(?:T| +){_CLOCK}(?: ?(?P<half>[AP])\.?M\.?)?(?: ?{_ZONE})?)?"
_DAY, _MONTH = r"(?P<day>\d{1,2})", r"(?P<month>\d{1,2})"
_TWO_DAY, _TWO_MONTH = r"(?P<day>\d{2})", r"(?P<month>\d{2})"
_YEAR, _SHORT = r"(?P<year>\d{4})", r"(?P<short>\d{2})"
_NAME = (
    r"(?P<name>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
    r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"
)
# Each form by an example. With dots, or two digits of a year, day and month have two digits too,
# unless slashes part them: 1.2.10 and 2019.3.1 are versions, and no days.
FORMS = {
    "2024-12-31": rf"{_YEAR}-{_MONTH}(?:-{_DAY}{_TIME})?",
    "2024/12/31": rf"{_YEAR}/{_MONTH}(?:/{_DAY}{_TIME})?",
    "2024.12.31": rf"{_YEAR}\.{_TWO_MONTH}\.{_TWO_DAY}{_TIME}",
    "31.12.2024": rf"{_DAY}\.{_MONTH}\.{_YEAR}{_TIME}",
    "31/12/2024": rf"{_DAY}/{_MONTH}/{_YEAR}{_TIME}",
    "12/31/2024": rf"{_MONTH}/{_DAY}/{_YEAR}{_TIME}",
    "31-12-2024": rf"{_DAY}-{_MONTH}-{_YEAR}{_TIME}",
    "12-31-2024": rf"{_MONTH}-{_DAY}-{_YEAR}{_TIME}",
    "31.12.24": rf"{_TWO_DAY}\.{_TWO_MONTH}\.{_SHORT}{_TIME}",
    "31/12/24": rf"{_DAY}/{_MONTH}/{_SHORT}{_TIME}",
    "12/31/24": rf"{_MONTH}/{_DAY}/{_SHORT}{_TIME}",
    "31-12-24": rf"{_TWO_DAY}-{_TWO_MONTH}-{_SHORT}{_TIME}",
    "12-31-24": rf"{_TWO_MONTH}-{_TWO_DAY}-{_SHORT}{_TIME}",
    "31 Dec 2024": rf"{_DAY}[ -]{_NAME}[ -]{_YEAR}{_TIME}",
    "31-Dec-24": rf"{_DAY}[ -]{_NAME}[ -]{_SHORT}{_TIME}",
    "Dec 31, 2024": rf"{_NAME} {_DAY},? {_YEAR}{_TIME}",
    "Dec 2024": rf"{_NAME}[ -]{_YEAR}",
}
PARTS = (
    "year",
    "short",
    "month",
    "name",
    "day",
    "hour",
    "minute",
    "second",
    "fraction",
    "half",
    "zone",
)


def fitting(texts: Any, forms: Iterable[str] = FORMS) -> list[str]:
    """The forms in which every text reads that is there; none where no text is there.

    texts: a pyarrow array of strings
    """
    filled = texts.drop_null()
    if not len(filled):
        return []
    head = filled.slice(0, 50)  # most columns are no dates, and that shows at once
    if not pc.all(pc.match_substring_regex(head, r"\d")).as_py():
        return []
    found = [form for form in forms if not read(head, form).null_count]
    return [form for form in found if not read(filled, form).null_count]


def read(texts: Any, form: str) -> Any:
    """The texts as timestamp[us], in UTC where they name a zone; null where one does not read."""
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.combine_chunks()
    trimmed = pc.utf8_trim_whitespace(texts.cast(pa.string()))
    each = pc.dictionary_encode(trimmed)  # a day stands in many rows
    found = pc.extract_regex(each.dictionary, pattern=f"(?i)^{FORMS[form]}$")
    names = [field.name for field in found.type]
    parts = {name: pc.struct_field(found, name) for name in PARTS if name in names}
    rows = len(found)
    dates = pc.add(_moment(parts, rows), pc.cast(_shift(parts, rows), pa.duration("us")))
    return dates.take(each.indices)


def _moment(parts: dict[str, Any], rows: int) -> Any:
    """The year, month, day and time that stand there; null where there is no such day or time."""
    year = parts["year"] if "year" in parts else _century(parts["short"])
    month = _month_of(parts["name"]) if "name" in parts else _padded(parts["month"], "01")
    zero = pa.array(["00"] * rows, pa.string())
    clock = ("hour", "minute", "second")
    time = [_padded(parts[name], "00") if name in parts else zero for name in clock]
    if "half" in parts:
        time[0] = _hour_of_day(time[0], parts["half"])
    day = _padded(parts["day"], "01") if "day" in parts else pa.array(["01"] * rows, pa.string())
    date = pc.binary_join_element_wise(year, month, day, "-")
    written = pc.binary_join_element_wise(date, pc.binary_join_element_wise(*time, ":"), " ")
    moment = pc.strptime(written, format="%Y-%m-%d %H:%M:%S", unit="s", error_is_null=True)
    # It takes the 30th of February for the 2nd of March.
    is_there = pc.equal(pc.strftime(moment, format="%Y-%m-%d %H:%M:%S"), written)
    return pc.if_else(is_there, moment, None).cast(pa.timestamp("us"))


def _shift(parts: dict[str, Any], rows: int) -> Any:
    """Microseconds to add: the fraction of a second, less how far the zone is from UTC."""
    shift = pa.array([0] * rows, pa.int64())
    if "fraction" in parts:
        digits = pc.utf8_slice_codeunits(pc.utf8_rpad(parts["fraction"], 6, "0"), 0, 6)
        shift = pc.add(shift, digits.cast(pa.int64()))
    if "zone" in parts:
        digits = pc.utf8_rpad(pc.replace_substring_regex(parts["zone"], r"[^\d]", ""), 4, "0")
        hours = pc.utf8_slice_codeunits(digits, 0, 2).cast(pa.int64())
        minutes = pc.utf8_slice_codeunits(digits, 2, 4).cast(pa.int64())
        away = pc.multiply(pc.add(pc.multiply(hours, 60), minutes), 60_000_000)
        is_west = pc.starts_with(parts["zone"], "-")
        shift = pc.add(shift, pc.if_else(is_west, away, pc.negate(away)))
    return shift


def _century(short: Any) -> Any:
    is_of_the_20th = pc.greater_equal(short.cast(pa.int64()), 69)
    return pc.binary_join_element_wise(pc.if_else(is_of_the_20th, "19", "20"), short, "")


def _month_of(name: Any) -> Any:
    short = pc.utf8_slice_codeunits(pc.utf8_lower(name), 0, 3)
    number = pc.index_in(short, value_set=pa.array(MONTHS))
    return pc.utf8_lpad(pc.add(number, 1).cast(pa.string()), 2, "0")


def _hour_of_day(hour: Any, half: Any) -> Any:
    """12 AM is 0 and 12 PM is 12; an hour above 12 with AM or PM is none."""
    number = hour.cast(pa.int64())
    in_half = pc.if_else(pc.equal(number, 12), 0, number)
    is_wrong = pc.or_(pc.equal(number, 0), pc.greater(number, 12))
    half = pc.utf8_lower(half)
    of_day = pc.if_else(pc.equal(half, "p"), pc.add(in_half, 12), in_half)
    of_day = pc.if_else(is_wrong, 99, of_day)
    return pc.if_else(pc.equal(half, ""), hour, pc.utf8_lpad(of_day.cast(pa.string()), 2, "0"))


def _padded(part: Any, empty: str) -> Any:
    return pc.if_else(pc.equal(part, ""), empty, pc.utf8_lpad(part, 2, "0"))
