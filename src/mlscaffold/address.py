"""Reads the first rows of the table behind an address: files by fsspec, databases by SQLAlchemy."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlscaffold import credentials
from mlscaffold.errors import MlscaffoldError, unknown

MOST_ROWS = 100_000
MOST_BYTES = 64_000_000
DIALECTS = ("sqlite", "postgresql", "mysql", "mariadb", "mssql", "oracle", "duckdb")
FORMATS = {".csv": "CSV", ".parquet": "Parquet", ".jsonl": "JSON lines", ".ndjson": "JSON lines"}


@dataclass(frozen=True)
class Sample:
    """The first rows of a table, and how many it has in all (an estimate unless `exact`)."""

    table: Any  # a pyarrow.Table; pyarrow has no type hints
    rows: int
    exact: bool = True


def read(address: str, *, cwd: Path) -> Sample:
    """At most the first MOST_ROWS rows; a relative path counts from cwd, ${NAME} is looked up.

    Raises MlscaffoldError, without any password, when the address does not open.
    """
    if kind := credentials.find(address):
        raise MlscaffoldError(
            f"the data's address holds {kind}; write ${{NAME}} in its place and set NAME in the "
            "environment."
        )
    if re.search(r"[\x00-\x1f]", address) or not address.strip():
        raise MlscaffoldError(
            "the data's address is empty or has a control character; give a path."
        )
    try:
        located = credentials.expand(address)
    except KeyError as error:
        name = error.args[0]
        raise MlscaffoldError(
            f"{address}: {name} is not set; export it and run this again."
        ) from None
    if local := split_local(located):
        located = f"{local[0]}{absolute(local[1], cwd)}{local[2]}"
    try:
        sample = _read_query(located) if is_sql(located) else _read_files(located)
    except MlscaffoldError as error:
        raise MlscaffoldError(f"{address}: {error.message}") from None
    except Exception as error:  # any library may stand behind an address, with errors of its own
        raise MlscaffoldError(f"{address} does not open: {_reason(error)}") from None
    if not sample.table.num_rows:
        raise MlscaffoldError(f"{address} has a header but no rows; give a table with data in it.")
    return sample


def is_sql(address: str) -> bool:
    """Whether address is `dialect://…#table or query`, to be read by SQLAlchemy."""
    return address.partition("://")[0].partition("+")[0] in DIALECTS


def split_local(address: str) -> tuple[str, str, str] | None:
    """A path on this machine with what stands before and after it; None for any other address."""
    if "://" not in address:
        return "", address, ""
    if match := re.fullmatch(r"(sqlite(?:\+\w+)?:///)([^?#]+)(.*)", address, re.DOTALL):
        return match[1], match[2], match[3]
    return None


def absolute(path: str, folder: Path) -> str:
    """The path, counted from folder if it is relative; links stay as they are."""
    return os.path.normpath(folder.absolute() / Path(path).expanduser())


def _read_files(address: str) -> Sample:
    import fsspec
    import pyarrow as pa

    files, paths = fsspec.core.url_to_fs(address)
    paths = _table_files(files, paths)
    read_one = {"CSV": _read_csv, "JSON lines": _read_lines, "Parquet": _read_parquet}
    samples: list[Sample] = []
    for path in paths:
        samples.append(read_one[_format(path)](files, path))
        if sum(sample.table.num_rows for sample in samples) >= MOST_ROWS:
            break
    tables = [sample.table for sample in samples]
    table = pa.concat_tables(tables, promote_options="permissive") if tables[1:] else tables[0]
    rows = sum(sample.rows for sample in samples)
    unread = len(paths) - len(samples)
    exact = not unread and all(sample.exact for sample in samples)
    return Sample(table.slice(0, MOST_ROWS), rows + unread * rows // len(samples), exact)


def _table_files(files: Any, path: str) -> list[str]:
    """The files that a path, a folder or a pattern stands for, in stable order."""
    if "*" in path:
        found = [name for name in files.glob(path) if _suffix(name) in FORMATS]
    elif files.isfile(path):
        found = [path]
    elif files.isdir(path):
        found = [name for name in files.find(path) if _suffix(name) in FORMATS]
    else:
        raise MlscaffoldError("no such file; look at the path and at the folder you are in.")
    if not found:
        raise MlscaffoldError(
            f"holds no {', '.join(FORMATS)} file; name another folder or pattern."
        )
    if len(formats := {_format(name) for name in found}) > 1:
        raise MlscaffoldError(
            f"mixes {' and '.join(sorted(formats))}; use a pattern such as *.csv."
        )
    return sorted(found)


def _suffix(path: str) -> str:
    return Path(path).suffix


def _format(path: str) -> str:
    if (suffix := _suffix(path)) not in FORMATS:
        raise MlscaffoldError(f"a table ends in {', '.join(FORMATS)}, not {suffix or 'nothing'!r}.")
    return FORMATS[suffix]


def _head(files: Any, path: str) -> tuple[bytes, float]:
    """A file's first MOST_BYTES, cut at the end of a row, and the share of the file they are."""
    with files.open(path, "rb") as file:
        data = file.read(MOST_BYTES)
    if len(data) < MOST_BYTES:
        return data, 1.0
    cut = data.rfind(b"\n")
    while cut > 0 and data.count(b'"', 0, cut) % 2:  # this line end is inside a quoted value
        cut = data.rfind(b"\n", 0, cut)
    size = files.size(path) or len(data)
    return data[: cut + 1], min(1.0, (cut + 1) / size)


