"""Reads tables from addresses, and pulls the source's rows into batches under data/raw."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from itertools import chain, zip_longest
from json import dumps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import fsspec
import pandas as pd
import pyarrow as pa
from fsspec.implementations.local import LocalFileSystem
from pyarrow import compute as pc
from pyarrow import csv, json, parquet

from .. import credentials, variables
from ..settings import COMMAND, ContractError, ProjectError, Settings, closest
from . import dates, drivers, encodings
from .oversize import LONGEST_HEADER, OversizeError, check_header, check_json, parquet_batches, parquet_metadata

ENDINGS = (".csv", ".parquet", ".jsonl", ".ndjson")
BLOCK = 1 << 21  # bytes of a text file that are parsed together; Arrow holds dozens of blocks at a time
ROWS = 250_000  # of a chunk
LARGEST_EXACT = 2**53  # of whole numbers, a float keeps the digits of no larger one
PART = 1 << 25  # bytes that are kept in memory while batches are put together
ISO_FORM = next(iter(dates.FORMS))  # it can be read in one way only
ANY_FORM = "any"  # of dates that are text: each in the first form in which it reads
NAMED = re.compile(r"\$\{(\w+)\}")  # a variable of the environment in an address
# What a column of a CSV file may be, the first that all its cells read as.
TYPES = (
    *(pa.null(), pa.int64(), pa.bool_(), pa.date32(), pa.timestamp("s"), pa.timestamp("ns")),
    *(pa.float64(), pa.string(), pa.binary()),
)


def chunks(address: str, *, root: Path, texts: Sequence[str] = (), rows: int = ROWS) -> Iterator[pd.DataFrame]:
    """The table behind an address in chunks of at most so many rows, so that memory stays flat.

    CSV, Parquet or JSON lines under any fsspec scheme, patterns and folders too, or a SQL address
    `dialect://…#table` or `#select …`. `${NAME}` is taken from the environment; relative paths start at the root.
    A column of a file has one type in all its chunks; whole numbers are `Int64`, which may be missing. SQL has the
    types of each chunk.
    """
    for _, frame in named_chunks(address, root=root, texts=texts, rows=rows):
        yield frame


def named_chunks(
    address: str, *, root: Path, texts: Sequence[str] = (), rows: int = ROWS
) -> Iterator[tuple[str, pd.DataFrame]]:
    """The same, each with the name of its file; a table of a database has none."""
    if is_sql(address):
        for frame in _read_sql(address, root, rows):
            yield "", frame
        return
    with reachable(address):
        for name, path in _find_files(address, root):
            for frame in batch_chunks(path, texts, rows):
                yield name, frame


def read_batch(path: Path, texts: Sequence[str] = ()) -> pd.DataFrame:
    """One file as a table, some columns as text; ContractError when it is none, is ragged or holds no row."""
    return _as_frame(pa.Table.from_batches(_parse(path, texts, ROWS)))


def batch_chunks(path: Path, texts: Sequence[str] = (), rows: int = ROWS) -> Iterator[pd.DataFrame]:
    """The same in chunks, as `chunks` has them."""
    for batch in _parse(path, texts, rows):
        for start in range(0, batch.num_rows, rows):
            yield _as_frame(pa.table(batch.slice(start, rows)), {pa.int64(): pd.Int64Dtype()})


def pull(settings: Settings) -> list[Path]:
    """Brings the source into data/raw as Parquet: a folder's files, else the table's months, else the one table.

    A batch is replaced only when its rows differ from those that are there; returns what was written.
    """
    new = []
    with gathered(settings) as batches:
        for name, made in batches.items():
            path = settings.root / "data" / "raw" / f"{name}.parquet"
            if not _is_same(path, made):
                path.parent.mkdir(exist_ok=True)
                made.replace(path)
                new.append(path)
    return new


@contextmanager
def gathered(settings: Settings) -> Iterator[dict[str, Path]]:
    """The source's batches by name, oldest first, as files that are here for as long as they are looked at."""
    folder = settings.root / "data"
    folder.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=folder, suffix=".partial") as place:
        try:
            made = _gather(settings, Path(place))
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise ContractError(f"The data's columns are not of one type: {error}") from None
        yield made


