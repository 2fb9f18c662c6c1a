"""Looks at a table of data and proposes what to predict, from which columns."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from mlscaffold import address as addresses
from mlscaffold.address import Sample
from mlscaffold.columns import Column, given_away, look
from mlscaffold.errors import MlscaffoldError, unknown

MOST_NUMBERS = 20  # more different whole numbers than this are a quantity, not a category
FEWEST_OF_A_NUMBER = 5  # rows for each different number, on average, if they are categories
MOST_CLASSES = 100  # more than this cannot be learned as categories
MOST_SCORED = 20_000  # rows that are enough to see that a column gives the target away

_TARGET = re.compile(
    r"(?i)(target|labels?|y|class|outcome|response|churn(ed)?|survived|default(ed)?)"
)
_TIME = re.compile(r"(?i)(^|_| )(date|time|timestamp|datetime|ts|day|month|at|created|seen)($|_| )")
_LIKE_TIME = re.compile(rf"{_TIME.pattern}|year|week|quarter")
_NOT_SEEN = re.compile(r"(?i)birth|dob|expir|until|(^|_)(end|due)($|_)")
_KEY = re.compile(r"(?i)(^|[_ .-])(id|key|uuid|guid|number|no|nr)\.?$|[a-z]I[dD]$")
_ROW_NUMBER = re.compile(r"(?i)Unnamed: \d+|index")
_INDEX = re.compile(r"__index_level_")


@dataclass(frozen=True)
class Proposal:
    """What to predict, from which columns of the table at an address."""

    address: str
    rows: int
    rows_exact: bool
    columns: tuple[str, ...]
    target: str
    target_reason: str  # empty if the target was given
    candidates: tuple[str, ...]
    task: str
    summary: str
    time_column: str  # empty if there is none
    key_columns: tuple[str, ...]
    left_out: Mapping[str, str]

    @property
    def lines(self) -> list[str]:
        """The proposal as a person reads it."""
        rows = f"{'' if self.rows_exact else 'about '}{self.rows:,} rows"
        known = [f"time column {self.time_column}"] if self.time_column else []
        known += [f"key {', '.join(self.key_columns)}"] if self.key_columns else []
        lines = [
            f"Reading {self.address}: {rows}, {len(self.columns)} columns"
            + (f"; {', '.join(known)}" if known else "")
        ]
        if self.target_reason:
            lines.append(f"  Target          {self.target} ({self.target_reason})")
        lines.append(f"  Task            {self.task} ({self.target}: {self.summary})")
        if self.left_out:
            parts = [f"{column} ({reason})" for column, reason in self.left_out.items()]
            lines.append(f"  Left out        {', '.join(parts)}")
        return lines


def inspect(
    address: str,
    *,
    target: str | None = None,
    task: str | None = None,
    time_column: str | None = None,
    key_columns: Sequence[str] | None = None,
    cwd: Path,
) -> Proposal:
    """Reads the table at address and proposes what is not given; "" and [] say that there is none.

    Raises MlscaffoldError when the address does not open or nothing can be learned from the table.
    """
    sample = addresses.read(address, cwd=cwd)
    try:
        return propose(
            address,
            sample,
            target=target,
            task=task,
            time_column=time_column,
            key_columns=key_columns,
        )
    except MlscaffoldError as error:
        raise MlscaffoldError(f"{address}: {error.message}") from None


def propose(
    address: str,
    sample: Sample,
    *,
    target: str | None = None,
    task: str | None = None,
    time_column: str | None = None,
    key_columns: Sequence[str] | None = None,
) -> Proposal:
    """Proposes what is not given, from the first rows of the table."""
    columns = _named(sample)
    for name in (target, time_column, *(key_columns or ())):
        if name and name not in columns:
            raise unknown("column", name, columns)
    others = {name: column for name, column in columns.items() if name != target}
    time = _time_column(others) if time_column is None else time_column
    if time and columns[time].kind != "date":
        raise MlscaffoldError(f"time column {time!r} {_no_dates(columns[time])}.")
    is_forecast = task == "forecasting"
    if is_forecast and not time:
        raise MlscaffoldError(_no_time(others))
    look_for = _series_key if is_forecast else _key_columns
    keys = tuple(look_for(others, time) if key_columns is None else key_columns)
    if is_forecast and time not in keys:
        raise MlscaffoldError(
            f"a forecast's key is what names a series, and the time: use "
            f"--data 'key_columns=[{', '.join([*keys, time])}]'."
        )
    candidates = [
        n for n, column in columns.items() if n not in {time, *keys} and _can_be_told(column)
    ]
    reason = ""
    if target is None:
        target, reason = _target(candidates)
    task = _task(columns[target], task)
    left_out = _left_out(columns, columns[target], task, time, keys)
    if not columns.keys() - {target, *left_out}:
        why = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        raise MlscaffoldError(
            f"no column is left to predict {target!r} from{f' ({why})' if why else ''}; add some."
        )
    return Proposal(
        address=address,
        rows=sample.rows,
        rows_exact=sample.exact,
        columns=tuple(columns),
        target=target,
        target_reason=reason,
        candidates=tuple(candidates),
        task=task,
        summary=_summary(columns[target], task),
        time_column=time,
        key_columns=keys,
        left_out=left_out,
    )


def recorded_address(address: str, project_root: Path, cwd: Path) -> str:
    """The address as a project records it, to be read from the project's root.

    A path below the folder that the project stands in becomes relative to the project, so that both
    can move together; any other path becomes absolute, and other addresses stay as they are.
    """
    local = addresses.split_local(address)
    if local is None or "${" in local[1]:
        return address
    before, path, after = local
    path = addresses.absolute(path, cwd)
    root = project_root.absolute()
    if Path(path).is_relative_to(root.parent):
        path = Path(os.path.relpath(path, root)).as_posix()
    return f"{before}{path}{after}"


def _named(sample: Sample) -> dict[str, Column]:
    """The columns by name; what pandas left of its index is named as pandas would, or not read."""
    names = [name or f"Unnamed: {n}" for n, name in enumerate(sample.table.column_names)]
    if twice := [name for name, times in Counter(names).items() if times > 1]:
        raise MlscaffoldError(f"has the column {twice[0]!r} twice; rename one.")
    columns = {column.name: column for column in look(sample.table.rename_columns(names))}
    return {name: column for name, column in columns.items() if not _INDEX.match(name)}


def _time_column(columns: Mapping[str, Column]) -> str:
    """The column of dates that says when a row was seen, or an empty text."""
    found = [name for name, column in columns.items() if _is_seen(column)]
    return next((name for name in found if _TIME.search(name)), found[0] if found else "")


def _no_dates(column: Column) -> str:
    """What a column holds in place of dates, and how to write them."""
    filled = column.values.drop_null()
    if not len(filled):
        return "has no values; name another, or none"
    shown = _shown(filled[0].as_py())
    if column.kind == "text" and (odd := _odd_one(filled)):
        shown = odd
    form = "write 2024-12-31 or 2024-12-31 14:05"
    return f"holds no dates, but {shown!r} for example; {form}, or name another"


def _odd_one(texts: Any) -> str:
    """The first text that is no date, in a column whose first text is one; else an empty text."""
    from mlscaffold import dates

    forms = dates.fitting(texts.slice(0, 1))
    if not forms:
        return ""
    read = min((dates.read(texts, form) for form in forms), key=lambda found: found.null_count)
    return _shown(texts.filter(read.is_null())[0].as_py())


def _no_time(columns: Mapping[str, Column]) -> str:
    """Why no column says when a row was, by the one that most likely should."""
    dated = [column for column in columns.values() if column.kind == "date"]
    if dated:
        column = dated[0]
        newest = _shown(max(column.values.drop_null().to_pylist()))
        why = "is missing in some rows" if not column.is_complete else f"goes up to {newest}"
        if column.distinct < 2:
            why = "holds one date only"
        return (
            f"a forecast needs a time column, known in each row and of the past; "
            f"{column.name!r} {why}. Mend it, or name it with --data time_column={column.name}."
        )
    named = [column for name, column in columns.items() if _LIKE_TIME.search(name)]
    if named:
        return f"a forecast needs a time column; {named[0].name!r} {_no_dates(named[0])}."
    return (
        "a forecast needs a time column, and no column holds dates such as 2024-12-31; "
        "add one, or use another task."
    )


def _is_seen(column: Column) -> bool:
    """Whether each row has a date, they differ, and none is in the future."""
    import pyarrow.compute as pc

    if column.kind != "date" or not column.is_complete or column.distinct < 2:
        return False
    newest = pc.max(column.values).as_py()
    day: date = newest.date() if isinstance(newest, datetime) else newest
    return not _NOT_SEEN.search(column.name) and day <= datetime.now(UTC).date()


def _key_columns(columns: Mapping[str, Column], time: str) -> list[str]:
    """The columns that identify a row: an id, the time, or an id at a time."""
    import pyarrow as pa

    can_be_key = [c for c in columns.values() if c.is_complete and c.kind in {"whole", "text"}]
    named = [column for column in can_be_key if _KEY.search(column.name)]
    for column in named:
        if column.is_unique:
            return [column.name]
    if time and columns[time].is_unique:
        return [time]
    if time and named:
        pair = pa.table({"id": named[0].values, "time": columns[time].values})
        if len(pair.group_by(["id", "time"]).aggregate([])) == len(pair):
            return [named[0].name, time]
    return []


def _series_key(columns: Mapping[str, Column], time: str) -> list[str]:
    """The time, after the column that names a series if there are several."""
    import pyarrow as pa

    if columns[time].is_unique:
        return [time]
    named = {name: bool(_KEY.search(name)) for name in columns}
    for name in sorted(columns, key=lambda name: not named[name]):
        column = columns[name]
        if column.is_complete and (
            column.kind == "text" or (named[name] and column.kind == "whole")
        ):
            pair = pa.table({"id": column.values, "time": columns[time].values})
            if not column.is_unique and len(pair.group_by(["id", "time"]).aggregate([])) == len(
                pair
            ):
                return [name, time]
    raise MlscaffoldError(
        f"{time!r} holds dates more than once, and no column names the series; "
        f"name it, for example --data 'key_columns=[store, {time}]'."
    )


def _can_be_told(column: Column) -> bool:
    is_value = column.kind in {"boolean", "whole", "number", "text"}
    return is_value and column.distinct > 1 and not column.is_a_text_per_row


def _target(candidates: Sequence[str]) -> tuple[str, str]:
    if not candidates:
        raise MlscaffoldError("has no column that could be predicted; each needs several values.")
    for name in candidates:
        if _TARGET.fullmatch(name):
            return name, "by its name; --target takes another"
    return candidates[-1], "the last column; --target takes another"


def _task(target: Column, task: str | None) -> str:
    """What is given, else classification or regression, for a target that can be learned."""
    name = target.name
    if target.kind in {"empty", "date"}:
        kind = {"empty": "no values", "date": "dates"}[target.kind]
        raise MlscaffoldError(f"target {name!r} holds {kind}; choose a category or a number.")
    if target.distinct < 2:
        value = _shown(target.counts()[0][0])
        raise MlscaffoldError(
            f"target {name!r} has one value only ({value}); choose another column."
        )
    if task in {"regression", "forecasting"} and target.kind == "text":
        raise MlscaffoldError(
            f"target {name!r} holds text, and {task} needs a number; "
            "use --data task=classification."
        )
    is_quantity = target.kind == "number" or (target.kind == "whole" and not _are_classes(target))
    task = task or ("regression" if is_quantity else "classification")
    if task == "classification" and target.distinct > MOST_CLASSES:
        raise MlscaffoldError(
            f"target {name!r} has {target.distinct:,} different values, which are no categories; "
            + ("use --data task=regression." if is_quantity else "choose another column.")
        )
    return task


def _are_classes(target: Column) -> bool:
    """Whether whole numbers are categories: few of them, each in several rows; two always are."""
    enough = target.distinct * FEWEST_OF_A_NUMBER <= target.filled
    return target.distinct == 2 or (target.distinct <= MOST_NUMBERS and enough)


def _left_out(
    columns: Mapping[str, Column], target: Column, task: str, time: str, keys: Sequence[str]
) -> dict[str, str]:
    """The columns that cannot serve as a feature, each with the reason."""
    found = {}
    for name, column in columns.items():
        if name in {target.name, time}:
            continue
        if name in keys:
            found[name] = "key"
        elif reason := _unusable(column):
            found[name] = reason
        elif task != "forecasting" and (score := given_away(_head(target), _head(column), task)):
            found[name] = f"gives {target.name} away: {score}"
    return found


def _unusable(column: Column) -> str | None:
    if column.kind == "empty":
        return "no values"
    if column.distinct == 1:
        return "constant"
    if column.is_a_text_per_row:
        return "like a key"
    named = _KEY.search(column.name) or _ROW_NUMBER.fullmatch(column.name)
    if named and column.kind == "whole" and column.is_unique:
        return "like a key"
    return None


def _head(column: Column) -> Column:
    values = column.values.slice(0, MOST_SCORED)
    return Column(column.name, column.kind, values, column.filled, column.distinct)


def _summary(target: Column, task: str) -> str:
    """The classes with their shares, or the range and mean of a number."""
    import pyarrow.compute as pc

    missing = 1 - target.filled / len(target.values)
    end = f", missing in {_percent(missing)}" if missing else ""
    if task != "classification":
        low, high, mean = pc.min(target.values), pc.max(target.values), pc.mean(target.values)
        return f"{low.as_py():.4g} to {high.as_py():.4g}, mean {mean.as_py():.4g}{end}"
    counts = target.counts()
    parts = [f"{_shown(value)} {_percent(rows / target.filled)}" for value, rows in counts[:5]]
    more = f", {len(counts) - 5} more" if len(counts) > 5 else ""
    return f"{', '.join(parts)}{more}{end}"


def _percent(share: float) -> str:
    return f"{share:.0%}".replace("%", " %") if share >= 0.01 else "under 1 %"


def _shown(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = re.sub(r"[\x00-\x1f\x7f-\x9f]", "?", str(value))
    return text if len(text) <= 30 else f"{text[:29]}…"