def _read_csv(files: Any, path: str) -> Sample:
    import pyarrow.csv

    from mlscaffold import encodings, oversize

    data, share = _head(files, path)
    first = data[:100_000].split(b"\n", 1)[0]
    if not data[:4096].strip():
        raise MlscaffoldError("is an empty file; give a table with a header and rows.")
    try:
        encodings.check(data)
    except encodings.EncodingError as error:
        raise MlscaffoldError(str(error)) from None
    oversize.check_header(data)
    if b"," not in first and (b";" in first or b"\t" in first):
        raise MlscaffoldError("separates its values by ';' or tabs; write it with commas.")
    convert = pyarrow.csv.ConvertOptions(strings_can_be_null=True)
    parse = pyarrow.csv.ParseOptions(newlines_in_values=b'"' in data)
    try:
        table = pyarrow.csv.read_csv(io.BytesIO(data), parse_options=parse, convert_options=convert)
    except pyarrow.ArrowInvalid:
        # One thread knows the number of a ragged row; one block has the types of all its rows.
        slow = pyarrow.csv.ReadOptions(use_threads=False, block_size=len(data) + 1)
        table = pyarrow.csv.read_csv(io.BytesIO(data), slow, parse, convert)
    if large := _larger_than_whole(table):
        convert.column_types = dict.fromkeys(large, pyarrow.string())
        slow = pyarrow.csv.ReadOptions(use_threads=False, block_size=len(data) + 1)
        written = pyarrow.csv.read_csv(io.BytesIO(data), slow, parse, convert)
        for name in filter(lambda name: _is_digits(written[name]), large):
            table = table.set_column(table.column_names.index(name), name, written[name])
    return _sampled(table, share)