def _gather(settings: Settings, folder: Path) -> dict[str, Path]:
    """Batches put together from parts, as a month may have rows in every chunk; in the types of the whole table."""
    parts, made = _write_parts(settings, folder), {}
    is_table = _is_table(settings.params.data.uri, settings.root)
    table = _schema([part for batch in parts.values() for part in batch]) if is_table else None
    for name in sorted(parts):
        made[name], schema = folder / f"{name}.parquet", table or _schema(parts[name])
        with parquet.ParquetWriter(made[name], schema) as writer:
            for part in parts[name]:
                writer.write_table(parquet.ParquetFile(part).read().cast(schema, safe=False))
                part.unlink()
    return made


def _write_parts(settings: Settings, folder: Path) -> dict[str, list[Path]]:
    """The source's rows in small files by batch, PART bytes in memory at a time."""
    parts, held, size = defaultdict[str, list[Path]](list), defaultdict[str, list[pa.Table]](list), 0

    def flush() -> None:
        for name, tables in held.items():
            parts[name].append(folder / f"{name}.{len(parts[name])}")
            parquet.write_table(pa.concat_tables(tables, promote_options="permissive"), parts[name][-1])
        held.clear()

    for name, frame in _batches(settings):
        held[name].append(pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None))
        size += held[name][-1].nbytes
        if size > PART:
            flush()
            size = 0
    flush()
    return parts


def _schema(parts: list[Path]) -> pa.Schema:
    return pa.unify_schemas([parquet.read_schema(part) for part in parts], promote_options="permissive")


def _is_same(path: Path, made: Path) -> bool:
    try:
        return all(one == other for one, other in zip_longest(_parse(path, (), ROWS), _parse(made, (), ROWS)))
    except (FileNotFoundError, ContractError):
        return False


def batch_paths(root: Path) -> list[Path]:
    """The batches in data/raw, oldest name first."""
    paths = sorted((root / "data" / "raw").glob("*.parquet"))
    if not paths:
        raise ProjectError(f"data/raw holds no batch: type {COMMAND} pull; or, in a clone, {COMMAND} restore")
    return paths


def is_sql(address: str) -> bool:
    scheme = address.partition("://")[0].partition("+")[0]
    return scheme in {"sqlite", "postgresql", "mysql", "mariadb", "mssql", "oracle", "duckdb"}


def date_forms(columns: Iterable[pd.Series], forms: Sequence[str] = (*dates.FORMS,)) -> list[str]:
    """The forms in which all dates of a column in chunks read; none where they are no text."""
    for column in columns:
        if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_datetime64_any_dtype(column):
            return []
        if column.notna().any():
            forms = dates.fitting(_as_texts(column), forms)
    return list(forms)


def to_dates(column: pd.Series, form: str = ANY_FORM) -> pd.Series:
    """The column as dates of UTC without a zone, from texts in a form or as ISO has them.

    What does not read as a date is missing, and no number does.
    """
    if pd.api.types.is_datetime64_any_dtype(column):
        found = pd.to_datetime(column, utc=True).dt.tz_localize(None)
    else:
        texts = _as_texts(column)
        read = pa.nulls(len(texts), pa.timestamp("us"))
        for each in dates.FORMS if form == ANY_FORM else (form, ISO_FORM):
            if read.null_count > texts.null_count:
                read = pc.coalesce(read, dates.read(texts, each))
        found = pd.Series(read.to_pandas(), index=column.index, name=column.name)
    return found.astype("datetime64[us]")


def _as_texts(column: pd.Series) -> pa.Array:
    """The cells as text: a date of Python as ISO writes it, a number as itself."""
    return pa.array(
        [None if missing else str(cell) for cell, missing in zip(column, column.isna(), strict=True)], pa.string()
    )


def _batches(settings: Settings) -> Iterator[tuple[str, pd.DataFrame]]:
    """The source's chunks with the names of their batches: the files of a folder or pattern, else months, else one."""
    uri, time, root = settings.params.data.uri, settings.params.data.time, settings.root
    if not _is_table(uri, root):
        yield from named_chunks(uri, root=root)
    elif not time:
        yield from (("table", frame) for frame in chunks(uri, root=root))
    else:
        forms, rows = None, 0
        for frame in chunks(uri, root=root):
            if time not in frame:
                raise ContractError(f"The data has no column {closest(time, list(frame))}")
            if forms is None:  # typed dates show it at once; of text, all is read for that
                others = (other[time] for other in chunks(uri, root=root))
                forms = date_forms(chain([frame[time]], others)) or [ANY_FORM]
            months = _months(frame[time], forms[0], rows)
            yield from ((str(month), part) for month, part in frame.groupby(months))
            rows += len(frame)


def _months(column: pd.Series, form: str, before: int) -> pd.Series:
    dates = to_dates(column, form)
    if dates.isna().any():
        row = int(dates.isna().to_numpy().argmax())
        cell = column.iloc[row]
        shown = f"row {before + row + 1} has no date" + ("" if pd.isna(cell) else f", but {str(cell)!r}")
        raise ContractError(f"The data's column {column.name}: {shown}. Write it as 2024-12-31 or 2024-12-31 14:05.")
    return dates.dt.strftime("%Y-%m")


@contextmanager
def reachable(address: str) -> Iterator[None]:
    """ProjectError, in one line, for what a library raises of an address."""
    try:
        yield
    except Exception as error:
        if not drivers.is_outside(error):
            raise
        raise _unopened(address, error) from None


def _unopened(address: str, error: Exception) -> ProjectError:
    """Say in one line why an address does not open, and which package to add where its driver is missing."""
    message = f"{address} does not open: {drivers.reason(error)}"
    if command := drivers.hint(error):
        message += f". Type {command}, and commit pyproject.toml and uv.lock."
    return ProjectError(message)


def filesystem(address: str, root: Path) -> tuple[Any, str]:
    """Where the address leads, as fsspec has it, and the path there."""
    address = expand(address)
    with reachable(address):
        found: tuple[Any, str] = fsspec.core.url_to_fs(address if "://" in address else str(root / address))
    return found


def _is_table(address: str, root: Path) -> bool:
    """Whether the address is that of one table, and not of a folder or pattern whose files come and go."""
    if is_sql(address):
        return True
    there, path = filesystem(address, root)
    with reachable(address):
        return "*" not in path and not there.isdir(path)


def find(address: str, root: Path) -> tuple[Any, list[str]]:
    """The files behind an address, and the file system that they are in."""
    there, path = filesystem(address, root)
    with reachable(address):
        if there.isdir(path):
            found = [name for name in there.find(path) if name.endswith(ENDINGS)]
        else:
            found = [name for name in there.glob(path) if name.endswith(ENDINGS)] if "*" in path else [path]
    if not found:
        raise ProjectError(f"{address} holds no file that ends in {', '.join(ENDINGS)}.")
    return there, sorted(found)


def _find_files(address: str, root: Path) -> Iterator[tuple[str, Path]]:
    """Each file behind an address, with the name of its batch; one that is far away is here for as long as it is read."""
    path = filesystem(address, root)[1]
    there, found = find(address, root)
    top = Path(path) if there.isdir(path) else Path(file_part(path).partition("*")[0] + "x").parent
    for name, path in _named(found, top).items():
        if isinstance(there, LocalFileSystem):
            yield name, Path(path)
            continue
        with TemporaryDirectory() as folder:
            there.get_file(path, copy := str(Path(folder, Path(file_part(path)).name)))
            yield name, Path(copy)


def _named(paths: list[str], top: Path) -> dict[str, str]:
    """A batch's name for each path: where it is below `top`, so that it stays the same when other files come."""
    names: dict[str, str] = {}
    for path in paths:
        name = "-".join(Path(file_part(path)).relative_to(top).with_suffix("").parts)
        if name in names:
            raise ProjectError(f"{names[name]} and {path} would both be the batch {name}: rename one of them.")
        names[name] = path
    return dict(sorted(names.items()))


def _parse(path: Path, texts: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
    """A file in chunks of one schema: text stays text, nothing is executed, every row has all its cells."""
    name = path.name
    with path.open("rb") as file:
        start = file.read(1)
    if start == b"\x80" or not name.endswith(ENDINGS):
        raise ContractError(
            f"{name} is not a table of CSV, Parquet or JSON lines. A pickle is never opened: loading one runs code."
        )
    found = 0
    try:
        if name.endswith(".parquet"):
            batches = _parse_parquet(path, rows)
        else:
            batches = _parse_csv(path, texts) if name.endswith(".csv") else _parse_json(path)
        for batch in batches:
            if len(set(batch.schema.names)) < batch.num_columns:
                raise ContractError(f"{name}: two columns have the same name.")
            found += batch.num_rows
            yield batch
    except OversizeError as error:
        raise ProjectError(f"{name}: {error}") from None
    except encodings.EncodingError as error:
        raise ContractError(f"{name} {error}") from None
    except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeDecodeError) as error:
        reason = re.sub(r"(?:CSV parse error: )?Row #(\d+)", _row, str(error)).splitlines()[0]
        raise ContractError(f"{name}: {reason}") from None
    if not found:
        raise ContractError(f"{name}: it holds no row, only a header.")