def _larger_than_whole(table: Any) -> list[str]:
    """The columns of numbers that are too large for 64 bits, and would lose their last digits."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if len(set(table.column_names)) < table.num_columns:
        return []
    floats = [field.name for field in table.schema if pa.types.is_floating(field.type)]
    return [name for name in floats if (pc.max(pc.abs(table[name])).as_py() or 0) >= 2**63]


def _is_digits(texts: Any) -> bool:
    import pyarrow.compute as pc

    return bool(pc.all(pc.match_substring_regex(texts, r"^[+-]?\d*$")).as_py())


def _read_lines(files: Any, path: str) -> Sample:
    import pyarrow.json

    from mlscaffold import oversize

    data, share = _head(files, path)
    if not data[:4096].strip():
        raise MlscaffoldError("is an empty file; give a table with rows.")
    if data.lstrip()[:1] != b"{":
        raise MlscaffoldError("is not JSON lines; write one object on each line.")
    oversize.check_json(data, set())
    block = pyarrow.json.ReadOptions(block_size=max(len(data), 1))
    return _sampled(pyarrow.json.read_json(io.BytesIO(data), read_options=block), share)


def _sampled(table: Any, share: float) -> Sample:
    return Sample(table.slice(0, MOST_ROWS), round(table.num_rows / share), share == 1.0)


def _read_parquet(files: Any, path: str) -> Sample:
    import pyarrow as pa

    from mlscaffold import oversize

    with files.open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 8))
        metadata = oversize.parquet_metadata(file, file.read(8), size)
        batches, rows, unpacked = [], 0, 0
        for batch in oversize.parquet_batches(file, metadata, size, MOST_ROWS):
            batches.append(batch)
            rows += batch.num_rows
            unpacked += batch.nbytes
            if rows >= MOST_ROWS or unpacked >= oversize.ALWAYS_FITS:
                break
        schema = batches[0].schema if batches else metadata.schema.to_arrow_schema()
        table = pa.Table.from_batches(batches, schema=schema)
        return Sample(table.slice(0, MOST_ROWS), metadata.num_rows)


def _read_query(address: str) -> Sample:
    import pyarrow as pa
    import sqlalchemy

    url, _, what = address.partition("#")
    local = split_local(address)
    if local and not Path(local[1]).is_file():  # SQLite would make it
        raise MlscaffoldError("no such file; look at the path and at the folder you are in.")
    engine = sqlalchemy.create_engine(url)
    try:
        what = what.strip().rstrip(";")
        query = _select_all(sqlalchemy.inspect(engine), what)
        with engine.connect() as connection:
            count = f"SELECT COUNT(*) FROM ({query}) AS counted"
            rows = connection.execute(sqlalchemy.text(count)).scalar_one()
            result = connection.execution_options(stream_results=True).execute(
                sqlalchemy.text(query)
            )
            names, values = list(result.keys()), result.fetchmany(MOST_ROWS)
    finally:
        engine.dispose()
    columns = zip(*values, strict=True) if values else ([] for _ in names)
    return Sample(pa.Table.from_arrays([_array(c) for c in columns], names=names), int(rows))


def _select_all(inspector: Any, what: str) -> str:
    """The query that reads a table or a view, whose name may have blanks; or what is a query."""
    quote = inspector.dialect.identifier_preparer.quote
    if inspector.has_table(what):
        return f"SELECT * FROM {quote(what)}"
    schema, _, table = what.partition(".")
    if table and schema in inspector.get_schema_names() and inspector.has_table(table, schema):
        return f"SELECT * FROM {quote(schema)}.{quote(table)}"
    if re.match(r"\W*(?:select|with|values|table|from)\b", what, re.IGNORECASE):
        return what
    raise unknown("table", what, [*inspector.get_table_names(), *inspector.get_view_names()])


def _array(values: Iterable[Any]) -> Any:
    """A column; values of several types become text."""
    import pyarrow as pa

    values = list(values)
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([None if value is None else str(value) for value in values])


def _reason(error: Exception) -> str:
    """Why it failed, in one line, and what to do when a driver is missing."""
    text = str(getattr(error, "orig", None) or error).strip()
    lines = credentials.mask(text).splitlines()  # before it is cut: a part would not be known
    reason = lines[0][:300] if lines else type(error).__name__
    if isinstance(error, ImportError):
        return f"{reason.rstrip('.')}. Install it beside mlscaffold, with pip say."
    return reason