def _row(match: re.Match[str]) -> str:
    """Arrow counts the header as a row; everyone else counts rows of data."""
    return f"row {int(match[1]) - 1}"


def _as_frame(table: pa.Table, kinds: dict[pa.DataType, Any] | None = None) -> pd.DataFrame:
    """Plain columns: decimals as floats, lists and records as JSON text, no index of pandas."""
    columns = {}
    for position, (name, values) in enumerate(zip(table.column_names, table.columns, strict=True)):
        kind = values.type
        if pa.types.is_dictionary(kind):
            values = values.cast(kind.value_type)
        elif pa.types.is_decimal(kind):
            values = _plain_number(values)
        elif pa.types.is_time(kind):
            times = values.cast(pa.time64("us"), safe=False)  # Python has no nanoseconds
            values = pa.chunked_array([pa.array(map(_as_text, times.to_pylist()), pa.string())])
        elif pa.types.is_nested(kind) or pa.types.is_binary(kind):
            texts = [v if v is None else dumps(v, default=str) for v in values.to_pylist()]
            values = pa.chunked_array([pa.array(texts, pa.string())])
        if not name.startswith("__index_level_"):
            columns[name or f"Unnamed: {position}"] = values
    return pa.table(columns).to_pandas(date_as_object=False, types_mapper=kinds and kinds.get)


def _plain_number(decimals: pa.ChunkedArray) -> pa.ChunkedArray:
    """Decimals as whole numbers where they are, with all digits that 64 bits hold; as floats otherwise."""
    if decimals.type.scale <= 0:
        try:
            return decimals.cast(pa.int64())
        except pa.ArrowInvalid:
            pass
    return decimals.cast(pa.float64())


def _as_text(value: Any) -> str | None:
    return None if value is None else str(value)


def _parse_parquet(path: Path, rows: int) -> Iterator[pa.RecordBatch]:
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - 8))
        tail = file.read()
    return parquet_batches(path, parquet_metadata(path, tail, size), size, rows)


def _parse_csv(path: Path, texts: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """A column has the first of TYPES that all its cells read as; a file of several blocks is read twice for that."""
    with path.open("rb") as file:
        head = file.read(LONGEST_HEADER + 1)
    check_header(head)
    encodings.check(head)
    as_text = dict.fromkeys([*texts, *_changed_by_reading(path, texts)], pa.string())
    reader = _open_csv(path, as_text)
    if path.stat().st_size > BLOCK:
        names = reader.schema.names
        types = dict(zip(names, reader.schema.types, strict=True))
        while (column := _misfit(path, types)) is not None:
            kind = types[names[column]]
            later = TYPES[TYPES.index(kind) + 1 :] if kind in TYPES else ()
            types[names[column]] = next(iter(later), pa.string())
        reader = _open_csv(path, types)
    if any(map(pa.types.is_binary, reader.schema.types)):  # so Arrow takes what is not UTF-8
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                encodings.check(line, number)
    yield from reader


def _changed_by_reading(path: Path, texts: Sequence[str]) -> list[str]:
    """The columns that are not what is written when they are read: times of day, and numbers of too many digits."""
    head = next(_open_csv(path, dict.fromkeys(texts, pa.string())), None)
    if head is None:
        return []
    fields = dict(zip(head.schema.names, head.columns, strict=True))
    times = [name for name, values in fields.items() if pa.types.is_time(values.type)]
    large = [
        name
        for name, values in fields.items()
        if pa.types.is_floating(values.type) and (pc.max(pc.abs(values)).as_py() or 0) > LARGEST_EXACT
    ]
    if not large:
        return times
    written = next(_open_csv(path, dict.fromkeys([*texts, *large], pa.string())))
    digits = (name for name in large if pc.all(pc.match_substring_regex(written[name], r"^[+-]?\d*$")).as_py())
    return [*times, *digits]


def _open_csv(path: Path, types: dict[str, pa.DataType]) -> csv.CSVStreamingReader:
    options = csv.ConvertOptions(column_types=types, strings_can_be_null=True)
    parsing = csv.ParseOptions(newlines_in_values=True)
    # One thread: with several, Arrow does not know the number of the row that is ragged.
    reading = csv.ReadOptions(use_threads=False, block_size=BLOCK)
    return csv.open_csv(path, reading, parsing, options)


def _misfit(path: Path, types: dict[str, pa.DataType]) -> int | None:
    """The number of the first column with a cell that is not of its type."""
    try:
        for _ in _open_csv(path, types):
            pass
    except pa.ArrowInvalid as error:
        if not (column := re.match(r"In CSV column #(\d+): .*conversion error", str(error))):
            raise
        return int(column[1])
    return None


def _parse_json(path: Path) -> Iterator[pa.RecordBatch]:
    """Fields and types are those of all lines together; a file of several blocks is read twice for that."""
    keys: set[bytes] = set()
    with path.open("rb") as file:
        blocks = iter(lambda: file.readlines(BLOCK), [])
        first = _json_table(next(blocks, []), keys=keys)
        rest = [_json_table(block, keys=keys).schema for block in blocks]
    if not rest:
        yield from first.to_batches()
        return
    schema = pa.unify_schemas([first.schema, *rest], promote_options="permissive")
    with path.open("rb") as file:
        for block in iter(lambda: file.readlines(BLOCK), []):
            yield from _json_table(block, schema).to_batches()


def _json_table(lines: list[bytes], schema: pa.Schema | None = None, keys: set[bytes] | None = None) -> pa.Table:
    if keys is not None:
        check_json(b"".join(lines), keys)
    reading = json.ReadOptions(use_threads=False, block_size=2 * BLOCK)
    return json.read_json(BytesIO(b"".join(lines)), reading, json.ParseOptions(explicit_schema=schema))


def database(address: str, root: Path) -> tuple[Any, str]:
    """The engine behind a SQL address, and the table or query that it names."""
    import sqlalchemy

    if "#" in address:  # before the values are put in: a password may have one, too
        location, query = map(expand, address.split("#", 1))
    else:
        location, _, query = expand(address).partition("#")
    if not query:
        raise ProjectError(f"{address} names no table: add #table or #select …")
    with reachable(address):
        return sqlalchemy.create_engine(re.sub(r"^(sqlite:///)(?!/)", rf"\g<1>{root}/", location)), query


def _read_sql(address: str, root: Path, rows: int) -> Iterator[pd.DataFrame]:
    import sqlalchemy

    engine, query = database(address, root)
    with reachable(address), engine.connect().execution_options(stream_results=True) as connection:
        query = query.strip().rstrip(";")
        if table := _table_of(sqlalchemy.inspect(connection), query):
            yield from pd.read_sql_table(table[1], connection, schema=table[0], chunksize=rows)
        elif re.match(r"\W*(?:select|with|values|table|from)\b", query, re.IGNORECASE):
            yield from pd.read_sql_query(sqlalchemy.text(query), connection, chunksize=rows)
        else:
            known = sqlalchemy.inspect(connection)
            tables = [*known.get_table_names(), *known.get_view_names()]
            raise ProjectError(f"{address}: there is no table {closest(query, tables)}")


def _table_of(database: Any, name: str) -> tuple[str | None, str] | None:
    """The schema and the name of a table or view, which may have blanks; None where there is no such table."""
    if database.has_table(name):
        return None, name
    schema, _, table = name.partition(".")
    if table and schema in database.get_schema_names() and database.has_table(table, schema=schema):
        return schema, table
    return None


def expand(address: str) -> str:
    """The address with the value of each ${NAME}, which is masked from then on in all that is said."""
    for name in named(address):
        if not variables.is_set(name):
            raise ProjectError(f"The data's address needs {name} in the environment: it is not set, or empty.")
    return credentials.expand(address)


def named(address: str) -> list[str]:
    """The variables that an address takes from the environment."""
    return NAMED.findall(address)


def file_part(path: str) -> str:
    """A path without what a web address may have behind it: `?sig=…` is no part of a file's name."""
    return re.split("[?#]", path)[0] if "://" in path else path
